//! Builds whose package clients come through pkgcache: it starts its server for the build, leads
//! the steps there, and says what that saved and what was fetched. Each build has an address of its
//! own there, so that builds side by side are told apart.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use serde::{Deserialize, Serialize};
use storekit::size::ByteSize;

use super::command::Cmd;
use super::tools::Tools;

/// What package clients took from the package cache, as `pkgcache run --summary` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Answers that were stored.
    pub hits: u64,
    /// Answers that were not.
    pub misses: u64,
    /// Bytes that came from upstreams.
    pub fetched: u64,
    /// Bytes that did not have to.
    pub saved: u64,
}

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (all, fetched) = (self.hits + self.misses, ByteSize(self.fetched));
        write!(f, "{} of {all} from the package cache, {fetched} fetched", self.hits)
    }
}

/// How a build comes through the package cache.
pub(crate) struct Through {
    summary: Utf8PathBuf,
    record: Utf8PathBuf,
    starter: Cmd,
}

impl Through {
    /// For these clients of the image or disk of this name, with what it needs in a temporary
    /// folder; `None` where there are none.
    pub(crate) fn of(
        name: &str,
        clients: &[String],
        tools: &Tools,
        store: Option<&Utf8Path>,
        temp: &Utf8Path,
    ) -> Option<Self> {
        if clients.is_empty() {
            return None;
        }
        let [summary, record] = ["packages.json", "packages.ndjson"].map(|file| temp.join(file));
        // What an earlier build has left there is not this one's.
        for file in [&summary, &record] {
            let _ = std::fs::remove_file(file);
        }
        let cmd = tools.pkgcache("run").arg("--quiet").arg("--summary").path(&summary);
        let cmd = cmd.arg("--record").path(&record).flag("--as", name);
        let cmd = match store {
            Some(store) => cmd.arg("--store").path(store),
            None => cmd,
        };
        let starter = cmd.flag("--only", &clients.join(",")).arg("--");
        Some(Self { summary, record, starter })
    }

    /// The command, through the cache.
    pub(crate) fn lead(&self, cmd: Cmd) -> Cmd {
        cmd.under(self.starter.clone())
    }

    /// The file with what was fetched, where there is one.
    pub(crate) fn record(&self) -> Option<Utf8PathBuf> {
        self.record.is_file().then(|| self.record.clone())
    }

    /// What the cache says of it; `None` where it says nothing.
    pub(crate) fn summary(&self) -> Option<Packages> {
        serde_json::from_slice(&std::fs::read(&self.summary).ok()?).ok()
    }
}
