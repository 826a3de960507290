//! The bodies of packages, each once, by place: sorted by digest.

use storekit::Digest;

/// A body that is there, or that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes; 0 where it is not there.
    pub bytes: u64,
    /// By how many entries it is named.
    pub named: u32,
    /// Whether it is there.
    pub is_there: bool,
}

impl Body {
    /// One that is there, with its bytes; how many entries name it is not known yet.
    #[must_use]
    pub fn there(digest: Digest, bytes: u64) -> Self {
        Self { digest, bytes, named: 0, is_there: true }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Bodies {
    list: Vec<Body>,
    /// Where the digests begin whose first two bytes are the place here, or more.
    starts: Vec<u32>,
}

impl Bodies {
    /// Of those that are there.
    pub(super) fn new(there: Vec<Body>) -> Self {
        let mut bodies = Self { list: there, starts: Vec::new() };
        bodies.settle();
        bodies
    }

    fn settle(&mut self) {
        self.list.sort_unstable_by_key(|body| body.digest);
        self.list.dedup_by_key(|body| body.digest);
        self.starts.clear();
        for (at, body) in (0..).zip(&self.list) {
            self.starts.resize((first(&body.digest) + 1).max(self.starts.len()), at);
        }
    }

    /// Adds those of these that are not there.
    pub(super) fn add_those_that_lack<'a>(&mut self, named: impl Iterator<Item = &'a Digest>) {
        let mut lacking: Vec<_> = named.filter(|digest| self.place(digest).is_none()).copied().collect();
        lacking.sort_unstable();
        lacking.dedup();
        if !lacking.is_empty() {
            let body = |digest| Body { digest, bytes: 0, named: 0, is_there: false };
            self.list.extend(lacking.into_iter().map(body));
            self.settle();
        }
    }

    fn place(&self, digest: &Digest) -> Option<usize> {
        let start = |first: usize| self.starts.get(first).map_or(self.list.len(), |start| *start as usize);
        let (from, to) = (start(first(digest)), start(first(digest) + 1));
        let found = self.list.get(from..to)?.binary_search_by_key(digest, |body| body.digest).ok()?;
        Some(from + found)
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<&Body> {
        self.list.get(self.place(digest)?)
    }

    /// Notes that an entry names it. Returns its place.
    pub(super) fn name(&mut self, digest: &Digest) -> u32 {
        let Some(place) = self.place(digest) else { return u32::MAX };
        self.list[place].named += 1;
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, place: u32) -> Option<&Body> {
        self.list.get(place as usize)
    }

    pub(super) fn there(&self) -> impl Iterator<Item = &Body> {
        self.list.iter().filter(|body| body.is_there)
    }

    /// By how many entries each is named, by place.
    pub(super) fn holders(&self) -> Vec<u32> {
        self.list.iter().map(|body| body.named).collect()
    }
}

/// The first two bytes: digests are spread over them evenly.
fn first(digest: &Digest) -> usize {
    let [one, two, ..] = *digest.bytes();
    usize::from(u16::from_be_bytes([one, two]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_and_no_other() {
        let digest = |number: u32| Digest::of(&number.to_le_bytes());
        let mut bodies =
            Bodies::new((0..1000).map(|it| Body::there(digest(it), u64::from(it) + 1)).collect());
        bodies.add_those_that_lack([digest(5), digest(2000), digest(2000)].iter());
        for number in 0..1000 {
            assert_eq!(bodies.find(&digest(number)).map(|body| body.bytes), Some(u64::from(number) + 1));
        }
        let lacking = bodies.find(&digest(2000)).map(|body| (body.bytes, body.is_there));
        assert_eq!((lacking, bodies.list.len()), (Some((0, false)), 1001));
        assert!((3000..4000).all(|it| bodies.find(&digest(it)).is_none()));
        for edge in [[0; 32], [0xff; 32]] {
            assert!(bodies.find(&Digest::from_bytes(edge)).is_none());
            bodies.add_those_that_lack([Digest::from_bytes(edge)].iter());
            assert!(bodies.find(&Digest::from_bytes(edge)).is_some());
        }
        assert!(Bodies::default().find(&digest(1)).is_none());
    }
}
