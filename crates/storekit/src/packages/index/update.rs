//! Writes the index anew, where that is worth it.

use std::collections::BTreeMap;
use std::io::Write;

use super::record::put;
use super::{BEGIN, CAP, END, Index, Place, Section, Summary};
use crate::digest::Digest;
use crate::error::{At, Result};
use crate::files::packed::put_text;
use crate::files::replace::{Durability, Staged};
use crate::files::state::FileState;
use crate::packages::Packages;

/// With fewer entries than this, reading them takes no time that anybody would notice.
const FEW: usize = 1000;
/// A section stays while it lacks, or has too many, no more than one in so many entries.
const OUT_OF_DATE: usize = 16;
/// The file stays while sections that are out of date lack, or have too many, no more than one of
/// all entries in so many.
const WORTH: usize = 64;
/// So many bytes of new sections are kept in memory before they are written.
const BUFFER: usize = 4 << 20;

/// A folder of entries that is being looked at.
#[derive(Debug)]
pub struct Looking {
    folder: String,
    /// What the index says of it.
    section: Section,
    /// What it says of entries that are as they were, by their places in the section.
    known: Vec<u32>,
    /// What was read, as records.
    fresh: Vec<(Digest, Vec<u8>)>,
}

/// What was found out of one folder of entries.
#[derive(Debug)]
pub struct Looked {
    folder: String,
    entries: usize,
    /// By how many entries the section was wrong.
    off: usize,
    /// The new section, where the old one is out of date.
    section: Option<Vec<u8>>,
}

/// An index that may be written: see [`Update::finish`].
#[derive(Debug)]
pub struct Update<'a> {
    packages: &'a Packages,
    index: &'a Index,
    /// The folders that are there; `None` for a section that stays as it is.
    folders: BTreeMap<String, Option<Place>>,
    entries: usize,
    /// By how many entries the sections were wrong that are written anew.
    off: usize,
    at: u64,
    buffer: Vec<u8>,
    staged: Option<Staged>,
    /// Whether the new file could not be written.
    failed: bool,
}

impl Looking {
    /// Begins with what the index says of the folder.
    #[must_use]
    pub fn at(index: &Index, folder: &str) -> Self {
        let (section, folder) = (index.section(folder), folder.to_owned());
        Self { folder, section, known: Vec::new(), fresh: Vec::new() }
    }

    /// What an entry says whose file has this digest in its name and is in this state, where that
    /// is known.
    pub fn known(&mut self, name: &Digest, state: &FileState) -> Option<Summary<'_>> {
        let (at, summary) = self.section.find(name, state)?;
        self.known.push(at);
        Some(summary)
    }

    /// Notes what an entry says that was read; before that, its file was in this state.
    pub fn read(&mut self, name: &Digest, state: &FileState, summary: &Summary<'_>) {
        let mut record = Vec::new();
        put(&mut record, name, state, summary);
        if !record.is_empty() {
            self.fresh.push((*name, record));
        }
    }

    /// Ends, when all entries of the folder were asked for.
    #[must_use]
    pub fn done(self) -> Looked {
        let entries = self.known.len() + self.fresh.len();
        let gone = self.section.len().saturating_sub(self.known.len());
        let off = self.fresh.len().max(gone);
        let section = (off * OUT_OF_DATE > entries).then(|| self.to_bytes());
        Looked { folder: self.folder, entries, off, section }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let known = self.known.iter().map(|at| self.section.record(*at));
        let mut records: Vec<_> =
            known.chain(self.fresh.iter().map(|(_, record)| record.as_slice())).collect();
        // Each begins with its name.
        records.sort_unstable();
        records.dedup_by(|one, other| one.get(..32) == other.get(..32));
        records.concat()
    }
}

impl<'a> Update<'a> {
    /// Of an index that is open.
    #[must_use]
    pub fn new(packages: &'a Packages, index: &'a Index) -> Self {
        Self {
            packages,
            index,
            folders: BTreeMap::new(),
            entries: 0,
            off: 0,
            at: 0,
            buffer: Vec::new(),
            staged: None,
            failed: false,
        }
    }

    /// Adds a folder that was looked at.
    pub fn add(&mut self, looked: Looked) {
        self.entries += looked.entries;
        let Some(section) = looked.section else {
            self.folders.insert(looked.folder, None);
            return;
        };
        self.off += looked.off;
        if section.len() as u64 <= CAP && !section.is_empty() {
            self.put(looked.folder, &section);
        }
    }

    fn put(&mut self, folder: String, section: &[u8]) {
        let begin = if self.at == 0 { BEGIN } else { &[] };
        self.buffer.extend_from_slice(begin);
        self.at += begin.len() as u64;
        let place = Place { at: self.at, length: section.len() as u64, digest: Digest::of(section) };
        self.folders.insert(folder, Some(place));
        self.at += place.length;
        self.buffer.extend_from_slice(section);
        if self.buffer.len() > BUFFER {
            self.failed |= self.flush().is_err();
        }
    }

    fn flush(&mut self) -> Result<()> {
        let folder = self.packages.store.root();
        let staged = match &mut self.staged {
            Some(staged) => staged,
            none => none.insert(Staged::new(folder)?),
        };
        let buffer = std::mem::take(&mut self.buffer);
        if self.failed { Ok(()) } else { staged.file().write_all(&buffer).at("write in", folder) }
    }

    /// Puts the new index in the place of the old one, where there are so many entries, and so much
    /// has changed, that it is worth it. Where it cannot be written, the old one stands.
    pub fn finish(mut self) {
        let is_worth = self.entries >= FEW && self.off * WORTH > self.entries;
        if is_worth && !self.failed {
            // Without it, the entries are read.
            let _ = self.publish();
        }
    }

    fn publish(&mut self) -> Result<()> {
        let unchanged: Vec<_> = self
            .folders
            .iter()
            .filter(|(_, place)| place.is_none())
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in unchanged {
            match self.index.read(&folder) {
                Some(section) => self.put(folder, &section),
                None => drop(self.folders.remove(&folder)),
            }
        }
        let mut directory = Vec::new();
        for (folder, place) in self.folders.iter().filter_map(|(folder, place)| Some((folder, (*place)?))) {
            put_text(&mut directory, folder);
            directory.extend_from_slice(&place.at.to_le_bytes());
            directory.extend_from_slice(&place.length.to_le_bytes());
            directory.extend_from_slice(place.digest.bytes());
        }
        self.buffer.extend_from_slice(&directory);
        self.buffer.extend_from_slice(&self.at.to_le_bytes());
        self.buffer.extend_from_slice(&(directory.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(Digest::of(&directory).bytes());
        self.buffer.extend_from_slice(END);
        self.flush()?;
        match self.staged.take().filter(|_| !self.failed) {
            Some(staged) => staged.publish(&self.packages.index_path(), Durability::Unsynced).map(drop),
            None => Ok(()),
        }
    }
}
