//! What goes for the bytes of the whole store, and what keeps it from going further.

use std::collections::HashSet;

use storekit::Digest;
use storekit::digest::DigestMap;

use super::{Choice, Ranked};
use crate::limits::Why;
use crate::plan::bounds::{Bound, Newest};
use crate::plan::{Hold, Holds, counts};
use crate::waiting::Waiting;

/// An image is worth to go for its own files alone where these are one part in so many of all that
/// it has: whatever the limit is, so that a tighter one takes more.
const WORTH: u64 = 20;

impl Choice<'_> {
    pub(in crate::plan) fn by_size(&mut self) {
        for bound in self.bounds.clone() {
            if self.live <= bound.stays() {
                continue;
            }
            let newest = || counts::newest(self.snapshot, self.own());
            let floor = if bound.newest == Newest::Stays { newest() } else { HashSet::new() };
            if bound.newest != Newest::Goes && !bound.of_packages && !self.can_meet(bound, &floor) {
                let newest = newest();
                self.keep(&newest, Hold::Newest);
            }
            self.evict_while(bound, &floor);
            self.floor = floor;
        }
    }

    fn can_meet(&self, bound: Bound, floor: &HashSet<usize>) -> bool {
        let mut trial = self.clone();
        trial.evict_while(bound, floor);
        bound.is_possible && trial.live <= bound.stays()
    }

    /// Lets go what comes first, images and packages, while it is over. What would leave less than
    /// is reserved stays, and so do the images of the floor for now, and those that free no blob.
    fn evict_while(&mut self, bound: Bound, floor: &HashSet<usize>) {
        let all = self.candidates.clone();
        self.candidates.retain(|entry| !bound.of_packages && !floor.contains(entry));
        let mut waiting = Waiting::new();
        while self.live > bound.stays() {
            let image = self.candidates.last().copied();
            let package = self.packages.next();
            let turns = (image.map(|entry| self.turns[entry]), package.map(|it| self.ranking.package(it)));
            // Of two that are equal, the one goes that can be fetched again.
            let is_package = match turns {
                (None, None) => break,
                (image, Some(package)) => image.is_none_or(|image| package <= image),
                (Some(_), None) => false,
            };
            let most = self.live - bound.floor.min(self.live);
            if is_package && bound.floor > 0 && self.packages.next_frees() > most {
                self.packages.pass_over();
                self.reserved = Some(bound.floor);
            } else if is_package {
                self.evict_package(bound.why);
            } else if let Some(entry) = self.candidates.pop() {
                let going = self.turn_of(entry, &mut waiting);
                if bound.floor > 0 && self.frees(&going) > most {
                    self.reserved = Some(bound.floor);
                    continue;
                }
                waiting.went(&going);
                for (_, entry) in going {
                    self.evict(entry, bound.why);
                }
            }
        }
        if self.live > bound.bytes && self.live <= bound.floor {
            self.reserved = Some(bound.floor);
        }
        self.packages.take_up();
        self.candidates = all.into_iter().filter(|entry| !self.gone.contains(entry)).collect();
        self.useless.extend(waiting.all().map(|(_, entry)| entry));
    }

    /// The images that go when it is this one's turn for a limit of bytes, in their order: none
    /// where it would free no blob, and next to nothing by its own files.
    pub(super) fn turn_of(&self, entry: usize, waiting: &mut Waiting<Ranked, Digest>) -> Vec<Ranked> {
        let going: Vec<_> = self.referrers.would_release(&[entry]).into_iter().chain([entry]).collect();
        let files: u64 = going.iter().map(|entry| self.snapshot.images[*entry].files).sum();
        let mut parts: DigestMap<usize> = DigestMap::default();
        let blobs = going.iter().flat_map(|entry| &self.snapshot.images[*entry].blobs);
        for digest in blobs.filter(|digest| self.snapshot.bytes(digest) > 0) {
            *parts.entry(*digest).or_default() += 1;
        }
        // One of which no blob is there shares none; a small one frees by its own files.
        let shared: u64 = parts.keys().map(|digest| self.snapshot.bytes(digest)).sum();
        let is_of_use = files.saturating_mul(WORTH) >= files.saturating_add(shared);
        let needed = |digest: &Digest| self.holders.count(digest);
        waiting.turn((self.ranks[entry], entry), parts.into_iter().collect(), is_of_use, needed)
    }

    /// The bytes that would be free if these went now, with what goes with them.
    fn frees(&self, entries: &[Ranked]) -> u64 {
        let mut going: Vec<_> = entries.iter().map(|(_, entry)| *entry).collect();
        going.extend(self.referrers.would_release(&going));
        let going: Vec<_> = going.into_iter().map(|entry| &self.snapshot.images[entry]).collect();
        let idle = self.holders.would_release(going.iter().flat_map(|image| &image.blobs));
        let blobs: u64 = idle.iter().map(|digest| self.snapshot.bytes(digest)).sum();
        going.iter().map(|image| image.files).sum::<u64>() + blobs
    }

    /// What keeps things of those that a limit is about.
    pub(super) fn holds(&self, why: Why) -> Holds {
        let is_of_floor = |entry: usize| why == Why::MinFree && self.floor.contains(&entry);
        let hold = |entry: usize| {
            let hold = self.held.get(&entry).copied();
            let hold = hold.or_else(|| is_of_floor(entry).then_some(Hold::Newest));
            hold.or_else(|| (why.is_of_bytes() && self.useless.contains(&entry)).then_some(Hold::Shared))
        };
        let images = self.own().map(|entry| (&self.snapshot.images[entry], hold(entry)));
        let holds = Holds::count(why, self.limits, images, self.packages.held());
        Holds { reserved: self.reserved.filter(|_| why.leaves_no_trash()), ..holds }
    }
}
