//! An index of images that are stored already, one for each platform: no blob is copied.
//!
//! What is listed is what stands under the keys now: the images first, in the order of the parts,
//! then the attestations that the parts' own indexes have of them. The same images give the same
//! bytes, whichever their keys are.
//!
//! Deliberately absent: what a build gave; signatures, which refer to an image by its digest and
//! need no index.
//!
//! Source: OCI image-spec v1.1, image-index.md; BuildKit's `attestation-storage.md`.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use storekit::{Descriptor, Digest, Entry, Images, Key, Store};

use crate::error::{Error, Result};
use crate::format::oci::{self, Index, Platform, REF_NAME, annotation};
use crate::image::commit::{self, Notes};
use crate::image::signature::Signer;
use crate::image::{Image, Stored};

/// A stored image that is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its key.
    pub key: Key,
    /// Which of its images, where the key holds several; all of them otherwise.
    pub platform: Option<Platform>,
}

/// What became of an index.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// Whether the key was written now.
    pub saved: bool,
    /// Whether what stands lists these images as they are now.
    pub is_current: bool,
    /// What stands under the key.
    pub entry: Entry,
    /// The platforms of the images, in their order.
    pub platforms: Vec<Platform>,
    /// The IDs of the images, in the same order.
    pub ids: Vec<Digest>,
}

/// Saves an index of the parts' images under the key.
///
/// What is whole stays unless `notes.force`. Then, too, an entry that has the same index and names
/// is left alone, but where one of its images was saved after it: by a name that both have, the
/// newest is meant.
///
/// # Errors
/// A part that is not stored, is no image, or says nothing of its platform; two images for one
/// platform; damaged or missing documents; those of the store.
pub fn index(store: &Store, key: &Key, parts: &[Part], notes: &Notes) -> Result<Indexed> {
    let images = store.images();
    let listed = Listed::read(&images, parts)?;
    let bytes = oci::to_bytes(&listed.index());
    let descriptor = Descriptor::new(oci::INDEX, Digest::of(&bytes), bytes.len() as u64);
    if let Some((entry, _)) = images.find(key)?.filter(|(_, reach)| reach.is_whole()) {
        let is_named = notes.names.as_ref().is_none_or(|names| *names == entry.names);
        let is_current = entry.descriptor == descriptor && is_named;
        let is_newest = entry.saved >= listed.saved;
        if is_current {
            images.touch(key);
        }
        if !notes.force || (is_current && is_newest) {
            return Ok(listed.indexed(false, is_current, entry));
        }
    }
    images.prepare()?;
    let lease = images.blobs().put(&bytes)?;
    let entry = Entry {
        names: notes.names.clone().unwrap_or_default(),
        build_seconds: notes.build_seconds,
        ..Entry::new(descriptor, Timestamp::now())
    };
    // What is not whole is replaced.
    let signer = match &notes.signer {
        // It vouches for what it lists.
        Some(signer) if has_signed(&images, signer, parts)? => Some(Arc::clone(signer)),
        _ => None,
    };
    let notes = Notes { force: true, signer, ..notes.clone() };
    let (saved, entry) = commit::commit(store, key, entry, &notes, &[lease])?;
    Ok(listed.indexed(saved, true, entry))
}

fn has_signed(images: &Images, signer: &Signer, parts: &[Part]) -> Result<bool> {
    let mut parts = parts.iter();
    parts.try_fold(true, |all, part| Ok(all && signer.has_signed(images, &part.key)?))
}

/// What an index is to list.
#[derive(Default)]
struct Listed {
    images: Vec<Descriptor>,
    attestations: Vec<Descriptor>,
    platforms: Vec<Platform>,
    ids: Vec<Digest>,
    /// When the newest of the parts was saved.
    saved: Timestamp,
}

impl Listed {
    fn read(images: &Images, parts: &[Part]) -> Result<Self> {
        let mut listed = Self::default();
        for part in parts {
            let stored = Stored::expect(images, &part.key)?;
            listed.add(&stored, part)?;
        }
        Ok(listed)
    }

    fn add(&mut self, stored: &Stored, part: &Part) -> Result<()> {
        if stored.images.is_empty() {
            return Err(Error::NotAnImage { key: part.key.clone() });
        }
        if part.platform.is_none() && stored.is_several() {
            return Err(Error::several(&part.key, stored.images.len(), stored.artifacts.len()));
        }
        for image in stored.select(part.platform.as_ref())? {
            self.add_image(image, &part.key)?;
            let is_about = |child: &&Descriptor| is_attestation_of(child, &image.descriptor.digest);
            let listed = stored.index.iter().flat_map(|index| &index.manifests);
            self.attestations.extend(listed.filter(is_about).cloned());
        }
        self.saved = self.saved.max(stored.entry.saved);
        Ok(())
    }

    fn add_image(&mut self, image: &Image, key: &Key) -> Result<()> {
        let platform = image.platform();
        if platform.os().is_empty() || platform.architecture().is_empty() {
            return Err(Error::NoPlatformOfItsOwn { key: key.clone() });
        }
        if self.platforms.contains(&platform) {
            return Err(Error::TwoForPlatform { key: key.clone(), platform: platform.to_string() });
        }
        let mut descriptor = image.descriptor.clone();
        // A name is the entry's, for all platforms.
        for name in [annotation::IMAGE_NAME, REF_NAME] {
            descriptor.annotations.remove(name);
        }
        // An index says more of a platform, such as the version of the system.
        if Platform::of(&descriptor).as_ref() != Some(&platform) {
            descriptor.other.insert("platform".to_owned(), described(image, &platform));
        }
        self.images.push(descriptor);
        self.platforms.push(platform);
        self.ids.push(image.id());
        Ok(())
    }

    fn index(&self) -> Index {
        Index::new([self.images.as_slice(), self.attestations.as_slice()].concat())
    }

    fn indexed(self, saved: bool, is_current: bool, entry: Entry) -> Indexed {
        Indexed { saved, is_current, entry, platforms: self.platforms, ids: self.ids }
    }
}

/// The platform as a descriptor has it, with what the config says of the system's version.
fn described(image: &Image, platform: &Platform) -> Value {
    let mut value = serde_json::to_value(platform).unwrap_or_default();
    let config: Value = serde_json::from_slice(&image.config).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        for name in ["os.version", "os.features"] {
            let said = config.get(name).filter(|said| !said.is_null());
            fields.extend(said.map(|said| (name.to_owned(), said.clone())));
        }
    }
    value
}

fn is_attestation_of(listed: &Descriptor, image: &Digest) -> bool {
    let says = |name: &str| listed.annotations.get(name).map(String::as_str);
    says(annotation::REFERENCE_TYPE) == Some("attestation-manifest")
        && says(annotation::REFERENCE_DIGEST) == Some(image.to_string().as_str())
}
