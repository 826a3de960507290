//! CONNECT: a tunnel to an allowed host, through which bytes pass unseen. And tokens, which let
//! other clients in.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION, VIA};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::sync::watch;
use tokio::time::sleep;
use toolkit::net;

use crate::cache::Cache;
use crate::config::{Clients, Config};
use crate::observe::meter::{self, Meter, add};
use crate::response::body::Body;
use crate::response::reply::own;
use crate::wire::guard::{Draining, Watch, Wire};
use crate::wire::seat::Seat;

/// How often a tunnel is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The client's end of a tunnel.
#[derive(Debug)]
pub(crate) struct End {
    /// The client's connection.
    pub(crate) wire: Arc<Wire>,
    /// Its place, which the tunnel keeps.
    pub(crate) _seat: Arc<Seat>,
    /// Says when the server is to end.
    pub(crate) stops: watch::Receiver<bool>,
    /// Where what counts the tunnel is put as soon as the answer is made.
    pub(crate) meter: Slot,
}

/// A place for what counts a tunnel, which goes on after its request was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Meter>>>);

impl Slot {
    pub(crate) fn put(&self, meter: Meter) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(meter);
    }

    fn take(&self) -> Option<Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The client's stream, and how many bytes went each way.
struct Counted<T> {
    stream: T,
    received: u64,
    sent: u64,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.received += (buf.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.sent += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Opens the tunnel.
pub(crate) async fn connect(
    cache: &Arc<Cache>,
    config: &Config,
    request: Request<Incoming>,
    end: End,
) -> (Response<Body>, meter::Result) {
    let (response, result) = opened(cache, config, request, end).await;
    let mut response = response;
    if result == meter::Result::Error {
        // What follows on this connection was meant for the tunnel.
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    (response, result)
}

async fn opened(
    cache: &Arc<Cache>,
    config: &Config,
    request: Request<Incoming>,
    end: End,
) -> (Response<Body>, meter::Result) {
    let refuse = |status, text: &str| (own(status, text, None), meter::Result::Error);
    let Some((host, port)) = request.uri().host().zip(request.uri().port_u16()) else {
        return refuse(StatusCode::BAD_REQUEST, "CONNECT needs a host and a port");
    };
    if request.uri().authority().is_some_and(|it| it.as_str().contains('@')) {
        return refuse(StatusCode::BAD_REQUEST, "credentials in a CONNECT");
    }
    let forward = &config.forward;
    if !forward.opens_all && !forward.tunnels.allow(host, port) {
        return refuse(StatusCode::FORBIDDEN, &format!("tunnels to `{host}:{port}` are not allowed"));
    }
    if config.offline {
        let why =
            if config.replays { "a replay asks nobody, and opens no tunnel" } else { "the proxy is offline" };
        return refuse(StatusCode::GATEWAY_TIMEOUT, why);
    }
    let private = config.allow_private || forward.opens_all || forward.tunnels.name_address(host, port);
    let mut route = cache.route(config, private);
    // A proxy that sees its own name here knows that the request has come back.
    route.via.splice(..0, request.headers().get_all(VIA).iter().cloned());
    let mut stream = match cache.upstreams.tunnel(host, port, &route).await {
        Ok(stream) => stream,
        Err(error) => return (crate::proxy::forward::refused(&error), meter::Result::Error),
    };
    let cache = Arc::clone(cache);
    tokio::spawn(async move {
        if let Ok(client) = hyper::upgrade::on(request).await {
            let mut client = Counted { stream: TokioIo::new(client), received: 0, sent: 0 };
            let meter = end.meter.take();
            let whole = carry(&cache, &mut client, &mut stream, end).await;
            note(meter, &client, whole);
        }
    });
    (Response::new(Body::empty()), meter::Result::Tunnel)
}

/// Notes what went through, in the counts and in the access log.
fn note<T>(meter: Option<Meter>, client: &Counted<T>, whole: bool) {
    let Some(mut meter) = meter else { return };
    meter.count(client.sent);
    meter.receive(client.received);
    if whole {
        meter.set_whole();
    }
}

/// Carries bytes until both sides have ended, one fails, or nothing has moved for so long. Returns
/// whether both ended.
async fn carry(
    cache: &Cache,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut end: End,
) -> bool {
    let mut copy = Box::pin(copy_bidirectional(client, server));
    let mut watch = Watch::new(&end.wire);
    let mut draining = None;
    loop {
        if *end.stops.borrow_and_update() {
            draining.get_or_insert_with(|| Draining::new(&end.wire, &cache.queues));
        }
        tokio::select! {
            copied = &mut copy => return copied.is_ok(),
            Ok(()) = end.stops.changed() => {}
            () = sleep(TICK) => {}
        }
        let limits = cache.config().limits;
        let over = match &mut draining {
            Some(draining) => draining.is_over(&end.wire, &cache.queues, limits.drain),
            None => watch.still_for(&end.wire) >= limits.idle,
        };
        if over {
            add(&cache.counts.cut, u64::from(draining.is_some()));
            return false;
        }
    }
}

/// Whether the request brings the token, as `Proxy-Authorization` or as the password of
/// `Authorization`. It is taken off: it is not meant for the upstream.
pub(crate) fn has_token(clients: &Clients, headers: &mut HeaderMap) -> bool {
    let Some(token) = clients.token else { return false };
    let brings = |name| {
        let right = headers.get(&name).and_then(|it| net::secret(it.as_bytes())) == Some(token);
        if right {
            headers.remove(name);
        }
        right
    };
    // Both are looked at, for either may bring it.
    [PROXY_AUTHORIZATION, AUTHORIZATION].map(brings).contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use storekit::Digest;

    use crate::rules::fields::tests::headers;

    #[test]
    fn the_token_comes_in_three_ways_and_goes_no_further() {
        let clients = Clients { networks: Vec::new(), token: Some(Digest::of(b"s3cret")) };
        for line in [
            "proxy-authorization: Bearer s3cret",
            "proxy-authorization: basic eDpzM2NyZXQ=",
            "authorization: Basic eDpzM2NyZXQ=",
            "proxy-authorization: Bearer s3cret\nauthorization: Bearer s3cret",
        ] {
            let mut found = headers(line);
            assert!(has_token(&clients, &mut found) && found.is_empty(), "{line}");
        }
        for line in [
            "authorization: Bearer wrong",
            "authorization: Basic eDp3cm9uZw==",
            "authorization: Basic %",
            "a: b",
        ] {
            let mut found = headers(line);
            assert!(!has_token(&clients, &mut found) && !found.is_empty(), "{line}");
        }
        assert!(!has_token(&Clients::default(), &mut headers("authorization: Bearer s3cret")));
    }
}
