//! What is stored, as the server uses it: entries read lately, bodies opened lately, and which
//! bodies are known to be sound.
//!
//! A body is hashed when this process touches it first, and again whenever its file is not the one
//! that was hashed (storekit's `FileState`). Nothing is scanned.
//!
//! Deliberately absent: the files on disk (storekit's `packages`), and whether a response is fresh
//! (`rules`).

pub(crate) mod head;
pub(crate) mod positioned;
pub(crate) mod recent;
pub(crate) mod recent_targets;
pub(crate) mod replayed;
pub(crate) mod seen;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use http::HeaderMap;
use storekit::error::At;
use storekit::files::state::FileState;
use storekit::packages::STAMP_EVERY;
use storekit::{
    BodyWriter, Checksum, Digest, Hasher, Kept, Lease, NeededBodies, PackageEntry, PackageKey, Packages,
    Store, StoredResponse,
};
use tokio::task::spawn_blocking;

use crate::error::Result;
use crate::observe::trace;
use crate::observe::uses::Wanted;
use crate::response::stored_head::Answer;
use crate::store::head::Head;
use crate::store::recent::Recent;
use crate::store::replayed::Replayed;

/// Entries that are kept in memory.
const ENTRIES: usize = 2048;
/// Bodies that are kept open.
const FILES: usize = 128;
/// Bodies of which it is remembered that they are sound.
const SOUND: usize = 16_384;
/// Those who write entries wait no longer for what is deleted: 20 ms, and what one deletion takes.
const STEP: Duration = Duration::from_millis(20);

/// Where what belongs to a key is stored.
#[derive(Debug)]
pub(crate) struct Spot {
    /// What the entry is found by.
    pub(crate) key: PackageKey,
    digest: Digest,
    path: Utf8PathBuf,
    /// As it is counted.
    pub(crate) wanted: Arc<Wanted>,
}

/// What is stored under a key.
#[derive(Debug)]
pub(crate) struct Known {
    /// The state of the file that it was read from, if it was.
    state: Option<FileState>,
    stamped: AtomicI64,
    /// The responses, the newest first.
    pub(crate) responses: Vec<Shelved>,
    /// The head of the answer that each gave last.
    heads: Vec<Mutex<Option<Arc<Head>>>>,
}

/// One stored response.
#[derive(Clone, Debug)]
pub(crate) struct Shelved {
    /// The response's head.
    pub(crate) answer: Arc<Answer>,
    /// Its body, and the form in the file.
    pub(crate) stored: Arc<StoredResponse>,
}

/// How a body was found.
#[derive(Debug)]
pub(crate) enum FoundBody {
    /// Sound.
    Sound(Arc<File>),
    /// Not there.
    Gone,
    /// Not what its digest says; it was moved aside.
    Damaged(Digest),
}

/// The stored responses.
#[derive(Debug)]
pub(crate) struct Shelf {
    packages: Packages,
    entries: Mutex<Recent<Digest, Arc<Known>>>,
    files: Mutex<Recent<Digest, Arc<File>>>,
    sound: Mutex<Recent<Digest, FileState>>,
    /// A task that hashes a body holds one of these, so that no other hashes it at the same time.
    hashing: [tokio::sync::Mutex<()>; 16],
    commit: Mutex<()>,
    /// All that there is, where a record is replayed.
    replayed: Option<Replayed>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    /// On a store.
    #[must_use]
    pub(crate) fn new(packages: Packages) -> Self {
        Self {
            packages,
            entries: Mutex::new(Recent::new(ENTRIES)),
            files: Mutex::new(Recent::new(FILES)),
            sound: Mutex::new(Recent::new(SOUND)),
            hashing: Default::default(),
            commit: Mutex::default(),
            replayed: None,
        }
    }

    /// With what a record names, and nothing else.
    #[must_use]
    pub(crate) fn replaying(self, replayed: Replayed) -> Self {
        Self { replayed: Some(replayed), ..self }
    }

    /// Whether a record is replayed.
    #[must_use]
    pub(crate) fn is_replayed(&self) -> bool {
        self.replayed.is_some()
    }

    /// The status with which it was said, as a record has it, that there is nothing under the key.
    #[must_use]
    pub(crate) fn absent(&self, key: &PackageKey) -> Option<u16> {
        self.replayed.as_ref()?.absent(key)
    }

