//! One process at a time does a piece of work, and who comes second waits for what the first one
//! makes.
//!
//! A turn is a lock on a file, gone when its holder is. Where it cannot be taken, as in a folder
//! that is read-only, all do the work: a lock is never worth a failure.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::lock;

/// No note is longer, in bytes.
const LONGEST: u64 = 64 << 10;

/// The right to do a piece of work, until it is dropped.
#[must_use = "another process does the same when this is dropped"]
#[derive(Debug)]
pub struct Turn {
    held: Option<(File, Utf8PathBuf)>,
    /// Whether another process held it first.
    pub waited: bool,
}

impl Turn {
    /// Takes the turn of this file, which has `note` in it meanwhile. While another process has it,
    /// `go_on` is called with that one's note (empty where it is not yet written): whether to wait
    /// on. After `patience` it is not waited for any more.
    ///
    /// # Errors
    /// Those of `go_on`.
    pub fn take<E>(
        path: &Utf8Path,
        note: &str,
        patience: Duration,
        mut go_on: impl FnMut(&str) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let deadline = Instant::now() + patience;
        let mut waited = false;
        loop {
            let Ok(mut file) = lock::open(path, lock::MODE) else { break };
            match file.try_lock() {
                // Who had it has removed the file: another may be there by now.
                Ok(()) if !stands(&file, path) => {}
                Ok(()) => {
                    // A note that cannot be written is one that nobody reads.
                    let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
                    return Ok(Self { held: Some((file, path.to_owned())), waited });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    waited = true;
                    if !go_on(&note_in(file))? {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                Err(_) => break,
            }
        }
        Ok(Self { held: None, waited })
    }

    /// Whether the turn was taken.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.held {
            // While it is still locked. One that stays is taken by the next process.
            let _ = fs::remove_file(path);
        }
    }
}

fn note_in(mut file: File) -> String {
    let mut note = String::new();
    let read = file.rewind().and_then(|()| file.take(LONGEST).read_to_string(&mut note));
    if read.is_ok() { note } else { String::new() }
}

fn stands(file: &File, path: &Utf8Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let own = file.metadata().map(id).ok();
    own.is_some() && own == fs::metadata(path).map(id).ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn take(path: &Utf8Path, note: &str, go_on: impl Fn(&str) -> bool) -> Turn {
        let taken: Result<_, Infallible> = Turn::take(path, note, LONG, |note| Ok(go_on(note)));
        taken.unwrap_or_else(|never| match never {})
    }

    #[test]
    fn turns_follow_one_another_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("turn");
        let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = take(&path, "", |_| true);
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
    fn who_waits_reads_the_note_and_may_go_on_without() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("turn");
        // What a killed process left is taken and written anew.
        fs::write(&path, "an old note that is longer").unwrap();
        let first = take(&path, "a note", |_| true);
        assert!(first.is_held() && !first.waited);
        let second = take(&path, "another", |note| note != "a note");
        assert!(second.waited && !second.is_held());
        drop(second);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a note");
    }

    #[test]
    fn patience_ends_an_error_ends_it_and_a_missing_folder_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let path = folder.join("turn");
        let first = take(&path, "", |_| true);
        let late: Result<_, Infallible> = Turn::take(&path, "", Duration::from_millis(1), |_| Ok(true));
        assert!(late.is_ok_and(|late| late.waited && !late.is_held()));
        assert_eq!(Turn::take(&path, "", LONG, |_| Err("stop")).err(), Some("stop"));
        drop(first);
        assert!(!take(&folder.join("no/turn"), "", |_| true).is_held());
    }
}
