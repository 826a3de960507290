//! Chooses what goes.
//!
//! Touches no disk and reads no clock: all that counts is in the snapshot. A pinned image never goes; the age limit
//! passes it over, and where pins alone exceed a count or a size, that limit is reported as not to be met.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Key};

use crate::limits::{Limits, Why};
use crate::snapshot::{Holders, Image, Snapshot};

/// What goes, and what is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// When it was made.
    pub time: Timestamp,
    /// The limits that it was made for.
    pub limits: Limits,
    /// The images that go, in this order.
    pub images: Vec<Eviction>,
    /// The blobs that nothing needed before either.
    pub blobs: Vec<Unneeded>,
    /// The bytes of unfinished files that dead writers left behind.
    pub abandoned: u64,
    /// The folders of the trash that are emptied.
    pub trash: Vec<Emptied>,
    /// Whether a byte limit leaves no room for what goes now: it is deleted, not moved to the trash.
    pub shred: bool,
    /// What is left.
    pub left: Left,
    /// The limits that cannot be met.
    pub unmet: Vec<Unmet>,
}

/// An image that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eviction {
    /// Its key.
    pub key: Key,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// When it was last used.
    pub used: Timestamp,
    /// How often it was loaded.
    pub uses: u64,
    /// For which limit.
    pub why: Why,
    /// The blobs that go with it: those that no image needs that stays.
    pub blobs: Vec<Digest>,
    /// The bytes of these, and of its own files.
    pub bytes: u64,
}

/// A blob that nothing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: u64,
}

/// A folder of the trash that is emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// For which limit.
    pub why: Why,
}

/// What is left when all is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// How many images.
    pub images: u64,
    /// How many bytes of what collection governs.
    pub bytes: u64,
    /// How many bytes are free on the file system then.
    pub free: u64,
}

/// A limit that cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// Which.
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
        self.images.is_empty() && self.blobs.is_empty() && self.abandoned == 0 && self.trash.is_empty()
    }

    /// The bytes of all that goes from images/.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let images = self.images.iter().map(|image| image.bytes);
        images.chain(self.blobs.iter().map(|blob| blob.bytes)).fold(self.abandoned, u64::saturating_add)
    }
}

impl Snapshot {
    /// What there is, before anything goes.
    #[must_use]
    pub fn left(&self) -> Left {
        Left { images: self.images.len() as u64, bytes: self.usage().governed(), free: self.free }
    }
}

impl Left {
    /// The limits that are not met with this.
    #[must_use]
    pub fn unmet(&self, limits: &Limits) -> Vec<Unmet> {
        let unmet = |why, left, limit: Option<u64>, is_over: fn(&u64, &u64) -> bool| {
            limit.filter(|limit| is_over(&left, limit)).map(|limit| Unmet { why, left, limit })
        };
        let images = unmet(Why::MaxImages, self.images, limits.max_images, u64::gt);
        let size = unmet(Why::MaxSize, self.bytes, limits.max_size.map(|size| size.0), u64::gt);
        let free = unmet(Why::MinFree, self.free, limits.min_free.map(|size| size.0), u64::lt);
        images.into_iter().chain(size).chain(free).collect()
    }
}

/// Chooses what goes for the limits. What nothing needs goes in any case.
#[must_use]
pub fn decide(snapshot: &Snapshot, limits: &Limits) -> Plan {
    let mut choice = Choice::new(snapshot, limits);
    choice.by_age();
    choice.by_count();
    choice.by_size();
    choice.plan()
}

/// Chooses all images that are not pinned, and what nothing needs.
#[must_use]
pub fn clean(snapshot: &Snapshot, limits: &Limits) -> Plan {
    let limits = Limits { trash_grace: limits.trash_grace, ..Limits::default() };
    let mut choice = Choice::new(snapshot, &limits);
    choice.evict_while(Why::Clean, |_| true);
    choice.plan()
}

/// How soon an image goes: the time since its last use, shortened by its uses. Twice as many uses are worth as
/// much again: 1 use halves the time, 3 uses make it a third, 7 a quarter.
#[must_use]
pub fn staleness(image: &Image, now: Timestamp) -> f64 {
    let idle = now.duration_since(image.used).as_secs_f64().max(0.0);
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52 uses")]
    let uses = image.uses as f64;
    idle / (1.0 + uses.ln_1p() / std::f64::consts::LN_2)
}

/// A plan that is being made.
struct Choice<'a> {
    snapshot: &'a Snapshot,
    limits: &'a Limits,
    /// The images that may go, the first at the end.
    candidates: Vec<&'a Image>,
    holders: Holders,
    images: Vec<Eviction>,
    blobs: Vec<Unneeded>,
    /// What stays outside the trash so far.
    live: u64,
    allowed: Option<(u64, Why)>,
}