    /// Where what belongs to the key is stored.
    #[must_use]
    pub(crate) fn spot(&self, key: PackageKey) -> Spot {
        let (digest, path, wanted) = (key.digest(), self.packages.path(&key), Wanted::of(&key));
        Spot { key, digest, path, wanted }
    }

    /// What is stored under the key. An entry that cannot be read counts as none.
    #[must_use]
    pub(crate) fn find(&self, key: &PackageKey) -> Option<Arc<Known>> {
        self.find_at(&self.spot(key.clone()))
    }

    /// What is stored there.
    #[must_use]
    pub(crate) fn find_at(&self, spot: &Spot) -> Option<Arc<Known>> {
        let known = match &self.replayed {
            Some(replayed) => replayed.find(&spot.digest),
            None => self.find_stored(spot),
        };
        trace::looked_at(&spot.key, || {
            known.iter().flat_map(|known| &known.responses).map(|it| Arc::clone(&it.stored)).collect()
        });
        known
    }

    fn find_stored(&self, spot: &Spot) -> Option<Arc<Known>> {
        let Ok(metadata) = fs::metadata(&spot.path) else {
            lock(&self.entries).remove(&spot.digest);
            return None;
        };
        let state = FileState::seen(&metadata);
        if let Some(known) =
            lock(&self.entries).get(&spot.digest).filter(|it| it.state.is_some_and(|it| it.is_still(&state)))
        {
            return Some(known);
        }
        let entry = self.packages.get(&spot.key).ok()??;
        let known = Arc::new(Known::new(Some(state), metadata.mtime(), entry));
        lock(&self.entries).insert(spot.digest, Arc::clone(&known));
        Some(known)
    }

    /// Notes that the entry was used.
    pub(crate) fn touch(&self, key: &PackageKey, known: &Known, now: i64) {
        // What is replayed was stamped when it was read.
        let Some(_) = known.state else { return };
        let last = known.stamped.load(Ordering::Relaxed);
        let every = i64::try_from(STAMP_EVERY.as_secs()).unwrap_or(i64::MAX);
        if (now - last >= every || last > now) && known.stamped.swap(now, Ordering::Relaxed) == last {
            self.packages.touch(key);
        }
    }

