//! A blob from a registry into the store: goes on where an earlier try, or an earlier run, broke
//! off, and gets its name only when all its bytes hash to it.
//!
//! Source: OCI distribution-spec v1.1, "Pulling blobs"; RFC 9110, 14 (ranges). The digest is what a
//! range is checked against: no other validator is needed.

use std::io::{self, Read, Write};

use camino::Utf8Path;
use storekit::{BlobWriter, Blobs, Descriptor, Hasher, Lease};
use ureq::http::Method;

use super::client::Client;
use super::retry::{Failure, Patience, Tries};
use super::transport::{Answer, cut};
use crate::error::Result;
use crate::progress::Progress;

const CHUNK: usize = 128 << 10;
/// A blob that breaks off at the same byte so often is not there whole.
const STUCK: u32 = 3;

/// What a blob can be asked of, from any of its bytes on.
pub(crate) trait Holder {
    /// Asks for the blob from this byte on. Any answer comes back.
    fn get(&self, blob: &Descriptor, from: u64) -> Result<Answer, Failure>;
    /// What an answer that was not to come fails of.
    fn refusal(&self, answer: Answer, blob: &Descriptor) -> Failure;
    /// That it does not hold what it should.
    fn untrue(&self, reason: String) -> crate::Error;
    /// How long it is waited for.
    fn patience(&self) -> Patience;
}

impl Holder for Client {
    fn get(&self, blob: &Descriptor, from: u64) -> Result<Answer, Failure> {
        let mut request = self.request(Method::GET, "blobs", &blob.digest.to_string(), None);
        if from > 0 {
            request = request.with("range", format!("bytes={from}-"));
        }
        self.call(request, self.scope())
    }

    fn refusal(&self, answer: Answer, blob: &Descriptor) -> Failure {
        Self::refusal(self, answer, "GET", &blob.digest.to_string())
    }

    fn untrue(&self, reason: String) -> crate::Error {
        Self::untrue(self, reason).into()
    }

    fn patience(&self) -> Patience {
        self.patience
    }
}

/// Fetches the blob. Returns it and the number of bytes that moved; `None` where it is not there.
///
/// # Errors
/// As [`Client::resolve`]; bytes that are not the blob's; I/O errors. What came and may be right is
/// kept then.
pub(crate) fn fetch(
    holder: &dyn Holder,
    blobs: &Blobs,
    blob: &Descriptor,
    progress: &dyn Progress,
) -> Result<Option<(Lease, u64)>> {
    let mut download = Download {
        holder,
        blob,
        folder: blobs.folder(),
        progress,
        moved: 0,
        has_begun: false,
        stuck: (0, 0),
    };
    let kept = download.run(blobs)?;
    match kept {
        Kept::Done(lease) => Ok(Some((lease, download.moved))),
        Kept::NotThere => Ok(None),
        // What an earlier run left was not the blob's: all of it again, once.
        Kept::Doubtful => match download.run(blobs)? {
            Kept::Done(lease) => Ok(Some((lease, download.moved))),
            Kept::NotThere => Ok(None),
            Kept::Doubtful => Err(download.not_it()),
        },
    }
}

/// Whether the bytes that are given as the blob are the blob's; not, where they go on breaking off.
///
/// # Errors
/// As [`Client::resolve`].
pub(crate) fn is_sound(holder: &dyn Holder, blob: &Descriptor) -> Result<bool> {
    let mut tries = Tries::new(holder.patience());
    loop {
        match gives(holder, blob) {
            Ok(sound) => return Ok(sound),
            Err(failure @ Failure::Passing { .. }) => {
                if tries.again(failure).is_err() {
                    return Ok(false);
                }
            }
            Err(failure) => return Err(failure.into_error()),
        }
    }
}

