//! One bucket: its objects one by one, each within a time.
//!
//! Requests are signed for a short time in their query, which no message shows. Redirects are not
//! followed. A bucket in trouble is left alone as an upstream is (`upstream::breaker`): reading
//! and writing each for itself, for the account may do one and not the other.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use rusty_s3::actions::S3Action;
use rusty_s3::{Bucket as Names, Credentials, UrlStyle};
use tokio::time::{Instant, timeout_at};
use toolkit::bucket::{Secret, element};

use crate::config::remote::RemoteConfig;
use crate::config::{Config, Limits};
use crate::outside::Outside;
use crate::remote::lock;
use crate::rules::fields::date;
use crate::upstream::breaker::{Breaker, Held, Need, Pass, Verdict};
use crate::upstream::{Outgoing, Route, SendError, Upstreams};

/// How long a signature holds: it is looked at when a request begins.
const EXPIRES: Duration = Duration::from_secs(900);
/// The header that some servers want in every request, and what it says of a body.
const CONTENT: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// No answer of a few words is larger, in bytes.
pub(super) const WORDS: u64 = 64 << 10;
/// So long may the answer take that says that something is written: some servers read all of it
/// again first.
const WRITTEN: Duration = Duration::from_secs(60);
/// Trouble is told again after this time.
const TELL: Duration = Duration::from_secs(60);

/// A bucket that can be asked.
pub(super) struct Bucket {
    names: Names,
    credentials: Option<Credentials>,
    prefix: String,
    place: String,
    upstreams: Upstreams,
    /// How it is reached to be read, and to be written.
    routes: [Route; 2],
    breaker: Breaker<Way>,
    /// Of both ways: since when it is known to be in trouble.
    told: [Mutex<Option<Instant>>; 2],
    outside: Arc<dyn Outside>,
}

/// What is done with a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    /// What is there is read.
    Read,
    /// Something is written or removed.
    Write,
}

/// The bucket is of no use at the moment: why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble(pub(crate) String);

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) size: Option<u64>,
    /// How old it is by the server's own clock, where it tells.
    pub(super) age: Option<Duration>,
}

