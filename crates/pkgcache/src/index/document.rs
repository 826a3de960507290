//! An index document: fetched whole, or found in the store, read for what it says of files, and
//! written anew for clients.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, HeaderValue,
    LAST_MODIFIED, LINK, VARY,
};
use http::{Extensions, HeaderMap, StatusCode};
use http_body_util::BodyExt;
use storekit::{Digest, PackageEntry};
use tokio::task::spawn_blocking;

use crate::cache::{self, Cache};
use crate::ecosystem::releases::{Hidden, Releases};
use crate::ecosystem::table::{Table, TableBuilder};
use crate::ecosystem::{BadIndex, ruling};
use crate::error::explained;
use crate::index::guarded::{self, View};
use crate::index::ruled::Plan;
use crate::known::Index;
use crate::known::rendered::Page;
use crate::observe::meter;
use crate::observe::record::MadeFrom;
use crate::proxy::lookup::{Handled, Lookup, UPSTREAM_FAILED};
use crate::response::body::{Body, Source};
use crate::response::reply::{Question, reply};
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::fields::cache_status::{CACHE_STATUS, CacheStatus};
use crate::store::positioned::Positioned;
use crate::store::{FoundBody, Shelved};

/// No index is larger when it is unpacked.
const CAP: u64 = ruling::LARGEST_INDEX;
/// A fetch whose answer another request took is tried so many times.
const TRIES: usize = 3;

/// A stored index document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// What names its bytes.
    pub(super) digest: Digest,
    /// Its head.
    pub(super) answer: Arc<Answer>,
    /// How the store came by it, for `Cache-Status`.
    pub(super) status: Option<HeaderValue>,
    /// The same, for the counts.
    pub(super) result: meter::Result,
    /// What it is in the store; `None` where its bytes alone were asked for.
    origin: Option<MadeFrom>,
    file: Arc<File>,
}

impl Document {
    /// Its media type, as its upstream said it.
    pub(super) fn content_type(&self) -> &str {
        self.answer.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }

    /// What an answer that is made from it tells the record of the entrance.
    fn noted(&self) -> Extensions {
        let mut noted = Extensions::new();
        if let Some(origin) = self.origin.clone() {
            noted.insert(origin);
        }
        noted
    }

    /// How many bytes are stored.
    pub(super) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |it| it.len())
    }

    /// Its bytes, unpacked.
    fn open(&self) -> Result<Box<dyn Read>, BadIndex> {
        // A file of our own: this one's position is everybody's.
        let file = Positioned::new(Arc::clone(&self.file));
        let encoding = self.answer.headers.get(CONTENT_ENCODING).and_then(|it| it.to_str().ok());
        let plain: Box<dyn Read> = match encoding.map(str::trim) {
            None | Some("" | "identity") => Box::new(file),
            Some("gzip" | "x-gzip") => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            Some(other) => {
                return Err(BadIndex::Malformed(format!(
                    "it is encoded as `{}`",
                    storekit::printable(other)
                )));
            }
        };
        Ok(Box::new(Capped { inner: plain, left: CAP }))
    }
}

/// Ends in an error where more comes than an index has.
struct Capped {
    inner: Box<dyn Read>,
    left: u64,
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| std::io::Error::other("it is larger than 1 GiB when it is unpacked"))?;
        Ok(count)
    }
}

/// The document that is stored for a lookup, whatever its age; `None` where there is none.
pub(super) async fn stored(cache: &Arc<Cache>, lookup: &Lookup) -> Option<Document> {
    let known = cache.shelf.find(&lookup.key)?;
    let found = known.select(&lookup.headers).filter(|it| it.answer.status == StatusCode::OK)?;
    let FoundBody::Sound(file) = cache.shelf.body(&found.stored.digest).await.ok()? else { return None };
    Some(Document {
        digest: found.stored.digest,
        answer: Arc::clone(&found.answer),
        status: None,
        result: meter::Result::Hit,
        origin: Some(origin(lookup, found)),
        file,
    })
}

fn origin(lookup: &Lookup, found: &Shelved) -> MadeFrom {
    MadeFrom { key: lookup.key.clone(), stored: Arc::clone(&found.stored) }
}

/// The newest document that is stored for a lookup, whatever form of it was asked for.
pub(super) async fn stored_in_any_form(cache: &Arc<Cache>, lookup: &Lookup) -> Option<Document> {
    let known = cache.shelf.find(&lookup.key)?;
    let found = known.responses.iter().find(|it| it.answer.status == StatusCode::OK)?;
    stored_as(cache, lookup, &found.stored.digest).await
}

