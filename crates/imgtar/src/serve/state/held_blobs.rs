//! Keeps blobs for clients that are in the middle of something: what was uploaded or asked for and
//! is not named by a manifest yet, and what a manifest that was just handed out names.
//!
//! Each is a lease, so that a collector passes the blob over. Leases end after a while, and with
//! the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use storekit::{Digest, Lease};

/// How long a blob is kept after it was last asked for.
const WHILE: Duration = Duration::from_secs(15 * 60);

/// The leases that are held for clients.
#[derive(Debug)]
pub(crate) struct Grace {
    /// Each is an open file, so that their number is bounded.
    most: usize,
    held: Mutex<HashMap<Digest, (Lease, Instant)>>,
}

impl Grace {
    /// At most `most` at a time.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Digest, (Lease, Instant)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the blob from now on. Where there are too many, the one that was asked for longest ago
    /// goes.
    pub(crate) fn keep(&self, lease: Lease) {
        let now = Instant::now();
        let mut held = self.held();
        held.retain(|_, (_, since)| now.duration_since(*since) < WHILE);
        held.insert(lease.digest(), (lease, now));
        if held.len() > self.most
            && let Some(oldest) = held.iter().min_by_key(|(_, (_, since))| *since).map(|(digest, _)| *digest)
        {
            held.remove(&oldest);
        }
    }

    /// Keeps the blob for as long again, if it is kept. Returns whether it is.
    pub(crate) fn renew(&self, digest: &Digest) -> bool {
        let mut held = self.held();
        let kept = held.get_mut(digest);
        kept.map(|(_, since)| *since = Instant::now()).is_some()
    }

    /// Keeps the blob no longer.
    pub(crate) fn let_go(&self, digest: &Digest) {
        self.held().remove(digest);
    }

    /// Drops the leases on blobs that were not asked for in a while.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.held().retain(|_, (_, since)| now.duration_since(*since) < WHILE);
    }
}
