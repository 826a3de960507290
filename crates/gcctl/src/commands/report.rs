//! `report`: one page about a store.

use camino::Utf8Path;
use jiff::{SignedDuration, Timestamp};
use storekit::Store;
use storekit::files::output;
use toolkit::Outcome;

use super::console::Console;
use super::extra;
use crate::error::{Error, Result};
use crate::events::Told;
use crate::extra::Folder;
use crate::limits::Limits;
use crate::plan;
use crate::report::{DAYS, Report};
use crate::stats::Stats;
use crate::survey::survey;

/// Writes the page to a file, whole or not at all, or to the console where `output` is `-`.
///
/// # Errors
/// [`Error::NoJson`] where JSON is asked for; a store that cannot be read, an output that cannot be
/// written.
pub fn report(
    store: &Store,
    output: &Utf8Path,
    limits: &Limits,
    extras: &[Folder],
    console: &mut Console<'_>,
) -> Result<Outcome> {
    if console.json {
        return Err(Error::NoJson);
    }
    let snapshot = survey(store, &Told::of_all(store, Timestamp::now())?)?;
    let mut stats = Stats::default();
    let span = SignedDuration::from_hours(24 * i64::from(DAYS - 1));
    let first = snapshot.now.checked_sub(span).unwrap_or(Timestamp::MIN);
    store.events().each(Some(first), |event| stats.add(&event))?;
    let plan = plan::decide(&snapshot, limits);
    let going = extra::chosen(extras, snapshot.now, console);
    let folders = extra::told(extras, &going, console);
    let report = Report {
        store: store.root().as_str(),
        snapshot: &snapshot,
        stats: &stats,
        plan: &plan,
        folders: &folders,
    };
    let page = report.html();
    if output == "-" {
        console.out.write_all(page.as_bytes()).map_err(Error::output)?;
    } else {
        output::write(output, page.as_bytes())?;
        console.say(format!("wrote {output}"));
    }
    console.flush().map(|()| Outcome::Yes)
}
