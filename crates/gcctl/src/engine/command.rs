//! What the commands about engines print.

use std::io::BufRead;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use serde::Serialize;
use storekit::ByteSize;
use toolkit::words::{ago, count};
use toolkit::{Align, Outcome, Table};

use super::apply::{Became, apply};
use super::file;
use super::plan::{Going, choose, why_they_stay};
use super::rules::Rules;
use super::{Engine, Item, Kind, What};
use crate::commands::Console;
use crate::error::{Error, Result};

#[derive(Serialize)]
struct DfLine {
    engine: Kind,
    what: What,
    items: usize,
    in_use: usize,
    own_bytes: u64,
    free_bytes: u64,
}

#[derive(Serialize)]
struct ItemLine<'a> {
    engine: Kind,
    what: What,
    id: &'a str,
    names: &'a [String],
    own_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    in_use: bool,
}

/// Prints what an engine keeps, by kind, and what of it nothing needs.
///
/// # Errors
/// An engine that does not answer; an output that cannot be written.
pub fn df(engine: &Engine, console: &mut Console<'_>) -> Result<Outcome> {
    let items = engine.items()?;
    let mut table = Table::new(&[
        ("", Align::Left),
        ("COUNT", Align::Right),
        ("IN USE", Align::Right),
        ("OWN", Align::Right),
        ("NOT IN USE", Align::Right),
    ]);
    for what in [What::Image, What::Container, What::Build] {
        let own: Vec<_> = items.iter().filter(|item| item.what == what).collect();
        let sum =
            |items: &mut dyn Iterator<Item = &&Item>| items.map(|item| item.own).fold(0, u64::saturating_add);
        let line = DfLine {
            engine: engine.kind,
            what,
            items: own.len(),
            in_use: own.iter().filter(|item| item.in_use).count(),
            own_bytes: sum(&mut own.iter()),
            free_bytes: sum(&mut own.iter().filter(|item| !item.in_use)),
        };
        if console.json {
            console.line(&line)?;
        } else {
            let (own, free) = (ByteSize(line.own_bytes), ByteSize(line.free_bytes));
            table.row([
                format!("{}s", what.word()),
                line.items.to_string(),
                line.in_use.to_string(),
                own.to_string(),
                free.to_string(),
            ]);
        }
    }
    if !console.json {
        console.table(&table)?;
    }
    console.flush()?;
    console.say(meaning(engine.kind));
    Ok(Outcome::Yes)
}

/// Which bound of what goes the engine's numbers are.
fn bound(kind: Kind) -> &'static str {
    match kind {
        Kind::Docker => "at least",
        Kind::Podman => "at most",
    }
}

/// What the engine's numbers mean.
fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Docker => {
            "OWN is what goes with an item alone, as docker says, in four digits: what images share is in no row, and more than the sum goes with the last image that shares it. A step that an image has, too, counts as nothing"
        }
        Kind::Podman => {
            "podman says what an image has in all, and not what it shares: what goes with it alone is less"
        }
    }
}

/// Lists what an engine keeps, the oldest first.
///
/// # Errors
/// As [`df`].
pub fn ls(engine: &Engine, console: &mut Console<'_>) -> Result<Outcome> {
    let mut items = engine.items()?;
    items.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
    let now = Timestamp::now();
    let mut table = Table::new(&[
        ("WHAT", Align::Left),
        ("ID", Align::Left),
        ("OWN", Align::Right),
        ("SINCE", Align::Left),
        ("IN USE", Align::Left),
        ("NAMES", Align::Left),
    ]);
    for item in &items {
        if console.json {
            let Item { what, id, names, own, since, in_use } = item;
            console.line(&ItemLine {
                engine: engine.kind,
                what: *what,
                id,
                names,
                own_bytes: *own,
                since: *since,
                in_use: *in_use,
            })?;
        } else {
            let since = item.since.map(|since| ago(since, now)).unwrap_or_default();
            let in_use = if item.in_use { "yes" } else { "" };
            table.row([
                item.what.word().to_owned(),
                item.short().to_owned(),
                ByteSize(item.own).to_string(),
                since,
                in_use.to_owned(),
                item.names.join(", "),
            ]);
        }
    }
    if !console.json && !items.is_empty() {
        console.table(&table)?;
    }
    console.flush().map(|()| Outcome::Yes)
}

/// Prints what would go of an engine, and why; with `--json`, what [`run`] reads.
///
/// # Errors
/// As [`df`].
pub fn plan(engine: &Engine, rules: &Rules, console: &mut Console<'_>) -> Result<Outcome> {
    let now = Timestamp::now();
    let items = engine.items()?;
    let going = choose(&items, rules, now);
    if console.json {
        file::write(engine.kind, &engine.place()?, &going, now, console.out).map_err(Error::output)?;
    } else if !going.is_empty() {
        let mut table = Table::new(&[
            ("WHAT", Align::Left),
            ("ID", Align::Left),
            ("OWN", Align::Right),
            ("WHY", Align::Left),
            ("NAMES", Align::Left),
        ]);
        for one in &going {
            let item = &one.item;
            table.row([
                item.what.word().to_owned(),
                item.short().to_owned(),
                ByteSize(item.own).to_string(),
                one.why(),
                item.names.join(", "),
            ]);
        }
        console.table(&table)?;
    }
    console.flush()?;
    if going.is_empty() {
        console.say(format!("nothing goes: {}", why_they_stay(&items, rules, now)));
    } else {
        console.say(outlook(engine.kind, &going));
    }
    Ok(Outcome::Yes)
}

fn outlook(kind: Kind, going: &[Going]) -> String {
    let of = |what| going.iter().filter(|one| one.item.what == what).count();
    let parts = [What::Image, What::Container, What::Build].map(|what| (of(what), what));
    let parts: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| count(*number as u64, what.word()))
        .collect();
    let bytes = ByteSize(going.iter().map(|one| one.item.own).fold(0, u64::saturating_add));
    let about = bound(kind);
    format!("would remove {} for good, {about} {bytes}; volumes stay", parts.join(", "))
}

/// Removes what the plan names. Exits 1 where something stays.
///
/// # Errors
/// What is no plan; an engine that does not answer, or is another one.
pub fn run(
    input: &mut dyn BufRead,
    engine: impl Fn(Kind) -> Engine,
    stop: &AtomicBool,
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let plan = file::read(input)?;
    let engine = engine(plan.engine);
    let (mut removed, mut kept) = (0_u64, 0_u64);
    let mut bytes = 0_u64;
    apply(&engine, &plan, stop, |item, became| {
        let name = format!("{} {}", item.what.word(), item.called());
        match became {
            Became::Removed => {
                removed += 1;
                bytes = bytes.saturating_add(item.own);
                if console.verbose {
                    console.say(format!("removed {name}"));
                }
            }
            Became::Gone => console.say(format!("{name} is gone already")),
            Became::Kept(why) => {
                kept += 1;
                console.warn(format!("{name} stays: {why}"));
            }
        }
        Ok(())
    })?;
    let kind = bound(engine.kind);
    console.say(format!(
        "removed {} of {}, {kind} {}",
        removed,
        count(plan.items.len() as u64, "item"),
        ByteSize(bytes)
    ));
    Ok(Outcome::from_bool(kept == 0))
}
