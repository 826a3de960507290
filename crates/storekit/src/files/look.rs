//! What lies in a folder, with what the system says of each file: for folders of very many.

use std::ffi::CStr;

use camino::Utf8Path;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At, Error};
use crate::files::state::{FileState, ShortState};

/// What the system said of a file when its folder was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How long it is.
    pub size: u64,
    /// Its bytes on disk.
    pub bytes: u64,
    /// In which state it was; one that proves nothing, of what is not a regular file.
    pub state: ShortState,
}

impl Seen {
    /// Of what the system says.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        let (size, blocks) = (u64::try_from(stat.st_size), u64::try_from(stat.st_blocks));
        Self {
            size: size.unwrap_or(0),
            bytes: blocks.unwrap_or(0).saturating_mul(512),
            state: if is_file(stat) { FileState::of(stat).short() } else { ShortState::default() },
        }
    }
}

/// Hands on what is in the folder, in no order: the name, and what the system says of it, where it
/// is a link of the link itself. A folder that is not there has nothing in it; what goes meanwhile
/// is passed over.
///
/// # Errors
/// I/O errors, those of `each`.
pub fn each<E: From<Error>>(
    folder: &Utf8Path,
    each: &mut dyn FnMut(&CStr, &Stat) -> Result<(), E>,
) -> Result<(), E> {
    each_of(folder, &|_| true, each)
}

/// The same of what is meant alone, by its name: the rest is not looked at.
///
/// # Errors
/// As [`each`].
pub fn each_of<E: From<Error>>(
    folder: &Utf8Path,
    is_meant: &dyn Fn(&CStr) -> bool,
    each: &mut dyn FnMut(&CStr, &Stat) -> Result<(), E>,
) -> Result<(), E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = match rustix::fs::open(folder.as_std_path(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        open => open.at("list", folder)?,
    };
    for entry in Dir::read_from(&open).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || !is_meant(name) {
            continue;
        }
        match rustix::fs::statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            stat => each(name, &stat.at("read", folder)?)?,
        }
    }
    Ok(())
}

/// Whether it may lead to something that can be read and has an end: a regular file, or a link.
#[must_use]
pub fn may_be_read(stat: &Stat) -> bool {
    is_file(stat) || FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

/// Whether it is a regular file.
#[must_use]
pub fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether it is a folder.
#[must_use]
pub fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
