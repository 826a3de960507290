//! Another store as a place: also one in a repository, whose blobs Git LFS may not have fetched.

use std::io::{Read, Write};
use std::time::Duration;

use camino::Utf8Path;
use storekit::{Blobs, Descriptor, Digest, Images, Key, Lease, Store};

use crate::error::tier;
use crate::error::{Error, Result};
use crate::format::oci::DOCUMENT_CAP;
use crate::image::Stored;
use crate::image::fetch::{Document, Source};
use crate::progress::Progress;
use crate::tier::config::Config;
use crate::tier::kind::{Found, Tier, Told};

const CHUNK: usize = 256 << 10;

/// A store that is a place.
pub(crate) struct StoreTier {
    images: Images,
    place: String,
}

impl StoreTier {
    /// A folder that is not there, or holds nothing yet, is an empty store. Locks are waited for as
    /// long as this.
    pub(crate) fn open(folder: &Utf8Path, config: &Config) -> Result<Self> {
        let store = patient(Store::open_or_empty(folder)?, config.timeout);
        let store = if config.left_alone { store.left_alone() } else { store };
        Ok(Self { images: store.images(), place: format!("store:{folder}") })
    }
}

/// The store, waiting for its locks as long as this.
pub(crate) fn patient(store: Store, timeout: Option<Duration>) -> Store {
    match timeout {
        Some(timeout) => store.with_patience(timeout),
        None => store,
    }
}

impl StoreTier {
    /// The place that a store is.
    pub(crate) fn of(store: &Store) -> Self {
        Self { images: store.images(), place: format!("store:{}", store.root()) }
    }
}

impl Tier for StoreTier {
    /// Looks at documents and sizes, which is cheap here.
    fn has(&self, key: &Key) -> Result<Option<Found>> {
        let stored = Stored::open(&self.images, key).map_err(|error| foreign(error, &self.place))?;
        Ok(stored.map(|stored| Found { digest: Some(stored.entry.descriptor.digest), is_trusted: true }))
    }

    fn entry(&self, key: &Key) -> Result<Option<Told>> {
        let entry = self.images.get(key).map_err(|error| foreign(error.into(), &self.place))?;
        Ok(entry.map(Told::noted))
    }

    fn inputs(&self, key: &Key, _: &Told) -> Result<Option<Vec<u8>>> {
        Ok(self.images.inputs(key)?)
    }

    fn keys(&self) -> Result<Vec<Key>> {
        Ok(self.images.keys()?)
    }

    fn source(&self, key: &Key) -> Box<dyn Source + '_> {
        Box::new(FromStore { images: self.images.clone(), key: key.clone(), place: Some(self.place.clone()) })
    }
}

/// An image in a store.
pub(crate) struct FromStore {
    images: Images,
    key: Key,
    /// What the store is called where it is a place; its damage is not that of the store that is
    /// worked in then.
    place: Option<String>,
}

impl FromStore {
    /// The image under the key in the store that is worked in.
    pub(crate) fn own(store: &Store, key: &Key) -> Self {
        Self { images: store.images(), key: key.clone(), place: None }
    }

    fn told(&self, error: impl Into<Error>) -> Error {
        match &self.place {
            Some(place) => foreign(error.into(), place),
            None => error.into(),
        }
    }

    fn named(&self) -> String {
        self.place.clone().unwrap_or_else(|| "the store".to_owned())
    }

    /// A document or config, if it is there and sound.
    fn read(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let blobs = self.images.blobs();
        if descriptor.size > DOCUMENT_CAP {
            return Err(self.untrue(format!("`{}` is too large for a document", descriptor.digest)));
        }
        match blobs.read(&descriptor.digest, DOCUMENT_CAP) {
            Err(storekit::Error::Missing { .. }) => Ok(None),
            Ok(bytes) if bytes.len() as u64 != descriptor.size => {
                Err(self.untrue(format!("`{}` has another size than announced", descriptor.digest)))
            }
            bytes => Ok(Some(bytes.map_err(|error| self.told(error))?)),
        }
    }
}

impl Source for FromStore {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Document>> {
        let bytes = self.read(descriptor)?;
        Ok(bytes.map(|bytes| Document { descriptor: descriptor.clone(), bytes }))
    }

    fn config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        self.read(config)?.ok_or_else(|| self.incomplete(config.digest))
    }

    fn blob(
        &self,
        blobs: &Blobs,
        blob: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<Option<(Lease, u64)>> {
        let own = self.images.blobs();
        let Some(mut from) = own.reader(&blob.digest).map_err(|error| self.told(error))? else {
            return Ok(None);
        };
        let mut to = blobs.create()?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let failed = |error| self.told(storekit::Error::io("read", own.path(&blob.digest), error));
            let count = from.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            let failed = |error| storekit::Error::io("write in", blobs.folder(), error);
            to.write_all(&buffer[..count]).map_err(failed)?;
            progress.add(count as u64);
        }
        if to.size() != blob.size {
            return Err(self.untrue(format!("`{}` has another size than announced", blob.digest)));
        }
        Ok(Some((to.finish(Some(&blob.digest))?, blob.size)))
    }

    fn untrue(&self, reason: String) -> Error {
        tier::Error::Untrue { place: self.named(), reason }.into()
    }

    fn unfit(&self, reason: String) -> Error {
        tier::Error::Unfit { place: self.named(), key: self.key.clone(), reason }.into()
    }

    fn incomplete(&self, digest: Digest) -> Error {
        tier::Error::Incomplete { place: self.named(), key: self.key.clone(), digest }.into()
    }
}

/// An error of a store that is a place. Damage there is not damage here.
pub(crate) fn foreign(error: Error, place: &str) -> Error {
    let is_damage = match &error {
        Error::Store(error) => error.is_corrupt(),
        Error::Corrupt { .. } => true,
        _ => false,
    };
    if !is_damage {
        return error;
    }
    tier::Error::Untrue { place: place.to_owned(), reason: error.to_string() }.into()
}
