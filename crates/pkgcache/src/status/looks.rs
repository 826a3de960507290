//! What was found when the store was looked through last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::{Day, Stored};

/// What was seen is shown for so long.
const LEAST: Duration = Duration::from_secs(10);
/// After a look, there is none for so many times as long as it took.
const PEACE: u32 = 20;

/// Whoever asks waits for a look that takes no longer; of a longer one the last is shown meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

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

    /// Whether it is shown while another one goes on, for that is not waited for.
    pub(crate) fn is_shown_meanwhile(&self) -> bool {
        self.took > PATIENCE
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_good_for_a_while_and_shown_meanwhile_if_it_was_slow() {
        let stored = Stored {
            time: jiff::Timestamp::UNIX_EPOCH,
            ecosystems: Vec::new(),
            indexes: Vec::new(),
            unverified: 0,
            unverified_urls: Vec::new(),
        };
        let seen = Arc::new(Seen { stored, days: Vec::new() });
        let look = |ago: u64, took: u64| Look {
            seen: Arc::clone(&seen),
            ended: Instant::now().checked_sub(Duration::from_secs(ago)).expect("the machine runs so long"),
            took: Duration::from_millis(took),
        };
        assert!(look(1, 10).is_good() && !look(11, 10).is_good());
        assert!(look(30, 2_000).is_good() && !look(41, 2_000).is_good());
        assert!(look(41, 2_000).is_shown_meanwhile() && !look(11, 900).is_shown_meanwhile());
    }
}
