//! Chooses what goes.
//!
//! Touches no disk and reads no clock: all that counts is in the snapshot. A pinned image never
//! goes; the age limit passes it over, and where pins alone exceed a count or a size, that limit is
//! reported as not to be met. A limit of bytes that cannot be met takes no image that is the newest
//! of a name: that would not help. None takes an image that frees no blob, but with those that need
//! the same. What refers to an image goes with it. An image of which it is not known what it needs
//! goes for no limit, and holds all blobs as long as it is there.

mod bounds;
mod choice;
mod counts;
pub mod file;
mod guard;
mod holds;
pub mod order;
mod scoped;

use std::collections::{HashMap, HashSet};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Key};
use toolkit::amount::Amount;

use crate::limits::{Limits, Why};
use crate::matcher::Matcher;
use crate::packages::Evictions;
use crate::plan::choice::Choice;
use crate::snapshot::Snapshot;
pub use guard::{Objection, Share};
pub use holds::{Hold, Holds};

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
    pub packages: Evictions,
    /// The bodies of packages that no entry named before either.
    pub bodies: Vec<Unneeded>,
    /// The bytes of unfinished files that dead writers left behind.
    pub abandoned: u64,
    /// The bytes of what hashctx remembers of folders, where that goes.
    pub contexts: u64,
    /// The folders of the trash that are emptied.
    pub trash: Vec<Emptied>,
    /// What goes of folders of other tools.
    pub extras: Vec<crate::extra::Going>,
    /// Whether a byte limit leaves no room for the images that go now: they are deleted, not moved
    /// to the trash. Packages always are.
    pub shred: bool,
    /// What is left.
    pub left: Left,
    /// The limits that cannot be met.
    pub unmet: Vec<Unmet>,
    /// Damaged images that go although pins may hold them. Not a part of a written plan.
    pub forced: HashSet<Key>,
    /// Whether it was read from a file: what it does not list stays, unfinished files and empty
    /// folders too. Not a part of a written plan.
    pub is_listed: bool,
    /// What keeps the rest. Not a part of a written plan.
    pub rest: Rest,
}

/// What is left, and why no more of it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// How many images are left.
    pub images: u64,
    /// What keeps things, by each limit that is not met.
    pub holds: HashMap<Why, Holds>,
    /// The bytes that are being written.
    pub writing: u64,
    /// The bytes of all that collection governs.
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
    /// Which in the order of all images, from 1.
    pub rank: Option<u64>,
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
        images && packages && self.abandoned == 0 && self.contexts == 0 && self.trash.is_empty()
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

    /// Whether something of it goes for a limit of bytes.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let images = self.images.iter().map(|image| image.why);
        let packages = self.packages.iter().map(|package| package.why);
        let trash = self.trash.iter().map(|emptied| emptied.why);
        images.chain(packages).chain(trash).any(Why::is_of_bytes)
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
            images: self.count_sound(&referrers),
            disks: own().filter(|entry| self.images[*entry].is_disk && !self.images[*entry].unknown).count()
                as u64,
            per_image: counts::most(own().map(|entry| &self.images[entry])),
            packages: self.packages.len() as u64,
            package_bytes: usage.packages + usage.packages_shared + usage.packages_unneeded,
            bytes: usage.governed(),
            free: self.free,
        }
    }

    /// How many of what is meant there are, without what refers to images, and the bytes that they
    /// have together.
    #[must_use]
    pub fn measure(&self, matcher: &Matcher<'_>) -> (u64, u64) {
        if !matcher.is_of_images() {
            return self.packages.measure(0..self.packages.len(), |package| matcher.takes_package(package));
        }
        let referrers = self.referrers();
        let own = (0..self.images.len()).filter(|entry| !referrers.is_attached(*entry));
        let together = scoped::Together::new(self, &referrers, own, matcher);
        (together.entries, together.bytes)
    }

    /// The limits that are not met with this, of images and packages that stay all.
    #[must_use]
    pub fn unmet(&self, limits: &Limits) -> Vec<Unmet> {
        let referrers = self.referrers();
        let own: Vec<_> = (0..self.images.len()).filter(|entry| !referrers.is_attached(*entry)).collect();
        let packages = || (0..self.packages.len()).collect();
        let scoped = scoped::unmet(self, &referrers, limits, &own.iter().copied(), &packages);
        self.left().unmet(limits).into_iter().chain(scoped).collect()
    }
}

