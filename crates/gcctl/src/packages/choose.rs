//! Which package entries go, in which order: a part of the one planner.
//!
//! Touches no disk and reads no clock. What goes is deleted at once, and never counts as trash:
//! packages can be fetched again.

use super::{Going, Packages, View};
use crate::limits::Why;

/// A choice that is being made. Entries go by their place in the snapshot.
#[derive(Clone)]
pub(crate) struct Choice<'a> {
    packages: &'a Packages,
    /// By how many entries that stay so far each body is named.
    holders: Vec<u32>,
    /// The entries that may go, the one unused for longest at the end.
    candidates: Vec<u32>,
    /// What goes, in this order.
    pub(crate) gone: Vec<Going>,
    /// The bytes of what stays so far.
    pub(crate) live: u64,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(packages: &'a Packages) -> Self {
        let mut candidates: Vec<_> = (0..).take(packages.len()).collect();
        // Of those used at the same time, the first in the list goes first.
        candidates.sort_unstable_by_key(|place| std::cmp::Reverse((packages.used(*place), *place)));
        let holders = packages.bodies.holders();
        Self { packages, holders, candidates, gone: Vec::new(), live: packages.live() }
    }

    /// How many entries stay so far.
    pub(crate) fn count(&self) -> u64 {
        self.candidates.len() as u64
    }

    /// The entry that would go next.
    pub(crate) fn next(&self) -> Option<View<'a>> {
        self.packages.get(*self.candidates.last()? as usize)
    }

    /// Lets the next one go. Returns the bytes that this frees; `None` where there is none.
    pub(crate) fn evict(&mut self, why: Why) -> Option<u64> {
        let place = self.candidates.pop()?;
        self.remove(place, why)
    }

    /// Lets those go for which there is a reason, the one unused for longest first. Returns the
    /// bytes that this frees.
    pub(crate) fn evict_where(&mut self, why: impl Fn(View<'a>) -> Option<Why>) -> u64 {
        let mut freed: u64 = 0;
        let mut stay = Vec::new();
        for place in std::mem::take(&mut self.candidates).into_iter().rev() {
            match self.packages.get(place as usize).and_then(&why) {
                Some(why) => freed = freed.saturating_add(self.remove(place, why).unwrap_or(0)),
                None => stay.push(place),
            }
        }
        stay.reverse();
        self.candidates = stay;
        freed
    }

    fn remove(&mut self, place: u32, why: Why) -> Option<u64> {
        let package = self.packages.get(place as usize)?;
        let bytes = package.file() + package.release(&mut self.holders);
        self.live = self.live.saturating_sub(bytes);
        self.gone.push(Going { place, why, bytes });
        Some(bytes)
    }
}
