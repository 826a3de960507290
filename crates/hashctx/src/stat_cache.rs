//! Remembers the digests of files that have not changed since they were read.
//!
//! A record is believed only where path, type, mode, size, inode, mtime and ctime all agree. A file is recorded only where
//! it had been quiet for `QUIET` when it was read, as a change within one tick of the kernel's clock leaves all of them as
//! they were. A cache that is damaged in any bit counts as empty.
//!
//! Limits: a program that changes a file through a shared memory mapping may leave its times as they were for a while; a
//! file server whose clock is behind by more than `QUIET` weakens the rule above.

mod records;
mod write;

use std::io::{self, Read};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Digest;
use crate::entry::Entry;
use crate::path::escape;
use crate::regular;
use crate::stat::Stat;
use records::Records;

/// Nanoseconds that a file must not have been touched for.
const QUIET: i64 = 2_000_000_000;

/// The first line; the second is the context's root.
const MAGIC: &str = "larder stat cache 2\n";

/// No larger cache is written, and a file that is larger is none.
const MAX_BYTES: usize = 1 << 31;

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Whether it is a Git LFS pointer instead of its content.
    pub lfs_pointer: bool,
}

/// A file that was looked at and is the one that a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its `st_mode`.
    pub mode: NonZeroU32,
    /// The record, which only the cache that made this understands.
    record: u32,
}

/// The cache of one context's root.
#[derive(Debug)]
pub struct StatCache {
    file: Utf8PathBuf,
    header: String,
    opened: i64,
    records: OnceLock<Records>,
    learnt: Mutex<Vec<Learnt>>,
}

/// A file that was read.
#[derive(Debug)]
struct Learnt {
    /// Its place among the inputs.
    input: usize,
    stat: Stat,
    lfs_pointer: bool,
}

/// The file systems whose images carry the times that their maker gave them: two images may agree in all that a record
/// holds and differ in content. squashfs, EROFS, ISO 9660, cramfs, romfs.
const IMAGES: [u32; 5] = [0x7371_7368, 0xe0f5_e1e2, 0x9660, 0x28cd_3d45, 0x7275];

/// Whether a change of a file changes what a record holds of it, on the file system that `root` lies on.
#[must_use]
pub fn serves(root: &Utf8Path) -> bool {
    rustix::fs::statfs(root.as_std_path())
        .is_ok_and(|system| !u32::try_from(system.f_type).is_ok_and(|magic| IMAGES.contains(&magic)))
}

impl StatCache {
    /// The cache that stands for `root` in `folder`; one that is missing or damaged is empty. It is read when it is first
    /// asked.
    #[must_use]
    pub fn open(folder: &Utf8Path, root: &Utf8Path) -> Self {
        let absolute = root.as_std_path().canonicalize().unwrap_or_else(|_| root.into());
        let root = absolute.as_os_str().as_bytes();
        let file = folder.join(Digest::of(root).to_string());
        let header = format!("{MAGIC}{}\n", escape(root));
        Self { file, header, opened: now(), records: OnceLock::new(), learnt: Mutex::default() }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records().len() == 0
    }

    /// Looks a file up: `stat` is asked for its metadata if there is a record of that path. `near` says where to begin,
    /// and becomes where the next one stands: paths that are asked for in order are found at once, and the others as well.
    pub fn look(&self, near: &mut usize, path: &[u8], stat: impl FnOnce() -> Option<Stat>) -> Option<Seen> {
        let records = self.records();
        if records.path(*near) != path {
            *near = records.seek(*near, path);
            if records.path(*near) != path {
                return None;
            }
        }
        let at = *near;
        *near += 1;
        let stat = stat().filter(|stat| records.is_of(at, stat))?;
        Some(Seen { mode: NonZeroU32::new(stat.mode)?, record: u32::try_from(at).ok()? })
    }

