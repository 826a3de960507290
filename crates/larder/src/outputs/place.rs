//! Puts files into the project, as a whole as far as a file system can: each file appears whole
//! under its name, and what a killed bake left half done the next one mends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
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

/// Puts the files where they belong, and removes those of an earlier key. Returns how many were
/// written: one that is there already with the same bytes and times is left alone.
///
/// # Errors
/// A place that no output may have, before anything is written; what the file system refuses.
pub(crate) fn put(files: &[Staged], owner: &Owner<'_>, ledger: &Ledger<'_>) -> Result<usize, OutputError> {
    let root = ledger.root();
    files.iter().try_for_each(|file| may_stand(root, &file.to))?;
    let old = ledger.read(owner.name);
    ledger.write(owner.name, &pending(&old, files));
    sweep(root, files);
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

/// Whether a file may be written there: in the project, not through a link that leads out of it,
/// and not in place of a folder.
fn may_stand(root: &Utf8Path, to: &Utf8Path) -> Result<(), OutputError> {
    let refused = |why| OutputError::Place { path: to.to_owned(), why };
    if is_reserved(to) {
        return Err(refused("it is the project's own"));
    }
    if fs::symlink_metadata(root.join(to)).is_ok_and(|there| there.is_dir()) {
        return Err(OutputError::Folder { path: to.to_owned() });
    }
    let real_root =
        root.canonicalize().map_err(|source| OutputError::Write { path: to.to_owned(), source })?;
    let parents = to.ancestors().skip(1).map(|parent| root.join(parent));
    let real = parents.into_iter().find_map(|parent| parent.canonicalize().ok());
    match real {
        Some(real) if real.starts_with(&real_root) => Ok(()),
        _ => Err(refused("a link leads out of the project")),
    }
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
/// One that was changed since is its user's.
fn remove_gone(root: &Utf8Path, old: &Record, new: &Record) -> Result<(), OutputError> {
    for (file, state) in old.files.iter().filter(|(file, _)| !new.files.contains_key(*file)) {
        let path = root.join(file);
        // Noted as about to be written: it is a bake's, as far as it is there.
        let is_ours = state.is_none() || is_still(&path, state.as_deref());
        if !is_ours || may_stand(root, file).is_err() {
            continue;
        }
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(OutputError::Write { path: file.clone(), source });
            }
            _ => remove_empty(root, file),
        }
    }
    Ok(())
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
