//! The store's locks, as values: held while they live, free when dropped or when the process dies
//! (flock).
//!
//! A writer of entries holds [`Shared`] for the commit alone; a collector holds [`Exclusive`] in
//! short steps. Readers take none. A gate keeps new sharers out while someone waits for the
//! exclusive lock, so that overlapping sharers cannot keep a collector waiting for ever.
//!
//! Limit: on a network file system the locks are as good as its flock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::error::{At, Error, Result};

/// How long a lock is waited for, unless another time is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Locks may be taken by whoever may write in the store.
pub const MODE: u32 = 0o666;

/// While this lives, nothing is removed from the store.
#[must_use = "the store is unlocked when this is dropped"]
#[derive(Debug)]
pub struct Shared(#[expect(dead_code, reason = "held for its lock")] File);

/// While this lives, no other process changes the store.
#[must_use = "the store is unlocked when this is dropped"]
#[derive(Debug)]
pub struct Exclusive(#[expect(dead_code, reason = "held for its lock")] File);

/// The store's lock files.
#[derive(Clone, Debug)]
pub(crate) struct Locks {
    root: camino::Utf8PathBuf,
    patience: Patience,
}

/// When a wait for a lock ends without it.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// After this time.
    pub(crate) limit: Duration,
    /// Where this is raised.
    pub(crate) stop: Option<Arc<AtomicBool>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { limit: PATIENCE, stop: None }
    }
}

impl Patience {
    fn is_over(&self, begun: Instant) -> bool {
        begun.elapsed() >= self.limit || self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::SeqCst))
    }
}

impl Locks {
    pub(crate) fn new(root: &Utf8Path, patience: Patience) -> Self {
        Self { root: root.to_owned(), patience }
    }

    pub(crate) fn patience(&mut self) -> &mut Patience {
        &mut self.patience
    }

    /// Waits until no process removes anything.
    pub(crate) fn shared(&self) -> Result<Shared> {
        let gate = self.take(".gate", FlockOperation::NonBlockingLockShared)?;
        let lock = self.take(".lock", FlockOperation::NonBlockingLockShared)?;
        drop(gate);
        Ok(Shared(lock))
    }

    /// Waits until no process commits, and lets none begin meanwhile.
    pub(crate) fn exclusive(&self) -> Result<Exclusive> {
        let gate = self.take(".gate", FlockOperation::NonBlockingLockExclusive)?;
        let lock = self.take(".lock", FlockOperation::NonBlockingLockExclusive)?;
        drop(gate);
        Ok(Exclusive(lock))
    }

    /// The lock of the derived index; never taken while another lock is waited for.
    pub(crate) fn index(&self) -> Result<Exclusive> {
        self.take(".index-lock", FlockOperation::NonBlockingLockExclusive).map(Exclusive)
    }

    fn take(&self, name: &str, operation: FlockOperation) -> Result<File> {
        let path = self.root.join(name);
        let file = open(&path, MODE).at("open", &path)?;
        wait(&file, operation, &self.patience, &path)?;
        Ok(file)
    }
}

/// Opens a file to lock it, read it and append to it; it is made where it is missing, with `mode`
/// less what the process's mask takes. What is no plain file is never waited for.
///
/// # Errors
/// I/O errors; `InvalidInput` for what is no plain file.
pub fn open(path: &Utf8Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true).mode(mode).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file; remove what stands there"))
    }
}

/// Waits for a lock on an open file, with growing pauses; [`Error::Locked`] when `patience` is
/// over.
pub(crate) fn wait(
    file: &File,
    operation: FlockOperation,
    patience: &Patience,
    path: &Utf8Path,
) -> Result<()> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) if !patience.is_over(begun) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::Locked { path: path.to_owned(), seconds: begun.elapsed().as_secs() });
            }
            Err(errno) => return Err(errno).at("lock", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(limit: Duration) -> (tempfile::TempDir, Locks) {
        let dir = tempfile::tempdir().unwrap();
        let patience = Patience { limit, ..Patience::default() };
        let locks = Locks::new(Utf8Path::from_path(dir.path()).unwrap(), patience);
        (dir, locks)
    }

    #[test]
    fn what_is_no_plain_file_is_not_waited_for() {
        let (dir, locks) = locks(Duration::from_millis(30));
        let path = Utf8Path::from_path(dir.path()).unwrap().join(".lock");
        let make = |kind| rustix::fs::mknodat(rustix::fs::CWD, path.as_str(), kind, 0o600.into(), 0);
        make(rustix::fs::FileType::Fifo).unwrap();
        let Err(Error::Io { source, .. }) = locks.shared() else { panic!("a pipe was locked") };
        assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(locks.exclusive().is_err());
    }

    #[test]
    fn sharers_share_and_exclude_the_exclusive_one() {
        let (_dir, locks) = locks(Duration::from_millis(30));
        let first = locks.shared().unwrap();
        let second = locks.shared().unwrap();
        assert!(matches!(locks.exclusive(), Err(Error::Locked { .. })));
        drop((first, second));
        let held = locks.exclusive().unwrap();
        assert!(matches!(locks.shared(), Err(Error::Locked { .. })));
        drop(held);
        locks.shared().map(drop).unwrap();
    }

    #[test]
    fn a_wait_ends_where_it_is_stopped() {
        let (_dir, mut locks) = locks(Duration::from_secs(600));
        let held = locks.shared().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        locks.patience().stop = Some(Arc::clone(&stop));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| locks.exclusive());
            stop.store(true, Ordering::SeqCst);
            assert!(matches!(waiting.join().unwrap(), Err(Error::Locked { .. })));
        });
        drop(held);
    }

    #[test]
    fn overlapping_sharers_do_not_starve_the_exclusive_one() {
        let (_dir, locks) = locks(Duration::from_secs(10));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let held = locks.shared().unwrap();
                        // Longer than it takes the next one to come.
                        thread::sleep(Duration::from_millis(20));
                        drop(held);
                    }
                });
            }
            let taken = locks.exclusive();
            stop.store(true, Ordering::Relaxed);
            taken.map(drop).unwrap();
        });
    }
}
