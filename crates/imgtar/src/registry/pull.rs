//! A whole image from a registry into the store: documents from the top down, then the blobs that
//! are not there, the key last. Kept byte for byte, so that its digest is the registry's.
//!
//! Nothing is believed: every document and blob must hash to what names it, every layer must unpack
//! to what its config announces. Layers of `urls` are asked for in the registry only.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use storekit::{Blobs, Descriptor, Digest, Entry, Key, Lease, Store};

use super::client::{Client, Purpose};
use super::document::Document;
use super::memory::Memory;
use super::{Config, Error, Tally, download};
use crate::error::Result;
use crate::error::registry::tame;
use crate::format::compression::{self, Form};
use crate::format::oci::{self, DOCUMENT_CAP, Index, Manifest, Platform};
use crate::format::reference::Reference;
use crate::image::commit::{self, Imported, Notes, Ready, Standing};
use crate::layer::known::Known;
use crate::parallel;
use crate::progress::Progress;

/// Indexes stand in indexes at most this deep, and an image has at most so many documents.
const DEPTH: usize = 4;
const DOCUMENTS: usize = 1000;
/// All of them together, in bytes.
const TOGETHER: u64 = 64 << 20;

/// What is pulled, and how it is kept.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What it is found by; `sha256-HEX`, of its digest, where this is `None`.
    pub key: Option<Key>,
    /// The one image of an index that is wanted, instead of all.
    pub platform: Option<Platform>,
    /// What is noted with it. Its name is the reference's own, unless this names others; a
    /// reference with a digest gives none, as with docker: where its tag points to is not known.
    pub notes: Notes,
}

/// What a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The key under which the image is stored.
    pub key: Key,
    /// Whether it was written, and what stands under it.
    pub imported: Imported,
    /// What moved.
    pub tally: Tally,
}

