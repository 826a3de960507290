//! A table of what took how long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Named times, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Times {
    steps: Vec<Taken>,
    before: BTreeMap<String, Duration>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) time: Duration,
    pub(crate) ended: Ended,
    /// Why it failed.
    pub(crate) why: Option<String>,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A line of what is kept of each run.
#[derive(Serialize, Deserialize)]
struct Line {
    at: Timestamp,
    step: String,
    seconds: f64,
    ended: Ended,
}

impl Times {
    /// Adds a step that took `time`, and how it ended.
    pub fn add(&mut self, name: &str, time: Duration, ended: Ended) {
        self.steps.push(Taken { name: name.to_owned(), time, ended, why: None });
    }

    /// Says why the step that was added last has failed.
    pub(crate) fn blame(&mut self, why: &str) {
        self.steps.last_mut().into_iter().for_each(|last| last.why = Some(why.to_owned()));
    }

    pub(crate) fn steps(&self) -> &[Taken] {
        &self.steps
    }

    /// With what each step took when it last went well, from what `json` gave in earlier runs.
    /// Lines that cannot be read count for nothing.
    #[must_use]
    pub fn since(mut self, kept: &str) -> Self {
        let lines = kept.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let good = lines.filter(|line| line.ended == Ended::Well);
        let taken =
            good.filter_map(|line| Some((line.step, Duration::try_from_secs_f64(line.seconds).ok()?)));
        self.before.extend(taken);
        self
    }

    /// One JSON object a line for each step, with the time at which the run ended.
    #[must_use]
    pub fn json(&self, at: Timestamp) -> String {
        let line = |taken: &Taken| {
            let (step, seconds) = (taken.name.clone(), taken.time.as_secs_f64());
            let line = Line { at, step, seconds, ended: taken.ended };
            serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
        };
        self.steps.iter().map(line).collect()
    }
}

/// One line for each step, with what it took before, and the sum.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or_default().max(5);
        for Taken { name, time, ended, .. } in &self.steps {
            let state = match ended {
                Ended::Well => "ok",
                Ended::Badly => "FAILED",
                Ended::Skipped => "skipped",
            };
            write!(f, "{name:width$}  {:>9.2} s  {state}", time.as_secs_f64())?;
            match self.before.get(name).filter(|_| *ended == Ended::Well) {
                Some(before) => writeln!(f, "  (was {:.2} s)", before.as_secs_f64())?,
                None => writeln!(f)?,
            }
        }
        let sum: Duration = self.steps.iter().map(|step| step.time).sum();
        writeln!(f, "{:width$}  {:>9.2} s", "total", sum.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        let mut times = Times::default();
        times.add("fmt", Duration::from_millis(1250), Ended::Well);
        times.add("clippy", Duration::from_secs(20), Ended::Badly);
        times
    }

    #[test]
    fn the_table_adds_up() {
        assert_eq!(
            times().to_string(),
            "fmt          1.25 s  ok\nclippy      20.00 s  FAILED\ntotal       21.25 s\n"
        );
    }

    #[test]
    fn what_it_took_before_is_told_where_it_went_well() {
        let kept = times().json(Timestamp::UNIX_EPOCH) + "no JSON\n{\"at\":\"1970-01-01T00:00:00Z\"";
        let text = times().since(&kept).to_string();
        assert!(
            text.starts_with("fmt          1.25 s  ok  (was 1.25 s)\nclippy      20.00 s  FAILED\n"),
            "{text}"
        );
    }
}
