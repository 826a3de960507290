//! What the branches and tags of a repository name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{Mode, OFlags, openat};

use super::super::below::{Folder, Seen};

/// Longer files are no refs.
const REF_CAP: u64 = 1000;

/// The library passes over files of this name, and so is done here.
const PASSED_OVER: &str = ".DS_Store";

/// The refs of a repository.
#[derive(Debug, Default)]
pub(super) struct Refs {
    by_commit: BTreeMap<String, Named>,
    /// The first that cannot be read, below the hub: it may name any revision.
    pub(super) unread: Option<Utf8PathBuf>,
}

/// The refs that name one commit.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Sorted.
    pub(super) names: Vec<String>,
    /// The bytes on disk of those without other names.
    pub(super) bytes: u64,
}

impl Refs {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_commit.values().map(|named| named.names.len()).sum()
    }

    /// Those that name the commit.
    pub(super) fn of(&self, commit: &str) -> Option<&Named> {
        self.by_commit.get(commit)
    }

    fn add(&mut self, path: Option<&Utf8Path>, refs: &Utf8Path, commit: Option<String>, seen: &Seen) {
        let name = path.and_then(|path| path.strip_prefix(refs).ok());
        let (Some(name), Some(commit)) = (name, commit) else {
            let unread = path.unwrap_or(refs).to_owned();
            self.unread = self.unread.take().into_iter().chain([unread]).min();
            return;
        };
        let named = self.by_commit.entry(commit).or_default();
        named.names.push(name.to_string());
        named.bytes += if seen.is_single { seen.bytes } else { 0 };
    }
}

/// Reads those of the repository, which is a folder below the hub.
pub(super) fn read(hub: &Folder, repository: &Utf8Path) -> io::Result<Refs> {
    let mut refs = Refs::default();
    let root = repository.join("refs");
    let Some(above) = hub.below(repository.as_std_path())? else { return Ok(refs) };
    if above.look(OsStr::new("refs"))?.is_some_and(|seen| !seen.is_folder()) {
        refs.unread = Some(root);
        return Ok(refs);
    }
    hub.walk(root.as_std_path(), &mut |folder, path, seen| {
        let Some(name) = path.file_name().filter(|name| !seen.is_folder() && *name != PASSED_OVER) else {
            return Ok(());
        };
        refs.add(Utf8Path::from_path(path), &root, commit(folder, name, &seen), &seen);
        Ok(())
    })?;
    for named in refs.by_commit.values_mut() {
        named.names.sort();
    }
    Ok(refs)
}

/// The commit that the ref names; `None` where it cannot be read.
fn commit(folder: &Folder, name: &OsStr, seen: &Seen) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder.fd(), name, flags, Mode::empty()).ok().filter(|_| seen.is_file())?;
    let mut text = String::new();
    std::fs::File::from(file).take(REF_CAP + 1).read_to_string(&mut text).ok()?;
    let commit = text.trim();
    // One that is empty is being written.
    let is_commit = !commit.is_empty() && !commit.contains(|it: char| it == '/' || it.is_whitespace());
    (is_commit && text.len() as u64 <= REF_CAP).then(|| commit.to_owned())
}

/// Removes the ref where it still names the commit.
pub(super) fn unlink(hub: &Folder, repository: &Utf8Path, name: &str, of: &str) -> io::Result<()> {
    let path = repository.join("refs").join(name);
    let above = hub.below(path.parent().map_or(Path::new(""), Utf8Path::as_std_path))?;
    let (Some(above), Some(name)) = (above, path.file_name().map(OsStr::new)) else { return Ok(()) };
    match above.look(name)? {
        Some(seen) if commit(&above, name, &seen).as_deref() == Some(of) => above.remove(name).map(drop),
        _ => Ok(()),
    }
}
