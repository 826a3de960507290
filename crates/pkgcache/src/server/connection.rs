//! One client's connection, from its beginning to its end.
//!
//! The parser holds some twenty kilobytes for each. So it has a connection only while a request is
//! under way that the short way ([`crate::server::short_path`]) cannot answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::Limits;
use crate::response::body::Body;
use crate::server::client::Client;
use crate::server::short_path;
use crate::wire::guard::{Guard, Watch};

/// How often it is looked whether the client lets anything move.
const LOOK: Duration = Duration::from_secs(2);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Serves the connection until it ends, or until it may end because the server is to stop.
pub(crate) async fn run(
    client: Arc<Client>,
    guard: Guard,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let mut waiting = Some(guard);
    while let Some(mut guard) = waiting {
        if !guard.has_input() && !short_path::run(&client, &mut guard, limits, &mut stopped).await {
            return;
        }
        waiting = Box::pin(serve(&client, guard, limits, &mut stopped)).await;
    }
}

/// Serves while something is under way. Returns the connection when nothing is any more, and `None`
/// at its end; one on which a request had a body stays until then.
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
        let served = poll_fn(|cx| {
            // What follows from the end of an answer may be left for the next look, such as the end
            // of the connection.
            for _ in 0..2 {
                if Pin::new(&mut connection).poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                if !client.is_between_requests() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(true)
        });
        tokio::select! {
            biased;
            goes_on = served => {
                let parts = if goes_on { connection.into_parts() } else { None };
                return parts.map(|parts| parts.io.taken_back(&parts.read_buf));
            }
            _ = stopped.wait_for(|stop| *stop) => break,
            () = sleep(LOOK) => {}
        }
        if watch.is_given_up(&wire, limits.idle) {
            // What it did not take is not kept for it.
            wire.reset_when_closed(true);
            return None;
        }
    }
    Pin::new(&mut connection).graceful_shutdown();
    let mut draining = client.draining();
    // One on which no request has begun would wait for it.
    while !client.is_idle() {
        tokio::select! {
            _ = &mut connection => break,
            () = sleep(Duration::from_millis(20)) => {}
        }
        if client.is_drained(&mut draining) {
            wire.reset_when_closed(true);
            return None;
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
