//! What becomes of a request that may be answered from what is stored: GET and HEAD.
//!
//! The order of things is RFC 9111's: find what matches, see whether it may be handed on, else ask
//! the upstream, once for all requests for the same.

mod boarding;

use std::fs::File;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, RANGE};
use http::{HeaderMap, Method, Response, StatusCode};
use storekit::{Digest, PackageEntry, PackageKey, StoredResponse};

use crate::cache::{self, Cache};
use crate::config::Config;
use crate::config::target::Target;
use crate::ecosystem::Package;
use crate::ecosystem::ruling::{Freshness, Ruling};
use crate::error::explained;
use crate::observe::meter::{self, add};
use crate::observe::record::MadeFrom;
use crate::proxy::lookup::boarding::Boarding;
use crate::response::body::{Body, Source};
use crate::response::reply::{Question, own, reply};
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
pub(crate) use crate::rules::fields::cache_status::UPSTREAM_FAILED;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::merge::take_cookies;
use crate::rules::request::{self, Wishes};
use crate::rules::reuse::Reuse;
use crate::store::{self, Known, Shelved};
use crate::wire::guard::Wire;

/// What it says where nothing is stored, and no upstream may be asked.
pub(crate) const NOT_STORED: &str = "not-stored";

/// What it says where the bucket had it that several caches share.
const REMOTE: &str = "remote";

/// A request for something that may be stored.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// GET or HEAD.
    pub(crate) method: Method,
    /// Its headers, without those of the connection.
    pub(crate) headers: HeaderMap,
    /// What it asks for.
    pub(crate) target: Target,
    /// The package that it belongs to.
    pub(crate) package: Package,
    /// What holds for it.
    pub(crate) ruling: Ruling,
    /// Where that is stored.
    pub(crate) key: PackageKey,
    /// The settings that hold for it.
    pub(crate) config: Arc<Config>,
    /// The client's connection.
    pub(crate) wire: Option<Arc<Wire>>,
}

/// What becomes of it.
pub(crate) enum Handled {
    /// This answer.
    Answered(Box<Response<Body>>, meter::Result),
    /// It is to be passed on as it is.
    Forward(Forward),
}

impl From<(Response<Body>, meter::Result)> for Handled {
    fn from((response, result): (Response<Body>, meter::Result)) -> Self {
        Self::Answered(Box::new(response), result)
    }
}

/// What a stored response is handed on for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    result: meter::Result,
    collapsed: bool,
    forward: Option<(Forward, Option<u16>)>,
    detail: Option<&'static str>,
}

impl Served {
    const HIT: Self = Self { result: meter::Result::Hit, collapsed: false, forward: None, detail: None };

    /// From the bucket that several caches share.
    fn remote(collapsed: bool) -> Self {
        let result = if collapsed { meter::Result::Collapsed } else { meter::Result::Remote };
        Self { result, collapsed, detail: Some(REMOTE), ..Self::HIT }
    }

    pub(super) fn stale(detail: &'static str) -> Self {
        Self { result: meter::Result::Stale, detail: Some(detail), ..Self::HIT }
    }
}

impl Lookup {
    /// Whether no upstream may be asked for it.
    #[must_use]
    pub(crate) fn is_offline(&self) -> bool {
        self.config.offline || self.target.read_only
    }

