//! What stands in for an upstream that failed: what is being stored at that moment, else what is
//! stored, where the rules allow it.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};

use crate::cache::{self, Cache};
use crate::observe::meter;
use crate::proxy::lookup::{Handled, Lookup, Served, UPSTREAM_FAILED};
use crate::response::body::Body;
use crate::response::flight::Trouble;
use crate::response::reply::own;
use crate::response::stored_head::Answer;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::reuse::{self, Failure};
use crate::store::Shelved;

impl Lookup {
    /// What stands in for an upstream that failed to answer this request, which was passed on: what
    /// is being stored at that moment, else what is stored, where it may.
    pub(crate) async fn stand_in(
        &self,
        cache: &Arc<Cache>,
        failure: Failure,
    ) -> Option<(Response<Body>, meter::Result)> {
        if self.passes_the_store() {
            return None;
        }
        // What is being stored goes first: where it ends meanwhile, it is found in the store.
        if let Some(response) = self.growing_stand_in(cache, failure).await {
            return Some((response, meter::Result::Stale));
        }
        let known = cache.shelf.find(&self.key)?;
        let found = self.select(&known)?;
        match self.stored_stand_in(cache, failure, found).await? {
            Handled::Answered(response, result) => Some((*response, result)),
            Handled::Forward(_) => None,
        }
    }

    async fn growing_stand_in(&self, cache: &Cache, failure: Failure) -> Option<Response<Body>> {
        let growing = cache.flights.find(&self.flight_key())?.growing()?;
        let answer = &growing.answer;
        if !(answer.answers(&self.headers) && self.may_stand_in(answer, failure)) {
            return None;
        }
        let now = cache::now();
        let status = CacheStatus {
            hit: true,
            ttl: Some(self.ttl(answer)),
            collapsed: true,
            detail: Some(UPSTREAM_FAILED),
            ..CacheStatus::default()
        };
        self.along(&growing, Some(now), &status).await
    }

    async fn stored_stand_in(
        &self,
        cache: &Arc<Cache>,
        failure: Failure,
        found: &Shelved,
    ) -> Option<Handled> {
        if !self.may_stand_in(&found.answer, failure) {
            return None;
        }
        let handled = self.serve(cache, found, Served::stale(UPSTREAM_FAILED)).await?;
        if let Some(known) = cache.shelf.find(&self.key) {
            cache.shelf.touch(&self.key, &known, cache::now());
        }
        Some(handled)
    }

    /// What is stored stands in for an upstream that failed, where it may; else the failure is
    /// told.
    pub(super) async fn failed(
        &self,
        cache: &Arc<Cache>,
        trouble: &Trouble,
        stored: Option<&Shelved>,
    ) -> Handled {
        // What was taken over from the bucket came after this request had looked.
        let known = if stored.is_none() { cache.shelf.find(&self.key) } else { None };
        let stored = stored.or_else(|| self.select(known.as_deref()?));
        if let Some(found) = stored
            && let Some(handled) = self.stored_stand_in(cache, trouble.failure, found).await
        {
            return handled;
        }
        if trouble.failure == Failure::Error {
            // That answer was not kept; a client that cannot do without it asks for one.
            return Handled::Forward(Forward::Stale);
        }
        let status = StatusCode::from_u16(trouble.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let cache_status = CacheStatus { detail: Some(UPSTREAM_FAILED), ..CacheStatus::default() };
        let mut response = own(status, trouble.message.clone(), Some(&cache_status));
        response.headers_mut().extend(trouble.pause.map(|seconds| (RETRY_AFTER, seconds.into())));
        (response, meter::Result::Error).into()
    }

    pub(super) fn may_stand_in(&self, answer: &Answer, failure: Failure) -> bool {
        let (now, heuristic) = (cache::now(), self.target.heuristic);
        answer.stands_by_rule(&self.ruling, now).unwrap_or_else(|| {
            reuse::may_stand_in(&answer.policy, answer.lifetime(heuristic), answer.age(now), failure)
        })
    }
}