/// Pulls an image and saves it under a key, where the first save wins unless `notes.force`. `None`
/// where the registry has no such image.
///
/// # Errors
/// As [`Client::resolve`]; bytes, sizes or types that are not what was announced;
/// [`Error::NoPlatform`]; I/O errors. Nothing stands under the key then that did not before. What
/// came of a blob is kept for the next run, until a collection.
pub fn pull(
    store: &Store,
    config: &Config,
    reference: &Reference,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Option<Pulled>> {
    store.images().prepare()?;
    store.images().sweep_spent()?;
    if let Some(key) = &wanted.key
        && let Standing::Stays(imported) = commit::standing(store, key, &wanted.notes)?
    {
        return Ok(Some(Pulled { key: key.clone(), imported: *imported, tally: Tally::default() }));
    }
    let client = Client::new(config, reference, Purpose::Pull)?;
    let Some(mut root) = client.manifest(&reference.target(), None)? else { return Ok(None) };
    if let Some(platform) = &wanted.platform
        && let Some(chosen) = choose(&client, reference, &root, platform)?
    {
        root = document(&client, reference, &chosen)?;
    }
    let key = wanted.key.clone().unwrap_or_else(|| Key::of_digest(&root.descriptor.digest));
    let Ready { notes, sound } = match commit::standing(store, &key, &wanted.notes)? {
        Standing::Stays(imported) => {
            return Ok(Some(Pulled { key, imported: *imported, tally: Tally::default() }));
        }
        Standing::Save(ready) => ready,
    };
    let blobs = store.images().blobs();
    let known = Known::scan(store, &sound)?;
    let mut pull = Pull { client, reference, blobs: &blobs, known, progress, parts: Parts::default() };
    pull.visit(&root, 0)?;
    let fetched = pull.fetch(config.parallel)?;
    pull.remember(store, &fetched);
    let (tally, partial) = summed(&fetched);
    let leases: Vec<Lease> =
        pull.parts.leases.into_iter().chain(fetched.into_iter().filter_map(|one| one.lease)).collect();
    let entry = Entry {
        names: notes.names.clone().unwrap_or_else(|| tagged(reference)),
        build_seconds: notes.build_seconds,
        // What was not all verified teaches nothing about layers.
        adopted: partial,
        ..Entry::new(root.descriptor, Timestamp::now())
    };
    let (saved, entry) = commit::commit(store, &key, entry, &notes, &leases)?;
    let (written, reused) = (count(tally.moved_blobs), count(tally.skipped_blobs));
    let imported = Imported { saved, written, reused, ..Imported::already(&store.images(), &key, entry) };
    Ok(Some(Pulled { key, imported, tally }))
}

/// The name that a pulled image has by itself.
fn tagged(reference: &Reference) -> Vec<String> {
    reference.familiar().filter(|_| reference.digest().is_none()).into_iter().collect()
}

fn count(blobs: u64) -> usize {
    usize::try_from(blobs).unwrap_or(usize::MAX)
}

fn summed(fetched: &[Fetched]) -> (Tally, bool) {
    let mut tally = Tally::default();
    for one in fetched {
        tally.add(one.tally);
    }
    (tally, fetched.iter().any(|fetched| fetched.lease.is_none()))
}

/// The manifest for the platform in an index. `None`: what there is is not an index, and serves.
///
/// # Errors
/// [`Error::NoPlatform`]; as [`Client::manifest`].
pub(crate) fn choose(
    client: &Client,
    reference: &Reference,
    root: &Document,
    wanted: &Platform,
) -> Result<Option<Descriptor>> {
    let nothing = |present: Vec<String>| {
        let (reference, wanted) = (reference.to_string(), wanted.to_string());
        let present = if present.is_empty() {
            "no platform that is named".to_owned()
        } else {
            tame(&present.join(", "))
        };
        Error::NoPlatform { reference, wanted, present }
    };
    if root.descriptor.is_index() {
        let index: Index = read(client, root)?;
        let manifests = index.manifests.iter().filter(|child| child.is_manifest());
        if let Some(chosen) = Platform::nearest(wanted, manifests, |child| Platform::of(child)).first() {
            return Ok(Some((*chosen).clone()));
        }
        let present = index.manifests.iter().filter_map(Platform::of).map(|own| own.to_string());
        return Err(nothing(present.filter(|own| own != "unknown/unknown").take(20).collect()).into());
    }
    let manifest: Manifest = read(client, root)?;
    let config = &manifest.config;
    if !manifest.is_image() || config.size > DOCUMENT_CAP {
        return Err(nothing(Vec::new()).into());
    }
    let own = client.config(config)?.platform();
    if own.matches(wanted) { Ok(None) } else { Err(nothing(vec![own.to_string()]).into()) }
}

fn document(client: &Client, reference: &Reference, descriptor: &Descriptor) -> Result<Document> {
    let found = client.manifest(&descriptor.digest.to_string(), Some(descriptor))?;
    let (registry, digest) = (client.registry().to_owned(), descriptor.digest);
    let missing = || Error::Incomplete { registry, reference: reference.to_string(), digest };
    Ok(found.ok_or_else(missing)?)
}

/// Reads a document that came from the registry.
fn read<T: serde::de::DeserializeOwned>(client: &Client, document: &Document) -> Result<T> {
    let digest = document.descriptor.digest;
    let odd = |error| client.untrue(format!("its document `{digest}` cannot be understood: {error}"));
    Ok(serde_json::from_slice(&document.bytes).map_err(odd)?)
}

/// Refuses a document whose `subject` is wrong.
fn check_subject(client: &Client, document: &Document) -> Result<()> {
    let what = format!("its document `{}`", document.descriptor.digest);
    oci::subject(&document.bytes, &what).map_err(|error| client.untrue(error.to_string()))?;
    Ok(())
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
struct Fetched {
    digest: Digest,
    lease: Option<Lease>,
    tally: Tally,
}

struct Pull<'a> {
    client: Client,
    reference: &'a Reference,
    blobs: &'a Blobs,
    known: Known,
    progress: &'a dyn Progress,
    parts: Parts,
}

impl Pull<'_> {
    /// Stores a document and all that it leads to but blobs, which it notes.
    fn visit(&mut self, document: &Document, depth: usize) -> Result<()> {
        let descriptor = &document.descriptor;
        self.parts.bytes += descriptor.size;
        if !self.parts.seen.insert(descriptor.digest) {
            return Ok(());
        }
        if self.parts.seen.len() > DOCUMENTS || self.parts.bytes > TOGETHER || depth > DEPTH {
            return Err(self.client.untrue(format!("`{}` has too many documents", self.reference)).into());
        }
        if !descriptor.is_document() {
            // What it needs is not known: stored alone, it would pass for the whole image.
            let reason =
                format!("it is a `{}`, and neither a manifest nor an index", tame(&descriptor.media_type));
            return Err(Error::Unfit { reference: self.reference.to_string(), reason }.into());
        }
        check_subject(&self.client, document)?;
        self.parts.leases.push(self.blobs.put(&document.bytes)?);
        if descriptor.is_index() {
            let index: Index = read(&self.client, document)?;
            return index.manifests.iter().try_for_each(|child| self.child(child, depth));
        }
        let manifest: Manifest = read(&self.client, document)?;
        if !manifest.is_image() {
            self.note(&manifest.config, None)?;
        }
        let diff_ids = self.diff_ids(&manifest)?;
        for (at, layer) in manifest.layers.iter().enumerate() {
            self.note(layer, diff_ids.get(at))?;
        }
        // What older artifacts name besides.
        let links: storekit::oci::Links = read(&self.client, document)?;
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
            None => document(&self.client, self.reference, child)?,
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
            _ => self.client.config_bytes(&manifest.config)?,
        };
        self.parts.leases.push(self.blobs.put(&config)?);
        let odd = |error| {
            self.client
                .untrue(format!("the config `{}` cannot be understood: {error}", manifest.config.digest))
        };
        let config: oci::Config = serde_json::from_slice(&config).map_err(odd)?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        // With none, it is an artifact that borrows the config's type.
        if layers != diff_ids && diff_ids > 0 {
            let reason = format!("its config has {diff_ids} diff_ids, and its manifest has {layers} layers");
            return Err(Error::Unfit { reference: self.reference.to_string(), reason }.into());
        }
        Ok(config.rootfs.diff_ids)
    }

    fn note(&mut self, blob: &Descriptor, diff_id: Option<&Digest>) -> Result<()> {
        let new = || Part { descriptor: blob.clone(), layer_of: Vec::new() };
        let part = self.parts.blobs.entry(blob.digest).or_insert_with(new);
        if part.descriptor.size != blob.size
            || Form::named(&part.descriptor.media_type) != Form::named(&blob.media_type)
        {
            return Err(self.client.untrue(format!("it describes `{}` in two ways", blob.digest)).into());
        }
        // What one of them says must be there, must be.
        if blob.urls.is_empty() {
            part.descriptor.urls.clear();
        }
        part.layer_of.extend(diff_id.filter(|diff_id| !part.layer_of.contains(diff_id)));
        Ok(())
    }

    /// Brings all blobs, the largest first.
    fn fetch(&self, threads: usize) -> Result<Vec<Fetched>> {
        let mut parts: Vec<_> = self.parts.blobs.values().collect();
        parts.sort_by_key(|part| part.descriptor.size);
        // What they announce is not known to be true, nor to make a sum.
        let sizes = parts.iter().map(|part| part.descriptor.size);
        self.progress.expect(sizes.fold(0, u64::saturating_add));
        parallel::map_with(threads, &parts, |part| self.fetch_one(part))
    }

    fn fetch_one(&self, part: &Part) -> Result<Fetched> {
        let Part { descriptor, .. } = part;
        let (digest, size) = (descriptor.digest, descriptor.size);
        if let Some(lease) = self.stored(descriptor)? {
            self.progress.add(size);
            self.check(part, &lease)?;
            return Ok(Fetched { digest, lease: Some(lease), tally: Tally::skipped(size) });
        }
        match download::fetch(&self.client, self.blobs, descriptor, self.progress)? {
            Some((lease, moved)) => {
                self.check(part, &lease)?;
                Ok(Fetched { digest, lease: Some(lease), tally: Tally::moved(moved) })
            }
            None if !descriptor.urls.is_empty() => {
                Ok(Fetched { digest, lease: None, tally: Tally::default() })
            }
            None => {
                let registry = self.client.registry().to_owned();
                Err(Error::Incomplete { registry, reference: self.reference.to_string(), digest }.into())
            }
        }
    }

    /// The blob, where it is there and sound; a damaged one is moved aside by this.
    fn stored(&self, descriptor: &Descriptor) -> Result<Option<Lease>> {
        let lease = self.blobs.lease(&descriptor.digest)?;
        let sound = lease.is_some() && self.known.is_sound(self.blobs, &descriptor.digest)?;
        Ok(lease.filter(|lease| sound && lease.size() == descriptor.size))
    }

    /// The next push to another repository of this registry need not send them.
    fn remember(&self, store: &Store, fetched: &[Fetched]) {
        let mut memory = Memory::load(store.root(), self.client.registry());
        for present in fetched.iter().filter(|fetched| fetched.lease.is_some()) {
            memory.holds(present.digest, self.client.repository());
        }
        memory.save();
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
        let unfit = |reason| Error::Unfit { reference: self.reference.to_string(), reason };
        if found != named && descriptor.media_type.contains(".tar") {
            let media_type = tame(&descriptor.media_type);
            return Err(unfit(format!(
                "the layer `{digest}` has the media type `{media_type}` and is something else"
            ))
            .into());
        }
        let whole = io::Cursor::new(head).chain(reader);
        let plain = named.decoder(whole).and_then(|mut plain| crate::layer::hash_plain(&mut plain, &()));
        let (plain, _) = plain.map_err(|error| match failed(error) {
            error @ crate::Error::Store(_) => error,
            error => unfit(format!("the layer `{digest}` does not unpack: {error}")).into(),
        })?;
        match layer_of.iter().find(|diff_id| **diff_id != plain) {
            Some(diff_id) => Err(unfit(format!(
                "the layer `{digest}` should unpack to `{diff_id}`, and unpacks to `{plain}`"
            ))
            .into()),
            None => Ok(()),
        }
    }
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
