//! Registries: tags, and what has a digest.
//!
//! A tag's digest is asked for with HEAD, which no registry counts as a pull; what has the digest
//! is fetched once, for all tags and for ever. Whether an account may have a blob that is stored
//! for another one, its registry is asked.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use storekit::{Checksum, Digest, Level, PackageEntry, StoredResponse, printable};

use crate::cache::{self, Cache};
use crate::ecosystem::oci::{self, RegistryPath, What};
use crate::ecosystem::ruling::Freshness;
use crate::ecosystem::{Asked, Class, Package};
use crate::fetch::redirect::Trip;
use crate::index::ruled::{Known, Plan, plain, ruled};
use crate::index::{document, login};
use crate::observe::meter;
use crate::proxy::lookup::{Lookup, NOT_STORED};
use crate::response::reply::own;
use crate::response::stored_head::Answer;
use crate::rules::fields::cache_status::CacheStatus;
use crate::store::{FoundBody, Shelved};

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// All forms of a manifest that clients of today know.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/// The same, each by itself.
const FORMS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What is neither a tag nor has a digest: the greeting is answered here, nothing else is mirrored.
pub(super) fn interface(lookup: &Lookup) -> Plan {
    if lookup.target.below == login::TOKEN {
        return login::token(&lookup.headers);
    }
    if lookup.target.below.trim_end_matches('/') == "/v2" && !lookup.headers.contains_key(AUTHORIZATION) {
        return login::greeting(&lookup.config, &lookup.headers);
    }
    if lookup.target.below.trim_end_matches('/') != "/v2" {
        return Plan::refused(StatusCode::NOT_FOUND, "only tags, manifests and blobs are mirrored here");
    }
    let mut response = own(StatusCode::OK, "{}", None);
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Plan::answer(response, meter::Result::Own)
}

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup, asked: &Asked) -> Plan {
    let Some(RegistryPath { what, .. }) = oci::parse(&lookup.target.below) else {
        return interface(&lookup);
    };
    match (what, asked.class) {
        (What::Tag(_), _) => tag(cache, lookup).await,
        (What::Manifest(_), class) => {
            let mut lookup = ruled(lookup, plain(class));
            lookup.ruling.accept = Some(MANIFESTS);
            Plan::Lookup(Box::new(may_adopt(cache, lookup).await))
        }
        (What::Blob(_), class) => Plan::Lookup(Box::new(may_adopt(cache, ruled(lookup, plain(class))).await)),
        (What::Tags | What::Referrers(_), _) => Plan::Lookup(Box::new(negotiated(lookup, Known::Index))),
    }
}

fn negotiated(lookup: Lookup, known: Known) -> Lookup {
    let mut lookup = ruled(lookup, known);
    lookup.ruling.negotiated = true;
    lookup
}

/// What is stored for another repository or account is handed on where the registry says that this
/// account may have it.
async fn may_adopt(cache: &Arc<Cache>, mut lookup: Lookup) -> Lookup {
    let digest = lookup.ruling.expected.and_then(|expected| expected.checksum.digest());
    let known = cache.shelf.find(&lookup.key);
    let has_own = known
        .is_some_and(|known| known.select_where(&lookup.headers, |it| lookup.ruling.accepts(it)).is_some());
    let Some(digest) = digest.filter(|_| !has_own && !lookup.is_offline()) else { return lookup };
    if matches!(cache.shelf.body(&digest).await, Ok(FoundBody::Sound(_))) {
        let answer = head(cache, &lookup, false).await;
        lookup.ruling.adopts = answer.is_ok_and(|it| it.status() == StatusCode::OK);
    }
    lookup
}

