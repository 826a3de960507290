//! Puts files into the project, as a whole as far as a file system can: each file appears whole
//! under its name, and what a killed bake left half done the next one mends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;

use camino::{Utf8DirEntry, Utf8Path, Utf8PathBuf};
use storekit::files::replace::{self, Durability, sweep_unfinished};
use storekit::files::state::FileState;

use super::OutputError;
use super::record::{Ledger, Record, is_still};
use super::staged::Staged;
use crate::outputs::is_reserved;

/// Whose files they are.
pub(crate) struct Owner<'a> {
    /// The image's or disk's name.
    pub(crate) name: &'a str,
    /// Empty where there is none: then the files are written again next time.
    pub(crate) key: &'a str,
    /// The lines of larder.toml, in one text.
    pub(crate) spec: &'a str,
}

/// Puts the files where they belong, and removes those of an earlier key: first what stands in the
/// way, the rest once all is written. Returns how many were written: one that is there already with
/// the same bytes and times is left alone.
///
/// # Errors
/// A place that no output may have, before anything is written; what the file system refuses.
pub(crate) fn put(files: &[Staged], owner: &Owner<'_>, ledger: &Ledger<'_>) -> Result<usize, OutputError> {
    let root = ledger.root();
    let old = ledger.read(owner.name);
    let first = in_the_way(root, &old, files);
    files.iter().try_for_each(|file| may_stand(root, &file.to, &first))?;
    ledger.write(owner.name, &pending(&old, files));
    sweep(root, files);
    first.iter().try_for_each(|file| remove(root, file))?;
    let mut record = Record { key: owner.key.to_owned(), spec: owner.spec.to_owned(), ..Record::default() };
    let mut written = 0;
    for file in files {
        let path = root.join(&file.to);
        let failed = |source| OutputError::Write { path: file.to.clone(), source };
        if !is_same(&file.from, &path).map_err(failed)? {
            write(&file.from, &path).map_err(failed)?;
            written += 1;
        }
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        record.files.insert(file.to.clone(), FileState::written(&metadata).to_text());
    }
    remove_gone(root, &old, &record)?;
    ledger.write(owner.name, &record);
    Ok(written)
}

/// What is noted while files are written: those of before and those to come, for no key.
fn pending(old: &Record, files: &[Staged]) -> Record {
    let mut all: BTreeMap<_, _> = files.iter().map(|file| (file.to.clone(), None)).collect();
    all.extend(old.files.clone());
    Record { files: all, ..Record::default() }
}

/// The files of an earlier key that stand where a folder is to be now, or in a folder where a file
/// is to be.
fn in_the_way(root: &Utf8Path, old: &Record, files: &[Staged]) -> BTreeSet<Utf8PathBuf> {
    let wanted: BTreeSet<_> = files.iter().map(|file| file.to.as_path()).collect();
    let above: BTreeSet<_> = files.iter().flat_map(|file| file.to.ancestors().skip(1)).collect();
    let is_met = |file: &Utf8Path| {
        above.contains(file) || file.ancestors().skip(1).any(|folder| wanted.contains(folder))
    };
    let met = old.files.iter().filter(|(file, _)| !wanted.contains(file.as_path()) && is_met(file));
    met.filter(|(file, state)| is_ours(root, file, state.as_deref())).map(|(file, _)| file.clone()).collect()
}

/// Whether the file is one that a bake wrote, and may remove. One that was changed since is its
/// user's.
fn is_ours(root: &Utf8Path, file: &Utf8Path, state: Option<&str>) -> bool {
    // Noted as about to be written: it is a bake's, as far as it is there.
    let is_written = state.is_none() || is_still(&root.join(file), state);
    is_written && may_stand(root, file, &BTreeSet::new()).is_ok()
}

/// Whether a file may be written there: in the project, not through a link that leads out of it,
/// not in place of a folder, and not below a file. What is `gone` before does not count.
fn may_stand(root: &Utf8Path, to: &Utf8Path, gone: &BTreeSet<Utf8PathBuf>) -> Result<(), OutputError> {
    let refused = |why| OutputError::Place { path: to.to_owned(), why };
    if is_reserved(to) {
        return Err(refused("it is the project's own"));
    }
    let is_folder = fs::symlink_metadata(root.join(to)).is_ok_and(|there| there.is_dir());
    if is_folder && !goes(root, to, gone) {
        return Err(OutputError::Folder { path: to.to_owned() });
    }
    let real_root =
        root.canonicalize().map_err(|source| OutputError::Write { path: to.to_owned(), source })?;
    let mut parents = to.ancestors().skip(1).filter(|parent| !gone.contains(*parent));
    match parents.find_map(|parent| root.join(parent).canonicalize().ok()) {
        Some(real) if !real.starts_with(&real_root) => Err(refused("a link leads out of the project")),
        Some(real) if real.is_dir() => Ok(()),
        Some(_) => Err(refused("a file stands where its folder is to be")),
        None => Err(refused("its folder cannot be found")),
    }
}

