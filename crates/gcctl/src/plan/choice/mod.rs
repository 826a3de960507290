//! A choice that is being made: images and packages go one after the other, and what is left is
//! known at each step.

mod bytes;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use storekit::{Age, Key, Referrers};
use toolkit::amount::Setting;
use toolkit::tables::Order;

use crate::limits::{Limits, Part, Why};
use crate::matcher::Matcher;
use crate::packages::{Evictions, choose};
use crate::plan::order::{Ranking, Turn};
use crate::plan::scoped::{self, Together};
use crate::plan::{Emptied, Eviction, Hold, Left, Plan, Rest, Unneeded};
use crate::plan::{bounds, counts};
use crate::snapshot::{Holders, Snapshot};
use crate::waiting::Waiting;
use bounds::Bound;

/// How many disks stand for themselves.
fn count_disks(snapshot: &Snapshot, referrers: &Referrers) -> u64 {
    let own = snapshot.images.iter().enumerate().filter(|(entry, _)| !referrers.is_attached(*entry));
    own.filter(|(_, image)| image.is_disk && !image.unknown).count() as u64
}

/// An image with its place in the order of going, from 1.
type Ranked = (u64, usize);

/// A plan that is being made. Images go by their place in the snapshot.
#[derive(Clone)]
pub(super) struct Choice<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    ranking: Ranking,
    /// When each image goes.
    turns: Arc<Vec<Turn>>,
    /// Which in the order each image is, from 1; 0 for those that may not go.
    ranks: Arc<Vec<u64>>,
    /// The images that may go, the first at the end.
    candidates: Vec<usize>,
    /// Why those stay that may not go.
    held: HashMap<usize, Hold>,
    /// The images that stay for [`Why::MinFree`] alone: the newest of each name.
    floor: HashSet<usize>,
    /// Those that limits of bytes passed over, for they would free no blob.
    useless: HashSet<usize>,
    /// The bytes that stay in any case, once they have kept something.
    reserved: Option<u64>,
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
    contexts: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, limits: &'a Limits) -> Self {
        let holders = Holders::of(snapshot);
        let unneeded = snapshot.unreferenced(&holders).into_iter();
        let usage = snapshot.usage();
        let referrers = snapshot.referrers();
        let images = snapshot.count_sound(&referrers);
        let ranking = Ranking::new(snapshot, limits.order);
        let turns = ranking.images(snapshot, &holders);
        let candidates = candidates(snapshot, &referrers, &turns);
        let may_go: HashSet<usize> = candidates.iter().copied().collect();
        let own = (0..snapshot.images.len()).filter(|entry| !referrers.is_attached(*entry));
        let held = own.filter(|entry| !may_go.contains(entry)).map(|entry| (entry, Hold::Pinned)).collect();
        let mut ranks = vec![0; snapshot.images.len()];
        candidates.iter().rev().zip(1..).for_each(|(entry, rank)| ranks[*entry] = rank);
        let by_worth = (limits.order == Order::Cost).then_some(|package| ranking.package(package));
        Self {
            snapshot,
            limits,
            packages: choose::Choice::new(&snapshot.packages, by_worth),
            ranking,
            turns: Arc::new(turns),
            ranks: Arc::new(ranks),
            rest: Rest {
                images,
                writing: snapshot.unfinished.saturating_sub(snapshot.abandoned),
                ..Rest::default()
            },
            candidates,
            held,
            floor: HashSet::new(),
            useless: HashSet::new(),
            reserved: None,
            holders,
            disks: count_disks(snapshot, &referrers),
            referrers,
            gone: HashSet::new(),
            images: Vec::new(),
            blobs: unneeded.map(|(digest, bytes)| Unneeded { digest, bytes }).collect(),
            live: usage
                .governed()
                .saturating_sub(usage.removed() + usage.unreferenced)
                .saturating_sub(usage.packages_unneeded + snapshot.abandoned),
            bounds: bounds::of(limits, usage.governed(), snapshot.free),
            contexts: false,
        }
    }

    /// From now on, no image goes that is one of the last used ones of its name, so many of each.
    pub(super) fn keep_the_last(&mut self) {
        if let Some(keep) = self.limits.keep_last {
            let kept = counts::first(self.snapshot, self.own(), keep);
            self.keep(&kept, Hold::Last);
        }
        for limit in &self.limits.scoped {
            let Some(keep) = limit.keep_last else { continue };
            let matcher = Matcher::new(&limit.of);
            let meant = self.own().filter(|entry| matcher.takes_image(&self.snapshot.images[*entry]));
            let kept = counts::first(self.snapshot, meant, keep);
            self.keep(&kept, Hold::Last);
        }
    }

    /// From now on, no image goes of which it is not known what it needs, nor what refers to an
    /// image that is not found: that one may hold it.
    pub(super) fn keep_the_unknown(&mut self) {
        let images = &self.snapshot.images;
        if self.snapshot.unknown().next().is_some() {
            self.candidates.retain(|entry| !images[*entry].unknown && images[*entry].subject.is_none());
        }
    }

    /// From now on, no image goes where one stays that may need any blob: no byte would be free.
    pub(super) fn keep_where_nothing_is_freed(&mut self) {
        if self.snapshot.unknown().next().is_some() {
            self.candidates.clear();
        }
    }

    pub(super) fn by_age(&mut self) {
        let (now, limits) = (self.snapshot.now, self.limits);
        let is_old =
            |used: Timestamp, age: Age| now.duration_since(used).unsigned_abs() > age.0 && used < now;
        // Of several limits with an age that are about one thing, the last counts.
        let scoped = || (0..).zip(&limits.scoped).filter_map(|(place, it)| Some((place, it, it.max_age?)));
        let scoped: Vec<(u8, _, _)> =
            scoped().map(|(place, it, age)| (place, Matcher::new(&it.of), age)).collect();
        let why = |place: u8| Why::Limit(place, Part::Age);
        let own = |found: Option<&(u8, Matcher<'_>, Setting<Age>)>| {
            found.map(|(place, _, age)| age.value().map(|age| (age, why(*place))))
        };
        let of_all = limits.max_age.map(|age| (age, Why::MaxAge));
        self.evict_where(|choice, entry| {
            let image = &choice.snapshot.images[entry];
            let found = scoped.iter().rev().find(|(_, matcher, _)| matcher.takes_image(image));
            let (age, why) = own(found).unwrap_or(of_all)?;
            is_old(image.used, age).then_some(why)
        });
        let of_packages = limits.packages_max_age.map(|age| (age, Why::PackagesMaxAge)).or(of_all);
        let of_models = limits.models_max_age.map(|age| (age, Why::ModelsMaxAge)).or(of_packages);
        let freed = self.packages.evict_where(|package| {
            let found = scoped.iter().rev().find(|(_, matcher, _)| matcher.takes_package(package));
            // Its URL is looked at only where that matters.
            let is_model = limits.models_max_age.is_some() && package.is_model();
            let (age, why) = own(found).unwrap_or(if is_model { of_models } else { of_packages })?;
            is_old(package.used(), age).then_some(why)
        });
        self.live = self.live.saturating_sub(freed);
    }

    pub(super) fn by_count(&mut self) {
        if let Some(limit) = self.limits.max_per_image {
            let stay = counts::last(self.snapshot, self.own(), limit);
            self.evict_where(|choice, entry| {
                let is_over = choice.snapshot.images[entry].name().is_some() && !stay.contains(&entry);
                is_over.then_some(Why::MaxPerImage)
            });
        }
        let (disks, images) = (self.limits.max_disks, self.limits.max_images);
        if let Some(limit) = disks {
            self.evict_where(|choice, entry| {
                (choice.disks > limit && choice.snapshot.images[entry].is_disk).then_some(Why::MaxDisks)
            });
        }
        // Where disks have a count of their own, they are not in the other one.
        let apart = disks.is_some();
        if let Some(limit) = images {
            self.evict_where(|choice, entry| {
                let count = choice.rest.images - if apart { choice.disks } else { 0 };
                let is_over = count > limit && !(apart && choice.snapshot.images[entry].is_disk);
                is_over.then_some(Why::MaxImages)
            });
        }
        self.by_scoped(Part::Entries);
    }

    pub(super) fn of_some_by_size(&mut self) {
        if let Some(limit) = self.limits.packages_max_size {
            while self.packages.live > limit.size.0 && self.evict_package(Why::PackagesMaxSize) {}
        }
        self.by_scoped(Part::Size);
    }

    /// What limits of some things ask for.
    fn by_scoped(&mut self, part: Part) {
        let limits = self.limits;
        for (place, limit) in (0..).zip(&limits.scoped) {
            let Some(most) = scoped::most(limit, part) else { continue };
            let (matcher, why) = (Matcher::new(&limit.of), Why::Limit(place, part));
            if !matcher.is_of_images() {
                let freed = self.packages.keep_within(most, why, |package| matcher.takes_package(package));
                self.live = self.live.saturating_sub(freed);
                continue;
            }
            let mut together = Together::new(self.snapshot, &self.referrers, self.own(), &matcher);
            let (all, mut waiting) = (self.candidates.clone(), Waiting::new());
            for entry in all.iter().copied().rev() {
                if !most.is_less(together.entries, together.bytes) {
                    break;
                }
                let going = match part {
                    _ if !together.has(entry) => continue,
                    Part::Size => self.turn_of(entry, &mut waiting),
                    _ => vec![(self.ranks[entry], entry)],
                };
                waiting.went(&going);
                let gone = going.into_iter().flat_map(|(_, entry)| self.evict(entry, why));
                gone.for_each(|gone| together.release(gone));
            }
            self.candidates.retain(|entry| !self.gone.contains(entry));
            self.useless.extend(waiting.all().map(|(_, entry)| entry));
        }
    }

    /// The entries that stay so far and stand for themselves.
    fn own(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        (0..self.snapshot.images.len())
            .filter(|entry| !self.gone.contains(entry) && !self.referrers.is_attached(*entry))
    }

    /// From now on, none of these goes.
    fn keep(&mut self, kept: &HashSet<usize>, hold: Hold) {
        let (stay, may_go) = self.candidates.iter().partition(|entry| kept.contains(entry));
        self.candidates = may_go;
        let stay: Vec<usize> = stay;
        self.held.extend(stay.into_iter().map(|entry| (entry, hold)));
    }

    /// Lets those images go for which there is a reason, in their order.
    pub(super) fn evict_where(&mut self, why: impl Fn(&Self, usize) -> Option<Why>) {
        let mut stay = Vec::new();
        for entry in std::mem::take(&mut self.candidates).into_iter().rev() {
            match why(self, entry) {
                Some(why) => drop(self.evict(entry, why)),
                None => stay.push(entry),
            }
        }
        stay.reverse();
        self.candidates = stay;
    }

    /// Returns what goes: the entry, and what refers to it.
    fn evict(&mut self, entry: usize, why: Why) -> Vec<usize> {
        let image = &self.snapshot.images[entry];
        self.rest.images -= u64::from(!image.unknown);
        self.disks -= u64::from(image.is_disk && !image.unknown);
        self.remove(entry, why);
        let referrers = self.referrers.release(entry);
        for referrer in &referrers {
            self.remove(*referrer, Why::Subject);
        }
        referrers.into_iter().chain([entry]).collect()
    }

    /// Lets the images with these keys go, and what refers to an image by itself, too.
    pub(super) fn evict_named(&mut self, keys: &HashSet<Key>) {
        let is_named = |choice: &Self, entry: usize| keys.contains(&choice.snapshot.images[entry].key);
        self.evict_where(|choice, entry| is_named(choice, entry).then_some(Why::Named));
        let attached = (0..self.snapshot.images.len()).filter(|entry| self.referrers.is_attached(*entry));
        let attached: Vec<_> = attached.filter(|entry| is_named(self, *entry)).collect();
        for entry in attached {
            let is_pinned = self.snapshot.images[entry].pinned;
            if !is_pinned && !self.gone.contains(&entry) {
                self.remove(entry, Why::Named);
            }
        }
    }

    /// Lets the packages with these URLs go.
    pub(super) fn evict_urls(&mut self, urls: &HashSet<String>) {
        if urls.is_empty() {
            return;
        }
        let freed = self.packages.evict_where(|package| urls.contains(package.url()).then_some(Why::Named));
        self.live = self.live.saturating_sub(freed);
    }

    /// What hashctx remembers of folders goes, too.
    pub(super) fn evict_contexts(&mut self) {
        self.contexts = true;
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
            rank: Some(self.ranks[entry]).filter(|rank| *rank > 0),
            subject: image.subject.filter(|_| why == Why::Subject),
            blobs,
            bytes,
        });
    }

    /// Settles the trash: what is over its grace goes, then, oldest first, what a byte limit leaves
    /// no room for.
    pub(super) fn plan(mut self) -> Plan {
        let (now, grace) = (self.snapshot.now, self.limits.grace());
        let bounds = std::mem::take(&mut self.bounds);
        let over = |bytes, of_packages: bool| {
            let bounds = bounds.iter().rev().filter(move |bound| of_packages || !bound.of_packages);
            bounds.copied().find(|bound| bytes > bound.bytes)
        };
        let per_image = counts::most(self.own().map(|entry| &self.snapshot.images[entry]));
        let unneeded = self.snapshot.packages.unneeded();
        let (packages, package_bytes) = (self.packages.count(), self.packages.live);
        let freed = self.packages.gone.iter().map(|package| package.bytes).sum::<u64>();
        let own: Vec<_> = self.own().collect();
        let unmet = scoped::unmet(self.snapshot, &self.referrers, self.limits, &own.iter().copied(), &|| {
            self.packages.places().collect()
        });
        let mut plan = Plan {
            time: now,
            limits: self.limits.clone(),
            abandoned: self.snapshot.abandoned,
            contexts: if self.contexts { self.snapshot.contexts } else { 0 },
            images: std::mem::take(&mut self.images),
            blobs: std::mem::take(&mut self.blobs),
            packages: Evictions::of(
                Arc::clone(&self.snapshot.packages),
                std::mem::take(&mut self.packages.gone),
            ),
            bodies: unneeded.map(|(digest, bytes)| Unneeded { digest, bytes }).collect(),
            ..Plan::default()
        };
        let moved = plan.bytes() - plan.abandoned;
        let kept = self.snapshot.trash.iter().map(|removed| removed.bytes).sum::<u64>();
        let before = self.live + plan.bytes() + kept;
        plan.left.bytes = before - plan.abandoned;
        let mut folders = 0;
        for removed in &self.snapshot.trash {
            // A time in the future counts as now.
            let age = now.max(removed.since).duration_since(removed.since).unsigned_abs();
            let old = age >= grace;
            let over = over(plan.left.bytes, true).map(|bound| bound.why);
            let Some(why) = old.then_some(Why::TrashGrace).or(over) else { continue };
            plan.left.bytes -= removed.bytes;
            folders += removed.folders;
            let bytes = removed.bytes + removed.folders;
            plan.trash.push(Emptied { name: removed.name.clone(), bytes, why });
        }
        if grace.is_zero() || over(plan.left.bytes, false).is_some() {
            plan.shred = true;
            plan.left.bytes -= moved;
        }
        let idle_bodies = plan.bodies.iter().map(|body| body.bytes).sum::<u64>();
        let gone = before - plan.left.bytes + folders + freed + idle_bodies + plan.contexts;
        plan.left = Left {
            images: self.rest.images,
            disks: self.disks,
            per_image,
            packages,
            package_bytes,
            free: self.snapshot.free.saturating_add(gone),
            ..plan.left
        };
        plan.unmet = plan.left.unmet(self.limits);
        plan.unmet.extend(unmet);
        let holds = plan.unmet.iter().map(|it| (it.why, self.holds(it.why))).collect();
        plan.rest = Rest { bytes: plan.left.bytes, holds, ..self.rest };
        plan
    }
}

/// The images that may go, the first at the end: none that is pinned, or has a pinned referrer, and
/// nothing that goes with another.
fn candidates(snapshot: &Snapshot, referrers: &Referrers, turns: &[Turn]) -> Vec<usize> {
    let all = &snapshot.images;
    let is_pinned = |entry: usize| {
        all[entry].pinned || referrers.below(entry).into_iter().any(|referrer| all[referrer].pinned)
    };
    let may_go = |entry: &usize| !referrers.is_attached(*entry) && !is_pinned(*entry);
    let mut images: Vec<_> = (0..all.len()).filter(may_go).collect();
    images.sort_by_key(|entry| Reverse((turns[*entry], all[*entry].saved, &all[*entry].key)));
    images
}
