//! Where the bytes of an archive or a disk come from.

use std::io::{self, Read};

use camino::Utf8PathBuf;

use crate::error::{Error, Result};

/// Where an archive comes from.
pub enum Source {
    /// Something that can be read once.
    Stream(Box<dyn Read + Send>),
    /// A file.
    File(Utf8PathBuf),
}

/// The writer into a pipe must not fail because its image is stored already.
pub(crate) fn drain(source: Source) -> Result<()> {
    match source {
        Source::Stream(mut stream) => {
            io::copy(&mut stream, &mut io::sink()).map(drop).map_err(|source| Error::read("-", source))
        }
        Source::File(_) => Ok(()),
    }
}
