//! What lies in a folder, with what the system says of each file: for folders of very many.

use std::ffi::CStr;

use camino::Utf8Path;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At, Error};

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
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = match rustix::fs::open(folder.as_std_path(), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        open => open.at("list", folder)?,
    };
    for entry in Dir::read_from(&open).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::statat(&open, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            stat => each(name, &stat.at("read", folder)?)?,
        }
    }
    Ok(())
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
