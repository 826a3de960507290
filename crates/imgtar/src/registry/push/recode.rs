//! A layer on its way into a registry in another form: unpacked, packed anew and sent at once,
//! never on disk.
//!
//! Its plain bytes, and so its diffID, stay. What comes out has a digest that is known at the end
//! only.

use std::io::{self, Read, Write};
use std::thread;

use storekit::{Blobs, Descriptor, Digest, Hasher};
use ureq::http::Method;

use super::upload;
use crate::error::{Error, Result};
use crate::format::compression::Form;
use crate::layer::{self, ToChunks};
use crate::progress::Progress;
use crate::registry::client::Client;
use crate::registry::pieces::is_refusal;
use crate::registry::retry::{Failure, retrying};
use crate::registry::transport::{Request, RequestBody};
use crate::registry::url::Url;

/// No larger piece of a layer is held in memory.
const IN_MEMORY: u64 = 64 << 20;

/// Sends the layer in this form. Returns the digest and the size that it has there.
///
/// # Errors
/// As [`Client::resolve`]; a stored layer that is damaged.
pub(crate) fn send(
    client: &Client,
    blobs: &Blobs,
    stored: &Descriptor,
    form: Form,
    progress: &dyn Progress,
) -> Result<(Digest, u64)> {
    retrying(client.patience, || {
        loop {
            let (place, pieces) = (upload::begin(client)?, client.pieces().size());
            match attempt(client, blobs, stored, form, (&place, pieces), progress) {
                Err(failure) if is_refusal(&failure) && client.pieces().go_down(pieces) => {}
                done => return done,
            }
        }
    })
}

fn attempt(
    client: &Client,
    blobs: &Blobs,
    stored: &Descriptor,
    form: Form,
    (place, pieces): (&Url, Option<u64>),
    progress: &dyn Progress,
) -> Result<(Digest, u64), Failure> {
    let (to, mut from) = layer::pipe();
    let (made, next) = thread::scope(|scope| {
        let packing = scope.spawn(|| pack(blobs, stored, form, to, progress));
        let next = match pieces {
            None => stream(client, place, &mut from),
            Some(size) => in_pieces(client, place, size, &mut from),
        };
        // The thread that packs is not to wait for a reader that has gone.
        drop(from);
        (packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), next)
    });
    let made = match made {
        Err(Error::Write { .. }) => {
            Err(Failure::passing(client.untrue("it stops reading a layer before its end".to_owned())))
        }
        made => made.map_err(Failure::Final),
    };
    // Where the registry broke off, that is why the packing did.
    let next = match (&made, next) {
        (Err(Failure::Final(_)), _) => return made,
        (_, next) => next?,
    };
    let (digest, size) = made?;
    upload::finish(client, &next, &digest, None)?;
    Ok((digest, size))
}

/// Sends all at once, however long it becomes.
fn stream(client: &Client, place: &Url, from: &mut dyn Read) -> Result<Url, Failure> {
    let mut request = Request::new(Method::PATCH, place.clone());
    request = request.with("content-type", "application/octet-stream");
    request.body = RequestBody::Stream { from, length: None };
    let answer = client.call(request, client.scope())?;
    upload::next_place(client, answer, place)
}

/// Sends it piece by piece: each is in memory, since its length goes before it.
fn in_pieces(client: &Client, place: &Url, size: u64, from: &mut dyn Read) -> Result<Url, Failure> {
    if size > IN_MEMORY {
        return Err(client.untrue(format!("it wants {size} bytes of a blob at once")).into());
    }
    let (mut next, mut at) = (place.clone(), 0);
    loop {
        let mut piece = Vec::new();
        let read = (&mut *from).take(size).read_to_end(&mut piece);
        read.map_err(|source| Failure::Final(Error::read("-", source)))?;
        if piece.is_empty() {
            return Ok(next);
        }
        let length = piece.len() as u64;
        next = upload::patch(client, &next, &mut piece.as_slice(), (at, length), true)?;
        at += length;
    }
}

/// Reads the stored layer, verified, and writes it in the other form.
fn pack(
    blobs: &Blobs,
    stored: &Descriptor,
    form: Form,
    to: ToChunks,
    progress: &dyn Progress,
) -> Result<(Digest, u64)> {
    let missing = || storekit::Error::Missing { digest: stored.digest, path: blobs.folder().to_owned() };
    let reader = blobs.reader(&stored.digest)?.ok_or_else(missing)?;
    let counted = Counted { from: reader, progress };
    let failed = |source| crate::image::unreadable(blobs, &stored.digest, source);
    let mut plain = Form::named(&stored.media_type).decoder(counted).map_err(failed)?;
    let to = Hashed { to, hasher: Hasher::new(), size: 0 };
    let mut to = match form {
        Form::Plain => copy(&mut plain, to, failed)?,
        Form::Zstd => {
            let encoder = layer::encoder(to, None).map_err(|source| Error::write("-", source))?;
            copy(&mut plain, encoder, failed)?.finish().map_err(|source| Error::write("-", source))?
        }
        Form::Gzip => {
            let encoder = flate2::write::GzEncoder::new(to, flate2::Compression::default());
            copy(&mut plain, encoder, failed)?.finish().map_err(|source| Error::write("-", source))?
        }
    };
    to.to.flush().map_err(|source| Error::write("-", source))?;
    Ok((to.hasher.finish(), to.size))
}

fn copy<W: Write>(plain: &mut dyn Read, mut to: W, failed: impl Fn(io::Error) -> Error) -> Result<W> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = plain.read(&mut buffer).map_err(&failed)?;
        if count == 0 {
            return Ok(to);
        }
        to.write_all(&buffer[..count]).map_err(|source| Error::write("-", source))?;
    }
}

struct Hashed {
    to: ToChunks,
    hasher: Hasher,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counted<'a, R> {
    from: R,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.progress.add(count as u64);
        Ok(count)
    }
}
