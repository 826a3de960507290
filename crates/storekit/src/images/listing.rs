//! The lists of what is stored: every key file is read, by all processors at once where there are
//! many.

use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::thread;
use std::time::SystemTime;

use camino::Utf8Path;

use crate::error::{At, Error, Result};
use crate::files::replace;
use crate::images::Images;
use crate::images::entry::{self, Entry};
use crate::{Digest, Key};

/// No thread is worth its start for fewer key files than this.
const SHARE: usize = 512;

/// A key with its entry and its last use.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key that the image is stored under.
    pub key: Key,
    /// What is stored under it.
    pub entry: Entry,
    /// When it was last used, by our own stamp: in the future where a clock was ahead, or is
    /// behind.
    pub used: SystemTime,
}

/// What stands under a key.
#[derive(Debug)]
pub enum Standing {
    /// An entry.
    Sound(Box<Listed>),
    /// Something from which it cannot be told what it names.
    Damaged(Damaged),
}

/// A key file that cannot be read or understood.
#[derive(Debug)]
pub struct Damaged {
    /// The key.
    pub key: Key,
    /// That of the bytes of the file, as far as they can be read: another file has another one.
    pub digest: Digest,
    /// When it was last used; never later than now.
    pub used: SystemTime,
    /// What is wrong with it.
    pub reason: Error,
}

impl Images {
    /// The keys that are there, sorted, readable or not. A folder or a pipe among them is none.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let names = replace::file_names(&self.folder().join("keys"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// All entries, sorted by key, another tool's included.
    ///
    /// # Errors
    /// An entry that cannot be read is an error: it is never taken for none.
    pub fn list(&self) -> Result<Vec<Listed>> {
        self.adopt()?;
        self.list_ours()
    }

    /// The entries that have key files, sorted by key; adopts nothing and takes no lock, so that it
    /// serves under any.
    ///
    /// # Errors
    /// As [`Images::list`].
    pub fn list_ours(&self) -> Result<Vec<Listed>> {
        read_each(&self.keys()?, |key| self.peek(key))
    }

    /// The entries that can be read, sorted by key; adopts nothing and takes no lock. For callers
    /// that only look for what is of use: one damaged key file must not keep another image from
    /// being saved.
    ///
    /// # Errors
    /// [`crate::Error::Newer`], I/O errors.
    pub fn list_sound(&self) -> Result<Vec<Listed>> {
        read_each(&self.keys()?, |key| match self.peek(key) {
            Err(error) if error.is_corrupt() || error.is_unreadable() => Ok(None),
            listed => listed,
        })
    }

    /// The entry under the key as it stands; adopts nothing and takes no lock. `None`: no such key.
    ///
    /// # Errors
    /// [`crate::Error::BadFile`], [`crate::Error::Newer`], I/O errors.
    pub fn peek(&self, key: &Key) -> Result<Option<Listed>> {
        let Some((entry, metadata)) = self.read_with_metadata(key)? else { return Ok(None) };
        let used = metadata.modified().unwrap_or_else(|_| SystemTime::now());
        Ok(Some(Listed { key: key.clone(), entry, used }))
    }
}

impl Images {
    /// What stands under the key, sound or not; adopts nothing and takes no lock. `None`: nothing.
    ///
    /// # Errors
    /// [`Error::Newer`]; I/O errors that are not of this file alone.
    pub fn look_at(&self, key: &Key) -> Result<Option<Standing>> {
        let path = self.key_path(key);
        let reason = match self.peek(key) {
            Ok(Some(listed)) => return Ok(Some(Standing::Sound(Box::new(listed)))),
            Err(error) if error.is_corrupt() || error.is_unreadable() => error,
            Err(error) => return Err(error),
            // A link that leads nowhere may lead somewhere again.
            Ok(None) => match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                metadata => {
                    metadata.at("read", &path)?;
                    Error::BadFile { path: path.clone(), reason: "it is a link that leads nowhere".into() }
                }
            },
        };
        let now = SystemTime::now();
        let used = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()).unwrap_or(now);
        let digest = Digest::of(&readable(&path));
        Ok(Some(Standing::Damaged(Damaged { key: key.clone(), digest, used: used.min(now), reason })))
    }
}

/// The first bytes of a file, as far as they can be read.
fn readable(path: &Utf8Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(Some(file)) = replace::open_regular(path) {
        // What comes before an error counts.
        let _ = <File as Read>::take(file, entry::CAP).read_to_end(&mut bytes);
    }
    bytes
}

/// Reads something of many keys, in their order.
pub(crate) fn read_each<T: Send>(
    keys: &[Key],
    read: impl Fn(&Key) -> Result<Option<T>> + Sync,
) -> Result<Vec<T>> {
    let one =
        |keys: &[Key]| -> Result<Vec<T>> { keys.iter().filter_map(|key| read(key).transpose()).collect() };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = keys.len().div_ceil(threads).max(SHARE);
    if keys.len() <= share {
        return one(keys);
    }
    let lists = thread::scope(|scope| {
        let readers: Vec<_> = keys.chunks(share).map(|keys| scope.spawn(|| one(keys))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap_or_else(|cause| resume_unwind(cause))).collect()
    });
    let lists: Result<Vec<_>> = lists;
    Ok(lists?.into_iter().flatten().collect())
}
