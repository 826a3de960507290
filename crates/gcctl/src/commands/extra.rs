//! Folders of other tools, as `ls`, `df`, `plan`, `run` and `apply` tell of them.

use std::slice;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Serialize;
use storekit::ByteSize;
use toolkit::tables::ExtraKind;
use toolkit::words::{ago, count, span};
use toolkit::{Align, Outcome, Table};

use super::collect::{Force, held_back};
use super::console::Console;
use super::files::list;
use super::view::Listing;
use crate::error::{Error, Result};
pub(super) use crate::extra::remove::check;
use crate::extra::remove::{Became, Empty, Orders, Stays, remove};
use crate::extra::{Folder, Found, Going, Item, Why, choose, survey};
use crate::plan::Plan;
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
        rows.extend(look(folder, console)?.items.into_iter().map(row));
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
    rows_by(folders, look, console)
}

fn rows_by<'a>(
    folders: &'a [Folder],
    look: impl Fn(&Folder, &mut Console<'_>) -> Result<Found>,
    console: &mut Console<'_>,
) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for folder in folders {
        match look(folder, console) {
            Ok(found) => {
                let (bytes, items) = (found.bytes, found.items.len());
                rows.push(Row { path: &folder.path, kind: folder.kind, bytes, items });
            }
            Err(error) => warn_unread(&folder.path, &error, console),
        }
    }
    rows
}

