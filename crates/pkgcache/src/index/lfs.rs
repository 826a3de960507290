//! Objects of Git LFS: the server says in the answer to a batch who may have them, and where they
//! are; the client is led here, with a ticket that says that it may.
//!
//! Without a ticket nobody gets an object by its digest, whatever is stored. Where the server
//! cannot be asked, what is stored of this repository stands in, for the account that was let in.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT,
    HOST, HeaderName, HeaderValue, RANGE, VIA,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use storekit::Level;

use crate::cache::{self, Cache};
use crate::ecosystem::lfs::{self, Action, LARGEST_BATCH, Led, Object};
use crate::ecosystem::ruling::Expected;
use crate::ecosystem::{Class, Ecosystem};
use crate::fetch::ask_for_the_bytes;
use crate::index::ruled::{Known, Plan, as_class, at, base, ruled};
use crate::observe::meter::{self, add};
use crate::proxy::forward::refused;
use crate::proxy::lookup::Lookup;
use crate::response::body::Body;
use crate::response::reply::own;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::fields::hop;
use crate::upstream::{Outgoing, SendError};

/// The field that brings a ticket.
const TICKET: HeaderName = HeaderName::from_static("x-pkgcache-ticket");

/// Whether a request asks a server of Git LFS for objects, through a mount.
#[must_use]
pub(crate) fn is_batch(lookup: &Lookup) -> bool {
    lookup.target.kind == Ecosystem::GitLfs
        && lookup.method == Method::POST
        && lookup.target.mount.is_some()
        && lfs::is_batch(&lookup.target.below)
}

/// Asks the server, and leads the client here for what it may download.
pub(crate) async fn batch(cache: &Cache, lookup: &Lookup, body: Incoming) -> (Response<Body>, meter::Result) {
    let Ok(question) = Limited::new(body, LARGEST_BATCH).collect().await else {
        let text = "the question about a batch is larger than 8 MiB, or did not come whole";
        return (own(StatusCode::PAYLOAD_TOO_LARGE, text, None), meter::Result::Error);
    };
    let question = question.to_bytes();
    if lookup.is_offline() {
        let text = format!("{}: {}", lookup.target.url, lookup.unasked());
        return stood_in(cache, lookup, &question)
            .unwrap_or_else(|| (own(StatusCode::GATEWAY_TIMEOUT, text, None), meter::Result::Error));
    }
    match send(cache, lookup, question.clone()).await {
        Ok(answer) if is_failing(answer.status()) => match stood_in(cache, lookup, &question) {
            Some(stood_in) => stood_in,
            None => (lookup.passed_on(cache, answer, Forward::Method), meter::Result::Pass),
        },
        Ok(answer) if answer.status() == StatusCode::OK => led(cache, lookup, answer).await,
        Ok(answer) => (lookup.passed_on(cache, answer, Forward::Method), meter::Result::Pass),
        Err(error) => {
            stood_in(cache, lookup, &question).unwrap_or_else(|| (refused(&error), meter::Result::Error))
        }
    }
}

fn is_failing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

