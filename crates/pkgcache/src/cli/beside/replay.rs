//! `replay`: a command, with a server of its own that has what a record names and nothing else.
//!
//! It answers where the command that was recorded had its cache, so that what a build writes down
//! of that is the same. Limit: what a command asks for past the cache (through no variable and no
//! settings file of a client's) is not kept from it.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use miette::Result;
use pkgcache::{Config, Error, Replayed};
use rustix::fs::Mode;
use storekit::files::replace::read_capped;
use storekit::images::FETCHED_CAP;
use storekit::{Fetched, Given, Store, printable};
use toolkit::words::count;
use toolkit::{Environment, Outcome, output};

use crate::cli::beside::record::Booth;
use crate::cli::beside::run::{self, LedArgs};
use crate::cli::machine::Machine;
use crate::cli::process;

/// So many of what is missing are named.
const NAMED: usize = 20;

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The record, as `record` wrote it
    #[arg(id = "record", value_name = "FILE")]
    pub(crate) record: Utf8PathBuf,
    #[command(flatten)]
    pub(crate) led: LedArgs,
}

/// Runs the command. Its exit code is ours; `No` where something of the record is missing here.
/// `users` is the umask that the command is to have.
///
/// # Errors
/// A file that is not a record; a store that cannot be used.
pub(crate) fn replay(
    args: &ReplayArgs,
    config: Config,
    environment: &Environment,
    (store, users): (&Store, Mode),
    quiet: bool,
) -> Result<Outcome> {
    let record = read(&environment.folder.join(&args.record))?;
    let mut replayed = Replayed::of(&store.packages(), &record)?;
    let missing = std::mem::take(&mut replayed.missing);
    if !missing.is_empty() {
        tell_missing(&missing);
        return Ok(Outcome::No);
    }
    if !quiet {
        tell_limits(&record, &replayed);
    }
    let runtime = process::threads()?;
    let outcome = runtime.block_on(async {
        let machine = Machine::this(environment);
        let config = run::with_links(process::fitted(config), &machine, environment);
        let booth = Booth::open(store, &args.led.name)?;
        let url = booth.url();
        let server = booth.replay(config.clone(), store.clone(), replayed)?;
        let (surroundings, here) = run::surroundings(&args.led, &config, &url, &machine, environment)?;
        let mut heard = run::listen()?;
        let control = server.control();
        let running = tokio::spawn(server.run());
        let mut child = match run::started(&surroundings, &args.led, &here, environment, users)? {
            Ok(child) => child,
            Err(outcome) => return Ok(outcome),
        };
        let status = run::follow(&mut child, &mut heard).await;
        let tally = run::tally(url).await;
        control.stop();
        let patience = if heard.was_any { Duration::ZERO } else { run::PATIENCE };
        let _ = tokio::time::timeout(patience, running).await;
        run::summarise(&args.led, tally, &environment.folder)?;
        run::tell_refused(&control.not_served(), &status, quiet);
        if !quiet {
            output::say(&format!("pkgcache: replayed: {}", tally.line()));
        }
        run::ended(status)
    });
    runtime.shutdown_timeout(process::LAST);
    outcome
}

/// The record in a file, with all that a replay needs.
///
/// # Errors
/// [`Error::NotARecord`]; I/O errors.
pub(crate) fn read(path: &Utf8Path) -> Result<Fetched> {
    let bad = |reason: String| Error::NotARecord { path: path.to_owned(), reason };
    let text = read_capped(path, FETCHED_CAP)?.ok_or_else(|| bad("there is no such file".to_owned()))?;
    let record = Fetched::parse(&text).map_err(|unread| bad(unread.to_string()))?;
    if !record.is_replayed {
        let reason = "an earlier version wrote it, and it does not say all that is needed: record anew";
        return Err(bad(reason.to_owned()).into());
    }
    Ok(record)
}

fn tell_missing(missing: &[(Given, &'static str)]) {
    output::say(&format!("pkgcache: {} of the record cannot be replayed:", objects(missing.len())));
    tell(missing);
    output::say("pkgcache: import an export that has them (`pkgcache import`), or record anew");
}

fn tell(some: &[(Given, &'static str)]) {
    for (given, why) in some.iter().take(NAMED) {
        output::say(&format!("pkgcache:   {}: {why}", printable(&given.url)));
    }
    if some.len() > NAMED {
        output::say(&format!("pkgcache:   and {} more", some.len() - NAMED));
    }
}

fn objects(number: usize) -> String {
    count(number as u64, "object")
}

/// Tells what of the recorded command will not be as it was.
fn tell_limits(record: &Fetched, replayed: &Replayed) {
    if !record.complete || record.left_out > 0 {
        output::say("pkgcache: warning: the record does not tell all that its command was given");
    }
    if !replayed.unstored.is_empty() {
        let number = objects(replayed.unstored.len());
        output::say(&format!("pkgcache: warning: {number} of the record will be refused:"));
        tell(&replayed.unstored);
    }
}
