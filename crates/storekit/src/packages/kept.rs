//! Bodies that were left half-way, for a later writer to go on with: `.tmp-partial-HEX` in
//! `packages/blobs/sha256/`, and beside it `.tmp-partial-HEX.notes`, which say of what response it
//! is the body, and which of its bytes have come. See FORMAT.md, "Files are written whole".
//!
//! Only what the notes say is there: they are written after the bytes. Nothing is synced, so after
//! a power cut they may say more than the file has: see [`Kept::is_of_this_boot`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::error::{At, Result};
use crate::files::replace::{self, Staged};
use crate::packages::entry::{PackageEntry, PackageKey, StoredResponse};
use crate::packages::{BodyWriter, Packages};

/// The version of the notes; those of another count as none.
const VERSION: u64 = 1;
/// No notes are longer: 2 MiB.
const CAP: u64 = 2 << 20;
/// What has come is noted each 256 KiB, or 8192 times for all of a larger body.
const STEP: u64 = 256 << 10;
const MOST_STEPS: u64 = 8192;
/// Another name for each start of the machine. Source: Linux, `random(4)`.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The first line of the notes; each other one is `FROM-TO`, the bytes from FROM up to TO.
#[derive(Serialize, Deserialize)]
struct First {
    version: u64,
    boot: String,
    entry: PackageEntry,
}

/// A body that was left half-way.
#[derive(Debug)]
pub struct Kept {
    /// The response that it belongs to; its size is that of all of the body.
    pub response: StoredResponse,
    /// Which bytes are there: sorted, and none of them touch.
    pub ranges: Vec<Range<u64>>,
    /// Whether this machine has not been started anew since. What is there after that may be
    /// other bytes than came.
    pub is_of_this_boot: bool,
    /// Goes on with it, from its beginning.
    pub writer: BodyWriter,
}

/// What says of a body which of its bytes have come.
#[derive(Debug)]
pub struct Notes {
    file: File,
    path: Utf8PathBuf,
    step: u64,
}

/// Notes what comes of a body from one place on. Dropped, it notes the rest.
#[derive(Debug)]
pub struct Noting {
    notes: Arc<Notes>,
    noted: u64,
    reached: u64,
}

impl Packages {
    /// What an earlier writer left of the key's body. `None` where there is nothing, or a living
    /// writer has it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn kept(&self, key: &PackageKey) -> Result<Option<Kept>> {
        let path = self.kept_path(key);
        if !fs::exists(&path).at("look for", &path)? {
            return Ok(None);
        }
        let Some(staged) = Staged::resume(&path)? else { return Ok(None) };
        let text = replace::read_capped(&notes_path(&path), CAP).ok().flatten().unwrap_or_default();
        let Some((first, lines)) = read(&text, key) else {
            staged.discard();
            return Ok(None);
        };
        let [response] = first.entry.responses.as_slice() else { return Ok(None) };
        let response = response.clone();
        let there = staged.path().metadata().at("read", &path)?.len().min(response.size);
        let notes = Notes::open(&path, response.size, File::options().append(true))?;
        let writer = BodyWriter::of(self.blobs(), staged, Some(notes))?;
        let (ranges, is_of_this_boot) = (joined(lines, there), first.boot == boot());
        Ok(Some(Kept { response, ranges, is_of_this_boot, writer }))
    }

    /// Starts a body that a later writer may go on with, if this one does not come to its end;
    /// `response` is what it belongs to, with the size of all of it. What was left before goes. As
    /// [`Packages::body`] where a living writer has one for this key.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keeping_body(&self, key: &PackageKey, response: StoredResponse) -> Result<BodyWriter> {
        let path = self.kept_path(key);
        let Some(mut staged) = Staged::resume(&path)? else { return self.body() };
        staged.file().set_len(0).at("write", &path)?;
        let size = response.size;
        let entry = PackageEntry { responses: vec![response], ..PackageEntry::new(key.clone()) };
        let first = First { version: VERSION, boot: boot(), entry };
        let mut line = serde_json::to_vec(&first).map_err(io::Error::from).at("write", &path)?;
        line.push(b'\n');
        // What an older writer noted of other bytes goes before there is one of these.
        let notes = Notes::open(&path, size, File::options().write(true).create(true).truncate(true))?;
        (&notes.file).write_all(&line).at("write", &notes.path)?;
        BodyWriter::of(self.blobs(), staged, Some(notes))
    }

    /// Removes what was left of the key's body, unless a living writer has it.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn remove_kept(&self, key: &PackageKey) -> Result<()> {
        let path = self.kept_path(key);
        if fs::exists(&path).at("look for", &path)?
            && let Some(staged) = Staged::resume(&path)?
        {
            let _ = fs::remove_file(notes_path(&path));
            staged.discard();
        }
        Ok(())
    }

    fn kept_path(&self, key: &PackageKey) -> Utf8PathBuf {
        self.blobs().folder().join(format!("{}{}", replace::PARTIAL, key.digest().hex()))
    }
}

