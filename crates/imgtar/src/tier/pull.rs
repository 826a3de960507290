//! From a place into the store: the image under a key, and what is noted with it.

use storekit::{Entry, Key, Store};

use crate::error::{Error, Result, tier};
use crate::image::commit::{self, Imported, Notes, Ready, Standing};
use crate::image::fetch::{self, Fetched};
use crate::progress::Progress;
use crate::registry::{self, Purpose};
use crate::tally::Tally;
use crate::tier::config::Config;
use crate::tier::kind::Tier;
use crate::tier::open::open;
use crate::tier::place::Place;

/// What a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Whether the key was written, and what stands under it.
    pub imported: Imported,
    /// What moved.
    pub tally: Tally,
}

/// Brings what stands under the key in the place into the store, under the same key. The first save
/// wins, unless `force`: the place is not asked then. `None` where the place has no such key.
///
/// # Errors
/// A place that does not answer, says no, or holds something else than it should
/// ([`tier::Error::Damaged`]) or what nobody has signed whom it is to be: nothing stands under the
/// key then that did not before. I/O errors.
pub fn pull(
    store: &Store,
    config: &Config,
    place: &Place,
    key: &Key,
    force: bool,
    progress: &dyn Progress,
) -> Result<Option<Pulled>> {
    store.images().prepare()?;
    store.images().sweep_spent()?;
    let wanted = Notes { force, ..Notes::default() };
    let ready = match commit::standing(store, key, &wanted)? {
        Standing::Stays(imported) => {
            return Ok(Some(Pulled { imported: *imported, tally: Tally::default() }));
        }
        Standing::Save(ready) => ready,
    };
    let tier = open(config, place, Purpose::Pull)?;
    match bring(store, config, (place, &*tier), key, ready, progress) {
        // What was there a moment ago may have been removed meanwhile.
        Err(error) if is_incomplete(&error) && tier.has(key).is_ok_and(|found| found.is_none()) => Ok(None),
        Err(error) if error.is_damage_there() => {
            let (place, key, source) = (place.to_string(), key.clone(), Box::new(error));
            Err(tier::Error::Damaged { place, key, source }.into())
        }
        brought => brought,
    }
}

fn is_incomplete(error: &Error) -> bool {
    matches!(
        error,
        Error::Tier(tier::Error::Incomplete { .. }) | Error::Registry(registry::Error::Incomplete { .. })
    )
}

fn bring(
    store: &Store,
    config: &Config,
    (place, tier): (&Place, &dyn Tier),
    key: &Key,
    Ready { notes, sound }: Ready<'_>,
    progress: &dyn Progress,
) -> Result<Option<Pulled>> {
    let Some(told) = tier.entry(key)? else { return Ok(None) };
    let (source, root) = (tier.source(key), tier.root(key, &told)?);
    let inputs = tier.inputs(key, &told)?;
    if !config.trusts_with(key, &told, inputs.as_deref()) {
        return Err(tier::Error::Unsigned { place: place.to_string(), key: key.clone() }.into());
    }
    let fetched = fetch::fetch(store, &*source, &root, &sound, config.registries.parallel, progress)?;
    let Fetched { leases, tally, partial, .. } = fetched;
    let notes = Notes { inputs, origin: told.entry.origin.clone(), force: notes.force, ..Notes::default() };
    // What was not all verified teaches nothing about layers.
    let entry = Entry { adopted: told.entry.adopted || partial, ..told.entry };
    let standing = commit::commit(store, key, entry, &notes, &leases)?;
    Ok(Some(Pulled { imported: Imported::copied(&store.images(), key, standing, &tally), tally }))
}
