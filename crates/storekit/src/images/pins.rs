//! Pins: keys that no collection removes. See FORMAT.md, "Pins".
//!
//! A pin is an empty file `images/pins/KEY`, apart from the entry: it outlives a new save, and
//! merges in git.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use camino::Utf8PathBuf;

use crate::Key;
use crate::error::{At, Result};
use crate::files::replace::{self, Durability};
use crate::images::Images;

impl Images {
    /// The pinned keys, stored or not.
    ///
    /// # Errors
    /// I/O errors.
    pub fn pins(&self) -> Result<BTreeSet<Key>> {
        let names = replace::names(&self.pins_folder())?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Pins the key. Returns whether it was not pinned before. No collection is between two steps
    /// meanwhile.
    ///
    /// # Errors
    /// I/O errors, [`crate::Error::Locked`].
    pub fn pin(&self, key: &Key) -> Result<bool> {
        let folder = self.pins_folder();
        fs::create_dir_all(&folder).at("create", &folder)?;
        let lock = self.store().lock_shared()?;
        let new = replace::put_once(&folder.join(key.as_str()), b"", Durability::Synced)?;
        drop(lock);
        Ok(new)
    }

    /// Takes the pin off. Returns whether there was one.
    ///
    /// # Errors
    /// I/O errors.
    pub fn unpin(&self, key: &Key) -> Result<bool> {
        let path = self.pins_folder().join(key.as_str());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.at("remove", &path).map(|()| true),
        }
    }

    fn pins_folder(&self) -> Utf8PathBuf {
        self.folder().join("pins")
    }
}
