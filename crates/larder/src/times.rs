//! A table of what took how long.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// Named times, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<(String, Duration, Ended)>);

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// As it should.
    #[serde(rename = "ok")]
    Well,
    /// It failed.
    #[serde(rename = "failed")]
    Badly,
    /// It did not have to run.
    Skipped,
}

impl Times {
    /// Adds a step that took `time`, and how it ended.
    pub fn add(&mut self, name: &str, time: Duration, ended: Ended) {
        self.0.push((name.to_owned(), time, ended));
    }

    /// One JSON object a line for each step, with the time at which the run ended.
    #[must_use]
    pub fn json(&self, at: Timestamp) -> String {
        let line = |(name, time, ended): &(String, Duration, Ended)| {
            let seconds = time.as_secs_f64();
            serde_json::json!({ "at": at, "step": name, "seconds": seconds, "ended": ended }).to_string()
                + "\n"
        };
        self.0.iter().map(line).collect()
    }
}

/// One line for each step, and the sum.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default().max(5);
        for (name, time, ended) in &self.0 {
            let state = match ended {
                Ended::Well => "ok",
                Ended::Badly => "FAILED",
                Ended::Skipped => "skipped",
            };
            writeln!(f, "{name:width$}  {:>9.2} s  {state}", time.as_secs_f64())?;
        }
        let sum: Duration = self.0.iter().map(|(_, time, _)| *time).sum();
        writeln!(f, "{:width$}  {:>9.2} s", "total", sum.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_adds_up() {
        let mut times = Times::default();
        times.add("fmt", Duration::from_millis(1250), Ended::Well);
        times.add("clippy", Duration::from_secs(20), Ended::Badly);
        assert_eq!(
            times.to_string(),
            "fmt          1.25 s  ok\nclippy      20.00 s  FAILED\ntotal       21.25 s\n"
        );
    }
}
