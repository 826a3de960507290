//! The order in which things go.
//!
//! Pure: what counts is handed in.

use jiff::Timestamp;
use toolkit::tables::Order;

use crate::packages::{View, step};
use crate::snapshot::{Holders, Image, Snapshot};
use storekit::events::rates::Rate;

/// No cost is less, in seconds: a request takes that long.
const LEAST: f64 = 0.01;

/// When something goes: the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// By the order: when it was last used, as exactly as that is known, or what it is worth.
    first: i64,
    /// How often it was used, where that decides between equal ones.
    uses: u64,
    /// When it was last used, in nanoseconds since 1970.
    used: i64,
}

impl Turn {
    /// By when it was last used; of equal ones, by how often. What one build needs is used one
    /// after another, and counts as used at the same time.
    #[must_use]
    pub fn by_use(last: Timestamp, uses: u64) -> Self {
        Self { first: step(last.as_second()), uses, used: nanoseconds(last) }
    }

    /// By what it is worth; of equal ones, by when it was last used.
    #[must_use]
    pub fn by_worth(worth: f64, used: Timestamp) -> Self {
        Self { first: sortable(worth), uses: 0, used: nanoseconds(used) }
    }
}

/// How soon things go, in a store at one moment.
#[derive(Clone, Debug)]
pub(super) struct Ranking {
    order: Order,
    /// Of packages, by the place of their origin.
    rates: Vec<Rate>,
    /// Of anything.
    rate: Rate,
}

impl Ranking {
    pub(super) fn new(snapshot: &Snapshot, order: Order) -> Self {
        let rates = snapshot.packages.origins();
        let rates = rates.map(|(ecosystem, source)| snapshot.rates.of(ecosystem, source)).collect();
        Self { order, rates, rate: snapshot.rates.all() }
    }

    /// Of each image.
    pub(super) fn images(&self, snapshot: &Snapshot, holders: &Holders) -> Vec<Turn> {
        let of = |image: &Image| match self.order {
            Order::Lru => Turn::by_use(image.used, image.uses),
            Order::Cost => {
                // What was not built here, or nobody timed, comes again as packages do.
                let seconds = image.build_seconds.filter(|seconds| *seconds > 0.0);
                let seconds = seconds.unwrap_or_else(|| self.rate.seconds(snapshot.size(image)));
                Turn::by_worth(worth(seconds, image.uses, snapshot.own(image, holders)), image.used)
            }
        };
        snapshot.images.iter().map(of).collect()
    }

    /// Of a package.
    pub(super) fn package(&self, package: View<'_>) -> Turn {
        match self.order {
            Order::Lru => Turn::by_use(package.used(), package.uses()),
            Order::Cost => {
                let rate = self.rates.get(package.origin_place()).copied().unwrap_or(self.rate);
                let worth = worth(rate.seconds(package.size()), package.uses(), package.own());
                Turn::by_worth(worth, package.used())
            }
        }
    }
}

/// What keeping it is worth: the seconds that it takes to have it again × its uses (and one, for it
/// was wanted once) ÷ the bytes that it alone needs. The least goes first.
#[must_use]
pub fn worth(seconds: f64, uses: u64, bytes: u64) -> f64 {
    seconds.max(LEAST) * (1.0 + exact(uses)) / exact(bytes.max(1))
}

/// Numbers that are not negative are in the order of their bits.
fn sortable(number: f64) -> i64 {
    i64::try_from(number.max(0.0).to_bits()).unwrap_or(i64::MAX)
}

/// The nearest of those that fit: from 1677 to 2262.
fn nanoseconds(time: Timestamp) -> i64 {
    let time = time.as_nanosecond();
    i64::try_from(time).unwrap_or(if time < 0 { i64::MIN } else { i64::MAX })
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52, and shares are not exact")]
fn exact(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_small_and_used_is_worth_the_most() {
        let base = worth(60.0, 1, 1000);
        assert!(worth(120.0, 1, 1000) > base && worth(60.0, 2, 1000) > base && worth(60.0, 1, 999) > base);
        assert!((worth(60.0, 3, 1000) - 2.0 * base).abs() < 1e-12);
        assert!(worth(0.0, 0, 0) > 0.0);
    }

    #[test]
    fn the_last_use_decides_then_how_many_there_were() {
        let at = |text: &str, uses| Turn::by_use(text.parse().unwrap(), uses);
        let turns = [
            at("2026-01-01T00:04:59Z", 100),
            at("2026-01-01T00:09:59Z", 0),
            at("2026-01-01T00:05:00Z", 1),
            at("2026-01-01T00:05:01Z", 1),
            at("2026-01-01T00:10:00Z", 0),
        ];
        assert!(turns.is_sorted_by(|one, other| one < other), "{turns:?}");
    }

    #[test]
    fn of_what_is_worth_the_same_the_one_unused_for_longest_goes() {
        let at = |worth, text: &str| Turn::by_worth(worth, text.parse().unwrap());
        let turns = [
            at(-1.0, "2026-01-01T00:00:00Z"),
            at(1e-9, "2026-01-02T00:00:00Z"),
            at(0.5, "2026-01-01T00:00:00Z"),
            at(0.5, "2026-01-01T00:00:01Z"),
            at(f64::MAX, "2026-01-01T00:00:00Z"),
        ];
        assert!(turns.is_sorted_by(|one, other| one < other), "{turns:?}");
    }
}
