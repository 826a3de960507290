//! The package downloads: `packages/`, bodies by their digest and one entry file for each cached
//! URL.
//!
//! Nothing here is synced to disk: a reader verifies what it hands on. Nothing scans the folder but
//! [`Packages::each`] and the sweep.
//!
//! Limit: two processes that change one entry at the same time do not wait for each other. The last
//! one's stands; a response that is lost so is fetched again.

mod collect;
pub mod entry;
mod id;
pub mod index;
mod kept;
mod needed;
mod overview;
pub mod seen;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use crate::blobs::{Blobs, Lease};
use crate::digest::{Digest, Hasher};
use crate::error::{At, Error, Result};
use crate::events::Events;
use crate::files::replace::{self, Durability, Staged};
use crate::images::stamp_now;
use crate::packages::entry::{CAP, MOST_RESPONSES, PackageEntry, PackageKey};
use crate::store::Store;

pub use id::PackageId;
pub use kept::{Kept, Notes, Noting};
pub use needed::NeededBodies;

/// A use is stamped again only when the last stamp is older than this: packages may be asked for
/// very often.
pub const STAMP_EVERY: Duration = Duration::from_secs(1);

/// The package downloads of a store.
#[derive(Clone, Debug)]
pub struct Packages {
    store: Store,
}

/// An entry file that was come across.
#[derive(Debug)]
pub struct FoundPackage {
    /// The file that the entry was read from.
    pub path: Utf8PathBuf,
    /// What it says.
    pub entry: Result<PackageEntry>,
    /// When it was last used; never later than now.
    pub used: SystemTime,
}

impl Packages {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The folder packages/ of the store.
    #[must_use]
    pub fn folder(&self) -> Utf8PathBuf {
        self.store.root().join("packages")
    }

    /// The folder of the entries.
    #[must_use]
    pub fn entries(&self) -> Utf8PathBuf {
        self.folder().join("entries")
    }

