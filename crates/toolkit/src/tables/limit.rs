//! `[[gcctl.limit]]`: a limit of some things, and which things a limit is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use storekit::{Age, WrittenSize};
use thiserror::Error;

use super::Count;
use crate::amount::Setting;
use crate::nearest::question;

/// The keys of a limit.
pub const LIMIT: &[&str] = &["kind", "ecosystem", "name", "max-size", "max-age", "max-entries", "keep-last"];

/// The ecosystems that packages are of.
pub const ECOSYSTEMS: &[&str] = &[
    "apk",
    "apt",
    "cargo",
    "dnf",
    "generic",
    "git-lfs",
    "go",
    "huggingface",
    "npm",
    "oci",
    "ollama",
    "python",
    "releases",
];

/// The text, where packages are of such an ecosystem.
///
/// # Errors
/// A word that is none, with the nearest.
pub fn ecosystem(text: &str) -> Result<String, BadLimit> {
    if ECOSYSTEMS.contains(&text) {
        return Ok(text.to_owned());
    }
    let meant = question(text, ECOSYSTEMS.iter().copied());
    let all = ECOSYSTEMS.join("`, `");
    Err(BadLimit(format!("there is no ecosystem `{text}`; {meant}there are `{all}`")))
}

/// A kind of things that a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum Kind {
    /// Images of engines, without disks.
    Images,
    /// Disks.
    Disks,
    /// Package downloads.
    Packages,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Images, Self::Disks, Self::Packages];

    /// As it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Disks => "disks",
            Self::Packages => "packages",
        }
    }
}

/// Which things a limit is about: those for which all of this is true.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Of this kind.
    pub kind: Kind,
    /// Packages of this ecosystem.
    pub ecosystem: Option<String>,
    /// With a name like this: `*` stands for any characters.
    pub name: Option<String>,
}

/// In which order things go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum Order {
    /// What is unused for longest first; uses shorten the time.
    #[default]
    Lru,
    /// What is cheapest to have again first, by what it frees.
    Cost,
}

/// A limit of some things. What is `None` says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Limit {
    /// Of which.
    pub of: Selector,
    /// How many bytes they have together.
    pub max_size: Option<Setting<WrittenSize>>,
    /// How long one may stay unused.
    pub max_age: Option<Setting<Age>>,
    /// How many there are.
    pub max_entries: Option<Setting<Count>>,
    /// How many images of each name stay whatever the other limits are.
    pub keep_last: Option<Setting<Count>>,
}

/// What is written of a limit.
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a limit, such as `{ kind = \"packages\", max-size = \"5GB\" }`"
)]
struct Written {
    kind: Option<Kind>,
    ecosystem: Option<String>,
    name: Option<String>,
    max_size: Option<Setting<WrittenSize>>,
    max_age: Option<Setting<Age>>,
    max_entries: Option<Setting<Count>>,
    keep_last: Option<Setting<Count>>,
}

/// What is wrong with a limit.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct BadLimit(pub(super) String);

impl TryFrom<Written> for Limit {
    type Error = BadLimit;

    fn try_from(written: Written) -> Result<Self, BadLimit> {
        let bad = |text: String| Err(BadLimit(text));
        let Written { kind, ecosystem, name, max_size, max_age, max_entries, keep_last } = written;
        let kind = match (kind, &ecosystem) {
            (None | Some(Kind::Packages), Some(_)) => Kind::Packages,
            (Some(kind), None) => kind,
            (Some(kind), Some(_)) => {
                return bad(format!("a limit with an `ecosystem` is of packages, not of {}", kind.word()));
            }
            (None, None) => {
                return bad("a limit has a `kind` (`images`, `disks` or `packages`) or an `ecosystem`".into());
            }
        };
        let ecosystem = ecosystem.as_deref().map(self::ecosystem).transpose()?;
        if max_size.is_none() && max_age.is_none() && max_entries.is_none() && keep_last.is_none() {
            return bad("a limit has a `max-size`, `max-age`, `max-entries` or `keep-last`".into());
        }
        if keep_last.is_some() && kind == Kind::Packages {
            return bad("`keep-last` is for images and disks: packages have no versions of one name".into());
        }
        let of = Selector { kind, ecosystem, name };
        Ok(Self { of, max_size, max_age, max_entries, keep_last })
    }
}

/// `ecosystem=npm,max-size=2GB`. A pattern may have commas within braces: `name={a,b}*`.
impl FromStr for Limit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let mut limit = Written::default();
        for part in parts(text) {
            let Some((key, value)) = part.split_once('=') else {
                return Err(BadLimit(format!("`{part}` is not `KEY=VALUE`: `ecosystem=npm,max-size=2GB`")));
            };
            limit.set(key.trim(), value.trim())?;
        }
        limit.try_into()
    }
}

