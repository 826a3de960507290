//! The trash: what was removed and could still be brought back.
//!
//! `trash/<batch>/<path below the store>`, a batch for each removing run, the last one's name
//! sorting last; and `trash/damaged/…` for blobs whose bytes do not match their digest, which
//! nobody brings back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};

use crate::error::{At, Error, Result};
use crate::files::replace;

const DAMAGED: &str = "damaged";
/// The time in a batch's name.
const TIME: &str = "%Y%m%dT%H%M%S%.6fZ";
/// What is being deleted; nothing is brought back from there.
const DOOMED: &str = ".doomed-";
/// How often a move into the trash, and emptying it, are tried while others do the other thing.
const AGAIN: usize = 16;

/// Whether the trash's folder of this name is being deleted, or was by a run that was killed.
#[must_use]
pub fn is_doomed(name: &str) -> bool {
    name.starts_with(DOOMED)
}

/// Whether the trash's folder of this name holds damaged files, which are not brought back.
#[must_use]
pub fn is_damaged(name: &str) -> bool {
    name == DAMAGED
}

/// The time of the run that has given the trash's folder its name, by its clock or by the store's
/// where that was behind; `None` for what has another name.
#[must_use]
pub fn time_of(name: &str) -> Option<Timestamp> {
    let (time, _process) = name.rsplit_once('-')?;
    let time = jiff::civil::DateTime::strptime(TIME, time).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// The trash of a store.
#[derive(Clone, Debug)]
pub struct Trash {
    store: Utf8PathBuf,
    /// Whether what is damaged stays where it is.
    left_alone: bool,
}

/// One run's removals.
#[derive(Clone, Debug)]
pub struct Batch {
    trash: Trash,
    name: String,
    keeps: bool,
}

impl Trash {
    pub(crate) fn new(store: &Utf8Path, left_alone: bool) -> Self {
        Self { store: store.to_owned(), left_alone }
    }

    /// The same, where what is damaged stays where it is.
    pub(crate) fn left_alone(&self) -> Self {
        Self { left_alone: true, ..self.clone() }
    }

    fn folder(&self) -> Utf8PathBuf {
        self.store.join("trash")
    }

    /// Whether what has this name in the trash's folder goes with the trash. Where the folder is a
    /// link, it may have been anything before: only what has a name that runs of ours give goes.
    #[must_use]
    pub fn governs(&self, name: &str) -> bool {
        is_damaged(name)
            || is_doomed(name)
            || self.named(name.to_owned()).time().is_some()
            || !self.folder().is_symlink()
    }

    /// The names of what goes with the trash.
    fn names(&self) -> Result<Vec<String>> {
        let names = replace::names_if_folder(&self.folder())?;
        Ok(names.into_iter().filter(|name| self.governs(name)).collect())
    }

    /// Starts a batch. Nothing is written until something is taken into it. Its name sorts after
    /// those that are there, also where the clock was set back since.
    #[must_use]
    pub fn batch(&self, now: Timestamp) -> Batch {
        // A trash that cannot be listed takes nothing either, and says so then.
        let last = self.batches().unwrap_or_default().iter().filter_map(Batch::time).max();
        let next = last.and_then(|last| last.checked_add(SignedDuration::from_micros(1)).ok());
        let time = next.map_or(now, |next| now.max(next));
        self.named(format!("{}-{}", time.strftime(TIME), std::process::id()))
    }

    /// Whether what stands in `folder` can be moved here.
    ///
    /// # Errors
    /// [`Error::OtherFileSystem`], I/O errors.
    pub fn can_take(&self, folder: &Utf8Path) -> Result<()> {
        let Some(theirs) = device(folder)? else { return Ok(()) };
        let ours = match device(&self.folder())? {
            None => device(&self.store)?,
            ours => ours,
        };
        if ours.is_none_or(|ours| ours == theirs) { Ok(()) } else { Err(self.refusal(folder)) }
    }

    fn refusal(&self, path: &Utf8Path) -> Error {
        Error::OtherFileSystem { path: path.to_owned(), trash: self.folder() }
    }

    /// A batch that keeps nothing: what is taken into it is deleted at once. For a disk so full
    /// that nothing can be moved, and for limits that leave no room for trash.
    #[must_use]
    pub fn shredder(&self) -> Batch {
        Batch { keeps: false, ..self.named(String::new()) }
    }

    fn named(&self, name: String) -> Batch {
        Batch { trash: self.clone(), name, keeps: true }
    }

    /// The batches, oldest first.
    ///
    /// # Errors
    /// I/O errors.
    pub fn batches(&self) -> Result<Vec<Batch>> {
        // A link is not a batch: what is behind it was never the store's.
        let is_folder = |name: &String| {
            fs::symlink_metadata(self.folder().join(name)).is_ok_and(|metadata| metadata.is_dir())
        };
        let names = self.names()?.into_iter().filter(is_folder);
        // What somebody else put there has no time in its name, and nothing is taken out of it.
        Ok(names.map(|name| self.named(name)).filter(|batch| batch.time().is_some()).collect())
    }

    /// Brings back the file that stood at `path`, from the newest batch that has it sound, as
    /// `is_sound` says of where it lies there. Returns whether one had.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn restore(
        &self,
        path: &Utf8Path,
        is_sound: impl Fn(&Utf8Path) -> Result<bool>,
    ) -> Result<bool> {
        for batch in self.batches()?.iter().rev() {
            let place = batch.place(path).filter(|place| place.symlink_metadata().is_ok());
            let Some(place) = place else { continue };
            if is_sound(&place)? && batch.give_back(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves a damaged file to where it is not taken for sound. One that is gone already, or that
    /// cannot be moved because the store is read-only, or the trash on another file system, is no
    /// error: whoever reads it finds out again.
    ///
    /// # Errors
    /// Other I/O errors.
    pub fn move_aside(&self, path: &Utf8Path) -> Result<()> {
        if self.left_alone {
            return Ok(());
        }
        let damaged = self.named(DAMAGED.to_owned());
        match damaged.take(path) {
            // Their grace begins with the last that comes: none is deleted early.
            Ok(true) => {
                let _ = fs::File::open(damaged.folder()).and_then(|it| it.set_modified(SystemTime::now()));
                Ok(())
            }
            Err(Error::OtherFileSystem { .. }) => Ok(()),
            Err(Error::Io { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                ) =>
            {
                Ok(())
            }
            result => result.map(drop),
        }
    }

    /// Gives each folder of the trash whose time is in the future the time `now`: its grace begins
    /// when it is first seen. What cannot be given a time stays as it is.
    ///
    /// # Errors
    /// A trash that cannot be listed.
    pub fn settle_times(&self, now: SystemTime) -> Result<()> {
        for name in self.names()? {
            let path = self.folder().join(&name);
            let is_ahead = |metadata: fs::Metadata| {
                metadata.is_dir() && metadata.modified().is_ok_and(|modified| modified > now)
            };
            if fs::symlink_metadata(&path).is_ok_and(is_ahead) {
                // Another collector may empty it now, or it is another user's.
                let _ = fs::File::open(&path).and_then(|folder| folder.set_modified(now));
            }
        }
        Ok(())
    }

    /// Empties what was removed longer than `grace` ago; a time in the future counts as now.
    /// Returns the bytes that this freed on disk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn empty(&self, grace: Duration, now: SystemTime) -> Result<u64> {
        self.settle_times(now)?;
        let old = |modified| now.duration_since(modified).unwrap_or_default() >= grace;
        for name in self.names()? {
            let modified = fs::symlink_metadata(self.folder().join(&name)).and_then(|it| it.modified());
            // Another collector may have been here in between.
            if modified.is_ok_and(old) {
                self.doom(&name)?;
            }
        }
        self.shred()
    }

    /// When something came last into the trash's folder of this name; `None` where it is not there.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<SystemTime> {
        fs::symlink_metadata(self.folder().join(name)).and_then(|it| it.modified()).ok()
    }

    /// Gives one folder of the trash, by its name, to [`Trash::shred`]: from now on nothing comes
    /// back from it. Returns whether it was there; a name that the trash does not have is none,
    /// whatever it looks like.
    ///
    /// # Errors
    /// I/O errors.
    pub fn doom(&self, name: &str) -> Result<bool> {
        if is_doomed(name) || !self.names()?.iter().any(|it| it == name) {
            return Ok(false);
        }
        // What a killed run has doomed may stand there under this name still.
        let doomed = format!("{DOOMED}{}-{name}", Timestamp::now().as_microsecond());
        let (from, to) = (self.folder().join(name), self.folder().join(doomed));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            renamed => renamed.at("move away", &from).map(|()| true),
        }
    }

    /// Deletes what was doomed, by a run that was killed too. Returns the bytes that this freed on
    /// disk.
    ///
    /// # Errors
    /// I/O errors.
    pub fn shred(&self) -> Result<u64> {
        let mut freed = 0;
        for name in self.names()?.iter().filter(|name| is_doomed(name)) {
            let path = self.folder().join(name);
            // A file that somebody put into the trash.
            if let Ok(metadata) = fs::symlink_metadata(&path)
                && !metadata.is_dir()
            {
                freed += freed_with(&metadata);
                delete(&path)?;
                continue;
            }
            freed += disk_bytes(&path)?;
            remove_all(&path).at("empty", &path)?;
        }
        Ok(freed)
    }
}

/// Removes a folder with all that is in it, where it is there. What another run was moving into it
/// when it was doomed may come while it is emptied.
fn remove_all(folder: &Utf8Path) -> io::Result<()> {
    let mut tries = AGAIN;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => tries -= 1,
            removed => return removed,
        }
    }
}

