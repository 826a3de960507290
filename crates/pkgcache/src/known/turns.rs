//! Questions that one request asks for all that want to know the same at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use storekit::Digest;

/// Who asks now, by what is asked.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// What is held by whoever asks; the others find the answer when it is theirs.
    pub(crate) fn of(&self, question: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&question).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(question, Arc::downgrade(&turn));
        turn
    }
}
