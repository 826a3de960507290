//! CONNECT to a host that is intercepted: TLS ends here, and what is asked for inside is answered
//! as what is asked for in the clear.
//!
//! What is deciphered goes through a pair of sockets, of which one is a client's connection like
//! any other: its requests are read, limited, counted and answered by the same code.
//!
//! Limits: HTTP/1.1 alone is spoken inside, and answers do not take the short way.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::server::Acceptor;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Config;
use crate::observe::meter::{self, add};
use crate::response::body::Body;
use crate::response::reply::own;
use crate::server::client::Client;
use crate::server::connection;
use crate::wire::guard::{Guard, Watch, Wire};

/// How often it is looked whether the client takes what is left for it.
const TICK: Duration = Duration::from_secs(1);

/// The client's side, deciphered.
type Secured = TlsStream<TokioIo<Upgraded>>;

/// The server that a CONNECT names, in the form that URLs have, if it is intercepted.
#[must_use]
pub(super) fn server(config: &Config, uri: &Uri) -> Option<Authority> {
    let intercept = config.intercept.as_ref()?;
    let (host, port) = (uri.host()?, uri.port_u16()?);
    // Credentials are for the tunnel's own check to refuse.
    if !intercept.covers(host, port) || uri.authority()?.as_str().contains('@') {
        return None;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if port == 443 { host.parse().ok() } else { format!("{host}:{port}").parse().ok() }
}

/// Answers the CONNECT, and what comes in the tunnel.
pub(super) fn open(
    client: &Client,
    config: &Config,
    server: &Authority,
    request: Request<Incoming>,
) -> (Response<Body>, meter::Result) {
    let refuse = |why: &str| {
        let mut response = own(StatusCode::BAD_GATEWAY, format!("{server}: {why}"), None);
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        (response, meter::Result::Error)
    };
    let Some(intercept) = &config.intercept else { return refuse("it is not intercepted") };
    let made = client.cache.leaves.config(intercept.authority(), server.host(), Timestamp::now());
    match made {
        Err(why) => refuse(&why),
        Ok(shown) => {
            tokio::spawn(follow(client.within(server.clone()), shown, request));
            (Response::new(Body::empty()), meter::Result::Own)
        }
    }
}

/// From the handshake to the end. `within` is the client as it is in the tunnel, but for its
/// connection, which is the one outside.
async fn follow(within: Client, shown: Arc<ServerConfig>, request: Request<Incoming>) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let Some(server) = within.server.clone() else { return };
    let (mut stopped, limits) = (within.stops.clone(), within.cache.config().limits);
    let agreeing = timeout(limits.head_time, handshake(&server, shown, TokioIo::new(upgraded)));
    let agreed = tokio::select! {
        agreed = agreeing => agreed.unwrap_or_else(|_| Err("the client does not end the handshake".to_owned())),
        _ = stopped.wait_for(|stop| *stop) => return,
    };
    match agreed {
        Ok(stream) => {
            add(&within.cache.counts.intercepted, 1);
            // That it broke off is in the log, with the request that was not answered whole.
            let _ = serve(within, stream).await;
        }
        Err(why) => {
            add(&within.cache.counts.intercept_failures, 1);
            within.cache.refusals.note(format!("https://{server}: {why}"), false);
        }
    }
}

/// # Errors
/// Why there was none, in words.
async fn handshake(
    server: &Authority,
    shown: Arc<ServerConfig>,
    stream: TokioIo<Upgraded>,
) -> Result<Secured, String> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(|error| why(&error))?;
    let named = start.client_hello().server_name().map(str::to_ascii_lowercase);
    // The certificate is shown for its own name alone: other clients get an alert.
    let agreed = start.into_stream(shown).await.map_err(|error| why(&error));
    match named {
        Some(named) if named == server.host() => agreed,
        Some(_) => Err("within the tunnel, the client asks for another host (SNI)".to_owned()),
        None => Err("within the tunnel, the client does not say which host it wants (SNI)".to_owned()),
    }
}

fn why(error: &io::Error) -> String {
    use AlertDescription::{BadCertificate, CertificateUnknown, UnknownCA};
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert @ (BadCertificate | CertificateUnknown | UnknownCA))) => {
            format!(
                "the client does not trust the authority of this cache ({alert:?}): give it what `pkgcache ca bundle` prints"
            )
        }
        _ => format!("no TLS with the client: {error}"),
    }
}

