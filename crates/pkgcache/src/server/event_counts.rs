//! The counts by the minute: of all, by ecosystem and source, in events/; of each entry in
//! packages/uses/.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use storekit::PackageId;
use storekit::events::{Event, Kind};

use crate::cache::Cache;
use crate::error::explained;
use crate::observe::TOOL;
use crate::observe::meter::{Counts, Result, Sum, get};
use crate::observe::uses::{Downloads, Origin, Taken, Tally};

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    hits: Sum,
    misses: Sum,
    fetches: Sum,
    damaged: Sum,
}

impl Sums {
    fn of(counts: &Counts) -> Self {
        Self {
            hits: counts.of_all(Result::is_hit),
            misses: counts.of_all(Result::is_miss),
            fetches: Sum { count: get(&counts.fetches), bytes: get(&counts.fetched_bytes) },
            damaged: Sum { count: get(&counts.damaged), bytes: 0 },
        }
    }

    /// What has been added to this and was not told yet; it is told now.
    fn tell(&self, told: &mut Self, now: Timestamp) -> Vec<Event> {
        let kinds = [
            (Kind::Hit, self.hits, &mut told.hits),
            (Kind::Miss, self.misses, &mut told.misses),
            (Kind::Fetch, self.fetches, &mut told.fetches),
            (Kind::Damage, self.damaged, &mut told.damaged),
        ];
        let grown = kinds.into_iter().filter(|(_, all, told)| all.count > told.count);
        let event = |(kind, all, told): (_, Sum, &mut Sum)| {
            let (count, bytes) = (all.count - told.count, all.bytes.saturating_sub(told.bytes));
            told.add(Sum { count, bytes });
            Event::counted(TOOL, kind, count, bytes, now)
        };
        grown.map(event).collect()
    }
}

/// What came from one source, as events; requests are told then.
fn of_origin((origin, tally): (&Origin, &Tally), told: &mut Sums, now: Timestamp) -> Vec<Event> {
    told.hits.add(tally.hits);
    told.misses.add(tally.misses);
    let with_origin = |event| Event {
        ecosystem: Some(origin.ecosystem.clone()),
        source: Some(origin.source.clone()),
        ..event
    };
    let sums = [(Kind::Hit, tally.hits), (Kind::Miss, tally.misses)].into_iter();
    let counted = sums.filter(|(_, sum)| sum.count > 0);
    let counted = counted.map(|(kind, sum)| Event::counted(TOOL, kind, sum.count, sum.bytes, now));
    let downloads = downloads(Kind::Download, tally.downloads, now);
    counted.chain(downloads).map(with_origin).collect()
}

/// What was asked for of one entry, as events. What was there and was fetched anew, since it had
/// changed, is neither a hit nor a miss.
fn of_entry((id, tally): (&PackageId, &Tally), now: Timestamp) -> Vec<Event> {
    let hits = (tally.hits.count > 0)
        .then(|| Event::counted(TOOL, Kind::Hit, tally.hits.count, tally.hits.bytes, now));
    let misses = downloads(Kind::Miss, tally.new, now);
    misses.into_iter().chain(hits).map(|event| Event { key: Some(id.to_string()), ..event }).collect()
}

/// `None` where nothing was downloaded. Seconds are whole milliseconds: shorter to write.
fn downloads(kind: Kind, Downloads { count, bytes, seconds }: Downloads, now: Timestamp) -> Option<Event> {
    let seconds = Some((seconds * 1000.0).ceil() / 1000.0);
    (count > 0).then(|| Event { seconds, ..Event::counted(TOOL, kind, count, bytes, now) })
}

/// The bytes that came from upstreams and from the bucket: the store may have grown by as much.
fn came(counts: &Counts) -> u64 {
    get(&counts.fetched_bytes).saturating_add(get(&counts.remote_bytes))
}

/// Writes the counts down every minute, and for the last time when this is dropped.
pub(crate) struct EventCounts<'a> {
    cache: &'a Cache,
    told: Sums,
    /// The bytes that had come from elsewhere when the store was last said to have grown.
    came: u64,
}

