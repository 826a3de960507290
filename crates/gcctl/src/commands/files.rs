//! `ls` of what is neither an image nor a package.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use storekit::Store;
use toolkit::Outcome;

use super::console::Console;
use super::view::Listing;
use crate::disk::{self, Apart, Place};
use crate::error::{Error, Result};
use crate::show::files::{FileKind, FileRow, file_list, file_rows};

/// Lists the files of a kind; of the trash its folders, each with all that lies in it.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn ls_files(
    store: &Store,
    kind: FileKind,
    listing: &Listing,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let now = Timestamp::now();
    list(files(store, kind, now)?, listing, now, console)
}

/// Prints the rows that are meant.
pub(super) fn list(
    rows: Vec<FileRow>,
    listing: &Listing,
    now: Timestamp,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let rows = file_rows(rows, &listing.filter, now);
    if listing.nul {
        rows.iter().try_for_each(|row| write!(console.out, "{}\0", row.path)).map_err(Error::output)?;
    } else if console.json {
        rows.iter().try_for_each(|row| console.line(row))?;
    } else if rows.is_empty() {
        console.say(if listing.filter.narrows() { "none match" } else { "there are none" });
    } else {
        console.table(&file_list(&rows, now))?;
    }
    console.flush().map(|()| Outcome::Yes)
}

/// Where they are, below the store.
fn folders(kind: FileKind) -> &'static [&'static str] {
    match kind {
        FileKind::Contexts => &["contexts"],
        FileKind::Trash => &["trash"],
        FileKind::Unfinished => &["images", "packages"],
        FileKind::FirstSeen => &["packages"],
        FileKind::Inputs => &["images"],
        FileKind::Events => &["events"],
        // Not in the store.
        FileKind::Extra => &[],
    }
}

fn files(store: &Store, kind: FileKind, now: Timestamp) -> Result<Vec<FileRow>> {
    let mut apart = Apart::default();
    for other in ["contexts", "trash", "images", "packages", "events", "remotes"] {
        if !folders(kind).contains(&other) {
            apart.without(&store.root().join(other));
        }
    }
    let mut rows: BTreeMap<String, FileRow> = BTreeMap::new();
    disk::walk(store.root(), &apart, &mut |found: disk::Found<'_>| {
        let below = found.path.strip_prefix(store.root()).unwrap_or(found.path);
        let Some(path) = row_of(kind, below, &found.place) else { return Ok::<_, Error>(()) };
        let used = found.metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let used = used.unwrap_or(now).min(now);
        let new = || FileRow { kind, path: path.clone(), size: 0, used };
        let row = rows.entry(path.clone()).or_insert_with(new);
        row.size += found.bytes;
        Ok(())
    })?;
    Ok(rows.into_values().collect())
}

/// In which row it counts.
fn row_of(kind: FileKind, below: &Path, place: &Place) -> Option<String> {
    let is_meant = match (kind, place) {
        (FileKind::Trash, Place::Trash(name)) => return Some(format!("trash/{name}")),
        (FileKind::Contexts, Place::Context)
        | (FileKind::Unfinished, Place::Unfinished)
        | (FileKind::Events, Place::Events)
        | (FileKind::FirstSeen, Place::FirstSeen) => true,
        (FileKind::Inputs, Place::OfKey(_)) => below.starts_with("images/inputs"),
        _ => false,
    };
    is_meant.then(|| below.to_string_lossy().into_owned())
}
