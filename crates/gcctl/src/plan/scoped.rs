//! Limits of some things: what they have together, and which of them go.

use std::collections::{HashMap, HashSet};

use storekit::{Digest, Referrers};

use crate::limits::{Limits, Part, Scoped, Why};
use crate::matcher::Matcher;
use crate::packages::choose::Most;
use crate::plan::Unmet;
use crate::snapshot::Snapshot;

/// Images that a limit is about, with what refers to them: what they need together.
pub(super) struct Together<'a> {
    snapshot: &'a Snapshot,
    members: HashSet<usize>,
    /// These, and what refers to them.
    counted: HashSet<usize>,
    holders: HashMap<Digest, u32>,
    /// How many members stay so far.
    pub(super) entries: u64,
    /// The bytes of all that stays so far.
    pub(super) bytes: u64,
}

impl<'a> Together<'a> {
    /// `own` are those that stay so far and stand for themselves.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        referrers: &Referrers,
        own: impl Iterator<Item = usize>,
        matcher: &Matcher<'_>,
    ) -> Self {
        let members: HashSet<_> = own.filter(|entry| matcher.takes_image(&snapshot.images[*entry])).collect();
        let below = members.iter().flat_map(|entry| referrers.below(*entry));
        let counted: HashSet<_> = members.iter().copied().chain(below).collect();
        let (mut holders, mut bytes) = (HashMap::new(), 0_u64);
        for image in counted.iter().map(|entry| &snapshot.images[*entry]) {
            bytes = bytes.saturating_add(image.files);
            for digest in &image.blobs {
                let count: &mut u32 = holders.entry(*digest).or_default();
                *count += 1;
                if *count == 1 {
                    bytes = bytes.saturating_add(snapshot.bytes(digest));
                }
            }
        }
        Self { snapshot, entries: members.len() as u64, members, counted, holders, bytes }
    }

    pub(super) fn has(&self, entry: usize) -> bool {
        self.members.contains(&entry)
    }

    /// An entry has gone.
    pub(super) fn release(&mut self, entry: usize) {
        if self.members.remove(&entry) {
            self.entries -= 1;
        }
        if !self.counted.remove(&entry) {
            return;
        }
        let image = &self.snapshot.images[entry];
        self.bytes = self.bytes.saturating_sub(image.files);
        for digest in &image.blobs {
            let Some(count) = self.holders.get_mut(digest) else { continue };
            *count -= 1;
            if *count == 0 {
                self.bytes = self.bytes.saturating_sub(self.snapshot.bytes(digest));
            }
        }
    }
}

/// The part of a limit that is one of number or size, and how much it allows.
pub(super) fn most(limit: &Scoped, part: Part) -> Option<Most> {
    match part {
        Part::Age => None,
        Part::Entries => limit.max_entries.map(Most::Entries),
        Part::Size => limit.max_size.map(|size| Most::Bytes(size.size.0)),
    }
}

/// The limits of some things that are not met by what stays: entries that stand for themselves, and
/// packages by their places.
pub(super) fn unmet(
    snapshot: &Snapshot,
    referrers: &Referrers,
    limits: &Limits,
    own: &(impl Iterator<Item = usize> + Clone),
    packages: &dyn Fn() -> Vec<usize>,
) -> Vec<Unmet> {
    let mut found = Vec::new();
    for (place, limit) in (0..).zip(&limits.scoped) {
        if limit.max_entries.is_none() && limit.max_size.is_none() {
            continue;
        }
        let matcher = Matcher::new(&limit.of);
        let (entries, bytes) = if matcher.is_of_images() {
            let together = Together::new(snapshot, referrers, own.clone(), &matcher);
            (together.entries, together.bytes)
        } else {
            snapshot.packages.measure(packages().into_iter(), |package| matcher.takes_package(package))
        };
        let parts = [
            (Part::Entries, entries, limit.max_entries),
            (Part::Size, bytes, limit.max_size.map(|size| size.size.0)),
        ];
        let over = parts.into_iter().filter_map(|(part, left, limit)| Some((part, left, limit?)));
        let over = over.filter(|(_, left, limit)| left > limit);
        found.extend(over.map(|(part, left, limit)| Unmet { why: Why::Limit(place, part), left, limit }));
    }
    found
}
