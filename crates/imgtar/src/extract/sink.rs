//! Where extracted files go.

use std::io::{ErrorKind, Read, Write};

use super::member::{Meta, shown};
use crate::error::{Error, Result};

/// What is handed on.
#[derive(Clone, Copy, Debug)]
pub struct Item<'i> {
    /// Its name outside: clean, relative, never empty.
    pub name: &'i [u8],
    /// What it is.
    pub what: What<'i>,
    /// Modes, times and the like.
    pub meta: &'i Meta,
}

/// What a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'i> {
    /// A file of so many bytes, which come with it.
    File(u64),
    /// A folder; what lies in it may have come before.
    Folder,
    /// A symbolic link with this target.
    Symlink(&'i [u8]),
    /// Another name for a file that came before, under this name.
    Link(&'i [u8]),
    /// A device or a named pipe.
    Device,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was taken.
    Yes,
    /// It was left out, and why.
    Skipped(&'static str),
}

/// Takes extracted files. None of them is visible before all have come.
pub trait Sink {
    /// Takes one. A later item of the same name takes an earlier one's place.
    ///
    /// # Errors
    /// I/O errors; a folder and something else of one name.
    fn put(&mut self, item: &Item<'_>, data: &mut dyn Read) -> Result<Taken>;

    /// Fails where the work is to stop; asked at every entry, wanted or not.
    ///
    /// # Errors
    /// As it likes.
    fn check(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was extracted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files, links among them.
    pub files: u64,
    /// How many folders.
    pub folders: u64,
    /// How many bytes the files have.
    pub bytes: u64,
    /// What was left out, and why.
    pub skipped: Vec<(String, &'static str)>,
    /// What was asked for and is not in the image.
    pub absent: Vec<String>,
}

/// Copies a file's bytes, exactly so many. `place` is where they go, for messages.
pub(crate) fn copy(item: &Item<'_>, data: &mut dyn Read, out: &mut dyn Write, place: &str) -> Result<()> {
    let What::File(mut left) = item.what else { return Ok(()) };
    let cut = |reason: String| Error::Member { entry: shown(item.name), reason };
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(usize::MAX).clamp(1, 128 << 10)];
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = data.read(&mut buffer[..room]).map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Error::write(place, error),
            _ => cut(error.to_string()),
        })?;
        if count == 0 {
            return Err(cut("it is cut off".to_owned()));
        }
        out.write_all(&buffer[..count]).map_err(|source| Error::write(place, source))?;
        left -= count as u64;
    }
    Ok(())
}
