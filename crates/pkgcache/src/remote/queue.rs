//! What is to be written to the bucket: keys whose entries changed here, one after the other, by a
//! few tasks. Nothing waits for it but the end of the process, and that for no longer than it is
//! told.
//!
//! A key waits once, whatever happens to it meanwhile; what is written is what stands here when its
//! turn comes. Limit: what does not fit, or cannot be written for a while, stays this node's own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use storekit::{Digest, PackageEntry, PackageKey, StoredResponse};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use toolkit::words::count;

use crate::observe::meter::add;
use crate::remote::bucket::{Trouble, Way};
use crate::remote::{Remote, blob_path, entry_path, lease_path, lock};

/// So many keys may wait.
const MOST: usize = 10_000;
/// So many are written at a time.
const TASKS: usize = 4;
/// After a failure a key is tried again, after pauses that double: 63 seconds in all.
const TRIES: u32 = 7;
const PAUSE: Duration = Duration::from_secs(1);

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    empty: Notify,
    /// Whether the process ends: then nothing is tried again.
    ends: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    order: VecDeque<Digest>,
    jobs: HashMap<Digest, Job>,
    tasks: usize,
}

/// What is to be done for a key.
#[derive(Debug)]
struct Job {
    key: PackageKey,
    /// Whether its entry is to be written.
    writes: bool,
    /// Bodies of it that are to go.
    removes: Vec<Digest>,
    /// Whether its lease is over after that.
    releases: bool,
    /// Whether a task is at it: then it does not wait, and what is added waits for its end.
    runs: bool,
}

impl Job {
    fn of(key: &PackageKey) -> Self {
        Self { key: key.clone(), writes: false, removes: Vec::new(), releases: false, runs: false }
    }

    fn join(&mut self, other: Self) {
        self.writes |= other.writes;
        self.removes.extend(other.removes);
        self.releases |= other.releases;
    }

    /// Takes what is to be done now; what is added meanwhile stays.
    fn begun(&mut self) -> Self {
        self.runs = true;
        let (writes, removes) = (std::mem::take(&mut self.writes), std::mem::take(&mut self.removes));
        Self { writes, removes, ..Self::of(&self.key) }
    }
}

impl Remote {
    /// What stands here under the key is to stand in the bucket. What is private is not.
    pub(crate) fn share(self: &Arc<Self>, key: &PackageKey) {
        if key.scope.is_none() && !self.config.is_read_only {
            self.is_fruitful(key);
            self.enqueue(Job { writes: true, ..Job::of(key) });
        }
    }

    /// A body goes from the bucket, and from what its entry there names.
    pub(super) fn remove_body(self: &Arc<Self>, body: Digest, key: &PackageKey) {
        if !self.config.is_read_only {
            self.enqueue(Job { writes: true, removes: vec![body], ..Job::of(key) });
        }
    }

    /// The lease of the key is over as soon as what is to be written of it stands. Returns whether
    /// there is anything.
    pub(super) fn release(self: &Arc<Self>, key: &PackageKey) -> bool {
        let state = lock(&self.queue.state);
        let is_written = state.jobs.get(&key.digest()).is_some_and(|job| job.writes || job.runs);
        drop(state);
        self.enqueue(Job { releases: true, ..Job::of(key) });
        is_written
    }

