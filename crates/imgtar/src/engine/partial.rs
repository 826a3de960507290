//! Sends an engine one image, without the layers that it has.
//!
//! What an engine has:
//! - Docker's own store knows layers by their chains. What it has of this one is seen at an image
//!   of the same name, or at stored images that it has too. Where that leaves much to be sent, it
//!   is asked: handed an archive without any layer, it names the first that it misses.
//! - Docker with containerd takes an archive without layers for whole and keeps a broken image.
//!   There, only the blobs of an image that it lists under the digest of a manifest of ours are
//!   left out.
//! - Podman keeps layers by their diffIDs. Those of the images that it describes as its own have
//!   empty entries in the archive; a wrong one fails by its digest.
//!
//! Where an engine refuses what is left of an image, it is sent the whole. What is left out is not
//! read, so damage in it is not noticed here: the engine's own layers make the image.

use std::collections::BTreeSet;
use std::time::SystemTime;

use storekit::{Digest, Images, Key};

use crate::archive::export::{self, ASKED, Left};
use crate::engine::{Engine, Kind, Seen, Storage, is_digest};
use crate::error::{Error, Result};
use crate::image::{Image, Stored};
use crate::progress::Progress;

/// Podman is asked about this many of the images that the store does not know.
const STRANGERS: usize = 16;
/// Docker is asked about this many of the stored images that share layers with the one to be sent.
const RELATIVES: usize = 8;
/// They are looked for among this many, those that were used last: the whole of a large store takes
/// longer to read than Docker to answer.
const RECENT: usize = 64;
/// More plain bytes than this are not sent on what is seen alone: a question may save some of them.
const SMALL: u64 = 16 << 20;

/// What an engine was sent of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many layers went over.
    pub layers: usize,
    /// How many it had.
    pub skipped: usize,
    /// How many bytes of layers went over, plain.
    pub bytes: u64,
}

/// Sends an image. `seen` is what the engine has already said of its own.
///
/// # Errors
/// Damaged blobs among those that must be sent; an engine that is not there or refuses the whole
/// image.
pub fn send(
    images: &Images,
    engine: &Engine,
    image: &Image,
    names: &[String],
    seen: &[Seen],
    progress: &dyn Progress,
) -> Result<Sent> {
    let sender = Sender { images, engine, image, names, progress };
    let is_told = seen.iter().any(Seen::is_in_layers);
    let storage = if is_told { Storage::Layers } else { engine.storage()? };
    match storage {
        Storage::Layers => sender.by_chain(sender.likely(seen)),
        Storage::Content => sender.without(&sender.content()?, Left::NoBlobs),
        Storage::Podman => sender.without(&sender.described(seen)?, Left::EmptyEntries),
        Storage::Unknown => sender.whole(),
    }
}

/// The IDs of stored images that share layers with this one, for Docker to say which it has; the
/// most promising first. What cannot be read teaches nothing.
#[must_use]
pub fn relatives(images: &Images, engine: &Engine, image: &Image) -> Vec<String> {
    if engine.kind() != Kind::Docker {
        return Vec::new();
    }
    let own = &image.parsed.rootfs.diff_ids;
    let mut relatives = Vec::new();
    for (used, key) in recent(images) {
        let Ok(Some(stored)) = Stored::open(images, &key) else { continue };
        for other in stored.images.iter().filter(|other| other.id() != image.id()) {
            relatives.push((shared(own, &other.parsed.rootfs.diff_ids), used, other.id().to_string()));
        }
    }
    relatives.retain(|(shared, ..)| *shared > 0);
    relatives.sort_unstable();
    relatives.dedup_by(|one, other| one.2 == other.2);
    relatives.into_iter().rev().map(|(.., id)| id).take(RELATIVES).collect()
}

/// The keys that were used last.
fn recent(images: &Images) -> Vec<(SystemTime, Key)> {
    let used = |key: Key| images.last_use(&key).ok().flatten().map(|used| (used, key));
    let mut keys: Vec<_> = images.keys().unwrap_or_default().into_iter().filter_map(used).collect();
    keys.sort_unstable_by(|one, other| other.cmp(one));
    keys.truncate(RECENT);
    keys
}

