//! Which entries refer to which: signatures, attestations and SBOMs to the images that they sign or
//! describe.
//!
//! Touches no disk. An entry refers to a digest by the `subject` of its document, or by a tag as
//! cosign gives it.
//!
//! Source: OCI image-spec v1.1, manifest.md, "subject"; distribution-spec v1.1, "Referrers Tag
//! Schema"; cosign's "Signature Specification", "Tag-based discovery".

use std::collections::{HashMap, HashSet};

use crate::images::entry::Entry;
use crate::images::reach::Reach;
use crate::{Digest, Key};

/// What the entry refers to: the `subject` of its document, else the digest in the tag that all its
/// names have (or its key, where it has no name): `sha256-HEX.sig`, `.att`, `.sbom`, or
/// `sha256-HEX` of another document.
#[must_use]
pub fn subject(key: &Key, entry: &Entry, reach: &Reach) -> Option<Digest> {
    let own = entry.descriptor.digest;
    let named = || {
        let mut tags = entry.names.iter().map(|name| tag(name));
        let first = if entry.names.is_empty() { key.as_str() } else { tags.next()? };
        let subject = in_tag(first)?;
        tags.all(|tag| in_tag(tag) == Some(subject)).then_some(subject)
    };
    reach.subject.or_else(named).filter(|subject| *subject != own)
}

