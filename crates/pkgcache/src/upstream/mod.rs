//! Connections to upstreams: made with checked addresses, kept for the next request, and held back
//! from servers in trouble ([`breaker`]).
//!
//! HTTP/1.1, or HTTP/2 where TLS agrees on it. An idempotent request that an old connection lost is
//! sent once more on a new one; no other is.
//!
//! Deliberately absent: what is asked for and what becomes of the answer (`fetch`, `proxy`).

pub(crate) mod breaker;
mod dial;
pub(crate) mod distrust;
mod opening;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod upload;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Limits;
use crate::error::chain;
use crate::outside::Outside;
use crate::rules::fields::date;
use crate::rules::reuse;
use crate::upstream::breaker::{Breaker, Held, Need, Verdict};
use crate::upstream::opening::{End, Openings, Turn};
use crate::upstream::upload::Upload;
use crate::wire::guard::Wire;

/// A request's body: a few bytes or none, or what a client or a file has.
pub(crate) type Outgoing = Either<Full<Bytes>, Upload>;

/// So many fields may an answer have. Their bytes are limited by the buffer, or by HTTP/2's own
/// limit.
const FIELDS: usize = 500;
/// What a head may take, in bytes.
const HEAD: u32 = 256 << 10;

/// What an upstream may send before it is read, on one request.
const WINDOW: u32 = 4 << 20;
/// The same on all requests of a connection: the answers to so many slow clients as fill it would
/// hold up all others.
const ALL_WINDOWS: u32 = 128 << 20;

/// Connections that are kept for an upstream while no request uses them.
const MOST_IDLE: usize = 16;
/// They are closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// A server, as far as connections are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
    /// The proxy on the way: with another one, it is another connection.
    parent: Option<Uri>,
}

/// How an upstream is reached.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Whether private addresses will do.
    pub(crate) private: bool,
    /// Through this proxy.
    pub(crate) parent: Option<Uri>,
    /// The names in `Via` of the proxies that ask, for a tunnel through the parent.
    pub(crate) via: Vec<HeaderValue>,
    /// The limits of time.
    pub(crate) limits: Limits,
    /// What of a server's trouble concerns the request.
    pub(crate) need: Need,
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    /// The address is not one that may be asked.
    #[error("the address of `{0}` is not allowed")]
    Forbidden(String),
    /// It cannot be reached.
    #[error("`{0}` cannot be reached: {1}")]
    Unreachable(String, String),
    /// It could not be reached, or failed, a moment ago.
    #[error("`{0}` {1}")]
    Resting(String, String),
    /// It asked to be left alone for so many seconds more, by this status code.
    #[error("`{0}` asked for fewer requests: the next in {1} s")]
    Paused(String, u64, StatusCode),
    /// It was reached and gave no answer.
    #[error("`{0}` did not answer: {1}")]
    NoAnswer(String, String),
    /// The connection ended before an answer came, so that the request may not have been read at
    /// all.
    #[error("`{0}` did not answer: {1}")]
    Lost(String, String),
    /// It was reached and said nothing within the time.
    #[error("`{0}` did not answer within {1} s")]
    TooSlow(String, u64),
    /// The client's body broke off, or cannot be read.
    #[error("the body of the request is not complete: {0}")]
    Body(String),
    /// It redirects to a server that may not be asked.
    #[error("the redirect to `{0}` is not followed: {1}")]
    Redirect(String, &'static str),
}

impl SendError {
    /// Whether it may be otherwise in a moment.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::Forbidden(_) | Self::Redirect(..))
    }

    /// The status code that tells a client.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) | Self::Redirect(..) => StatusCode::FORBIDDEN,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Paused(_, _, status) => *status,
            Self::NoAnswer(..) | Self::Lost(..) => StatusCode::BAD_GATEWAY,
            Self::Unreachable(..) | Self::Resting(..) | Self::TooSlow(..) => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A connection that waits for a request.
#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Outgoing>,
    since: Instant,
}

/// All connections to upstreams.
#[derive(Debug)]
pub(crate) struct Upstreams {
    idle: Arc<Mutex<HashMap<Origin, Vec<Idle>>>>,
    shared: Mutex<HashMap<Origin, Shared>>,
    openings: Openings<Origin>,
    breaker: Breaker<Origin>,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    outside: Arc<dyn Outside>,
}

