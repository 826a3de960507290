//! The tiers behind the store of one bake.

use super::{Pulled, Queue, Tiers, Trouble};
use crate::process::runner::{RunError, Runner};

/// Where a bake gets images that its store lacks, and where those go that it saves.
pub(crate) struct Supply<'a> {
    pub(crate) tiers: &'a Tiers<'a>,
    pub(crate) queue: &'a Queue,
    pub(crate) runner: &'a Runner,
    /// Whether nothing is to be changed.
    pub(crate) is_check: bool,
}

impl Supply<'_> {
    /// Brings the image of the key into the store, `over` what is there; and to the tiers that are
    /// written and were asked before the one that has it. The name of the one that has it, if there
    /// is any. A check brings nothing.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn bring(&self, key: &str, over: bool) -> Result<Option<&str>, RunError> {
        if !self.tiers.are_read() {
            return Ok(None);
        }
        let places = self.tiers.places(key)?;
        places.troubles.iter().for_each(|trouble| trouble.tell(self.runner));
        if self.is_check {
            return Ok(places.holders.first().map(|at| self.tiers.name(*at)));
        }
        for at in places.holders {
            match self.tiers.pull(at, key, over)? {
                Pulled::Here => {
                    self.queue.send(key, Some(&places.lacking));
                    return Ok(Some(self.tiers.name(at)));
                }
                Pulled::Gone | Pulled::Failed(None) => {}
                Pulled::Failed(Some(trouble)) => trouble.tell(self.runner),
            }
        }
        Ok(None)
    }

    /// Sends what is saved under the key to all tiers that are written.
    pub(crate) fn send(&self, key: &str) {
        self.queue.send(key, None);
    }
}

impl Trouble {
    /// Warns of it, with what `imgtar` said below.
    pub(crate) fn tell(&self, runner: &Runner) {
        runner.tell(&format!("warning: {}:", self.message));
        runner.release(&self.said);
    }
}
