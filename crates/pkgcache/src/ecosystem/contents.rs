//! What a file has to have in it, where that is told of its parts and not of its bytes: only a look
//! at the whole file shows whether it has.

use std::io::{Read, Seek};

use crate::ecosystem::go::{dirhash, tiles};

/// What a file has to have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Contents {
    /// The files of a Go module, in a zip.
    GoZip(tiles::Hash),
    /// A go.mod.
    GoMod(tiles::Hash),
}

/// A file that has something else in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unlike {
    /// What it had to be.
    pub(crate) announced: String,
    /// What it is, or why that cannot be told.
    pub(crate) found: String,
}

impl Contents {
    /// Whether the file has it.
    ///
    /// # Errors
    /// [`Unlike`].
    pub(crate) fn check(&self, file: &mut (impl Read + Seek)) -> Result<(), Unlike> {
        let (announced, found) = match self {
            Self::GoZip(sum) => (sum, dirhash::of_zip(file)),
            Self::GoMod(sum) => (sum, dirhash::of_mod(file)),
        };
        if found.as_ref() == Ok(announced) {
            return Ok(());
        }
        Err(Unlike {
            announced: self.to_string(),
            found: found.map_or_else(|why| why, |sum| dirhash::text(&sum)),
        })
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GoZip(sum) | Self::GoMod(sum) => f.write_str(&dirhash::text(sum)),
        }
    }
}
