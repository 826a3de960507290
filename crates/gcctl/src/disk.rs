//! What lies in a store's folder, in bytes on disk.
//!
//! Counts as `du` does: blocks, not lengths; folders too; a file with several names once, apart
//! from what stands under each of them, for no removal of one name frees its bytes. The store's
//! folder and those in it may be links, and what is behind them counts; no other link is followed.
//! A file that goes while it is looked for does not count.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use storekit::error::At;
use storekit::packages::seen::FirstSeen;
use storekit::{Digest, Key, Result};

/// What a path below the store's folder is, by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A blob.
    Blob(Digest),
    /// A key file, or what is kept beside it.
    OfKey(Key),
    /// The body of a package download.
    Body(Digest),
    /// The entry of a package download.
    Package,
    /// A file of hashctx's about a folder that it has read.
    Context,
    /// A file that says what happened.
    Events,
    /// A file that says when versions of a package were first seen.
    FirstSeen,
    /// A file that is not finished.
    Unfinished,
    /// Something in the folder of this name in the trash, or that folder.
    Trash(String),
    /// A file with several names, apart from them.
    Shared,
    /// Anything else.
    Other,
}

impl Place {
    /// Reads the path, relative to the store's folder.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let names: Vec<_> = path.iter().map(|name| name.to_str().unwrap_or("\0")).collect();
        match names[..] {
            ["images" | "packages", .., name] if name.starts_with(storekit::files::replace::TEMPORARY) => {
                Self::Unfinished
            }
            ["images", "blobs", "sha256", hex] => Digest::from_hex(hex).map_or(Self::Other, Self::Blob),
            ["images", "keys" | "inputs" | "fetched", key] => key.parse().map_or(Self::Other, Self::OfKey),
            ["packages", "blobs", "sha256", hex] => Digest::from_hex(hex).map_or(Self::Other, Self::Body),
            ["packages", "entries", _, _, name] if name.strip_suffix(".toml").is_some() => Self::Package,
            ["contexts", _, ..] => Self::Context,
            ["events", _, ..] | ["packages", "uses", _] => Self::Events,
            ["packages", "seen", ref below @ ..] if FirstSeen::is_note(below) => Self::FirstSeen,
            ["trash", name, ..] => Self::Trash(name.to_owned()),
            _ => Self::Other,
        }
    }
}

/// Something that was come across.
pub struct Found<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// What it is, by its name alone.
    pub place: Place,
    /// Its bytes on disk.
    pub bytes: u64,
    /// What the system says of it; it may be a folder.
    pub metadata: &'a Metadata,
}

/// A file with several names.
struct Linked {
    /// Those that are in the store.
    paths: Vec<PathBuf>,
    metadata: Metadata,
}

/// What was read apart from a walk.
#[derive(Debug, Default)]
pub struct Apart {
    /// The folders that the walk does not go into, by device and inode.
    pub folders: HashSet<(u64, u64)>,
    /// What lies in them and is visited like all else.
    pub rest: Vec<PathBuf>,
}

impl Apart {
    /// Leaves out the folder too, or the one behind a link, if it is there.
    pub fn without(&mut self, folder: &Utf8Path) {
        let metadata = fs::metadata(folder).ok().filter(Metadata::is_dir);
        self.folders.extend(metadata.map(|metadata| (metadata.dev(), metadata.ino())));
    }
}

/// Visits everything below a store's folder, itself included, but for what was read apart. A file
/// that has other names, in the store or outside, comes with each of them in the store and without
/// its bytes, for to remove one frees none; and once more as [`Place::Shared`] with them.
///
/// # Errors
/// Folders that cannot be listed, files that cannot be looked at; those of `each`.
pub fn walk<E: From<storekit::Error>>(
    store: &Utf8Path,
    apart: &Apart,
    each: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut linked: HashMap<(u64, u64), Linked> = HashMap::new();
    let mut tell = |path: &Path, place: Option<Place>, metadata: &Metadata, bytes: u64| {
        let place = place.unwrap_or_else(|| Place::of(path.strip_prefix(store).unwrap_or(path)));
        each(Found { path, place, bytes, metadata })
    };
    let mut visited = |path: &Path, metadata: &Metadata| {
        let inode = (metadata.dev(), metadata.ino());
        let goes_on = !apart.folders.contains(&inode);
        if metadata.nlink() == 1 {
            return tell(path, None, metadata, bytes_of(metadata)).map(|()| goes_on);
        }
        // A folder may be come to again through a link; a file is told when all its names are
        // known.
        let new = || Linked { paths: Vec::new(), metadata: metadata.clone() };
        let known = linked.entry(inode).or_insert_with(new);
        known.paths.push(path.to_owned());
        if known.paths.len() > 1 || !metadata.is_dir() {
            return Ok(false);
        }
        tell(path, None, metadata, bytes_of(metadata)).map(|()| goes_on)
    };
    for path in [store.as_std_path()].into_iter().chain(apart.rest.iter().map(PathBuf::as_path)) {
        visit(store, path, &mut visited)?;
    }
    for Linked { paths, metadata } in linked.values().filter(|it| !it.metadata.is_dir()) {
        for path in paths {
            tell(path, None, metadata, 0)?;
        }
        let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
        tell(first, Some(Place::Shared), metadata, bytes_of(metadata))?;
    }
    Ok(())
}

