//! A choice that is being made: images and packages go one after the other, and what is left is
//! known at each step.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use storekit::{Age, Referrers};

use crate::limits::{Limits, Why};
use crate::packages::{Evictions, choose};
use crate::plan::counts;
use crate::plan::{Emptied, Eviction, Left, Plan, Rest, Unneeded, staleness};
use crate::snapshot::{Holders, Snapshot};

/// How long it is unused, in seconds.
pub(super) fn idle(used: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(used).as_secs_f64().max(0.0)
}

/// How many disks stand for themselves.
fn count_disks(snapshot: &Snapshot, referrers: &Referrers) -> u64 {
    let own = snapshot.images.iter().enumerate().filter(|(entry, _)| !referrers.is_attached(*entry));
    own.filter(|(_, image)| image.is_disk).count() as u64
}

/// A plan that is being made. Images go by their place in the snapshot.
#[derive(Clone)]
pub(super) struct Choice<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    /// The images that may go, the first at the end.
    candidates: Vec<usize>,
    holders: Holders,
    referrers: Referrers,
    gone: HashSet<usize>,
    images: Vec<Eviction>,
    blobs: Vec<Unneeded>,
    packages: choose::Choice<'a>,
    /// How many disks stay so far.
    disks: u64,
    /// What stays outside the trash so far.
    live: u64,
    /// The loosest first.
    bounds: Vec<Bound>,
    rest: Rest,
}

