//! How well the caches did, by day: what bakes found and where, what they had to build, and what
//! package clients were served; and of which images and sources (`parts`). Pure.

mod parts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use storekit::{ByteSize, Event, Kind};
use toolkit::words::took;
use toolkit::{Align, Table};

use storekit::events::rates::Rates;

pub use parts::{OfImage, OfSource, Parts, image_table, source_table};

/// The tool that notes bakes, and the one that notes packages.
const BAKES: &str = "larder";
const PACKAGES: &str = "pkgcache";

/// What happened on one day (UTC), or on all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// How many images were found, by where: `machine` is this store.
    pub hits: BTreeMap<String, u64>,
    /// How many had to be built.
    pub built: u64,
    /// Seconds of building that hits made needless.
    pub saved_seconds: f64,
    /// Bytes that engines and tiers sent and were sent for images.
    pub moved_bytes: u64,
    /// How many requests for packages the store answered, and with how many bytes.
    pub package_hits: u64,
    /// Bytes of these.
    pub package_hit_bytes: u64,
    /// How many requests for packages went on to an upstream.
    pub package_misses: u64,
    /// Bytes that upstreams sent.
    pub fetched_bytes: u64,
    /// Seconds of fetching that hits made needless, by the rates of their sources.
    pub package_saved_seconds: f64,
    /// The bytes of hits, by ecosystem and source.
    #[serde(skip)]
    served: BTreeMap<(String, String), u64>,
}

/// What happened, by day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats(BTreeMap<Date, Sum>);

/// A line of `stats --json`.
#[derive(Serialize)]
pub struct Line<'a> {
    /// The day; absent in the last line, which is of all days.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<Date>,
    /// The share of images that were found, 0 to 1; absent where none was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    hit_rate: Option<f64>,
    #[serde(flatten)]
    sum: &'a Sum,
}

