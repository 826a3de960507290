//! Hugging Face's hub: documents, and files of commits.
//!
//! What a branch is, its description says, which is an index; a file is then one of a commit, and
//! holds for ever. What the hub says of a file in the answer to a HEAD is kept beside it, under the
//! file's URL with `#head` behind it: also that there is none, since clients ask for many files
//! that a model may have. The bytes are named by their digest, wherever the hub sends for them.

use std::sync::Arc;

use http::header::{AUTHORIZATION, LINK, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use storekit::{Checksum, Level, PackageEntry, PackageKey, StoredResponse};
use tokio::task::spawn_blocking;

use crate::cache::{self, Cache};
use crate::ecosystem::base::Base;
use crate::ecosystem::huggingface::{self, ERROR, HubPath, LINKED_ETAG, REPO_COMMIT, What, is_commit};
use crate::ecosystem::ruling::{Expected, Ruling};
use crate::error::explained;
use crate::fetch;
use crate::fetch::redirect::Trip;
use crate::index::document::{self, Document};
use crate::index::ruled::{Known, Plan, base, beside, ruled, whole};
use crate::observe::meter;
use crate::proxy::forward::refused;
use crate::proxy::lookup::{Lookup, NOT_STORED, UPSTREAM_FAILED};
use crate::response::body::Source;
use crate::response::location;
use crate::response::reply::{Question, own, reply};
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::invalidate::{is_same_origin, resolve};
use crate::store::Shelved;
use crate::upstream::SendError;

/// What the hub says of a file that a commit does not have.
const NO_ENTRY: &str = "EntryNotFound";

/// What is neither a document nor a file: passed on, but for a token that would lead past the
/// cache.
pub(super) fn interface(lookup: Lookup) -> Plan {
    match huggingface::parse(&lookup.target.below) {
        Some(HubPath { what: What::XetToken, .. }) => {
            Plan::refused(StatusCode::NOT_FOUND, "files come whole from this cache, and not by Xet")
        }
        _ => Plan::Lookup(Box::new(lookup)),
    }
}

pub(super) async fn plan(cache: &Arc<Cache>, lookup: Lookup) -> Plan {
    let Some(path) = huggingface::parse(&lookup.target.below) else {
        return Plan::Lookup(Box::new(lookup));
    };
    match path.what.clone() {
        What::XetToken => interface(lookup),
        What::Document(revision) => {
            description(cache, lookup, revision.is_some_and(|it| is_commit(&it))).await
        }
        What::File(revision, file) => {
            let commit = match commit(cache, &lookup, &path, &revision).await {
                Ok(commit) => commit,
                Err(refused) => return refused,
            };
            match of_commit(&lookup, &path.file_at(&commit, &file), &commit) {
                Some(lookup) => of_file(cache, known_to_all(cache, lookup), !is_commit(&revision)).await,
                None => Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here"),
            }
        }
    }
}

/// The commit that a revision is now.
async fn commit(cache: &Arc<Cache>, lookup: &Lookup, path: &HubPath, revision: &str) -> Result<String, Plan> {
    if is_commit(revision) {
        return Ok(revision.to_owned());
    }
    let asking = beside(lookup, &path.revision(revision), of_client(lookup)).map(of_account);
    let Some(asking) = asking else {
        return Err(Plan::refused(StatusCode::BAD_REQUEST, "the path is not valid here"));
    };
    let read = |document: Document| async move { document::read(&document, huggingface::commit).await };
    Ok(document::good(cache, &asking, read).await?.1)
}

/// An account that may have it no more is told so: nothing that is stored stands in for a 404.
fn of_account(mut lookup: Lookup) -> Lookup {
    lookup.ruling.is_index &= lookup.key.scope.is_none();
    lookup
}

/// What the hub may know of the client.
fn of_client(lookup: &Lookup) -> HeaderMap {
    lookup.headers.get(USER_AGENT).cloned().map(|agent| (USER_AGENT, agent)).into_iter().collect()
}

/// The lookup of a file of a commit.
fn of_commit(lookup: &Lookup, path: &str, commit: &str) -> Option<Lookup> {
    let mut headers = lookup.headers.clone();
    // It comes back with the lookup.
    headers.remove(AUTHORIZATION);
    let mut other = beside(lookup, path, headers)?;
    other.method = lookup.method.clone();
    other.wire.clone_from(&lookup.wire);
    other.package = lookup.package.clone();
    other.package.version = Some(commit.to_owned());
    Some(other)
}

/// A document. What it says of a commit holds for ever, for those who need no account.
async fn description(cache: &Arc<Cache>, lookup: Lookup, is_pinned: bool) -> Plan {
    let is_public = lookup.key.scope.is_none();
    let known = if is_pinned && is_public { Known::File(Level::Pinned, None) } else { Known::Index };
    let lookup = of_account(ruled(lookup, known));
    let (asking, base) = (whole(&lookup), base(&lookup));
    let (asking, base) = (&asking, &base);
    let page = |document: Document| {
        let lookup = &lookup;
        async move {
            match base {
                Some(base) => rendered(cache, lookup, &document, base).await,
                None => Ok(document::whole(lookup, &document)),
            }
        }
    };
    document::good(cache, asking, page).await.map_or_else(|refused| refused, |(_, page)| page)
}

async fn rendered(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    document: &Document,
    base: &Base,
) -> Result<Plan, crate::ecosystem::BadIndex> {
    let said = &document.answer.headers;
    let links = said.get_all(LINK).iter().filter_map(|value| {
        let links = huggingface::links(value.to_str().ok()?, &lookup.target.url, base)?;
        Some((LINK, HeaderValue::from_str(&links).ok()?))
    });
    let commit = said.get(REPO_COMMIT).map(|value| (REPO_COMMIT, value.clone()));
    let fields = links.chain(commit).collect();
    let (salt, written) = (format!("{base:?}"), base.clone());
    let write = move |read: &mut dyn std::io::Read, out: &mut dyn std::io::Write| {
        huggingface::render(read, &written, out)
    };
    let fields = ("application/json; charset=utf-8", fields);
    document::render_with(cache, lookup, document, &salt, fields, write).await
}

/// What is known of the file without an account is given to all.
fn known_to_all(cache: &Cache, lookup: Lookup) -> Lookup {
    if lookup.key.scope.is_none() {
        return lookup;
    }
    let mut open = lookup.clone();
    open.headers.remove(AUTHORIZATION);
    open.key.scope = None;
    let is_known = stored(cache, &open).is_some_and(|it| it.answer.status == StatusCode::OK);
    if is_known { open } else { lookup }
}

/// A file of a commit: by what the hub says of it. `moves`: it was asked for by a branch.
async fn of_file(cache: &Arc<Cache>, lookup: Lookup, moves: bool) -> Plan {
    let (head, status) = match head(cache, &lookup).await {
        Ok(found) => found,
        Err(refused) => return refused,
    };
    let answer = &head.answer;
    if lookup.method == Method::HEAD || answer.status != StatusCode::OK {
        let size = if answer.status == StatusCode::OK { huggingface::size(&answer.headers) } else { Some(0) };
        let question = Question { method: &lookup.method, headers: &lookup.headers };
        let age = Some(answer.age(cache::now()));
        let result = if status.hit { meter::Result::Hit } else { meter::Result::Pass };
        return Plan::answer(reply(&question, answer, Source::none(), size, age, &status), result);
    }
    let expected = huggingface::expected(&answer.headers).map(|it| in_store(cache, &lookup, it));
    let level = if expected.is_some() { Level::Indexed } else { Level::Pinned };
    let mut lookup = ruled(lookup, Known::File(level, expected));
    lookup.ruling.fields = Some(Arc::new(answer.headers.clone()));
    // What a branch has now is not remembered as what its address has.
    lookup.ruling.generations = usize::from(moves);
    Plan::Lookup(Box::new(lookup))
}

/// What the file has to be. Of one that was compared with git's name of it, the store has the
/// SHA-256.
fn in_store(cache: &Cache, lookup: &Lookup, expected: Expected) -> Expected {
    let is_compared = |it: &StoredResponse| it.level >= Level::Indexed && Some(it.size) == expected.size;
    let known = cache.shelf.find(&lookup.key).filter(|_| matches!(expected.checksum, Checksum::GitBlob(_)));
    let found = known.as_ref().and_then(|known| known.select_where(&lookup.headers, is_compared));
    found.map_or(expected, |found| Expected { checksum: found.stored.digest.into(), ..expected })
}

/// Under what is kept what the hub says of a file: no request has a fragment.
fn head_key(lookup: &Lookup) -> PackageKey {
    PackageKey { url: format!("{}#head", lookup.key.url), ..lookup.key.clone() }
}

fn stored(cache: &Cache, lookup: &Lookup) -> Option<Shelved> {
    cache.shelf.find(&head_key(lookup))?.responses.first().cloned()
}

/// For how long that holds: for ever, but an account's right to it is asked for anew.
fn lasting(lookup: &Lookup) -> Ruling {
    let is_public = lookup.key.scope.is_none();
    ruled(lookup.clone(), if is_public { Known::File(Level::Pinned, None) } else { Known::Index }).ruling
}

/// What the hub says of the file: as it is stored, while it holds; else one request asks for all
/// that want to know.
async fn head(cache: &Arc<Cache>, lookup: &Lookup) -> Result<(Shelved, CacheStatus), Plan> {
    let ruling = lasting(lookup);
    let fresh = || stored(cache, lookup).filter(|it| it.answer.ttl(&ruling, false, cache::now()) > 0);
    let hit = |found: Shelved, detail| {
        let ttl = Some(found.answer.ttl(&ruling, false, cache::now()));
        let level = found.stored.level;
        (found, CacheStatus { hit: true, ttl, level, detail, ..CacheStatus::default() })
    };
    if let Some(found) = fresh() {
        return Ok(hit(found, None));
    }
    if lookup.is_offline() {
        let found = stored(cache, lookup).map(|found| hit(found, Some("offline")));
        return found.ok_or_else(|| {
            let text = format!("{}: {}", lookup.target.url, lookup.unasked());
            let status = CacheStatus { detail: Some(NOT_STORED), ..CacheStatus::default() };
            Plan::answer(own(StatusCode::GATEWAY_TIMEOUT, text, Some(&status)), meter::Result::Error)
        });
    }
    let turn = cache.index.turns.of(head_key(lookup).digest());
    let _asks = turn.lock().await;
    if let Some(found) = fresh() {
        return Ok(hit(found, None));
    }
    let holds = |it: &Answer| {
        let known = it.status == StatusCode::OK || it.status == StatusCode::NOT_FOUND;
        known && it.ttl(&ruling, false, cache::now()) > 0
    };
    fetch::remote::bring_head(cache, &head_key(lookup), &lookup.package, holds).await;
    if let Some(found) = fresh() {
        return Ok(hit(found, Some("remote")));
    }
    let why = if stored(cache, lookup).is_some() { Forward::Stale } else { Forward::UriMiss };
    let times = cache::now();
    let answer = ask(cache, lookup, false).await;
    // Who may have it no more is told so, whatever is stored.
    let failing = answer
        .as_ref()
        .map_or(true, |it| it.status().is_server_error() || it.status() == StatusCode::TOO_MANY_REQUESTS);
    let stands = |it: &Shelved| it.answer.stands_by_rule(&ruling, cache::now()) == Some(true);
    if failing && let Some(found) = stored(cache, lookup).filter(stands) {
        return Ok(hit(found, Some(UPSTREAM_FAILED)));
    }
    let answer = answer.map_err(|error| Plan::answer(refused(&error), meter::Result::Error))?;
    let times = Times { requested: times, received: cache::now() };
    let said = said(cache, lookup, answer, times).await?;
    let stored = keep(cache, lookup, said).await?;
    cache.share(&head_key(lookup), true);
    let level = stored.stored.level;
    Ok((stored, CacheStatus { stored: true, level, ..CacheStatus::forwarded(why) }))
}

/// Whether the commit does not have the file, as the hub says.
fn is_missing(answer: &Response<Incoming>) -> bool {
    answer.status() == StatusCode::NOT_FOUND
        && answer.headers().get(ERROR).is_some_and(|code| code == NO_ENTRY)
}

/// Asks for the head.
async fn ask(cache: &Cache, lookup: &Lookup, follows: bool) -> Result<Response<Incoming>, SendError> {
    let mut target = lookup.target.clone();
    target.follow_redirects = follows;
    let route = cache.route(&lookup.config, target.private);
    let spare = stored(cache, lookup).is_some();
    let trip = Trip { cache, method: &Method::HEAD, target: &target, route: &route, wire: None, spare };
    let mut headers = of_client(lookup);
    fetch::ask_for_the_bytes(&mut headers);
    headers.extend(lookup.headers.get(AUTHORIZATION).cloned().map(|value| (AUTHORIZATION, value)));
    trip.follow(headers).await
}

/// What an answer says of the file; else what the client gets of it.
async fn said(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    answer: Response<Incoming>,
    times: Times,
) -> Result<Answer, Plan> {
    let commit = lookup.package.version.clone().unwrap_or_default();
    let other = answer.headers().get(REPO_COMMIT).filter(|it| it.as_bytes() != commit.as_bytes());
    if other.is_some() {
        let text = format!("{} is of another commit, the hub says: not handed on", lookup.target.url);
        cache.outside.warning(&text);
        return Err(Plan::refused(StatusCode::BAD_GATEWAY, text));
    }
    let status = answer.status();
    if status == StatusCode::OK || is_missing(&answer) {
        let fields = huggingface::fields(answer.headers(), &commit, status == StatusCode::OK);
        return Ok(Answer::new(status, &fields, &HeaderMap::new(), times));
    }
    if !status.is_redirection() || is_moved(lookup, &answer) {
        let mut response = lookup.passed_on(cache, answer, Forward::UriMiss);
        location::rewrite(&lookup.config, &lookup.target, response.headers_mut());
        return Err(Plan::answer(response, meter::Result::Pass));
    }
    let fields = huggingface::fields(answer.headers(), &commit, false);
    if huggingface::size(&fields).is_some() && answer.headers().contains_key(LINKED_ETAG) {
        return Ok(Answer::new(StatusCode::OK, &fields, &HeaderMap::new(), times));
    }
    // Where it lies, more may be said of it.
    let there = ask(cache, lookup, true).await;
    let there = there.map_err(|error| Plan::answer(refused(&error), meter::Result::Error))?;
    if there.status() != StatusCode::OK {
        return Err(Plan::answer(lookup.passed_on(cache, there, Forward::UriMiss), meter::Result::Pass));
    }
    let mut all = huggingface::fields(there.headers(), &commit, true);
    for (name, value) in &fields {
        if name != http::header::CONTENT_TYPE {
            all.insert(name.clone(), value.clone());
        }
    }
    Ok(Answer::new(StatusCode::OK, &all, &HeaderMap::new(), times))
}

/// Whether the repository has another name now: clients follow such a redirect themselves.
fn is_moved(lookup: &Lookup, answer: &Response<Incoming>) -> bool {
    let to = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(to) = to.and_then(|to| resolve(&lookup.target.url, to)) else { return true };
    let root = lookup.target.upstream.path().trim_end_matches('/');
    let below = to.path().strip_prefix(root).and_then(huggingface::parse);
    let is_file = below.is_some_and(|path| matches!(path.what, What::File(..)));
    is_file && is_same_origin(&to, &lookup.target.url) && !answer.headers().contains_key(LINKED_ETAG)
}

/// Writes down what was said of the file.
async fn keep(cache: &Arc<Cache>, lookup: &Lookup, said: Answer) -> Result<Shelved, Plan> {
    let (work, key, package) = (Arc::clone(cache), head_key(lookup), lookup.package.clone());
    let written = spawn_blocking(move || {
        let lease = work.shelf.begin()?.finish(None)?;
        let level = if said.status == StatusCode::OK { Level::Indexed } else { Level::None };
        let response = StoredResponse { level, ..said.to_stored(lease.digest(), lease.size()) };
        let shelved = Shelved { answer: Arc::new(said), stored: Arc::new(response.clone()) };
        let ecosystem = key.ecosystem.clone();
        work.shelf.change(&key, &[lease], |entry: &mut PackageEntry| {
            entry.key.ecosystem = ecosystem;
            (entry.name, entry.package_version) = (package.name, package.version);
            entry.responses = vec![response];
        })?;
        Ok::<_, crate::error::Error>(shelved)
    });
    let wrong = |why: String| {
        let text = format!("{}: what the hub says of it could not be stored: {why}", lookup.target.url);
        cache.outside.warning(&text);
        Plan::refused(StatusCode::BAD_GATEWAY, text)
    };
    match written.await {
        Ok(Ok(shelved)) => Ok(shelved),
        Ok(Err(error)) => Err(wrong(explained(&error))),
        Err(error) => Err(wrong(error.to_string())),
    }
}