/// An older generation of it, by its digest.
pub(super) async fn stored_as(cache: &Arc<Cache>, lookup: &Lookup, digest: &Digest) -> Option<Document> {
    let known = cache.shelf.find(&lookup.key)?;
    let found = known.responses.iter().find(|it| it.stored.digest == *digest)?;
    let answer = Arc::clone(&found.answer);
    Some(Document { answer, origin: Some(origin(lookup, found)), ..body(cache, digest).await? })
}

/// A stored body, as a document without a head.
pub(super) async fn body(cache: &Arc<Cache>, digest: &Digest) -> Option<Document> {
    let FoundBody::Sound(file) = cache.shelf.body(digest).await.ok()? else { return None };
    let times = Times { requested: 0, received: 0 };
    let answer = Answer::new(StatusCode::OK, &HeaderMap::new(), &HeaderMap::new(), times);
    let (answer, status, result) = (Arc::new(answer), None, meter::Result::Hit);
    Some(Document { digest: *digest, answer, status, result, origin: None, file })
}

/// The answer to a client that asks for the document as it is.
pub(super) fn whole(lookup: &Lookup, document: &Document) -> Plan {
    let question = Question { method: &lookup.method, headers: &lookup.headers };
    let size = document.file.metadata().ok().map(|it| it.len());
    let age = document.answer.age(cache::now());
    let source = Source::whole(Arc::clone(&document.file));
    let mut response = reply(&question, &document.answer, source, size, Some(age), &CacheStatus::default());
    if let Some(status) = &document.status {
        response.headers_mut().insert(CACHE_STATUS, status.clone());
    }
    response.extensions_mut().extend(document.noted());
    Plan::answer(response, document.result)
}

/// The document, as fresh as its lookup wants it.
///
/// # Errors
/// The answer that tells the client why there is none.
pub(super) async fn current(cache: &Arc<Cache>, lookup: &Lookup) -> Result<Document, Plan> {
    for _ in 0..TRIES {
        let before = stored(cache, lookup).await.map(|it| it.digest);
        let (response, result) = match lookup.handle(cache).await {
            Handled::Answered(response, result) => (response, result),
            // Another request took the answer that was not stored: the next asks anew.
            Handled::Forward(_) => {
                cache.flights.gone(&lookup.flight_key()).await;
                continue;
            }
        };
        if response.status() != StatusCode::OK {
            return Err(Plan::Answer(response, result));
        }
        let status = response.headers().get_all(CACHE_STATUS).iter().next_back().cloned();
        if comes_along(result) {
            if let Err(why) = drain(response.into_body()).await {
                let before = if lookup.ruling.is_index { earlier(cache, lookup).await } else { Vec::new() };
                let text = format!("{}: the index did not come whole: {why}", lookup.target.url);
                let refused = || Plan::refused(StatusCode::BAD_GATEWAY, text);
                return before.into_iter().next().ok_or_else(refused);
            }
            cache.flights.gone(&lookup.flight_key()).await;
        }
        if let Some(document) = stored(cache, lookup).await {
            if before != Some(document.digest) {
                cache.index.changed();
            }
            return Ok(Document { status, result, ..document });
        }
    }
    let text = format!("{}: the index could not be stored, so it cannot be served", lookup.target.url);
    Err(Plan::refused(StatusCode::BAD_GATEWAY, text))
}

/// Whether the answer may still be on its way into the store.
fn comes_along(result: meter::Result) -> bool {
    use meter::Result::{Collapsed, Miss, Pass, Remote};
    matches!(result, Miss | Collapsed | Pass | Remote)
}

async fn drain(mut body: Body) -> std::io::Result<()> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// The document, as fresh as its lookup wants it, and what `read` makes of it. One that cannot be
/// what it should be is forgotten; one that was stored before it stands in, for as long as it may.
///
/// # Errors
/// The answer that tells the client why there is none.
pub(super) async fn good<T, F>(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    read: impl Fn(Document) -> F,
) -> Result<(Document, T), Plan>
where
    F: Future<Output = Result<T, BadIndex>>,
{
    let mut document = current(cache, lookup).await?;
    let mut found = read(document.clone()).await;
    if let (Err(error), Some(_)) = (&found, &cache.remote) {
        // It may be another node's that it came from; the upstream's own may be good.
        bad(cache, lookup, &document, error);
        document = current(cache, lookup).await?;
        found = read(document.clone()).await;
    }
    let refused = match found {
        Ok(read) => return Ok((document, read)),
        Err(error) => bad(cache, lookup, &document, &error),
    };
    for document in earlier(cache, lookup).await {
        if let Ok(read) = read(document.clone()).await {
            return Ok((document, read));
        }
    }
    Err(refused)
}

