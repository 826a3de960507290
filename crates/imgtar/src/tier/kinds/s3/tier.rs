//! What stands in a bucket under keys.

use camino::Utf8Path;
use storekit::images::entry;
use storekit::{Blobs, Descriptor, Digest, Entry, Key, Lease};

use crate::error::{Error, Result, tier};
use crate::format::oci::DOCUMENT_CAP;
use crate::image::fetch::{Document, Source};
use crate::progress::Progress;
use crate::registry::download;
use crate::tier::kind::{Found, INPUTS_CAP, Tier, Told};
use crate::tier::kinds::s3::client::Bucket;

/// A bucket that is a place.
pub(crate) struct S3Tier {
    pub(crate) bucket: Bucket,
}

/// Where the key file is.
pub(crate) fn key_path(key: &Key) -> String {
    format!("keys/{key}")
}

/// Where the manifest of inputs is.
pub(crate) fn inputs_path(key: &Key) -> String {
    format!("inputs/{key}")
}

impl Tier for S3Tier {
    fn has(&self, key: &Key) -> Result<Option<Found>> {
        let head = self.bucket.head(&key_path(key))?;
        Ok(head.map(|_| Found { digest: None, is_trusted: true }))
    }

    fn entry(&self, key: &Key) -> Result<Option<Told>> {
        let path = key_path(key);
        let Some(text) = self.bucket.read(&path, entry::CAP)? else { return Ok(None) };
        let entry = match Entry::parse(&text, Utf8Path::new(&path)) {
            Err(storekit::Error::BadFile { reason, .. }) => {
                return Err(self.bucket.untrue(format!("`{path}` cannot be understood: {reason}")));
            }
            entry => entry?,
        };
        Ok(Some(Told::noted(entry)))
    }

    fn inputs(&self, key: &Key, _: &Told) -> Result<Option<Vec<u8>>> {
        self.bucket.read(&inputs_path(key), INPUTS_CAP)
    }

    fn keys(&self) -> Result<Vec<Key>> {
        let objects = self.bucket.list("keys/")?;
        let mut keys: Vec<Key> = objects.iter().filter_map(|object| object.name.parse().ok()).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn source(&self, key: &Key) -> Box<dyn Source + '_> {
        Box::new(FromBucket { bucket: &self.bucket, key: key.clone() })
    }
}

/// An image in a bucket.
struct FromBucket<'a> {
    bucket: &'a Bucket,
    key: Key,
}

impl Source for FromBucket<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Document>> {
        let bytes = self.bucket.blob(descriptor, DOCUMENT_CAP)?;
        Ok(bytes.map(|bytes| Document { descriptor: descriptor.clone(), bytes }))
    }

    fn config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.bucket.blob(config, DOCUMENT_CAP)?;
        bytes.ok_or_else(|| self.incomplete(config.digest))
    }

    fn blob(
        &self,
        blobs: &Blobs,
        blob: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<Option<(Lease, u64)>> {
        download::fetch(self.bucket, blobs, blob, progress)
    }

    fn untrue(&self, reason: String) -> Error {
        self.bucket.untrue(reason)
    }

    fn unfit(&self, reason: String) -> Error {
        tier::Error::Unfit { place: self.bucket.place(), key: self.key.clone(), reason }.into()
    }

    fn incomplete(&self, digest: Digest) -> Error {
        tier::Error::Incomplete { place: self.bucket.place(), key: self.key.clone(), digest }.into()
    }
}
