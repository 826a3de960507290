//! The artifact that holds, in a registry, what is noted with an image: the key file, and the
//! manifest of inputs.
//!
//! Source: FORMAT.md, "Places"; OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage".

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use camino::Utf8Path;
use serde_json::{Value, json};
use storekit::images::entry;
use storekit::{Descriptor, Digest, Entry, Key};

use crate::error::{Error, Result};
use crate::format::oci::{self, EMPTY, MANIFEST, Manifest};
use crate::image::fetch::{Document, Source};
use crate::tier::kind::INPUTS_CAP;

/// What the artifact is.
const KIND: &str = "application/vnd.larder.entry.v1";
/// Its layers: the text of the key file, and the manifest of inputs.
const KEY_FILE: &str = "application/vnd.larder.key.v1+toml";
const INPUTS: &str = "application/vnd.larder.inputs.v1";
/// What stands for a moment where a tag is taken away.
const TOMBSTONE: &str = "application/vnd.larder.removed.v1";
/// The bytes of the empty config.
pub(crate) const EMPTY_BYTES: &[u8] = b"{}";
/// How the tag of one ends.
const ENDING: &str = ".entry";
/// A key file up to this size stands in the manifest too, in base64.
const INLINE: usize = 16 << 10;

/// What an artifact says.
pub(crate) struct Noted {
    pub(crate) entry: Entry,
    pub(crate) inputs: Option<Descriptor>,
}

/// An artifact that is to be pushed: its blobs, and its manifest.
pub(crate) struct Made {
    pub(crate) blobs: Vec<(Descriptor, Vec<u8>)>,
    pub(crate) manifest: Document,
}

/// The tag of the artifact for a key.
pub(crate) fn tag(key: &Key) -> String {
    let tag = format!("{key}{ENDING}");
    if tag.parse::<Key>().is_ok() {
        return tag;
    }
    format!("{}{ENDING}", Digest::of(key.as_str().as_bytes()).hex())
}

/// Whether a tag is that of an artifact.
pub(crate) fn is_tag(tag: &str) -> bool {
    tag.ends_with(ENDING)
}

/// Refuses a key that would be taken for the tag of an artifact.
pub(crate) fn check_key(key: &Key) -> Result<()> {
    if !is_tag(key.as_str()) {
        return Ok(());
    }
    let message = format!("the key `{key}` ends in `{ENDING}`");
    Err(Error::Usage { message, help: "a registry cannot keep such a key: choose another one" })
}

/// Makes the artifact. Inputs that are too large for a network are left out.
pub(crate) fn make(entry: &Entry, inputs: Option<Vec<u8>>) -> Made {
    let text = entry.to_text().into_bytes();
    let mut key_file = descriptor(KEY_FILE, &text);
    if text.len() <= INLINE {
        key_file.other.insert("data".to_owned(), STANDARD.encode(&text).into());
    }
    let inputs = inputs.filter(|inputs| inputs.len() as u64 <= INPUTS_CAP);
    let inputs = inputs.map(|inputs| (descriptor(INPUTS, &inputs), inputs));
    let layers: Vec<_> = [&key_file].into_iter().chain(inputs.as_ref().map(|(inputs, _)| inputs)).collect();
    let Descriptor { media_type, digest, size, .. } = &entry.descriptor;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": KIND,
        "config": descriptor(EMPTY, EMPTY_BYTES),
        "layers": layers,
        "subject": { "mediaType": media_type, "digest": digest, "size": size },
    });
    let bytes = oci::to_bytes(&manifest);
    let manifest = Document { descriptor: descriptor(MANIFEST, &bytes), bytes };
    let mut blobs = vec![(descriptor(EMPTY, EMPTY_BYTES), EMPTY_BYTES.to_vec()), (key_file, text)];
    blobs.extend(inputs);
    Made { blobs, manifest }
}

/// A manifest that no other tag has, and the blob that it needs.
pub(crate) fn tombstone(tag: &str) -> (Descriptor, Document) {
    let empty = descriptor(EMPTY, EMPTY_BYTES);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": TOMBSTONE,
        "config": empty,
        "layers": [empty],
        "annotations": { "dev.larder.removed": tag },
    });
    let bytes = oci::to_bytes(&manifest);
    (empty, Document { descriptor: descriptor(MANIFEST, &bytes), bytes })
}

