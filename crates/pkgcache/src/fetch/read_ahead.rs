//! Receives a body while what came of it is hashed and written, so that the upstream waits for
//! neither.
//!
//! Limit: what is held of one body are three frames, each as large as hyper's buffer at the most.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// A body that is being received. Dropped, it is not received any further.
#[derive(Debug)]
pub(crate) struct ReadAhead(Receiver<hyper::Result<Option<Bytes>>>);

impl ReadAhead {
    /// Starts to receive it.
    pub(crate) fn new(body: Incoming) -> Self {
        let (to, from) = channel(1);
        tokio::spawn(receive(body, to));
        Self(from)
    }

    /// The next bytes; `None` at the body's end.
    ///
    /// # Errors
    /// Why it broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self.0.recv().await {
            Some(next) => next.map_err(|error| error.to_string()),
            // Only what says so is an end.
            None => Err("the download was given up".to_owned()),
        }
    }
}

async fn receive(mut body: Incoming, to: Sender<hyper::Result<Option<Bytes>>>) {
    loop {
        let next = tokio::select! {
            biased;
            () = to.closed() => return,
            frame = body.frame() => frame.transpose(),
        };
        let next = match next.map(|frame| frame.map(hyper::body::Frame::into_data)) {
            Ok(Some(Ok(data))) => Ok(Some(data)),
            // Fields behind the body are not kept.
            Ok(Some(Err(_))) => continue,
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let goes_on = matches!(next, Ok(Some(_)));
        if to.send(next).await.is_err() || !goes_on {
            return;
        }
    }
}
