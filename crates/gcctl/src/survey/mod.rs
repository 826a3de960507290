//! Reads a store into a snapshot.
//!
//! Takes no lock: what comes and goes meanwhile is read again. Of an entry that cannot be read, or
//! of which a document is missing or damaged, it is not known what it needs: it holds all blobs.

mod folders;
mod images;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::Metadata;
use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::files::replace;
use storekit::images::referrers;
use storekit::packages::entry;
use storekit::packages::index::Summary;
use storekit::{Descriptor, Digest, Images, Key, PackageEntry, Reach, Store, Walker, clock, trash};

use crate::disk::{self, Apart, Place};
use crate::error::Result;
use crate::events::Told;
use crate::holds::Holds;
use crate::packages::{Body, Gathered, Packages};
use crate::snapshot::{Image, Removed, Snapshot};
use images::Settled;

/// Reads the whole store. `told` is what its own events say, for the uses.
///
/// # Errors
/// Whatever of the store cannot be read.
pub fn survey(store: &Store, told: &Told) -> Result<Snapshot> {
    let images = store.images();
    // Blobs first: what an entry needs that came after them is not taken for unreferenced.
    let folders::Found { blobs, mut entries, mut bodies, mut aside, mut apart } = folders::read(store)?;
    let blobs = Arc::new(blobs);
    // A clock that is years off ages nothing.
    let now = clock::read(store, Timestamp::now()).now;
    let holds = Holds::read(&images, now)?;
    let image = |Settled { listed, reach, bytes, unknown }: Settled| Image {
        digest: listed.entry.descriptor.digest,
        saved: listed.entry.saved,
        used: Timestamp::try_from(listed.used).unwrap_or(now).min(now),
        uses: told.uses(&listed.key),
        build_seconds: listed.entry.build_seconds,
        pinned: false,
        subject: referrers::subject(&listed.key, &listed.entry, &reach),
        is_disk: reach.is_disk,
        incomplete: !reach.is_whole(),
        unknown,
        unfetched: !reach.is_whole() && reach.missing.iter().all(|it| images.blobs().is_pointer(it)),
        blobs: reach.present.into_keys().collect(),
        files: bytes,
        names: listed.entry.names,
        origin: listed.entry.origin,
        key: listed.key,
    };
    let mut images_now = images::all(&images, &blobs, &mut aside, &image)?;
    apart.without(&images.folder().join("keys"));
    apart.rest.append(&mut aside.rest);
    let mut found = Found::below(store, &apart)?;
    let mut all_blobs: BTreeMap<_, _> = blobs.iter().map(|(digest, seen)| (*digest, seen.bytes)).collect();
    all_blobs.append(&mut found.blobs);
    found.unfinished += aside.unfinished;
    found.other += aside.other;
    found.temporary.extend(aside.temporary);
    entries.append(std::mem::take(&mut found.packages));
    bodies.append(&mut found.bodies);
    for image in &mut images_now {
        // What is not on the list came after it: the entry's next look sees it.
        image.blobs.retain(|digest| blobs.contains_key(digest) || all_blobs.contains_key(digest));
        image.files += found.files.remove(&image.key).unwrap_or(0);
        image.pinned = holds.image(image);
    }
    let mut packages = Packages::of(entries, bodies, now);
    if holds.holds_packages() {
        packages.hold(|package| holds.package(package));
    }
    packages.count_uses(told.package_uses());
    let packages = Arc::new(packages);
    let ownerless = found.files.into_values().sum::<u64>();
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
        strays: found.strays,
        packages,
        contexts: found.contexts,
        events: found.events,
        first_seen: found.first_seen,
        blobs: all_blobs,
        free: room.free,
        capacity: room.capacity,
        rates: told.rates().clone(),
    })
}

/// What hangs on a descriptor. Where its documents are damaged, or cannot be read, what is found of
/// it, with [`Reach::unknown`].
///
/// # Errors
/// I/O errors that are not of one file alone.
pub(crate) fn reach(walker: &mut Walker, root: &Descriptor) -> Result<Reach> {
    match walker.reach(root) {
        Err(error) if error.is_corrupt() || error.is_unreadable() => {
            let lacking: BTreeSet<_> = [root.digest].into();
            Ok(Reach { missing: lacking.clone(), unknown: lacking, ..Reach::default() })
        }
        reach => Ok(reach?),
    }
}

