//! What is to be fetched, and how its upstream is asked.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::body::Incoming;
use storekit::{Checksum, PackageKey};

use crate::cache::Cache;
use crate::config::target::Target;
use crate::ecosystem::Package;
use crate::ecosystem::ruling::{Check, Expected, Ruling};
use crate::fetch::redirect::Trip;
use crate::observe::meter::Counts;
use crate::remote::Held;
use crate::response::flight::Trouble;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::policy::Policy;
use crate::rules::reuse::{self, Failure};
use crate::rules::storable::{self, Sharing};
use crate::rules::{conditional, freshness};
use crate::store::Shelved;
use crate::upstream::{Route, SendError};
use crate::wire::guard::Wire;

/// Why what has to be looked at as a whole, which it is where it is stored, goes to nobody.
pub(super) const UNSEEN: &str = "it could not be stored, so nobody could look at what it has in it";
const BEYOND_LOOKING: &str = "it is larger than `max-object`, so that nobody could look at what it has in it";

/// What is to be fetched.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Where the answer goes.
    pub(crate) key: PackageKey,
    /// The package that it belongs to.
    pub(crate) package: Package,
    /// What holds for it.
    pub(crate) ruling: Ruling,
    /// What is asked for.
    pub(crate) target: Target,
    /// The client's headers, without conditions.
    pub(crate) headers: HeaderMap,
    /// What is stored and may still hold.
    pub(crate) stored: Option<Shelved>,
    /// How the upstream is reached.
    pub(crate) route: Route,
    /// Where interim answers go.
    pub(crate) wire: Option<Arc<Wire>>,
    /// The body in the bucket that several caches share, while it comes from there.
    pub(crate) held: Option<Held>,
}

impl Ask {
    /// What the body has to be: by its index, or by what the bucket says that it is.
    pub(super) fn expected(&self) -> Option<Expected> {
        let held = self.held.as_ref().map(|it| Expected { checksum: it.digest.into(), size: Some(it.size) });
        self.ruling.expected.or(held)
    }

    /// The checksum that the body has to have.
    pub(super) fn announced(&self) -> Option<Checksum> {
        self.ruling.expected.map(|expected| expected.checksum)
    }