    /// Opens a body that is known to be sound.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) async fn body(&self, digest: &Digest) -> Result<FoundBody> {
        if self.replayed.as_ref().is_some_and(|replayed| !replayed.has_body(digest)) {
            return Ok(FoundBody::Gone);
        }
        if let Some(file) = self.sound_now(digest)? {
            return Ok(FoundBody::Sound(file));
        }
        let turn = usize::from(digest.hex().bytes().last().unwrap_or(0)) % self.hashing.len();
        let _turn = match self.hashing.get(turn) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        // Somebody else may have hashed it meanwhile.
        if let Some(file) = self.sound_now(digest)? {
            return Ok(FoundBody::Sound(file));
        }
        let Some(file) = self.open(digest)? else { return Ok(FoundBody::Gone) };
        let before = FileState::seen(&file.metadata().at("read", &self.packages.blobs().path(digest))?);
        let (file, found) = hashed(file).await;
        let found = found.at("read", &self.packages.blobs().path(digest))?;
        if found != *digest {
            lock(&self.files).remove(digest);
            self.packages.blobs().move_aside(digest)?;
            return Ok(FoundBody::Damaged(*digest));
        }
        lock(&self.sound).insert(*digest, before);
        lock(&self.files).insert(*digest, Arc::clone(&file));
        Ok(FoundBody::Sound(file))
    }

    /// Whether the body, which is sound, has this checksum of another algorithm.
    pub(crate) async fn has_checksum(&self, digest: &Digest, checksum: Checksum) -> bool {
        let Ok(FoundBody::Sound(file)) = self.body(digest).await else { return false };
        let size = file.metadata().ok().map(|it| it.len());
        let hash = move || -> std::io::Result<bool> {
            let (mut hasher, mut at, mut buffer) = (checksum.hasher(size), 0, vec![0; 256 << 10]);
            loop {
                let count = rustix::io::pread(&*file, &mut buffer[..], at)?;
                if count == 0 {
                    return Ok(hasher.finish() == Some(checksum));
                }
                at += count as u64;
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
        };
        matches!(spawn_blocking(hash).await, Ok(Ok(true)))
    }

    /// The body, if it is known to be sound and of that size, and need not be hashed to tell.
    #[must_use]
    pub(crate) fn sound(&self, digest: &Digest, size: u64) -> Option<Arc<File>> {
        let has_size = lock(&self.sound).get(digest).is_some_and(|state| state.size() == size);
        self.sound_now(digest).ok().flatten().filter(|_| has_size)
    }

    /// The body, if it is open and sound, or can be opened and is known to be.
    fn sound_now(&self, digest: &Digest) -> Result<Option<Arc<File>>> {
        let Some(state) = lock(&self.sound).get(digest) else { return Ok(None) };
        let is_same = |file: &File| file.metadata().is_ok_and(|it| state.is_still(&FileState::seen(&it)));
        let kept = lock(&self.files).get(digest);
        if let Some(file) = kept.filter(|file| is_same(file)) {
            return Ok(Some(file));
        }
        let Some(file) = self.open(digest)?.map(Arc::new).filter(|file| is_same(file)) else {
            return Ok(None);
        };
        lock(&self.files).insert(*digest, Arc::clone(&file));
        Ok(Some(file))
    }

    fn open(&self, digest: &Digest) -> Result<Option<File>> {
        let path = self.packages.blobs().path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            file => Ok(Some(file.at("open", &path)?)),
        }
    }

    /// Starts a body.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn begin(&self) -> Result<BodyWriter> {
        Ok(self.packages.body()?)
    }

    /// What an earlier fetch left of the key's body. One that cannot be read counts as none.
    pub(crate) fn kept(&self, key: &PackageKey) -> Option<Kept> {
        self.packages.kept(key).ok().flatten()
    }

    /// Starts a body that a later fetch may go on with.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn begin_kept(&self, key: &PackageKey, response: StoredResponse) -> Result<BodyWriter> {
        Ok(self.packages.keeping_body(key, response)?)
    }

    /// Changes what is stored under the key. What `change` makes is written; an entry without
    /// responses is removed.
    ///
    /// # Errors
    /// As [`Packages::put`].
    pub(crate) fn change(
        &self,
        key: &PackageKey,
        leases: &[Lease],
        change: impl FnOnce(&mut PackageEntry),
    ) -> Result<()> {
        if let Some(replayed) = &self.replayed {
            replayed.change(key, change);
            return Ok(());
        }
        let _commit = lock(&self.commit);
        // One that cannot be read is replaced.
        let standing = self.packages.get(key).ok().flatten();
        let mut entry = standing.unwrap_or_else(|| PackageEntry::new(key.clone()));
        change(&mut entry);
        lock(&self.entries).remove(&key.digest());
        for lease in leases {
            // It was hashed while it was written.
            if let Ok(metadata) = lease.file().metadata() {
                lock(&self.sound).insert(lease.digest(), FileState::written(&metadata));
            }
        }
        Ok(self.packages.put(&entry, leases)?)
    }

    /// What [`Self::discard`] reads of the entries.
    pub(crate) fn needed(&self) -> NeededBodies {
        NeededBodies::of_all(&self.packages).going_past_damage()
    }

    /// Deletes those of the bodies that no entry names and nobody is about to name. The entries are
    /// read beforehand, so that those who write some wait for short steps alone; what `needed` has
    /// read before is not read again.
    ///
    /// # Errors
    /// A store that is in use for too long; I/O errors. `needed` is of no more use then.
    pub(crate) fn discard(
        &self,
        store: &Store,
        bodies: &HashSet<Digest>,
        needed: &mut NeededBodies,
    ) -> Result<()> {
        // The second time, what was written during the first.
        needed.read_ahead();
        needed.read_ahead();
        let mut bodies = bodies.iter().peekable();
        while bodies.peek().is_some() {
            // From here on no entry is written; who takes a lease on one of them keeps it.
            let exclusive = store.lock_exclusive()?;
            needed.begin_step();
            let begun = Instant::now();
            while let Some(digest) = bodies.next_if(|_| begun.elapsed() < STEP) {
                if needed.is_needed(&exclusive, digest)? {
                    continue;
                }
                lock(&self.files).remove(digest);
                lock(&self.sound).remove(digest);
                self.packages.discard_body(&exclusive, digest, &store.trash().shredder())?;
            }
        }
        Ok(())
    }

    /// Forgets what is stored under the key.
    pub(crate) fn forget(&self, key: &PackageKey) {
        if let Some(replayed) = &self.replayed {
            return replayed.forget(key);
        }
        let _commit = lock(&self.commit);
        lock(&self.entries).remove(&key.digest());
        // One that cannot be removed was not believed for long anyway: it is asked about again.
        let _ = self.packages.remove(key);
    }
}

