//! A folder for what a run needs while it lasts. Those of runs that were killed go with the next
//! run, and what podman still does and docker still has for them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;
use toolkit::Engine;

use super::held::clear_left;
use super::podman::{FOLDER, end_left};
use super::tools::Tools;

/// What the names of these folders begin with.
pub(super) const PREFIX: &str = "larder-bake-";
/// One that is younger may be about to be locked.
const YOUNG: Duration = Duration::from_secs(10);

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Temp {
    folder: TempDir,
    /// Says that the run lives.
    _lock: File,
    /// How many builds have a folder in it.
    builds: AtomicUsize,
}

impl Temp {
    /// A new folder in TMPDIR, after those that nobody holds are removed.
    ///
    /// # Errors
    /// I/O errors; a path that is not UTF-8.
    pub(crate) fn new(tools: &Tools) -> io::Result<Self> {
        Self::hold(tempfile::Builder::new().prefix(PREFIX).tempdir()?, YOUNG, tools)
    }

    /// The same where podman has its temporary files if TMPDIR does not say otherwise.
    ///
    /// # Errors
    /// As `new`.
    pub(crate) fn of_podman(tools: &Tools) -> io::Result<Self> {
        Self::hold(tempfile::Builder::new().prefix(PREFIX).tempdir_in("/var/tmp")?, YOUNG, tools)
    }

    fn hold(folder: TempDir, young: Duration, tools: &Tools) -> io::Result<Self> {
        if Utf8Path::from_path(folder.path()).is_none() {
            return Err(io::Error::other("its path is not UTF-8"));
        }
        let lock = File::open(folder.path())?;
        // Without locks nothing of another run's is removed, and nothing of this one's.
        if lock.try_lock().is_ok()
            && let Some(parent) = folder.path().parent()
        {
            sweep(parent, lock.metadata()?.uid(), young, tools);
        }
        Ok(Self { folder, _lock: lock, builds: AtomicUsize::new(0) })
    }

    /// A new folder in it for one build of podman.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn for_build(&self) -> io::Result<Utf8PathBuf> {
        let folder = self.path().join(format!("{FOLDER}{}", self.builds.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder).map(|()| folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap_or(Utf8Path::new(""))
    }
}

/// Removes the folders of this user's runs that are gone, and what runs on for them. What cannot be
/// removed stays for the next run.
fn sweep(parent: &Path, user: u32, young: Duration, tools: &Tools) {
    let [docker, podman] = Engine::ALL.map(|engine| tools.engine(engine, ""));
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            // A link is none of ours.
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            let age = found.modified().ok().and_then(|time| time.elapsed().ok());
            let is_old = age.is_some_and(|age| age >= young);
            if !(found.is_dir() && found.uid() == user && is_old) {
                continue;
            }
            // It is held meanwhile: of two runs only one ends what is left.
            let held = File::open(entry.path()).and_then(|folder| Ok(folder.try_lock().map(|()| folder)?));
            let path = entry.path();
            let Some(folder) = Utf8Path::from_path(&path).filter(|_| held.is_ok()) else { continue };
            if end_left(folder, podman.program()) && clear_left(folder, docker.program()) {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
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
        let living = Temp::hold(made(), Duration::ZERO, &Tools::all_in("/none".into())).expect("a folder");
        assert!(!left.exists());
        let left = made().keep();
        let _young =
            Temp::hold(made(), Duration::from_secs(3600), &Tools::all_in("/none".into())).expect("a folder");
        assert!(left.exists());
        let _next = Temp::hold(made(), Duration::ZERO, &Tools::all_in("/none".into())).expect("a folder");
        assert!(!left.exists() && living.path().join("file").exists());
        assert!(parent.path().join("another's").exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
    }
}
