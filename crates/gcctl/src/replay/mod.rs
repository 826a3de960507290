//! What other limits would have done to what was asked for: recorded uses of images, played again.
//!
//! Pure. What is recorded is who was asked for and when ([`Trace`]); what a limit and an order of
//! removal make of it is played ([`simulate`]), and what no order could beat, even one that knew
//! the future, is worked out beside it ([`bound`]).
//!
//! Limits: days that are over are rolled up, so within one of them each thing counts as asked for
//! at its last time that day, and again right after that for the other times. Events do not say
//! what images share: an image counts with its share of what it shares now, or, where it is not
//! stored any more, with as large a part of what was moved as the others. A package counts with
//! what is stored of it, or what was fetched, and with the seconds that this took, or that its
//! source would take for as much. The first time that something is asked for is no hit under any
//! limit.

mod bound;
mod simulate;

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Event, Kind};

use crate::packages::View;
use crate::snapshot::{Holders, Snapshot};

pub use bound::bound;
pub use simulate::simulate;

/// In which order things go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// What was not used for longest.
    #[default]
    Lru,
    /// What takes the fewest seconds to have again for each use and byte.
    Cost,
}

/// What was asked for, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// The images and packages.
    pub items: Vec<Item>,
    /// When each was asked for.
    pub uses: Vec<Use>,
    /// The first of the uses that count; those before only fill the store.
    pub first: usize,
}

/// What an item is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Of {
    /// An image.
    #[default]
    Image,
    /// What is stored of a package's URL.
    Package,
}

/// An image or a package.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Item {
    /// Which of them.
    pub of: Of,
    /// The bytes that it takes.
    pub bytes: u64,
    /// The seconds that its build, or its fetch, takes.
    pub seconds: f64,
}

/// That something was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Which.
    pub item: usize,
    /// When, in seconds since 1970.
    pub time: i64,
    /// How often more right after that.
    pub again: u64,
    /// How often it was there.
    pub hits: u64,
}

/// What came of it, in the uses that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sum {
    /// How often an image was there.
    pub images: u64,
    /// How often a package was.
    pub packages: u64,
    /// The seconds of building and fetching that this saved.
    pub saved_seconds: f64,
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "times are not exact")]
    fn add(&mut self, hits: u64, item: &Item) {
        let sum = match item.of {
            Of::Image => &mut self.images,
            Of::Package => &mut self.packages,
        };
        *sum = sum.saturating_add(hits);
        self.saved_seconds += item.seconds * hits as f64;
    }
}

