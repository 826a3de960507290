//! The manifests for clients that cannot read zstd: the same image with its layers plain.
//!
//! Such a manifest is not stored. It is made from the stored one each time, always the same, and
//! what it names is unpacked while it is sent. Which digests were made of which documents is
//! remembered, and found again by making those of all documents, so that a client may ask for one
//! after the server has been started anew.
//!
//! Limit: an image that imgtar did not compress has to be read through once to know the sizes of
//! its layers; until that is done again after a restart, the digest of its plain manifest is
//! unknown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storekit::{Blobs, Descriptor, Digest};

use crate::error::Result;
use crate::format::oci::{self, DOCKER_MANIFEST, DOCUMENT_CAP, Index, Manifest, annotation};
use crate::serve::state::facts::Facts;
use crate::serve::state::stock::Stock;
use crate::serve::stored_manifest::{self, Doc};

/// Docker's media type of a plain layer.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Which images are offered with plain layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// Those that imgtar compressed: the maker of the image did not choose zstd.
    Ours,
    /// All that have zstd layers.
    All,
}

/// Whether layers may be read through to know their sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// No: what is not known stays so.
    None,
    /// Yes.
    Read,
}

/// A document that is not stored.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// What names it.
    pub(crate) descriptor: Descriptor,
    /// The document's bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Makes offers, and remembers of which documents.
#[derive(Debug)]
pub(crate) struct Offers {
    blobs: Blobs,
    facts: Arc<Facts>,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    /// The digest of each offer that was made; `None` where none is needed.
    by_doc: HashMap<(Digest, Which), Option<Digest>>,
    sources: HashMap<Digest, (Digest, Which)>,
}

impl Offers {
    pub(crate) fn new(blobs: Blobs, facts: Arc<Facts>) -> Self {
        Self { blobs, facts, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document with plain layers. `None` where it needs none, or where a size is not known and
    /// `effort` says that this is as well.
    ///
    /// # Errors
    /// Stored blobs that are missing, damaged or do not unpack.
    pub(crate) fn of(&self, stock: &Stock, doc: &Doc, which: Which, effort: Effort) -> Result<Option<Offer>> {
        Making { offers: self, stock, which, effort, done: HashMap::new() }.make(doc)
    }

    /// The offer of this digest.
    ///
    /// # Errors
    /// As [`Offers::of`].
    pub(crate) fn find(&self, stock: &Stock, digest: &Digest) -> Result<Option<Offer>> {
        if let Some(offer) = self.again(stock, digest)? {
            return Ok(Some(offer));
        }
        for doc in stock.docs() {
            for which in [Which::Ours, Which::All] {
                if self.made().by_doc.contains_key(&(doc.descriptor.digest, which)) {
                    continue;
                }
                // A damaged image must not hide another one.
                if let Ok(Some(offer)) = self.of(stock, doc, which, Effort::None)
                    && offer.descriptor.digest == *digest
                {
                    return Ok(Some(offer));
                }
            }
        }
        Ok(None)
    }

    fn again(&self, stock: &Stock, digest: &Digest) -> Result<Option<Offer>> {
        let Some((source, which)) = self.made().sources.get(digest).copied() else { return Ok(None) };
        let Some(doc) = stock.doc(&source) else { return Ok(None) };
        let offer = self.of(stock, doc, which, Effort::Read)?;
        Ok(offer.filter(|offer| offer.descriptor.digest == *digest))
    }

    /// The document that the offer of this digest was made of.
    pub(crate) fn source(&self, digest: &Digest) -> Option<Digest> {
        self.made().sources.get(digest).map(|(source, _)| *source)
    }
}

/// One offer in the making, and what was made for it: an index may name one document again and
/// again.
struct Making<'a> {
    offers: &'a Offers,
    stock: &'a Stock,
    which: Which,
    effort: Effort,
    done: HashMap<Digest, Option<Descriptor>>,
}

impl Making<'_> {
    fn make(&mut self, doc: &Doc) -> Result<Option<Offer>> {
        let slot = (doc.descriptor.digest, self.which);
        if self.offers.made().by_doc.get(&slot) == Some(&None) {
            return Ok(None);
        }
        let is_index = doc.descriptor.is_index();
        let offer = if is_index { self.index(doc)? } else { self.manifest(doc)? };
        let mut made = self.offers.made();
        match &offer {
            Some(offer) => {
                made.by_doc.insert(slot, Some(offer.descriptor.digest));
                made.sources.insert(offer.descriptor.digest, slot);
            }
            // Of an index, a child may come later.
            None if self.effort == Effort::Read && !is_index => {
                made.by_doc.insert(slot, None);
            }
            None => {}
        }
        Ok(offer)
    }

