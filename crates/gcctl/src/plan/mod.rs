//! Chooses what goes.
//!
//! Touches no disk and reads no clock: all that counts is in the snapshot. A pinned image never
//! goes; the age limit passes it over, and where pins alone exceed a count or a size, that limit is
//! reported as not to be met. A limit of bytes that cannot be met takes no image that is the newest
//! of a name: that would not help. What refers to an image goes with it.

mod counts;
pub mod file;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Serialize;
use storekit::{Age, ByteSize, Digest, Key, Referrers, WrittenSize};

use crate::limits::{Limits, Why};
use crate::packages::choose::{self, Eviction as PackageEviction};
use crate::snapshot::{Holders, Image, Snapshot};

/// What goes, and what is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// When it was made.
    pub time: Timestamp,
    /// The folder of the store that it was made for; `None` where it does not say.
    pub store: Option<Utf8PathBuf>,
    /// The limits that it was made for.
    pub limits: Limits,
    /// The images that go, in this order.
    pub images: Vec<Eviction>,
    /// The blobs that nothing needed before either.
    pub blobs: Vec<Unneeded>,
    /// The package entries that go, in this order.
    pub packages: Vec<PackageEviction>,
    /// The bodies of packages that no entry named before either.
    pub bodies: Vec<Unneeded>,
    /// The bytes of unfinished files that dead writers left behind.
    pub abandoned: u64,
    /// The folders of the trash that are emptied.
    pub trash: Vec<Emptied>,
    /// Whether a byte limit leaves no room for the images that go now: they are deleted, not moved
    /// to the trash. Packages always are.
    pub shred: bool,
    /// What is left.
    pub left: Left,
    /// The limits that cannot be met.
    pub unmet: Vec<Unmet>,
    /// What keeps the rest. Not a part of a written plan.
    pub rest: Rest,
}

/// What is left, and why no more of it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many images are left.
    pub images: u64,
    /// Of these, the pinned ones, and those with a pinned referrer.
    pub pinned: u64,
    /// Of these, the ones that stay because they are the newest of a name.
    pub newest: u64,
    /// The bytes that are being written.
    pub writing: u64,
    /// The bytes of all that collection governs.
    pub bytes: u64,
}

/// Why a plan is not carried out without `--force`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// The limit that asks for it.
    pub why: Why,
    /// The limit as written, where its unit may have been forgotten.
    pub bare: Option<ByteSize>,
    /// Whether it is about packages, and not about images.
    pub of_packages: bool,
    /// How many would be lost for good.
    pub lost: u64,
    /// Of how many.
    pub of: u64,
    /// The bytes that would be lost for good.
    pub bytes: u64,
}

/// An image that goes, or what refers to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// The key that the image is stored under.
    pub key: Key,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// When it was last used.
    pub used: Timestamp,
    /// How often it was loaded.
    pub uses: u64,
    /// The limit for which it goes.
    pub why: Why,
    /// What it refers to, where it goes for that reason.
    pub subject: Option<Digest>,
    /// The blobs that go with it: those that no image needs that stays.
    pub blobs: Vec<Digest>,
    /// The bytes of these, and of its own files.
    pub bytes: u64,
}

/// A blob that nothing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// The blob's digest.
    pub digest: Digest,
    /// How many bytes it takes on disk.
    pub bytes: u64,
}

/// A folder of the trash that is emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// The folder's name below trash/.
    pub name: String,
    /// How many bytes it takes on disk.
    pub bytes: u64,
    /// The limit for which it goes.
    pub why: Why,
}

/// What is left when all is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Left {
    /// How many images, disks among them.
    pub images: u64,
    /// How many of these are disks.
    pub disks: u64,
    /// How many images the name has that has the most.
    pub per_image: u64,
    /// How many package entries.
    pub packages: u64,
    /// How many bytes of package downloads.
    pub package_bytes: u64,
    /// How many bytes of what collection governs.
    pub bytes: u64,
    /// How many bytes are free on the file system then.
    pub free: u64,
}

/// A limit that cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The limit that cannot be met.
    pub why: Why,
    /// What is left.
    pub left: u64,
    /// What it should be at most, or at least for [`Why::MinFree`].
    pub limit: u64,
}

