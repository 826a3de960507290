//! The head of an answer of which everything is at hand.

use bytes::Bytes;

use crate::rules::cache_status::CacheStatus;

/// It is the same for a second.
#[derive(Debug)]
pub(crate) struct Head {
    /// The second for which it holds.
    pub(crate) at: i64,
    /// Whether its lifetime may be a guess.
    pub(crate) heuristic: bool,
    /// What `Cache-Status` says in it.
    pub(crate) status: CacheStatus,
    /// As it goes over the wire.
    pub(crate) bytes: Bytes,
}