/// Whether the folder goes with the files that are `gone`: nothing else is in it, nor in the
/// folders below.
fn goes(root: &Utf8Path, folder: &Utf8Path, gone: &BTreeSet<Utf8PathBuf>) -> bool {
    let Ok(entries) = root.join(folder).read_dir_utf8() else { return false };
    let mut entries = entries.peekable();
    let is_gone = |entry: io::Result<Utf8DirEntry>| {
        entry.is_ok_and(|entry| {
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder { goes(root, &path, gone) } else { gone.contains(&path) }
        })
    };
    entries.peek().is_some() && entries.all(is_gone)
}

/// Removes what killed bakes left half written. What cannot be removed harms nobody.
fn sweep(root: &Utf8Path, files: &[Staged]) {
    let folders: BTreeSet<_> = files.iter().filter_map(|file| file.to.parent()).collect();
    for folder in folders {
        let _ = sweep_unfinished(&root.join(folder));
    }
}

/// Whether the file stands there already, with its bytes, mode and times.
fn is_same(from: &Utf8Path, path: &Utf8Path) -> io::Result<bool> {
    let (new, Ok(old)) = (fs::symlink_metadata(from)?, fs::symlink_metadata(path)) else { return Ok(false) };
    if new.is_symlink() || old.is_symlink() {
        let both = new.is_symlink() && old.is_symlink();
        return Ok(both && fs::read_link(from)? == fs::read_link(path)?);
    }
    Ok(looks_same(&new, &old)? && same_bytes(from, path)?)
}

fn looks_same(new: &Metadata, old: &Metadata) -> io::Result<bool> {
    let same = new.len() == old.len() && new.permissions() == old.permissions() && old.is_file();
    Ok(same && new.modified()? == old.modified()?)
}

fn same_bytes(one: &Utf8Path, other: &Utf8Path) -> io::Result<bool> {
    let digest = |path: &Utf8Path| -> io::Result<blake3::Hash> {
        Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize())
    };
    Ok(digest(one)? == digest(other)?)
}

/// Moves the file there, or copies it from another file system.
fn write(from: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    fs::create_dir_all(folder)?;
    match fs::rename(from, path) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, folder, path),
        moved => moved,
    }
}

fn copy(from: &Utf8Path, folder: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        let _ = fs::remove_file(path);
        return std::os::unix::fs::symlink(fs::read_link(from)?, path);
    }
    let mut staged = replace::Staged::new(folder).map_err(io::Error::other)?;
    let to = staged.file();
    io::copy(&mut File::open(from)?, to)?;
    to.set_permissions(metadata.permissions())?;
    to.set_modified(metadata.modified()?)?;
    staged.publish(path, Durability::Unsynced).map_err(io::Error::other).map(drop)
}

/// Removes the files that a bake wrote for an earlier key, and folders that are empty without them.
fn remove_gone(root: &Utf8Path, old: &Record, new: &Record) -> Result<(), OutputError> {
    let gone = old.files.iter().filter(|(file, _)| !new.files.contains_key(*file));
    let mut ours = gone.filter(|(file, state)| is_ours(root, file, state.as_deref()));
    ours.try_for_each(|(file, _)| remove(root, file))
}

fn remove(root: &Utf8Path, file: &Utf8Path) -> Result<(), OutputError> {
    match fs::remove_file(root.join(file)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OutputError::Write { path: file.to_owned(), source })
        }
        _ => {
            remove_empty(root, file);
            Ok(())
        }
    }
}

/// Removes the folders above the file as far as they are empty, down to the project's own.
fn remove_empty(root: &Utf8Path, file: &Utf8Path) {
    let above = file.ancestors().skip(1).filter(|folder| !folder.as_str().is_empty());
    for folder in above.map(Utf8Path::to_owned).collect::<Vec<Utf8PathBuf>>() {
        if fs::remove_dir(root.join(folder)).is_err() {
            break;
        }
    }
}
