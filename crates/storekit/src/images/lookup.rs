//! Which stored image a user means: by its key, by a name, or by the beginning of its key.
//!
//! Only for what is asked of a user. A program that knows a key has the whole of it, and a save
//! is always under a whole key.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use thiserror::Error;

use crate::error::{At, Error, Result};
use crate::images::Images;
use crate::images::names::{Names, Word};
use crate::{Digest, Key, image_name, printable};

/// The beginning of a key has at least so many hex digits.
const FEWEST: usize = 4;
/// So many of the keys that may be meant are listed.
const LISTED: usize = 10;
/// Keys are cut to so many characters where that tells them apart.
const SHORT: usize = 12;

/// How a user names a stored image: its key, the beginning of one, or an image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOrName(String);

/// Text that names no image.
#[derive(Clone, Debug, Error, miette::Diagnostic)]
#[error("{text:?} is neither a key nor an image name")]
#[diagnostic(code(storekit::not_a_key_or_name))]
pub struct NotAKeyOrName {
    text: String,
}

/// A stored image that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its key.
    pub key: Key,
    /// By what it was found.
    pub by: By,
}

/// By what an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its key.
    Key,
    /// One of the names that it was saved with, and it is the newest of that name.
    Name,
    /// Its name in larder.toml, and it is the newest of that name.
    Image,
    /// The beginning of its key, and of no other.
    Beginning,
}

impl KeyOrName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is said where nothing is found.
    #[must_use]
    pub fn absent(&self) -> String {
        let hint =
            if self.is_too_short() { ": the beginning of a key has at least 4 hex digits" } else { "" };
        format!("nothing is stored under `{self}`{hint}")
    }

    /// Whether it could only be the beginning of a key, were it longer.
    #[must_use]
    pub fn is_too_short(&self) -> bool {
        is_hex(digits(&self.0)) && digits(&self.0).len() < FEWEST
    }

    /// A whole key of `hashctx` or of a digest means itself and nothing else.
    fn is_whole(&self) -> bool {
        Digest::from_hex(digits(&self.0)).is_some()
    }

    fn is_beginning(&self) -> bool {
        is_hex(digits(&self.0)) && digits(&self.0).len() >= FEWEST
    }
}

/// A key without what stands before the digits of one that was made of a digest.
fn digits(key: &str) -> &str {
    key.strip_prefix("sha256-").unwrap_or(key)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for KeyOrName {
    type Err = NotAKeyOrName;

    fn from_str(text: &str) -> Result<Self, NotAKeyOrName> {
        if text.parse::<Key>().is_ok() || image_name::is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAKeyOrName { text: text.chars().take(200).collect() })
        }
    }
}

impl fmt::Display for KeyOrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Images {
    /// The stored image that is meant: the one under this very key; else the one that was saved
    /// last with this name, or with this name in larder.toml; else the one whose key begins so.
    /// What another tool has added to index.json is adopted first, as in [`Images::get`].
    ///
    /// # Errors
    /// [`Error::Ambiguous`]; [`Error::Newer`]; I/O errors. A damaged key file is found by its key.
    pub fn lookup(&self, text: &KeyOrName) -> Result<Option<Found>> {
        if let Some(key) = self.exactly(text)? {
            return Ok(Some(Found { key, by: By::Key }));
        }
        if text.is_whole() {
            return Ok(None);
        }
        let names = self.names()?;
        let found = self.among(&names, text)?;
        match &found {
            Some(found) if names.noted && !self.is_still(found, text)? => {
                self.among(&self.read_names()?, text)
            }
            _ => Ok(found),
        }
    }

    fn exactly(&self, text: &KeyOrName) -> Result<Option<Key>> {
        let key = text.as_str().parse::<Key>().ok();
        let stored = || key.as_ref().map_or(Ok(false), |key| self.has_file(key));
        Ok(if stored()? || (self.adopt()? && stored()?) { key } else { None })
    }

