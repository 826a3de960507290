//! The one way to write a file: a temporary file in the same folder, written, synced, renamed, the
//! folder synced.
//!
//! A temporary file is called `.tmp-…` and is locked (shared) while its writer lives, so that a
//! collector can tell what a dead writer left behind: an exclusive lock on it is free. A process
//! that ends before its writers have, removes its own: [`remove_unfinished_at_exit`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};
use tempfile::{NamedTempFile, TempPath};

use crate::error::{At, Error, Result};

/// How the names of unfinished files begin.
pub const TEMPORARY: &str = ".tmp-";
/// How the names of those begin that a later writer may take up.
pub(crate) const PARTIAL: &str = ".tmp-partial-";

/// What a dead writer of packages left is taken up within a day, or goes.
pub const TAKEN_UP_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a write is acknowledged before it is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes and the name are on the disk when the call returns.
    Synced,
    /// A power cut may lose or damage the file: for what is verified on reading, or derived.
    Unsynced,
}

/// Replaces the file, whole or not at all.
///
/// # Errors
/// I/O errors; the old file stands then.
pub fn replace(path: &Utf8Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let mut staged = Staged::new(folder(path))?;
    staged.file().write_all(bytes).at("write", path)?;
    staged.publish(path, durability).map(drop)
}

/// Writes the file unless one of that name is there. Returns whether this call wrote it.
///
/// # Errors
/// I/O errors; nothing stands under the name then that did not stand there before.
pub fn put_once(path: &Utf8Path, bytes: &[u8], durability: Durability) -> Result<bool> {
    if fs::exists(path).at("look for", path)? {
        return Ok(false);
    }
    let mut staged = Staged::new(folder(path))?;
    staged.file().write_all(bytes).at("write", path)?;
    Ok(matches!(staged.publish_new(path, durability)?, Publication::Named(_)))
}

fn folder(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

/// A file that is being written and has no name of its own yet. Dropped, it is gone, unless it was
/// made to be taken up again (`Staged::resume`).
#[derive(Debug)]
pub struct Staged {
    temp: NamedTempFile,
    folder: Utf8PathBuf,
    /// Not for one that is to be taken up again.
    unfinished: Option<Unfinished>,
}

/// What became of a file that was to get its name only where that was free.
#[derive(Debug)]
pub enum Publication {
    /// It has the name; it is still locked.
    Named(File),
    /// Another file has the name: this one is given back, unfinished still.
    Taken(Staged),
}

/// The temporary files of this process.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished_files() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of this process, which is about to end: whatever would begin another
/// waits for ever. What a later writer may take up stays.
pub fn remove_unfinished_at_exit() {
    let files = unfinished_files();
    for path in &*files {
        // What cannot be removed is swept as a dead writer's.
        let _ = fs::remove_file(path);
    }
    std::mem::forget(files);
}

/// A place among the temporary files of this process.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished_files().remove(&self.0);
    }
}

