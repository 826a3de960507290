//! Requests that are passed on as they are, and what their answers change in the store.
//!
//! Limit: what is stored for other credentials than those of an unsafe request stays until it is stale, for the store
//! is not searched for it. It is only there where `keep-private` is set.

use std::sync::Arc;

use http::header::{HOST, VIA};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use storekit::PackageKey;

use crate::answer::Answer;
use crate::body::Body;
use crate::cache::{self, Cache};
use crate::fetch::{leave_unkeyed, trouble};
use crate::handle::{Handled, Lookup};
use crate::meter::{self, add};
use crate::reply::own;
use crate::rules::age::Times;
use crate::rules::cache_status::{CacheStatus, Forward};
use crate::rules::{hop, invalidate};
use crate::upstream::SendError;

impl Lookup {
    /// Sends the request on, with its body, and hands the answer on as it comes.
    pub async fn forward(
        &self,
        cache: &Arc<Cache>,
        body: Incoming,
        why: Forward,
    ) -> (Response<Body>, meter::Result) {
        let outgoing = if body.is_end_stream() { Either::Left(Full::default()) } else { Either::Right(body) };
        let mut request = Request::new(outgoing);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.url.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(HOST);
        if self.method == Method::HEAD {
            leave_unkeyed(request.headers_mut());
        }
        request.headers_mut().append(VIA, cache.via.clone());
        let route = cache.route(&self.config, self.target.private);
        let requested = cache::now();
        add(&cache.counts.fetches, 1);
        match cache.upstreams.send(request, &route, self.wire.clone()).await {
            Ok(response) => {
                let times = Times { requested, received: cache::now() };
                self.learn(cache, response.status(), response.headers(), times);
                (self.passed_on(cache, response, why), meter::Result::Pass)
            }
            Err(error) => {
                add(&cache.counts.failures, 1);
                self.stood_in_for(cache, &error, why).await
            }
        }
    }

    /// What is stored answers a HEAD that nobody else answers.
    async fn stood_in_for(
        &self,
        cache: &Arc<Cache>,
        error: &SendError,
        why: Forward,
    ) -> (Response<Body>, meter::Result) {
        let asks = self.method == Method::HEAD && why == Forward::Stale;
        let known = asks.then(|| cache.shelf.find(&self.key)).flatten();
        let found = known.as_deref().and_then(|known| known.select(&self.headers));
        match self.failed(cache, &trouble(error), found).await {
            Handled::Answered(response, result) => (*response, result),
            Handled::Forward(_) => (refused(error), meter::Result::Error),
        }
    }

    /// An upstream's answer as the client gets it.
    pub(crate) fn passed_on(
        &self,
        cache: &Cache,
        response: Response<Incoming>,
        why: Forward,
    ) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let body = Body::incoming(body, self.config.limits.answer);
        let mut response = Response::from_parts(parts, body);
        hop::strip(response.headers_mut());
        response.headers_mut().append(VIA, cache.via.clone());
        CacheStatus::forwarded(why).add_to(response.headers_mut());
        response
    }

    /// What the answer says about what is stored.
    fn learn(&self, cache: &Arc<Cache>, status: StatusCode, headers: &http::HeaderMap, times: Times) {
        if self.method == Method::HEAD && status == StatusCode::OK {
            self.learn_from_head(cache, headers, times);
        }
        for url in invalidate::doubtful(&self.method, &self.target.url, status, headers) {
            let key = cache.key_beside(&self.key, &url);
            let shared = PackageKey { scope: None, ..key.clone() };
            cache.flights.doubt(&shared.digest());
            cache.shelf.forget(&key);
            cache.shelf.forget(&shared);
        }
    }

    /// Source: RFC 9111, 4.3.5.
    fn learn_from_head(&self, cache: &Arc<Cache>, headers: &http::HeaderMap, times: Times) {
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
        let answer: Answer = found.answer.freshened(headers, times);
        let new = answer.to_stored(found.stored.digest, found.stored.size, found.stored.announced);
        let old = found.stored.clone();
        let changed = cache.shelf.change(&self.key, &[], |entry| {
            entry.responses.retain(|it| *it != *old);
            if holds {
                entry.responses.insert(0, new);
            }
        });
        if let Err(error) = changed {
            crate::log::warning(&format!("the entry of {} cannot be changed: {error}", self.target.url));
        }
    }
}

/// The answer where there is none.
#[must_use]
pub(crate) fn refused(error: &SendError) -> Response<Body> {
    let status = match error {
        SendError::Forbidden(_) => StatusCode::FORBIDDEN,
        SendError::NoAnswer(..) => StatusCode::BAD_GATEWAY,
        SendError::Unreachable(..) | SendError::Resting(..) => StatusCode::GATEWAY_TIMEOUT,
    };
    let cache = CacheStatus { detail: Some("upstream-failed"), ..CacheStatus::default() };
    own(status, error.to_string(), Some(&cache))
}
