//! A blob from the store into a registry: not at all where it is there, mounted where another
//! repository of the registry has it, else its bytes, from where an earlier try broke off if the
//! registry remembers; in pieces where it refuses the whole.
//!
//! A stored blob is verified while it is sent, and its last bytes leave only where all match.
//!
//! Source: OCI distribution-spec v1.1, "Pushing blobs".

use std::io::{self, Read};

use camino::Utf8PathBuf;
use storekit::{Blobs, Descriptor, Digest, VerifiedReader};
use ureq::http::Method;

use crate::error::Result;
use crate::error::registry::Error;
use crate::progress::Progress;
use crate::registry::auth::Scope;
use crate::registry::client::Client;
use crate::registry::download;
use crate::registry::pieces::is_refusal;
use crate::registry::retry::{Failure, Tries, retrying};
use crate::registry::transport::{Answer, Request, RequestBody};
use crate::registry::url::Url;
use crate::tally::Tally;

/// Blobs up to this size are sent in one request; of larger ones the registry is asked where to go
/// on after a cut.
const WHOLE: u64 = 1 << 20;

/// Sends the blob, if it is not there. `from`: repositories of the registry that may have it.
///
/// # Errors
/// As [`Client::resolve`]; a stored blob that is damaged.
pub(crate) fn send(
    client: &Client,
    content: Content<'_>,
    blob: &Descriptor,
    from: &[String],
    progress: &dyn Progress,
) -> Result<Tally> {
    if client.has_blob(blob)? {
        progress.add(blob.size);
        return Ok(Tally::skipped(blob.size));
    }
    let mut upload = Upload::new(client, content, blob, progress);
    if upload.mount(from) {
        progress.add(blob.size);
        return Ok(Tally::mounted(blob.size));
    }
    // The answer may have been lost, and nothing else.
    upload.run(|| client.has_blob(blob))
}

/// Sends the blob, if it is not there as it should be: what the registry has is read through, and
/// no other repository is asked for it.
///
/// # Errors
/// As [`send`]; [`Error::Kept`].
pub(crate) fn mend(
    client: &Client,
    content: Content<'_>,
    blob: &Descriptor,
    progress: &dyn Progress,
) -> Result<Tally> {
    let is_there = client.has_blob(blob)?;
    if is_there && download::is_sound(client, blob)? {
        progress.add(blob.size);
        return Ok(Tally::skipped(blob.size));
    }
    let tally = Upload::new(client, content, blob, progress).run(|| download::is_sound(client, blob))?;
    if is_there && !download::is_sound(client, blob)? {
        let registry = client.registry().to_owned();
        return Err(Error::Kept { registry, digest: blob.digest }.into());
    }
    Ok(tally)
}

/// Where a blob's bytes are.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Stored(&'a Blobs),
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    /// The bytes from this one on. Those of a stored blob are verified at its end, before the last
    /// of them leaves.
    pub(crate) fn body(
        self,
        blob: &Descriptor,
        at: u64,
        progress: &'a dyn Progress,
    ) -> Result<Box<dyn Read + Send + 'a>> {
        let blobs = match self {
            Self::Bytes(bytes) => {
                return Ok(Box::new(
                    bytes.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default(),
                ));
            }
            Self::Stored(blobs) => blobs,
        };
        let path = blobs.path(&blob.digest);
        let missing = || storekit::Error::Missing { digest: blob.digest, path: blobs.folder().to_owned() };
        let mut from = blobs.reader(&blob.digest)?.ok_or_else(missing)?;
        // All of it is hashed, also what is not sent again.
        io::copy(&mut (&mut from).take(at), &mut io::sink())
            .map_err(|error| storekit::Error::io("read", path.clone(), error))?;
        Ok(Box::new(Outgoing { from, path, left: blob.size - at, progress }))
    }
}

struct Upload<'a> {
    client: &'a Client,
    content: Content<'a>,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    /// A place that was opened for nothing yet.
    opened: Option<Url>,
    /// Where bytes were sent to, before the connection was cut.
    begun: Option<Url>,
    /// How many bytes it has told to have.
    reached: u64,
}