fn notes_path(body: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{body}.notes"))
}

/// What tells this start of the machine from others.
fn boot() -> String {
    fs::read_to_string(BOOT).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The notes of this key's body; `None` where they cannot be read. A line that was not written to
/// its end counts as none.
fn read(text: &[u8], key: &PackageKey) -> Option<(First, Vec<Range<u64>>)> {
    let end = text.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = text.get(..end)?.split(|byte| *byte == b'\n');
    let first: First = serde_json::from_slice(lines.next()?).ok()?;
    let is_ours = first.version == VERSION && first.entry.key.is(key) && first.entry.responses.len() == 1;
    is_ours.then(|| (first, lines.filter_map(range).collect()))
}

fn range(line: &[u8]) -> Option<Range<u64>> {
    let (from, to) = std::str::from_utf8(line).ok()?.split_once('-')?;
    let range = from.parse().ok()?..to.parse().ok()?;
    (range.start < range.end).then_some(range)
}

/// The ranges in their order, joined where they touch; nothing of them is behind `most`.
fn joined(mut ranges: Vec<Range<u64>>, most: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().map(|range| range.start..range.end.min(most)) {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => joined.push(range),
        }
    }
    joined
}

impl Notes {
    fn open(body: &Utf8Path, size: u64, options: &fs::OpenOptions) -> Result<Arc<Self>> {
        let path = notes_path(body);
        let file = options.open(&path).at("write", &path)?;
        Ok(Arc::new(Self { file, path, step: STEP.max(size / MOST_STEPS) }))
    }

    /// The bytes of this range are in the file. What cannot be noted is fetched again.
    fn note(&self, range: &Range<u64>) {
        let _ = (&self.file).write_all(format!("{}-{}\n", range.start, range.end).as_bytes());
    }

    /// Removes them: the body has its name, or is of no more use.
    pub(super) fn remove(&self) {
        // What stays is swept as a dead writer's.
        let _ = fs::remove_file(&self.path);
    }
}

impl Noting {
    /// From this place on.
    #[must_use]
    pub fn new(notes: Arc<Notes>, from: u64) -> Self {
        Self { notes, noted: from, reached: from }
    }

    /// The bytes up to there are in the file.
    pub fn reached(&mut self, until: u64) {
        self.reached = until;
        if until.saturating_sub(self.noted) >= self.notes.step {
            self.note();
        }
    }

    /// What comes next was noted before, up to there.
    pub(super) fn skip(&mut self, until: u64) {
        self.note();
        (self.noted, self.reached) = (until, until);
    }

    fn note(&mut self) {
        if self.noted < self.reached {
            self.notes.note(&(self.noted..self.reached));
            self.noted = self.reached;
        }
    }

    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        self.note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tests::{body, entry, store};
    use crate::{Digest, Store};

    const SIZE: u64 = 4 * STEP;

    fn response(packages: &Packages) -> (PackageKey, StoredResponse) {
        let entry = entry("http://a/x", &body(packages, b"body"));
        (entry.key, StoredResponse { size: SIZE, ..entry.responses[0].clone() })
    }

    /// A body of which so much has come when its writer is gone.
    fn left(store: &Store, bytes: &[u8]) -> PackageKey {
        let (key, response) = response(&store.packages());
        let mut writer = store.packages().keeping_body(&key, response).unwrap();
        writer.write(bytes).unwrap();
        key
    }

