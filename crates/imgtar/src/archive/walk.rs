//! Walks through a tar, entry by entry, and refuses what no image tool writes.
//!
//! Nothing is unpacked. A pipe is read once, to its end; a file can be walked by its headers alone.
//! An archive must have its end mark, and nothing but zeros after it: a cut-off one cannot pass.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use tar::{Archive, Entries, Entry, EntryType};

use crate::error::{Error, Result};
use crate::format::entry_path;

/// The most that the headers of one entry may take, extensions included.
pub(crate) const HEADERS: u64 = 1 << 20;
/// The most entries that an archive may have. The largest images have a few hundred.
const ENTRIES: usize = 100_000;

/// An entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name, in one form and inside the archive.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with so many bytes, which start at this offset of the archive.
    File {
        /// In bytes.
        size: u64,
        /// In bytes.
        offset: u64,
    },
    /// A link to another entry.
    Link(String),
}

/// What is done with each entry: it may read its bytes.
pub type Visit<'a> = dyn FnMut(Item, &mut dyn Read) -> Result<()> + 'a;

/// Walks through a stream, to its very end. `name` is that of the archive, for messages.
///
/// # Errors
/// [`Error::Hostile`], [`Error::Damaged`], I/O errors, and what `visit` returns.
pub fn walk(input: impl Read, name: &str, visit: &mut Visit<'_>) -> Result<()> {
    let (guard, state) = Guard::new(input);
    let mut archive = Archive::new(guard);
    let end = each(archive.entries().map_err(|source| Error::read(name, source))?, &state, name, visit)?;
    finish(archive.into_inner(), &state, end, name)
}

/// Walks through a file by its headers; bytes that `visit` does not read are passed over.
///
/// # Errors
/// As [`walk`].
pub fn walk_file(input: impl Read + Seek, name: &str, visit: &mut Visit<'_>) -> Result<()> {
    let (guard, state) = Guard::new(input);
    let mut archive = Archive::new(guard);
    let entries = archive.entries_with_seek().map_err(|source| Error::read(name, source))?;
    let end = each(entries, &state, name, visit)?;
    finish(archive.into_inner(), &state, end, name)
}

/// Visits each entry. Returns where the last one ends.
fn each<R: Read>(
    mut entries: Entries<'_, R>,
    state: &State,
    name: &str,
    visit: &mut Visit<'_>,
) -> Result<u64> {
    let mut end = 0;
    for _ in 0..ENTRIES {
        state.limit(HEADERS);
        let Some(entry) = entries.next() else { return Ok(end) };
        let mut entry = entry.map_err(|source| headers_failed(name, source))?;
        state.free();
        end = entry.raw_file_position() + entry.size().next_multiple_of(512);
        let size = entry.size();
        if let Some(item) = item(&entry)? {
            visit(item, &mut Exact { input: &mut entry, left: size })?;
        }
        if !state.seeks.get() {
            io::copy(&mut entry, &mut io::sink()).map_err(|source| Error::read(name, source))?;
        }
    }
    Err(Error::Damaged { reason: format!("it has more than {ENTRIES} entries") })
}

fn headers_failed(name: &str, source: io::Error) -> Error {
    // The library has no kind for it.
    if source.to_string().contains("failed to read entire block") {
        return Error::Damaged { reason: "it is cut off".to_owned() };
    }
    Error::read(name, source)
}

