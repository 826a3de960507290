//! Which of several nodes asks the upstream: the one that writes an object first that is only
//! written where none is there.
//!
//! A lease makes nothing right or wrong; it spares requests. One whose node was killed is over
//! when it is as old, by the bucket's own clock, as nodes wait at all. A store that writes the
//! object although there is one gives no leases: then each node asks for itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use storekit::{Digest, PackageKey};
use tokio::time::{Instant, sleep};

use crate::remote::bucket::nothing;
use crate::remote::{LAYOUT, REMEMBERED, Remote, lease_path, lock};
use crate::store::recent::Recent;

/// The first look at another node's lease comes after 100 ms, the next ones after more.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(500);
/// So much longer than a lease holds it is waited for: its age is told in whole seconds.
const ROUNDING: Duration = Duration::from_secs(2);

/// What is known of whether the store keeps to the condition of a write.
const UNKNOWN: u8 = 0;
const BEING_TRIED: u8 = 1;
const KEEPS: u8 = 2;
const IGNORES: u8 = 3;

/// What is known of leases.
#[derive(Debug)]
pub(super) struct Leases {
    honours: AtomicU8,
    /// Keys whose answers were not stored the last time: nobody is to wait for these.
    fruitless: Mutex<Recent<Digest, ()>>,
}

impl Default for Leases {
    fn default() -> Self {
        Self { honours: AtomicU8::new(UNKNOWN), fruitless: Mutex::new(Recent::new(REMEMBERED)) }
    }
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This node's, until it is dropped and what was fetched is written.
    Ours(Lease),
    /// Another node's.
    Theirs,
    /// Everybody's.
    Nobodys,
}

/// A lease of this node's.
#[derive(Debug)]
pub(crate) struct Lease {
    remote: Arc<Remote>,
    key: PackageKey,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.remote.release(&self.key) {
            lock(&self.remote.leases.fruitless).insert(self.key.digest(), ());
        }
    }
}

/// A request that waits for another node.
#[derive(Debug)]
pub(crate) struct Waiting {
    until: Instant,
    pause: Duration,
}

impl Waiting {
    /// Pauses; `false` where it has waited long enough.
    pub(crate) async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause > self.until {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

impl Remote {
    /// Takes the turn to ask for the key, if no other node has it.
    pub(crate) async fn turn(self: &Arc<Self>, key: &PackageKey, deadline: Instant) -> Turn {
        let leases = &self.leases;
        let is_fruitless = lock(&leases.fruitless).get(&key.digest()).is_some();
        if self.config.is_read_only || is_fruitless || leases.honours.load(Ordering::Relaxed) == IGNORES {
            return Turn::Nobodys;
        }
        match self.bucket.put(&lease_path(key), nothing(), true, Some(deadline)).await {
            Ok(true) => {
                self.try_the_store();
                Turn::Ours(Lease { remote: Arc::clone(self), key: key.clone() })
            }
            Ok(false) => Turn::Theirs,
            Err(_) => Turn::Nobodys,
        }
    }

    /// A wait for the node that has the turn.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting { until: Instant::now() + self.config.wait + ROUNDING, pause: FIRST }
    }

    /// Whose turn it is after a pause. A lease that is gone without a trace left nothing to wait
    /// for.
    pub(crate) async fn turn_by_now(self: &Arc<Self>, key: &PackageKey) -> Turn {
        let deadline = self.deadline();
        match self.bucket.head(&lease_path(key), deadline).await {
            Ok(Some(lease)) if lease.age.is_some_and(|age| age >= self.config.wait) => {
                let removed = self.bucket.remove(&lease_path(key), deadline).await;
                if removed.is_ok() { self.turn(key, deadline).await } else { Turn::Nobodys }
            }
            Ok(Some(_)) => Turn::Theirs,
            Ok(None) | Err(_) => Turn::Nobodys,
        }
    }

    /// Something was stored for the key.
    pub(super) fn is_fruitful(&self, key: &PackageKey) {
        lock(&self.leases.fruitless).remove(&key.digest());
    }

    /// Finds out, once and beside all else, whether the store keeps to the condition.
    fn try_the_store(self: &Arc<Self>) {
        let honours = &self.leases.honours;
        if honours.compare_exchange(UNKNOWN, BEING_TRIED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let remote = Arc::clone(self);
        tokio::spawn(async move {
            let name =
                Digest::of(format!("{} {:?}", std::process::id(), std::time::SystemTime::now()).as_bytes());
            let path = format!("{LAYOUT}/leases/try-{}", name.hex());
            let put = || remote.bucket.put(&path, nothing(), true, Some(remote.deadline()));
            let found = match (put().await, put().await) {
                (Ok(true), Ok(false)) => KEEPS,
                (Ok(true), Ok(true)) => IGNORES,
                _ => UNKNOWN,
            };
            let _ = remote.bucket.remove(&path, remote.deadline()).await;
            remote.leases.honours.store(found, Ordering::Relaxed);
            if found == IGNORES {
                remote.outside.note(&format!(
                    "{} ignores conditional writes: two nodes may fetch the same at once",
                    remote.bucket.place()
                ));
            }
        });
    }
}
