//! Writes a tar with nothing in it that could differ: no times, no owners.

use std::io::Write;

use crate::error::{Error, Result};

/// A tar on its way out.
pub(crate) struct Tar<'a> {
    pub(crate) out: &'a mut dyn Write,
}

impl Tar<'_> {
    pub(crate) fn header(&mut self, name: &str, size: u64, kind: tar::EntryType) -> Result<()> {
        let failed = |source| Error::write("-", source);
        let mut header = tar::Header::new_gnu();
        header.set_path(name).map_err(failed)?;
        header.set_size(size);
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.out.write_all(header.as_bytes()).map_err(failed)
    }

    pub(crate) fn folder(&mut self, name: &str) -> Result<()> {
        self.header(name, 0, tar::EntryType::Directory)
    }

    pub(crate) fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        self.header(name, size, tar::EntryType::Regular)?;
        self.out.write_all(bytes).map_err(|source| Error::write("-", source))?;
        self.pad(size)
    }

    pub(crate) fn pad(&mut self, size: u64) -> Result<()> {
        let zeros = [0; 512];
        let rest = usize::try_from(size.next_multiple_of(512) - size).unwrap_or(0);
        self.out.write_all(&zeros[..rest]).map_err(|source| Error::write("-", source))
    }

    pub(crate) fn end(self) -> Result<()> {
        self.out
            .write_all(&[0; 1024])
            .and_then(|()| self.out.flush())
            .map_err(|source| Error::write("-", source))
    }
}
