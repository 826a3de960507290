//! What was asked for lately, by entry: for events/ and packages/uses/.
//!
//! Bounded: of very many entries in one minute, some are only counted, as `meter` counts all.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use storekit::{PackageId, PackageKey};

use crate::observe::meter::{self, Sum};

/// So many entries are told apart between two looks.
const MOST: usize = 16_384;
/// So many ecosystems with sources are told apart between two looks.
const MOST_ORIGINS: usize = 64;

/// Numbers of a tally, by the words for what they are of.
type OfTally = fn(&Tally) -> [(&'static str, u64); 2];

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    id: PackageId,
    origin: Origin,
}

/// An ecosystem, and where its packages come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) ecosystem: String,
    pub(crate) source: String,
}

/// Bodies that came whole, and how long that took, from the question to the last byte of each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Downloads {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// What became of the requests for something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Answered from what was stored.
    pub(crate) hits: Sum,
    /// Answered by the upstream.
    pub(crate) misses: Sum,
    /// All that was stored.
    pub(crate) downloads: Downloads,
    /// The part of it of which nothing was stored before.
    pub(crate) new: Downloads,
}

/// What was asked for since the last look, and where from before that.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    fresh: Mutex<HashMap<PackageId, (Arc<Wanted>, Tally)>>,
    before: Mutex<BTreeMap<Origin, Tally>>,
}

impl Wanted {
    /// What is stored under this key, or would be.
    pub(crate) fn of(key: &PackageKey) -> Arc<Self> {
        let origin = Origin { ecosystem: key.ecosystem.clone(), source: key.source.clone() };
        Arc::new(Self { id: key.id(), origin })
    }
}

impl Downloads {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.seconds += other.seconds;
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.hits.add(other.hits);
        self.misses.add(other.misses);
        self.downloads.add(other.downloads);
        self.new.add(other.new);
    }
}

impl Uses {
    fn lock(&self) -> MutexGuard<'_, HashMap<PackageId, (Arc<Wanted>, Tally)>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, wanted: &Arc<Wanted>, change: impl FnOnce(&mut Tally)) {
        let mut all = self.lock();
        if all.len() < MOST || all.contains_key(&wanted.id) {
            let new = || (Arc::clone(wanted), Tally::default());
            change(&mut all.entry(wanted.id).or_insert_with(new).1);
        }
    }

    /// A request for it was answered so, with so many bytes.
    pub(crate) fn note(&self, wanted: &Arc<Wanted>, result: meter::Result, bytes: u64) {
        let sum = Sum { count: 1, bytes };
        if result.is_hit() {
            self.change(wanted, |tally| tally.hits.add(sum));
        } else if result.is_miss() {
            self.change(wanted, |tally| tally.misses.add(sum));
        }
    }

    /// It was fetched and stored; `is_new`: nothing of it was stored before.
    pub(crate) fn fetched(&self, wanted: &Arc<Wanted>, bytes: u64, took: Duration, is_new: bool) {
        let one = Downloads { count: 1, bytes, seconds: took.as_secs_f64() };
        self.change(wanted, |tally| {
            tally.downloads.add(one);
            if is_new {
                tally.new.add(one);
            }
        });
    }

    /// All that was noted since this was called last.
    pub(crate) fn take(&self) -> Taken {
        // Whoever asks for the sums meanwhile waits: they never go back.
        let mut before = self.before();
        let all = std::mem::take(&mut *self.lock());
        let mut taken = Taken::default();
        for (id, (wanted, tally)) in all {
            taken.entries.insert(id, tally);
            add_to(&mut taken.origins, &wanted.origin, &tally);
        }
        taken.origins.iter().for_each(|(origin, tally)| add_to(&mut before, origin, tally));
        taken
    }

    fn before(&self) -> MutexGuard<'_, BTreeMap<Origin, Tally>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sums since the start, by ecosystem and source, in the text form of Prometheus. Of very
    /// many sources, those that came first are told.
    pub(crate) fn write(&self, text: &mut String) {
        let before = self.before();
        let mut all = before.clone();
        for (wanted, tally) in self.lock().values() {
            add_to(&mut all, &wanted.origin, tally);
        }
        drop(before);
        let families: [(&str, &str, OfTally); 2] = [
            ("origin_requests_total", "Requests by ecosystem and source.", |it| {
                [("hit", it.hits.count), ("miss", it.misses.count)]
            }),
            ("origin_bytes_total", "Bytes of bodies sent, by ecosystem and source.", |it| {
                [("hit", it.hits.bytes), ("miss", it.misses.bytes)]
            }),
        ];
        for (name, help, values) in families {
            meter::family(text, name, "counter", help);
            for (Origin { ecosystem, source }, tally) in &all {
                for (result, value) in values(tally) {
                    // A string takes all that is written to it.
                    let _ = writeln!(
                        text,
                        "pkgcache_{name}{{ecosystem=\"{ecosystem}\",source=\"{}\",result=\"{result}\"}} {value}",
                        label(source)
                    );
                }
            }
        }
    }
}

