//! How places are spoken with.

use std::time::Duration;

use crate::registry::{Config as Registries, Patience};

/// How places are spoken with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How those over a network are.
    pub registries: Registries,
    /// How long a place may be silent, if not as long as [`Patience::default`] says.
    pub timeout: Option<Duration>,
}

impl Config {
    /// How registries are spoken with that are places.
    pub(crate) fn network(&self) -> Registries {
        let patience = self.timeout.map_or(self.registries.patience, Patience::within);
        Registries { patience, ..self.registries.clone() }
    }
}
