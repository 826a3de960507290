//! What happened on each of the last days, by the events of the store.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use storekit::events::rates::Rates;
use storekit::{Event, Events, Kind};

use super::{DAYS, Day};
use crate::observe::TOOL;

/// The days up to now, each with what is known of it.
///
/// # Errors
/// I/O errors.
pub(crate) fn days(events: &Events, now: Timestamp) -> storekit::Result<Vec<Day>> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let first = today.checked_sub((i64::from(DAYS) - 1).days()).unwrap_or(Date::MIN);
    let mut counted = Counted::default();
    let from = first.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |it| it.timestamp());
    events.each(Some(from), |event| counted.add(&event))?;
    let dates = first.series(1.day()).take_while(|day| *day <= today).take(DAYS as usize);
    Ok(dates.map(|date| counted.day(date)).collect())
}

#[derive(Default)]
struct Counted {
    days: BTreeMap<Date, Sum>,
    rates: Rates,
}

#[derive(Default)]
struct Sum {
    hits: u64,
    misses: u64,
    saved: u64,
    fetched: u64,
    /// The bytes of hits, by ecosystem and source.
    served: BTreeMap<(String, String), u64>,
}

fn grow(sum: &mut u64, by: u64) {
    *sum = sum.saturating_add(by);
}

impl Counted {
    fn add(&mut self, event: &Event) {
        if event.tool != TOOL {
            return;
        }
        self.rates.add(event);
        let sum = self.days.entry(event.time.to_zoned(TimeZone::UTC).date()).or_default();
        let (count, bytes) = (event.count.unwrap_or(1), event.bytes.unwrap_or_default());
        match event.kind {
            Kind::Hit => {
                grow(&mut sum.hits, count);
                grow(&mut sum.saved, bytes);
                let origin = [&event.ecosystem, &event.source].map(|it| it.clone().unwrap_or_default());
                grow(sum.served.entry(origin.into()).or_default(), bytes);
            }
            Kind::Miss => grow(&mut sum.misses, count),
            Kind::Fetch => grow(&mut sum.fetched, bytes),
            _ => {}
        }
    }

    fn day(&self, date: Date) -> Day {
        let none = Sum::default();
        let sum = self.days.get(&date).unwrap_or(&none);
        let seconds = |((ecosystem, source), bytes): (&(String, String), &u64)| {
            self.rates.of(ecosystem, source).seconds(*bytes)
        };
        Day {
            date,
            hits: sum.hits,
            misses: sum.misses,
            saved_bytes: sum.saved,
            saved_seconds: sum.served.iter().map(seconds).fold(0.0, |sum, it| sum + it),
            fetched_bytes: sum.fetched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(tool: &str, kind: Kind, count: u64, bytes: u64, time: &str) -> Event {
        Event::counted(tool, kind, count, bytes, time.parse().unwrap())
    }

    #[test]
    fn the_days_are_counted_and_end_with_today() {
        let dir = tempfile::tempdir().unwrap();
        let root = camino::Utf8Path::from_path(dir.path()).unwrap();
        let store = storekit::Store::open_or_create(&root.join("store")).unwrap();
        let of_npm =
            |event| Event { ecosystem: Some("npm".to_owned()), source: Some("a".to_owned()), ..event };
        let download = Event {
            seconds: Some(2.0),
            ..counted(TOOL, Kind::Download, 1, 4_000_000, "2026-06-01T10:00:00Z")
        };
        let all = [
            counted(TOOL, Kind::Miss, 1, 10, "2026-06-01T10:00:00Z"),
            counted(TOOL, Kind::Fetch, 1, 4_000_000, "2026-06-01T10:00:00Z"),
            of_npm(download),
            of_npm(counted(TOOL, Kind::Hit, u64::MAX, 8_000_000, "2026-06-02T00:00:00Z")),
            counted(TOOL, Kind::Hit, 7, 0, "2026-06-02T00:00:00Z"),
            counted("larder", Kind::Hit, 3, 9, "2026-06-02T00:00:00Z"),
        ];
        for event in &all {
            store.events().record(event).unwrap();
        }
        let days = days(&store.events(), "2026-06-02T23:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(days.len(), 30);
        let [first, second] = days.last_chunk().unwrap();
        assert_eq!((first.misses, first.hits, first.fetched_bytes), (1, 0, 4_000_000));
        assert_eq!((second.hits, second.saved_bytes), (u64::MAX, 8_000_000));
        assert!((second.saved_seconds - 4.0).abs() < 1e-9);
        assert_eq!((first.hit_rate(), second.hit_rate(), days[0].hit_rate()), (Some(0.0), Some(1.0), None));
    }
}
