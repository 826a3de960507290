//! One client's connection, from its beginning to its end.
//!
//! The parser holds some twenty kilobytes for each. So a connection on which nothing is under way is taken out of its
//! hands after a moment, and waits by itself until bytes come.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::body::Body;
use crate::config::Limits;
use crate::guard::{Guard, Watch};
use crate::serve::Client;

/// A connection waits by itself when nothing was under way for about so long.
const PARK: Duration = Duration::from_secs(2);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Serves the connection until it ends, or until it may end because the server is to stop.
pub(crate) async fn run(
    client: Arc<Client>,
    guard: Guard,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut parked = Some(guard);
    while let Some(guard) = parked {
        let wire = guard.wire();
        let moved =
            async { guard.has_input() || matches!(timeout(limits.idle, wire.readable()).await, Ok(Ok(()))) };
        let moved = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => false,
            moved = moved => moved,
        };
        if !moved {
            return;
        }
        parked = Box::pin(serve(&client, guard, limits, &mut stopped)).await;
    }
}

/// Serves while something is under way. Returns the connection when nothing is any more, and `None` at its end.
async fn serve(
    client: &Arc<Client>,
    guard: Guard,
    limits: Limits,
    stopped: &mut watch::Receiver<bool>,
) -> Option<Guard> {
    let serving = Arc::clone(client);
    let service = service_fn(move |request: Request<Incoming>| -> Answering {
        let client = Arc::clone(&serving);
        Box::pin(async move { Ok(client.answer(request).await) })
    });
    let wire = guard.wire();
    let mut watch = Watch::new(&wire);
    let mut connection = builder(limits).serve_connection(guard, service).with_upgrades();
    loop {
        tokio::select! {
            biased;
            _ = &mut connection => return None,
            _ = stopped.wait_for(|stop| *stop) => break,
            () = sleep(PARK) => {}
        }
        if watch.is_given_up(&wire, limits.idle) {
            // What it did not take is not kept for it.
            wire.reset_when_closed(true);
            return None;
        }
        if client.is_between_requests() {
            return connection.into_parts().map(|parts| parts.io.taken_back(&parts.read_buf));
        }
    }
    Pin::new(&mut connection).graceful_shutdown();
    // One on which no request has begun would wait for it.
    while !client.is_idle() {
        tokio::select! {
            _ = &mut connection => break,
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
    None
}

fn builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.head.fields + 1)
        .max_buf_size(limits.head.head.max(8 << 10) + (64 << 10))
        .half_close(false);
    builder
}
