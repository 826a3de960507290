//! How places are spoken with.

use std::time::Duration;

use rusty_s3::Credentials;
use storekit::{Digest, Key};
use toolkit::bucket::{Account, Secret};

use crate::error::Result;
use crate::image::signature::{PublicKey, is_signed};
use crate::registry::{Config as Registries, Patience};
use crate::tier::kind::{Tier, Told};

/// How places are spoken with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How those over a network are.
    pub registries: Registries,
    /// How long a place may be silent, if not as long as [`Patience::default`] says.
    pub timeout: Option<Duration>,
    /// Whether a folder in which something damaged is found is left as it is.
    pub left_alone: bool,
    /// Whom buckets take it for.
    pub account: Account,
    /// An entry counts only if one of these has signed it; any does where there are none.
    pub signed_by: Vec<PublicKey>,
}

impl Config {
    /// What requests to buckets are signed with.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let Secret { key, secret, token } = self.account.secret.clone()?;
        Some(match token {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        })
    }

    /// Whether what a place tells of an entry was signed by whom it is to be. Inputs that cannot be
    /// understood are nobody's.
    ///
    /// # Errors
    /// A place that does not answer.
    pub(crate) fn trusts(&self, tier: &dyn Tier, key: &Key, told: &Told) -> Result<bool> {
        if self.signed_by.is_empty() {
            return Ok(true);
        }
        match tier.inputs_digest(key, told) {
            Err(error) if error.is_about_content() => Ok(false),
            inputs => Ok(is_signed(&self.signed_by, key, &told.entry, inputs?)),
        }
    }

    /// The same for inputs that are at hand.
    pub(crate) fn trusts_with(&self, key: &Key, told: &Told, inputs: Option<&[u8]>) -> bool {
        self.signed_by.is_empty() || is_signed(&self.signed_by, key, &told.entry, inputs.map(Digest::of))
    }

    /// How registries are spoken with that are places.
    pub(crate) fn network(&self) -> Registries {
        let patience = self.timeout.map_or(self.registries.patience, Patience::within);
        Registries { patience, ..self.registries.clone() }
    }
}
