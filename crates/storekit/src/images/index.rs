//! index.json, derived from the key files, and the adoption of what other OCI tools wrote into it.
//!
//! Our descriptors carry [`oci::KEY_ANNOTATION`]. One without it is another tool's: it becomes an
//! entry of its own under its reference name where that is a key and still free, else under
//! `sha256-` and its digest. One whose blobs are not all there yet stays in index.json as it is.

use crate::Key;
use crate::error::{Error, Result};
use crate::images::entry::Entry;
use crate::images::index_file::Found;
use crate::images::{Beside, Images};
use crate::oci::{self, Descriptor};

impl Images {
    /// Derives index.json from the key files anew, adopting what is another tool's. One that cannot
    /// be understood is moved to the trash, so that nothing another tool wrote is lost.
    ///
    /// # Errors
    /// [`Error::Locked`], I/O errors. A damaged key file is passed over: its image is not listed.
    pub fn sync_index(&self) -> Result<()> {
        let lock = self.store().lock_index()?;
        let found = match self.read_index()? {
            Found::Index(foreign) => foreign,
            Found::None => Vec::new(),
            Found::Unreadable => {
                self.store().trash().move_aside(&self.index_path())?;
                Vec::new()
            }
        };
        let mut foreign = Vec::new();
        for descriptor in found {
            if !self.adopt_one(&descriptor)? {
                foreign.push(descriptor);
            }
        }
        let result = self.write_index(&self.list_sound()?, &foreign);
        drop(lock);
        result
    }

    /// Adopts what another tool has written into index.json, and makes index.json where it is
    /// missing or damaged. Returns whether there was anything to do, and whether it could be done:
    /// in a store that cannot be written to nothing is, and that is not an error.
    ///
    /// # Errors
    /// I/O errors, [`Error::Locked`].
    pub fn adopt(&self) -> Result<bool> {
        let settled = match self.read_index()? {
            Found::Index(foreign) => foreign.is_empty(),
            // A clone that holds key files alone.
            Found::None => self.keys()?.is_empty(),
            Found::Unreadable => false,
        };
        if settled {
            return Ok(false);
        }
        match self.sync_index() {
            Err(Error::Io { source, .. }) if is_unwritable(&source) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// The descriptors in index.json that are not ours.
    ///
    /// # Errors
    /// I/O errors.
    pub fn foreign(&self) -> Result<Vec<Descriptor>> {
        let Found::Index(foreign) = self.read_index()? else { return Ok(Vec::new()) };
        Ok(foreign)
    }

    /// Makes an entry of another tool's descriptor. `false`: it is not whole.
    fn adopt_one(&self, descriptor: &Descriptor) -> Result<bool> {
        let now = jiff::Timestamp::now();
        let entry = Entry {
            adopted: true,
            names: descriptor.annotations.get("io.containerd.image.name").cloned().into_iter().collect(),
            ..Entry::new(
                Descriptor { annotations: std::collections::BTreeMap::new(), ..descriptor.clone() },
                now,
            )
        };
        let Some(key) = self.free_key(descriptor)? else { return Ok(true) };
        match self.write_entry(&key, &entry, Beside::default()) {
            Err(Error::Missing { .. } | Error::BadDocument { .. }) => Ok(false),
            // What is said of it has no room in a key file.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::FileTooLarge => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// The key under which a foreign descriptor is adopted; `None` where its image has one already.
    fn free_key(&self, descriptor: &Descriptor) -> Result<Option<Key>> {
        let named = descriptor.annotations.get(oci::REF_NAME).and_then(|name| name.parse().ok());
        let fallback = Key::of_digest(&descriptor.digest);
        for key in named.into_iter().chain([fallback]) {
            match self.peek(&key) {
                Err(error) if error.is_corrupt() => return Ok(Some(key)),
                standing => match standing? {
                    None => return Ok(Some(key)),
                    Some(listed) if listed.entry.descriptor.digest == descriptor.digest => return Ok(None),
                    Some(_) => {}
                },
            }
        }
        Ok(None)
    }
}

fn is_unwritable(source: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem | StorageFull)
}
