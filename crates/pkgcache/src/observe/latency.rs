//! How long something took, in classes: a histogram as Prometheus has them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The classes' ends, in milliseconds, and as they are written, in seconds.
const CLASSES: [(u64, &str); 12] = [
    (1, "0.001"),
    (5, "0.005"),
    (10, "0.01"),
    (50, "0.05"),
    (100, "0.1"),
    (500, "0.5"),
    (1000, "1"),
    (5000, "5"),
    (10_000, "10"),
    (30_000, "30"),
    (60_000, "60"),
    (300_000, "300"),
];

/// Times, by how long they are.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// How many in each class, and in the last the longer ones.
    classes: [AtomicU64; CLASSES.len() + 1],
    /// All together, in microseconds.
    sum: AtomicU64,
}

impl Latency {
    /// Notes one.
    pub(crate) fn note(&self, took: Duration) {
        let place = CLASSES.iter().position(|(end, _)| took <= Duration::from_millis(*end));
        if let Some(class) = self.classes.get(place.unwrap_or(CLASSES.len())) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Writes it with these labels.
    pub(crate) fn write(&self, text: &mut String, name: &str, labels: &str) {
        let ends = CLASSES.iter().map(|(_, end)| *end).chain(["+Inf"]);
        let mut count = 0_u64;
        for (class, end) in self.classes.iter().zip(ends) {
            count = count.saturating_add(class.load(Ordering::Relaxed));
            // A string takes all that is written to it.
            let _ = writeln!(text, "pkgcache_{name}_bucket{{{labels},le=\"{end}\"}} {count}");
        }
        let sum = Duration::from_micros(self.sum.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(text, "pkgcache_{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "pkgcache_{name}_count{{{labels}}} {count}");
    }
}
