//! A stored manifest or index, as far as a registry has to understand it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use storekit::oci::Links;
use storekit::{Blobs, Descriptor, Digest};

use crate::format::compression::Form;
use crate::format::oci::{self, Config, DOCUMENT_CAP, Manifest, annotation};

/// A stored manifest or index.
#[derive(Debug)]
pub(crate) struct Doc {
    /// What names it: type, digest, size.
    pub(crate) descriptor: Descriptor,
    /// All that it points to, in document order.
    pub(crate) children: Vec<Descriptor>,
    /// The document that it refers to.
    pub(crate) subject: Option<Digest>,
    /// What kind of artifact it is, by its own word or by its config's type.
    pub(crate) artifact_type: Option<String>,
    /// Its annotations, where it has a subject.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether it is an index that imgtar made of several images.
    pub(crate) is_several: bool,
    /// Whether it is the manifest of an image.
    pub(crate) is_image: bool,
    /// What was pushed, where another form of it is stored.
    pub(crate) pushed: Option<Descriptor>,
    /// An image's layers with their diffIDs.
    pub(crate) layers: Vec<(Descriptor, Digest)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields {
    artifact_type: Option<String>,
    subject: Option<Value>,
    annotations: Option<BTreeMap<String, String>>,
    config: Option<Descriptor>,
}

impl Doc {
    /// Reads a stored document. `None`: it is missing, damaged, or cannot be understood.
    pub(crate) fn read(blobs: &Blobs, descriptor: &Descriptor) -> Option<Self> {
        let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP).ok()?;
        let links: Links = serde_json::from_slice(&bytes).ok()?;
        let fields: Fields = serde_json::from_slice(&bytes).ok()?;
        let layers = if descriptor.is_manifest() { layers(blobs, &bytes) } else { None };
        let (is_image, layers) = (layers.is_some(), layers.unwrap_or_default());
        let mut annotations = fields.annotations.unwrap_or_default();
        let pushed = pushed(&annotations, &bytes, &layers);
        let subject = fields.subject.and_then(|subject| subject.get("digest")?.as_str()?.parse().ok());
        let is_several = annotations.contains_key(annotation::SEVERAL);
        annotations.retain(|name, _| !annotation::is_of_pushed(name));
        if subject.is_none() {
            annotations.clear();
        }
        let own = fields.artifact_type.filter(|own| !own.is_empty());
        Some(Self {
            descriptor: Descriptor::new(descriptor.media_type.clone(), descriptor.digest, bytes.len() as u64),
            children: links.all().collect(),
            subject,
            artifact_type: own.or(fields.config.map(|config| config.media_type)),
            annotations,
            is_several,
            is_image,
            pushed,
            layers,
        })
    }

    /// What names the document that clients know: the pushed one, where another is stored.
    pub(crate) fn public(&self) -> &Descriptor {
        self.pushed.as_ref().unwrap_or(&self.descriptor)
    }

    /// The bytes that were pushed, where others are stored.
    pub(crate) fn pushed_bytes(&self, blobs: &Blobs) -> storekit::Result<Option<Vec<u8>>> {
        if self.pushed.is_none() {
            return Ok(None);
        }
        let bytes = blobs.read(&self.descriptor.digest, DOCUMENT_CAP)?;
        let fields: Fields = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = fields.annotations.and_then(|mut all| all.remove(annotation::PUSHED));
        Ok(text.map(String::into_bytes))
    }

    /// Whether some of its layers are compressed with zstd; with `ours`, by imgtar, which then has
    /// noted their size.
    pub(crate) fn has_zstd(&self, ours: bool) -> bool {
        let by_us = |layer: &Descriptor| layer.annotations.contains_key(annotation::PLAIN_SIZE);
        self.layers.iter().any(|layer| is_zstd(layer) && (!ours || by_us(&layer.0)))
    }
}

/// Whether a layer is compressed with zstd.
pub(crate) fn is_zstd((stored, diff_id): &(Descriptor, Digest)) -> bool {
    stored.digest != *diff_id && Form::named(&stored.media_type) == Form::Zstd
}

/// The layers of an image with their diffIDs. `None`: it is not an image, or one that is told apart
/// otherwise.
fn layers(blobs: &Blobs, manifest: &[u8]) -> Option<Vec<(Descriptor, Digest)>> {
    let manifest: Manifest = oci::parse(manifest, "").ok().filter(Manifest::is_image)?;
    let config: Config = oci::parse(&blobs.read(&manifest.config.digest, DOCUMENT_CAP).ok()?, "").ok()?;
    let diff_ids = config.rootfs.diff_ids;
    (diff_ids.len() == manifest.layers.len()).then(|| manifest.layers.into_iter().zip(diff_ids).collect())
}

/// The document that was pushed, by the stored one's annotations; only if it is the same image: the
/// same config, and each layer the stored one or its plain form. Whatever else the annotations say
/// counts for nothing.
fn pushed(
    annotations: &BTreeMap<String, String>,
    stored: &[u8],
    layers: &[(Descriptor, Digest)],
) -> Option<Descriptor> {
    let text = annotations.get(annotation::PUSHED)?;
    let stored: Manifest = oci::parse(stored, "").ok()?;
    let pushed: Manifest = oci::parse(text.as_bytes(), "").ok()?;
    let same = |(found, (stored, diff_id)): (&Descriptor, &(Descriptor, Digest))| {
        found.digest == stored.digest || found.digest == *diff_id
    };
    let is_same = pushed.config.digest == stored.config.digest
        && pushed.layers.len() == layers.len()
        && pushed.layers.iter().zip(layers).all(same);
    let media_type = annotations.get(annotation::PUSHED_TYPE).filter(|_| is_same)?;
    let descriptor = Descriptor::new(media_type, Digest::of(text.as_bytes()), text.len() as u64);
    descriptor.is_manifest().then_some(descriptor)
}