/// What is in a folder; says where there is no such folder.
fn look(folder: &Folder, console: &mut Console<'_>) -> Result<Found> {
    if !folder.path.exists() {
        console.say(format!("the extra folder `{}` is not there; `{}` names it", folder.path, folder.file));
    }
    let found = survey(folder)?;
    for path in &found.unread {
        let repository = path.iter().next().unwrap_or_default();
        let path = folder.path.join(path);
        console.warn(format!(
            "`{path}` cannot be read as a branch or tag: all revisions of `{repository}` stay"
        ));
    }
    Ok(found)
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
    // Which are not there was said when it was chosen what goes.
    rows_by(folders, |folder, _| survey(folder), console).into_iter().map(told).collect()
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
        let found = look(folder, console);
        let found = found.inspect_err(|error| warn_unread(&folder.path, error, console)).ok();
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
        match look(folder, console) {
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
    force: Force,
    console: &mut Console<'_>,
) -> Result<()> {
    warn_unmet(folders, going, console);
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
    for held in guarded(folders, going, force, console)?.1 {
        console.warn(held_back(&held.refusal));
    }
    Ok(())
}

/// Says which folders stay over their limits although all goes that may.
fn warn_unmet(folders: &[Folder], going: &[Going], console: &mut Console<'_>) {
    for (folder, most) in folders.iter().filter_map(|folder| Some((folder, folder.max_size?.size))) {
        // Of one that cannot be read that was said before.
        let Ok(found) = survey(folder) else { continue };
        let left = found.bytes.saturating_sub(sum(going.iter().filter(|it| it.folder == folder.path)));
        if left > most.0 {
            console.warn(still_over(folder, most, left));
        }
    }
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
        let mut path = it.folder.join(&it.path).into_string();
        if !it.refs.is_empty() {
            // They go with it.
            path = format!("{path} ({})", it.refs.join(", "));
        }
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

/// What is over the `max-size` of a folder, and waits for `--force`.
pub(super) struct HeldBack {
    pub(super) folder: Utf8PathBuf,
    pub(super) why: Why,
    pub(super) items: u64,
    pub(super) bytes: u64,
    pub(super) refusal: Error,
}

/// What goes without `force`, and what is held back: what a limit of a folder takes where that
/// would be more than half of its bytes.
///
/// # Errors
/// A plan about folders that are none of the settings'.
pub(super) fn guarded(
    folders: &[Folder],
    going: &[Going],
    force: Force,
    console: &mut Console<'_>,
) -> Result<(Vec<Going>, Vec<HeldBack>)> {
    check(folders, going)?;
    let (mut goes, mut held) = (going.to_vec(), Vec::new());
    let limits = folders.iter().flat_map(|folder| Why::ALL.map(|why| (folder, why)));
    for (folder, why) in limits.filter(|_| force == Force::No) {
        let is_meant = |it: &Going| it.folder == folder.path && it.why == why;
        let own: Vec<_> = going.iter().filter(|it| is_meant(it)).collect();
        if own.is_empty() {
            continue;
        }
        match objection(folder, why, &own) {
            Ok(None) => continue,
            Ok(Some(it)) => held.push(it),
            Err(error) => warn_unread(&folder.path, &error, console),
        }
        goes.retain(|it| !is_meant(it));
    }
    Ok((goes, held))
}

/// Lists what would have gone of folders for what was held back.
pub(super) fn list_held(
    folders: &[Folder],
    going: &[Going],
    held: &[HeldBack],
    now: Timestamp,
    console: &mut Console<'_>,
) {
    if console.quiet {
        return;
    }
    for HeldBack { folder, why, .. } in held {
        console.say(format!("held back for the `{why}` of `{folder}`, and not removed:"));
        let items = going.iter().filter(|it| it.folder == *folder && it.why == *why);
        let table = going_table(folders, items, now).text(console.bold);
        // Where stderr is closed, the list is lost.
        let _ = console.err.write_all(table.as_bytes());
    }
}

fn objection(folder: &Folder, why: Why, own: &[&Going]) -> Result<Option<HeldBack>> {
    let found = survey(folder)?;
    let (items, bytes) = (own.len() as u64, sum(own.iter().copied()));
    let lost = format!("{items} of {} ({})", count(found.items.len() as u64, "item"), ByteSize(bytes));
    let path = folder.path.clone();
    if bytes <= found.bytes / 2 {
        return Ok(None);
    }
    let refusal = Error::ExtraTooMuch { why: why.to_string(), path, lost };
    Ok(Some(HeldBack { folder: folder.path.clone(), why, items, bytes, refusal }))
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line<'a> {
    Extra { folder: &'a Utf8Path, path: &'a Utf8Path, why: Why, bytes: u64 },
    Kept { name: &'a str, reason: Stays },
}

/// That a folder has more than its limit, and what keeps it.
fn still_over(folder: &Folder, most: ByteSize, bytes: u64) -> String {
    let stays = match folder.kind {
        ExtraKind::Hf => "revisions stay that a branch or a tag names, or that would free no file",
        ExtraKind::Dir => "folders, links, and files with several names stay",
    };
    let over = ByteSize(bytes.saturating_sub(most.0));
    format!(
        "`{}` has {}, {over} over its `max-size` of {most}: {stays}, and what was used or came meanwhile",
        folder.path,
        ByteSize(bytes)
    )
}

/// Removes what goes, and says what became of it. Returns whether the folders, but for those with
/// something held back, are within their limits then.
///
/// # Errors
/// What cannot be read or removed; an output that cannot be written.
pub(super) fn carry_out(
    folders: &[Folder],
    (going, held): (&[Going], &[HeldBack]),
    plan: &Plan,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<bool> {
    let now = plan.time;
    let empty = if plan.is_listed { Empty::Stays } else { Empty::Goes };
    let orders = Orders { since: now, empty, stop };
    let mut went = Vec::new();
    let mut kept = Vec::new();
    check(folders, going)?;
    let mut removed = Ok(());
    for folder in folders {
        let own: Vec<_> = going.iter().filter(|it| it.folder == folder.path).cloned().collect();
        let done = remove(slice::from_ref(folder), &own, orders, |it, became| match became {
            Became::Removed(bytes) => went.push(Going { bytes, ..it.clone() }),
            Became::Kept(reason) => kept.push((it.folder.join(&it.path), reason)),
        });
        // What cannot be done in one folder keeps nothing in the others.
        removed = removed.and(done);
    }
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
    let is_held = |folder: &Folder| held.iter().any(|it| it.folder == folder.path);
    for folder in folders.iter().filter(|folder| !is_held(folder)) {
        let Some(most) = folder.max_size else { continue };
        let Ok(found) = survey(folder) else { continue };
        if found.bytes > most.size.0 {
            is_within = false;
            console.warn(still_over(folder, most.size, found.bytes));
        }
    }
    Ok(is_within)
}