/// A request that got an answer, about which nothing was said yet.
struct Exchange<'a> {
    bucket: &'a Bucket,
    way: Way,
    pass: Pass<Way>,
    response: Response<Incoming>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn new(config: &RemoteConfig, outside: &Arc<dyn Outside>) -> Option<Self> {
        let address = &config.address;
        let endpoint = address.endpoint().parse().ok()?;
        let region = config.account.region.clone();
        let names = Names::new(endpoint, UrlStyle::Path, address.bucket.clone(), region).ok()?;
        let route = |answer| {
            let limits = Limits { connect: config.time, answer, ..Config::default().limits };
            Route { private: true, parent: None, via: Vec::new(), limits, need: Need::Connection }
        };
        Some(Self {
            names,
            credentials: config.account.secret.as_ref().map(credentials),
            prefix: address.prefix.clone(),
            place: format!("s3:{address}"),
            upstreams: Upstreams::new(Arc::clone(outside)),
            routes: [route(config.time), route(config.time.max(WRITTEN))],
            breaker: Breaker::default(),
            told: Default::default(),
            outside: Arc::clone(outside),
        })
    }

    /// What it is called in messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The whole name of an object.
    pub(super) fn object(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A small object whole. `None` where it is not there.
    pub(super) async fn read(
        &self,
        path: &str,
        cap: u64,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Trouble> {
        let object = self.object(path);
        let action = self.names.get_object(self.credentials(), &object);
        let answer = self.send(Way::Read, action, HeaderMap::new(), nothing(), deadline).await?;
        match answer.status() {
            StatusCode::OK => answer.whole(cap, deadline).await.map(Some),
            _ => answer.absent(deadline).await.map(|()| None),
        }
    }

    /// An object or a part of it, as it comes. `None` where it is not there.
    pub(super) async fn get(
        &self,
        path: &str,
        conditions: &HeaderMap,
        deadline: Instant,
    ) -> Result<Option<Response<Incoming>>, Trouble> {
        let object = self.object(path);
        let action = self.names.get_object(self.credentials(), &object);
        let answer = self.send(Way::Read, action, conditions.clone(), nothing(), deadline).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => answer.absent(deadline).await.map(|()| None),
            _ => Ok(Some(answer.well())),
        }
    }

    /// Whether an object is there.
    pub(super) async fn head(&self, path: &str, deadline: Instant) -> Result<Option<Head>, Trouble> {
        let object = self.object(path);
        let action = self.names.head_object(self.credentials(), &object);
        let answer = self.send(Way::Read, action, HeaderMap::new(), nothing(), deadline).await?.well();
        let headers = answer.headers();
        let size = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((answer.status() == StatusCode::OK).then(|| Head { size, age: age(headers) }))
    }

    /// Writes an object. `Ok(false)`: it was to be written only where none is there, and one is.
    pub(super) async fn put(
        &self,
        path: &str,
        body: Outgoing,
        only_if_absent: bool,
        deadline: Option<Instant>,
    ) -> Result<bool, Trouble> {
        let object = self.object(path);
        let action = self.names.put_object(self.credentials(), &object);
        let mut headers = HeaderMap::new();
        if only_if_absent {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        // Without a deadline, its patience runs from piece to piece.
        let answer = self.send(Way::Write, action, headers, body, deadline.unwrap_or_else(far)).await?;
        match answer.status() {
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT if only_if_absent => {
                drop(answer.well());
                Ok(false)
            }
            status if status.is_success() => {
                drop(answer.well());
                Ok(true)
            }
            _ => Err(answer.refused(self.soon()).await),
        }
    }

    /// Removes an object. One that is not there is removed.
    pub(super) async fn remove(&self, path: &str, deadline: Instant) -> Result<(), Trouble> {
        let object = self.object(path);
        let action = self.names.delete_object(self.credentials(), &object);
        let answer = self.send(Way::Write, action, HeaderMap::new(), nothing(), deadline).await?;
        drop(answer.well());
        Ok(())
    }

    /// A request whose answer is a few words.
    pub(super) async fn say<'a, A: S3Action<'a>>(
        &self,
        action: A,
        body: Outgoing,
        deadline: Option<Instant>,
    ) -> Result<(HeaderMap, String), Trouble> {
        let answer =
            self.send(Way::Write, action, HeaderMap::new(), body, deadline.unwrap_or_else(far)).await?;
        if !answer.status().is_success() {
            return Err(answer.refused(self.soon()).await);
        }
        let headers = answer.response.headers().clone();
        let words = answer.whole(WORDS, self.soon()).await?;
        Ok((headers, String::from_utf8_lossy(&words).into_owned()))
    }

    fn route(&self, way: Way) -> &Route {
        let [read, write] = &self.routes;
        if way == Way::Read { read } else { write }
    }

    /// Until when a few words have to have come.
    fn soon(&self) -> Instant {
        Instant::now() + self.route(Way::Write).limits.answer
    }

    /// Sends a request. What comes back is no failure of the bucket's.
    async fn send<'a, A: S3Action<'a>>(
        &self,
        way: Way,
        mut action: A,
        mut headers: HeaderMap,
        body: Outgoing,
        deadline: Instant,
    ) -> Result<Exchange<'_>, Trouble> {
        if self.credentials.is_some() {
            action.headers_mut().insert(CONTENT, UNSIGNED);
            headers.insert(HeaderName::from_static(CONTENT), HeaderValue::from_static(UNSIGNED));
        }
        let url = action.sign(EXPIRES);
        let method = Method::from_bytes(A::METHOD.to_str().as_bytes()).unwrap_or(Method::GET);
        let url: Uri = url.as_str().parse().map_err(|_| Trouble("a name cannot be asked for".to_owned()))?;
        if let (true, Either::Left(bytes)) = (method == Method::PUT || method == Method::POST, &body) {
            let length = hyper::body::Body::size_hint(bytes).exact().unwrap_or(0);
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, url, headers);
        self.exchange(way, request, deadline).await
    }

    async fn exchange(
        &self,
        way: Way,
        request: Request<Outgoing>,
        deadline: Instant,
    ) -> Result<Exchange<'_>, Trouble> {
        let admitted = self.breaker.admit(&way, Need::Spare, Instant::now().into_std());
        let pass = admitted.map_err(|held| Trouble(held_back(&held)))?;
        let sent = timeout_at(deadline, self.upstreams.send(request, self.route(way), None)).await;
        match sent {
            Ok(Ok(response)) => {
                let exchange = Exchange { bucket: self, way, pass, response };
                let status = exchange.status();
                let serves = !matches!(status.as_u16(), 401 | 403 | 408 | 429 | 500..=599)
                    && !status.is_redirection()
                    && (status != StatusCode::BAD_REQUEST);
                if serves { Ok(exchange) } else { Err(exchange.refused(deadline).await) }
            }
            Ok(Err(error)) => {
                let verdict = match &error {
                    SendError::Unreachable(_, why) => Verdict::Unreachable(why.clone()),
                    SendError::Resting(..) | SendError::Paused(..) => Verdict::Nothing,
                    error => Verdict::Failed(error.to_string()),
                };
                Err(self.conclude(way, pass, verdict, error.to_string()))
            }
            Err(_) => {
                let why = "it did not answer in time".to_owned();
                Err(self.conclude(way, pass, Verdict::Failed(why.clone()), why))
            }
        }
    }

    /// Something went wrong of which a request's answer said nothing.
    pub(super) fn failed(&self, way: Way, why: &str) {
        if let Ok(pass) = self.breaker.admit(&way, Need::Spare, Instant::now().into_std()) {
            self.conclude(way, pass, Verdict::Failed(why.to_owned()), why.to_owned());
        }
    }

    fn conclude(&self, way: Way, pass: Pass<Way>, verdict: Verdict, why: String) -> Trouble {
        let is_news = !matches!(verdict, Verdict::Nothing);
        pass.conclude(verdict, Instant::now().into_std(), self.route(way).limits.back_off);
        let mut told = self.told(way);
        if is_news && told.is_none_or(|since| since.elapsed() > TELL) {
            *told = Some(Instant::now());
            let doing = if way == Way::Read { "read" } else { "written" };
            self.outside.warning(&format!("{} cannot be {doing}: {why}; going on without", self.place));
        }
        Trouble(why)
    }

    fn told(&self, way: Way) -> MutexGuard<'_, Option<Instant>> {
        let [read, write] = &self.told;
        lock(if way == Way::Read { read } else { write })
    }

    fn is_well(&self, way: Way, pass: Pass<Way>) {
        pass.conclude(Verdict::Answered, Instant::now().into_std(), self.route(way).limits.back_off);
        // One that answers now and then is told of no more often than its trouble.
        let mut told = self.told(way);
        if told.take_if(|since| since.elapsed() > TELL / 60).is_some() {
            let doing = if way == Way::Read { "read" } else { "written" };
            self.outside.note(&format!("{} can be {doing} again", self.place));
        }
    }
}

