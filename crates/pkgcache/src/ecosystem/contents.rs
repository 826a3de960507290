//! What a file has to have in it, where that is told of its parts and not of its bytes: only a look
//! at the whole file shows whether it has.

use std::io::{BufRead, Seek};

use storekit::Checksum;

use crate::ecosystem::apk::members;
use crate::ecosystem::go::{dirhash, tiles};

/// What a file has to have in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Contents {
    /// The files of a Go module, in a zip.
    GoZip(tiles::Hash),
    /// A go.mod.
    GoMod(tiles::Hash),
    /// A package of apk's, by its control member.
    Apk(Checksum),
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
    pub(crate) fn check(&self, file: &mut (impl BufRead + Seek)) -> Result<(), Unlike> {
        let found = match self {
            Self::GoZip(_) => dirhash::of_zip(file).map(Self::GoZip),
            Self::GoMod(_) => dirhash::of_mod(file).map(Self::GoMod),
            Self::Apk(like) => members::control(file, *like).map(Self::Apk),
        };
        if found.as_ref() == Ok(self) {
            return Ok(());
        }
        let found = found.map_or_else(|why| why, |found| found.to_string());
        Err(Unlike { announced: self.to_string(), found })
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GoZip(sum) | Self::GoMod(sum) => f.write_str(&dirhash::text(sum)),
            Self::Apk(control) => write!(f, "{control} of its control member"),
        }
    }
}
