//! Which layers the store has already, by diffID: the form that came first serves every later
//! image.

use std::collections::{BTreeSet, HashMap, HashSet};

use storekit::{Blobs, Descriptor, Digest, Lease, Store};

use crate::error::Result;
use crate::format::oci::{self, Config, DOCUMENT_CAP, Index, Manifest, annotation};
use crate::layer::Shape;
use crate::layer::index::{Learnt, Taught};
use crate::layer::proofs::Proved;

/// The stored layers by their diffIDs.
#[derive(Debug, Default)]
pub struct Known {
    learnt: Learnt,
    layers: HashMap<Digest, usize>,
    proved: Proved,
}

impl Known {
    /// Looks through all images. One that cannot be read teaches nothing, and is not an error here.
    /// The blobs that are `sound` were read through a moment ago.
    ///
    /// # Errors
    /// Key files that cannot be read.
    pub fn scan(store: &Store, sound: &BTreeSet<Digest>) -> Result<Self> {
        let images = store.images();
        let (learnt, proved) = (Learnt::read(store), Proved::read(store));
        let mut known = Self { learnt, proved, layers: HashMap::new() };
        let blobs = images.blobs();
        for digest in sound {
            known.proved.note(digest, Proved::state(&blobs, digest));
        }
        // What another tool put into the layout was never verified: its diffIDs prove nothing.
        let mut seen = HashSet::new();
        for listed in images.list_sound()?.into_iter().filter(|listed| !listed.entry.adopted) {
            if seen.insert(listed.entry.descriptor.digest) {
                known.learn(&blobs, &listed.entry.descriptor);
            }
        }
        known.learnt.keep(store, &seen);
        Ok(known)
    }

    fn learn(&mut self, blobs: &Blobs, root: &Descriptor) {
        let numbers = if let Some(numbers) = self.learnt.below(&root.digest) {
            numbers.to_vec()
        } else {
            let mut layers = Vec::new();
            // Half of it is learnt as well, but not for good.
            match read(blobs, root, 0, &mut HashSet::new(), &mut layers) {
                Some(()) => self.learnt.teach(root.digest, layers),
                None => layers.into_iter().map(|layer| self.learnt.number(layer)).collect(),
            }
        };
        for number in numbers {
            if let Some((diff_id, _)) = self.learnt.layer(number) {
                self.layers.entry(*diff_id).or_insert(number);
            }
        }
    }

    fn layer(&self, diff_id: &Digest) -> Option<&Descriptor> {
        self.learnt.layer(*self.layers.get(diff_id)?).map(|(_, layer)| layer)
    }

    /// Whether a stored image, verified when it came, has this blob for this diffID.
    #[must_use]
    pub fn proves(&self, diff_id: &Digest, digest: &Digest) -> bool {
        self.layer(diff_id).is_some_and(|layer| layer.digest == *digest)
    }

    /// Whether a stored image has this very blob as a layer.
    #[must_use]
    pub fn holds(&self, digest: &Digest) -> bool {
        self.layers.keys().any(|diff_id| self.proves(diff_id, digest))
    }

    /// The stored form of a layer, with a lease on it; nothing where it is not stored, or not in
    /// full length. Its bytes are not looked at: ask [`Known::is_sound`] before it is reused.
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn lease(&self, blobs: &Blobs, diff_id: &Digest) -> Result<Option<(Descriptor, Lease)>> {
        let Some(layer) = self.layer(diff_id) else { return Ok(None) };
        let lease = blobs.lease(&layer.digest)?.filter(|lease| lease.size() == layer.size);
        Ok(lease.map(|lease| (layer.clone(), lease)))
    }

    /// Whether the blob's bytes match its digest. A damaged one is moved aside.
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn is_sound(&self, blobs: &Blobs, digest: &Digest) -> Result<bool> {
        if self.proved.holds(blobs, digest) {
            return Ok(true);
        }
        let state = Proved::state(blobs, digest);
        match blobs.verify(digest) {
            Err(error) if error.is_corrupt() => return Ok(false),
            verified => verified?,
        }
        self.proved.note(digest, state);
        Ok(true)
    }

