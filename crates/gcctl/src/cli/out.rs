//! The options of `clean` and `rm`.

use std::io::{self, Read};

use clap::Args;
use gcctl::commands::{self, Console, Force, Wanted};
use gcctl::limits::{Layer, Limits};
use gcctl::plan::Clean;
use gcctl::{Error, Result};
use storekit::{Age, Store};
use toolkit::{Outcome, Signals};

/// No more is read of what is to go: 256 MiB.
const CAP: u64 = 256 << 20;

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct CleanArgs {
    /// Remove images: what is done where nothing is said
    #[arg(long)]
    images: bool,
    /// Remove package downloads
    #[arg(long)]
    packages: bool,
    /// Remove what hashctx remembers of folders that it has read
    #[arg(long)]
    contexts: bool,
    /// Remove all of these
    #[arg(long, conflicts_with_all = ["images", "packages", "contexts"])]
    all: bool,
}

impl CleanArgs {
    pub(super) fn clean(&self) -> Clean {
        let none = !(self.images || self.packages || self.contexts);
        Clean {
            images: none || self.images,
            packages: self.all || self.packages,
            contexts: self.all || self.contexts,
        }
    }
}

#[derive(Args)]
pub(super) struct OutArgs {
    /// Print what would go, and remove nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Keep removed things for this long; `0s` deletes them at once
    #[arg(long, value_name = "AGE")]
    trash_grace: Option<Age>,
}

impl OutArgs {
    pub(super) fn layer(&self) -> Layer {
        Layer { trash_grace: self.trash_grace, ..Layer::default() }
    }

    /// Removes what is wanted, or prints it.
    pub(super) fn take(
        &self,
        store: &Store,
        wanted: &Wanted,
        limits: &Limits,
        signals: &Signals,
        console: &mut Console<'_>,
    ) -> Result<Outcome> {
        if self.dry_run {
            return commands::plan(store, wanted, limits, &[], Force::Yes, console);
        }
        let stop = signals.stop();
        signals.held(|| commands::run(store, wanted, limits, &[], Force::Yes, &stop, console))
    }
}

/// The IDs, with those from stdin in the place of `-`.
pub(super) fn read_ids(ids: &[String]) -> Result<Vec<String>> {
    let reading = |source| Error::Stream { doing: "read what is to go", source };
    let mut text = String::new();
    io::stdin().lock().take(CAP).read_to_string(&mut text).map_err(reading)?;
    let read = text.split(['\n', '\0']).map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned);
    Ok(ids.iter().filter(|id| *id != "-").cloned().chain(read).collect())
}
