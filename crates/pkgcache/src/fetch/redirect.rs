//! Requests that redirects may take further: GET and HEAD, where the mount says `follow-redirects`.
//!
//! Each hop is checked as a request of a client's would be: its server is the one that was asked,
//! or stands in `allow`, TLS is never left, and a private address needs what it needs there.

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LOCATION, RANGE, USER_AGENT, VIA,
};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::cache::Cache;
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

impl Trip<'_> {
    /// Sends the request, and follows redirects where that is set.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) async fn follow(&self, mut headers: HeaderMap) -> Result<Response<Incoming>, SendError> {
        let mut url = self.target.url.clone();
        let mut identity = Identity::of(self.cache, self.target, &mut headers);
        for _ in 0..HOPS {
            let mut response = self.send(&url, &headers).await?;
            if let Some(identity) = identity.as_mut().filter(|_| is_same_origin(&url, &self.target.url))
                && identity.takes_up(self, &response, &mut headers).await
            {
                response = self.send(&url, &headers).await?;
            }
            let Some(next) = self.redirect(&url, &response)? else { return Ok(response) };
            if !is_same_origin(&url, &next) {
                leave_harmless(&mut headers);
            }
            url = next;
        }
        Err(SendError::NoAnswer(self.target.url.to_string(), "too many redirects".to_owned()))
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

    pub(crate) async fn send(&self, url: &Uri, headers: &HeaderMap) -> Result<Response<Incoming>, SendError> {
        let mut request: Request<Outgoing> = Request::new(Either::Left(Full::default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().append(VIA, self.cache.via.clone());
        let route = Route { private: self.may_be_private(url), need: self.need(), ..self.route.clone() };
        add(&self.cache.counts.fetches, 1);
        let response = self.cache.upstreams.send(request, &route, self.wire.clone()).await;
        add(&self.cache.counts.failures, u64::from(response.is_err()));
        response
    }

    /// By HTTP's rules alone, what a server answers is passed on, whatever it says of the server.
    fn need(&self) -> Need {
        match self.target.kind {
            Ecosystem::Generic => Need::Connection,
            _ if self.spare => Need::Spare,
            _ => Need::Answer,
        }
    }

    /// What holds for the server that was asked does not hold for one that it names: that one has
    /// to be named here.
    fn may_be_private(&self, url: &Uri) -> bool {
        if is_same_origin(url, &self.target.url) {
            return self.route.private;
        }
        let (config, (host, port)) = (self.cache.config(), server(url));
        config.allow_private || config.forward.hosts.name_address(host, port)
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
