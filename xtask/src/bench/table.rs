//! Times by contender, and how they compare.

use std::fmt;
use std::time::Duration;

/// What a contender is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// The tool takes at most this share of this one's time.
    Share(f64),
    /// It takes at most this long itself.
    Time(Duration),
    /// The tool takes at most this much longer than this one.
    Over(Duration),
}

/// The contenders with their times, the tool that is measured first; what is said of the others is
/// how it compares with them.
pub(super) struct Table {
    rows: Vec<Row>,
    /// The most memory that the tool had, in megabytes, where that could be measured; and how much
    /// it may have.
    pub(super) peak: Option<(u64, Option<u64>)>,
}

struct Row {
    name: String,
    limit: Option<Limit>,
    times: Vec<Duration>,
    /// Why it was not measured, where it was not.
    failed: Option<String>,
}

impl Table {
    pub(super) fn new(contenders: impl Iterator<Item = (impl Into<String>, Option<Limit>)>) -> Self {
        let rows =
            contenders.map(|(name, limit)| Row { name: name.into(), limit, times: Vec::new(), failed: None });
        Self { rows: rows.collect(), peak: None }
    }

    pub(super) fn add(&mut self, index: usize, time: Duration) {
        if let Some(row) = self.rows.get_mut(index) {
            row.times.push(time);
        }
    }

    /// Notes that one could not be measured. The first reason stays.
    pub(super) fn fail(&mut self, index: usize, reason: impl fmt::Display) {
        if let Some(row) = self.rows.get_mut(index) {
            row.failed.get_or_insert_with(|| reason.to_string());
        }
    }

    /// Whether every limit that could be measured is kept.
    pub(super) fn is_within(&self) -> bool {
        let over = |row| self.verdict(row).is_some_and(|(_, kept)| !kept);
        !self.rows.iter().any(over) && !matches!(self.peak, Some((peak, Some(limit))) if peak > limit)
    }

    /// The limit in words, and whether it is kept.
    fn verdict(&self, row: &Row) -> Option<(String, bool)> {
        match row.limit? {
            Limit::Share(limit) => Some((format!("{limit:.2}"), self.share(row)? <= limit)),
            Limit::Time(limit) => {
                let limit = limit.as_secs_f64();
                Some((format!("{limit:.3} s"), median(&row.times)? <= limit))
            }
            Limit::Over(limit) => {
                let (limit, over) = (limit.as_secs_f64(), self.over(row)?);
                Some((format!("{limit:.3} s more ({over:.3})"), over <= limit))
            }
        }
    }

    /// The tool's median time by that of another.
    fn share(&self, row: &Row) -> Option<f64> {
        Some(median(&self.rows.first()?.times)? / median(&row.times)?)
    }

    /// How many seconds the tool's median time is above that of another.
    fn over(&self, row: &Row) -> Option<f64> {
        Some(median(&self.rows.first()?.times)? - median(&row.times)?)
    }

    fn row(&self, at: usize, row: &Row, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        write!(f, "  {:width$}", row.name)?;
        let Some(own) = median(&row.times) else {
            return writeln!(f, "  not run: {}", row.failed.as_deref().unwrap_or("no reason is known"));
        };
        let min = row.times.iter().min().map_or(0.0, Duration::as_secs_f64);
        let max = row.times.iter().max().map_or(0.0, Duration::as_secs_f64);
        write!(f, "  {own:8.3} s  ({min:.3} to {max:.3})")?;
        if let Some(share) = self.share(row).filter(|_| at > 0) {
            write!(f, "  {} takes {share:.2} of it", self.rows.first().map_or("", |row| &row.name))?;
        }
        write_verdict(self.verdict(row), f)?;
        if let Some((peak, limit)) = self.peak.filter(|_| at == 0) {
            write!(f, "  at most {peak} MB of memory")?;
            write_verdict(limit.map(|limit| (format!("{limit} MB"), peak <= limit)), f)?;
        }
        writeln!(f)
    }
}

/// A line for each: name, median, fastest and slowest in seconds, what share of it the tool takes,
/// and the limit.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().enumerate().try_for_each(|(at, row)| self.row(at, row, f))
    }
}

fn write_verdict(limit: Option<(String, bool)>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match limit {
        Some((limit, true)) => write!(f, ", limit {limit}: ok"),
        Some((limit, false)) => write!(f, ", limit {limit}: MISSED"),
        None => Ok(()),
    }
}

fn median(times: &[Duration]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map(Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(limit: f64) -> Table {
        let mut table = Table::new(
            [("ours", None), ("theirs", Some(Limit::Share(limit))), ("absent", Some(Limit::Share(1.0)))]
                .into_iter(),
        );
        for seconds in [1, 3, 2] {
            table.add(0, Duration::from_secs(seconds));
        }
        table.add(1, Duration::from_secs(5));
        table
    }

    #[test]
    fn the_tool_is_compared_with_each() {
        let mut table = table(0.4);
        table.peak = Some((12, Some(300)));
        table.fail(2, "cannot run `absent`");
        table.fail(2, "another reason");
        assert_eq!(
            table.to_string(),
            "  ours       2.000 s  (1.000 to 3.000)  at most 12 MB of memory, limit 300 MB: ok\n  \
             theirs     5.000 s  (5.000 to 5.000)  ours takes 0.40 of it, limit 0.40: ok\n  \
             absent  not run: cannot run `absent`\n"
        );
        assert!(table.is_within());
    }

    #[test]
    fn a_missed_limit_is_said() {
        let mut slow = table(0.39);
        assert!(slow.to_string().contains("ours takes 0.40 of it, limit 0.39: MISSED"));
        assert!(!slow.is_within());
        slow = table(1.0);
        assert!(slow.is_within());
        slow.peak = Some((301, Some(300)));
        assert!(!slow.is_within());
    }

    #[test]
    fn the_tool_may_take_so_much_more_than_another() {
        let over = |limit| {
            let limits = [("ours", None), ("theirs", Some(Limit::Over(Duration::from_millis(limit))))];
            let mut table = Table::new(limits.into_iter());
            table.add(0, Duration::from_millis(150));
            table.add(1, Duration::from_millis(140));
            table
        };
        assert!(over(11).is_within() && !over(9).is_within());
        assert!(over(9).to_string().ends_with("limit 0.009 s more (0.010): MISSED\n"));
    }

    #[test]
    fn the_tool_may_have_a_time_of_its_own() {
        let own = |limit| {
            let mut table =
                Table::new([("ours", Some(Limit::Time(Duration::from_millis(limit))))].into_iter());
            table.add(0, Duration::from_millis(150));
            table
        };
        assert!(own(150).is_within() && !own(149).is_within());
        assert!(own(149).to_string().ends_with("  (0.150 to 0.150), limit 0.149 s: MISSED\n"));
    }
}
