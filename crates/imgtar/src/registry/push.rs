//! A whole image from the store into a registry: blobs first, then documents from the bottom up, the tag last.
//!
//! Kept as it is, byte for byte, unless layers are to have another form: then the manifests that name them, and the
//! indexes above, are written anew; configs and diffIDs stay. What is no layer of an image stays as it is.
//!
//! Limit: an attestation in an index that is written anew speaks of the manifest as it was stored.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use storekit::oci::Links;
use storekit::{Blobs, Descriptor, Digest, Key, Store};

use super::client::{Client, Purpose};
use super::document::Document;
use super::memory::{Made, Memory};
use super::{Config, Error, Tally, recode, upload};
use crate::error::Result;
use crate::form::Form;
use crate::image::Stored;
use crate::oci::{self, DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_CAP, Index, Manifest};
use crate::parallel;
use crate::progress::Progress;
use crate::reference::Reference;

/// What BuildKit calls the manifest that an attestation is about.
const ATTESTED: &str = "vnd.docker.reference.digest";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// How an image is pushed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The form that all layers of images get; as they are where this is `None`.
    pub form: Option<Form>,
    /// Other repositories of the registry that may hold some of the blobs.
    pub from: Vec<String>,
}

/// What a push did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// Where it is now.
    pub reference: Reference,
    /// The key that it came from.
    pub key: Key,
    /// The digest of its manifest or index there.
    pub digest: Digest,
    /// What that is.
    pub media_type: String,
    /// What moved.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Pushes what is stored under the key. `None` where nothing is.
///
/// # Errors
/// Damaged or missing blobs (no tag points to the image then); a registry that says no; as [`Client::resolve`].
pub fn push(
    store: &Store,
    config: &Config,
    key: &Key,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Option<Pushed>> {
    if reference.digest().is_some() {
        return Err(Error::ToDigest { reference: reference.to_string() }.into());
    }
    let images = store.images();
    let Some(stored) = Stored::open(&images, key)? else { return Ok(None) };
    let blobs = images.blobs();
    let tree = Tree::read(&blobs, &stored)?;
    let client = Client::new(config, reference, Purpose::Push)?;
    let memory = Memory::load(store.root(), client.registry());
    let mut push = Push { client, blobs, options, progress, memory, tally: Tally::default() };
    let root = push.run(&tree, &reference.target(), config.parallel)?;
    let Push { memory, tally, .. } = push;
    memory.save();
    crate::load::note(store, &stored);
    let (reference, key, digest) = (reference.clone(), key.clone(), root.digest);
    Ok(Some(Pushed { reference, key, digest, media_type: root.media_type, tally }))
}

/// All that an image is made of.
struct Tree {
    /// Those that others name go before them; the root is the last.
    documents: Vec<Document>,
    /// What is no document.
    blobs: BTreeMap<Digest, Descriptor>,
}

impl Tree {
    fn read(blobs: &Blobs, stored: &Stored) -> Result<Self> {
        let mut tree = Self { documents: Vec::new(), blobs: BTreeMap::new() };
        tree.visit(blobs, &stored.entry.descriptor, &stored.blobs)?;
        Ok(tree)
    }

    fn visit(
        &mut self,
        blobs: &Blobs,
        descriptor: &Descriptor,
        present: &BTreeMap<Digest, u64>,
    ) -> Result<()> {
        // What has `urls` need not be there, and is not sent.
        if !present.contains_key(&descriptor.digest) {
            return Ok(());
        }
        if !descriptor.is_document() {
            self.blobs.entry(descriptor.digest).or_insert_with(|| descriptor.clone());
            return Ok(());
        }
        if self.documents.iter().any(|document| document.descriptor.digest == descriptor.digest) {
            return Ok(());
        }
        let bytes = blobs.read(&descriptor.digest, DOCUMENT_CAP)?;
        let links: Links = oci::parse(&bytes, &format!("the document `{}`", descriptor.digest))?;
        // The store has followed them before: they are not deep, and nothing leads round.
        links.all().try_for_each(|child| self.visit(blobs, &child, present))?;
        self.documents.push(Document { descriptor: descriptor.clone(), bytes });
        Ok(())
    }

    fn root(&self) -> Option<&Descriptor> {
        self.documents.last().map(|document| &document.descriptor)
    }

    /// The layers of images that have another form than this.
    fn layers_unlike(&self, form: Form) -> Result<HashMap<Digest, Descriptor>> {
        let mut found = HashMap::new();
        for document in self.documents.iter().filter(|document| document.descriptor.is_manifest()) {
            let manifest: Manifest = oci::parse(&document.bytes, "a manifest")?;
            let layers = manifest.layers.iter().filter(|layer| changes(layer, form));
            let layers = layers.filter(|layer| manifest.is_image() && self.blobs.contains_key(&layer.digest));
            found.extend(layers.map(|layer| (layer.digest, layer.clone())));
        }
        Ok(found)
    }
}

/// Whether the layer is a tar in another form.
fn changes(layer: &Descriptor, form: Form) -> bool {
    layer.media_type.contains(".tar") && Form::named(&layer.media_type) != form
}

struct Push<'a> {
    client: Client,
    blobs: Blobs,
    options: &'a Options,
    progress: &'a dyn Progress,
    memory: Memory,
    tally: Tally,
}

