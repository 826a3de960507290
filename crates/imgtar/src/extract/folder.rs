//! Extracted files in a folder: written into a hidden folder beside where they will stand, and
//! moved when all is verified.
//!
//! Nothing is written through a link, whether it stood in the folder before or comes from the
//! image. Permission bits (less the umask) and times are kept; owners, extended attributes and
//! devices are not; nor are set-ID and sticky bits, unless asked for. A file takes the place of one
//! that is there; what stands there as another kind of thing is an error.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RawMode, Timespec, Timestamps, fchmod, flock, fstat,
    futimens, linkat, mkdirat, openat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::beneath::{self, os};
use super::member::{Meta, shown};
use super::names;
use super::sink::{Item, Sink, Taken, What, copy};
use crate::error::{Error, Result};

const STAGING: &str = ".tmp-imgtar-";

/// A folder that takes extracted files. Dropped, it is as it was.
pub struct Folder {
    path: Utf8PathBuf,
    root: OwnedFd,
    staging: OwnedFd,
    name: String,
    /// What the umask leaves of a mode; all where modes are kept as they are.
    mask: RawMode,
    folders: BTreeMap<Vec<u8>, (RawMode, Timestamps)>,
    /// The folder that was written to last, so that it need not be looked for again.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Folder {
    /// Takes files for the folder, which is made where it is not there. With `exact`, modes are
    /// kept as they are, set-ID bits included.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(path: &Utf8Path, exact: bool) -> Result<Self> {
        let failed = |source| Error::write(path.as_str(), source);
        fs::create_dir_all(path).map_err(failed)?;
        let root = OwnedFd::from(File::open(path).map_err(failed)?);
        sweep(&root, path);
        let (name, staging) = stage(&root).map_err(|errno| failed(errno.into()))?;
        let masked = fstat(&staging).map_err(|errno| failed(errno.into()))?.st_mode & 0o777;
        let mask = if exact { 0o7777 } else { masked };
        fchmod(&staging, Mode::from_raw_mode(0o700)).map_err(|errno| failed(errno.into()))?;
        Ok(Self { path: path.to_owned(), root, staging, name, mask, folders: BTreeMap::new(), last: None })
    }

    /// Moves everything to where it belongs.
    ///
    /// # Errors
    /// [`Error::Clash`], and nothing was moved; I/O errors, and some of the files may stand there,
    /// each of them whole.
    pub fn finish(mut self) -> Result<()> {
        self.last = None;
        let plan = self.plan()?;
        for (folder, name) in &plan.moves {
            self.rename(folder, name).map_err(|errno| self.failed(&names::join(folder, name), errno))?;
        }
        // Deepest first: a folder may lose the right to be entered.
        for (name, (mode, times)) in
            self.folders.iter().rev().filter(|(name, _)| !plan.merged.contains(*name))
        {
            let set = || {
                let folder = beneath::open(self.root.as_fd(), name)?;
                futimens(&folder, times)?;
                fchmod(&folder, Mode::from_raw_mode(*mode))
            };
            set().map_err(|errno| self.failed(name, errno))?;
        }
        Ok(())
    }

    fn failed(&self, name: &[u8], errno: Errno) -> Error {
        Error::write(self.path.join(shown(name)).as_str(), errno.into())
    }

    fn rename(&self, folder: &[u8], name: &[u8]) -> Result<(), Errno> {
        let from = beneath::open(self.staging.as_fd(), folder)?;
        let to = beneath::open(self.root.as_fd(), folder)?;
        renameat(from, os(name), to, os(name))
    }

    /// What is to be moved: the topmost folders and files that are not there. Only looks.
    fn plan(&self) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut open = vec![Vec::new()];
        while let Some(folder) = open.pop() {
            let failed = |errno| self.failed(&folder, errno);
            let from = beneath::open(self.staging.as_fd(), &folder).map_err(failed)?;
            let to = beneath::open(self.root.as_fd(), &folder).map_err(failed)?;
            for name in beneath::list(&from).map_err(|source| Error::write(self.path.as_str(), source))? {
                let whole = names::join(&folder, &name);
                let kind = |at: &OwnedFd| kind(at, &name).map_err(|errno| self.failed(&whole, errno));
                match (kind(&from)?, kind(&to)?) {
                    (Some(FileType::Directory), Some(FileType::Directory)) => open.push(whole),
                    (Some(FileType::Directory), Some(_)) => {
                        return Err(clash(&whole, "a folder comes, and a file or a link stands there"));
                    }
                    (_, Some(FileType::Directory)) => {
                        return Err(clash(&whole, "a file or a link comes, and a folder stands there"));
                    }
                    _ => plan.moves.push((folder.clone(), name)),
                }
            }
            plan.merged.push(folder);
        }
        Ok(plan)
    }

    fn parent(&mut self, folder: &[u8]) -> Result<&OwnedFd, Errno> {
        if self.last.as_ref().is_none_or(|(name, _)| name != folder) {
            let open = beneath::open_or_make(self.staging.as_fd(), folder)?;
            self.last = Some((folder.to_vec(), open));
        }
        self.last.as_ref().map(|(_, open)| open).ok_or(Errno::NOENT)
    }

    fn write(&mut self, item: &Item<'_>, data: &mut dyn Read) -> Result<Taken> {
        let place = self.path.join(shown(item.name)).into_string();
        let mask = self.mask;
        let (folder, name) = names::split(item.name);
        let failed = |errno| made(item.name, &place, errno);
        let parent = self.parent(folder).map_err(failed)?;
        if item.what != What::Folder {
            free(parent, name).map_err(failed)?;
        }
        match item.what {
            What::File(_) => write_file(parent, item, data, mask, &place)?,
            What::Folder => make_folder(parent, name).map_err(failed)?,
            What::Symlink(target) => make_link(parent, name, target, item.meta).map_err(failed)?,
            What::Link(to) => {
                // Opening another folder would drop this one.
                let parent = beneath::open(parent.as_fd(), b"").map_err(failed)?;
                return self.link(&parent, name, to).map_err(failed);
            }
            What::Device => {}
        }
        Ok(Taken::Yes)
    }

    fn link(&self, parent: &OwnedFd, name: &[u8], to: &[u8]) -> Result<Taken, Errno> {
        let (folder, first) = names::split(to);
        let from = beneath::open(self.staging.as_fd(), folder)?;
        match linkat(from, os(first), parent, os(name), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(Taken::Skipped("it is a link to what was left out")),
            linked => linked.map(|()| Taken::Yes),
        }
    }
}

