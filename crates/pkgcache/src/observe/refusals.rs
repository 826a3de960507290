//! What could not be served, for the command that it was meant for.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use storekit::Digest;

/// So many are told word for word.
const TOLD: usize = 10;
/// So many are told apart.
const MOST: usize = 10_000;

/// What could not be served, in words: each once, however often it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotServed {
    /// The first of them.
    pub told: Vec<String>,
    /// How many more there are; with very many, at least so many.
    pub more: usize,
}

/// All of them since the server began.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<(NotServed, HashSet<Digest>)>);

impl Refusals {
    /// Notes one.
    pub(crate) fn note(&self, reason: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (refused, seen) = &mut *all;
        if seen.len() >= MOST || !seen.insert(Digest::of(reason.as_bytes())) {
            return;
        }
        if refused.told.len() < TOLD {
            refused.told.push(reason);
        } else {
            refused.more += 1;
        }
    }

    /// What there was.
    #[must_use]
    pub(crate) fn all(&self) -> NotServed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_the_rest_is_counted() {
        let refusals = Refusals::default();
        for number in [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11] {
            refusals.note(number.to_string());
        }
        let all = refusals.all();
        assert_eq!((all.told.len(), all.told[1].as_str(), all.more), (10, "1", 2));
    }
}
