//! What the engine has to know of a request that a package client makes: what its answer must hash
//! to, and for how long it holds.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, Uri};
use storekit::{Checksum, ChecksumHasher, Digest, Level, StoredResponse};

use crate::ecosystem::contents::Contents;
use crate::ecosystem::table::Standing;
use crate::rules::reuse;

/// For how long a stored response may be handed on without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// For as long as HTTP's rules say.
    #[default]
    Http,
    /// Not at all, whatever lifetime it names: it is an interface, and passes the store.
    Never,
    /// For so many seconds, whatever it and the client say.
    For(i64),
    /// For ever: it cannot change.
    Forever,
}

/// No index is larger, as it comes or unpacked: 1 GiB.
pub(crate) const LARGEST_INDEX: u64 = 1 << 30;

/// What a body has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// What it hashes to.
    pub(crate) checksum: Checksum,
    /// Its bytes, where that was said.
    pub(crate) size: Option<u64>,
}

/// What holds for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// For how long an answer holds.
    pub(crate) freshness: Freshness,
    /// What the answer has to be, where that is known.
    pub(crate) expected: Option<Expected>,
    /// What it has to have in it, where its bytes themselves are not known.
    pub(crate) contents: Option<Contents>,
    /// Its bytes, where only that is known of them.
    pub(crate) size: Option<u64>,
    /// Who says so.
    pub(crate) level: Level,
    /// The forms that the upstream is asked for, where it is not to be any.
    pub(crate) accept: Option<&'static str>,
    /// Whether bytes that are stored for another URL may be handed on, where they are what is
    /// expected here.
    pub(crate) adopts: bool,
    /// Whether the upstream chooses between forms by `Accept`, whether it says so or not.
    pub(crate) negotiated: bool,
    /// How many older answers are kept beside the newest.
    pub(crate) generations: usize,
    /// For how many seconds it may stand in, once it is stale, for an upstream that fails.
    pub(crate) stale: i64,
    /// What its index says of the answer's header, in the place of what the server says that has
    /// its bytes.
    pub(crate) fields: Option<Arc<HeaderMap>>,
    /// Whether it is an index: for one, an upstream that has it no more is one that fails, and no
    /// answer may be larger than [`LARGEST_INDEX`].
    pub(crate) is_index: bool,
    /// Why nobody vouches for a file that has a name for ever.
    pub(crate) unvouched: Option<&'static str>,
    /// What its index says of its version.
    pub(crate) standing: Standing,
}

impl Ruling {
    /// Whether HTTP's rules alone hold.
    #[must_use]
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.freshness, Freshness::Http | Freshness::Never)
    }

    /// How many bytes an answer has to have, where that is known.
    #[must_use]
    pub(crate) fn size(&self) -> Option<u64> {
        self.expected.and_then(|it| it.size).or(self.size)
    }

    /// Whether an answer is judged by what it has to be.
    #[must_use]
    pub(crate) fn is_strict(&self) -> bool {
        self.expected.is_some() || self.contents.is_some()
    }

    /// The size in bytes beyond which no answer is taken.
    #[must_use]
    pub(crate) fn most(&self) -> u64 {
        if self.is_index { LARGEST_INDEX } else { u64::MAX }
    }

    /// Whether the answer is one for which what is stored stands in.
    #[must_use]
    pub(crate) fn is_failing(&self, status: StatusCode) -> bool {
        let by_rule = match status {
            StatusCode::TOO_MANY_REQUESTS => !self.is_http(),
            // A mirror that is being updated has no index for a while.
            StatusCode::NOT_FOUND => self.is_index,
            _ => false,
        };
        by_rule || reuse::is_failing(status)
    }

    /// Why an answer that says beforehand that it has `total` bytes is not what it should be, where
    /// its index says another size, or an index is larger than any; `None` where it may be.
    #[must_use]
    pub(crate) fn wrong_size(&self, url: &Uri, total: u64) -> Option<String> {
        match self.size() {
            Some(expected) if expected != total => {
                Some(format!("{url} has {total} bytes, and its index says {expected}: not handed on"))
            }
            _ if total > self.most() => {
                Some(format!("the index {url} has {total} bytes: none is larger than 1 GiB"))
            }
            _ => None,
        }
    }

    /// Whether the stored response is what is expected. What it has in it does not show here: of a
    /// file that was looked at, the digest is expected.
    #[must_use]
    pub(crate) fn accepts(&self, stored: &StoredResponse) -> bool {
        self.contents.is_none()
            && self.expected.is_none_or(|expected| {
                let size = expected.size.is_none_or(|size| size == stored.size);
                let same = stored.announced == Some(expected.checksum);
                size && (same || expected.checksum.digest() == Some(stored.digest))
            })
    }
}

/// Compares a body with what it has to be, while it comes.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    expected: Option<Expected>,
    /// Whether the end has to wait for the verdict.
    is_strict: bool,
    /// Where it is announced by another algorithm than the store's own.
    other: Option<ChecksumHasher>,
}

/// A body that is not what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// What it had to hash to.
    pub(crate) announced: Checksum,
    /// What it hashes to.
    pub(crate) found: Checksum,
}

impl Check {
    /// A check of what the ruling expects that has seen nothing.
    #[must_use]
    pub(crate) fn of(ruling: &Ruling) -> Self {
        Self { is_strict: ruling.is_strict(), ..Self::new(ruling.expected) }
    }

    /// A check of what is expected alone.
    #[must_use]
    pub(crate) fn new(expected: Option<Expected>) -> Self {
        let other = expected.filter(|it| it.checksum.digest().is_none());
        let other = other.map(|it| it.checksum.hasher(it.size));
        Self { expected, is_strict: expected.is_some(), other }
    }

    /// Whether anything is expected, so that the end has to wait for the verdict.
    #[must_use]
    pub(crate) fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.other {
            hasher.update(bytes);
        }
    }

    /// Whether all that came, whose SHA-256 is given, is what it has to be.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub(crate) fn verdict(&self, sha256: Digest) -> Result<(), Box<Mismatch>> {
        let Some(expected) = self.expected else { return Ok(()) };
        let other = self.other.clone().and_then(ChecksumHasher::finish);
        let found = other.unwrap_or(Checksum::from(sha256));
        if found == expected.checksum {
            Ok(())
        } else {
            Err(Box::new(Mismatch { announced: expected.checksum, found }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(checksum: &str, bytes: &[u8]) -> Result<(), Box<Mismatch>> {
        let expected = Expected { checksum: checksum.parse().unwrap(), size: None };
        let mut check = Check::new(Some(expected));
        check.update(bytes);
        check.verdict(Digest::of(bytes))
    }

    #[test]
    fn bodies_are_compared_by_whatever_was_announced() {
        let sha1 = "sha1:a9993e364706816aba3e25717850c26c9cd0d89d";
        let sha256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for checksum in [sha1, sha256] {
            assert_eq!(verdict(checksum, b"abc"), Ok(()));
            let mismatch = verdict(checksum, b"abd").unwrap_err();
            assert_eq!(mismatch.announced.to_string(), checksum);
            assert_eq!(mismatch.found.algorithm(), mismatch.announced.algorithm());
        }
        assert_eq!(Check::new(None).verdict(Digest::of(b"x")), Ok(()));
    }
}