    /// Where what comes at or after a path stands, for a later [`look`](Self::look).
    #[must_use]
    pub fn seek(&self, near: usize, path: &[u8]) -> usize {
        self.records().seek(near, path)
    }

    /// What is known of a file that was seen.
    #[must_use]
    pub fn known(&self, seen: Seen) -> Option<Known> {
        self.records().known(seen.record as usize)
    }

    /// Remembers a file that was read after the cache was opened, unless it was touched too recently. `input` is its place
    /// among the inputs.
    pub fn learn(&self, input: usize, stat: &Stat, known: Known) {
        if stat.mtime.max(stat.ctime) > self.opened.saturating_sub(QUIET) {
            return;
        }
        let learnt = Learnt { input, stat: *stat, lfs_pointer: known.lfs_pointer };
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner).push(learnt);
    }

    /// Writes the cache back if anything was learnt; `entries` are all inputs, sorted by path. The last of several writers
    /// wins; each leaves a whole file.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is lost but time.
    pub fn save(self, entries: &[Entry]) -> storekit::Result<()> {
        self.records();
        let learnt = self.learnt.into_inner().unwrap_or_else(PoisonError::into_inner);
        if learnt.is_empty() {
            return Ok(());
        }
        let old = self.records.into_inner().unwrap_or_default();
        write::Update::new(&old, entries, learnt).write(&self.file, &self.header)
    }

    fn records(&self) -> &Records {
        self.records
            .get_or_init(|| read(&self.file, self.header.as_bytes()).ok().flatten().unwrap_or_default())
    }
}

