//! From the store into an engine.
//!
//! An image that the engine has is only tagged. Of any other the engine is sent what it lacks,
//! verified on the way; the archive's `manifest.json` comes last, so that no engine takes one that
//! breaks off.

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Event, Images, Key, Store};

use crate::archive::export;
use crate::engine::partial::{self, Sent};
use crate::engine::{Engine, Seen};
use crate::error::{Error, Result};
use crate::format::image_name;
use crate::format::oci::Platform;
use crate::image::{Image, Stored};
use crate::progress::Progress;

/// What is loaded, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names instead of the stored ones.
    pub names: Vec<String>,
    /// For which machine, where there is a choice; the engine's own otherwise.
    pub platform: Option<Platform>,
}

/// What a load did with one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// The key that was loaded.
    pub key: Key,
    /// The image's ID.
    pub id: Digest,
    /// Its names in the engine now.
    pub names: Vec<String>,
    /// Whether the engine had it, and it was only tagged.
    pub present: bool,
    /// How many layers the engine was sent.
    pub layers_sent: usize,
    /// How many it had.
    pub layers_skipped: usize,
    /// How many bytes of layers it was sent, plain.
    pub bytes_sent: u64,
    /// Stored names that no engine takes: they were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bad_names: Vec<String>,
}

/// Loads what is stored under the key. `None` where nothing is.
///
/// # Errors
/// Damaged blobs (no engine takes the image then); an engine that is not there or refuses.
pub fn load(
    store: &Store,
    engine: &Engine,
    key: &Key,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<Option<Vec<Loaded>>> {
    let Some(stored) = opened(store, key)? else { return Ok(None) };
    if stored.images.is_empty() {
        return Err(Error::NotAnImage { key: key.clone() });
    }
    let images = choose(&stored, engine, wanted)?;
    if !wanted.names.is_empty() && images.len() > 1 {
        return Err(Error::several(key, images.len(), 0));
    }
    let jobs: Vec<_> = images.iter().map(|image| ImageLoad::new(engine, image, wanted)).collect();
    let asked = jobs.iter().flat_map(|job| job.asked(&store.images(), engine));
    let seen = engine.look(&asked.collect::<Vec<_>>())?;
    let run = |job: &ImageLoad<'_>| job.run(&store.images(), engine, key, &seen, progress);
    let loaded = jobs.iter().map(run).collect::<Result<_>>()?;
    note(store, &stored);
    Ok(Some(loaded))
}

/// One image that is to be in the engine.
struct ImageLoad<'a> {
    image: &'a Image,
    /// As the engine writes them.
    names: Vec<String>,
    /// Whether they are the stored ones.
    own_names: bool,
    /// What it may have for an ID in the engine.
    ids: Vec<Digest>,
}

impl<'a> ImageLoad<'a> {
    fn new(engine: &Engine, image: &'a Image, wanted: &Wanted) -> Self {
        let own_names = wanted.names.is_empty();
        let names = if own_names {
            image.names.iter().map(|name| engine.stored_name(name)).collect()
        } else {
            wanted.names.iter().map(|name| engine.own_name(name)).collect()
        };
        // Docker with containerd calls images by the digests of their manifests: of the stored one,
        // or of an archive's.
        let plain = export::plain_manifest(image).map(|bytes| Digest::of(&bytes));
        let ids = [image.id(), image.descriptor.digest].into_iter().chain(plain).collect();
        Self { image, names, own_names, ids }
    }

    /// What the engine is asked for, all at once: a second question costs as much as the first.
    fn asked(&self, images: &Images, engine: &Engine) -> Vec<String> {
        let own = self.ids.iter().map(Digest::to_string).chain(self.names.iter().cloned());
        own.chain(partial::relatives(images, engine, self.image)).collect()
    }

    fn run(
        &self,
        images: &Images,
        engine: &Engine,
        key: &Key,
        seen: &[Seen],
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let present = seen.iter().find(|seen| self.ids.iter().any(|id| seen.is(id)));
        let tagged = present.map(|present| self.tag(engine, present)).transpose()?.flatten();
        let present = tagged.is_some();
        let sent = match tagged {
            Some(sent) => sent,
            None => partial::send(images, engine, self.image, &self.names, seen, progress)?,
        };
        Ok(Loaded {
            key: key.clone(),
            id: self.image.id(),
            names: self.names.clone(),
            present,
            layers_sent: sent.layers,
            layers_skipped: sent.skipped,
            bytes_sent: sent.bytes,
            bad_names: self.bad_names(),
        })
    }

    fn bad_names(&self) -> Vec<String> {
        if self.own_names { self.image.bad_names.clone() } else { Vec::new() }
    }

    /// Gives the engine's image its names. `None` where the image was removed meanwhile.
    fn tag(&self, engine: &Engine, present: &Seen) -> Result<Option<Sent>> {
        let has = |wanted: &str| {
            present.names.iter().any(|own| image_name::familiar(own) == image_name::familiar(wanted))
        };
        let mut lacking = self.names.iter().filter(|name| !has(name));
        match lacking.try_for_each(|name| engine.tag(&present.id, name)) {
            Err(Error::Engine { .. }) if engine.hold(&present.id)?.is_none() => Ok(None),
            tagged => {
                tagged.map(|()| Some(Sent { skipped: self.image.manifest.layers.len(), ..Sent::default() }))
            }
        }
    }
}

fn opened(store: &Store, key: &Key) -> Result<Option<Stored>> {
    let stored = Stored::open(&store.images(), key)?;
    if stored.is_none() {
        // A note for statistics, as below.
        let _ = store.events().record(&Event::new("imgtar", storekit::Kind::Miss, key, Timestamp::now()));
    }
    Ok(stored)
}

/// All images of an archive that had several; else the one for the wanted platform, or for the
/// engine's.
fn choose<'a>(stored: &'a Stored, engine: &Engine, wanted: &Wanted) -> Result<Vec<&'a Image>> {
    if let Some(platform) = &wanted.platform {
        return stored.select(Some(platform));
    }
    if stored.images.len() < 2 || stored.is_several() {
        return stored.select(None);
    }
    stored.select(Some(&engine.platform()?))
}

/// Stamps the use of an image that was handed on, and notes the build time that this saved.
pub fn note(store: &Store, stored: &Stored) {
    store.images().touch(&stored.key);
    let mut event = Event::new("imgtar", storekit::Kind::Hit, &stored.key, Timestamp::now());
    event.seconds = stored.entry.build_seconds;
    event.bytes = Some(stored.size());
    // A note for statistics: a load that cannot be noted is a load.
    let _ = store.events().record(&event);
}