    /// The bodies of responses, by their digests.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.folder().join("blobs/sha256"), self.store.trash(), Durability::Unsynced)
    }

    /// What was asked for, by the minute or the day: `hit` (from what is stored) and `miss`
    /// (fetched, for it was not stored) of entries, by their [`PackageId`]. See FORMAT.md, "Uses of
    /// packages".
    #[must_use]
    pub fn uses(&self) -> Events {
        Events::new(self.folder().join("uses")).in_half_the_room()
    }

    /// When versions were first seen.
    #[must_use]
    pub fn first_seen(&self) -> seen::FirstSeen {
        seen::FirstSeen::new(self.folder().join("seen"))
    }

    /// Makes the folders where they are missing. A writer calls it first.
    ///
    /// # Errors
    /// I/O errors.
    pub fn prepare(&self) -> Result<()> {
        for folder in [self.entries(), self.blobs().folder().to_owned()] {
            fs::create_dir_all(&folder).at("create", &folder)?;
        }
        Ok(())
    }

    /// The bodies that dead writers left unfinished are removed, but for those that somebody may
    /// still go on with: see [`replace::TAKEN_UP_WITHIN`]. Returns the bytes that this freed on
    /// disk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sweep_unfinished(&self) -> Result<u64> {
        replace::sweep_stale(self.blobs().folder())
    }

    /// The bytes on disk that [`Packages::sweep_unfinished`] would free, of these unfinished files.
    #[must_use]
    pub fn abandoned_among(&self, unfinished: &[Utf8PathBuf]) -> u64 {
        let blobs = self.blobs();
        let swept = unfinished
            .iter()
            .map(Utf8PathBuf::as_path)
            .filter(|path| path.parent() == Some(blobs.folder()) && !replace::may_be_taken_up(path));
        replace::abandoned_among(swept)
    }

    /// Where the key's entry is, or would be.
    #[must_use]
    pub fn path(&self, key: &PackageKey) -> Utf8PathBuf {
        self.entries().join(key.path())
    }

    /// What is stored under the key. A file that holds another key (a copied one) counts as none.
    ///
    /// # Errors
    /// [`Error::BadPackage`], [`Error::Newer`], I/O errors.
    pub fn get(&self, key: &PackageKey) -> Result<Option<PackageEntry>> {
        let path = self.path(key);
        let Some(bytes) = replace::read_capped(&path, CAP)? else { return Ok(None) };
        Ok(Some(PackageEntry::parse(&bytes, &path)?).filter(|entry| entry.key.is(key)))
    }

    /// What is stored in the entry file of this path below [`Packages::entries`]. A path that no
    /// entry has, or an entry that belongs elsewhere, counts as none.
    ///
    /// # Errors
    /// As [`Packages::get`].
    pub fn get_at(&self, path: &str) -> Result<Option<PackageEntry>> {
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
        if path.split('/').count() != 3 || !path.split('/').all(is_plain) {
            return Ok(None);
        }
        let path_of_file = self.entries().join(path);
        let Some(bytes) = replace::read_capped(&path_of_file, CAP)? else { return Ok(None) };
        let entry = PackageEntry::parse(&bytes, &path_of_file)?;
        Ok(Some(entry).filter(|entry| entry.key.path() == path))
    }

    /// Writes the entry; without responses, removes it. `leases` hold the bodies until it stands.
    /// Older responses whose bodies a collector took meanwhile are left out.
    ///
    /// # Errors
    /// [`Error::Missing`] where no response has its body any more; [`Error::Locked`]; I/O errors.
    pub fn put(&self, entry: &PackageEntry, leases: &[Lease]) -> Result<()> {
        let mut entry = entry.clone();
        entry.responses.truncate(MOST_RESPONSES);
        if entry.responses.is_empty() {
            return self.remove(&entry.key);
        }
        let path = self.path(&entry.key);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        let lock = self.store.lock_shared()?;
        self.leave_out_the_lost(&mut entry, leases)?;
        replace::replace(&path, entry.to_text().as_bytes(), Durability::Unsynced)?;
        drop(lock);
        Ok(())
    }

    /// The caller holds the store shared: no body goes from here on.
    fn leave_out_the_lost(&self, entry: &mut PackageEntry, leases: &[Lease]) -> Result<()> {
        let blobs = self.blobs();
        let is_there = |digest: &Digest| {
            let held = leases.iter().any(|lease| lease.digest() == *digest);
            Ok::<_, Error>(held || blobs.contains(digest) || blobs.lease(digest)?.is_some())
        };
        let mut lost = None;
        let mut there = Vec::with_capacity(entry.responses.len());
        for response in std::mem::take(&mut entry.responses) {
            if is_there(&response.digest)? {
                there.push(response);
            } else {
                lost = Some(response.digest);
            }
        }
        entry.responses = there;
        match lost.filter(|_| entry.responses.is_empty()) {
            Some(digest) => Err(Error::Missing { digest, path: blobs.folder().to_owned() }),
            None => Ok(()),
        }
    }

    /// Forgets what is stored under the key, and what was left half-way. What was not there is gone
    /// too.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(&self, key: &PackageKey) -> Result<()> {
        self.remove_kept(key)?;
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.at("remove", &path),
        }
    }

    /// Stamps the entry as used now, unless it was stamped a moment ago. A store that cannot be
    /// written to stays as it is.
    pub fn touch(&self, key: &PackageKey) {
        let path = self.path(key);
        let stamped = fs::metadata(&path).and_then(|metadata| metadata.modified());
        if !stamped.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < STAMP_EVERY)) {
            let _ = stamp_now(&path);
        }
    }

    /// Hands each entry file to `each`, in the order of their paths, one folder at a time; ends
    /// with the first error.
    ///
    /// # Errors
    /// I/O errors, those of `each`. An entry that cannot be read is handed on as it is.
    pub fn each<E: From<Error>>(&self, each: &mut dyn FnMut(FoundPackage) -> Result<(), E>) -> Result<(), E> {
        below(&self.entries(), 2, &mut |path| {
            let read = replace::read_capped(path, CAP);
            let Some(bytes) = read.transpose() else { return Ok(()) };
            let now = SystemTime::now();
            let used = fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(now).min(now);
            let entry = bytes.and_then(|bytes| PackageEntry::parse(&bytes, path));
            each(FoundPackage { path: path.to_owned(), entry, used })
        })
    }

    /// Starts a body that others may read while it grows.
    ///
    /// # Errors
    /// I/O errors.
    pub fn body(&self) -> Result<BodyWriter> {
        let blobs = self.blobs();
        let staged = Staged::new(blobs.folder())?;
        BodyWriter::of(blobs, staged, None)
    }
}

