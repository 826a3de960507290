//! `[[extra]]`: a folder of another tool's that gcctl lists and keeps within limits.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use storekit::{Age, WrittenSize};

use super::BadLimit;
use crate::amount::Setting;
use crate::nearest::question;

/// The keys of such a folder.
pub const EXTRA: &[&str] = &["path", "kind", "max-size", "max-age"];

/// A smaller size without a unit is refused: 1 MB.
const SMALL: u64 = 1_000_000;

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum ExtraKind {
    /// Models of Hugging Face, as its `huggingface_hub` keeps them.
    Hf,
    /// Files, each by itself.
    Dir,
}

impl ExtraKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Hf, Self::Dir];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Hf => "hf",
            Self::Dir => "dir",
        }
    }
}

impl fmt::Display for ExtraKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.word())
    }
}

impl FromStr for ExtraKind {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| {
            let meant = question(text, Self::ALL.map(Self::word));
            BadLimit(format!("there is no kind `{text}` of folders; {meant}there are `hf` and `dir`"))
        })
    }
}

impl TryFrom<String> for ExtraKind {
    type Error = BadLimit;

    fn try_from(text: String) -> Result<Self, BadLimit> {
        text.parse()
    }
}

/// A folder, and what it may hold. What is `None` has no limit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Extra {
    /// Where it is: relative to the file that says so, or below the home folder (`~/`).
    pub path: Utf8PathBuf,
    /// What it holds.
    pub kind: ExtraKind,
    /// How many bytes on disk.
    pub max_size: Option<Setting<WrittenSize>>,
    /// How long a thing may stay unused.
    pub max_age: Option<Setting<Age>>,
}

#[derive(Debug, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a folder, such as `{ path = \"~/.cache/huggingface\", kind = \"hf\", max-size = \"50GB\" }`"
)]
struct Written {
    path: Utf8PathBuf,
    kind: ExtraKind,
    max_size: Option<Setting<WrittenSize>>,
    max_age: Option<Setting<Age>>,
}

impl TryFrom<Written> for Extra {
    type Error = BadLimit;

    fn try_from(written: Written) -> Result<Self, BadLimit> {
        let Written { path, kind, max_size, max_age } = written;
        if path.as_str().is_empty() {
            return Err(BadLimit("`path` is empty".into()));
        }
        match max_size {
            Some(Setting::Is(most)) if most.bare && most.size.0 < SMALL => Err(BadLimit(format!(
                "`max-size` is {0}, written without a unit: write one, such as `10GB`, or `{0}` if that is meant",
                most.size
            ))),
            _ => Ok(Self { path, kind, max_size, max_age }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Extra, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[track_caller]
    fn refused(text: &str, word: &str) {
        let message = read(text).unwrap_err();
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn a_folder_has_a_path_and_a_kind() {
        let extra = read("path = \"c\"\nkind = \"hf\"\nmax-size = \"none\"\nmax-age = \"3d\"\n").unwrap();
        assert_eq!((extra.path.as_str(), extra.kind), ("c", ExtraKind::Hf));
        assert_eq!(extra.max_size, Some(Setting::Off));
        refused("kind = \"hf\"\n", "missing field `path`");
        refused("path = \"c\"\n", "missing field `kind`");
        refused("path = \"\"\nkind = \"dir\"\n", "`path` is empty");
        refused("path = \"c\"\nkind = \"dri\"\n", "is `dir` meant?");
        refused("path = \"c\"\nkind = \"dir\"\nmax-size = 10\n", "without a unit");
        refused("path = \"c\"\nkind = \"dir\"\nmax-age = 10\n", "is not an age");
    }

    #[test]
    fn the_keys_are_these() {
        let message = read("path = \"c\"\nmax-sise = 1\n").unwrap_err();
        let (_, expected) = message.split_once("expected one of ").unwrap();
        assert_eq!(expected.split('`').skip(1).step_by(2).collect::<Vec<_>>(), EXTRA);
    }
}
