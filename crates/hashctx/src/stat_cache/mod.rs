//! Remembers the digests of files that have not changed since they were read.
//!
//! A record is believed only where path, type, mode, size, inode, mtime and ctime all agree. A file
//! is recorded only where it had been quiet for `QUIET` when it was read, as a change within one
//! tick of the kernel's clock leaves all of them as they were. A cache that is damaged in any bit
//! counts as empty. What few files taught is written beside the rest.
//!
//! Limits: a program that changes a file through a shared memory mapping may leave its times as
//! they were for a while; a file server whose clock is behind by more than `QUIET` weakens the rule
//! above.

mod layers;
mod records;
pub(crate) mod seek;
#[cfg(test)]
mod tests;
mod write;

use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::Utf8Path;

use crate::files::digest::Digest;
use crate::files::entry::Entry;
use crate::files::stat::Stat;
use crate::path::escape;
use layers::{Files, Layers};
use records::{STAT, encode};
use write::Update;

/// Nanoseconds that a file must not have been touched for.
const QUIET: i64 = 2_000_000_000;

/// A cache that is larger is neither written nor read.
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
    files: Files,
    opened: i64,
    layers: OnceLock<Layers>,
}

/// What one of the inputs taught. In most runs that is nothing, so it takes no room.
pub type Lesson = Option<Box<Learnt>>;

/// What a record will hold of a file that was read, beside its path and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    stat: [u8; STAT],
    lfs_pointer: bool,
}

/// The file systems whose images carry the times that their maker gave them: two images may agree
/// in all that a record holds and differ in content. squashfs, EROFS, ISO 9660, cramfs, romfs.
const IMAGES: [u32; 5] = [0x7371_7368, 0xe0f5_e1e2, 0x9660, 0x28cd_3d45, 0x7275];

/// Whether a change of a file changes what a record holds of it, on the file system that `root`
/// lies on.
#[must_use]
pub fn serves(root: &Utf8Path) -> bool {
    rustix::fs::statfs(root.as_std_path())
        .is_ok_and(|system| !u32::try_from(system.f_type).is_ok_and(|magic| IMAGES.contains(&magic)))
}

impl StatCache {
    /// The cache that stands for `root` in `folder`; one that is missing or damaged is empty. It is
    /// read when it is first asked.
    #[must_use]
    pub fn open(folder: &Utf8Path, root: &Utf8Path) -> Self {
        let absolute = root.as_std_path().canonicalize().unwrap_or_else(|_| root.into());
        let root = absolute.as_os_str().as_bytes();
        let files = Files::new(folder.join(Digest::of(root).to_string()), escape(root).to_string());
        Self { files, opened: now(), layers: OnceLock::new() }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers().is_empty()
    }

    /// Looks a file up: `stat` is asked for its metadata if there is a record of that path. `near`
    /// says where to begin, and becomes where the next one stands: paths that are asked for in
    /// order are found at once, and the others as well.
    pub fn look(&self, near: &mut usize, path: &[u8], stat: impl FnOnce() -> Option<Stat>) -> Option<Seen> {
        let layers = self.layers();
        let recent = || layers.find_recent(path);
        let first = layers.find(near, path).or_else(recent)?;
        let stat = stat()?;
        let is_of = |at: &usize| layers.is_of(*at, &stat);
        let at = Some(first).filter(is_of).or_else(|| recent().filter(is_of))?;
        Some(Seen { mode: NonZeroU32::new(stat.mode)?, record: u32::try_from(at).ok()? })
    }

    /// Where what comes at or after a path stands, for a later [`look`](Self::look).
    #[must_use]
    pub fn seek(&self, near: usize, path: &[u8]) -> usize {
        self.layers().seek(near, path)
    }

    /// What is known of a file that was seen.
    #[must_use]
    pub fn known(&self, seen: Seen) -> Option<Known> {
        self.layers().known(seen.record as usize)
    }

    /// What is to be remembered of a file that was read after the cache was opened: nothing if it
    /// was touched too recently.
    #[must_use]
    pub fn lesson(&self, stat: &Stat, known: Known) -> Lesson {
        let quiet = stat.mtime.max(stat.ctime) <= self.opened.saturating_sub(QUIET);
        quiet.then(|| Box::new(Learnt { stat: encode(stat), lfs_pointer: known.lfs_pointer }))
    }

    /// Writes the cache back if anything was learnt. `entries` are all inputs, sorted by path, and
    /// beside each stands what it taught. The last of several writers wins; each leaves whole
    /// files.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is lost but time.
    pub fn save(self, entries: &[Entry], lessons: &[Lesson]) -> storekit::Result<()> {
        self.layers();
        let learnt = lessons.iter().flatten().count();
        if learnt == 0 {
            return Ok(());
        }
        let layers = self.layers.into_inner().unwrap_or_default();
        let files = self.files;
        if layers.may_stay(learnt) {
            let update = Update::recent(&layers, entries, lessons);
            return update.write(&files.recent, &files.recent_header(&layers));
        }
        Update::whole(&layers, entries, lessons).write(&files.base, &files.base_header())?;
        // It stood beside the base before; a reader that comes too late for that one would find it
        // of no use.
        let _ = std::fs::remove_file(&files.recent);
        Ok(())
    }

    fn layers(&self) -> &Layers {
        self.layers.get_or_init(|| Layers::read(&self.files))
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(0)
}
