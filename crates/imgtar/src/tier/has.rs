//! Whether entries stand in a place.

use storekit::Key;

use crate::error::Result;
use crate::parallel;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::kind::Found;
use crate::tier::open::open;
use crate::tier::place::Place;

/// Asks whether entries stand under these keys, one question for each. `None` where one does not.
///
/// # Errors
/// A place that does not answer, or says no.
pub fn has(config: &Config, place: &Place, keys: &[Key]) -> Result<Vec<Option<Found>>> {
    let tier = open(config, place, Purpose::Pull)?;
    parallel::map_with(config.registries.parallel, keys, |key| tier.has(key))
}