    /// Why something that is not stored is not asked for, in an answer to a client.
    #[must_use]
    pub(crate) fn unasked(&self) -> &'static str {
        let is_read_only = self.target.read_only && !self.config.offline;
        if is_read_only { "its mount is read-only, and this is not stored" } else { self.config.unasked() }
    }

    pub(super) fn question(&self) -> Question<'_> {
        Question { method: &self.method, headers: &self.headers }
    }

    /// Answers the request, or says that it has to be passed on.
    pub(crate) async fn handle(&self, cache: &Arc<Cache>) -> Handled {
        let wishes = Wishes::of(&self.headers);
        if self.passes_the_store() {
            return self.forward_or_504(Forward::Request);
        }
        let known = self.promoted(cache).await;
        let Some(found) = known.as_ref().and_then(|known| self.select(known)) else {
            let why = if known.is_some() { Forward::VaryMiss } else { Forward::UriMiss };
            return self.miss(cache, &wishes, why, None).await;
        };
        let decision = self.decide(&found.answer, &wishes);
        let served = match decision {
            Reuse::Fresh => Some(Served::HIT),
            Reuse::Stale => Some(Served::stale("max-stale")),
            _ if wishes.only_if_cached => return self.gateway_timeout("nothing fresh is stored"),
            _ if self.is_offline() => Some(Served::stale("offline")),
            Reuse::WhileRevalidating => {
                self.fetch(cache, Some(found), Some(found));
                Some(Served::stale("stale-while-revalidate"))
            }
            Reuse::AskFirst => None,
        };
        let Some(served) = served else {
            let is_stale = self.ttl(&found.answer) <= 0;
            return self.ask_first(cache, found, is_stale).await;
        };
        if let Some(known) = &known {
            cache.shelf.touch(&self.key, known, cache::now());
        }
        match self.serve(cache, found, served).await {
            Some(handled) => handled,
            None => self.miss(cache, &wishes, Forward::UriMiss, Some(found)).await,
        }
    }

    /// For how many more seconds the answer is fresh here.
    pub(super) fn ttl(&self, answer: &Answer) -> i64 {
        answer.ttl(&self.ruling, self.target.heuristic, cache::now())
    }

    /// What may be done with the answer.
    fn decide(&self, answer: &Answer, wishes: &Wishes) -> Reuse {
        answer.reuse(&self.ruling, self.target.heuristic, wishes, cache::now())
    }

    /// The newest stored response that answers the request and is what it has to be.
    pub(super) fn select<'a>(&self, known: &'a Known) -> Option<&'a Shelved> {
        known.select_where(&self.headers, |stored| self.ruling.accepts(stored))
    }

    fn gateway_timeout(&self, text: &str) -> Handled {
        let status = CacheStatus { detail: Some(NOT_STORED), ..CacheStatus::default() };
        let response =
            own(StatusCode::GATEWAY_TIMEOUT, format!("{}: {text}", self.target.url), Some(&status));
        (response, meter::Result::Error).into()
    }

    fn forward_or_504(&self, why: Forward) -> Handled {
        if self.is_offline() {
            return self.gateway_timeout(self.unasked());
        }
        Handled::Forward(why)
    }

    /// Nothing that is stored can be used; `seen` is what was found and could not be read.
    async fn miss(
        &self,
        cache: &Arc<Cache>,
        wishes: &Wishes,
        why: Forward,
        seen: Option<&Shelved>,
    ) -> Handled {
        if wishes.only_if_cached {
            return self.gateway_timeout("it is not stored");
        }
        if self.is_offline() {
            return self.gateway_timeout(self.unasked());
        }
        // What another request was given whole is about to be stored, in whatever form it was asked
        // for; requests for other forms do not meet it before that.
        let meets = cache.flights.find(&self.flight_key()).is_some();
        if !meets && cache.flights.stored(&self.shared()).await && self.is_stored_since(cache, seen) {
            return self.stored_since(cache, why, Served::HIT).await;
        }
        if let Some(found) = self.adopt(cache).await
            && let Some(handled) = self.serve(cache, &found, Served::HIT).await
        {
            return handled;
        }
        let ranged = self.method == Method::GET && self.headers.contains_key(RANGE);
        if self.is_asked_by_head() || (ranged && !self.is_worth_the_whole()) {
            // The whole is not fetched for a part, unless another request fetches it anyway.
            return match cache.flights.find(&self.flight_key()) {
                Some(flight) if ranged || !self.ruling.is_http() => {
                    let early = flight.is_asking();
                    self.await_flight(cache, Boarding { flight, leads: false, early }, why, None).await
                }
                // It may have ended since this request looked.
                _ if self.is_stored_since(cache, seen) => self.stored_since(cache, why, Served::HIT).await,
                _ => Handled::Forward(why),
            };
        }
        let boarding = self.fetch(cache, None, seen);
        self.await_flight(cache, boarding, why, None).await
    }

    /// What is stored for this. Where it was stored with less to vouch for it than there is now, it
    /// is compared, and the entry says so from now on.
    async fn promoted(&self, cache: &Arc<Cache>) -> Option<Arc<Known>> {
        let known = cache.shelf.find(&self.key)?;
        let Some(expected) = self.ruling.expected else { return Some(known) };
        let level = self.ruling.level;
        let lesser = |it: &StoredResponse| it.status == 200 && (it.level < level || it.announced.is_none());
        let Some(found) = known.select_where(&self.headers, lesser) else { return Some(known) };
        if known.select_where(&self.headers, |it| !lesser(it) && self.ruling.accepts(it)).is_some() {
            return Some(known);
        }
        let digest = found.stored.digest;
        let right = match expected.checksum.digest() {
            Some(named) => named == digest,
            None => cache.shelf.has_checksum(&digest, expected.checksum).await,
        };
        if !right || expected.size.is_some_and(|size| size != found.stored.size) {
            return Some(known);
        }
        let (package, ecosystem) = (&self.package, &self.key.ecosystem);
        let change = |entry: &mut PackageEntry| {
            entry.key.ecosystem.clone_from(ecosystem);
            entry.name.clone_from(&package.name);
            entry.package_version.clone_from(&package.version);
            entry.architecture.clone_from(&package.architecture);
            for response in entry.responses.iter_mut().filter(|it| it.digest == digest) {
                response.announced = Some(expected.checksum);
                response.level = level;
            }
        };
        if let Err(error) = cache.shelf.change(&self.key, &[], change) {
            let why = explained(&error);
            cache.outside.warning(&format!("the entry of {} cannot be changed: {why}", self.target.url));
        }
        cache.shelf.find(&self.key)
    }

    /// Where the bytes that are expected are stored already, under whatever URL: an entry of their
    /// own for this one.
    async fn adopt(&self, cache: &Arc<Cache>) -> Option<Shelved> {
        let expected = self.ruling.expected.filter(|_| self.ruling.adopts)?;
        let digest = expected.checksum.digest()?;
        let store::FoundBody::Sound(file) = cache.shelf.body(&digest).await.ok()? else { return None };
        let size = file.metadata().ok()?.len();
        let lease = cache.store.packages().blobs().lease(&digest).ok()??;
        let now = cache::now();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(fields) = &self.ruling.fields {
            headers = HeaderMap::clone(fields);
        }
        let times = Times { requested: now, received: now };
        let answer = Answer::new(StatusCode::OK, &headers, &HeaderMap::new(), times);
        let stored = StoredResponse {
            announced: Some(expected.checksum),
            level: self.ruling.level,
            ..answer.to_stored(digest, size)
        };
        if !self.ruling.accepts(&stored) {
            return None;
        }
        let package = self.package.clone();
        let ecosystem = self.key.ecosystem.clone();
        let change = |entry: &mut PackageEntry| {
            entry.key.ecosystem = ecosystem;
            (entry.name, entry.package_version, entry.architecture) =
                (package.name, package.version, package.architecture);
            entry.responses.retain(|it| it.digest != digest);
            entry.responses.insert(0, stored);
        };
        cache.shelf.change(&self.key, &[lease], change).ok()?;
        self.select(cache.shelf.find(&self.key)?.as_ref()).cloned()
    }

    /// Whether the whole file is fetched for a part of it: one that is vouched for, and not too
    /// large to be stored. What is asked for is fetched first.
    fn is_worth_the_whole(&self) -> bool {
        let most = self.config.limits.object;
        self.ruling.expected.is_some_and(|it| it.size.is_none_or(|size| size <= most))
    }

    /// Whether the upstream is asked for the head alone. An index is fetched for its head, too:
    /// what a client gets hangs on what it says.
    fn is_asked_by_head(&self) -> bool {
        self.method == Method::HEAD && !self.ruling.is_index
    }

    /// The server is asked whether what is stored still holds.
    async fn ask_first(&self, cache: &Arc<Cache>, found: &Shelved, is_stale: bool) -> Handled {
        let why = if is_stale { Forward::Stale } else { Forward::Request };
        if self.is_asked_by_head() {
            return Handled::Forward(why);
        }
        let boarding = self.fetch(cache, Some(found), Some(found));
        self.await_flight(cache, boarding, why, Some(found)).await
    }

    /// Whether the whole body must not be handed on as it comes.
    #[must_use]
    pub(crate) fn must_be_compared(&self) -> bool {
        self.method == Method::GET && self.ruling.is_strict()
    }

    /// Whether nothing that is stored may be an answer, whatever becomes of the request.
    pub(super) fn passes_the_store(&self) -> bool {
        let reads =
            matches!(self.method, Method::GET | Method::HEAD) && self.ruling.freshness != Freshness::Never;
        if !self.ruling.is_http() {
            return !reads;
        }
        !reads || Wishes::of(&self.headers).no_store || request::is_for_the_server(&self.headers)
    }

    /// What is stored still holds: it is handed on, however old it says it is. Another request may
    /// have asked about another response than answers this one.
    async fn validated(&self, cache: &Arc<Cache>, digest: Digest, leads: bool, why: Forward) -> Handled {
        let served = Served {
            result: meter::Result::Revalidated,
            collapsed: !leads,
            forward: Some((why, Some(304))),
            detail: None,
        };
        let known = cache.shelf.find(&self.key);
        match known.as_deref().and_then(|known: &Known| self.select(known)) {
            Some(found) if found.stored.digest == digest => {
                self.serve(cache, found, served).await.unwrap_or(Handled::Forward(why))
            }
            _ => self.forward_or_504(why),
        }
    }

    /// Hands on what another fetch stored meanwhile.
    async fn stored_since(&self, cache: &Arc<Cache>, why: Forward, served: Served) -> Handled {
        let known = cache.shelf.find(&self.key);
        let found = known.as_deref().and_then(|known: &Known| self.select(known));
        let fresh = |it: &&Shelved| self.decide(&it.answer, &Wishes::of(&self.headers)) == Reuse::Fresh;
        match found.filter(fresh) {
            Some(found) => self.serve(cache, found, served).await.unwrap_or_else(|| self.forward_or_504(why)),
            None => self.forward_or_504(why),
        }
    }

    /// Hands on what is stored; `None` where its body is not there or not sound.
    pub(super) async fn serve(&self, cache: &Arc<Cache>, found: &Shelved, served: Served) -> Option<Handled> {
        let file = match cache.shelf.body(&found.stored.digest).await {
            Ok(store::FoundBody::Sound(file)) if has_size(&file, found.stored.size) => file,
            // An entry that says another size is not what was written, whatever else it says.
            Ok(store::FoundBody::Sound(_) | store::FoundBody::Gone) => return self.lost(cache, found),
            Ok(store::FoundBody::Damaged(digest)) => {
                add(&cache.counts.damaged, 1);
                cache.outside.warning(&format!(
                    "the stored body of {} was damaged ({digest}): moved aside",
                    self.target.url
                ));
                return self.lost(cache, found);
            }
            Err(error) => {
                let why = explained(&error);
                cache
                    .outside
                    .warning(&format!("the stored body of {} cannot be read: {why}", self.target.url));
                return None;
            }
        };
        let answer = &found.answer;
        let age = answer.age(cache::now());
        let status = CacheStatus {
            hit: served.forward.is_none(),
            forward: served.forward.map(|(why, _)| why),
            forward_status: served.forward.and_then(|(_, status)| status),
            ttl: Some(self.ttl(answer)),
            level: found.stored.level,
            collapsed: served.collapsed,
            detail: served.detail,
            ..CacheStatus::default()
        };
        let size = Some(found.stored.size);
        let mut response = reply(&self.question(), answer, Source::whole(file), size, Some(age), &status);
        if !self.target.keep_cookies {
            take_cookies(response.headers_mut());
        }
        // For the record of the entrance that it was asked for at, if that was one.
        let (key, stored) = (self.key.clone(), Arc::clone(&found.stored));
        response.extensions_mut().insert(MadeFrom { key, stored });
        Some((response, served.result).into())
    }

    /// The entry names a body that is not there: it is not to be looked for again.
    fn lost(&self, cache: &Cache, found: &Shelved) -> Option<Handled> {
        let digest = found.stored.digest;
        let change =
            cache.shelf.change(&self.key, &[], |entry| entry.responses.retain(|it| it.digest != digest));
        if let Err(error) = change {
            let why = explained(&error);
            cache.outside.warning(&format!("the entry of {} cannot be changed: {why}", self.target.url));
        }
        None
    }
}

fn has_size(file: &File, size: u64) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == size)
}

#[cfg(test)]
mod tests;
