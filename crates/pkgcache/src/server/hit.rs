//! Answers of which everything is at hand: the response is stored and fresh, and its body is known
//! to be sound.
//!
//! Decides by the same rules as [`crate::proxy::lookup`], and says what [`crate::response::reply`]
//! says; what would take more than a look (asking the upstream, hashing a body, mending an entry)
//! is left to them. So are heads that hyper would not write as they are.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, DATE, LOCATION, SET_COOKIE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Response, StatusCode, Uri};

use crate::cache::{self, Cache};
use crate::config::Config;
use crate::config::target::target;
use crate::ecosystem::ruling::Ruling;
use crate::index;
use crate::response::body::{Body, Source};
use crate::response::reply::{Question, reply};
use crate::rules::fields::cache_status::CacheStatus;
use crate::rules::request::Wishes;
use crate::rules::reuse::{self, Reuse};
use crate::server::pages::is_own;
use crate::server::simple_request::SimpleRequest;
use crate::store::Shelved;
use crate::store::head::Head;
use crate::store::recent_targets::Place;

/// Such an answer.
#[derive(Debug)]
pub(crate) struct Hit {
    /// What it answers.
    pub(crate) place: Arc<Place>,
    /// The response's status and headers.
    pub(crate) head: Arc<Head>,
    /// The file with the response's body.
    pub(crate) file: Arc<File>,
    /// How long that is.
    pub(crate) size: u64,
}

/// The answer to the request, if it is at hand.
pub(crate) fn find(cache: &Cache, config: &Arc<Config>, plain: &SimpleRequest<'_>) -> Option<Hit> {
    if config.guards.is_some() && cache.advisories.is_due() {
        return None;
    }
    let remembered = cache.places.get(plain.target, config);
    let remembered = remembered.filter(|place| place.ruling.is_http() || place.epoch == cache.index.epoch());
    let place = remembered.clone().or_else(|| place(cache, config, plain.target))?;
    let known = cache.shelf.find_at(&place.spot)?;
    let headers = if known.varies() { plain.headers()? } else { HeaderMap::new() };
    let (found, written) = known.select_with(&headers)?;
    if !place.ruling.accepts(&found.stored) {
        return None;
    }
    let file = cache.shelf.sound(&found.stored.digest, found.stored.size)?;
    let now = cache::now();
    let mut written = written.lock().ok()?;
    let freshness = place.ruling.freshness;
    let head = match written.as_ref().filter(|head| head.holds(now, freshness, place.heuristic)) {
        Some(head) => Arc::clone(head),
        None => Arc::clone(written.insert(Arc::new(head(found, &file, now, &place)?))),
    };
    drop(written);
    cache.shelf.touch(&place.spot.key, &known, now);
    if remembered.is_none() {
        cache.places.keep(plain.target, &place);
    }
    Some(Hit { place, head, file, size: found.stored.size })
}

/// Where the answer would be stored, if it may be asked for here.
fn place(cache: &Cache, config: &Arc<Config>, text: &str) -> Option<Arc<Place>> {
    let url = text.parse::<Uri>().ok().filter(|url| !is_own(config, url))?;
    // What a package client asks for takes more than a look, the first time.
    let target = target(config, &url).ok().filter(|target| !index::knows(target))?;
    let spot = cache.shelf.spot(cache::key(&target, &HeaderMap::new()));
    let (config, heuristic) = (Arc::clone(config), target.heuristic);
    Some(Arc::new(Place { config, url, heuristic, spot, ruling: Ruling::default(), epoch: 0 }))
}

/// The head of the answer, if it is fresh and hyper would write it as it is.
fn head(found: &Shelved, file: &Arc<File>, now: i64, place: &Place) -> Option<Head> {
    let (answer, size, heuristic) = (&found.answer, found.stored.size, place.heuristic);
    let (age, lifetime) = (answer.age(now), answer.lifetime(heuristic));
    let by_http = || reuse::decide(&answer.policy, &Wishes::default(), lifetime, age) == Reuse::Fresh;
    let ttl = answer.ttl(&place.ruling, heuristic, now);
    let fresh = if place.ruling.is_http() { by_http() } else { ttl > 0 };
    // What is made of a cookie or a redirect depends on the settings.
    let changed = [CONNECTION, LOCATION, SET_COOKIE, TRAILER, TRANSFER_ENCODING]
        .iter()
        .any(|name| answer.headers.contains_key(name));
    let as_it_is =
        answer.status == StatusCode::OK && size > 0 && answer.headers.contains_key(DATE) && !changed;
    if !(fresh && as_it_is) {
        return None;
    }
    let status = CacheStatus { level: found.stored.level, ..CacheStatus::hit(ttl) };
    let question = Question { method: &Method::GET, headers: &HeaderMap::new() };
    let response = reply(&question, answer, Source::whole(Arc::clone(file)), Some(size), Some(age), &status);
    let freshness = place.ruling.freshness;
    Some(Head { at: now, freshness, heuristic, status, bytes: written(&response) })
}

/// The head as hyper writes it.
fn written(response: &Response<Body>) -> Bytes {
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}