    fn has_file(&self, key: &Key) -> Result<bool> {
        let path = self.key_path(key);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // A folder there, or a pipe, is not a key file.
            metadata => metadata.at("read", &path).map(|it| it.is_file() || it.is_symlink()),
        }
    }

    fn among(&self, names: &Names, text: &KeyOrName) -> Result<Option<Found>> {
        for (word, by) in words(text) {
            if let Some(key) = names.newest(&word) {
                return Ok(Some(Found { key, by }));
            }
        }
        if !text.is_beginning() {
            return Ok(None);
        }
        let begins = |key: &&str| key.starts_with(text.as_str()) && is_hex(digits(key));
        let keys: Vec<Key> = names.keys().filter(begins).filter_map(|key| key.parse().ok()).collect();
        match keys.as_slice() {
            [] => Ok(None),
            [key] => Ok(Some(Found { key: key.clone(), by: By::Beginning })),
            several => Err(self.ambiguous(text, several)?),
        }
    }

    /// Whether the entry says what the note of all names says.
    fn is_still(&self, found: &Found, text: &KeyOrName) -> Result<bool> {
        if found.by == By::Beginning {
            return self.has_file(&found.key);
        }
        let Some(entry) = self.read(&found.key)? else { return Ok(false) };
        Ok(words(text).any(|(word, by)| by == found.by && word.is_of(&entry)))
    }

    /// The error that lists the keys, each with when it was saved and its names.
    fn ambiguous(&self, text: &KeyOrName, keys: &[Key]) -> Result<Error> {
        let length = distinct(keys);
        let mut candidates = Vec::new();
        for key in keys.iter().take(LISTED) {
            let short = key.as_str().get(..length).unwrap_or(key.as_str());
            candidates.push(match self.peek(key) {
                Err(error) if error.is_corrupt() => format!("{short}  damaged"),
                listed => listed?.map_or_else(
                    || format!("{short}  gone"),
                    |listed| {
                        let saved = listed.entry.saved.strftime("%Y-%m-%d %H:%M");
                        let names = printable(&listed.entry.names.join(" ")).into_owned();
                        format!("{short}  {saved}  {names}").trim_end().to_owned()
                    },
                ),
            });
        }
        Ok(Error::Ambiguous { text: text.to_string(), count: keys.len(), candidates })
    }
}

/// What is looked for by names, in order.
fn words(text: &KeyOrName) -> impl Iterator<Item = (Word, By)> {
    let name = Word::name(text.as_str()).map(|name| (name, By::Name));
    name.into_iter().chain([(Word::Image(text.to_string()), By::Image)])
}

/// The shortest length that tells sorted keys apart.
fn distinct(keys: &[Key]) -> usize {
    let same = |pair: &[Key]| match pair {
        [one, next] => one.as_str().bytes().zip(next.as_str().bytes()).take_while(|(a, b)| a == b).count(),
        _ => 0,
    };
    keys.windows(2).map(same).max().map_or(0, |same| same + 1).max(SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_write_keys_and_names() {
        for text in ["app", "3f2a", "app:1", "localhost/app", "r.example:5000/a/b:1", "k_1.2-3"] {
            assert_eq!(text.parse::<KeyOrName>().unwrap().as_str(), text);
        }
        for text in ["", "../x", "a b", "-x", "app@sha256:00", ".x"] {
            assert!(text.parse::<KeyOrName>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_beginning_has_four_digits_and_is_not_whole() {
        let whole = "ab".repeat(32);
        let read = |text: &str| text.parse::<KeyOrName>().unwrap();
        for (text, beginning, too_short) in
            [("abc", false, true), ("abcd", true, false), ("abcg", false, false), ("ABCD", false, false)]
        {
            for text in [text.to_owned(), format!("sha256-{text}")] {
                assert_eq!(read(&text).is_beginning(), beginning, "{text}");
                assert_eq!(read(&text).is_too_short(), too_short, "{text}");
                assert!(!read(&text).is_whole());
            }
        }
        assert!(read(&whole).is_whole() && read(&format!("sha256-{whole}")).is_whole());
        assert!(read("abc").absent().ends_with("`abc`: the beginning of a key has at least 4 hex digits"));
    }

    #[test]
    fn keys_are_cut_where_they_differ() {
        let keys = |ends: &[&str]| -> Vec<Key> {
            ends.iter().map(|end| format!("{}{end}", "a".repeat(20)).parse().unwrap()).collect()
        };
        assert_eq!(distinct(&keys(&["1", "2"])), 21);
        assert_eq!(distinct(&["a1".parse().unwrap(), "b1".parse().unwrap()]), SHORT);
    }
}
