//! Saves an image of which the store has layers: the engine pushes it to a registry that lives as
//! long as the push.
//!
//! An engine's own `save` packs all layers again, whatever the store has. Before a push, an engine
//! asks for each layer whose digest it knows, and sends only those that are not there. This
//! registry answers that a layer is there, unless its diffID is that of a layer which the store
//! lacks. Podman asks for every layer by its diffID. Docker knows the digests in registries that it
//! once pulled a layer from or pushed it to; a layer without such a digest is compressed and sent.
//!
//! Only for podman and docker's own store, and an engine of this machine; otherwise the image is
//! saved as an archive.

mod first;
mod http;
mod place;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::thread::{self, ScopedJoinHandle};

use jiff::Timestamp;
use storekit::files::turn::Turn;
use storekit::{Blobs, Descriptor, Digest, Entry, Key, Lease, Store};

use crate::archive::assemble;
use crate::engine::save::{Options, Way};
use crate::engine::{Engine, Kind, Seen, Storage};
use crate::error::{Error, Result};
use crate::format::image_name;
use crate::format::oci::{self, Config, Manifest, annotation};
use crate::image::commit::{self, Imported, Ready};
use crate::layer::Made;
use crate::layer::known::Known;
use crate::progress::Progress;
use sink::{Sink, Taken};

/// What an engine compresses in a second, and what its `save` moves in one, in bytes; what a push
/// and a save cost at least, in milliseconds. Measured; only their ratios matter, and those are
/// much the same on other machines.
struct Pace {
    push: u64,
    save: u64,
    push_least: u64,
    save_least: u64,
}

const DOCKER: Pace = Pace { push: 35_000_000, save: 160_000_000, push_least: 400, save_least: 250 };
const PODMAN: Pace = Pace { push: 60_000_000, save: 135_000_000, push_least: 120, save_least: 100 };
/// An engine may send so many bytes, compressed, of layers that the store has: small ones are soon
/// learnt.
const SLACK: u64 = 8 << 20;

/// How a save by a push ended.
pub(crate) enum PushOutcome<'n> {
    /// The image is stored, or an earlier one stands.
    Done(Box<Imported>),
    /// The image is to be saved as an archive; nothing was written.
    Archive {
        /// Why it could not be pushed, or why that would take longer.
        why: String,
        /// The save, to go on with.
        ready: Ready<'n>,
        /// Others wait for what it brings; to be held until it is stored.
        turn: Option<Turn>,
    },
}

/// How one step of a save by a push ended.
enum Step<T> {
    /// What the next step needs.
    Done(T),
    /// Why the image is to be saved as an archive.
    Archive(String),
}

/// How a push ended.
enum Pushed {
    /// What it brought.
    Whole(Taken),
    /// The engine sends layers that the store has: it knows no digest of them.
    Untaught,
    /// It failed; the engine's word.
    Failed(String),
}

/// One save.
struct SaveByPush<'a> {
    store: &'a Store,
    engine: &'a Engine,
    held: Seen,
    blobs: Blobs,
    /// The layers that the store has, sound and leased.
    have: BTreeMap<Digest, (Descriptor, Lease)>,
    options: &'a Options<'a>,
    progress: &'a dyn Progress,
}