/// How many layers from the base upward are the same.
fn shared(layers: &[Digest], others: &[Digest]) -> usize {
    layers.iter().zip(others).take_while(|(own, other)| own == other).count()
}

/// One image on its way.
struct Sender<'a> {
    images: &'a Images,
    engine: &'a Engine,
    image: &'a Image,
    names: &'a [String],
    progress: &'a dyn Progress,
}

/// What an engine says to an archive without layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerVerdict {
    /// It has them all, and the image now.
    Complete,
    /// It misses the one at this position, and those above.
    Misses(usize),
    /// Nothing that is understood.
    Unclear,
}

impl Sender<'_> {
    fn by_chain(&self, likely: usize) -> Result<Sent> {
        if likely > 0 && self.is_small(likely) {
            match self.above(likely) {
                Err(Error::Engine { .. }) => {}
                done => return done,
            }
        }
        match self.ask()? {
            LayerVerdict::Complete => Ok(self.sent(&self.diff_ids().collect(), 0)),
            LayerVerdict::Misses(first @ 1..) => or_else(self.above(first), || self.whole()),
            LayerVerdict::Misses(_) | LayerVerdict::Unclear => self.whole(),
        }
    }

    /// Sends the layers from this position on.
    fn above(&self, first: usize) -> Result<Sent> {
        let missing: BTreeSet<_> = self.diff_ids().skip(first).collect();
        let known = self.diff_ids().filter(|layer| !missing.contains(layer)).collect();
        self.lacking(&known, Left::NoEntries)
    }

    /// How many layers from the base upward Docker has, as far as can be seen.
    fn likely(&self, seen: &[Seen]) -> usize {
        let own = &self.image.parsed.rootfs.diff_ids;
        seen.iter().map(|seen| shared(own, seen.layers())).max().unwrap_or(0)
    }

    fn is_small(&self, first: usize) -> bool {
        let sizes = self.image.layers().skip(first).map(|layer| layer.plain_size());
        sizes.sum::<Option<u64>>().is_some_and(|size| size <= SMALL)
    }

    fn ask(&self) -> Result<LayerVerdict> {
        let mut loading = self.engine.load()?;
        let asked = match export::question(self.image, self.names, &mut loading) {
            Ok(()) => loading.finish(),
            Err(error) => Err(loading.fail(error)),
        };
        match asked {
            Ok(()) => Ok(LayerVerdict::Complete),
            Err(Error::Engine { said, .. }) => Ok(understood(&said, self.image.manifest.layers.len())),
            Err(error) => Err(error),
        }
    }

    fn whole(&self) -> Result<Sent> {
        let bytes = self.load(None)?;
        Ok(self.sent(&BTreeSet::new(), bytes))
    }

    /// Leaves these layers out; where the engine refuses that, none.
    fn without(&self, known: &BTreeSet<Digest>, left: Left) -> Result<Sent> {
        if known.is_empty() {
            return self.whole();
        }
        or_else(self.lacking(known, left), || self.whole())
    }

    fn lacking(&self, known: &BTreeSet<Digest>, left: Left) -> Result<Sent> {
        let bytes = self.load(Some((known, left)))?;
        Ok(self.sent(known, bytes))
    }

    fn load(&self, without: Option<(&BTreeSet<Digest>, Left)>) -> Result<u64> {
        let blobs = self.images.blobs();
        let mut loading = self.engine.load()?;
        match export::export_image(&blobs, self.image, self.names, without, &mut loading, self.progress) {
            Ok(bytes) => loading.finish().map(|()| bytes),
            Err(error) => Err(loading.fail(error)),
        }
    }

    fn diff_ids(&self) -> impl Iterator<Item = Digest> {
        self.image.parsed.rootfs.diff_ids.iter().copied()
    }

    fn sent(&self, known: &BTreeSet<Digest>, bytes: u64) -> Sent {
        let (skipped, sent): (Vec<_>, Vec<_>) = self.diff_ids().partition(|layer| known.contains(layer));
        Sent { layers: sent.len(), skipped: skipped.len(), bytes }
    }

    /// The plain layers that are in the engine as blobs: those of its images whose manifests are
    /// ours.
    fn content(&self) -> Result<BTreeSet<Digest>> {
        let ids = self.engine.ids()?;
        let is_ours = |image: &Image| {
            let digest = export::plain_manifest(image).map(|bytes| Digest::of(&bytes));
            digest.is_some_and(|digest| ids.iter().any(|id| is_digest(id, &digest)))
        };
        Ok(self.own(&self.stored_layers(&is_ours)?))
    }

    /// The layers of the images that the engine describes.
    fn described(&self, seen: &[Seen]) -> Result<BTreeSet<Digest>> {
        let ids = self.engine.ids()?;
        let mut known: BTreeSet<_> = seen.iter().flat_map(|seen| seen.layers().to_vec()).collect();
        let mut strangers: BTreeSet<String> = ids.iter().cloned().collect();
        let stored = self.stored_layers(&|image| ids.iter().any(|id| is_digest(id, &image.id())))?;
        known.extend(stored);
        strangers
            .retain(|id| !seen.iter().any(|seen| *id == seen.id || id.ends_with(&format!(":{}", seen.id))));
        if !self.diff_ids().all(|layer| known.contains(&layer)) {
            let some: Vec<_> = strangers.into_iter().take(STRANGERS).collect();
            // This is only a hint: an image that is removed meanwhile is not an error.
            let there = self.engine.look(&some).unwrap_or_default();
            known.extend(there.iter().flat_map(|seen| seen.layers().to_vec()));
        }
        Ok(self.own(&known))
    }

    /// The layers of the stored images that `has` says the engine has. A stored image that cannot
    /// be read teaches nothing.
    fn stored_layers(&self, has: &dyn Fn(&Image) -> bool) -> Result<BTreeSet<Digest>> {
        let mut layers = BTreeSet::new();
        for listed in self.images.list_sound()? {
            let Ok(Some(stored)) = Stored::open(self.images, &listed.key) else { continue };
            let known = stored.images.iter().filter(|image| has(image));
            layers.extend(known.flat_map(|image| image.parsed.rootfs.diff_ids.iter().copied()));
        }
        Ok(layers)
    }

    fn own(&self, known: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        self.diff_ids().filter(|layer| known.contains(layer)).collect()
    }
}

