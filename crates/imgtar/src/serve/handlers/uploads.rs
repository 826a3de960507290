//! Uploads: begun, continued in chunks, asked for, ended, given up. Each is an unfinished file in
//! the blobs' folder, which a server that is killed leaves for the next run to sweep.
//!
//! A client that goes away in the middle of a chunk finds what came of it, and goes on from there.
//! Uploads end with the server. One that is not used for an hour ends as well.
//!
//! Source: OCI distribution-spec v1.1, "Pushing blobs", "Mounting a blob from another repository".

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use storekit::files::state::FileState;
use storekit::{BlobWriter, Blobs, Digest, Lease};
use tokio::sync::mpsc;

use crate::serve::answer::{self, ResponseBody};
use crate::serve::fault::{Fault, Result};
use crate::serve::handlers::blobs;
use crate::serve::names::Repository;
use crate::serve::range;
use crate::serve::route::{Query, UploadId};
use crate::serve::state::app::App;

/// How long a body may stand still.
pub(crate) const STALL: Duration = Duration::from_secs(60);
/// How long an upload lives that is not used.
const IDLE: Duration = Duration::from_secs(3600);
/// How many there may be at a time.
const MOST: usize = 256;
/// How many pieces of a body wait to be written.
const QUEUE: usize = 4;

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// An upload under way.
#[derive(Debug)]
struct Session {
    repository: Repository,
    size: AtomicU64,
    touched: Mutex<Instant>,
    /// `None` while a request writes to it.
    writer: Mutex<Option<BlobWriter<'static>>>,
}

impl Session {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn take(&self) -> Option<BlobWriter<'static>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn give_back(&self, writer: BlobWriter<'static>) {
        self.size.store(writer.size(), Ordering::Release);
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }

    fn is_idle(&self) -> bool {
        let busy = self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        !busy && self.touched.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > IDLE
    }
}

/// The uploads under way.
#[derive(Debug)]
pub(crate) struct Uploads {
    blobs: Blobs,
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
}

impl Uploads {
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self { blobs, sessions: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, repository: &Repository) -> Result<UploadId> {
        if self.sessions().len() >= MOST {
            self.sweep();
        }
        if self.sessions().len() >= MOST {
            return Err(Fault::too_many());
        }
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
            .map_err(|error| Fault::internal(&error))?;
        let id: UploadId = uuid.trim().parse()?;
        let session = Session {
            repository: repository.clone(),
            size: AtomicU64::new(0),
            touched: Mutex::new(Instant::now()),
            writer: Mutex::new(Some(self.blobs.create_owned()?)),
        };
        self.sessions().insert(id.clone(), Arc::new(session));
        Ok(id)
    }

    fn find(&self, repository: &Repository, id: &UploadId) -> Result<Arc<Session>> {
        let session = self.sessions().get(id).filter(|session| session.repository == *repository).cloned();
        session.ok_or_else(Fault::upload_unknown)
    }

    fn end(&self, id: &UploadId) {
        self.sessions().remove(id);
    }

    /// Ends the uploads that were not used for [`IDLE`].
    pub(crate) fn sweep(&self) {
        self.sessions().retain(|_, session| !session.is_idle());
    }
}

