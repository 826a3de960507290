//! Looks and removes below a folder, and never through a link: each folder on the way is opened by
//! itself, and none that is a link.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder that is open.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: FileType,
    /// On disk.
    pub(super) bytes: u64,
    /// The later of its access and its change, of a folder the change: to list it is an access.
    /// `None` where a time is none.
    pub(super) used: Option<Timestamp>,
    /// Whether it has one name.
    pub(super) is_single: bool,
    inode: (u64, u64),
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        let time = |seconds, nanos: u64| Timestamp::new(seconds, i32::try_from(nanos).unwrap_or(0)).ok();
        #[allow(clippy::useless_conversion, reason = "on some processors they are of 32 bits")]
        let (accessed, changed) =
            (time(stat.st_atime, stat.st_atime_nsec.into()), time(stat.st_mtime, stat.st_mtime_nsec.into()));
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_folder = kind == FileType::Directory;
        Self {
            kind,
            bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            used: if is_folder { changed } else { accessed.zip(changed).map(|(one, other)| one.max(other)) },
            is_single: stat.st_nlink == 1,
            inode: (stat.st_dev, stat.st_ino),
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub(super) fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }
}

/// `None` where it is not there, or something else is by now.
fn there<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        result => Ok(Some(result?)),
    }
}

impl Folder {
    /// `None` where there is no folder.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        Ok(there(openat(CWD, path, FOLDER, Mode::empty()))?.map(Self))
    }

    /// The folder below this one; itself for an empty path. `None` where it is not there, or one of
    /// the folders on the way is a link.
    pub(super) fn below(&self, path: &Path) -> io::Result<Option<Self>> {
        let mut at = Self(openat(&self.0, ".", FOLDER, Mode::empty())?);
        for part in path.components() {
            let Component::Normal(name) = part else { return Ok(None) };
            let Some(next) = there(openat(&at.0, name, FOLDER, Mode::empty()))? else { return Ok(None) };
            at = Self(next);
        }
        Ok(Some(at))
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// What this folder itself is.
    pub(super) fn own(&self) -> io::Result<Seen> {
        Ok(Seen::of(&fstat(&self.0)?))
    }

    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Seen>> {
        Ok(there(statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW))?.map(|stat| Seen::of(&stat)))
    }

    /// The names in it, in no order.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Where a link leads; `None` where there is none.
    pub(super) fn link(&self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        match rustix::fs::readlinkat(&self.0, name, Vec::new()) {
            Err(Errno::INVAL) => Ok(None),
            text => Ok(there(text)?.map(|text| PathBuf::from(OsStr::from_bytes(text.as_bytes())))),
        }
    }

    /// Removes what is not a folder. Returns whether it was there.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<bool> {
        there(unlinkat(&self.0, name, AtFlags::empty())).map(|removed| removed.is_some())
    }

    /// Removes a folder that is empty.
    pub(super) fn remove_folder(&self, name: &OsStr) -> io::Result<bool> {
        there(unlinkat(&self.0, name, AtFlags::REMOVEDIR)).map(|removed| removed.is_some())
    }

    /// Removes a folder and those in it, as far as they are empty. Nothing else goes, whatever
    /// comes meanwhile.
    pub(super) fn remove_empty(&self, path: &Path) -> io::Result<()> {
        let mut folders = vec![path.to_owned()];
        self.walk(path, &mut |_, path, seen| {
            folders.extend(seen.is_folder().then(|| path.to_owned()));
            Ok(())
        })?;
        // The deepest come last.
        for path in folders.iter().rev() {
            let above = self.below(path.parent().unwrap_or(Path::new("")))?;
            let Some((above, name)) = above.zip(path.file_name()) else { continue };
            match unlinkat(&above.0, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => return Ok(()),
                removed => there(removed)?,
            };
        }
        Ok(())
    }

    /// Visits all that is below `path`, but for that folder itself, until `each` fails: with the
    /// folder that it is in, its path below this one, and what it is. Stays on the file system.
    pub(super) fn walk(
        &self,
        path: &Path,
        each: &mut dyn FnMut(&Self, &Path, Seen) -> io::Result<()>,
    ) -> io::Result<()> {
        let device = self.own()?.inode.0;
        let mut folders = vec![path.to_owned()];
        while let Some(path) = folders.pop() {
            let Some(folder) = self.below(&path)? else { continue };
            for name in folder.names()? {
                let Some(seen) = folder.look(&name)? else { continue };
                let path = path.join(&name);
                each(&folder, &path, seen)?;
                if seen.is_folder() && seen.inode.0 == device {
                    folders.push(path);
                }
            }
        }
        Ok(())
    }

    /// Removes a folder with all that is in it.
    pub(super) fn remove_all(&self, path: &Path) -> io::Result<()> {
        let mut folders = vec![path.to_owned()];
        self.walk(path, &mut |folder, path, seen| {
            match path.file_name() {
                _ if seen.is_folder() => folders.push(path.to_owned()),
                Some(name) => drop(folder.remove(name)?),
                None => {}
            }
            Ok(())
        })?;
        // The deepest come last.
        for path in folders.iter().rev() {
            let above = self.below(path.parent().unwrap_or(Path::new("")))?;
            if let (Some(above), Some(name)) = (above, path.file_name()) {
                above.remove_folder(name)?;
            }
        }
        Ok(())
    }
}

/// Counts bytes on disk, those of a file with several names once.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    linked: HashSet<(u64, u64)>,
}

impl Sum {
    pub(super) fn add(&mut self, seen: &Seen) {
        if seen.is_folder() || seen.is_single || self.linked.insert(seen.inode) {
            self.bytes = self.bytes.saturating_add(seen.bytes);
        }
    }
}