/// How many bytes may be there.
#[derive(Clone, Copy)]
struct Bound {
    bytes: u64,
    why: Why,
    /// Whether it could be met at all if the store were empty.
    is_possible: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, limits: &'a Limits) -> Self {
        let holders = Holders::of(snapshot);
        let unneeded = snapshot.unreferenced(&holders).into_iter();
        let usage = snapshot.usage();
        let referrers = snapshot.referrers();
        let images = snapshot.count(&referrers);
        let candidates = candidates(snapshot, &referrers);
        Self {
            snapshot,
            limits,
            rest: Rest {
                images,
                pinned: images.saturating_sub(candidates.len() as u64),
                writing: snapshot.unfinished.saturating_sub(snapshot.abandoned),
                ..Rest::default()
            },
            candidates,
            holders,
            packages: choose::Choice::new(&snapshot.packages),
            disks: count_disks(snapshot, &referrers),
            referrers,
            gone: HashSet::new(),
            images: Vec::new(),
            blobs: unneeded.map(|(digest, bytes)| Unneeded { digest, bytes }).collect(),
            live: usage
                .governed()
                .saturating_sub(usage.trash + usage.damaged + usage.unreferenced)
                .saturating_sub(usage.packages_unneeded + snapshot.abandoned),
            bounds: bounds(limits, usage.governed(), snapshot.free),
        }
    }

    /// From now on, no image goes that is one of the last used ones of its name, so many of each.
    pub(super) fn keep_the_last(&mut self) {
        let Some(keep) = self.limits.keep_last else { return };
        let kept = counts::first(self.snapshot, self.own(), keep);
        self.keep(&kept);
    }

    pub(super) fn by_age(&mut self) {
        let now = self.snapshot.now;
        let is_old =
            |used: Timestamp, age: Age| now.duration_since(used).unsigned_abs() > age.0 && used < now;
        if let Some(age) = self.limits.max_age {
            self.evict_where(Why::MaxAge, |choice, entry| is_old(choice.snapshot.images[entry].used, age));
        }
        let limits = self.limits;
        let of_all = limits.max_age.map(|age| (age, Why::MaxAge));
        let of_packages = limits.packages_max_age.map(|age| (age, Why::PackagesMaxAge)).or(of_all);
        let of_models = limits.models_max_age.map(|age| (age, Why::ModelsMaxAge)).or(of_packages);
        let freed = self.packages.evict_where(|package| {
            // Its URL is looked at only where that matters.
            let is_model = limits.models_max_age.is_some() && package.is_model();
            let (age, why) = if is_model { of_models } else { of_packages }?;
            is_old(package.used(), age).then_some(why)
        });
        self.live = self.live.saturating_sub(freed);
    }

    pub(super) fn by_count(&mut self) {
        if let Some(limit) = self.limits.max_per_image {
            let stay = counts::last(self.snapshot, self.own(), limit);
            self.evict_where(Why::MaxPerImage, |choice, entry| {
                counts::name(&choice.snapshot.images[entry]).is_some() && !stay.contains(&entry)
            });
        }
        let (disks, images) = (self.limits.max_disks, self.limits.max_images);
        if let Some(limit) = disks {
            self.evict_where(Why::MaxDisks, |choice, entry| {
                choice.disks > limit && choice.snapshot.images[entry].is_disk
            });
        }
        // Where disks have a count of their own, they are not in the other one.
        let apart = disks.is_some();
        if let Some(limit) = images {
            self.evict_where(Why::MaxImages, |choice, entry| {
                let count = choice.rest.images - if apart { choice.disks } else { 0 };
                count > limit && !(apart && choice.snapshot.images[entry].is_disk)
            });
        }
    }

    pub(super) fn packages_by_size(&mut self) {
        let Some(limit) = self.limits.packages_max_size else { return };
        while self.packages.live > limit.size.0 && self.evict_package(Why::PackagesMaxSize) {}
    }

    pub(super) fn by_size(&mut self) {
        for bound in self.bounds.clone() {
            if self.live > bound.bytes && !self.can_meet(bound) {
                self.keep_the_newest();
            }
            self.evict_while(bound.why, |choice| choice.live > bound.bytes);
        }
    }

    /// The entries that stay so far and stand for themselves.
    fn own(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.snapshot.images.len())
            .filter(|entry| !self.gone.contains(entry) && !self.referrers.is_attached(*entry))
    }

    fn can_meet(&self, bound: Bound) -> bool {
        let mut trial = self.clone();
        trial.evict_while(bound.why, |_| true);
        bound.is_possible && trial.live <= bound.bytes
    }

    /// From now on, no image goes that is the newest of a name, or that has none.
    fn keep_the_newest(&mut self) {
        let newest = self.newest();
        self.keep(&newest);
    }

    fn keep(&mut self, kept: &HashSet<usize>) {
        let before = self.candidates.len();
        self.candidates.retain(|entry| !kept.contains(entry));
        self.rest.newest += (before - self.candidates.len()) as u64;
    }

    /// Of those that stay so far, the last saved of each name, and all without a name.
    fn newest(&self) -> HashSet<usize> {
        let images = &self.snapshot.images;
        let stay = || (0..images.len()).filter(|entry| !self.gone.contains(entry));
        let mut newest: HashMap<&str, usize> = HashMap::new();
        for entry in stay() {
            for name in &images[entry].names {
                let last = newest.entry(name).or_insert(entry);
                let rank = |entry: usize| (images[entry].saved, images[entry].used);
                if rank(entry) > rank(*last) {
                    *last = entry;
                }
            }
        }
        let nameless = stay().filter(|entry| images[*entry].names.is_empty());
        nameless.chain(newest.into_values()).collect()
    }

    /// Lets go what is unused for longest, images and packages, while it is over.
    fn evict_while(&mut self, why: Why, over: impl Fn(&Self) -> bool) {
        while over(self) {
            let now = self.snapshot.now;
            let image = self.candidates.last().map(|entry| staleness(&self.snapshot.images[*entry], now));
            let package = self.packages.next().map(|package| idle(package.used(), now));
            // Of two that are equal, the one goes that can be fetched again.
            let is_package = match (image, package) {
                (None, None) => return,
                (image, Some(package)) => image.is_none_or(|image| package >= image),
                (Some(_), None) => false,
            };
            if is_package {
                self.evict_package(why);
            } else if let Some(entry) = self.candidates.pop() {
                self.evict(entry, why);
            }
        }
    }

    /// Lets those images go that are meant, the one unused for longest first.
    pub(super) fn evict_where(&mut self, why: Why, is_meant: impl Fn(&Self, usize) -> bool) {
        let mut stay = Vec::new();
        for entry in std::mem::take(&mut self.candidates).into_iter().rev() {
            if is_meant(self, entry) {
                self.evict(entry, why);
            } else {
                stay.push(entry);
            }
        }
        stay.reverse();
        self.candidates = stay;
    }

    fn evict(&mut self, entry: usize, why: Why) {
        self.rest.images -= 1;
        self.disks -= u64::from(self.snapshot.images[entry].is_disk);
        self.remove(entry, why);
        for referrer in self.referrers.release(entry) {
            self.remove(referrer, Why::Subject);
        }
    }

    /// Returns whether there was one.
    pub(super) fn evict_package(&mut self, why: Why) -> bool {
        let freed = self.packages.evict(why);
        self.live = self.live.saturating_sub(freed.unwrap_or(0));
        freed.is_some()
    }

    fn remove(&mut self, entry: usize, why: Why) {
        let image = &self.snapshot.images[entry];
        let blobs = self.holders.release(image);
        let bytes = image.files + blobs.iter().map(|digest| self.snapshot.bytes(digest)).sum::<u64>();
        self.live = self.live.saturating_sub(bytes);
        self.gone.insert(entry);
        self.images.push(Eviction {
            key: image.key.clone(),
            digest: image.digest,
            used: image.used,
            uses: image.uses,
            why,
            subject: image.subject.filter(|_| why == Why::Subject),
            blobs,
            bytes,
        });
    }

    /// Settles the trash: what is over its grace goes, then, oldest first, what a byte limit leaves
    /// no room for.
    pub(super) fn plan(self) -> Plan {
        let (now, grace) = (self.snapshot.now, self.limits.grace());
        let strictest = self.bounds.last().copied();
        let is_over = |bytes| strictest.filter(|bound| bytes > bound.bytes);
        let per_image = counts::most(self.own().map(|entry| &self.snapshot.images[entry]));
        let unneeded = self.snapshot.packages.unneeded();
        let (packages, package_bytes) = (self.packages.count(), self.packages.live);
        let freed = self.packages.gone.iter().map(|package| package.bytes).sum::<u64>();
        let mut plan = Plan {
            time: now,
            limits: *self.limits,
            abandoned: self.snapshot.abandoned,
            images: self.images,
            blobs: self.blobs,
            packages: Evictions::of(Arc::clone(&self.snapshot.packages), self.packages.gone),
            bodies: unneeded.map(|(digest, bytes)| Unneeded { digest, bytes }).collect(),
            ..Plan::default()
        };
        let moved = plan.bytes() - plan.abandoned;
        let kept = self.snapshot.trash.iter().map(|removed| removed.bytes).sum::<u64>();
        let before = self.live + plan.bytes() + kept;
        plan.left.bytes = before - plan.abandoned;
        for removed in &self.snapshot.trash {
            // A time in the future counts as now.
            let age = now.max(removed.since).duration_since(removed.since).unsigned_abs();
            let old = age >= grace;
            let over = is_over(plan.left.bytes).map(|bound| bound.why);
            let Some(why) = old.then_some(Why::TrashGrace).or(over) else { continue };
            plan.left.bytes -= removed.bytes;
            plan.trash.push(Emptied { name: removed.name.clone(), bytes: removed.bytes, why });
        }
        if grace.is_zero() || is_over(plan.left.bytes).is_some() {
            plan.shred = true;
            plan.left.bytes -= moved;
        }
        let idle_bodies = plan.bodies.iter().map(|body| body.bytes).sum::<u64>();
        plan.left = Left {
            images: self.rest.images,
            disks: self.disks,
            per_image,
            packages,
            package_bytes,
            free: self.snapshot.free.saturating_add(before - plan.left.bytes + freed + idle_bodies),
            ..plan.left
        };
        plan.unmet = plan.left.unmet(self.limits);
        plan.rest = Rest { bytes: plan.left.bytes, ..self.rest };
        plan
    }
}