    #[test]
    fn what_was_left_is_gone_on_with_and_has_the_name_of_all_of_it() {
        let (_dir, store) = store();
        let packages = store.packages();
        let half = vec![7; 2 * usize::try_from(STEP).unwrap() + 5];
        let key = left(&store, &half);
        let kept = packages.kept(&key).unwrap().unwrap();
        assert!(kept.ranges.len() == 1 && kept.ranges[0] == (0..half.len() as u64), "{:?}", kept.ranges);
        assert!(kept.is_of_this_boot && kept.response.size == SIZE);
        assert!(packages.kept(&key).unwrap().is_none(), "two writers have it");
        let mut writer = kept.writer;
        while writer.size() < half.len() as u64 {
            writer.take_in(half.len() as u64).unwrap();
        }
        writer.write(&vec![8; usize::try_from(SIZE).unwrap() - half.len()]).unwrap();
        let lease = writer.finish(None).unwrap();
        let all = [half.as_slice(), &vec![8; usize::try_from(SIZE).unwrap() - half.len()]].concat();
        assert_eq!(lease.digest(), Digest::of(&all));
        assert!(packages.kept(&key).unwrap().is_none());
        let left = replace::names(packages.blobs().folder()).unwrap();
        assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    }

    #[test]
    fn only_what_is_noted_and_there_counts() {
        let (_dir, store) = store();
        let packages = store.packages();
        let key = left(&store, &[7; 1000]);
        let notes = notes_path(&packages.kept_path(&key));
        let text = fs::read_to_string(&notes).unwrap();
        let (first, _) = text.split_once('\n').unwrap();
        for (lines, expected) in [
            ("0-10\n20-30\n10-15\n", &[0..15, 20..30][..]),
            ("0-10\n900-2000\n5000-6000\n", &[0..10, 900..1000]),
            ("30-20\nx\n-\n0-18446744073709551616\n4-5\n8-9\n0-10", &[4..5, 8..9]),
            ("", &[]),
        ] {
            fs::write(&notes, format!("{first}\n{lines}")).unwrap();
            assert_eq!(packages.kept(&key).unwrap().unwrap().ranges, expected, "{lines:?}");
        }
        let other = PackageKey::new("generic", "up", "http://a/y", None);
        fs::copy(packages.kept_path(&key), packages.kept_path(&other)).unwrap();
        fs::copy(&notes, notes_path(&packages.kept_path(&other))).unwrap();
        assert!(packages.kept(&other).unwrap().is_none(), "another URL's was taken");
        fs::write(&notes, &text[..20]).unwrap();
        assert!(packages.kept(&key).unwrap().is_none());
        assert!(!packages.kept_path(&key).exists(), "what cannot be read is thrown away");
    }

    #[test]
    fn a_sweep_leaves_what_is_fresh_or_being_written() {
        let (_dir, store) = store();
        let packages = store.packages();
        let key = left(&store, &[7; 1000]);
        assert_eq!(packages.sweep_unfinished().unwrap(), 0);
        let paths = [packages.kept_path(&key), notes_path(&packages.kept_path(&key))];
        assert_eq!(packages.abandoned_among(&paths), 0);
        let long_ago = std::time::SystemTime::now() - replace::TAKEN_UP_WITHIN;
        let age = |path: &Utf8PathBuf| File::options().write(true).open(path).unwrap().set_modified(long_ago);
        let kept = packages.kept(&key).unwrap().unwrap();
        for path in &paths {
            age(path).unwrap();
        }
        assert!(packages.abandoned_among(&paths[..1]) == 0 && paths[0].exists(), "it is being written");
        drop(kept);
        for path in &paths {
            age(path).unwrap();
        }
        assert_eq!(packages.abandoned_among(&paths), 8192);
        assert_eq!(packages.sweep_unfinished().unwrap(), 8192);
        assert!(packages.kept(&key).unwrap().is_none());
    }

    #[test]
    fn what_is_forgotten_is_not_gone_on_with() {
        let (_dir, store) = store();
        let key = left(&store, &[7; 1000]);
        store.packages().remove(&key).unwrap();
        assert!(store.packages().kept(&key).unwrap().is_none());
    }
}
