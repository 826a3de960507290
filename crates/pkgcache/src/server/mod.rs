//! The server: connections of clients in, requests to the right place, and a quiet end.
//!
//! Deliberately absent: what becomes of a request (`proxy`), but for hits that need no parser
//! (`short_path`).

pub(crate) mod client;
pub(crate) mod connection;
mod drain;
pub(crate) mod entrance;
pub(crate) mod event_counts;
pub(crate) mod hit;
pub(crate) mod short_path;
pub(crate) mod simple_request;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storekit::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::cache::Cache;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::observe::meter::add;
use crate::observe::record::Visit;
use crate::observe::refusals::NotServed;
use crate::outside::Outside;
use crate::server::client::Client;
use crate::server::drain::drain;
use crate::server::event_counts::EventCounts;
use crate::store::replayed::Replayed;
use crate::wire::guard::Guard;
use crate::wire::seat::Seat;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    cache: Arc<Cache>,
    listener: TcpListener,
    /// Places for connections.
    free: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

/// A server's controls, for use from elsewhere.
#[derive(Clone, Debug)]
pub struct Control {
    cache: Arc<Cache>,
    free: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Control {
    /// No new connections; what is under way is ended in peace.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// What could not be served until now.
    #[must_use]
    pub fn not_served(&self) -> NotServed {
        self.cache.refusals.all()
    }

    /// How much could not be served until now, for [`Self::not_served_since`].
    #[must_use]
    pub fn not_served_count(&self) -> u64 {
        self.cache.refusals.count()
    }

    /// What could not be served since there was so much.
    #[must_use]
    pub fn not_served_since(&self, count: u64) -> NotServed {
        self.cache.refusals.since(count)
    }

    /// Ends when the server is told to stop.
    pub async fn stopped(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Sets something else from now on. The access log is opened anew, so that one that was moved
    /// away can go. Returns the settings that have changed and hold only after a restart.
    ///
    /// # Errors
    /// An access log that cannot be opened; nothing is changed then.
    pub fn reconfigure(&self, config: Config) -> Result<Vec<&'static str>> {
        self.cache.reconfigure(config)
    }
}

/// Ends the access log's last lines when it is dropped.
struct LastLines<'a>(&'a Cache);

impl Drop for LastLines<'_> {
    fn drop(&mut self) {
        if let Some(access) = self.0.access() {
            access.flush();
        }
    }
}

impl Server {
    /// Listens where the configuration says.
    ///
    /// # Errors
    /// [`Error::Listen`]; [`Error::Exposed`] where other machines could connect and no client is
    /// named; a store or an access log that cannot be used.
    pub async fn bind(config: Config, store: Store, outside: Arc<dyn Outside>) -> Result<Self> {
        let cache = Arc::new(Cache::new(config, store, outside)?);
        let config = cache.config();
        let address = config.listen;
        let open = config.clients.networks.is_empty() && config.clients.token.is_none();
        if !address.ip().is_loopback() && open {
            return Err(Error::Exposed { address });
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        Ok(Self::of(cache, listener))
    }

    /// Serves what a record names, as it was given, and nothing else, at an address of this
    /// machine's own.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn replaying(
        listener: std::net::TcpListener,
        config: Config,
        store: Store,
        outside: Arc<dyn Outside>,
        replayed: Replayed,
    ) -> Result<Self> {
        let failed = |source| Error::System { doing: "listen for a replay", source };
        let listen = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let config = Config { listen, offline: true, replays: true, ..config };
        let cache = Cache::new(config, store, outside)?.replaying(replayed);
        Ok(Self::of(Arc::new(cache), listener))
    }

    fn of(cache: Arc<Cache>, listener: TcpListener) -> Self {
        let free = Arc::new(Semaphore::new(cache.config().limits.connections));
        Self { cache, listener, free, stop: watch::Sender::new(false) }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|source| Error::System { doing: "name the socket", source })
    }

    /// What ends and changes it.
    #[must_use]
    pub fn control(&self) -> Control {
        let (cache, free) = (Arc::clone(&self.cache), Arc::clone(&self.free));
        Control { cache, free, stop: self.stop.clone() }
    }

    /// Serves until it is stopped, and then until what was under way is done or the time for that
    /// is over. In the end, also where this is dropped before, the counts and the access log are
    /// written.
    pub async fn run(self) {
        let cache = Arc::clone(&self.cache);
        let _last = LastLines(&cache);
        let mut counts = EventCounts::new(&cache);
        let serving = tokio::spawn(self.serve());
        tokio::select! {
            // A task that panicked has ended, too.
            _ = serving => {}
            () = counts.run() => {}
        }
    }

    async fn serve(self) {
        let Self { cache, listener, free, stop } = self;
        admit(&cache, &free, &listener, &stop, None).await;
        drop(listener);
        drain(&cache, &free, cache.config().limits.connections).await;
    }
}

/// Takes connections until it is told to stop. `visit` is what those of an entrance hold.
async fn admit(
    cache: &Arc<Cache>,
    free: &Arc<Semaphore>,
    listener: &TcpListener,
    stop: &watch::Sender<bool>,
    visit: Option<&Visit>,
) {
    let mut stopped = stop.subscribe();
    loop {
        let seat = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            seat = Arc::clone(free).acquire_owned() => seat,
        };
        let accepted = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (cache, stops) = (Arc::clone(cache), stop.subscribe());
                tokio::spawn(connected(cache, stream, peer, seat.ok(), stops, visit.cloned()));
            }
            Err(error) => {
                cache.outside.warning(&format!("a connection could not be accepted: {error}"));
                // Most likely there are no file descriptors left: a connection has to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connected(
    cache: Arc<Cache>,
    stream: TcpStream,
    peer: SocketAddr,
    seat: Option<OwnedSemaphorePermit>,
    stops: watch::Receiver<bool>,
    visit: Option<Visit>,
) {
    let config = cache.config();
    if !config.clients.knows(peer.ip()) && config.clients.token.is_none() {
        add(&cache.counts.refused, 1);
        return;
    }
    let _ = stream.set_nodelay(true);
    let guard = Guard::new(stream, config.limits.head);
    let wire = guard.wire();
    add(&cache.counts.connections, 1);
    let seat = Arc::new(Seat::new(Arc::clone(&cache.counts), seat));
    let (busy, stopped) = (Arc::default(), stops.clone());
    let client = Client { cache, wire, peer, busy, seat, stops, visit, noting: Mutex::default() };
    connection::run(Arc::new(client), guard, config.limits, stopped).await;
}
