//! Repository names, and how names of images, repositories with tags, and keys of the store stand
//! for each other.
//!
//! See FORMAT.md, "The store as a registry". Source: OCI distribution-spec v1.1, "Pulling
//! manifests".

use std::fmt;
use std::str::FromStr;

use storekit::{Digest, Key};

use crate::serve::fault::Fault;

/// The repository whose tags are the keys themselves.
pub const KEYS: &str = "larder/keys";

/// A name of the spec's grammar, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Repository(String);

impl Repository {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its tags are keys.
    pub(crate) fn is_keys(&self) -> bool {
        self.0 == KEYS
    }
}

impl FromStr for Repository {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.len() <= 255 && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::name_invalid(text))
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let mut rest = part.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let gap = rest.iter().take_while(|byte| b"._-".contains(byte)).count();
        let (separator, after) = rest.split_at(gap);
        let dashes = gap > 0 && separator.iter().all(|byte| *byte == b'-');
        if !dashes && !matches!(separator, b"." | b"_" | b"__") {
            return false;
        }
        rest = after;
    }
}

/// The key under which a pushed tag is stored.
///
/// `/` becomes `._` and the `:` before the tag `..`; neither is in a repository's name, so that no
/// two tags share a key. What is too long for a key is hashed.
pub(crate) fn key_of(repository: &Repository, tag: &Key) -> Key {
    if repository.is_keys() {
        return tag.clone();
    }
    let name = name_of(repository, tag);
    let text = format!("{}..{tag}", repository.0.replace('/', "._"));
    let hashed = || format!("name-{}", Digest::of(name.as_bytes()).hex()).parse();
    // Hex digits after a word are always a key.
    text.parse().or_else(|_| hashed()).unwrap_or_else(|_| Key::of_digest(&Digest::of(name.as_bytes())))
}

/// The image name of a tag.
pub(crate) fn name_of(repository: &Repository, tag: &Key) -> String {
    format!("{repository}:{tag}")
}

/// The repositories and tags under which an image name is served: as it is, and without a host.
pub(crate) fn served(name: &str) -> Vec<(Repository, Key)> {
    let parse = |name: &str| {
        let (repository, tag) = name.rsplit_once(':')?;
        Some((repository.parse().ok()?, tag.parse().ok()?))
    };
    [Some(name), without_host(name)].into_iter().flatten().filter_map(parse).collect()
}

fn without_host(name: &str) -> Option<&str> {
    let (first, rest) = name.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    fn key(repository: &str, tag: &str) -> String {
        key_of(&self::repository(repository), &tag.parse().unwrap()).to_string()
    }

    #[test]
    fn names_follow_the_grammar() {
        for text in ["a", "a/b", "a.b_c__d---e/0", "library/ubuntu", &"a".repeat(255)] {
            repository(text);
        }
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a..b",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "a b",
            "é",
            "a:b",
            "..",
            "a/../b",
            &"a".repeat(256),
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn no_two_tags_share_a_key() {
        assert_eq!(key("app", "1.2"), "app..1.2");
        assert_eq!(key("team/app", "1"), "team._app..1");
        assert_eq!(key(KEYS, "abc"), "abc");
        assert_ne!(key("a/b", "c"), key("a", "b..c"));
        let long = "a".repeat(200);
        assert!(key(&long, "1").starts_with("name-"));
        assert_ne!(key(&long, "1"), key(&long, "2"));
    }

    #[track_caller]
    fn served_as(name: &str, expected: &[&str]) {
        let found: Vec<_> =
            served(name).into_iter().map(|(repository, tag)| name_of(&repository, &tag)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_host_may_be_left_out() {
        served_as("app:1", &["app:1"]);
        served_as("localhost/app:1", &["localhost/app:1", "app:1"]);
        served_as("registry.example/team/app:1", &["registry.example/team/app:1", "team/app:1"]);
        served_as("registry.example:5000/app:1", &["app:1"]);
        served_as("Registry.example/app:1", &["app:1"]);
        served_as("no-tag", &[]);
    }
}
