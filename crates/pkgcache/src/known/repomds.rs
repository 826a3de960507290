//! What repomd.xml files say, by their bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use storekit::{Digest, Level};

use crate::ecosystem::dnf::Repomd;

/// So many are remembered.
const MOST: usize = 64;

/// What a repomd.xml says, and who vouches for it.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    /// What it says.
    pub(crate) repomd: Arc<Repomd>,
    /// Who says that these bytes are it.
    pub(crate) level: Level,
}

/// A repomd.xml that was read without a look at its signature, or with the keyring of this digest.
pub(crate) type Read = (Digest, Option<Digest>);

/// What was read of them.
#[derive(Debug, Default)]
pub(crate) struct Repomds(Mutex<VecDeque<(Read, Vouched)>>);

impl Repomds {
    /// What it says, if that is known.
    pub(crate) fn get(&self, key: Read) -> Option<Vouched> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(it, _)| *it == key).map(|(_, vouched)| vouched.clone())
    }

    /// Remembers what it says.
    pub(crate) fn keep(&self, key: Read, vouched: &Vouched) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(it, _)| *it != key);
        known.push_front((key, vouched.clone()));
        known.truncate(MOST);
    }
}
