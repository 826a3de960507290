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
mod intercept;
pub(crate) mod listener;
mod look;
mod pages;
pub(crate) mod short_path;
pub(crate) mod simple_request;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storekit::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::cache::Cache;
use crate::config::changes::Changes;
use crate::config::{Config, Listen};
use crate::error::{Error, Result};
use crate::observe::meter::add;
use crate::observe::record::Visit;
use crate::observe::refusals::NotServed;
use crate::outside::Outside;
use crate::server::client::Client;
use crate::server::drain::drain;
use crate::server::event_counts::EventCounts;
use crate::server::listener::{Inherited, Listener};
use crate::store::replayed::Replayed;
use crate::wire::crowd::Entry;
use crate::wire::guard::Guard;
use crate::wire::peer::Peer;
use crate::wire::seat::Seat;
use crate::wire::stream::Stream;

/// A client that has more connections than it may have has to ask within this time to be told so.
const SOON: Duration = Duration::from_secs(2);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    cache: Arc<Cache>,
    listeners: Vec<Listener>,
    /// Places for connections.
    free: Arc<Semaphore>,
    /// How many there are.
    places: usize,
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
    /// away can go. Returns what has changed.
    ///
    /// # Errors
    /// An access log that cannot be opened; nothing is changed then.
    pub fn reconfigure(&self, config: Config) -> Result<Changes> {
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
        if let Some(address) = config.listen.net() {
            not_exposed(&config, address)?;
        }
        let listener = Listener::bind(&config.listen, config.socket_mode).await?;
        Ok(Self::on(cache, vec![listener]))
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
        let listen = Listen::Net(listener.local_addr().map_err(failed)?);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = Listener::Net(tokio::net::TcpListener::from_std(listener).map_err(failed)?);
        // No bucket either: it may have what was not given.
        let config = Config { listen, offline: true, replays: true, remote: None, ..config };
        let cache = Cache::new(config, store, outside)?.replaying(replayed);
        Ok(Self::on(Arc::new(cache), vec![listener]))
    }

    /// Listens on sockets that the process was given, in the place of what the configuration says.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn take_over(
        config: Config,
        store: Store,
        outside: Arc<dyn Outside>,
        given: Vec<Inherited>,
    ) -> Result<Self> {
        let cache = Arc::new(Cache::new(config, store, outside)?);
        let listeners = given.into_iter().map(Listener::inherited).collect::<Result<Vec<_>>>()?;
        for address in listeners.iter().filter_map(Listener::net) {
            let named = |source| Error::System { doing: "name the socket", source };
            not_exposed(&cache.config(), address.map_err(named)?)?;
        }
        Ok(Self::on(cache, listeners))
    }

    fn on(cache: Arc<Cache>, listeners: Vec<Listener>) -> Self {
        // Each listener has a place in its hand for the next one that comes.
        let places = cache.config().limits.connections + listeners.len().saturating_sub(1);
        let free = Arc::new(Semaphore::new(places));
        Self { cache, listeners, free, places, stop: watch::Sender::new(false) }
    }

    /// Where it listens: an address and port.
    ///
    /// # Errors
    /// The system's; there is none where it listens on sockets in the file system alone.
    pub fn address(&self) -> Result<SocketAddr> {
        let none = || Err(std::io::ErrorKind::AddrNotAvailable.into());
        let address = self.listeners.iter().find_map(Listener::net).unwrap_or_else(none);
        address.map_err(|source| Error::System { doing: "name the socket", source })
    }

    /// All places where it listens, as people name them: `http://ADDRESS:PORT`, or `unix:PATH`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::name).collect()
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
        let Self { cache, listeners, free, places, stop } = self;
        let mut admitting = JoinSet::new();
        for listener in listeners {
            let (cache, free, stop) = (Arc::clone(&cache), Arc::clone(&free), stop.clone());
            // Closed at once: another server may listen there while this one ends.
            admitting.spawn(async move { admit(&cache, &free, &listener, &stop, None).await });
        }
        admitting.join_all().await;
        drain(&cache, &free, places).await;
    }
}

/// Refuses an address that other machines can reach, where no client is named.
fn not_exposed(config: &Config, address: SocketAddr) -> Result<()> {
    let open = config.clients.networks.is_empty() && config.clients.token.is_none();
    let exposed = Error::Exposed { address };
    if open && Listen::Net(address).is_remote() { Err(exposed) } else { Ok(()) }
}

/// Takes connections until it is told to stop. `visit` is what those of an entrance hold.
async fn admit(
    cache: &Arc<Cache>,
    free: &Arc<Semaphore>,
    listener: &Listener,
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
    stream: Stream,
    peer: Peer,
    seat: Option<OwnedSemaphorePermit>,
    stops: watch::Receiver<bool>,
    visit: Option<Visit>,
) {
    let config = cache.config();
    if !config.clients.let_in(&peer) && config.clients.token.is_none() {
        add(&cache.counts.refused, 1);
        return;
    }
    let mut limits = config.limits;
    let most = limits.client_connections.unwrap_or(usize::MAX);
    let (is_crowded, place) = match cache.crowd.enter(peer.host(), most) {
        Entry::Welcome(place) => (false, place),
        Entry::Crowded(place) => {
            limits.head_time = limits.head_time.min(SOON);
            limits.idle = limits.idle.min(SOON);
            (true, place)
        }
        Entry::Closed => {
            add(&cache.counts.refused, 1);
            return;
        }
    };
    stream.set_nodelay();
    let guard = Guard::new(stream, limits.head);
    let wire = guard.wire();
    add(&cache.counts.connections, 1);
    let seat = Arc::new(Seat::new(Arc::clone(&cache.counts), seat, place));
    let (busy, stopped) = (Arc::default(), stops.clone());
    let noting = Mutex::default();
    let server = None;
    let client = Client { cache, wire, peer, is_crowded, busy, seat, stops, visit, noting, server };
    connection::run(Arc::new(client), guard, limits, stopped).await;
}
