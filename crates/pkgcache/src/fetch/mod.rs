//! Asks an upstream for a URL and stores the answer, beside the requests that wait for it.
//!
//! What comes as a body is [`crate::fetch::download`]'s.
//!
//! Deliberately absent: whether an upstream has to be asked (`proxy`), and connections to it
//! (`upstream`).

pub(crate) mod ahead;
mod ask;
pub(crate) mod download;
mod head;
mod kept;
pub(crate) mod read_ahead;
pub(crate) mod redirect;
pub(crate) mod remote;
pub(crate) mod token;

use std::sync::Arc;
use std::time::Instant;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, HeaderValue, PRAGMA,
    RANGE,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use storekit::{Lease, PackageEntry, StoredResponse};
use tokio::task::spawn_blocking;

use crate::cache::{self, Cache};
use crate::error::explained;
pub(crate) use crate::fetch::ask::Ask;
use crate::fetch::ask::{follow, refused};
use crate::fetch::download::Download;
use crate::fetch::remote::Then;
use crate::observe::meter::add;
use crate::response::flight::{Flight, Stage, Trouble};
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::conditional;
use crate::rules::merge::take_cookies;
use crate::rules::reuse::Failure;
use crate::rules::storable::{self, Sharing};
use crate::rules::vary;
use crate::store::Shelved;
use crate::upstream::SendError;

/// Fields by which some servers let others say what was asked for, or how. An answer that depends
/// on them would be given to clients that did not send them.
const UNKEYED: [&str; 11] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-host",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Does the whole fetch; the requests that wait for `flight` are told.
pub(crate) async fn fetch(cache: Arc<Cache>, flight: Arc<Flight>, ask: Ask) {
    // Kept off the stack of every request that asks the upstream.
    let (ask, turn) = match Box::pin(remote::look(&cache, &flight, ask)).await {
        Then::Answered => return,
        Then::Ask(ask, turn) => (Arc::from(ask), turn),
    };
    let (requested, begun) = (cache::now(), Instant::now());
    match Box::pin(kept::answer(&cache, &flight, &ask)).await {
        None => {}
        Some(Err(error)) => flight.reach(Stage::Failed(Arc::new(trouble(&error)))),
        Some(Ok(response)) => {
            let times = Times { requested, received: cache::now() };
            settle(&cache, &flight, &ask, response, times, begun).await;
        }
    }
    // Nodes that wait look again when what was fetched is in the bucket.
    drop(turn);
}

fn trouble(error: &SendError) -> Trouble {
    let status = error.status().as_u16();
    let pause = match error {
        SendError::Paused(_, seconds, _) => Some(*seconds),
        _ => None,
    };
    Trouble { failure: Failure::Unreachable, status, message: error.to_string(), pause }
}

/// The answer to the question whether what is stored still holds, or to the plain request.
async fn answer(cache: &Cache, ask: &Ask) -> Result<Response<Incoming>, SendError> {
    let conditions =
        ask.stored.as_ref().map(|it| conditional::validators(&it.answer.headers)).unwrap_or_default();
    let asked = !conditions.is_empty();
    let spare = ask.stored.as_ref().is_some_and(|it| ask.may_stand_in(&it.answer, cache::now()));
    let response = follow(cache, ask, &conditions, spare).await?;
    let speaks =
        ask.stored.as_ref().is_some_and(|it| conditional::speaks_of(response.headers(), &it.answer.headers));
    if response.status() == StatusCode::NOT_MODIFIED && asked && !speaks {
        return follow(cache, ask, &HeaderMap::new(), spare).await;
    }
    Ok(response)
}

