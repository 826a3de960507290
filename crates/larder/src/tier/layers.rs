//! The layers that engines keep of builds, in tiers: where a build finds those of other machines,
//! and where it leaves its own.
//!
//! In a registry they stand beside the tier's own repository, whose tags are keys; a store is
//! served for as long as the bake runs; a bucket has none. Deliberately absent: what an engine can
//! do with them.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::reach::Tiers;
use crate::config::tiers::tier::{Place, Tier};
use crate::process::background::Background;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;

/// Repositories that have layers, the first one that is asked at the front: those that a build
/// takes them from, and those that it writes them to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repositories {
    pub(crate) read: Vec<String>,
    pub(crate) written: Vec<String>,
}

/// The layers in the tiers of one bake.
pub(crate) struct Layers<'a> {
    pub(crate) tiers: &'a Tiers<'a>,
    pub(crate) tools: &'a Tools,
    pub(crate) runner: &'a Runner,
    /// For what servers say.
    pub(crate) temp: &'a Utf8Path,
    /// The stores that are served, by the name of the tier; `None` where that does not work.
    pub(crate) served: Mutex<Vec<(String, Option<Served>)>>,
}

/// A store that is served as a registry.
pub(crate) struct Served {
    /// Where it listens.
    host: String,
    /// Ends with the bake.
    _server: Background,
}

impl Layers<'_> {
    /// Where the layers of the tiers are that have not failed so far, and whose images need no
    /// signature. `with_stores`: whether the
    /// engine can take them from a server of this machine that has no TLS.
    ///
    /// # Errors
    /// Only where a signal came.
    pub(crate) fn repositories(&self, with_stores: bool) -> Result<Repositories, RunError> {
        let mut found = Repositories::default();
        let written: Vec<_> = self.tiers.open_to_write().collect();
        for tier in self.tiers.open_to_read() {
            let is_written = written.iter().any(|other| other.name == tier.name);
            found.read.extend(self.repository(tier, is_written, with_stores)?);
        }
        for tier in written {
            found.written.extend(self.repository(tier, true, with_stores)?);
        }
        Ok(found)
    }

    /// The names of the tiers whose layers an engine does without that takes none from a server
    /// without TLS.
    pub(crate) fn without_tls(&self) -> Vec<&str> {
        let tiers = self.tiers.open_to_read().chain(self.tiers.open_to_write());
        let stores = tiers.filter(|tier| matches!(tier.place, Place::Store(_)));
        let mut names: Vec<_> = stores.map(|tier| tier.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn repository(
        &self,
        tier: &Tier,
        is_written: bool,
        with_stores: bool,
    ) -> Result<Option<String>, RunError> {
        // Nobody signs layers.
        if !tier.signed_by.is_empty() {
            return Ok(None);
        }
        Ok(match &tier.place {
            Place::Registry(repository) => Some(format!("{repository}-layers")),
            Place::Store(folder) if with_stores => {
                self.served(tier, folder, is_written)?.map(|host| format!("{host}/larder/layers"))
            }
            Place::Store(_) | Place::S3(_) => None,
        })
    }

    /// Where the store of the tier is served; it is from the first time on.
    fn served(
        &self,
        tier: &Tier,
        folder: &Utf8PathBuf,
        is_written: bool,
    ) -> Result<Option<String>, RunError> {
        let mut known = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, served)) = known.iter().find(|(name, _)| *name == tier.name) {
            return Ok(served.as_ref().map(|served| served.host.clone()));
        }
        let cmd = self.tools.imgtar("serve").arg("--store").path(folder).args(["--listen", "127.0.0.1:0"]);
        let cmd = if is_written { cmd } else { cmd.arg("--read-only") };
        let log = self.temp.join(format!("served-{}", known.len()));
        let server = self.runner.background(&cmd, &log)?;
        let host = self.listening(&log, tier.timeout.0)?;
        if host.is_none() {
            let name = &tier.name;
            self.runner.tell(&format!(
                "warning: the layers of the tier `{name}` are left out: `{cmd}` does not answer"
            ));
        }
        let one = host.clone().map(|host| Served { host, _server: server });
        known.push((tier.name.clone(), one));
        Ok(host)
    }

    /// What the server says where it listens, once it does.
    fn listening(&self, log: &Utf8Path, patience: Duration) -> Result<Option<String>, RunError> {
        let asked = Instant::now();
        while asked.elapsed() < patience {
            self.runner.uninterrupted()?;
            let said = fs::read_to_string(log).unwrap_or_default();
            if let Some(host) = said.lines().find_map(|line| line.strip_prefix("http://"))
                && said.ends_with('\n')
            {
                return Ok(Some(host.to_owned()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(None)
    }
}
