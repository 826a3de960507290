//! Which documents of a store refer to others: signatures, SBOMs, attestations, by their `subject`,
//! or by a tag as cosign gives it, which storekit reads.
//!
//! Source: OCI image-spec v1.1, manifest.md and image-index.md, "subject".

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use storekit::images::referrers::in_tag;
use storekit::oci::null_is_empty;
use storekit::{Blobs, Descriptor, Digest, Images, Reach};

use crate::error::Result;
use crate::format::oci::{DOCUMENT_CAP, REF_NAME, annotation};

/// A document that refers to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referrer {
    /// What names it.
    pub(crate) descriptor: Descriptor,
    /// What it refers to.
    pub(crate) subject: Digest,
}

/// What a manifest or an index says of others.
#[derive(Deserialize)]
struct Links {
    #[serde(default)]
    subject: Option<Value>,
    #[serde(default, deserialize_with = "null_is_empty")]
    manifests: Vec<Descriptor>,
}

/// The digest that a document has for a subject.
pub(crate) fn subject(bytes: &[u8]) -> Option<Digest> {
    serde_json::from_slice::<Links>(bytes).ok()?.subject_digest()
}

/// What the tag refers to that an index gives to what it lists, as cosign's do.
pub(crate) fn tagged(listed: &Descriptor) -> Option<Digest> {
    let names = [REF_NAME, annotation::IMAGE_NAME].map(|name| listed.annotations.get(name));
    let tag = |name: &String| in_tag(name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag));
    names.into_iter().flatten().find_map(tag).filter(|subject| *subject != listed.digest)
}

/// The stored documents that refer to one of these, and those that refer to one of them in turn, by
/// digest.
///
/// # Errors
/// Key files that cannot be read; I/O errors. A document that cannot be read refers to nothing.
pub(crate) fn of(images: &Images, subjects: &BTreeSet<Digest>) -> Result<Vec<Referrer>> {
    let all = all(images)?;
    let (mut wanted, mut found) = (subjects.clone(), BTreeMap::new());
    loop {
        let new: Vec<_> = all
            .values()
            .filter(|one| wanted.contains(&one.subject) && !found.contains_key(&one.descriptor.digest))
            .collect();
        if new.is_empty() {
            return Ok(found.into_values().cloned().collect());
        }
        for one in new {
            wanted.insert(one.descriptor.digest);
            found.insert(one.descriptor.digest, one);
        }
    }
}

/// All stored documents that refer to another.
fn all(images: &Images) -> Result<BTreeMap<Digest, Referrer>> {
    let blobs = images.blobs();
    let (mut found, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for listed in images.list_sound()? {
        let descriptor = listed.entry.descriptor.clone();
        if let Some(subject) =
            storekit::images::referrers::subject(&listed.key, &listed.entry, &Reach::default())
        {
            found.insert(descriptor.digest, Referrer { descriptor: descriptor.clone(), subject });
        }
        let mut below = vec![descriptor];
        while let Some(descriptor) = below.pop() {
            // BuildKit lists the layers of a cache in an index.
            if descriptor.is_document() && seen.insert(descriptor.digest) {
                below.extend(look(&blobs, descriptor, &mut found));
            }
        }
    }
    Ok(found)
}

/// Notes what the document refers to. Returns what it lists.
fn look(blobs: &Blobs, descriptor: Descriptor, found: &mut BTreeMap<Digest, Referrer>) -> Vec<Descriptor> {
    let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP).ok();
    let Some(links) = bytes.and_then(|bytes| serde_json::from_slice::<Links>(&bytes).ok()) else {
        return Vec::new();
    };
    if let Some(subject) = links.subject_digest() {
        found.insert(descriptor.digest, Referrer { descriptor, subject });
    }
    for listed in links.manifests.iter().filter(|listed| listed.is_document()) {
        if let Some(subject) = tagged(listed) {
            let descriptor = listed.clone();
            found.entry(listed.digest).or_insert(Referrer { descriptor, subject });
        }
    }
    links.manifests
}

impl Links {
    fn subject_digest(&self) -> Option<Digest> {
        self.subject.as_ref()?.get("digest")?.as_str()?.parse().ok()
    }
}
