//! The OCI documents that images are made of: descriptors, manifests, indexes, configs.
//!
//! Reads what is needed and keeps what is not understood. Foreign documents are never written back
//! from these types where their digest matters: their bytes are kept. Touches no disk.
//!
//! Source: OCI image-spec v1.1, descriptor.md, manifest.md, image-index.md, config.md; Docker's
//! image manifest v2.2.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
pub use storekit::Platform;
use storekit::oci::null_is_empty;
pub use storekit::oci::{CONFIG, DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_CAP, INDEX, MANIFEST, REF_NAME};
use storekit::{Descriptor, Digest};

use crate::error::{Error, Result};

/// The media type of a plain layer; `+gzip` or `+zstd` follows where it is compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Docker's image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What stands where an artifact has no config, or no layer: the two bytes `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Annotations, as written.
pub mod annotation {
    /// The name of an artifact's file.
    pub const TITLE: &str = "org.opencontainers.image.title";
    /// The image's whole name, which is what engines read.
    pub const IMAGE_NAME: &str = "io.containerd.image.name";
    /// What BuildKit writes on the descriptors of manifests that are not images.
    pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
    /// Beside it: the digest of the manifest that an attestation is about.
    pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
    /// The size of a layer's tar, on the descriptor of its compressed form, where imgtar wrote the
    /// manifest.
    pub const PLAIN_SIZE: &str = "dev.larder.uncompressed-size";
    /// On an index that imgtar made because an archive held several images.
    pub const SEVERAL: &str = "dev.larder.several-images";
    /// The text of the manifest that was pushed, where its plain layers are stored compressed and
    /// so another manifest is.
    pub const PUSHED: &str = "dev.larder.pushed";
    /// The media type of that manifest.
    pub const PUSHED_TYPE: &str = "dev.larder.pushed-type";

    pub(crate) fn is_of_pushed(name: &str) -> bool {
        matches!(name, PUSHED | PUSHED_TYPE)
    }
}

/// Annotations, sorted by name.
pub type Annotations = BTreeMap<String, String>;

/// An image's manifest, or that of any other artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// Of the manifest itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// From the base upward.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// Notes by name.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// What else it says.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Manifest {
    /// The manifest of an image.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config,
            layers,
            annotations: Annotations::new(),
            rest: Map::new(),
        }
    }

    /// Whether this is an image, as opposed to an attestation or some other artifact. Some of those
    /// have the config of an image, such as `BuildKit`'s attestations and cosign's signatures, and
    /// layers that are not an image's.
    #[must_use]
    pub fn is_image(&self) -> bool {
        let config = matches!(self.config.media_type.as_str(), CONFIG | DOCKER_CONFIG);
        config && self.layers.iter().all(|layer| is_layer(&layer.media_type))
    }

    /// What kind of artifact it is: by its own word, else by its config's type.
    #[must_use]
    pub fn artifact_type(&self) -> &str {
        let own = self.rest.get("artifactType").and_then(Value::as_str);
        own.filter(|own| !own.is_empty()).unwrap_or(&self.config.media_type)
    }

    /// Whether it says more than the manifest of an image that is written anew would, so that its
    /// bytes are kept.
    #[must_use]
    pub fn is_special(&self) -> bool {
        self.has_subject() || self.rest.get("artifactType").is_some_and(|own| !own.is_null())
    }

    /// Whether it refers to another manifest by its digest.
    #[must_use]
    pub fn has_subject(&self) -> bool {
        self.rest.get("subject").is_some_and(|subject| !subject.is_null())
    }
}

/// An image index: the `index.json` of a layout, or a document of one image for several platforms.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u32,
    /// Of the index itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it lists.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// Notes by name.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// What else it says.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Index {
    /// An index of these.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests,
            annotations: Annotations::new(),
            rest: Map::new(),
        }
    }
}

/// What is read of an image's config.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// As in `GOARCH`.
    #[serde(default)]
    pub architecture: String,
    /// As in `GOOS`.
    #[serde(default)]
    pub os: String,
    /// Such as `v7` for arm.
    #[serde(default)]
    pub variant: Option<String>,
    /// When the image was made, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// The layers; none where an artifact borrows the type of an image's config.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub rootfs: RootFs,
    /// What else it says. Because of this, a list is not taken for a config: serde reads a list as
    /// the fields of a struct in their order.
    #[serde(flatten)]
    pub rest: IgnoredAny,
}

