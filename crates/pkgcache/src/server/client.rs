//! One client's connection: each of its requests to the right place, and what is noted of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use storekit::{Level, PackageKey};
use tokio::sync::watch;

use crate::cache::{self, Cache};
use crate::config::Config;
use crate::config::target::{NoTarget, Target, may_reach, registry_path, target_for};
use crate::ecosystem::Package;
use crate::ecosystem::ruling::{Freshness, Ruling};
use crate::error::explained;
use crate::index::guarded;
use crate::index::{self, Plan, login};
use crate::observe::meter::{self, Line, Meter, Turn, add};
use crate::observe::record::{MadeFrom, Note, Visit};
use crate::observe::refusals::without_queries;
use crate::observe::uses::Wanted;
use crate::proxy::lookup::{Handled, Lookup, UPSTREAM_FAILED};
use crate::proxy::tunnel;
use crate::response::body::Body;
use crate::response::location;
use crate::response::reply::{Reason, for_yarn_classic, is_yarn_classic, own};
use crate::rules::fields::cache_status::{self, CACHE_STATUS, CacheStatus, Forward};
use crate::rules::fields::{hop, max_forwards};
use crate::server::pages::{HEALTH, METRICS, STATUS_JSON, is_own};
use crate::server::short_path::ShortAnswer;
use crate::server::simple_request::SimpleRequest;
use crate::server::{hit, intercept, look};
use crate::status::{self, Status};
use crate::wire::guard::{Draining, Refused, Wire, stands_in};
use crate::wire::peer::Peer;
use crate::wire::seat::Seat;

/// An answer of this program's own that is more than a word.
fn of_kind(kind: &'static str, text: impl Into<String>) -> Response<Body> {
    let mut response = own(StatusCode::OK, text, None);
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

/// The page about this program. It needs nothing but itself, and no other page may show it.
fn page(status: &Status) -> Response<Body> {
    let mut response = of_kind("text/html; charset=utf-8", status::page::html(status));
    let rules = [
        ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ];
    let rules = rules
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    response.headers_mut().extend(rules);
    response
}

/// The answer to an OPTIONS that is for this proxy: what it does for any URL.
fn allowed() -> Response<Body> {
    let mut response = own(StatusCode::OK, "`Max-Forwards: 0`: this proxy answers", None);
    let methods = http::HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(http::header::ALLOW, methods);
    response
}

/// What this cache itself says of the answer: the last to speak, after those nearer to the server.
fn own_status(headers: &http::HeaderMap) -> Option<String> {
    let last = headers.get_all(CACHE_STATUS).iter().next_back()?;
    last.to_str().ok().map(str::to_owned)
}

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) cache: Arc<Cache>,
    pub(super) wire: Arc<Wire>,
    pub(super) peer: Peer,
    /// Whether it has more connections than it may have, and is only told so.
    pub(super) is_crowded: bool,
    /// Held by every request under way.
    pub(super) busy: Arc<()>,
    pub(super) seat: Arc<Seat>,
    /// Says when the server is to end.
    pub(super) stops: watch::Receiver<bool>,
    /// The entrance that it came in by, if it was one.
    pub(super) visit: Option<Visit>,
    /// What the answer is of that is being made: on a connection, one at a time.
    pub(super) noting: Mutex<Option<Box<Note>>>,
    /// The intercepted server that it means, where it came in by a tunnel that ended here.
    pub(super) server: Option<Authority>,
}

