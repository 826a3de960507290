//! The cache as a whole: its parts, and what every request needs of them.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Uri};
use jiff::Timestamp;
use storekit::{Digest, PackageKey, Store};

use crate::authority::leaves::Leaves;
use crate::config::Config;
use crate::config::changes::Changes;
use crate::config::target::{self, Target};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::path::canonical;
use crate::ecosystem::table::fetchable;
use crate::error::{Error, Result, explained};
use crate::guards::{OsvFiles, Watched};
use crate::known::Index;
use crate::observe::access_log::AccessLog;
use crate::observe::meter::Counts;
use crate::observe::refusals::Refusals;
use crate::outside::Outside;
use crate::remote::Remote;
use crate::response::flight::Flights;
use crate::status::looks::Looks;
use crate::store::Shelf;
use crate::store::recent_targets::RecentTargets;
use crate::store::replayed::Replayed;
use crate::store::seen::Seen;
use crate::upstream::breaker::Need;
use crate::upstream::distrust::Distrust;
use crate::upstream::tokens::Tokens;
use crate::upstream::{Route, Upstreams};
use crate::wire::crowd::Crowd;
use crate::wire::queues::Queues;

/// After the entries were read for what was refused, they are not read for so many times as long.
const PEACE: u32 = 4;

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Cache {
    config: RwLock<Arc<Config>>,
    /// Where responses are stored.
    pub(crate) store: Store,
    /// What is stored.
    pub(crate) shelf: Shelf,
    /// Where what was asked for lately is stored.
    pub(crate) places: RecentTargets,
    /// What is being fetched.
    pub(crate) flights: Flights,
    /// Connections to upstreams.
    pub(crate) upstreams: Upstreams,
    /// The bucket that several caches share.
    pub(crate) remote: Option<Arc<Remote>>,
    /// Which server of several is asked first.
    pub(crate) distrust: Distrust,
    /// What clients of intercepted servers are shown.
    pub(crate) leaves: Leaves,
    /// What registries let clients in with.
    pub(crate) tokens: Tokens,
    /// Which places are taken, by clients and at mounts.
    pub(crate) crowd: Crowd,
    /// What clients have not taken yet.
    pub(crate) queues: Queues,
    /// What is counted.
    pub(crate) counts: Arc<Counts>,
    /// Where each request is noted.
    access: RwLock<Option<AccessLog>>,
    /// What advisories say.
    pub(crate) advisories: Watched,
    /// When versions were first seen.
    pub(crate) seen: Seen,
    /// What could not be served.
    pub(crate) refusals: Refusals,
    /// What was refused and is to go.
    refused: Mutex<Refused>,
    /// What is stored, as it was seen last.
    pub(crate) looks: Looks,
    /// Since when this serves.
    pub(crate) started: Timestamp,
    /// The process around this.
    pub(crate) outside: Arc<dyn Outside>,
    /// What indexes say.
    pub(crate) index: Index,
    /// The name of this process in `Via`, by which it knows itself.
    pub(crate) via: HeaderValue,
}

/// Bodies that were refused and are to go.
#[derive(Debug, Default)]
struct Refused {
    bodies: HashSet<Digest>,
    /// Whether a task is at it.
    swept: bool,
}

