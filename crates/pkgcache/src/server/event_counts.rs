//! The counts by the minute, in events/.

use std::time::Duration;

use jiff::Timestamp;
use storekit::events::{Event, Kind};

use crate::cache::Cache;
use crate::error::explained;
use crate::observe::meter::{Counts, Result, Sum, get};

const TOOL: &str = "pkgcache";

/// What was counted, as events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    hits: Sum,
    misses: Sum,
    fetches: Sum,
    damaged: Sum,
}

impl Sums {
    fn of(counts: &Counts) -> Self {
        let sum = |results: &[Result]| {
            let all = results.iter().map(|result| counts.of(*result));
            all.fold(Sum::default(), |sum, it| Sum {
                count: sum.count + it.count,
                bytes: sum.bytes + it.bytes,
            })
        };
        Self {
            hits: sum(&[Result::Hit, Result::Revalidated, Result::Stale, Result::Collapsed, Result::Remote]),
            misses: sum(&[Result::Miss, Result::Pass]),
            fetches: Sum { count: get(&counts.fetches), bytes: get(&counts.fetched_bytes) },
            damaged: Sum { count: get(&counts.damaged), bytes: 0 },
        }
    }

    /// What has been added since `before`.
    fn since(&self, before: &Self, now: Timestamp) -> Vec<Event> {
        let kinds = [
            (Kind::Hit, self.hits, before.hits),
            (Kind::Miss, self.misses, before.misses),
            (Kind::Fetch, self.fetches, before.fetches),
            (Kind::Damage, self.damaged, before.damaged),
        ];
        let grown = kinds.into_iter().filter(|(_, now, before)| now.count > before.count);
        let event = |(kind, it, old): (_, Sum, Sum)| {
            Event::counted(TOOL, kind, it.count - old.count, it.bytes - old.bytes, now)
        };
        grown.map(event).collect()
    }
}

/// Writes the counts down every minute, and for the last time when this is dropped.
pub(crate) struct EventCounts<'a> {
    cache: &'a Cache,
    before: Sums,
}

impl<'a> EventCounts<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self { cache, before: Sums::default() }
    }

    /// Goes on for ever.
    pub(crate) async fn run(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.write();
        }
    }

    fn write(&mut self) {
        let (sums, now) = (Sums::of(&self.cache.counts), Timestamp::now());
        let events = self.cache.store.events();
        let written = sums.since(&self.before, now).iter().try_for_each(|event| events.record_count(event));
        let first = now.checked_sub(self.cache.config().keep_events).unwrap_or(now);
        if let Err(error) = written.and_then(|()| events.forget_counts(TOOL, first)) {
            let why = explained(&error);
            self.cache.outside.warning(&format!("the counts could not be written down: {why}"));
        }
        let has_grown = sums.fetches.bytes > self.before.fetches.bytes;
        self.before = sums;
        if has_grown {
            self.cache.outside.grown(self.cache.store.root());
        }
    }
}

impl Drop for EventCounts<'_> {
    fn drop(&mut self) {
        self.write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_is_written() {
        let now = Timestamp::UNIX_EPOCH;
        let sum = |count, bytes| Sum { count, bytes };
        let before = Sums { hits: sum(3, 30), misses: sum(1, 10), ..Sums::default() };
        let after = Sums { hits: sum(5, 50), misses: sum(1, 10), damaged: sum(1, 0), ..Sums::default() };
        let expected =
            [Event::counted(TOOL, Kind::Hit, 2, 20, now), Event::counted(TOOL, Kind::Damage, 1, 0, now)];
        assert_eq!(after.since(&before, now), expected);
    }
}
