//! A stored image, read back: its documents, verified; what every save does (`commit`); and who
//! vouches for it ([`signature`]).
//!
//! Deliberately absent: the bytes of layers, but for `verify`; how an image came or goes.

pub mod commit;
pub mod disk;
pub mod fetch;
pub(crate) mod inputs;
pub(crate) mod referrers;
pub mod show;
pub mod signature;
pub mod verify;

use std::collections::{BTreeMap, HashSet};
use std::io;

use storekit::{Blobs, Descriptor, Digest, Entry, Images, Key, Reach};

use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::format::image_name;
use crate::format::oci::{self, Config, DOCUMENT_CAP, Index, Manifest, Platform, annotation};

/// What is stored under a key.
#[derive(Debug)]
pub struct Stored {
    /// The key that was read.
    pub key: Key,
    /// What the key file says.
    pub entry: Entry,
    /// The images, each once.
    pub images: Vec<Image>,
    /// The manifests that are not images, each once.
    pub artifacts: Vec<Artifact>,
    /// The index, where there is one.
    pub index: Option<Index>,
    /// The one of several that has images, where all others are artifacts; or the one artifact that
    /// refers to nothing.
    pub sole: Option<Sole>,
    /// All blobs, with their sizes.
    pub blobs: BTreeMap<Digest, u64>,
}

/// The image among what refers to it, for one platform or for several, or an artifact there.
#[derive(Debug)]
pub struct Sole {
    /// What names its manifest or index.
    pub descriptor: Descriptor,
    /// Its names: those of the entry that no artifact has.
    pub names: Vec<String>,
}

/// A manifest that is not an image, such as a chart, a signature or an attestation.
#[derive(Debug)]
pub struct Artifact {
    /// What names it.
    pub descriptor: Descriptor,
    /// The manifest, understood.
    pub manifest: Manifest,
}

/// One image.
#[derive(Debug)]
pub struct Image {
    /// What names its manifest.
    pub descriptor: Descriptor,
    /// The manifest, understood.
    pub manifest: Manifest,
    /// The config's very bytes.
    pub config: Vec<u8>,
    /// The config, understood.
    pub parsed: Config,
    /// Its names, those that engines take.
    pub names: Vec<String>,
    /// Names that another tool gave it and that no engine takes.
    pub bad_names: Vec<String>,
}

/// A layer of a stored image.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// What names the blob.
    pub descriptor: &'a Descriptor,
    /// The digest of its plain bytes.
    pub diff_id: Digest,
}

impl Layer<'_> {
    /// How the blob is compressed, by its media type; one that has the diffID for a digest is
    /// plain, whatever is said: docker calls every layer gzip.
    #[must_use]
    pub fn form(&self) -> Form {
        if self.descriptor.digest == self.diff_id {
            return Form::Plain;
        }
        Form::named(&self.descriptor.media_type)
    }

    /// Whether it cannot be what the config announces: a plain layer has its diffID for a digest.
    #[must_use]
    pub fn is_another(&self) -> bool {
        self.form() == Form::Plain && self.descriptor.digest != self.diff_id
    }

    /// The number of plain bytes, where the manifest tells it.
    #[must_use]
    pub fn plain_size(&self) -> Option<u64> {
        match self.form() {
            Form::Plain => Some(self.descriptor.size),
            _ => self.descriptor.annotations.get(annotation::PLAIN_SIZE)?.parse().ok(),
        }
    }
}

impl Image {
    /// The image's ID: the digest of its config.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.manifest.config.digest
    }

    /// The machine that it is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.parsed.platform()
    }

    /// The layers, from the base upward.
    pub fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let layers = self.manifest.layers.iter().zip(&self.parsed.rootfs.diff_ids);
        layers.map(|(descriptor, diff_id)| Layer { descriptor, diff_id: *diff_id })
    }
}

impl Stored {
    /// Reads what is stored under the key. `None` where nothing is.
    ///
    /// # Errors
    /// Blobs that are missing or damaged (the latter are moved aside); documents that contradict
    /// each other.
    pub fn open(images: &Images, key: &Key) -> Result<Option<Self>> {
        let mut tries = 0..8;
        loop {
            let Some((entry, reach)) = images.find(key)? else { return Ok(None) };
            match Self::read_all(images, key, &entry, reach) {
                // A collector may have taken both, and another save may stand there now.
                Err(Error::Store(storekit::Error::Missing { .. }))
                    if tries.next().is_some() && images.get(key)?.as_ref() != Some(&entry) => {}
                read => return read.map(Some),
            }
        }
    }

