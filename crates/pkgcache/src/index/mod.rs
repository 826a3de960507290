//! What package clients ask for: which index names it, what it has to be, and what the client gets.
//!
//! A request comes as a [`Lookup`] by HTTP's rules. [`plan`] finds out what its ecosystem knows of
//! it: it goes on with a ruling (a checksum that gates the body, a lifetime), with another URL where
//! an index says that the file lies elsewhere, or is answered at once.
//!
//! Deliberately absent: formats (`ecosystem`), and how a body is fetched and stored (`proxy`,
//! `fetch`).

mod apt;
mod cargo;
mod document;
mod npm;
mod oci;
mod python;
mod rendered;
mod tables;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::HOST;
use http::{HeaderMap, Response, StatusCode, Uri};
use storekit::Level;

use crate::cache::{self, Cache};
use crate::ecosystem::base::Base;
use crate::ecosystem::ruling::{Expected, Freshness, Ruling};
use crate::ecosystem::table::{Said, fetchable};
use crate::ecosystem::{Asked, Class, Ecosystem};
use crate::observe::meter;
use crate::proxy::lookup::Lookup;
use crate::response::body::Body;
use crate::response::reply::own;
use crate::rules::cache_status::CacheStatus;
use crate::store::recent_targets::Place;

/// What is known of indexes beside what is stored of them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Grows whenever an index that was not known before is read.
    epoch: AtomicU64,
    tables: tables::Tables,
    rendered: rendered::Rendered,
    apt: apt::Bases,
    turns: turns::Turns,
}

impl Index {
    /// A number that is another when what indexes say may be another.
    #[must_use]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// What else is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'a> {
    /// The client's end of the connection.
    pub(crate) client: SocketAddr,
    /// The query of what it asks for.
    pub(crate) query: Option<&'a str>,
    /// What it asks for, as it was sent.
    pub(crate) asked: &'a Uri,
}

/// What becomes of a request.
pub(crate) enum Plan {
    /// It is looked up and fetched as this one.
    Lookup(Box<Lookup>),
    /// It is answered.
    Answer(Box<Response<Body>>, meter::Result),
}

impl Plan {
    fn answer(response: Response<Body>, result: meter::Result) -> Self {
        Self::Answer(Box::new(response), result)
    }

    /// An answer of this program's own: what went wrong, in words that clients show.
    fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        Self::answer(own(status, text, Some(&CacheStatus::default())), meter::Result::Error)
    }
}

/// Finds out what becomes of a GET or HEAD of a package client.
pub(crate) async fn plan(cache: &Arc<Cache>, lookup: Lookup, from: &From<'_>) -> Plan {
    let kind = lookup.target.kind;
    let asked = kind.ask(&lookup.method, &lookup.target.below, from.query);
    let mut lookup = lookup;
    lookup.package = asked.package.clone();
    let planned = match (kind, asked.class) {
        (Ecosystem::Oci, Class::Unknown | Class::Api) => oci::interface(lookup),
        (_, Class::Unknown | Class::Api) => Plan::Lookup(Box::new(lookup)),
        (Ecosystem::Python, _) => python::plan(cache, lookup, &asked).await,
        (Ecosystem::Npm, _) => npm::plan(cache, lookup, &asked).await,
        (Ecosystem::Cargo, _) => cargo::plan(cache, lookup, &asked).await,
        (Ecosystem::Apt, _) => apt::plan(cache, lookup, &asked, from.client).await,
        (Ecosystem::Oci, _) => oci::plan(cache, lookup, &asked).await,
        (Ecosystem::Generic, _) => Plan::Lookup(Box::new(lookup)),
    };
    if let Plan::Lookup(lookup) = &planned {
        remember(cache, lookup, from.asked);
    }
    planned
}

/// The ruling of a class of which nothing else is known.
fn plain(class: Class) -> Known {
    match class {
        Class::Root => Known::Root,
        Class::SelfCertifying(checksum) => {
            Known::File(Level::Addressed, Some(Expected { checksum, size: None }))
        }
        Class::Artifact | Class::PinnedByName => Known::File(Level::Pinned, None),
        Class::SubIndex | Class::Api | Class::Unknown => Known::Nothing,
    }
}

/// What is known of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is a document on which freshness hangs.
    Root,
    /// It is a file that does not change: who vouches for it, and for what.
    File(Level, Option<Expected>),
    /// HTTP's rules hold.
    Nothing,
}

