//! Removes what was chosen of a folder, each looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat, renameat};
use rustix::io::Errno;
use serde::Serialize;
use storekit::error::At;
use toolkit::tables::ExtraKind;

use super::below::Folder as Open;
use super::{Folder, Found, Going, Item, hub, survey};
use crate::error::{Error, Result};

/// What became of something that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is gone, and so many bytes on disk with it.
    Removed(u64),
    /// It stays, or is not there any more.
    Kept(Stays),
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stays {
    /// It is not there any more.
    Gone,
    /// It was used since.
    Used,
    /// Other branches or tags name it.
    Named,
    /// The tool that keeps it is at it.
    InUse,
}

impl Stays {
    /// The reason in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Gone => "gone already",
            Self::Used => "used since",
            Self::Named => "other branches or tags name it now",
            Self::InUse => "in use",
        }
    }
}

/// Refuses what lies in no folder that the settings name as one of its kind.
///
/// # Errors
/// [`Error::NoExtra`].
pub fn check(folders: &[Folder], going: &[Going]) -> Result<()> {
    let is_unknown = |it: &&Going| !folders.iter().any(|own| own.path == it.folder && own.kind == it.kind);
    match going.iter().find(is_unknown) {
        None => Ok(()),
        Some(it) => Err(Error::NoExtra { path: it.folder.clone(), kind: it.kind }),
    }
}

/// A folder of a repository that holds nothing goes when it has not changed for so long.
const EMPTY: SignedDuration = SignedDuration::from_hours(1);

/// Removes what goes, until `stop`; tells of each when it is done. Folders of repositories of
/// models in which nothing is go too, where there are limits.
///
/// # Errors
/// A folder that the settings do not name: nothing is removed then. What cannot be read or removed.
pub fn remove(
    folders: &[Folder],
    going: &[Going],
    stop: &AtomicBool,
    mut tell: impl FnMut(&Going, Became),
) -> Result<()> {
    check(folders, going)?;
    for folder in folders {
        let own: Vec<_> = going.iter().filter(|it| it.folder == folder.path).collect();
        if !folder.is_limited() && own.is_empty() {
            continue;
        }
        let open = Open::open(folder.path.as_std_path()).at("open", &folder.path)?;
        if let Some(open) = open.as_ref().filter(|_| folder.kind == ExtraKind::Hf) {
            let before = Timestamp::now().checked_sub(EMPTY).unwrap_or(Timestamp::MIN);
            hub::remove_empty(open, before).at("remove empty folders below", &folder.path)?;
        }
        if own.is_empty() {
            continue;
        }
        let found = survey(folder)?;
        let items: BTreeMap<&Utf8Path, &Item> =
            found.items.iter().map(|item| (item.path.as_path(), item)).collect();
        for it in own {
            if stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let item = items.get(it.path.as_path());
            let became = match (reason_to_keep(it, item.copied()), &open) {
                (None, Some(open)) => {
                    take(open, folder, &found, it).at("remove", &folder.path.join(&it.path))?
                }
                (reason, _) => Became::Kept(reason.unwrap_or(Stays::Gone)),
            };
            tell(it, became);
        }
    }
    Ok(())
}

fn reason_to_keep(going: &Going, item: Option<&Item>) -> Option<Stays> {
    match item {
        None => Some(Stays::Gone),
        Some(item) if item.used > going.used => Some(Stays::Used),
        Some(item) if item.refs != going.refs => Some(Stays::Named),
        Some(_) => None,
    }
}

fn take(open: &Open, folder: &Folder, found: &Found, going: &Going) -> io::Result<Became> {
    match folder.kind {
        ExtraKind::Dir => file(open, going),
        ExtraKind::Hf => revision(open, &folder.path, found, &going.path),
    }
}

fn file(open: &Open, going: &Going) -> io::Result<Became> {
    let gone = Ok(Became::Kept(Stays::Gone));
    let above = going.path.parent().unwrap_or(Utf8Path::new(""));
    let (Some(above), Some(name)) = (open.below(above.as_std_path())?, going.path.file_name()) else {
        return gone;
    };
    let name = OsStr::new(name);
    match above.look(name)? {
        Some(seen) if seen.is_file() && seen.used.is_some_and(|used| used > going.used) => {
            Ok(Became::Kept(Stays::Used))
        }
        Some(seen) if seen.is_file() && above.remove(name)? => {
            Ok(Became::Removed(if seen.is_single { seen.bytes } else { 0 }))
        }
        _ => gone,
    }
}

/// Where the blobs of a revision lie that is removed, in its folder aside.
const BLOBS: &str = ".larder-blobs";

