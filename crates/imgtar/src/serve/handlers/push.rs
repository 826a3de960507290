//! Takes a manifest: checks it, sees that all it names is stored and sound, and makes an entry of
//! it.
//!
//! The bytes are kept as they came, with one exception: where a manifest names the plain form of a
//! layer that is stored compressed, another manifest is stored that names the stored form, and
//! carries the text that was pushed. What is not an image, such as BuildKit's cache, gets the form
//! that it names.
//!
//! Source: OCI distribution-spec v1.1, "Pushing manifests".

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use storekit::oci::Links;
use storekit::{Descriptor, Digest, Entry, Event, Key, Kind, Lease, Overwrite};

use crate::format::compression::Form;
use crate::format::oci::{self, Config, MANIFEST, Manifest, annotation};
use crate::serve::fault::{Fault, Result};
use crate::serve::handlers::{blobs, manifests};
use crate::serve::names::{self, Repository};
use crate::serve::pushed_manifest::Document;
use crate::serve::route::Reference;
use crate::serve::state::app::App;
use crate::serve::state::stock::Stock;

/// Indexes nest at most this deep.
const DEPTH: usize = 8;

/// What a push did.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// The digest of what was pushed.
    pub(crate) digest: Digest,
    /// The document that it refers to.
    pub(crate) subject: Option<Digest>,
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
    let mut push = Push {
        app,
        stock: app.stocks.now()?,
        leases: Vec::new(),
        found: HashSet::new(),
        instead: BTreeMap::new(),
        said: HashMap::new(),
    };
    let image = document.image();
    for child in &document.children {
        let is_layer = image.as_ref().is_some_and(|image| image.config.digest != child.digest);
        push.find(child, if is_layer { Bytes::Any } else { Bytes::Named }, 0)?;
    }
    let stored = match image {
        Some(image) => &push.restated(image, document)?,
        None => document,
    };
    let verified = push.is_as_said(&stored.descriptor(), &stored.bytes, 0)?;
    let lease = app.blobs.put(&stored.bytes)?;
    push.leases.push(lease);
    push.enter(repository, reference, stored, verified)?;
    Ok(Pushed { digest: document.digest, subject: document.subject })
}

struct Push<'a> {
    app: &'a App,
    stock: Arc<Stock>,
    leases: Vec<Lease>,
    /// What was found already, in this very form or any: a hostile document names one thing again
    /// and again.
    found: HashSet<(Digest, Bytes, u64)>,
    /// The stored forms of layers that are named by their plain ones.
    instead: BTreeMap<Digest, Descriptor>,
    /// Documents that were checked, and whether they are as they say.
    said: HashMap<Digest, bool>,
}

/// Which form of a blob serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Bytes {
    /// A compressed layer serves for its plain form.
    Any,
    /// The blob must be stored with these very bytes.
    Named,
}

