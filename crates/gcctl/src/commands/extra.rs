//! Folders of other tools, as `ls`, `df`, `plan`, `run` and `apply` tell of them.

use std::sync::atomic::AtomicBool;

use camino::Utf8Path;
use jiff::Timestamp;
use serde::Serialize;
use storekit::ByteSize;
use toolkit::tables::ExtraKind;
use toolkit::words::{ago, count, span};
use toolkit::{Align, Outcome, Table};

use super::console::Console;
use super::files::list;
use super::view::Listing;
use crate::error::{Error, Result};
pub(super) use crate::extra::remove::check;
use crate::extra::remove::{Became, Stays, remove};
use crate::extra::{Folder, Going, Item, Why, choose, survey};
use crate::report::OtherFolder;
use crate::show::files::{FileKind, FileRow};

/// Lists what is in the folders.
///
/// # Errors
/// A folder that cannot be read, an output that cannot be written.
pub fn ls_extra(folders: &[Folder], listing: &Listing, console: &mut Console<'_>) -> Result<Outcome> {
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for folder in folders {
        let row = |item: Item| FileRow {
            kind: FileKind::Extra,
            path: folder.path.join(&item.path).into_string(),
            size: item
                .blobs
                .iter()
                .fold(item.bytes + item.linked, |sum, (_, bytes)| sum.saturating_add(*bytes)),
            used: item.used.min(now),
        };
        rows.extend(survey(folder)?.items.into_iter().map(row));
    }
    list(rows, listing, now, console)
}

/// A folder as `df` tells of it.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    path: &'a Utf8Path,
    kind: ExtraKind,
    bytes: u64,
    items: usize,
}

/// What each folder occupies; of one that cannot be read, a warning.
pub(super) fn rows<'a>(folders: &'a [Folder], console: &mut Console<'_>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for folder in folders {
        match survey(folder) {
            Ok(found) => {
                let (bytes, items) = (found.bytes, found.items.len());
                rows.push(Row { path: &folder.path, kind: folder.kind, bytes, items });
            }
            Err(error) => warn_unread(&folder.path, &error, console),
        }
    }
    rows
}

fn warn_unread(path: &Utf8Path, error: &Error, console: &mut Console<'_>) {
    let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    console.warn(format!("the extra folder `{path}` is left out: {error}{why}"));
}

/// What the report tells of each folder.
pub(super) fn told(folders: &[Folder], going: &[Going], console: &mut Console<'_>) -> Vec<OtherFolder> {
    let limits = |path: &Utf8Path| {
        let folder = folders.iter().find(|folder| folder.path == path);
        let age = folder.and_then(|it| it.max_age).map(|age| span(age.0.as_secs()));
        let size = folder.and_then(|it| it.max_size).map(|size| size.size.to_string());
        let limits: Vec<_> = size.into_iter().chain(age).collect();
        if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }
    };
    let frees = |path: &Utf8Path| sum(going.iter().filter(|it| it.folder == path));
    let told = |Row { path, kind, bytes, items }: Row<'_>| OtherFolder {
        path: path.to_string(),
        kind: kind.to_string(),
        bytes,
        items: items as u64,
        limits: limits(path),
        frees: frees(path),
    };
    rows(folders, console).into_iter().map(told).collect()
}

/// A limit of a folder: its name, its value, how it stands, and the file that says it.
pub(super) struct Limit<'a> {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) now: Option<Stands>,
    pub(super) file: &'a Utf8Path,
}

/// How a limit stands.
#[derive(Clone, Copy)]
pub(super) enum Stands {
    Bytes(u64),
    Seconds(u64),
}

/// The limits of the folders; of one without, that it has none. How they stand is left open of a
/// folder that cannot be read, with a warning.
pub(super) fn limits<'a>(folders: &'a [Folder], now: Timestamp, console: &mut Console<'_>) -> Vec<Limit<'a>> {
    let mut limits = Vec::new();
    for folder in folders {
        let found = survey(folder).inspect_err(|error| warn_unread(&folder.path, error, console)).ok();
        let bytes = found.as_ref().map(|found| Stands::Bytes(found.bytes));
        let oldest = found.as_ref().and_then(|found| found.items.iter().map(|item| item.used).min());
        let unused = |used: Timestamp| now.max(used).duration_since(used).unsigned_abs().as_secs();
        let unused = oldest.map(|used| Stands::Seconds(unused(used)));
        let mut add = |part: &str, value: String, now| {
            let name = format!("extra {}{part}", folder.path);
            limits.push(Limit { name, value, now, file: &folder.file });
        };
        if !folder.is_limited() {
            add("", "none".to_owned(), bytes);
        }
        if let Some(size) = folder.max_size {
            add(": max-size", size.size.to_string(), bytes);
        }
        if let Some(age) = folder.max_age {
            add(": max-age", span(age.0.as_secs()), unused);
        }
    }
    limits
}

/// The table of them.
pub(super) fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new(&[
        ("EXTRA", Align::Left),
        ("SIZE", Align::Right),
        ("ITEMS", Align::Right),
        ("PATH", Align::Left),
    ]);
    for Row { path, kind, bytes, items } in rows {
        table.row([kind.to_string(), ByteSize(*bytes).to_string(), items.to_string(), path.to_string()]);
    }
    table
}

/// What of the folders is over their limits; one that cannot be read stays, with a warning.
pub(super) fn chosen(folders: &[Folder], now: Timestamp, console: &mut Console<'_>) -> Vec<Going> {
    let mut going = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_limited()) {
        match survey(folder) {
            Ok(found) => going.extend(choose(folder, &found, now)),
            Err(error) => warn_unread(&folder.path, &error, console),
        }
    }
    going
}

