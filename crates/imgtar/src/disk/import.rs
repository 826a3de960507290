//! From a disk's file into the store: chunks that are there already are only hashed, the others
//! compressed, several at once.
//!
//! Memory: four chunks at most are being worked on, and two wait.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};
use storekit::{Blobs, Descriptor, Digest, Entry, Images, Key, Lease, Store};

use super::reading;
use crate::error::{Error, Result};
use crate::format::qcow2::Header;
use crate::image::commit::{self, Notes, Standing};
use crate::image::disk::documents::{self, EMPTY_BYTES};
use crate::image::disk::{Chunk, Disk, Format};
use crate::layer::LEVEL;
use crate::progress::Progress;
use crate::source::{Source, drain};

/// More workers would need more memory than they save time.
const WORKERS: usize = 4;
/// Files that may be open beside the leases.
const OTHER_FILES: usize = 128;

/// What an import did.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Whether the key was written now; `false` where an earlier save stands.
    pub saved: bool,
    /// What is stored.
    pub entry: Entry,
    /// The disk, where it was read.
    pub disk: Option<Disk>,
    /// How many chunks were written.
    pub written: usize,
    /// How many were there already.
    pub reused: usize,
    /// The header of a qcow2.
    pub header: Option<Header>,
}

/// Saves a disk's file under a key. The first save under a key wins, unless `force`; a key whose
/// blobs are not all there and sound counts as unsaved.
///
/// # Errors
/// [`Error::BadDisk`]; I/O errors. Nothing stands under the key then.
pub fn import(
    store: &Store,
    key: &Key,
    source: Source,
    format: Format,
    notes: &Notes,
    progress: &dyn Progress,
) -> Result<Saved> {
    let blobs = commit::prepare(store)?;
    let notes = match commit::standing(store, key, notes)? {
        Standing::Stays(stands) => {
            drain(source)?;
            let disk = Disk::read(&blobs, key, &stands.entry.descriptor).ok().flatten();
            let entry = stands.entry;
            return Ok(Saved { saved: false, entry, disk, written: 0, reused: 0, header: None });
        }
        Standing::Save(ready) => ready.notes,
    };
    let work = Work::new(&blobs, &store.images())?;
    let mut header = None;
    let size = work.run(|to| {
        reading::walk(source, progress, &mut |offset, chunk| {
            if offset == 0 && format == Format::Qcow2 {
                header = Some(Header::parse(&chunk).map_err(bad_disk)?);
            }
            to(offset, chunk)
        })
    })?;
    if format == Format::Qcow2 && header.is_none() {
        return Err(bad_disk("it begins with zeros"));
    }
    let virtual_size = header.as_ref().map_or(size, |header| header.virtual_size);
    let done = work.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Done { mut chunks, mut leases, written, reused, .. } = done;
    chunks.sort_unstable_by_key(|chunk| chunk.offset);
    let disk = Disk { format, size, virtual_size, chunks };
    let (root, own) = put_documents(&blobs, &disk)?;
    let entry = Entry {
        names: notes.names.clone().unwrap_or_default(),
        build_seconds: notes.build_seconds,
        ..Entry::new(root, Timestamp::now())
    };
    let leases: Vec<Lease> = leases.drain().map(|(_, lease)| lease).chain(own).collect();
    let (saved, entry) = commit::commit(store, key, entry, &notes, &leases)?;
    Ok(Saved { saved, entry, disk: Some(disk), written, reused, header })
}

fn bad_disk(reason: &'static str) -> Error {
    Error::BadDisk { reason }
}

/// Writes the documents. Returns what names them all, and leases on them.
fn put_documents(blobs: &Blobs, disk: &Disk) -> Result<(Descriptor, Vec<Lease>)> {
    let mut leases = vec![blobs.put(EMPTY_BYTES)?];
    let mut root = Descriptor::new("", Digest::of(EMPTY_BYTES), 0);
    for (media_type, bytes) in documents::write(disk) {
        let lease = blobs.put(&bytes)?;
        root = Descriptor::new(media_type, lease.digest(), lease.size());
        leases.push(lease);
    }
    Ok((root, leases))
}

