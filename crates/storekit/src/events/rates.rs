//! How fast packages come from where they are from, as `pkgcache` has measured it.
//!
//! Pure. What is too little to say anything is told by what is next to it: a source by its
//! ecosystem, that by all, and all by a rate that is assumed.

use std::collections::BTreeMap;

use crate::events::{Event, Kind};
use serde::Serialize;

/// The bytes a second with which packages come, where nothing was measured.
pub const ASSUMED: f64 = 10_000_000.0;

/// Fewer bytes than this say nothing: what small files take is the way there and back.
const ENOUGH: u64 = 1_000_000;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// By ecosystem, and then by source.
    measured: BTreeMap<(String, String), Measured>,
}

/// Bytes, and the seconds in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Measured {
    bytes: u64,
    seconds: f64,
}

/// A rate, and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rate {
    /// Bytes a second.
    #[serde(rename = "rate")]
    pub per_second: f64,
    /// What it was measured with.
    #[serde(rename = "rate-of")]
    pub of: Of,
}

/// What a rate was measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The source itself.
    Source,
    /// All sources of the ecosystem.
    Ecosystem,
    /// All that was fetched.
    All,
    /// Nothing: [`ASSUMED`].
    Assumed,
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.seconds += other.seconds;
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    fn rate(self, of: Of) -> Option<Rate> {
        let is_enough = self.bytes >= ENOUGH && self.seconds > 0.0;
        is_enough.then(|| Rate { per_second: self.bytes as f64 / self.seconds, of })
    }
}

impl Rates {
    /// Takes an event, where it is one of packages that came whole.
    pub fn add(&mut self, event: &Event) {
        let is_measured = matches!(event.kind, Kind::Download | Kind::Fetch);
        let seconds = event.seconds.filter(|it| is_measured && it.is_finite() && *it > 0.0);
        let (Some(bytes), Some(seconds)) = (event.bytes, seconds) else { return };
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let origin = (text(&event.ecosystem), text(&event.source));
        self.measured.entry(origin).or_default().add(Measured { bytes, seconds });
    }

    /// Of what is from there.
    #[must_use]
    pub fn of(&self, ecosystem: &str, source: &str) -> Rate {
        let exact = self.measured.get(&(ecosystem.to_owned(), source.to_owned()));
        let exact = exact.and_then(|measured| measured.rate(Of::Source));
        exact.or_else(|| self.sum(|it| it == ecosystem).rate(Of::Ecosystem)).unwrap_or_else(|| self.all())
    }

    /// Of anything.
    #[must_use]
    pub fn all(&self) -> Rate {
        let assumed = Rate { per_second: ASSUMED, of: Of::Assumed };
        self.sum(|_| true).rate(Of::All).unwrap_or(assumed)
    }

    fn sum(&self, is_meant: impl Fn(&str) -> bool) -> Measured {
        let mut sum = Measured::default();
        let meant = self.measured.iter().filter(|((ecosystem, _), _)| is_meant(ecosystem));
        meant.for_each(|(_, measured)| sum.add(*measured));
        sum
    }
}

impl Rate {
    /// In how many seconds so many bytes come.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "times are not exact")]
    pub fn seconds(self, bytes: u64) -> f64 {
        bytes as f64 / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn download(ecosystem: &str, source: &str, bytes: u64, seconds: f64) -> Event {
        Event {
            seconds: Some(seconds),
            ecosystem: Some(ecosystem.to_owned()),
            source: Some(source.to_owned()),
            ..Event::counted("pkgcache", Kind::Download, 1, bytes, Timestamp::UNIX_EPOCH)
        }
    }

    #[track_caller]
    fn check(rates: &Rates, ecosystem: &str, source: &str, per_second: f64, of: Of) {
        assert_eq!(rates.of(ecosystem, source), Rate { per_second, of });
    }

    #[test]
    fn what_was_not_measured_is_told_by_what_is_next_to_it() {
        let mut rates = Rates::default();
        check(&rates, "npm", "a", ASSUMED, Of::Assumed);
        rates.add(&download("npm", "a", 2_000_000, 1.0));
        rates.add(&download("npm", "a", 2_000_000, 3.0));
        rates.add(&download("npm", "small", 10, 1.0));
        rates.add(&download("python", "b", 1_000_000, 4.0));
        check(&rates, "npm", "a", 1_000_000.0, Of::Source);
        check(&rates, "npm", "small", 800_002.0, Of::Ecosystem);
        check(&rates, "python", "b", 250_000.0, Of::Source);
        assert_eq!(rates.of("apt", "c").of, Of::All);
        assert!((rates.of("apt", "c").per_second - 5_000_010.0 / 9.0).abs() < 1e-6);
        assert!((rates.of("npm", "a").seconds(500_000) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn nonsense_is_not_a_rate() {
        let mut rates = Rates::default();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            rates.add(&download("npm", "a", 2_000_000, seconds));
        }
        let counted = Event::counted("pkgcache", Kind::Fetch, 1, 2_000_000, Timestamp::UNIX_EPOCH);
        rates.add(&counted);
        assert_eq!(rates, Rates::default());
        // A record that names no source.
        rates.add(&Event { seconds: Some(2.0), ..counted });
        check(&rates, "npm", "a", 1_000_000.0, Of::All);
    }
}