/// The seconds since 1970.
#[must_use]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Cache {
    /// On a store that is there.
    ///
    /// # Errors
    /// Folders that cannot be made; an access log that cannot be opened; advisories that cannot be
    /// read; a system without random
    /// bytes.
    pub(crate) fn new(config: Config, store: Store, outside: Arc<dyn Outside>) -> Result<Self> {
        store.packages().prepare()?;
        let access = access_log(&config, &outside)?;
        let advisories = Watched::default();
        advisories.set(osv_of(&config))?;
        let name = random().map_err(|source| Error::System { doing: "read random bytes", source })?;
        let via = format!("1.1 pkgcache-{name:08x}");
        let (counts, packages) = (Arc::<Counts>::default(), store.packages());
        let remote =
            config.remote.clone().and_then(|remote| Remote::new(remote, packages, &counts, &outside));
        Ok(Self {
            shelf: Shelf::new(store.packages()),
            store,
            places: RecentTargets::default(),
            flights: Flights::default(),
            upstreams: Upstreams::new(Arc::clone(&outside)),
            remote,
            distrust: Distrust::default(),
            leaves: Leaves::default(),
            tokens: Tokens::default(),
            crowd: Crowd::default(),
            queues: Queues::default(),
            counts,
            advisories,
            seen: Seen::default(),
            refusals: Refusals::default(),
            refused: Mutex::default(),
            looks: Looks::default(),
            started: Timestamp::now(),
            access: RwLock::new(access),
            outside,
            index: Index::default(),
            via: HeaderValue::from_str(&via).unwrap_or(HeaderValue::from_static("1.1 pkgcache")),
            config: RwLock::new(Arc::new(config)),
        })
    }

    /// Serves what a record names, and nothing else.
    #[must_use]
    pub(crate) fn replaying(self, replayed: Replayed) -> Self {
        Self { shelf: self.shelf.replaying(replayed), ..self }
    }

    /// What is set now.
    #[must_use]
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where each request is noted, if anywhere.
    #[must_use]
    pub(crate) fn access(&self) -> Option<AccessLog> {
        self.access.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets something else from now on. The access log is opened anew, so that one that was moved
    /// away can go. Returns what has changed.
    ///
    /// # Errors
    /// An access log that cannot be opened, or advisories that cannot be read; nothing is changed
    /// then.
    pub(crate) fn reconfigure(&self, mut config: Config) -> Result<Changes> {
        let old = self.config();
        let changes = Changes::between(&old, &config);
        config.remote.clone_from(&old.remote);
        config.listen = old.listen.clone();
        config.socket_mode = old.socket_mode;
        config.limits.connections = old.limits.connections;
        let access = access_log(&config, &self.outside)?;
        self.advisories.set(osv_of(&config))?;
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(changes)
    }

    /// What stands under the key, if it is from an upstream, is for the other nodes, too.
    pub(crate) fn share(&self, key: &PackageKey, is_news: bool) {
        if let Some(remote) = self.remote.as_ref().filter(|_| is_news) {
            remote.share(key);
        }
    }

    /// Deletes a body that was refused, unless an entry has it. One task does it for all: it reads
    /// all entries once, and then those that changed, so they are left in peace for a while after
    /// it.
    pub(crate) fn sweep(self: &Arc<Self>, body: Digest) {
        if self.shelf.is_replayed() {
            return;
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.bodies.insert(body);
        if !std::mem::replace(&mut refused.swept, true) {
            tokio::spawn(Arc::clone(self).sweep_all());
        }
    }

    async fn sweep_all(self: Arc<Self>) {
        let mut known = None;
        while let Some(bodies) = self.next_to_sweep() {
            let (cache, begun) = (Arc::clone(&self), Instant::now());
            let mut needed = known.take().unwrap_or_else(|| self.shelf.needed());
            let work = move || {
                cache.shelf.discard(&cache.store, &bodies, &mut needed)?;
                Ok::<_, crate::error::Error>(needed)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(needed)) => known = Some(needed),
                Ok(Err(error)) => {
                    let why = explained(&error);
                    self.outside.warning(&format!("a body that was refused stays until a collection: {why}"));
                }
                Err(_) => {}
            }
            tokio::time::sleep(begun.elapsed() * PEACE).await;
        }
    }

    /// The bodies that came together since; `None` ends the task.
    fn next_to_sweep(&self) -> Option<HashSet<Digest>> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let bodies = std::mem::take(&mut refused.bodies);
        refused.swept = !bodies.is_empty();
        refused.swept.then_some(bodies)
    }

    /// The way to the upstream.
    #[must_use]
    pub(crate) fn route(&self, config: &Config, private: bool) -> Route {
        let (parent, via) = (config.parent.clone(), vec![self.via.clone()]);
        Route { private, parent, via, limits: config.limits, need: Need::default() }
    }
}

fn osv_of(config: &Config) -> Option<&OsvFiles> {
    config.guards.as_ref().and_then(|guards| guards.osv.as_ref())
}

fn access_log(config: &Config, outside: &Arc<dyn Outside>) -> Result<Option<AccessLog>> {
    config.access_log.as_deref().map(|path| AccessLog::open(path, outside)).transpose()
}

/// By this a process knows its own name: 32 random bits.
fn random() -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// The key of a URL for a request with these headers.
#[must_use]
pub(crate) fn key(target: &Target, request: &HeaderMap) -> PackageKey {
    let credentials = request.get(http::header::AUTHORIZATION).filter(|_| target.keep_private);
    let scope = credentials.map(|value| Digest::of(value.as_bytes()));
    PackageKey::new(target.kind.name(), &source(&target.url), spelled(target.kind, &target.url), scope)
}

/// The URL's host, and its port where that does not go without saying.
fn source(url: &Uri) -> String {
    url.authority().map_or_else(String::new, |authority| authority.as_str().to_owned())
}

/// The URL as its key has it: where it is known what clients mean by it, in one spelling.
fn spelled(kind: Ecosystem, url: &Uri) -> String {
    if kind == Ecosystem::Generic { url.to_string() } else { in_one_spelling(url) }
}

/// The same of a URL that somebody wrote, for entries of the ecosystem with this name; `None` where
/// it is not one that is fetched.
#[must_use]
pub(crate) fn spelled_by_hand(ecosystem: &str, text: &str) -> Option<String> {
    let url = target::plain(&fetchable(text)?)?;
    Some(if ecosystem == Ecosystem::Generic.name() { url.to_string() } else { in_one_spelling(&url) })
}

/// The URL with its path as [`canonical`] spells it.
#[must_use]
pub(crate) fn in_one_spelling(url: &Uri) -> String {
    let (scheme, authority) = (url.scheme_str().unwrap_or_default(), source(url));
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("{scheme}://{authority}{}{query}", canonical(url.path()))
}

/// The key of another URL of the same server.
#[must_use]
pub(crate) fn key_beside(key: &PackageKey, url: &Uri) -> PackageKey {
    PackageKey { url: url.to_string(), ..key.clone() }
}
