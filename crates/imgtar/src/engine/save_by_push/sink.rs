//! A registry that takes one push. It answers that every layer is there that the engine asks for,
//! and keeps what is sent all the same.
//!
//! An engine asks whether a layer is there by the digest of its compressed form, which may be
//! another than ours. That it names a digest at all means that it need not send the layer: which
//! layer it was, the manifest and the config tell in the end, by diffIDs. What is missing then has
//! to be sent in a second push, in which that digest is not there.
//!
//! Nothing that is sent has a name in the store before the whole image is accepted: a push that is
//! given up, or killed, leaves no second form of a layer behind. Nothing is believed: blobs go by
//! the digests of their bytes, and the caller compares the config with the image that it asked for.
//! Any other client that connects can make it fail, no more.
//!
//! Source: OCI distribution-spec v1.1, "Push".

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use storekit::{Blobs, Digest};

use crate::engine::save_by_push::http::{Connection, Request};
use crate::format::oci::DOCUMENT_CAP;
use crate::layer::{self, Announced, Made};
use crate::progress::Progress;

/// A registry for one push.
pub(crate) struct Sink<'a> {
    blobs: &'a Blobs,
    progress: &'a dyn Progress,
    /// The digests of which it answers that they are not there.
    refused: BTreeSet<Digest>,
    /// The layers, by their diffIDs, that are not kept where the engine sends them all the same.
    known: BTreeSet<Digest>,
    /// How many bytes may be sent. If there are more, the engine sends layers that the store has.
    most: u64,
    sent: AtomicU64,
    done: AtomicBool,
    taken: Mutex<Taken>,
    open: Mutex<Vec<TcpStream>>,
}

/// What came of a push.
#[derive(Default)]
pub(crate) struct Taken {
    /// The manifest that the engine pushed.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The blobs that were sent.
    pub(crate) blobs: BTreeMap<Digest, Made>,
    /// What has come of uploads that are not finished, by their numbers.
    uploads: BTreeMap<usize, Upload>,
}

