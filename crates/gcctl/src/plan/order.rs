//! The order in which things go.
//!
//! Pure: what counts is handed in. The higher the urgency, the sooner it goes.

use jiff::Timestamp;
use toolkit::tables::Order;

use crate::packages::View;
use crate::snapshot::{Holders, Image, Snapshot};

/// The bytes a second with which packages come again, where no fetch was measured.
pub const FETCH_RATE: f64 = 10_000_000.0;

/// No cost is less, in seconds: a request takes that long.
const LEAST: f64 = 0.01;

/// How soon things go, in a store at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranking {
    order: Order,
    rate: f64,
    now: Timestamp,
}

impl Ranking {
    pub(super) fn new(snapshot: &Snapshot, order: Order) -> Self {
        let rate = snapshot.fetch_rate.filter(|rate| *rate > 0.0).unwrap_or(FETCH_RATE);
        Self { order, rate, now: snapshot.now }
    }

    /// Of each image.
    pub(super) fn images(&self, snapshot: &Snapshot, holders: &Holders) -> Vec<f64> {
        let of = |image: &Image| match self.order {
            Order::Lru => staleness(image, self.now),
            Order::Cost => {
                // What was not built here, or nobody timed, comes again as packages do.
                let seconds = image.build_seconds.filter(|seconds| *seconds > 0.0);
                let seconds = seconds.unwrap_or_else(|| self.fetched_in(snapshot.size(image)));
                -worth(seconds, image.uses, snapshot.own(image, holders))
            }
        };
        snapshot.images.iter().map(of).collect()
    }

    /// Of a package.
    pub(super) fn package(&self, package: View<'_>) -> f64 {
        match self.order {
            Order::Lru => idle(package.used(), self.now),
            Order::Cost => -worth(self.fetched_in(package.size()), 0, package.own()),
        }
    }

    /// Whether the time since the last use decides alone of packages.
    pub(super) fn is_by_time(&self) -> bool {
        self.order == Order::Lru
    }

    /// In how many seconds so many bytes are fetched.
    fn fetched_in(&self, bytes: u64) -> f64 {
        exact(bytes) / self.rate
    }
}

/// What keeping it is worth: the seconds that it takes to have it again × its uses (and one, for it
/// was wanted once) ÷ the bytes that it alone needs. The least goes first.
#[must_use]
pub fn worth(seconds: f64, uses: u64, bytes: u64) -> f64 {
    seconds.max(LEAST) * (1.0 + exact(uses)) / exact(bytes.max(1))
}

/// How soon an image goes: the time since its last use, shortened by its uses. Twice as many uses
/// are worth as much again: 1 use halves the time, 3 uses make it a third, 7 a quarter.
#[must_use]
pub fn staleness(image: &Image, now: Timestamp) -> f64 {
    idle(image.used, now) / (1.0 + exact(image.uses).ln_1p() / std::f64::consts::LN_2)
}

/// How long it is unused, in seconds.
fn idle(used: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(used).as_secs_f64().max(0.0)
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
}
