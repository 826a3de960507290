//! Lists exactly the paths that it is given.
//!
//! No ignore file plays a part. A directory counts where nothing in it is listed, so that `find . -print0` and
//! `git ls-files -z` both say what they mean. A path that leads through a symbolic link is refused, as git refuses it: no
//! tree that is copied has it, and it may lie outside of the context.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use camino::Utf8Path;
use rustix::fs::{AtFlags, CWD};

use crate::error::HashError;
use crate::listing::{Kind, Listed, Lister, Listing, drop_filled};
use crate::path::{RelPath, escape};
use crate::stat::Stat;

/// These paths and no others.
pub struct FilesFrom<'a> {
    /// The paths, in any order.
    pub paths: &'a [RelPath],
}

impl Lister for FilesFrom<'_> {
    fn list(&self, root: &Utf8Path, _threads: usize) -> Result<Listing, HashError> {
        let mut folders = HashSet::new();
        let listed = |path| {
            through_folders(root, path, &mut folders)?;
            listed(root, path)
        };
        let mut entries = self.paths.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        entries.dedup();
        drop_filled(&mut entries);
        Ok(Listing { entries, ..Listing::default() })
    }
}

/// Checks the folders above a path that are not among `known`, the outermost first.
fn through_folders<'p>(
    root: &Utf8Path,
    path: &'p RelPath,
    known: &mut HashSet<&'p [u8]>,
) -> Result<(), HashError> {
    let mut folders: Vec<&[u8]> = path.parents().take_while(|folder| !known.contains(folder)).collect();
    while let Some(folder) = folders.pop() {
        let full = root.as_std_path().join(OsStr::from_bytes(folder));
        let stat = rustix::fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(io::Error::from).map_err(HashError::read(path))?;
        if Stat::from(&stat).kind() == Kind::Symlink {
            let link = escape(folder).into_owned();
            return Err(HashError::BeyondLink { path: path.to_string(), link });
        }
        known.insert(folder);
    }
    Ok(())
}

fn listed(root: &Utf8Path, path: &RelPath) -> Result<Listed, HashError> {
    let full = root.as_std_path().join(path.as_path());
    let stat = rustix::fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW);
    let stat = stat.map_err(io::Error::from).map_err(HashError::read(path))?;
    Ok(Listed::new(path.clone(), Stat::from(&stat).kind()))
}

/// Reads a list of paths, each ended by `end`; a leading `./` is dropped, as `find` writes it, and so is the root itself.
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
