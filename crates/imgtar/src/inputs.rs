//! What hashctx's manifest of the inputs says of the image that a key stands for: its platform.
//!
//! Reads no other line of the manifest, and compares nothing but images: what is no image has no
//! platform.
//!
//! Source: hashctx's FORMAT.md, "The manifest, version 1".

use storekit::{Blobs, Descriptor, Key};

use crate::error::{Error, Result};
use crate::oci::{self, Config, DOCUMENT_CAP, Index, Manifest, Platform};

/// Indexes stand in indexes at most this deep.
const DEPTH: usize = 4;

/// An image whose key is for another platform is not to be saved: every later load would be a wrong
/// hit.
///
/// # Errors
/// [`Error::OtherPlatform`] where the inputs name a platform, and what the descriptor leads to has images, but none for
/// it. Documents that cannot be read.
pub(crate) fn check_platform(
    blobs: &Blobs,
    key: &Key,
    inputs: Option<&[u8]>,
    descriptor: &Descriptor,
) -> Result<()> {
    let Some(wanted) = inputs.and_then(platform) else { return Ok(()) };
    let mut present = Vec::new();
    collect(blobs, descriptor, 0, &mut present)?;
    if present.is_empty() || present.iter().any(|present| is_same(present, &wanted)) {
        return Ok(());
    }
    present.sort();
    present.dedup();
    let present: Vec<_> = present.iter().take(20).map(Platform::to_string).collect();
    Err(Error::OtherPlatform { key: key.clone(), wanted, present: present.join(", ") })
}

/// The platform that the manifest names, as it is written there.
fn platform(inputs: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(inputs).ok()?;
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with("hashctx manifest "))?;
    lines.find_map(|line| line.strip_prefix("platform ")).map(str::to_owned)
}

/// The platforms of all images below the descriptor. What an index lists and is not there counts
/// for nothing.
fn collect(blobs: &Blobs, descriptor: &Descriptor, depth: usize, to: &mut Vec<Platform>) -> Result<()> {
    if depth > DEPTH || !descriptor.is_document() || !blobs.contains(&descriptor.digest) {
        return Ok(());
    }
    let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP)?;
    if descriptor.is_index() {
        let index: Index = oci::parse(&bytes, &format!("the index `{}`", descriptor.digest))?;
        return index.manifests.iter().try_for_each(|child| collect(blobs, child, depth + 1, to));
    }
    let manifest: Manifest = oci::parse(&bytes, &format!("the manifest `{}`", descriptor.digest))?;
    if manifest.is_image() && blobs.contains(&manifest.config.digest) {
        let digest = manifest.config.digest;
        let config: Config =
            oci::parse(&blobs.read(&digest, DOCUMENT_CAP)?, &format!("the config `{digest}`"))?;
        // A config that says nothing of a machine contradicts no key.
        to.extend(Some(config.platform()).filter(|platform| !platform.architecture().is_empty()));
    }
    Ok(())
}

/// Whether an image of this platform is one for that of the key, whichever way either is written.
/// One that needs a later variant than the key names is not.
fn is_same(image: &Platform, wanted: &str) -> bool {
    let Ok(wanted) = wanted.parse::<Platform>() else { return true };
    image.matches(&wanted) && (wanted.variant().is_some() || image.variant().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_the_line_of_hashctxs_manifest() {
        let manifest = b"hashctx manifest 1\ndockerfile 00\nplatform linux/arm/v7\nfile 00  platform x\n";
        assert_eq!(platform(manifest).as_deref(), Some("linux/arm/v7"));
        for other in
            [&b"hashctx manifest 1\nfile 00  a\n"[..], b"notes\nplatform linux/arm64\n", b"", b"\xff"]
        {
            assert_eq!(platform(other), None);
        }
    }

    #[track_caller]
    fn same(image: &str, wanted: &str, expected: bool) {
        assert_eq!(is_same(&image.parse().unwrap(), wanted), expected, "`{image}` and `{wanted}`");
    }

    #[test]
    fn platforms_are_the_same_in_every_spelling() {
        for (image, wanted) in [
            ("linux/amd64", "linux/x86_64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64", "linux/aarch64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/v7", "linux/arm"),
            ("linux/i386", "linux/386"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            same(image, wanted, true);
            same(wanted, image, true);
        }
        for (image, wanted) in [
            ("linux/arm64", "linux/amd64"),
            ("windows/amd64", "linux/amd64"),
            ("linux/arm/v6", "linux/arm/v7"),
            ("linux/amd64/v3", "linux/amd64"),
        ] {
            same(image, wanted, false);
        }
        same("linux/amd64", "linux/amd64/v3", true);
    }
}
