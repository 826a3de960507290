//! Remembers the digests of files that have not changed since they were read.
//!
//! An entry is found again only where path, type, mode, size, inode, mtime and ctime all agree: they are hashed to one
//! fingerprint. It is recorded only where the file had been quiet for `QUIET` when it was read, as a change within one
//! tick of the kernel's clock leaves all of them as they were. A cache that is damaged in any bit counts as empty.
//!
//! Limits: a program that changes a file through a shared memory mapping may leave its times as they were for a while; a
//! file server whose clock is behind by more than `QUIET` weakens the rule above.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::error::At;
use storekit::replace::{Durability, replace};

use crate::digest::Digest;
use crate::path::{RelPath, escape};
use crate::regular;
use crate::stat::Stat;

/// Nanoseconds that a file must not have been touched for.
const QUIET: i64 = 2_000_000_000;

/// Records that this many writes of the cache found no use for are dropped.
const MAX_AGE: u8 = 16;

/// The first line; the second is the context's root.
const MAGIC: &str = "larder stat cache 1\n";

/// No more are kept, and a cache that could hold more is none.
const MAX_RECORDS: usize = 10_000_000;

const LFS_BIT: u8 = 0x80;
const RECORD: usize = 16 + 32 + 1;

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Whether it is a Git LFS pointer instead of its content.
    pub lfs_pointer: bool,
}

/// The cache of one context's root.
#[derive(Debug)]
pub struct StatCache {
    file: Utf8PathBuf,
    header: String,
    opened: i64,
    records: Vec<Record>,
    used: Vec<AtomicBool>,
    learnt: Mutex<Vec<Record>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    /// Read as big-endian, so that it sorts as its bytes do.
    fingerprint: u128,
    digest: [u8; 32],
    /// Age in its low bits, [`LFS_BIT`] above.
    tag: u8,
}

impl StatCache {
    /// Opens the cache that stands for `root` in `folder`; one that is missing or damaged is empty.
    #[must_use]
    pub fn open(folder: &Utf8Path, root: &Utf8Path) -> Self {
        let absolute = root.as_std_path().canonicalize().unwrap_or_else(|_| root.into());
        let root = absolute.as_os_str().as_bytes();
        let file = folder.join(Digest::of(root).to_string());
        let header = format!("{MAGIC}{}\n", escape(root));
        let records = read(&file, header.as_bytes()).ok().flatten();
        let records = records.unwrap_or_default();
        let used = records.iter().map(|_| AtomicBool::new(false)).collect();
        Self { file, header, opened: now(), records, used, learnt: Mutex::default() }
    }

    /// What is known of the file, if it is still the one that was read.
    #[must_use]
    pub fn get(&self, path: &RelPath, stat: &Stat) -> Option<Known> {
        let wanted = fingerprint(path, stat);
        let at = find(&self.records, wanted)?;
        self.used.get(at)?.store(true, Ordering::Relaxed);
        self.records.get(at).map(Record::known)
    }

    /// Remembers a file that was read after the cache was opened, unless it was touched too recently.
    pub fn learn(&self, path: &RelPath, stat: &Stat, known: Known) {
        if stat.mtime.max(stat.ctime) > self.opened.saturating_sub(QUIET) {
            return;
        }
        let tag = if known.lfs_pointer { LFS_BIT } else { 0 };
        let record = Record { fingerprint: fingerprint(path, stat), digest: *known.digest.as_bytes(), tag };
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    /// Writes the cache back if anything was learnt. The last of several writers wins; each leaves a whole file.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is lost but time.
    pub fn save(self) -> storekit::Result<()> {
        let learnt = self.learnt.into_inner().unwrap_or_else(PoisonError::into_inner);
        if learnt.is_empty() {
            return Ok(());
        }
        let old = self.records.iter().zip(&self.used).filter_map(|(old, used)| old.aged(used));
        let mut records: Vec<Record> = old.chain(learnt).collect();
        records.sort_unstable();
        records.dedup_by_key(|record| record.fingerprint);
        records.truncate(MAX_RECORDS);
        write(&self.file, &self.header, &records)
    }
}

impl Record {
    fn known(&self) -> Known {
        Known { digest: self.digest.into(), lfs_pointer: self.tag & LFS_BIT != 0 }
    }

