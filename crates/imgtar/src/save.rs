//! From an engine into the store.

use storekit::{Key, Store};

use crate::engine::Engine;
use crate::error::Result;
use crate::import::{self, Imported, Notes, Source};
use crate::progress::Progress;

/// Saves an engine's image under the key, with its names. An image that stands under the key already, whole and
/// sound, stays (unless `force`), and the engine is not asked for it.
///
/// # Errors
/// An engine that is not there or refuses: nothing stands under the key then. As [`import::import`].
pub fn save(
    store: &Store,
    engine: &Engine,
    key: &Key,
    image: &str,
    notes: &Notes,
    progress: &dyn Progress,
) -> Result<Imported> {
    if !notes.force
        && let Some(entry) = standing(store, key)?
    {
        return Ok(Imported { saved: false, entry, written: 0, reused: 0, absent: Vec::new() });
    }
    let archive = engine.save(image)?;
    import::import(store, key, Source::Stream(Box::new(archive)), notes, progress)
}

/// The entry under the key, if all its blobs are there and sound.
fn standing(store: &Store, key: &Key) -> Result<Option<storekit::Entry>> {
    let images = store.images();
    if images.get(key).ok().flatten().is_none() {
        return Ok(None);
    }
    let report = crate::verify::verify(&images, std::slice::from_ref(key), &());
    match report {
        Ok(report) if report.problems.is_empty() => Ok(images.get(key)?),
        _ => Ok(None),
    }
}
