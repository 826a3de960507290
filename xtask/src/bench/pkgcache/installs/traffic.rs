//! What an upstream was asked for, side by side.

use std::fmt;

use super::super::super::basics::Bytes;

/// Requests, and the bytes of bodies that answered them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) requests: usize,
    pub(super) bytes: u64,
}

/// A line for each way: by an install with nothing stored, and the most of any install after that.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    cold: Asked,
    warm: Option<Asked>,
    /// The most requests of a warm install.
    limit: Option<usize>,
}

impl Traffic {
    /// Adds what the first install took. `limit` is how many requests one after it may take.
    pub(super) fn cold(&mut self, name: &str, asked: Asked, limit: Option<usize>) {
        self.rows.push(Row { name: name.to_owned(), cold: asked, warm: None, limit });
    }

    /// Adds what a later install took.
    pub(super) fn warm(&mut self, name: &str, asked: Asked) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            let most = row.warm.get_or_insert_default();
            most.requests = most.requests.max(asked.requests);
            most.bytes = most.bytes.max(asked.bytes);
        }
    }

    /// Whether every limit is kept.
    pub(super) fn is_within(&self) -> bool {
        self.rows.iter().all(|row| row.is_within().unwrap_or(true))
    }
}

impl Row {
    fn is_within(&self) -> Option<bool> {
        Some(self.warm?.requests <= self.limit?)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        for row in &self.rows {
            write!(f, "  {:width$}  cold {}", row.name, row.cold)?;
            if let Some(warm) = row.warm {
                write!(f, "  warm {warm}")?;
            }
            if let Some((limit, kept)) = row.limit.zip(row.is_within()) {
                write!(f, ", limit {limit} requests: {}", if kept { "ok" } else { "MISSED" })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:4} requests, {:>7}", self.requests, Bytes(self.bytes).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(requests: usize, bytes: u64) -> Asked {
        Asked { requests, bytes }
    }

    #[test]
    fn the_most_of_all_warm_installs_is_held_to_the_limit() {
        let mut traffic = Traffic::default();
        traffic.cold("ours", asked(130, 12_000_000), Some(1));
        traffic.cold("theirs", asked(131, 5000), None);
        traffic.cold("failed", asked(2, 0), Some(0));
        traffic.warm("ours", asked(1, 0));
        traffic.warm("ours", asked(0, 2000));
        traffic.warm("theirs", asked(64, 400_000));
        assert!(traffic.is_within());
        let said = "  ours    cold  130 requests,   12 MB  warm    1 requests,    2 kB, limit 1 requests: ok\n  \
                    theirs  cold  131 requests,    5 kB  warm   64 requests,  400 kB\n  \
                    failed  cold    2 requests,    0 kB\n";
        assert_eq!(traffic.to_string(), said);
        traffic.warm("ours", asked(2, 0));
        assert!(!traffic.is_within());
        assert!(traffic.to_string().contains("warm    2 requests,    2 kB, limit 1 requests: MISSED\n"));
    }
}