/// What becomes of one blob.
struct Sent {
    tally: Tally,
    /// What it is in the registry, where that is something else.
    became: Option<Made>,
}

impl Push<'_> {
    fn run(&mut self, tree: &Tree, tag: &str, threads: usize) -> Result<Descriptor> {
        let form = self.options.form;
        let unlike = form.map(|form| tree.layers_unlike(form)).transpose()?.unwrap_or_default();
        let as_is = tree.root().filter(|_| unlike.is_empty());
        let there = match as_is {
            Some(root) => self.client.resolve(tag)? == Some(root.digest),
            None => false,
        };
        if let Some(root) = as_is.filter(|_| there) {
            self.skip(tree);
            return Ok(root.clone());
        }
        let sent = self.send_blobs(tree, &unlike, threads)?;
        let made = sent.iter().filter_map(|sent| sent.became.clone());
        let made: HashMap<Digest, Made> = made.map(|made| (made.from, made)).collect();
        let documents = rewritten(tree, form, &made)?;
        self.send_documents(&documents, tag)
    }

    fn skip(&mut self, tree: &Tree) {
        for blob in tree.blobs.values() {
            self.tally.add(Tally::skipped(blob.size));
            self.memory.holds(blob.digest, self.client.repository());
        }
    }

    fn send_blobs(
        &mut self,
        tree: &Tree,
        unlike: &HashMap<Digest, Descriptor>,
        threads: usize,
    ) -> Result<Vec<Sent>> {
        let mut jobs: Vec<_> =
            tree.blobs.values().map(|blob| unlike.get(&blob.digest).unwrap_or(blob)).collect();
        // The last goes first.
        jobs.sort_by_key(|blob| blob.size);
        self.progress.expect(jobs.iter().map(|blob| blob.size).sum());
        let this = &*self;
        let sent = parallel::map_with(threads, &jobs, |blob| match this.options.form {
            Some(form) if unlike.contains_key(&blob.digest) => this.recode(blob, form),
            _ => this.send(blob).map(|tally| Sent { tally, became: None }),
        })?;
        for (blob, sent) in jobs.iter().zip(&sent) {
            self.tally.add(sent.tally);
            let digest = sent.became.as_ref().map_or(blob.digest, |made| made.digest);
            self.memory.holds(digest, self.client.repository());
            sent.became.iter().for_each(|made| self.memory.became(made.clone()));
        }
        Ok(sent)
    }

    fn send(&self, blob: &Descriptor) -> Result<Tally> {
        upload::send(&self.client, &self.blobs, blob, &self.holders(&blob.digest), self.progress)
    }

    /// Where else in the registry the blob may be.
    fn holders(&self, digest: &Digest) -> Vec<String> {
        let known = self.memory.holder(digest, self.client.repository()).map(str::to_owned);
        self.options.from.iter().cloned().chain(known).take(4).collect()
    }

    fn recode(&self, layer: &Descriptor, form: Form) -> Result<Sent> {
        if let Some(made) = self.memory.made(&layer.digest, form) {
            let there = Descriptor::new("", made.digest, made.size);
            if self.client.has_blob(&there)? {
                self.progress.add(layer.size);
                return Ok(Sent { tally: Tally::skipped(made.size), became: Some(made.clone()) });
            }
        }
        let (digest, size) = recode::send(&self.client, &self.blobs, layer, form, self.progress)?;
        let made = Made { from: layer.digest, form: form.suffix().to_owned(), digest, size };
        Ok(Sent { tally: Tally::moved(size), became: Some(made) })
    }

    /// All but the last under their digests, the last under the tag.
    fn send_documents(&self, documents: &[Document], tag: &str) -> Result<Descriptor> {
        let nothing = || self.client.untrue("there is nothing to be sent".to_owned());
        let (root, below) = documents.split_last().ok_or_else(nothing)?;
        for document in below {
            let target = document.descriptor.digest.to_string();
            self.client.put_manifest(&target, &document.descriptor, &document.bytes)?;
        }
        self.client.put_manifest(tag, &root.descriptor, &root.bytes)?;
        Ok(root.descriptor.clone())
    }
}

