//! Takes a manifest: checks it, sees that all it names is stored and sound, and makes an entry of it.
//!
//! The bytes are kept as they came, with one exception: where a manifest names the plain form of a layer that is stored
//! compressed, another manifest is stored that names the stored form, and carries the text that was pushed.
//!
//! Limit: an index that names such a manifest by the pushed digest is refused, for that digest is no blob's.
//!
//! Source: OCI distribution-spec v1.1, "Pushing manifests"; image-spec v1.1, manifest.md and image-index.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use storekit::oci::Links;
use storekit::{Descriptor, Digest, Entry, Event, Key, Kind, Lease, Overwrite};

use crate::form::Form;
use crate::oci::{self, Config, DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, Manifest, annotation};
use crate::serve::app::App;
use crate::serve::fault::{Fault, Result};
use crate::serve::names::{self, Repository};
use crate::serve::route::Reference;
use crate::serve::stock::Stock;

/// What a push did.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// The digest of what was pushed.
    pub(crate) digest: Digest,
    /// The document that it refers to.
    pub(crate) subject: Option<Digest>,
}

/// A manifest as it came.
pub(crate) struct Document {
    media_type: String,
    bytes: Vec<u8>,
    digest: Digest,
    children: Vec<Descriptor>,
    subject: Option<Digest>,
}

impl Document {
    /// Reads and checks it. `announced` is the request's content type.
    ///
    /// # Errors
    /// What is no manifest or index of OCI or Docker (schema 2), or is one and the other.
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
        if wanted.iter().any(|name| !fields.contains_key(*name))
            || others.iter().any(|name| fields.contains_key(*name))
        {
            return Err(Fault::manifest_invalid("its fields are not those of its media type"));
        }
        let links: Links = serde_json::from_slice(&bytes).map_err(invalid)?;
        let subject = match fields.get("subject") {
            None | Some(Value::Null) => None,
            Some(subject) => {
                let subject: Descriptor = serde_json::from_value(subject.clone()).map_err(invalid)?;
                Some(subject.digest)
            }
        };
        Ok(Self { media_type, digest: Digest::of(&bytes), bytes, children: links.all().collect(), subject })
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
}

/// The media type, by the request and by the document, which must agree.
fn media_type(announced: Option<&str>, own: Option<&Value>) -> Result<String> {
    let announced = announced.map(|it| it.split(';').next().unwrap_or_default().trim());
    let announced = announced.filter(|it| !it.is_empty() && *it != "application/json");
    let own = match own {
        None | Some(Value::Null) => None,
        Some(own) => Some(own.as_str().ok_or_else(|| Fault::manifest_invalid("its media type is no text"))?),
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
        _ => Err(Fault::manifest_invalid("its media type is none of OCI's or Docker's (schema 2)")),
    }
}

/// Stores a manifest under a tag or its digest.
///
/// # Errors
/// What is wrong with it or missing; those of the store. No entry is written then.
pub(crate) fn push(
    app: &App,
    repository: &Repository,
    reference: &Reference,
    document: &Document,
) -> Result<Pushed> {
    if let Reference::Digest(digest) = reference
        && *digest != document.digest
    {
        return Err(Fault::digest_invalid(format!("the manifest hashes to `{}`", document.digest)));
    }
    let mut push = Push { app, stock: app.stocks.now()?, leases: Vec::new(), instead: BTreeMap::new() };
    for child in &document.children {
        push.find(child)?;
    }
    let stored = push.stored(document)?;
    push.check(&stored.descriptor(), &stored.bytes, 0)?;
    let lease = app.blobs.put(&stored.bytes)?;
    push.leases.push(lease);
    push.enter(repository, reference, &stored)?;
    Ok(Pushed { digest: document.digest, subject: document.subject })
}

struct Push<'a> {
    app: &'a App,
    stock: Arc<Stock>,
    leases: Vec<Lease>,
    /// The stored forms of layers that are named by their plain ones.
    instead: BTreeMap<Digest, Descriptor>,
}

