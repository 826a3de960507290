//! Brings back what a collection has removed, and says what stays in the trash.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::entry::{self, Entry};
use super::{BESIDE, Images, KEYS_IN_STORE};
use crate::blobs::is_sound;
use crate::error::Result;
use crate::trash::Batch;
use crate::{Digest, Key};

/// Why an entry did not come back from the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBack {
    /// Another image is stored under its key.
    Taken,
    /// It lacks these blobs: the store does not have them, nor does the trash.
    Lacks(BTreeSet<Digest>),
    /// Its key file or a document cannot be understood.
    Damaged,
    /// These blobs of it are damaged in the trash, and the store does not have them.
    DamagedBlobs(BTreeSet<Digest>),
}

impl Images {
    /// Brings back what a collection has removed: blobs first, then the entries. Returns the keys
    /// that stand now. What is damaged stays in the trash, and so does an entry whose blobs are not
    /// all to be had any more.
    ///
    /// # Errors
    /// I/O errors, [`crate::Error::Locked`].
    pub fn undo(&self, batch: &Batch) -> Result<Vec<Key>> {
        // They are read through before the lock is taken.
        let damaged = self.damaged_in(batch)?;
        let lock = self.store.lock_exclusive()?;
        let (entries, others): (Vec<_>, Vec<_>) =
            batch.files()?.into_iter().partition(|path| path.starts_with(KEYS_IN_STORE));
        // What is kept beside an entry comes back with it, and never to a newer one.
        let is_beside = |path: &Utf8Path| {
            path.strip_prefix("images").is_ok_and(|path| BESIDE.iter().any(|name| path.starts_with(name)))
        };
        for path in others.iter().filter(|path| !is_beside(path) && !damaged.contains(*path)) {
            batch.give_back(&self.store.root().join(path))?;
        }
        let mut keys = Vec::new();
        for key in entries.iter().filter_map(|path| path.file_name()?.parse().ok()) {
            keys.extend(self.undo_entry(&key, batch)?.then_some(key));
        }
        drop(lock);
        self.sync_index()?;
        Ok(keys)
    }

    /// The files of a batch that are damaged, by their paths below the store.
    ///
    /// # Errors
    /// I/O errors.
    pub fn damaged_in(&self, batch: &Batch) -> Result<BTreeSet<Utf8PathBuf>> {
        let mut damaged = BTreeSet::new();
        for path in batch.files()? {
            let place = batch.place(&self.store.root().join(&path));
            if !place.map_or(Ok(true), |place| is_sound(&place, &self.store.trash()))? {
                damaged.insert(path);
            }
        }
        Ok(damaged)
    }

    /// Why the entries that are left in a batch after [`Images::undo`] did not come back; sorted by
    /// key.
    ///
    /// # Errors
    /// I/O errors.
    pub fn not_brought_back(&self, batch: &Batch) -> Result<Vec<(Key, NotBack)>> {
        let mut left = Vec::new();
        for path in batch.files()?.iter().filter(|path| path.starts_with(KEYS_IN_STORE)) {
            let Some(key) = path.file_name().and_then(|name| name.parse::<Key>().ok()) else { continue };
            let path = self.key_path(&key);
            let read = match batch.read(&path, entry::CAP) {
                Err(error) if error.is_unreadable() => None,
                read => read?,
            };
            let entry = read.map(|bytes| Entry::parse(&bytes, &path));
            let why = match entry {
                _ if path.exists() => NotBack::Taken,
                Some(Ok(entry)) => match self.walker().reach(&entry.descriptor) {
                    Err(error) if error.is_corrupt() || error.is_unreadable() => NotBack::Damaged,
                    reach => self.lacks(reach?.missing, batch),
                },
                _ => NotBack::Damaged,
            };
            left.push((key, why));
        }
        Ok(left)
    }

    fn lacks(&self, missing: BTreeSet<Digest>, batch: &Batch) -> NotBack {
        let (blobs, folder) = (self.blobs(), self.blobs().folder().to_owned());
        let is_here = |digest: &&Digest| batch.has(&folder.join(digest.hex())) && !blobs.contains(digest);
        let damaged: BTreeSet<_> = missing.iter().filter(is_here).copied().collect();
        if damaged.is_empty() { NotBack::Lacks(missing) } else { NotBack::DamagedBlobs(damaged) }
    }

    fn undo_entry(&self, key: &Key, batch: &Batch) -> Result<bool> {
        let path = self.key_path(key);
        let bytes = match batch.read(&path, entry::CAP) {
            Err(error) if error.is_unreadable() => return Ok(false),
            bytes => bytes?,
        };
        let Some(bytes) = bytes else { return Ok(false) };
        if path.exists() {
            // What was saved since stays.
            return Ok(false);
        }
        let whole = Entry::parse(&bytes, &path).and_then(|entry| self.bring_back(&entry.descriptor));
        match whole {
            Err(error) if error.is_corrupt() || error.is_unreadable() => Ok(false),
            whole => {
                whole?;
                for path in self.beside(key) {
                    batch.give_back(&path)?;
                }
                batch.give_back(&path)
            }
        }
    }
}