/// The lookup with what holds for it.
fn ruled(mut lookup: Lookup, known: Known) -> Lookup {
    let seconds = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let stale = seconds(lookup.config.stale_window);
    lookup.ruling = match known {
        Known::Root => {
            Ruling { freshness: Freshness::For(seconds(lookup.config.index_ttl)), stale, ..Ruling::default() }
        }
        Known::File(level, expected) => {
            let adopts = lookup.target.kind != Ecosystem::Oci;
            Ruling { freshness: Freshness::Forever, expected, level, stale, adopts, ..Ruling::default() }
        }
        Known::Nothing => Ruling::default(),
    };
    lookup
}

/// The lookup of a document on which freshness hangs.
#[must_use]
pub(crate) fn as_root(lookup: Lookup) -> Lookup {
    ruled(lookup, Known::Root)
}

/// The lookup for a file of which an index says this; where it lies elsewhere, that is asked.
fn vouched(cache: &Cache, mut lookup: Lookup, said: Said, level: Level) -> Plan {
    let Said::File(voucher) = said else {
        let text = format!("{}: its index names it with two different checksums", lookup.target.url);
        return Plan::refused(StatusCode::BAD_GATEWAY, text);
    };
    if let Some(url) = &voucher.url {
        let Some(url) = fetchable(url).and_then(|url| crate::config::target::normal(&url)) else {
            let text = format!("its index names `{url}`, which is not an http or https URL");
            return Plan::refused(StatusCode::BAD_GATEWAY, text);
        };
        let same = crate::rules::invalidate::is_same_origin(&url, &lookup.target.url);
        let host = url.host().unwrap_or_default();
        let near = host == lookup.target.url.host().unwrap_or_default();
        lookup.target.private =
            cache.config().allow_private || near && lookup.target.private || lookup.target.private;
        if !same {
            // Credentials stay with the server that they are for.
            lookup.headers.remove(http::header::AUTHORIZATION);
        }
        lookup.target.url = url;
        lookup.key = cache::key(&lookup.target, &lookup.headers);
    }
    let expected = voucher.checksum.map(|checksum| Expected { checksum, size: voucher.size });
    let level = if expected.is_some() { level } else { Level::Pinned };
    Plan::Lookup(Box::new(ruled(lookup, Known::File(level, expected))))
}

/// Remembers where a file's answer is stored, so that the next request for it is quick.
fn remember(cache: &Cache, lookup: &Lookup, asked: &Uri) {
    let simple = lookup.ruling.freshness == Freshness::Forever && lookup.key.scope.is_none();
    if !simple || lookup.headers.contains_key(http::header::AUTHORIZATION) {
        return;
    }
    let place = Place {
        config: Arc::clone(&lookup.config),
        url: asked.clone(),
        heuristic: false,
        spot: cache.shelf.spot(lookup.key.clone()),
        ruling: lookup.ruling.clone(),
        epoch: cache.index.epoch(),
    };
    cache.places.keep(&asked.to_string(), &Arc::new(place));
}

/// The addresses on both sides of the mount that was asked through; `None` in the forward mode,
/// where nothing is written anew.
fn base(lookup: &Lookup) -> Option<Base> {
    let mount = lookup.target.mount.as_deref()?;
    let host = lookup.headers.get(HOST).and_then(|value| value.to_str().ok());
    let plain = |host: &&str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    let listens = lookup.config.listen.to_string();
    let here = format!("http://{}", host.filter(plain).unwrap_or(&listens));
    let mount = if mount.is_empty() { String::new() } else { format!("/{mount}") };
    Some(Base { here, mount, upstream: lookup.target.upstream.clone(), keeps_links: false })
}

/// The lookup of another path below the same upstream, for this program's own use.
fn beside(lookup: &Lookup, path: &str, headers: HeaderMap) -> Option<Lookup> {
    let root = lookup.target.upstream.to_string();
    let url: Uri = format!("{}{path}", root.trim_end_matches('/')).parse().ok()?;
    let mut other = lookup.clone();
    other.method = http::Method::GET;
    other.target.url = crate::config::target::normal(&url)?;
    other.target.below = path.to_owned();
    other.headers = headers;
    other.package = crate::ecosystem::Package::default();
    other.wire = None;
    let credentials = lookup.headers.get(http::header::AUTHORIZATION).cloned();
    other.headers.extend(credentials.map(|value| (http::header::AUTHORIZATION, value)));
    other.key = cache::key(&other.target, &other.headers);
    Some(ruled(other, Known::Root))
}

/// What an index document's path, and the name of a file in it, are where both are known.
fn names(asked: &Asked) -> Option<(&str, &str)> {
    Some((asked.index.as_deref()?, asked.entry.as_deref()?))
}