/// Reads no more than the start of what is no cache of this root, and never waits for a FIFO.
fn read(file: &Utf8Path, header: &[u8]) -> io::Result<Option<Records>> {
    let mut open = regular::open(file.as_std_path())?;
    let size = open.metadata()?.len();
    let mut bytes = vec![0; header.len()];
    open.read_exact(&mut bytes)?;
    let rest = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(header.len());
    if bytes != header || rest > MAX_BYTES {
        return Ok(None);
    }
    bytes.reserve_exact(rest);
    open.take(rest as u64).read_to_end(&mut bytes)?;
    Ok(Records::parse(bytes, header))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Content, FileMode};
    use crate::path::RelPath;

    const STAT: Stat = Stat { mode: 0o100_644, size: 3, inode: 7, mtime: 10, ctime: 20 };
    const PATH: &str = "a/b";

    #[test]
    fn a_file_system_that_can_be_written_to_is_served() {
        let folder = Folder::new();
        let folder = Utf8Path::from_path(folder.0.path()).expect("text");
        assert!(serves(folder) && !serves(&folder.join("gone")));
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn open(&self) -> StatCache {
            StatCache::open(Utf8Path::from_path(self.0.path()).expect("text"), Utf8Path::new("/ctx"))
        }

        fn learn(&self, stat: &Stat) {
            self.learn_all(&[PATH], stat);
        }

        fn learn_all(&self, paths: &[&str], stat: &Stat) {
            let cache = self.open();
            (0..paths.len()).for_each(|input| cache.learn(input, stat, known()));
            cache.save(&paths.iter().map(|path| entry(path)).collect::<Vec<_>>()).expect("saved");
        }

        fn get(&self, path: &str, stat: &Stat) -> Option<Known> {
            let cache = self.open();
            cache.known(cache.look(&mut 0, path.as_bytes(), || Some(*stat))?)
        }
    }

    fn entry(path: &str) -> Entry {
        let content = Content::File { digest: known().digest, mode: FileMode::Plain };
        Entry { path: RelPath::new(path.as_bytes()).expect("a path"), content }
    }

    fn known() -> Known {
        Known { digest: Digest::of(b"abc"), lfs_pointer: true }
    }

    #[track_caller]
    fn misses(stat: Stat) {
        let folder = Folder::new();
        folder.learn(&STAT);
        assert_eq!(folder.get(PATH, &stat), None, "{stat:?}");
    }

    #[test]
    fn a_file_is_known_only_while_everything_agrees() {
        let folder = Folder::new();
        folder.learn(&STAT);
        assert_eq!(folder.get(PATH, &STAT), Some(known()));
        assert_eq!(folder.get("a/c", &STAT), None);
        misses(Stat { mode: 0o100_600, ..STAT });
        misses(Stat { size: 4, ..STAT });
        misses(Stat { inode: 8, ..STAT });
        misses(Stat { mtime: 11, ..STAT });
        misses(Stat { ctime: 21, ..STAT });
    }

    #[test]
    fn a_file_touched_just_now_or_in_the_future_is_not_recorded() {
        for time in [now(), now() - QUIET / 2, i64::MAX] {
            let folder = Folder::new();
            let stat = Stat { ctime: time, ..STAT };
            folder.learn(&stat);
            assert_eq!(folder.get(PATH, &stat), None);
        }
    }

    #[test]
    fn a_cache_damaged_anywhere_is_empty_and_mends() {
        let folder = Folder::new();
        folder.learn(&STAT);
        let file = folder.open().file;
        let sound = std::fs::read(&file).expect("read");
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            std::fs::write(&file, &damaged).expect("written");
            assert!(folder.open().is_empty(), "byte {at}");
        }
        std::fs::write(&file, &sound[..sound.len() / 2]).expect("written");
        folder.learn(&STAT);
        assert_eq!(folder.get(PATH, &STAT), Some(known()));
    }

    #[test]
    fn what_is_no_cache_is_neither_waited_for_nor_read_whole() {
        let folder = Folder::new();
        folder.learn(&STAT);
        let file = folder.open().file;
        let huge = std::fs::OpenOptions::new().write(true).open(&file).expect("opened");
        huge.set_len(1 << 40).expect("a sparse file");
        assert!(folder.open().is_empty());
        std::fs::remove_file(&file).expect("removed");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, file.as_std_path(), rustix::fs::FileType::Fifo, mode, 0)
            .expect("a FIFO");
        folder.learn(&STAT);
        assert_eq!(folder.get(PATH, &STAT), Some(known()));
    }

    #[test]
    fn every_path_is_found_from_everywhere() {
        let folder = Folder::new();
        let paths = ["A", "a", "a-b", "a/b", "a/b/c", "a/b0", "a0", "\u{fc}"];
        folder.learn_all(&paths, &STAT);
        let cache = folder.open();
        for near in 0..10 {
            for path in paths {
                assert!(cache.look(&mut near.clone(), path.as_bytes(), || Some(STAT)).is_some(), "{path}");
            }
            for path in ["", "a/", "a/b/", "b", "\u{ff}"] {
                assert_eq!(cache.look(&mut near.clone(), path.as_bytes(), || Some(STAT)), None, "{path}");
            }
        }
    }

    #[test]
    fn what_is_no_input_this_time_is_remembered_for_a_while() {
        let folder = Folder::new();
        folder.learn(&STAT);
        for time in 0..16 {
            assert_eq!(folder.get(PATH, &STAT), Some(known()), "write {time}");
            folder.learn_all(&["a/a", "a/c"], &Stat { size: 100 + time, ..STAT });
        }
        assert_eq!(folder.get(PATH, &STAT), None);
        assert_eq!(folder.open().records().len(), 2);
    }

    #[test]
    fn what_is_an_input_still_is_not_forgotten() {
        let folder = Folder::new();
        folder.learn_all(&["a", "c"], &STAT);
        for size in 100..120 {
            let cache = folder.open();
            assert!(!cache.is_empty());
            cache.learn(1, &Stat { size, ..STAT }, known());
            cache.save(&["a", "b", "c"].map(entry)).expect("saved");
        }
        assert_eq!(folder.open().records().len(), 3);
        assert_eq!(folder.get("c", &STAT), Some(known()));
    }
}
