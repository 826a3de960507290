//! Requests that are passed on as they are, and what their answers change in the store.
//!
//! Limit: what is stored for other credentials than those of an unsafe request stays until it is
//! stale, for the store is not searched for it. It is only there where `keep-private` is set.

use std::sync::Arc;

use http::header::{CONNECTION, HOST, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use storekit::{PackageKey, StoredResponse};

use crate::cache::{self, Cache};
use crate::fetch::leave_unkeyed;
use crate::fetch::redirect::Trip;
use crate::observe::meter::{self, add};
use crate::proxy::lookup::{Lookup, UPSTREAM_FAILED};
use crate::response::body::Body;
use crate::response::reply::own;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::fields::hop;
use crate::rules::invalidate;
use crate::rules::merge::take_cookies;
use crate::rules::reuse::{self, Failure};
use crate::upstream::upload::Upload;
use crate::upstream::{Route, SendError};

impl Lookup {
    /// Sends the request on, with its body, and hands the answer on as it comes.
    pub(crate) async fn forward(
        &self,
        cache: &Arc<Cache>,
        body: Incoming,
        why: Forward,
    ) -> (Response<Body>, meter::Result) {
        if self.method == Method::HEAD && !self.ruling.is_http() {
            return self.head(cache, why).await;
        }
        let mut headers = self.headers.clone();
        headers.remove(HOST);
        if self.method == Method::HEAD {
            leave_unkeyed(&mut headers);
        }
        let route = cache.route(&self.config, self.target.private);
        let requested = cache::now();
        let answer = if body.is_end_stream() && matches!(self.method, Method::GET | Method::HEAD) {
            let (method, target, wire) = (&self.method, &self.target, self.wire.clone());
            Trip { cache, method, target, route: &route, wire, spare: false }.follow(headers).await
        } else {
            self.send(cache, headers, body, &route).await
        };
        match answer {
            Ok(response) => {
                let status = response.status();
                if reuse::is_failing(status)
                    && let Some(stood_in) = self.stand_in(cache, Failure::Error).await
                {
                    return stood_in;
                }
                let times = Times { requested, received: cache::now() };
                self.learn(cache, status, response.headers(), times);
                (self.passed_on(cache, response, why), meter::Result::Pass)
            }
            Err(SendError::Body(why)) => (broken_off(&SendError::Body(why)), meter::Result::Error),
            Err(error) => {
                let stood_in = self.stand_in(cache, Failure::Unreachable).await;
                stood_in.unwrap_or_else(|| (refused(&error), meter::Result::Error))
            }
        }
    }

    /// Sends the request to the server that it names: what may change something there goes no
    /// further.
    async fn send(
        &self,
        cache: &Cache,
        headers: HeaderMap,
        body: Incoming,
        route: &Route,
    ) -> Result<Response<Incoming>, SendError> {
        let bodiless = body.is_end_stream();
        let body = if bodiless { Either::Left(Full::default()) } else { Either::Right(Upload::new(body)) };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.url.clone();
        *request.headers_mut() = headers;
        request.headers_mut().append(VIA, cache.via.clone());
        add(&cache.counts.fetches, 1);
        let answer = cache.upstreams.send(request, route, self.wire.clone()).await;
        let failed = answer.as_ref().is_err_and(|error| !matches!(error, SendError::Body(_)));
        add(&cache.counts.failures, u64::from(failed));
        answer
    }

    /// An upstream's answer as the client gets it.
    pub(crate) fn passed_on(
        &self,
        cache: &Cache,
        response: Response<Incoming>,
        why: Forward,
    ) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let body = match self.method {
            Method::HEAD => Body::empty(),
            _ => Body::incoming(body, self.config.limits.answer),
        };
        let mut response = Response::from_parts(parts, body);
        hop::strip(response.headers_mut());
        response.headers_mut().append(VIA, cache.via.clone());
        CacheStatus::forwarded(why).add_to(response.headers_mut());
        response
    }

    /// What the answer says about what is stored.
    pub(super) fn learn(&self, cache: &Arc<Cache>, status: StatusCode, headers: &HeaderMap, times: Times) {
        if self.method == Method::HEAD && status == StatusCode::OK {
            self.learn_from_head(cache, headers, times);
        }
        for url in invalidate::doubtful(&self.method, &self.target.url, status, headers) {
            let key = cache::key_beside(&self.key, &url);
            let shared = PackageKey { scope: None, ..key.clone() };
            cache.flights.doubt(&shared.digest());
            cache.shelf.forget(&key);
            cache.shelf.forget(&shared);
        }
    }

    /// Source: RFC 9111, 4.3.5.
    fn learn_from_head(&self, cache: &Arc<Cache>, headers: &HeaderMap, times: Times) {
        let Some(known) = cache.shelf.find(&self.key) else { return };
        let Some(found) = known.select(&self.headers).filter(|found| found.answer.status == StatusCode::OK)
        else {
            return;
        };
        let same = |name: http::HeaderName| {
            headers.get(&name).is_none_or(|it| found.answer.headers.get(name) == Some(it))
        };
        let size = headers.get(http::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let holds = same(http::header::ETAG)
            && same(http::header::LAST_MODIFIED)
            && size.is_none_or(|size: u64| size == found.stored.size);
        let mut update = headers.clone();
        if !self.target.keep_cookies {
            take_cookies(&mut update);
        }
        let answer: Answer = found.answer.freshened(&update, times);
        let new = StoredResponse {
            announced: found.stored.announced,
            level: found.stored.level,
            ..answer.to_stored(found.stored.digest, found.stored.size)
        };
        let old = found.stored.clone();
        let changed = cache.shelf.change(&self.key, &[], |entry| {
            entry.responses.retain(|it| *it != *old);
            if holds {
                entry.responses.insert(0, new);
            }
        });
        if let Err(error) = changed {
            let why = crate::error::explained(&error);
            cache.outside.warning(&format!("the entry of {} cannot be changed: {why}", self.target.url));
        }
    }
}

/// The answer to a request whose body is not there: that is not the upstream's fault.
fn broken_off(error: &SendError) -> Response<Body> {
    let mut response = own(error.status(), error.to_string(), None);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer where there is none.
#[must_use]
pub(crate) fn refused(error: &SendError) -> Response<Body> {
    let cache = CacheStatus { detail: Some(UPSTREAM_FAILED), ..CacheStatus::default() };
    let mut response = own(error.status(), error.to_string(), Some(&cache));
    if let SendError::Paused(_, seconds, _) = error {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    response
}
