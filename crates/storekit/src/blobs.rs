//! The content-addressed blobs: `blobs/sha256/<64 hex digits>`, each written once.
//!
//! A writer that writes or reuses a blob holds a [`Lease`] on it until the entry that names it is
//! committed: a shared flock on the blob's own file. A collector takes a blob only where it gets
//! the exclusive one.
//!
//! Source: OCI image-spec v1.1, image-layout.md, "Blobs".

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU64;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use crate::digest::{Digest, Hasher};
use crate::error::{At, Error, Result};
use crate::files::lfs;
use crate::files::lock::{self, Patience};
use crate::files::replace::open_regular;
use crate::files::replace::{self, Durability, Publication, Staged};
use crate::trash::Trash;

/// A folder of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: Utf8PathBuf,
    trash: Trash,
    durability: Durability,
}

/// A blob that is there and stays there while this lives.
#[must_use = "a collector may take the blob when this is dropped"]
#[derive(Debug)]
pub struct Lease {
    file: File,
    digest: Digest,
    size: u64,
    /// See [`Lease::is_written`].
    written: bool,
}

impl Lease {
    /// The blob's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The blob's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether all of the blob was written for this lease, so that its bytes are known without
    /// being read. Not where the blob was there already, or where an earlier writer had begun it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.written
    }

    /// The leased blob's file, to read at any offset.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Blobs {
    pub(crate) fn new(folder: Utf8PathBuf, trash: Trash, durability: Durability) -> Self {
        Self { folder, trash, durability }
    }

    /// The folder of the blobs, for messages.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Where the blob is, or would be.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.folder.join(digest.hex())
    }

    /// Starts a new blob. Nothing is to be seen under a final name until [`BlobWriter::finish`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn create(&self) -> Result<BlobWriter<'_>> {
        self.begin(Cow::Borrowed(self))
    }

    /// As [`Blobs::create`], for a writer that outlives this value.
    ///
    /// # Errors
    /// I/O errors.
    pub fn create_owned(&self) -> Result<BlobWriter<'static>> {
        self.begin(Cow::Owned(self.clone()))
    }

    fn begin<'a>(&self, blobs: Cow<'a, Self>) -> Result<BlobWriter<'a>> {
        let staged = Staged::new(&self.folder)?;
        Ok(BlobWriter { blobs, staged, hasher: Hasher::new(), size: 0, ahead: 0, taken_up: false })
    }

    /// Goes on with a blob of this digest where an earlier writer broke off, or starts it. Dropped
    /// unfinished, it is kept for the next one, until a collection. Where a living writer has it,
    /// this is a new blob as of [`Blobs::create`].
    ///
    /// # Errors
    /// I/O errors.
    pub fn resume(&self, digest: &Digest) -> Result<BlobWriter<'_>> {
        let path = self.folder.join(format!("{}{}", replace::PARTIAL, digest.hex()));
        let Some(mut staged) = Staged::resume(&path)? else {
            return self.create();
        };
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let mut buffer = vec![0; 256 << 10];
        staged.file().rewind().at("read in", &self.folder)?;
        loop {
            match staged.file().read(&mut buffer).at("read in", &self.folder)? {
                0 => return Ok(self.writer(staged, hasher, size)),
                count => {
                    hasher.update(&buffer[..count]);
                    size += count as u64;
                }
            }
        }
    }

    /// Goes on with a blob that was begun elsewhere: `size` bytes are in the file, and the hasher
    /// has seen them.
    pub(crate) fn writer(&self, staged: Staged, hasher: Hasher, size: u64) -> BlobWriter<'_> {
        let blobs = Cow::Borrowed(self);
        BlobWriter { blobs, staged, hasher, size, ahead: size, taken_up: size > 0 }
    }

    /// Stores the bytes as a blob. `Ok` means that it is there now, not that this call wrote it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn put(&self, bytes: &[u8]) -> Result<Lease> {
        let digest = Digest::of(bytes);
        if let Some(lease) = self.lease_sound(&digest)? {
            return Ok(lease);
        }
        let mut writer = self.create()?;
        writer.write_all(bytes).at("write in", &self.folder)?;
        writer.finish(Some(&digest))
    }

    /// Takes a lease on a blob that is there, or that the trash still has. `None`: it must be
    /// written anew. The bytes are not looked at: see [`Blobs::lease_sound`].
    ///
    /// # Errors
    /// I/O errors; a collector that holds the blob for too long.
    pub fn lease(&self, digest: &Digest) -> Result<Option<Lease>> {
        let path = self.path(digest);
        // Each round, a collector may have moved the blob between two steps: it is in the trash
        // then.
        loop {
            let Some(file) = open_regular(&path)? else {
                if self.trash.restore(&path, |place| is_sound(place, &self.trash))? {
                    continue;
                }
                return Ok(None);
            };
            lock::wait(&file, FlockOperation::NonBlockingLockShared, &Patience::default(), &path)?;
            if replace::same_file(&file, &path) {
                let size = file.metadata().at("read", &path)?.len();
                return Ok(Some(Lease { file, digest: *digest, size, written: false }));
            }
        }
    }

    /// Takes a lease on a blob whose bytes match its digest. A damaged one is moved aside, and
    /// `None`.
    ///
    /// # Errors
    /// As [`Blobs::lease`].
    pub fn lease_sound(&self, digest: &Digest) -> Result<Option<Lease>> {
        let Some(lease) = self.lease(digest)? else { return Ok(None) };
        match self.verify(digest) {
            Ok(()) => Ok(Some(lease)),
            // The pointer of Git LFS gives way to the blob itself.
            Err(Error::Damaged { .. } | Error::Missing { .. } | Error::NotFetched { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the blob is there; its bytes are not looked at.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// The blob's size in bytes, `None` where it is not there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            metadata => Ok(Some(metadata.at("read", &path)?.len())),
        }
    }

    /// Opens the blob for reading, verified at its end: instead of the end of the file comes
    /// [`Error::Damaged`] (inside the `io::Error`) where the bytes do not match, and the blob is
    /// moved aside. `None` where it is not there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn reader(&self, digest: &Digest) -> Result<Option<VerifiedReader>> {
        let Some(file) = open_regular(&self.path(digest))? else { return Ok(None) };
        Ok(Some(VerifiedReader { file, blobs: self.clone(), expected: *digest, hasher: Some(Hasher::new()) }))
    }

    /// Reads a small blob whole and verified.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], I/O errors, more than `cap` bytes.
    pub fn read(&self, digest: &Digest, cap: u64) -> Result<Vec<u8>> {
        let path = self.path(digest);
        let missing = || Error::Missing { digest: *digest, path: self.folder.clone() };
        let bytes = replace::read_capped(&path, cap)?.ok_or_else(missing)?;
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(self.unsound(digest, found)?)
    }

    /// Reads the blob through and compares. A damaged one is moved aside.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], I/O errors.
    pub fn verify(&self, digest: &Digest) -> Result<()> {
        let missing = || Error::Missing { digest: *digest, path: self.folder.clone() };
        let mut reader = self.reader(digest)?.ok_or_else(missing)?;
        let mut buffer = vec![0; 256 << 10];
        while reader.read(&mut buffer).at("read", &self.path(digest))? > 0 {}
        Ok(())
    }

    /// The digests of all blobs that are there, sorted; of regular files and links alone.
    ///
    /// # Errors
    /// I/O errors.
    pub fn list(&self) -> Result<Vec<Digest>> {
        Ok(replace::file_names(&self.folder)?.iter().filter_map(|name| Digest::from_hex(name)).collect())
    }

    /// Moves a damaged blob out of the way, to where it is not taken for sound. The pointer of Git
    /// LFS stays: it says where the blob can be had.
    ///
    /// # Errors
    /// I/O errors; a blob that is gone, or a store that cannot be written to, is none.
    pub fn move_aside(&self, digest: &Digest) -> Result<()> {
        if self.is_pointer(digest) {
            return Ok(());
        }
        self.trash.move_aside(&self.path(digest))
    }

    /// What is wrong with a blob whose bytes hash to `found`. A damaged one is moved aside.
    fn unsound(&self, digest: &Digest, found: Digest) -> Result<Error> {
        if self.is_pointer(digest) {
            return Ok(Error::NotFetched { digest: *digest, command: lfs::fetch_command(&self.folder) });
        }
        self.move_aside(digest)?;
        Ok(Error::Damaged { digest: *digest, found })
    }

    /// Whether a pointer of Git LFS stands for the blob, which was not fetched.
    #[must_use]
    pub fn is_pointer(&self, digest: &Digest) -> bool {
        let bytes = replace::read_capped(&self.path(digest), lfs::POINTER_CAP as u64);
        bytes.is_ok_and(|bytes| bytes.is_some_and(|bytes| lfs::is_pointer(&bytes, digest)))
    }

    /// Moves the blob to the trash unless it is leased. The caller holds the store
    /// exclusively.
    pub(crate) fn discard(&self, digest: &Digest, batch: &crate::trash::Batch) -> Result<Discarded> {
        let path = self.path(digest);
        let Some(file) = open_regular(&path)? else { return Ok(Discarded::Gone) };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(Discarded::InUse);
        }
        Ok(if batch.take(&path)? { Discarded::Moved } else { Discarded::Gone })
    }
}