async fn head(
    cache: &Cache,
    lookup: &Lookup,
    spare: bool,
) -> Result<Response<Incoming>, crate::upstream::SendError> {
    let route = cache.route(&lookup.config, lookup.target.private);
    let (method, target) = (&Method::HEAD, &lookup.target);
    let trip = Trip { cache, method, target, route: &route, wire: None, spare };
    let mut headers = HeaderMap::new();
    for name in [ACCEPT, USER_AGENT, AUTHORIZATION] {
        for value in lookup.headers.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    trip.follow(headers).await
}

/// A tag: what is stored for it while that is fresh; else its digest is asked for, and what has
/// that digest becomes what is stored for it.
async fn tag(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let lookup = with_forms(negotiated(lookup, Known::Tag));
    if is_fresh(cache, &lookup) {
        return Plan::Lookup(Box::new(lookup));
    }
    if lookup.is_offline() {
        return offline(cache, lookup);
    }
    let turn = cache.index.turns.of(lookup.key.digest());
    let _asks = turn.lock().await;
    if is_fresh(cache, &lookup) {
        return Plan::Lookup(Box::new(lookup));
    }
    let known = cache.shelf.find(&lookup.key);
    let found = known.as_ref().and_then(|known| known.select(&lookup.headers));
    let stands = found.is_some_and(|it| it.answer.stands_by_rule(&lookup.ruling, cache::now()) == Some(true));
    let instead = if stands { None } else { in_another_choice(cache, &lookup) };
    let answer = head(cache, &lookup, stands || instead.is_some()).await;
    let failing = answer
        .as_ref()
        .map_or(true, |it| it.status().is_server_error() || it.status() == StatusCode::TOO_MANY_REQUESTS);
    if failing && stands {
        let age = found.map_or(0, |found| found.answer.age(cache::now()));
        return Plan::Lookup(Box::new(as_it_is(lookup, age)));
    }
    if let Some((other, age)) = instead.filter(|_| failing) {
        return Plan::Lookup(Box::new(as_it_is(other, age)));
    }
    let Ok(answer) = answer else { return Plan::Lookup(Box::new(lookup)) };
    let named = answer.headers().get(DIGEST).and_then(|it| it.to_str().ok()?.parse::<Checksum>().ok());
    // A registry that does not say it, or has nothing: its answer to the request itself tells.
    let Some(named) = named.filter(|_| answer.status() == StatusCode::OK) else {
        return Plan::Lookup(Box::new(lookup));
    };
    drop(answer);
    let stored = found.filter(|it| Some(it.stored.digest) == named.digest()).map(|it| it.stored.digest);
    let digest = match stored {
        Some(digest) => Some(Tagged { digest, answer: None }),
        None => match manifest(cache, &lookup, named).await {
            Ok(tagged) => Some(tagged),
            Err(plan) => return plan,
        },
    };
    if let Some(tagged) = digest {
        keep(cache, &lookup, tagged);
    }
    Plan::Lookup(Box::new(as_it_is(lookup, 0)))
}

/// A tag where no registry is asked.
fn offline(cache: &Cache, lookup: Lookup) -> Plan {
    let Some(known) = cache.shelf.find(&lookup.key) else { return Plan::Lookup(Box::new(lookup)) };
    if known.select(&lookup.headers).is_some() {
        return Plan::Lookup(Box::new(lookup));
    }
    if let Some((other, _)) = in_another_choice(cache, &lookup) {
        return Plan::Lookup(Box::new(other));
    }
    let forms: Vec<_> = known.responses.iter().filter_map(|it| form(&it.answer)).collect();
    let text = format!(
        "{}: the proxy is offline, and this is stored in a form that the client does not take: {}",
        lookup.target.url,
        printable(&forms.join(", "))
    );
    let status = CacheStatus { detail: Some(NOT_STORED), ..CacheStatus::default() };
    Plan::answer(own(StatusCode::GATEWAY_TIMEOUT, text, Some(&status)), meter::Result::Error)
}

/// What is stored for clients that take other forms, where this one takes the form that was chosen,
/// and its registry would choose no other: the lookup that finds it, and its age. An image for one
/// platform, given to clients that know no lists of them, is not for others.
fn in_another_choice(cache: &Cache, lookup: &Lookup) -> Option<(Lookup, i64)> {
    let is_list = |form: &str| form.contains(".index.") || form.contains(".manifest.list.");
    let takes: Vec<_> = match lookup.headers.get(ACCEPT) {
        Some(accept) => accept.to_str().ok()?.split(',').map(str::trim).collect(),
        None => FORMS.to_vec(),
    };
    let known = cache.shelf.find(&lookup.key)?;
    let now = cache::now();
    let fits = |it: &&Shelved| {
        let chosen_of = it.stored.selecting.get("accept");
        let standing = it.answer.stands_by_rule(&lookup.ruling, now) == Some(true) || lookup.is_offline();
        let form = form(&it.answer).filter(|form| takes.contains(form));
        standing
            && it.answer.status == StatusCode::OK
            && form.is_some_and(|form| is_list(form) || chosen_of.is_some_and(|forms| is_list(forms)))
    };
    let found = known.responses.iter().find(fits)?;
    let accept = HeaderValue::from_str(found.stored.selecting.get("accept")?).ok()?;
    let mut other = lookup.clone();
    other.headers.insert(ACCEPT, accept);
    Some((other, found.answer.age(now)))
}

/// The form of a stored manifest.
fn form(answer: &Answer) -> Option<&str> {
    let media = answer.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    media.split(';').next().map(str::trim)
}

/// The lookup with those forms of a manifest that its client takes, in one order: docker sends them
/// in another one each time, and what one client was given, another that takes the same gets too.
fn with_forms(mut lookup: Lookup) -> Lookup {
    let values = lookup.headers.get_all(&ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let kinds = values.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
    let kinds: Vec<_> = kinds.map(str::trim).collect();
    let takes =
        |form: &&&str| kinds.iter().any(|kind| matches!(*kind, "*/*" | "application/*") || kind == *form);
    let forms: Vec<_> = FORMS.iter().filter(takes).copied().collect();
    if let Some(value) = HeaderValue::from_str(&forms.join(", ")).ok().filter(|_| !forms.is_empty()) {
        lookup.headers.insert(ACCEPT, value);
    }
    lookup
}

/// Whether what is stored for the tag needs no question.
fn is_fresh(cache: &Cache, lookup: &Lookup) -> bool {
    let known = cache.shelf.find(&lookup.key);
    let found = known.as_ref().and_then(|known| known.select(&lookup.headers));
    found.is_some_and(|found| found.answer.ttl(&lookup.ruling, false, cache::now()) > 0)
}

/// What is stored, whatever its time: for this request alone, so that the next one asks again.
fn as_it_is(mut lookup: Lookup, age: i64) -> Lookup {
    lookup.ruling.freshness = Freshness::For(age.saturating_add(60));
    lookup
}

/// What a tag stands for.
struct Tagged {
    digest: Digest,
    answer: Option<StoredResponse>,
}

/// The manifest that has this digest, fetched if it is not stored.
async fn manifest(cache: &Arc<Cache>, lookup: &Lookup, named: Checksum) -> Result<Tagged, Plan> {
    let mut other = lookup.clone();
    let Some((folder, _)) = other.target.below.rsplit_once('/') else { return Err(interface(&other)) };
    other.target.below = format!("{folder}/{named}");
    let url = format!("{}{}", other.target.upstream.to_string().trim_end_matches('/'), other.target.below);
    let Some(url) = url.parse().ok().and_then(|url| crate::config::target::normal(&url)) else {
        return Err(interface(&other));
    };
    other.target.url = url;
    other.method = Method::GET;
    other.package = Package { version: Some(named.to_string()), ..other.package };
    other.key = cache::key(&other.target, &other.headers);
    let mut other = ruled(other, plain(Class::SelfCertifying(named)));
    other.ruling.accept = Some(MANIFESTS);
    let document = document::current(cache, &other).await?;
    let answer = document.answer.to_stored(document.digest, document.size());
    Ok(Tagged { digest: document.digest, answer: Some(answer) })
}

/// Writes down what the tag stands for now, for requests with these forms.
fn keep(cache: &Arc<Cache>, lookup: &Lookup, tagged: Tagged) {
    let now = Timestamp::now();
    let names = vec!["accept".to_owned()];
    let selecting = crate::rules::vary::selecting(&names, &lookup.headers);
    let package = lookup.package.clone();
    let Ok(Some(lease)) = cache.store.packages().blobs().lease(&tagged.digest) else { return };
    let change = |entry: &mut PackageEntry| {
        entry.key.ecosystem.clone_from(&lookup.key.ecosystem);
        (entry.name, entry.package_version) = (package.name, package.version);
        let same = |it: &StoredResponse| it.vary == names && it.selecting == selecting;
        let standing = entry.responses.iter().find(|it| same(it) && it.digest == tagged.digest).cloned();
        entry.responses.retain(|it| !same(it));
        let Some(base) = tagged.answer.or(standing) else { return };
        let headers = base.headers.into_iter().filter(|(name, _)| name != "vary");
        let headers = headers.chain([("vary".to_owned(), "accept".to_owned())]).collect();
        let (requested, received) = (now, now);
        let response = StoredResponse {
            vary: names.clone(),
            selecting: selecting.clone(),
            level: Level::Indexed,
            headers,
            requested,
            received,
            ..base
        };
        entry.responses.insert(0, response);
    };
    if let Err(error) = cache.shelf.change(&lookup.key, &[lease], change) {
        cache.outside.warning(&format!(
            "{} could not be kept: {}",
            lookup.target.url,
            crate::error::explained(&error)
        ));
    }
}