struct Work<'w> {
    blobs: &'w Blobs,
    /// Chunks that are stored, by the digests of their plain bytes: their packed digests and sizes.
    known: Mutex<HashMap<Digest, (Digest, u64)>>,
    done: Mutex<Done>,
    /// So many leases may be held. What a collection takes of the others comes back from the trash
    /// with the commit.
    room: usize,
}

#[derive(Default)]
struct Done {
    chunks: Vec<Chunk>,
    leases: HashMap<Digest, Lease>,
    written: usize,
    reused: usize,
    error: Option<Error>,
}

/// A chunk that is stored.
struct StoredChunk {
    /// The digest of its plain bytes.
    plain: Digest,
    lease: Lease,
    was_there: bool,
}

/// A chunk that is to be stored.
struct PlainChunk {
    offset: u64,
    bytes: Vec<u8>,
}

impl<'w> Work<'w> {
    fn new(blobs: &'w Blobs, images: &Images) -> Result<Self> {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let room = limit.unwrap_or(usize::MAX).saturating_sub(OTHER_FILES);
        let known = Mutex::new(known(images)?);
        Ok(Self { blobs, known, done: Mutex::default(), room })
    }

    /// Hands the chunks that `read` gives out to the workers, and waits for them.
    fn run<T>(
        &self,
        read: impl FnOnce(&mut dyn FnMut(u64, Vec<u8>) -> Result<()>) -> Result<T>,
    ) -> Result<T> {
        let workers = thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
        let (to, jobs) = sync_channel::<PlainChunk>(1);
        let jobs = Mutex::new(jobs);
        let read = thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&jobs));
            }
            let stopped = || Error::BadDisk { reason: "a chunk could not be stored" };
            let read = read(&mut |offset, bytes| {
                if locked(&self.done).error.is_some() {
                    return Err(stopped());
                }
                to.send(PlainChunk { offset, bytes }).map_err(|_| stopped())
            });
            drop(to);
            read
        });
        match locked(&self.done).error.take() {
            Some(error) => Err(error),
            None => read,
        }
    }

    fn work(&self, jobs: &Mutex<Receiver<PlainChunk>>) {
        loop {
            let job = locked(jobs).recv();
            let Ok(PlainChunk { offset, bytes }) = job else { return };
            // After an error, the rest is only taken off the queue, so that the reader ends.
            if locked(&self.done).error.is_some() {
                continue;
            }
            let stored = self.store(&bytes);
            let mut done = locked(&self.done);
            match stored {
                Ok(StoredChunk { plain, lease, was_there }) => {
                    let (packed, packed_size) = (lease.digest(), lease.size());
                    done.chunks.push(Chunk { offset, plain, packed, packed_size });
                    *(if was_there { &mut done.reused } else { &mut done.written }) += 1;
                    if done.leases.len() < self.room {
                        done.leases.insert(packed, lease);
                    }
                }
                Err(error) => drop(done.error.get_or_insert(error)),
            }
        }
    }

    fn store(&self, bytes: &[u8]) -> Result<StoredChunk> {
        let plain = Digest::of(bytes);
        let known = locked(&self.known).get(&plain).copied();
        if let Some((packed, size)) = known
            && let Some(lease) = self.blobs.lease_sound(&packed)?.filter(|lease| lease.size() == size)
        {
            return Ok(StoredChunk { plain, lease, was_there: true });
        }
        let failed = |error| storekit::Error::io("compress for", self.blobs.folder(), error);
        let packed = zstd::bulk::compress(bytes, LEVEL).map_err(failed)?;
        let lease = self.blobs.put(&packed)?;
        locked(&self.known).insert(plain, (lease.digest(), lease.size()));
        Ok(StoredChunk { plain, lease, was_there: false })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The chunks of all stored disks. One that cannot be read teaches nothing, and is not an error
/// here.
fn known(images: &Images) -> Result<HashMap<Digest, (Digest, u64)>> {
    let blobs = images.blobs();
    let mut known = HashMap::new();
    // What another tool put into the layout was never verified: its digests prove nothing.
    for listed in images.list_sound()?.into_iter().filter(|listed| !listed.entry.adopted) {
        let disk = Disk::read(&blobs, &listed.key, &listed.entry.descriptor).ok().flatten();
        let chunks = disk.into_iter().flat_map(|disk| disk.chunks);
        known.extend(chunks.map(|chunk| (chunk.plain, (chunk.packed, chunk.packed_size))));
    }
    Ok(known)
}
