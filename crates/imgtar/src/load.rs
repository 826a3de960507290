//! From the store into an engine.
//!
//! An image that the engine has is only tagged. Any other is sent whole, its layers verified on the way; the
//! archive's `manifest.json` comes last, so that no engine takes one that breaks off.

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Event, Key, Store};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::export;
use crate::image::{Image, Stored};
use crate::oci::Platform;
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
    /// The key.
    pub key: Key,
    /// The image's ID.
    pub id: Digest,
    /// Its names in the engine now.
    pub names: Vec<String>,
    /// Whether the engine had it, and it was only tagged.
    pub present: bool,
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
    let images = choose(&stored, engine, wanted)?;
    if !wanted.names.is_empty() && images.len() > 1 {
        return Err(Error::Several { key: key.clone(), count: images.len() });
    }
    let mut loaded = Vec::new();
    let mut absent = Vec::new();
    for image in &images {
        let names = if wanted.names.is_empty() { image.names.clone() } else { wanted.names.clone() };
        let present = engine.has(&image.id())?;
        if !present {
            absent.push(*image);
        }
        loaded.push(Loaded { key: key.clone(), id: image.id(), names, present });
    }
    if !absent.is_empty() {
        let names = (!wanted.names.is_empty()).then_some(wanted.names.as_slice());
        let mut loading = engine.load()?;
        match export::export_images(&store.images().blobs(), &absent, names, &mut loading, progress) {
            Ok(()) => loading.finish()?,
            Err(error) => return Err(loading.fail(error)),
        }
    }
    for Loaded { id, names, .. } in loaded.iter().filter(|loaded| loaded.present) {
        names.iter().try_for_each(|name| engine.tag(id, name))?;
    }
    note(store, &stored);
    Ok(Some(loaded))
}

fn opened(store: &Store, key: &Key) -> Result<Option<Stored>> {
    let stored = Stored::open(&store.images(), key)?;
    if stored.is_none() {
        // A note for statistics, as below.
        let _ = store.events().record(&Event::new("imgtar", storekit::Kind::Miss, key, Timestamp::now()));
    }
    Ok(stored)
}

/// All images of an archive that had several; else the one for the wanted platform, or for the engine's.
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
