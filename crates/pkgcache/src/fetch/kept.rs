//! Large bodies that were left half-way, by a process that was killed or an upstream that broke
//! off: the next fetch of the same asks for the rest alone.
//!
//! That is sure to be of the same bytes by the upstream's strong validator (RFC 9110, 13.1.5), or a
//! checksum tells in the end, over all of them. What does not fit goes, and all is fetched. What
//! was fetched ahead is kept, too. Without a checksum, nothing is taken over the end of the
//! machine's own run: the store is not synced.
//!
//! Limits: what comes from the bucket of several caches, and indexes, are fetched anew.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use http::header::HeaderValue;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use storekit::{Digest, Kept, StoredResponse};

use crate::cache::{self, Cache};
use crate::fetch::ahead;
use crate::fetch::ask::{Ask, follow};
use crate::fetch::download::Download;
use crate::fetch::head::Head;
use crate::fetch::redirect::From;
use crate::response::flight::Flight;
use crate::response::stored_head::Answer;
use crate::rules::age::Times;
use crate::rules::merge::take_cookies;
use crate::upstream::SendError;

/// What is smaller is fetched anew: 4 MiB.
const LEAST: u64 = 4 << 20;

/// What was left of a body, and how the rest is asked for.
struct Rest {
    kept: Kept,
    answer: Answer,
    /// By which the upstream knows it again.
    tag: Option<HeaderValue>,
    /// What comes first of what is missing.
    gap: Range<u64>,
}

/// What the notes of a body say that belongs to; `None` where no later fetch may go on with it.
pub(super) fn noted(ask: &Ask, head: &Head) -> Option<StoredResponse> {
    let total = head.total.filter(|total| (LEAST..=ask.route.limits.object).contains(total))?;
    let is_known_again = head.tag.is_some() || ask.is_strict();
    let may = head.answer.status == StatusCode::OK && is_known_again && ask.may_be_kept();
    // Its own digest is not known yet.
    let response = head.answer.to_stored(Digest::of(b""), total);
    may.then(|| StoredResponse { announced: ask.announced(), ..response })
}

/// The upstream's answer. `None` where it had the rest of what was left, and all is done.
pub(super) async fn answer(
    cache: &Arc<Cache>,
    flight: &Arc<Flight>,
    ask: &Arc<Ask>,
) -> Option<Result<Response<Incoming>, SendError>> {
    let Some(rest) = find(cache, ask) else { return Some(super::answer(cache, ask).await) };
    let (requested, begun) = (cache::now(), Instant::now());
    let conditions = ahead::conditions(&rest.gap, rest.kept.response.size, rest.tag.as_ref());
    let response = match follow(cache, ask, &conditions, false).await {
        Ok(response) => response,
        error => return Some(error),
    };
    let times = Times { requested, received: cache::now() };
    if let Some(head) = rest.fits(ask, &response, times) {
        let Kept { writer, ranges, .. } = rest.kept;
        let download = Download::of(cache, flight, ask, head, writer, &ranges);
        download.run(response.into_body(), begun).await;
        return None;
    }
    let is_of_parts =
        matches!(response.status(), StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
    if is_of_parts || response.status() == StatusCode::OK {
        rest.kept.writer.discard();
    }
    Some(if is_of_parts { super::answer(cache, ask).await } else { Ok(response) })
}

impl Ask {
    /// Whether what comes of the answer may be kept where it does not come to its end.
    fn may_be_kept(&self) -> bool {
        self.held.is_none() && !self.ruling.is_index && !self.ruling.negotiated
    }
}

/// What was left of it, where the rest may be asked for.
fn find(cache: &Cache, ask: &Ask) -> Option<Rest> {
    if ask.stored.is_some() || !ask.may_be_kept() {
        return None;
    }
    Rest::of(cache.shelf.kept(&ask.key)?, ask)
}

impl Rest {
    fn of(mut kept: Kept, ask: &Ask) -> Option<Self> {
        let total = kept.response.size;
        let answer = Answer::from_stored(&kept.response)?;
        let tag = ask.validator(&answer.headers).cloned();
        // The last byte is always asked for: so the upstream says whether it is still the same.
        kept.ranges.iter_mut().for_each(|range| range.end = range.end.min(total.saturating_sub(1)));
        kept.ranges.retain(|range| !range.is_empty());
        let is_sure = ask.is_strict() || (tag.is_some() && kept.is_of_this_boot);
        let is_it = kept.response.announced == ask.announced()
            && ask.ruling.size().is_none_or(|size| size == total)
            && answer.answers(&ask.headers);
        let start = kept.ranges.first().filter(|first| first.start == 0).map_or(0, |first| first.end);
        let next = kept.ranges.iter().map(|range| range.start).find(|begin| *begin > start);
        let gap = start..next.unwrap_or(total);
        if is_sure && is_it && !kept.ranges.is_empty() && total <= ask.route.limits.object {
            return Some(Self { kept, answer, tag, gap });
        }
        kept.writer.discard();
        None
    }

    /// The head of all of it, if the answer has the part that was asked for, of the same bytes.
    fn fits(&self, ask: &Ask, response: &Response<Incoming>, times: Times) -> Option<Head> {
        let (total, tag) = (self.kept.response.size, self.tag.clone());
        if !ahead::is_part(response, &self.gap, total, tag.as_ref()) {
            return None;
        }
        let (mut update, mut cookies) = (response.headers().clone(), HeaderMap::new());
        if !ask.target.keep_cookies {
            cookies = take_cookies(&mut update);
        }
        let mut answer = self.answer.freshened(&update, times);
        if let Some(fields) = &ask.ruling.fields {
            answer = Answer { headers: HeaderMap::clone(fields), ..answer };
        }
        let From(from) = response.extensions().get().copied().unwrap_or_default();
        ask.is_storable(answer.status, &answer.headers, times).then_some(Head {
            answer,
            total: Some(total),
            tag,
            from,
            cookies,
            is_kept: true,
        })
    }
}