    fn aged(&self, used: &AtomicBool) -> Option<Self> {
        let (lfs, age) = (self.tag & LFS_BIT, self.tag & !LFS_BIT);
        let age = if used.load(Ordering::Relaxed) { 0 } else { age + 1 };
        (age < MAX_AGE).then_some(Self { tag: lfs | age, ..*self })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (fingerprint, rest) = bytes.split_first_chunk()?;
        let (digest, tag) = rest.split_first_chunk()?;
        Some(Self { fingerprint: u128::from_be_bytes(*fingerprint), digest: *digest, tag: *tag.first()? })
    }
}

/// Reads no more than the start of what is no cache of this root, and never waits for a FIFO.
fn read(file: &Utf8Path, header: &[u8]) -> io::Result<Option<Vec<Record>>> {
    let mut open = regular::open(file.as_std_path())?;
    let size = open.metadata()?.len();
    let mut bytes = vec![0; header.len()];
    open.read_exact(&mut bytes)?;
    let rest = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(header.len());
    if bytes != header || rest > MAX_RECORDS * RECORD + 32 {
        return Ok(None);
    }
    bytes.reserve_exact(rest);
    open.take(rest as u64).read_to_end(&mut bytes)?;
    Ok(parse(&bytes, header))
}

/// `None` for a cache of another version or root, or a damaged one.
fn parse(bytes: &[u8], header: &[u8]) -> Option<Vec<Record>> {
    let (body, digest) = bytes.split_last_chunk::<32>()?;
    let records = body.strip_prefix(header)?;
    if blake3::hash(body) != *digest || records.len() % RECORD != 0 {
        return None;
    }
    records.chunks_exact(RECORD).map(Record::parse).collect()
}

/// Not synced to disk: a cache that a crash has cut short counts as empty.
fn write(file: &Utf8Path, header: &str, records: &[Record]) -> storekit::Result<()> {
    let folder = file.parent().unwrap_or(file);
    std::fs::create_dir_all(folder).at("create", folder)?;
    replace(file, &encode(header, records), Durability::Unsynced)
}

fn encode(header: &str, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(header.len() + records.len() * RECORD + 32);
    bytes.extend_from_slice(header.as_bytes());
    for record in records {
        bytes.extend_from_slice(&record.fingerprint.to_be_bytes());
        bytes.extend_from_slice(&record.digest);
        bytes.push(record.tag);
    }
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

/// Fingerprints are evenly spread, so a wanted one lies close to where its size says, and closer still to where its
/// distance from the one found there says. The records are sorted.
fn find(records: &[Record], wanted: u128) -> Option<usize> {
    let count = u128::try_from(records.len()).ok()?;
    let share = |span: u128| usize::try_from(((span >> 64) * count) >> 64).ok();
    let mut guess = share(wanted)?;
    for _ in 0..2 {
        let here = records.get(guess)?.fingerprint;
        guess = match wanted.checked_sub(here) {
            Some(ahead) => (guess + share(ahead)?).min(records.len() - 1),
            None => guess.saturating_sub(share(here - wanted)?),
        };
    }
    let at = if records.get(guess)?.fingerprint < wanted {
        guess + records.get(guess..)?.iter().position(|record| record.fingerprint >= wanted)?
    } else {
        let before = records.get(..guess)?.iter().rev().take_while(|record| record.fingerprint >= wanted);
        guess - before.count()
    };
    (records.get(at)?.fingerprint == wanted).then_some(at)
}

fn fingerprint(path: &RelPath, stat: &Stat) -> u128 {
    let fields = [
        &stat.mode.to_le_bytes()[..],
        &stat.size.to_le_bytes(),
        &stat.inode.to_le_bytes(),
        &stat.mtime.to_le_bytes(),
        &stat.ctime.to_le_bytes(),
        path.as_bytes(),
    ];
    let digest = blake3::hash(&fields.concat());
    digest.as_bytes().iter().take(16).fold(0, |number, &byte| (number << 8) | u128::from(byte))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: Stat = Stat { mode: 0o100_644, size: 3, inode: 7, mtime: 10, ctime: 20 };

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn open(&self) -> StatCache {
            StatCache::open(Utf8Path::from_path(self.0.path()).expect("text"), Utf8Path::new("/ctx"))
        }

        fn learn(&self, stat: &Stat) {
            let cache = self.open();
            cache.learn(&path(), stat, known());
            cache.save().expect("saved");
        }
    }

    fn path() -> RelPath {
        RelPath::new(&b"a/b"[..]).expect("a path")
    }

    fn known() -> Known {
        Known { digest: Digest::of(b"abc"), lfs_pointer: true }
    }

    #[track_caller]
    fn misses(stat: Stat) {
        let folder = Folder::new();
        folder.learn(&STAT);
        assert_eq!(folder.open().get(&path(), &stat), None, "{stat:?}");
    }

    #[test]
    fn a_file_is_known_only_while_everything_agrees() {
        let folder = Folder::new();
        folder.learn(&STAT);
        assert_eq!(folder.open().get(&path(), &STAT), Some(known()));
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
            assert_eq!(folder.open().get(&path(), &stat), None);
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
            assert_eq!(folder.open().records, [], "byte {at}");
        }
        std::fs::write(&file, &sound[..sound.len() / 2]).expect("written");
        folder.learn(&STAT);
        assert_eq!(folder.open().get(&path(), &STAT), Some(known()));
    }

    #[test]
    fn what_is_no_cache_is_neither_waited_for_nor_read_whole() {
        let folder = Folder::new();
        folder.learn(&STAT);
        let file = folder.open().file;
        let huge = std::fs::OpenOptions::new().write(true).open(&file).expect("opened");
        huge.set_len(1 << 40).expect("a sparse file");
        assert_eq!(folder.open().records, []);
        std::fs::remove_file(&file).expect("removed");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, file.as_std_path(), rustix::fs::FileType::Fifo, mode, 0)
            .expect("a FIFO");
        folder.learn(&STAT);
        assert_eq!(folder.open().get(&path(), &STAT), Some(known()));
    }

    #[test]
    fn every_record_is_found_and_no_other() {
        let record = |n: u32| fingerprint(&path(), &Stat { size: n.into(), ..STAT });
        for count in [0, 1, 2, 3, 1000] {
            let mut all: Vec<u128> = (0..count).map(record).collect();
            all.sort_unstable();
            let records: Vec<Record> =
                all.iter().map(|&fingerprint| Record { fingerprint, digest: [0; 32], tag: 0 }).collect();
            for (at, fingerprint) in all.iter().enumerate() {
                assert_eq!(find(&records, *fingerprint), Some(at));
                assert_eq!(find(&records, fingerprint ^ 1), None);
            }
            assert_eq!([0, u128::MAX].map(|none| find(&records, none)), [None, None]);
        }
    }

    #[test]
    fn records_without_use_age_and_go() {
        let folder = Folder::new();
        folder.learn(&STAT);
        for size in 100..100 + u64::from(MAX_AGE) {
            assert_eq!(folder.open().records.len() as u64, size - 99);
            folder.learn(&Stat { size, ..STAT });
        }
        assert_eq!(folder.open().get(&path(), &STAT), None);
    }
}