    fn enqueue(self: &Arc<Self>, job: Job) {
        let digest = job.key.digest();
        let mut state = lock(&self.queue.state);
        if let Some(standing) = state.jobs.get_mut(&digest) {
            return standing.join(job);
        }
        if state.jobs.len() >= MOST {
            drop(state);
            add(&self.counts.remote_unstored, 1);
            return self.bucket.failed(Way::Write, "more waits to be written than is remembered");
        }
        state.order.push_back(digest);
        state.jobs.insert(digest, job);
        if state.tasks < TASKS {
            state.tasks += 1;
            tokio::spawn(Arc::clone(self).work());
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(job) = self.next() {
            self.does(&job).await;
            if self.is_over(&job) {
                // What cannot be removed is over by its age.
                let _ = self.bucket.remove(&lease_path(&job.key), self.deadline()).await;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.queue.state);
        let State { order, jobs, tasks } = &mut *state;
        let job = order.pop_front().and_then(|digest| jobs.get_mut(&digest)).map(Job::begun);
        if job.is_none() {
            *tasks -= 1;
            if *tasks == 0 {
                self.queue.empty.notify_waiters();
            }
        }
        job
    }

    /// Whether nothing is left to do for the key but to give its lease up.
    fn is_over(&self, job: &Job) -> bool {
        let digest = job.key.digest();
        let mut state = lock(&self.queue.state);
        let State { order, jobs, .. } = &mut *state;
        let Some(standing) = jobs.get_mut(&digest) else { return false };
        if standing.writes || !standing.removes.is_empty() {
            standing.runs = false;
            order.push_back(digest);
            return false;
        }
        jobs.remove(&digest).is_some_and(|job| job.releases)
    }

    async fn does(self: &Arc<Self>, job: &Job) {
        for body in &job.removes {
            // One that stays there is found wrong by the others, too.
            let _ = self.bucket.remove(&blob_path(body), self.deadline()).await;
        }
        let mut tries = 0;
        while job.writes && self.write(&job.key).await.is_err() {
            tries += 1;
            if tries == TRIES || self.queue.ends.load(Ordering::Relaxed) {
                return add(&self.counts.remote_unstored, 1);
            }
            sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
    }

    /// Writes what stands here under the key, joined with what stands there: bodies first.
    async fn write(self: &Arc<Self>, key: &PackageKey) -> Result<(), Trouble> {
        let (packages, wanted) = (self.packages.clone(), key.clone());
        let read = spawn_blocking(move || packages.get(&wanted).ok().flatten()).await;
        let ours = read.ok().flatten().unwrap_or_else(|| PackageEntry::new(key.clone()));
        let theirs = self.entry(key, self.deadline()).await?;
        let mut standing = theirs.as_ref().map(|it| it.responses.clone()).unwrap_or_default();
        let all = standing.len();
        // A body that was refused is gone, or wrong: ours takes its place, though it be told of in
        // the same words.
        standing.retain(|it| !self.is_refused(&it.digest));
        let mut joined = joined(&ours.responses, &standing);
        if joined == standing && standing.len() == all {
            return Ok(());
        }
        let mut lost = Vec::new();
        for response in joined.iter().filter(|it| !standing.contains(it)) {
            if !self.put_body(response).await? {
                lost.push(response.digest);
            }
        }
        joined.retain(|it| !lost.contains(&it.digest));
        let path = entry_path(key);
        if joined.is_empty() {
            return self.bucket.remove(&path, self.deadline()).await;
        }
        let said = if ours.responses.is_empty() { theirs.unwrap_or(ours) } else { ours };
        let text = PackageEntry { responses: joined, ..said }.to_text();
        let body = Either::Left(Full::new(Bytes::from(text)));
        self.bucket.put(&path, body, false, Some(self.deadline())).await?;
        add(&self.counts.remote_stored, 1);
        Ok(())
    }

    /// Waits until all is written, or the time is over; says what is left then.
    pub(crate) async fn written(&self, deadline: Instant) {
        self.queue.ends.store(true, Ordering::Relaxed);
        let empty = async {
            loop {
                let empty = self.queue.empty.notified();
                if lock(&self.queue.state).tasks == 0 {
                    return;
                }
                empty.await;
            }
        };
        if timeout_at(deadline, empty).await.is_err() {
            let state = lock(&self.queue.state);
            let left = count((state.jobs.len() + state.tasks) as u64, "URL");
            let place = self.bucket.place();
            self.outside
                .warning(&format!("not written to {place} before the end: what was fetched of {left}"));
        }
    }
}

/// The newest of each kind of both.
fn joined(ours: &[StoredResponse], theirs: &[StoredResponse]) -> Vec<StoredResponse> {
    let mut newest: BTreeMap<_, &StoredResponse> = BTreeMap::new();
    for it in theirs.iter().chain(ours).filter(|it| it.part.is_none()) {
        let kind = (it.vary.clone(), it.selecting.clone());
        let standing = newest.entry(kind).or_insert(it);
        if it.received > standing.received {
            *standing = it;
        }
    }
    let mut joined: Vec<_> = newest.into_values().cloned().collect();
    joined.sort_by_key(|it| std::cmp::Reverse(it.received));
    joined
}
