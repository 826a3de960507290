//! A fetch that several requests may wait for: one for each key, whichever client asks.
//!
//! This module holds the meeting point alone; `fetch` does the work.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use storekit::{Digest, Notes};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::response::body::{End, Progress};
use crate::response::overflow::Readers;
use crate::response::segments::Segments;
use crate::response::stored_head::Answer;
use crate::rules::reuse::Failure;

/// So long a request waits for the store to take what another one was given: 100 ms.
const MOMENT: Duration = Duration::from_millis(100);

/// How far a fetch has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// The upstream was asked.
    Asking,
    /// The answer is being stored.
    Growing(Arc<Growing>),
    /// The stored response with this body still holds.
    Validated(Digest),
    /// Another fetch stored it between the look into the store and this one's beginning: the
    /// upstream was not asked. Or the bucket had it that several caches share.
    Stored {
        /// Whether it came from that bucket.
        by_remote: bool,
    },
    /// The answer is for the request that came first.
    Passing,
    /// The upstream gave no usable answer.
    Failed(Arc<Trouble>),
}

/// A response that is being stored.
#[derive(Debug)]
pub(crate) struct Growing {
    /// The response's head.
    pub(crate) answer: Answer,
    /// The size of its body, where it is said.
    pub(crate) total: Option<u64>,
    /// Whether its end waits for the verdict on all of it.
    pub(crate) strict: bool,
    /// Whether it comes from the bucket that several caches share.
    pub(crate) by_remote: bool,
    /// Whether it is kept; else it is compared for those who ask now, and forgotten.
    pub(crate) is_kept: bool,
    /// The file that grows.
    pub(crate) file: Arc<File>,
    /// How far it has come.
    pub(crate) progress: watch::Receiver<Progress>,
    /// What is fetched ahead of it.
    pub(crate) segments: Segments,
    /// Where that is noted for a later fetch, should this one not come to its end.
    pub(crate) notes: Option<Arc<Notes>>,
    /// The requests that read along.
    pub(crate) readers: Readers,
    /// The cookies of the answer, for the client that it was fetched for.
    pub(crate) cookies: HeaderMap,
}

impl Growing {
    /// Whether parts of it may be fetched ahead: what comes of them is known to be of the same
    /// bytes, by the upstream's strong tag or by the checksum of all, and has room in the store.
    #[must_use]
    pub(crate) fn may_have_segments(&self, has_tag: bool, most: u64) -> bool {
        self.answer.status == StatusCode::OK
            && (has_tag || self.strict)
            && self.total.is_some_and(|total| total <= most)
    }
}

/// Why the upstream gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// For the rules.
    pub(crate) failure: Failure,
    /// The status code that says so.
    pub(crate) status: u16,
    /// For people.
    pub(crate) message: String,
    /// In how many seconds the upstream may be asked again, if it said so.
    pub(crate) pause: Option<u64>,
}

/// Where requests for the same URL meet.
#[derive(Debug)]
pub(crate) struct Flight {
    stage: watch::Sender<Stage>,
    private: Mutex<Option<Response<Incoming>>>,
    /// The key of what is fetched, whichever client asks.
    shared: Digest,
    doubted: AtomicBool,
    /// What is fetched, for people.
    label: String,
    began: Instant,
}

/// All fetches under way.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Arc<Flight>>>, Notify);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    fn new(shared: Digest, label: String) -> Arc<Self> {
        Arc::new(Self {
            shared,
            label,
            began: Instant::now(),
            stage: watch::Sender::new(Stage::Asking),
            private: Mutex::default(),
            doubted: AtomicBool::new(false),
        })
    }

    /// Waits until more is known than that the upstream was asked.
    pub(crate) async fn landed(&self) -> Stage {
        let mut stages = self.stage.subscribe();
        let landed = stages.wait_for(|stage| !matches!(stage, Stage::Asking)).await;
        landed.map_or_else(|_| self.stage.borrow().clone(), |stage| stage.clone())
    }

    /// Whether the upstream's answer has not come yet.
    #[must_use]
    pub(crate) fn is_asking(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Asking)
    }

    /// How far it has come.
    #[cfg(test)]
    pub(crate) fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    /// What is fetched, for people.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// What is being stored, if it has come so far.
    pub(crate) fn growing(&self) -> Option<Arc<Growing>> {
        match &*self.stage.borrow() {
            Stage::Growing(growing) => Some(Arc::clone(growing)),
            _ => None,
        }
    }

    /// Whether it broke off, though the task that does the work may not have ended yet.
    fn is_broken(&self) -> bool {
        self.has_come_to(End::Broken)
    }

    fn has_come_to(&self, end: End) -> bool {
        matches!(&*self.stage.borrow(), Stage::Growing(growing) if growing.progress.borrow().end == end)
    }

    /// Says how far it has come.
    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// The answer is only for the request that began this.
    pub(crate) fn pass(&self, response: Response<Incoming>) {
        *lock(&self.private) = Some(response);
        self.reach(Stage::Passing);
    }

    /// Takes the answer that is only for one.
    #[must_use]
    pub(crate) fn take(&self) -> Option<Response<Incoming>> {
        lock(&self.private).take()
    }

    /// Whether something has changed on the server since it was asked, so that the answer is not to
    /// be stored.
    #[must_use]
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire)
    }
}

impl Flights {
    /// The fetch under this key, and whether it is to be started by the caller: there was none, or
    /// it broke off. `shared` is the key of what is fetched, whichever client asks; `label` says
    /// what that is, for people.
    #[must_use]
    pub(crate) fn join(&self, key: Digest, shared: Digest, label: &str) -> (Arc<Flight>, bool) {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(&key).filter(|flight| !flight.is_broken()) {
            (Arc::clone(flight), false)
        } else {
            let flight = Flight::new(shared, label.to_owned());
            flights.insert(key, Arc::clone(&flight));
            (flight, true)
        }
    }

