//! What became of the images and disks that one comes after, and what follows from it: what its key
//! says of them, and whether what is stored under that can still stand.

use std::collections::BTreeMap;

use camino::Utf8Path;
use storekit::store::Store;

use crate::report::changes::Changes;
use crate::report::{Baked, State};

/// By this the key knows what has neither a key nor an ID; under such a key nothing is saved.
const UNKNOWN: &str = "unknown";

/// The images and disks that one comes after.
pub(super) struct Before<'b> {
    /// Those that it is built from or needs: their keys are in its own.
    below: Vec<&'b Baked>,
    /// Those whose outputs it reads: the files are in its key.
    feeds: Vec<&'b Baked>,
}

/// Why what is stored under a key is not taken, whatever it is.
pub(super) struct Against {
    pub(super) reason: String,
    /// Those whose rebuild is the reason.
    pub(super) chain: Vec<String>,
    /// Whether what is stored is of an earlier one, and is to be saved over.
    pub(super) replace: bool,
}

impl Against {
    /// What the command line and larder.toml have against it.
    pub(super) fn of_options(is_rebuilt: bool, is_cached: bool) -> Option<Self> {
        let reason = match (is_rebuilt, is_cached) {
            (true, _) => "asked for with `--rebuild`",
            (false, false) => "the image cache is off",
            (false, true) => return None,
        };
        Some(Self { reason: reason.to_owned(), chain: Vec::new(), replace: false })
    }
}

impl<'b> Before<'b> {
    /// One may be among both.
    pub(super) fn new(below: Vec<&'b Baked>, feeds: Vec<&'b Baked>) -> Self {
        Self { below, feeds }
    }

    /// All of them.
    fn all(&self) -> impl Iterator<Item = &'b Baked> {
        self.below.iter().chain(&self.feeds).copied()
    }

    /// Those whose keys are in its own.
    pub(super) fn below(&self) -> impl Iterator<Item = &'b Baked> {
        self.below.iter().copied()
    }

    /// One that could not be baked.
    pub(super) fn failed(&self) -> Option<&'b Baked> {
        self.all().find(|base| base.state == State::Failed)
    }

    /// In a check: why its inputs are not known, where one whose outputs it reads would make them
    /// anew.
    pub(super) fn stale_feed(&self) -> Option<String> {
        let feed = self.feeds.iter().find(|feed| feed.state == State::Stale)?;
        Some(format!("the outputs of `{}`, which it reads, would be made anew", feed.image))
    }

    /// In a check: why its inputs are not known, where they are outputs that were not brought yet.
    pub(super) fn absent_feed(&self) -> Option<String> {
        let feed = self.feeds.iter().find(|feed| feed.state == State::Hit)?;
        Some(format!("the outputs of `{}`, which it reads, are not all in place", feed.image))
    }

    /// One that was, or would be, built in this bake.
    pub(super) fn changed(&self) -> Option<&'b Baked> {
        self.below().find(|base| matches!(base.state, State::Built | State::Stale))
    }

    /// What there is against taking what is stored under the key, of one that needs those.
    pub(super) fn against(&self, store: Option<&Utf8Path>, key: &str, needs: &[String]) -> Option<Against> {
        if let Some(base) = self.outlived(store, key) {
            return Some(Against { reason: rebuilt(base), chain: chain(base), replace: true });
        }
        let unsaved = || Some(not_saved(self.unknown(needs)?));
        let reason = self.stale_feed().or_else(unsaved)?;
        Some(Against { reason, chain: Vec::new(), replace: false })
    }

    /// One that was saved after what is stored under the key: what is stored is made from the one
    /// before.
    fn outlived(&self, store: Option<&Utf8Path>, key: &str) -> Option<&'b Baked> {
        let store = Store::open(store?).ok()?;
        let saved = |key: &str| Some(store.images().peek(&key.parse().ok()?).ok()??.entry.saved);
        let own = saved(key)?;
        let is_later = |base: &&Baked| {
            let key = key_of(base);
            key.is_some()
                && (base.state == State::Stale || key.and_then(saved).is_some_and(|saved| saved > own))
        };
        self.below().find(is_later)
    }

    /// By what the key knows each of those that it needs by these names.
    pub(super) fn known(&self, needs: &[String]) -> BTreeMap<String, String> {
        let needed = self.below().filter(|base| needs.contains(&base.image));
        needed.map(|base| (base.image.clone(), known(base).unwrap_or_else(|| UNKNOWN.to_owned()))).collect()
    }

    /// One of these that the key does not know, for it was not saved: nothing may be saved, or
    /// looked for, under such a key.
    pub(super) fn unknown(&self, needs: &[String]) -> Option<&'b String> {
        let mut needed = self.below().filter(|base| needs.contains(&base.image));
        needed.find(|base| known(base).is_none()).map(|base| &base.image)
    }

    /// Their names, each of those whose outputs it reads only where its key is not in its own.
    pub(super) fn names(&self) -> Vec<String> {
        let is_other = |feed: &&&Baked| !self.below.iter().any(|below| below.image == feed.image);
        let all = self.below.iter().chain(self.feeds.iter().filter(is_other));
        all.map(|base| base.image.clone()).collect()
    }

    /// In which round it can be baked.
    pub(super) fn wave(&self) -> usize {
        1 + self.all().map(|base| base.wave).max().unwrap_or_default()
    }
}

/// What is told of the first that a key does not know.
pub(super) fn not_saved(need: &str) -> String {
    format!("`{need}`, which it needs, was not saved")
}

/// The key by which an image or a disk is known to those above it: that of what there is of it now.
/// Where that was not saved, it may be something else.
pub(super) fn key_of(base: &Baked) -> Option<&str> {
    base.key.as_deref().filter(|_| base.by_key)
}

fn known(base: &Baked) -> Option<String> {
    key_of(base).map(|key| format!("larder:{key}")).or_else(|| base.id.clone())
}

/// Why something is not taken from the store. `chain` are those whose rebuild is the reason: they
/// say more than what changed in the key.
pub(super) fn why(reason: Option<&str>, chain: &[String], changes: Option<&Changes>) -> String {
    let changes = changes.filter(|_| chain.is_empty()).map(ToString::to_string);
    let reasons: Vec<_> = reason.map(str::to_owned).into_iter().chain(changes).collect();
    if reasons.is_empty() { "no earlier save".to_owned() } else { reasons.join("; ") }
}

/// Why something is made anew of which something else was that it is made from: down to the one
/// whose own inputs changed.
pub(super) fn rebuilt(base: &Baked) -> String {
    let was = if base.state == State::Stale { "would be" } else { "was" };
    match (base.reason.as_deref(), base.chain.is_empty()) {
        (None, _) => format!("`{}` {was} rebuilt", base.image),
        (Some(reason), true) => format!("`{}` {was} rebuilt: {reason}", base.image),
        (Some(reason), false) => format!("`{}` {was} rebuilt because {reason}", base.image),
    }
}

/// Those whose rebuild is the reason for one on this one, the nearest first.
pub(super) fn chain(base: &Baked) -> Vec<String> {
    std::iter::once(&base.image).chain(&base.chain).cloned().collect()
}
