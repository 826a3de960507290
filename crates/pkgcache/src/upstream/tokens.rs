//! Tokens that registries gave.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::HeaderValue;
use storekit::Digest;

/// Tokens that are kept.
const MOST: usize = 4096;

/// Tokens that hold still, by account and repository.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<Digest, (HeaderValue, i64)>>);

impl Tokens {
    /// The token that holds at this time.
    pub(crate) fn get(&self, key: &Digest, now: i64) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(key).filter(|(_, until)| now < *until).map(|(token, _)| token.clone())
    }

    /// Keeps it until then.
    pub(crate) fn keep(&self, key: Digest, token: HeaderValue, until: i64, now: i64) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MOST {
            tokens.retain(|_, (_, until)| now < *until);
        }
        if tokens.len() < MOST {
            tokens.insert(key, (token, until));
        }
    }

    /// It was refused.
    pub(crate) fn forget(&self, key: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
