//! The metadata of a path that hashing looks at.

use rustix::fs::{FileType, RawMode};

/// What stands under a path, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file; whether it is executable is found when it is read.
    File,
    /// A symbolic link, whatever it points to.
    Symlink,
    /// A directory. Listed where nothing below it is listed; never under git's rules, which know no
    /// empty directories.
    Dir,
    /// A socket.
    Socket,
    /// A FIFO or a device.
    Special,
}

/// Part of `lstat`: what tells the kind of an input, and whether it is still the file that was
/// hashed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Inode number.
    pub inode: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of content or metadata, nanoseconds since 1970.
    pub ctime: i64,
}

impl Stat {
    /// What stands there.
    #[must_use]
    pub fn kind(&self) -> Kind {
        FileType::from_raw_mode(self.mode as RawMode).into()
    }

    /// What it is called where it is neither file nor folder nor link.
    #[must_use]
    pub fn special(&self) -> &'static str {
        match FileType::from_raw_mode(self.mode as RawMode) {
            FileType::Fifo => "FIFO",
            FileType::Socket => "socket",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            _ => "file of no known kind",
        }
    }

    /// Whether its owner may execute it: what git tracks, and what an image needs.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// The permission bits, set-user-ID and its like included.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            FileType::Directory => Self::Dir,
            FileType::Socket => Self::Socket,
            _ => Self::Special,
        }
    }
}

impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            mode: stat.st_mode,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }
}

/// Wraps for times some 292 years off 1970: two of them may be taken for one, and only together
/// with an equal ctime.
fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(rest)
}
