//! What an image in a place was made from.

use storekit::Key;

use crate::error::Result;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::open::open;
use crate::tier::place::Place;

/// The manifest of inputs that is noted with the image under the key; `Some(None)` where none is,
/// `None` where nothing stands under the key. Nothing of it is known to be true.
///
/// # Errors
/// A place that does not answer, or says no.
pub fn inputs(config: &Config, place: &Place, key: &Key) -> Result<Option<Option<Vec<u8>>>> {
    let tier = open(config, place, Purpose::Pull)?;
    let Some(told) = tier.entry(key)? else { return Ok(None) };
    tier.inputs(key, &told).map(Some)
}
