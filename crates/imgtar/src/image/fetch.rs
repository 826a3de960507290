//! A whole image from another place into the store: documents from the top down, then the blobs
//! that are not there. Kept byte for byte, so that its digest is the same everywhere.
//!
//! Nothing is believed: every document and blob must hash to what names it, every layer must unpack
//! to what its config announces.
//!
//! Deliberately absent: the key, which the caller writes last; how the place is spoken with.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use serde::de::DeserializeOwned;
use storekit::{Blobs, Descriptor, Digest, Lease, Store};

use crate::error::registry::tame;
use crate::error::{Error, Result};
use crate::format::compression::{self, Form};
use crate::format::oci::{self, DOCUMENT_CAP, Index, Manifest};
use crate::layer::known::Known;
use crate::parallel;
use crate::progress::Progress;
use crate::tally::Tally;

/// Indexes stand in indexes at most this deep, and an image has at most so many documents.
const DEPTH: usize = 4;
const DOCUMENTS: usize = 1000;
/// All of them together, in bytes.
const TOGETHER: u64 = 64 << 20;

/// A manifest or an index, its very bytes.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub descriptor: Descriptor,
    /// The document's bytes, as they came.
    pub bytes: Vec<u8>,
}

/// Where an image comes from.
pub(crate) trait Source: Sync {
    /// The manifest or index that the descriptor names; its bytes hash to the digest. `None` where
    /// it is not there.
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Document>>;
    /// A config's bytes, which hash to its digest.
    fn config(&self, config: &Descriptor) -> Result<Vec<u8>>;
    /// Brings a blob into the store. Returns how many bytes moved; `None` where it is not there.
    fn blob(&self, blobs: &Blobs, blob: &Descriptor, progress: &dyn Progress)
    -> Result<Option<(Lease, u64)>>;
    /// That it is not what it should be.
    fn untrue(&self, reason: String) -> Error;
    /// That the image cannot be stored.
    fn unfit(&self, reason: String) -> Error;
    /// That a part of the image is not there.
    fn incomplete(&self, digest: Digest) -> Error;
}

/// An image whose blobs are all in the store now, as long as this lives.
#[derive(Default)]
pub(crate) struct Fetched {
    /// On all of it.
    pub(crate) leases: Vec<Lease>,
    /// Its blobs, without documents.
    pub(crate) blobs: Vec<Digest>,
    pub(crate) tally: Tally,
    /// Whether layers are left out that need not be there.
    pub(crate) partial: bool,
}

/// Brings the image below a document into the store, so many blobs at once. What is `sound` there
/// was read through a moment ago.
///
/// # Errors
/// Those of the source; bytes, sizes or types that are not what was announced; I/O errors.
pub(crate) fn fetch(
    store: &Store,
    source: &dyn Source,
    root: &Document,
    sound: &BTreeSet<Digest>,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Fetched> {
    let blobs = store.images().blobs();
    let known = Known::scan(store, sound)?;
    let mut fetch = Fetch { source, blobs: &blobs, known, progress, parts: Parts::default() };
    fetch.visit(root, 0)?;
    let brought = fetch.bring(threads)?;
    let mut fetched = Fetched { leases: fetch.parts.leases, ..Fetched::default() };
    for one in brought {
        fetched.tally.add(one.tally);
        match one.lease {
            Some(lease) => {
                fetched.blobs.push(lease.digest());
                fetched.leases.push(lease);
            }
            None => fetched.partial = true,
        }
    }
    Ok(fetched)
}

/// What an image is made of, as its documents tell.
#[derive(Default)]
struct Parts {
    /// On the documents, which are stored.
    leases: Vec<Lease>,
    seen: HashSet<Digest>,
    bytes: u64,
    blobs: BTreeMap<Digest, Part>,
}

/// A blob that is needed.
struct Part {
    descriptor: Descriptor,
    /// What it unpacks to, as configs tell.
    layer_of: Vec<Digest>,
}

/// A blob that is there now; without a lease one that need not be.
struct Brought {
    lease: Option<Lease>,
    tally: Tally,
}

struct Fetch<'a> {
    source: &'a dyn Source,
    blobs: &'a Blobs,
    known: Known,
    progress: &'a dyn Progress,
    parts: Parts,
}

