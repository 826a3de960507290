//! Turns a listing into entries: looks at every path, reads what has to be read, in parallel.
//!
//! The result is sorted and does not depend on the number of threads. Nothing here decides which
//! paths are inputs.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use camino::Utf8Path;
use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::HashError;
use crate::files::digest::{self, Digest};
use crate::files::entry::{Content, Entry, FileMode, ModePolicy};
use crate::files::stat::Kind;
use crate::files::stat::Stat;
use crate::listed::Listed;
use crate::path::RelPath;
use crate::stat_cache::{Known, Lesson, Seen, StatCache};
use crate::warning::Warning;

/// How often a file that changes under the reader is read before it is given up.
const ATTEMPTS: usize = 3;

/// Reads the inputs below one root.
pub struct Reader<'a> {
    root: OwnedFd,
    policy: ModePolicy,
    allow_changing: bool,
    cache: Option<&'a StatCache>,
    notes: Mutex<Notes>,
}

impl<'a> Reader<'a> {
    /// Opens the root. What the cache knows is not read again.
    ///
    /// # Errors
    /// Where the root is not a folder that can be opened.
    pub fn open(
        root: &Utf8Path,
        policy: ModePolicy,
        cache: Option<&'a StatCache>,
    ) -> Result<Self, HashError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root.as_str(), flags, Mode::empty());
        let root = fd.map_err(io::Error::from).map_err(HashError::read(root))?;
        Ok(Self { root, policy, allow_changing: false, cache, notes: Mutex::default() })
    }

    /// Whether a file that changes while it is read is worth a warning only. By default, it is an
    /// error.
    #[must_use]
    pub fn allow_changing(self, allow_changing: bool) -> Self {
        Self { allow_changing, ..self }
    }

    /// Hashes all of them, in their order, on the threads of the pool that this is called in.
    /// Beside each stands what the cache may learn from it.
    ///
    /// # Errors
    /// Where one cannot be read: a key of the others would be a lie.
    pub fn entries(&self, listed: Vec<Listed>) -> Result<(Vec<Entry>, Vec<Lesson>), HashError> {
        let failed = OnceLock::new();
        let (mut entries, mut lessons) = (Vec::new(), Vec::new());
        // Written in place: a list of results would stand in memory twice.
        let hashed = listed.into_par_iter().map_init(Near::default, |near, one| {
            let (content, lesson) = match failed.get() {
                None => self.content(near, &one).unwrap_or_else(|error| {
                    let _ = failed.set(error);
                    (NOTHING, None)
                }),
                Some(_) => (NOTHING, None),
            };
            (Entry { path: one.path, content }, lesson)
        });
        hashed.unzip_into_vecs(&mut entries, &mut lessons);
        failed.into_inner().map_or(Ok((entries, lessons)), Err)
    }

    /// What was worth a warning so far, in a stable order.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<Warning> {
        let mut notes = std::mem::take(&mut *self.notes());
        notes.warnings.sort_by_cached_key(ToString::to_string);
        let others = notes.private.saturating_sub(1);
        notes.warnings.extend(notes.first_private.map(|path| Warning::Private { path, others }));
        notes.warnings
    }

    /// Hashes one.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn entry(&self, listed: Listed) -> Result<Entry, HashError> {
        let (content, _) = self.content(&mut Near::default(), &listed)?;
        Ok(Entry { path: listed.path, content })
    }

    fn content(&self, near: &mut Near, listed: &Listed) -> Result<(Content, Lesson), HashError> {
        let Listed { path, kind, seen } = listed;
        let known = seen.and_then(|seen| self.known(path, seen));
        if let Some(content) = known.or_else(|| self.remembered(near, listed)) {
            return Ok((content, None));
        }
        // What a listing calls a file is opened without a look at it before: what was opened is
        // looked at.
        if *kind == Kind::File {
            match self.file(near, path) {
                // No file any more: what stands there now may count as well.
                Err(HashError::Vanished { .. }) => {}
                read => return read,
            }
        }
        let stat = self.stat(near, path)?;
        let content = match stat.kind() {
            Kind::File => return self.file(near, path),
            Kind::Symlink => Content::Link { target: self.link(path)? },
            Kind::Dir if *kind == Kind::Dir => Content::Dir { permissions: self.policy.of_dir(stat.mode) },
            Kind::Dir => return Err(HashError::Vanished { path: path.to_string() }),
            // The engines that take one at all make an empty file of it.
            Kind::Socket if *kind == Kind::Socket => {
                Content::File { digest: Digest::of(b""), mode: self.mode_of(path, stat.mode) }
            }
            Kind::Socket | Kind::Special => {
                return Err(HashError::Special { path: path.to_string(), what: stat.special() });
            }
        };
        Ok((content, None))
    }

    /// What the cache knows of the file that stands there now, if it has a record of the path.
    fn remembered(&self, near: &mut Near, listed: &Listed) -> Option<Content> {
        let cache = self.cache.filter(|_| listed.kind == Kind::File)?;
        let mut record = near.record;
        let stat = || self.stat(near, &listed.path).ok();
        let seen = cache.look(&mut record, listed.path.as_bytes(), stat);
        near.record = record;
        self.known(&listed.path, seen?)
    }

    /// What the cache knows of a file.
    fn known(&self, path: &RelPath, seen: Seen) -> Option<Content> {
        let known = self.cache?.known(seen)?;
        Some(self.described(path, seen.mode.get(), known))
    }

    /// Opens a file for reading, never following a link in its last part and never waiting for a
    /// FIFO's writer. Returns the metadata of what was opened.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open_file(&self, path: &RelPath) -> Result<(File, Stat), HashError> {
        open_file(&self.root, path.as_bytes(), path)
    }

    /// As much of a file's mode as enters. Takes note of files that others cannot read.
    #[must_use]
    pub fn mode_of(&self, path: &RelPath, mode: u32) -> FileMode {
        if mode & 0o004 == 0 {
            let mut notes = self.notes();
            notes.private += 1;
            if notes.first_private.as_ref().is_none_or(|first| path < first) {
                notes.first_private = Some(path.clone());
            }
        }
        self.policy.of_file(mode)
    }

    fn stat(&self, near: &mut Near, path: &RelPath) -> Result<Stat, HashError> {
        let (folder, name) = near.find(&self.root, path);
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(Stat::from(&stat.map_err(failed(path))?))
    }

    fn link(&self, path: &RelPath) -> Result<Box<[u8]>, HashError> {
        let target = rustix::fs::readlinkat(&self.root, path.as_bytes(), Vec::new()).map_err(failed(path))?;
        Ok(target.into_bytes().into_boxed_slice())
    }

    fn file(&self, near: &mut Near, path: &RelPath) -> Result<(Content, Lesson), HashError> {
        let (known, stat, steady) = self.read(near, path)?;
        let lesson = self.cache.filter(|_| steady).and_then(|cache| cache.lesson(&stat, known));
        Ok((self.described(path, stat.mode, known), lesson))
    }

    fn described(&self, path: &RelPath, mode: u32, known: Known) -> Content {
        if known.lfs_pointer {
            self.notes().warnings.push(Warning::LfsPointer { path: path.clone() });
        }
        Content::File { digest: known.digest, mode: self.mode_of(path, mode) }
    }

    /// Reads the file until it holds still, and says whether it did. One that never does is an
    /// error, unless that is allowed.
    fn read(&self, near: &mut Near, path: &RelPath) -> Result<(Known, Stat, bool), HashError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (known, before, after) = self.read_once(near, path)?;
            match known {
                Some(known) if before == after => return Ok((known, after, true)),
                known => last = known.map(|known| (known, after, false)),
            }
        }
        match last {
            Some(last) => self.unsteady(path).map(|()| last),
            None => Err(HashError::Changing { path: path.to_string() }),
        }
    }

    /// Takes note of a file that changed while it was read.
    ///
    /// # Errors
    /// Unless that is allowed.
    pub(crate) fn unsteady(&self, path: &RelPath) -> Result<(), HashError> {
        if !self.allow_changing {
            return Err(HashError::Changing { path: path.to_string() });
        }
        self.notes().warnings.push(Warning::Unsteady { path: path.clone() });
        Ok(())
    }

    /// `None` for a file that was cut short meanwhile.
    fn read_once(&self, near: &mut Near, path: &RelPath) -> Result<(Option<Known>, Stat, Stat), HashError> {
        let (folder, name) = near.find(&self.root, path);
        let (file, before) = open_file(folder, name, path)?;
        let known = match known(&file, before.size) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(failed(path)(error)),
        };
        Ok((known, before, stat_of(&file, path)?))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for what failed, in a list that is dropped with the error.
