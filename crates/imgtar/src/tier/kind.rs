//! What each kind of place can do.

use storekit::{Descriptor, Digest, Entry, Key};

use crate::error::Result;
use crate::image::fetch::{Document, Source};
use crate::tier::reach::{Reach, reach};

/// An entry that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest of its image, where the answer tells it.
    pub digest: Option<Digest>,
    /// Whether it is signed by whom it is to be.
    pub is_trusted: bool,
}

/// A place that images stand in under their keys.
pub(crate) trait Tier: Sync {
    /// Whether an entry stands under the key: one question.
    fn has(&self, key: &Key) -> Result<Option<Found>>;
    /// What stands under the key, without its inputs.
    fn entry(&self, key: &Key) -> Result<Option<Told>>;
    /// The manifest of inputs that was noted with it.
    fn inputs(&self, key: &Key, told: &Told) -> Result<Option<Vec<u8>>>;
    /// The digest of these inputs.
    fn inputs_digest(&self, key: &Key, told: &Told) -> Result<Option<Digest>> {
        Ok(self.inputs(key, told)?.map(|inputs| Digest::of(&inputs)))
    }

    /// The keys that entries stand under, sorted.
    fn keys(&self) -> Result<Vec<Key>>;
    /// Where the image under the key is copied from.
    fn source(&self, key: &Key) -> Box<dyn Source + '_>;

    /// The document of an entry.
    fn root(&self, key: &Key, told: &Told) -> Result<Document> {
        if let Some(root) = &told.root {
            return Ok(root.clone());
        }
        let (source, descriptor) = (self.source(key), &told.entry.descriptor);
        source.document(descriptor)?.ok_or_else(|| source.incomplete(descriptor.digest))
    }

    /// The blobs that an entry needs.
    fn reach(&self, key: &Key, told: &Told) -> Result<Reach> {
        reach(&*self.source(key), &self.root(key, told)?)
    }
}

/// What a place tells of an entry. Nothing of it is known to be true.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) entry: Entry,
    /// Its document, where that came along.
    pub(crate) root: Option<Document>,
    /// Where its inputs are, in a place that does not know them by the key.
    pub(crate) inputs: Option<Descriptor>,
    /// Whether anything was noted with it, so that the entry says more than its descriptor.
    pub(crate) is_noted: bool,
}

impl Told {
    /// What a key file says.
    pub(crate) fn noted(entry: Entry) -> Self {
        Self { entry, root: None, inputs: None, is_noted: true }
    }
}

/// No manifest of inputs is larger that goes over a network, in bytes.
pub(crate) const INPUTS_CAP: u64 = 128 << 20;