/// What became of a blob that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discarded {
    /// It is in the trash now.
    Moved,
    /// Somebody needs it: it stays.
    InUse,
    /// It was not there.
    Gone,
}

/// A blob that is being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    blobs: Cow<'a, Blobs>,
    staged: Staged,
    hasher: Hasher,
    size: u64,
    /// How much of it is on its way to the disk.
    ahead: u64,
    /// Whether an earlier writer began it.
    taken_up: bool,
}

/// So much of a blob goes to the disk at once while it grows.
const AHEAD: u64 = 16 << 20;

impl BlobWriter<'_> {
    /// How many bytes were written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of what was written so far: the name that [`BlobWriter::finish`] would give it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Opens what was written so far, to be read from its start.
    ///
    /// # Errors
    /// I/O errors.
    pub fn reopen(&self) -> Result<File> {
        File::open(self.staged.path()).at("read in", &self.blobs.folder)
    }

    /// Forgets all that was written.
    ///
    /// # Errors
    /// I/O errors.
    pub fn restart(&mut self) -> Result<()> {
        let file = self.staged.file();
        file.set_len(0).and_then(|()| file.rewind()).at("write in", &self.blobs.folder)?;
        (self.hasher, self.size, self.ahead) = (Hasher::new(), 0, 0);
        Ok(())
    }

    /// Has the kernel begin to write what has come since it was last told, so that the sync at the
    /// end has little left to wait for. That one alone makes the blob durable.
    fn write_ahead(&mut self) {
        let length = NonZeroU64::new(self.size - self.ahead).filter(|length| length.get() >= AHEAD);
        if length.is_some() && self.blobs.durability == Durability::Synced {
            // What is dirty begins to be written; nothing is dropped that is not on the disk. A
            // file system that knows no such advice is only slower.
            let _ = fadvise(self.staged.file(), self.ahead, length, Advice::DontNeed);
            self.ahead = self.size;
        }
    }

    /// Gives the blob its final name, the digest of its bytes. Two writers of the same bytes both
    /// succeed.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where the bytes do not have the announced digest (nothing is stored
    /// then); I/O errors.
    pub fn finish(self, announced: Option<&Digest>) -> Result<Lease> {
        let found = self.hasher.finish();
        if let Some(announced) = announced.filter(|announced| **announced != found) {
            // What does not match is of no use to a later writer either.
            self.staged.discard();
            return Err(Error::Mismatch { announced: *announced, found });
        }
        let path = self.blobs.path(&found);
        let mut staged = self.staged;
        staged.share()?;
        loop {
            match staged.publish_new(&path, self.blobs.durability)? {
                Publication::Named(file) => {
                    return Ok(Lease { file, digest: found, size: self.size, written: !self.taken_up });
                }
                Publication::Taken(unnamed) => staged = unnamed,
            }
            // A leased one stays: a lease is on the file, not on the name.
            let Some(standing) = open_regular(&path)? else { continue };
            if flock(&standing, FlockOperation::NonBlockingLockExclusive).is_err() {
                if let Some(lease) = self.blobs.lease(&found)? {
                    staged.discard();
                    return Ok(lease);
                }
            } else if replace::same_file(&standing, &path) {
                // It is not in use and may be damaged: this one is known to be sound.
                let file = staged.publish(&path, self.blobs.durability)?;
                return Ok(Lease { file, digest: found, size: self.size, written: !self.taken_up });
            }
        }
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.staged.file().write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        self.write_ahead();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a blob and verifies it at its end.
#[derive(Debug)]
pub struct VerifiedReader {
    file: File,
    blobs: Blobs,
    expected: Digest,
    hasher: Option<Hasher>,
}

impl VerifiedReader {
    /// At the end of the file: compares once, and moves a damaged blob aside.
    fn check(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let found = hasher.finish();
        if found == self.expected {
            return Ok(());
        }
        Err(self.blobs.unsound(&self.expected, found)?.into())
    }
}

impl Read for VerifiedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty() {
            self.check()?;
        }
        Ok(count)
    }
}

/// Whether the blob in this file matches the digest in its name, or is not there, or is a pointer
/// of Git LFS. What is not a blob does.
///
/// # Errors
/// I/O errors.
pub(crate) fn is_sound(file: &Utf8Path, trash: &Trash) -> Result<bool> {
    let Some((folder, name)) = file.parent().zip(file.file_name()) else { return Ok(true) };
    let Some(digest) = Digest::from_hex(name).filter(|_| folder.ends_with("blobs/sha256")) else {
        return Ok(true);
    };
    let blobs = Blobs::new(folder.to_owned(), trash.left_alone(), Durability::Unsynced);
    match blobs.verify(&digest) {
        Err(Error::Missing { .. } | Error::NotFetched { .. }) => Ok(true),
        Err(error) if error.is_corrupt() || error.is_unreadable() => Ok(false),
        verified => verified.map(|()| true),
    }
}