/// First the refs, so that none names what is not there; then the revision at once, by its move
/// aside; then the blobs that no other needs are moved there too, and those back that another has
/// come to need meanwhile; last all that was moved. Killed, it goes on with the next run.
fn revision(open: &Open, at: &Utf8Path, found: &Found, path: &Utf8Path) -> io::Result<Became> {
    let parts: Vec<&str> = path.components().map(|part| part.as_str()).collect();
    let &[repository, place, commit] = parts.as_slice() else { return Ok(Became::Kept(Stays::Gone)) };
    let repository = Utf8Path::new(repository);
    let blobs = hub::needs(open, at, path)?.blobs;
    for blob in &blobs {
        if lock(open, repository, blob)?.is_none() {
            return Ok(Became::Kept(Stays::InUse));
        }
    }
    let aside = repository.join(hub::GOING).join(commit);
    if place != hub::GOING {
        for name in hub::refs(open, repository)?.remove(commit).unwrap_or_default() {
            unlink(open, &repository.join("refs").join(name))?;
        }
        open.remove_all(aside.as_std_path())?;
        if !move_aside(open, repository, commit)? {
            return Ok(Became::Kept(Stays::Gone));
        }
    }
    let mut bytes = found.items.iter().find(|item| item.path == path).map_or(0, |item| item.bytes);
    let needed = || -> io::Result<BTreeSet<Utf8PathBuf>> {
        let mut needed = hub::needed_beside(open, at, repository, &aside)?;
        needed.extend(found.held.iter().cloned());
        Ok(needed)
    };
    bytes += move_blobs(open, repository, &aside, &blobs, &needed()?)?;
    bytes -= move_back(open, repository, &aside, &needed()?)?.min(bytes);
    open.remove_all(aside.as_std_path())?;
    if let Some(folder) = open.below(repository.as_std_path())? {
        // Another revision may be on its way out, too.
        let _ = folder.remove_folder(OsStr::new(hub::GOING));
    }
    Ok(Became::Removed(bytes))
}

/// Returns whether the revision was there.
fn move_aside(open: &Open, repository: &Utf8Path, commit: &str) -> io::Result<bool> {
    let Some(folder) = open.below(repository.as_std_path())? else { return Ok(false) };
    make_folder(&folder, hub::GOING)?;
    let (from, to) = (folder.below("snapshots".as_ref())?, folder.below(hub::GOING.as_ref())?);
    let (Some(from), Some(to)) = (from, to) else { return Ok(false) };
    rename(&from, &to, OsStr::new(commit))
}

/// Moves the blobs aside that nothing else needs. Returns the bytes that go with them.
fn move_blobs(
    open: &Open,
    repository: &Utf8Path,
    aside: &Utf8Path,
    blobs: &BTreeSet<Utf8PathBuf>,
    needed: &BTreeSet<Utf8PathBuf>,
) -> io::Result<u64> {
    let mut bytes = 0;
    let Some(aside) = open.below(aside.as_std_path())? else { return Ok(0) };
    make_folder(&aside, BLOBS)?;
    let (from, to) = (open.below(repository.join("blobs").as_std_path())?, aside.below(BLOBS.as_ref())?);
    let (Some(from), Some(to)) = (from, to) else { return Ok(0) };
    for blob in blobs.iter().filter(|blob| !needed.contains(*blob)) {
        // Whoever has the lock fetches it, or is about to link to it.
        let (Some(_lock), Some(name)) = (lock(open, repository, blob)?, blob.file_name()) else { continue };
        let Some(seen) = from.look(OsStr::new(name))?.filter(|seen| !seen.is_folder()) else { continue };
        if rename(&from, &to, OsStr::new(name))? && seen.is_single {
            bytes += seen.bytes;
        }
    }
    Ok(bytes)
}

/// Moves blobs back that something has come to need since they were found to be needed by nothing.
/// Returns their bytes.
fn move_back(
    open: &Open,
    repository: &Utf8Path,
    aside: &Utf8Path,
    needed: &BTreeSet<Utf8PathBuf>,
) -> io::Result<u64> {
    let mut bytes = 0;
    let blobs = repository.join("blobs");
    let (from, to) = (open.below(aside.join(BLOBS).as_std_path())?, open.below(blobs.as_std_path())?);
    let (Some(from), Some(to)) = (from, to) else { return Ok(0) };
    for name in from.names()? {
        let is_needed = name.to_str().is_some_and(|name| needed.contains(&blobs.join(name)));
        let Some(seen) = from.look(&name)?.filter(|_| is_needed) else { continue };
        if rename(&from, &to, &name)? && seen.is_single {
            bytes += seen.bytes;
        }
    }
    Ok(bytes)
}

fn make_folder(folder: &Open, name: &str) -> io::Result<()> {
    match mkdirat(folder.fd(), name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Moves it under its name. Returns whether it was there.
fn rename(from: &Open, to: &Open, name: &OsStr) -> io::Result<bool> {
    match renameat(from.fd(), name, to.fd(), name) {
        Err(Errno::NOENT) => Ok(false),
        moved => Ok(moved.map(|()| true)?),
    }
}

fn unlink(open: &Open, path: &Utf8Path) -> io::Result<bool> {
    let above = open.below(path.parent().unwrap_or(Utf8Path::new("")).as_std_path())?;
    match (above, path.file_name()) {
        (Some(above), Some(name)) => above.remove(OsStr::new(name)),
        _ => Ok(false),
    }
}

/// The library's lock of a blob, where there is such a file: `.locks/REPOSITORY/BLOB.lock`.
struct Lock {
    _file: Option<std::os::fd::OwnedFd>,
}

/// `None` where another process has it.
fn lock(open: &Open, repository: &Utf8Path, blob: &Utf8Path) -> io::Result<Option<Lock>> {
    let folder = open.below(Utf8Path::new(".locks").join(repository).as_std_path())?;
    let name = format!("{}.lock", blob.file_name().unwrap_or_default());
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = folder.map(|folder| openat(folder.fd(), name, flags, Mode::empty()));
    let file = match opened {
        None | Some(Err(Errno::NOENT)) => return Ok(Some(Lock { _file: None })),
        Some(file) => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => Ok(locked.map(|()| Some(Lock { _file: Some(file) }))?),
    }
}
