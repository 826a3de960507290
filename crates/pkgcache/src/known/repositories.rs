//! What is known of Debian repositories: their releases and their indexes of packages.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use storekit::{Digest, Level};

use crate::ecosystem::apt::{Packing, Release};

/// Indexes of packages that are known of one repository.
const INDEXES: usize = 256;

/// An index of packages that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packages {
    /// What names it.
    pub(crate) digest: Digest,
    /// How it is packed.
    pub(crate) packing: Packing,
    /// Who vouches for it.
    pub(crate) level: Level,
}

/// A release, and who vouches for it.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    /// What it says.
    pub(crate) release: Arc<Release>,
    /// Who says that these bytes are it.
    pub(crate) level: Level,
}

/// What is known of a repository.
#[derive(Debug, Default)]
struct Repository {
    /// The newest first.
    packages: VecDeque<Packages>,
}

#[derive(Debug, Default)]
struct State {
    repositories: HashMap<String, Repository>,
    releases: VecDeque<((Digest, Option<Digest>), Vouched)>,
}

/// What is known of repositories.
#[derive(Debug, Default)]
pub(crate) struct Repositories(Mutex<State>);

impl Repositories {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The repository has such an index.
    pub(crate) fn learn(&self, base: &str, packages: Packages) -> bool {
        let mut state = self.state();
        let known = &mut state.repositories.entry(base.to_owned()).or_default().packages;
        if known.front() == Some(&packages) || known.contains(&packages) {
            return false;
        }
        known.push_front(packages);
        known.truncate(INDEXES);
        true
    }

    /// The indexes of a repository, the newest first.
    pub(crate) fn packages(&self, base: &str) -> Vec<Packages> {
        let state = self.state();
        state.repositories.get(base).map(|it| it.packages.iter().cloned().collect()).unwrap_or_default()
    }

    /// The release with this digest, read without a look at its signature, or with the keyring of
    /// this digest.
    pub(crate) fn release(&self, key: (Digest, Option<Digest>)) -> Option<Vouched> {
        self.state().releases.iter().find(|(it, _)| *it == key).map(|(_, release)| release.clone())
    }

    /// Remembers what it says.
    pub(crate) fn keep_release(&self, key: (Digest, Option<Digest>), release: &Vouched) {
        let mut state = self.state();
        state.releases.push_front((key, release.clone()));
        state.releases.truncate(16);
    }
}