/// The folders of a store that may be links, by their names below it.
const FOLDERS: [&str; 16] = [
    "",
    "images",
    "images/blobs",
    "images/blobs/sha256",
    "images/keys",
    "images/inputs",
    "images/fetched",
    "images/pins",
    "packages",
    "packages/blobs",
    "packages/blobs/sha256",
    "packages/entries",
    "trash",
    "events",
    "contexts",
    "remotes",
];

/// Whether a path, below the store or whole, is that of a folder of a store's.
#[must_use]
pub fn is_folder_of_store(below: &Path) -> bool {
    FOLDERS.iter().any(|folder| below == Path::new(folder))
}

/// What stands there: behind the link, where it is one of the store's folders. A link that leads
/// nowhere is an error, for what is behind it would count as gone. `None`: it is not there.
fn look(store: &Utf8Path, path: &Path) -> Result<Option<Metadata>> {
    // A path that is not UTF-8 is nothing of ours: the store itself is named then.
    let shown = Utf8Path::from_path(path).unwrap_or(store);
    let found = unless_gone(fs::symlink_metadata(path)).at("read", shown)?;
    let below = path.strip_prefix(store).unwrap_or(path);
    let leads = found.as_ref().is_some_and(Metadata::is_symlink);
    if leads && is_folder_of_store(below) {
        return fs::metadata(path).at("follow the link", shown).map(Some);
    }
    Ok(found)
}

/// The bytes on disk that go with one file; 0 where it has other names, `None` where it is not
/// there.
///
/// # Errors
/// I/O errors.
pub fn bytes(path: &Utf8Path) -> Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => Ok(Some(bytes_with(&metadata.at("read", path)?))),
    }
}

/// The bytes on disk that go with the file of which the system says this; 0 where it has other
/// names.
#[must_use]
pub fn bytes_with(metadata: &Metadata) -> u64 {
    if metadata.nlink() == 1 { bytes_of(metadata) } else { 0 }
}

/// The room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The bytes that are free for ordinary users.
    pub free: u64,
    /// All bytes that it has.
    pub capacity: u64,
}

/// The room of the file system of `folder`, or of where it would be made.
///
/// # Errors
/// I/O errors.
pub fn room(folder: &Utf8Path) -> Result<Room> {
    let absolute = camino::absolute_utf8(folder).at("find", folder)?;
    let folder = absolute.ancestors().find(|above| above.exists()).unwrap_or(folder);
    let system = rustix::fs::statvfs(folder.as_std_path()).at("read the free space of", folder)?;
    Ok(Room {
        free: system.f_bavail.saturating_mul(system.f_frsize),
        capacity: system.f_blocks.saturating_mul(system.f_frsize),
    })
}

fn bytes_of(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// `each` says whether to go on into a folder.
fn visit<E: From<storekit::Error>>(
    store: &Utf8Path,
    path: &Path,
    each: &mut dyn FnMut(&Path, &Metadata) -> Result<bool, E>,
) -> Result<(), E> {
    let shown = Utf8Path::from_path(path).unwrap_or(store);
    let Some(metadata) = look(store, path)? else { return Ok(()) };
    if !each(path, &metadata)? || !metadata.is_dir() {
        return Ok(());
    }
    let Some(listing) = unless_gone(fs::read_dir(path)).at("list", shown)? else { return Ok(()) };
    for entry in listing {
        let name = entry.at("list", shown)?.file_name();
        visit(store, &path.join(std::ffi::OsStr::from_bytes(name.as_bytes())), each)?;
    }
    Ok(())
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, place: &Place) {
        assert_eq!(Place::of(Path::new(path)), *place, "{path}");
    }

    #[test]
    fn each_file_has_one_kind() {
        let digest = Digest::of(b"x");
        check(&format!("images/blobs/sha256/{}", digest.hex()), &Place::Blob(digest));
        check("images/keys/app", &Place::OfKey("app".parse().unwrap()));
        check("images/inputs/app", &Place::OfKey("app".parse().unwrap()));
        check("images/fetched/app", &Place::OfKey("app".parse().unwrap()));
        check("images/blobs/sha256/.tmp-x", &Place::Unfinished);
        check("images/.tmp-x", &Place::Unfinished);
        check("packages/blobs/sha256/.tmp-x", &Place::Unfinished);
        check("trash/b/images/keys/app", &Place::Trash("b".into()));
        check(&format!("packages/blobs/sha256/{}", digest.hex()), &Place::Body(digest));
        check("packages/entries/a.example/2d/x.toml", &Place::Package);
        check("packages/entries/a.example/2d/.tmp-x.toml", &Place::Unfinished);
        check("contexts/a", &Place::Context);
        check("events/x", &Place::Events);
        check(&format!("packages/seen/go/2d/{}", digest.hex()), &Place::FirstSeen);
        check("trash/b", &Place::Trash("b".into()));
        let wrong =
            ["images/blobs/sha256/x", "images/keys/-", "images/keys/a/b", "packages/entries/a/x.toml"];
        for path in ["", "trash", "images", "events", "contexts"].iter().chain(&wrong) {
            check(path, &Place::Other);
        }
    }
}
