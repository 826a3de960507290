//! Another address at which a server answers, with a record of what came in there.
//!
//! Answers are the same as at the server's own address, and so are the limits. An entrance ends
//! with the server, at the latest.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use storekit::{Given, PackageEntry, StoredResponse};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::cache::Cache;
use crate::error::{Error, Result, explained};
use crate::observe::record::{Object, Record, Recorder, Visit};
use crate::server::listener::Listener;
use crate::server::{Control, admit};

/// An entrance, until it is closed.
#[derive(Debug)]
pub struct Entrance {
    cache: Arc<Cache>,
    recorder: Arc<Recorder>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    /// Ends it with the server.
    with_server: JoinHandle<()>,
}

impl Control {
    /// Answers at this address, too, from now on.
    ///
    /// # Errors
    /// [`Error::Exposed`] where other machines could connect: an entrance asks for no token. A
    /// listener that cannot be used.
    pub fn entrance(&self, listener: TcpListener) -> Result<Entrance> {
        let failed = |source| Error::System { doing: "listen at an entrance", source };
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            return Err(Error::Exposed { address });
        }
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let (cache, free) = (Arc::clone(&self.cache), Arc::clone(&self.free));
        let recorder = Arc::<Recorder>::default();
        let stop = watch::Sender::new(false);
        let (own, mut server) = (stop.clone(), self.stop.subscribe());
        let with_server = tokio::spawn(async move {
            // A server that is gone has stopped.
            let _ = server.wait_for(|stop| *stop).await;
            own.send_replace(true);
        });
        let accepting =
            tokio::spawn(accept(cache, free, Listener::Net(listener), stop.clone(), Arc::clone(&recorder)));
        Ok(Entrance { cache: Arc::clone(&self.cache), recorder, stop, accepting, with_server })
    }
}

async fn accept(
    cache: Arc<Cache>,
    free: Arc<Semaphore>,
    listener: Listener,
    stop: watch::Sender<bool>,
    recorder: Arc<Recorder>,
) {
    let (guest, mut guests) = mpsc::channel(1);
    admit(&cache, &free, &listener, &stop, Some(&Visit::new(recorder, guest))).await;
    drop(listener);
    // No connection is left when all of them have dropped what they were given.
    let _ = guests.recv().await;
}

impl Entrance {
    /// Ends when the server does.
    pub async fn ended(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Lets nobody in any more, and tells what came in. What is under way, or being stored, is
    /// waited for no longer than `patience`.
    pub async fn close(mut self, patience: Duration) -> Record {
        self.stop.send_replace(true);
        let until = Instant::now() + patience;
        if timeout_at(until, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
        self.with_server.abort();
        let (sums, objects) = self.recorder.take();
        // What is not stored by then is told without its digest.
        let _ = timeout_at(until, stored(&self.cache, &objects)).await;
        Record { objects: told(self.cache, objects).await, ..sums }
    }
}

/// Waits until nothing of this is being stored.
async fn stored(cache: &Cache, objects: &[Object]) {
    for flight in objects.iter().filter_map(Object::flight) {
        cache.flights.gone(&flight).await;
    }
}

/// The objects with what the store knows of them, sorted.
async fn told(cache: Arc<Cache>, objects: Vec<Object>) -> Vec<Given> {
    let tell = move || {
        let packages = cache.store.packages();
        let keep = |entry: &PackageEntry, stored: &StoredResponse| keep(&cache, entry, stored);
        let given = |object: Object| {
            let entry = packages.get(object.key()).ok().flatten();
            object.given(entry.as_ref(), keep)
        };
        let mut all: Vec<_> = objects.into_iter().flat_map(given).collect();
        all.sort_by_cached_key(Given::place);
        all
    };
    tokio::task::spawn_blocking(tell).await.unwrap_or_default()
}

/// Keeps an answer beside what stands under its URL, which may be another one tomorrow. Where the
/// entry is that keeps it; `None` where it cannot be kept.
fn keep(cache: &Cache, entry: &PackageEntry, stored: &StoredResponse) -> Option<String> {
    let key = entry.key.given(&stored.digest);
    let is_it = |it: &StoredResponse| it.digest == stored.digest && it.selecting == stored.selecting;
    let standing = cache.store.packages().get(&key).ok().flatten();
    if standing.is_some_and(|entry| entry.responses.iter().any(is_it)) {
        cache.store.packages().touch(&key);
        return Some(key.path());
    }
    let change = |kept: &mut PackageEntry| {
        (kept.name, kept.package_version, kept.architecture) =
            (entry.name.clone(), entry.package_version.clone(), entry.architecture.clone());
        kept.responses.push(stored.clone());
    };
    match cache.shelf.change(&key, &[], change) {
        Ok(()) => Some(key.path()),
        Err(error) => {
            let (url, why) = (&entry.key.url, explained(&error));
            cache.outside.warning(&format!("what was given of {url} cannot be kept: {why}"));
            None
        }
    }
}