/// The documents as they name what the registry has.
fn rewritten(tree: &Tree, form: Option<Form>, made: &HashMap<Digest, Made>) -> Result<Vec<Document>> {
    let Some(form) = form.filter(|_| !made.is_empty()) else { return Ok(tree.documents.clone()) };
    let mut documents = Vec::new();
    let mut moved: HashMap<Digest, Descriptor> = HashMap::new();
    for document in &tree.documents {
        let new = if document.descriptor.is_index() {
            new_index(document, &moved)?
        } else {
            new_manifest(document, form, made)?
        };
        if let Some(new) = &new {
            moved.insert(document.descriptor.digest, new.descriptor.clone());
        }
        documents.push(new.unwrap_or_else(|| document.clone()));
    }
    Ok(documents)
}

fn new_manifest(document: &Document, form: Form, made: &HashMap<Digest, Made>) -> Result<Option<Document>> {
    let mut manifest: Manifest = oci::parse(&document.bytes, "a manifest")?;
    let affected = |layer: &Descriptor| changes(layer, form) && made.contains_key(&layer.digest);
    if !manifest.is_image() || !manifest.layers.iter().any(affected) {
        return Ok(None);
    }
    let mut media_type = document.descriptor.media_type.clone();
    // Docker's own formats know no zstd.
    let docker = media_type == DOCKER_MANIFEST && form != Form::Zstd;
    for layer in &mut manifest.layers {
        if let Some(made) = made.get(&layer.digest).filter(|_| changes(layer, form)) {
            (layer.digest, layer.size) = (made.digest, made.size);
            layer.media_type = layer_type(docker, form);
        } else if !docker && layer.media_type.contains(".tar") && layer.urls.is_empty() {
            layer.media_type = layer_type(false, Form::named(&layer.media_type));
        }
    }
    if !docker {
        oci::MANIFEST.clone_into(&mut media_type);
        oci::CONFIG.clone_into(&mut manifest.config.media_type);
        manifest.media_type = Some(media_type.clone());
    }
    Ok(Some(document_of(media_type, oci::to_bytes(&manifest))))
}

fn layer_type(docker: bool, form: Form) -> String {
    match (docker, form) {
        (true, Form::Gzip) => format!("{DOCKER_LAYER}.gzip"),
        (true, _) => DOCKER_LAYER.to_owned(),
        (false, form) => format!("{}{}", oci::LAYER, form.suffix()),
    }
}

fn new_index(document: &Document, moved: &HashMap<Digest, Descriptor>) -> Result<Option<Document>> {
    let mut index: Index = oci::parse(&document.bytes, "an index")?;
    let mut media_type = document.descriptor.media_type.clone();
    let mut changed = false;
    for child in &mut index.manifests {
        if let Some(new) = moved.get(&child.digest) {
            (child.digest, child.size) = (new.digest, new.size);
            child.media_type.clone_from(&new.media_type);
            changed = true;
        }
        if let Some(about) = child.annotations.get_mut(ATTESTED)
            && let Some(new) = about.parse().ok().and_then(|about: Digest| moved.get(&about))
        {
            *about = new.digest.to_string();
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    if media_type == DOCKER_LIST && index.manifests.iter().any(|child| child.media_type == oci::MANIFEST) {
        oci::INDEX.clone_into(&mut media_type);
        index.media_type = Some(media_type.clone());
    }
    Ok(Some(document_of(media_type, oci::to_bytes(&index))))
}

fn document_of(media_type: String, bytes: Vec<u8>) -> Document {
    Document { descriptor: Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64), bytes }
}