const NOTHING: Content = Content::Dir { permissions: None };

/// Where the input before was found: most often the next one is near.
#[derive(Default)]
struct Near {
    /// Its folder: a name in an open folder is found sooner than a path.
    folder: Vec<u8>,
    open: Option<OwnedFd>,
    /// Its place in the stat cache.
    record: usize,
}

impl Near {
    /// An open folder, and what the path is called from there.
    fn find<'p>(&'p mut self, root: &'p OwnedFd, path: &'p RelPath) -> (&'p OwnedFd, &'p [u8]) {
        let Some((folder, name)) = path.split() else { return (root, path.as_bytes()) };
        if self.folder != folder {
            self.folder.clear();
            self.folder.extend_from_slice(folder);
            self.open = None;
        } else if self.open.is_none() {
            // The second one in it; what is wrong with a folder shows with the whole path.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.open = rustix::fs::openat(root, folder, flags, Mode::empty()).ok();
        }
        self.open.as_ref().map_or((root, path.as_bytes()), |open| (open, name))
    }
}

/// What was noticed on the way.
#[derive(Default)]
struct Notes {
    warnings: Vec<Warning>,
    private: usize,
    first_private: Option<RelPath>,
}

/// Opens what has that name in a folder; `path` is what errors call it.
fn open_file(folder: &OwnedFd, name: &[u8], path: &RelPath) -> Result<(File, Stat), HashError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let vanished = || HashError::Vanished { path: path.to_string() };
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        // A link, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(vanished()),
        Err(error) => return Err(failed(path)(error)),
    };
    let stat = stat_of(&file, path)?;
    if stat.kind() == Kind::File { Ok((file, stat)) } else { Err(vanished()) }
}

