//! Accepts connections, bounded in number and in what each may take, and ends them in good order.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::serve::dispatch;
use crate::serve::patient::Patient;
use crate::serve::state::app::App;

/// How long a client may take for a request's head, and between two requests.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take nothing of a response.
const WRITE: Duration = Duration::from_secs(60);
/// How long the requests that are being answered may go on after the end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often leases and uploads that are no longer used are dropped.
const SWEEP: Duration = Duration::from_secs(60);
/// The most that a request's head may have, in bytes and in fields.
const HEAD_BYTES: usize = 64 << 10;
const FIELDS: usize = 64;

/// Serves until `end`, and lets the rest come to an end then.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    most: usize,
    end: impl Future<Output = ()>,
) -> Result<()> {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(|source| Error::Listen { address, source })?;
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let sweeper = tokio::spawn(sweep(Arc::clone(&app)));
    tokio::pin!(end);
    let free = Arc::new(Semaphore::new(most));
    loop {
        let accepted = async {
            // Never closed.
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut end => break,
            Some(_) = connections.join_next() => {}
            (permit, stream) = accepted => match stream {
                Ok((stream, _)) => {
                    let (app, ended) = (Arc::clone(&app), ended.clone());
                    connections.spawn(async move {
                        converse(app, stream, ended).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    app.trouble(&format!("a connection could not be accepted: {error}"));
                    // No file descriptor is free, most likely: others end meanwhile.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    sweeper.abort();
    drop(listener);
    drop(ended);
    // Fails only where no connection is left to hear it.
    let _ = ending.send(());
    let rest = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn sweep(app: Arc<App>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        app.grace.sweep();
        app.uploads.sweep();
    }
}

async fn converse(app: Arc<App>, stream: TcpStream, mut ended: watch::Receiver<()>) {
    // Small answers are not to wait for larger ones.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| dispatch::answer(Arc::clone(&app), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(FIELDS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE)), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that goes away, or does not speak HTTP, is not an error of the server.
        _ = connection.as_mut() => {}
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