impl Plan {
    /// Whether nothing goes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let images = self.images.is_empty() && self.blobs.is_empty();
        let packages = self.packages.is_empty() && self.bodies.is_empty();
        images && packages && self.abandoned == 0 && self.trash.is_empty()
    }

    /// The bytes of all that goes from images/.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let images = self.images.iter().map(|image| image.bytes);
        images.chain(self.blobs.iter().map(|blob| blob.bytes)).fold(self.abandoned, u64::saturating_add)
    }

    /// The bytes of all package downloads that go.
    #[must_use]
    pub fn package_bytes(&self) -> u64 {
        let bodies = self.bodies.iter().map(|body| body.bytes);
        self.packages.iter().map(|package| package.bytes).chain(bodies).fold(0, u64::saturating_add)
    }
}

impl Plan {
    /// How many images go, without what refers to them.
    #[must_use]
    pub fn going(&self) -> u64 {
        self.images.iter().filter(|image| image.subject.is_none()).count() as u64
    }

    /// Why the plan needs `--force`: a limit of bytes whose unit may have been forgotten, or one
    /// that would delete all images or packages, or more than half of them, for good. A count, an
    /// age and `clean` say what they want.
    #[must_use]
    pub fn objection(&self) -> Option<Objection> {
        let (images, packages) = (self.lost_images(), self.lost_packages());
        if let Some((why, size)) = self.limits.without_unit() {
            let lost = if images.lost > 0 || why != Why::PackagesMaxSize { images } else { packages };
            return Some(Objection { why, bare: Some(size), ..lost });
        }
        [images, packages].into_iter().find(|it| it.lost * 2 > it.of)
    }

    fn lost_images(&self) -> Objection {
        // A limit of bytes deletes what goes for another, too; a grace of 0 says that all is
        // deleted.
        let all = self.shred && !self.limits.grace().is_zero();
        let lost: Vec<_> = self.images.iter().filter(|image| all || image.why.is_of_bytes()).collect();
        let why = lost.iter().map(|image| image.why).find(|why| why.is_of_bytes());
        Objection {
            why: why.unwrap_or(if self.limits.max_size.is_some() { Why::MaxSize } else { Why::MinFree }),
            bare: None,
            of_packages: false,
            lost: lost.iter().filter(|image| image.subject.is_none()).count() as u64,
            of: self.left.images.saturating_add(self.going()),
            bytes: lost.iter().fold(0, |sum: u64, image| sum.saturating_add(image.bytes)),
        }
    }

    fn lost_packages(&self) -> Objection {
        let lost = || self.packages.iter().filter(|package| package.why.is_of_bytes());
        Objection {
            why: lost().next().map_or(Why::PackagesMaxSize, |first| first.why),
            bare: None,
            of_packages: true,
            lost: lost().count() as u64,
            of: self.left.packages.saturating_add(self.packages.len() as u64),
            bytes: lost().fold(0, |sum: u64, package| sum.saturating_add(package.bytes)),
        }
    }
}

impl Snapshot {
    /// What there is, before anything goes.
    #[must_use]
    pub fn left(&self) -> Left {
        let referrers = self.referrers();
        let own = || (0..self.images.len()).filter(|entry| !referrers.is_attached(*entry));
        let usage = self.usage();
        Left {
            images: self.count(&referrers),
            disks: own().filter(|entry| self.images[*entry].is_disk).count() as u64,
            per_image: counts::most(own().map(|entry| &self.images[entry])),
            packages: self.packages.entries.len() as u64,
            package_bytes: usage.packages + usage.packages_shared + usage.packages_unneeded,
            bytes: usage.governed(),
            free: self.free,
        }
    }
}