impl Written {
    fn set(&mut self, key: &str, value: &str) -> Result<(), BadLimit> {
        fn put<T: FromStr<Err: fmt::Display>>(
            to: &mut Option<T>,
            key: &str,
            value: &str,
        ) -> Result<(), BadLimit> {
            if to.is_some() {
                return Err(BadLimit(format!("`{key}` is there twice")));
            }
            *to = Some(value.parse().map_err(|error| BadLimit(format!("{error}")))?);
            Ok(())
        }
        match key {
            "kind" => put(&mut self.kind, key, value),
            "ecosystem" => put(&mut self.ecosystem, key, value),
            "name" => put(&mut self.name, key, value),
            "max-size" => put(&mut self.max_size, key, value),
            "max-age" => put(&mut self.max_age, key, value),
            "max-entries" => put(&mut self.max_entries, key, value),
            "keep-last" => put(&mut self.keep_last, key, value),
            _ => {
                let meant = question(key, LIMIT.iter().copied());
                Err(BadLimit(format!("a limit has no `{key}`; {meant}there are `{}`", LIMIT.join("`, `"))))
            }
        }
    }
}

/// What lies between the commas that are not within braces.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

impl FromStr for Kind {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == text);
        found.ok_or_else(|| {
            let meant = question(text, Self::ALL.map(Self::word));
            BadLimit(format!("there is no kind `{text}`; {meant}there are `images`, `disks` and `packages`"))
        })
    }
}

impl TryFrom<String> for Kind {
    type Error = BadLimit;

    fn try_from(text: String) -> Result<Self, BadLimit> {
        text.parse()
    }
}

impl TryFrom<String> for Order {
    type Error = BadLimit;

    fn try_from(text: String) -> Result<Self, BadLimit> {
        text.parse()
    }
}

impl FromStr for Order {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        match text {
            "lru" => Ok(Self::Lru),
            "cost" => Ok(Self::Cost),
            _ => Err(BadLimit("not an order: write `lru` or `cost`".into())),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Lru => "lru",
            Self::Cost => "cost",
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ecosystem {
            Some(ecosystem) => write!(to, "ecosystem={ecosystem}")?,
            None => write!(to, "kind={}", self.kind.word())?,
        }
        self.name.as_ref().map_or(Ok(()), |name| write!(to, ",name={name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, of: &str) {
        assert_eq!(text.parse::<Limit>().unwrap().of.to_string(), of);
    }

    #[track_caller]
    fn refused(text: &str, word: &str) {
        let message = text.parse::<Limit>().unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn a_limit_is_written_in_one_line() {
        reads("ecosystem=npm,max-size=2GB", "ecosystem=npm");
        reads("kind=packages,ecosystem=npm, max-age=2d", "ecosystem=npm");
        reads("kind=images,name={app,web}-*,max-entries=3,keep-last=1", "kind=images,name={app,web}-*");
        reads("kind=disks,max-age=none", "kind=disks");
    }

    #[test]
    fn a_wrong_limit_says_what_is_right() {
        refused("ecosystem=nmp,max-size=2GB", "is `npm` meant?");
        refused("kind=image,max-size=2GB", "is `images` meant?");
        refused("kind=images,max-sise=2GB", "is `max-size` meant?");
        refused("kind=images", "max-entries");
        refused("max-size=2GB", "a `kind`");
        refused("name=app-*,max-size=2GB", "a `kind`");
        refused("kind=disks,ecosystem=npm,max-size=1GB", "of packages, not of disks");
        refused("kind=packages,keep-last=1", "`keep-last` is for images");
        refused("kind=images,kind=disks,max-size=1GB", "twice");
        refused("kind=images,max-size=much", "is not a size");
        refused("images", "KEY=VALUE");
    }

    #[test]
    fn a_file_says_the_same() {
        let read = |text: &str| toml::from_str::<Limit>(text);
        let text = "kind = \"images\"\nname = \"app-*\"\nmax-entries = 3\nmax-age = \"none\"\n";
        let limit = read(text).unwrap();
        assert_eq!(limit, "kind=images,name=app-*,max-entries=3,max-age=none".parse().unwrap());
        let message = read("kind = \"images\"\nmax-sise = 1\n").unwrap_err().to_string();
        let (_, expected) = message.split_once("expected one of ").unwrap();
        assert_eq!(expected.split('`').skip(1).step_by(2).collect::<Vec<_>>(), LIMIT);
        assert!(read("ecosystem = \"nmp\"\nmax-size = 1\n").unwrap_err().to_string().contains("`npm` meant"));
    }
}
