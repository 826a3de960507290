//! What the bucket that several caches share has of what is asked for: looked at before the
//! upstream is, and by the rules that hold for what is stored here.
//!
//! An answer from there is stored here as one of the upstream's, with the times that it had. A
//! small body, or one that is here already, is compared before anything is said to a client; a
//! larger one while it is handed on, as an upstream's. What is stale is taken over, so that the
//! upstream can be asked whether it still holds, or it can stand in.
//!
//! An entry is another's word: the checksum that it says, and who vouches for it, count for
//! nothing; its times for no more than that it is not younger than now.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use storekit::{Lease, Level, PackageEntry, PackageKey, StoredResponse};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::cache::{self, Cache};
use crate::ecosystem::Package;
use crate::ecosystem::ruling::{Check, Expected, Freshness};
use crate::error::explained;
use crate::fetch::ask::Ask;
use crate::fetch::download::{Download, keep_newest, looked_at};
use crate::observe::meter::add;
use crate::remote::{Held, Lease as TurnOfOurs, Remote, Turn};
use crate::response::flight::{Flight, Stage};
use crate::response::stored_head::Answer;
use crate::rules::merge::{stored_fields, take_cookies};
use crate::rules::request::Wishes;
use crate::rules::reuse::Reuse;
use crate::rules::storable;
use crate::store::{FoundBody, Shelved};

/// A body up to this size is compared before a client gets any of it: 1 MiB.
const SMALL: u64 = 1 << 20;
/// A larger one that is stale is not taken over: 64 MiB.
const LARGEST_STALE: u64 = 64 << 20;
/// By so many seconds may another node's clock be ahead.
const SKEW: i64 = 60;

/// How it goes on.
pub(super) enum Then {
    /// The request has its answer.
    Answered,
    /// The upstream is asked; other nodes wait for as long as the turn is held.
    Ask(Box<Ask>, Option<TurnOfOurs>),
}

/// A response in the bucket that answers the request.
struct Found {
    answer: Answer,
    stored: StoredResponse,
    is_fresh: bool,
}

/// Looks for the answer in the bucket; where it is not there, waits for another node that asks the
/// upstream already.
pub(super) async fn look(cache: &Arc<Cache>, flight: &Arc<Flight>, ask: Ask) -> Then {
    let mut ask = Box::new(ask);
    let Some(remote) = cache.remote.as_ref().filter(|_| ask.may_be_shared()) else {
        return Then::Ask(ask, None);
    };
    let mut waiting = None;
    loop {
        let deadline = remote.deadline();
        let Ok(entry) = remote.entry(&ask.key, deadline).await else { return Then::Ask(ask, None) };
        let found = entry.and_then(|entry| choose(remote, &ask, &entry));
        if let Some(found) = found.as_ref().filter(|found| found.is_fresh) {
            match serve(cache, remote, flight, ask, found, deadline).await {
                None => return Then::Answered,
                Some(back) => ask = back,
            }
        }
        let turn = match &waiting {
            None => remote.turn(&ask.key, deadline).await,
            Some(_) => remote.turn_by_now(&ask.key).await,
        };
        let turn = match turn {
            Turn::Ours(lease) => Some(lease),
            Turn::Nobodys => None,
            Turn::Theirs => {
                if waiting.get_or_insert_with(|| remote.waiting()).pause().await {
                    continue;
                }
                None
            }
        };
        if let Some(found) = found.filter(|found| !found.is_fresh && found.stored.size <= LARGEST_STALE) {
            take_over(cache, remote, &mut ask, &found).await;
        }
        return Then::Ask(ask, turn);
    }
}

/// What there is of a key that a module of its own keeps, without a body: brought here if it is as
/// `wanted`.
pub(crate) async fn bring_head(
    cache: &Arc<Cache>,
    key: &PackageKey,
    package: &Package,
    wanted: impl Fn(&Answer) -> bool,
) {
    let Some(remote) = cache.remote.as_ref().filter(|_| key.scope.is_none()) else { return };
    let Ok(Some(entry)) = remote.entry(key, remote.deadline()).await else { return };
    let now = cache::now();
    let found = entry.responses.iter().filter(|it| it.size == 0 && it.vary.is_empty()).find_map(|it| {
        let answer = of_another(it, now).filter(|answer| wanted(answer))?;
        let level = if answer.status == StatusCode::OK { Level::Indexed } else { Level::None };
        Some(StoredResponse { level, ..answer.to_stored(it.digest, 0) })
    });
    let (Some(stored), Ok(writer)) = (found, cache.shelf.begin()) else { return };
    if let Ok(lease) = writer.finish(Some(&stored.digest)) {
        keep(cache, key, package, stored, lease, 0).await;
    }
}