fn gives(holder: &dyn Holder, blob: &Descriptor) -> Result<bool, Failure> {
    let answer = holder.get(blob, 0)?;
    match answer.status {
        200 => {}
        404 => return Ok(false),
        _ => return Err(holder.refusal(answer, blob)),
    }
    let url = answer.url.shown();
    let (mut reader, mut hasher) = (answer.into_reader().take(blob.size.saturating_add(1)), Hasher::new());
    let (mut buffer, mut size) = (vec![0; CHUNK], 0);
    loop {
        let count = reader.read(&mut buffer).map_err(|error| cut(&url, &error))?;
        if count == 0 {
            return Ok(size == blob.size && hasher.finish() == blob.digest);
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

enum Kept {
    Done(Lease),
    NotThere,
    /// The bytes do not match, and not all came from the registry now.
    Doubtful,
}

struct Download<'a> {
    holder: &'a dyn Holder,
    blob: &'a Descriptor,
    /// Where it is written, for messages.
    folder: &'a Utf8Path,
    progress: &'a dyn Progress,
    moved: u64,
    /// Whether the last answer was the blob's, as far as it came.
    has_begun: bool,
    /// The byte at which answers have broken off, and how often.
    stuck: (u64, u32),
}

impl Download<'_> {
    fn run(&mut self, blobs: &Blobs) -> Result<Kept> {
        let mut writer = blobs.resume(&self.blob.digest)?;
        let found = writer.size();
        let before = self.moved;
        self.progress.add(found.min(self.blob.size));
        let mut tries = Tries::new(self.holder.patience());
        loop {
            match self.fill(&mut writer) {
                Ok(true) => break,
                Ok(false) => return Ok(Kept::NotThere),
                Err(failure) => {
                    if self.is_stuck(&failure, writer.size()) {
                        let (at, digest) = (writer.size(), self.blob.digest);
                        let reason = format!("it breaks `{digest}` off after {at} bytes, each time");
                        return Err(self.holder.untrue(reason));
                    }
                    tries.reached(writer.size());
                    tries.again(failure)?;
                }
            }
        }
        match writer.finish(Some(&self.blob.digest)) {
            Ok(lease) => Ok(Kept::Done(lease)),
            Err(storekit::Error::Mismatch { .. }) if self.moved - before < self.blob.size => {
                Ok(Kept::Doubtful)
            }
            Err(storekit::Error::Mismatch { .. }) => Err(self.not_it()),
            // Another process has finished the very file, or a collector has taken it.
            Err(storekit::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(blobs.lease_sound(&self.blob.digest)?.map_or(Kept::Doubtful, Kept::Done))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an answer has broken off at this very byte several times in a row: a blob that is
    /// gone or cut short there, which a server has announced by what it remembers of it.
    fn is_stuck(&mut self, failure: &Failure, at: u64) -> bool {
        let has_begun = std::mem::take(&mut self.has_begun) && matches!(failure, Failure::Passing { .. });
        self.stuck = match self.stuck {
            (known, times) if known == at && has_begun => (at, times + 1),
            _ => (at, u32::from(has_begun)),
        };
        self.stuck.1 == STUCK
    }

    fn not_it(&self) -> crate::Error {
        self.holder.untrue(format!("what it sends as `{}` is something else", self.blob.digest))
    }

    /// Reads on to the end of the blob. `false`: it is not there.
    fn fill(&mut self, writer: &mut BlobWriter<'_>) -> Result<bool, Failure> {
        if writer.size() > self.blob.size {
            writer.restart()?;
        }
        let have = writer.size();
        if have == self.blob.size {
            return Ok(true);
        }
        let answer = self.holder.get(self.blob, have)?;
        match answer.status {
            // Some servers send a part, and call it the whole.
            200 | 206 if have > 0 && starts_at(&answer) == Some(have) => {}
            206 if have == 0 && starts_at(&answer) == Some(0) => {}
            200 if have > 0 => writer.restart()?,
            200 => {}
            // It has other bytes than those that are here.
            206 | 416 => {
                writer.restart()?;
                let reason = format!("it sends another part of `{}`", self.blob.digest);
                return Err(Failure::passing(self.holder.untrue(reason)));
            }
            404 => return Ok(false),
            _ => return Err(self.holder.refusal(answer, self.blob)),
        }
        self.copy(answer, writer).map(|()| true)
    }

    fn copy(&mut self, answer: Answer, writer: &mut BlobWriter<'_>) -> Result<(), Failure> {
        let (digest, size) = (self.blob.digest, self.blob.size);
        let mut left = size - writer.size();
        let encoded = answer.header("content-encoding").is_some_and(|encoding| encoding != "identity");
        if encoded || answer.length().is_some_and(|length| length != left) {
            let reason = format!("`{digest}` does not have the {size} bytes that were announced");
            return Err(self.holder.untrue(reason).into());
        }
        self.has_begun = true;
        let url = answer.url.shown();
        let mut reader = answer.into_reader();
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = reader.read(&mut buffer[..wanted]).map_err(|error| cut(&url, &error))?;
            if count == 0 {
                return Err(cut(
                    &url,
                    &io::Error::other(format!("it broke off {left} bytes before the end")),
                ));
            }
            let failed = |error| storekit::Error::io("write in", self.folder, error);
            writer.write_all(&buffer[..count]).map_err(failed)?;
            (left, self.moved) = (left - count as u64, self.moved + count as u64);
            self.progress.add(count as u64);
        }
        match reader.read(&mut buffer) {
            Ok(1..) => {
                Err(self.holder.untrue(format!("`{digest}` should have {size} bytes and has more")).into())
            }
            // All is here: how the connection ends is of no interest.
            Ok(0) | Err(_) => Ok(()),
        }
    }
}

/// Where the part begins that the answer holds.
fn starts_at(answer: &Answer) -> Option<u64> {
    let range = answer.header("content-range")?.trim().strip_prefix("bytes")?.trim_start();
    range.split_once('-')?.0.parse().ok()
}
