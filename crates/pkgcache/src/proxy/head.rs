//! HEAD of something of which more is known than HTTP's rules: a file that an index names, what has
//! its digest in its address. The upstream is asked for the head alone; the client gets what a GET
//! would get, without the body.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use storekit::Checksum;

use crate::cache::{self, Cache};
use crate::fetch::redirect::Trip;
use crate::observe::meter::{self, add};
use crate::proxy::forward::refused;
use crate::proxy::lookup::{Handled, Lookup, UPSTREAM_FAILED};
use crate::response::body::{Body, Source};
use crate::response::reply::{own, reply};
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::merge::take_cookies;
use crate::rules::reuse::Failure;

/// By this a registry says which digest the body has.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Lookup {
    /// Asks the upstream for the head, and answers as a GET would be answered.
    pub(super) async fn head(&self, cache: &Arc<Cache>, why: Forward) -> (Response<Body>, meter::Result) {
        let route = cache.route(&self.config, self.target.private);
        let (method, target, wire) = (&Method::HEAD, &self.target, self.wire.clone());
        let requested = cache::now();
        let known = cache.shelf.find(&self.key);
        let stored = known.as_ref().and_then(|known| self.select(known));
        let spare = stored.is_some_and(|it| self.may_stand_in(&it.answer, Failure::Error));
        let trip = Trip { cache, method, target, route: &route, wire, spare };
        let response = match trip.follow(self.asking()).await {
            Ok(response) => response,
            Err(error) => {
                let stood_in = self.stand_in(cache, Failure::Unreachable).await;
                return stood_in.unwrap_or_else(|| (refused(&error), meter::Result::Error));
            }
        };
        let times = Times { requested, received: cache::now() };
        let status = response.status();
        if self.ruling.is_failing(status)
            && let Some(stood_in) = self.stand_in(cache, Failure::Error).await
        {
            return stood_in;
        }
        if may_have_a_get(status)
            && let Some(answered) = self.by_get(cache).await
        {
            return answered;
        }
        self.learn(cache, status, response.headers(), times);
        if status != StatusCode::OK {
            return (self.passed_on(cache, response, why), meter::Result::Pass);
        }
        let total = size(response.headers());
        if let Some(text) = self.wrong(total, response.headers()) {
            add(&cache.counts.mismatches, u64::from(self.ruling.is_strict()));
            cache.outside.warning(&text);
            let status = CacheStatus { detail: Some(UPSTREAM_FAILED), ..CacheStatus::default() };
            return (own(StatusCode::BAD_GATEWAY, text, Some(&status)), meter::Result::Error);
        }
        (self.as_by_get(response.headers(), times, total, why), meter::Result::Pass)
    }

    /// What a GET would be given, but for the body.
    fn as_by_get(
        &self,
        headers: &HeaderMap,
        times: Times,
        total: Option<u64>,
        why: Forward,
    ) -> Response<Body> {
        let mut headers = headers.clone();
        if self.ruling.negotiated {
            headers.append(VARY, HeaderValue::from_static("accept, accept-encoding"));
        }
        let cookies = take_cookies(&mut headers);
        let answer = Answer::new(StatusCode::OK, &headers, &self.headers, times);
        let level = self.ruling.level;
        let status = CacheStatus { level, ..CacheStatus::forwarded(why) };
        let size = total.or(self.ruling.size());
        let mut response = reply(&self.question(), &answer, Source::none(), size, None, &status);
        response.headers_mut().extend(cookies);
        response
    }

    /// Why the head is not one of what it should be.
    fn wrong(&self, total: Option<u64>, headers: &HeaderMap) -> Option<String> {
        let url = &self.target.url;
        if let Some(text) = total.and_then(|total| self.ruling.wrong_size(url, total)) {
            return Some(text);
        }
        let expected = self.ruling.expected?.checksum;
        let said: Checksum = headers.get(DIGEST)?.to_str().ok()?.parse().ok()?;
        let other = said.algorithm() == expected.algorithm() && said != expected;
        other.then(|| format!("{url} has the digest {said}, its server says: not handed on"))
    }

    /// The answer to a GET, without its body; `None` where that has to be passed on, too.
    async fn by_get(&self, cache: &Arc<Cache>) -> Option<(Response<Body>, meter::Result)> {
        let mut asking = Self { method: Method::GET, ..self.clone() };
        asking.headers.remove(http::header::RANGE);
        match Box::pin(asking.handle(cache)).await {
            Handled::Answered(mut response, result) => {
                *response.body_mut() = Body::empty();
                Some((*response, result))
            }
            Handled::Forward(_) => None,
        }
    }
}

/// Whether a server that answers so to HEAD may have an answer to GET: some know no HEAD, and a
/// signed URL is signed for one method.
fn may_have_a_get(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 403 | 405 | 501)
}

fn size(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
