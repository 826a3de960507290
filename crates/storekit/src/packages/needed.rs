//! Which of the bodies that are to go some entry names at this very moment, read again in each step
//! of a sweep, under its lock.
//!
//! Every entry is read once, or found in the index, and that without the lock
//! ([`NeededBodies::read_ahead`]). After that a folder of entries is read again where it is not in
//! the state that it was in: a server writes an entry anew and renames it, which its folder shows.

use std::collections::{HashMap, HashSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::io::Errno;

use super::Packages;
use super::entry::{CAP, PackageEntry};
use super::index::{Index, Looking};
use crate::digest::Digest;
use crate::error::{At, Error, Result};
use crate::files::lock::Exclusive;
use crate::files::state::FileState;
use crate::files::{look, replace};

/// The first bytes of a digest, for a store may have very many. Two bodies that share them are kept
/// for one another.
type Short = [u8; 8];

/// The bodies that the entries of a folder name.
#[derive(Debug, Default)]
struct Named {
    bodies: Vec<Short>,
    /// Whether one of the entries cannot be read.
    has_unread: bool,
}

/// Remembers between the steps what it has read.
#[derive(Debug)]
pub struct NeededBodies {
    entries: Utf8PathBuf,
    index: Index,
    /// The bodies that are to go: no others are remembered. Nothing where that is not known yet.
    doomed: Option<HashSet<Digest>>,
    /// By their names below the entries: `SOURCE/XX`.
    folders: HashMap<String, (FileState, Named)>,
    /// By how many folders each is named.
    count: HashMap<Short, u32>,
    /// In how many folders something may name any of them.
    unread: u32,
    of_this_step: bool,
    goes_past: bool,
}

impl NeededBodies {
    /// Of these bodies of a store. An entry that is not understood, or is none (a folder, or larger
    /// than any), names none; one that the disk or the system does not give out may name any of
    /// them; one of a later version is an error.
    #[must_use]
    pub fn new(packages: &Packages, doomed: HashSet<Digest>) -> Self {
        Self { doomed: Some(doomed), ..Self::of_all(packages) }
    }

    /// Of all bodies of a store, for sweeps that find out one after another which are to go: the
    /// entries are read once for all of them.
    #[must_use]
    pub fn of_all(packages: &Packages) -> Self {
        Self {
            entries: packages.entries(),
            index: packages.index(),
            doomed: None,
            folders: HashMap::new(),
            count: HashMap::new(),
            unread: 0,
            of_this_step: false,
            goes_past: false,
        }
    }

    /// An entry that is of a later version or damaged names whatever digests stand in its text, and
    /// one that cannot be read, none: for bodies that nobody misses if they go.
    #[must_use]
    pub fn going_past_damage(self) -> Self {
        Self { goes_past: true, ..self }
    }

    /// Reads ahead, without the lock, so that the steps are short. What cannot be read is found out
    /// in a step.
    pub fn read_ahead(&mut self) {
        let _ = self.refresh();
    }

    /// What was read before the lock was taken is looked at again.
    pub fn begin_step(&mut self) {
        self.of_this_step = false;
    }

    /// Whether an entry names the body. Looks once in each step: no process writes an entry under
    /// its lock.
    ///
    /// # Errors
    /// Entries that cannot be read; [`Error::Newer`].
    pub fn is_needed(&mut self, _lock: &Exclusive, digest: &Digest) -> Result<bool> {
        if !self.of_this_step {
            self.refresh()?;
            self.of_this_step = true;
        }
        Ok(self.unread > 0 || self.count.get(&short(digest)).is_some_and(|count| *count > 0))
    }

    fn refresh(&mut self) -> Result<()> {
        let mut before = std::mem::take(&mut self.folders);
        for source in replace::names_if_folder(&self.entries)? {
            let path = self.entries.join(&source);
            if !path.is_dir() {
                continue;
            }
            for shard in replace::names(&path)? {
                let Some(state) = state(&path.join(&shard))? else { continue };
                let folder = format!("{source}/{shard}");
                match before.remove(&folder) {
                    Some(known) if known.0.is_still(&state) => {
                        self.folders.insert(folder, known);
                    }
                    other => {
                        self.forget(other);
                        let named = self.named_in(&folder)?;
                        for digest in &named.bodies {
                            *self.count.entry(*digest).or_default() += 1;
                        }
                        self.unread += u32::from(named.has_unread);
                        self.folders.insert(folder, (state, named));
                    }
                }
            }
        }
        for gone in before.into_values() {
            self.forget(Some(gone));
        }
        Ok(())
    }

    fn forget(&mut self, folder: Option<(FileState, Named)>) {
        let Named { bodies, has_unread } = folder.map(|(_, named)| named).unwrap_or_default();
        self.unread = self.unread.saturating_sub(u32::from(has_unread));
        for digest in bodies {
            if let Some(count) = self.count.get_mut(&digest) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// The bodies that may be to go and that an entry in this folder names.
    fn named_in(&self, folder: &str) -> Result<Named> {
        let mut index = Looking::at(&self.index, folder);
        let folder = self.entries.join(folder);
        let (mut named, mut has_unread) = (HashSet::new(), false);
        look::each(&folder, &mut |name, stat| {
            let Some(stem) = name.to_str().ok().and_then(|name| name.strip_suffix(".toml")) else {
                return Ok(());
            };
            let known = Digest::from_hex(stem).filter(|_| look::is_file(stat));
            let known = known.and_then(|name| index.known(&name, &FileState::of(stat)));
            let read = match known {
                Some(summary) => Some(summary.bodies),
                None => self.named_by(&folder.join(format!("{stem}.toml")))?,
            };
            has_unread |= read.is_none();
            let bodies = read.unwrap_or_default();
            named.extend(bodies.iter().filter(|body| self.may_go(body)).map(short));
            Ok::<_, Error>(())
        })?;
        Ok(Named { bodies: named.into_iter().collect(), has_unread })
    }

    fn may_go(&self, digest: &Digest) -> bool {
        self.doomed.as_ref().is_none_or(|doomed| doomed.contains(digest))
    }

    /// What the file names; `None` where it cannot be read and may name anything.
    fn named_by(&self, path: &Utf8Path) -> Result<Option<Vec<Digest>>> {
        let bytes = match replace::read_capped(path, CAP) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) if self.goes_past && !is_of_this_process(&error) => return Ok(Some(Vec::new())),
            Err(error) if is_no_entry(&error) => return Ok(Some(Vec::new())),
            Err(error) if error.is_unreadable() => return Ok(None),
            Err(error) => return Err(error),
        };
        match PackageEntry::parse(&bytes, path) {
            Ok(entry) => Ok(Some(entry.bodies())),
            Err(_) if self.goes_past => Ok(Some(in_text(&bytes))),
            Err(Error::BadPackage { .. }) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }
}

/// Whether nobody would read it as an entry: it is no plain file, or larger than any entry.
fn is_no_entry(error: &Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, InvalidInput, IsADirectory};
    let Error::Io { source, .. } = error else { return false };
    matches!(source.kind(), FileTooLarge | InvalidInput | IsADirectory)
}

/// Whether it is this process that has not what it takes to read a file.
fn is_of_this_process(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOMEM].map(Errno::raw_os_error);
    source.raw_os_error().is_some_and(|code| own.contains(&code))
}

