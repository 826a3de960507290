//! By how many each blob is needed.

use std::hash::BuildHasherDefault;

use storekit::Digest;
use storekit::digest::DigestMap;

/// How many roots need each blob.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    named: DigestMap<usize>,
    /// How many roots there are that may need any blob: it cannot be told which they name.
    unknown: usize,
}

impl Holders {
    /// Counts how often each is named, of about so many.
    #[must_use]
    pub fn count_all(digests: impl Iterator<Item = Digest>, about: usize) -> Self {
        let named = DigestMap::with_capacity_and_hasher(about, BuildHasherDefault::default());
        let mut holders = Self { named, unknown: 0 };
        digests.for_each(|digest| *holders.named.entry(digest).or_default() += 1);
        holders
    }

    /// Counts so many roots more that may need any of these, which are all that there are.
    #[must_use]
    pub fn and_unknown(mut self, roots: usize, all: impl Iterator<Item = Digest>) -> Self {
        self.unknown = roots;
        if roots > 0 {
            all.for_each(|digest| _ = self.named.entry(digest).or_default());
        }
        self
    }

    /// By how many the blob is needed.
    #[must_use]
    pub fn count(&self, digest: &Digest) -> usize {
        self.named.get(digest).copied().unwrap_or(0) + self.unknown
    }

    /// What is held only since one root may need anything: nothing where there is no such root, or
    /// several.
    pub fn held_by_unknown(&self) -> impl Iterator<Item = &Digest> {
        let is_one = self.unknown == 1;
        let alone = self.named.iter().filter(move |(_, count)| is_one && **count == 0);
        alone.map(|(digest, _)| digest)
    }

    /// What nothing would need without something that needs these, a digest once for each need.
    pub fn would_release<'a>(&self, needed: impl Iterator<Item = &'a Digest>) -> Vec<Digest> {
        let mut taken: DigestMap<usize> = DigestMap::default();
        needed.for_each(|digest| *taken.entry(*digest).or_default() += 1);
        taken.into_iter().filter(|(digest, count)| self.count(digest) == *count).map(|it| it.0).collect()
    }

    /// Takes something away that needs these. Returns what nothing needs after that.
    pub fn release_all(&mut self, needed: &[Digest]) -> Vec<Digest> {
        let mut idle = Vec::new();
        for digest in needed {
            let Some(count) = self.named.get_mut(digest) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 && self.unknown == 0 {
                idle.push(*digest);
            }
        }
        idle
    }

    /// Takes away a root of which it is not known what it needs. Returns what nothing needs after
    /// that, sorted: where it was the last of its kind, what the others no longer need, too.
    pub fn release_unknown(&mut self) -> Vec<Digest> {
        self.unknown = self.unknown.saturating_sub(1);
        if self.unknown > 0 {
            return Vec::new();
        }
        let idle = self.named.iter().filter(|(_, count)| **count == 0);
        let mut idle: Vec<_> = idle.map(|(digest, _)| *digest).collect();
        idle.sort_unstable();
        idle
    }
}