impl Staged {
    /// A new temporary file in `folder`, locked while it lives.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(folder: &Utf8Path) -> Result<Self> {
        loop {
            let (temp, unfinished) = begin(folder).at("write in", folder)?;
            flock(&temp, FlockOperation::LockShared).at("lock a file in", folder)?;
            // A collector may have taken it for a dead writer's between the two steps above.
            if same_file(temp.as_file(), temp.path()) {
                return Ok(Self { temp, folder: folder.to_owned(), unfinished: Some(unfinished) });
            }
        }
    }

    /// A temporary file that outlives its writer, to be taken up by another; it is at its end. It
    /// is locked exclusively, so that one writer at a time has it. `None` where a living one does,
    /// or where it is another user's.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn resume(path: &Utf8Path) -> Result<Option<Self>> {
        loop {
            let options = File::options().read(true).write(true).create(true).truncate(false).open(path);
            let mut file = match options {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
                options => options.at("write", path)?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                locked => locked.at("lock", path)?,
            }
            // A collector may have taken it for a dead writer's between the two steps above.
            if same_file(&file, path) {
                file.seek(SeekFrom::End(0)).at("read", path)?;
                let kept = TempPath::try_from_path(path).at("write", path)?;
                let mut temp = NamedTempFile::from_parts(file, kept);
                temp.disable_cleanup(true);
                return Ok(Some(Self { temp, folder: folder(path).to_owned(), unfinished: None }));
            }
        }
    }

    /// Others may lock it (shared) from now on, as one that is about to get its name.
    pub(crate) fn share(&self) -> Result<()> {
        flock(&self.temp, FlockOperation::LockShared).at("lock a file in", &self.folder)
    }

    /// Removes it, also where it would outlive its writer.
    pub fn discard(mut self) {
        self.temp.disable_cleanup(false);
    }

    /// Where the file is as long as it has no name of its own.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.temp.path()
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.temp.as_file_mut()
    }

    /// Gives the file its name, in place of any other file of that name. The returned file is still
    /// locked.
    ///
    /// # Errors
    /// I/O errors.
    pub fn publish(self, path: &Utf8Path, durability: Durability) -> Result<File> {
        self.sync(durability, path)?;
        let folder = self.folder;
        let file = self.temp.persist(path).map_err(|error| error.error).at("write", path)?;
        sync_folder(&folder, durability)?;
        Ok(file)
    }

    /// Gives the file its name unless another file has it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn publish_new(self, path: &Utf8Path, durability: Durability) -> Result<Publication> {
        self.sync(durability, path)?;
        let Self { temp, folder, unfinished } = self;
        match temp.persist_noclobber(path) {
            Ok(file) => sync_folder(&folder, durability).map(|()| Publication::Named(file)),
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Publication::Taken(Self { temp: taken.file, folder, unfinished }))
            }
            Err(error) => Err(error.error).at("write", path),
        }
    }

    fn sync(&self, durability: Durability, path: &Utf8Path) -> Result<()> {
        match durability {
            Durability::Synced => self.temp.as_file().sync_data().at("write", path),
            Durability::Unsynced => Ok(()),
        }
    }
}

/// Makes a temporary file and notes it, in one step as `remove_unfinished_at_exit` sees it.
fn begin(folder: &Utf8Path) -> io::Result<(NamedTempFile, Unfinished)> {
    use std::os::unix::fs::PermissionsExt;
    let mut files = unfinished_files();
    // The umask takes away what the user wants taken away.
    let mode = fs::Permissions::from_mode(0o666);
    let temp = tempfile::Builder::new().prefix(TEMPORARY).permissions(mode).tempfile_in(folder)?;
    files.insert(temp.path().to_owned());
    let unfinished = Unfinished(temp.path().to_owned());
    Ok((temp, unfinished))
}

/// Syncs a folder, so that the names in it are on the disk.
///
/// # Errors
/// I/O errors.
pub fn sync_folder(folder: &Utf8Path, durability: Durability) -> Result<()> {
    match durability {
        Durability::Synced => File::open(folder).and_then(|file| file.sync_all()).at("sync", folder),
        Durability::Unsynced => Ok(()),
    }
}

/// Whether the open file still stands under that name.
#[must_use]
pub fn same_file(file: &File, path: impl AsRef<std::path::Path>) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Removes the unfinished files that dead writers left in `folder`. Returns how many bytes they
/// held on disk.
///
/// # Errors
/// I/O errors; a file that is in use or already gone is none.
pub fn sweep_unfinished(folder: &Utf8Path) -> Result<u64> {
    each_abandoned(folder, |_| true, |path| fs::remove_file(path).at("remove", path))
}

/// The same, but for what a later writer may take up.
///
/// # Errors
/// I/O errors.
pub fn sweep_spent(folder: &Utf8Path) -> Result<u64> {
    let spent = |name: &str| !name.starts_with(PARTIAL);
    each_abandoned(folder, spent, |path| fs::remove_file(path).at("remove", path))
}

