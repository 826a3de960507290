//! The package entries that go, in their order.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Gathered, Package, Packages, View};
use crate::limits::Why;

/// That an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Going {
    /// Its place among all.
    pub place: u32,
    /// The limit for which it goes.
    pub why: Why,
    /// The bytes that this frees, after all that goes before it.
    pub bytes: u64,
    /// Which in the order of all packages, from 1; 0 where that is not known.
    pub rank: u32,
}

/// An entry that goes, as it is looked at. A body goes where no other entry names it.
#[derive(Clone, Copy, Debug)]
pub struct Eviction<'a> {
    /// The entry.
    pub package: View<'a>,
    /// The limit for which it goes.
    pub why: Why,
    /// The bytes that this frees, after all that goes before it.
    pub bytes: u64,
    /// Which in the order of all packages, from 1; 0 where that is not known.
    pub rank: u32,
}

/// All that go, in this order.
#[derive(Clone, Debug, Default)]
pub struct Evictions {
    packages: Arc<Packages>,
    going: Vec<Going>,
}

impl Evictions {
    /// Of these packages.
    #[must_use]
    pub fn of(packages: Arc<Packages>, going: Vec<Going>) -> Self {
        Self { packages, going }
    }

    /// How many go.
    #[must_use]
    pub fn len(&self) -> usize {
        self.going.len()
    }

    /// Whether none goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.going.is_empty()
    }

    /// The one that goes at this point.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<Eviction<'_>> {
        self.view(self.going.get(number)?)
    }

    /// All, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Eviction<'_>> + Clone {
        self.going.iter().filter_map(|going| self.view(going))
    }

    /// Those that go for this limit.
    #[must_use]
    pub fn of_limit(&self, why: Why) -> Self {
        self.filtered(|going| going.why == why)
    }

    /// Those that go for others.
    #[must_use]
    pub fn without(&self, why: Why) -> Self {
        self.filtered(|going| going.why != why)
    }

    fn filtered(&self, is_meant: impl Fn(&Going) -> bool) -> Self {
        let going = self.going.iter().filter(|going| is_meant(going)).copied().collect();
        Self { packages: Arc::clone(&self.packages), going }
    }

    fn view(&self, going: &Going) -> Option<Eviction<'_>> {
        let package = self.packages.get(going.place as usize)?;
        Some(Eviction { package, why: going.why, bytes: going.bytes, rank: going.rank })
    }
}

/// Those that a plan names that was read.
#[derive(Debug, Default)]
pub struct Named {
    gathered: Gathered,
    going: Vec<Going>,
}

impl Named {
    /// Adds one.
    pub fn push(&mut self, package: &Package, why: Why, bytes: u64, rank: u32) {
        let place = u32::try_from(self.going.len()).unwrap_or(u32::MAX);
        self.gathered.push(package.key.id(), &package.summary(), package.used, package.file);
        self.going.push(Going { place, why, bytes, rank });
    }

    /// All of them.
    #[must_use]
    pub fn done(self) -> Evictions {
        let packages = Packages::of(super::joined(self.gathered), Vec::new(), Timestamp::MAX);
        Evictions { packages: Arc::new(packages), going: self.going }
    }
}

impl PartialEq for Evictions {
    fn eq(&self, other: &Self) -> bool {
        let all = |it: &Self| -> Vec<_> {
            it.iter()
                .map(|it| {
                    let package = it.package;
                    (package.key(), package.used(), package.digests(), it.why, it.bytes, it.rank)
                })
                .collect()
        };
        all(self) == all(other)
    }
}
