//! Which package entries go, in which order: a part of the one planner.
//!
//! Touches no disk and reads no clock. What goes is deleted at once, and never counts as trash:
//! packages can be fetched again. What is held never goes.

use std::cmp::Reverse;

use super::{Going, Packages, View};
use crate::limits::Why;

/// A choice that is being made. Entries go by their place in the snapshot.
#[derive(Clone)]
pub(crate) struct Choice<'a> {
    packages: &'a Packages,
    /// By how many entries that stay so far each body is named.
    holders: Vec<u32>,
    /// The entries that may go, the first at the end.
    candidates: Vec<u32>,
    /// Those before these that stay for now, in their order.
    passed_over: Vec<u32>,
    /// Which in the order each is, from 1, by its place.
    ranks: Vec<u32>,
    /// What goes, in this order.
    pub(crate) gone: Vec<Going>,
    /// The bytes of what stays so far.
    pub(crate) live: u64,
}

/// What entries may be together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Most {
    /// So many of them.
    Entries(u64),
    /// So many bytes; a body that several of them name counts once.
    Bytes(u64),
}

impl Most {
    /// Whether so many entries with so many bytes are too much.
    pub(crate) fn is_less(self, entries: u64, bytes: u64) -> bool {
        match self {
            Self::Entries(most) => entries > most,
            Self::Bytes(most) => bytes > most,
        }
    }
}

impl<'a> Choice<'a> {
    /// Those go first whose turn is the least; of equal ones, the first in the list. Without
    /// `turn`, the last use decides, then how many there were.
    pub(crate) fn new<T: Ord>(packages: &'a Packages, turn: Option<impl Fn(View<'a>) -> T>) -> Self {
        let all = (0..).take(packages.len());
        let mut candidates: Vec<u32> = all.filter(|place| !packages.held.contains(place)).collect();
        if let Some(turn) = turn {
            let turn = |place: u32| packages.get(place as usize).map(&turn);
            candidates.sort_by_cached_key(|place| Reverse((turn(*place), *place)));
        } else {
            packages.sort_by_use(&mut candidates);
        }
        let mut ranks = vec![0; packages.len()];
        for (rank, place) in (1..).zip(candidates.iter().rev()) {
            if let Some(it) = ranks.get_mut(*place as usize) {
                *it = rank;
            }
        }
        let holders = packages.bodies.holders();
        let (passed_over, gone) = (Vec::new(), Vec::new());
        Self { packages, holders, candidates, passed_over, ranks, gone, live: packages.live() }
    }

    /// How many entries stay so far.
    pub(crate) fn count(&self) -> u64 {
        (self.candidates.len() + self.packages.held.len()) as u64
    }

    /// The entries that are held.
    pub(crate) fn held(&self) -> impl Iterator<Item = View<'a>> + '_ {
        self.packages.held.iter().filter_map(|place| self.packages.get(*place as usize))
    }

    /// The entries that stay so far.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.candidates.iter().chain(&self.packages.held).map(|place| *place as usize)
    }

    /// The entry that would go next.
    pub(crate) fn next(&self) -> Option<View<'a>> {
        self.packages.get(*self.candidates.last()? as usize)
    }

    /// The bytes that would be free if the next one went; 0 where there is none.
    pub(crate) fn next_frees(&self) -> u64 {
        self.next().map_or(0, |package| package.file() + package.would_release(&self.holders))
    }

    /// The next one stays, and those come that follow it, until [`Self::take_up`].
    pub(crate) fn pass_over(&mut self) {
        self.passed_over.extend(self.candidates.pop());
    }

    /// Those that were passed over come next again.
    pub(crate) fn take_up(&mut self) {
        self.candidates.extend(self.passed_over.drain(..).rev());
    }

    /// Lets the next one go. Returns the bytes that this frees; `None` where there is none.
    pub(crate) fn evict(&mut self, why: Why) -> Option<u64> {
        let place = self.candidates.pop()?;
        self.remove(place, why)
    }

    /// Lets those go for which there is a reason, in their order. Returns the bytes that this
    /// frees.
    pub(crate) fn evict_where(&mut self, mut why: impl FnMut(View<'_>) -> Option<Why>) -> u64 {
        let mut freed: u64 = 0;
        let mut stay = Vec::new();
        for place in std::mem::take(&mut self.candidates).into_iter().rev() {
            match self.packages.get(place as usize).and_then(&mut why) {
                Some(why) => freed = freed.saturating_add(self.remove(place, why).unwrap_or(0)),
                None => stay.push(place),
            }
        }
        stay.reverse();
        self.candidates = stay;
        freed
    }

    /// Lets some of those go that are meant, in their order, until they are not too much. Returns
    /// the bytes that this frees.
    pub(crate) fn keep_within(&mut self, most: Most, why: Why, is_meant: impl Fn(View<'_>) -> bool) -> u64 {
        let packages = self.packages;
        let mut holders = vec![0; self.holders.len()];
        // To compare names takes longer than all else.
        let mut meant = vec![false; packages.len()];
        for place in self.places() {
            meant[place] = packages.get(place).is_some_and(&is_meant);
        }
        let is_meant = |package: View<'_>| meant.get(package.place()).copied().unwrap_or_default();
        let (mut entries, mut bytes) = packages.measure(self.places(), is_meant);
        for package in self.places().filter_map(|place| packages.get(place)).filter(|it| is_meant(*it)) {
            package.count(&mut holders);
        }
        self.evict_where(|package| {
            if !most.is_less(entries, bytes) || !is_meant(package) {
                return None;
            }
            entries = entries.saturating_sub(1);
            bytes = bytes.saturating_sub(package.file() + package.release(&mut holders));
            Some(why)
        })
    }

    fn remove(&mut self, place: u32, why: Why) -> Option<u64> {
        let package = self.packages.get(place as usize)?;
        let bytes = package.file() + package.release(&mut self.holders);
        self.live = self.live.saturating_sub(bytes);
        let rank = self.ranks.get(place as usize).copied().unwrap_or_default();
        self.gone.push(Going { place, why, bytes, rank });
        Some(bytes)
    }
}