/// What other tools' descriptors need, as far as it is there.
pub(crate) fn foreign(images: &Images) -> Result<BTreeSet<Digest>> {
    let mut walker = images.walker();
    let mut digests = BTreeSet::new();
    for descriptor in images.foreign()? {
        digests.extend(reach(&mut walker, &descriptor)?.digests());
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
    first_seen: u64,
    unfinished: u64,
    temporary: Vec<Utf8PathBuf>,
    trash: BTreeMap<String, Removed>,
    other: u64,
    strays: Vec<String>,
}

impl Found {
    fn below(store: &Store, apart: &Apart) -> Result<Self> {
        let mut found = Self::default();
        let trash = store.trash();
        disk::walk(store.root(), apart, &mut |it| {
            let is_foreign = matches!(&it.place, Place::Trash(name) if !trash.governs(name));
            if is_stray(store, &it) {
                found.strays.push(below_store(store, it.path));
            }
            let place = if is_foreign || is_stray(store, &it) { Place::Other } else { it.place.clone() };
            found.add(disk::Found { place, ..it })
        })?;
        found.strays.sort_unstable();
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
                Some((entry, used)) => {
                    self.packages.push(entry.key.id(), &Summary::of(&entry), used, bytes);
                }
                None => self.other += bytes,
            },
            Place::Context => self.contexts += bytes,
            Place::Events => self.events += bytes,
            Place::FirstSeen => self.first_seen += bytes,
            Place::Unfinished => {
                self.unfinished += bytes;
                self.temporary.extend(Utf8Path::from_path(path).map(Utf8Path::to_owned));
            }
            Place::Trash(name) if metadata.is_dir() => self.removed(name, metadata).folders += bytes,
            Place::Trash(name) => self.removed(name, metadata).bytes += bytes,
            Place::Shared | Place::Other => self.other += bytes,
        }
        Ok(())
    }

    /// The folder of the trash itself comes before what is in it.
    fn removed(&mut self, name: String, metadata: &Metadata) -> &mut Removed {
        // What a killed run was about to delete is older than any grace.
        let since = metadata.modified().ok().filter(|_| !trash::is_doomed(&name));
        let since = since.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        let new = |name| Removed { name, since, bytes: 0, folders: 0 };
        self.trash.entry(name.clone()).or_insert_with(|| new(name))
    }
}

/// The path below the store, in words.
pub(crate) fn below_store(store: &Store, path: &Path) -> String {
    path.strip_prefix(store.root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Whether it has a name that only a file of ours has, and is none: a folder, a pipe, a device.
/// What stands for a folder of the store and is none is another.
pub(crate) fn is_stray(store: &Store, found: &disk::Found<'_>) -> bool {
    let metadata = found.metadata;
    let below = found.path.strip_prefix(store.root()).unwrap_or(found.path);
    match found.place {
        Place::Blob(_) | Place::Body(_) | Place::Package => !metadata.is_file(),
        Place::OfKey(_) | Place::Events | Place::FirstSeen => !metadata.is_file() && !metadata.is_symlink(),
        Place::Other => !metadata.is_dir() && disk::is_folder_of_store(below),
        _ => false,
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
    let read = match replace::read_with_metadata(path, entry::CAP) {
        Err(error) if error.is_unreadable() => return Ok(None),
        read => read?,
    };
    let Some((bytes, metadata)) = read else { return Ok(None) };
    match PackageEntry::parse(&bytes, path) {
        Err(storekit::Error::BadPackage { .. }) => Ok(None),
        entry => Ok(Some((entry?, metadata))),
    }
}

/// When a folder of the trash was filled: a time in the future counts as now, and of a folder that
/// was filled while the clock was behind, the time in its name.
fn first_seen(removed: Removed, now: Timestamp) -> Removed {
    let named = trash::time_of(&removed.name).filter(|time| *time <= now);
    Removed { since: removed.since.min(now).max(named.unwrap_or(Timestamp::MIN)), ..removed }
}
