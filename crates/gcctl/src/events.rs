//! What a store's events say: how often each key was used, and whether what was evicted comes back.

//! They are read one by one: of very many, only what is asked is kept.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use storekit::{Event, Key, Kind, PackageId, Store};

use crate::error::Result;
use crate::evicted::{Keep, Returned, is_by_hand};
use crate::limits::Why;
use storekit::events::rates::Rates;

/// The name under which this tool notes events.
pub const TOOL: &str = "gcctl";

/// How far back returns are looked for.
const WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Fewer evictions than this say nothing.
const ENOUGH: u64 = 3;

/// What the events of a store say.
#[derive(Clone, Debug, Default)]
pub struct Told {
    uses: HashMap<String, u64>,
    /// With the limit for which each went, and how much of it would have kept it.
    evicted: HashMap<String, (Option<String>, Option<u64>)>,
    wanted: HashSet<String>,
    /// How fast packages came.
    rates: Rates,
    /// How often each package was handed on.
    packages: HashMap<PackageId, u64>,
}

impl Told {
    /// Reads all events of a store. Returns are looked for in the days before `now`.
    ///
    /// # Errors
    /// Events that cannot be read.
    pub fn by(store: &Store, now: Timestamp) -> Result<Self> {
        let mut told = Self::default();
        store.events().each(None, |event| told.add(&event, now))?;
        Ok(told)
    }

    /// The same, with the uses of packages: what decides which of them go.
    ///
    /// # Errors
    /// Events that cannot be read.
    pub fn of_all(store: &Store, now: Timestamp) -> Result<Self> {
        let mut told = Self::by(store, now)?;
        store.packages().uses().each(None, |event| told.add_package(&event))?;
        Ok(told)
    }

    fn add_package(&mut self, event: &Event) {
        let id = event.key.as_deref().filter(|_| event.kind == Kind::Hit).map(str::parse);
        if let Some(Ok(id)) = id {
            let uses = self.packages.entry(id).or_default();
            *uses = uses.saturating_add(event.count.unwrap_or(1));
        }
    }

    fn add(&mut self, event: &Event, now: Timestamp) {
        self.rates.add(event);
        let Some(key) = event.key.as_deref() else { return };
        if event.kind == Kind::Hit {
            let count = event.count.unwrap_or(1);
            match self.uses.get_mut(key) {
                Some(uses) => *uses = uses.saturating_add(count),
                None => drop(self.uses.insert(key.to_owned(), count)),
            }
        }
        if now.duration_since(event.time) > WINDOW {
            return;
        }
        match event.kind {
            Kind::Evict if event.tool == TOOL && !event.limit.as_deref().is_some_and(is_by_hand) => {
                self.evicted.insert(key.to_owned(), (event.limit.clone(), event.needed));
            }
            Kind::Miss | Kind::Save if self.evicted.contains_key(key) => {
                self.wanted.insert(key.to_owned());
            }
            _ => {}
        }
    }

    /// How fast packages came.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.rates
    }

    /// How often each package was handed on, as far as that was read.
    #[must_use]
    pub fn package_uses(&self) -> &HashMap<PackageId, u64> {
        &self.packages
    }

    /// How often an image was handed on.
    #[must_use]
    pub fn uses(&self, key: &Key) -> u64 {
        self.uses.get(key.as_str()).copied().unwrap_or(0)
    }

    /// What was evicted, and wanted again after that.
    #[must_use]
    pub fn returns(&self) -> Returns {
        let mut keep = Keep::default();
        for (limit, needed) in self.wanted.iter().filter_map(|key| self.evicted.get(key)) {
            // What went with its image would have stayed with it.
            if let Some(limit) = limit.as_ref().filter(|limit| **limit != Why::Subject.name()) {
                keep.ask(limit, *needed);
            }
        }
        let (evicted, wanted) = (self.evicted.len() as u64, self.wanted.len() as u64);
        Returns { evicted, wanted, keep, packages: Returned::default() }
    }
}

/// Evictions of the last seven days, and how many of these keys were wanted again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// How many keys were evicted.
    pub evicted: u64,
    /// How many of them were asked for in vain, or saved anew, after that.
    pub wanted: u64,
    /// The limits that would have kept these.
    pub keep: Keep,
    /// The same of packages.
    pub packages: Returned,
}

impl Returns {
    /// Whether the store is too small for what is asked of it: at least half of what goes is wanted
    /// again.
    #[must_use]
    pub fn thrash(&self) -> bool {
        is_thrashing(self.evicted, self.wanted)
    }

    /// What is to be said of it: the limits that are too tight, and which would have done.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let alarm = |of: &str, what: &str, evicted: u64, wanted: u64, keep: &Keep| {
            let tail = keep.advice();
            format!(
                "the limits are too tight for what is {of}: of {evicted} {what} that were removed in the last 7 days, \
                 {wanted} were wanted again{tail}"
            )
        };
        let Returned { evicted, wanted, keep } = &self.packages;
        let packages = is_thrashing(*evicted, *wanted);
        let images = self.thrash().then(|| alarm("built", "images", self.evicted, self.wanted, &self.keep));
        let packages = packages.then(|| alarm("fetched", "packages", *evicted, *wanted, keep));
        images.into_iter().chain(packages).collect()
    }
}

fn is_thrashing(evicted: u64, wanted: u64) -> bool {
    evicted >= ENOUGH && wanted.saturating_mul(2) >= evicted
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

    fn told(days: i64, text: &str) -> Told {
        let mut told = Told::default();
        for event in events(days, text) {
            told.add(&event, Timestamp::UNIX_EPOCH);
        }
        told
    }

    #[track_caller]
    fn check(days: i64, text: &str, thrash: bool) {
        assert_eq!(told(days, text).returns().thrash(), thrash, "{text}");
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
        let mut told = told(0, "hit a, miss a, hit b, save b, hit a");
        let uses = |told: &Told| ["a", "b", "c"].map(|key| told.uses(&key.parse().unwrap()));
        assert_eq!(uses(&told), [2, 1, 0]);
        // A day's hits in one line.
        let hit = events(0, "hit b").remove(0);
        told.add(&Event { count: Some(5), ..hit }, Timestamp::UNIX_EPOCH);
        assert_eq!(uses(&told), [2, 6, 0]);
    }
}