impl Trace {
    /// How often images, or packages, were asked for in the uses that count.
    #[must_use]
    pub fn asked(&self, of: Of) -> u64 {
        let meant = self.counting().filter(|it| self.items[it.item].of == of);
        meant.map(|it| it.again.saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// What came of it as it was recorded; the first use of anything, ever, is not counted.
    #[must_use]
    pub fn recorded(&self) -> Sum {
        let mut known = vec![false; self.items.len()];
        let mut sum = Sum::default();
        for (step, it) in self.uses.iter().enumerate() {
            let is_first = !std::mem::replace(&mut known[it.item], true);
            if step >= self.first {
                let hits = if is_first { it.hits.min(it.again) } else { it.hits };
                sum.add(hits, &self.items[it.item]);
            }
        }
        sum
    }

    fn counting(&self) -> impl Iterator<Item = &Use> {
        self.uses.iter().skip(self.first)
    }
}

/// A trace that is being read.
#[derive(Debug, Default)]
pub struct Reading {
    items: HashMap<(Of, String), Known>,
    uses: Vec<Noted>,
    order: Vec<(Of, String)>,
}

/// What is known of an item so far.
#[derive(Debug, Default)]
struct Known {
    place: usize,
    /// What was moved or freed, at most.
    bytes: u64,
    seconds: f64,
    /// The use that found it missing and that no save has ended yet.
    wanted: Option<usize>,
}

#[derive(Debug)]
struct Noted {
    item: usize,
    time: Timestamp,
    times: u64,
    hits: u64,
}

impl Reading {
    /// Takes the next event of the store's.
    pub fn add(&mut self, event: &Event) {
        self.take(Of::Image, event);
    }

    /// Takes the next event of its packages' uses.
    pub fn add_package(&mut self, event: &Event) {
        self.take(Of::Package, event);
    }

    fn take(&mut self, of: Of, event: &Event) {
        let Some(key) = event.key.clone().map(|key| (of, key)) else { return };
        if !matches!(event.kind, Kind::Hit | Kind::Miss | Kind::Save | Kind::Evict) {
            return;
        }
        let times = event.count.unwrap_or(1).max(1);
        let next = self.items.len();
        if !self.items.contains_key(&key) {
            self.items.insert(key.clone(), Known { place: next, ..Known::default() });
            self.order.push(key.clone());
        }
        let Some(known) = self.items.get_mut(&key) else { return };
        // Bytes and seconds are of all times together.
        known.bytes = known.bytes.max(event.bytes.unwrap_or(0) / times);
        #[expect(clippy::cast_precision_loss, reason = "times are not exact")]
        if let Some(seconds) = event.seconds.map(|it| it / times as f64).filter(|it| *it > 0.0) {
            known.seconds = seconds;
        }
        let noted = |hits| Noted { item: known.place, time: event.time, times, hits };
        match event.kind {
            Kind::Hit => {
                known.wanted = None;
                self.uses.push(noted(times));
            }
            Kind::Miss => {
                known.wanted = Some(self.uses.len());
                self.uses.push(noted(0));
            }
            // What was asked for in vain is saved now. One that nobody asked for was built, too.
            Kind::Save if known.wanted.take().is_none() => self.uses.push(noted(0)),
            _ => {}
        }
    }

    /// The trace; uses since `first` count. `snapshot` says how large the images are that are
    /// stored.
    #[must_use]
    pub fn done(mut self, first: Timestamp, snapshot: &Snapshot) -> Trace {
        let (shares, packages) = (shares(snapshot), self.stored_packages(snapshot));
        let part = part(snapshot, &shares);
        let mut items = Vec::new();
        for it in &self.order {
            let (of, key, known) = (it.0, it.1.as_str(), &self.items[it]);
            items.push(match of {
                Of::Image => {
                    let bytes = shares.get(key).copied().unwrap_or_else(|| scaled(known.bytes, part));
                    Item { of, bytes, seconds: known.seconds }
                }
                Of::Package => {
                    let stored = packages.get(key).copied().unwrap_or(Item { of, ..Item::default() });
                    let bytes = if stored.bytes > 0 { stored.bytes } else { known.bytes };
                    let fetched = || snapshot.rates.all().seconds(bytes);
                    let seconds = [known.seconds, stored.seconds].into_iter().find(|it| *it > 0.0);
                    Item { of, bytes, seconds: seconds.unwrap_or_else(fetched) }
                }
            });
        }
        // Of what nothing is known, as much as of the others.
        let usual = [Of::Image, Of::Package].map(|of| (of, usual(&items, of)));
        for item in items.iter_mut().filter(|it| it.bytes == 0) {
            item.bytes = usual.iter().find(|(of, _)| *of == item.of).map_or(0, |(_, bytes)| *bytes);
        }
        self.uses.sort_by_key(|it| it.time);
        let starts = self.uses.iter().take_while(|it| it.time < first).count();
        let uses = self.uses.iter().map(|it| Use {
            item: it.item,
            time: it.time.as_second(),
            again: it.times - 1,
            hits: it.hits,
        });
        Trace { items, uses: uses.collect(), first: starts }
    }

    /// The packages that were asked for and are stored: what each takes alone, and in how many
    /// seconds its source sends that.
    fn stored_packages(&self, snapshot: &Snapshot) -> HashMap<String, Item> {
        let asked = |id: &String| self.items.contains_key(&(Of::Package, id.clone()));
        let all = snapshot.packages.iter().map(|package| (package.id().to_string(), package));
        let item = |package: View<'_>| Item {
            of: Of::Package,
            bytes: package.own(),
            seconds: snapshot.rates.of(package.ecosystem(), package.source()).seconds(package.size()),
        };
        all.filter(|(id, _)| asked(id)).map(|(id, package)| (id, item(package))).collect()
    }
}

/// The bytes that those have of which something is known, on average.
fn usual(items: &[Item], of: Of) -> u64 {
    let known = items.iter().filter(|it| it.of == of && it.bytes > 0);
    let (sum, count) =
        known.fold((0_u128, 0_u128), |(sum, count), it| (sum + u128::from(it.bytes), count + 1));
    u64::try_from(sum / count.max(1)).unwrap_or(u64::MAX)
}

/// The bytes of each image: its own, and its part of what it shares.
fn shares(snapshot: &Snapshot) -> HashMap<&str, u64> {
    let holders = Holders::of(snapshot);
    let share = |digest| snapshot.bytes(digest) / (holders.count(digest).max(1) as u64);
    let images = snapshot.images.iter();
    images.map(|it| (it.key.as_str(), it.files + it.blobs.iter().map(share).sum::<u64>())).collect()
}

/// Which part of an image's bytes its share is, over all.
#[expect(clippy::cast_precision_loss, reason = "a part is not exact")]
fn part(snapshot: &Snapshot, shares: &HashMap<&str, u64>) -> f64 {
    let whole: u64 = snapshot.images.iter().map(|image| snapshot.size(image)).sum();
    let held: u64 = shares.values().sum();
    if whole == 0 { 1.0 } else { held as f64 / whole as f64 }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a size, never negative"
)]
fn scaled(bytes: u64, part: f64) -> u64 {
    (bytes as f64 * part) as u64
}

#[cfg(test)]
mod tests;