impl Fetch<'_> {
    /// Stores a document and all that it leads to but blobs, which it notes.
    fn visit(&mut self, document: &Document, depth: usize) -> Result<()> {
        let descriptor = &document.descriptor;
        self.parts.bytes += descriptor.size;
        if !self.parts.seen.insert(descriptor.digest) {
            return Ok(());
        }
        if self.parts.seen.len() > DOCUMENTS || self.parts.bytes > TOGETHER || depth > DEPTH {
            return Err(self.source.untrue("the image has too many documents".to_owned()));
        }
        if !descriptor.is_document() {
            // What it needs is not known: stored alone, it would pass for the whole image.
            let reason =
                format!("it is a `{}`, and neither a manifest nor an index", tame(&descriptor.media_type));
            return Err(self.source.unfit(reason));
        }
        check_subject(self.source, document)?;
        self.parts.leases.push(self.blobs.put(&document.bytes)?);
        if descriptor.is_index() {
            let index: Index = read(self.source, document)?;
            return index.manifests.iter().try_for_each(|child| self.child(child, depth));
        }
        let manifest: Manifest = read(self.source, document)?;
        if !manifest.is_image() {
            self.note(&manifest.config, None)?;
        }
        let diff_ids = self.diff_ids(&manifest)?;
        for (at, layer) in manifest.layers.iter().enumerate() {
            self.note(layer, diff_ids.get(at))?;
        }
        // What older artifacts name besides.
        let links: storekit::oci::Links = read(self.source, document)?;
        links.blobs.iter().try_for_each(|blob| self.note(blob, None))
    }

    fn child(&mut self, child: &Descriptor, depth: usize) -> Result<()> {
        if !child.is_document() {
            return self.note(child, None);
        }
        if self.parts.seen.contains(&child.digest) {
            return Ok(());
        }
        let stored = if child.size <= DOCUMENT_CAP { self.blobs.lease_sound(&child.digest)? } else { None };
        let below = match stored.filter(|lease| lease.size() == child.size) {
            Some(_lease) => {
                let bytes = self.blobs.read(&child.digest, DOCUMENT_CAP)?;
                Document { descriptor: child.clone(), bytes }
            }
            None => self.source.document(child)?.ok_or_else(|| self.source.incomplete(child.digest))?,
        };
        self.visit(&below, depth + 1)
    }

    /// What the layers of an image unpack to; nothing where it is not an image.
    fn diff_ids(&mut self, manifest: &Manifest) -> Result<Vec<Digest>> {
        if !manifest.is_image() {
            return Ok(Vec::new());
        }
        let config = match self.blobs.lease_sound(&manifest.config.digest)? {
            Some(lease) if lease.size() == manifest.config.size && lease.size() <= DOCUMENT_CAP => {
                self.blobs.read(&manifest.config.digest, DOCUMENT_CAP)?
            }
            _ => self.source.config(&manifest.config)?,
        };
        self.parts.leases.push(self.blobs.put(&config)?);
        let odd = |error| {
            self.source
                .untrue(format!("the config `{}` cannot be understood: {error}", manifest.config.digest))
        };
        let config: oci::Config = serde_json::from_slice(&config).map_err(odd)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        // With none, it is an artifact that borrows the config's type.
        if layers != diff_ids && diff_ids > 0 {
            let reason = format!("its config has {diff_ids} diff_ids, and its manifest has {layers} layers");
            return Err(self.source.unfit(reason));
        }
        Ok(config.rootfs.diff_ids)
    }

    fn note(&mut self, blob: &Descriptor, diff_id: Option<&Digest>) -> Result<()> {
        let new = || Part { descriptor: blob.clone(), layer_of: Vec::new() };
        let part = self.parts.blobs.entry(blob.digest).or_insert_with(new);
        if part.descriptor.size != blob.size
            || Form::named(&part.descriptor.media_type) != Form::named(&blob.media_type)
        {
            return Err(self.source.untrue(format!("it describes `{}` in two ways", blob.digest)));
        }
        // What one of them says must be there, must be.
        if blob.urls.is_empty() {
            part.descriptor.urls.clear();
        }
        part.layer_of.extend(diff_id.filter(|diff_id| !part.layer_of.contains(diff_id)));
        Ok(())
    }

    /// Brings all blobs, the largest first.
    fn bring(&self, threads: usize) -> Result<Vec<Brought>> {
        let mut parts: Vec<_> = self.parts.blobs.values().collect();
        parts.sort_by_key(|part| part.descriptor.size);
        // What they announce is not known to be true, nor to make a sum.
        let sizes = parts.iter().map(|part| part.descriptor.size);
        self.progress.expect(sizes.fold(0, u64::saturating_add));
        parallel::map_with(threads, &parts, |part| self.bring_one(part))
    }

    fn bring_one(&self, part: &Part) -> Result<Brought> {
        let Part { descriptor, .. } = part;
        if let Some(lease) = self.stored(descriptor)? {
            self.progress.add(descriptor.size);
            self.check(part, &lease)?;
            return Ok(Brought { lease: Some(lease), tally: Tally::skipped(descriptor.size) });
        }
        match self.source.blob(self.blobs, descriptor, self.progress)? {
            Some((lease, moved)) => {
                self.check(part, &lease)?;
                Ok(Brought { lease: Some(lease), tally: Tally::moved(moved) })
            }
            None if !descriptor.urls.is_empty() => Ok(Brought { lease: None, tally: Tally::default() }),
            None => Err(self.source.incomplete(descriptor.digest)),
        }
    }

    /// The blob, where it is there and sound; a damaged one is moved aside by this.
    fn stored(&self, descriptor: &Descriptor) -> Result<Option<Lease>> {
        let lease = self.blobs.lease(&descriptor.digest)?;
        let Some(lease) = lease.filter(|lease| lease.size() == descriptor.size) else { return Ok(None) };
        match self.known.is_sound(self.blobs, &descriptor.digest) {
            // What Git LFS has not fetched is brought in its place.
            Err(Error::Store(storekit::Error::NotFetched { .. })) => Ok(None),
            sound => Ok(sound?.then_some(lease)),
        }
    }

    /// A layer must be what its image says, or a later image that has it would be another one.
    /// Its bytes were compared with its digest a moment ago.
    fn check(&self, part: &Part, lease: &Lease) -> Result<()> {
        let Part { descriptor, layer_of } = part;
        if layer_of.iter().all(|diff_id| self.known.proves(diff_id, &descriptor.digest)) {
            return Ok(());
        }
        let digest = descriptor.digest;
        let mut reader = Bytes { file: lease.file(), at: 0 };
        let failed = |error| crate::image::unreadable(self.blobs, &digest, error);
        let head = compression::read_head(&mut reader).map_err(failed)?;
        let (found, named) = (Form::of(&head), Form::named(&descriptor.media_type));
        if found != named && descriptor.media_type.contains(".tar") {
            let media_type = tame(&descriptor.media_type);
            return Err(self.source.unfit(format!(
                "the layer `{digest}` has the media type `{media_type}` and is something else"
            )));
        }
        let whole = io::Cursor::new(head).chain(reader);
        let plain = named.decoder(whole).and_then(|mut plain| crate::layer::hash_plain(&mut plain, &()));
        let (plain, _) = plain.map_err(|error| match failed(error) {
            error @ Error::Store(_) => error,
            error => self.source.unfit(format!("the layer `{digest}` does not unpack: {error}")),
        })?;
        match layer_of.iter().find(|diff_id| **diff_id != plain) {
            Some(diff_id) => Err(self.source.unfit(format!(
                "the layer `{digest}` should unpack to `{diff_id}`, and unpacks to `{plain}`"
            ))),
            None => Ok(()),
        }
    }
}

/// Reads a document that came from there.
fn read<T: DeserializeOwned>(source: &dyn Source, document: &Document) -> Result<T> {
    let digest = document.descriptor.digest;
    let odd = |error| source.untrue(format!("its document `{digest}` cannot be understood: {error}"));
    serde_json::from_slice(&document.bytes).map_err(odd)
}

/// Refuses a document whose `subject` is wrong.
fn check_subject(source: &dyn Source, document: &Document) -> Result<()> {
    let what = format!("its document `{}`", document.descriptor.digest);
    oci::subject(&document.bytes, &what).map_err(|error| source.untrue(error.to_string()))?;
    Ok(())
}

/// Reads a file from its start, whatever its own position is.
struct Bytes<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
