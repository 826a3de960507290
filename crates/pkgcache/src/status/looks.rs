//! What was found when the store was looked through last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::{Day, Stored};

/// What was seen is shown for so long.
const LEAST: Duration = Duration::from_secs(10);
/// After a look, there is none for so many times as long as it took.
const PEACE: u32 = 20;

/// What was found at the last look.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    last: Mutex<Option<Look>>,
    /// Held by whoever looks.
    turn: tokio::sync::Mutex<()>,
}

/// A look, and how long it took.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) seen: Arc<Seen>,
    pub(crate) ended: Instant,
    pub(crate) took: Duration,
}

/// What one look has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) stored: Stored,
    pub(crate) days: Vec<Day>,
}

impl Look {
    /// Whether it is too early for another one.
    pub(crate) fn is_good(&self) -> bool {
        self.ended.elapsed() < LEAST.max(self.took.saturating_mul(PEACE))
    }
}

impl Looks {
    /// Waits until nobody else looks.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The last, if there was one.
    pub(crate) fn last(&self) -> Option<Look> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This is the last.
    pub(crate) fn keep(&self, look: Look) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }
}