impl Client {
    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.busy) == 1 && !self.wire.is_writing()
    }

    /// Whether nothing is under way, and nothing of a next request has come.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.is_idle() && self.wire.is_between_requests()
    }

    /// Watches the connection from now on, when the server is to end.
    pub(crate) fn draining(&self) -> Draining {
        Draining::new(&self.wire, &self.cache.queues)
    }

    /// Whether nothing has moved for so long that the connection is to end. It is counted then.
    pub(crate) fn is_drained(&self, draining: &mut Draining) -> bool {
        let patience = self.cache.config().limits.drain;
        let over = draining.is_over(&self.wire, &self.cache.queues, patience);
        add(&self.cache.counts.cut, u64::from(over));
        over
    }

    /// The client as it is in a tunnel to the server that ends here. It has this connection still.
    pub(super) fn within(&self, server: Authority) -> Self {
        Self {
            cache: Arc::clone(&self.cache),
            wire: Arc::clone(&self.wire),
            peer: self.peer,
            is_crowded: self.is_crowded,
            busy: Arc::default(),
            seat: Arc::clone(&self.seat),
            stops: self.stops.clone(),
            visit: self.visit.clone(),
            noting: Mutex::default(),
            server: Some(server),
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let (busy, began) = (Arc::clone(&self.busy), Instant::now());
        let refused = stands_in(request.headers()).then(|| self.wire.refused()).flatten();
        let server = self.server.as_ref().filter(|_| refused.is_none());
        let placed = server.map_or(Ok(()), |server| intercept::placed(server, &mut request));
        let mut line = self.line(request.method(), request.uri());
        let (old, asked) = (request.version() == http::Version::HTTP_10, request.uri().clone());
        let is_classic = is_yarn_classic(request.headers());
        let is_private = request.headers().contains_key(http::header::AUTHORIZATION);
        let (slot, refused) = (tunnel::Slot::default(), refused.as_ref());
        let (mut response, result) = match (refused, placed) {
            (Some(Refused { refusal, .. }), _) => self.refuse(refusal.status, refusal.reason),
            (None, Err((status, reason))) => self.refuse(status, reason),
            (None, Ok(())) => self.followed(request, &slot).await,
        };
        // What is not there, or will be asked for again with credentials, is no trouble.
        let status = response.status();
        let is_trouble = status.is_server_error()
            || matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
        if let Some(Reason(reason)) = response.extensions_mut().remove().filter(|_| is_trouble) {
            // Some do not say of what.
            let names_it = reason.contains("://");
            // A query may be a signature that gives access.
            let asked = asked.to_string();
            let place = asked.split('?').next().unwrap_or_default();
            let reason = without_queries(&reason.replace(&asked, place));
            if is_classic {
                response = for_yarn_classic(response, &reason);
            }
            if let Some(line) = &mut line {
                line.reason = Some(reason.clone());
            }
            let reason = if names_it { reason } else { format!("{place}: {reason}") };
            self.cache.refusals.note(reason, is_private);
        }
        if let (Some(line), Some(refused)) = (&mut line, refused) {
            line.show(&refused.line);
        }
        let line = line.map(|mut line| {
            line.status = response.status().as_u16();
            line.result = result;
            line.cache = own_status(response.headers());
            line
        });
        let turn = response.extensions_mut().remove::<Turn>().flatten();
        let note = self.noted(&mut response);
        let wanted = note.as_ref().filter(|note| !note.is_absent()).map(|note| Wanted::of(&note.key));
        let busy = (busy, turn);
        let mut meter = Meter::new(Arc::clone(&self.cache.counts), result, line, (busy, began)).of(wanted);
        if let Some(visit) = &self.visit {
            meter = meter.noted_by(&visit.recorder, note);
        }
        if result == meter::Result::Tunnel {
            slot.put(meter);
            return response;
        }
        if hyper::body::Body::is_end_stream(response.body()) {
            meter.set_whole();
        } else if old && hyper::body::Body::size_hint(response.body()).exact().is_none() {
            self.wire.end_marks_the_answer();
        }
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = body.metered(meter);
        response
    }

    /// Answers a request on the short way, if that leads there.
    pub(crate) fn quick(&self, plain: &SimpleRequest<'_>) -> Option<ShortAnswer> {
        let (config, began) = (self.cache.config(), Instant::now());
        // A record names what vouches for a file as well, at which the short way does not look.
        if self.is_crowded
            || self.visit.is_some()
            || self.server.is_some()
            || !config.clients.let_in(&self.peer)
        {
            return None;
        }
        let hit = hit::find(&self.cache, &config, plain)?;
        let method = if plain.head_only { Method::HEAD } else { Method::GET };
        let line = self.line(&method, &hit.place.url).map(|mut line| {
            line.status = 200;
            line.result = meter::Result::Hit;
            line.cache = Some(hit.head.status.to_string());
            line
        });
        let busy = (Arc::clone(&self.busy), None);
        let meter = Meter::new(Arc::clone(&self.cache.counts), meter::Result::Hit, line, (busy, began));
        let meter = meter.of((!plain.head_only).then(|| Arc::clone(&hit.place.spot.wanted)));
        add(&self.cache.counts.quick, 1);
        let end = if plain.head_only { 0 } else { hit.size };
        Some(ShortAnswer { head: hit.head.bytes.clone(), file: hit.file, at: 0, end, meter })
    }

    /// The line of the access log, if there is one.
    fn line(&self, method: &Method, url: &Uri) -> Option<Box<Line>> {
        let log = self.cache.access()?;
        let line = Line {
            time: jiff::Timestamp::now(),
            client: self.peer.ip(),
            method: method.to_string(),
            url: url.to_string(),
            request: None,
            status: 0,
            result: meter::Result::Own,
            cache: None,
            reason: None,
            bytes: 0,
            received: None,
            seconds: 0.0,
            whole: false,
            ends: (log, Instant::now()),
        };
        Some(Box::new(line))
    }

    /// The same as [`Self::dispatch`]; what it looks at is noted where it came in at an entrance.
    async fn followed(
        &self,
        request: Request<Incoming>,
        slot: &tunnel::Slot,
    ) -> (Response<Body>, meter::Result) {
        match &self.visit {
            Some(visit) => visit.recorder.trace.follow(Box::pin(self.dispatch(request, slot))).await,
            None => self.dispatch(request, slot).await,
        }
    }

    async fn dispatch(
        &self,
        mut request: Request<Incoming>,
        slot: &tunnel::Slot,
    ) -> (Response<Body>, meter::Result) {
        let config = self.cache.config();
        if self.is_crowded {
            let most = config.limits.client_connections.unwrap_or(0);
            let text =
                format!("this client has {most} connections: `max-connections-per-client` allows no more");
            return self.busy(StatusCode::TOO_MANY_REQUESTS, &text);
        }
        // A known client may bring it as well: it is taken off all the same.
        let has_token = tunnel::has_token(&config.clients, request.headers_mut());
        // In a tunnel that ended here, it was let in when that was opened.
        let is_in = has_token || self.server.is_some() || config.clients.let_in(&self.peer);
        if !is_in {
            // A client that asks for a path takes this for the server itself.
            let as_proxy = *request.method() == Method::CONNECT || request.uri().authority().is_some();
            return self.refuse(if as_proxy { 407 } else { 401 }, "a token is needed");
        }
        if self.is_looping(&request) {
            return self.refuse(508, "the request came back to this proxy: it goes in a loop");
        }
        let method = request.method().clone();
        if !max_forwards::goes_on(&method, request.headers_mut()) {
            return (allowed(), meter::Result::Own);
        }
        match method {
            Method::CONNECT => {
                if let Some(server) = intercept::server(&config, request.uri()) {
                    return intercept::open(self, &config, &server, request);
                }
                self.note(Note::of_tunnel(request.uri()));
                tunnel::connect(&self.cache, &config, request, self.end(slot)).await
            }
            Method::TRACE => self.refuse(405, "TRACE is not answered"),
            _ => match self.own(&config, &request).await {
                Some(response) => (response, meter::Result::Own),
                None => self.challenging(config, request).await,
            },
        }
    }

    /// The same as [`Self::proxy`]; a registry's client is told to bring its credentials here.
    async fn challenging(
        &self,
        config: Arc<Config>,
        request: Request<Incoming>,
    ) -> (Response<Body>, meter::Result) {
        let is_registry = registry_path(&config, request.uri()).is_some();
        // What a client reaches by itself, through the forward door, speaks for itself.
        let is_met_here = is_registry && !may_reach(&config, request.uri());
        let here = is_met_here.then(|| index::here(&config, request.headers()));
        let ranges = login::ranges(&config, request.method(), request.uri(), request.headers());
        let (mut response, result) = self.proxy(Arc::clone(&config), request).await;
        if let Some(here) = here.filter(|_| response.status() == StatusCode::UNAUTHORIZED) {
            login::challenge(&here, response.headers_mut());
        }
        if let Some(ranges) = ranges.filter(|_| is_registry && response.status() == StatusCode::OK) {
            response.headers_mut().insert(http::header::LOCATION, ranges);
        }
        (response, result)
    }

    /// What a tunnel has to know of its client's side.
    fn end(&self, slot: &tunnel::Slot) -> tunnel::End {
        tunnel::End {
            wire: Arc::clone(&self.wire),
            _seat: Arc::clone(&self.seat),
            stops: self.stops.clone(),
            meter: slot.clone(),
        }
    }

    fn refuse(&self, status: u16, reason: &str) -> (Response<Body>, meter::Result) {
        add(&self.cache.counts.refused, 1);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = own(status, reason, None);
        let challenge = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(http::header::PROXY_AUTHENTICATE),
            StatusCode::UNAUTHORIZED => Some(http::header::WWW_AUTHENTICATE),
            _ => None,
        };
        let basic = http::HeaderValue::from_static("Basic realm=\"pkgcache\"");
        response.headers_mut().extend(challenge.map(|name| (name, basic)));
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        (response, meter::Result::Error)
    }

    /// Refuses for now.
    fn busy(&self, status: StatusCode, reason: &str) -> (Response<Body>, meter::Result) {
        let (mut response, result) = self.refuse(status.as_u16(), reason);
        response.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
        (response, result)
    }

    fn is_looping(&self, request: &Request<Incoming>) -> bool {
        let own = self.cache.via.as_bytes();
        let mut lines = request.headers().get_all(http::header::VIA).iter();
        lines.any(|line| line.as_bytes().windows(own.len()).any(|part| part == own))
    }

    /// What this program says of itself.
    async fn own(&self, config: &Config, request: &Request<Incoming>) -> Option<Response<Body>> {
        if !(matches!(*request.method(), Method::GET | Method::HEAD) && is_own(config, request.uri())) {
            return None;
        }
        Some(match request.uri().path() {
            HEALTH => own(StatusCode::OK, "ok", None),
            METRICS => {
                let text = self.cache.counts.to_text() + &look::sizes(&self.cache);
                of_kind("text/plain; version=0.0.4; charset=utf-8", text.trim_end())
            }
            path => match look::look(&self.cache, request.headers()).await {
                Ok(status) if path == STATUS_JSON => of_kind("application/json", status.to_json()),
                Ok(status) => page(&status),
                Err(error) => own(StatusCode::INTERNAL_SERVER_ERROR, explained(&error), None),
            },
        })
    }

    /// The answer to a request whose upstream would send the whole of what has to be compared
    /// first, though a part was asked for, or another request's answer could not be shared.
    async fn compared(&self, lookup: &Lookup) -> (Response<Body>, meter::Result) {
        match lookup.handle(&self.cache).await {
            Handled::Answered(response, result) => (*response, result),
            Handled::Forward(_) => {
                let text = format!("{}: it could not be compared with its index", lookup.target.url);
                let status = CacheStatus { detail: Some(UPSTREAM_FAILED), ..CacheStatus::default() };
                (own(StatusCode::BAD_GATEWAY, text, Some(&status)), meter::Result::Error)
            }
        }
    }

    async fn proxy(
        &self,
        config: Arc<Config>,
        request: Request<Incoming>,
    ) -> (Response<Body>, meter::Result) {
        let agent = request.headers().get(http::header::USER_AGENT);
        let is_ollama = agent.is_some_and(|agent| index::login::is_ollama(agent.as_bytes()));
        let target = match target_for(&config, request.uri(), is_ollama) {
            Ok(target) => target,
            Err(NoTarget::Malformed(why)) => return self.refuse(400, why),
            Err(NoTarget::Forbidden(why)) => return self.refuse(403, &why),
            Err(NoTarget::Unknown) => {
                return (own(StatusCode::NOT_FOUND, "nothing is mounted there", None), meter::Result::Error);
            }
        };
        let most = target.sources.max_requests.map(NonZeroUsize::get);
        let turn = match most {
            Some(most) => self.cache.crowd.turn(&target.upstream.to_string(), most).await,
            None => None,
        };
        if let Some(most) = most.filter(|_| turn.is_none()) {
            let text = format!("{} has {most} requests: its `max-requests` allows no more", target.upstream);
            return self.busy(StatusCode::SERVICE_UNAVAILABLE, &text);
        }
        let (mut response, result) = self.proxy_to(config, target, request).await;
        // It lasts as long as the answer's body.
        response.extensions_mut().insert(turn.map(Arc::new));
        (response, result)
    }

    async fn proxy_to(
        &self,
        config: Arc<Config>,
        target: Target,
        request: Request<Incoming>,
    ) -> (Response<Body>, meter::Result) {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        hop::strip(&mut headers);
        if target.kind.is_registry() {
            login::unwrap(&mut headers);
        }
        let key = cache::key(&target, &headers);
        let newest = parts.version == http::Version::HTTP_11;
        let wire = newest.then(|| Arc::clone(&self.wire));
        let bodiless = hyper::body::Body::is_end_stream(&body);
        let lookup = Lookup {
            method: parts.method,
            headers,
            target,
            package: Package::default(),
            ruling: Ruling::default(),
            key,
            config,
            wire,
        };
        self.note_lookup(&lookup);
        let (key, parts) = (lookup.key.clone(), (parts.uri, bodiless));
        let answered = Box::pin(self.looked_up(lookup, parts, body)).await;
        self.or_absent(&key, answered)
    }

    async fn looked_up(
        &self,
        mut lookup: Lookup,
        (asked, bodiless): (Uri, bool),
        body: Incoming,
    ) -> (Response<Body>, meter::Result) {
        let reads = bodiless && matches!(lookup.method, Method::GET | Method::HEAD);
        if lookup.config.guards.is_some()
            && let Some(Plan::Answer(response, result)) =
                Box::pin(guarded::before(&self.cache, &lookup, asked.query())).await
        {
            return (*response, result);
        }
        if reads && index::knows(&lookup.target) {
            let from = index::From { client: self.peer, query: asked.query(), asked: &asked };
            match Box::pin(index::plan(&self.cache, lookup, &from)).await {
                Plan::Lookup(planned) => lookup = *planned,
                Plan::Answer(response, result) => return (*response, result),
            }
        }
        self.note_planned(&lookup);
        let may_push = may_reach(&lookup.config, &asked);
        let handled = match lookup.method {
            _ if reads => lookup.handle(&self.cache).await,
            _ if index::lfs::is_batch(&lookup) => {
                return Box::pin(index::lfs::batch(&self.cache, &lookup, body)).await;
            }
            _ if lookup.target.kind.is_registry() && !may_push => {
                return self.refuse(
                    405,
                    "registries are mirrored here for pulls alone: push to the registry itself",
                );
            }
            _ if lookup.is_offline() => {
                let who = match lookup.config.replays {
                    true => "a replay",
                    false if lookup.config.offline => "the proxy is offline, and",
                    false => "the mount is read-only, and",
                };
                let text = format!("{}: {who} asks no upstream", lookup.target.url);
                return (own(StatusCode::GATEWAY_TIMEOUT, text, None), meter::Result::Error);
            }
            _ => Handled::Forward(Forward::Method),
        };
        let (mut response, result) = match handled {
            Handled::Answered(response, result) => (*response, result),
            Handled::Forward(why) => {
                let passed = lookup.forward(&self.cache, body, why).await;
                if passed.0.status() == StatusCode::OK && lookup.must_be_compared() {
                    drop(passed);
                    lookup.headers.remove(http::header::RANGE);
                    self.compared(&lookup).await
                } else {
                    passed
                }
            }
        };
        if lookup.ruling.level >= Level::Indexed && matches!(response.status().as_u16(), 404 | 410) {
            // To a client that would be a reason to take another version, or another index.
            let text =
                format!("{}: its index names it, and the upstream does not have it", lookup.target.url);
            let status = CacheStatus { detail: Some(UPSTREAM_FAILED), ..CacheStatus::default() };
            return (own(StatusCode::BAD_GATEWAY, text, Some(&status)), meter::Result::Error);
        }
        location::rewrite(&lookup.config, &lookup.target, response.headers_mut());
        if lookup.ruling.standing.withdrawn && response.status().is_success() {
            add(&self.cache.counts.withdrawn, 1);
            cache_status::mark(response.headers_mut(), "withdrawn");
        }
        (response, result)
    }

    /// Notes what the answer that is being made is of.
    fn note(&self, note: Note) {
        *self.noting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(note));
    }

    /// The same of a request that may be answered with what is stored. Of a HEAD, only that there
    /// is nothing is told.
    fn note_lookup(&self, lookup: &Lookup) {
        let heads = lookup.method == Method::HEAD;
        if heads || lookup.method == Method::GET {
            self.note(Note { heads, ..Note::of(lookup.key.clone()) });
        }
    }

    /// Notes what else is known of it: where it is stored, and that it may be stored only now.
    fn note_planned(&self, lookup: &Lookup) {
        if let Some(note) = self.noting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            note.key = lookup.key.clone();
            // Only who takes notes waits for a fetch.
            note.flight = self.visit.is_some().then(|| lookup.flight_key());
            note.changes = lookup.ruling.freshness != Freshness::Forever || lookup.ruling.generations > 0;
        }
    }

    /// What the response is of, where it gives something: the body, that it is still the same, or
    /// that there is none.
    fn noted(&self, response: &mut Response<Body>) -> Option<Box<Note>> {
        let note = self.noting.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let origin = response.extensions_mut().remove::<MadeFrom>();
        note.answered(response.status(), origin).map(Box::new)
    }

    /// The answer, or that there is nothing, where a record says so: what is not in it otherwise
    /// would make a client try again.
    fn or_absent(
        &self,
        key: &PackageKey,
        answered: (Response<Body>, meter::Result),
    ) -> (Response<Body>, meter::Result) {
        let absent =
            self.cache.shelf.absent(key).filter(|_| answered.0.status() == StatusCode::GATEWAY_TIMEOUT);
        let Some(status) = absent.and_then(|status| StatusCode::from_u16(status).ok()) else {
            return answered;
        };
        let text = format!("{}: there was none when this was recorded", key.url);
        (own(status, text, Some(&CacheStatus::default())), meter::Result::Hit)
    }
}
