//! What the entries say, in one file: `.packages`, so that a collector of very many need not open
//! each. See FORMAT.md, ".packages".
//!
//! It is derived: whatever it does not say, or says of a file that was changed since, is read from
//! the entry itself, so that a stale, damaged or missing one costs time and nothing else. Each
//! folder of entries has a section with a checksum of its own; a section is read when it is asked
//! for, and no more than one at a time is needed.
//!
//! Deliberately absent: when an entry was last used (a stamp that does not change what it says),
//! and whether its file is there. Who asks has looked at the file: see [`Looking::known`].
//!
//! Limit: who can write to the store can write a lie here, as into an entry itself.

mod record;
mod update;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::Packages;
use crate::digest::Digest;
use crate::files::packed::take_text;

pub use record::{Section, Summary};
pub use update::{Looked, Looking, Update};

/// The file's name in the store.
const FILE: &str = ".packages";
/// How it begins; another version is not read, and written anew.
const BEGIN: &[u8] = b"# packages 2\n";
/// How it ends.
const END: &[u8] = b"# end\n";
/// The place and length of the directory, and its digest.
const FOOTER: usize = 8 + 8 + 32 + END.len();
/// No section is larger, and no directory: 64 MiB. What would be is not noted.
const CAP: u64 = 64 << 20;

/// Where a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u64,
    length: u64,
    digest: Digest,
}

/// The index of a store's entries, open.
#[derive(Debug, Default)]
pub struct Index {
    file: Option<File>,
    /// By the folder below packages/entries: `SOURCE/XX`.
    sections: BTreeMap<String, Place>,
}

impl Packages {
    /// Opens the index. One that is not there, or not sound, or of another version, is empty.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::open(&self.index_path()).unwrap_or_default()
    }

    fn index_path(&self) -> Utf8PathBuf {
        self.store.root().join(FILE)
    }
}

impl Index {
    fn open(path: &Utf8Path) -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe without a writer would be waited for without end.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
        let file = File::options().read(true).custom_flags(nonblocking).open(path).ok()?;
        let metadata = file.metadata().ok()?;
        let end = metadata.len().checked_sub(FOOTER as u64).filter(|_| metadata.is_file())?;
        let begin = read_at(&file, 0, BEGIN.len() as u64).ok()?;
        let footer = read_at(&file, end, FOOTER as u64).ok()?;
        let (at, rest) = footer.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (at, length) = (u64::from_le_bytes(*at), u64::from_le_bytes(*length));
        if begin != BEGIN || rest != END || length > CAP || at.checked_add(length)? != end {
            return None;
        }
        let directory = read_at(&file, at, length).ok()?;
        if Digest::of(&directory) != Digest::from_bytes(*digest) {
            return None;
        }
        Some(Self { sections: sections(&directory, at)?, file: Some(file) })
    }

    /// What it says of the entries in a folder; nothing where it does not know the folder.
    #[must_use]
    pub fn section(&self, folder: &str) -> Section {
        self.read(folder).map(Section::parse).unwrap_or_default()
    }

    /// The bytes of a section, as they were written.
    fn read(&self, folder: &str) -> Option<Vec<u8>> {
        let (place, file) = (self.sections.get(folder)?, self.file.as_ref()?);
        let bytes = read_at(file, place.at, place.length).ok()?;
        (Digest::of(&bytes) == place.digest).then_some(bytes)
    }
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at).map(|()| bytes)
}

/// Reads the directory: for each section the folder's name with its length before it, the place,
/// the length and the digest. `None` where a section would not lie before `end`.
fn sections(mut directory: &[u8], end: u64) -> Option<BTreeMap<String, Place>> {
    let mut sections = BTreeMap::new();
    while !directory.is_empty() {
        let name = take_text(&mut directory)?;
        let (at, rest) = directory.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (at, length) = (u64::from_le_bytes(*at), u64::from_le_bytes(*length));
        let is_inside = length <= CAP && at.checked_add(length).is_some_and(|last| last <= end);
        let digest = Digest::from_bytes(*digest);
        sections.insert(name.to_owned(), is_inside.then_some(Place { at, length, digest })?);
        directory = rest;
    }
    Some(sections)
}

#[cfg(test)]
mod tests;
