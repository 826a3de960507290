//! Opens regular files without ever waiting: a FIFO without a writer would keep a plain `open` for
//! good.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading, following links. What is neither a file nor a folder is refused, and
/// folders by their own kind of error.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() {
        return Ok(file);
    }
    let folder = meta.is_dir().then(|| io::ErrorKind::IsADirectory.into());
    Err(folder.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")))
}

/// Reads all of such a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}