async fn send(cache: &Cache, lookup: &Lookup, question: Bytes) -> Result<Response<Incoming>, SendError> {
    let mut headers = lookup.headers.clone();
    for name in [HOST, CONTENT_LENGTH, EXPECT, RANGE] {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.append(VIA, cache.via.clone());
    let own = lookup.target.sources.credentials.clone();
    if let Some(own) =
        own.filter(|_| !headers.contains_key(AUTHORIZATION) && !lfs::wanted(&question).is_empty())
    {
        headers.insert(AUTHORIZATION, own);
    }
    let mut request: Request<Outgoing> = Request::new(Either::Left(Full::new(question)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = lookup.target.url.clone();
    *request.headers_mut() = headers;
    let route = cache.route(&lookup.config, lookup.target.private);
    add(&cache.counts.fetches, 1);
    let answer = cache.upstreams.send(request, &route, None).await;
    add(&cache.counts.failures, u64::from(answer.is_err()));
    answer
}

/// The server's answer, with the client led here.
async fn led(cache: &Cache, lookup: &Lookup, answer: Response<Incoming>) -> (Response<Body>, meter::Result) {
    let (mut parts, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, LARGEST_BATCH).collect().await else {
        let text = format!("{}: the answer is larger than 8 MiB, or did not come whole", lookup.target.url);
        return (own(StatusCode::BAD_GATEWAY, text, None), meter::Result::Error);
    };
    let body = body.to_bytes();
    let is_plain = !parts.headers.contains_key(CONTENT_ENCODING);
    let mut lead = |object: &Object, action: Action| lead(cache, lookup, object, Some(action));
    // What is not an answer to a batch says itself what it is.
    let written = if is_plain { lfs::led(&body, &mut lead).ok() } else { None };
    hop::strip(&mut parts.headers);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.append(VIA, cache.via.clone());
    CacheStatus::forwarded(Forward::Method).add_to(&mut parts.headers);
    let written = written.map_or(body, Bytes::from);
    (Response::from_parts(parts, Body::text(written)), meter::Result::Pass)
}

/// Where the client finds the object here, and its ticket.
fn lead(cache: &Cache, lookup: &Lookup, object: &Object, action: Option<Action>) -> Option<Led> {
    let path = lfs::object_path(&lookup.target.below, &object.oid)?;
    let base = base(lookup)?;
    let ticket = cache.index.grants.give(at(lookup, &path)?.key, object, action)?;
    Some(Led { href: format!("{}{}{path}", base.here, base.mount), header: (TICKET_NAME, ticket) })
}

/// As it is written for clients.
const TICKET_NAME: &str = "X-Pkgcache-Ticket";

/// What is stored of the objects, where the server cannot be asked whether the client may have
/// them; `None` where that is nothing.
fn stood_in(cache: &Cache, lookup: &Lookup, question: &[u8]) -> Option<(Response<Body>, meter::Result)> {
    let objects = lfs::wanted(question);
    let is_any = objects.iter().any(|object| stands(cache, lookup, object));
    let mut lead = |object: &Object| {
        let led = stands(cache, lookup, object).then(|| lead(cache, lookup, object, None));
        led.flatten()
    };
    let text = is_any.then(|| lfs::stood_in(&objects, &mut lead))?;
    let status = CacheStatus { hit: true, detail: Some("offline"), ..CacheStatus::default() };
    let mut response = own(StatusCode::OK, text, Some(&status));
    let json = HeaderValue::from_static("application/vnd.git-lfs+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Some((response, meter::Result::Stale))
}

/// Whether the object is stored for this client. An account's right to it is believed for as long
/// as a stored copy stands in for an upstream.
fn stands(cache: &Cache, lookup: &Lookup, object: &Object) -> bool {
    let key =
        lfs::object_path(&lookup.target.below, &object.oid).and_then(|path| Some(at(lookup, &path)?.key));
    let Some(known) = key.as_ref().and_then(|key| cache.shelf.find(key)) else { return false };
    let lasting = i64::try_from(lookup.config.stale_window.as_secs()).unwrap_or(i64::MAX);
    let lasts = |received: i64| {
        lookup.config.offline
            || key.as_ref().is_some_and(|key| key.scope.is_none())
            || cache::now() - received <= lasting
    };
    known.responses.iter().any(|it| it.stored.digest == object.oid && lasts(it.answer.times.received))
}

/// An object: for a client that has a ticket for it.
pub(super) fn plan(cache: &Cache, mut lookup: Lookup) -> Plan {
    let Some(oid) = lfs::object(&lookup.target.below).filter(|_| lookup.target.mount.is_some()) else {
        return Plan::Lookup(Box::new(as_class(lookup, Class::Api)));
    };
    let ticket = lookup.headers.remove(TICKET);
    let grant = ticket.as_ref().and_then(|ticket| cache.index.grants.of(ticket.to_str().ok()?));
    let Some(grant) = grant.filter(|grant| grant.object.oid == oid && grant.key.url == lookup.key.url) else {
        let text =
            "ask for it by `objects/batch`: this address is for a client that was led here, for a while";
        return Plan::refused(StatusCode::FORBIDDEN, text);
    };
    let range = lookup.headers.remove(RANGE);
    ask_for_the_bytes(&mut lookup.headers);
    lookup.headers.remove(AUTHORIZATION);
    lookup.headers.extend(range.map(|range| (RANGE, range)));
    lookup.key = grant.key.clone();
    lookup.target.read_only |= grant.action.is_none();
    if let Some(action) = &grant.action {
        // A private network is open to the host that was mounted, not to whatever it names.
        let same_host = action.url.host() == lookup.target.upstream.host();
        lookup.target.private = lookup.config.allow_private || (lookup.target.private && same_host);
    }
    lookup.target.action.clone_from(&grant.action);
    let expected = Expected { checksum: oid.into(), size: Some(grant.object.size) };
    Plan::Lookup(Box::new(ruled(lookup, Known::File(Level::Addressed, Some(expected)))))
}
