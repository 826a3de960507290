//! Checksums that package indexes announce: SHA-256, SHA-512 and, where nothing better is said,
//! SHA-1, of the bytes or of the object that git makes of them.
//!
//! What is stored is named by SHA-256 alone ([`Digest`]); these are only compared.
//!
//! Source: RFC 6234 (SHA-2), RFC 3174 (SHA-1); the W3C's Subresource Integrity, 3.5, for the form
//! with base64; git's manual, "gitformat-pack" and `git hash-object`, for blobs.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::digest::NotADigest;

/// What the bytes of a file are announced to hash to.
///
/// The order is that of strength: a later one is harder to forge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Checksum {
    /// The name that git has for the bytes as a file: SHA-1 of `blob SIZE`, a NUL, and the bytes.
    /// It is compared, and not written into entries.
    GitBlob([u8; 20]),
    /// SHA-1, 20 bytes: it tells damage, not forgery.
    Sha1([u8; 20]),
    /// SHA-256, 32 bytes.
    Sha256([u8; 32]),
    /// SHA-512, 64 bytes.
    Sha512([u8; 64]),
}

impl Checksum {
    /// From the algorithm's name (`sha1`, `sha256`, `sha512`, in any case) and hex digits in any
    /// case. `None` for anything else.
    #[must_use]
    pub fn from_hex(algorithm: &str, hex: &str) -> Option<Self> {
        match algorithm.to_ascii_lowercase().as_str() {
            "sha1" => bytes_of(hex).map(Self::Sha1),
            "sha256" => bytes_of(hex).map(Self::Sha256),
            "sha512" => bytes_of(hex).map(Self::Sha512),
            _ => None,
        }
    }

    /// From the 40 hex digits by which git names a file.
    #[must_use]
    pub fn from_git(hex: &str) -> Option<Self> {
        bytes_of(hex).map(Self::GitBlob)
    }

    /// The strongest one of an `integrity` text such as `sha512-BASE64 sha1-BASE64`. `None` where
    /// none of them is known.
    #[must_use]
    pub fn from_integrity(text: &str) -> Option<Self> {
        text.split_ascii_whitespace().filter_map(one_integrity).max()
    }

    /// The algorithm's name.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::GitBlob(_) => "git-blob",
            Self::Sha1(_) => "sha1",
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::GitBlob(bytes) | Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The name under which a body with this checksum is stored, if it tells.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Sha256(bytes) => Some(Digest::from_bytes(*bytes)),
            Self::GitBlob(_) | Self::Sha1(_) | Self::Sha512(_) => None,
        }
    }

    /// A hasher for what is announced so and has `size` bytes: git's name of a file begins with it.
    /// Without it, no bytes have such a name.
    #[must_use]
    pub fn hasher(&self, size: Option<u64>) -> ChecksumHasher {
        let mut context = ring::digest::Context::new(match self {
            Self::GitBlob(_) | Self::Sha1(_) => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256(_) => &ring::digest::SHA256,
            Self::Sha512(_) => &ring::digest::SHA512,
        });
        let is_git = matches!(self, Self::GitBlob(_));
        if is_git {
            context.update(size.map_or("\0".to_owned(), |size| format!("blob {size}\0")).as_bytes());
        }
        ChecksumHasher { context, is_git }
    }
}

fn one_integrity(text: &str) -> Option<Checksum> {
    // What comes behind a `?` are options.
    let text = text.split('?').next().unwrap_or_default();
    let (algorithm, encoded) = text.split_once('-')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    match algorithm {
        "sha1" => bytes.try_into().ok().map(Checksum::Sha1),
        "sha256" => bytes.try_into().ok().map(Checksum::Sha256),
        "sha512" => bytes.try_into().ok().map(Checksum::Sha512),
        _ => None,
    }
}

fn bytes_of<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl From<Digest> for Checksum {
    fn from(digest: Digest) -> Self {
        Self::Sha256(*digest.bytes())
    }
}

impl FromStr for Checksum {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let found = text.split_once(':').and_then(|(algorithm, hex)| match algorithm {
            "git-blob" => Self::from_git(hex),
            _ => Self::from_hex(algorithm, hex),
        });
        found.ok_or_else(|| NotADigest::of(text))
    }
}

impl TryFrom<String> for Checksum {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes a stream to compare it with a [`Checksum`].
#[derive(Clone)]
pub struct ChecksumHasher {
    context: ring::digest::Context,
    is_git: bool,
}

impl ChecksumHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The checksum of all that was taken.
    #[must_use]
    pub fn finish(self) -> Option<Checksum> {
        let found = self.context.finish();
        let bytes = found.as_ref();
        match bytes.len() {
            20 if self.is_git => bytes.try_into().ok().map(Checksum::GitBlob),
            20 => bytes.try_into().ok().map(Checksum::Sha1),
            32 => bytes.try_into().ok().map(Checksum::Sha256),
            _ => bytes.try_into().ok().map(Checksum::Sha512),
        }
    }
}

impl fmt::Debug for ChecksumHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChecksumHasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hashes(checksum: &str, bytes: &[u8]) {
        let checksum: Checksum = checksum.parse().unwrap();
        let mut hasher = checksum.hasher(Some(bytes.len() as u64));
        hasher.update(bytes);
        assert_eq!(hasher.finish(), Some(checksum));
    }

    #[test]
    fn known_answers() {
        // RFC 3174, 7.3; RFC 6234, 8.5: the test "abc".
        hashes("sha1:a9993e364706816aba3e25717850c26c9cd0d89d", b"abc");
        hashes("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", b"abc");
        hashes(
            "SHA512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            b"abc",
        );
    }

    #[test]
    fn a_file_has_the_name_that_git_has_for_it() {
        // `printf abc | git hash-object --stdin`, and that of nothing.
        hashes("git-blob:f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", b"abc");
        hashes("git-blob:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"");
        let blob = Checksum::from_git("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f").unwrap();
        let mut hasher = blob.hasher(None);
        hasher.update(b"abc");
        assert_ne!(hasher.finish(), Some(blob), "its size is not known");
        assert_eq!(Checksum::from_hex("git-blob", "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"), None);
    }

    #[test]
    fn the_strongest_integrity_counts() {
        let text = "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0= \
                    sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=?opt md5-x";
        assert_eq!(Checksum::from_integrity(text).map(|it| it.algorithm()), Some("sha256"));
        assert_eq!(Checksum::from_integrity("sha256-short md5-kAFQmDzST7DWlj99KOF/cg=="), None);
    }

    #[test]
    fn only_whole_hex_of_a_known_algorithm_is_one() {
        for wrong in [
            "sha1:a9",
            "md5:900150983cd24fb0d6963f7d28e17f72",
            "sha256:",
            "",
            "sha1",
            "sha1:é9993e364706816aba3e25717850c26c9cd0d89",
        ] {
            assert!(wrong.parse::<Checksum>().is_err(), "{wrong}");
        }
    }
}