impl Exchange<'_> {
    fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The bucket did what it should.
    fn well(self) -> Response<Incoming> {
        self.bucket.is_well(self.way, self.pass);
        self.response
    }

    /// The whole body, if it has no more than so many bytes.
    async fn whole(self, cap: u64, deadline: Instant) -> Result<Bytes, Trouble> {
        let Self { bucket, way, pass, response } = self;
        match read(response, cap, deadline).await {
            Ok(bytes) => {
                bucket.is_well(way, pass);
                Ok(bytes)
            }
            Err(why) => Err(bucket.conclude(way, pass, Verdict::Failed(why.clone()), why)),
        }
    }

    /// That an object is not there is no failure; that its bucket is not, is one.
    async fn absent(self, deadline: Instant) -> Result<(), Trouble> {
        let Self { bucket, way, pass, response } = self;
        let status = response.status();
        let words = read(response, WORDS, deadline).await.unwrap_or_default();
        let is_gone =
            element(&String::from_utf8_lossy(&words), "Code").is_some_and(|it| it == "NoSuchBucket");
        if status == StatusCode::NOT_FOUND && !is_gone {
            bucket.is_well(way, pass);
            return Ok(());
        }
        let why =
            if is_gone { "there is no such bucket".to_owned() } else { format!("it answered {status}") };
        Err(bucket.conclude(way, pass, Verdict::Failed(why.clone()), why))
    }

    /// Why it says no, without what it was shown.
    async fn refused(self, deadline: Instant) -> Trouble {
        let Self { bucket, way, pass, response } = self;
        let status = response.status().as_u16();
        let words = read(response, WORDS, deadline).await.unwrap_or_default();
        let code = element(&String::from_utf8_lossy(&words), "Code").unwrap_or_default();
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
        let hint = match status {
            400 if bucket.credentials.is_none() => {
                ", and no credentials are set: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            301 | 302 | 307 | 308 => ": name the address of its own region, and set AWS_REGION",
            401 | 403 => {
                ": check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, and what \
                 their account may do"
            }
            _ => "",
        };
        let space = if code.is_empty() { "" } else { " " };
        let why = format!("it answered {status}{space}{code}{hint}");
        bucket.conclude(way, pass, Verdict::Failed(why.clone()), why)
    }
}

/// A body of no more than so many bytes.
///
/// # Errors
/// Why it cannot be had.
async fn read(response: Response<Incoming>, cap: u64, deadline: Instant) -> Result<Bytes, String> {
    let most = usize::try_from(cap).unwrap_or(usize::MAX);
    let collected = timeout_at(deadline, Limited::new(response.into_body(), most).collect()).await;
    let collected = collected.map_err(|_| "an answer did not come to its end in time".to_owned())?;
    Ok(collected.map_err(|error| error.to_string())?.to_bytes())
}

/// No body.
pub(super) fn nothing() -> Outgoing {
    Either::Left(Full::default())
}

/// A time that is not waited for: a day.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

fn credentials(secret: &Secret) -> Credentials {
    let Secret { key, secret, token } = secret.clone();
    match token {
        Some(token) => Credentials::new_with_token(key, secret, token),
        None => Credentials::new(key, secret),
    }
}

fn held_back(held: &Held) -> String {
    match held {
        Held::Unreachable(why) | Held::Failed(why) => format!("it is left alone, for a moment ago {why}"),
        Held::Asked(seconds, _) => format!("it is left alone for {seconds} s"),
    }
}

/// How old an object is, by the clock of the server that says it.
fn age(headers: &HeaderMap) -> Option<Duration> {
    let time = |name: HeaderName| date::parse(headers.get(name)?.to_str().ok()?);
    let seconds = time(DATE)?.saturating_sub(time(LAST_MODIFIED)?);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