/// What has come of an upload.
enum Upload {
    /// Nothing so far.
    Begun,
    /// A layer that is stored already.
    Known,
    /// A blob that was not stored.
    New(Box<Made>),
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Sink<'a> {
    pub(crate) fn new(
        blobs: &'a Blobs,
        progress: &'a dyn Progress,
        refused: BTreeSet<Digest>,
        known: BTreeSet<Digest>,
        most: u64,
    ) -> Self {
        Self {
            blobs,
            progress,
            refused,
            known,
            most,
            sent: AtomicU64::new(0),
            done: AtomicBool::new(false),
            taken: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Whether the engine sends more than it should have to.
    pub(crate) fn is_too_much(&self) -> bool {
        self.sent.load(Ordering::SeqCst) > self.most
    }

    /// Serves while `push` runs. Returns what that returned.
    pub(crate) fn during<T>(
        &self,
        listener: &TcpListener,
        push: impl FnOnce(SocketAddr) -> T,
    ) -> io::Result<T> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(thread::scope(|scope| {
            scope.spawn(|| {
                while !self.done.load(Ordering::SeqCst) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            held(&self.open).extend(stream.try_clone());
                            // A client that talks no HTTP, or that has gone, is its own trouble.
                            scope.spawn(move || {
                                Connection::new(stream).and_then(|stream| self.converse(stream))
                            });
                        }
                        Err(_) => thread::sleep(Duration::from_millis(2)),
                    }
                }
                for stream in held(&self.open).drain(..) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            });
            let pushed = push(address);
            self.done.store(true, Ordering::SeqCst);
            pushed
        }))
    }

    /// What was taken.
    pub(crate) fn into_taken(self) -> Taken {
        self.taken.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, mut connection: Connection) -> io::Result<()> {
        while let Some(request) = connection.next()? {
            self.answer(&mut connection, &request)?;
        }
        Ok(())
    }

    fn answer(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["v2" | "v2/"] | ["v2", ""]) => connection.answer("200 OK", &[], 0),
            ("HEAD", ["v2", .., "blobs", digest]) => self.head(connection, digest),
            ("POST", ["v2", .., "blobs", "uploads" | "uploads/"] | ["v2", .., "blobs", "uploads", ""]) => {
                io::copy(&mut connection.body(request), &mut io::sink())?;
                self.post(connection, &request.path)
            }
            ("PATCH", ["v2", .., "blobs", "uploads", number]) => self.patch(connection, request, number),
            ("PUT", ["v2", .., "blobs", "uploads", number]) => self.put(connection, request, number),
            ("PUT", ["v2", .., "manifests", _]) => self.manifest(connection, request),
            _ => {
                io::copy(&mut connection.body(request), &mut io::sink())?;
                connection.answer("404 Not Found", &[], 0)
            }
        }
    }

    fn head(&self, connection: &mut Connection, digest: &str) -> io::Result<()> {
        let Ok(digest) = digest.parse::<Digest>() else { return connection.answer("404 Not Found", &[], 0) };
        let size = {
            let taken = held(&self.taken);
            match taken.blobs.get(&digest) {
                Some(made) => Some(made.shape.size),
                None if self.refused.contains(&digest) => None,
                // The engine notes it in a manifest that is not kept.
                None => Some(1),
            }
        };
        match size {
            Some(size) => {
                connection.answer("200 OK", &[("Docker-Content-Digest", &digest.to_string())], size)
            }
            None => connection.answer("404 Not Found", &[], 0),
        }
    }

    fn post(&self, connection: &mut Connection, path: &str) -> io::Result<()> {
        let number = {
            let mut taken = held(&self.taken);
            let number = taken.uploads.keys().next_back().map_or(0, |last| last + 1);
            taken.uploads.insert(number, Upload::Begun);
            number
        };
        let place = format!("{}/{number}", path.trim_end_matches('/'));
        let fields =
            [("Location", place.as_str()), ("Docker-Upload-UUID", &number.to_string()), ("Range", "0-0")];
        connection.answer("202 Accepted", &fields, 0)
    }

    fn patch(&self, connection: &mut Connection, request: &Request, number: &str) -> io::Result<()> {
        let (upload, size) = self.store(&mut connection.body(request))?;
        self.keep(number, upload)?;
        let range = format!("0-{}", size.saturating_sub(1));
        let fields = [("Location", request.path.as_str()), ("Docker-Upload-UUID", number), ("Range", &range)];
        connection.answer("202 Accepted", &fields, 0)
    }

    /// Reads a blob, whatever it is; a layer that is stored already is not kept. Tells how many
    /// bytes came, too.
    fn store(&self, body: &mut dyn Read) -> io::Result<(Upload, u64)> {
        let mut body = Counted { body, sent: &self.sent, count: 0 };
        let announced = Announced { verbatim: true, ..Announced::default() };
        let made = layer::read(self.blobs, &mut body, announced, "the upload", self.progress);
        let made = made.map_err(io::Error::other)?;
        let is_known = self.known.contains(&made.shape.diff_id);
        Ok((if is_known { Upload::Known } else { Upload::New(Box::new(made)) }, body.count))
    }

    fn keep(&self, number: &str, upload: Upload) -> io::Result<()> {
        let mut taken = held(&self.taken);
        let slot = number.parse().ok().and_then(|number: usize| taken.uploads.get_mut(&number));
        match slot {
            Some(slot @ Upload::Begun) => *slot = upload,
            // Engines send an upload in one piece.
            _ => return Err(io::Error::other("no such upload, or its second piece")),
        }
        Ok(())
    }

    fn put(&self, connection: &mut Connection, request: &Request, number: &str) -> io::Result<()> {
        let announced = request.query.split('&').find_map(|pair| pair.strip_prefix("digest="));
        let announced: Option<Digest> = announced.and_then(|text| text.replace("%3A", ":").parse().ok());
        let mut first = [0];
        let mut body = connection.body(request);
        if body.read(&mut first)? > 0 {
            let (upload, _) = self.store(&mut io::Cursor::new(first).chain(body))?;
            self.keep(number, upload)?;
        }
        let stored = {
            let mut taken = held(&self.taken);
            let upload = number.parse().ok().and_then(|number: usize| taken.uploads.remove(&number));
            match (upload, announced) {
                (Some(Upload::New(made)), Some(announced)) if made.shape.digest == announced => {
                    taken.blobs.insert(announced, *made);
                    Some(announced.to_string())
                }
                // Its content is the layer's; its form is of no use here.
                (Some(Upload::Known), Some(announced)) => Some(announced.to_string()),
                _ => None,
            }
        };
        match stored {
            Some(digest) => {
                let fields =
                    [("Location", request.path.as_str()), ("Docker-Content-Digest", digest.as_str())];
                connection.answer("201 Created", &fields, 0)
            }
            None => connection.answer("400 Bad Request", &[], 0),
        }
    }

    fn manifest(&self, connection: &mut Connection, request: &Request) -> io::Result<()> {
        let mut bytes = Vec::new();
        connection.body(request).take(DOCUMENT_CAP + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DOCUMENT_CAP {
            return Err(io::Error::other("a manifest that is too large"));
        }
        let digest = Digest::of(&bytes).to_string();
        held(&self.taken).manifest = Some(bytes);
        let fields = [("Location", request.path.as_str()), ("Docker-Content-Digest", digest.as_str())];
        connection.answer("201 Created", &fields, 0)
    }
}

struct Counted<'a> {
    body: &'a mut dyn Read,
    sent: &'a AtomicU64,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.sent.fetch_add(count as u64, Ordering::SeqCst);
        self.count += count as u64;
        Ok(count)
    }
}