/// Calls `each` with every entry file `depth` folders below `folder`.
fn below<E: From<Error>>(
    folder: &Utf8Path,
    depth: usize,
    each: &mut dyn FnMut(&Utf8Path) -> Result<(), E>,
) -> Result<(), E> {
    for name in replace::names_if_folder(folder)? {
        let path = folder.join(&name);
        if depth > 0 {
            below(&path, depth - 1, each)?;
        } else if name.strip_suffix(".toml").is_some_and(|stem| !stem.starts_with(replace::TEMPORARY)) {
            each(&path)?;
        }
    }
    Ok(())
}

/// A body that is being written; dropped unfinished, it leaves nothing, or what a later writer may
/// go on with.
#[derive(Debug)]
pub struct BodyWriter {
    blobs: Blobs,
    staged: Staged,
    hasher: Hasher,
    size: u64,
    file: Arc<File>,
    /// Of one that may be gone on with.
    noting: Option<Noting>,
}

impl BodyWriter {
    fn of(blobs: Blobs, staged: Staged, notes: Option<Arc<Notes>>) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(staged.path())
            .at("open a file in", blobs.folder())?;
        let noting = notes.map(|notes| Noting::new(notes, 0));
        Ok(Self { blobs, staged, hasher: Hasher::new(), size: 0, file: Arc::new(file), noting })
    }

    /// Where it is noted what others write into the file ahead of this: nowhere, where nobody may
    /// go on with it.
    #[must_use]
    pub fn notes(&self) -> Option<Arc<Notes>> {
        self.noting.as_ref().map(|noting| Arc::clone(noting.notes()))
    }

    /// The file, to read what was written so far. It stays readable whatever becomes of the writer.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// How many bytes were written.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// I/O errors; then a part of the bytes may be in the file, and `size` does not count them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.size).at("write in", self.blobs.folder())?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        if let Some(noting) = &mut self.noting {
            noting.reached(self.size);
        }
        Ok(())
    }

    /// Takes in what somebody has written in the file already behind what was written so far: at
    /// most 64 KiB, and nothing behind `until`. Returns these bytes.
    ///
    /// # Errors
    /// I/O errors; a file that ends before `until`.
    pub fn take_in(&mut self, until: u64) -> Result<Vec<u8>> {
        const MOST: u64 = 64 << 10;
        let room = until.saturating_sub(self.size).min(MOST);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, self.size).at("read in", self.blobs.folder())?;
        self.hasher.update(&bytes);
        self.size += room;
        if let Some(noting) = &mut self.noting {
            noting.skip(self.size);
        }
        Ok(bytes)
    }

    /// Gives the body up; what was hashed so far can be gone on with, but not by a later writer.
    #[must_use]
    pub fn abandon(self) -> Hasher {
        let hasher = self.hasher.clone();
        self.discard();
        hasher
    }

    /// Gives the body up, and leaves nothing of it.
    pub fn discard(self) {
        if let Some(notes) = self.notes() {
            notes.remove();
        }
        self.staged.discard();
    }

    /// The digest of what was written so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Gives the body its name.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the bytes do not have the announced digest (nothing is stored
    /// then); I/O errors.
    pub fn finish(self, announced: Option<&Digest>) -> Result<Lease> {
        let notes = self.notes();
        let finished = self.blobs.writer(self.staged, self.hasher, self.size).finish(announced);
        if let Some(notes) = notes {
            notes.remove();
        }
        finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::entry::StoredResponse;

    pub(super) fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        store.packages().prepare().unwrap();
        (dir, store)
    }

    pub(super) fn entry(url: &str, lease: &Lease) -> PackageEntry {
        let mut entry = PackageEntry::new(PackageKey::new("generic", "up", url, None));
        let now = jiff::Timestamp::now();
        entry.responses.push(StoredResponse {
            status: 200,
            digest: lease.digest(),
            size: lease.size(),
            part: None,
            announced: None,
            level: crate::packages::entry::Level::None,
            requested: now,
            received: now,
            headers: Vec::new(),
            vary: Vec::new(),
            selecting: std::collections::BTreeMap::new(),
        });
        entry
    }

    pub(super) fn body(packages: &Packages, bytes: &[u8]) -> Lease {
        let mut writer = packages.body().unwrap();
        writer.write(bytes).unwrap();
        writer.finish(None).unwrap()
    }

    #[test]
    fn an_entry_is_found_under_its_key_alone() {
        let (_dir, store) = store();
        let packages = store.packages();
        let lease = body(&packages, b"body");
        let entry = entry("http://a/x", &lease);
        packages.put(&entry, &[lease]).unwrap();
        assert_eq!(packages.get(&entry.key).unwrap().unwrap(), entry);
        let other = PackageKey::new("generic", "up", "http://a/y", None);
        assert!(packages.get(&other).unwrap().is_none());
        fs::copy(packages.path(&entry.key), packages.path(&other)).unwrap_or_else(|_| {
            fs::create_dir_all(packages.path(&other).parent().unwrap()).unwrap();
            fs::copy(packages.path(&entry.key), packages.path(&other)).unwrap()
        });
        assert!(packages.get(&other).unwrap().is_none(), "another URL's answer was taken");
        assert_eq!(packages.get_at(&entry.key.path()).unwrap().unwrap(), entry);
        for path in ["../../CACHEDIR.TAG", &other.path(), "up/..", "", &format!("x/{}", entry.key.path())] {
            assert!(packages.get_at(path).unwrap().is_none(), "{path} was read");
        }
        packages.remove(&entry.key).unwrap();
        packages.remove(&entry.key).unwrap();
        assert!(packages.get(&entry.key).unwrap().is_none());
    }

    #[test]
    fn an_entry_never_names_a_body_that_is_not_there() {
        let (_dir, store) = store();
        let packages = store.packages();
        let lease = body(&packages, b"body");
        let entry = entry("http://a/x", &lease);
        fs::remove_file(packages.blobs().path(&lease.digest())).unwrap();
        drop(lease);
        assert!(matches!(packages.put(&entry, &[]), Err(Error::Missing { .. })));
        assert!(packages.get(&entry.key).unwrap().is_none());
    }

    #[test]
    fn a_response_whose_body_was_collected_does_not_keep_a_new_one_out() {
        let (_dir, store) = store();
        let packages = store.packages();
        let (old, new) = (body(&packages, b"old"), body(&packages, b"new"));
        let mut both = entry("http://a/x", &old);
        packages.put(&both, &[old]).unwrap();
        // What a server read before a collector took it.
        let fresh = entry("http://a/x", &new);
        both.responses.insert(0, fresh.responses[0].clone());
        let lock = store.lock_exclusive().unwrap();
        let batch = store.trash().shredder();
        assert!(packages.discard(&lock, &packages.path(&both.key), &batch).unwrap());
        let gone = both.responses[1].digest;
        // A process that another test is just starting has the lease, too, until it runs.
        while packages.discard_body(&lock, &gone, &batch).unwrap() == crate::Discarded::InUse {}
        drop(lock);
        packages.put(&both, &[new]).unwrap();
        assert_eq!(packages.get(&both.key).unwrap().unwrap().responses, fresh.responses);
    }

    #[test]
    fn a_growing_body_is_read_while_it_is_written() {
        use std::os::unix::fs::FileExt;
        let (_dir, store) = store();
        let packages = store.packages();
        let mut writer = packages.body().unwrap();
        let file = writer.file();
        writer.write(b"abc").unwrap();
        let mut bytes = [0; 3];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"abc");
        let wrong = Digest::of(b"other");
        assert!(matches!(writer.finish(Some(&wrong)), Err(Error::Mismatch { .. })));
        assert!(packages.blobs().list().unwrap().is_empty());
        file.read_exact_at(&mut bytes, 0).unwrap();
    }

    #[test]
    fn listing_names_what_cannot_be_read() {
        let (_dir, store) = store();
        let packages = store.packages();
        let lease = body(&packages, b"body");
        let good = entry("http://a/x", &lease);
        packages.put(&good, &[lease]).unwrap();
        fs::write(packages.path(&good.key).with_file_name("bad.toml"), "?").unwrap();
        let mut found = Vec::new();
        let mut note = |it: FoundPackage| {
            found.push(it.entry.is_ok());
            Ok(())
        };
        packages.each::<Error>(&mut note).unwrap();
        found.sort_unstable();
        assert_eq!(found, [false, true]);
    }
}
