//! What a store holds at one moment, and what follows from that.
//!
//! Touches no disk and reads no clock. All sizes are bytes on disk (blocks, not lengths).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use storekit::image_name::{familiar, without_tag};
use storekit::{Digest, Key, Origin, Referrers, trash};

pub use crate::holders::Holders;
use crate::packages::Packages;
use storekit::events::rates::Rates;

/// A store at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Timestamp,
    /// The entries, sorted by key.
    pub images: Vec<Image>,
    /// The blobs that descriptors of other OCI tools need, beside our entries.
    pub foreign: BTreeSet<Digest>,
    /// Every blob that is there, with its bytes.
    pub blobs: BTreeMap<Digest, u64>,
    /// The package downloads.
    pub packages: Arc<Packages>,
    /// What hashctx remembers of folders that it has read.
    pub contexts: u64,
    /// What happened.
    pub events: u64,
    /// The bytes of the notes of when versions of packages were first seen.
    pub first_seen: u64,
    /// Unfinished files of writers, living and dead.
    pub unfinished: u64,
    /// The part of `unfinished` that dead writers left behind.
    pub abandoned: u64,
    /// The folders of the trash, by name: oldest first.
    pub trash: Vec<Removed>,
    /// Everything else in the store's folder, the folders themselves included.
    pub other: u64,
    /// What stands where only files of the store do and is not one: paths below the store, sorted.
    pub strays: Vec<String>,
    /// What is still free on the file system.
    pub free: u64,
    /// How many bytes the file system has.
    pub capacity: u64,
    /// How fast packages come.
    pub rates: Rates,
}

/// An entry and what it needs.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combine")]
pub struct Image {
    /// The key that the image is stored under.
    pub key: Key,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The names that a load restores.
    pub names: Vec<String>,
    /// Where it came from.
    pub origin: Origin,
    /// When it was saved.
    pub saved: Timestamp,
    /// When it was last used; never later than the snapshot.
    pub used: Timestamp,
    /// How often it was loaded.
    pub uses: u64,
    /// How long its build took, in seconds, where that is known.
    pub build_seconds: Option<f64>,
    /// Whether it is a disk, and not an image of an engine's.
    pub is_disk: bool,
    /// Whether it may never go.
    pub pinned: bool,
    /// What it refers to: the image that it signs or describes.
    pub subject: Option<Digest>,
    /// Whether a blob that it needs is not there: it cannot be loaded as it is.
    pub incomplete: bool,
    /// Whether it cannot be told what it needs: its key file, or a document below that, is missing
    /// or damaged. It may need any blob, so it holds them all.
    pub unknown: bool,
    /// Whether all that it lacks was only not fetched by Git LFS: pointers stand for it.
    pub unfetched: bool,
    /// The blobs that it needs, those that are there, each once.
    pub blobs: Vec<Digest>,
    /// The bytes of its own files: its key file and what is kept beside it.
    pub files: u64,
}

/// A folder of the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The folder's name below trash/.
    pub name: String,
    /// Since when it is there.
    pub since: Timestamp,
    /// The bytes of the files in it.
    pub bytes: u64,
    /// Those of itself and the folders in it.
    pub folders: u64,
}

/// What a store occupies, by kind. The parts add up to the store's folder exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Usage {
    /// What one image alone needs.
    pub unique: u64,
    /// What several images need, or another tool's; counted once.
    pub shared: u64,
    /// Blobs that nothing needs.
    pub unreferenced: u64,
    /// Package downloads that one URL alone has, with the files that name them.
    pub packages: u64,
    /// Package downloads that several URLs have, counted once.
    pub packages_shared: u64,
    /// Package downloads that no URL has any more.
    pub packages_unneeded: u64,
    /// Files that are being written, or were left unfinished.
    pub unfinished: u64,
    /// What was removed and could still be brought back.
    pub trash: u64,
    /// What was set aside because its bytes are not what they should be; goes as the trash does.
    pub damaged: u64,
    /// Of these two, the folders that it lies in.
    pub trash_folders: u64,
    /// What hashctx remembers of folders.
    pub contexts: u64,
    /// What happened.
    pub events: u64,
    /// When versions of packages were first seen.
    pub first_seen: u64,
    /// Everything else: index, pins, folders, files with several names, what is not the store's.
    pub other: u64,
}

impl Image {
    /// What people call it: its name in larder.toml, else the first that a load restores, else `-`.
    #[must_use]
    pub fn called(&self) -> &str {
        called(&self.origin, &self.names).unwrap_or("-")
    }

    /// By what it is one of several: its name in larder.toml, else the first that a load restores,
    /// as docker shows it and without the tag; `None` for one that has neither.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.all_names().next()
    }

    /// All such names: that in larder.toml, and those that a load restores, as docker shows them
    /// and without their tags.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        let own = self.origin.image.iter().map(storekit::Remark::as_str);
        own.chain(self.names.iter().map(|name| familiar(without_tag(name))))
    }
}

/// What people call an image of this origin and with these names.
#[must_use]
pub fn called<'a>(origin: &'a Origin, names: &'a [String]) -> Option<&'a str> {
    let own = origin.image.as_ref().map(storekit::Remark::as_str);
    own.or_else(|| names.first().map(String::as_str))
}

impl Usage {
    /// What collection governs, and limits are about: all but folders, `contexts`, `events`,
    /// `first_seen` and `other`.
    #[must_use]
    pub fn governed(&self) -> u64 {
        let packages = self.packages + self.packages_shared + self.packages_unneeded;
        let images = self.unique + self.shared + self.unreferenced;
        images + packages + self.unfinished + self.removed()
    }

