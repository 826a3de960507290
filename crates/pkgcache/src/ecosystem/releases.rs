//! The versions that an index names, in its order, and those of them that clients are not to see.
//!
//! Deliberately absent: why a version is not to be seen (`guards`).

use std::collections::BTreeSet;

use jiff::Timestamp;
use storekit::Digest;

use super::table::Standing;
use crate::ecosystem::BadIndex;

/// An index with more versions, or files, is not judged.
const MOST: usize = 50_000;

/// A version that an index names, or one of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// The version.
    pub(crate) version: String,
    /// What is said of it.
    pub(crate) standing: Standing,
}

/// All of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Releases {
    /// In the order in which they stand there.
    pub(crate) all: Vec<Release>,
    /// Names of versions, such as npm's `latest`, and what they name.
    pub(crate) tags: Vec<(String, String)>,
}

impl Releases {
    /// Adds one.
    ///
    /// # Errors
    /// [`BadIndex::TooLarge`].
    pub(crate) fn add(&mut self, version: &str, standing: Standing) -> Result<(), BadIndex> {
        if self.all.len() == MOST {
            return Err(BadIndex::TooLarge("it names more versions than can be judged"));
        }
        self.all.push(Release { version: version.to_owned(), standing });
        Ok(())
    }
}

/// What clients are not to see of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hidden {
    /// The places, in the index's order, of what is left out.
    places: BTreeSet<usize>,
    /// The versions of which nothing is left.
    versions: BTreeSet<String>,
}

impl Hidden {
    /// Of an index: those of which `is_seen` says no.
    pub(crate) fn of(releases: &Releases, mut is_seen: impl FnMut(&Release) -> bool) -> Self {
        let mut seen = BTreeSet::new();
        let mut hidden = Self::default();
        for (place, release) in releases.all.iter().enumerate() {
            if is_seen(release) {
                seen.insert(release.version.as_str());
            } else {
                hidden.places.insert(place);
                hidden.versions.insert(release.version.clone());
            }
        }
        hidden.versions.retain(|version| !seen.contains(version.as_str()));
        hidden
    }

    /// Whether all is seen.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many are left out.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the one at this place is left out.
    #[must_use]
    pub(crate) fn has_place(&self, place: usize) -> bool {
        self.places.contains(&place)
    }

    /// Whether nothing is left of the version.
    #[must_use]
    pub(crate) fn has(&self, version: &str) -> bool {
        self.versions.contains(version)
    }

    /// What tells it from others, for the names of pages that are made with it.
    #[must_use]
    pub(crate) fn salt(&self) -> String {
        if self.is_empty() { String::new() } else { Digest::of(format!("{self:?}").as_bytes()).hex() }
    }
}

/// The seconds since 1970 of a time as indexes write it (RFC 3339); `None` of anything else.
#[must_use]
pub(crate) fn seconds(text: &str) -> Option<u32> {
    u32::try_from(text.trim().parse::<Timestamp>().ok()?.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_hidden_when_none_of_its_files_is_left() {
        let mut releases = Releases::default();
        for (version, withdrawn) in [("1", true), ("1", false), ("2", true), ("2", true), ("3", false)] {
            releases.add(version, Standing { published: None, withdrawn }).unwrap();
        }
        let hidden = Hidden::of(&releases, |release| !release.standing.withdrawn);
        assert_eq!((0..5).filter(|place| hidden.has_place(*place)).collect::<Vec<_>>(), [0, 2, 3]);
        assert!(hidden.has("2") && !hidden.has("1") && !hidden.has("3") && hidden.len() == 3);
        assert!(Hidden::of(&releases, |_| true).salt().is_empty() && !hidden.salt().is_empty());
    }

    #[test]
    fn times_are_read_as_indexes_write_them() {
        assert_eq!(seconds("2020-01-02T03:04:05.000Z"), Some(1_577_934_245));
        assert_eq!(seconds("2020-01-02T03:04:05.123456Z"), Some(1_577_934_245));
        for text in ["", "yesterday", "2020-01-02", "1577934245", "1901-01-01T00:00:00Z"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