    /// Remembers what was read through, and those of the leased blobs that this process wrote, so
    /// that they need not be read again. The leases keep them as they are.
    pub fn remember(&self, blobs: &Blobs, leases: &[Lease]) {
        for lease in leases.iter().filter(|lease| lease.is_written()) {
            self.proved.note_written(lease);
        }
        self.proved.keep(blobs);
    }

    /// Another stored form of a layer than this one, if there is a sound one.
    ///
    /// # Errors
    /// I/O errors of the store.
    pub fn other(
        &self,
        blobs: &Blobs,
        diff_id: &Digest,
        form: &Digest,
    ) -> Result<Option<(Descriptor, Lease)>> {
        if self.proves(diff_id, form) {
            return Ok(None);
        }
        let Some((layer, lease)) = self.lease(blobs, diff_id)? else { return Ok(None) };
        Ok(self.is_sound(blobs, &layer.digest)?.then_some((layer, lease)))
    }

    /// Whether a stored image has the layer in this very form, and that is there in full length.
    #[must_use]
    pub fn has(&self, blobs: &Blobs, diff_id: &Digest, shape: &Shape) -> bool {
        self.proves(diff_id, &shape.digest)
            && blobs.size(&shape.digest).is_ok_and(|size| size == Some(shape.size))
    }
}

/// Reads the layers below a document, from each document once. `None` where not all of it could be
/// read.
fn read(
    blobs: &Blobs,
    descriptor: &Descriptor,
    depth: usize,
    seen: &mut HashSet<Digest>,
    layers: &mut Vec<Taught>,
) -> Option<()> {
    if !seen.insert(descriptor.digest) {
        return Some(());
    }
    let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP).ok()?;
    if descriptor.is_index() && depth < 4 {
        let index: Index = oci::parse(&bytes, "").ok()?;
        let children = index.manifests.iter().filter(|child| child.is_document());
        let read = children.filter(|child| read(blobs, child, depth + 1, seen, layers).is_none());
        return (read.count() == 0).then_some(());
    }
    let manifest: Manifest = oci::parse(&bytes, "").ok()?;
    if !manifest.is_image() {
        return Some(());
    }
    let config: Config = oci::parse(&blobs.read(&manifest.config.digest, DOCUMENT_CAP).ok()?, "").ok()?;
    if config.rootfs.diff_ids.len() == manifest.layers.len() {
        layers.extend(config.rootfs.diff_ids.into_iter().zip(manifest.layers).map(taught));
    }
    Some(())
}

/// A layer with what is asked of it later.
fn taught((diff_id, layer): Taught) -> Taught {
    // A plain one is that, whatever is said: docker calls every layer gzip.
    let media_type = if layer.digest == diff_id { oci::LAYER } else { &layer.media_type };
    let mut slim = Descriptor::new(media_type, layer.digest, layer.size);
    slim.annotations.extend(layer.annotations.into_iter().filter(|(name, _)| name == annotation::PLAIN_SIZE));
    (diff_id, slim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use camino::Utf8Path;

    #[test]
    fn a_blob_that_was_only_leased_is_not_taken_for_one_that_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(&Utf8Path::from_path(dir.path()).unwrap().join("s")).unwrap();
        store.images().prepare().unwrap();
        let blobs = store.images().blobs();
        let written = blobs.put(b"written now").unwrap();
        let found = blobs.put(b"was there").unwrap().digest();
        // Another program changes it: nobody has read it through since.
        let mut file = std::fs::File::options().write(true).open(blobs.path(&found)).unwrap();
        std::io::Write::write_all(&mut file, b"WAS THERE").unwrap();
        let reused = blobs.lease(&found).unwrap().unwrap();
        let known = Known::scan(&store, &BTreeSet::new()).unwrap();
        let new = written.digest();
        known.remember(&blobs, &[written, reused]);
        let proved = Proved::read(&store);
        assert!(proved.holds(&blobs, &new));
        assert!(!proved.holds(&blobs, &found));
        assert!(!known.is_sound(&blobs, &found).unwrap());
    }
}