impl Push<'_> {
    /// Sees that what the document names is there, whole and sound, and keeps it there.
    fn find(&mut self, child: &Descriptor) -> Result<()> {
        let digest = &child.digest;
        let wrong = |size| {
            let message =
                format!("the manifest says that a blob has {} bytes, and it has {size}", child.size);
            Fault::manifest_blob_unknown(digest, message)
        };
        if self.app.blobs.contains(digest)
            && let Some(lease) = self.app.blobs.lease(digest)?
            && let Some(size) = self.app.sound(digest)?
        {
            self.leases.push(lease);
            return if size == child.size { Ok(()) } else { Err(wrong(size)) };
        }
        if let Some((stored, size)) = self.app.plain_source(&self.stock, digest)? {
            if size != child.size {
                return Err(wrong(size));
            }
            self.leases.extend(self.app.blobs.lease(&stored.digest)?);
            self.instead.insert(*digest, stored);
            return Ok(());
        }
        if child.urls.is_empty() {
            return Err(Fault::manifest_blob_unknown(digest, "a blob that the manifest names is not stored"));
        }
        Ok(())
    }

    /// The document that is stored: the pushed one, or one that names the stored forms of its layers.
    fn stored(&self, document: &Document) -> Result<Document> {
        let image = if matches!(document.media_type.as_str(), MANIFEST | DOCKER_MANIFEST) {
            oci::parse::<Manifest>(&document.bytes, "").ok().filter(Manifest::is_image)
        } else {
            None
        };
        let mut instead = self.instead.clone();
        for layer in image.iter().flat_map(|image| &image.layers) {
            if !instead.contains_key(&layer.digest)
                && let Some(relabelled) = self.relabelled(layer)?
            {
                instead.insert(layer.digest, relabelled);
            }
        }
        if instead.is_empty() {
            return Document::parse(Some(&document.media_type), document.bytes.clone());
        }
        let named = |image: &Manifest| !instead.contains_key(&image.config.digest);
        // Only images have plain forms, and only of their layers.
        let Some(image) = image.filter(named) else {
            let digest = instead.keys().next().map(ToString::to_string).unwrap_or_default();
            return Err(Fault::manifest_blob_unknown(
                &digest,
                "a blob that the manifest names is not stored in this form",
            ));
        };
        Document::parse(Some(MANIFEST), restated(image, &instead, document)?)
    }

    /// A layer that is stored in another form than its media type says: docker calls every layer gzip.
    fn relabelled(&self, layer: &Descriptor) -> Result<Option<Descriptor>> {
        let said = Form::named(&layer.media_type);
        let Some(form) = self.app.facts.form(&layer.digest)?.filter(|form| *form != said) else {
            return Ok(None);
        };
        // What is neither gzip nor zstd by its first bytes may be anything, encrypted say; a tar is known by its head.
        if said == Form::Plain || form != Form::Plain {
            return Ok(None);
        }
        Ok(Some(Descriptor::new(oci::LAYER, layer.digest, layer.size)))
    }

    /// Refuses images whose layers are not those of their configs.
    fn check(&mut self, descriptor: &Descriptor, bytes: &[u8], depth: usize) -> Result<()> {
        if depth > 8 {
            return Err(Fault::manifest_invalid("it nests too deep"));
        }
        if self.stock.is_trusted(&descriptor.digest) {
            return Ok(());
        }
        if descriptor.is_manifest() {
            return self.check_layers(bytes);
        }
        let links: Links =
            serde_json::from_slice(bytes).map_err(|error| Fault::manifest_invalid(error.to_string()))?;
        for child in links.manifests.iter().filter(|child| child.is_document()) {
            let bytes = self.app.blobs.read(&child.digest, oci::DOCUMENT_CAP)?;
            self.check(child, &bytes, depth + 1)?;
        }
        Ok(())
    }

    fn check_layers(&self, manifest: &[u8]) -> Result<()> {
        let Some(image) = oci::parse::<Manifest>(manifest, "").ok().filter(Manifest::is_image) else {
            return Ok(());
        };
        let config = self.app.blobs.read(&image.config.digest, oci::DOCUMENT_CAP)?;
        let config: Config =
            oci::parse(&config, "its config").map_err(|error| Fault::manifest_invalid(error.to_string()))?;
        let diff_ids = config.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            // An artifact that borrows the config's type has none.
            let message = "its config and its manifest have different numbers of layers";
            return if diff_ids.is_empty() { Ok(()) } else { Err(Fault::manifest_invalid(message)) };
        }
        // A layer that is to be had elsewhere need not be here.
        let here = |(layer, _): &(&Descriptor, &Digest)| {
            layer.urls.is_empty() || self.app.blobs.contains(&layer.digest)
        };
        let layers: Vec<_> = image.layers.iter().zip(&diff_ids).filter(here).collect();
        crate::parallel::map(&layers, |(layer, diff_id)| self.check_layer(layer, diff_id)).map(drop)
    }

    fn check_layer(&self, layer: &Descriptor, diff_id: &Digest) -> Result<()> {
        let noted = layer.annotations.get(annotation::PLAIN_SIZE);
        let trusted = self.stock.source(diff_id).is_some_and(|source| {
            let Descriptor { digest, annotations, .. } = &source.stored;
            source.trusted && *digest == layer.digest && annotations.get(annotation::PLAIN_SIZE) == noted
        });
        if trusted || layer.media_type.contains("encrypted") {
            return Ok(());
        }
        let invalid = |message: String| Err(Fault::manifest_invalid(message));
        let plain = match self.app.facts.plain(&layer.digest) {
            Err(crate::Error::Store(error)) => return Err(error.into()),
            Err(error) => return invalid(format!("the layer `{}` does not unpack: {error}", layer.digest)),
            Ok(plain) => plain,
        };
        if plain.diff_id != *diff_id {
            return invalid(format!(
                "the layer `{}` unpacks to `{}`, not to `{diff_id}`",
                layer.digest, plain.diff_id
            ));
        }
        if noted.is_some_and(|noted| *noted != plain.size.to_string()) {
            return invalid(format!(
                "the layer `{}` unpacks to {} bytes, not to what is noted",
                layer.digest, plain.size
            ));
        }
        Ok(())
    }

    /// Writes the entry.
    fn enter(&self, repository: &Repository, reference: &Reference, stored: &Document) -> Result<()> {
        let images = &self.app.images;
        let mut entry = Entry::new(stored.descriptor(), Timestamp::now());
        let key = match reference {
            Reference::Tag(tag) => {
                let key = names::key_of(repository, tag);
                entry.names = if repository.is_keys() {
                    images.peek(&key).ok().flatten().map(|standing| standing.entry.names).unwrap_or_default()
                } else {
                    vec![names::name_of(repository, tag)]
                };
                key
            }
            // What an entry reaches already is served by its digest.
            Reference::Digest(_) if self.stock.doc(&stored.digest).is_some() => return Ok(()),
            Reference::Digest(_) => Key::of_digest(&stored.digest),
        };
        images.commit(&key, &entry, None, &self.leases, Overwrite::Yes)?;
        // A note for statistics: a save that cannot be noted is a save.
        let _ = self.app.store.events().record(&Event::new("imgtar", Kind::Save, &key, Timestamp::now()));
        self.tidy(&key, &stored.descriptor())
    }

    /// Removes the entries of documents that were pushed by their digests and that the new one names.
    fn tidy(&self, new: &Key, root: &Descriptor) -> Result<()> {
        let images = &self.app.images;
        let digests: Vec<_> = images.walker().reach(root)?.present.into_keys().collect();
        let is_spare = |key: &Key| -> Result<bool> {
            let spare = images.peek(key)?.filter(|listed| {
                let Entry { names, build_seconds, adopted, .. } = &listed.entry;
                names.is_empty() && build_seconds.is_none() && !adopted
            });
            Ok(key != new
                && spare.is_some()
                && images.inputs(key)?.is_none()
                && !images.pins()?.contains(key))
        };
        let mut spare = Vec::new();
        for key in digests.iter().map(Key::of_digest) {
            if is_spare(&key)? {
                spare.push(key);
            }
        }
        if spare.is_empty() {
            return Ok(());
        }
        let lock = self.app.store.lock_exclusive()?;
        // Another push may have replaced the new entry in between.
        if images.peek(new)?.is_some_and(|listed| listed.entry.descriptor.digest == root.digest) {
            let shredder = self.app.store.trash().shredder();
            for key in &spare {
                images.discard(&lock, key, &shredder)?;
            }
        }
        drop(lock);
        Ok(images.sync_index()?)
    }
}

/// The manifest that is stored for a pushed one: the same image, other forms of some layers.
fn restated(
    mut image: Manifest,
    instead: &BTreeMap<Digest, Descriptor>,
    pushed: &Document,
) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(&pushed.bytes).map_err(|_| Fault::manifest_invalid("it is not UTF-8"))?;
    for layer in &mut image.layers {
        if let Some(stored) = instead.get(&layer.digest) {
            *layer = crate::assemble::again(stored, layer.size);
        } else if Form::named(&layer.media_type) == Form::Gzip {
            layer.media_type = format!("{}{}", oci::LAYER, Form::Gzip.suffix());
        }
    }
    image.media_type = Some(MANIFEST.to_owned());
    oci::CONFIG.clone_into(&mut image.config.media_type);
    image.annotations.insert(annotation::PUSHED.to_owned(), text.to_owned());
    image.annotations.insert(annotation::PUSHED_TYPE.to_owned(), pushed.media_type.clone());
    Ok(oci::to_bytes(&image))
}