/// The same, but for what a later writer may still take up: see [`may_be_taken_up`].
///
/// # Errors
/// I/O errors.
pub(crate) fn sweep_stale(folder: &Utf8Path) -> Result<u64> {
    let stale = |name: &str| !may_be_taken_up(&folder.join(name));
    each_abandoned(folder, stale, |path| fs::remove_file(path).at("remove", path))
}

/// Whether the unfinished file was made to be taken up, and has been written to lately
/// ([`TAKEN_UP_WITHIN`]; a time in the future counts as now).
pub(crate) fn may_be_taken_up(path: &Utf8Path) -> bool {
    let is_partial = path.file_name().is_some_and(|name| name.starts_with(PARTIAL));
    let written = || fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok();
    let is_fresh = |time: std::time::SystemTime| time.elapsed().map_or(true, |age| age < TAKEN_UP_WITHIN);
    is_partial && written().is_some_and(is_fresh)
}

/// The bytes on disk that [`sweep_unfinished`] would free.
///
/// # Errors
/// I/O errors.
pub fn abandoned(folder: &Utf8Path) -> Result<u64> {
    each_abandoned(folder, |_| true, |_| Ok(()))
}

/// The same, of these unfinished files.
#[must_use]
pub fn abandoned_among<'a>(paths: impl Iterator<Item = &'a Utf8Path>) -> u64 {
    paths.map(|path| if_abandoned(path, |_| Ok(())).unwrap_or_default()).sum()
}

fn each_abandoned(
    folder: &Utf8Path,
    wanted: impl Fn(&str) -> bool,
    each: impl Fn(&Utf8Path) -> Result<()>,
) -> Result<u64> {
    let mut bytes = 0;
    for name in unfinished(folder)?.into_iter().filter(|name| wanted(name)) {
        bytes += if_abandoned(&folder.join(name), &each)?;
    }
    Ok(bytes)
}

fn if_abandoned(path: &Utf8Path, each: impl Fn(&Utf8Path) -> Result<()>) -> Result<u64> {
    let Ok(Some(file)) = open_regular(path) else { return Ok(0) };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !same_file(&file, path) {
        return Ok(0);
    }
    let bytes = file.metadata().map_or(0, |metadata| metadata.blocks() * 512);
    each(path).map(|()| bytes)
}

/// The names of unfinished files in `folder`, dead writers' and living ones'.
fn unfinished(folder: &Utf8Path) -> Result<Vec<String>> {
    if_folder(names_that(folder, |entry, name| name.starts_with(TEMPORARY) && is_file_or_link(entry)))
}

/// The names in a folder, those that are UTF-8 (all of ours are), sorted; none where there is no
/// folder.
///
/// # Errors
/// I/O errors.
pub fn names(folder: &Utf8Path) -> Result<Vec<String>> {
    names_that(folder, |_, _| true)
}

/// The same of regular files and links alone: a folder, a pipe or a device there is nobody's.
///
/// # Errors
/// I/O errors.
pub fn file_names(folder: &Utf8Path) -> Result<Vec<String>> {
    names_that(folder, |entry, _| is_file_or_link(entry))
}

/// The same as [`names`], of what may be anything: in what is not a folder there is nothing. For
/// folders of which nothing depends on what is in them.
///
/// # Errors
/// I/O errors.
pub fn names_if_folder(folder: &Utf8Path) -> Result<Vec<String>> {
    if_folder(names(folder))
}

fn if_folder(names: Result<Vec<String>>) -> Result<Vec<String>> {
    match names {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names,
    }
}

fn is_file_or_link(entry: &fs::DirEntry) -> bool {
    // One that went meanwhile is neither.
    entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink())
}

