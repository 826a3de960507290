//! Content digests: SHA-256, the one algorithm on disk and on the wire.
//!
//! Source: OCI image-spec v1.1, descriptor.md, "Digests" and "SHA-256".

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
///
/// Can only be made from such text or from 32 bytes, so that no path is ever built from anything
/// else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Digest([u8; 32]);

/// Text that is not a digest.
#[derive(Clone, Debug, Error, miette::Diagnostic)]
#[error("{text:?} is not a digest")]
#[diagnostic(code(storekit::not_a_digest), help("a digest is `sha256:` and 64 lower-case hex digits"))]
pub struct NotADigest {
    text: String,
}

impl NotADigest {
    /// The error for this text; only its beginning is kept.
    #[must_use]
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.chars().take(100).collect() }
    }
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Reads 64 lower-case hex digits, without a prefix. `None` for anything else.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The digest with these bytes: for one that was announced in another form than text.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hex digits: the blob's file name.
    #[must_use]
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(64);
        hex.extend(self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit));
        hex
    }

    /// The digest itself, 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or('0')
}

/// A map with digests for keys, of very many.
pub type DigestMap<V> = HashMap<Digest, V, BuildHasherDefault<ByDigest>>;

/// Takes a part of a digest for its hash: digests are spread evenly already.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByDigest(u64);

impl std::hash::Hasher for ByDigest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = bytes.last_chunk::<8>().map_or(0, |end| u64::from_le_bytes(*end));
        self.0 ^= end;
    }

    // The length of a digest says nothing.
    fn write_usize(&mut self, _: usize) {}
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.strip_prefix("sha256:").and_then(Self::from_hex).ok_or_else(|| NotADigest::of(text))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Text)
    }
}

/// Takes the text of a digest as it stands, without a copy: there are very many.
struct Text;

impl Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hashes a stream.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rejected(text: &str) {
        assert!(text.parse::<Digest>().is_err(), "{text} was accepted");
    }

    #[test]
    fn digest_of_nothing_is_the_published_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
    }

    #[test]
    fn digest_rejects_all_but_64_lower_case_digits() {
        rejected("sha256:../../etc/passwd");
        rejected(&format!("sha256:{}", "A".repeat(64)));
        rejected(&format!("sha256:{}", "a".repeat(63)));
        rejected(&format!("sha512:{}", "a".repeat(64)));
        rejected(&"a".repeat(64));
        rejected(&format!("sha256:{}é", "a".repeat(62)));
    }
}
