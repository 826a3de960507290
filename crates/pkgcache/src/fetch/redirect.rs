//! Requests without a body, GET and HEAD: to the servers of a mount in their order, and further
//! where redirects lead and the mount says `follow-redirects`.
//!
//! A server that cannot be reached, fails (5xx), or asks for fewer requests (429) gives way to the
//! next; one that answers 404 only where that is set, for it is an answer. What clients bring along
//! is for the first server alone.
//!
//! Each hop is checked as a request of a client's would be: its server is the one that was asked,
//! or stands in `allow`, TLS is never left, and a private address needs what it needs there.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, USER_AGENT, VIA,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::cache::Cache;
use crate::config::Sources;
use crate::config::hosts::is_address;
use crate::config::target::Target;
use crate::ecosystem::Ecosystem;
use crate::fetch::token::Identity;
use crate::observe::meter::add;
use crate::rules::invalidate::{is_same_origin, resolve};
use crate::upstream::breaker::Need;
use crate::upstream::{Outgoing, Route, SendError};
use crate::wire::guard::Wire;

/// A redirect is followed so many times.
const HOPS: usize = 10;
/// What a server that another one names is told of the client's request.
const HARMLESS: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CACHE_CONTROL,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    USER_AGENT,
];

/// A request without a body.
pub(crate) struct Trip<'a> {
    pub(crate) cache: &'a Cache,
    /// GET or HEAD.
    pub(crate) method: &'a Method,
    /// What is asked for.
    pub(crate) target: &'a Target,
    /// How the upstream is reached.
    pub(crate) route: &'a Route,
    /// Where interim answers go.
    pub(crate) wire: Option<Arc<Wire>>,
    /// Whether something stored can stand in for the answer.
    pub(crate) spare: bool,
}

/// A server that can be asked.
struct Source {
    /// What is asked for, at this server.
    url: Uri,
    /// What it is sent as `Authorization`.
    credentials: Option<HeaderValue>,
    /// Whether it may have a private address.
    private: bool,
    /// Whether there is another one to ask after it.
    has_next: bool,
}

/// The number of the server that an answer came from, among its extensions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct From(pub(crate) usize);

