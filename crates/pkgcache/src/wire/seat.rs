//! How many connections there may be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use crate::observe::meter::Counts;
use crate::wire::crowd::Place;

/// A connection's place among those that there may be.
#[derive(Debug)]
pub(crate) struct Seat {
    counts: Arc<Counts>,
    _permit: Option<OwnedSemaphorePermit>,
    /// Among those of its client: a tunnel keeps it.
    _place: Place,
}

impl Seat {
    /// Takes a place. It is counted as taken before.
    pub(crate) fn new(counts: Arc<Counts>, permit: Option<OwnedSemaphorePermit>, place: Place) -> Self {
        Self { counts, _permit: permit, _place: place }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counts.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
