//! The documents of a repository: manifests, indexes, configs.
//!
//! None is believed: each has a cap and must hash to what was asked for, and its type must be the
//! one that it has itself.
//!
//! Source: OCI distribution-spec v1.1, "Pulling manifests"; image-spec v1.1, manifest.md,
//! image-index.md.

use storekit::oci::{DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_CAP, INDEX, MANIFEST};
use storekit::{ByteSize, Descriptor, Digest};
use ureq::http::Method;

use super::client::{Client, announced, is_type};
use super::retry::{asking, retrying};
use crate::error::Result;
use crate::error::registry::{Error, tame};
use crate::image::fetch::Document;

/// What Docker's registries once served instead of manifests.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";

impl Client {
    /// The manifest or index of a tag or a digest. `expected`: the descriptor that named it, if one
    /// did.
    ///
    /// # Errors
    /// As [`Client::resolve`]; a document of more than 20 MiB, or that is not what was asked for.
    pub fn manifest(&self, target: &str, expected: Option<&Descriptor>) -> Result<Option<Document>> {
        let media_type = expected.map(|descriptor| descriptor.media_type.as_str());
        let found = asking(self.patience, || {
            let answer =
                self.call(self.request(Method::GET, "manifests", target, media_type), self.scope())?;
            match answer.status {
                200 => {}
                404 => return Ok(None),
                _ => return Err(self.refusal(answer, "GET", target)),
            }
            let announced = announced(&answer);
            let named = answer.header("content-type").map(bare_type);
            let bytes = answer.read(DOCUMENT_CAP)?;
            let bytes = bytes.ok_or_else(|| {
                self.untrue(format!("`{target}` is larger than {}", ByteSize(DOCUMENT_CAP)))
            })?;
            Ok(Some((announced, named, bytes)))
        })?;
        let Some((announced, named, bytes)) = found else { return Ok(None) };
        let digest = Digest::of(&bytes);
        let wanted = target.parse().ok().or(announced);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
            return Err(self.untrue(format!("what it sends as `{wanted}` hashes to `{digest}`")).into());
        }
        let media_type = self.media_type(target, named.as_deref(), &bytes)?;
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        if let Some(expected) = expected {
            self.check(expected, &descriptor)?;
        }
        Ok(Some(Document { descriptor, bytes }))
    }

    /// What the document says that it is, which must be what its header says; by what it holds
    /// where neither does.
    fn media_type(&self, target: &str, named: Option<&str>, bytes: &[u8]) -> Result<String> {
        let bad = |reason: String| self.untrue(format!("its manifest `{target}` {reason}"));
        let document: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| bad(format!("cannot be understood: {error}")))?;
        let has = |name: &str| document.get(name).is_some();
        // Go writes `null` for an empty list: beside the fields of the other kind it says nothing.
        let says = |name: &str| document.get(name).is_some_and(|value| !value.is_null());
        let is_manifest = says("config") || says("layers");
        if says("manifests") && is_manifest {
            return Err(bad("is a manifest and an index at once".to_owned()).into());
        }
        let own = document.get("mediaType").and_then(|own| own.as_str());
        let told = named.filter(|named| {
            !matches!(*named, "application/json" | "application/octet-stream" | "text/plain")
        });
        if let Some((own, told)) = own.zip(told).filter(|(own, told)| own != told) {
            return Err(bad(format!(
                "says that it is a `{}`, and the answer's header says `{}`",
                tame(own),
                tame(told)
            ))
            .into());
        }
        let holds = if has("manifests") && !is_manifest { INDEX } else { MANIFEST };
        let media_type = own.or(told).unwrap_or(holds);
        if media_type.starts_with(SCHEMA_1)
            || document.get("schemaVersion").is_some_and(|version| *version == 1)
        {
            let reason = "it is in Docker's first image format (schema 1), which is not supported".to_owned();
            return Err(Error::Unfit { reference: self.name(target), reason }.into());
        }
        let fits = match media_type {
            INDEX | DOCKER_LIST => has("manifests"),
            MANIFEST | DOCKER_MANIFEST => has("config") && has("layers"),
            other => is_type(other),
        };
        if !fits {
            return Err(
                bad(format!("has the media type `{}` and is something else", tame(media_type))).into()
            );
        }
        Ok(media_type.to_owned())
    }

    fn check(&self, expected: &Descriptor, found: &Descriptor) -> Result<()> {
        if expected.size != found.size {
            let (digest, announced, size) = (&found.digest, expected.size, found.size);
            return Err(self
                .untrue(format!("`{digest}` should have {announced} bytes and has {size}"))
                .into());
        }
        if expected.media_type != found.media_type {
            let (a, b) = (tame(&expected.media_type), tame(&found.media_type));
            return Err(self.untrue(format!("`{}` should be a `{a}` and is a `{b}`", found.digest)).into());
        }
        Ok(())
    }

    /// A config's bytes, in memory.
    pub(crate) fn config_bytes(&self, config: &Descriptor) -> Result<Vec<u8>> {
        self.small_blob("the config", config, DOCUMENT_CAP)
    }

    /// A blob's bytes, in memory. `what` is for messages, `cap` the most bytes that it may have.
    pub(crate) fn small_blob(&self, what: &str, blob: &Descriptor, cap: u64) -> Result<Vec<u8>> {
        let target = blob.digest.to_string();
        if blob.size > cap {
            return Err(self.untrue(format!("{what} `{target}` is larger than {}", ByteSize(cap))).into());
        }
        let bytes = retrying(self.patience, || {
            let answer = self.call(self.request(Method::GET, "blobs", &target, None), self.scope())?;
            match answer.status {
                200 => answer.read(blob.size),
                404 => Err(self.without(blob.digest).into()),
                _ => Err(self.refusal(answer, "GET", &target)),
            }
        })?;
        let sound = bytes.filter(|bytes| Digest::of(bytes) == blob.digest && bytes.len() as u64 == blob.size);
        Ok(sound.ok_or_else(|| self.untrue(format!("what it sends as `{target}` is something else")))?)
    }

    /// That a document which was just sent is what the registry gives.
    ///
    /// # Errors
    /// [`Error::Kept`] where it is not; as [`Client::resolve`].
    pub(crate) fn check_kept(&self, document: &Descriptor) -> Result<()> {
        let digest = document.digest;
        match self.manifest(&digest.to_string(), Some(document)) {
            Ok(Some(_)) => Ok(()),
            Err(error) if !error.is_damage_there() => Err(error),
            Ok(None) | Err(_) => Err(Error::Kept { registry: self.registry().to_owned(), digest }.into()),
        }
    }

    /// That a part of an image is not there.
    fn without(&self, digest: Digest) -> Error {
        let registry = self.registry().to_owned();
        Error::Incomplete { registry, reference: self.repository().to_owned(), digest }
    }

    /// A config, understood.
    pub(crate) fn config(&self, config: &Descriptor) -> Result<crate::format::oci::Config> {
        let odd =
            |error| self.untrue(format!("the config `{}` cannot be understood: {error}", config.digest));
        Ok(serde_json::from_slice(&self.config_bytes(config)?).map_err(odd)?)
    }
}

/// A media type without its parameters.
fn bare_type(header: &str) -> String {
    header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
