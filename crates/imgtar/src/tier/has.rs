//! Whether entries stand in a place.

use storekit::Key;

use crate::error::{Error, Result, tier};
use crate::parallel;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::kind::{Found, Tier};
use crate::tier::open::open;
use crate::tier::place::Place;

/// Asks whether entries stand under these keys, one question for each. `None` where one does not;
/// of a folder also where a part of it is missing or damaged, as far as that shows: another place
/// may have it, and the next push mends this one. Where an entry is to be signed, it is looked at.
///
/// # Errors
/// A place that does not answer, or says no.
pub fn has(config: &Config, place: &Place, keys: &[Key]) -> Result<Vec<Option<Found>>> {
    let tier = open(config, place, Purpose::Pull)?;
    let is_folder = matches!(place, Place::Store(_));
    parallel::map_with(config.registries.parallel, keys, |key| match found(config, &*tier, key, is_folder) {
        Err(Error::Tier(tier::Error::Untrue { .. } | tier::Error::Incomplete { .. })) if is_folder => {
            Ok(None)
        }
        found => found,
    })
}

fn found(config: &Config, tier: &dyn Tier, key: &Key, is_folder: bool) -> Result<Option<Found>> {
    let found = tier.has(key)?;
    if found.is_none() || config.signed_by.is_empty() {
        return Ok(found);
    }
    let told = match tier.entry(key) {
        // It stands there. A pull finds what is wrong with it, and takes nothing.
        Err(error) if error.is_damage_there() && !is_folder => {
            return Ok(found.map(|found| Found { is_trusted: true, ..found }));
        }
        told => told?,
    };
    let Some(told) = told else { return Ok(None) };
    let is_trusted = config.trusts(tier, key, &told)?;
    Ok(Some(Found { digest: Some(told.entry.descriptor.digest), is_trusted }))
}
