//! The lists of what is stored: every key file is read, by all processors at once where there are
//! many.

use std::panic::resume_unwind;
use std::thread;
use std::time::SystemTime;

use crate::Key;
use crate::error::Result;
use crate::files::replace;
use crate::images::Images;
use crate::images::entry::Entry;

/// No thread is worth its start for fewer key files than this.
const SHARE: usize = 512;

/// A key with its entry and its last use.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The key that the image is stored under.
    pub key: Key,
    /// What is stored under it.
    pub entry: Entry,
    /// When it was last used, by our own stamp; never later than now.
    pub used: SystemTime,
}

impl Images {
    /// The keys that are there, sorted, readable or not.
    ///
    /// # Errors
    /// I/O errors.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let names = replace::names(&self.folder().join("keys"))?;
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
            Err(error) if error.is_corrupt() => Ok(None),
            listed => listed,
        })
    }

    /// The entry under the key as it stands; adopts nothing and takes no lock. `None`: no such key.
    ///
    /// # Errors
    /// [`crate::Error::BadFile`], [`crate::Error::Newer`], I/O errors.
    pub fn peek(&self, key: &Key) -> Result<Option<Listed>> {
        let Some((entry, metadata)) = self.read_with_metadata(key)? else { return Ok(None) };
        let now = SystemTime::now();
        let used = match metadata.modified().ok().filter(|used| *used <= now) {
            Some(used) => used,
            None => self.last_use(key)?.unwrap_or(now),
        };
        Ok(Some(Listed { key: key.clone(), entry, used }))
    }
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
