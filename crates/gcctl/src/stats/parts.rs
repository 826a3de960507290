//! Of which images, and of packages from where, hits were.

use std::collections::BTreeMap;

use serde::Serialize;
use storekit::{ByteSize, Event, Kind};
use toolkit::{Align, Table};

use super::{PACKAGES, percent, share, span};
use storekit::events::rates::{Of, Rate, Rates};

/// Of so many images and sources a table tells, those that saved the most.
const SHOWN: usize = 20;

/// What was asked for, by key and by source.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    keys: BTreeMap<String, Uses>,
    origins: BTreeMap<(String, String), Uses>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    hits: u64,
    misses: u64,
    bytes: u64,
    seconds: f64,
    fetched: u64,
}

/// What came of the images of one name: a line of `stats --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfImage {
    /// The name; absent for those that are not stored any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How often one was handed on.
    pub hits: u64,
    /// How often one was asked for that was not there.
    pub misses: u64,
    /// The bytes of those that were handed on.
    pub hit_bytes: u64,
    /// Seconds of building that this made needless.
    pub saved_seconds: f64,
}

/// What came of the packages of one source: a line of `stats --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfSource {
    /// Which kind of client they were for.
    pub ecosystem: String,
    /// Where they are from.
    pub source: String,
    /// How many requests the store answered.
    pub package_hits: u64,
    /// Bytes of these.
    pub package_hit_bytes: u64,
    /// How many requests went on to the upstream.
    pub package_misses: u64,
    /// Bytes of packages that came whole and were stored.
    pub downloaded_bytes: u64,
    /// Seconds of fetching that hits made needless, by the rate.
    pub package_saved_seconds: f64,
    /// How fast they come.
    #[serde(flatten)]
    pub rate: Rate,
}

/// The ecosystem and the source that an event is about.
pub(super) fn origin(event: &Event) -> (String, String) {
    (event.ecosystem.clone().unwrap_or_default(), event.source.clone().unwrap_or_default())
}

impl Uses {
    fn add(&mut self, event: &Event) {
        let (count, bytes) = (event.count.unwrap_or(1), event.bytes.unwrap_or_default());
        match event.kind {
            Kind::Hit => {
                self.hits = self.hits.saturating_add(count);
                self.bytes = self.bytes.saturating_add(bytes);
                self.seconds += event.seconds.filter(|it| *it > 0.0).unwrap_or_default();
            }
            Kind::Miss => self.misses = self.misses.saturating_add(count),
            Kind::Download => self.fetched = self.fetched.saturating_add(bytes),
            _ => {}
        }
    }
}

impl Parts {
    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let is_counted = matches!(event.kind, Kind::Hit | Kind::Miss | Kind::Download);
        match &event.key {
            Some(key) if is_counted => self.keys.entry(key.clone()).or_default().add(event),
            None if is_counted && event.tool == PACKAGES && event.source.is_some() => {
                self.origins.entry(origin(event)).or_default().add(event);
            }
            _ => {}
        }
    }

    /// By image, those first that saved the most. `name` says what a key's image is called; `None`
    /// for one that is not there.
    pub fn images(&self, name: impl Fn(&str) -> Option<String>) -> Vec<OfImage> {
        let mut sums: BTreeMap<Option<String>, OfImage> = BTreeMap::new();
        for (key, uses) in &self.keys {
            let image = name(key);
            let new =
                || OfImage { image: image.clone(), hits: 0, misses: 0, hit_bytes: 0, saved_seconds: 0.0 };
            let sum = sums.entry(image.clone()).or_insert_with(new);
            sum.hits = sum.hits.saturating_add(uses.hits);
            sum.misses = sum.misses.saturating_add(uses.misses);
            sum.hit_bytes = sum.hit_bytes.saturating_add(uses.bytes);
            sum.saved_seconds += uses.seconds;
        }
        let mut all: Vec<_> = sums.into_values().collect();
        all.sort_by(|one, other| {
            other.saved_seconds.total_cmp(&one.saved_seconds).then(other.hits.cmp(&one.hits))
        });
        all
    }

    /// By source, those first that saved the most.
    #[must_use]
    pub fn sources(&self, rates: &Rates) -> Vec<OfSource> {
        let of = |((ecosystem, source), uses): (&(String, String), &Uses)| {
            let rate = rates.of(ecosystem, source);
            OfSource {
                ecosystem: ecosystem.clone(),
                source: source.clone(),
                package_hits: uses.hits,
                package_hit_bytes: uses.bytes,
                package_misses: uses.misses,
                downloaded_bytes: uses.fetched,
                package_saved_seconds: rate.seconds(uses.bytes),
                rate,
            }
        };
        let mut all: Vec<_> = self.origins.iter().map(of).collect();
        let saved = |it: &OfSource| it.package_saved_seconds;
        all.sort_by(|one, other| saved(other).total_cmp(&saved(one)));
        all
    }
}

