//! The tiers behind the store of one bake.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::queue::Queue;
use super::reach::{Pulled, Tiers};
use super::reached::Trouble;
use crate::config::tiers::tier::PATIENCE;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;

/// Where a bake gets images that its store lacks, and where those go that it saves.
pub(crate) struct Supply<'a> {
    pub(crate) tiers: &'a Tiers<'a>,
    pub(crate) queue: &'a Queue,
    pub(crate) runner: &'a Runner,
    /// Whether nothing is to be changed.
    pub(crate) is_check: bool,
    /// The registries that did not answer for a name; they are not asked again.
    pub(crate) silent: Mutex<BTreeSet<String>>,
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
        let mut lacking = places.lacking;
        for at in places.holders.iter().copied() {
            match self.tiers.pull(at, key, over)? {
                Pulled::Here => {
                    let others = places.holders.iter().filter(|other| !lacking.contains(other));
                    others.for_each(|other| self.tiers.saw(*other, key));
                    self.queue.send(key, Some(&lacking));
                    return Ok(Some(self.tiers.name(at)));
                }
                Pulled::Gone | Pulled::Failed(None) => {}
                Pulled::Failed(Some(trouble)) => trouble.tell(self.runner),
            }
            lacking.push(at);
        }
        Ok(None)
    }

    /// The first of these names in registries under which the image of the key stands, as its
    /// manifest says; out of a check, it is in the store now. `pull` is completed to the command
    /// that brings it.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn take(
        &self,
        names: Vec<String>,
        key: &str,
        tools: &Tools,
        pull: impl Fn(Cmd) -> Cmd,
    ) -> Result<Option<String>, RunError> {
        for name in names {
            let host = name.split('/').next().unwrap_or_default().to_owned();
            if self.silent().contains(&host) {
                continue;
            }
            let mut said = Vec::new();
            let ask = tools.imgtar("resolve").args([name.as_str(), "--key", "-q"]).within(Some(PATIENCE));
            let asked = self.runner.hold(&ask, &mut said);
            let is_it = match asked {
                Err(error) if error.is_interruption() => return Err(error),
                Ok((status, said)) if matches!(code(status), Some(0 | 1)) => {
                    status.success() && String::from_utf8_lossy(&said).trim() == key
                }
                _ => {
                    let message = format!("the names of `{host}` are left out of the rest of this run");
                    if self.silent().insert(host) {
                        Trouble { message, said }.tell(self.runner);
                    }
                    false
                }
            };
            if !is_it {
                continue;
            }
            let pull = pull(tools.imgtar("pull").args([name.as_str(), "--key", key, "-q"]));
            if self.is_check || self.runner.capture(&pull)?.0.success() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn silent(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what was found under the key to those tiers that are written and are not known to have
    /// it: they may have been away when it was saved.
    pub(crate) fn offer(&self, key: &str) {
        let lacking = self.tiers.unseen(key);
        if !self.is_check && !lacking.is_empty() {
            self.queue.send(key, Some(&lacking));
        }
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
