//! How a request comes by a fetch, its own or another's, and what it gets of it.

use std::sync::Arc;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Response};
use storekit::{Digest, PackageKey};

use super::{Handled, Lookup, REMOTE, Served};
use crate::cache::{self, Cache};
use crate::fetch::{self, Ask};
use crate::observe::meter;
use crate::response::body::{Body, End, Source};
use crate::response::flight::{Flight, Growing, Stage};
use crate::response::reply::reply;
use crate::response::stored_head::Answer;
use crate::rules::fields::cache_status::{CacheStatus, Forward};
use crate::rules::request::Wishes;
use crate::rules::reuse::Reuse;
use crate::rules::vary;
use crate::store::Shelved;

/// The fields by which upstreams choose between several forms of an answer.
const NEGOTIATING: [&str; 3] = ["accept", "accept-encoding", "accept-language"];

/// A place in a fetch.
pub(super) struct Boarding {
    pub(super) flight: Arc<Flight>,
    /// Whether it was begun for this request.
    pub(super) leads: bool,
    /// Whether the upstream's answer came after this request, so that it is as good as one of its
    /// own.
    pub(super) early: bool,
}

impl Lookup {
    /// Fetches with different credentials do not meet, nor do those that ask for different forms of
    /// the same: not every upstream that chooses by a field says so in `Vary`.
    pub(crate) fn flight_key(&self) -> Digest {
        let mut parts = self.key.digest().hex().as_bytes().to_vec();
        if let Some(expected) = self.ruling.expected {
            parts.extend(format!("\n{}", expected.checksum).bytes());
        }
        if let Some(contents) = self.ruling.contents {
            parts.extend(format!("\n{contents}").bytes());
        }
        let names = if self.ruling.is_http() || self.ruling.negotiated { &NEGOTIATING[..] } else { &[] };
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        for (name, value) in vary::selecting(&names, &self.headers) {
            parts.extend(format!("\n{name}: {value}").bytes());
        }
        if let Some(value) = self.headers.get(AUTHORIZATION) {
            parts.extend([b"\n", value.as_bytes()].concat());
        }
        Digest::of(&parts)
    }

    /// What is asked for, whichever client asks.
    pub(super) fn shared(&self) -> Digest {
        PackageKey { scope: None, ..self.key.clone() }.digest()
    }

    /// What is asked for, for all to see: of what may belong to a client alone, where it is from.
    fn label(&self) -> &str {
        let is_private = self.key.scope.is_some() || self.headers.contains_key(AUTHORIZATION);
        if is_private { &self.key.source } else { &self.key.url }
    }

    /// Starts a fetch unless there is one. `stored` is what the upstream is asked about, `seen`
    /// what was found in the store before.
    pub(super) fn fetch(
        &self,
        cache: &Arc<Cache>,
        stored: Option<&Shelved>,
        seen: Option<&Shelved>,
    ) -> Boarding {
        let key = self.flight_key();
        let (flight, leads) = cache.flights.join(key, self.shared(), self.label());
        let early = flight.is_asking();
        // The fetch that this request would have joined may have ended since it looked.
        if leads && self.is_stored_since(cache, seen) {
            flight.reach(Stage::Stored { by_remote: false });
            cache.flights.leave(&key, &flight);
        } else if leads {
            let ask = self.ask(cache, stored.cloned());
            let (work, meeting) = (Arc::clone(cache), Arc::clone(&flight));
            tokio::spawn(async move {
                let flying = work.flights.flying(key, Arc::clone(&meeting));
                fetch::fetch(Arc::clone(&work), meeting, ask).await;
                drop(flying);
            });
        }
        Boarding { flight, leads, early }
    }

    /// Whether the store has by now what may be handed on for this request, and is not what was
    /// seen there before.
    pub(super) fn is_stored_since(&self, cache: &Cache, seen: Option<&Shelved>) -> bool {
        let Some(known) = cache.shelf.find(&self.key) else { return false };
        self.select(&known).is_some_and(|found| {
            seen.is_none_or(|seen| seen.stored != found.stored)
                && self.decide(&found.answer, &Wishes::of(&self.headers)) == Reuse::Fresh
        })
    }