/// How many connections were opened that requests share.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// A connection that requests share.
#[derive(Clone, Debug)]
struct Shared {
    sender: http2::SendRequest<Outgoing>,
    /// By which it is told from later ones.
    number: u64,
}

/// What a connection speaks.
enum Sender {
    One(http1::SendRequest<Outgoing>),
    Two(Shared),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// The number of one that requests share.
    fn number(&self) -> Option<u64> {
        match self {
            Self::One(_) => None,
            Self::Two(shared) => Some(shared.number),
        }
    }
}

impl Origin {
    fn of(uri: &Uri, route: &Route) -> Self {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Self { secure, host, port, parent: route.parent.clone() }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Upstreams {
    pub(crate) fn new(outside: Arc<dyn Outside>) -> Self {
        Self {
            idle: Arc::default(),
            shared: Mutex::default(),
            openings: Openings::default(),
            breaker: Breaker::default(),
            tls: OnceLock::new(),
            outside,
        }
    }

    /// Sends the request, whose URI is absolute, and waits for the head of the answer. Interim
    /// answers go to `wire`.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send(
        &self,
        request: Request<Outgoing>,
        route: &Route,
        wire: Option<Arc<Wire>>,
    ) -> Result<Response<Incoming>, SendError> {
        let origin = Origin::of(request.uri(), route);
        // Kept off the stack of every request that asks nobody.
        let asked = Box::pin(self.ask(&origin, request, route, wire));
        self.watched(&origin, route, asked, |answer| {
            answer.as_ref().map_or_else(|error| failure(error, route.need), |it| verdict(it, route.need))
        })
        .await
    }

    async fn ask(
        &self,
        origin: &Origin,
        request: Request<Outgoing>,
        route: &Route,
        wire: Option<Arc<Wire>>,
    ) -> Result<Response<Incoming>, SendError> {
        let (parts, body) = request.into_parts();
        let repeatable = match &body {
            Either::Left(body) if parts.method.is_idempotent() => Some(body.clone()),
            _ => None,
        };
        if let Some(body) = repeatable
            && let Some(sender) = self.kept(origin)
        {
            let again = Request::from_parts(parts.clone(), Either::Left(body));
            let number = sender.number();
            match self.exchange(sender, origin, again, route, wire.clone()).await {
                // The other side may have closed it meanwhile; a new one tells. One that is slow is
                // not asked twice.
                Err(SendError::Lost(..)) => number.into_iter().for_each(|it| self.give_up(origin, it)),
                answer => return answer,
            }
        }
        let sender = self.connect(origin, route).await?;
        self.exchange(sender, origin, Request::from_parts(parts, body), route, wire).await
    }

    /// Does it, unless the server is in trouble, and notes how it went.
    async fn watched<T>(
        &self,
        origin: &Origin,
        route: &Route,
        attempt: impl Future<Output = Result<T, SendError>>,
        judge: impl FnOnce(&Result<T, SendError>) -> Verdict,
    ) -> Result<T, SendError> {
        let admitted = self.breaker.admit(origin, route.need, Instant::now());
        let pass = admitted.map_err(|held| {
            let name = origin.name();
            match held {
                Held::Unreachable(why) => {
                    SendError::Resting(name, format!("could not be reached a moment ago: {why}"))
                }
                Held::Failed(why) => SendError::Resting(name, format!("failed a moment ago: {why}")),
                Held::Asked(seconds, status) => SendError::Paused(name, seconds, status),
            }
        })?;
        let outcome = attempt.await;
        pass.conclude(judge(&outcome), Instant::now(), route.limits.back_off);
        outcome
    }

    /// Opens a connection for a tunnel.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn tunnel(&self, host: &str, port: u16, route: &Route) -> Result<TcpStream, SendError> {
        let (host, parent) = (host.to_ascii_lowercase(), route.parent.clone());
        let origin = Origin { secure: true, host, port, parent };
        self.watched(&origin, route, Box::pin(dial::reach(&origin, route)), |reached| {
            reached.as_ref().map_or_else(|error| failure(error, route.need), |_| Verdict::Reached)
        })
        .await
    }

