//! One layer on its way into the store: read once, hashed and compressed by threads of their own.
//!
//! A plain layer is compressed with zstd ([`LEVEL`]); a compressed one is kept byte-exact. In both
//! cases the digest of the plain bytes (the diffID) is taken along the way. What is known of layers
//! that are stored already is here too (`known`, `index`, `proofs`).
//!
//! Deliberately absent: where the bytes come from, and the images that have the layer.

pub(crate) mod index;
pub mod known;
pub(crate) mod proofs;

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use storekit::{BlobWriter, Blobs, Digest, Hasher, Lease};

use crate::error::{Error, Result};
use crate::format::compression::{self, Form};
use crate::format::tar_check::Whole;
use crate::progress::Progress;

/// The level of zstd; FORMAT.md says why.
pub const LEVEL: i32 = 2;
/// The job size of zstd's threads in bytes: with it, the bytes do not depend on the number of
/// threads.
const JOB: u32 = 2 << 20;

/// How much is read at once, and how many such chunks wait for a thread.
const CHUNK: usize = 256 << 10;
const QUEUE: usize = 16;

type Chunk = Arc<Vec<u8>>;

/// What a layer, or another blob, is in the form that it is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// How many stored bytes it has.
    pub size: u64,
    /// How it is stored.
    pub form: Form,
    /// The digest of its plain bytes.
    pub diff_id: Digest,
    /// How many plain bytes it has.
    pub plain_size: u64,
}

/// A layer, or another blob, that is in the store.
#[derive(Debug)]
pub struct Stored {
    /// Keeps it there.
    pub lease: Lease,
    /// What it is.
    pub shape: Shape,
}

/// A layer, or another blob, that was read into a file of the store which has no name yet. Dropped,
/// it is gone.
#[derive(Debug)]
pub struct Made {
    writer: BlobWriter<'static>,
    /// What it is.
    pub shape: Shape,
}

impl Made {
    /// Gives the blob its name.
    ///
    /// # Errors
    /// I/O errors.
    pub fn publish(self) -> Result<Stored> {
        Ok(Stored { lease: self.writer.finish(None)?, shape: self.shape })
    }

    /// Its stored bytes, from the start.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(&self) -> Result<File> {
        Ok(self.writer.reopen()?)
    }
}

/// What is known of a layer before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announced {
    /// The digest of its bytes as they come.
    pub digest: Option<Digest>,
    /// The number of its bytes as they come, where that is known.
    pub size: Option<u64>,
    /// Whether a manifest needs the very bytes, so that a plain layer stays plain.
    pub verbatim: bool,
    /// Whether its plain bytes must be a tar, whole: nothing else vouches for it.
    pub tar: bool,
}

/// Reads one layer into the store. `what` names it in errors.
///
/// # Errors
/// [`Error::Mismatch`] where the bytes are not the announced ones; a compressed layer that does not
/// decompress; I/O errors. Nothing stands under a final name then.
pub fn store(
    blobs: &Blobs,
    input: &mut dyn Read,
    announced: Announced,
    what: &str,
    progress: &dyn Progress,
) -> Result<Stored> {
    read(blobs, input, announced, what, progress)?.publish()
}

/// As [`store`], but the blob gets no name. It leaves nothing behind unless it is published.
///
/// # Errors
/// As [`store`].
pub fn read(
    blobs: &Blobs,
    input: &mut dyn Read,
    announced: Announced,
    what: &str,
    progress: &dyn Progress,
) -> Result<Made> {
    let head = compression::read_head(input).map_err(|source| Error::read(what, source))?;
    let form = Form::of(&head);
    let compress = form == Form::Plain && !announced.verbatim && compression::is_tar(&head);
    let plan = Plan { form, compress, size: announced.size, tar: announced.tar };
    let made = plan.run(blobs, &mut io::Cursor::new(head).chain(input), what, progress)?;
    let found = if compress { made.shape.diff_id } else { made.shape.digest };
    match announced.digest.filter(|announced| *announced != found) {
        Some(announced) => Err(Error::Mismatch { what: what.to_owned(), announced, found }),
        None => Ok(made),
    }
}

/// Only hashes one layer: the digest and the size of its plain bytes.
///
/// # Errors
/// A compressed layer that does not decompress; I/O errors.
pub fn hash(input: &mut (dyn Read + Send), what: &str, progress: &dyn Progress) -> Result<(Digest, u64)> {
    let failed = |source| Error::read(what, source);
    let head = compression::read_head(input).map_err(failed)?;
    let form = Form::of(&head);
    let mut plain = form.decoder(io::Cursor::new(head).chain(input)).map_err(failed)?;
    hash_plain(&mut plain, progress).map_err(failed)
}