impl<'a> Upload<'a> {
    fn new(
        client: &'a Client,
        content: Content<'a>,
        blob: &'a Descriptor,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { client, content, blob, progress, opened: None, begun: None, reached: 0 }
    }

    /// Sends it, until it has arrived or `is_there` after a failure.
    fn run(mut self, is_there: impl Fn() -> Result<bool>) -> Result<Tally> {
        let mut tries = Tries::new(self.client.patience);
        loop {
            match self.attempt() {
                Ok(()) => return Ok(Tally::moved(self.blob.size)),
                Err(failure) => {
                    tries.reached(self.reached);
                    tries.again(failure)?;
                }
            }
            if is_there()? {
                return Ok(Tally::moved(self.blob.size));
            }
        }
    }

    /// Asks the registry to take the blob from one of its other repositories.
    fn mount(&mut self, from: &[String]) -> bool {
        for other in from.iter().filter(|other| *other != self.client.repository()) {
            let scope = self.client.scope().clone().and_pull(other);
            let mount = format!("blobs/uploads/?mount={}&from={other}", self.blob.digest);
            // A registry that says no, in whatever way, is sent the bytes.
            match open(self.client, &mount, &scope) {
                Ok(None) => return true,
                Ok(place) => self.opened = place,
                Err(_) => {}
            }
        }
        false
    }

    /// Sends it to a place, or to another one in smaller pieces where it is refused.
    fn attempt(&mut self) -> Result<(), Failure> {
        loop {
            let (place, at) = self.place()?;
            let pieces = self.client.pieces().size();
            match self.send_to(place, at, pieces) {
                Err(failure) if is_refusal(&failure) && self.client.pieces().go_down(pieces) => {
                    self.begun = None;
                }
                done => return done,
            }
        }
    }

    /// Where to send it, and from which byte on.
    fn place(&mut self) -> Result<(Url, u64), Failure> {
        let again = self.begun.take().map(|place| self.resume(&place)).transpose()?.flatten();
        Ok(match (again, self.opened.take()) {
            (Some(found), _) => found,
            (None, Some(opened)) => (opened, 0),
            (None, None) => (begin(self.client)?, 0),
        })
    }

    fn send_to(&mut self, place: Url, at: u64, pieces: Option<u64>) -> Result<(), Failure> {
        if at == 0 && self.blob.size <= WHOLE && pieces.is_none() {
            let mut body = self.content.body(self.blob, 0, self.progress)?;
            return finish(self.client, &place, &self.blob.digest, Some((&mut body, self.blob.size)));
        }
        self.reached = at;
        self.begun = Some(place.clone());
        let place = self.send_from(place, at, pieces)?;
        finish(self.client, &place, &self.blob.digest, None)
    }

    /// Sends what follows this byte. Returns where the upload is ended.
    fn send_from(&mut self, mut place: Url, mut at: u64, pieces: Option<u64>) -> Result<Url, Failure> {
        if at == self.blob.size {
            return Ok(place);
        }
        let mut body = self.content.body(self.blob, at, self.progress)?;
        while at < self.blob.size {
            let left = self.blob.size - at;
            let length = pieces.map_or(left, |size| size.min(left));
            // Not every registry understands this where it is not needed.
            let is_part = at > 0 || pieces.is_some();
            place = patch(self.client, &place, &mut (&mut body).take(length), (at, length), is_part)?;
            at += length;
            self.reached = at;
            self.begun = Some(place.clone());
        }
        Ok(place)
    }

    /// Where the registry goes on, if it knows.
    fn resume(&self, place: &Url) -> Result<Option<(Url, u64)>, Failure> {
        let answer = self.client.call(Request::new(Method::GET, place.clone()), self.client.scope())?;
        if !(200..300).contains(&answer.status) {
            return Ok(None);
        }
        let at = answer.header("range").map_or(Some(0), end_of);
        let next = answer.header("location").and_then(|location| place.join(location));
        let next = next.unwrap_or_else(|| place.clone());
        Ok(at.filter(|at| *at <= self.blob.size).map(|at| (next, at)))
    }
}