/// The layers of a config.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The digests of the layers' tars, from the base upward.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<Digest>,
}

/// Whether a descriptor of this type is that of an image's layer.
fn is_layer(media_type: &str) -> bool {
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
        .iter()
        .any(|start| media_type.starts_with(start))
}

impl Config {
    /// The machine that the image is for.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// The digest of what a document from outside refers to. Its `subject` must be a descriptor, or
/// `null`, or not there: whatever takes documents asks this, so that none is taken that another
/// way refuses.
///
/// # Errors
/// [`Error::BadDocument`]; `what` names the document.
pub fn subject(document: &[u8], what: &str) -> Result<Option<Digest>> {
    #[derive(Deserialize)]
    struct Referring {
        #[serde(default)]
        subject: Option<Descriptor>,
    }
    let Referring { subject } = parse(document, what)?;
    Ok(subject.map(|subject| subject.digest))
}

/// Reads a document. `what` names it in the error.
///
/// # Errors
/// [`Error::BadDocument`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::BadDocument { what: what.to_owned(), reason: error.to_string() })
}

/// Writes a document: compact, fields in a fixed order.
#[must_use]
pub fn to_bytes<T: Serialize>(document: &T) -> Vec<u8> {
    // Strings, numbers and maps with string keys always serialise.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{digest}","size":1,"data":"eA=="}},"layers":[],"subject":{{}},"new":[1]}}"#
        );
        let manifest: Manifest = parse(text.as_bytes(), "it").unwrap();
        assert!(manifest.has_subject());
        let again: Value = serde_json::from_slice(&to_bytes(&manifest)).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn a_subject_is_a_descriptor_or_nothing() {
        let digest = Digest::of(b"x");
        let given = |text: &str| subject(format!(r#"{{"layers":[]{text}}}"#).as_bytes(), "it");
        assert_eq!(given("").unwrap(), None);
        assert_eq!(given(r#","subject":null"#).unwrap(), None);
        let whole = format!(r#","subject":{{"mediaType":"a","digest":"{digest}","size":1}}"#);
        assert_eq!(given(&whole).unwrap(), Some(digest));
        for wrong in ["{}", "7", "[]", r#""sha256:00""#, r#"{"digest":"sha256:00","mediaType":"a","size":1}"#]
        {
            assert!(given(&format!(r#","subject":{wrong}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn null_is_an_empty_list_or_map() {
        let digest = Digest::of(b"x");
        let config = format!(r#"{{"mediaType":"a","digest":"{digest}","size":1}}"#);
        let text = format!(r#"{{"config":{config},"layers":null,"annotations":null,"subject":null}}"#);
        let manifest: Manifest = parse(text.as_bytes(), "it").unwrap();
        assert!(manifest.layers.is_empty() && !manifest.has_subject());
        assert!(
            parse::<Index>(br#"{"manifests":null,"annotations":null}"#, "it").unwrap().manifests.is_empty()
        );
        for text in [r#"{"rootfs":null}"#, r#"{"rootfs":{"type":"layers","diff_ids":null}}"#] {
            assert!(parse::<Config>(text.as_bytes(), "it").unwrap().rootfs.diff_ids.is_empty());
        }
    }

    #[test]
    fn a_config_is_an_object() {
        let diff_id = Digest::of(b"x");
        let rootfs = format!(r#"{{"type":"layers","diff_ids":["{diff_id}"]}}"#);
        let config: Config =
            parse(format!(r#"{{"rootfs":{rootfs},"history":[]}}"#).as_bytes(), "it").unwrap();
        assert_eq!(config.rootfs.diff_ids, [diff_id]);
        for text in ["[]", &format!(r#"["amd64","linux",null,null,{rootfs}]"#), "null", "1"] {
            assert!(parse::<Config>(text.as_bytes(), "it").is_err(), "{text}");
        }
    }

    #[test]
    fn platforms_are_read_from_descriptors() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"mediaType":"a","digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"arm","os.features":["x"]}}}}"#
        );
        let descriptor: Descriptor = parse(text.as_bytes(), "it").unwrap();
        assert_eq!(Platform::of(&descriptor), Some(Platform::new("linux", "arm", Some("v7"))));
    }

    #[test]
    fn digests_in_documents_are_no_paths() {
        let text = r#"{"config":{"digest":"sha256:../../x","size":1},"layers":[]}"#;
        assert!(parse::<Manifest>(text.as_bytes(), "it").is_err());
    }
}
