//! The package downloads of a store at one moment, and what follows from that.
//!
//! Touches no disk and reads no clock. All sizes are bytes on disk. Bodies stand
//! once, however many entries name them.

pub mod choose;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use storekit::{Digest, Level, PackageEntry, PackageKey};

use crate::holders::Holders;

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

/// All package downloads.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    /// The entries, sorted by where they came from and by URL.
    pub entries: Vec<Package>,
    /// Every body that is there, with its bytes.
    pub bodies: BTreeMap<Digest, u64>,
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
    /// Of an entry, last used then; its file takes so many bytes.
    #[must_use]
    pub fn new(entry: PackageEntry, used: Timestamp, file: u64) -> Self {
        let bodies = bodies(&entry);
        Self {
            level: entry.responses.first().map_or(Level::None, |newest| newest.level),
            key: entry.key,
            name: entry.name,
            version: entry.package_version,
            architecture: entry.architecture,
            used,
            bodies,
            file,
        }
    }
}

/// What ends the name of a file of weights.
const WEIGHTS: [&str; 6] = [".ckpt", ".gguf", ".onnx", ".pt", ".pth", ".safetensors"];

impl Package {
    /// Whether it is of a model, which is large and dear to fetch again: from a hub of models or a
    /// registry of Ollama's, or a file of weights.
    #[must_use]
    pub fn is_model(&self) -> bool {
        let path = self.key.url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        matches!(self.key.ecosystem.as_str(), "huggingface" | "ollama")
            || WEIGHTS.iter().any(|end| path.ends_with(end))
    }
}

/// The bodies that an entry names, sorted, each once.
#[must_use]
pub fn bodies(entry: &PackageEntry) -> Vec<Digest> {
    let each: BTreeSet<_> = entry.responses.iter().map(|response| response.digest).collect();
    each.into_iter().collect()
}

impl Packages {
    /// The bytes of a body; 0 where it is not there.
    #[must_use]
    pub fn bytes(&self, digest: &Digest) -> u64 {
        self.bodies.get(digest).copied().unwrap_or(0)
    }

    /// By how many entries each body is named.
    #[must_use]
    pub fn holders(&self) -> Holders {
        Holders::count_all(self.entries.iter().flat_map(|package| package.bodies.iter().copied()))
    }

    /// What the entry occupies with its bodies, shared or not.
    #[must_use]
    pub fn size(&self, package: &Package) -> u64 {
        package.file + package.bodies.iter().map(|digest| self.bytes(digest)).sum::<u64>()
    }

    /// What would be freed if this entry alone went.
    #[must_use]
    pub fn own(&self, package: &Package, holders: &Holders) -> u64 {
        let alone = package.bodies.iter().filter(|digest| holders.count(digest) == 1);
        package.file + alone.map(|digest| self.bytes(digest)).sum::<u64>()
    }

    /// What would be freed if all of these went, and nothing else: by their places.
    #[must_use]
    pub fn freed_by(&self, places: &[usize]) -> u64 {
        let mut holders = self.holders();
        let meant = places.iter().filter_map(|place| self.entries.get(*place));
        meant.map(|package| package.file + self.release(&mut holders, package)).sum()
    }

    /// Takes an entry away. Returns the bytes of the bodies that nothing names after that.
    fn release(&self, holders: &mut Holders, package: &Package) -> u64 {
        holders.release_all(&package.bodies).iter().map(|digest| self.bytes(digest)).sum()
    }

    /// The bodies that no entry names, sorted.
    #[must_use]
    pub fn unneeded(&self, holders: &Holders) -> Vec<(Digest, u64)> {
        let idle = self.bodies.iter().filter(|(digest, _)| holders.count(digest) == 0);
        idle.map(|(digest, bytes)| (*digest, *bytes)).collect()
    }

    /// What all entries with their bodies occupy, and what no entry names.
    #[must_use]
    pub fn occupied(&self) -> (Occupied, u64) {
        let holders = self.holders();
        let own = self.entries.iter().map(|package| self.own(package, &holders)).sum();
        let unneeded = self.unneeded(&holders).iter().map(|(_, bytes)| bytes).sum::<u64>();
        let files: u64 = self.entries.iter().map(|package| package.file).sum();
        let all = files + self.bodies.values().sum::<u64>();
        (Occupied { entries: self.entries.len() as u64, own, shared: all - own - unneeded }, unneeded)
    }

    /// The same by ecosystem. `own` is what goes with the ecosystem's entries, one by one; what
    /// entries of several ecosystems share counts for each of them.
    #[must_use]
    pub fn by_ecosystem(&self) -> BTreeMap<&str, Occupied> {
        let holders = self.holders();
        let mut sums: BTreeMap<&str, (Occupied, BTreeSet<Digest>)> = BTreeMap::new();
        for package in &self.entries {
            let (sum, shared) = sums.entry(&package.key.ecosystem).or_default();
            sum.entries += 1;
            sum.own += self.own(package, &holders);
            let several = package.bodies.iter().filter(|digest| holders.count(digest) > 1);
            for digest in several.filter(|digest| shared.insert(**digest)) {
                sum.shared += self.bytes(digest);
            }
        }
        sums.into_iter().map(|(name, (sum, _))| (name, sum)).collect()
    }
}
