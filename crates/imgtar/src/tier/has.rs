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
    if config.signed_by.is_empty() {
        return tier.has(key);
    }
    match found_signed(config, tier, key, is_folder) {
        // What cannot be understood is signed by nobody.
        Err(error) if error.is_about_content() => Ok(Some(Found { digest: None, is_trusted: false })),
        found => found,
    }
}

fn found_signed(config: &Config, tier: &dyn Tier, key: &Key, is_folder: bool) -> Result<Option<Found>> {
    // A folder says more than that the entry stands; elsewhere it would be a request more.
    if is_folder && tier.has(key)?.is_none() {
        return Ok(None);
    }
    let Some(told) = tier.entry(key)? else { return Ok(None) };
    let digest = Some(told.entry.descriptor.digest);
    Ok(Some(Found { digest, is_trusted: config.trusts(tier, key, &told)? }))
}