fn names_that(folder: &Utf8Path, is_wanted: impl Fn(&fs::DirEntry, &str) -> bool) -> Result<Vec<String>> {
    let listing = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.at("list", folder)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name().into_string().ok();
        names.extend(name.filter(|name| is_wanted(&entry, name)));
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens a file to read it; `None` where there is none. What is not a regular file is an error, and
/// never waited for.
///
/// # Errors
/// I/O errors.
pub fn open_regular(path: &Utf8Path) -> Result<Option<File>> {
    Ok(open_with_metadata(path)?.map(|(file, _)| file))
}

fn open_with_metadata(path: &Utf8Path) -> Result<Option<(File, fs::Metadata)>> {
    use std::os::unix::fs::OpenOptionsExt;
    // A pipe without a writer would be waited for without end.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(nonblocking).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.at("read", path)?,
    };
    let metadata = file.metadata().at("read", path)?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() { "it is a folder" } else { "it is not a regular file" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what)).at("read", path);
    }
    Ok(Some((file, metadata)))
}

/// Reads a small file whole; `None` where there is none. A file larger than `cap` bytes is an
/// error.
///
/// # Errors
/// I/O errors.
pub fn read_capped(path: &Utf8Path, cap: u64) -> Result<Option<Vec<u8>>> {
    Ok(read_with_metadata(path, cap)?.map(|(bytes, _)| bytes))
}

/// The same, with what the system says of the file.
///
/// # Errors
/// I/O errors.
pub fn read_with_metadata(path: &Utf8Path, cap: u64) -> Result<Option<(Vec<u8>, fs::Metadata)>> {
    use std::io::Read;
    let Some((file, metadata)) = open_with_metadata(path)? else { return Ok(None) };
    // With room for all of it and a little more, a file is read in one piece, and once more for its
    // end.
    let length = metadata.len().min(cap).saturating_add(64);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(cap + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > cap {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {cap} bytes")))
            .at("read", path);
    }
    Ok(Some((bytes, metadata)))
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
    fn put_once_keeps_the_first() {
        let (_dir, path) = scratch();
        let file = path.join("a");
        assert!(put_once(&file, b"first", Durability::Synced).unwrap());
        assert!(!put_once(&file, b"second", Durability::Synced).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert_eq!(names(&path).unwrap(), ["a"]);
    }

    #[test]
    fn replace_leaves_no_other_file() {
        let (_dir, path) = scratch();
        let file = path.join("a");
        replace(&file, b"first", Durability::Synced).unwrap();
        replace(&file, b"second", Durability::Unsynced).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert_eq!(names(&path).unwrap(), ["a"]);
    }

    #[test]
    fn only_dead_writers_files_are_swept() {
        let (_dir, path) = scratch();
        let living = Staged::new(&path).unwrap();
        fs::write(path.join(".tmp-dead"), vec![1; 5000]).unwrap();
        fs::write(path.join("kept"), b"x").unwrap();
        fs::write(path.join(".tmp-partial-00"), b"x").unwrap();
        assert_eq!(sweep_spent(&path).unwrap(), 8192);
        assert_eq!(names(&path).unwrap().len(), 3);
        assert_eq!(sweep_unfinished(&path).unwrap(), 4096);
        assert_eq!(names(&path).unwrap().len(), 2);
        drop(living);
        assert_eq!(names(&path).unwrap(), ["kept"]);
    }

    #[test]
    fn a_file_over_the_cap_is_refused() {
        let (_dir, path) = scratch();
        let file = path.join("a");
        fs::write(&file, b"12345").unwrap();
        assert_eq!(read_capped(&file, 5).unwrap().unwrap(), b"12345");
        assert!(read_capped(&file, 4).is_err());
        assert!(read_capped(&path.join("none"), 4).unwrap().is_none());
        // It would be waited for without end.
        let pipe = path.join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, pipe.as_std_path(), mode).unwrap();
        let refused = format!("{:?}", read_capped(&pipe, 4).unwrap_err());
        assert!(refused.contains("it is not a regular file"), "{refused}");
        assert!(read_capped(&path, 4).is_err());
    }
}
