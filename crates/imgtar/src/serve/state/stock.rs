//! What the store holds, as a registry sees it: repositories with tags, documents by digest, and
//! which of them refer to which.
//!
//! Read from the key files and the documents that hang on them, and read again when those change:
//! what saves, removes or collects beside the server is seen at the next request. Documents
//! never change, so each is read once.
//!
//! Absent: layers. Whether they are there is asked when they are wanted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8Path;
use storekit::files::state::FileState;
use storekit::{Blobs, Descriptor, Digest, Images, Key, Listed};

use crate::format::oci::annotation;
use crate::image::referrers;
use crate::serve::fault::Result;
use crate::serve::names::{self, Repository};
use crate::serve::stored_manifest::Doc;

/// Indexes nest at most this deep.
const DEPTH: usize = 8;

/// What a tag names.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    /// The key of the entry.
    pub(crate) key: Key,
    /// The entry's document, or the one of several images that has the name.
    pub(crate) digest: Digest,
    saved: jiff::Timestamp,
}

/// Where the plain form of a compressed layer can be had.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What names the blob in its stored form.
    pub(crate) stored: Descriptor,
    /// Whether its diffID was verified when it was saved.
    pub(crate) trusted: bool,
}

/// The state of the store at one moment.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// The entries, sorted by key.
    pub(crate) entries: Vec<Listed>,
    tags: BTreeMap<Repository, BTreeMap<Key, Tagged>>,
    docs: HashMap<Digest, Arc<Doc>>,
    /// Digests of documents that were pushed, and those that are stored for them.
    pushed: HashMap<Digest, Digest>,
    referrers: HashMap<Digest, BTreeSet<Digest>>,
    plain: HashMap<Digest, Source>,
    trusted: BTreeSet<Digest>,
}

impl Stock {
    /// What the tag names.
    pub(crate) fn tagged(&self, repository: &Repository, tag: &Key) -> Option<&Tagged> {
        self.tags.get(repository)?.get(tag)
    }

    /// The tags of a repository, sorted.
    pub(crate) fn tags(&self, repository: &Repository) -> Option<impl Iterator<Item = &str>> {
        Some(self.tags.get(repository)?.keys().map(Key::as_str))
    }

    /// The repositories, sorted.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.tags.keys().map(Repository::as_str)
    }

    /// The stored document of this digest, or the one that is stored for it.
    pub(crate) fn doc(&self, digest: &Digest) -> Option<&Arc<Doc>> {
        self.docs.get(digest).or_else(|| self.docs.get(self.pushed.get(digest)?))
    }

    /// All stored documents.
    pub(crate) fn docs(&self) -> impl Iterator<Item = &Arc<Doc>> {
        self.docs.values()
    }

    /// The documents whose subject this is, sorted by digest.
    pub(crate) fn referrers(&self, subject: &Digest) -> impl Iterator<Item = &Arc<Doc>> {
        self.referrers.get(subject).into_iter().flatten().filter_map(|digest| self.docs.get(digest))
    }

    /// Which layer unpacks to this, by the word of a stored image.
    pub(crate) fn source(&self, diff_id: &Digest) -> Option<&Source> {
        self.plain.get(diff_id)
    }

    /// Whether the layers of this document were verified when it was saved.
    pub(crate) fn is_trusted(&self, digest: &Digest) -> bool {
        self.trusted.contains(digest)
    }

    /// Whether a stored document names the blob.
    pub(crate) fn needs(&self, digest: &Digest) -> bool {
        self.docs.values().any(|doc| doc.children.iter().any(|child| child.digest == *digest))
    }

    fn add(&mut self, listed: Listed, docs: &[Arc<Doc>]) {
        for doc in docs {
            self.add_doc(doc, !listed.entry.adopted);
        }
        for (repository, tag, digest) in tags_of(&listed, docs) {
            let (key, saved) = (listed.key.clone(), listed.entry.saved);
            let tagged = Tagged { key, digest, saved };
            let tags = self.tags.entry(repository).or_default();
            // Of several entries with one name, the last that was saved counts.
            if tags.get(&tag).is_none_or(|other| other.saved <= saved) {
                tags.insert(tag, tagged);
            }
        }
        self.entries.push(listed);
    }

    fn add_doc(&mut self, doc: &Arc<Doc>, trusted: bool) {
        let digest = doc.descriptor.digest;
        self.docs.insert(digest, Arc::clone(doc));
        if let Some(pushed) = &doc.pushed {
            self.pushed.insert(pushed.digest, digest);
        }
        if let Some(subject) = doc.subject {
            self.referrers.entry(subject).or_default().insert(digest);
        }
        if trusted {
            self.trusted.insert(digest);
        }
        for (stored, diff_id) in doc.layers.iter().filter(|(stored, diff_id)| stored.digest != *diff_id) {
            let source = Source { stored: stored.clone(), trusted };
            let slot = self.plain.entry(*diff_id).or_insert_with(|| source.clone());
            if trusted && !slot.trusted {
                *slot = source;
            }
        }
    }
}

/// The tags under which an entry is served, and the document of each.
fn tags_of(listed: &Listed, docs: &[Arc<Doc>]) -> Vec<(Repository, Key, Digest)> {
    // An archive with several images: each has its own names. An image beside what refers to it has
    // the entry's.
    let several = docs.first().filter(|doc| doc.is_several);
    let sole = several.and_then(|doc| sole(doc, docs));
    let root = sole.unwrap_or(listed.entry.descriptor.digest);
    let mut tags: Vec<_> =
        names::KEYS.parse().ok().map(|keys| (keys, listed.key.clone(), root)).into_iter().collect();
    let own = |name: &String| {
        let has = |child: &&Descriptor| child.annotations.get(annotation::IMAGE_NAME) == Some(name);
        several.map_or(Some(root), |doc| doc.children.iter().find(has).map(|child| child.digest).or(sole))
    };
    for name in &listed.entry.names {
        let Some(digest) = own(name) else { continue };
        tags.extend(names::served(name).into_iter().map(|(repository, tag)| (repository, tag, digest)));
    }
    tags
}

