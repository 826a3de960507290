//! Reads a store into a snapshot.
//!
//! Takes no lock: what comes and goes meanwhile is read again. An entry that cannot be read, or a
//! document that is missing or damaged, is an error.

mod folders;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::files::replace;
use storekit::images::referrers;
use storekit::packages::entry;
use storekit::packages::index::Summary;
use storekit::{Digest, Images, Key, Listed, PackageEntry, Reach, Store, Walker, trash};

use crate::disk::{self, Apart, Place};
use crate::error::{Error, Result};
use crate::events::Told;
use crate::holds::Holds;
use crate::packages::{Body, Gathered, Packages};
use crate::snapshot::{Image, Removed, Snapshot};

/// Reads the whole store. `told` is what its own events say, for the uses.
///
/// # Errors
/// [`Error::Unknown`]; whatever of the store cannot be read.
pub fn survey(store: &Store, told: &Told) -> Result<Snapshot> {
    let images = store.images();
    let folders::Found { blobs, sizes, mut entries, mut bodies, unfinished, temporary, other, apart } =
        folders::read(store)?;
    // Files first: what an entry needs that came after them is not taken for unreferenced.
    let mut found = Found::below(store, &apart)?;
    found.blobs.extend(blobs.into_iter().map(|blob| (blob.digest, blob.bytes)));
    found.unfinished += unfinished;
    found.other += other;
    entries.append(std::mem::take(&mut found.packages));
    bodies.append(&mut found.bodies);
    let now = Timestamp::now();
    let holds = Holds::read(&images, now)?;
    let image = |listed: Listed, reach: Reach| Image {
        digest: listed.entry.descriptor.digest,
        saved: listed.entry.saved,
        used: Timestamp::try_from(listed.used).unwrap_or(now).min(now),
        uses: told.uses(&listed.key),
        build_seconds: listed.entry.build_seconds,
        pinned: false,
        subject: referrers::subject(&listed.key, &listed.entry, &reach),
        is_disk: reach.is_disk,
        incomplete: !reach.is_whole(),
        // What is not on the list came after it: the entry's next look sees it.
        blobs: reach.present.into_keys().filter(|digest| found.blobs.contains_key(digest)).collect(),
        files: found.files.get(&listed.key).copied().unwrap_or(0),
        names: listed.entry.names,
        origin: listed.entry.origin,
        key: listed.key,
    };
    let mut images_now = all(&images, &Arc::new(sizes), &image)?;
    for image in &mut images_now {
        image.pinned = holds.image(image);
    }
    let mut packages = Packages::of(entries, bodies, now);
    if holds.holds_packages() {
        packages.hold(|package| holds.package(package));
    }
    let packages = Arc::new(packages);
    let counted: u64 = images_now.iter().map(|image| image.files).sum();
    let ownerless = found.files.values().sum::<u64>() - counted;
    found.temporary.extend(temporary);
    let abandoned =
        images.abandoned_among(&found.temporary)? + store.packages().abandoned_among(&found.temporary);
    let room = disk::room(images.blobs().folder())?;
    Ok(Snapshot {
        now,
        images: images_now,
        foreign: foreign(&images)?,
        // What lies beside an entry that is not there was left by a writer that died before it.
        unfinished: found.unfinished + ownerless,
        abandoned: abandoned.min(found.unfinished + ownerless),
        trash: found.trash.into_values().map(|removed| first_seen(removed, now)).collect(),
        other: found.other,
        packages,
        contexts: found.contexts,
        events: found.events,
        blobs: found.blobs,
        free: room.free,
        capacity: room.capacity,
        fetch_rate: told.fetch_rate(),
    })
}

/// No thread is worth its start for fewer entries than this.
const SHARE: usize = 512;

/// The entries with what hangs on them, in their order, each as an image.
fn all(
    images: &Images,
    sizes: &Arc<HashMap<Digest, u64>>,
    image: &(impl Fn(Listed, Reach) -> Image + Sync),
) -> Result<Vec<Image>> {
    let listed = images.list()?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = listed.len().div_ceil(threads).max(SHARE);
    let mut shares = Vec::new();
    let mut rest = listed.into_iter();
    while rest.len() > 0 {
        shares.push(rest.by_ref().take(share).collect::<Vec<_>>());
    }
    let settled = thread::scope(|scope| {
        let settle_all = |share: Vec<Listed>| {
            let mut walker = images.walker().with_sizes(Arc::clone(sizes));
            let settled = share.into_iter().filter_map(|it| settle(images, &mut walker, it).transpose());
            settled.map(|it| it.map(|(listed, reach)| image(listed, reach))).collect::<Result<Vec<_>>>()
        };
        let threads: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || settle_all(share))).collect();
        let ended = threads.into_iter().map(|it| it.join().unwrap_or_else(|cause| resume_unwind(cause)));
        ended.collect::<Result<Vec<_>>>()
    });
    Ok(settled?.into_iter().flatten().collect())
}

