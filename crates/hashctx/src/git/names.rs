//! The names in one folder, sorted as the paths below it are.
//!
//! Judges nothing and follows no links.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RawDirEntry};
use rustix::io::Errno;

use crate::files::stat::Kind;
use crate::files::stat::Stat;

/// What one call to the system fills: some 800 names of middling length.
const BUFFER: usize = 1 << 15;

/// What stands in a folder when it is read.
pub(super) struct Names {
    /// Names one after the other, those of directories with a `/`.
    bytes: Vec<u8>,
    /// Where each ends, and what it is.
    ends: Vec<(usize, Kind)>,
    folder: OwnedFd,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Name<'n> {
    /// With a `/` at its end if it is a directory's: what the paths below it are sorted by.
    key: &'n [u8],
    pub(super) kind: Kind,
}

impl Names {
    /// Reads a folder, named from an open one. A link to a folder is an error.
    pub(super) fn read(root: BorrowedFd<'_>, folder: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder: OwnedFd = rustix::fs::openat(root, folder, flags, Mode::empty())?;
        let (mut bytes, mut ends) = (Vec::with_capacity(1 << 10), Vec::with_capacity(1 << 5));
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut entries = RawDir::new(&folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if let Some(kind) = kind(folder.as_fd(), &entry)? {
                bytes.extend_from_slice(name);
                bytes.extend((kind == Kind::Dir).then_some(b'/'));
                ends.push((bytes.len(), kind));
            }
        }
        Ok(Self { bytes, ends, folder })
    }

    /// The metadata of what has that name in the folder now, if anything; of a link, its own.
    pub(super) fn stat(&self, name: &[u8]) -> Option<Stat> {
        let stat = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(Stat::from(&stat))
    }

    /// All but `.` and `..`, sorted.
    pub(super) fn sorted(&self) -> Vec<Name<'_>> {
        let mut start = 0;
        let names = self.ends.iter().map(|&(end, kind)| {
            let key = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            Name { key, kind }
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable_by_key(|name| name.key);
        names
    }
}

impl<'n> Name<'n> {
    pub(super) fn bytes(&self) -> &'n [u8] {
        self.key.strip_suffix(b"/").unwrap_or(self.key)
    }
}

/// What an entry is; `None` for what is gone meanwhile. Not every file system says it in its
/// listings.
fn kind(folder: BorrowedFd<'_>, entry: &RawDirEntry<'_>) -> io::Result<Option<Kind>> {
    if entry.file_type() != FileType::Unknown {
        return Ok(Some(entry.file_type().into()));
    }
    match rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode).into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