fn add_to(sums: &mut BTreeMap<Origin, Tally>, origin: &Origin, tally: &Tally) {
    let known = sums.len();
    match sums.get_mut(origin) {
        Some(sum) => sum.add(tally),
        None if known < MOST_ORIGINS => drop(sums.insert(origin.clone(), *tally)),
        None => {}
    }
}

/// A label's value, as it may stand between quotes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What was noted in some time.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub(crate) entries: BTreeMap<PackageId, Tally>,
    pub(crate) origins: BTreeMap<Origin, Tally>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(source: &str, name: &str) -> Arc<Wanted> {
        Wanted::of(&PackageKey::new("npm", source, format!("https://{source}/{name}"), None))
    }

    #[test]
    fn each_entry_is_counted_and_all_of_one_source_together() {
        let (uses, a, b) = (Uses::default(), wanted("one", "a"), wanted("one", "b"));
        uses.note(&a, meter::Result::Miss, 10);
        uses.fetched(&a, 12, Duration::from_millis(500), true);
        uses.note(&a, meter::Result::Collapsed, 10);
        uses.note(&b, meter::Result::Hit, 5);
        uses.note(&b, meter::Result::Error, 5);
        let taken = uses.take();
        let of = |wanted: &Arc<Wanted>| taken.entries[&wanted.id];
        assert_eq!(of(&a).new, Downloads { count: 1, bytes: 12, seconds: 0.5 });
        assert_eq!((of(&a).hits.count, of(&a).misses.count, of(&b).hits.bytes), (1, 1, 5));
        let sum = taken.origins[&a.origin];
        assert_eq!((sum.hits, sum.downloads.bytes), (Sum { count: 2, bytes: 15 }, 12));
        assert_eq!(uses.take(), Taken::default());
    }

    #[test]
    fn sums_of_sources_grow_and_stay() {
        let (uses, mut texts) = (Uses::default(), Vec::new());
        uses.note(&wanted("one", "a"), meter::Result::Hit, 10);
        for _ in 0..2 {
            let mut text = String::new();
            uses.write(&mut text);
            texts.push(text);
            uses.take();
        }
        assert_eq!(texts[0], texts[1]);
        let line = "pkgcache_origin_bytes_total{ecosystem=\"npm\",source=\"one\",result=\"hit\"} 10\n";
        assert!(texts[0].contains(line), "{}", texts[0]);
        assert_eq!(label("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }

    #[test]
    fn what_is_told_is_bounded() {
        let uses = Uses::default();
        for number in 0..MOST + 5 {
            uses.note(&wanted(&format!("h{}", number % 100), &number.to_string()), meter::Result::Hit, 1);
        }
        let taken = uses.take();
        assert_eq!((taken.entries.len(), taken.origins.len()), (MOST, MOST_ORIGINS));
    }
}
