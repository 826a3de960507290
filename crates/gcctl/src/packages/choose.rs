//! Which package entries go, in which order: a part of the one planner.
//!
//! Touches no disk and reads no clock. What goes is deleted at once, and never counts as trash:
//! packages can be fetched again.

use jiff::Timestamp;
use storekit::{Digest, PackageKey};

use super::{Package, Packages};
use crate::holders::Holders;
use crate::limits::Why;

/// An entry that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Its ecosystem, where it came from, its URL, and whose it is.
    pub key: PackageKey,
    /// When it was last used.
    pub used: Timestamp,
    /// The limit for which it goes.
    pub why: Why,
    /// What its entry names, sorted. A body goes where no other entry names it.
    pub bodies: Vec<Digest>,
    /// The bytes that this frees, after all that goes before it.
    pub bytes: u64,
}

/// A choice that is being made. Entries go by their place in the snapshot.
#[derive(Clone)]
pub(crate) struct Choice<'a> {
    packages: &'a Packages,
    holders: Holders,
    /// The entries that may go, the one unused for longest at the end.
    candidates: Vec<usize>,
    /// What goes, in this order.
    pub(crate) gone: Vec<Eviction>,
    /// The bytes of what stays so far.
    pub(crate) live: u64,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(packages: &'a Packages) -> Self {
        let holders = packages.holders();
        let named = packages.bodies.iter().filter(|(digest, _)| holders.count(digest) > 0);
        let files = packages.entries.iter().map(|package| package.file);
        let live = files.chain(named.map(|(_, bytes)| *bytes)).sum();
        let mut candidates: Vec<_> = (0..packages.entries.len()).collect();
        // Of those used at the same time, the first in the list goes first.
        candidates.sort_by_key(|place| (packages.entries[*place].used, *place));
        candidates.reverse();
        Self { packages, holders, candidates, gone: Vec::new(), live }
    }

    /// How many entries stay so far.
    pub(crate) fn count(&self) -> u64 {
        self.candidates.len() as u64
    }

    /// The entry that would go next.
    pub(crate) fn next(&self) -> Option<&'a Package> {
        self.candidates.last().map(|place| &self.packages.entries[*place])
    }

    /// Lets the next one go. Returns the bytes that this frees; `None` where there is none.
    pub(crate) fn evict(&mut self, why: Why) -> Option<u64> {
        let place = self.candidates.pop()?;
        Some(self.remove(place, why))
    }

    /// Lets those go for which there is a reason, the one unused for longest first. Returns the
    /// bytes that this frees.
    pub(crate) fn evict_where(&mut self, why: impl Fn(&Package) -> Option<Why>) -> u64 {
        let mut freed: u64 = 0;
        let mut stay = Vec::new();
        for place in std::mem::take(&mut self.candidates).into_iter().rev() {
            match why(&self.packages.entries[place]) {
                Some(why) => freed = freed.saturating_add(self.remove(place, why)),
                None => stay.push(place),
            }
        }
        stay.reverse();
        self.candidates = stay;
        freed
    }

    fn remove(&mut self, place: usize, why: Why) -> u64 {
        let package = &self.packages.entries[place];
        let bytes = package.file + self.packages.release(&mut self.holders, package);
        self.live = self.live.saturating_sub(bytes);
        let (key, used, bodies) = (package.key.clone(), package.used, package.bodies.clone());
        self.gone.push(Eviction { key, used, why, bodies, bytes });
        bytes
    }
}