/// Saves with a push, if that is the faster way and works.
///
/// # Errors
/// Those of the store. What goes wrong with the engine is a reason to save the other way.
pub(crate) fn save<'n>(
    store: &Store,
    engine: &Engine,
    key: &Key,
    image: &str,
    ready: Ready<'n>,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<PushOutcome<'n>> {
    let archive = |why, ready, turn| Ok(PushOutcome::Archive { why, ready, turn });
    let held = match eligible(store, engine, image)? {
        Step::Done(held) => held,
        Step::Archive(why) => return archive(why, ready, None),
    };
    let blobs = store.images().blobs();
    let mut known = Known::scan(store, &ready.sound)?;
    let mut have = layers_of(&known, &blobs, &held)?;
    let mut turn = None;
    if have.is_empty() {
        turn = first::take(store, &held, options.halt)?;
        if turn.as_ref().is_some_and(|turn| turn.waited) {
            known = Known::scan(store, &ready.sound)?;
            have = layers_of(&known, &blobs, &held)?;
            turn = turn.filter(|_| have.is_empty());
        }
    }
    let push = SaveByPush { store, engine, held, blobs, have, options, progress };
    if let Some(why) = push.slower() {
        return archive(why, ready, turn);
    }
    let taken = match push.push()? {
        Step::Done(taken) => taken,
        Step::Archive(why) => return archive(why, ready, turn),
    };
    match push.commit(key, image, &ready, &known, taken)? {
        Step::Done(imported) => Ok(PushOutcome::Done(Box::new(imported))),
        Step::Archive(why) => archive(why, ready, turn),
    }
}

/// The image, where the engine can push it here, and where that takes nothing away from it.
fn eligible(store: &Store, engine: &Engine, image: &str) -> Result<Step<Seen>> {
    let no = |why: &str| Ok(Step::Archive(format!("{} {why}", engine.kind().name())));
    let (storage, local, cleaned) = thread::scope(|scope| {
        let storage = scope.spawn(|| engine.storage());
        let cleaned = scope.spawn(|| match engine.kind() {
            Kind::Docker => place::clean(engine, store.root()),
            Kind::Podman => Ok(()),
        });
        (join(storage), engine.is_local(), join(cleaned))
    });
    if !local? {
        return no("runs elsewhere");
    }
    if !matches!(storage?, Storage::Layers | Storage::Podman) {
        return no("keeps images with containerd");
    }
    cleaned?;
    let held = match engine.hold(image) {
        Ok(Some(held)) => held,
        Ok(None) | Err(Error::Engine { .. }) => return no("has no such image"),
        Err(error) => return Err(error),
    };
    if engine.kind() == Kind::Podman {
        return Ok(Step::Done(held));
    }
    // A name without a tag stands for all tags.
    if is_bare(image) && engine.ids_named(image)?.iter().any(|id| *id != held.id) {
        return no("has several images of that name");
    }
    // Its last name goes when the push is over, and an image without a name goes with it.
    if held.names.is_empty() {
        return no("has no name for the image");
    }
    Ok(Step::Done(held))
}

fn join<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whether it may be a name without a tag. A short ID looks like one, and a name such as `facade`
/// like an ID: docker takes what is a name for that.
fn is_bare(image: &str) -> bool {
    image_name::complete(image).is_ok_and(|whole| whole != image)
}

/// The image's layers that the store has.
fn layers_of(known: &Known, blobs: &Blobs, held: &Seen) -> Result<BTreeMap<Digest, (Descriptor, Lease)>> {
    let mut have = BTreeMap::new();
    for diff_id in held.layers() {
        if have.contains_key(diff_id) {
            continue;
        }
        if let Some((layer, lease)) = known.lease(blobs, diff_id)?
            && known.is_sound(blobs, &layer.digest)?
        {
            have.insert(*diff_id, (layer, lease));
        }
    }
    Ok(have)
}

fn plain_size(layer: &Descriptor) -> Option<u64> {
    layer.annotations.get(annotation::PLAIN_SIZE)?.parse().ok()
}

