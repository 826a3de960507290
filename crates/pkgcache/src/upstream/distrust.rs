//! Which server of several a file is asked of first: the one after the server whose bytes were not
//! what they had to be.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Uri;

/// When there are more files than this, all are forgotten.
const MOST: usize = 10_000;

/// The number of the first server, by the URL at the upstream's own server.
#[derive(Debug, Default)]
pub(crate) struct Distrust(Mutex<HashMap<String, usize>>);

impl Distrust {
    fn state(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that is asked first.
    #[must_use]
    pub(crate) fn first(&self, url: &Uri) -> usize {
        let state = self.state();
        if state.is_empty() { 0 } else { state.get(&url.to_string()).copied().unwrap_or(0) }
    }

    /// The bytes that the server with this number gave are wrong.
    pub(crate) fn note(&self, url: &Uri, number: usize) {
        let mut state = self.state();
        if state.len() >= MOST {
            state.clear();
        }
        state.insert(url.to_string(), number + 1);
    }
}
