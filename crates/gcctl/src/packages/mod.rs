//! The package downloads of a store at one moment, and what follows from that.
//!
//! Touches no disk and reads no clock. All sizes are bytes on disk. Bodies stand
//! once, however many entries name them. A store may have a million entries, so they lie close
//! together (`rows`, `bodies`) and are looked at through a [`View`].

mod bodies;
pub mod choose;
mod evictions;
mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;
use storekit::packages::index::Summary;
use storekit::{Digest, Level, PackageId, PackageKey};

use bodies::Bodies;
pub use bodies::Body;
pub use evictions::{Eviction, Evictions, Going, Named};
use rows::Rows;
pub use rows::{Gathered, Joined, View};

/// What is stored of one URL.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Its ecosystem, where it came from, its URL, and whose it is.
    pub key: PackageKey,
    /// The package's name, where it is known.
    pub name: Option<String>,
    /// Its version, where it is known.
    pub version: Option<String>,
    /// Its architecture, where it is known.
    pub architecture: Option<String>,
    /// Who vouches for the newest response.
    pub level: Level,
    /// When it was last used; never later than the snapshot.
    pub used: Timestamp,
    /// What its entry names, sorted, each once; there or not.
    pub bodies: Vec<Digest>,
    /// The bytes of its entry's file.
    pub file: u64,
}

/// All package downloads: the entries, sorted by where they came from and by the digests in the
/// names of their files, and every body that is there.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    rows: Rows,
    bodies: Bodies,
    /// The places of those that never go.
    held: HashSet<u32>,
}

/// What packages occupy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Occupied {
    /// How many URLs.
    pub entries: u64,
    /// What one entry alone needs, its own file included.
    pub own: u64,
    /// Bodies that several entries name, counted once.
    pub shared: u64,
}

impl Package {
    /// The same for a list of very many.
    #[must_use]
    pub fn summary(&self) -> Summary<'_> {
        Summary {
            ecosystem: &self.key.ecosystem,
            source: &self.key.source,
            url: &self.key.url,
            scope: self.key.scope,
            name: self.name.as_deref(),
            version: self.version.as_deref(),
            architecture: self.architecture.as_deref(),
            level: self.level,
            // It goes as any other.
            absent: false,
            bodies: self.bodies.clone(),
        }
    }
}

/// What ends the name of a file of weights.
const WEIGHTS: [&str; 6] = [".ckpt", ".gguf", ".onnx", ".pt", ".pth", ".safetensors"];

impl View<'_> {
    /// Whether it is of a model, which is large and dear to fetch again: from a hub of models or a
    /// registry of Ollama's, or a file of weights.
    #[must_use]
    pub fn is_model(&self) -> bool {
        if matches!(self.ecosystem(), "huggingface" | "ollama") {
            return true;
        }
        let path = self.url().split(['?', '#']).next().unwrap_or_default().as_bytes();
        WEIGHTS.iter().any(|end| {
            let last = path.len().checked_sub(end.len()).and_then(|at| path.get(at..));
            last.is_some_and(|last| last.eq_ignore_ascii_case(end.as_bytes()))
        })
    }
}

/// What was last used within so many seconds counts as used at the same time: what one build needs
/// is used one after another.
const STEP: i64 = 300;

/// Which of these times it is, by the seconds since 1970.
#[must_use]
pub fn step(seconds: i64) -> i64 {
    seconds.div_euclid(STEP)
}

impl Packages {
    /// Of these entries, in their order, and these bodies.
    pub fn new(
        entries: impl IntoIterator<Item = Package>,
        bodies: impl IntoIterator<Item = (Digest, u64)>,
    ) -> Self {
        let mut gathered = Gathered::default();
        for package in entries {
            gathered.push(package.key.id(), &package.summary(), package.used, package.file);
        }
        let bodies = bodies.into_iter().map(|(digest, bytes)| Body::there(digest, bytes));
        Self::of(joined(gathered), bodies.collect(), Timestamp::MAX)
    }

    /// Of what was gathered, and the bodies that are there. What was used in the future was used
    /// now.
    #[must_use]
    pub fn of(entries: Joined, bodies: Vec<Body>, now: Timestamp) -> Self {
        let mut bodies = Bodies::new(bodies);
        bodies.add_those_that_lack(entries.bodies());
        let rows = entries.rows(now, |digest| bodies.name(digest));
        Self { rows, bodies, held: HashSet::new() }
    }