impl Stats {
    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let of_bake = event.tool == BAKES && event.key.is_none();
        let of_packages = event.tool == PACKAGES;
        if !of_bake && !of_packages {
            return;
        }
        let day = event.time.to_zoned(TimeZone::UTC).date();
        let sum = self.0.entry(day).or_default();
        let (count, bytes) = (event.count.unwrap_or(1), event.bytes.unwrap_or_default());
        match event.kind {
            Kind::Bake if of_bake => {
                sum.moved_bytes = sum.moved_bytes.saturating_add(bytes);
                sum.saved_seconds += event.seconds.filter(|seconds| *seconds > 0.0).unwrap_or_default();
            }
            Kind::Hit if of_bake => {
                let hits = sum.hits.entry(event.tier.clone().unwrap_or_default()).or_default();
                *hits = hits.saturating_add(count);
                sum.moved_bytes = sum.moved_bytes.saturating_add(bytes);
            }
            Kind::Save if of_bake => sum.moved_bytes = sum.moved_bytes.saturating_add(bytes),
            Kind::Miss if of_bake => sum.built = sum.built.saturating_add(count),
            Kind::Hit => {
                sum.package_hits = sum.package_hits.saturating_add(count);
                sum.package_hit_bytes = sum.package_hit_bytes.saturating_add(bytes);
                let served = sum.served.entry(parts::origin(event)).or_default();
                *served = served.saturating_add(bytes);
            }
            Kind::Miss => sum.package_misses = sum.package_misses.saturating_add(count),
            Kind::Fetch => sum.fetched_bytes = sum.fetched_bytes.saturating_add(bytes),
            _ => {}
        }
    }

    /// Works out what hits of packages saved, by these rates.
    pub fn settle(&mut self, rates: &Rates) {
        for sum in self.0.values_mut() {
            let saved =
                sum.served.iter().map(|((kind, source), bytes)| rates.of(kind, source).seconds(*bytes));
            sum.package_saved_seconds = saved.sum();
        }
    }

    /// The shares of images and of packages that were found on a day, 0 to 1; `None` where none was
    /// asked for.
    #[must_use]
    pub fn rates(&self, day: Date) -> (Option<f64>, Option<f64>) {
        let Some(sum) = self.0.get(&day) else { return (None, None) };
        (sum.rate(), share(sum.package_hits, sum.package_hits.saturating_add(sum.package_misses)))
    }

    /// All days together.
    #[must_use]
    pub fn together(&self) -> Sum {
        let mut all = Sum::default();
        for sum in self.0.values() {
            for (tier, hits) in &sum.hits {
                let sum = all.hits.entry(tier.clone()).or_default();
                *sum = sum.saturating_add(*hits);
            }
            all.built = all.built.saturating_add(sum.built);
            all.saved_seconds += sum.saved_seconds;
            all.moved_bytes = all.moved_bytes.saturating_add(sum.moved_bytes);
            all.package_hits = all.package_hits.saturating_add(sum.package_hits);
            all.package_hit_bytes = all.package_hit_bytes.saturating_add(sum.package_hit_bytes);
            all.package_misses = all.package_misses.saturating_add(sum.package_misses);
            all.fetched_bytes = all.fetched_bytes.saturating_add(sum.fetched_bytes);
            all.package_saved_seconds += sum.package_saved_seconds;
        }
        all
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each day, and last all together.
    pub fn lines<'a>(&'a self, together: &'a Sum) -> impl Iterator<Item = Line<'a>> {
        let days = self.0.iter().map(|(day, sum)| Line { day: Some(*day), hit_rate: sum.rate(), sum });
        days.chain([Line { day: None, hit_rate: together.rate(), sum: together }])
    }

    /// For people: images, with a column for each place, and packages where there are any.
    #[must_use]
    pub fn tables(&self, together: &Sum) -> Vec<Table> {
        let rows: Vec<(String, &Sum)> = self
            .0
            .iter()
            .map(|(day, sum)| (day.to_string(), sum))
            .chain([("together".to_owned(), together)])
            .collect();
        let mut tables = Vec::new();
        if together.images() > 0 {
            let mut table = Table::new(&[
                ("DAY", Align::Left),
                ("IMAGES", Align::Right),
                ("HITS", Align::Right),
                ("FROM", Align::Left),
                ("BUILT", Align::Right),
                ("SAVED", Align::Right),
                ("MOVED", Align::Right),
            ]);
            for (day, sum) in &rows {
                table.row([
                    day.clone(),
                    sum.images().to_string(),
                    percent(sum.rate()),
                    sum.places(),
                    sum.built.to_string(),
                    span(sum.saved_seconds),
                    ByteSize(sum.moved_bytes).to_string(),
                ]);
            }
            tables.push(table);
        }
        if together.package_hits.max(together.package_misses) > 0 {
            let mut table = Table::new(&[
                ("DAY", Align::Left),
                ("REQUESTS", Align::Right),
                ("HITS", Align::Right),
                ("SERVED", Align::Right),
                ("SAVED", Align::Right),
                ("FETCHED", Align::Right),
            ]);
            for (day, sum) in &rows {
                let all = sum.package_hits.saturating_add(sum.package_misses);
                table.row([
                    day.clone(),
                    all.to_string(),
                    percent(share(sum.package_hits, all)),
                    ByteSize(sum.package_hit_bytes).to_string(),
                    span(sum.package_saved_seconds),
                    ByteSize(sum.fetched_bytes).to_string(),
                ]);
            }
            tables.push(table);
        }
        tables
    }
}

impl Sum {
    fn found(&self) -> u64 {
        self.hits.values().copied().fold(0, u64::saturating_add)
    }

    fn images(&self) -> u64 {
        self.found().saturating_add(self.built)
    }

    fn rate(&self) -> Option<f64> {
        share(self.found(), self.images())
    }

