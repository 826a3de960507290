//! What a store's events say: how often each key was used, and whether what was evicted comes back.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use storekit::{Event, Kind};

/// The name under which this tool notes events.
pub const TOOL: &str = "gcctl";

/// How far back returns are looked for.
const WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Fewer evictions than this say nothing.
const ENOUGH: u64 = 3;

/// How often each key was handed on.
#[must_use]
pub fn uses(events: &[Event]) -> HashMap<&str, u64> {
    let mut uses = HashMap::new();
    for event in events.iter().filter(|event| event.kind == Kind::Hit) {
        if let Some(key) = &event.key {
            *uses.entry(key.as_str()).or_default() += 1;
        }
    }
    uses
}

/// Evictions of the last seven days, and how many of these keys were wanted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// How many keys were evicted.
    pub evicted: u64,
    /// How many of them were asked for in vain, or saved anew, after that.
    pub wanted: u64,
}

impl Returns {
    /// Whether the store is too small for what is asked of it: at least half of what goes is wanted
    /// again.
    #[must_use]
    pub fn thrash(&self) -> bool {
        self.evicted >= ENOUGH && self.wanted * 2 >= self.evicted
    }
}

/// Counts what was evicted and wanted again.
#[must_use]
pub fn returns(events: &[Event], now: Timestamp) -> Returns {
    let mut evicted = HashSet::new();
    let mut wanted = HashSet::new();
    for event in events.iter().filter(|event| now.duration_since(event.time) <= WINDOW) {
        let Some(key) = event.key.as_deref() else { continue };
        match event.kind {
            Kind::Evict if event.tool == TOOL => {
                evicted.insert(key);
            }
            Kind::Miss | Kind::Save if evicted.contains(key) => {
                wanted.insert(key);
            }
            _ => {}
        }
    }
    Returns { evicted: evicted.len() as u64, wanted: wanted.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"evict a, miss a"`: one event a minute, the first `days` ago.
    fn events(days: i64, text: &str) -> Vec<Event> {
        let start = Timestamp::UNIX_EPOCH - SignedDuration::from_hours(24 * days);
        let parse = |(minute, text): (i64, &str)| {
            let (kind, key) = text.split_once(' ').unwrap();
            let kind = serde_json::from_str(&format!("\"{kind}\"")).unwrap();
            Event::new(TOOL, kind, &key.parse().unwrap(), start + SignedDuration::from_mins(minute))
        };
        (0..).zip(text.split(", ")).map(parse).collect()
    }

    #[track_caller]
    fn check(days: i64, text: &str, thrash: bool) {
        assert_eq!(returns(&events(days, text), Timestamp::UNIX_EPOCH).thrash(), thrash, "{text}");
    }

    #[test]
    fn a_store_thrashes_where_half_of_what_goes_is_wanted_again() {
        check(1, "evict a, evict b, evict c, miss a, save b", true);
        check(1, "evict a, evict b, evict c, miss a, miss a", false);
        check(1, "miss a, miss b, evict a, evict b, evict c", false);
        check(1, "evict a, evict b, miss a, miss b", false);
        check(8, "evict a, evict b, evict c, miss a, save b", false);
    }

    #[test]
    fn only_hits_are_uses() {
        let events = events(0, "hit a, miss a, hit b, save b, hit a");
        assert_eq!(uses(&events), [("a", 2), ("b", 1)].into());
    }
}
