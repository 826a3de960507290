//! A manifest as a client sends it: read and checked. Touches no store.
//!
//! Source: image-spec v1.1, manifest.md and image-index.md; Docker's image manifest v2.2.

use serde_json::Value;
use storekit::oci::Links;
use storekit::{Descriptor, Digest};

use crate::format::oci::{self, DOCKER_LIST, DOCKER_MANIFEST, INDEX, Index, MANIFEST, Manifest};
use crate::serve::fault::{Fault, Result};

/// No document names more: an image has at most some hundred layers.
const MOST: usize = 10_000;

/// A manifest as it came.
pub(crate) struct Document {
    /// What it is.
    pub(crate) media_type: String,
    /// The bytes that the client sent.
    pub(crate) bytes: Vec<u8>,
    /// Their digest.
    pub(crate) digest: Digest,
    /// All that it points to.
    pub(crate) children: Vec<Descriptor>,
    /// The document that it refers to.
    pub(crate) subject: Option<Digest>,
}

impl Document {
    /// Reads and checks it. `announced` is the request's content type.
    ///
    /// # Errors
    /// What is not a manifest or index of OCI or Docker (schema 2), or is one and the other.
    pub(crate) fn parse(announced: Option<&str>, bytes: Vec<u8>) -> Result<Self> {
        let invalid = |error: serde_json::Error| Fault::manifest_invalid(error.to_string());
        let fields: serde_json::Map<String, Value> = serde_json::from_slice(&bytes).map_err(invalid)?;
        let media_type = media_type(announced, fields.get("mediaType"))?;
        let is_index = matches!(media_type.as_str(), INDEX | DOCKER_LIST);
        let (wanted, others): (&[&str], &[&str]) = if is_index {
            (&["manifests"], &["config", "layers"])
        } else {
            (&["config", "layers"], &["manifests"])
        };
        // Go writes `null` for an empty list, so one of the other kind that is `null` says nothing.
        let says = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
        if wanted.iter().any(|name| !fields.contains_key(*name)) || others.iter().any(says) {
            return Err(Fault::manifest_invalid("its fields are not those of its media type"));
        }
        // What is taken must be read by every command.
        let read = if is_index {
            serde_json::from_slice::<Index>(&bytes).map(drop)
        } else {
            serde_json::from_slice::<Manifest>(&bytes).map(drop)
        };
        read.map_err(invalid)?;
        let links: Links = serde_json::from_slice(&bytes).map_err(invalid)?;
        let children: Vec<_> = links.all().collect();
        if children.len() > MOST {
            return Err(Fault::manifest_invalid(format!("it names more than {MOST} things")));
        }
        let subject = oci::subject(&bytes, "its subject")
            .map_err(|error| Fault::manifest_invalid(error.to_string()))?;
        Ok(Self { media_type, digest: Digest::of(&bytes), bytes, children, subject })
    }

    /// What names it.
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }

    /// The image that it is, if it is one.
    pub(crate) fn image(&self) -> Option<Manifest> {
        let manifest = matches!(self.media_type.as_str(), MANIFEST | DOCKER_MANIFEST);
        manifest.then(|| oci::parse(&self.bytes, "").ok())?.filter(Manifest::is_image)
    }
}

/// The media type, by the request and by the document, which must agree.
fn media_type(announced: Option<&str>, own: Option<&Value>) -> Result<String> {
    let announced = announced.map(|it| it.split(';').next().unwrap_or_default().trim());
    let announced = announced.filter(|it| !it.is_empty() && *it != "application/json");
    let own = match own {
        None | Some(Value::Null) => None,
        Some(own) => Some(own.as_str().ok_or_else(|| Fault::manifest_invalid("its media type is not text"))?),
    };
    match (announced, own) {
        (Some(announced), Some(own)) if announced != own => Err(Fault::manifest_invalid(format!(
            "it says that it is `{own}`, and the request says `{announced}`"
        ))),
        (Some(found), _) | (None, Some(found))
            if matches!(found, MANIFEST | INDEX | DOCKER_MANIFEST | DOCKER_LIST) =>
        {
            Ok(found.to_owned())
        }
        _ => Err(Fault::manifest_invalid("its media type is not one of OCI's or Docker's (schema 2)")),
    }
}