    /// `machine 6, team 2`.
    fn places(&self) -> String {
        let order = |tier: &str| (tier != "machine", tier.to_owned());
        let tiers: BTreeSet<_> = self.hits.keys().map(|tier| order(tier)).collect();
        let count = |tier: &String| self.hits.get(tier).copied().unwrap_or_default();
        let words: Vec<_> = tiers.iter().map(|(_, tier)| format!("{tier} {}", count(tier))).collect();
        if words.is_empty() { "-".to_owned() } else { words.join(", ") }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of counts is not exact")]
fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn span(seconds: f64) -> String {
    if seconds < 1.0 { "-".to_owned() } else { took(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn stats() -> Stats {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let one = |kind, count, bytes, time: &str, tier: Option<&str>| Event {
            tier: tier.map(str::to_owned),
            ..Event::counted(BAKES, kind, count, bytes, at(time))
        };
        let mut stats = Stats::default();
        for event in [
            Event { seconds: Some(60.0), ..one(Kind::Bake, 5, 1000, "2026-01-02T23:59:59Z", None) },
            one(Kind::Hit, 2, 0, "2026-01-02T23:59:59Z", Some("machine")),
            one(Kind::Hit, 1, 500, "2026-01-02T23:59:59Z", Some("team")),
            one(Kind::Miss, 2, 0, "2026-01-02T23:59:59Z", None),
            one(Kind::Save, 2, 700, "2026-01-02T23:59:59Z", Some("team")),
            one(Kind::Hit, 5, 0, "2026-01-03T00:00:00Z", Some("machine")),
            Event::counted(PACKAGES, Kind::Hit, 30, 30_000_000, at("2026-01-03T00:00:00Z")),
            Event::counted(PACKAGES, Kind::Miss, 10, 0, at("2026-01-03T00:00:00Z")),
            // Of one image: that is counted by its bake.
            Event::new("imgtar", Kind::Hit, &"k".parse().unwrap(), at("2026-01-03T00:00:00Z")),
        ] {
            stats.add(&event);
        }
        stats
    }

    #[test]
    fn each_day_adds_up() {
        let stats = stats();
        let all = stats.together();
        assert_eq!((all.found(), all.built, all.moved_bytes), (8, 2, 2200));
        assert_eq!(all.rate(), Some(0.8));
        let lines: Vec<_> = stats.lines(&all).map(|line| serde_json::to_value(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[0]["day"]), (3, &"2026-01-02".into()));
        assert_eq!(lines[0]["hits"], serde_json::json!({ "machine": 2, "team": 1 }));
        assert_eq!(lines[1]["package_hits"], 30);
        assert!(lines[2].get("day").is_none());
    }

    #[test]
    fn counts_without_end_add_up_to_the_most_there_is() {
        let mut stats = Stats::default();
        for day in 1..4 {
            for (tool, kind, tier) in [
                (BAKES, Kind::Hit, Some("machine")),
                (BAKES, Kind::Miss, None),
                (PACKAGES, Kind::Hit, None),
                (PACKAGES, Kind::Miss, None),
            ] {
                let time = format!("2026-01-0{day}T00:00:00Z").parse().unwrap();
                let event = Event::counted(tool, kind, u64::MAX - 1, u64::MAX, time);
                stats.add(&Event { tier: tier.map(str::to_owned), ..event });
            }
        }
        let all = stats.together();
        assert_eq!((all.found(), all.built), (u64::MAX, u64::MAX));
        assert_eq!(
            (all.package_hits, all.package_misses, all.package_hit_bytes),
            (u64::MAX, u64::MAX, u64::MAX)
        );
        assert_eq!(stats.tables(&all).len(), 2);
    }

    #[test]
    fn people_get_a_table_of_each_kind() {
        let mut stats = stats();
        stats.settle(&Rates::default());
        let tables: Vec<_> = stats.tables(&stats.together()).iter().map(|table| table.text(false)).collect();
        assert_eq!(
            tables,
            [
                "DAY         IMAGES   HITS  FROM               BUILT  SAVED   MOVED\n\
                 2026-01-02       5   60 %  machine 2, team 1      2  1 min  2.20kB\n\
                 2026-01-03       5  100 %  machine 5              0      -      0B\n\
                 together        10   80 %  machine 7, team 1      2  1 min  2.20kB\n",
                "DAY         REQUESTS  HITS  SERVED  SAVED  FETCHED\n\
                 2026-01-02         0     -      0B      -       0B\n\
                 2026-01-03        40  75 %  30.0MB    3 s       0B\n\
                 together          40  75 %  30.0MB    3 s       0B\n",
            ]
        );
    }
}
