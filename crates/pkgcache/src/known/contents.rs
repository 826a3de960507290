//! Which stored bodies have in them what an index says.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use storekit::Digest;

use crate::ecosystem::contents::Contents;

/// So many are remembered.
const MOST: usize = 1024;

/// What was found of stored bodies.
#[derive(Debug, Default)]
pub(crate) struct LookedAt(Mutex<VecDeque<(Digest, Contents, bool)>>);

impl LookedAt {
    fn state(&self) -> MutexGuard<'_, VecDeque<(Digest, Contents, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the body has that in it, if it was looked at.
    pub(crate) fn get(&self, digest: Digest, contents: Contents) -> Option<bool> {
        let state = self.state();
        state.iter().find(|it| (it.0, it.1) == (digest, contents)).map(|it| it.2)
    }

    /// Remembers it.
    pub(crate) fn keep(&self, digest: Digest, contents: Contents, has: bool) {
        let mut state = self.state();
        state.push_front((digest, contents, has));
        state.truncate(MOST);
    }
}