impl Batch {
    /// The batch's name: its time and its process.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time in the name: that of the run, or a little after the run before where the clock was
    /// behind it.
    fn time(&self) -> Option<Timestamp> {
        time_of(&self.name)
    }

    fn folder(&self) -> Utf8PathBuf {
        self.trash.folder().join(&self.name)
    }

    /// Where a file of the store lies in this batch. Files outside the store have no place here.
    pub(crate) fn place(&self, path: &Utf8Path) -> Option<Utf8PathBuf> {
        path.strip_prefix(&self.trash.store).ok().map(|below| self.folder().join(below))
    }

    /// Moves a file of the store here. Returns whether it was there.
    pub(crate) fn take(&self, path: &Utf8Path) -> Result<bool> {
        if !self.keeps {
            return if path.starts_with(&self.trash.store) { delete(path) } else { Ok(false) };
        }
        let Some(place) = self.place(path) else { return Ok(false) };
        let Some(folder) = place.parent() else { return Ok(false) };
        // Another run may empty the trash between making the folder and moving into it.
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for _ in 0..AGAIN {
            if let Err(error) = fs::create_dir_all(folder) {
                // A folder that was there is gone when it is looked at.
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) {
                    return Err(error).at("create", folder);
                }
                last = error;
                continue;
            }
            match fs::rename(path, &place) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    return Err(self.trash.refusal(path));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !path.exists() {
                        return Ok(false);
                    }
                }
                failed => failed.at("move away", path)?,
            }
        }
        Err(last).at("create", folder)
    }

    /// Whether a file of the store lies in this batch.
    pub(crate) fn has(&self, path: &Utf8Path) -> bool {
        self.place(path).is_some_and(|place| place.symlink_metadata().is_ok())
    }

    /// Moves a file back to where it stood, unless another stands there. Returns whether one stands
    /// there now.
    ///
    /// # Errors
    /// [`Error::OtherFileSystem`], I/O errors.
    pub(crate) fn give_back(&self, path: &Utf8Path) -> Result<bool> {
        let Some(place) = self.place(path) else { return Ok(false) };
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            place.as_std_path(),
            rustix::fs::CWD,
            path.as_std_path(),
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(rustix::io::Errno::XDEV) => Err(self.trash.refusal(path)),
            Err(errno) => Err(errno).at("bring back", path),
        }
    }

    /// Reads the small file that stood at `path`; `None` where it is not in this batch.
    pub(crate) fn read(&self, path: &Utf8Path, cap: u64) -> Result<Option<Vec<u8>>> {
        self.place(path).map_or(Ok(None), |place| replace::read_capped(&place, cap))
    }

    /// The paths, in the store, of the files in this batch, sorted.
    ///
    /// # Errors
    /// I/O errors.
    pub fn files(&self) -> Result<Vec<Utf8PathBuf>> {
        let mut files = Vec::new();
        walk(&self.folder(), &mut |path, metadata| {
            let below = path.strip_prefix(self.folder()).ok().filter(|_| !metadata.is_dir());
            files.extend(below.map(Utf8Path::to_owned));
        })?;
        files.sort_unstable();
        Ok(files)
    }
}