fn sum<'a>(going: impl Iterator<Item = &'a Going>) -> u64 {
    going.fold(0, |sum, it| sum.saturating_add(it.bytes))
}

/// Prints what would go.
pub(super) fn planned(
    folders: &[Folder],
    going: &[Going],
    now: Timestamp,
    console: &mut Console<'_>,
) -> Result<()> {
    if going.is_empty() {
        return Ok(());
    }
    if !console.json {
        console.table(&going_table(folders, going.iter(), now))?;
    }
    console.flush()?;
    let number = count(going.len() as u64, "item");
    let bytes = ByteSize(sum(going.iter()));
    console.say(format!("{number} ({bytes}) of extra folders would be deleted for good"));
    if let Some(objection) = objection(folders, going)? {
        console.warn(format!("{objection}: `--force` is needed"));
    }
    Ok(())
}

fn going_table<'a>(folders: &[Folder], going: impl Iterator<Item = &'a Going>, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        ("EXTRA", Align::Left),
        ("FREES", Align::Right),
        ("LAST USE", Align::Right),
        ("WHY", Align::Left),
        ("PATH", Align::Left),
    ]);
    for it in going {
        let path = it.folder.join(&it.path).into_string();
        let last_use = ago(it.used, now);
        table.row([it.kind.to_string(), ByteSize(it.bytes).to_string(), last_use, why(folders, it), path]);
    }
    table
}

/// The reason in words, with the limit, where the settings still have it.
fn why(folders: &[Folder], going: &Going) -> String {
    let folder = folders.iter().find(|folder| folder.path == going.folder);
    let age = folder.and_then(|folder| folder.max_age).map(|age| span(age.0.as_secs()));
    let size = folder.and_then(|folder| folder.max_size).map(|size| size.size.to_string());
    match going.why {
        Why::MaxAge => format!("unused for over {}", age.unwrap_or_else(|| "`max-age`".into())),
        Why::MaxSize => format!("over {}", size.unwrap_or_else(|| "`max-size`".into())),
    }
}

/// That a limit of bytes would take more than half of a folder.
fn objection(folders: &[Folder], going: &[Going]) -> Result<Option<Error>> {
    for folder in folders {
        let of_size = || going.iter().filter(|it| it.folder == folder.path && it.why == Why::MaxSize);
        let bytes = sum(of_size());
        if bytes > 0 && bytes > survey(folder)?.bytes / 2 {
            let lost = format!("{} ({})", count(of_size().count() as u64, "item"), ByteSize(bytes));
            return Ok(Some(Error::ExtraTooMuch { path: folder.path.clone(), lost }));
        }
    }
    Ok(None)
}

/// Refuses a plan about folders that are none of the settings', and one that takes most of a folder
/// without being told so.
///
/// # Errors
/// Why it is refused; a folder that cannot be read.
pub(super) fn allow(folders: &[Folder], going: &[Going], is_forced: bool) -> Result<()> {
    check(folders, going)?;
    match objection(folders, going)?.filter(|_| !is_forced) {
        None => Ok(()),
        Some(refused) => Err(refused),
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line<'a> {
    Extra { folder: &'a Utf8Path, path: &'a Utf8Path, why: Why, bytes: u64 },
    Kept { name: &'a str, reason: Stays },
}

/// Removes what goes, and says what became of it. Returns whether the folders are within their
/// limits then.
///
/// # Errors
/// What cannot be read or removed; an output that cannot be written.
pub(super) fn carry_out(
    folders: &[Folder],
    going: &[Going],
    now: Timestamp,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<bool> {
    let mut went = Vec::new();
    let mut kept = Vec::new();
    let removed = remove(folders, going, stop, |it, became| match became {
        Became::Removed(bytes) => went.push(Going { bytes, ..it.clone() }),
        Became::Kept(reason) => kept.push((it.folder.join(&it.path), reason)),
    });
    for (path, reason) in &kept {
        console.say(format!("kept `{path}`: {}", reason.words()));
    }
    if console.json {
        for it in &went {
            let Going { folder, path, why, bytes, .. } = it;
            console.line(&Line::Extra { folder, path, why: *why, bytes: *bytes })?;
        }
        kept.iter().try_for_each(|(path, reason)| {
            console.line(&Line::Kept { name: path.as_str(), reason: *reason })
        })?;
    } else if !went.is_empty() {
        console.table(&going_table(folders, went.iter(), now))?;
    }
    removed?;
    if !went.is_empty() {
        let (number, bytes) = (count(went.len() as u64, "item"), ByteSize(sum(went.iter())));
        console.say(format!("deleted {number} ({bytes}) of extra folders"));
    }
    let mut is_within = true;
    for folder in folders {
        let Some(most) = folder.max_size else { continue };
        let Ok(found) = survey(folder) else { continue };
        if found.bytes > most.size.0 {
            is_within = false;
            let (path, bytes) = (&folder.path, ByteSize(found.bytes));
            let stays = match folder.kind {
                ExtraKind::Dir => "a file with other names frees nothing and stays",
                ExtraKind::Hf => "what a branch or a tag names stays",
            };
            console.warn(format!(
                "`{path}` has {bytes}, and `max-size` is {}: {stays}, and so does what was used or came meanwhile",
                most.size
            ));
        }
    }
    Ok(is_within)
}
