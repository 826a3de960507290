//! Lists exactly the paths that it is given.
//!
//! No ignore file plays a part. A directory counts where nothing in it is listed, so that `find .
//! -print0` and `git ls-files -z` both say what they mean. One that is not empty then is refused:
//! its name says nothing of what is in it. But a repository, as a submodule stands in git's list,
//! counts with what git takes for its files, and what is worth saying of a submodule is said for
//! every path in it. A path that leads through a symbolic link is refused,
//! as git refuses it: no tree that is copied has it, and it may lie outside of the context.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use rustix::fs::{AtFlags, CWD};

use crate::error::HashError;
use crate::files::stat::Kind;
use crate::files::stat::Stat;
use crate::git::{self, GitListing};
use crate::listed::{Listed, Lister, Listing, drop_filled};
use crate::listing::stores;
use crate::path::{RelPath, escape};
use crate::warning::Warning;

/// These paths and no others.
pub struct FilesFrom<'a> {
    /// The paths, in any order.
    pub paths: &'a [RelPath],
}

impl Lister for FilesFrom<'_> {
    fn list(&self, root: &Utf8Path, threads: usize) -> Result<Listing, HashError> {
        let mut above = HashSet::new();
        let listed = |path| {
            through_folders(root, path, &mut above)?;
            listed(root, path)
        };
        let mut entries = self.paths.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        entries.dedup();
        drop_filled(&mut entries);
        let mut listing = Listing { entries, ..Listing::default() };
        drop_stores(root, &mut listing);
        listing.warnings.extend(of_submodules(root, &listing.entries));
        let repositories = repositories(root, &listing.entries)?;
        if !repositories.is_empty() {
            take_repositories(root, threads, &repositories, &mut listing)?;
        }
        Ok(listing)
    }
}

/// Leaves out the stores of larder's that are listed themselves; what is listed in them goes later.
fn drop_stores(root: &Utf8Path, listing: &mut Listing) {
    let is_store =
        |entry: &Listed| entry.kind == Kind::Dir && stores::is_store(&full(root, entry.path.as_bytes()));
    let (found, entries) = std::mem::take(&mut listing.entries).into_iter().partition(is_store);
    let found: Vec<Listed> = found;
    listing.entries = entries;
    listing.warnings.extend(found.into_iter().map(|store| Warning::StoreInContext { path: store.path }));
}

/// The listed folders that are repositories with something in them.
fn repositories(root: &Utf8Path, entries: &[Listed]) -> Result<Vec<RelPath>, HashError> {
    let mut repositories = Vec::new();
    for Listed { path, .. } in entries.iter().filter(|entry| entry.kind == Kind::Dir) {
        let full = full(root, path.as_bytes());
        if is_empty(&full).map_err(HashError::listed(path))? {
            continue;
        }
        if full.join(".git").symlink_metadata().is_err() {
            return Err(HashError::ListedFolder { path: path.to_string() });
        }
        repositories.push(path.clone());
    }
    Ok(repositories)
}

/// Puts what git takes for the files of listed repositories in their place, and what is to be said
/// of them.
fn take_repositories(
    root: &Utf8Path,
    threads: usize,
    repositories: &[RelPath],
    listing: &mut Listing,
) -> Result<(), HashError> {
    let within = |path: &RelPath| {
        let is_one = |folder: &[u8]| repositories.binary_search_by(|one| one.as_bytes().cmp(folder)).is_ok();
        is_one(path.as_bytes()) || path.parents().any(is_one)
    };
    let GitListing { entries, warnings, .. } = git::list(root.as_std_path(), threads)?;
    let found: Vec<Listed> = entries.into_iter().filter(|entry| within(&entry.path)).collect();
    for repository in repositories {
        let below = [repository.as_bytes(), b"/"].concat();
        if !found.iter().any(|entry| entry.path.as_bytes().starts_with(&below)) {
            return Err(HashError::ListedFolder { path: repository.to_string() });
        }
    }
    listing.entries.retain(|entry| !within(&entry.path));
    listing.entries.extend(found);
    let of_one = |warning: &git::GitWarning| warning.path().is_some_and(|path| within(&path));
    for warning in warnings.into_iter().filter(of_one).map(Warning::Git) {
        if !listing.warnings.contains(&warning) {
            listing.warnings.push(warning);
        }
    }
    Ok(())
}

/// What is to be said of the submodules that are listed, or that a listed path lies in.
fn of_submodules(root: &Utf8Path, entries: &[Listed]) -> impl Iterator<Item = Warning> {
    let above = entries.iter().flat_map(|entry| entry.path.parents().filter_map(RelPath::new));
    let listed = entries.iter().filter(|entry| entry.kind == Kind::Dir).map(|entry| entry.path.clone());
    git::submodule_warnings(root.as_std_path(), &above.chain(listed).collect()).into_iter().map(Warning::Git)
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().transpose()?.is_none())
}

fn full(root: &Utf8Path, path: &[u8]) -> PathBuf {
    root.as_std_path().join(OsStr::from_bytes(path))
}

/// Checks the folders above a path that are not among `known`, the outermost first.
fn through_folders<'p>(
    root: &Utf8Path,
    path: &'p RelPath,
    known: &mut HashSet<&'p [u8]>,
) -> Result<(), HashError> {
    let mut folders: Vec<&[u8]> = path.parents().take_while(|folder| !known.contains(folder)).collect();
    while let Some(folder) = folders.pop() {
        let stat = rustix::fs::statat(CWD, full(root, folder), AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(io::Error::from).map_err(HashError::listed(path))?;
        if Stat::from(&stat).kind() == Kind::Symlink {
            let link = escape(folder).into_owned();
            return Err(HashError::BeyondLink { path: path.to_string(), link });
        }
        known.insert(folder);
    }
    Ok(())
}

fn listed(root: &Utf8Path, path: &RelPath) -> Result<Listed, HashError> {
    let stat = rustix::fs::statat(CWD, full(root, path.as_bytes()), AtFlags::SYMLINK_NOFOLLOW);
    let stat = stat.map_err(io::Error::from).map_err(HashError::listed(path))?;
    Ok(Listed::new(path.clone(), Stat::from(&stat).kind()))
}

/// Reads a list of paths, each ended by `end`; a leading `./` is dropped, as `find` writes it, and
/// so is the root itself.
///
/// # Errors
/// Where a path is absolute, or leads out of the root.
pub fn parse(list: &[u8], end: u8) -> Result<Vec<RelPath>, HashError> {
    let lines = list.split(|&byte| byte == end).filter(|line| !matches!(*line, b"" | b"." | b"./"));
    lines.map(path).collect()
}

fn path(line: &[u8]) -> Result<RelPath, HashError> {
    let bytes = line.strip_prefix(b"./").unwrap_or(line);
    let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
    RelPath::new(bytes).ok_or_else(|| HashError::Outside { path: escape(line).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_find_and_git_are_read() {
        let paths = parse(b".\0./a/b\0c\nd\0e/\0", 0).expect("read");
        let bytes: Vec<_> = paths.iter().map(RelPath::as_bytes).collect();
        assert_eq!(bytes, [&b"a/b"[..], b"c\nd", b"e"]);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for list in [&b"/etc/passwd\n"[..], b"../x\n", b"a/../../x\n", b"a\0b\n"] {
            assert!(parse(list, b'\n').is_err(), "{}", escape(list));
        }
    }
}
