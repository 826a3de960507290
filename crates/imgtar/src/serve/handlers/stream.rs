//! Sends a blob, or a part of one, to a client, and never sends the last of bytes that turn out to
//! be others.
//!
//! A blob that was proved is only read. Any other is hashed while it is sent, whole even where a
//! part of it was asked for, and the last chunk waits for the result: a damaged blob breaks the
//! connection off.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use storekit::{Digest, Hasher};
use tokio::sync::mpsc;

use crate::serve::answer::ResponseBody;

/// How much is read at once. With [`QUEUE`] and what the connection holds, a download takes half a
/// MB.
const CHUNK: usize = 128 << 10;
const QUEUE: usize = 2;

/// Which bytes are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The first byte of the part.
    pub(crate) start: u64,
    /// Behind the last.
    pub(crate) end: u64,
}

/// What is done when the bytes were read to their end: their digest is compared.
pub(crate) type Verdict = Box<dyn FnOnce(Digest, u64) -> io::Result<()> + Send>;

/// Sends a part of a file whose bytes are known.
pub(crate) fn known(mut file: std::fs::File, part: Part, log: Log) -> ResponseBody {
    spawn(part, log, move |to| {
        file.seek(SeekFrom::Start(part.start))?;
        let mut left = file.take(part.end - part.start);
        while let Some(chunk) = read(&mut left)? {
            if to.blocking_send(Ok(chunk)).is_err() {
                break;
            }
        }
        Ok(())
    })
}

/// Sends a part of what `source` gives, and asks for a verdict on the whole before the last of it
/// goes.
pub(crate) fn doubtful(
    open: impl FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
    part: Part,
    verdict: Verdict,
    log: Log,
) -> ResponseBody {
    spawn(part, log, move |to| {
        let mut source = open()?;
        let (mut hasher, mut at, mut last) = (Hasher::new(), 0, None);
        while let Some(chunk) = read(&mut source)? {
            hasher.update(&chunk);
            let cut = cut(&chunk, at, part);
            at += chunk.len() as u64;
            if !cut.is_empty()
                && let Some(before) = last.replace(cut)
                && to.blocking_send(Ok(before)).is_err()
            {
                return Ok(());
            }
        }
        verdict(hasher.finish(), at)?;
        // The client may be gone.
        let _ = last.map(|last| to.blocking_send(Ok(last)));
        Ok(())
    })
}

/// Is told of what broke a download off.
pub(crate) type Log = Arc<dyn Fn(&io::Error) + Send + Sync>;

fn spawn(
    part: Part,
    log: Log,
    work: impl FnOnce(&mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> + Send + 'static,
) -> ResponseBody {
    let (to, chunks) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = work(&to) {
            log(&error);
            let _ = to.blocking_send(Err(error));
        }
    });
    ResponseBody::Stream { chunks, left: part.end - part.start }
}

/// Reads a chunk, full unless it is the last; `None` at the end.
fn read(source: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    source.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok((!chunk.is_empty()).then(|| chunk.into()))
}

/// What of a chunk that begins at `at` is asked for.
fn cut(chunk: &Bytes, at: u64, part: Part) -> Bytes {
    let within = |position: u64| {
        let offset = position.saturating_sub(at).min(chunk.len() as u64);
        usize::try_from(offset).unwrap_or(chunk.len())
    };
    let (start, end) = (within(part.start), within(part.end));
    if start < end { chunk.slice(start..end) } else { Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_cut_out_of_chunks() {
        let chunk = Bytes::from_static(b"0123456789");
        let of = |at, start, end| cut(&chunk, at, Part { start, end });
        assert_eq!(of(100, 0, 1000), "0123456789");
        assert_eq!(of(100, 103, 105), "34");
        assert_eq!(of(100, 0, 103), "012");
        assert_eq!(of(100, 109, 1000), "9");
        assert_eq!(of(100, 0, 100), "");
        assert_eq!(of(100, 110, 1000), "");
    }
}
