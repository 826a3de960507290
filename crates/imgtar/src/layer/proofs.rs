//! Which blobs were read through before, and are the same files still.
//!
//! Reusing a stored layer asks for its bytes to be what its name says. Reading them each time costs
//! more than all the rest of a save that moves nothing, so what was proved is noted in the store,
//! with the state of the file: a file of the same inode, size, modification and change times was
//! not written to since.
//!
//! Limit: a disk that changes bytes by itself changes no times. A load, an export and `verify` read
//! the bytes in any case.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use storekit::files::replace::{self, Durability};
use storekit::{Blobs, Digest, Store};

/// The file in the store. Derived and local: it may go at any time.
const FILE: &str = ".proved";
const CAP: u64 = 64 << 20;
const VERSION: &str = "# proved 1";

/// What tells one state of a file from another.
type State = [i64; 6];

/// What is noted, and what was found since.
#[derive(Debug, Default)]
pub(crate) struct Proved {
    path: Utf8PathBuf,
    before: BTreeMap<Digest, State>,
    since: Mutex<BTreeMap<Digest, State>>,
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
        noted.is_some() && noted == state(blobs, digest)
    }

    /// That the blob, as it is there now, is sound.
    pub(crate) fn note(&self, blobs: &Blobs, digest: &Digest) {
        if let Some(state) = state(blobs, digest) {
            self.since().insert(*digest, state);
        }
    }

    /// Writes down what was found. Two that write at once lose what one of them found, which costs
    /// a reading.
    pub(crate) fn keep(&self, blobs: &Blobs) {
        let since = self.since();
        if since.iter().all(|(digest, state)| self.before.get(digest) == Some(state)) {
            return;
        }
        let mut all = parse(&self.path);
        all.extend(since.iter().map(|(digest, state)| (*digest, *state)));
        let lines = all.iter().filter(|(digest, _)| blobs.contains(digest)).map(line);
        let text: String = std::iter::once(format!("{VERSION}\n")).chain(lines).collect();
        // A store that cannot be written to is read through again.
        let _ = replace::replace(&self.path, text.as_bytes(), Durability::Unsynced);
    }

    fn since(&self) -> MutexGuard<'_, BTreeMap<Digest, State>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn state(blobs: &Blobs, digest: &Digest) -> Option<State> {
    let metadata = std::fs::symlink_metadata(blobs.path(digest)).ok()?;
    let [device, inode, size] = [metadata.dev(), metadata.ino(), metadata.len()].map(u64::cast_signed);
    let changed = metadata.ctime().checked_mul(1_000_000_000)?.checked_add(metadata.ctime_nsec())?;
    Some([device, inode, size, metadata.mtime(), metadata.mtime_nsec(), changed])
}

fn line((digest, state): (&Digest, &State)) -> String {
    let numbers: Vec<_> = state.iter().map(ToString::to_string).collect();
    format!("{} {}\n", digest.hex(), numbers.join(" "))
}

fn parse(path: &camino::Utf8Path) -> BTreeMap<Digest, State> {
    let bytes = replace::read_capped(path, CAP).ok().flatten().unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let Some(lines) = text.strip_prefix(VERSION) else { return BTreeMap::new() };
    lines.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(Digest, State)> {
    let (hex, numbers) = line.split_once(' ')?;
    let numbers: Vec<i64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((Digest::from_hex(hex)?, numbers.try_into().ok()?))
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
        let digest = blobs.put(b"bytes").unwrap().digest();
        let proved = Proved::read(&store);
        assert!(!proved.holds(&blobs, &digest));
        proved.note(&blobs, &digest);
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
        for line in ["", "x 1 2 3 4 5 6", "# proved 2", "00 1", &format!("{} 1 2 3", Digest::of(b"").hex())] {
            assert!(parse_line(line).is_none(), "{line}");
        }
    }
}