impl Ask {
    /// Whether the bucket may have the answer: it is for all, it may last, and the client does not
    /// insist on the upstream's.
    fn may_be_shared(&self) -> bool {
        let insists = || {
            let wishes = Wishes::of(&self.headers);
            wishes.no_cache || wishes.max_age == Some(0)
        };
        let lasts = match self.ruling.freshness {
            Freshness::Http => !insists(),
            Freshness::Never => false,
            Freshness::For(seconds) => seconds > 0,
            Freshness::Forever => true,
        };
        lasts && self.key.scope.is_none()
    }
}

/// The newest response in the entry that may answer the request.
fn choose(remote: &Remote, ask: &Ask, entry: &PackageEntry) -> Option<Found> {
    let now = cache::now();
    let (most, ruling) = (ask.route.limits.object.min(ask.ruling.most()), &ask.ruling);
    let is_other = |expected: Expected, it: &StoredResponse| {
        let digest = expected.checksum.digest();
        digest.is_some_and(|digest| digest != it.digest) || expected.size.is_some_and(|size| size != it.size)
    };
    let may_be = |it: &&StoredResponse| {
        it.part.is_none()
            && it.size <= most
            && !ruling.expected.is_some_and(|expected| is_other(expected, it))
            && !remote.is_refused(&it.digest)
    };
    entry.responses.iter().filter(may_be).find_map(|it| {
        let mut answer = of_another(it, now)?;
        if !ask.target.keep_cookies {
            take_cookies(&mut answer.headers);
        }
        if !(answer.answers(&ask.headers) && ask.would_store(&answer)) {
            return None;
        }
        if let Some(fields) = &ruling.fields {
            answer = Answer { headers: HeaderMap::clone(fields), ..answer };
        }
        let wishes = Wishes::of(&ask.headers);
        let is_fresh = answer.reuse(ruling, ask.target.heuristic, &wishes, now) == Reuse::Fresh;
        let stored = StoredResponse {
            announced: ruling.expected.map(|expected| expected.checksum),
            level: ruling.level,
            ..answer.to_stored(it.digest, it.size)
        };
        Some(Found { answer, stored, is_fresh })
    })
}

/// The head of another node's response. `None` where it is not one, or from the future.
fn of_another(stored: &StoredResponse, now: i64) -> Option<Answer> {
    let mut stored = stored.clone();
    if stored.received.as_second() > now.saturating_add(SKEW) {
        return None;
    }
    // A clock that is ahead makes nothing last longer than from now on.
    stored.received = stored.received.min(jiff::Timestamp::from_second(now).ok()?);
    stored.requested = stored.requested.min(stored.received);
    let mut answer = Answer::from_stored(&stored)?;
    answer.headers = stored_fields(&answer.headers, &answer.policy);
    answer.headers.remove(CONTENT_LENGTH);
    Some(answer)
}

impl Ask {
    /// Whether it is an answer that would be stored if it came from the upstream now.
    fn would_store(&self, answer: &Answer) -> bool {
        if !self.ruling.is_http() {
            return answer.status == StatusCode::OK;
        }
        let headers = &answer.headers;
        storable::is_storable(&self.headers, answer.status, headers, &answer.policy, self.sharing())
    }
}

/// Answers from the bucket. Gives the request back where its body cannot be had there.
async fn serve(
    cache: &Arc<Cache>,
    remote: &Arc<Remote>,
    flight: &Arc<Flight>,
    ask: Box<Ask>,
    found: &Found,
    deadline: Instant,
) -> Option<Box<Ask>> {
    if let Some(lease) = at_hand(cache, &ask, found, SMALL, remote, deadline).await {
        keep(cache, &ask.key, &ask.package, found.stored.clone(), lease, ask.ruling.generations).await;
        flight.reach(Stage::Stored { by_remote: true });
        return None;
    }
    if found.stored.size <= SMALL {
        return Some(ask);
    }
    let held = Held::new(found.stored.digest, found.stored.size);
    let (Some(response), Ok(writer)) = (remote.body(&held, &HeaderMap::new()).await, cache.shelf.begin())
    else {
        return Some(ask);
    };
    if response.body().size_hint().exact().is_some_and(|size| size != held.size) {
        remote.refuse(&held.digest, &ask.key, "it has another size");
        return Some(ask);
    }
    let ask = Arc::new(Ask { held: Some(held), ..*ask });
    let download = Download::held(cache, flight, &ask, found.answer.clone(), writer);
    download.run(response.into_body(), Instant::now().into_std()).await;
    None
}

