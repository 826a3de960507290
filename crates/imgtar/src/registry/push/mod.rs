//! A whole image from the store into a registry: blobs first, then documents from the bottom up,
//! the tag last.
//!
//! Kept as it is, byte for byte, unless layers are to have another form: then the manifests that
//! name them, and the indexes above, are written anew; configs and diffIDs stay. What is not a
//! layer of an image stays as it is.
//!
//! Layers that are kept elsewhere (`urls`) are not sent, unless that is asked for: their makers may
//! not allow it.
//!
//! Limit: an attestation in an index that is written anew speaks of the manifest as it was stored.

mod recode;
pub(crate) mod upload;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use storekit::oci::Links;
use storekit::{Blobs, Descriptor, Digest, Key, Store};

use self::upload::Content;
use crate::error::Result;
use crate::error::registry::Error;
use crate::error::registry::tame;
use crate::format::compression::Form;
use crate::format::oci::{self, DOCKER_LIST, DOCKER_MANIFEST, DOCUMENT_CAP, Index, Manifest, annotation};
use crate::image::Stored;
use crate::image::fetch::Document;
use crate::parallel;
use crate::progress::Progress;
use crate::registry::client::{Client, Purpose};
use crate::registry::config::Config;
use crate::registry::memory::{Made, Memory};
use crate::tally::Tally;
use storekit::Reference;

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// The media types of layers that may not be redistributed freely, Docker's and OCI's.
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// The annotation that says by what key an image is known.
pub(super) const KEY: &str = "dev.larder.key";
const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// How an image is pushed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The form that all layers of images get; as they are where this is `None`.
    pub form: Option<Form>,
    /// Other repositories of the registry that may hold some of the blobs.
    pub from: Vec<String>,
    /// Whether layers that are to be had elsewhere are sent too. A registry that refuses to name
    /// other places gets them as its own, in manifests that are written anew.
    pub foreign: bool,
    /// Written into the root document, which has another digest then: by what key the image is
    /// known.
    pub note: Option<Key>,
    /// Whether what the registry has already is read through, and sent anew where it is damaged.
    pub mend: bool,
}

/// What a push did.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// Where it is now.
    pub reference: Reference,
    /// Its other tags in the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Reference>,
    /// The key that it came from.
    pub key: Key,
    /// The digest of its manifest or index there.
    pub digest: Digest,
    /// What that is.
    pub media_type: String,
    /// Whether the registry took layers that are to be had elsewhere only as its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub foreign_made_own: bool,
    /// What moved.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Pushes what is stored under the key to one repository, under the tags of all these references.
/// `None` where nothing is stored.
///
/// # Errors
/// Damaged or missing blobs (no tag points to the image then); a registry that says no; as
/// [`Client::resolve`]; [`Error::Foreign`], [`Error::ForeignAbsent`].
pub fn push(
    store: &Store,
    config: &Config,
    key: &Key,
    (reference, more): (&Reference, &[Reference]),
    options: &Options,
    progress: &dyn Progress,
) -> Result<Option<Pushed>> {
    let mut tags = Vec::new();
    for reference in std::iter::once(reference).chain(more) {
        if reference.digest().is_some() {
            return Err(Error::ToDigest { reference: reference.to_string() }.into());
        }
        tags.push(reference.target());
    }
    let images = store.images();
    let Some(stored) = Stored::open(&images, key)? else { return Ok(None) };
    let tree = Tree::read(&images.blobs(), &stored)?.with_foreign(options.foreign, &stored);
    let client = Client::new(config, reference, Purpose::Push)?;
    let sent = send(store, &client, &tree, &tags, None, options, config.parallel, progress)?;
    crate::engine::load::note(store, &stored);
    let Sent { root, tally, foreign_made_own } = sent;
    let (reference, key, digest) = (reference.clone(), key.clone(), root.digest);
    let also = more.to_vec();
    Ok(Some(Pushed { reference, also, key, digest, media_type: root.media_type, foreign_made_own, tally }))
}

/// Asks whether the registry takes a push to the reference's repository: opens an upload, and gives
/// it up.
///
/// # Errors
/// As [`Client::resolve`]; a registry that says no.
pub fn takes(config: &Config, reference: &Reference) -> Result<()> {
    let client = Client::new(config, reference, Purpose::Push)?;
    upload::probe(&client)
}

/// Pushes all that stands under the key exactly as it is stored, so that the tag has the entry's
/// own digest; `mend` as in [`Options`]. `stands`: whether the tag leads to it already, which is
/// not asked again. Returns what moved.
///
/// # Errors
/// As [`push`]; [`Error::Kept`].
pub(crate) fn push_whole(
    store: &Store,
    client: &Client,
    stored: &Stored,
    (tag, stands, mend): (&str, bool, bool),
    threads: usize,
    progress: &dyn Progress,
) -> Result<Tally> {
    let tree = Tree::whole(&store.images().blobs(), stored)?;
    let options = Options { mend, ..Options::default() };
    Ok(send(store, client, &tree, &[tag.to_owned()], Some(stands), &options, threads, progress)?.tally)
}