    fn ask(&self, cache: &Cache, stored: Option<Shelved>) -> Ask {
        Ask {
            key: self.key.clone(),
            package: self.package.clone(),
            ruling: self.ruling.clone(),
            target: self.target.clone(),
            headers: self.asking(),
            stored,
            route: cache.route(&self.config, self.target.private),
            wire: self.wire.clone(),
            held: None,
        }
    }

    /// The headers that the upstream gets. What clients negotiate is left to them only where the
    /// upstream's answers differ by it.
    pub(in crate::proxy) fn asking(&self) -> HeaderMap {
        let mut headers = fetch::asking(&self.headers);
        if !(self.ruling.is_http() || self.ruling.negotiated) {
            fetch::ask_for_the_bytes(&mut headers);
            headers.extend(self.ruling.accept.map(|forms| (ACCEPT, HeaderValue::from_static(forms))));
        }
        headers
    }

    pub(super) async fn await_flight(
        &self,
        cache: &Arc<Cache>,
        boarding: Boarding,
        why: Forward,
        stored: Option<&Shelved>,
    ) -> Handled {
        let Boarding { flight, leads, early } = boarding;
        match flight.landed().await {
            Stage::Growing(growing) if self.may_have(&growing.answer, early) => {
                self.growing_reply(&growing, leads, why).await
            }
            Stage::Validated(digest) if early => self.validated(cache, digest, leads, why).await,
            Stage::Stored { by_remote } => {
                let served = if by_remote { Served::remote(!leads) } else { Served::HIT };
                self.stored_since(cache, why, served).await
            }
            Stage::Failed(trouble) => self.failed(cache, &trouble, stored).await,
            Stage::Passing => match flight.take().filter(|_| leads) {
                Some(response) => (self.passed_on(cache, response, why), meter::Result::Pass).into(),
                None => self.forward_or_504(why),
            },
            Stage::Growing(_) | Stage::Validated(_) | Stage::Asking => self.forward_or_504(why),
        }
    }

    /// Whether an answer that was fetched for another request will do for this one: it matches, and
    /// it came after this request, or may be reused as if it were stored.
    fn may_have(&self, answer: &Answer, early: bool) -> bool {
        let wishes = Wishes::of(&self.headers);
        let reusable = || self.decide(answer, &wishes) == Reuse::Fresh;
        answer.answers(&self.headers) && (early || reusable())
    }

    /// Hands on what is being stored for this request (`leads`) or for another.
    async fn growing_reply(&self, growing: &Arc<Growing>, leads: bool, why: Forward) -> Handled {
        let level = self.ruling.level;
        let mut status =
            CacheStatus { stored: leads, collapsed: !leads, level, ..CacheStatus::forwarded(why) };
        if growing.by_remote {
            let ttl = Some(self.ttl(&growing.answer));
            status = CacheStatus { hit: true, forward: None, ttl, detail: Some(REMOTE), ..status };
        }
        let Some(mut response) = self.along(growing, (!leads).then(cache::now), &status).await else {
            return self.forward_or_504(why);
        };
        if leads {
            response.headers_mut().extend(growing.cookies.clone());
        }
        let result = match (leads, growing.by_remote) {
            (false, _) => meter::Result::Collapsed,
            (true, true) => meter::Result::Remote,
            (true, false) => meter::Result::Miss,
        };
        (response, result).into()
    }

    /// The reply that reads along with what is being stored; `None` where that has broken off. Its
    /// age is that at the time `at`, if any.
    pub(in crate::proxy) async fn along(
        &self,
        growing: &Arc<Growing>,
        at: Option<i64>,
        status: &CacheStatus,
    ) -> Option<Response<Body>> {
        let mut size = growing.total;
        if size.is_none() && self.question().ranges(&growing.answer).is_some() {
            // Where the end is not known, a range has to wait for it.
            let mut progress = growing.progress.clone();
            let end = progress.wait_for(|progress| progress.end != End::Growing).await;
            size = end.ok().filter(|progress| progress.end == End::Whole).map(|progress| progress.written);
        }
        let source = Source::growing(growing)?;
        let age = at.map(|now| growing.answer.age(now));
        Some(reply(&self.question(), &growing.answer, source, size, age, status))
    }
}
