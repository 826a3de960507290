//! Which blobs were read through before, and are the same files still.
//!
//! Reusing a stored layer asks for its bytes to be what its name says. Reading them each time costs
//! more than all the rest of a save that moves nothing, so what was proved is noted in the store,
//! with the state of the file (storekit's `FileState`).
//!
//! Limit: a disk that changes bytes by itself changes no times. A load, an export and `verify` read
//! the bytes in any case.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use storekit::files::replace::{self, Durability};
use storekit::files::state::FileState;
use storekit::{Blobs, Digest, Lease, Store};

/// The file in the store. Derived and local: it may go at any time.
const FILE: &str = ".proved";
const CAP: u64 = 64 << 20;
const VERSION: &str = "# proved 2";

/// What is noted, and what was found since.
#[derive(Debug, Default)]
pub(crate) struct Proved {
    path: Utf8PathBuf,
    before: BTreeMap<Digest, FileState>,
    since: Mutex<BTreeMap<Digest, FileState>>,
}

impl Proved {
    /// Reads the notes. Those that cannot be read prove nothing.
    #[must_use]
    pub(crate) fn read(store: &Store) -> Self {
        let path = store.root().join(FILE);
        let before = parse(&path);
        Self { path, before, since: Mutex::default() }
    }

    /// Whether the blob was proved to be sound, and is the same file.
    #[must_use]
    pub(crate) fn holds(&self, blobs: &Blobs, digest: &Digest) -> bool {
        let noted = self.before.get(digest).copied().or_else(|| self.since().get(digest).copied());
        noted.zip(Self::state(blobs, digest)).is_some_and(|(noted, now)| noted.is_still(&now))
    }

    /// The state of the blob, before it is read through; `None` where it is not there.
    pub(crate) fn state(blobs: &Blobs, digest: &Digest) -> Option<FileState> {
        std::fs::symlink_metadata(blobs.path(digest)).ok().map(|metadata| FileState::seen(&metadata))
    }

    /// That the blob is sound: it was read through in this state.
    pub(crate) fn note(&self, digest: &Digest, state: Option<FileState>) {
        self.since().extend(state.map(|state| (*digest, state)));
    }

    /// That the blob is sound: this process has written it, and holds the lease.
    pub(crate) fn note_written(&self, lease: &Lease) {
        let metadata = lease.file().metadata().ok();
        self.note(&lease.digest(), metadata.map(|metadata| FileState::written(&metadata)));
    }

    /// Writes down what was found. Two that write at once lose what one of them found, which costs
    /// a reading.
    pub(crate) fn keep(&self, blobs: &Blobs) {
        let since = self.since();
        let is_known = |(digest, state): (&Digest, &FileState)| {
            self.before.get(digest).is_some_and(|it| it.is_still(state))
        };
        if since.iter().all(is_known) {
            return;
        }
        let mut all = parse(&self.path);
        all.extend(since.iter().map(|(digest, state)| (*digest, *state)));
        let lines = all.iter().filter(|(digest, _)| blobs.contains(digest)).filter_map(line);
        let text: String = std::iter::once(format!("{VERSION}\n")).chain(lines).collect();
        // A store that cannot be written to is read through again.
        let _ = replace::replace(&self.path, text.as_bytes(), Durability::Unsynced);
    }

    fn since(&self) -> MutexGuard<'_, BTreeMap<Digest, FileState>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line((digest, state): (&Digest, &FileState)) -> Option<String> {
    Some(format!("{} {}\n", digest.hex(), state.to_text()?))
}

fn parse(path: &camino::Utf8Path) -> BTreeMap<Digest, FileState> {
    let bytes = replace::read_capped(path, CAP).ok().flatten().unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let Some(lines) = text.strip_prefix(VERSION) else { return BTreeMap::new() };
    lines.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(Digest, FileState)> {
    let (hex, numbers) = line.split_once(' ')?;
    Some((Digest::from_hex(hex)?, FileState::parse(numbers)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8Path;

    #[test]
    fn what_was_proved_holds_until_the_file_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&Utf8Path::from_path(dir.path()).unwrap().join("s")).unwrap();
        store.images().prepare().unwrap();
        let blobs = store.images().blobs();
        let lease = blobs.put(b"bytes").unwrap();
        let digest = lease.digest();
        let proved = Proved::read(&store);
        assert!(!proved.holds(&blobs, &digest));
        proved.note_written(&lease);
        assert!(proved.holds(&blobs, &digest));
        proved.keep(&blobs);
        let again = Proved::read(&store);
        assert!(again.holds(&blobs, &digest));
        // The same length, the same time of modification, other bytes.
        let path = blobs.path(&digest);
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = std::fs::File::options().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"BYTES").unwrap();
        file.set_modified(modified).unwrap();
        assert!(!again.holds(&blobs, &digest));
    }

    #[test]
    fn notes_that_are_none_prove_nothing() {
        for line in ["", "x 1 2 3 4 5", "# proved 3", "00 1", &format!("{} 1 2 3", Digest::of(b"").hex())] {
            assert!(parse_line(line).is_none(), "{line}");
        }
    }
}
