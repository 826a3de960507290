//! From an engine into the store.

use storekit::{Key, Store};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::import::{self, Imported, Notes, Standing};
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
    if image.is_empty() || image.starts_with('-') {
        let message = format!("`{image}` is no image");
        return Err(Error::Usage {
            message,
            help: "write its name or ID in the engine, such as `app:latest`",
        });
    }
    import::prepare(store)?;
    let ready = match import::standing(store, key, notes)? {
        Standing::Stays(imported) => return Ok(imported),
        Standing::Save(ready) => ready,
    };
    let archive = engine.save(image)?;
    import::import_stream(store, key, (Box::new(archive), "-"), ready, progress)
}
