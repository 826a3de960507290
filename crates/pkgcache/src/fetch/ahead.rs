//! Parts of a body that are fetched ahead of it ([`Segments`]).
//!
//! What comes is written at its place in the body's file, and is compared with nothing: the
//! download reads it again when it comes there, and judges the whole.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use http::header::{CONTENT_RANGE, HeaderValue, IF_RANGE, RANGE};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use storekit::Noting;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cache::Cache;
use crate::fetch::ask::{Ask, follow};
use crate::fetch::read_ahead::ReadAhead;
use crate::observe::meter::add;
use crate::response::flight::Growing;
use crate::response::segments::Segments;
use crate::rules::conditional::has_validator;
use crate::rules::range::parse_content_range;

/// What all parts of a body have in common.
#[derive(Clone)]
pub(crate) struct Ahead {
    pub(crate) cache: Arc<Cache>,
    pub(crate) ask: Arc<Ask>,
    pub(crate) growing: Arc<Growing>,
    /// By which the upstream says that a part is of the same bytes.
    pub(crate) tag: Option<HeaderValue>,
}

/// The fields that ask for a part.
pub(crate) fn conditions(range: &Range<u64>, total: u64, tag: Option<&HeaderValue>) -> HeaderMap {
    let last = if range.end < total { (range.end - 1).to_string() } else { String::new() };
    let text = format!("bytes={}-{last}", range.start);
    let mut conditions = HeaderMap::new();
    conditions.extend(tag.map(|tag| (IF_RANGE, tag.clone())));
    conditions.extend(HeaderValue::from_str(&text).ok().map(|range| (RANGE, range)));
    conditions
}

/// Whether the answer is the part that was asked for, of the same bytes.
pub(crate) fn is_part(
    response: &Response<Incoming>,
    range: &Range<u64>,
    total: u64,
    tag: Option<&HeaderValue>,
) -> bool {
    let told = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && told.and_then(parse_content_range) == Some((range.clone(), total))
        && tag.is_none_or(|tag| has_validator(response.headers(), tag))
}

impl Ahead {
    /// Fetches what is wished for, until nobody can wish any more. Dropped, it fetches nothing any
    /// more.
    pub(crate) async fn run(self, mut wishes: mpsc::UnboundedReceiver<Range<u64>>) {
        let mut running = JoinSet::new();
        while let Some(range) = wishes.recv().await {
            running.spawn(self.clone().part(range));
            while running.try_join_next().is_some() {}
        }
    }

    async fn part(self, range: Range<u64>) {
        let (segments, start) = (&self.growing.segments, range.start);
        self.fetch(&range, segments).await;
        if segments.filled(start).is_none() {
            // The upstream has no parts, or nothing at the moment: all is left to the body itself.
            segments.close();
        }
        segments.end(start);
    }

    /// Fetches as much of it as comes.
    async fn fetch(&self, range: &Range<u64>, segments: &Segments) {
        let (Some(total), tag) = (self.growing.total, self.tag.as_ref()) else { return };
        let conditions = conditions(range, total, tag);
        let Ok(response) = follow(&self.cache, &self.ask, &conditions, false).await else { return };
        if !is_part(&response, range, total, tag) {
            return;
        }
        let mut body = ReadAhead::new(response.into_body());
        let mut position = range.start;
        let mut noting = self.growing.notes.clone().map(|notes| Noting::new(notes, position));
        let patience = self.ask.patience(&self.cache);
        while position < range.end {
            let Ok(Ok(Some(data))) = timeout(patience, body.next()).await else { return };
            let room = usize::try_from(range.end - position).unwrap_or(usize::MAX);
            let data = data.get(..room).unwrap_or(&data);
            if self.growing.file.write_all_at(data, position).is_err() {
                // The disk is full: the body itself will find that out, too.
                return segments.close();
            }
            add(self.ask.counter(&self.cache.counts), data.len() as u64);
            position += data.len() as u64;
            segments.fill(range.start, data.len() as u64);
            if let Some(noting) = &mut noting {
                noting.reached(position);
            }
        }
    }
}