impl Push<'_> {
    /// Sees that what the document names is there, whole and sound, and keeps it there.
    fn find(&mut self, child: &Descriptor, bytes: Bytes, depth: usize) -> Result<()> {
        let (app, digest) = (self.app, &child.digest);
        if !self.found.insert((*digest, bytes, child.size)) {
            return Ok(());
        }
        if app.blobs.contains(digest)
            && let Some(lease) = app.blobs.lease(digest)?
            && let Some(size) = app.sound(digest)?
        {
            self.leases.push(lease);
            return fits(child, size);
        }
        if let Some((stored, size)) = app.plain_source(&self.stock, digest)? {
            fits(child, size)?;
            self.leases.extend(app.blobs.lease(&stored.digest)?);
            match bytes {
                Bytes::Any => self.instead.insert(*digest, stored).map_or((), drop),
                Bytes::Named => self.leases.push(unpack(app, &stored.digest, digest)?),
            }
            return Ok(());
        }
        if child.is_document() && depth < DEPTH {
            return self.find_document(child, depth);
        }
        if child.urls.is_empty() {
            return Err(Fault::manifest_blob_unknown(digest, "a blob that the manifest names is not stored"));
        }
        Ok(())
    }

    /// A manifest that is handed out though it is not stored: from now on it is, with all that it
    /// names.
    fn find_document(&mut self, child: &Descriptor, depth: usize) -> Result<()> {
        let absent =
            || Fault::manifest_blob_unknown(&child.digest, "a manifest that the index names is not stored");
        let made = manifests::by_digest(self.app, &self.stock, &child.digest).map_err(|_| absent())?;
        fits(child, made.descriptor.size)?;
        let document = Document::parse(Some(&made.descriptor.media_type), made.bytes)?;
        for child in &document.children {
            self.find(child, Bytes::Named, depth + 1)?;
        }
        self.leases.push(self.app.blobs.put(&document.bytes)?);
        Ok(())
    }

    /// The document that is stored for an image: the pushed one, or one that names other forms of
    /// its layers.
    fn restated(&self, mut image: Manifest, pushed: &Document) -> Result<Document> {
        if self.instead.is_empty() {
            return Document::parse(Some(&pushed.media_type), pushed.bytes.clone());
        }
        let text =
            std::str::from_utf8(&pushed.bytes).map_err(|_| Fault::manifest_invalid("it is not UTF-8"))?;
        for layer in &mut image.layers {
            if let Some(stored) = self.instead.get(&layer.digest) {
                *layer = crate::archive::assemble::again(stored, layer.size);
            } else if Form::named(&layer.media_type) == Form::Gzip {
                layer.media_type = format!("{}{}", oci::LAYER, Form::Gzip.suffix());
            }
        }
        image.media_type = Some(MANIFEST.to_owned());
        oci::CONFIG.clone_into(&mut image.config.media_type);
        image.annotations.insert(annotation::PUSHED.to_owned(), text.to_owned());
        image.annotations.insert(annotation::PUSHED_TYPE.to_owned(), pushed.media_type.clone());
        Document::parse(Some(MANIFEST), oci::to_bytes(&image))
    }

    /// Whether each layer of the image, or of those that an index names, is what its config says.
    /// The specification has no registry look into layers, so that one which is not is no reason to
    /// refuse the image; but no other image is ever built on its word. A config that no engine
    /// could load the image with is one: docker's registry and containerd refuse it, too.
    fn is_as_said(&mut self, descriptor: &Descriptor, bytes: &[u8], depth: usize) -> Result<bool> {
        if depth > DEPTH {
            return Err(Fault::manifest_invalid("it nests too deep"));
        }
        let digest = descriptor.digest;
        if let Some(said) = self.said.get(&digest) {
            return Ok(*said);
        }
        let said = self.stock.is_trusted(&digest) || self.looks_as_said(descriptor, bytes, depth)?;
        self.said.insert(digest, said);
        Ok(said)
    }

    fn looks_as_said(&mut self, descriptor: &Descriptor, bytes: &[u8], depth: usize) -> Result<bool> {
        if descriptor.is_manifest() {
            return self.are_layers_as_said(bytes);
        }
        let links: Links =
            serde_json::from_slice(bytes).map_err(|error| Fault::manifest_invalid(error.to_string()))?;
        for child in links.manifests.iter().filter(|child| child.is_document()) {
            if self.said.get(&child.digest) == Some(&true) {
                continue;
            }
            let bytes = self.app.blobs.read(&child.digest, oci::DOCUMENT_CAP)?;
            if !self.is_as_said(child, &bytes, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn are_layers_as_said(&self, manifest: &[u8]) -> Result<bool> {
        let Some(image) = oci::parse::<Manifest>(manifest, "").ok().filter(Manifest::is_image) else {
            return Ok(true);
        };
        let digest = &image.config.digest;
        let config = self.app.blobs.read(digest, oci::DOCUMENT_CAP)?;
        let config: Config = oci::parse(&config, "the image's config")
            .map_err(|error| Fault::config_invalid(digest, error.to_string()))?;
        let (diff_ids, layers) = (config.rootfs.diff_ids, image.layers.len());
        // With none, it is an artifact that borrows the config's type.
        if diff_ids.is_empty() && layers > 0 {
            return Ok(false);
        }
        if diff_ids.len() != layers {
            let has = diff_ids.len();
            let message =
                format!("the image's config has {has} diff_ids, and its manifest has {layers} layers");
            return Err(Fault::config_invalid(digest, message));
        }
        // A layer that is to be had elsewhere need not be here.
        let here = |(layer, _): &(&Descriptor, &Digest)| {
            layer.urls.is_empty() || self.app.blobs.contains(&layer.digest)
        };
        let layers: Vec<_> = image.layers.iter().zip(&diff_ids).filter(here).collect();
        let said = crate::parallel::map(&layers, |(layer, diff_id)| self.is_layer_as_said(layer, diff_id))?;
        Ok(said.into_iter().all(|said| said))
    }

    fn is_layer_as_said(&self, layer: &Descriptor, diff_id: &Digest) -> Result<bool> {
        let noted = layer.annotations.get(annotation::PLAIN_SIZE);
        let trusted = self.stock.source(diff_id).is_some_and(|source| {
            let Descriptor { digest, annotations, .. } = &source.stored;
            source.trusted && *digest == layer.digest && annotations.get(annotation::PLAIN_SIZE) == noted
        });
        if trusted {
            return Ok(true);
        }
        match self.app.facts.plain(&layer.digest) {
            Err(crate::Error::Store(error)) => Err(error.into()),
            // It does not unpack.
            Err(_) => Ok(false),
            Ok(plain) => {
                Ok(plain.diff_id == *diff_id && noted.is_none_or(|noted| *noted == plain.size.to_string()))
            }
        }
    }

    /// Writes the entry.
    fn enter(
        &self,
        repository: &Repository,
        reference: &Reference,
        stored: &Document,
        verified: bool,
    ) -> Result<()> {
        let images = &self.app.images;
        let mut entry = Entry { adopted: !verified, ..Entry::new(stored.descriptor(), Timestamp::now()) };
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

    /// Removes the entries of documents that were pushed by their digests and that the new one
    /// names, in the form in which they were stored then.
    fn tidy(&self, new: &Key, root: &Descriptor) -> Result<()> {
        let images = &self.app.images;
        let named = images.walker().reach(root)?.present.into_keys();
        let forms = |digest| [Some(digest), self.stock.doc(&digest).map(|doc| doc.descriptor.digest)];
        let digests: BTreeSet<Digest> = named.flat_map(forms).flatten().collect();
        let is_spare = |key: &Key| -> Result<bool> {
            let spare = images.peek(key)?.filter(|listed| {
                let Entry { names, build_seconds, origin, .. } = &listed.entry;
                names.is_empty() && build_seconds.is_none() && origin.is_unknown()
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

fn fits(child: &Descriptor, size: u64) -> Result<()> {
    if size == child.size {
        return Ok(());
    }
    let message = format!("the manifest says that a blob has {} bytes, and it has {size}", child.size);
    Err(Fault::manifest_blob_unknown(&child.digest, message))
}

/// Stores the plain form of a layer, for a document that needs that very form.
fn unpack(app: &App, stored: &Digest, plain: &Digest) -> Result<Lease> {
    let mut writer = app.blobs.create()?;
    let failed = |error| storekit::Error::io("write in", app.blobs.folder(), error);
    let mut reader = blobs::unpacked(app, stored).map_err(failed)?;
    std::io::copy(&mut reader, &mut writer).map_err(failed)?;
    Ok(writer.finish(Some(plain))?)
}