impl Trip<'_> {
    /// Sends the request to the servers that have what it asks for, in their order, and follows
    /// redirects where that is set. The answer of the first that gives one counts.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn follow(&self, headers: HeaderMap) -> Result<Response<Incoming>, SendError> {
        self.follow_from(self.cache.distrust.first(&self.target.url), headers).await
    }

    /// The same, beginning with the server of this number; behind the last one comes the first.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn follow_from(
        &self,
        first: usize,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, SendError> {
        let mut sources = self.sources();
        let count = sources.len();
        sources.rotate_left(first % count);
        sources.last_mut().into_iter().for_each(|last| last.has_next = false);
        let mut best = Err(SendError::NoAnswer(self.target.url.to_string(), "nobody was asked".to_owned()));
        for (step, source) in sources.iter().enumerate() {
            let mut answer = self.follow_at(source, headers.clone()).await;
            if let Ok(response) = &mut answer {
                response.extensions_mut().insert(From((first + step) % count));
            }
            if !self.gives_way(&answer) {
                return answer;
            }
            if step == 0 || worth(&answer) > worth(&best) {
                best = answer;
            }
            add(&self.cache.counts.failovers, u64::from(source.has_next));
        }
        best
    }

    /// The servers, in their order.
    fn sources(&self) -> Vec<Source> {
        let Sources { credentials, mirrors, .. } = &*self.target.sources;
        let (url, private) = (self.target.url.clone(), self.route.private);
        if let Some(action) = &self.target.action {
            // It is at one place, and says itself what lets a client in there.
            let url = action.url.clone();
            return vec![Source { url, credentials: None, private, has_next: true }];
        }
        let is_below = self.target.is_below_upstream();
        let credentials = credentials.clone().filter(|_| is_below);
        let own = Source { url, credentials, private, has_next: true };
        let mirrors = mirrors.iter().filter_map(|mirror| {
            let url = mirror.at(&self.target.upstream, &self.target.url)?;
            let private = self.cache.config().allow_private || is_address(url.host().unwrap_or_default());
            Some(Source { url, credentials: mirror.credentials.clone(), private, has_next: true })
        });
        std::iter::once(own).chain(mirrors).collect()
    }

    /// Whether the next server is asked after this answer.
    fn gives_way(&self, answer: &Result<Response<Incoming>, SendError>) -> bool {
        match answer {
            Err(error) => error.may_pass(),
            Ok(response) => match response.status() {
                StatusCode::TOO_MANY_REQUESTS => true,
                StatusCode::NOT_FOUND | StatusCode::GONE => self.target.sources.next_on_404,
                status => status.is_server_error(),
            },
        }
    }

    /// Asks one server.
    async fn follow_at(
        &self,
        source: &Source,
        mut headers: HeaderMap,
    ) -> Result<Response<Incoming>, SendError> {
        if !is_same_origin(&source.url, &self.target.url) {
            // What the client brings is for the upstream's own server.
            leave_harmless(&mut headers);
        }
        if let Some(action) = &self.target.action {
            headers.extend(action.headers.clone());
        }
        if let Some(credentials) =
            source.credentials.as_ref().filter(|_| !headers.contains_key(AUTHORIZATION))
        {
            headers.insert(AUTHORIZATION, credentials.clone());
        }
        let mut url = source.url.clone();
        let mut identity = Identity::of(self.cache, self.target, &mut headers);
        for _ in 0..HOPS {
            let mut response = self.send(source, &url, &headers).await?;
            if let Some(identity) = identity.as_mut().filter(|_| is_same_origin(&url, &self.target.url))
                && identity.takes_up(self, &response, &mut headers).await
            {
                response = self.send(source, &url, &headers).await?;
            }
            let Some(next) = self.redirect(&url, &response)? else { return Ok(response) };
            if !is_same_origin(&url, &next) {
                leave_harmless(&mut headers);
            }
            url = next;
        }
        Err(SendError::NoAnswer(source.url.to_string(), "too many redirects".to_owned()))
    }

    /// Where the answer redirects to, if that is to be followed.
    fn redirect(&self, url: &Uri, response: &Response<Incoming>) -> Result<Option<Uri>, SendError> {
        let follows =
            self.target.follow_redirects && matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let named = response.headers().get(LOCATION).filter(|_| follows);
        let Some(next) = named.and_then(|value| resolve(url, value.to_str().ok()?)) else { return Ok(None) };
        let (host, port) = server(&next);
        let known = matches!(next.scheme_str(), Some("http" | "https"));
        let downgrade = url.scheme_str() == Some("https") && next.scheme_str() != Some("https");
        let allowed = || self.cache.config().forward.hosts.allow(host, port);
        if is_same_origin(url, &next) || (known && !downgrade && allowed()) {
            return Ok(Some(next));
        }
        let why = if known && downgrade { "it would leave TLS" } else { "`allow` does not name that server" };
        Err(SendError::Redirect(format!("{host}:{port}"), why))
    }

    /// Asks the upstream's own server, without redirects.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn send_once(&self, headers: &HeaderMap) -> Result<Response<Incoming>, SendError> {
        let (url, private) = (self.target.url.clone(), self.route.private);
        let source = Source { url, credentials: None, private, has_next: false };
        self.send(&source, &source.url, headers).await
    }

    async fn send(
        &self,
        source: &Source,
        url: &Uri,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request: Request<Outgoing> = Request::new(Either::Left(Full::default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().append(VIA, self.cache.via.clone());
        let (private, need) = (self.may_be_private(source, url), self.need(source));
        let route = Route { private, need, ..self.route.clone() };
        add(&self.cache.counts.fetches, 1);
        let response = self.cache.upstreams.send(request, &route, self.wire.clone()).await;
        add(&self.cache.counts.failures, u64::from(response.is_err()));
        response
    }

    /// By HTTP's rules alone, what a server answers is passed on, whatever it says of the server;
    /// but where there are several, one that fails is passed over.
    fn need(&self, source: &Source) -> Need {
        match self.target.kind {
            Ecosystem::Generic if self.target.sources.mirrors.is_empty() => Need::Connection,
            _ if self.spare || source.has_next => Need::Spare,
            _ => Need::Answer,
        }
    }

    /// What holds for the server that was asked does not hold for one that it names: that one has
    /// to be named here.
    fn may_be_private(&self, source: &Source, url: &Uri) -> bool {
        if is_same_origin(url, &source.url) {
            return source.private;
        }
        let (config, (host, port)) = (self.cache.config(), server(url));
        config.allow_private || config.forward.hosts.name_address(host, port)
    }
}

/// How much an answer is worth that gave way, where no other one counts: a server that fails tells
/// more than one that cannot be reached, and one that does not have it tells least.
fn worth(answer: &Result<Response<Incoming>, SendError>) -> u8 {
    match answer {
        Ok(response) if matches!(response.status().as_u16(), 404 | 410) => 0,
        Ok(_) => 2,
        Err(_) => 1,
    }
}

fn server(url: &Uri) -> (&str, u16) {
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    (url.host().unwrap_or_default(), url.port_u16().unwrap_or(usual))
}

/// Takes off whatever may have been meant for one server alone: not only credentials that have a
/// name of their own.
pub(crate) fn leave_harmless(headers: &mut HeaderMap) {
    let harmless = HARMLESS.iter().filter_map(|name| headers.get(name).map(|value| (name, value.clone())));
    *headers = harmless.map(|(name, value)| (name.clone(), value)).collect();
}
