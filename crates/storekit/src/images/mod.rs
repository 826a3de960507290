//! The images: `images/`, an OCI image layout with one file for each key beside it.
//!
//! The key files are the truth; index.json is derived from them, and what another OCI tool adds to
//! it is adopted.
//!
//! Deliberately absent: the bytes of layers, which are only blobs here, and what may be removed.

pub mod entry;
pub mod fetched;
pub(crate) mod index;
pub(crate) mod index_file;
pub(crate) mod listing;
pub mod lookup;
pub(crate) mod names;
pub mod notes;
pub mod origin;
pub mod pins;
pub mod reach;
pub mod referrers;
mod undo;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, Timespec, Timestamps, utimensat};

use crate::blobs::{Blobs, Discarded, Lease};
use crate::error::{At, Error, Result};
use crate::files::lock::Exclusive;
use crate::files::replace::{self, Durability};
use crate::images::entry::Entry;
use crate::images::listing::Listed;
use crate::images::reach::{Reach, Walker};
use crate::images::referrers::Referrers;
use crate::oci::Descriptor;
use crate::store::Store;
use crate::trash::Batch;
use crate::{Digest, Key};

pub use undo::NotBack;

/// Where the key files are.
const KEYS_IN_STORE: &str = "images/keys";
/// No record of what a build fetched is larger: 64 MiB.
pub const FETCHED_CAP: u64 = 64 << 20;
/// The folders in which writers leave unfinished files.
const FOLDERS: [&str; 6] = ["blobs/sha256", "keys", "inputs", "fetched", "pins", ""];

/// The images of a store.
#[derive(Clone, Debug)]
pub struct Images {
    store: Store,
}

/// The folders, below images/, of what is kept beside the entries: a file for each key.
pub const BESIDE: [&str; 2] = ["inputs", "fetched"];

/// What is kept beside an entry; what is not given is removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// hashctx's manifest of the inputs.
    pub inputs: Option<&'a [u8]>,
    /// What the build fetched. See FORMAT.md, "What a build fetched".
    pub fetched: Option<&'a [u8]>,
}

/// Whether a save may take the place of one that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// The first save wins.
    No,
    /// The last save wins (`--force`).
    Yes,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The entry stands now.
    Saved,
    /// Another entry stood there, whole; it stands still.
    AlreadyThere,
}

impl Images {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The folder: an OCI image layout.
    #[must_use]
    pub fn folder(&self) -> Utf8PathBuf {
        self.store.root().join("images")
    }