/// What an engine had a moment ago may be gone: then it is sent more.
fn or_else(sent: Result<Sent>, more: impl FnOnce() -> Result<Sent>) -> Result<Sent> {
    match sent {
        Err(Error::Engine { .. }) => more(),
        sent => sent,
    }
}

/// What Docker means: `open /var/lib/docker/tmp/docker-import-1/imgtar-asks/2: no such file or
/// directory`.
fn understood(said: &str, layers: usize) -> LayerVerdict {
    let named = said.split_once(&format!("{ASKED}/")).filter(|(_, rest)| rest.contains("no such file"));
    let position = named.and_then(|(_, rest)| rest.split(':').next()?.parse().ok());
    position.filter(|position| *position < layers).map_or(LayerVerdict::Unclear, LayerVerdict::Misses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn means(said: &str, expected: LayerVerdict) {
        assert_eq!(understood(said, 3), expected, "{said}");
    }

    /// Words of real engines.
    #[test]
    fn the_first_missing_layer_is_understood() {
        means(
            "open /var/lib/docker/tmp/docker-import-2843659631/imgtar-asks/2: no such file or directory",
            LayerVerdict::Misses(2),
        );
        means("lstat /x/docker-import-1/imgtar-asks/0: no such file or directory", LayerVerdict::Misses(0));
    }

    #[test]
    fn what_is_in_doubt_is_no_answer() {
        for said in [
            "",
            "open /x/imgtar-asks/3: no such file or directory",
            "open /x/imgtar-asks/a: no such file or directory",
            "open /x/imgtar-asks/2: permission denied",
            "layer \"imgtar-asks/0\" not found",
            "write /x: no space left on device",
        ] {
            means(said, LayerVerdict::Unclear);
        }
    }
}