/// Follows an entry. Where something is missing the entry is read again: a collector may have taken
/// both, or a save may have put another in its place.
fn settle(images: &Images, walker: &mut Walker, mut listed: Listed) -> Result<Option<(Listed, Reach)>> {
    loop {
        let reach = walker.reach(&listed.entry.descriptor)?;
        if reach.is_whole() {
            return Ok(Some((listed, reach)));
        }
        match images.peek(&listed.key)? {
            None => return Ok(None),
            Some(again) if again.entry == listed.entry => {
                return known(&listed.key, &reach).map(|()| Some((listed, reach)));
            }
            Some(again) => listed = again,
        }
    }
}

/// # Errors
/// [`Error::Unknown`] where a document is missing, so that its blobs are not known.
pub(crate) fn known(key: &Key, reach: &Reach) -> Result<()> {
    match reach.unknown.first() {
        None => Ok(()),
        Some(digest) => Err(Error::Unknown { key: key.clone(), digest: *digest }),
    }
}

/// What other tools' descriptors need, as far as it is there.
pub(crate) fn foreign(images: &Images) -> Result<BTreeSet<Digest>> {
    let mut walker = images.walker();
    let mut digests = BTreeSet::new();
    for descriptor in images.foreign()? {
        digests.extend(walker.reach(&descriptor)?.digests());
    }
    Ok(digests)
}

/// What lies on the disk.
#[derive(Default)]
struct Found {
    blobs: BTreeMap<Digest, u64>,
    files: HashMap<Key, u64>,
    /// Those whose files have other names outside the store; `packages` reads all others.
    packages: Gathered,
    bodies: Vec<Body>,
    contexts: u64,
    events: u64,
    unfinished: u64,
    temporary: Vec<Utf8PathBuf>,
    trash: BTreeMap<String, Removed>,
    other: u64,
}

impl Found {
    fn below(store: &Store, apart: &Apart) -> Result<Self> {
        let mut found = Self::default();
        disk::walk(store.root(), apart, &mut |it| found.add(it))?;
        Ok(found)
    }

    fn add(&mut self, disk::Found { path, place, bytes, metadata }: disk::Found<'_>) -> Result<()> {
        match place {
            Place::Blob(digest) => {
                self.blobs.insert(digest, bytes);
            }
            Place::OfKey(key) => *self.files.entry(key).or_default() += bytes,
            Place::Body(digest) => {
                self.bodies.push(Body::there(digest, bytes));
            }
            Place::Package => match package(path, metadata)? {
                Some((entry, used)) => self.packages.push(&Summary::of(&entry), used, bytes),
                None => self.other += bytes,
            },
            Place::Context => self.contexts += bytes,
            Place::Events => self.events += bytes,
            Place::Unfinished => {
                self.unfinished += bytes;
                self.temporary.extend(Utf8Path::from_path(path).map(Utf8Path::to_owned));
            }
            Place::Trash(name) if metadata.is_dir() => {
                self.removed(name, 0, metadata);
                self.other += bytes;
            }
            Place::Trash(name) => self.removed(name, bytes, metadata),
            Place::Other => self.other += bytes,
        }
        Ok(())
    }

    /// The folder of the trash itself comes before what is in it.
    fn removed(&mut self, name: String, bytes: u64, metadata: &Metadata) {
        // What a killed run was about to delete is older than any grace.
        let since = metadata.modified().ok().filter(|_| !trash::is_doomed(&name));
        let since = since.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        let removed = self.trash.entry(name.clone()).or_insert_with(|| Removed { name, since, bytes: 0 });
        removed.bytes += bytes;
    }
}

/// What stands in the file of an entry. `None` where it is gone, is not understood (nothing syncs
/// these files: a crash may have emptied it), or is another URL's: no server takes it for an answer
/// then either.
fn package(path: &Path, metadata: &Metadata) -> Result<Option<(PackageEntry, Timestamp)>> {
    let Some(path) = Utf8Path::from_path(path).filter(|_| metadata.is_file()) else { return Ok(None) };
    let Some(entry) = entry_at(path)? else { return Ok(None) };
    let used = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let is_its_own = path.as_str().ends_with(&entry.key.path());
    Ok(is_its_own.then(|| (entry, used.unwrap_or(Timestamp::MAX))))
}

/// The entry of packages in a file; `None` where that is gone or not understood.
///
/// # Errors
/// A file of a later version: what it needs is not known. I/O errors.
pub(crate) fn entry_at(path: &Utf8Path) -> Result<Option<PackageEntry>> {
    Ok(entry_with_metadata(path)?.map(|(entry, _)| entry))
}

/// The same, with what the system says of the file.
///
/// # Errors
/// As [`entry_at`].
pub(crate) fn entry_with_metadata(path: &Utf8Path) -> Result<Option<(PackageEntry, Metadata)>> {
    let Some((bytes, metadata)) = replace::read_with_metadata(path, entry::CAP)? else { return Ok(None) };
    match PackageEntry::parse(&bytes, path) {
        Err(storekit::Error::BadPackage { .. }) => Ok(None),
        entry => Ok(Some((entry?, metadata))),
    }
}

/// When a folder of the trash was filled: a time in the future counts as now.
fn first_seen(removed: Removed, now: Timestamp) -> Removed {
    Removed { since: removed.since.min(now), ..removed }
}