async fn settle(
    cache: &Arc<Cache>,
    flight: &Arc<Flight>,
    ask: &Arc<Ask>,
    response: Response<Incoming>,
    times: Times,
    begun: Instant,
) {
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED
        && let Some(stored) = &ask.stored
    {
        refresh(cache, flight, ask, stored, response.headers(), times).await;
        return flight.reach(Stage::Validated(stored.stored.digest));
    }
    if ask.ruling.is_failing(status)
        && let Some(stored) = &ask.stored
        && ask.may_stand_in(&stored.answer, times.received)
    {
        let message = format!("the upstream answered {status}");
        let trouble = Trouble { failure: Failure::Error, status: status.as_u16(), message, pause: None };
        return flight.reach(Stage::Failed(Arc::new(trouble)));
    }
    let total = response.body().size_hint().exact();
    if let Some(trouble) = ask.wrong_size(status, total) {
        add(&cache.counts.mismatches, u64::from(ask.ruling.is_strict()));
        cache.outside.warning(&trouble.message);
        return flight.reach(Stage::Failed(Arc::new(trouble)));
    }
    if let Some(trouble) = ask.beyond_looking(status, total) {
        cache.outside.warning(&trouble.message);
        return flight.reach(Stage::Failed(Arc::new(trouble)));
    }
    // What has to be compared goes through here however large it is: past the store, then.
    let fits = ask.ruling.is_strict() || total.is_none_or(|it| it <= ask.route.limits.object);
    let storable = ask.is_storable(status, response.headers(), times) && fits;
    let is_compared = ask.is_strict() && status == StatusCode::OK;
    if !storable && !is_compared {
        return flight.pass(response);
    }
    let download = match Download::new(cache, flight, ask, &response, times, storable) {
        Ok(download) => download,
        Err(error) => {
            unstored(cache, ask, explained(&error));
            if !is_compared {
                return flight.pass(response);
            }
            let past = match ask.cannot_be_looked_at() {
                Some(trouble) => Err(trouble),
                None => Download::past_the_store(cache, flight, ask, &response, times)
                    .map_err(|error| refused(error.to_string())),
            };
            match past {
                Ok(download) => download,
                Err(trouble) => return flight.reach(Stage::Failed(Arc::new(trouble))),
            }
        }
    };
    download.run(response.into_body(), begun).await;
}

pub(crate) fn unstored(cache: &Cache, ask: &Ask, why: impl std::fmt::Display) {
    add(&cache.counts.unstored, 1);
    cache.outside.warning(&format!("{} could not be stored: {why}", ask.target.url));
}

/// Writes the head of a stored response anew, as it stands by now: others may have written it
/// meanwhile.
async fn refresh(
    cache: &Arc<Cache>,
    flight: &Arc<Flight>,
    ask: &Ask,
    stored: &Shelved,
    update: &HeaderMap,
    times: Times,
) {
    let (old, mut update, sharing) = (Arc::clone(&stored.stored), update.clone(), ask.sharing());
    let ruled = !ask.ruling.is_http();
    if !ask.target.keep_cookies {
        take_cookies(&mut update);
    }
    let change = move |entry: &mut PackageEntry| {
        let is_it = |it: &StoredResponse| it.digest == old.digest && it.selecting == old.selecting;
        let Some(place) = entry.responses.iter().position(is_it) else { return };
        let standing = entry.responses.remove(place);
        entry.responses.splice(0..0, freshened(&standing, &update, times, sharing, ruled));
    };
    commit(cache, flight, ask, Vec::new(), change).await;
}

/// The stored response with what a 304 says; `None` where that makes it one that may not be stored,
/// or that depends on fields of a request that are not known any more.
fn freshened(
    standing: &StoredResponse,
    update: &HeaderMap,
    times: Times,
    sharing: Sharing,
    ruled: bool,
) -> Option<StoredResponse> {
    let answer = Answer::from_stored(standing)?.freshened(update, times);
    let varies_as_before = vary::names(&answer.headers).is_some_and(|names| names == answer.vary);
    let (status, headers) = (answer.status, &answer.headers);
    let storable =
        ruled || storable::is_storable(&HeaderMap::new(), status, headers, &answer.policy, sharing);
    let new = StoredResponse {
        part: standing.part,
        announced: standing.announced,
        level: standing.level,
        ..answer.to_stored(standing.digest, standing.size)
    };
    ((ruled || varies_as_before) && storable).then_some(new)
}

