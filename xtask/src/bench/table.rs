//! Times by contender, and how they compare.

use std::fmt;
use std::time::Duration;

/// The contenders with their times; ratios refer to the first.
pub(super) struct Table(Vec<(&'static str, Vec<Duration>)>);

impl Table {
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        Self(names.map(|name| (name, Vec::new())).collect())
    }

    pub(super) fn add(&mut self, index: usize, time: Duration) {
        if let Some((_, times)) = self.0.get_mut(index) {
            times.push(time);
        }
    }
}

/// Name, median, fastest and slowest in seconds, and by how much the median is longer than the first one's.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let first = self.0.first().and_then(|(_, times)| median(times));
        for (name, times) in &self.0 {
            let (Some(own), Some(first)) = (median(times), first) else {
                writeln!(f, "  {name:width$}  not measured: not installed, or it failed")?;
                continue;
            };
            let min = times.iter().min().map_or(0.0, Duration::as_secs_f64);
            let max = times.iter().max().map_or(0.0, Duration::as_secs_f64);
            writeln!(f, "  {name:width$}  {own:8.3} s  ({min:.3} to {max:.3})  x {:.2}", own / first)?;
        }
        Ok(())
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

    #[test]
    fn ratios_refer_to_the_first() {
        let mut table = Table::new(["ours", "theirs", "absent"].into_iter());
        for seconds in [1, 3, 2] {
            table.add(0, Duration::from_secs(seconds));
        }
        table.add(1, Duration::from_secs(5));
        assert_eq!(
            table.to_string(),
            "  ours       2.000 s  (1.000 to 3.000)  x 1.00\n  theirs     5.000 s  (5.000 to 5.000)  x 2.50\n  absent  \
             not measured: not installed, or it failed\n"
        );
    }
}
