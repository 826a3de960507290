//! What a path contributes to the key.

use crate::files::digest::Digest;
use crate::path::RelPath;

/// One hashed input of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is, below the root.
    pub path: RelPath,
    /// What it is.
    pub content: Content,
}

/// What stands under a path, as far as it enters the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    File {
        /// BLAKE3 of its bytes.
        digest: Digest,
        /// As much of its mode as enters.
        mode: FileMode,
    },
    /// A symbolic link.
    Link {
        /// What it points to, as it stands in the link.
        target: Box<[u8]>,
    },
    /// A directory with no input in it, or one whose permission bits enter.
    Dir {
        /// Its permission bits, where they enter.
        permissions: Option<u16>,
    },
}

/// As much of a file's mode as enters the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// A file; not executable, or the mode does not enter.
    Plain,
    /// A file that its owner may execute.
    Executable,
    /// All permission bits.
    Bits(u16),
}

/// Which part of the files' modes enters the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModePolicy {
    /// Whether the owner may execute a file: what git keeps, and the same for every umask.
    #[default]
    Exec,
    /// All permission bits, of files and of directories: of empty ones, and of those that an input
    /// lies in.
    Full,
    /// Nothing.
    None,
}

impl ModePolicy {
    /// What enters of a file's `st_mode`.
    #[must_use]
    pub fn of_file(self, mode: u32) -> FileMode {
        match self {
            Self::Full => FileMode::Bits(bits(mode)),
            Self::Exec if mode & 0o100 != 0 => FileMode::Executable,
            Self::Exec | Self::None => FileMode::Plain,
        }
    }

    /// What enters of a directory's `st_mode`.
    #[must_use]
    pub fn of_dir(self, mode: u32) -> Option<u16> {
        (self == Self::Full).then(|| bits(mode))
    }
}

fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0)
}
