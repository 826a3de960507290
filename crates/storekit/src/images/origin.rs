//! Where an image came from, in its project's words: for people and for later questions.
//!
//! No key and no digest depends on it, and nothing here checks that it is true.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// No remark is longer, in bytes.
const LONGEST: usize = 255;

/// Where an image came from; each part may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its name in larder.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Remark>,
    /// The machine that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Remark>,
    /// The git commit of its project; a `+` at the end: with changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Remark>,
    /// Where its project's git repository is, without scheme and credentials, such as
    /// `git.example/team/app`, and the folder of larder.toml in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Remark>,
}

impl Origin {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// A short text: 1 to 255 bytes of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark(String);

/// Text that is not a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, miette::Diagnostic)]
#[error("it must have 1 to 255 bytes and no control characters")]
#[diagnostic(code(storekit::not_a_remark))]
pub struct NotARemark;

impl Remark {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Remark {
    type Err = NotARemark;

    fn from_str(text: &str) -> Result<Self, NotARemark> {
        let is_short = (1..=LONGEST).contains(&text.len());
        let is_plain = !text.chars().any(char::is_control);
        (is_short && is_plain).then(|| Self(text.to_owned())).ok_or(NotARemark)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Remark {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_is_short_and_plain() {
        for text in ["a", "build 3", "größer", "931ee0b+", &"a".repeat(255)] {
            assert_eq!(text.parse::<Remark>().unwrap().as_str(), text);
        }
        for text in ["", "a\nb", "a\0", "\u{1b}[31m", "\u{9b}", &"a".repeat(256)] {
            assert_eq!(text.parse::<Remark>(), Err(NotARemark), "{text:?} was accepted");
        }
    }
}