    /// By which its upstream knows the body of an answer with these fields again.
    pub(super) fn validator<'a>(&self, answer: &'a HeaderMap) -> Option<&'a HeaderValue> {
        // Another server may call the same bytes otherwise: the checksum tells.
        let by_checksum = self.is_strict() && !self.target.sources.mirrors.is_empty();
        conditional::strong_validator(answer).filter(|_| !by_checksum)
    }

    /// Whether the end of the body has to wait for the verdict.
    pub(super) fn is_strict(&self) -> bool {
        self.held.is_some() || self.ruling.is_strict()
    }

    /// What compares the body with what it has to be.
    pub(super) fn check(&self) -> Check {
        if self.held.is_some() { Check::new(self.expected()) } else { Check::of(&self.ruling) }
    }

    /// The body in the bucket, for as long as it comes from there.
    pub(super) fn body_in_bucket(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| !held.is_given_up())
    }

    /// How long whoever gives the body may say nothing.
    pub(super) fn patience(&self, cache: &Cache) -> Duration {
        let of_bucket = self.body_in_bucket().and(cache.remote.as_ref()).map(|remote| remote.patience());
        of_bucket.unwrap_or(self.route.limits.answer)
    }

    /// Where the bytes of the body are counted.
    pub(super) fn counter<'a>(&self, counts: &'a Counts) -> &'a AtomicU64 {
        if self.body_in_bucket().is_some() { &counts.remote_bytes } else { &counts.fetched_bytes }
    }

    /// Which requests may be given the answer again.
    pub(super) fn sharing(&self) -> Sharing {
        if self.key.scope.is_some() { Sharing::SameCredentials } else { Sharing::Shared }
    }

    /// Whether what is stored may stand in for an answer that came now.
    pub(super) fn may_stand_in(&self, stored: &Answer, now: i64) -> bool {
        if let Some(stands) = stored.stands_by_rule(&self.ruling, now) {
            return stands;
        }
        let lifetime = stored.lifetime(self.target.heuristic);
        reuse::may_stand_in(&stored.policy, lifetime, stored.age(now), Failure::Error)
    }

    /// Whether the answer may be stored. For what a package client asks, that is known without the
    /// answer's own word.
    pub(super) fn is_storable(&self, status: StatusCode, headers: &HeaderMap, times: Times) -> bool {
        if !self.ruling.is_http() {
            let private = self.headers.contains_key(AUTHORIZATION) && self.key.scope.is_none();
            return status == StatusCode::OK && !private;
        }
        storable::is_storable(&self.headers, status, headers, &Policy::of(headers), self.sharing())
            && !self.is_outlived(status, headers, times)
    }

    /// Whether the body says beforehand that it is not as long as its index says, or longer than
    /// any index.
    pub(super) fn wrong_size(&self, status: StatusCode, total: Option<u64>) -> Option<Trouble> {
        let message = self.ruling.wrong_size(&self.target.url, total?)?;
        (status == StatusCode::OK).then(|| refused(message))
    }

    /// Whether the body says beforehand that it has more than what is looked at as a whole.
    pub(super) fn beyond_looking(&self, status: StatusCode, total: Option<u64>) -> Option<Trouble> {
        let too_large = status == StatusCode::OK && self.is_beyond_looking(total?);
        too_large.then(|| refused(format!("{} was not handed on: {BEYOND_LOOKING}", self.target.url)))
    }

    /// That nobody can look at the whole of it, where somebody has to and nothing can be stored.
    pub(super) fn cannot_be_looked_at(&self) -> Option<Trouble> {
        self.ruling.contents?;
        Some(refused(format!("{} was not handed on: {UNSEEN}", self.target.url)))
    }

    /// Whether so many bytes are more than may be stored of what has to be looked at as a whole.
    fn is_beyond_looking(&self, size: u64) -> bool {
        self.ruling.contents.is_some() && size > self.route.limits.object
    }

    /// Why no more of a body is taken than this.
    pub(super) fn is_too_much(&self, size: u64) -> Option<&'static str> {
        if size > self.ruling.most() {
            return Some("no index is larger than 1 GiB");
        }
        self.is_beyond_looking(size).then_some(BEYOND_LOOKING)
    }

    /// Whether the answer to a question about a stored success is a failure that does not say for
    /// how long it holds. In its place the success would be lost to the time for which it may stand
    /// in for a server that fails.
    pub(super) fn is_outlived(&self, status: StatusCode, headers: &HeaderMap, times: Times) -> bool {
        let lasts = freshness::explicit(headers, &Policy::of(headers), times).unwrap_or(0) > 0;
        let failure = status.is_client_error() || status.is_server_error();
        let stands = |it: &Answer| it.status.is_success() && self.may_stand_in(it, times.received);
        failure && !lasts && self.stored.as_ref().is_some_and(|it| stands(&it.answer))
    }
}

/// Sends the request with these conditions, and follows redirects where that is set: to the bucket
/// for a body that is there, while it gives it. `spare` says whether what is stored can stand in
/// for the answer.
pub(crate) async fn follow(
    cache: &Cache,
    ask: &Ask,
    conditions: &HeaderMap,
    spare: bool,
) -> Result<Response<Incoming>, SendError> {
    if let (Some(held), Some(remote)) = (&ask.held, &cache.remote)
        && let Some(response) = remote.body(held, conditions).await
    {
        return Ok(response);
    }
    let mut headers = ask.headers.clone();
    headers.extend(conditions.clone());
    trip(cache, ask, spare).follow(headers).await
}

/// The same for the rest of a body, beginning with the server of this number.
pub(crate) async fn follow_from(
    cache: &Cache,
    ask: &Ask,
    conditions: &HeaderMap,
    first: usize,
) -> Result<Response<Incoming>, SendError> {
    let mut headers = ask.headers.clone();
    headers.extend(conditions.clone());
    trip(cache, ask, false).follow_from(first, headers).await
}

fn trip<'a>(cache: &'a Cache, ask: &'a Ask, spare: bool) -> Trip<'a> {
    let (method, target, route, wire) = (&Method::GET, &ask.target, &ask.route, ask.wire.clone());
    Trip { cache, method, target, route, wire, spare }
}

/// After an error, the request would be passed on, and this body with it.
pub(super) fn refused(message: String) -> Trouble {
    let status = StatusCode::BAD_GATEWAY.as_u16();
    Trouble { failure: Failure::Unreachable, status, message, pause: None }
}
