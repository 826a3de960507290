//! How a place is written: `store:DIR`, `registry:HOST[:PORT]/REPOSITORY`, `s3:URL`.

use std::fmt;
use std::str::FromStr;

use camino::Utf8PathBuf;
use serde::{Serialize, Serializer};
use storekit::{Key, NotAReference, Reference};
use toolkit::bucket::Address;

use crate::error::tier::Error;

/// A place that images stand in under their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Another store.
    Store(Utf8PathBuf),
    /// A repository of a registry, where keys are tags.
    Registry(Repository),
    /// A bucket of an object store, or a part of it.
    S3(Address),
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository(Reference);

impl Repository {
    /// The reference to one of its tags.
    pub(crate) fn at(&self, tag: &str) -> Reference {
        self.0.at_tag(tag)
    }

    /// The reference to what stands there under a key.
    pub(crate) fn of_key(&self, key: &Key) -> Reference {
        self.at(key.as_str())
    }
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::BadPlace {
            text: text.chars().take(300).collect(),
            reason: reason.to_owned(),
        };
        match text.split_once(':') {
            Some(("store", folder)) if !folder.is_empty() => Ok(Self::Store(folder.into())),
            Some(("store", _)) => Err(bad("it names no folder")),
            Some(("registry", name)) => repository(name).map(Self::Registry).map_err(|reason| bad(&reason)),
            Some(("s3", url)) => Address::parse(url).map(Self::S3).map_err(bad),
            _ => Err(bad("it is of no kind that is known")),
        }
    }
}

fn repository(name: &str) -> Result<Repository, String> {
    let reference: Reference = name.parse().map_err(|error: NotAReference| error.reason.to_owned())?;
    // The tag of a name that has none is not in the name.
    if reference.digest().is_some() || !is_bare(name) {
        return Err("a tag or a digest is not a part of it: each key is a tag".to_owned());
    }
    if !name.contains('/') {
        return Err("it names no registry".to_owned());
    }
    Ok(Repository(reference))
}

/// Whether no tag follows the name: a colon stands only before a port.
fn is_bare(name: &str) -> bool {
    name.rsplit_once('/').is_none_or(|(_, last)| !last.contains(':')) && !name.contains('@')
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.registry(), self.0.repository())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(folder) => write!(f, "store:{folder}"),
            Self::Registry(repository) => write!(f, "registry:{repository}"),
            Self::S3(address) => write!(f, "s3:{address}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str) {
        assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(text.parse::<Place>().is_err(), "{text} was accepted");
    }

    #[test]
    fn places_are_written_as_they_are_read() {
        for text in [
            "store:/var/cache/larder",
            "store:../other: one",
            "registry:registry.example/team/cache",
            "registry:127.0.0.1:5000/x",
            "registry:[::1]:5000/x",
            "s3:https://s3.example/larder/team",
        ] {
            reads(text);
        }
    }

    #[test]
    fn what_is_not_a_place_is_refused() {
        for text in [
            "",
            "store:",
            "/var/cache",
            "registry:",
            "registry:app",
            "registry:registry.example/a:1",
            "registry:registry.example/A",
            "registry:registry.example/../a",
            "registry:https://registry.example/a",
            "registry:user:secret@registry.example/a",
            "docker:registry.example/a",
            "s3:s3.example/larder",
            "s3:https://user:secret@s3.example/larder",
        ] {
            refused(text);
        }
        let digest = "a".repeat(64);
        refused(&format!("registry:registry.example/a@sha256:{digest}"));
    }
}
