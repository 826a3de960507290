//! By how many each blob is needed.

use std::hash::BuildHasherDefault;

use storekit::Digest;
use storekit::digest::DigestMap;

/// How many roots need each blob.
#[derive(Clone, Debug, Default)]
pub struct Holders(DigestMap<usize>);

impl Holders {
    /// Counts how often each is named, of about so many.
    #[must_use]
    pub fn count_all(digests: impl Iterator<Item = Digest>, about: usize) -> Self {
        let mut holders = Self(DigestMap::with_capacity_and_hasher(about, BuildHasherDefault::default()));
        digests.for_each(|digest| *holders.0.entry(digest).or_default() += 1);
        holders
    }

    /// By how many the blob is needed.
    #[must_use]
    pub fn count(&self, digest: &Digest) -> usize {
        self.0.get(digest).copied().unwrap_or(0)
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
            let Some(count) = self.0.get_mut(digest) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                idle.push(*digest);
            }
        }
        idle
    }
}
