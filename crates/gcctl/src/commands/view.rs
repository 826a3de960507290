//! What is stored, as it is looked at: nothing is changed.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use storekit::{KeyOrName, Store};
use toolkit::Outcome;

use super::collected;
use super::console::Console;
use super::extra;
use super::verify::not_fetched;
use crate::error::{Error, Result};
use crate::events::Told;
use crate::extra::Folder;
use crate::show;
use crate::show::ls::Filter;
use crate::snapshot::called as called_by;
use crate::stats::{Parts, Stats, image_table, source_table};
use crate::survey::survey;

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Packages, and not images.
    pub packages: bool,
    /// Which, and in which order.
    pub filter: Filter,
    /// Whether only keys or URLs are printed, each with a NUL behind it.
    pub nul: bool,
}

/// Lists images or packages.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn ls(store: &Store, listing: &Listing, console: &mut Console<'_>) -> Result<Outcome> {
    // Events say how often images were used, and nothing of what is listed of packages.
    let told = if listing.packages { Told::default() } else { Told::by(store, Timestamp::now())? };
    let snapshot = survey(store, &told)?;
    let (mut images, mut packages) = (Vec::new(), Vec::new());
    if listing.packages {
        packages = show::ls::package_rows(&snapshot.packages, &listing.filter, snapshot.now);
    } else {
        images = show::ls::rows(&snapshot, &listing.filter);
    }
    if listing.nul {
        let mut ids = show::ls::ids(&images, &packages);
        ids.try_for_each(|id| write!(console.out, "{id}\0")).map_err(Error::output)?;
    } else if console.json {
        images.iter().try_for_each(|row| console.line(row))?;
        packages.iter().try_for_each(|row| console.line(row))?;
    } else if images.is_empty() && packages.is_empty() {
        let what = if listing.packages { "no packages" } else { "no images" };
        console.say(format!("{what} {}", if listing.filter.narrows() { "match" } else { "are stored" }));
    } else if listing.packages {
        console.table(&show::ls::package_list(&packages, snapshot.now))?;
    } else {
        console.table(&show::ls::list(&images, snapshot.now))?;
    }
    console.flush()?;
    let unfetched = images.iter().filter(|row| row.is_not_fetched()).count() as u64;
    if unfetched > 0 {
        console.say(not_fetched(store, unfetched, "image"));
    }
    Ok(Outcome::Yes)
}

/// What something is known by.
#[derive(Clone, Debug)]
pub enum Id {
    /// An image: its key, the beginning of it, or a name.
    Image(KeyOrName),
    /// A package: its URL.
    Package(String),
}

impl FromStr for Id {
    type Err = <KeyOrName as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") { Ok(Self::Package(text.to_owned())) } else { text.parse().map(Self::Image) }
    }
}

/// What `df --json` prints.
#[derive(Serialize)]
struct DfLine<'a> {
    #[serde(flatten)]
    df: &'a show::Df,
    /// Beside the store, and in no sum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra: Vec<extra::Row<'a>>,
}

/// Prints what the store occupies, with bars on a terminal of so many columns; and beside it what
/// extra folders do.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn df(
    store: &Store,
    extras: &[Folder],
    columns: Option<usize>,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let snapshot = survey(store, &Told::default())?;
    let df = show::df(&snapshot);
    let extra = extra::rows(extras, console);
    if console.json {
        console.line(&DfLine { df: &df, extra })?;
    } else {
        console.table(&show::df_table(&df, columns))?;
        if console.verbose && !snapshot.images.is_empty() {
            console.table(&show::image_names(&snapshot))?;
        }
        if console.verbose && !snapshot.packages.is_empty() {
            console.table(&show::ecosystems(&snapshot.packages))?;
        }
        if !extra.is_empty() {
            console.table(&extra::table(&extra))?;
        }
    }
    console.flush()?;
    if let Some(held) = collected::held_back(store, snapshot.now) {
        console.warn(held);
    }
    Ok(Outcome::Yes)
}

/// Prints how well the caches did in the last days, each and all together; and of which images and
/// sources of packages.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn stats(store: &Store, days: u32, console: &mut Console<'_>) -> Result<Outcome> {
    let span = jiff::SignedDuration::from_hours(24 * i64::from(days.saturating_sub(1)));
    let now = Timestamp::now();
    let first = now.checked_sub(span).unwrap_or(Timestamp::MIN);
    let told = Told::by(store, now)?;
    let (mut stats, mut parts) = (Stats::default(), Parts::default());
    store.events().each(Some(first), |event| {
        stats.add(&event);
        parts.add(&event);
    })?;
    stats.settle(told.rates());
    let together = stats.together();
    let (images, sources) = (parts.images(|key| called(store, key)), parts.sources(told.rates()));
    if console.json {
        images.iter().try_for_each(|line| console.line(line))?;
        sources.iter().try_for_each(|line| console.line(line))?;
        stats.lines(&together).try_for_each(|line| console.line(&line))?;
    } else {
        let mut tables = stats.tables(&together);
        tables.extend((!images.is_empty()).then(|| image_table(&images)));
        tables.extend((!sources.is_empty()).then(|| source_table(&sources)));
        for table in tables {
            console.table(&table)?;
        }
    }
    console.flush()?;
    if stats.is_empty() && images.is_empty() {
        console.say("nothing is on record: bakes and the package cache note what they do in the store");
    }
    Ok(Outcome::Yes)
}

/// What the key's image is called, where it is there.
fn called(store: &Store, key: &str) -> Option<String> {
    let listed = store.images().peek(&key.parse().ok()?).ok()??;
    Some(called_by(&listed.entry.origin, &listed.entry.names).unwrap_or(key).to_owned())
}