    /// All fetches under way.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Flight>> {
        lock(&self.0).values().cloned().collect()
    }

    /// The fetch under this key, if there is one.
    #[must_use]
    pub(crate) fn find(&self, key: &Digest) -> Option<Arc<Flight>> {
        lock(&self.0).get(key).filter(|flight| !flight.is_broken()).cloned()
    }

    /// The fetch is over.
    pub(crate) fn leave(&self, key: &Digest, flight: &Arc<Flight>) {
        let mut flights = lock(&self.0);
        if flights.get(key).is_some_and(|standing| Arc::ptr_eq(standing, flight)) {
            flights.remove(key);
        }
        drop(flights);
        self.1.notify_waiters();
    }

    /// Waits until none is under way: what was fetched to its end is stored then.
    pub(crate) async fn landed(&self) {
        loop {
            let left = self.1.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Waits until the fetch that is under this key now has ended: what came of it is stored then,
    /// if anything.
    pub(crate) async fn gone(&self, key: &Digest) {
        let Some(meant) = lock(&self.0).get(key).cloned() else { return };
        loop {
            let left = self.1.notified();
            if !lock(&self.0).get(key).is_some_and(|standing| Arc::ptr_eq(standing, &meant)) {
                return;
            }
            left.await;
        }
    }

    /// Waits, for a moment at most, until what was fetched of this to its last byte is stored.
    /// Returns whether there was any.
    pub(crate) async fn stored(&self, shared: &Digest) -> bool {
        let is_whole = |flight: &Flight| flight.shared == *shared && flight.has_come_to(End::Whole);
        let whole: Vec<_> =
            lock(&self.0).iter().filter(|(_, flight)| is_whole(flight)).map(|(key, _)| *key).collect();
        let all = async {
            for key in &whole {
                self.gone(key).await;
            }
        };
        let _ = timeout(MOMENT, all).await;
        !whole.is_empty()
    }

    /// What is being fetched for this, with whatever credentials, is not to be stored, and nobody
    /// joins it any more.
    pub(crate) fn doubt(&self, shared: &Digest) {
        lock(&self.0).retain(|_, flight| {
            let doubted = flight.shared == *shared;
            flight.doubted.fetch_or(doubted, Ordering::AcqRel);
            !doubted
        });
    }

    /// The fetch, started: when this is dropped it is over, even if it came to nothing.
    #[must_use]
    pub(crate) fn flying(&self, key: Digest, flight: Arc<Flight>) -> Flying<'_> {
        Flying { flights: self, key, flight }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        lock(&self.0).len()
    }
}

/// A fetch under way.
#[derive(Debug)]
pub(crate) struct Flying<'a> {
    flights: &'a Flights,
    key: Digest,
    flight: Arc<Flight>,
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        let nothing_said = matches!(*self.flight.stage.borrow(), Stage::Asking);
        if nothing_said {
            let message = "the fetch was given up".to_owned();
            let trouble = Trouble { failure: Failure::Unreachable, status: 502, message, pause: None };
            self.flight.stage.send_replace(Stage::Failed(Arc::new(trouble)));
        }
        self.flights.leave(&self.key, &self.flight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::age::Times;
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    #[test]
    fn all_who_ask_meet_in_one_fetch() {
        let flights = Flights::default();
        let (key, shared) = (Digest::of(b"k"), Digest::of(b"s"));
        let (first, leads) = flights.join(key, shared, "");
        assert!(leads);
        let (second, leads) = flights.join(key, shared, "");
        assert!(!leads && Arc::ptr_eq(&first, &second));
        flights.doubt(&shared);
        assert!(first.is_doubted() && flights.count() == 0);
        let (third, leads) = flights.join(key, shared, "");
        assert!(leads && !third.is_doubted());
        flights.leave(&key, &first);
        assert_eq!(flights.count(), 1, "another fetch was ended");
        flights.leave(&key, &third);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn the_end_of_a_fetch_is_waited_for_and_not_that_of_the_next() {
        let flights = Flights::default();
        let key = Digest::of(b"k");
        let (flight, _) = flights.join(key, key, "");
        let mut waits = pin!(flights.gone(&key));
        assert!(poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending())).await);
        flights.leave(&key, &flight);
        let (_next, leads) = flights.join(key, key, "");
        assert!(leads);
        waits.await;
    }

    #[tokio::test]
    async fn what_has_come_whole_is_waited_for_and_nothing_else() {
        let flights = Flights::default();
        let (key, shared) = (Digest::of(b"k"), Digest::of(b"s"));
        let (flight, _) = flights.join(key, shared, "");
        assert!(!flights.stored(&shared).await, "the answer has not come");
        let (told, progress) = watch::channel(Progress::default());
        let times = Times { requested: 0, received: 0 };
        let growing = Growing {
            answer: Answer::new(StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times),
            total: None,
            strict: false,
            by_remote: false,
            is_kept: true,
            file: Arc::new(tempfile::tempfile().unwrap()),
            progress,
            segments: Segments::new(&[]).0,
            notes: None,
            readers: Readers::default(),
            cookies: HeaderMap::new(),
        };
        flight.reach(Stage::Growing(Arc::new(growing)));
        assert!(!flights.stored(&shared).await, "not all of it has come");
        told.send_replace(Progress { written: 1, end: End::Whole });
        let mut waits = pin!(flights.stored(&shared));
        assert!(poll_fn(|context| Poll::Ready(waits.as_mut().poll(context).is_pending())).await);
        flights.leave(&key, &flight);
        assert!(waits.await);
        assert!(!flights.stored(&shared).await, "it is over");
    }
}
