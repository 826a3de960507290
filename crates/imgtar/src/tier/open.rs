//! The place that is meant, ready to be asked.

use crate::error::Result;
use crate::registry::Purpose;
use crate::tier::config::Config;
use crate::tier::kind::Tier;
use crate::tier::kinds::registry::RegistryTier;
use crate::tier::kinds::s3::client::Bucket;
use crate::tier::kinds::s3::tier::S3Tier;
use crate::tier::kinds::store::StoreTier;
use crate::tier::place::Place;

/// Opens the place for this purpose.
///
/// # Errors
/// A folder that is not a store; a registry on this machine that does not answer.
pub(crate) fn open(config: &Config, place: &Place, purpose: Purpose) -> Result<Box<dyn Tier>> {
    Ok(match place {
        Place::Store(folder) => Box::new(StoreTier::open(folder, config)?),
        Place::S3(address) => Box::new(S3Tier { bucket: Bucket::open(config, address)? }),
        Place::Registry(repository) => Box::new(RegistryTier::open(&config.network(), repository, purpose)?),
    })
}