/// Removes what has the name, unless it is a folder.
fn free(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, os(name), AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        freed => freed,
    }
}

fn write_file(
    parent: &OwnedFd,
    item: &Item<'_>,
    data: &mut dyn Read,
    mask: RawMode,
    place: &str,
) -> Result<()> {
    let failed = |errno| made(item.name, place, errno);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = os(names::split(item.name).1);
    let mut file = File::from(openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(failed)?);
    copy(item, data, &mut file, place)?;
    futimens(&file, &times(item.meta)).map_err(failed)?;
    fchmod(&file, Mode::from_raw_mode(item.meta.mode() & mask)).map_err(failed)
}

fn make_folder(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match mkdirat(parent, os(name), Mode::from_raw_mode(0o777)) {
        Err(Errno::EXIST) if kind(parent, name) == Ok(Some(FileType::Directory)) => Ok(()),
        made => made,
    }
}

fn make_link(parent: &OwnedFd, name: &[u8], target: &[u8], meta: &Meta) -> Result<(), Errno> {
    symlinkat(os(target), parent, os(name))?;
    utimensat(parent, os(name), &times(meta), AtFlags::SYMLINK_NOFOLLOW)
}

impl Sink for Folder {
    fn put(&mut self, item: &Item<'_>, data: &mut dyn Read) -> Result<Taken> {
        if item.what == What::Device {
            return Ok(Taken::Skipped("it is a device or a named pipe"));
        }
        let taken = self.write(item, data)?;
        if item.what == What::Folder {
            self.folders.insert(item.name.to_vec(), (item.meta.mode() & self.mask, times(item.meta)));
        }
        Ok(taken)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What could not be removed goes with the next extraction, so that is not an error.
        let _ = fs::remove_dir_all(self.path.join(&self.name));
    }
}

#[derive(Default)]
struct Plan {
    /// Folders and the names in them that are moved.
    moves: Vec<(Vec<u8>, Vec<u8>)>,
    /// Folders that are there already: they stay as they are.
    merged: Vec<Vec<u8>>,
}

fn clash(name: &[u8], reason: &'static str) -> Error {
    Error::Clash { path: shown(name), reason }
}

/// What went wrong in our own hidden folder, where nothing else can be in the way than another
/// extracted thing.
fn made(name: &[u8], place: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::EXIST => {
            clash(name, "two things that are extracted would get this name")
        }
        errno => Error::write(place, errno.into()),
    }
}

fn kind(folder: &OwnedFd, name: &[u8]) -> Result<Option<FileType>, Errno> {
    match statat(folder, os(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn times(meta: &Meta) -> Timestamps {
    let (seconds, nanos) = meta.modified();
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps { last_access: time, last_modification: time }
}

/// Makes the hidden folder, locked while we live. Its mode shows the umask.
fn stage(root: &OwnedFd) -> Result<(String, OwnedFd), Errno> {
    loop {
        let now = jiff::Timestamp::now().as_nanosecond();
        let name = format!("{STAGING}{}-{now}", std::process::id());
        match mkdirat(root, name.as_str(), Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => continue,
            made => made?,
        }
        match beneath::open(root.as_fd(), name.as_bytes()) {
            // Another extraction took it for a dead one's.
            Err(Errno::NOENT) => {}
            opened => {
                let opened = opened?;
                flock(&opened, FlockOperation::LockShared)?;
                if statat(root, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Ok((name, opened));
                }
            }
        }
    }
}

/// Removes what killed extractions left. What cannot be removed does no harm.
fn sweep(root: &OwnedFd, path: &Utf8Path) {
    for name in beneath::list(root).unwrap_or_default() {
        let ours = std::str::from_utf8(&name).ok().filter(|name| name.starts_with(STAGING));
        let Some(ours) = ours else { continue };
        let Ok(opened) = beneath::open(root.as_fd(), &name) else { continue };
        if flock(&opened, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(path.join(ours));
        }
    }
}
