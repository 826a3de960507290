//! Releases as archives in folders: toolchains that rustup installs, and uv's Pythons.
//!
//! What lies in a folder that is named by a date or a version does not change; what it has to hash
//! to, a file beside it says. A channel's manifest is an index, and the file with its checksum is
//! of the same generation.
//!
//! Sources: rustup, "Environment variables" and `src/dist/manifestation.rs`; uv's documentation,
//! `UV_PYTHON_INSTALL_MIRROR`; coreutils, sha256sum(1).

use std::io::Read;

use storekit::{Checksum, Digest};

use crate::ecosystem::{Asked, BadIndex, Class, Package};

/// What stands behind a file's name where a file beside it has its checksum.
pub(crate) const SUM: &str = ".sha256";
/// The file with the checksums of all files of its folder.
pub(crate) const SUMS: &str = "SHA256SUMS";
/// Files with checksums have no more bytes: 4 MiB.
const LARGEST: u64 = 4 << 20;
/// Behind these names is text: what says something of other files.
const TEXTS: [&str; 6] = [".asc", ".json", SUM, ".sig", ".toml", ".txt"];

/// `dist/channel-….toml` and its checksum are indexes, as is all text in a folder without a date or
/// version; in one with a date or version text is pinned, and all else an artifact.
#[must_use]
pub(crate) fn ask(path: &str, _query: Option<&str>) -> Asked {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let version = folders.split('/').rev().find(|folder| is_version(folder));
    let is_text = name == SUMS || TEXTS.iter().any(|end| name.ends_with(end));
    let class = match (version.is_some(), is_text) {
        (true, false) => Class::Artifact,
        (true, true) => Class::PinnedByName,
        (false, true) => Class::Index,
        (false, false) => Class::Unknown,
    };
    let package = Package { name: None, version: version.map(str::to_owned), architecture: None };
    Asked { package, ..Asked::of(class) }
}

/// A date or a version: `2026-01-02`, `20260102`, `1.28.2`, `v7.3.19`.
fn is_version(folder: &str) -> bool {
    let digits = folder.strip_prefix('v').unwrap_or(folder);
    let parts: Vec<_> = digits.split(['-', '.']).collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.first().is_some_and(is_number) && (parts.len() > 1 || digits.len() == 8)
}

/// The path of a manifest, where this is that of its checksum.
#[must_use]
pub(crate) fn manifest_of(path: &str) -> Option<&str> {
    path.strip_suffix(SUM).filter(|path| is_manifest(path))
}

/// Whether it is the manifest of a channel.
#[must_use]
pub(crate) fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("channel-") && name.strip_suffix(".toml").is_some()
}

/// What a file with checksums says of the file of this name.
///
/// # Errors
/// [`BadIndex`], where it is not such a file.
pub(crate) fn sum_of(name: &str, read: &mut dyn Read) -> Result<Option<Checksum>, BadIndex> {
    let mut text = String::new();
    read.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(BadIndex::TooLarge("no list of checksums is larger than 4 MiB"));
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let found =
        lines.clone().find_map(|line| of_line(line).filter(|(_, it)| it.rsplit('/').next() == Some(name)));
    if let Some((digest, _)) = found {
        return Ok(Some(digest.into()));
    }
    // A file with one checksum need not name what it is of.
    let only = lines.next().filter(|_| lines.next().is_none()).and_then(Digest::from_hex);
    match only {
        Some(digest) => Ok(Some(digest.into())),
        None if text.lines().any(|line| of_line(line).is_some()) => Ok(None),
        None => Err(BadIndex::Malformed("it has no line with a SHA-256".to_owned())),
    }
}

/// `HEX  NAME`, or `HEX *NAME`.
fn of_line(line: &str) -> Option<(Digest, &str)> {
    let (hex, name) = line.trim().split_once(char::is_whitespace)?;
    Some((Digest::from_hex(hex)?, name.trim_start().trim_start_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_has_a_date_or_a_version_does_not_change() {
        for (path, class) in [
            ("/dist/channel-rust-stable.toml", Class::Index),
            ("/dist/channel-rust-stable.toml.sha256", Class::Index),
            ("/dist/2026-01-02/channel-rust-nightly.toml", Class::PinnedByName),
            ("/dist/2026-01-02/rust-std-1.90.0-x86_64.tar.xz", Class::Artifact),
            ("/rustup/release-stable.toml", Class::Index),
            ("/rustup/archive/1.28.2/x86_64/rustup-init", Class::Artifact),
            ("/rustup/dist/x86_64-unknown-linux-gnu/rustup-init", Class::Unknown),
            ("/20260102/cpython-3.13.1%2B20260102-x86_64.tar.gz", Class::Artifact),
            ("/20260102/SHA256SUMS", Class::PinnedByName),
            ("/v7.3.19/pypy.tar.bz2", Class::Artifact),
            ("/v/7/x", Class::Unknown),
        ] {
            assert_eq!(ask(path, None).class, class, "{path}");
        }
        assert_eq!(
            manifest_of("/dist/channel-rust-1.90.0.toml.sha256"),
            Some("/dist/channel-rust-1.90.0.toml")
        );
        assert_eq!(manifest_of("/dist/2026-01-02/rust.tar.xz.sha256"), None);
    }

    #[test]
    fn a_list_says_what_a_file_hashes_to() {
        let other = HEX.replace('b', "c");
        let sum = |text: &str| sum_of("a.tar.gz", &mut text.as_bytes()).map(|it| it.map(|it| it.to_string()));
        let found = Ok(Some(format!("sha256:{HEX}")));
        assert_eq!(sum(&format!("{other}  b.tar.gz\n{HEX} *x/a.tar.gz\n")), found);
        assert_eq!(sum(&format!("{HEX}\n")), found);
        assert_eq!(sum(&format!("{other}  b.tar.gz\n")), Ok(None));
        assert!(sum("<html>").is_err() && sum("").is_err() && sum(&"x".repeat(5 << 20)).is_err());
    }
}