/// Changes the entry, unless something has changed on the server since it was asked.
pub(crate) async fn commit(
    cache: &Arc<Cache>,
    flight: &Arc<Flight>,
    ask: &Ask,
    leases: Vec<Lease>,
    change: impl FnOnce(&mut PackageEntry) + Send + 'static,
) {
    let (work, key, package) = (Arc::clone(cache), ask.key.clone(), ask.package.clone());
    let (flight, work_key) = (Arc::clone(flight), key.clone());
    let written = spawn_blocking(move || {
        work.shelf.change(&key, &leases, |entry| {
            // The request that doubts it forgets the entry after that, if it stands by then.
            if flight.is_doubted() {
                return;
            }
            entry.key.ecosystem.clone_from(&work_key.ecosystem);
            entry.name = package.name;
            entry.package_version = package.version;
            entry.architecture = package.architecture;
            change(entry);
        })
    });
    match written.await {
        Ok(Ok(())) => cache.share(&ask.key, ask.held.is_none()),
        Ok(Err(error)) => unstored(cache, ask, explained(&error)),
        Err(error) => unstored(cache, ask, error),
    }
}

/// The header fields of a request as they are sent on for all: those of the connection, conditions,
/// and [`UNKEYED`] ones taken off.
#[must_use]
pub(crate) fn asking(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    crate::rules::fields::hop::strip(&mut headers);
    conditional::strip(&mut headers);
    for name in [http::header::HOST, CONTENT_LENGTH, http::header::EXPECT] {
        headers.remove(name);
    }
    leave_unkeyed(&mut headers);
    headers
}

/// Asks for a file as it is, whatever form this one client would have taken: the answer is for all.
pub(crate) fn ask_for_the_bytes(headers: &mut HeaderMap) {
    for name in [ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, COOKIE, PRAGMA, RANGE] {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Takes off what is not for one to say where an answer may change what all get.
pub(crate) fn leave_unkeyed(headers: &mut HeaderMap) {
    for name in UNKEYED {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::target::Target;
    use crate::ecosystem::Package;
    use crate::ecosystem::ruling::Ruling;
    use crate::outside::tests::Nobody;
    use http::Uri;
    use storekit::{PackageKey, Store};

    #[test]
    fn what_was_doubted_last_of_all_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(camino::Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        let cache = Arc::new(Cache::new(Config::default(), store, Arc::new(Nobody)).unwrap());
        let url = Uri::from_static("http://a/b");
        let key = PackageKey::new("generic", "a", url.to_string(), None);
        let source = "a".to_owned();
        let target = Target { source, url, ..Target::default() };
        let (stored, wire, held) = (None, None, None);
        let route = cache.route(&cache.config(), false);
        let (headers, package, ruling) = (HeaderMap::new(), Package::default(), Ruling::default());
        let ask = Ask { key: key.clone(), package, ruling, target, headers, stored, route, wire, held };
        let times = Times { requested: 0, received: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for doubted in [false, true] {
            let mut writer = cache.shelf.begin().unwrap();
            writer.write(b"body").unwrap();
            let lease = writer.finish(None).unwrap();
            let answer = Answer::new(StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times);
            let response = answer.to_stored(lease.digest(), lease.size());
            let (flight, _) = cache.flights.join(key.digest(), key.digest(), &key.url);
            if doubted {
                cache.flights.doubt(&key.digest());
                cache.shelf.forget(&key);
            }
            let change = |entry: &mut PackageEntry| entry.responses.push(response);
            runtime.block_on(commit(&cache, &flight, &ask, vec![lease], change));
            let found = cache.shelf.find(&key).map(|known| known.responses.len());
            assert_eq!(found, (!doubted).then_some(1));
        }
    }
}
