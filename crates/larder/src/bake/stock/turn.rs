//! One bake of a key at a time: who comes second waits, and finds the image in the store.
//!
//! The turn is a lock on a file beside the store's own, gone when its holder is. Where it cannot be
//! taken, as in a store that is read-only, both build: a lock is never worth a failure.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::store::Store;

use crate::process::runner::{RunError, Runner};

/// How long another bake of the same key is waited for. A build that takes longer is made twice.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The right to build one key, until it is dropped.
#[must_use = "another bake builds the same when this is dropped"]
pub(crate) struct Turn {
    held: Option<(File, Utf8PathBuf)>,
    /// Whether another bake held it first.
    pub(crate) waited: bool,
}

impl Turn {
    /// Waits for the turn of the key; `tell` is called before.
    ///
    /// # Errors
    /// An interruption.
    pub(crate) fn take(
        store: Option<&Utf8Path>,
        key: &str,
        runner: &Runner,
        tell: impl FnOnce(),
    ) -> Result<Self, RunError> {
        let Some(store) = store.filter(|store| Store::open_or_create(store).is_ok()) else {
            return Ok(Self { held: None, waited: false });
        };
        Self::wait(&store.join(format!(".bake-{key}")), PATIENCE, runner, tell)
    }

    fn wait(
        path: &Utf8Path,
        patience: Duration,
        runner: &Runner,
        tell: impl FnOnce(),
    ) -> Result<Self, RunError> {
        let deadline = Instant::now() + patience;
        let mut tell = Some(tell);
        loop {
            runner.uninterrupted()?;
            let Ok(file) = OpenOptions::new().create(true).append(true).open(path) else { break };
            match file.try_lock() {
                // Who had it has removed the file: another may be there by now.
                Ok(()) if !stands(&file, path) => {}
                Ok(()) => return Ok(Self { held: Some((file, path.to_owned())), waited: tell.is_none() }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tell.take().into_iter().for_each(|tell| tell());
                    thread::sleep(Duration::from_millis(50));
                }
                Err(_) => break,
            }
        }
        Ok(Self { held: None, waited: tell.is_none() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.held {
            // While it is still locked. One that stays is taken by the next bake.
            let _ = fs::remove_file(path);
        }
    }
}

fn stands(file: &File, path: &Utf8Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let own = file.metadata().map(id).ok();
    own.is_some() && own == fs::metadata(path).map(id).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::process::children::Children;
    use crate::process::runner::Verbosity;

    fn runner() -> Runner {
        Runner::new("/".into(), Verbosity::Quiet, Children::default())
    }

    #[test]
    fn turns_follow_one_another_and_leave_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = Utf8Path::from_path(dir.path()).expect("UTF-8").join("turn");
        let (inside, most, runner) = (AtomicU32::new(0), AtomicU32::new(0), runner());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = Turn::wait(&path, PATIENCE, &runner, || ()).expect("a turn");
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // As long as its work takes.
                    thread::sleep(Duration::from_millis(5));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert!(!path.exists());
    }

    #[test]
    fn patience_ends_and_a_missing_folder_is_no_failure() {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let first = Turn::wait(&folder.join("turn"), PATIENCE, &runner(), || ()).expect("a turn");
        assert!(first.held.is_some() && !first.waited);
        let late =
            Turn::wait(&folder.join("turn"), Duration::from_millis(1), &runner(), || ()).expect("none");
        assert!(late.held.is_none() && late.waited);
        let none = Turn::wait(&folder.join("no/turn"), PATIENCE, &runner(), || ()).expect("none");
        assert!(none.held.is_none());
    }
}
