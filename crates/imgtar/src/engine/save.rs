//! From an engine into the store.

use storekit::{Key, Store};

use crate::archive::import;
use crate::engine::Engine;
use crate::engine::save_by_push::{self, PushOutcome};
use crate::error::{Error, Result};
use crate::image::commit::{self, Imported, Notes, Standing};
use crate::progress::Progress;

/// How an image is to come out of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// By a push where that is faster, else as an archive.
    #[default]
    Fastest,
    /// As an archive.
    Archive,
    /// By a push, however long it takes: docker knows the layers from then on.
    Teach,
}

/// What may ask a save to end early.
pub trait Halt: Sync {
    /// From now on it is only asked, and not ended where it stands: there is something to be put
    /// right first.
    fn hold(&self);
    /// From now on it may be ended where it stands.
    fn release(&self);
    /// Whether it is asked to end.
    fn is_asked(&self) -> bool;
}

/// Never asks.
impl Halt for () {
    fn hold(&self) {}

    fn release(&self) {}

    fn is_asked(&self) -> bool {
        false
    }
}

/// How a save goes about it.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How the image is to come.
    pub way: Way,
    /// What may ask it to end early.
    pub halt: &'a dyn Halt,
}

/// Saves an engine's image under the key, with its names; those of the notes are completed as the
/// engine would. An image that stands under the key already, whole and sound, stays (unless
/// `force`), and the engine is not asked for it.
///
/// # Errors
/// An engine that is not there or refuses: nothing stands under the key then. As
/// [`import::import`].
pub fn save(
    store: &Store,
    engine: &Engine,
    key: &Key,
    image: &str,
    notes: &Notes,
    options: &Options<'_>,
    progress: &dyn Progress,
) -> Result<Imported> {
    if image.is_empty() || image.starts_with('-') {
        let message = format!("`{image}` is not an image");
        return Err(Error::Usage {
            message,
            help: "write its name or ID in the engine, such as `app:latest`",
        });
    }
    commit::prepare(store)?;
    let names = notes.names.as_ref().map(|names| names.iter().map(|name| engine.own_name(name)).collect());
    let notes = &Notes { names, ..notes.clone() };
    let ready = match commit::standing(store, key, notes)? {
        Standing::Stays(imported) => return Ok(*imported),
        Standing::Save(ready) => ready,
    };
    let (why, ready, turn) = match options.way {
        Way::Archive => ("it was asked for".to_owned(), ready, None),
        _ => match save_by_push::save(store, engine, key, image, ready, options, progress)? {
            PushOutcome::Done(imported) => return Ok(*imported),
            PushOutcome::Archive { why, ready, turn } => (why, ready, turn),
        },
    };
    let archive = engine.save(image)?;
    let imported = import::import_stream(store, key, (Box::new(archive), "-"), ready, progress)?;
    drop(turn);
    Ok(Imported { way: Some(format!("archive, since {why}")), ..imported })
}
