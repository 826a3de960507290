//! Which layers the store has already, by diffID: the form that came first serves every later image.

use std::collections::HashMap;

use storekit::{Blobs, Descriptor, Digest, Images, Lease};

use crate::error::Result;
use crate::oci::{self, Config, DOCUMENT_CAP, Index, Manifest};

/// The stored layers by their diffIDs.
#[derive(Debug, Default)]
pub struct Known {
    layers: HashMap<Digest, Descriptor>,
    prove: bool,
}

impl Known {
    /// Looks through all images. One that cannot be read teaches nothing, and is no error here. With `prove`, a
    /// layer is read through before it is reused; else its presence and its length must do.
    ///
    /// # Errors
    /// Key files that cannot be read.
    pub fn scan(images: &Images, prove: bool) -> Result<Self> {
        let mut known = Self { prove, ..Self::default() };
        let blobs = images.blobs();
        // What another tool put into the layout was never verified: its diffIDs prove nothing.
        for listed in images.list_sound()?.into_iter().filter(|listed| !listed.entry.adopted) {
            known.learn(&blobs, &listed.entry.descriptor, 0);
        }
        Ok(known)
    }

    fn learn(&mut self, blobs: &Blobs, descriptor: &Descriptor, depth: usize) -> Option<()> {
        let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP).ok()?;
        if descriptor.is_index() && depth < 4 {
            let index: Index = oci::parse(&bytes, "").ok()?;
            for child in &index.manifests {
                self.learn(blobs, child, depth + 1);
            }
            return Some(());
        }
        let manifest: Manifest = oci::parse(&bytes, "").ok().filter(Manifest::is_image)?;
        let config: Config = oci::parse(&blobs.read(&manifest.config.digest, DOCUMENT_CAP).ok()?, "").ok()?;
        if config.rootfs.diff_ids.len() == manifest.layers.len() {
            for (diff_id, layer) in config.rootfs.diff_ids.into_iter().zip(manifest.layers) {
                self.layers.entry(diff_id).or_insert(layer);
            }
        }
        Some(())
    }

    /// Whether a stored image has this very blob as a layer.
    #[must_use]
    pub fn holds(&self, digest: &Digest) -> bool {
        self.layers.values().any(|layer| layer.digest == *digest)
    }

    /// The stored form of a layer, with a lease on it; nothing where it is not stored, or not in full length.
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn lease(&self, blobs: &Blobs, diff_id: &Digest) -> Result<Option<(Descriptor, Lease)>> {
        let Some(layer) = self.layers.get(diff_id) else { return Ok(None) };
        let lease =
            if self.prove { blobs.lease_sound(&layer.digest)? } else { blobs.lease(&layer.digest)? };
        let lease = lease.filter(|lease| lease.size() == layer.size);
        Ok(lease.map(|lease| (layer.clone(), lease)))
    }
}