/// The images that may go, the stalest at the end: none that is pinned, or has a pinned referrer,
/// and nothing that goes with another.
fn candidates(snapshot: &Snapshot, referrers: &Referrers) -> Vec<usize> {
    let all = &snapshot.images;
    let is_pinned = |entry: usize| {
        all[entry].pinned || referrers.below(entry).into_iter().any(|referrer| all[referrer].pinned)
    };
    let may_go = |entry: &usize| !referrers.is_attached(*entry) && !is_pinned(*entry);
    let mut images: Vec<_> = (0..all.len()).filter(may_go).collect();
    let stale = |entry: usize| staleness(&all[entry], snapshot.now);
    let rank = |entry: usize| (Reverse(all[entry].saved), Reverse(&all[entry].key));
    images.sort_by(|a, b| stale(*a).total_cmp(&stale(*b)).then_with(|| rank(*a).cmp(&rank(*b))));
    images
}

/// How many bytes may be there by each limit, the loosest first.
fn bounds(limits: &Limits, governed: u64, free: u64) -> Vec<Bound> {
    let size =
        limits.max_size.map(|limit| Bound { bytes: limit.size.0, why: Why::MaxSize, is_possible: true });
    let lacking =
        limits.min_free.map(|limit| limit.size.0.saturating_sub(free)).filter(|lacking| *lacking > 0);
    let free = lacking.map(|lacking| Bound {
        bytes: governed.saturating_sub(lacking),
        why: Why::MinFree,
        is_possible: lacking <= governed,
    });
    let mut bounds: Vec<_> = size.into_iter().chain(free).collect();
    bounds.sort_by_key(|bound| Reverse(bound.bytes));
    bounds
}