/// Asks for a place to send bytes to.
pub(crate) fn begin(client: &Client) -> Result<Url, Failure> {
    let place = open(client, "blobs/uploads/", client.scope())?;
    place.ok_or_else(|| {
        client.untrue("it answers as if a blob was mounted, and none was named".to_owned()).into()
    })
}

/// Opens a place and gives it up again.
///
/// # Errors
/// A registry that takes nothing there.
pub(crate) fn probe(client: &Client) -> Result<()> {
    let place = retrying(client.patience, || begin(client))?;
    // Registries remove in time what nobody ends.
    let _ = client.call(Request::new(Method::DELETE, place), client.scope());
    Ok(())
}

/// Opens a place; nothing where the registry has mounted what was asked for.
fn open(client: &Client, path: &str, scope: &Scope) -> Result<Option<Url>, Failure> {
    let url = client.url(path);
    let mut request = Request::new(Method::POST, url.clone());
    request.body = RequestBody::Bytes(b"");
    let answer = client.call(request, scope)?;
    client.pieces().heed(&answer);
    match answer.status {
        201 => Ok(None),
        _ => next_place(client, answer, &url).map(Some),
    }
}

/// Sends so many bytes, which stand at this place of the blob. Returns where the registry wants to
/// go on.
pub(crate) fn patch(
    client: &Client,
    place: &Url,
    from: &mut dyn Read,
    (at, length): (u64, u64),
    is_part: bool,
) -> Result<Url, Failure> {
    let mut request = Request::new(Method::PATCH, place.clone());
    request = request.with("content-type", "application/octet-stream");
    if is_part {
        request = request.with("content-range", format!("{at}-{}", (at + length).saturating_sub(1)));
    }
    request.body = RequestBody::Stream { from, length: Some(length) };
    let answer = client.call(request, client.scope())?;
    next_place(client, answer, place)
}

/// Where the registry wants to go on.
pub(crate) fn next_place(client: &Client, answer: Answer, from: &Url) -> Result<Url, Failure> {
    if !(200..300).contains(&answer.status) {
        return Err(client.refusal(answer, "upload to", ""));
    }
    let next = answer.header("location").and_then(|location| from.join(location));
    let next = next.ok_or_else(|| client.untrue("it does not say where to send a blob".to_owned()))?;
    if from.origin().tls && !next.origin().tls {
        return Err(Error::Insecure { url: next.shown() }.into());
    }
    Ok(next)
}

/// Ends an upload: with its bytes, or after them.
pub(crate) fn finish(
    client: &Client,
    place: &Url,
    digest: &Digest,
    body: Option<(&mut dyn Read, u64)>,
) -> Result<(), Failure> {
    let mut request = Request::new(Method::PUT, place.with(&format!("digest={digest}")));
    request = request.with("content-type", "application/octet-stream");
    request.settles = true;
    request.body = match body {
        Some((from, length)) => RequestBody::Stream { from, length: Some(length) },
        None => RequestBody::Bytes(b""),
    };
    let answer = client.call(request, client.scope())?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(client.refusal(answer, "upload of", &digest.to_string()))
}

/// The number of bytes before the end of `0-N`.
fn end_of(range: &str) -> Option<u64> {
    let (_, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    // Nothing yet is `0-0` for some, which counts one byte too many: those are sent all of it.
    last.trim().parse::<u64>().ok().map(|last| if last == 0 { 0 } else { last + 1 })
}

/// A blob on its way out. Its last bytes are held back until all are proved.
struct Outgoing<'a> {
    from: VerifiedReader,
    path: Utf8PathBuf,
    left: u64,
    progress: &'a dyn Progress,
}

impl Read for Outgoing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        // An error of the disk is not one of the connection.
        let failed = |error| io::Error::from(storekit::Error::io("read", self.path.clone(), error));
        let count = self.from.read(&mut buffer[..wanted]).map_err(failed)?;
        self.left -= count as u64;
        if count == 0 || self.left == 0 {
            // The reader compares at its end; one of another length than announced is damaged too.
            let more = if count == 0 { 1 } else { self.from.read(&mut [0]).map_err(failed)? };
            if more > 0 {
                return Err(failed(io::Error::other("it has another length than announced")));
            }
        }
        self.progress.add(count as u64);
        Ok(count)
    }
}
