//! The body of a client's request on its way to an upstream, and whose turn it is meanwhile.
//!
//! Uploads are slow, so their transfer has no limit of its own: the client's pace is watched on the
//! client's connection. The upstream's patience runs whenever it is the upstream that has to do
//! something: to take what came, or, from the body's end on, to answer.

use std::future::Future;
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

/// A client's body.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    turn: watch::Sender<Turn>,
    broken: Broken,
}

/// Why a body broke off, once it did.
pub(crate) type Broken = Arc<OnceLock<String>>;

impl Upload {
    /// A body of which nothing was sent yet.
    #[must_use]
    pub(crate) fn new(body: Incoming) -> Self {
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

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let turn = if polled.is_pending() { Turn::Client } else { Turn::Upstream };
        self.turn.send_replace(turn);
        let frame = ready!(polled);
        if let Some(Err(error)) = &frame {
            let causes = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
            let _ = self.broken.set(causes.last().map(ToString::to_string).unwrap_or_default());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
