//! The versions that indexes name, by the digest of each index: never wrong.

use std::sync::{Arc, Mutex, PoisonError};

use storekit::Digest;

use crate::ecosystem::releases::Releases;
use crate::store::recent::Recent;

/// Indexes that are kept.
const MOST: usize = 64;

/// What was read of them.
#[derive(Debug)]
pub(crate) struct Known(Mutex<Recent<Digest, Arc<Releases>>>);

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MOST)))
    }
}

impl Known {
    /// The versions, if they are known.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Releases>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest)
    }

    /// Keeps them.
    pub(crate) fn keep(&self, digest: Digest, releases: Arc<Releases>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, releases);
    }
}
