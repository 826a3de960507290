//! A store: one folder, one file system.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::OFlags;

use crate::error::{At, Error, Result};
use crate::events::Events;
use crate::files::lock::{Exclusive, Locks, Patience, Shared};
use crate::files::replace::{self, Durability};
use crate::images::Images;
use crate::packages::Packages;
use crate::trash::Trash;

/// The file that marks a store, and that keeps backups and keys out of it.
pub const TAG_FILE: &str = "CACHEDIR.TAG";
/// The line in it that says whose it is.
pub const TAG_LINE: &str = "# larder store";
/// The version of the store's layout; a newer one is refused.
pub const VERSION: u64 = 1;

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";
const VERSION_LINE: &str = "# format ";
/// Bytes of a CACHEDIR.TAG that are looked at.
const TAG_CAP: u64 = 1 << 16;

/// A store on disk.
#[derive(Clone, Debug)]
pub struct Store {
    root: Utf8PathBuf,
    locks: Locks,
    /// Whether what is damaged stays where it is.
    left_alone: bool,
}

impl Store {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`Error::NotAStore`], [`Error::Newer`], I/O errors.
    pub fn open(root: &Utf8Path) -> Result<Self> {
        let not_a_store = || Error::NotAStore { path: root.to_owned() };
        let path = root.join(TAG_FILE);
        let tag = replace::read_capped(&path, TAG_CAP)?.ok_or_else(not_a_store)?;
        let version = version_in(&tag).ok_or_else(not_a_store)?;
        if version > VERSION {
            return Err(Error::Newer { path, found: version, known: VERSION });
        }
        Ok(Self::at(root))
    }

    fn at(root: &Utf8Path) -> Self {
        Self { root: root.to_owned(), locks: Locks::new(root, Patience::default()), left_alone: false }
    }

    /// Opens a store to look into. A folder that is not there, or holds nothing yet, reads as an
    /// empty store; nothing is made.
    ///
    /// # Errors
    /// As [`Store::open`], where the folder holds something.
    pub fn open_or_empty(root: &Utf8Path) -> Result<Self> {
        match Self::open(root) {
            Err(Error::NotAStore { .. }) if replace::names(root)?.iter().all(|name| is_harmless(name)) => {
                Ok(Self::at(root))
            }
            opened => opened,
        }
    }

    /// Opens a store, and makes it where there is none.
    ///
    /// # Errors
    /// [`Error::ForeignFolder`] where the folder holds something else; [`Error::Newer`]; I/O
    /// errors.
    pub fn open_or_create(root: &Utf8Path) -> Result<Self> {
        match Self::open(root) {
            Err(Error::NotAStore { .. }) => {}
            opened => return opened,
        }
        match Self::create(root) {
            // Another process made it between the two looks.
            Err(Error::ForeignFolder { path }) => Self::open(root).map_err(|_| Error::ForeignFolder { path }),
            created => created.and_then(|()| Self::open(root)),
        }
    }

    fn create(root: &Utf8Path) -> Result<()> {
        if root.is_symlink() {
            // A folder cannot be made under the name of a link that leads nowhere.
            fs::metadata(root).at("follow the link", root)?;
        }
        fs::create_dir_all(root).at("create", root)?;
        if replace::names(root)?.iter().any(|name| !is_harmless(name)) {
            return Err(Error::ForeignFolder { path: root.to_owned() });
        }
        let tag = format!("{SIGNATURE}\n{TAG_LINE}\n{VERSION_LINE}{VERSION}\n");
        replace::put_once(&root.join(TAG_FILE), tag.as_bytes(), Durability::Synced).map(drop)
    }

    /// Waits at most this long for a lock.
    #[must_use]
    pub fn with_patience(mut self, limit: Duration) -> Self {
        self.locks.patience().limit = limit;
        self
    }

    /// Waits for no lock any more once `stop` is raised: [`Error::Locked`].
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.locks.patience().stop = Some(stop);
        self
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The part of the store that holds images.
    #[must_use]
    pub fn images(&self) -> Images {
        Images::new(self.clone())
    }

    /// The part of the store that holds package downloads.
    #[must_use]
    pub fn packages(&self) -> Packages {
        Packages::new(self.clone())
    }

    /// The same store, in which a reader that finds something damaged leaves it where it is, as in
    /// one that is read-only.
    #[must_use]
    pub fn left_alone(self) -> Self {
        Self { left_alone: true, ..self }
    }

    /// What was removed and could be brought back.
    #[must_use]
    pub fn trash(&self) -> Trash {
        Trash::new(&self.root, self.left_alone)
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.root.join("events"))
    }

    /// Keeps collectors out, for the moment of a commit.
    ///
    /// # Errors
    /// [`Error::Locked`], I/O errors.
    pub fn lock_shared(&self) -> Result<Shared> {
        self.locks.shared()
    }

    /// Keeps everybody out, for one short step of a collection.
    ///
    /// # Errors
    /// [`Error::Locked`], I/O errors.
    pub fn lock_exclusive(&self) -> Result<Exclusive> {
        self.locks.exclusive()
    }

    pub(crate) fn lock_index(&self) -> Result<Exclusive> {
        self.locks.index()
    }
}