/// For people: the images that saved the most.
#[must_use]
pub fn image_table(images: &[OfImage]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("IMAGE", Left),
        ("ASKED", Right),
        ("HITS", Right),
        ("SERVED", Right),
        ("SAVED", Right),
    ]);
    for it in images.iter().take(SHOWN) {
        let asked = it.hits.saturating_add(it.misses);
        table.row([
            it.image.clone().unwrap_or_else(|| "(not stored now)".to_owned()),
            asked.to_string(),
            percent(share(it.hits, asked)),
            ByteSize(it.hit_bytes).to_string(),
            span(it.saved_seconds),
        ]);
    }
    table
}

/// For people: the sources of which the hits saved the most.
#[must_use]
pub fn source_table(sources: &[OfSource]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ECOSYSTEM", Left),
        ("SOURCE", Left),
        ("REQUESTS", Right),
        ("HITS", Right),
        ("SERVED", Right),
        ("SAVED", Right),
        ("RATE", Right),
        ("MEASURED", Left),
    ]);
    for it in sources.iter().take(SHOWN) {
        let all = it.package_hits.saturating_add(it.package_misses);
        let measured = match it.rate.of {
            Of::Source => "here",
            Of::Ecosystem => "with its ecosystem",
            Of::All => "with all sources",
            Of::Assumed => "no: assumed",
        };
        table.row([
            it.ecosystem.clone(),
            it.source.clone(),
            all.to_string(),
            percent(share(it.package_hits, all)),
            ByteSize(it.package_hit_bytes).to_string(),
            span(it.package_saved_seconds),
            format!("{}/s", ByteSize(bytes_a_second(it.rate))),
            measured.to_owned(),
        ]);
    }
    table
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate in words, never negative"
)]
fn bytes_a_second(rate: Rate) -> u64 {
    rate.per_second as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn of_source(kind: Kind, source: &str, bytes: u64, seconds: Option<f64>) -> Event {
        Event {
            ecosystem: Some("npm".to_owned()),
            source: Some(source.to_owned()),
            seconds,
            ..Event::counted(PACKAGES, kind, 2, bytes, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn what_saved_the_most_comes_first() {
        let (mut parts, mut rates) = (Parts::default(), Rates::default());
        for event in [
            of_source(Kind::Hit, "fast", 30_000_000, None),
            of_source(Kind::Hit, "slow", 20_000_000, None),
            of_source(Kind::Miss, "slow", 3_000_000, None),
            of_source(Kind::Download, "slow", 2_000_000, Some(2.0)),
            Event::counted(PACKAGES, Kind::Hit, 7, 1, Timestamp::UNIX_EPOCH),
        ] {
            parts.add(&event);
            rates.add(&event);
        }
        let sources = parts.sources(&rates);
        let text = source_table(&sources).text(false);
        assert_eq!(
            text,
            "ECOSYSTEM  SOURCE  REQUESTS   HITS  SERVED  SAVED      RATE  MEASURED\n\
             npm        fast           2  100 %  30.0MB   30 s  1.00MB/s  with its ecosystem\n\
             npm        slow           4   50 %  20.0MB   20 s  1.00MB/s  here\n"
        );
        let line = serde_json::to_value(&sources[1]).unwrap();
        assert_eq!((&line["rate"], &line["rate-of"]), (&1_000_000.0.into(), &"source".into()));
        assert_eq!((&line["downloaded_bytes"], &line["package_misses"]), (&2_000_000.into(), &2.into()));
    }

    #[test]
    fn images_of_one_name_are_together() {
        let mut parts = Parts::default();
        let event = |kind, key: &str, seconds| Event {
            seconds,
            ..Event::new("imgtar", kind, &key.parse().unwrap(), Timestamp::UNIX_EPOCH)
        };
        for event in [
            event(Kind::Hit, "app-1", Some(60.0)),
            event(Kind::Hit, "app-2", Some(30.0)),
            event(Kind::Miss, "app-2", None),
            event(Kind::Hit, "gone", Some(10.0)),
            event(Kind::Evict, "gone", Some(10.0)),
        ] {
            parts.add(&event);
        }
        let name = |key: &str| key.split_once('-').map(|(name, _)| name.to_owned());
        let images = parts.images(name);
        let all: Vec<_> = images.iter().map(|it| (it.image.as_deref(), it.hits, it.misses)).collect();
        assert_eq!(all, [(Some("app"), 2, 1), (None, 1, 0)]);
        assert_eq!(
            image_table(&images).text(false),
            "IMAGE             ASKED   HITS  SERVED       SAVED\n\
             app                   3   67 %      0B  1 min 30 s\n\
             (not stored now)      1  100 %      0B        10 s\n"
        );
    }
}
