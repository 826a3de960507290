//! Blobs: handed out, also in parts, and removed.
//!
//! Every blob of the store is to be had under every repository's name; so is the plain form of each
//! compressed layer of a stored image, which is unpacked and verified while it is sent.
//!
//! Source: OCI distribution-spec v1.1, "Pulling blobs", "Deleting blobs"; RFC 9110 for ranges.

use std::io;
use std::sync::Arc;

use http::header;
use http::{HeaderMap, Response, StatusCode};
use storekit::files::state::FileState;
use storekit::{Digest, Discarded, Event, Kind};

use crate::format::compression::{self, Form};
use crate::serve::answer::{self, ResponseBody};
use crate::serve::fault::{Fault, Result};
use crate::serve::handlers::stream::{self, Part, Verdict};
use crate::serve::range::Asked;
use crate::serve::state::app::App;

/// Where a blob's bytes come from.
enum BlobSource {
    /// The blob is stored in this very form.
    File(std::fs::File, FileState),
    /// A compressed layer that unpacks to it, and the size of its plain bytes.
    Plain(Digest, u64),
}

impl BlobSource {
    fn size(&self) -> u64 {
        match self {
            Self::File(_, state) => state.size(),
            Self::Plain(_, size) => *size,
        }
    }
}

/// Says that a blob is there. The client may be about to name it in a manifest, so that it stays
/// for a while.
///
/// # Errors
/// [`Fault::blob_unknown`], also where it turns out to be damaged: a client that is told so uploads
/// it anew.
pub(crate) fn head(app: &App, digest: &Digest) -> Result<Response<ResponseBody>> {
    let size = held(app, digest)?.ok_or_else(|| Fault::blob_unknown(digest))?;
    let mut response = described(answer::empty(StatusCode::OK), digest);
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

/// The size of a blob that is there, sound, and leased from now on for a while.
///
/// # Errors
/// I/O errors.
pub(crate) fn held(app: &App, digest: &Digest) -> Result<Option<u64>> {
    if app.blobs.contains(digest)
        && let Some(lease) = app.blobs.lease(digest)?
    {
        if let Some(size) = app.sound(digest)? {
            app.grace.keep(lease);
            return Ok(Some(size));
        }
        damaged(app, digest);
    }
    let Some((stored, size)) = app.plain_source(&*app.stocks.now()?, digest)? else { return Ok(None) };
    app.blobs.lease(&stored.digest)?.into_iter().for_each(|lease| app.grace.keep(lease));
    Ok(Some(size))
}

/// Sends a blob, or the part of it that is asked for.
///
/// # Errors
/// [`Fault::blob_unknown`], [`Fault::damaged`], [`Fault::out_of_range`].
pub(crate) fn get(app: &Arc<App>, digest: &Digest, headers: &HeaderMap) -> Result<Response<ResponseBody>> {
    let found = find(app, digest)?;
    if answer::is_known(headers, digest) {
        return Ok(answer::with_digest(answer::empty(StatusCode::NOT_MODIFIED), digest));
    }
    let size = found.size();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let same = text(header::IF_RANGE).is_none_or(|tag| tag == format!("\"{digest}\""));
    let (part, status) = match Asked::parse(text(header::RANGE).filter(|_| same), size) {
        Asked::All => (Part { start: 0, end: size }, StatusCode::OK),
        Asked::Part { start, end } => (Part { start, end }, StatusCode::PARTIAL_CONTENT),
        Asked::Nothing => return Err(Fault::out_of_range(size)),
    };
    let mut response = described(answer::with_body(status, body(app, digest, found, part)), digest);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
        response = answer::with(response, header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

fn described(response: Response<ResponseBody>, digest: &Digest) -> Response<ResponseBody> {
    let response = answer::with(response, header::CONTENT_TYPE, "application/octet-stream");
    let response = answer::with(response, header::ACCEPT_RANGES, "bytes");
    answer::with_digest(response, digest)
}

fn find(app: &App, digest: &Digest) -> Result<BlobSource> {
    if let Some((file, state)) = app.facts.open(digest)? {
        return Ok(BlobSource::File(file, state));
    }
    let source = app.plain_source(&*app.stocks.now()?, digest)?;
    let (stored, size) = source.ok_or_else(|| Fault::blob_unknown(digest))?;
    Ok(BlobSource::Plain(stored.digest, size))
}

fn body(app: &Arc<App>, digest: &Digest, found: BlobSource, part: Part) -> ResponseBody {
    if part.start >= part.end {
        return ResponseBody::Empty;
    }
    match found {
        BlobSource::File(file, state) if app.facts.is_proved(digest, state) => {
            stream::known(file, part, app.stream_log())
        }
        BlobSource::File(file, state) => {
            let verdict = verdict(app, *digest, *digest, Some(state));
            stream::doubtful(move || Ok(Box::new(file)), part, verdict, app.stream_log())
        }
        BlobSource::Plain(stored, _) => {
            let verdict = verdict(app, *digest, stored, None);
            let app_too = Arc::clone(app);
            stream::doubtful(move || unpacked(&app_too, &stored), part, verdict, app.stream_log())
        }
    }
}

/// Reads the plain bytes of a stored layer.
pub(crate) fn unpacked(app: &App, stored: &Digest) -> io::Result<Box<dyn io::Read + Send>> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("the layer `{stored}` is gone"));
    let (mut file, _) = app.facts.open(stored).map_err(io::Error::other)?.ok_or_else(gone)?;
    let head = compression::read_head(&mut file)?;
    let form = Form::of(&head);
    form.decoder(io::Read::chain(io::Cursor::new(head), file))
}

/// Compares what was read with what was asked for. What does not match is moved aside, where it is
/// the blob itself that is damaged.
fn verdict(app: &Arc<App>, wanted: Digest, stored: Digest, state: Option<FileState>) -> Verdict {
    let app = Arc::clone(app);
    Box::new(move |found, _| {
        if found == wanted {
            // A file that was written to in the meantime is in another state by now.
            if let Some(state) = state {
                app.facts.note(&wanted, state);
            }
            return Ok(());
        }
        match app.blobs.verify(&stored) {
            Err(error) if error.is_corrupt() => damaged(&app, &stored),
            _ => {}
        }
        Err(io::Error::other(format!("the blob `{wanted}` is damaged: its bytes hash to `{found}`")))
    })
}

fn damaged(app: &App, digest: &Digest) {
    app.trouble(&format!("the blob `{digest}` was damaged, and was moved aside"));
    let mut event =
        Event::new("imgtar", Kind::Damage, &storekit::Key::of_digest(digest), jiff::Timestamp::now());
    event.key = None;
    // A note for statistics.
    let _ = app.store.events().record(&event);
}

/// Removes a blob that no image needs.
///
/// # Errors
/// [`Fault::blob_unknown`]; a blob that an image needs, or that is leased.
pub(crate) fn delete(app: &App, digest: &Digest) -> Result<Response<ResponseBody>> {
    if !app.blobs.contains(digest) {
        return Err(Fault::blob_unknown(digest));
    }
    app.grace.let_go(digest);
    let lock = app.store.lock_exclusive()?;
    // Under the lock no entry is written; those that stand are read once more.
    let needed = is_needed(app, digest)?;
    let discarded = if needed {
        Discarded::InUse
    } else {
        app.images.discard_blob(&lock, digest, &app.store.trash().batch(jiff::Timestamp::now()))?
    };
    drop(lock);
    match discarded {
        Discarded::Moved => Ok(answer::empty(StatusCode::ACCEPTED)),
        Discarded::Gone => Err(Fault::blob_unknown(digest)),
        Discarded::InUse => Err(Fault::needed("an image needs this blob: delete that first")),
    }
}

/// Whether an entry, or what another tool has put into the layout, reaches the blob. Doubt keeps
/// it.
fn is_needed(app: &App, digest: &Digest) -> Result<bool> {
    let mut walker = app.images.walker();
    let ours = app.images.list_ours()?.into_iter().map(|listed| listed.entry.descriptor);
    for root in ours.chain(app.images.foreign()?) {
        let reach = walker.reach(&root)?;
        if !reach.unknown.is_empty() || reach.present.contains_key(digest) {
            return Ok(true);
        }
    }
    Ok(false)
}