    fn read_all(images: &Images, key: &Key, entry: &Entry, reach: Reach) -> Result<Self> {
        let present = whole(reach, &images.blobs())?;
        let mut stored = Self {
            key: key.clone(),
            images: Vec::new(),
            artifacts: Vec::new(),
            index: None,
            sole: None,
            blobs: present,
            entry: entry.clone(),
        };
        stored.read(&images.blobs(), &entry.descriptor, &entry.names, &mut HashSet::new())?;
        Ok(stored)
    }

    /// As [`Stored::open`], where there must be something.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`], and as [`Stored::open`].
    pub fn expect(images: &Images, key: &Key) -> Result<Self> {
        Self::open(images, key)?.ok_or_else(|| Error::NoSuchKey { key: key.to_string() })
    }

    /// The stored size in bytes, every blob once.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.values().sum()
    }

    /// The IDs of the images, in the order of the index.
    #[must_use]
    pub fn ids(&self) -> Vec<Digest> {
        self.images.iter().map(Image::id).collect()
    }

    /// Whether there are several images that have names of their own: an image beside what refers
    /// to it is one.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.several().is_some() && self.sole.is_none()
    }

    /// The index that imgtar made of all that an archive listed.
    #[must_use]
    pub fn several(&self) -> Option<&Index> {
        self.index.as_ref().filter(|index| index.annotations.contains_key(annotation::SEVERAL))
    }

    /// What the key is to an engine or a registry: the image, where the rest refers to it.
    #[must_use]
    pub fn root(&self) -> &Descriptor {
        self.sole.as_ref().map_or(&self.entry.descriptor, |sole| &sole.descriptor)
    }

    /// The images for the platform, else those that come nearest to it; or all.
    ///
    /// # Errors
    /// [`Error::NoPlatform`]; [`Error::NotAnImage`] where there is a choice of none.
    pub fn select(&self, wanted: Option<&Platform>) -> Result<Vec<&Image>> {
        let Some(wanted) = wanted else { return Ok(self.images.iter().collect()) };
        if self.images.is_empty() {
            return Err(Error::NotAnImage { key: self.key.clone() });
        }
        let chosen = Platform::nearest(wanted, &self.images, |image| Some(image.platform()));
        if chosen.is_empty() {
            let present: Vec<_> = self.images.iter().map(|image| image.platform().to_string()).collect();
            let (key, wanted, present) = (self.key.clone(), wanted.to_string(), present.join(", "));
            return Err(Error::NoPlatform { key, wanted, present });
        }
        Ok(chosen)
    }

    /// Reads a document and what is below it. `seen` holds the indexes that were read: one that is
    /// named over and over is read once.
    fn read(
        &mut self,
        blobs: &Blobs,
        descriptor: &Descriptor,
        names: &[String],
        seen: &mut HashSet<Digest>,
    ) -> Result<()> {
        if !descriptor.is_index() {
            return self.read_manifest(blobs, descriptor, names);
        }
        if !seen.insert(descriptor.digest) {
            return Ok(());
        }
        let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP)?;
        let index: Index = oci::parse(&bytes, "").map_err(|error| self.corrupt(&error))?;
        let several = index.annotations.contains_key(annotation::SEVERAL);
        let mut holders = Vec::new();
        // BuildKit lists the layers of a cache in an index.
        for child in index.manifests.iter().filter(|child| child.is_document()) {
            let (own, before) = (own_names(child), self.images.len());
            self.read(blobs, child, if several { &own } else { names }, seen)?;
            holders.extend((self.images.len() > before).then_some(child));
        }
        if several {
            let sole = match holders.as_slice() {
                [] => unattached(blobs, &index)?,
                [sole] => Some(*sole),
                _ => None,
            };
            if let Some(sole) = sole {
                self.stand_alone(&index, sole, names);
            }
        }
        // Of indexes inside indexes, the outermost counts.
        self.index = Some(index);
        Ok(())
    }

    /// Notes that all that the index lists beside this is not an image. It has the entry's names,
    /// then.
    fn stand_alone(&mut self, index: &Index, sole: &Descriptor, names: &[String]) {
        let others = index.manifests.iter().filter(|child| child.digest != sole.digest);
        let taken: HashSet<String> = others.flat_map(own_names).collect();
        let names: Vec<_> = names.iter().filter(|name| !taken.contains(*name)).cloned().collect();
        let (good, bad) = image_name::sorted_out(&names);
        for image in &mut self.images {
            image.names.clone_from(&good);
            image.bad_names.clone_from(&bad);
        }
        self.sole = Some(Sole { descriptor: sole.clone(), names: good });
    }

    fn read_manifest(&mut self, blobs: &Blobs, descriptor: &Descriptor, names: &[String]) -> Result<()> {
        if let Some(image) = self.images.iter_mut().find(|image| image.descriptor.digest == descriptor.digest)
        {
            let (good, bad) = image_name::sorted_out(&[image.names.as_slice(), names].concat());
            image.names = good;
            image.bad_names.extend(bad);
            return Ok(());
        }
        let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP)?;
        let manifest: Manifest = oci::parse(&bytes, "").map_err(|error| self.corrupt(&error))?;
        if !manifest.is_image() {
            self.add_artifact(descriptor, manifest);
            return Ok(());
        }
        let config = blobs.read(&manifest.config.digest, DOCUMENT_CAP)?;
        let parsed: Config = oci::parse(&config, "").map_err(|error| self.corrupt(&error))?;
        if parsed.rootfs.diff_ids.is_empty() && !manifest.layers.is_empty() {
            // An artifact that borrows the config's type.
            self.add_artifact(descriptor, manifest);
            return Ok(());
        }
        if parsed.rootfs.diff_ids.len() != manifest.layers.len() {
            let reason = "its config and its manifest have different numbers of layers".to_owned();
            return Err(Error::Corrupt { key: self.key.clone(), reason });
        }
        let (names, bad_names) = image_name::sorted_out(names);
        let image = Image { descriptor: descriptor.clone(), manifest, config, parsed, names, bad_names };
        if let Some(layer) = image.layers().find(Layer::is_another) {
            let reason = format!("the layer `{}` is not one of its config's", layer.descriptor.digest);
            return Err(Error::Corrupt { key: self.key.clone(), reason });
        }
        self.images.push(image);
        Ok(())
    }

    fn add_artifact(&mut self, descriptor: &Descriptor, manifest: Manifest) {
        if self.artifacts.iter().all(|artifact| artifact.descriptor.digest != descriptor.digest) {
            self.artifacts.push(Artifact { descriptor: descriptor.clone(), manifest });
        }
    }

    fn corrupt(&self, error: &Error) -> Error {
        let reason = format!("a document {}", error.to_string().trim_start());
        Error::Corrupt { key: self.key.clone(), reason }
    }
}

