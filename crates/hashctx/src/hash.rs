//! Turns a listing into entries: looks at every path, reads what has to be read, in parallel.
//!
//! The result is sorted and does not depend on the number of threads. Nothing here decides which paths are inputs.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use camino::Utf8Path;
use rayon::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::digest;
use crate::entry::{Content, Entry, FileMode, ModePolicy};
use crate::error::HashError;
use crate::listing::{Kind, Listed};
use crate::path::RelPath;
use crate::stat::Stat;
use crate::stat_cache::{Known, Seen, StatCache};
use crate::warning::Warning;

/// How often a file that changes under the reader is read before its key is called doubtful.
const ATTEMPTS: usize = 3;

/// Reads the inputs below one root.
pub struct Reader<'a> {
    root: OwnedFd,
    policy: ModePolicy,
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
        Ok(Self { root, policy, cache, notes: Mutex::default() })
    }

    /// Hashes all of them, in their order, on the threads of the pool that this is called in.
    ///
    /// # Errors
    /// Where one cannot be read: a key of the others would be a lie.
    pub fn entries(&self, listed: Vec<Listed>) -> Result<Vec<Entry>, HashError> {
        let failed = OnceLock::new();
        let mut entries = Vec::new();
        // Written in place: a list of results would stand in memory twice.
        let hashed = listed.into_par_iter().enumerate().map_init(Near::default, |near, (input, one)| {
            let content = match failed.get() {
                None => self.content(near, input, &one).unwrap_or_else(|error| {
                    let _ = failed.set(error);
                    NOTHING
                }),
                Some(_) => NOTHING,
            };
            Entry { path: one.path, content }
        });
        hashed.collect_into_vec(&mut entries);
        failed.into_inner().map_or(Ok(entries), Err)
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
        let content = self.content(&mut Near::default(), 0, &listed)?;
        Ok(Entry { path: listed.path, content })
    }

    /// `input` is the path's place among the inputs.
    fn content(&self, near: &mut Near, input: usize, listed: &Listed) -> Result<Content, HashError> {
        let Listed { path, kind, seen } = listed;
        if let Some(content) = seen.and_then(|seen| self.known(path, seen)) {
            return Ok(content);
        }
        let stat = self.stat(near, path)?;
        match stat.kind() {
            Kind::File => self.file(near, input, path, &stat),
            Kind::Symlink => Ok(Content::Link { target: self.link(path)? }),
            Kind::Dir if *kind == Kind::Dir => {
                Ok(Content::Dir { permissions: self.policy.of_dir(stat.mode) })
            }
            Kind::Dir => Err(HashError::Vanished { path: path.to_string() }),
            Kind::Special => Err(HashError::Special { path: path.to_string(), what: stat.special() }),
        }
    }

    /// What the cache knows of a file.
    fn known(&self, path: &RelPath, seen: Seen) -> Option<Content> {
        let known = self.cache?.known(seen)?;
        Some(self.described(path, seen.mode.get(), known))
    }

    /// Opens a file for reading, never following a link in its last part and never waiting for a FIFO's writer. Returns
    /// the metadata of what was opened.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open_file(&self, path: &RelPath) -> Result<(File, Stat), HashError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.root, path.as_bytes(), flags, Mode::empty());
        let file = File::from(fd.map_err(failed(path))?);
        let stat = stat_of(&file, path)?;
        if stat.kind() == Kind::File {
            Ok((file, stat))
        } else {
            Err(HashError::Vanished { path: path.to_string() })
        }
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

    fn file(&self, near: &mut Near, input: usize, path: &RelPath, stat: &Stat) -> Result<Content, HashError> {
        let look = |cache: &StatCache| cache.look(&mut near.record, path.as_bytes(), || Some(*stat));
        if let Some(content) = self.cache.and_then(look).and_then(|seen| self.known(path, seen)) {
            return Ok(content);
        }
        let known = self.read(input, path)?;
        Ok(self.described(path, stat.mode, known))
    }

    fn described(&self, path: &RelPath, mode: u32, known: Known) -> Content {
        if known.lfs_pointer {
            self.notes().warnings.push(Warning::LfsPointer { path: path.clone() });
        }
        Content::File { digest: known.digest, mode: self.mode_of(path, mode) }
    }

    /// Reads the file until it holds still.
    fn read(&self, input: usize, path: &RelPath) -> Result<Known, HashError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let (known, before, after) = self.read_once(path)?;
            if let Some(known) = known
                && before == after
            {
                if let Some(cache) = self.cache {
                    cache.learn(input, &after, known);
                }
                return Ok(known);
            }
            last = known;
        }
        self.notes().warnings.push(Warning::Unsteady { path: path.clone() });
        last.ok_or_else(|| HashError::Vanished { path: path.to_string() })
    }

    /// `None` for a file that was cut short meanwhile.
    fn read_once(&self, path: &RelPath) -> Result<(Option<Known>, Stat, Stat), HashError> {
        let (file, before) = self.open_file(path)?;
        let known = match digest::of_file(&file, before.size) {
            Ok(digest) => Some(Known { digest, lfs_pointer: is_lfs_pointer(&file, before.size) }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(failed(path)(error)),
        };
        Ok((known, before, stat_of(&file, path)?))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for what failed, in a list that nobody will see.
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

/// How a Git LFS pointer begins; the whole file is shorter than 1024 bytes.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

fn is_lfs_pointer(file: &File, size: u64) -> bool {
    let mut start = [0; LFS.len()];
    size > LFS.len() as u64 && size < 1024 && file.read_exact_at(&mut start, 0).is_ok() && start == LFS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

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
}
