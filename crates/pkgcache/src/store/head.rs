//! The head of an answer of which everything is at hand.

use bytes::Bytes;

use crate::ecosystem::ruling::Freshness;
use crate::rules::fields::cache_status::CacheStatus;

/// It is the same for a second, and for all addresses for which the same holds.
#[derive(Debug)]
pub(crate) struct Head {
    /// The second for which it holds.
    pub(crate) at: i64,
    /// For how long the answer may be handed on.
    pub(crate) freshness: Freshness,
    /// Whether its lifetime may be a guess.
    pub(crate) heuristic: bool,
    /// What `Cache-Status` says in it.
    pub(crate) status: CacheStatus,
    /// As it goes over the wire.
    pub(crate) bytes: Bytes,
}

impl Head {
    /// Whether it holds at that second for an address of which that is known.
    #[must_use]
    pub(crate) fn holds(&self, at: i64, freshness: Freshness, heuristic: bool) -> bool {
        (self.at, self.freshness, self.heuristic) == (at, freshness, heuristic)
    }
}
