//! What a command took from the cache and from upstreams, by the server's own counts.

use pkgcache::status::{HITS, MISSES};
use pkgcache::{NotServed, Record};
use storekit::{ByteSize, printable};
use toolkit::words::count;

/// Counts of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    hits: u64,
    misses: u64,
    /// Bytes that came from upstreams.
    fetched: u64,
    /// Bytes that were sent without coming from an upstream.
    saved: u64,
}

impl Tally {
    /// What `/metrics` says.
    pub(crate) fn read(text: &str) -> Self {
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
        };
        let sum = |family: &str, results: &[&str]| {
            results.iter().map(|result| number(&format!("pkgcache_{family}{{result=\"{result}\"}}"))).sum()
        };
        Self {
            hits: sum("requests_total", &HITS),
            misses: sum("requests_total", &MISSES),
            fetched: number("pkgcache_upstream_bytes_total"),
            saved: sum("sent_bytes_total", &HITS),
        }
    }

    /// What a record says.
    pub(crate) fn of(record: &Record) -> Self {
        let Record { hits, misses, fetched, saved, .. } = *record;
        Self { hits, misses, fetched, saved }
    }

    /// What has been added since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
            fetched: self.fetched.saturating_sub(before.fetched),
            saved: self.saved.saturating_sub(before.saved),
        }
    }

    /// As a JSON object on a line.
    pub(crate) fn json(self) -> String {
        let Self { hits, misses, fetched, saved } = self;
        let object =
            serde_json::json!({ "hits": hits, "misses": misses, "fetched": fetched, "saved": saved });
        format!("{object}\n")
    }

    /// In one line.
    pub(crate) fn line(self) -> String {
        let misses = if self.misses == 1 { "1 miss".to_owned() } else { format!("{} misses", self.misses) };
        let (fetched, saved) = (ByteSize(self.fetched), ByteSize(self.saved));
        format!("{}, {misses}, {fetched} from upstream, {saved} saved", count(self.hits, "hit"))
    }
}

/// What could not be served, a line for each.
pub(crate) fn refused_lines(refused: &NotServed) -> Vec<String> {
    let all = refused.told.len() + refused.more;
    if all == 0 {
        return Vec::new();
    }
    let head = format!("pkgcache: {} could not be served:", count(all as u64, "request"));
    let lines = refused.told.iter().map(|reason| format!("pkgcache:   {}", printable(reason)));
    let more = (refused.more > 0).then(|| format!("pkgcache:   and {} more", refused.more));
    std::iter::once(head).chain(lines).chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_served_is_listed() {
        assert!(refused_lines(&NotServed::default()).is_empty());
        let lines = refused_lines(&NotServed { told: vec!["a\u{1b}: x".to_owned()], more: 2 });
        assert_eq!(lines[0], "pkgcache: 3 requests could not be served:");
        assert!(lines[1].starts_with("pkgcache:   a") && !lines[1].contains('\u{1b}'), "{lines:?}");
        assert_eq!(lines[2], "pkgcache:   and 2 more");
    }

    #[test]
    fn what_was_added_is_told_in_a_line() {
        let text = "# HELP x\npkgcache_requests_total{result=\"hit\"} 10\npkgcache_requests_total{result=\"stale\"} 2\npkgcache_requests_total{result=\"miss\"} 3\npkgcache_sent_bytes_total{result=\"hit\"} 61000000\npkgcache_upstream_bytes_total 4100000\npkgcache_requests_total{result=\"own\"} 9\n";
        let all = Tally::read(text);
        assert_eq!(all.line(), "12 hits, 3 misses, 4.10MB from upstream, 61.0MB saved");
        let one = Tally { hits: 11, misses: 2, fetched: 4_100_000, saved: 61_000_000 };
        assert_eq!(all.since(one).line(), "1 hit, 1 miss, 0B from upstream, 0B saved");
        assert_eq!(one.since(all), Tally::default());
    }
}
