//! The body of a client's request on its way to an upstream, and whose turn it is meanwhile; and a
//! part of a stored file on the same way.
//!
//! Uploads are slow, so their transfer has no limit of its own: the client's pace is watched on the
//! client's connection. The upstream's patience runs whenever it is the upstream that has to do
//! something: to take what came, or, from the body's end on, to answer. A file is always there, so
//! that each piece that the upstream takes is a new turn.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::sleep;

/// Which side has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client: more of the body is to come.
    Client,
    /// The upstream.
    Upstream,
}

/// A body that is sent.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Source,
    turn: watch::Sender<Turn>,
    broken: Broken,
}

/// What is read from a file at once.
const READ: u64 = 64 << 10;

/// Where a body comes from.
#[derive(Debug)]
enum Source {
    Client(Incoming),
    /// What is left to send of a file.
    File(File, Range<u64>),
}

/// Why a body breaks off.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a body broke off, once it did.
pub(crate) type Broken = Arc<OnceLock<String>>;

impl Upload {
    /// A body of which nothing was sent yet.
    #[must_use]
    pub(crate) fn new(body: Incoming) -> Self {
        Self::of(Source::Client(body))
    }

    /// A part of a file.
    #[must_use]
    pub(crate) fn file(file: File, part: Range<u64>) -> Self {
        Self::of(Source::File(file, part))
    }

    fn of(body: Source) -> Self {
        Self { body, turn: watch::Sender::new(Turn::Upstream), broken: Broken::default() }
    }

    /// Tells whose turn it is, each time that something moves.
    #[must_use]
    pub(crate) fn turns(&self) -> watch::Receiver<Turn> {
        self.turn.subscribe()
    }

    /// Tells why it broke off.
    pub(crate) fn broken(&self) -> Broken {
        Arc::clone(&self.broken)
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match self {
            Self::Client(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::File(_, left) if left.is_empty() => Poll::Ready(None),
            Self::File(file, left) => {
                let piece = piece(file, left).map(Frame::data).map_err(Into::into);
                Poll::Ready(Some(piece))
            }
        }
    }
}

/// The next bytes of the file.
fn piece(file: &File, left: &mut Range<u64>) -> io::Result<Bytes> {
    let room = (left.end - left.start).min(READ);
    let mut buffer = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
    let count = rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), left.start)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer.truncate(usize::try_from(room).unwrap_or_default());
    left.start += buffer.len() as u64;
    Ok(buffer.into())
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let polled = self.body.poll(cx);
        let turn = if polled.is_pending() { Turn::Client } else { Turn::Upstream };
        self.turn.send_replace(turn);
        let frame = ready!(polled);
        if let Some(Err(error)) = &frame {
            let first: &(dyn std::error::Error + 'static) = error.as_ref();
            let causes = std::iter::successors(Some(first), |it| it.source());
            let _ = self.broken.set(causes.last().map(ToString::to_string).unwrap_or_default());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Client(body) => body.is_end_stream(),
            Source::File(_, left) => left.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Client(body) => body.size_hint(),
            Source::File(_, left) => SizeHint::with_exact(left.end - left.start),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.turn.send_replace(Turn::Upstream);
    }
}

/// The answer, or `None` where the upstream was waited for so long in vain.
pub(crate) async fn within<T>(
    patience: Duration,
    mut turns: Option<watch::Receiver<Turn>>,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let turn = turns.as_mut().map_or(Turn::Upstream, |turns| *turns.borrow_and_update());
        let moved = async {
            match &mut turns {
                Some(turns) => turns.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            Ok(()) = moved => {}
            () = sleep(patience), if turn == Turn::Upstream => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const SHORT: Duration = Duration::from_millis(20);

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
    }

    #[test]
    fn an_upstream_is_not_waited_for_longer_than_its_patience() {
        run(async {
            assert_eq!(within(SHORT, None, async { 1 }).await, Some(1));
            assert_eq!(within(SHORT, None, pending::<()>()).await, None);
            // The end of the body, or of the client that sends it, begins the wait.
            let (turn, turns) = watch::channel(Turn::Client);
            turn.send_replace(Turn::Upstream);
            drop(turn);
            assert_eq!(within(SHORT, Some(turns), pending::<()>()).await, None);
        });
    }

    #[test]
    fn a_client_is_waited_for_as_long_as_it_takes() {
        run(async {
            let (_turn, turns) = watch::channel(Turn::Client);
            let waits = within(SHORT, Some(turns), pending::<()>());
            assert!(tokio::time::timeout(SHORT * 5, waits).await.is_err());
        });
    }
}