/// The tag of an image name.
fn tag(name: &str) -> &str {
    name.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// The digest in a tag that means "refers to that".
#[must_use]
pub fn in_tag(tag: &str) -> Option<Digest> {
    let rest = tag.strip_prefix("sha256-")?;
    let hex = [".sig", ".att", ".sbom"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    Digest::from_hex(hex)
}

/// Which of a store's entries hang on which others. Entries go by their place in the list.
#[derive(Clone, Debug, Default)]
pub struct Referrers {
    /// The entries that refer to something that this one holds.
    of: Vec<Vec<usize>>,
    /// By how many entries each is held, and must stay for.
    holders: Vec<usize>,
    attached: Vec<bool>,
}

impl Referrers {
    /// Reads the relation from the entries: what each holds (itself included), and what it refers
    /// to.
    pub fn new<'a, I: IntoIterator<Item = Digest>>(
        entries: impl Iterator<Item = (I, Option<Digest>)> + Clone + 'a,
    ) -> Self {
        let subjects: Vec<Option<Digest>> = entries.clone().map(|(_, subject)| subject).collect();
        let mut referrers: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (referrer, subject) in subjects.iter().enumerate() {
            if let Some(subject) = subject {
                referrers.entry(*subject).or_default().push(referrer);
            }
        }
        let of: Vec<Vec<usize>> = entries
            .enumerate()
            .map(|(holder, (held, _))| {
                let referring = held.into_iter().filter_map(|digest| referrers.get(&digest)).flatten();
                let others: HashSet<usize> = referring.copied().filter(|it| *it != holder).collect();
                let mut others: Vec<usize> = others.into_iter().collect();
                others.sort_unstable();
                others
            })
            .collect();
        let mut holders = vec![0; of.len()];
        of.iter().flatten().for_each(|referrer| holders[*referrer] += 1);
        let attached = attached(&of, &holders);
        Self { of, holders, attached }
    }

    /// Whether the entry refers to another that is there, so that it lives and dies with that one.
    /// Entries that refer to one another in a circle stand for themselves.
    #[must_use]
    pub fn is_attached(&self, entry: usize) -> bool {
        self.attached.get(entry).copied().unwrap_or(false)
    }

    /// All that hangs on the entry, referrers of referrers too, each after what it refers to.
    #[must_use]
    pub fn below(&self, entry: usize) -> Vec<usize> {
        let mut below = vec![entry];
        let mut seen = HashSet::from([entry]);
        let mut next = 0;
        while let Some(holder) = below.get(next) {
            let attached = self.of[*holder].iter().filter(|it| self.attached[**it] && seen.insert(**it));
            let attached: Vec<usize> = attached.copied().collect();
            below.extend(attached);
            next += 1;
        }
        below.split_off(1)
    }

    /// What would go with these entries, as [`Self::release`] says.
    #[must_use]
    pub fn would_release(&self, entries: &[usize]) -> Vec<usize> {
        let (mut gone, mut freed, mut next) = (entries.to_vec(), HashMap::<usize, usize>::new(), 0);
        while let Some(holder) = gone.get(next) {
            for referrer in &self.of[*holder] {
                let freed = freed.entry(*referrer).or_default();
                *freed += 1;
                if *freed == self.holders[*referrer] && self.attached[*referrer] {
                    gone.push(*referrer);
                }
            }
            next += 1;
        }
        gone.split_off(entries.len())
    }

    /// Takes an entry away. Returns what goes with it: what hangs on it and on no other entry, each
    /// after what it refers to.
    pub fn release(&mut self, entry: usize) -> Vec<usize> {
        let mut gone = vec![entry];
        let mut next = 0;
        while let Some(&holder) = gone.get(next) {
            for referrer in std::mem::take(&mut self.of[holder]) {
                self.holders[referrer] -= 1;
                if self.holders[referrer] == 0 && self.attached[referrer] {
                    gone.push(referrer);
                }
            }
            next += 1;
        }
        gone.split_off(1)
    }
}

/// What can be reached from an entry that nothing holds.
fn attached(of: &[Vec<usize>], holders: &[usize]) -> Vec<bool> {
    let mut attached = vec![false; of.len()];
    let mut open: Vec<usize> = (0..of.len()).filter(|entry| holders[*entry] == 0).collect();
    while let Some(holder) = open.pop() {
        for referrer in &of[holder] {
            if !std::mem::replace(&mut attached[*referrer], true) {
                open.push(*referrer);
            }
        }
    }
    attached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Descriptor;
    use crate::oci::MANIFEST;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    /// `"a"`, `"s>a"` (s refers to a), `"i+a"` (i holds a, too).
    fn relation(entries: &[&str]) -> Referrers {
        let read = |text: &&str| {
            let (held, subject) =
                text.split_once('>').map_or((*text, None), |(held, it)| (held, Some(digest(it))));
            (held.split('+').map(digest).collect::<Vec<_>>(), subject)
        };
        Referrers::new(entries.iter().map(read))
    }

    #[track_caller]
    fn goes(entries: &[&str], first: usize, expected: &[usize]) {
        assert_eq!(relation(entries).release(first), expected, "{entries:?}");
    }

    #[test]
    fn a_referrer_goes_with_what_it_refers_to_and_its_own_referrers_too() {
        goes(&["a", "s>a", "t>s", "b"], 0, &[1, 2]);
        goes(&["t>s", "s>a", "a"], 2, &[1, 0]);
        goes(&["a", "s>a"], 1, &[]);
    }

    #[test]
    fn a_referrer_stays_as_long_as_one_entry_holds_its_subject() {
        goes(&["i+a", "a", "s>a"], 0, &[]);
        let mut relation = relation(&["i+a", "a", "s>a"]);
        relation.release(0);
        assert_eq!(relation.release(1), [2]);
    }

    #[test]
    fn what_refers_to_nothing_that_is_there_stands_for_itself() {
        let relation = relation(&["s>a", "x>y", "y>x", "b", "t>b"]);
        let attached: Vec<_> = (0..5).filter(|entry| relation.is_attached(*entry)).collect();
        assert_eq!(attached, [4]);
        assert_eq!((relation.below(3), relation.below(1)), (vec![4], vec![]));
    }

    #[track_caller]
    fn refers(key: &str, names: &[&str], expected: Option<Digest>) {
        let descriptor = Descriptor::new(MANIFEST, digest("own"), 1);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let entry = Entry { names, ..Entry::new(descriptor, jiff::Timestamp::UNIX_EPOCH) };
        assert_eq!(
            subject(&key.parse().unwrap(), &entry, &Reach::default()),
            expected,
            "{key} {names:?}",
            names = entry.names
        );
    }

    #[test]
    fn tags_of_cosign_refer_to_their_digest() {
        let (image, hex) = (digest("a"), digest("a").hex());
        for end in [".sig", ".att", ".sbom", ""] {
            refers(
                &format!("app..sha256-{hex}{end}"),
                &[&format!("r:5000/app:sha256-{hex}{end}")],
                Some(image),
            );
            refers(&format!("sha256-{hex}{end}"), &[], Some(image));
        }
        refers(&format!("sha256-{hex}.sig"), &["app:1"], None);
        refers("k", &[&format!("app:sha256-{hex}.sig"), "app:1"], None);
        refers(&format!("sha256-{}", digest("own").hex()), &[], None);
        refers(&format!("sha256-{hex}.exe"), &[], None);
        refers("k", &[], None);
    }
}
