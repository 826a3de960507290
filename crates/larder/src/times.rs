//! A table of what took how long.

use std::fmt;
use std::time::Duration;

/// Named times, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<(String, Duration, bool)>);

impl Times {
    /// Adds a step that took `time`, and whether it went well.
    pub fn add(&mut self, name: &str, time: Duration, good: bool) {
        self.0.push((name.to_owned(), time, good));
    }
}

/// One line for each step, and the sum.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default().max(5);
        for (name, time, good) in &self.0 {
            let state = if *good { "ok" } else { "FAILED" };
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
        times.add("fmt", Duration::from_millis(1250), true);
        times.add("clippy", Duration::from_secs(20), false);
        assert_eq!(
            times.to_string(),
            "fmt          1.25 s  ok\nclippy      20.00 s  FAILED\ntotal       21.25 s\n"
        );
    }
}