/// A pushed tree.
struct Sent {
    root: Descriptor,
    tally: Tally,
    foreign_made_own: bool,
}

#[expect(clippy::too_many_arguments, reason = "each is one thing of its own, and there is one caller each")]
fn send(
    store: &Store,
    client: &Client,
    tree: &Tree,
    tags: &[String],
    stands: Option<bool>,
    options: &Options,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Sent> {
    let (blobs, memory) = (store.images().blobs(), Memory::load(store.root(), client.registry()));
    let (tally, foreign_made_own) = (Tally::default(), false);
    let mut push = Push { client, blobs, stands, options, progress, memory, tally, foreign_made_own };
    let root = push.run(tree, tags, threads)?;
    let Push { memory, tally, foreign_made_own, .. } = push;
    memory.save();
    Ok(Sent { root, tally, foreign_made_own })
}

/// All that an image is made of.
struct Tree {
    /// Those that others name go before them; the root is the last.
    documents: Vec<Document>,
    /// What is not a document, and is sent.
    blobs: BTreeMap<Digest, Descriptor>,
    /// Layers that are to be had elsewhere, stored or not.
    foreign: BTreeMap<Digest, Descriptor>,
}

impl Tree {
    fn read(blobs: &Blobs, stored: &Stored) -> Result<Self> {
        let mut tree = Self { documents: Vec::new(), blobs: BTreeMap::new(), foreign: BTreeMap::new() };
        // The image has the tag; what refers to it is found by its digest.
        let beside = stored.sole.as_ref().and(stored.several()).map_or(&[][..], |index| &index.manifests);
        for root in beside.iter().filter(|root| root.digest != stored.root().digest) {
            tree.visit(blobs, root, &stored.blobs)?;
        }
        tree.visit(blobs, stored.root(), &stored.blobs)?;
        // What one manifest says must be there, must be.
        tree.foreign.retain(|digest, _| !tree.blobs.contains_key(digest));
        Ok(tree)
    }

    /// All that the entry names, its own document last.
    fn whole(blobs: &Blobs, stored: &Stored) -> Result<Self> {
        let mut tree = Self { documents: Vec::new(), blobs: BTreeMap::new(), foreign: BTreeMap::new() };
        tree.visit(blobs, &stored.entry.descriptor, &stored.blobs)?;
        tree.foreign.retain(|digest, _| !tree.blobs.contains_key(digest));
        Ok(tree)
    }

    /// Takes those of the foreign layers that are stored for what is sent, if they are to be.
    fn with_foreign(mut self, sent: bool, stored: &Stored) -> Self {
        let held = self.foreign.iter().filter(|(digest, _)| sent && stored.blobs.contains_key(*digest));
        self.blobs.extend(held.map(|(digest, layer)| (*digest, layer.clone())));
        self
    }

    fn visit(
        &mut self,
        blobs: &Blobs,
        descriptor: &Descriptor,
        present: &BTreeMap<Digest, u64>,
    ) -> Result<()> {
        if is_foreign(descriptor) {
            self.foreign.insert(descriptor.digest, descriptor.clone());
            return Ok(());
        }
        // What has `urls` need not be there.
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

/// Whether the layer is marked as one that may not be redistributed freely.
fn is_marked(layer: &Descriptor) -> bool {
    layer.media_type.contains(".nondistributable.") || layer.media_type.contains(".foreign.")
}

/// Whether the layer is marked so, and to be had elsewhere.
fn is_foreign(layer: &Descriptor) -> bool {
    is_marked(layer) && !layer.urls.is_empty()
}

/// Whether the layer is a tar in another form.
fn changes(layer: &Descriptor, form: Form) -> bool {
    layer.media_type.contains(".tar") && Form::named(&layer.media_type) != form
}

struct Push<'a> {
    client: &'a Client,
    blobs: Blobs,
    /// Whether the tags lead to it already, where that is known.
    stands: Option<bool>,
    options: &'a Options,
    progress: &'a dyn Progress,
    memory: Memory,
    tally: Tally,
    foreign_made_own: bool,
}

/// What becomes of one blob.
struct SentBlob {
    tally: Tally,
    /// What it is in the registry, where that is something else.
    became: Option<Made>,
}

impl Push<'_> {
    fn run(&mut self, tree: &Tree, tags: &[String], threads: usize) -> Result<Descriptor> {
        let form = self.options.form;
        let unlike = form.map(|form| tree.layers_unlike(form)).transpose()?.unwrap_or_default();
        // Where a tag leads to an image, the layers that need not be there may be missing.
        let is_wanting = self.options.foreign && !tree.foreign.is_empty();
        let plain = || tree.documents.last().cloned();
        let noted = || self.with_note(tree.documents.clone()).ok()?.pop();
        let as_is = if self.options.note.is_some() { noted() } else { plain() };
        let as_is = as_is.filter(|_| unlike.is_empty() && !is_wanting);
        if let Some(root) = as_is.as_ref().filter(|_| self.stands != Some(false)) {
            let mut absent = tags.to_vec();
            for tag in tags {
                if self.stands == Some(true) || self.client.resolve(tag)? == Some(root.descriptor.digest) {
                    absent.retain(|other| other != tag);
                }
            }
            if absent.len() < tags.len() {
                // Where one of them leads to it, it is there, whole.
                self.skip(tree);
                let put = |tag: &String| self.client.put_manifest(tag, &root.descriptor, &root.bytes);
                return absent.iter().try_for_each(put).map(|()| root.descriptor.clone());
            }
        }
        self.check_foreign(tree)?;
        let sent = self.send_blobs(tree, &unlike, threads)?;
        let made = sent.iter().filter_map(|sent| sent.became.clone());
        let made: HashMap<Digest, Made> = made.map(|made| (made.from, made)).collect();
        let documents = match form.filter(|_| !made.is_empty()) {
            Some(form) => rewritten(&tree.documents, |document| new_manifest(document, form, &made))?,
            None => tree.documents.clone(),
        };
        let documents = self.with_note(documents)?;
        match (self.send_documents(&documents, tags), tree.foreign.values().next()) {
            (Err(crate::Error::Registry(Error::Refused { status: 400..=500, said, .. })), Some(layer)) => {
                self.send_without_urls(&documents, tags, layer, said)
            }
            (sent, _) => sent,
        }
    }

    /// What is to be sent and is not stored, the registry must have.
    fn check_foreign(&self, tree: &Tree) -> Result<()> {
        let absent = tree.foreign.values().filter(|layer| !tree.blobs.contains_key(&layer.digest));
        for layer in absent.filter(|_| self.options.foreign) {
            if !self.client.has_blob(layer)? {
                return Err(Error::ForeignAbsent { digest: layer.digest, url: place_of(layer) }.into());
            }
        }
        Ok(())
    }

    /// After a refusal: sends documents that name no other places, if the registry has all of the
    /// layers.
    fn send_without_urls(
        &mut self,
        documents: &[Document],
        tags: &[String],
        layer: &Descriptor,
        said: String,
    ) -> Result<Descriptor> {
        if self.options.foreign {
            self.foreign_made_own = true;
            return self.send_documents(&rewritten(documents, own_manifest)?, tags);
        }
        let registry = self.client.registry().to_owned();
        Err(Error::Foreign { registry, digest: layer.digest, url: place_of(layer), said }.into())
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
    ) -> Result<Vec<SentBlob>> {
        let mut jobs: Vec<_> =
            tree.blobs.values().map(|blob| unlike.get(&blob.digest).unwrap_or(blob)).collect();
        // The last goes first.
        jobs.sort_by_key(|blob| blob.size);
        self.progress.expect(jobs.iter().map(|blob| blob.size).sum());
        let this = &*self;
        let sent = parallel::map_with(threads, &jobs, |blob| match this.options.form {
            Some(form) if unlike.contains_key(&blob.digest) => this.recode(blob, form),
            _ => this.send(blob).map(|tally| SentBlob { tally, became: None }),
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
        let content = Content::Stored(&self.blobs);
        if self.options.mend {
            return upload::mend(self.client, content, blob, self.progress);
        }
        upload::send(self.client, content, blob, &self.holders(&blob.digest), self.progress)
    }

    /// Where else in the registry the blob may be.
    fn holders(&self, digest: &Digest) -> Vec<String> {
        let known = self.memory.holder(digest, self.client.repository()).map(str::to_owned);
        self.options.from.iter().cloned().chain(known).take(4).collect()
    }

    fn recode(&self, layer: &Descriptor, form: Form) -> Result<SentBlob> {
        if let Some(made) = self.memory.made(&layer.digest, form) {
            let there = Descriptor::new("", made.digest, made.size);
            if self.client.has_blob(&there)? {
                self.progress.add(layer.size);
                return Ok(SentBlob { tally: Tally::skipped(made.size), became: Some(made.clone()) });
            }
        }
        let (digest, size) = recode::send(self.client, &self.blobs, layer, form, self.progress)?;
        let made = Made { from: layer.digest, form: form.suffix().to_owned(), digest, size };
        Ok(SentBlob { tally: Tally::moved(size), became: Some(made) })
    }

    /// All but the last under their digests, the last under the tag.
    /// The documents with the note in the last of them, where there is one to make.
    fn with_note(&self, mut documents: Vec<Document>) -> Result<Vec<Document>> {
        if let (Some(key), Some(root)) = (&self.options.note, documents.last_mut()) {
            *root = noted(root, key)?;
        }
        Ok(documents)
    }

    fn send_documents(&self, documents: &[Document], tags: &[String]) -> Result<Descriptor> {
        let nothing = || self.client.untrue("there is nothing to be sent".to_owned());
        let (root, below) = documents.split_last().ok_or_else(nothing)?;
        for document in below {
            let target = document.descriptor.digest.to_string();
            self.client.put_manifest(&target, &document.descriptor, &document.bytes)?;
        }
        let put = |tag: &String| self.client.put_manifest(tag, &root.descriptor, &root.bytes);
        tags.iter().try_for_each(put)?;
        if self.options.mend {
            documents.iter().try_for_each(|document| self.client.check_kept(&document.descriptor))?;
        }
        Ok(root.descriptor.clone())
    }
}

/// The document with the key among its annotations.
fn noted(document: &Document, key: &Key) -> Result<Document> {
    let mut value: serde_json::Value = oci::parse(&document.bytes, "a document")?;
    if let Some(fields) = value.as_object_mut() {
        // Docker's own formats have no annotations, and their readers pass over them.
        let notes = fields.entry("annotations").or_insert_with(|| serde_json::json!({}));
        if notes.is_null() {
            *notes = serde_json::json!({});
        }
        if let Some(notes) = notes.as_object_mut() {
            notes.insert(KEY.to_owned(), key.as_str().into());
        }
    }
    Ok(document_of(document.descriptor.media_type.clone(), oci::to_bytes(&value)))
}

/// Where a layer is to be had.
fn place_of(layer: &Descriptor) -> String {
    tame(layer.urls.first().map_or("", String::as_str))
}

/// The documents with these manifests written anew, and the indexes above them.
fn rewritten(
    documents: &[Document],
    manifest: impl Fn(&Document) -> Result<Option<Document>>,
) -> Result<Vec<Document>> {
    let mut written = Vec::new();
    let mut moved: HashMap<Digest, Descriptor> = HashMap::new();
    for document in documents {
        let new =
            if document.descriptor.is_index() { new_index(document, &moved)? } else { manifest(document)? };
        if let Some(new) = &new {
            moved.insert(document.descriptor.digest, new.descriptor.clone());
        }
        written.push(new.unwrap_or_else(|| document.clone()));
    }
    Ok(written)
}

/// The manifest with its foreign layers as the registry's own. OCI's mark stays, for it may stand
/// alone; Docker's may not.
fn own_manifest(document: &Document) -> Result<Option<Document>> {
    let mut manifest: Manifest = oci::parse(&document.bytes, "a manifest")?;
    if !manifest.layers.iter().any(is_foreign) {
        return Ok(None);
    }
    for layer in manifest.layers.iter_mut().filter(|layer| is_foreign(layer)) {
        layer.urls.clear();
        if let Some(form) = layer.media_type.strip_prefix(DOCKER_FOREIGN) {
            layer.media_type = format!("{DOCKER_LAYER}{form}");
        }
    }
    Ok(Some(document_of(document.descriptor.media_type.clone(), oci::to_bytes(&manifest))))
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
            // What is to be had elsewhere has the old form.
            layer.urls.clear();
            layer.media_type = layer_type(docker, is_marked(layer), form);
        } else if !docker && layer.media_type.contains(".tar") {
            layer.media_type = layer_type(false, is_marked(layer), Form::named(&layer.media_type));
        }
    }
    if !docker {
        oci::MANIFEST.clone_into(&mut media_type);
        oci::CONFIG.clone_into(&mut manifest.config.media_type);
        manifest.media_type = Some(media_type.clone());
    }
    Ok(Some(document_of(media_type, oci::to_bytes(&manifest))))
}

/// The type of a layer in Docker's words or OCI's, marked or not.
fn layer_type(docker: bool, marked: bool, form: Form) -> String {
    match (docker, marked) {
        (true, marked) => {
            let base = if marked { DOCKER_FOREIGN } else { DOCKER_LAYER };
            format!("{base}{}", if form == Form::Gzip { ".gzip" } else { "" })
        }
        (false, true) => format!("{NONDISTRIBUTABLE}{}", form.suffix()),
        (false, false) => format!("{}{}", oci::LAYER, form.suffix()),
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
        if let Some(about) = child.annotations.get_mut(annotation::REFERENCE_DIGEST)
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