fn short(digest: &Digest) -> Short {
    let mut first = Short::default();
    first.iter_mut().zip(digest.bytes()).for_each(|(to, from)| *to = *from);
    first
}

/// All runs of 64 hex digits.
fn in_text(bytes: &[u8]) -> Vec<Digest> {
    let words = bytes.split(|byte| !byte.is_ascii_hexdigit());
    words.filter_map(|word| Digest::from_hex(std::str::from_utf8(word).ok()?)).collect()
}

/// The state of a folder; `None` for anything else.
fn state(folder: &Utf8Path) -> Result<Option<FileState>> {
    match fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        metadata => {
            let metadata = metadata.at("read", folder)?;
            Ok(metadata.is_dir().then(|| FileState::seen(&metadata)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::tests::{body, entry, store};
    use crate::store::Store;
    use std::os::unix::fs::MetadataExt as _;

    fn put(store: &Store, url: &str, bytes: &[u8]) -> (Digest, Utf8PathBuf) {
        let packages = store.packages();
        let lease = body(&packages, bytes);
        let (digest, entry) = (lease.digest(), entry(url, &lease));
        packages.put(&entry, &[lease]).unwrap();
        (digest, packages.path(&entry.key))
    }

    fn is_needed(needed: &mut NeededBodies, store: &Store, digest: &Digest) -> Result<bool> {
        let lock = store.lock_exclusive().unwrap();
        needed.begin_step();
        needed.is_needed(&lock, digest)
    }

    #[test]
    fn what_is_no_entry_names_nothing_and_what_cannot_be_read_anything() {
        let (_dir, store) = store();
        let (named, path) = put(&store, "https://h.example/a", b"named");
        let unnamed = body(&store.packages(), b"other").digest();
        let mut needed = NeededBodies::new(&store.packages(), [named, unnamed].into());
        let folder = path.parent().unwrap();
        let (large, sub) = (folder.join(format!("{}.toml", "1".repeat(64))), folder.join("sub.toml"));
        fs::create_dir(&sub).unwrap();
        fs::write(&large, vec![b' '; usize::try_from(CAP).unwrap() + 1]).unwrap();
        let mut of = |digest| is_needed(&mut needed, &store, digest).unwrap();
        assert_eq!((of(&named), of(&unnamed)), (true, false));
        // A circle of links is read by nobody, not even by root.
        let circle = folder.join(format!("{}.toml", "2".repeat(64)));
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert_eq!((of(&named), of(&unnamed)), (true, true));
        fs::remove_file(&circle).unwrap();
        assert_eq!((of(&named), of(&unnamed)), (true, false));
    }

    #[test]
    fn what_was_written_since_it_was_read_counts() {
        let (_dir, store) = store();
        let unnamed = body(&store.packages(), b"other").digest();
        let doomed = [unnamed, Digest::of(b"body")].into();
        let mut needed = NeededBodies::new(&store.packages(), doomed);
        needed.read_ahead();
        let (named, _) = put(&store, "http://a/x", b"body");
        assert!(is_needed(&mut needed, &store, &named).unwrap());
        assert!(!is_needed(&mut needed, &store, &unnamed).unwrap());
        let (_, path) = put(&store, "http://a/x", b"new");
        assert!(!is_needed(&mut needed, &store, &named).unwrap());
        fs::remove_file(path).unwrap();
        assert!(!is_needed(&mut needed, &store, &named).unwrap());
    }

    /// What one batch has read counts for the next, of whatever bodies that is.
    #[test]
    fn the_next_batch_reads_no_folder_that_is_as_it_was() {
        let (_dir, store) = store();
        let (one, path) = put(&store, "http://a/x", b"one");
        let (two, other) = put(&store, "http://a/y", b"two");
        let unnamed = body(&store.packages(), b"other").digest();
        let mut needed = NeededBodies::of_all(&store.packages());
        for folder in [&path, &other].map(|path| path.parent().unwrap()) {
            FileState::settled(&fs::File::open(folder).unwrap()).unwrap();
        }
        assert!(is_needed(&mut needed, &store, &one).unwrap());
        // Past their folders, so that nobody sees it who does not read them again.
        fs::write(&path, "").unwrap();
        fs::write(&other, "").unwrap();
        assert!(is_needed(&mut needed, &store, &two).unwrap());
        assert!(!is_needed(&mut needed, &store, &unnamed).unwrap());
        fs::remove_file(&other).unwrap();
        assert!(!is_needed(&mut needed, &store, &two).unwrap());
    }

    /// A step under the lock reads no entry that was read ahead: what is written past its folder is
    /// not seen.
    #[test]
    fn a_step_reads_no_folder_that_is_as_it_was() {
        let (_dir, store) = store();
        let (digest, path) = put(&store, "http://a/x", b"body");
        let folder = path.parent().unwrap();
        let mut needed = NeededBodies::new(&store.packages(), [digest].into());
        // A state that is as young as one tick of the clock proves nothing.
        FileState::settled(&fs::File::open(folder).unwrap()).unwrap();
        needed.read_ahead();
        let before = fs::metadata(folder).unwrap().ctime_nsec();
        fs::write(&path, "").unwrap();
        assert_eq!(fs::metadata(folder).unwrap().ctime_nsec(), before, "the folder has changed");
        assert!(is_needed(&mut needed, &store, &digest).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_needed(&mut needed, &store, &digest).unwrap());
    }

    #[test]
    fn damaged_entries_end_nothing_where_they_may_be_gone_past() {
        let (_dir, store) = store();
        let (named, path) = put(&store, "http://a/x", b"body");
        let unnamed = body(&store.packages(), b"other").digest();
        let text = fs::read_to_string(&path).unwrap();
        let newer = text.replacen("version = 1", "version = 99", 1);
        assert_ne!(newer, text);
        let half = text.replacen("url", "\"", 1);
        for (damaged, strict) in [(newer, false), (half, true)] {
            fs::write(&path, damaged).unwrap();
            let needed = || NeededBodies::new(&store.packages(), [named, unnamed].into());
            let mut past = needed().going_past_damage();
            // What stands in its text may be what it means.
            assert!(is_needed(&mut past, &store, &named).unwrap());
            assert!(!is_needed(&mut past, &store, &unnamed).unwrap());
            assert_eq!(is_needed(&mut needed(), &store, &named).is_ok(), strict);
        }
        // What is no file, and what is larger than any entry.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.with_file_name("large.toml"), vec![b'#'; 2 << 20]).unwrap();
        let needed = || NeededBodies::new(&store.packages(), [unnamed].into());
        assert!(!is_needed(&mut needed().going_past_damage(), &store, &unnamed).unwrap());
        assert!(!is_needed(&mut needed(), &store, &unnamed).unwrap());
    }
}
