//! Opens folders below a folder, without ever following a link or leaving it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::names;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A clean name or a part of one, for the system.
pub(crate) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(if name.is_empty() { b"." } else { name })
}

/// Opens the folder with this clean name below `root`.
///
/// # Errors
/// `ELOOP` or `ENOTDIR` where a link or a file stands in the way; others of the system.
pub(crate) fn open(root: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, os(name), FOLDER, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, name),
        opened => opened,
    }
}

fn step_by_step(root: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let mut at = openat(root, ".", FOLDER, Mode::empty())?;
    for part in names::parts(name) {
        at = openat(&at, os(part), FOLDER, Mode::empty())?;
    }
    Ok(at)
}

/// The same, making what is not there.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_or_make(root: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match open(root, name) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    for folder in names::above(name).skip(1).chain([name]) {
        let (parent, last) = names::split(folder);
        match mkdirat(open(root, parent)?, os(last), Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    open(root, name)
}

/// The names in an open folder.
///
/// # Errors
/// Those of the system.
pub(crate) fn list(folder: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder.as_fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            found.push(name.to_vec());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed_either_way() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("a/in")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        for opened in [open, step_by_step] {
            assert!(opened(root.as_fd(), b"a/b").is_ok());
            assert!(opened(root.as_fd(), b"").is_ok());
            for name in [&b"out"[..], b"out/apt", b"a/in", b"none"] {
                assert!(opened(root.as_fd(), name).is_err());
            }
        }
        assert!(open_or_make(root.as_fd(), b"a/b/c/d").is_ok());
        assert!(open_or_make(root.as_fd(), b"out/c").is_err());
    }
}
