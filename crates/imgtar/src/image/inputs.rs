//! What hashctx's manifest of the inputs says of the image that a key stands for: its platform.
//!
//! Reads no other line of the manifest, and compares nothing but images: what is not an image has
//! no platform.
//!
//! Source: hashctx's FORMAT.md, "The manifest, version 1".

use storekit::{Blobs, Descriptor, Key};

use crate::error::{Error, Result};
use crate::format::oci::{self, Config, DOCUMENT_CAP, Index, Manifest, Platform};

/// Indexes stand in indexes at most this deep.
const DEPTH: usize = 4;

/// An image whose key is for another platform is not to be saved: every later load would be a wrong
/// hit.
///
/// # Errors
/// [`Error::OtherPlatform`] where the inputs name a platform, and what the descriptor leads to has
/// images, but none for it. Documents that cannot be read.
pub(crate) fn check_platform(
    blobs: &Blobs,
    key: &Key,
    inputs: Option<&[u8]>,
    descriptor: &Descriptor,
) -> Result<()> {
    // A line of a later hashctx's that cannot be understood refuses nothing.
    let Some(wanted) = inputs.and_then(platform).and_then(|text| text.parse::<Platform>().ok()) else {
        return Ok(());
    };
    let mut present = Vec::new();
    collect(blobs, descriptor, 0, &mut present)?;
    if present.is_empty() || present.iter().any(|config| is_for(config, &wanted)) {
        return Ok(());
    }
    let mut present: Vec<_> = present.iter().map(Config::platform).collect();
    present.sort();
    present.dedup();
    let present: Vec<_> = present.iter().take(20).map(Platform::to_string).collect();
    Err(Error::OtherPlatform { key: key.clone(), wanted: wanted.to_string(), present: present.join(", ") })
}

/// The platform that the manifest names, as it is written there.
fn platform(inputs: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(inputs).ok()?;
    let mut lines = text.lines();
    lines.next().filter(|line| line.starts_with("hashctx manifest "))?;
    lines.find_map(|line| line.strip_prefix("platform ")).map(str::to_owned)
}

/// The configs of all images below the descriptor. What an index lists and is not there counts
/// for nothing.
fn collect(blobs: &Blobs, descriptor: &Descriptor, depth: usize, to: &mut Vec<Config>) -> Result<()> {
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
        to.extend(Some(config).filter(|config| !config.architecture.is_empty()));
    }
    Ok(())
}

fn is_for(config: &Config, wanted: &Platform) -> bool {
    wanted.is_of_image(&config.os, &config.architecture, config.variant.as_deref().unwrap_or_default())
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
}