/// Answers what comes, until either side has ended.
async fn serve(within: Client, stream: Secured) -> io::Result<()> {
    let (limits, stops) = (within.cache.config().limits, within.stops.clone());
    let outer = Arc::clone(&within.wire);
    let (ours, theirs) = UnixStream::pair()?;
    let guard = Guard::new(ours, limits.head);
    let wire = guard.wire();
    let client = Client { wire: guard.wire(), ..within };
    let mut relay = pin!(relay(stream, theirs));
    let mut serving: Pin<Box<dyn Future<Output = ()> + Send>> =
        Box::pin(connection::run(Arc::new(client), guard, limits, stops));
    let ended = tokio::select! {
        () = &mut serving => None,
        relayed = &mut relay => Some(relayed),
    };
    if let Some(relayed) = ended {
        serving.await;
        return relayed;
    }
    drop(serving);
    if wire.ends_within_an_answer() {
        // No client takes the answer for complete then.
        outer.reset_when_closed(true);
        return Ok(());
    }
    drop(wire);
    last_words(relay, &outer, limits.drain).await
}

/// Lets the client have what is left for it, as long as it takes anything.
async fn last_words(
    mut relay: Pin<&mut impl Future<Output = io::Result<()>>>,
    outer: &Wire,
    patience: Duration,
) -> io::Result<()> {
    let mut watch = Watch::new(outer);
    loop {
        tokio::select! {
            relayed = &mut relay => return relayed,
            () = sleep(TICK) => {}
        }
        if watch.still_for(outer) >= patience {
            outer.reset_when_closed(true);
            return Ok(());
        }
    }
}

/// Carries bytes both ways until all that was said to the client is with it.
async fn relay(stream: impl AsyncRead + AsyncWrite, pair: UnixStream) -> io::Result<()> {
    let (mut client, mut to_client) = split(stream);
    let (mut here, mut to_here) = pair.into_split();
    let up = async {
        // An end without a word is an end: a request that is not complete is seen as that.
        let _ = copy(&mut client, &mut to_here).await;
        let _ = to_here.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        copy(&mut here, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::select! {
        done = down => done,
        () = up => Ok(()),
    }
}

/// The request with the whole URL that is meant, of one that came in a tunnel to this server.
///
/// # Errors
/// A status, and why the request is refused.
pub(super) fn placed(server: &Authority, request: &mut Request<Incoming>) -> Result<(), (u16, &'static str)> {
    if *request.method() == Method::CONNECT {
        return Err((405, "a CONNECT within an intercepted tunnel"));
    }
    let is_it = |named: &str| named.parse().is_ok_and(|named: Authority| is_same(&named, server));
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    if named.is_some_and(|named| !is_it(named)) {
        return Err((421, "the tunnel leads to another host than the one that is asked for"));
    }
    let uri = request.uri();
    if uri.authority().is_some_and(|named| !is_same(named, server) || uri.scheme() != Some(&Scheme::HTTPS)) {
        return Err((421, "the tunnel leads to another server than the one that is asked for"));
    }
    let path = uri.path_and_query().cloned().filter(|path| path.as_str().starts_with('/'));
    let path = path.ok_or((400, "the target is not a path or a URL"))?;
    let whole = Uri::builder().scheme(Scheme::HTTPS).authority(server.clone()).path_and_query(path);
    *request.uri_mut() = whole.build().map_err(|_| (400, "the target is not a path or a URL"))?;
    Ok(())
}

/// Whether both name the same server of `https`.
fn is_same(named: &Authority, server: &Authority) -> bool {
    let port = |it: &Authority| it.port_u16().unwrap_or(443);
    let plain = !named.as_str().contains('@');
    plain && named.host().eq_ignore_ascii_case(server.host()) && port(named) == port(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_leads_to_its_own_server_alone() {
        let same = |named: &str, server: &str| is_same(&named.parse().unwrap(), &server.parse().unwrap());
        assert!(same("A.example", "a.example") && same("a.example:443", "a.example"));
        assert!(same("a.example:8443", "a.example:8443"));
        for named in ["b.example", "a.example:8443", "a.example:80", "me@a.example", "x.a.example"] {
            assert!(!same(named, "a.example"), "{named}");
        }
    }
}