    async fn exchange(
        &self,
        sender: Sender,
        origin: &Origin,
        mut request: Request<Outgoing>,
        route: &Route,
        wire: Option<Arc<Wire>>,
    ) -> Result<Response<Incoming>, SendError> {
        if let Some(wire) = wire {
            hyper::ext::on_informational(&mut request, move |interim| {
                wire.interim(&interim_text(interim.status().as_u16(), interim.headers()));
            });
        }
        let (turns, broken) = match request.body() {
            Either::Left(_) => (None, None),
            Either::Right(upload) => (Some(upload.turns()), Some(upload.broken())),
        };
        let answer = async {
            match sender {
                Sender::One(mut sender) => {
                    let plain_parent = route.parent.is_some() && !origin.secure;
                    let answer = sender.send_request(for_one(request, plain_parent)).await;
                    self.keep(origin.clone(), sender);
                    answer
                }
                Sender::Two(mut shared) => shared.sender.send_request(for_two(request)).await,
            }
        };
        let patience = route.limits.answer;
        let answer = upload::within(patience, turns, answer).await;
        if let (Some(Err(_)), Some(why)) = (&answer, broken.as_ref().and_then(|broken| broken.get())) {
            return Err(SendError::Body(why.clone()));
        }
        match answer {
            None => Err(SendError::TooSlow(origin.name(), patience.as_secs())),
            Some(Err(error)) if is_lost(&error) => Err(SendError::Lost(origin.name(), chain(&error))),
            Some(Err(error)) => Err(SendError::NoAnswer(origin.name(), chain(&error))),
            Some(Ok(answer)) => Ok(answer),
        }
    }

    /// A connection that is open already.
    fn kept(&self, origin: &Origin) -> Option<Sender> {
        if let Some(sender) = self.shared(origin) {
            return Some(sender);
        }
        let mut idle = lock(&self.idle);
        let list = idle.get_mut(origin)?;
        while let Some(candidate) = list.pop() {
            if candidate.sender.is_ready() && candidate.since.elapsed() < IDLE {
                return Some(Sender::One(candidate.sender));
            }
        }
        None
    }

    /// Keeps the connection once its answer has been read.
    fn keep(&self, origin: Origin, mut sender: http1::SendRequest<Outgoing>) {
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = lock(&idle);
                idle.retain(|_, list| {
                    list.retain(|it| !it.sender.is_closed() && it.since.elapsed() < IDLE);
                    !list.is_empty()
                });
                let list = idle.entry(origin).or_default();
                if list.len() < MOST_IDLE {
                    list.push(Idle { sender, since: Instant::now() });
                }
            }
        });
    }

    /// A connection for a request for which none is open. Where the server may speak HTTP/2, that
    /// is waited for which another request is opening.
    async fn connect(&self, origin: &Origin, route: &Route) -> Result<Sender, SendError> {
        let turn = if origin.secure { self.openings.turn(origin).await } else { Turn::Free };
        if let Turn::Unreachable(why) = turn {
            return Err(SendError::Unreachable(origin.name(), why));
        }
        // Another one may have ended since this request looked.
        if let Some(sender) = self.shared(origin) {
            return Ok(sender);
        }
        // Kept off the stack of every request that needs no new connection.
        let opened = Box::pin(self.open(origin, route)).await;
        if let Ok(Sender::Two(shared)) = &opened {
            lock(&self.shared).insert(origin.clone(), shared.clone());
        }
        if let Turn::First(opening) = turn {
            opening.end(match &opened {
                Ok(Sender::Two(_)) => End::Shared,
                Ok(Sender::One(_)) => End::Single,
                Err(SendError::Unreachable(_, why)) => End::Unreachable(why.clone()),
                Err(_) => End::Other,
            });
        }
        opened
    }

    /// A connection that requests share, and that is open.
    fn shared(&self, origin: &Origin) -> Option<Sender> {
        let shared = lock(&self.shared);
        Some(Sender::Two(shared.get(origin).filter(|shared| shared.sender.is_ready())?.clone()))
    }

    /// No further request takes this connection, which has lost one.
    fn give_up(&self, origin: &Origin, number: u64) {
        let mut shared = lock(&self.shared);
        if shared.get(origin).is_some_and(|it| it.number == number) {
            shared.remove(origin);
        }
    }

    /// Opens a connection that requests can be sent on.
    async fn open(&self, origin: &Origin, route: &Route) -> Result<Sender, SendError> {
        let failed = |why: String| SendError::Unreachable(origin.name(), why);
        let stream = dial::reach(origin, route).await?;
        let opened = if origin.secure {
            let config = Arc::clone(self.tls.get_or_init(|| tls::client_config(&self.outside.authorities())));
            let secured = timeout(route.limits.connect, tls::connect(config, &origin.host, stream)).await;
            let secured = secured.map_err(|_| failed("no TLS within the time".to_owned()))?;
            let stream = secured.map_err(|error| failed(error.to_string()))?;
            if tls::speaks_two(&stream) { handshake_two(stream).await } else { handshake_one(stream).await }
        } else {
            handshake_one(stream).await
        };
        opened.map_err(|error| failed(chain(&error)))
    }
}

