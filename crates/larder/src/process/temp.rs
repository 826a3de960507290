//! A folder for what a run needs while it lasts. Those of runs that were killed go with the next
//! run.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use camino::Utf8Path;
use tempfile::TempDir;

/// What the names of these folders begin with.
const PREFIX: &str = "larder-bake-";
/// One that is younger may be about to be locked.
const YOUNG: Duration = Duration::from_secs(10);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Temp {
    folder: TempDir,
    /// Says that the run lives.
    _lock: File,
}

impl Temp {
    /// A new folder, after those that nobody holds are removed.
    ///
    /// # Errors
    /// I/O errors; a path that is not UTF-8.
    pub(crate) fn new() -> io::Result<Self> {
        Self::hold(tempfile::Builder::new().prefix(PREFIX).tempdir()?, YOUNG)
    }

    fn hold(folder: TempDir, young: Duration) -> io::Result<Self> {
        if Utf8Path::from_path(folder.path()).is_none() {
            return Err(io::Error::other("its path is not UTF-8"));
        }
        let lock = File::open(folder.path())?;
        // Without locks nothing of another run's is removed, and nothing of this one's.
        if lock.try_lock().is_ok()
            && let Some(parent) = folder.path().parent()
        {
            sweep(parent, lock.metadata()?.uid(), young);
        }
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap_or(Utf8Path::new(""))
    }
}

/// Removes the folders of this user's runs that are gone. What cannot be removed stays for the next
/// run.
fn sweep(parent: &Path, user: u32, young: Duration) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            // A link is none of ours.
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            let age = found.modified().ok().and_then(|time| time.elapsed().ok());
            let is_old = age.is_some_and(|age| age >= young);
            if found.is_dir() && found.uid() == user && is_old && is_left(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether no run holds it.
fn is_left(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|folder| folder.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_with_the_next_one() {
        let parent = tempfile::tempdir().expect("a folder");
        let made = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent.path()).expect("a folder");
            File::create(folder.path().join("file")).expect("a file");
            folder
        };
        // Of a killed run nobody holds the lock, nor removes the folder.
        let left = made().keep();
        fs::create_dir(parent.path().join("another's")).expect("a folder");
        let living = Temp::hold(made(), Duration::ZERO).expect("a folder");
        assert!(!left.exists());
        let left = made().keep();
        let _young = Temp::hold(made(), Duration::from_secs(3600)).expect("a folder");
        assert!(left.exists());
        let _next = Temp::hold(made(), Duration::ZERO).expect("a folder");
        assert!(!left.exists() && living.path().join("file").exists());
        assert!(parent.path().join("another's").exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