    /// Those never go for which this is true.
    pub fn hold(&mut self, is_held: impl Fn(View<'_>) -> bool) {
        let held = self.iter().enumerate().filter(|(_, package)| is_held(*package));
        self.held = held.filter_map(|(place, _)| u32::try_from(place).ok()).collect();
    }

    /// How many never go.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many of those that are at these places are meant, and the bytes that they have together.
    pub fn measure(
        &self,
        places: impl Iterator<Item = usize>,
        is_meant: impl Fn(View<'_>) -> bool,
    ) -> (u64, u64) {
        let mut seen = vec![false; self.bodies.holders().len()];
        let (mut entries, mut bytes) = (0, 0);
        for package in places.filter_map(|place| self.get(place)).filter(|it| is_meant(*it)) {
            entries += 1;
            bytes += package.file() + package.take_unseen(&mut seen);
        }
        (entries, bytes)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in their order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = View<'_>> + Clone {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// The entry at this place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<View<'_>> {
        View::of(&self.rows, &self.bodies, place)
    }

    /// Sorts places by their last use, see [`crate::plan::order::Turn::by_use`]: what goes first is
    /// at the end.
    fn sort_by_use(&self, places: &mut [u32]) {
        self.rows.sort_by_use(places);
    }

    /// Notes how often each was used.
    pub fn count_uses(&mut self, uses: &HashMap<PackageId, u64>) {
        self.rows.count_uses(uses);
    }

    /// Every ecosystem with a source that packages are from, by its place.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows.origins()
    }

    /// Every body that is there, with its bytes, sorted.
    pub fn bodies(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.bodies.there().map(|body| (body.digest, body.bytes))
    }

    /// The bytes of a body; 0 where it is not there.
    #[must_use]
    pub fn bytes(&self, digest: &Digest) -> u64 {
        self.bodies.find(digest).map_or(0, |body| body.bytes)
    }

    /// What would be freed if all of these went, and nothing else: by their places.
    #[must_use]
    pub fn freed_by(&self, places: &[usize]) -> u64 {
        let mut holders = self.bodies.holders();
        let meant = places.iter().filter_map(|place| self.get(*place));
        meant.map(|package| package.file() + package.release(&mut holders)).sum()
    }

    /// The bodies that no entry names, sorted.
    pub fn unneeded(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.bodies.there().filter(|body| body.named == 0).map(|body| (body.digest, body.bytes))
    }

    /// The bytes of all entries and of the bodies that they name.
    #[must_use]
    pub fn live(&self) -> u64 {
        let named = self.bodies.there().filter(|body| body.named > 0).map(|body| body.bytes);
        self.iter().map(|package| package.file()).chain(named).sum()
    }

    /// What all entries with their bodies occupy, and what no entry names.
    #[must_use]
    pub fn occupied(&self) -> (Occupied, u64) {
        let (files, live) = (self.iter().map(|package| package.file()).sum::<u64>(), self.live());
        let alone = self.bodies.there().filter(|body| body.named == 1).map(|body| body.bytes);
        let own = files + alone.sum::<u64>();
        let unneeded = self.unneeded().map(|(_, bytes)| bytes).sum();
        (Occupied { entries: self.len() as u64, own, shared: live - own }, unneeded)
    }

    /// The same by ecosystem. `own` is what goes with the ecosystem's entries, one by one; what
    /// entries of several ecosystems share counts for each of them.
    #[must_use]
    pub fn by_ecosystem(&self) -> BTreeMap<&str, Occupied> {
        let mut sums: BTreeMap<&str, (Occupied, BTreeSet<Digest>)> = BTreeMap::new();
        for package in self.iter() {
            let (sum, shared) = sums.entry(package.ecosystem()).or_default();
            sum.entries += 1;
            sum.own += package.own();
            let several = package.bodies().filter(|body| body.named > 1);
            for body in several.filter(|body| shared.insert(body.digest)) {
                sum.shared += body.bytes;
            }
        }
        sums.into_iter().map(|(name, (sum, _))| (name, sum)).collect()
    }
}

fn joined(gathered: Gathered) -> Joined {
    let mut joined = Joined::default();
    joined.append(gathered);
    joined
}
