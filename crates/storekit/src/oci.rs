//! The few fields of OCI documents that a store has to understand. Unknown fields and media types
//! are no error.
//!
//! Source: OCI image-spec v1.1: descriptor.md, manifest.md, image-index.md; media types of Docker's
//! schema 2 too.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;

/// No document of a store is larger: 20 MiB.
pub const DOCUMENT_CAP: u64 = 20 << 20;

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The annotation that makes a descriptor in index.json ours; its value is the key.
pub const KEY_ANNOTATION: &str = "dev.larder.key";
/// The annotation that other OCI tools read as the name in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Whether the text may stand in a layout as [`REF_NAME`]: letters and digits, joined by one of
/// `-._:@+` or by `--`, in parts that are joined by `/`. Some tools refuse all else, although they
/// find it in a layout.
///
/// Source: OCI image-spec v1.1, annotations.md.
#[must_use]
pub fn is_ref_name(text: &str) -> bool {
    text.split('/').all(is_ref_component)
}

fn is_ref_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let joins = |gap: &str| matches!(gap, "" | "-" | "." | "_" | ":" | "@" | "+" | "--");
    part.starts_with(is_word) && part.ends_with(is_word) && part.split(is_word).all(joins)
}

/// Reads `null` as the empty value: Go writes it for a list or a map that was never filled. Stands
/// behind `deserialize_with`, beside `default`.
///
/// # Errors
/// Those of the value.
pub fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// Points to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: String,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it could be had; such a blob need not be in the store.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// All other fields (platform, artifactType, data …), kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// A descriptor with nothing but the three fields that each has.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        let (urls, annotations, other) = Default::default();
        Self { media_type: media_type.into(), digest, size, urls, annotations, other }
    }

    /// Whether it points to an index of manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), INDEX | DOCKER_LIST)
    }

    /// Whether it points to a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_str(), MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether it points to what has descriptors itself.
    #[must_use]
    pub fn is_document(&self) -> bool {
        self.is_index() || self.is_manifest()
    }
}

/// What an index or a manifest points to: the fields of both, so that one reader serves.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// An index's manifests.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// A manifest's configuration.
    pub config: Option<Descriptor>,
    /// A manifest's layers, lowest first.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// An artifact manifest's blobs (a media type that image-spec 1.1 dropped).
    #[serde(default, deserialize_with = "null_is_empty")]
    pub blobs: Vec<Descriptor>,
    /// What the document refers to: the image that it signs or describes. It is not needed, and not
    /// judged here.
    pub subject: Option<serde_json::Value>,
    /// What kind of artifact it is, where it says so itself.
    pub artifact_type: Option<serde_json::Value>,
}

/// How the artifact types of disks begin: see imgtar's FORMAT.md.
const DISK: &str = "application/vnd.larder.disk.";

impl Links {
    /// Whether the document is a disk's, by its own word.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        self.artifact_type.as_ref().and_then(|own| own.as_str()).is_some_and(|own| own.starts_with(DISK))
    }

    /// The digest of what the document refers to.
    #[must_use]
    pub fn subject(&self) -> Option<Digest> {
        self.subject.as_ref()?.get("digest")?.as_str()?.parse().ok()
    }

    /// All descriptors, in document order.
    pub fn all(self) -> impl Iterator<Item = Descriptor> {
        self.manifests.into_iter().chain(self.config).chain(self.layers).chain(self.blobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_names_follow_the_grammar() {
        for name in ["a", "1.2.3-rc_1", "app:1", "team/app:1.2", "a--b", "host.example:5000/a/b:c", "A@b+c"] {
            assert!(is_ref_name(name), "{name}");
        }
        for name in ["", "a..b", "a._b", "a__b", "a---b", "_a", "a-", "a.", "a//b", "/a", "a b", "é"] {
            assert!(!is_ref_name(name), "{name}");
        }
    }

    #[test]
    fn null_is_an_empty_list_or_map() {
        let text = r#"{"manifests":null,"config":null,"layers":null,"blobs":null,"annotations":null}"#;
        assert_eq!(serde_json::from_str::<Links>(text).unwrap().all().count(), 0);
        let digest = Digest::of(b"x");
        let text =
            format!(r#"{{"mediaType":"a","digest":"{digest}","size":1,"urls":null,"annotations":null}}"#);
        assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), Descriptor::new("a", digest, 1));
    }
}