/// The names that a descriptor in an index has for itself.
fn own_names(child: &Descriptor) -> Vec<String> {
    child.annotations.get(annotation::IMAGE_NAME).cloned().into_iter().collect()
}

/// The one document in the index that refers to nothing.
fn unattached<'i>(blobs: &Blobs, index: &'i Index) -> Result<Option<&'i Descriptor>> {
    let mut found: Option<&Descriptor> = None;
    for child in index.manifests.iter().filter(|child| child.is_document()) {
        let refers = referrers::tagged(child).is_some()
            || referrers::subject(&blobs.read(&child.digest, DOCUMENT_CAP)?).is_some();
        if refers || found.is_some_and(|found| found.digest == child.digest) {
            continue;
        }
        if found.is_some() {
            return Ok(None);
        }
        found = Some(child);
    }
    Ok(found)
}

/// The blobs, if none is missing.
fn whole(reach: Reach, blobs: &Blobs) -> Result<BTreeMap<Digest, u64>> {
    match reach.missing.first() {
        None => Ok(reach.present),
        Some(digest) => {
            // One that is there and has the wrong length is damaged, and is moved aside by this.
            if blobs.contains(digest) {
                blobs.verify(digest)?;
            }
            Err(storekit::Error::Missing { digest: *digest, path: blobs.folder().to_owned() }.into())
        }
    }
}

/// Why a stored layer could not be read or unpacked: its own bytes decide.
pub(crate) fn unreadable(blobs: &Blobs, digest: &Digest, error: io::Error) -> Error {
    match Error::read(blobs.path(digest).as_str(), error) {
        error @ (Error::Read { .. } | Error::Damaged { .. }) => match blobs.verify(digest) {
            Err(damaged) if damaged.is_corrupt() => damaged.into(),
            _ => error,
        },
        error => error,
    }
}
