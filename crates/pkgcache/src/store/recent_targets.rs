//! Where the answers to what was asked for lately are stored, so that it need not be worked out
//! again.
//!
//! Holds for requests without credentials, and for the configuration that it was worked out under.
//! What is stored there is not known here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Uri;

use crate::config::Config;
use crate::ecosystem::ruling::Ruling;
use crate::store::Spot;
use crate::store::recent::Recent;

/// Targets that are kept.
const PLACES: usize = 2048;
/// What is longer is worked out each time.
const LONGEST: usize = 512;

/// What a request's target leads to.
#[derive(Debug)]
pub(crate) struct Place {
    /// The settings by which it does.
    pub(crate) config: Arc<Config>,
    /// What the request asks for.
    pub(crate) url: Uri,
    /// Whether a lifetime is guessed for an answer that names none.
    pub(crate) heuristic: bool,
    /// Where the answer is stored.
    pub(crate) spot: Spot,
    /// What holds for it, by what indexes said when their state had this number.
    pub(crate) ruling: Ruling,
    /// That number.
    pub(crate) epoch: u64,
}

/// The places, by the target as it was written.
#[derive(Debug)]
pub(crate) struct RecentTargets(Mutex<Recent<String, Arc<Place>>>);

impl Default for RecentTargets {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(PLACES)))
    }
}

impl RecentTargets {
    fn lock(&self) -> MutexGuard<'_, Recent<String, Arc<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place, if it is known under these settings.
    pub(crate) fn get(&self, target: &str, config: &Arc<Config>) -> Option<Arc<Place>> {
        self.lock().get(target).filter(|place| Arc::ptr_eq(&place.config, config))
    }

    /// Remembers it.
    pub(crate) fn keep(&self, target: &str, place: &Arc<Place>) {
        if target.len() <= LONGEST {
            self.lock().insert(target.to_owned(), Arc::clone(place));
        }
    }
}