/// What is stale is stored here, so that the upstream can be asked about it, where nothing newer
/// is.
async fn take_over(cache: &Arc<Cache>, remote: &Arc<Remote>, ask: &mut Ask, found: &Found) {
    if ask.stored.as_ref().is_some_and(|own| own.stored.received >= found.stored.received) {
        return;
    }
    let Some(lease) = at_hand(cache, ask, found, LARGEST_STALE, remote, remote.deadline()).await else {
        return;
    };
    let stored = found.stored.clone();
    if keep(cache, &ask.key, &ask.package, stored.clone(), lease, ask.ruling.generations).await {
        ask.stored = Some(Shelved { answer: Arc::new(found.answer.clone()), stored: Arc::new(stored) });
    }
}

/// The body, compared: as it is stored here already, else from the bucket if it is not larger than
/// `most`.
async fn at_hand(
    cache: &Arc<Cache>,
    ask: &Ask,
    found: &Found,
    most: u64,
    remote: &Arc<Remote>,
    deadline: Instant,
) -> Option<Lease> {
    let StoredResponse { digest, size, .. } = found.stored;
    if let Ok(FoundBody::Sound(file)) = cache.shelf.body(&digest).await {
        let checksum = ask.ruling.expected.map(|it| it.checksum).filter(|it| it.digest().is_none());
        let is_right = match checksum {
            Some(checksum) => cache.shelf.has_checksum(&digest, checksum).await,
            None => true,
        };
        let is_right = is_right && looked_at(ask, Arc::clone(&file)).await.is_ok();
        let is_right = is_right && file.metadata().is_ok_and(|metadata| metadata.len() == size);
        return cache.store.packages().blobs().lease(&digest).ok()?.filter(|_| is_right);
    }
    if size > most {
        return None;
    }
    let held = Held::new(digest, size);
    let body = match size {
        0 => None,
        _ => Some(remote.body(&held, &HeaderMap::new()).await?.into_body()),
    };
    match received(cache, ask, &held, body, deadline).await {
        Ok(lease) => Some(lease),
        Err(Amiss::Wrong(why)) => {
            remote.refuse(&digest, &ask.key, &why);
            None
        }
        Err(Amiss::Broken(why)) => {
            remote.failed(&held, &why);
            None
        }
    }
}

/// Why a body did not come.
enum Amiss {
    /// It is not what it has to be.
    Wrong(String),
    /// It did not come to its end.
    Broken(String),
}

/// Receives a body into the store, and compares it.
async fn received(
    cache: &Cache,
    ask: &Ask,
    held: &Held,
    body: Option<Incoming>,
    deadline: Instant,
) -> Result<Lease, Amiss> {
    let broken = |error: crate::Error| Amiss::Broken(explained(&error));
    let mut writer = cache.shelf.begin().map_err(broken)?;
    let mut check = Check::new(ask.ruling.expected);
    if let Some(mut body) = body {
        loop {
            let next = timeout_at(deadline, body.frame()).await;
            let Some(frame) = next.map_err(|_| Amiss::Broken("a body did not come in time".to_owned()))?
            else {
                break;
            };
            let frame = frame.map_err(|error| Amiss::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if writer.size() + data.len() as u64 > held.size {
                return Err(Amiss::Wrong("it is larger than its entry says".to_owned()));
            }
            add(&cache.counts.remote_bytes, data.len() as u64);
            writer.write(&data).map_err(|error| broken(error.into()))?;
            check.update(&data);
        }
    }
    let found = writer.digest();
    if check.verdict(found).is_err() {
        return Err(Amiss::Wrong("its index says another checksum".to_owned()));
    }
    if looked_at(ask, writer.file()).await.is_err() {
        return Err(Amiss::Wrong("its index says that something else is in it".to_owned()));
    }
    if found != held.digest || writer.size() != held.size {
        return Err(Amiss::Wrong("its bytes are others".to_owned()));
    }
    spawn_blocking(move || writer.finish(None))
        .await
        .map_err(|error| Amiss::Broken(error.to_string()))?
        .map_err(|error| broken(error.into()))
}

/// Stores the response here. Returns whether that could be done.
async fn keep(
    cache: &Arc<Cache>,
    key: &PackageKey,
    package: &Package,
    stored: StoredResponse,
    lease: Lease,
    generations: usize,
) -> bool {
    let (work, key, package) = (Arc::clone(cache), key.clone(), package.clone());
    let url = key.url.clone();
    let written = spawn_blocking(move || {
        work.shelf.change(&key, &[lease], |entry| {
            entry.key.ecosystem.clone_from(&key.ecosystem);
            (entry.name, entry.package_version, entry.architecture) =
                (package.name, package.version, package.architecture);
            keep_newest(entry, stored, generations);
        })
    });
    let failed = match written.await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => explained(&error),
        Err(error) => error.to_string(),
    };
    cache.outside.warning(&format!("{url} could not be stored: {failed}"));
    false
}