impl<'a> Choice<'a> {
    fn new(snapshot: &'a Snapshot, limits: &'a Limits) -> Self {
        let holders = Holders::of(snapshot);
        let unneeded = snapshot.unreferenced(&holders).into_iter();
        let usage = snapshot.usage();
        Self {
            snapshot,
            limits,
            candidates: candidates(snapshot),
            holders,
            images: Vec::new(),
            blobs: unneeded.map(|(digest, bytes)| Unneeded { digest, bytes }).collect(),
            live: usage
                .governed()
                .saturating_sub(usage.trash + usage.damaged + usage.unreferenced + snapshot.abandoned),
            allowed: allowed(limits, usage.governed(), snapshot.free),
        }
    }

    fn by_age(&mut self) {
        let Some(age) = self.limits.max_age else { return };
        let now = self.snapshot.now;
        let old = |image: &Image| now.duration_since(image.used).unsigned_abs() > age.0 && image.used < now;
        let (gone, kept) = std::mem::take(&mut self.candidates).into_iter().partition(|image| old(image));
        self.candidates = gone;
        self.evict_while(Why::MaxAge, |_| true);
        self.candidates = kept;
    }

    fn by_count(&mut self) {
        let Some(limit) = self.limits.max_images else { return };
        self.evict_while(Why::MaxImages, |choice| choice.stay() > limit);
    }

    fn by_size(&mut self) {
        let Some((allowed, why)) = self.allowed else { return };
        self.evict_while(why, |choice| choice.live > allowed);
    }

    fn stay(&self) -> u64 {
        (self.snapshot.images.len() - self.images.len()) as u64
    }

    fn evict_while(&mut self, why: Why, over: impl Fn(&Self) -> bool) {
        while over(self) {
            let Some(image) = self.candidates.pop() else { return };
            let blobs = self.holders.release(image);
            let bytes = image.files + blobs.iter().map(|digest| self.snapshot.bytes(digest)).sum::<u64>();
            self.live = self.live.saturating_sub(bytes);
            self.images.push(Eviction {
                key: image.key.clone(),
                digest: image.digest,
                used: image.used,
                uses: image.uses,
                why,
                blobs,
                bytes,
            });
        }
    }

    /// Settles the trash: what is over its grace goes, then, oldest first, what a byte limit leaves no room for.
    fn plan(self) -> Plan {
        let (now, grace, stay) = (self.snapshot.now, self.limits.grace(), self.stay());
        let mut plan = Plan {
            time: now,
            limits: *self.limits,
            abandoned: self.snapshot.abandoned,
            images: self.images,
            blobs: self.blobs,
            ..Plan::default()
        };
        let moved = plan.bytes() - plan.abandoned;
        let kept = self.snapshot.trash.iter().map(|removed| removed.bytes).sum::<u64>();
        let before = self.live + plan.bytes() + kept;
        plan.left.bytes = before - plan.abandoned;
        for removed in &self.snapshot.trash {
            let old = now.duration_since(removed.since).unsigned_abs() >= grace && removed.since <= now;
            let over = self.allowed.filter(|(allowed, _)| plan.left.bytes > *allowed);
            let Some(why) = old.then_some(Why::TrashGrace).or(over.map(|(_, why)| why)) else { continue };
            plan.left.bytes -= removed.bytes;
            plan.trash.push(Emptied { name: removed.name.clone(), bytes: removed.bytes, why });
        }
        if grace.is_zero() || self.allowed.is_some_and(|(allowed, _)| plan.left.bytes > allowed) {
            plan.shred = true;
            plan.left.bytes -= moved;
        }
        plan.left.images = stay;
        plan.left.free = self.snapshot.free.saturating_add(before - plan.left.bytes);
        plan.unmet = plan.left.unmet(self.limits);
        plan
    }
}

/// The images that may go, the stalest at the end.
fn candidates(snapshot: &Snapshot) -> Vec<&Image> {
    let mut images: Vec<_> = snapshot.images.iter().filter(|image| !image.pinned).collect();
    let stale = |image: &Image| staleness(image, snapshot.now);
    images.sort_by(|a, b| {
        stale(a)
            .total_cmp(&stale(b))
            .then_with(|| (Reverse(a.saved), Reverse(&a.key)).cmp(&(Reverse(b.saved), Reverse(&b.key))))
    });
    images
}

/// How many bytes may be there, and which limit says so: the stricter one.
fn allowed(limits: &Limits, governed: u64, free: u64) -> Option<(u64, Why)> {
    let size = limits.max_size.map(|size| (size.0, Why::MaxSize));
    let lacking = limits.min_free.map(|min| min.0.saturating_sub(free)).filter(|lacking| *lacking > 0);
    let free = lacking.map(|lacking| (governed.saturating_sub(lacking), Why::MinFree));
    size.into_iter().chain(free).min_by_key(|(bytes, _)| *bytes)
}