impl Left {
    /// The limits that are not met with this.
    #[must_use]
    pub fn unmet(&self, limits: &Limits) -> Vec<Unmet> {
        let unmet = |why, left, limit: Option<u64>, is_over: fn(&u64, &u64) -> bool| {
            limit.filter(|limit| is_over(&left, limit)).map(|limit| Unmet { why, left, limit })
        };
        let of_packages = limits.packages_max_size.map(|limit| limit.size.0);
        let high = limits.max_size.map(Amount::Bytes).or(limits.high);
        let bytes = |limit: Option<Amount>| limit.map(|limit| limit.of(0));
        let free = limits.min_free.filter(|_| !limits.min_free_by_default);
        let images = self.images - if limits.max_disks.is_some() { self.disks } else { 0 };
        [
            unmet(Why::MaxPerImage, self.per_image, limits.max_per_image, u64::gt),
            unmet(Why::MaxDisks, self.disks, limits.max_disks, u64::gt),
            unmet(Why::MaxImages, images, limits.max_images, u64::gt),
            unmet(Why::PackagesMaxSize, self.package_bytes, of_packages, u64::gt),
            unmet(Why::MaxSize, self.bytes, bytes(high), u64::gt),
            unmet(Why::MinFree, self.free, bytes(free), u64::lt),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Chooses what goes for the limits. What nothing needs goes in any case.
#[must_use]
pub fn decide(snapshot: &Snapshot, limits: &Limits) -> Plan {
    let limits = limits.settled(snapshot.capacity);
    let mut choice = Choice::new(snapshot, &limits);
    choice.keep_the_last();
    choice.keep_the_unknown();
    choice.by_age();
    choice.by_count();
    choice.keep_where_nothing_is_freed();
    choice.of_some_by_size();
    choice.by_size();
    choice.plan()
}

/// What is to go whatever the limits are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clean {
    /// All images that are not pinned.
    pub images: bool,
    /// All packages that no pin holds.
    pub packages: bool,
    /// All that hashctx remembers of folders.
    pub contexts: bool,
}

/// No limits, but how long the trash is kept.
fn only_the_grace(limits: &Limits) -> Limits {
    Limits { trash_grace: limits.trash_grace, ..Limits::default() }
}

/// Chooses all of what is said, and what nothing needs.
#[must_use]
pub fn clean(snapshot: &Snapshot, limits: &Limits, what: Clean) -> Plan {
    let limits = only_the_grace(limits);
    let mut choice = Choice::new(snapshot, &limits);
    if what.images {
        choice.evict_where(|_, _| Some(Why::Clean));
    }
    if what.packages {
        while choice.evict_package(Why::Clean) {}
    }
    if what.contexts {
        choice.evict_contexts();
    }
    choice.plan()
}

/// Things that were named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Images, by their keys.
    pub keys: HashSet<Key>,
    /// Of these, damaged ones that go although pins may hold them.
    pub forced: HashSet<Key>,
    /// Packages, by their URLs.
    pub urls: HashSet<String>,
}

/// Chooses what was named, as far as no pin holds it, and what nothing needs.
#[must_use]
pub fn named(snapshot: &Snapshot, limits: &Limits, names: &Names) -> Plan {
    let limits = only_the_grace(limits);
    let mut choice = Choice::new(snapshot, &limits);
    choice.evict_named(&names.keys);
    choice.evict_urls(&names.urls);
    Plan { forced: names.forced.clone(), ..choice.plan() }
}
