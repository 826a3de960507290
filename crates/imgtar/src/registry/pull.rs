//! A whole image from a registry into the store: documents from the top down, then the blobs that
//! are not there, the key last. Kept byte for byte, so that its digest is the registry's.
//!
//! Nothing is believed: `image::fetch` checks all of it. Layers of `urls` are asked for in the
//! registry only.

use jiff::Timestamp;
use storekit::{Blobs, Descriptor, Digest, Entry, Key, Lease, Store};

use super::client::{Client, Purpose};
use super::config::Config;
use super::download;
use super::memory::Memory;
use crate::error::Result;
use crate::error::registry::Error;
use crate::error::registry::tame;
use crate::format::oci::{DOCUMENT_CAP, Index, Manifest, Platform};
use crate::image::commit::{self, Imported, Notes, Ready, Standing};
use crate::image::fetch::{self, Document, Fetched, Source};
use crate::progress::Progress;
use crate::tally::Tally;
use storekit::Reference;

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
    let source = FromRegistry { client: &client, reference: reference.to_string() };
    let fetched = fetch::fetch(store, &source, &root, &sound, config.parallel, progress)?;
    source.remember(store, &fetched);
    let Fetched { leases, tally, partial, .. } = fetched;
    let entry = Entry {
        names: notes.names.clone().unwrap_or_else(|| tagged(reference)),
        build_seconds: notes.build_seconds,
        // What was not all verified teaches nothing about layers.
        adopted: partial,
        ..Entry::new(root.descriptor, Timestamp::now())
    };
    let (saved, entry) = commit::commit(store, &key, entry, &notes, &leases)?;
    let imported = Imported::copied(&store.images(), &key, (saved, entry), &tally);
    Ok(Some(Pulled { key, imported, tally }))
}

/// The name that a pulled image has by itself.
fn tagged(reference: &Reference) -> Vec<String> {
    reference.familiar().filter(|_| reference.digest().is_none()).into_iter().collect()
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
    Ok(found.ok_or_else(|| incomplete(client, &reference.to_string(), descriptor.digest))?)
}

fn incomplete(client: &Client, reference: &str, digest: Digest) -> Error {
    Error::Incomplete { registry: client.registry().to_owned(), reference: reference.to_owned(), digest }
}

/// Reads a document that came from the registry.
fn read<T: serde::de::DeserializeOwned>(client: &Client, document: &Document) -> Result<T> {
    let digest = document.descriptor.digest;
    let odd = |error| client.untrue(format!("its document `{digest}` cannot be understood: {error}"));
    Ok(serde_json::from_slice(&document.bytes).map_err(odd)?)
}

/// An image in a registry.
pub(crate) struct FromRegistry<'a> {
    pub(crate) client: &'a Client,
    /// The image's name, for messages.
    pub(crate) reference: String,
}

impl FromRegistry<'_> {
    /// The next push to another repository of this registry need not send them.
    pub(crate) fn remember(&self, store: &Store, fetched: &Fetched) {
        let mut memory = Memory::load(store.root(), self.client.registry());
        for blob in &fetched.blobs {
            memory.holds(*blob, self.client.repository());
        }
        memory.save();
    }
}

impl Source for FromRegistry<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Document>> {
        self.client.manifest(&descriptor.digest.to_string(), Some(descriptor))
    }

    fn config(&self, config: &Descriptor) -> Result<Vec<u8>> {
        self.client.config_bytes(config)
    }

    fn blob(
        &self,
        blobs: &Blobs,
        blob: &Descriptor,
        progress: &dyn Progress,
    ) -> Result<Option<(Lease, u64)>> {
        download::fetch(self.client, blobs, blob, progress)
    }

    fn untrue(&self, reason: String) -> crate::Error {
        self.client.untrue(reason).into()
    }

    fn unfit(&self, reason: String) -> crate::Error {
        Error::Unfit { reference: self.reference.clone(), reason }.into()
    }

    fn incomplete(&self, digest: Digest) -> crate::Error {
        incomplete(self.client, &self.reference, digest).into()
    }
}
