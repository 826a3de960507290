//! Figures side by side, the tool's first, with what it has to keep to.

use std::fmt;

/// What a figure is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// The tool's figure is at least so many times this one.
    AtLeast(f64),
    /// This figure is at most that.
    AtMost(f64),
    /// This figure is at least that.
    Floor(f64),
}

/// What was measured of one contender.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    name: &'static str,
    values: Vec<f64>,
    limit: Option<Limit>,
    /// Why there are no values.
    not_run: Option<String>,
}

/// What was measured of all of them.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    title: String,
    unit: &'static str,
    rows: Vec<Figure>,
}

impl Figure {
    pub(super) fn new(name: &'static str, values: Vec<f64>) -> Self {
        Self { name, values, limit: None, not_run: None }
    }

    /// One that could not be measured.
    pub(super) fn not_run(name: &'static str, reason: String) -> Self {
        Self { not_run: Some(reason), ..Self::new(name, Vec::new()) }
    }

    pub(super) fn limit(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

impl Figures {
    pub(super) fn new(title: String, unit: &'static str) -> Self {
        Self { title, unit, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, figure: Figure) {
        self.rows.push(figure);
    }

    /// Whether every limit that could be measured is kept.
    pub(super) fn is_within(&self) -> bool {
        self.rows.iter().enumerate().all(|(at, row)| self.verdict(at, row).is_none_or(|(_, _, kept)| kept))
    }

    /// What is compared, in words, with what, and whether that is kept. The tool's own row is
    /// compared with nothing.
    fn verdict(&self, at: usize, row: &Figure) -> Option<(String, f64, bool)> {
        let own = median(&row.values)?;
        match row.limit? {
            Limit::AtMost(limit) => Some((String::new(), limit, own <= limit)),
            Limit::Floor(limit) => Some((String::new(), limit, own >= limit)),
            Limit::AtLeast(_) if at == 0 => None,
            Limit::AtLeast(limit) => {
                let tool = self.rows.first()?;
                let times = median(&tool.values)? / own;
                Some((format!("  {} does {times:.2} of it", tool.name), limit, times >= limit))
            }
        }
    }
}

/// The value in the middle.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Bytes as megabytes.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        writeln!(f, "{}", self.title)?;
        for (at, row) in self.rows.iter().enumerate() {
            write!(f, "  {:width$}", row.name)?;
            let Some(own) = median(&row.values) else {
                writeln!(f, "  not run: {}", row.not_run.as_deref().unwrap_or("it failed"))?;
                continue;
            };
            let digits = if own < 100.0 { 2 } else { 0 };
            write!(f, "  {own:10.digits$} {}", self.unit)?;
            if row.values.len() > 1 {
                let ends = [f64::min, f64::max].map(|end| row.values.iter().copied().fold(own, end));
                write!(f, "  ({:.digits$} to {:.digits$})", ends[0], ends[1])?;
            }
            match self.verdict(at, row) {
                Some((words, limit, true)) => writeln!(f, "{words}, limit {limit:.2}: ok")?,
                Some((words, limit, false)) => writeln!(f, "{words}, limit {limit:.2}: MISSED")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_is_compared_with_each() {
        let mut figures = Figures::new("hits".to_owned(), "requests/s");
        figures.add(Figure::new("ours", vec![300.0, 200.0, 400.0]).limit(Limit::AtLeast(9.0)));
        figures.add(Figure::new("theirs", vec![200.0]).limit(Limit::AtLeast(1.0)));
        figures.add(Figure::new("failed", Vec::new()).limit(Limit::AtLeast(10.0)));
        figures.add(Figure::not_run("absent", "no such program".to_owned()));
        assert!(figures.is_within());
        let said = "hits\n  ours           300 requests/s  (200 to 400)\n  theirs         200 requests/s  ours does 1.50 \
                    of it, limit 1.00: ok\n  failed  not run: it failed\n  absent  not run: no such program\n";
        assert_eq!(figures.to_string(), said);
        figures.add(Figure::new("memory", vec![30.5]).limit(Limit::AtMost(30.0)));
        assert!(!figures.is_within());
        assert!(figures.to_string().ends_with("memory       30.50 requests/s, limit 30.00: MISSED\n"));
        figures.add(Figure::new("floor", vec![20.0]).limit(Limit::Floor(20.5)));
        assert!(figures.to_string().ends_with("floor        20.00 requests/s, limit 20.50: MISSED\n"));
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }
}
