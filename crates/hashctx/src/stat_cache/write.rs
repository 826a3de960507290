//! Puts what was learnt to what was known, and writes it: a million records never stand in memory a
//! second time.

use std::io::{self, Write};

use camino::Utf8Path;
use storekit::error::At;
use storekit::files::replace::{Durability, Staged};

use super::layers::Layers;
use super::records::{CHECK, LFS_BIT, RECORD};
use super::{Learnt, Lesson, MAX_BYTES};
use crate::files::entry::{Content, Entry};
use crate::stat_cache::seek::seek;

/// Records that this many writes of the cache found no use for are dropped.
const MAX_AGE: u8 = 16;

/// Rows that are put together before they are written: enough to be worth waking another thread
/// for.
const PART: usize = 1 << 15;

/// No path is longer than the system calls take.
const LONGEST: usize = 4096;

/// The next state of a file of the cache.
pub(super) struct Update<'a> {
    old: &'a Layers,
    entries: &'a [Entry],
    /// Beside each entry what it taught.
    lessons: &'a [Lesson],
    rows: Vec<Row>,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
enum Row {
    /// An old record, and its last byte.
    Old(u32, u8),
    /// What that input taught.
    New(u32),
}

impl<'a> Update<'a> {
    /// Everything: what was known and what was learnt. The entries are sorted by path.
    pub(super) fn whole(old: &'a Layers, entries: &'a [Entry], lessons: &'a [Lesson]) -> Self {
        let mut update = Self::new(old, entries, lessons);
        update.merge(&old.newest());
        update
    }

    /// What was learnt since the base was written, before and now.
    pub(super) fn recent(old: &'a Layers, entries: &'a [Entry], lessons: &'a [Lesson]) -> Self {
        let mut update = Self::new(old, entries, lessons);
        let mut before = old.recent().peekable();
        for (input, _) in lessons.iter().enumerate().filter(|(_, lesson)| lesson.is_some()) {
            let Ok(row) = u32::try_from(input).map(Row::New) else { break };
            while let Some(at) = before.next_if(|&at| old.path(at) < update.path(row)) {
                update.keep(at, old.tag(at).unwrap_or(0));
            }
            let _ = before.next_if(|&at| old.path(at) == update.path(row));
            update.rows.push(row);
        }
        before.for_each(|at| update.keep(at, old.tag(at).unwrap_or(0)));
        update
    }

    fn new(old: &'a Layers, entries: &'a [Entry], lessons: &'a [Lesson]) -> Self {
        Self { old, entries, lessons, rows: Vec::new() }
    }

    /// `old` names what was known, sorted by path.
    fn merge(&mut self, old: &[usize]) {
        let layers = self.old;
        let path = |at: usize| old.get(at).map_or(&[][..], |&at| layers.path(at));
        let mut at = 0;
        for (input, entry) in self.entries.iter().enumerate() {
            let wanted = entry.path.as_bytes();
            let mut known = path(at) == wanted;
            let mut next = at;
            if !known {
                next = seek(at, old.len(), |at| path(at) < wanted);
                old.get(at..next).into_iter().flatten().for_each(|&at| self.unused(at));
                known = path(next) == wanted;
            }
            at = next + usize::from(known);
            if self.lessons.get(input).is_some_and(Option::is_some) {
                self.rows.extend(u32::try_from(input).map(Row::New));
            } else if let (true, Some(&old)) = (known, old.get(next)) {
                self.keep(old, self.old.tag(old).unwrap_or(0) & LFS_BIT);
            }
        }
        old.get(at..).into_iter().flatten().for_each(|&at| self.unused(at));
    }

    /// Keeps an old record of what is not an input this time, unless it is too old.
    fn unused(&mut self, at: usize) {
        let tag = self.old.tag(at).unwrap_or(u8::MAX);
        if (tag & !LFS_BIT) + 1 < MAX_AGE {
            self.keep(at, tag + 1);
        }
    }

    fn keep(&mut self, at: usize, tag: u8) {
        self.rows.extend(u32::try_from(at).map(|at| Row::Old(at, tag)));
    }

    /// Not synced to disk: a cache that a crash has cut short counts as empty.
    pub(super) fn write(mut self, file: &Utf8Path, header: &str) -> storekit::Result<()> {
        self.limit(header.len());
        let folder = file.parent().unwrap_or(file);
        std::fs::create_dir_all(folder).at("create", folder)?;
        let mut staged = Staged::new(folder)?;
        self.encode(header, staged.file()).at("write", file)?;
        staged.publish(file, Durability::Unsynced).map(drop)
    }

    /// Drops the last records where there are too many.
    fn limit(&mut self, header: usize) {
        if self.rows.len() < MAX_BYTES / (RECORD + LONGEST) {
            return;
        }
        let mut room = MAX_BYTES.saturating_sub(header + 8 + CHECK);
        let mut fits = |row: Row| {
            let rest = room.checked_sub(RECORD + self.path(row).len());
            rest.inspect(|rest| room = *rest).is_some()
        };
        let count = self.rows.iter().take_while(|row| fits(**row)).count();
        self.rows.truncate(count);
    }

    fn encode(&self, header: &str, file: impl Write + Send) -> io::Result<()> {
        let mut out = Hashing { file, hasher: blake3::Hasher::new() };
        out.write_all(header.as_bytes())?;
        out.write_all(&(self.rows.len() as u64).to_le_bytes())?;
        let mut end = 0;
        self.in_parts(&mut out, |row, part| {
            end += self.path(row).len();
            part.extend_from_slice(&u32::try_from(end).map_err(io::Error::other)?.to_le_bytes());
            self.record(row, part)
        })?;
        self.in_parts(&mut out, |row, part| part.write_all(self.path(row)))?;
        out.file.write_all(out.hasher.finalize().as_bytes())
    }

    /// Writes something of each row: one thread puts the next part together while another one
    /// writes the last.
    fn in_parts(
        &self,
        out: &mut (impl Write + Send),
        mut put: impl FnMut(Row, &mut Vec<u8>) -> io::Result<()> + Send,
    ) -> io::Result<()> {
        let (mut last, mut next) = (Vec::new(), Vec::new());
        for rows in self.rows.chunks(PART) {
            next.clear();
            let (made, written) =
                rayon::join(|| rows.iter().try_for_each(|row| put(*row, &mut next)), || out.write_all(&last));
            made.and(written)?;
            std::mem::swap(&mut last, &mut next);
        }
        out.write_all(&last)
    }

    fn record(&self, row: Row, out: &mut impl Write) -> io::Result<()> {
        match row {
            Row::Old(at, tag) => {
                out.write_all(self.old.middle(at as usize))?;
                out.write_all(&[tag])
            }
            Row::New(new) => {
                let Some((learnt, entry)) = self.fresh(new) else {
                    return Err(io::ErrorKind::NotFound.into());
                };
                let Content::File { digest, .. } = &entry.content else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                out.write_all(&learnt.stat)?;
                out.write_all(digest.as_bytes())?;
                out.write_all(&[if learnt.lfs_pointer { LFS_BIT } else { 0 }])
            }
        }
    }

    fn path(&self, row: Row) -> &[u8] {
        match row {
            Row::Old(at, _) => self.old.path(at as usize),
            Row::New(new) => self.fresh(new).map_or(&[], |(_, entry)| entry.path.as_bytes()),
        }
    }

    fn fresh(&self, input: u32) -> Option<(&Learnt, &Entry)> {
        let input = input as usize;
        Some((self.lessons.get(input)?.as_deref()?, self.entries.get(input)?))
    }
}

/// Hashes what it writes.
struct Hashing<W> {
    file: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