/// What an answer says of the server that gave it.
fn verdict(answer: &Response<Incoming>, need: Need) -> Verdict {
    let status = answer.status();
    let busy = status == StatusCode::TOO_MANY_REQUESTS;
    let failing = reuse::is_failing(status);
    if need == Need::Connection {
        return if busy || failing { Verdict::Reached } else { Verdict::Answered };
    }
    match retry_after(answer.headers()).or(busy.then_some(1)) {
        Some(seconds) if busy || status == StatusCode::SERVICE_UNAVAILABLE => {
            Verdict::Asked(Duration::from_secs(seconds), status)
        }
        _ if failing => Verdict::Failed(format!("it answered {}", status.as_u16())),
        _ => Verdict::Answered,
    }
}

/// In how many seconds the server wants to be asked again.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    text.parse().ok().or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(u64::try_from(date::parse(text)?).ok()?.saturating_sub(now))
    })
}

/// What it says of the server that there was no answer.
fn failure(error: &SendError, need: Need) -> Verdict {
    match error {
        SendError::Unreachable(_, why) => Verdict::Unreachable(why.clone()),
        SendError::NoAnswer(..) | SendError::Lost(..) | SendError::TooSlow(..)
            if need == Need::Connection =>
        {
            Verdict::Reached
        }
        SendError::NoAnswer(_, why) | SendError::Lost(_, why) => {
            Verdict::Failed(format!("it did not answer: {why}"))
        }
        SendError::TooSlow(_, seconds) => Verdict::Failed(format!("it did not answer within {seconds} s")),
        SendError::Body(_) => Verdict::Reached,
        SendError::Forbidden(_)
        | SendError::Resting(..)
        | SendError::Paused(..)
        | SendError::Redirect(..) => Verdict::Nothing,
    }
}

/// Whether the connection ended, as one that was kept may have before the request came.
fn is_lost(error: &hyper::Error) -> bool {
    !(error.is_parse() || error.is_timeout() || error.is_user())
}

/// The request as HTTP/1.1 wants it: path alone and `Host`.
fn for_one(request: Request<Outgoing>, absolute: bool) -> Request<Outgoing> {
    let (mut parts, body) = request.into_parts();
    if let Some(host) = host_field(&parts.uri) {
        parts.headers.insert(HOST, host);
    }
    if !absolute {
        let path = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        parts.uri = path.parse().unwrap_or_default();
    }
    parts.version = Version::HTTP_11;
    Request::from_parts(parts, body)
}

fn host_field(uri: &Uri) -> Option<HeaderValue> {
    let authority = uri.authority()?.as_str();
    HeaderValue::from_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host)).ok()
}

fn for_two(mut request: Request<Outgoing>) -> Request<Outgoing> {
    request.headers_mut().remove(HOST);
    *request.version_mut() = Version::HTTP_2;
    request
}

/// An interim response as it goes over the wire.
fn interim_text(status: u16, headers: &http::HeaderMap) -> Vec<u8> {
    let mut headers = headers.clone();
    crate::rules::fields::hop::strip(&mut headers);
    let reason = http::StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason());
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default()).into_bytes();
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

async fn handshake_one<S>(stream: S) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD as usize).max_headers(FIELDS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // An error reaches the request that waits for the answer.
        let _ = connection.await;
    });
    Ok(Sender::One(sender))
}

async fn handshake_two<S>(stream: S) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW).initial_connection_window_size(ALL_WINDOWS);
    builder.max_header_list_size(HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Sender::Two(Shared { sender, number: OPENED.fetch_add(1, Ordering::Relaxed) }))
}