/// What is stored and may stand in for an upstream that fails, the newest first.
pub(super) async fn earlier(cache: &Arc<Cache>, lookup: &Lookup) -> Vec<Document> {
    let Some(known) = cache.shelf.find(&lookup.key) else { return Vec::new() };
    let (now, mut found) = (cache::now(), Vec::new());
    for it in known.responses.iter().filter(|it| it.answer.answers(&lookup.headers)) {
        if it.answer.stands_by_rule(&lookup.ruling, now) != Some(true) {
            continue;
        }
        let Some(document) = stored_as(cache, lookup, &it.stored.digest).await else { continue };
        let status = CacheStatus {
            hit: true,
            ttl: Some(it.answer.ttl(&lookup.ruling, lookup.target.heuristic, now)),
            detail: Some(UPSTREAM_FAILED),
            ..CacheStatus::default()
        };
        let mut headers = HeaderMap::new();
        status.add_to(&mut headers);
        let status = headers.remove(CACHE_STATUS);
        found.push(Document { status, result: meter::Result::Stale, ..document });
    }
    found
}

/// What the document says of files. `salt` is what it depends on beside the document's bytes.
///
/// # Errors
/// The answer that tells the client what is wrong with the index.
pub(super) async fn table(
    index: &Index,
    document: &Document,
    salt: &str,
    read: impl FnOnce(&mut dyn Read, &mut TableBuilder) -> Result<(), BadIndex> + Send + 'static,
) -> Result<Arc<Table>, BadIndex> {
    let name = Digest::of(format!("{} {salt}", document.digest).as_bytes());
    if let Some(table) = index.tables.get(&name) {
        return Ok(table);
    }
    let source = document.clone();
    let work = move || -> Result<Arc<Table>, BadIndex> {
        let mut builder = TableBuilder::default();
        read(&mut BufReader::with_capacity(64 << 10, source.open()?), &mut builder)?;
        Ok(Arc::new(builder.finish()))
    };
    let table = spawn_blocking(work).await.map_err(|error| BadIndex::Own(error.to_string()))??;
    index.tables.keep(name, Arc::clone(&table));
    Ok(table)
}

/// What clients see of the versions that the document names, where they are judged.
///
/// # Errors
/// [`BadIndex`].
pub(super) async fn view(
    cache: &Cache,
    lookup: &Lookup,
    document: &Document,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> Result<Releases, BadIndex> + Send + 'static,
) -> Result<(Arc<Releases>, View), BadIndex> {
    if !guarded::judges(lookup) {
        return Ok(Default::default());
    }
    let url = &lookup.target.url;
    let key = Digest::of(format!("{} {} {url}", document.digest, lookup.target.kind.name()).as_bytes());
    let releases = if let Some(releases) = cache.index.releases.get(&key) {
        releases
    } else {
        let releases = Arc::new(self::read(document, read).await?);
        cache.index.releases.keep(key, Arc::clone(&releases));
        releases
    };
    let view = guarded::hidden(cache, lookup, name, &releases);
    Ok((releases, view))
}

/// The plan, with the number of versions that are not in it.
pub(super) fn with_hidden(plan: Plan, hidden: &Hidden) -> Plan {
    if hidden.is_empty() { plan } else { plan.marked(&format!("hidden={}", hidden.len())) }
}

/// Reads a small document whole.
///
/// # Errors
/// [`BadIndex`].
pub(super) async fn read<T: Send + 'static>(
    document: &Document,
    read: impl FnOnce(&mut dyn Read) -> Result<T, BadIndex> + Send + 'static,
) -> Result<T, BadIndex> {
    let source = document.clone();
    let work = move || read(&mut BufReader::with_capacity(64 << 10, source.open()?));
    spawn_blocking(work).await.map_err(|error| BadIndex::Own(error.to_string()))?
}