impl<'a> EventCounts<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self { cache, told: Sums::default(), came: 0 }
    }

    /// Goes on for ever.
    pub(crate) async fn run(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.write();
        }
    }

    fn write(&mut self) {
        // In this order: what is taken was counted before.
        let (taken, now) = (self.cache.counts.uses.take(), Timestamp::now());
        let (sums, came) = (Sums::of(&self.cache.counts), came(&self.cache.counts));
        if let Err(error) = self.note(&taken, &sums, now.round(Unit::Second).unwrap_or(now)) {
            let why = explained(&error);
            self.cache.outside.warning(&format!("the counts could not be written down: {why}"));
        }
        if came > self.came {
            self.came = came;
            self.cache.outside.grown(self.cache.store.root());
        }
    }

    fn note(&mut self, taken: &Taken, sums: &Sums, now: Timestamp) -> storekit::Result<()> {
        let (events, uses) = (self.cache.store.events(), self.cache.store.packages().uses());
        let mut counts: Vec<_> =
            taken.origins.iter().flat_map(|it| of_origin(it, &mut self.told, now)).collect();
        counts.extend(sums.tell(&mut self.told, now));
        events.record_counts(&counts)?;
        let of_entries: Vec<_> = taken.entries.iter().flat_map(|it| of_entry(it, now)).collect();
        uses.record_counts(&of_entries)?;
        let first = now.checked_sub(self.cache.config().keep_events).unwrap_or(now);
        events.forget_counts(TOOL, first)?;
        uses.forget_counts(TOOL, first)
    }
}

impl Drop for EventCounts<'_> {
    fn drop(&mut self) {
        self.write();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, sink};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use camino::Utf8Path;
    use storekit::Store;

    use super::*;
    use crate::config::Config;
    use crate::outside::Outside;

    /// Counts how often the store has grown.
    #[derive(Debug, Default)]
    struct Grown(AtomicU64);

    impl Outside for Grown {
        fn note(&self, _: &str) {}

        fn warning(&self, text: &str) {
            panic!("{text}");
        }

        fn stdout(&self) -> Box<dyn Write + Send> {
            Box::new(sink())
        }

        fn authorities(&self) -> Vec<Vec<u8>> {
            Vec::new()
        }

        fn grown(&self, _: &Utf8Path) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_store_that_grew_from_an_upstream_or_from_the_bucket_is_looked_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        let outside = Arc::new(Grown::default());
        let cache = Cache::new(Config::default(), store, Arc::clone(&outside) as Arc<dyn Outside>).unwrap();
        let mut counts = EventCounts::new(&cache);
        let mut grown = |upstream: u64, bucket: u64| {
            cache.counts.fetched_bytes.fetch_add(upstream, Ordering::Relaxed);
            cache.counts.remote_bytes.fetch_add(bucket, Ordering::Relaxed);
            counts.write();
            outside.0.swap(0, Ordering::Relaxed)
        };
        assert_eq!([grown(0, 0), grown(5, 0), grown(0, 0), grown(0, 7), grown(0, 0)], [0, 1, 0, 1, 0]);
    }

    fn sum(count: u64, bytes: u64) -> Sum {
        Sum { count, bytes }
    }

    #[test]
    fn only_what_was_added_is_written() {
        let now = Timestamp::UNIX_EPOCH;
        let mut told = Sums { hits: sum(3, 30), misses: sum(1, 10), ..Sums::default() };
        let after = Sums { hits: sum(5, 50), misses: sum(1, 10), damaged: sum(1, 0), ..Sums::default() };
        let expected =
            [Event::counted(TOOL, Kind::Hit, 2, 20, now), Event::counted(TOOL, Kind::Damage, 1, 0, now)];
        assert_eq!(after.tell(&mut told, now), expected);
        assert_eq!(told, after);
    }

    #[test]
    fn what_is_told_of_a_source_is_not_told_again() {
        let (now, mut told) = (Timestamp::UNIX_EPOCH, Sums::default());
        let origin = Origin { ecosystem: "npm".to_owned(), source: "files.example".to_owned() };
        let downloads = Downloads { count: 1, bytes: 9, seconds: 0.00051 };
        let tally = Tally { hits: sum(2, 20), downloads, new: downloads, ..Tally::default() };
        let told_now = of_origin((&origin, &tally), &mut told, now);
        let origins: Vec<_> = told_now.iter().map(|event| event.source.as_deref()).collect();
        let kinds: Vec<_> = told_now.iter().map(|event| (event.kind, event.bytes, event.seconds)).collect();
        assert_eq!(origins, [Some("files.example"); 2]);
        let expected = [(Kind::Hit, Some(20), None), (Kind::Download, Some(9), Some(0.001))];
        assert_eq!(kinds, expected);
        // One more, of which nobody knows what it was for.
        let all = Sums { hits: sum(3, 21), ..Sums::default() };
        assert_eq!(all.tell(&mut told, now), [Event::counted(TOOL, Kind::Hit, 1, 1, now)]);
        // One that is told of its source before all are counted is not told twice.
        of_origin((&origin, &tally), &mut told, now);
        assert_eq!(all.tell(&mut told, now), []);
    }
}
