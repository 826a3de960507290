//! Which keys the objects have that are open, so that one that comes twice is seen: readers differ
//! in which of two counts, and one must not see another checksum than the other.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::ecosystem::BadIndex;

/// All open objects together have no more keys.
const MOST: usize = 400_000;

/// Keys, as 64 bits that nobody outside can foresee.
#[derive(Default)]
pub(super) struct Keys {
    state: RandomState,
    known: HashSet<u64>,
    /// The same in their order.
    order: Vec<u64>,
    objects: u64,
    /// The objects around the one that is read.
    around: Vec<u64>,
}

/// An object that is open.
#[must_use = "its keys stay until it is closed"]
pub(super) struct Open(usize);

impl Keys {
    /// An object begins.
    pub(super) fn open(&mut self) -> Open {
        self.objects += 1;
        self.around.push(self.objects);
        Open(self.order.len())
    }

    /// An object ends.
    pub(super) fn close(&mut self, Open(from): Open) {
        for key in self.order.drain(from..) {
            self.known.remove(&key);
        }
        self.around.pop();
    }

    /// Adds a key to the object that was opened last. Returns whether it is the first one of its
    /// name.
    ///
    /// # Errors
    /// [`BadIndex::TooLarge`].
    pub(super) fn insert(&mut self, key: &str) -> Result<bool, BadIndex> {
        if self.order.len() == MOST {
            return Err(BadIndex::TooLarge("the index has objects with more than 400,000 keys"));
        }
        let hash = self.state.hash_one((self.around.last(), key));
        self.order.push(hash);
        Ok(self.known.insert(hash))
    }
}