    /// The blobs of all images, by their digests.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.folder().join("blobs/sha256"), self.store.trash(), Durability::Synced)
    }

    /// Follows descriptors to the blobs that they need.
    #[must_use]
    pub fn walker(&self) -> Walker {
        Walker::new(self.blobs())
    }

    /// Makes the folders and `oci-layout` where they are missing. A writer calls it first.
    ///
    /// # Errors
    /// I/O errors.
    pub fn prepare(&self) -> Result<()> {
        for name in ["blobs/sha256", "keys", "inputs", "fetched"] {
            let folder = self.folder().join(name);
            fs::create_dir_all(&folder).at("create", &folder)?;
        }
        let layout = b"{\"imageLayoutVersion\":\"1.0.0\"}";
        replace::put_once(&self.folder().join("oci-layout"), layout, Durability::Synced)?;
        if self.index_path().is_file() { Ok(()) } else { self.sync_index() }
    }

    pub(crate) fn index_path(&self) -> Utf8PathBuf {
        self.folder().join("index.json")
    }

    pub(crate) fn key_path(&self, key: &Key) -> Utf8PathBuf {
        self.store.root().join(KEYS_IN_STORE).join(key.as_str())
    }

    fn inputs_path(&self, key: &Key) -> Utf8PathBuf {
        self.folder().join("inputs").join(key.as_str())
    }

    fn fetched_path(&self, key: &Key) -> Utf8PathBuf {
        self.folder().join("fetched").join(key.as_str())
    }

    /// The files beside the entry.
    fn beside(&self, key: &Key) -> [Utf8PathBuf; BESIDE.len()] {
        BESIDE.map(|name| self.folder().join(name).join(key.as_str()))
    }

    /// What is stored under the key. What another tool has added to index.json since is adopted
    /// first, where the store can be written to.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::Newer`], I/O errors.
    pub fn get(&self, key: &Key) -> Result<Option<Entry>> {
        match self.read(key)? {
            None if self.adopt()? => self.read(key),
            entry => Ok(entry),
        }
    }

    pub(crate) fn read(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.read_with_metadata(key)?.map(|(entry, _)| entry))
    }

    /// The same, with what the system says of the key file.
    fn read_with_metadata(&self, key: &Key) -> Result<Option<(Entry, fs::Metadata)>> {
        let path = self.key_path(key);
        match replace::read_with_metadata(&path, entry::CAP) {
            // No writer of ours makes such a file: it is one that cannot be understood.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::FileTooLarge => {
                Err(Error::BadFile { path, reason: source.to_string() })
            }
            read => read?.map(|(bytes, metadata)| Ok((Entry::parse(&bytes, &path)?, metadata))).transpose(),
        }
    }

    /// The text of a key file that can be read again.
    fn key_text(&self, key: &Key, entry: &Entry) -> Result<String> {
        let text = entry.to_text();
        if text.len() as u64 > entry::CAP {
            let reason = format!("its names and its type would take more than {} bytes", entry::CAP);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason)).at("write", &self.key_path(key));
        }
        Ok(text)
    }

    /// What is stored under the key, and whether all its blobs are there. Where some are not, the
    /// entry is read again: a collector may have taken both.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn find(&self, key: &Key) -> Result<Option<(Entry, Reach)>> {
        for _ in 0..8 {
            let Some(entry) = self.get(key)? else { return Ok(None) };
            let reach = self.walker().reach(&entry.descriptor)?;
            if reach.is_whole() || self.get(key)?.as_ref() == Some(&entry) {
                return Ok(Some((entry, reach)));
            }
        }
        Ok(None)
    }

    /// When the key was last used; a stamp from the future counts as used now. `None`: no such key.
    ///
    /// # Errors
    /// I/O errors.
    pub fn last_use(&self, key: &Key) -> Result<Option<SystemTime>> {
        Ok(stamp(&self.key_path(key))?.map(|time| time.min(SystemTime::now())))
    }

    /// Whether the key's stamp is in the future: by a clock that was ahead, or since this one is
    /// behind. No use of now is.
    #[must_use]
    pub fn is_stamped_ahead(&self, key: &Key) -> bool {
        stamp(&self.key_path(key)).is_ok_and(|time| time.is_some_and(|time| time > SystemTime::now()))
    }

    /// Stamps the keys as used now that have a stamp in the future, where the clock is right: else
    /// they would be as good as new until then. Keys that cannot be stamped stay as they are.
    ///
    /// # Errors
    /// A folder of keys that cannot be listed.
    pub fn settle_stamps(&self) -> Result<()> {
        for key in self.keys()?.iter().filter(|key| self.is_stamped_ahead(key)) {
            let _ = set_to_now(&self.key_path(key));
        }
        Ok(())
    }

    /// Stamps the key as used now: a collector that has chosen it before sees that. A store that
    /// cannot be written to stays as it is.
    pub fn touch(&self, key: &Key) {
        let _ = stamp_now(&self.key_path(key));
    }

    /// The manifest of inputs that was saved with the key.
    ///
    /// # Errors
    /// I/O errors.
    pub fn inputs(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        replace::read_capped(&self.inputs_path(key), 1 << 30)
    }

    /// What the build fetched that was saved with the key, where that is on record.
    ///
    /// # Errors
    /// I/O errors.
    pub fn fetched(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        replace::read_capped(&self.fetched_path(key), FETCHED_CAP)
    }

    /// As [`Images::commit_with`], with the manifest of inputs alone.
    ///
    /// # Errors
    /// The same.
    pub fn commit(
        &self,
        key: &Key,
        entry: &Entry,
        inputs: Option<&[u8]>,
        leases: &[Lease],
        overwrite: Overwrite,
    ) -> Result<Committed> {
        self.commit_with(key, entry, Beside { inputs, fetched: None }, leases, overwrite)
    }

    /// Writes the entry, and what is kept beside it. All blobs that it needs are there afterwards,
    /// or nothing was written.
    ///
    /// The leases are asked for so that no caller forgets to hold them: until the entry stands,
    /// they alone keep the blobs. What a collector took before is brought back. An entry that
    /// stands and whose blobs are all sound stays unless `overwrite`; soundness is proved by
    /// reading them.
    ///
    /// # Errors
    /// [`Error::Missing`] where a blob is neither there nor in the trash; [`Error::BadDocument`];
    /// [`Error::Locked`]; I/O errors.
    pub fn commit_with(
        &self,
        key: &Key,
        entry: &Entry,
        beside: Beside<'_>,
        _leases: &[Lease],
        overwrite: Overwrite,
    ) -> Result<Committed> {
        self.prepare()?;
        if overwrite == Overwrite::No && self.stands_sound(key)? {
            return Ok(Committed::AlreadyThere);
        }
        self.write_entry(key, entry, beside)?;
        self.sync_index()?;
        Ok(Committed::Saved)
    }

    /// Under the shared lock: every blob, then what is kept beside, then the entry.
    pub(crate) fn write_entry(&self, key: &Key, entry: &Entry, beside: Beside<'_>) -> Result<()> {
        let text = self.key_text(key, entry)?;
        let lock = self.store.lock_shared()?;
        self.bring_back(&entry.descriptor)?;
        replace::sync_folder(self.blobs().folder(), Durability::Synced)?;
        for (path, bytes) in
            [(self.inputs_path(key), beside.inputs), (self.fetched_path(key), beside.fetched)]
        {
            match bytes {
                Some(bytes) => replace::replace(&path, bytes, Durability::Synced)?,
                None => remove(&path)?,
            }
        }
        replace::replace(&self.key_path(key), text.as_bytes(), Durability::Synced)?;
        drop(lock);
        Ok(())
    }

    /// Checks that all blobs below the descriptor are there; those in the trash are brought back.
    fn bring_back(&self, root: &Descriptor) -> Result<()> {
        let blobs = self.blobs();
        loop {
            let reach = self.walker().reach(root)?;
            let Some(digest) = reach.missing.first() else { return Ok(()) };
            // One that is there and counts as missing has another size than its descriptor says.
            if blobs.contains(digest) || blobs.lease(digest)?.is_none() {
                return Err(Error::Missing { digest: *digest, path: blobs.folder().to_owned() });
            }
        }
    }

    /// Brings back from the trash what the entry lacks. Returns whether all its blobs are there
    /// then.
    ///
    /// # Errors
    /// I/O errors, [`Error::Locked`].
    pub fn mend(&self, entry: &Entry) -> Result<bool> {
        let lock = self.store.lock_shared()?;
        let mended = match self.bring_back(&entry.descriptor) {
            Err(error) if error.is_corrupt() => Ok(false),
            Err(Error::NotFetched { .. }) => Ok(false),
            mended => mended.map(|()| true),
        };
        drop(lock);
        mended
    }

    /// Whether an entry stands whose blobs are all there and match their digests.
    fn stands_sound(&self, key: &Key) -> Result<bool> {
        let found = match self.find(key) {
            Err(error) if error.is_corrupt() => None,
            found => found?,
        };
        let Some((_, reach)) = found.filter(|(_, reach)| reach.is_whole()) else { return Ok(false) };
        for digest in reach.present.keys() {
            match self.blobs().verify(digest) {
                Err(error) if error.is_corrupt() => return Ok(false),
                verified => verified?,
            }
        }
        Ok(true)
    }

    /// Sets the names that a load restores. `false`: no such key.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn set_names(&self, key: &Key, names: Vec<String>) -> Result<bool> {
        self.change(key, |entry| entry.names = names)
    }

    /// Changes what an entry says besides its image. `false`: no such key.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Entry)) -> Result<bool> {
        self.adopt()?;
        // Alone: two that change names at once would each undo the other's.
        let lock = self.store.lock_exclusive()?;
        let Some(mut entry) = self.read(key)? else { return Ok(false) };
        change(&mut entry);
        let text = self.key_text(key, &entry)?;
        replace::replace(&self.key_path(key), text.as_bytes(), Durability::Synced)?;
        drop(lock);
        self.sync_index().map(|()| true)
    }

    /// Moves the keys' entries to the trash. Their blobs stay until a collection. Returns those
    /// keys that were there.
    ///
    /// # Errors
    /// I/O errors, [`Error::Locked`]: the keys before have gone then.
    pub fn remove(&self, keys: &[Key], batch: &Batch) -> Result<Vec<Key>> {
        let mut gone = Vec::new();
        let removed = keys.iter().try_for_each(|key| -> Result<()> {
            let lock = self.store.lock_exclusive()?;
            gone.extend(self.discard(&lock, key, batch)?.then(|| key.clone()));
            Ok(())
        });
        self.sync_index()?;
        removed.map(|()| gone)
    }

    /// The keys that go with these: what refers to their images and to nothing that stays, such as
    /// signatures. What is pinned stays, and so does what refers to that. An entry that cannot be
    /// read refers to nothing.
    ///
    /// # Errors
    /// I/O errors.
    pub fn hanging(&self, keys: &[Key]) -> Result<Vec<Key>> {
        let (entries, pins, mut walker) = (self.list_sound()?, self.pins()?, self.walker());
        let mut relation = Vec::new();
        for Listed { key, entry, .. } in &entries {
            let reach = match walker.reach(&entry.descriptor) {
                Err(error) if error.is_corrupt() => Reach::default(),
                reach => reach?,
            };
            let subject = referrers::subject(key, entry, &reach);
            relation.push((reach.present.into_keys().collect::<Vec<_>>(), subject));
        }
        let mut referrers = Referrers::new(relation.iter().map(|(held, it)| (held.iter().copied(), *it)));
        let at = |wanted: &Key| entries.iter().position(|listed| listed.key == *wanted);
        let pinned = pins.iter().filter(|key| !keys.contains(key)).filter_map(at);
        let stays: HashSet<usize> =
            pinned.flat_map(|pin| [vec![pin], referrers.below(pin)].concat()).collect();
        let gone: HashSet<usize> =
            keys.iter().filter_map(at).flat_map(|key| referrers.release(key)).collect();
        let mut gone: Vec<_> = gone.difference(&stays).map(|entry| entries[*entry].key.clone()).collect();
        gone.retain(|key| !keys.contains(key));
        gone.sort_unstable();
        Ok(gone)
    }

    /// One step of a collection: moves the key's entry to the trash. The index is derived anew by
    /// [`Images::sync_index`] when the run is over.
    ///
    /// # Errors
    /// I/O errors.
    pub fn discard(&self, _lock: &Exclusive, key: &Key, batch: &Batch) -> Result<bool> {
        for path in self.beside(key) {
            batch.take(&path)?;
        }
        batch.take(&self.key_path(key))
    }

    /// One step of a collection: moves the blob to the trash unless it is leased. The caller
    /// has read the entries under this very lock and found none that needs the blob.
    ///
    /// # Errors
    /// I/O errors.
    pub fn discard_blob(&self, _lock: &Exclusive, digest: &Digest, batch: &Batch) -> Result<Discarded> {
        self.blobs().discard(digest, batch)
    }

    /// What dead writers left unfinished is removed. Returns the bytes that this freed on disk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sweep_unfinished(&self) -> Result<u64> {
        let freed = self.sum_folders(replace::sweep_unfinished)?;
        self.sweep_beside()?;
        if self.ownerless()?.is_empty() {
            return Ok(freed);
        }
        // A writer writes what is kept beside before the entry, and holds the lock for all.
        let lock = self.store.lock_exclusive()?;
        let ownerless = self.ownerless()?;
        let bytes = sum_files(&ownerless)?;
        ownerless.iter().try_for_each(|path| remove(path))?;
        drop(lock);
        Ok(freed + bytes)
    }

    /// What dead writers left is removed, but for blobs that a later writer may go on with
    /// ([`Blobs::resume`]).
    ///
    /// # Errors
    /// I/O errors.
    pub fn sweep_spent(&self) -> Result<()> {
        self.sum_folders(replace::sweep_spent)?;
        self.sweep_beside()
    }

    /// The marks and hints that lie beside the images: small ones, which count as nothing
    /// unfinished.
    fn sweep_beside(&self) -> Result<()> {
        let root = self.store.root();
        let folders = [root.to_owned(), root.join("remotes"), root.join("contexts")];
        folders.iter().try_for_each(|folder| replace::sweep_unfinished(folder).map(drop))
    }

    /// What lies beside entries that are not there: a writer died between the two.
    fn ownerless(&self) -> Result<Vec<Utf8PathBuf>> {
        // These first: what is written meanwhile has them before its entry.
        let mut beside = Vec::new();
        for folder in BESIDE.map(|name| self.folder().join(name)) {
            let names = replace::file_names(&folder)?;
            beside.extend(names.into_iter().map(|name| (folder.clone(), name)));
        }
        if beside.is_empty() {
            return Ok(Vec::new());
        }
        let owners: HashSet<Key> = self.keys()?.into_iter().collect();
        let is_ownerless = |(folder, name): (Utf8PathBuf, String)| {
            let key: Key = name.parse().ok()?;
            (!owners.contains(&key)).then(|| folder.join(name))
        };
        Ok(beside.into_iter().filter_map(is_ownerless).collect())
    }

    /// The bytes on disk that [`Images::sweep_unfinished`] would free.
    ///
    /// # Errors
    /// I/O errors.
    pub fn abandoned(&self) -> Result<u64> {
        Ok(self.sum_folders(replace::abandoned)? + sum_files(&self.ownerless()?)?)
    }

    /// The same, for who has listed the folders: of these unfinished files.
    ///
    /// # Errors
    /// I/O errors.
    pub fn abandoned_among(&self, unfinished: &[Utf8PathBuf]) -> Result<u64> {
        let folders = FOLDERS.map(|name| self.folder().join(name));
        let is_swept = |path: &&Utf8PathBuf| {
            path.parent().is_some_and(|parent| folders.iter().any(|folder| folder == parent))
        };
        let swept = unfinished.iter().filter(is_swept).map(Utf8PathBuf::as_path);
        Ok(replace::abandoned_among(swept) + sum_files(&self.ownerless()?)?)
    }

    fn sum_folders(&self, bytes: impl Fn(&Utf8Path) -> Result<u64>) -> Result<u64> {
        let folders = FOLDERS.map(|name| self.folder().join(name));
        folders.iter().try_fold(0, |sum, folder| Ok(sum + bytes(folder)?))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

fn stamp(path: &Utf8Path) -> Result<Option<SystemTime>> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        modified => modified.at("read", path).map(Some),
    }
}

/// Stamps a file as used now, unless that would make its last use an earlier one: by a clock that
/// is behind, it would be as old as that is off.
pub(crate) fn stamp_now(path: &Utf8Path) -> rustix::io::Result<()> {
    let is_ahead = stamp(path).is_ok_and(|time| time.is_some_and(|time| time > SystemTime::now()));
    if is_ahead { Ok(()) } else { set_to_now(path) }
}

fn set_to_now(path: &Utf8Path) -> rustix::io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: now };
    utimensat(CWD, path.as_std_path(), &times, rustix::fs::AtFlags::empty())
}

/// The bytes on disk of those that are there.
fn sum_files(paths: &[Utf8PathBuf]) -> Result<u64> {
    paths.iter().try_fold(0, |sum, path| match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(sum),
        metadata => Ok(sum + metadata.at("read", path)?.blocks() * 512),
    })
}

fn remove(path: &Utf8Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", path),
    }
}