impl Shelved {
    fn new(stored: StoredResponse) -> Option<Self> {
        Some(Self { answer: Arc::new(Answer::from_stored(&stored)?), stored: Arc::new(stored) })
    }
}

impl Known {
    fn new(state: Option<FileState>, stamped: i64, entry: PackageEntry) -> Self {
        let responses: Vec<_> = entry.responses.into_iter().filter_map(Shelved::new).collect();
        let heads = responses.iter().map(|_| Mutex::default()).collect();
        Self { state, stamped: AtomicI64::new(stamped), responses, heads }
    }

    /// Whether it depends on the request which of the responses answers it.
    #[must_use]
    pub(crate) fn varies(&self) -> bool {
        self.responses.iter().any(|it| !it.answer.vary.is_empty())
    }

    /// The newest response that answers the request, and the head of the answer that it gave last.
    pub(crate) fn select_with(&self, request: &HeaderMap) -> Option<(&Shelved, &Mutex<Option<Arc<Head>>>)> {
        self.responses.iter().zip(&self.heads).find(|(it, _)| it.answer.answers(request))
    }

    /// The newest response that answers the request and is as wanted.
    #[must_use]
    pub(crate) fn select_where(
        &self,
        request: &HeaderMap,
        wanted: impl Fn(&StoredResponse) -> bool,
    ) -> Option<&Shelved> {
        self.responses.iter().find(|it| it.answer.answers(request) && wanted(&it.stored))
    }

    /// The newest response that answers the request.
    #[must_use]
    pub(crate) fn select(&self, request: &HeaderMap) -> Option<&Shelved> {
        self.responses.iter().find(|it| it.answer.answers(request))
    }
}

/// Reads the file through, beside everything else.
async fn hashed(file: File) -> (Arc<File>, std::io::Result<Digest>) {
    let file = Arc::new(file);
    let work = Arc::clone(&file);
    let hash = move || -> std::io::Result<Digest> {
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 256 << 10]);
        let mut reader = &*work;
        loop {
            let count = reader.read(&mut buffer)?;
            if count == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
        }
    };
    let found = match spawn_blocking(hash).await {
        Ok(found) => found,
        Err(error) => Err(std::io::Error::other(error)),
    };
    (file, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_names_goes_and_what_somebody_is_about_to_name_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(camino::Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        store.packages().prepare().unwrap();
        let shelf = Shelf::new(store.packages());
        let put = |bytes: &[u8]| {
            let mut writer = shelf.begin().unwrap();
            writer.write(bytes).unwrap();
            writer.finish(None).unwrap()
        };
        let (named, leased, unnamed) = (put(b"named"), put(b"leased"), put(b"unnamed").digest());
        let key = PackageKey::new("generic", "a", "http://a/b".to_owned(), None);
        let times = crate::rules::age::Times { requested: 0, received: 0 };
        let answer = Answer::new(http::StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times);
        let (response, digest) = (answer.to_stored(named.digest(), named.size()), named.digest());
        shelf.change(&key, &[named], |entry| entry.responses.push(response)).unwrap();
        // Of an entry that nobody can read.
        std::fs::write(store.packages().path(&key).with_file_name("damaged.toml"), "version = [").unwrap();
        std::fs::create_dir(store.packages().path(&key).with_file_name("folder.toml")).unwrap();
        let bodies = [digest, leased.digest(), unnamed, Digest::of(b"never there")].into();
        shelf.discard(&store, &bodies, &mut shelf.needed()).unwrap();
        let mut left = vec![digest, leased.digest()];
        left.sort();
        assert_eq!(store.packages().blobs().list().unwrap(), left);
    }
}
