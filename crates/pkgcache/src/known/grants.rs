//! Which objects of Git LFS a client may have, and where they are: what the server said of a batch.
//! In memory alone: a client that comes back after a restart asks the server again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use storekit::PackageKey;

use crate::ecosystem::lfs::{Action, Object};
use crate::store::recent::Recent;

/// So many are remembered at least.
const MOST: usize = 65_536;
/// For no longer than this: 6 h.
const LASTING: Duration = Duration::from_secs(6 * 60 * 60);

/// What a client may have.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Under what it is stored; an account's has its scope.
    pub(crate) key: PackageKey,
    /// The object.
    pub(crate) object: Object,
    /// Where it is; `None` where only what is stored can be had.
    pub(crate) action: Option<Arc<Action>>,
    until: Instant,
}

/// All of them, by tickets that nobody can guess.
#[derive(Debug)]
pub(crate) struct Grants(Mutex<Recent<String, Arc<Grant>>>);

impl Default for Grants {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MOST)))
    }
}

impl Grants {
    /// A ticket for the object. `None` where the system has no random bytes.
    pub(crate) fn give(&self, key: PackageKey, object: &Object, action: Option<Action>) -> Option<String> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let ticket = format!("{:032x}", u128::from_ne_bytes(bytes));
        let until = Instant::now() + LASTING;
        let grant = Grant { key, object: object.clone(), action: action.map(Arc::new), until };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket.clone(), Arc::new(grant));
        Some(ticket)
    }

    /// What the ticket is for.
    pub(crate) fn of(&self, ticket: &str) -> Option<Arc<Grant>> {
        let grant = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(ticket)?;
        (Instant::now() < grant.until).then_some(grant)
    }
}