    fn manifest(&self, doc: &Doc) -> Result<Option<Offer>> {
        if doc.pushed.is_some() || !doc.has_zstd(self.which == Which::Ours) {
            return Ok(None);
        }
        let bytes = self.offers.blobs.read(&doc.descriptor.digest, DOCUMENT_CAP)?;
        let mut manifest: Manifest = oci::parse(&bytes, "a stored manifest")?;
        let trusted = self.stock.is_trusted(&doc.descriptor.digest);
        let docker = doc.descriptor.media_type == DOCKER_MANIFEST;
        let both = manifest.layers.iter_mut().zip(&doc.layers);
        for (layer, (stored, diff_id)) in both.filter(|(_, layer)| stored_manifest::is_zstd(layer)) {
            let Some(size) = self.plain_size((stored, diff_id), trusted)? else { return Ok(None) };
            if docker { DOCKER_LAYER } else { oci::LAYER }.clone_into(&mut layer.media_type);
            (layer.digest, layer.size) = (*diff_id, size);
            layer.annotations.remove(annotation::PLAIN_SIZE);
        }
        Ok(Some(offer(&doc.descriptor.media_type, oci::to_bytes(&manifest))))
    }

    /// The size of a layer's plain bytes. `None`: it is not known, or the layer is not what its
    /// config says.
    fn plain_size(&self, (stored, diff_id): (&Descriptor, &Digest), trusted: bool) -> Result<Option<u64>> {
        let noted = stored.annotations.get(annotation::PLAIN_SIZE).filter(|_| trusted);
        if let Some(size) = noted.and_then(|size| size.parse().ok()) {
            return Ok(Some(size));
        }
        let plain = match self.effort {
            Effort::Read => Some(self.offers.facts.plain(&stored.digest)?),
            Effort::None => self.offers.facts.known_plain(&stored.digest),
        };
        Ok(plain.filter(|plain| plain.diff_id == *diff_id).map(|plain| plain.size))
    }

    fn index(&mut self, doc: &Doc) -> Result<Option<Offer>> {
        let bytes = self.offers.blobs.read(&doc.descriptor.digest, DOCUMENT_CAP)?;
        let mut index: Index = oci::parse(&bytes, "a stored index")?;
        let mut changed = false;
        for child in &mut index.manifests {
            if let Some(offer) = self.child(&child.digest)? {
                (child.digest, child.size) = (offer.digest, offer.size);
                changed = true;
            }
        }
        Ok(changed.then(|| offer(&doc.descriptor.media_type, oci::to_bytes(&index))))
    }

    fn child(&mut self, digest: &Digest) -> Result<Option<Descriptor>> {
        if let Some(done) = self.done.get(digest) {
            return Ok(done.clone());
        }
        let stock = self.stock;
        // One that was pushed, and another stored for it, has no zstd layers.
        let below = stock.doc(digest).filter(|below| below.descriptor.digest == *digest);
        let made = match below {
            Some(below) => self.make(below)?.map(|offer| offer.descriptor),
            None => None,
        };
        self.done.insert(*digest, made.clone());
        Ok(made)
    }
}

fn offer(media_type: &str, bytes: Vec<u8>) -> Offer {
    Offer { descriptor: Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64), bytes }
}