/// Whether the document stands where a tag is being taken away: nothing stands there.
pub(crate) fn is_tombstone(document: &Document) -> bool {
    let manifest: Option<Manifest> = serde_json::from_slice(&document.bytes).ok();
    document.descriptor.is_manifest()
        && manifest.is_some_and(|manifest| manifest.artifact_type() == TOMBSTONE)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

/// Reads an artifact. `None` where the document is not one. `fetch` brings a blob of at most so
/// many bytes; the first word is what it is called.
pub(crate) fn read(
    document: &Document,
    fetch: impl FnOnce(&str, &Descriptor, u64) -> Result<Vec<u8>>,
) -> Result<Option<Noted>> {
    if !document.descriptor.is_manifest() {
        return Ok(None);
    }
    let what = format!("the entry `{}`", document.descriptor.digest);
    let manifest: Manifest = oci::parse(&document.bytes, &what)?;
    if manifest.artifact_type() != KIND {
        return Ok(None);
    }
    let layer = |kind: &str| manifest.layers.iter().find(|layer| layer.media_type == kind);
    let Some(key_file) = layer(KEY_FILE) else { return Ok(None) };
    let text = match inline(key_file) {
        Some(text) => text,
        None => fetch("the key file", key_file, entry::CAP)?,
    };
    let name = format!("{}", key_file.digest);
    Ok(Some(Noted { entry: Entry::parse(&text, Utf8Path::new(&name))?, inputs: layer(INPUTS).cloned() }))
}

/// What stands in the manifest of a blob, if it is the blob's.
fn inline(blob: &Descriptor) -> Option<Vec<u8>> {
    let data = blob.other.get("data").and_then(Value::as_str)?;
    STANDARD.decode(data).ok().filter(|bytes| Digest::of(bytes) == blob.digest)
}

/// What cannot be understood there is not damage here.
pub(crate) fn untrue(error: Error, source: &dyn Source) -> Error {
    match error {
        Error::Store(storekit::Error::BadFile { reason, .. }) | Error::BadDocument { reason, .. } => {
            source.untrue(format!("what is noted with the image cannot be understood: {reason}"))
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let image = Descriptor::new(MANIFEST, Digest::of(b"image"), 5);
        Entry {
            names: vec!["app:1".to_owned()],
            ..Entry::new(image, "2026-01-02T03:04:05Z".parse().unwrap())
        }
    }

    #[test]
    fn an_artifact_is_read_as_it_was_made() {
        let made = make(&entry(), Some(b"hashctx manifest 1\n".to_vec()));
        let noted = read(&made.manifest, |_, _, _| unreachable!("it is in the manifest")).unwrap().unwrap();
        assert_eq!(noted.entry, entry());
        assert_eq!(noted.inputs.unwrap().digest, Digest::of(b"hashctx manifest 1\n"));
        assert_eq!(made.blobs.len(), 3);
    }

    #[test]
    fn a_key_file_that_does_not_stand_in_the_manifest_is_fetched() {
        let mut made = make(&entry(), None);
        let mut document: Value = serde_json::from_slice(&made.manifest.bytes).unwrap();
        document["layers"][0]["data"] = "eA==".into();
        made.manifest.bytes = document.to_string().into_bytes();
        let text = entry().to_text();
        let noted = read(&made.manifest, |_, blob, cap| {
            assert_eq!((blob.digest, cap), (Digest::of(text.as_bytes()), entry::CAP));
            Ok(text.clone().into_bytes())
        });
        assert_eq!(noted.unwrap().unwrap().entry, entry());
    }

    #[test]
    fn each_key_has_a_tag_and_no_key_is_one() {
        let longest: Key = "a".repeat(128).parse().unwrap();
        assert!(tag(&longest).parse::<Key>().is_ok());
        let key: Key = "k1".parse().unwrap();
        assert_eq!(tag(&key), "k1.entry");
        assert!(check_key(&tag(&key).parse().unwrap()).is_err());
        assert!(check_key(&key).is_ok());
        assert!(is_tombstone(&tombstone("k1").1) && !is_tombstone(&make(&entry(), None).manifest));
    }
}