/// Whether `tag` (the text of a CACHEDIR.TAG) marks a larder store.
#[must_use]
pub fn is_store_tag(tag: &[u8]) -> bool {
    tag_line(tag).is_some()
}

/// The number of the line, from 1, by which `tag` (the text of a CACHEDIR.TAG) marks a larder
/// store. Blanks at its end do not count, nor a carriage return: git and editors may have changed
/// the line ends.
#[must_use]
pub fn tag_line(tag: &[u8]) -> Option<usize> {
    let is_it = |line: &[u8]| line.trim_ascii_end() == TAG_LINE.as_bytes();
    tag.split(|byte| *byte == b'\n').position(is_it).map(|at| at + 1)
}

/// Whether the folder is a larder store, by its CACHEDIR.TAG.
///
/// # Errors
/// As [`store_line`].
pub fn is_store(folder: &Path) -> io::Result<bool> {
    store_line(folder).map(|line| line.is_some())
}

/// The number of the line, from 1, of the folder's CACHEDIR.TAG that makes it a larder store. What
/// is not a regular file marks nothing, and is never waited for.
///
/// # Errors
/// I/O errors other than that there is no such file.
pub fn store_line(folder: &Path) -> io::Result<Option<usize>> {
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = match options.open(folder.join(TAG_FILE)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut tag = Vec::new();
    file.take(TAG_CAP).read_to_end(&mut tag)?;
    Ok(tag_line(&tag))
}

fn version_in(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok().filter(|_| is_store_tag(tag))?;
    text.lines().find_map(|line| line.strip_prefix(VERSION_LINE)?.trim().parse().ok())
}

/// What a folder may hold that becomes a store: git's own files, and what another process making
/// the same store has begun.
fn is_harmless(name: &str) -> bool {
    name.starts_with(".git") || name.starts_with(replace::TEMPORARY) || name == TAG_FILE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn a_store_is_made_once_and_opened_again() {
        let (_dir, path) = scratch();
        let root = path.join("deep/store");
        assert!(matches!(Store::open(&root), Err(Error::NotAStore { .. })));
        Store::open_or_create(&root).unwrap();
        Store::open_or_create(&root).unwrap();
        Store::open(&root).unwrap();
        assert!(is_store(root.as_std_path()).unwrap());
    }

    #[test]
    fn a_folder_with_something_else_is_refused() {
        let (_dir, path) = scratch();
        fs::write(path.join("thesis.tex"), "x").unwrap();
        assert!(matches!(Store::open_or_create(&path), Err(Error::ForeignFolder { .. })));
    }

    #[test]
    fn a_store_with_other_line_ends_is_the_same_store() {
        let (_dir, path) = scratch();
        Store::open_or_create(&path).unwrap();
        let tag = fs::read_to_string(path.join(TAG_FILE)).unwrap();
        fs::write(path.join(TAG_FILE), tag.replace('\n', "\r\n")).unwrap();
        Store::open(&path).unwrap();
        assert_eq!(store_line(path.as_std_path()).unwrap(), Some(2));
    }

    #[test]
    fn a_tag_that_is_no_file_marks_nothing() {
        let (_dir, path) = scratch();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path.join(TAG_FILE).as_str(), fifo, 0o600.into(), 0).unwrap();
        assert!(!is_store(path.as_std_path()).unwrap());
    }

    #[test]
    fn a_newer_store_is_refused() {
        let (_dir, path) = scratch();
        fs::write(path.join(TAG_FILE), format!("{SIGNATURE}\n{TAG_LINE}\n{VERSION_LINE}2\n")).unwrap();
        assert!(matches!(Store::open_or_create(&path), Err(Error::Newer { found: 2, .. })));
    }

    #[test]
    fn other_cache_tags_mean_nothing() {
        assert!(!is_store_tag(b"Signature: 8a477f597d28d172789f06886806bc55\n# by cargo\n"));
        assert!(!is_store_tag(b"x # larder store\n"));
        assert_eq!(tag_line(b"Signature: x\r\n# larder store\r\n# format 1\r\n"), Some(2));
        assert_eq!(tag_line(b"# larder store \t"), Some(1));
        assert_eq!(tag_line(b" # larder store\n"), None);
    }
}