/// The answer to a client that asks for the document: written anew by `write`, which depends on
/// `salt` beside the document's bytes.
///
/// # Errors
/// [`BadIndex`].
pub(super) async fn render(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    document: &Document,
    salt: &str,
    content_type: &'static str,
    write: impl FnOnce(&mut dyn Read, &mut dyn Write) -> Result<(), BadIndex> + Send + 'static,
) -> Result<Plan, BadIndex> {
    render_with(cache, lookup, document, salt, (content_type, HeaderMap::new()), write).await
}

/// The same, with more fields than its content type.
///
/// # Errors
/// [`BadIndex`].
pub(super) async fn render_with(
    cache: &Arc<Cache>,
    lookup: &Lookup,
    document: &Document,
    salt: &str,
    (content_type, fields): (&'static str, HeaderMap),
    write: impl FnOnce(&mut dyn Read, &mut dyn Write) -> Result<(), BadIndex> + Send + 'static,
) -> Result<Plan, BadIndex> {
    let name = Digest::of(format!("1 {} {salt}", document.digest).as_bytes());
    let page = if let Some(page) = cache.index.rendered.get(&name) {
        page
    } else {
        let page = written(cache, document, write).await?;
        cache.index.rendered.keep(name, page.clone());
        page
    };
    let mut answer = rewritten(&document.answer, &name, content_type);
    answer.headers.extend(fields);
    let age = answer.age(cache::now());
    let question = Question { method: &lookup.method, headers: &lookup.headers };
    let source = Source::whole(page.file);
    let mut response = reply(&question, &answer, source, Some(page.size), Some(age), &CacheStatus::default());
    if let Some(status) = &document.status {
        response.headers_mut().insert(CACHE_STATUS, status.clone());
    }
    response.extensions_mut().extend(document.noted());
    Ok(Plan::answer(response, document.result))
}

async fn written(
    cache: &Arc<Cache>,
    document: &Document,
    write: impl FnOnce(&mut dyn Read, &mut dyn Write) -> Result<(), BadIndex> + Send + 'static,
) -> Result<Page, BadIndex> {
    let (source, folder) = (document.clone(), cache.store.packages().blobs().folder().to_owned());
    let work = move || {
        let mut file = tempfile::tempfile_in(&folder)?;
        let mut out = BufWriter::with_capacity(64 << 10, &mut file);
        write(&mut BufReader::with_capacity(64 << 10, source.open()?), &mut out)?;
        out.flush()?;
        drop(out);
        let size = file.stream_position()?;
        Ok(Page { file: Arc::new(file), size })
    };
    spawn_blocking(work).await.map_err(|error| BadIndex::Own(error.to_string()))?
}

/// The head of a document that was written anew: what its upstream said of the bytes does not hold
/// for these.
fn rewritten(answer: &Answer, name: &Digest, content_type: &'static str) -> Answer {
    const KEPT: [HeaderName; 3] = [CACHE_CONTROL, EXPIRES, http::header::DATE];
    let kept = KEPT.iter().filter_map(|name| Some((name.clone(), answer.headers.get(name)?.clone())));
    let mut headers: HeaderMap = kept.collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.extend(HeaderValue::from_str(&format!("\"{}\"", name.short())).ok().map(|tag| (ETAG, tag)));
    for name in [LAST_MODIFIED, LINK, ACCEPT_RANGES] {
        headers.remove(name);
    }
    Answer { headers, vary: Vec::new(), ..answer.clone() }
}

/// The answer where an index cannot be what it should be. It is forgotten, so that the next request
/// asks for it anew; the one that was stored before it stands again. Where this machine alone is at
/// fault, it stays.
pub(super) fn bad(cache: &Arc<Cache>, lookup: &Lookup, document: &Document, error: &BadIndex) -> Plan {
    let text = format!("the index {} cannot be used: {error}", lookup.target.url);
    cache.outside.warning(&text);
    if !error.is_of_the_index() {
        return Plan::refused(StatusCode::BAD_GATEWAY, text);
    }
    let digest = document.digest;
    if let Some(remote) = &cache.remote {
        remote.refuse(&digest, &lookup.key, "its index cannot be used");
    }
    let change = |entry: &mut PackageEntry| entry.responses.retain(|it| it.digest != digest);
    match cache.shelf.change(&lookup.key, &[], change) {
        Ok(()) => cache.sweep(digest),
        Err(error) => cache.outside.warning(&format!("{text}: {}", explained(&error))),
    }
    Plan::refused(StatusCode::BAD_GATEWAY, text)
}
