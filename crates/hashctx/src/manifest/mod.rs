//! The manifest: everything that enters a key, as text. FORMAT.md gives it byte by byte.
//!
//! Values of build args and inputs are in it as digests only.
//!
//! Deliberately absent: how the inputs were found or hashed.

pub mod diff;
mod parse;
mod write;

pub use parse::{ManifestError, parse};

use std::collections::BTreeSet;
use std::io;

use crate::files::digest::Digest;
use crate::files::entry::Entry;

/// The format's version, in the first line of every manifest.
pub const VERSION: u32 = 1;

/// Everything that enters a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// What was declared, beside the files.
    pub declared: BTreeSet<Declared>,
    /// The inputs in the main context, sorted by path.
    pub entries: Vec<Entry>,
    /// The inputs in the named contexts, sorted by name.
    pub named: Vec<NamedEntries>,
}

/// The inputs in one named context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEntries {
    /// The context's name.
    pub name: String,
    /// Sorted by path.
    pub entries: Vec<Entry>,
}

/// An input that is not a file. The order of the variants is their order in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Declared {
    /// The Dockerfile's text, as far as the build depends on it.
    Dockerfile(Digest),
    /// The stage that is built.
    Target(String),
    /// The platform that is built for.
    Platform(String),
    /// A build arg and the digest of its value.
    Arg(String, Digest),
    /// A base image and its digest, `sha256:…`.
    Base(String, String),
    /// A named context that is not a folder, and the digest of where it is.
    Source(String, Digest),
    /// A value given with `--input`, by its digest.
    Input(String, Digest),
}

/// A key: the BLAKE3 digest of a manifest. As text it is a valid OCI tag.
pub type Key = Digest;

impl Manifest {
    /// Writes the manifest.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        write::manifest(self, out)
    }

    /// The key: `b3sum` of what [`write`](Self::write) writes.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        // A hasher takes whatever it is given.
        let _ = write::hash(self, &mut hasher);
        hasher.finalize().into()
    }
}