/// The one of several that has images, where all others are artifacts; or the one artifact that
/// refers to nothing.
fn sole(several: &Doc, docs: &[Arc<Doc>]) -> Option<Digest> {
    let mut holders: BTreeSet<Digest> = BTreeSet::new();
    // Indexes are nested less deep than this.
    for _ in 0..=DEPTH {
        let holds = |doc: &Doc| doc.is_image || doc.children.iter().any(|it| holders.contains(&it.digest));
        holders = docs.iter().filter(|doc| holds(doc)).map(|doc| doc.descriptor.digest).collect();
    }
    let children: BTreeSet<Digest> = several.children.iter().map(|child| child.digest).collect();
    let holding: Vec<_> = children.intersection(&holders).copied().collect();
    match holding[..] {
        [] => unattached(several, docs),
        [sole] => Some(sole),
        _ => None,
    }
}

/// The one document in the index that refers to nothing.
fn unattached(several: &Doc, docs: &[Arc<Doc>]) -> Option<Digest> {
    let attached: BTreeSet<Digest> =
        docs.iter().filter(|doc| doc.subject.is_some()).map(|doc| doc.descriptor.digest).collect();
    let stands = |child: &&Descriptor| {
        child.is_document() && referrers::tagged(child).is_none() && !attached.contains(&child.digest)
    };
    let standing: BTreeSet<Digest> =
        several.children.iter().filter(stands).map(|child| child.digest).collect();
    standing.first().copied().filter(|_| standing.len() == 1)
}

/// The last stock that was read, and by what it is known whether it still holds.
#[derive(Debug)]
pub(crate) struct Stocks {
    images: Images,
    last: Mutex<Option<(Option<State>, Arc<Stock>)>>,
}

/// The states of the folder of keys and of index.json.
#[derive(Clone, Copy, Debug)]
struct State {
    keys: Option<FileState>,
    index: Option<FileState>,
}

impl State {
    fn is_still(&self, later: &Self) -> bool {
        [(self.keys, later.keys), (self.index, later.index)].iter().all(|pair| match pair {
            (Some(before), Some(now)) => before.is_still(now),
            (None, None) => true,
            _ => false,
        })
    }
}

impl Stocks {
    pub(crate) fn new(images: Images) -> Self {
        Self { images, last: Mutex::new(None) }
    }

    /// The store as it is now.
    ///
    /// # Errors
    /// Key files of a later version, I/O errors. Damaged entries and documents are passed over.
    pub(crate) fn now(&self) -> Result<Arc<Stock>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the entries are read: what changes meanwhile is then seen the next time.
        let state = self.state();
        if let Some((Some(before), stock)) = &*last
            && before.is_still(&state)
        {
            return Ok(Arc::clone(stock));
        }
        let old = last.take().map(|(_, stock)| stock);
        let stock = Arc::new(self.read(old.as_deref())?);
        // Reading may have adopted what another tool wrote.
        let state = state.is_still(&self.state()).then_some(state);
        *last = Some((state, Arc::clone(&stock)));
        Ok(stock)
    }

    fn state(&self) -> State {
        let look =
            |path: &Utf8Path| std::fs::symlink_metadata(path).ok().map(|metadata| FileState::seen(&metadata));
        let folder = self.images.folder();
        State { keys: look(&folder.join("keys")), index: look(&folder.join("index.json")) }
    }

    fn read(&self, old: Option<&Stock>) -> Result<Stock> {
        let entries = match self.images.list() {
            Err(error) if error.is_corrupt() => self.images.list_sound()?,
            entries => entries?,
        };
        let mut reader = Reader { blobs: self.images.blobs(), old, read: HashMap::new() };
        let mut stock = Stock::default();
        for listed in entries {
            let mut docs = Vec::new();
            reader.collect(&listed.entry.descriptor, 0, &mut docs);
            stock.add(listed, &docs);
        }
        Ok(stock)
    }
}

struct Reader<'a> {
    blobs: Blobs,
    old: Option<&'a Stock>,
    read: HashMap<Digest, Arc<Doc>>,
}

impl Reader<'_> {
    /// The document and all below it, itself first. What is missing or damaged is passed over.
    fn collect(&mut self, descriptor: &Descriptor, depth: usize, docs: &mut Vec<Arc<Doc>>) {
        if depth > DEPTH || docs.iter().any(|doc| doc.descriptor.digest == descriptor.digest) {
            return;
        }
        let Some(doc) = self.doc(descriptor) else { return };
        docs.push(Arc::clone(&doc));
        for child in doc.children.iter().filter(|child| child.is_document()) {
            self.collect(child, depth + 1, docs);
        }
    }

    fn doc(&mut self, descriptor: &Descriptor) -> Option<Arc<Doc>> {
        let digest = &descriptor.digest;
        let old = self.old.and_then(|old| old.docs.get(digest)).filter(|_| self.blobs.contains(digest));
        if let Some(known) = self.read.get(digest).or(old) {
            return Some(Arc::clone(known));
        }
        let doc = Arc::new(Doc::read(&self.blobs, descriptor)?);
        self.read.insert(*digest, Arc::clone(&doc));
        Some(doc)
    }
}