impl SaveByPush<'_> {
    /// Why an archive is likely the faster way, if it is.
    fn slower(&self) -> Option<String> {
        if self.have.is_empty() {
            return Some("the store has no layer of it".to_owned());
        }
        let new = self.lacking();
        let pace = if self.engine.kind() == Kind::Docker { DOCKER } else { PODMAN };
        let push = pace.push_least + new / (pace.push / 1000);
        let save = pace.save_least + self.held.size / (pace.save / 1000);
        (push >= save && !self.teach())
            .then(|| format!("a push of {} would take longer", storekit::ByteSize(new)))
    }

    fn teach(&self) -> bool {
        self.options.way == Way::Teach
    }

    /// About how many bytes of the image the store lacks.
    fn lacking(&self) -> u64 {
        let stored: u64 = self.have.values().filter_map(|(layer, _)| plain_size(layer)).sum();
        self.held.size.saturating_sub(stored)
    }

    /// Pushes, and pushes again without the digests that stand for layers which the store has not.
    fn push(&self) -> Result<Step<Taken>> {
        // The config is never there: it is what tells which layers these are.
        let mut refused: BTreeSet<_> = self.id().into_iter().collect();
        refused.extend(self.held.layers().iter().filter(|diff_id| !self.have.contains_key(diff_id)));
        for _ in 0..2 {
            let taken = match self.push_once(refused.clone())? {
                Pushed::Whole(taken) => taken,
                Pushed::Untaught => {
                    let engine = self.engine.kind().name();
                    let why = "knows no digest of layers that the store has; `--by push` tells it";
                    return Ok(Step::Archive(format!("{engine} {why}")));
                }
                Pushed::Failed(said) => return Ok(Step::Archive(format!("the push failed: {said}"))),
            };
            let wanting = self.wanting(&taken);
            if wanting.is_empty() {
                return Ok(Step::Done(taken));
            }
            refused.extend(wanting);
        }
        Ok(Step::Archive(format!("{} did not send what is missing", self.engine.kind().name())))
    }

    fn id(&self) -> Option<Digest> {
        self.held.digest()
    }

    /// The digests that the engine was told are there and that stand for layers which are not.
    fn wanting(&self, taken: &Taken) -> BTreeSet<Digest> {
        let layers = taken.manifest.as_ref().and_then(|bytes| oci::parse::<Manifest>(bytes, "").ok());
        let layers = layers.map(|manifest| manifest.layers).unwrap_or_default();
        let pairs = layers.iter().zip(self.held.layers());
        let absent = pairs.filter(|(layer, diff_id)| {
            !self.have.contains_key(diff_id) && !taken.blobs.contains_key(&layer.digest)
        });
        absent.map(|(layer, _)| layer.digest).collect()
    }

    fn push_once(&self, refused: BTreeSet<Digest>) -> Result<Pushed> {
        let most = if self.teach() { u64::MAX } else { self.lacking() + SLACK };
        let known = self.have.keys().copied().collect();
        let sink = Sink::new(&self.blobs, self.progress, refused, known, most);
        let Some(listener) = place::take(self.store.root()) else {
            return Ok(Pushed::Failed("no port is free".to_owned()));
        };
        let halt = self.options.halt;
        let go_on = || !sink.is_too_much() && !halt.is_asked();
        let push = |address: SocketAddr| {
            // The name that the image has in the meantime goes, whatever happens.
            halt.hold();
            let pushed = self.engine.push(&self.held.id, &place::name(address.port()), &go_on);
            halt.release();
            pushed
        };
        let pushed = sink.during(&listener, push);
        let ended = pushed.map_err(|source| Error::Listen { address: "127.0.0.1".to_owned(), source })?;
        Ok(match ended {
            _ if halt.is_asked() => return Err(Error::read("-", io::ErrorKind::Interrupted.into())),
            _ if sink.is_too_much() => Pushed::Untaught,
            Ok(()) => Pushed::Whole(sink.into_taken()),
            Err(Error::Engine { said, .. }) => Pushed::Failed(said),
            // A daemon is there without its command, which alone pushes.
            Err(error @ Error::NoEngine { .. }) => Pushed::Failed(error.to_string()),
            Err(error) => return Err(error),
        })
    }

    /// Writes the image as it would have come from an archive, if it is the one that was asked for.
    fn commit(
        &self,
        key: &Key,
        image: &str,
        ready: &Ready<'_>,
        known: &Known,
        mut taken: Taken,
    ) -> Result<Step<Imported>> {
        let other = || Ok(Step::Archive("the engine pushed another image".to_owned()));
        let Some(id) = self.id() else { return other() };
        let manifest = taken.manifest.take().and_then(|bytes| oci::parse::<Manifest>(&bytes, "").ok());
        let (Some(manifest), Some(config)) = (manifest, taken.blobs.remove(&id)) else { return other() };
        let Some(bytes) = document(&config)? else { return other() };
        let parsed: Config = oci::parse(&bytes, "the config")?;
        if parsed.rootfs.diff_ids != self.held.layers() || manifest.layers.len() != self.held.layers().len() {
            return other();
        }
        let mut layers = Vec::new();
        let mut written = BTreeMap::new();
        for (diff_id, pushed) in parsed.rootfs.diff_ids.iter().zip(&manifest.layers) {
            if let Some((layer, _)) = self.have.get(diff_id) {
                layers.push(reused(layer));
                continue;
            }
            // One layer may stand in an image twice.
            if !written.contains_key(diff_id) {
                match taken.blobs.remove(&pushed.digest) {
                    Some(made) if made.shape.diff_id == *diff_id => written.insert(*diff_id, made),
                    _ => return other(),
                };
            }
            layers.extend(written.get(diff_id).map(|made| assemble::describe(&made.shape)));
        }
        // From here on it is the image: its blobs get their names.
        let made = std::iter::once(config).chain(written.into_values());
        let mut leases = made.map(|made| Ok(made.publish()?.lease)).collect::<Result<Vec<_>>>()?;
        let written = leases.len() - 1;
        let reused = layers.len() - written;
        let config = Descriptor::new(oci::CONFIG, id, bytes.len() as u64);
        let manifest = self.blobs.put(&oci::to_bytes(&Manifest::new(config, layers)))?;
        let names = ready.notes.names.clone().unwrap_or_else(|| self.names(image));
        let descriptor = Descriptor::new(oci::MANIFEST, manifest.digest(), manifest.size());
        let build_seconds = ready.notes.build_seconds;
        let entry = Entry { names, build_seconds, ..Entry::new(descriptor, Timestamp::now()) };
        leases.push(manifest);
        let (saved, entry) = commit::commit(self.store, key, entry, &ready.notes, &leases)?;
        known.remember(&self.blobs, &leases);
        if !saved {
            return Ok(Step::Done(Imported::already(&self.store.images(), key, entry)));
        }
        let way = Some("push".to_owned());
        Ok(Step::Done(Imported { ids: vec![id], written, reused, way, ..Imported::new(entry) }))
    }

    /// As in an archive of it: the names that were asked for, none where that was an ID.
    fn names(&self, image: &str) -> Vec<String> {
        if self.engine.kind() == Kind::Podman {
            return podmans(&self.held.names, image)
                .map(|name| image_name::familiar(&name).to_owned())
                .into_iter()
                .collect();
        }
        let wanted = image_name::familiar(image);
        let is_own = |name: &&String| match image_name::familiar(name).strip_prefix(wanted) {
            Some(rest) => rest.is_empty() || (is_bare(image) && rest.starts_with(':')),
            None => false,
        };
        self.held.names.iter().filter(is_own).cloned().collect()
    }
}

/// The bytes of a document that was pushed. `None`: it is larger than any.
fn document(made: &Made) -> Result<Option<Vec<u8>>> {
    if made.shape.size > oci::DOCUMENT_CAP {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    made.open()?.read_to_end(&mut bytes).map_err(|source| Error::read("the upload", source))?;
    Ok(Some(bytes))
}

/// The one of an image's names that podman takes this for: the very same, its own, or that of any
/// registry.
fn podmans(names: &[String], image: &str) -> Option<String> {
    let wanted = image_name::complete(image).ok()?;
    let own = format!("localhost/{wanted}");
    let exact = names.iter().find(|name| **name == wanted || **name == own);
    exact.or_else(|| names.iter().find(|name| name.ends_with(&format!("/{wanted}")))).cloned()
}

/// The descriptor of a stored layer in a manifest of ours.
fn reused(layer: &Descriptor) -> Descriptor {
    match plain_size(layer) {
        Some(size) => assemble::again(layer, size),
        None => assemble::unsized_again(layer),
    }
}