impl Left {
    /// The limits that are not met with this.
    #[must_use]
    pub fn unmet(&self, limits: &Limits) -> Vec<Unmet> {
        let unmet = |why, left, limit: Option<u64>, is_over: fn(&u64, &u64) -> bool| {
            limit.filter(|limit| is_over(&left, limit)).map(|limit| Unmet { why, left, limit })
        };
        let bytes = |limit: Option<WrittenSize>| limit.map(|limit| limit.size.0);
        let images = self.images - if limits.max_disks.is_some() { self.disks } else { 0 };
        [
            unmet(Why::MaxPerImage, self.per_image, limits.max_per_image, u64::gt),
            unmet(Why::MaxDisks, self.disks, limits.max_disks, u64::gt),
            unmet(Why::MaxImages, images, limits.max_images, u64::gt),
            unmet(Why::PackagesMaxSize, self.package_bytes, bytes(limits.packages_max_size), u64::gt),
            unmet(Why::MaxSize, self.bytes, bytes(limits.max_size), u64::gt),
            unmet(Why::MinFree, self.free, bytes(limits.min_free), u64::lt),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Chooses what goes for the limits. What nothing needs goes in any case.
#[must_use]
pub fn decide(snapshot: &Snapshot, limits: &Limits) -> Plan {
    let mut choice = Choice::new(snapshot, limits);
    choice.keep_the_last();
    choice.by_age();
    choice.by_count();
    choice.packages_by_size();
    choice.by_size();
    choice.plan()
}

/// What is to go whatever the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clean {
    /// All images that are not pinned.
    pub images: bool,
    /// All packages.
    pub packages: bool,
}

/// Chooses all of what is said, and what nothing needs.
#[must_use]
pub fn clean(snapshot: &Snapshot, limits: &Limits, what: Clean) -> Plan {
    let limits = Limits { trash_grace: limits.trash_grace, ..Limits::default() };
    let mut choice = Choice::new(snapshot, &limits);
    if what.images {
        choice.evict_where(Why::Clean, |_, _| true);
    }
    if what.packages {
        while choice.evict_package(Why::Clean) {}
    }
    choice.plan()
}

/// How soon an image goes: the time since its last use, shortened by its uses. Twice as many uses
/// are worth as much again: 1 use halves the time, 3 uses make it a third, 7 a quarter.
#[must_use]
pub fn staleness(image: &Image, now: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52 uses")]
    let uses = image.uses as f64;
    idle(image.used, now) / (1.0 + uses.ln_1p() / std::f64::consts::LN_2)
}

/// How long it is unused, in seconds.
fn idle(used: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(used).as_secs_f64().max(0.0)
}

/// How many disks stand for themselves.
fn count_disks(snapshot: &Snapshot, referrers: &Referrers) -> u64 {
    let own = snapshot.images.iter().enumerate().filter(|(entry, _)| !referrers.is_attached(*entry));
    own.filter(|(_, image)| image.is_disk).count() as u64
}

/// A plan that is being made. Images go by their place in the snapshot.
#[derive(Clone)]
struct Choice<'a> {
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
    fn new(snapshot: &'a Snapshot, limits: &'a Limits) -> Self {
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
    fn keep_the_last(&mut self) {
        let Some(keep) = self.limits.keep_last else { return };
        let kept = counts::first(self.snapshot, self.own(), keep);
        self.keep(&kept);
    }

    fn by_age(&mut self) {
        let now = self.snapshot.now;
        let is_old =
            |used: Timestamp, age: Age| now.duration_since(used).unsigned_abs() > age.0 && used < now;
        if let Some(age) = self.limits.max_age {
            self.evict_where(Why::MaxAge, |choice, entry| is_old(choice.snapshot.images[entry].used, age));
        }
        let (age, why) = match (self.limits.packages_max_age, self.limits.max_age) {
            (Some(age), _) => (age, Why::PackagesMaxAge),
            (None, Some(age)) => (age, Why::MaxAge),
            (None, None) => return,
        };
        while self.packages.next().is_some_and(|package| is_old(package.used, age)) {
            self.evict_package(why);
        }
    }

    fn by_count(&mut self) {
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

    fn packages_by_size(&mut self) {
        let Some(limit) = self.limits.packages_max_size else { return };
        while self.packages.live > limit.size.0 && self.evict_package(Why::PackagesMaxSize) {}
    }

    fn by_size(&mut self) {
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
            let package = self.packages.next().map(|package| idle(package.used, now));
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
    fn evict_where(&mut self, why: Why, is_meant: impl Fn(&Self, usize) -> bool) {
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
    fn evict_package(&mut self, why: Why) -> bool {
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
    fn plan(self) -> Plan {
        let (now, grace) = (self.snapshot.now, self.limits.grace());
        let strictest = self.bounds.last().copied();
        let is_over = |bytes| strictest.filter(|bound| bytes > bound.bytes);
        let per_image = counts::most(self.own().map(|entry| &self.snapshot.images[entry]));
        let unneeded = self.snapshot.packages.unneeded(&self.snapshot.packages.holders()).into_iter();
        let (packages, package_bytes) = (self.packages.count(), self.packages.live);
        let freed = self.packages.gone.iter().map(|package| package.bytes).sum::<u64>();
        let mut plan = Plan {
            time: now,
            limits: *self.limits,
            abandoned: self.snapshot.abandoned,
            images: self.images,
            blobs: self.blobs,
            packages: self.packages.gone,
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