pub(crate) fn hash_plain(plain: &mut dyn Read, progress: &dyn Progress) -> io::Result<(Digest, u64)> {
    let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; CHUNK]);
    loop {
        let count = plain.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
        progress.add(count as u64);
    }
}

struct Plan {
    form: Form,
    compress: bool,
    size: Option<u64>,
    tar: bool,
}

impl Plan {
    /// Pumps the input through both threads, and waits for them.
    fn run(&self, blobs: &Blobs, input: &mut dyn Read, what: &str, progress: &dyn Progress) -> Result<Made> {
        thread::scope(|scope| {
            let (to_hasher, hashing) = sync_channel(QUEUE);
            let (to_writer, writing) = sync_channel(QUEUE);
            let hashed = scope.spawn(move || self.hash(hashing));
            let written = scope.spawn(move || self.write(blobs, writing));
            let pumped = pump(input, &[to_hasher, to_writer], progress);
            let (written, hashed) = (join(written), join(hashed));
            // Where the input breaks off, the threads have failed too, and know less of why.
            pumped.map_err(|source| Error::read(what, source))?;
            let (diff_id, plain_size) = hashed.map_err(|source| Error::read(what, source))?;
            let writer = written?;
            let form = if self.compress { Form::Zstd } else { self.form };
            let shape = Shape { digest: writer.digest(), size: writer.size(), form, diff_id, plain_size };
            Ok(Made { writer, shape })
        })
    }

    fn hash(&self, chunks: Receiver<Chunk>) -> io::Result<(Digest, u64)> {
        let mut plain = self.form.decoder(Chunks::new(chunks))?;
        if self.tar { hash_plain(&mut Whole::new(plain), &()) } else { hash_plain(&mut plain, &()) }
    }

    fn write(&self, blobs: &Blobs, chunks: Receiver<Chunk>) -> Result<BlobWriter<'static>> {
        let mut writer = blobs.create_owned()?;
        let failed = |error| storekit::Error::io("write in", blobs.folder(), error);
        if !self.compress {
            chunks.into_iter().try_for_each(|chunk| writer.write_all(&chunk)).map_err(failed)?;
            return Ok(writer);
        }
        let mut encoder = encoder(writer, self.size).map_err(failed)?;
        chunks.into_iter().try_for_each(|chunk| encoder.write_all(&chunk)).map_err(failed)?;
        Ok(encoder.finish().map_err(failed)?)
    }
}

/// A zstd encoder whose bytes do not depend on the machine.
///
/// # Errors
/// When the encoder cannot be set up.
pub fn encoder<W: Write>(writer: W, size: Option<u64>) -> io::Result<zstd::Encoder<'static, W>> {
    use zstd::zstd_safe::CParameter;
    let workers = thread::available_parallelism().map_or(1, |count| count.get().min(8));
    let mut encoder = zstd::Encoder::new(writer, LEVEL)?;
    encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    encoder.set_pledged_src_size(size)?;
    Ok(encoder)
}

fn join<T, E>(handle: ScopedJoinHandle<'_, Result<T, E>>) -> Result<T, E> {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Reads to the end and gives every chunk to each sink. Stops quietly when a sink has gone: its
/// thread says why.
fn pump(input: &mut dyn Read, sinks: &[SyncSender<Chunk>], progress: &dyn Progress) -> io::Result<()> {
    loop {
        let mut chunk = vec![0; CHUNK];
        let filled = fill(input, &mut chunk)?;
        chunk.truncate(filled);
        if chunk.is_empty() {
            return Ok(());
        }
        progress.add(chunk.len() as u64);
        let chunk = Arc::new(chunk);
        if sinks.iter().any(|sink| sink.send(Arc::clone(&chunk)).is_err()) {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the input at its end.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes into a channel, to be read as [`Chunks`] by another thread.
#[derive(Debug)]
pub struct ToChunks {
    to: SyncSender<Chunk>,
    now: Vec<u8>,
}

/// A pipe between two threads.
#[must_use]
pub fn pipe() -> (ToChunks, Chunks) {
    let (to, from) = sync_channel(QUEUE);
    (ToChunks { to, now: Vec::with_capacity(CHUNK) }, Chunks::new(from))
}

impl Write for ToChunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.now.extend_from_slice(bytes);
        if self.now.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.now, Vec::with_capacity(CHUNK));
        self.to.send(Arc::new(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads what comes through a channel.
#[derive(Debug)]
pub struct Chunks {
    from: Receiver<Chunk>,
    now: Chunk,
    at: usize,
}

impl Chunks {
    fn new(from: Receiver<Chunk>) -> Self {
        Self { from, now: Chunk::default(), at: 0 }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.now.len() {
            match self.from.recv() {
                Ok(chunk) => (self.now, self.at) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let rest = &self.now[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
