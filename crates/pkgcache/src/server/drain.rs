//! The end of a server: what is under way is waited for.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};
use toolkit::words::count;

use crate::cache::Cache;
use crate::observe::meter::get;

/// A drain that takes no longer than this says nothing.
const SOON: Duration = Duration::from_secs(1);

/// Waits for what is under way. Each connection ends itself when nothing has moved on it for
/// `drain-time`; what moves all the time is left behind when the longer time is over.
pub(super) async fn drain(cache: &Cache, free: &Semaphore, seats: usize) {
    let limits = cache.config().limits;
    let deadline = tokio::time::Instant::now() + limits.drain_moving.max(limits.drain);
    let connections = connections_end(cache, free, seats, deadline);
    let (all_gone, landed) = tokio::join!(connections, downloads_end(cache, deadline));
    let left = if all_gone { 0 } else { get(&cache.counts.connections) };
    let cut = left + get(&cache.counts.cut);
    if cut > 0 {
        cache.outside.warning(&format!("cut off: {}", count(cut, "connection")));
    }
    if let Some(remote) = &cache.remote {
        remote.written(tokio::time::Instant::now() + limits.drain).await;
    }
    if !landed {
        cache.outside.warning("some downloads were cut off: they are not stored");
    }
}

/// Waits until no client is connected. Returns whether that came in time.
async fn connections_end(
    cache: &Cache,
    free: &Semaphore,
    seats: usize,
    deadline: tokio::time::Instant,
) -> bool {
    let mut gone = pin!(free.acquire_many(u32::try_from(seats).unwrap_or(u32::MAX)));
    if timeout(SOON, &mut gone).await.is_ok() {
        return true;
    }
    let left = count(get(&cache.counts.connections), "connection");
    cache.outside.note(&format!("waiting for {left}; a second signal ends at once"));
    timeout_at(deadline, gone).await.is_ok()
}

/// Waits for the downloads, as long as anything comes. Returns whether all have ended: what still
/// brings nothing after that is waited for no longer.
async fn downloads_end(cache: &Cache, deadline: tokio::time::Instant) -> bool {
    let patience = cache.config().limits.drain;
    loop {
        let before = received(cache);
        let look = deadline.min(tokio::time::Instant::now() + patience);
        let landed = timeout_at(look, cache.flights.landed()).await.is_ok();
        if landed || look == deadline || received(cache) == before {
            return landed;
        }
    }
}

/// The bytes that have come, from wherever.
fn received(cache: &Cache) -> u64 {
    get(&cache.counts.fetched_bytes) + get(&cache.counts.remote_bytes)
}
