//! Keys: the names under which images are stored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Digest;

/// A key: 1 to 128 characters of the grammar of an OCI tag, `[A-Za-z0-9_][A-Za-z0-9._-]*`.
///
/// Source: OCI distribution-spec v1.1, "Pulling manifests". A key is a file name and never starts
/// with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Text that is not a key.
#[derive(Clone, Debug, Error, miette::Diagnostic)]
#[error(
    "{text:?} is not a key: write 1 to 128 letters, digits, `_`, `.` and `-`, with no `.` or `-` at the start"
)]
#[diagnostic(code(storekit::not_a_key))]
pub struct NotAKey {
    text: String,
}

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an image that has no other name: `sha256-` and the hex digits of its digest.
    #[must_use]
    pub fn of_digest(digest: &Digest) -> Self {
        Self(format!("sha256-{}", digest.hex()))
    }
}

impl FromStr for Key {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        if is_tag(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAKey { text: text.chars().take(200).collect() })
        }
    }
}

fn is_tag(text: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.len() <= 128
        && text.first().is_some_and(word)
        && text.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl TryFrom<String> for Key {
    type Error = NotAKey;

    fn try_from(text: String) -> Result<Self, NotAKey> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rejected(text: &str) {
        assert!(text.parse::<Key>().is_err(), "{text} was accepted");
    }

    #[test]
    fn key_takes_what_a_tag_may_be() {
        for text in ["a", "_", "v1.2.3-rc_1", &"a".repeat(128)] {
            assert_eq!(text.parse::<Key>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn key_rejects_path_tricks() {
        for text in ["", ".", "..", ".tmp", "-a", "a/b", "a\\b", "a\0", "a b", "é", &"a".repeat(129)] {
            rejected(text);
        }
    }
}
