//! A layer on its way into a registry in another form: unpacked, packed anew and sent at once, never on disk.
//!
//! Its plain bytes, and so its diffID, stay. What comes out has a digest that is known at the end only.

use std::io::{self, Read, Write};
use std::thread;

use storekit::{Blobs, Descriptor, Digest, Hasher};
use ureq::http::Method;

use super::client::Client;
use super::retry::{Failure, retrying};
use super::transport::{Body, Request};
use super::upload;
use crate::error::{Error, Result};
use crate::form::Form;
use crate::layer::{self, ToChunks};
use crate::progress::Progress;

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
    retrying(client.patience, || attempt(client, blobs, stored, form, progress))
}

fn attempt(
    client: &Client,
    blobs: &Blobs,
    stored: &Descriptor,
    form: Form,
    progress: &dyn Progress,
) -> Result<(Digest, u64), Failure> {
    let place = upload::begin(client)?;
    let (to, mut from) = layer::pipe();
    let (made, answer) = thread::scope(|scope| {
        let packing = scope.spawn(|| pack(blobs, stored, form, to, progress));
        let mut request = Request::new(Method::PATCH, place.clone());
        request = request.with("content-type", "application/octet-stream");
        request.body = Body::Stream { from: &mut from, length: None };
        let answer = client.call(request, client.scope());
        // The thread that packs is not to wait for a reader that has gone.
        drop(from);
        (packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), answer)
    });
    let made = match made {
        Err(Error::Write { .. }) => {
            Err(Failure::passing(client.untrue("it does not take all of a layer".to_owned())))
        }
        made => made.map_err(Failure::Final),
    };
    // Where the registry broke off, that is why the packing did.
    let place = match (&made, answer) {
        (Err(Failure::Final(_)), _) => return made,
        (_, answer) => upload::next_place(client, answer?, &place)?,
    };
    let (digest, size) = made?;
    upload::finish(client, &place, &digest, None)?;
    Ok((digest, size))
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
    let failed = |source| crate::export::unreadable(blobs, &stored.digest, source);
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
