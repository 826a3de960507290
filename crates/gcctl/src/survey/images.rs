//! The entries with what hangs on them, read side by side.
//!
//! Where there are very many, what they say is noted ([`storekit::images::notes`]), and an entry is
//! only read where its key file, or what it needs, is not as it was then.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use storekit::digest::DigestMap;
use storekit::files::look::{self, Seen};
use storekit::files::state::FileState;
use storekit::images::notes::{Fresh, Note, Notes};
use storekit::{Damaged, Descriptor, Entry, Images, Key, Listed, Reach, Standing, Walker};

use super::folders::Aside;
use crate::error::{Error, Result};

/// No thread is worth its start for fewer entries than this.
const SHARE: usize = 512;

/// A key file.
struct File {
    key: Key,
    /// Its state; `None` where it is a link or the like.
    state: Option<FileState>,
    /// Its bytes on disk, where they are its own: it has no other name.
    bytes: u64,
}

/// An entry that was followed.
pub(super) struct Settled {
    pub(super) listed: Listed,
    pub(super) reach: Reach,
    /// The bytes of its key file, where that has no other name.
    pub(super) bytes: u64,
    /// Whether it is not known what else it needs.
    pub(super) unknown: bool,
}

/// What one thread found.
struct Part<T> {
    images: Vec<T>,
    /// The places of the notes that hold.
    known: Vec<usize>,
    fresh: Fresh,
}

impl<T> Part<T> {
    fn of(entries: usize) -> Self {
        Self { images: Vec::with_capacity(entries), known: Vec::new(), fresh: Fresh::default() }
    }
}

/// All entries with what hangs on them, in the order of their keys, each as `image` makes of it.
/// `seen` are the blobs that were there before.
pub(super) fn all<T: Send>(
    images: &Images,
    seen: &Arc<DigestMap<Seen>>,
    aside: &mut Aside,
    image: &(impl Fn(Settled) -> T + Sync),
) -> Result<Vec<T>> {
    images.adopt()?;
    let (files, notes) = thread::scope(|scope| {
        let notes = scope.spawn(|| images.notes());
        let files = files(images, aside);
        (files, notes.join().unwrap_or_else(|cause| resume_unwind(cause)))
    });
    let (files, reader) = (files?, Reader { images, notes: &notes, seen });
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = files.len().div_ceil(threads).max(SHARE);
    let parts = thread::scope(|scope| {
        let reader = &reader;
        let threads: Vec<_> =
            files.chunks(share).map(|files| scope.spawn(move || reader.read(files, image))).collect();
        let ended = threads.into_iter().map(|it| it.join().unwrap_or_else(|cause| resume_unwind(cause)));
        ended.collect::<Result<Vec<_>>>()
    });
    let mut all = Part::of(files.len());
    for part in parts? {
        all.images.extend(part.images);
        all.known.extend(part.known);
        all.fresh.append(part.fresh);
    }
    images.note(&notes, &all.known, &all.fresh);
    Ok(all.images)
}

/// The key files, sorted by key. What else lies in their folder is put aside.
fn files(images: &Images, aside: &mut Aside) -> Result<Vec<File>> {
    let folder = images.folder().join("keys");
    let mut files = Vec::new();
    look::each(&folder, &mut |name, stat| {
        let key = name.to_str().ok().and_then(|name| name.parse::<Key>().ok());
        // One with several names, or a folder, is among the keys all the same.
        let is_plain = aside.sort_out(&folder, name, stat).is_some();
        let bytes = if is_plain { Seen::of(stat).bytes } else { 0 };
        match key.filter(|_| look::may_be_read(stat)) {
            Some(key) => {
                let state = look::is_file(stat).then(|| FileState::of(stat));
                files.push(File { key, state, bytes });
            }
            None => aside.other += bytes,
        }
        Ok::<_, Error>(())
    })?;
    files.sort_unstable_by(|one, other| one.key.cmp(&other.key));
    Ok(files)
}

struct Reader<'a> {
    images: &'a Images,
    notes: &'a Notes,
    seen: &'a Arc<DigestMap<Seen>>,
}

impl Reader<'_> {
    fn read<T>(&self, files: &[File], image: &impl Fn(Settled) -> T) -> Result<Part<T>> {
        let mut part = Part::of(files.len());
        let mut walker = self.images.walker().with_seen(Arc::clone(self.seen));
        for file in files {
            let bytes = file.bytes;
            if let Some((place, listed, reach)) = self.noted(file) {
                part.known.push(place);
                part.images.push(image(Settled { listed, reach, bytes, unknown: false }));
                continue;
            }
            let listed = match self.images.look_at(&file.key)? {
                None => continue,
                Some(Standing::Sound(listed)) => *listed,
                Some(Standing::Damaged(damaged)) => {
                    part.images.push(image(unread(damaged, bytes)));
                    continue;
                }
            };
            let Some((listed, reach)) = settle(self.images, &mut walker, listed)? else { continue };
            if let Some(state) = &file.state {
                let state_of = |digest: &_| self.seen.get(digest)?.state.to_bytes();
                part.fresh.add(&file.key, state, &listed.entry, &reach, state_of);
            }
            let unknown = !reach.unknown.is_empty();
            part.images.push(image(Settled { listed, reach, bytes, unknown }));
        }
        Ok(part)
    }

    /// What is noted of the entry, where all of it is as it was.
    fn noted(&self, file: &File) -> Option<(usize, Listed, Reach)> {
        let state = file.state.as_ref()?;
        let used = u64::try_from(state.modified()).ok().map(Duration::from_nanos);
        let used = UNIX_EPOCH.checked_add(used?)?;
        let (place, note) = self.notes.get(&file.key, state)?;
        if !note.blobs.iter().all(|blob| self.is_still(blob)) {
            return None;
        }
        let reach = note.reach();
        let Note { entry, .. } = note;
        Some((place, Listed { key: file.key.clone(), entry, used }, reach))
    }

    fn is_still(&self, blob: &storekit::images::notes::Noted) -> bool {
        self.seen.get(&blob.digest).is_some_and(|seen| {
            seen.size == blob.size && blob.document.is_none_or(|state| seen.state.is_still_at(&state))
        })
    }
}

/// What is known of an image whose key file cannot be read.
fn unread(damaged: Damaged, bytes: u64) -> Settled {
    let Damaged { key, digest, used, .. } = damaged;
    let saved = Timestamp::try_from(used).unwrap_or(Timestamp::UNIX_EPOCH);
    let entry = Entry::new(Descriptor::new("", digest, 0), saved);
    let reach = Reach { missing: [digest].into(), ..Reach::default() };
    Settled { listed: Listed { key, entry, used }, reach, bytes, unknown: true }
}

/// Follows an entry. Where something is missing the entry is read again: a collector may have taken
/// both, or a save may have put another in its place.
fn settle(images: &Images, walker: &mut Walker, mut listed: Listed) -> Result<Option<(Listed, Reach)>> {
    loop {
        let reach = super::reach(walker, &listed.entry.descriptor)?;
        if reach.is_whole() {
            return Ok(Some((listed, reach)));
        }
        match images.look_at(&listed.key)? {
            None => return Ok(None),
            Some(Standing::Sound(again)) if again.entry != listed.entry => listed = *again,
            Some(_) => return Ok(Some((listed, reach))),
        }
    }
}
