//! The bucket that several caches share: what is looked for there before an upstream is asked, and
//! what goes there after that. See storekit's FORMAT.md, "In an object store".
//!
//! - `bucket`: one object, within a time, unless the bucket is in trouble. `upload`: a body.
//! - `lease`: which of several nodes asks the upstream. `queue`: what is to be written, and when.
//!
//! Nothing that comes from there is believed: a body is compared with its digest, an entry with
//! its key, and whoever takes one compares it with what its index says (`fetch::remote`). Nothing
//! waits for what is written. Nothing is listed, at the start or later.
//!
//! Deliberately absent: what may be handed to which client (`fetch::remote`, by the same rules as
//! for what is stored here); what is private, which stays with the node that got it; limits of the
//! bucket, which are a lifecycle rule of its own.

mod bucket;
mod lease;
mod queue;
mod upload;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use http::header::RANGE;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use storekit::{Digest, PackageEntry, PackageKey, Packages};
use tokio::time::Instant;

use crate::config::remote::RemoteConfig;
use crate::observe::meter::{Counts, add};
use crate::outside::Outside;
pub(crate) use crate::remote::bucket::Trouble;
use crate::remote::bucket::{Bucket, Way};
use crate::remote::lease::Leases;
pub(crate) use crate::remote::lease::{Lease, Turn};
use crate::remote::queue::Queue;
use crate::store::recent::Recent;

/// The layout of the objects; another one has other names.
const LAYOUT: &str = "packages/v1";
/// Of so many digests and keys something is remembered.
const REMEMBERED: usize = 4096;
/// A body has to come as fast as this in each time for which the bucket may be silent: 256 KiB.
const PACE: u64 = 256 << 10;

/// A bucket, and what is known of it.
#[derive(Debug)]
pub(crate) struct Remote {
    bucket: Bucket,
    config: RemoteConfig,
    packages: Packages,
    counts: Arc<Counts>,
    outside: Arc<dyn Outside>,
    /// Bodies that are there and are not what their names say, or that an index refused.
    wrong: Mutex<Recent<Digest, ()>>,
    /// Bodies that are known to be there.
    present: Mutex<Recent<Digest, ()>>,
    leases: Leases,
    queue: Queue,
}