/// The metadata of an open file; `path` is what errors call it.
pub(crate) fn stat_of(file: &File, path: &RelPath) -> Result<Stat, HashError> {
    Ok(Stat::from(&rustix::fs::fstat(file).map_err(failed(path))?))
}

fn failed<E: Into<io::Error>>(path: &RelPath) -> impl FnOnce(E) -> HashError {
    move |error| match error.into() {
        error if error.kind() == io::ErrorKind::NotFound => HashError::Vanished { path: path.to_string() },
        source => HashError::Read { path: path.to_string(), source },
    }
}

/// How a Git LFS pointer begins.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// The whole of one is shorter.
const LFS_LIMIT: u64 = 1024;

/// What there is to know of the file's first `size` bytes.
fn known(file: &File, size: u64) -> io::Result<Known> {
    if size >= LFS_LIMIT {
        return Ok(Known { digest: digest::of_file(file, size)?, lfs_pointer: false });
    }
    digest::with_bytes(file, 0, size, |bytes| {
        let lfs_pointer = bytes.strip_prefix(LFS).is_some_and(|rest| !rest.is_empty());
        Known { digest: Digest::of(bytes), lfs_pointer }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_b3sum_prints() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(dir.path()).expect("text");
        std::fs::write(root.join("a"), "hello\n").expect("written");
        let reader = Reader::open(root, ModePolicy::Exec, None).expect("opened");
        let listed = Listed::new(RelPath::new(&b"a"[..]).expect("a path"), Kind::File);
        let Content::File { digest, .. } = reader.entry(listed).expect("hashed").content else {
            panic!("a file")
        };
        assert_eq!(digest, Digest::of(b"hello\n"));
    }

    /// What a reader makes of `a`, which stood there as a file when it was listed.
    fn listed_as_a_file(put: impl FnOnce(&Utf8Path)) -> Result<Content, HashError> {
        let dir = tempfile::tempdir().expect("a folder");
        let root = Utf8Path::from_path(dir.path()).expect("text");
        put(&root.join("a"));
        let reader = Reader::open(root, ModePolicy::Exec, None).expect("opened");
        let path = RelPath::new(&b"a"[..]).expect("a path");
        reader.entry(Listed::new(path, Kind::File)).map(|entry| entry.content)
    }

    #[test]
    fn what_took_a_files_place_counts_as_what_it_is() {
        let link = listed_as_a_file(|path| std::os::unix::fs::symlink("b", path).expect("a link"));
        assert_eq!(link.expect("hashed"), Content::Link { target: b"b"[..].into() });
        let socket = listed_as_a_file(|path| drop(std::os::unix::net::UnixListener::bind(path)));
        assert!(matches!(socket, Err(HashError::Special { what: "socket", .. })), "{socket:?}");
        let fifo = |path: &Utf8Path| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, path.as_std_path(), kind, mode, 0).expect("a FIFO");
        };
        assert!(matches!(listed_as_a_file(fifo), Err(HashError::Special { what: "FIFO", .. })));
        let folder = listed_as_a_file(|path| std::fs::create_dir(path).expect("a folder"));
        assert!(matches!(folder, Err(HashError::Vanished { .. })), "{folder:?}");
        assert!(matches!(listed_as_a_file(|_| ()), Err(HashError::Vanished { .. })));
    }
}