/// What the entry is; nothing for folders and for headers that concern the whole archive.
fn item<R: Read>(entry: &Entry<'_, R>) -> Result<Option<Item>> {
    let raw = entry.path_bytes();
    let hostile = |reason: &str| Error::Hostile {
        entry: String::from_utf8_lossy(&raw).escape_debug().take(200).collect(),
        reason: reason.to_owned(),
    };
    let name = entry_path::normalize(&raw).map_err(hostile)?;
    if has_no_bytes(entry.header().entry_type()) && entry.size() > 0 {
        // The library passes over so many bytes, and engines over none.
        return Err(hostile("it is not a file, and has a size"));
    }
    let kind = match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            Kind::File { size: entry.size(), offset: entry.raw_file_position() }
        }
        EntryType::Directory | EntryType::XGlobalHeader => return Ok(None),
        kind @ (EntryType::Symlink | EntryType::Link) => {
            let target = entry.link_name_bytes().ok_or_else(|| hostile("it is a link to nowhere"))?;
            let target = if kind == EntryType::Link {
                entry_path::normalize(&target)
            } else {
                entry_path::follow(&name, &target)
            };
            Kind::Link(target.map_err(|reason| hostile(&format!("as to where it links, {reason}")))?)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            return Err(hostile("it is a device or a pipe"));
        }
        EntryType::GNUSparse => return Err(hostile("it is a sparse file")),
        _ => return Err(hostile("it is of an unknown kind")),
    };
    Ok(Some(Item { name, kind }))
}

/// Whether no bytes follow the header, whatever size it gives: so do GNU tar and the engines read
/// links, for some writers give them the size of the file.
pub(crate) fn has_no_bytes(kind: EntryType) -> bool {
    use EntryType::{Block, Char, Directory, Fifo, Link, Symlink};
    matches!(kind, Link | Symlink | Char | Block | Directory | Fifo)
}

/// Checks the end of the archive, and reads a pipe to its end.
fn finish(mut rest: impl Read, state: &State, end: u64, name: &str) -> Result<()> {
    let damaged = |reason: &str| Err(Error::Damaged { reason: reason.to_owned() });
    // Having read beyond the last entry means having seen a block of zeros there.
    if state.at.get() <= end {
        return damaged("it has no end mark: it was cut off");
    }
    state.free();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = rest.read(&mut buffer).map_err(|source| Error::read(name, source))?;
        match &buffer[..count] {
            [] => return Ok(()),
            bytes if bytes.iter().any(|byte| *byte != 0) => return damaged("something follows its end mark"),
            _ => {}
        }
    }
}

/// What is known of the reading while `tar` holds the reader.
#[derive(Default)]
pub(crate) struct State {
    at: Cell<u64>,
    budget: Cell<u64>,
    seeks: Cell<bool>,
    invented: Cell<u64>,
}

impl State {
    /// From here on so many bytes may be read.
    pub(crate) fn limit(&self, bytes: u64) {
        self.budget.set(bytes);
    }

    /// So many of the next bytes are padding.
    pub(crate) fn invent(&self, bytes: u64) {
        self.invented.set(bytes);
    }

    /// From here on any number of bytes may be read.
    pub(crate) fn free(&self) {
        self.budget.set(u64::MAX);
    }
}

fn too_long() -> io::Error {
    io::Error::other(format!("an entry's headers are larger than {}", storekit::ByteSize(HEADERS)))
}

/// Counts, and keeps headers from filling the memory.
pub(crate) struct Guard<R> {
    input: R,
    state: Rc<State>,
}

impl<R> Guard<R> {
    pub(crate) fn new(input: R) -> (Self, Rc<State>) {
        let state = Rc::new(State::default());
        (Self { input, state: Rc::clone(&state) }, state)
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let State { at, budget, invented, .. } = &*self.state;
        if invented.get() > 0 {
            let count = buffer.len().min(usize::try_from(invented.get()).unwrap_or(usize::MAX));
            buffer[..count].fill(0);
            invented.set(invented.get() - count as u64);
            return Ok(count);
        }
        let count = self.input.read(buffer)?;
        at.set(at.get() + count as u64);
        let left = budget.get().checked_sub(count as u64);
        budget.set(left.ok_or_else(too_long)?);
        Ok(count)
    }
}

impl<R: Seek> Seek for Guard<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.state.seeks.set(true);
        let at = self.input.seek(to)?;
        self.state.at.set(at);
        Ok(at)
    }
}

/// Reads exactly so many bytes; fewer are an error.
struct Exact<'a> {
    input: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut off"));
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