    /// The files in the trash, damaged ones too.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.trash + self.damaged - self.trash_folders
    }

    /// All bytes below the store's folder.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.governed() + self.trash_folders + self.contexts + self.events + self.first_seen + self.other
    }
}

impl Snapshot {
    /// The bytes of a blob; 0 where it is not there.
    #[must_use]
    pub fn bytes(&self, digest: &Digest) -> u64 {
        self.blobs.get(digest).copied().unwrap_or(0)
    }

    /// What the image occupies with all that it needs, shared or not.
    #[must_use]
    pub fn size(&self, image: &Image) -> u64 {
        image.files + image.blobs.iter().map(|digest| self.bytes(digest)).sum::<u64>()
    }

    /// What would be freed if this image alone went.
    #[must_use]
    pub fn own(&self, image: &Image, holders: &Holders) -> u64 {
        self.sizes(image, holders).1
    }

    /// Both of these: with what it shares, and alone.
    #[must_use]
    pub fn sizes(&self, image: &Image, holders: &Holders) -> (u64, u64) {
        let (size, own) = image.blobs.iter().fold((image.files, image.files), |(size, own), digest| {
            let bytes = self.bytes(digest);
            (size + bytes, own + if holders.count(digest) == 1 { bytes } else { 0 })
        });
        if !image.unknown {
            return (size, own);
        }
        // What it may need and nothing else names.
        let alone = holders.held_by_unknown().map(|digest| self.bytes(digest)).sum::<u64>();
        (size, image.files + alone)
    }

    /// The places of these images and of what goes with them, each once, sorted: what hangs on them
    /// and on no image that stays.
    #[must_use]
    pub fn going_with(&self, entries: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut referrers = self.referrers();
        let mut going = BTreeSet::new();
        for entry in entries {
            going.insert(entry);
            going.extend(referrers.release(entry));
        }
        going.into_iter().collect()
    }

    /// The bytes that would be free if these images went, and nothing else: by their places, each
    /// once.
    #[must_use]
    pub fn freed_by(&self, entries: &[usize]) -> u64 {
        let mut holders = Holders::of(self);
        let going = entries.iter().filter_map(|entry| self.images.get(*entry));
        going
            .map(|image| {
                let idle = holders.release(image);
                image.files + idle.iter().map(|digest| self.bytes(digest)).sum::<u64>()
            })
            .sum()
    }

    /// Which entries refer to which. One that refers to an image that is there lives and dies with
    /// that, and does not count as an image; one whose image is not there stands for itself.
    #[must_use]
    pub fn referrers(&self) -> Referrers {
        Referrers::new(self.images.iter().map(|image| {
            // It is missing where it is not known what it names; it is held all the same.
            let own = image.unknown.then_some(image.digest).filter(|own| !image.blobs.contains(own));
            (image.blobs.iter().copied().chain(own), image.subject)
        }))
    }

    /// The images of which it cannot be told what they need.
    pub fn unknown(&self) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(|image| image.unknown)
    }

    /// How many images there are, without what refers to them.
    #[must_use]
    pub fn count(&self, referrers: &Referrers) -> u64 {
        (0..self.images.len()).filter(|entry| !referrers.is_attached(*entry)).count() as u64
    }

    /// The same, without those that are damaged: they fill no place of a limit.
    #[must_use]
    pub fn count_sound(&self, referrers: &Referrers) -> u64 {
        let own = (0..self.images.len()).filter(|entry| !referrers.is_attached(*entry));
        own.filter(|entry| !self.images[*entry].unknown).count() as u64
    }

    /// The blobs that nothing needs, sorted.
    #[must_use]
    pub fn unreferenced(&self, holders: &Holders) -> Vec<(Digest, u64)> {
        let idle = self.blobs.iter().filter(|(digest, _)| holders.count(digest) == 0);
        idle.map(|(digest, bytes)| (*digest, *bytes)).collect()
    }

    fn trash_bytes(&self, damaged: bool) -> u64 {
        let removed = self.trash.iter().filter(|removed| trash::is_damaged(&removed.name) == damaged);
        removed.map(|removed| removed.bytes + removed.folders).sum()
    }

    /// What the store occupies, by kind.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let holders = Holders::of(self);
        let unique = self.images.iter().map(|image| self.own(image, &holders)).sum();
        let files: u64 = self.images.iter().map(|image| image.files).sum();
        let unreferenced = self.unreferenced(&holders).iter().map(|(_, bytes)| bytes).sum();
        let all = self.blobs.values().sum::<u64>() + files;
        let (packages, packages_unneeded) = self.packages.occupied();
        Usage {
            packages: packages.own,
            packages_shared: packages.shared,
            packages_unneeded,
            contexts: self.contexts,
            events: self.events,
            first_seen: self.first_seen,
            unique,
            shared: all - unique - unreferenced,
            unreferenced,
            unfinished: self.unfinished,
            trash: self.trash_bytes(false),
            damaged: self.trash_bytes(true),
            trash_folders: self.trash.iter().map(|removed| removed.folders).sum(),
            other: self.other,
        }
    }
}

impl Holders {
    /// Counts all entries, and the other tools' descriptors as one more.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let ours = snapshot.images.iter().flat_map(|image| &image.blobs);
        let holders = Self::count_all(ours.chain(&snapshot.foreign).copied(), snapshot.blobs.len());
        holders.and_unknown(snapshot.unknown().count(), snapshot.blobs.keys().copied())
    }

    /// Takes an image away. Returns the blobs that nothing needs after that.
    pub fn release(&mut self, image: &Image) -> Vec<Digest> {
        let mut idle = self.release_all(&image.blobs);
        if image.unknown {
            idle = self.release_unknown();
        }
        idle
    }
}