/// Begins an upload; takes a whole blob with `?digest=`, or one that is there already with
/// `?mount=`.
pub(crate) async fn post(
    app: Arc<App>,
    repository: Repository,
    query: Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<ResponseBody>> {
    if query.get("digest-algorithm").is_some_and(|name| name != "sha256") {
        return Err(Fault::digest_invalid("blobs are stored by sha256 only"));
    }
    if let Some(digest) = query.digest("mount")?
        && app.blocking(move |app| blobs::held(app, &digest)).await?.is_some()
    {
        return Ok(created(&repository, &digest));
    }
    if let Some(digest) = query.digest("digest")? {
        let length = length(headers)?;
        return whole(app, repository, digest, length, body).await;
    }
    let id = {
        let repository = repository.clone();
        app.blocking(move |app| app.uploads.begin(&repository)).await?
    };
    Ok(state(StatusCode::ACCEPTED, &repository, &id, 0))
}

/// Takes a blob in one request.
async fn whole(
    app: Arc<App>,
    repository: Repository,
    digest: Digest,
    length: Option<u64>,
    body: Incoming,
) -> Result<Response<ResponseBody>> {
    let writer = app.blocking(|app| Ok(app.blobs.create_owned()?)).await?;
    detached(async move {
        let (writer, came) = pour(writer, body).await;
        came?;
        finish(&app, writer.ok_or_else(lost)?, digest, length).await?;
        Ok(created(&repository, &digest))
    })
    .await
}

/// Takes the next chunk.
pub(crate) async fn patch(
    app: Arc<App>,
    repository: Repository,
    id: UploadId,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<ResponseBody>> {
    let session = app.uploads.find(&repository, &id)?;
    let expected = expected(headers)?;
    detached(async move {
        let before = session.size();
        append(&session, &repository, &id, expected, body).await?;
        if expected.length.is_some_and(|length| session.size() - before != length) {
            return Err(Fault::size_invalid("the chunk has another length than announced"));
        }
        Ok(state(StatusCode::ACCEPTED, &repository, &id, session.size()))
    })
    .await
}

/// Takes the last chunk, if any, and makes the blob.
pub(crate) async fn put(
    app: Arc<App>,
    repository: Repository,
    id: UploadId,
    query: Query,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response<ResponseBody>> {
    let session = app.uploads.find(&repository, &id)?;
    let digest = query.digest("digest")?.ok_or_else(|| Fault::digest_invalid("the query has no digest"))?;
    let expected = expected(headers)?;
    detached(async move {
        append(&session, &repository, &id, expected, body).await?;
        let writer = session.take().ok_or_else(Fault::upload_busy)?;
        app.uploads.end(&id);
        finish(&app, writer, digest, None).await?;
        Ok(created(&repository, &digest))
    })
    .await
}

/// Tells how far an upload has come.
pub(crate) fn status(app: &App, repository: &Repository, id: &UploadId) -> Result<Response<ResponseBody>> {
    let session = app.uploads.find(repository, id)?;
    Ok(state(StatusCode::NO_CONTENT, repository, id, session.size()))
}

/// Gives an upload up.
pub(crate) fn cancel(app: &App, repository: &Repository, id: &UploadId) -> Result<Response<ResponseBody>> {
    app.uploads.find(repository, id)?;
    app.uploads.end(id);
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// What a request says of the chunk that it brings.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    start: Option<u64>,
    length: Option<u64>,
}

fn expected(headers: &HeaderMap) -> Result<Expected> {
    let length = length(headers)?;
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(Expected { start: None, length }) };
    let chunk = range.to_str().ok().and_then(range::chunk);
    let (start, counted) =
        chunk.ok_or_else(|| Fault::upload_invalid("a chunk's range is `<first>-<last>`"))?;
    if length.is_some_and(|length| length != counted) {
        return Err(Fault::size_invalid("the chunk's range and its length differ"));
    }
    Ok(Expected { start: Some(start), length: Some(counted) })
}

fn length(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or_else(|| Fault::size_invalid("the length is not a number"))
}

/// Appends a body to an upload. What came of one that breaks off stays.
async fn append(
    session: &Session,
    repository: &Repository,
    id: &UploadId,
    expected: Expected,
    body: Incoming,
) -> Result<()> {
    let writer = session.take().ok_or_else(Fault::upload_busy)?;
    if expected.start.is_some_and(|start| start != writer.size()) {
        let (location, range) = (location(repository, id), so_far(writer.size()));
        session.give_back(writer);
        return Err(Fault::out_of_order().header(header::LOCATION, &location).header(header::RANGE, &range));
    }
    let (writer, came) = pour(writer, body).await;
    session.give_back(writer.ok_or_else(lost)?);
    came
}

fn lost() -> Fault {
    Fault::internal(&"the thread that wrote an upload ended")
}

/// Writes a body, on a thread of its own, as it comes. The writer comes back whatever happens to
/// the body.
async fn pour(writer: BlobWriter<'static>, mut body: Incoming) -> (Option<BlobWriter<'static>>, Result<()>) {
    let (to, chunks) = mpsc::channel(QUEUE);
    let writing = tokio::task::spawn_blocking(move || write(writer, chunks));
    let came = receive(&mut body, &to).await;
    drop(to);
    match writing.await {
        Ok((writer, Ok(()))) => (Some(writer), came),
        Ok((writer, Err(fault))) => (Some(writer), Err(fault)),
        Err(_) => (None, came),
    }
}

fn write(
    mut writer: BlobWriter<'static>,
    mut chunks: mpsc::Receiver<Bytes>,
) -> (BlobWriter<'static>, Result<()>) {
    while let Some(chunk) = chunks.blocking_recv() {
        if let Err(source) = writer.write_all(&chunk) {
            let fault = storekit::Error::io("write", camino::Utf8Path::new("an upload"), source).into();
            return (writer, Err(fault));
        }
    }
    (writer, Ok(()))
}

async fn receive(body: &mut Incoming, to: &mpsc::Sender<Bytes>) -> Result<()> {
    loop {
        let frame = match tokio::time::timeout(STALL, body.frame()).await {
            Err(_) => return Err(Fault::timed_out()),
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return Err(Fault::upload_invalid("the request's body broke off")),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data()
            && to.send(data).await.is_err()
        {
            // The writer has failed, and says why.
            return Ok(());
        }
    }
}

/// Makes a blob of what was written, if it has the digest (and the length) that was announced.
async fn finish(
    app: &Arc<App>,
    writer: BlobWriter<'static>,
    digest: Digest,
    length: Option<u64>,
) -> Result<()> {
    if length.is_some_and(|length| length != writer.size()) {
        return Err(Fault::size_invalid("the blob has another length than announced"));
    }
    app.blocking(move |app| {
        let lease = writer.finish(Some(&digest))?;
        note(app, &lease);
        app.grace.keep(lease);
        Ok(())
    })
    .await
}

fn note(app: &App, lease: &Lease) {
    // Where its state cannot be read it is hashed when it is asked for.
    if let Ok(metadata) = lease.file().metadata() {
        app.facts.note(&lease.digest(), FileState::written(&metadata));
    }
}

/// Does the work to its end even if the client goes away.
async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Fault::internal(&error)))
}

fn created(repository: &Repository, digest: &Digest) -> Response<ResponseBody> {
    let location = format!("/v2/{repository}/blobs/{digest}");
    let response = answer::with(answer::empty(StatusCode::CREATED), header::LOCATION, &location);
    answer::with(response, answer::CONTENT_DIGEST, &digest.to_string())
}

fn state(status: StatusCode, repository: &Repository, id: &UploadId, size: u64) -> Response<ResponseBody> {
    let response = answer::with(answer::empty(status), header::LOCATION, &location(repository, id));
    let response = answer::with(response, header::RANGE, &so_far(size));
    answer::with(response, UPLOAD_ID, &id.to_string())
}

fn location(repository: &Repository, id: &UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn so_far(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}