/// The file system that a folder lies on, behind links; `None` where it is not there.
fn device(folder: &Utf8Path) -> Result<Option<u64>> {
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(metadata.at("read", folder)?.dev())),
    }
}

fn delete(path: &Utf8Path) -> Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.at("remove", path).map(|()| true),
    }
}

/// The bytes on disk of a folder and all that is below it; 0 where there is none.
///
/// # Errors
/// I/O errors.
pub fn disk_bytes(folder: &Utf8Path) -> Result<u64> {
    let mut bytes = match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        metadata => freed_with(&metadata.at("read", folder)?),
    };
    walk(folder, &mut |_, metadata| bytes += freed_with(metadata))?;
    Ok(bytes)
}

/// The bytes on disk that are free once this is removed: none of a file that has other names.
fn freed_with(metadata: &fs::Metadata) -> u64 {
    let has_others = !metadata.is_dir() && metadata.nlink() > 1;
    if has_others { 0 } else { metadata.blocks() * 512 }
}

fn walk(folder: &Utf8Path, each: &mut dyn FnMut(&Utf8Path, &fs::Metadata)) -> Result<()> {
    for name in replace::names_if_folder(folder)? {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(metadata) if metadata.is_dir() => {
                each(&path, &metadata);
                walk(&path, each)?;
            }
            metadata => each(&path, &metadata.at("read", &path)?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trash() -> (tempfile::TempDir, Trash) {
        let dir = tempfile::tempdir().unwrap();
        let trash = Trash::new(Utf8Path::from_path(dir.path()).unwrap(), false);
        (dir, trash)
    }

    #[test]
    fn what_is_moved_while_its_folder_goes_is_moved_all_the_same() {
        let (_dir, trash) = trash();
        let batch = trash.batch("2026-01-02T03:04:05.6Z".parse().unwrap());
        for _ in 0..200 {
            let file = trash.store.join("file");
            fs::write(&file, "x").unwrap();
            std::thread::scope(|scope| {
                // No more often than is tried again.
                scope.spawn(|| {
                    for _ in 1..AGAIN {
                        trash.doom(batch.name()).unwrap();
                    }
                });
                assert!(batch.take(&file).unwrap());
            });
            trash.shred().unwrap();
        }
    }

    #[test]
    fn what_comes_while_it_is_emptied_goes_too() {
        let (_dir, trash) = trash();
        for _ in 0..50 {
            let folder = trash.folder().join(".doomed-1").join("keys");
            fs::create_dir_all(&folder).unwrap();
            std::thread::scope(|scope| {
                // No more often than is tried again.
                scope.spawn(|| {
                    (0..AGAIN).for_each(|name| drop(fs::write(folder.join(name.to_string()), "late")));
                });
                trash.shred().unwrap();
            });
            trash.shred().unwrap();
            assert!(trash.names().unwrap().is_empty());
        }
    }

    #[test]
    fn the_last_batch_sorts_last_although_the_clock_was_set_back() {
        let (_dir, trash) = trash();
        let late: Timestamp = "2099-01-01T00:00:00Z".parse().unwrap();
        let early: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut names = Vec::new();
        for now in [late, early, early, late] {
            let batch = trash.batch(now);
            fs::create_dir_all(batch.folder()).unwrap();
            names.push(batch.name().to_owned());
        }
        let sorted: Vec<_> = trash.batches().unwrap().iter().map(|batch| batch.name().to_owned()).collect();
        assert_eq!(sorted, names);
        assert!(names[3].starts_with("20990101T000000.000003Z-"), "{names:?}");
        // What is not a batch of ours does not count.
        fs::create_dir_all(trash.folder().join("zzz-1")).unwrap();
        assert!(trash.batch(early).name().starts_with("20990101T000000.000004Z-"));
    }

    #[test]
    fn a_batch_is_named_by_its_time() {
        let (_dir, trash) = trash();
        let batch = trash.batch("2026-01-02T03:04:05.6Z".parse().unwrap());
        assert_eq!(batch.name(), format!("20260102T030405.600000Z-{}", std::process::id()));
    }

    #[test]
    fn what_lies_on_another_file_system_cannot_be_taken() {
        let (_dir, trash) = trash();
        trash.can_take(&trash.store).unwrap();
        trash.can_take(Utf8Path::new("/nowhere")).unwrap();
        let refused = trash.can_take(Utf8Path::new("/proc")).unwrap_err();
        assert!(matches!(refused, Error::OtherFileSystem { .. }), "{refused}");
    }
}
