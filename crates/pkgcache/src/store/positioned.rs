//! A reader with a position of its own in a file that others read, too.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::sync::Arc;

/// Reads a file from a position of its own.
#[derive(Debug)]
pub(crate) struct Positioned {
    file: Arc<File>,
    at: u64,
}

impl Positioned {
    /// From the beginning.
    #[must_use]
    pub(crate) fn new(file: Arc<File>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = rustix::io::pread(&*self.file, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