/// A body in the bucket that is being received.
#[derive(Debug)]
pub(crate) struct Held {
    /// What it is to hash to.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether the rest is to come from elsewhere.
    is_given_up: AtomicBool,
    /// Since when, and how much came since then.
    pace: Mutex<(Instant, u64)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remote {
    /// A bucket; nothing is asked of it yet. `None` where its address cannot be signed for.
    #[must_use]
    pub(crate) fn new(
        config: RemoteConfig,
        packages: Packages,
        counts: &Arc<Counts>,
        outside: &Arc<dyn Outside>,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            bucket: Bucket::new(&config, outside)?,
            config,
            packages,
            counts: Arc::clone(counts),
            outside: Arc::clone(outside),
            wrong: Mutex::new(Recent::new(REMEMBERED)),
            present: Mutex::new(Recent::new(REMEMBERED)),
            leases: Leases::default(),
            queue: Queue::default(),
        }))
    }

    /// Until when the bucket may keep a client waiting that comes now.
    #[must_use]
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.time
    }

    /// How long the bucket may say nothing.
    #[must_use]
    pub(crate) fn patience(&self) -> Duration {
        self.config.time
    }

    /// What stands there under the key. An entry that cannot be read, or is of another key, counts
    /// as none.
    ///
    /// # Errors
    /// A bucket in trouble.
    pub(crate) async fn entry(
        &self,
        key: &PackageKey,
        deadline: Instant,
    ) -> Result<Option<PackageEntry>, Trouble> {
        let path = entry_path(key);
        let found = self.bucket.read(&path, storekit::packages::entry::CAP, deadline).await?;
        let Some(bytes) = found else { return Ok(None) };
        match PackageEntry::parse(&bytes, Utf8Path::new(&path)) {
            Ok(entry) if entry.key.is(key) => return Ok(Some(entry)),
            Ok(_) => self.unread(key, "it is of another URL"),
            Err(error) => self.unread(key, error),
        }
        Ok(None)
    }

    fn unread(&self, key: &PackageKey, why: impl Display) {
        add(&self.counts.remote_wrong, 1);
        let place = self.bucket.place();
        self.outside.warning(&format!("the entry of {} in {place} counts as missing: {why}", key.url));
    }

    /// A body, or the part of it that the conditions ask for; `None` where the bucket does not give
    /// it, now or any more.
    pub(crate) async fn body(&self, held: &Held, conditions: &HeaderMap) -> Option<Response<Incoming>> {
        if held.is_given_up() {
            return None;
        }
        let wanted =
            if conditions.contains_key(RANGE) { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let answer = self.bucket.get(&blob_path(&held.digest), conditions, self.deadline()).await;
        let response = answer.ok().flatten().filter(|it| it.status() == wanted);
        if response.is_none() {
            lock(&self.present).remove(&held.digest);
            held.give_up();
        }
        response
    }

    /// The bucket brings a body too slowly, or not to its end.
    pub(crate) fn failed(&self, held: &Held, why: &str) {
        held.give_up();
        self.bucket.failed(Way::Read, why);
    }

    /// A body is not what its name says, or an index refused it: it counts as missing from now on,
    /// and goes, for it may be what the others get.
    pub(crate) fn refuse(self: &Arc<Self>, digest: &Digest, key: &PackageKey, why: &str) {
        let place = self.bucket.place();
        lock(&self.present).remove(digest);
        if lock(&self.wrong).get(digest).is_some() {
            return;
        }
        lock(&self.wrong).insert(*digest, ());
        add(&self.counts.remote_wrong, 1);
        self.bucket.failed(Way::Read, why);
        self.outside.warning(&format!("{digest} in {place} counts as missing: {why} ({})", key.url));
        self.remove_body(*digest, key);
    }

    /// Whether the body counts as missing.
    #[must_use]
    pub(crate) fn is_refused(&self, digest: &Digest) -> bool {
        lock(&self.wrong).get(digest).is_some()
    }
}

impl Held {
    /// A body of which nothing has come.
    #[must_use]
    pub(crate) fn new(digest: Digest, size: u64) -> Self {
        let (is_given_up, pace) = (AtomicBool::new(false), Mutex::new((Instant::now(), 0)));
        Self { digest, size, is_given_up, pace }
    }

    /// Whether the rest comes from elsewhere.
    #[must_use]
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// From now on it comes from elsewhere.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    /// Whether it comes fast enough, now that so many bytes more have come; looked at once in
    /// `time`.
    #[must_use]
    pub(crate) fn keeps_up(&self, bytes: u64, time: Duration, now: Instant) -> bool {
        let mut pace = lock(&self.pace);
        pace.1 += bytes;
        if now.saturating_duration_since(pace.0) < time {
            return true;
        }
        let (_, came) = std::mem::replace(&mut *pace, (now, 0));
        came >= PACE
    }
}

fn entry_path(key: &PackageKey) -> String {
    format!("{LAYOUT}/entries/{}", key.path())
}

fn blob_path(digest: &Digest) -> String {
    format!("{LAYOUT}/blobs/sha256/{}", digest.hex())
}

fn lease_path(key: &PackageKey) -> String {
    format!("{LAYOUT}/leases/{}", key.digest().hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_trickles_is_too_slow() {
        let (held, time) = (Held::new(Digest::of(b"x"), 1 << 30), Duration::from_secs(1));
        let now = Instant::now();
        assert!(held.keeps_up(1, time, now), "there was no time yet");
        let then = now + time * 2;
        assert!(held.keeps_up(PACE, time, then));
        assert!(!held.keeps_up(PACE - 1, time, then + time));
    }
}
