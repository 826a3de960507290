//! What other limits would have come to.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use storekit::{ByteSize, Store};
use toolkit::words::{count, span, took};
use toolkit::{Align, Outcome, Table};

use super::console::Console;
use crate::error::Result;
use crate::events::Told;
use crate::replay::{Of, Order, Reading, Sum, Trace, bound, simulate};
use crate::survey::survey;
use storekit::events::rates::Rate;

/// Which limits are tried.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// Bytes of images and packages together.
    pub limits: Vec<ByteSize>,
    /// In which order they would go.
    pub order: Order,
    /// Over so many days.
    pub days: u32,
}

/// A line of `what-if --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    /// `recorded`, `played`, or `bound`.
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    /// How often images were asked for, and how often one was there.
    asked: u64,
    hits: u64,
    /// The same of packages.
    packages_asked: u64,
    packages_hits: u64,
    saved_seconds: f64,
    /// Packages of which it was not measured how long they took are reckoned by rates: the one of
    /// all that was fetched, and what that was measured with.
    #[serde(flatten)]
    rate: Rate,
}

/// Prints what the limits would have come to, beside what was recorded and what no order of removal
/// could have beaten.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn what_if(store: &Store, wanted: &WhatIf, console: &mut Console<'_>) -> Result<Outcome> {
    let now = Timestamp::now();
    let (trace, rate) = read(store, wanted.days, now)?;
    let asked = trace.asked(Of::Image);
    let packages_asked = trace.asked(Of::Package);
    let line = |what, max_size: Option<u64>, order, sum: Sum| Line {
        what,
        max_size,
        order,
        asked,
        hits: sum.images,
        packages_asked,
        packages_hits: sum.packages,
        saved_seconds: sum.saved_seconds,
        rate,
    };
    let recorded = trace.recorded();
    let mut lines = vec![line("recorded", None, None, recorded)];
    let mut played = Vec::new();
    for ByteSize(limit) in &wanted.limits {
        let sum = simulate(&trace, *limit, wanted.order);
        played.push((*limit, sum));
        lines.push(line("played", Some(*limit), Some(wanted.order), sum));
        lines.push(line("bound", Some(*limit), None, bound(&trace, *limit)));
    }
    let is_empty = asked == 0 && packages_asked == 0;
    if console.json {
        lines.iter().try_for_each(|line| console.line(line))?;
    } else if !is_empty {
        console.table(&table(&lines))?;
    }
    console.flush()?;
    if is_empty {
        console.say(
            "nothing is on record for these days: loads, pulls and saves of images note what they do, \
             and so does the package cache",
        );
        return Ok(Outcome::Yes);
    }
    for (from, to) in played.windows(2).filter_map(|two| Some((two.first()?, two.get(1)?))) {
        console.say(compared(*from, *to, wanted.days));
    }
    Ok(Outcome::Yes)
}

/// What is on record of so many days, and how fast packages come.
fn read(store: &Store, days: u32, now: Timestamp) -> Result<(Trace, Rate)> {
    let snapshot = survey(store, &Told::by(store, now)?)?;
    let mut reading = Reading::default();
    store.events().each(None, |event| reading.add(&event))?;
    store.packages().uses().each(None, |event| reading.add_package(&event))?;
    let span = SignedDuration::from_hours(24 * i64::from(days));
    let first = now.checked_sub(span).unwrap_or(Timestamp::MIN);
    Ok((reading.done(first, &snapshot), snapshot.rates.all()))
}

fn table(lines: &[Line]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("LIMIT", Right),
        ("WHAT", Left),
        ("IMAGES FOUND", Right),
        ("PACKAGES FOUND", Right),
        ("TIME SAVED", Right),
    ]);
    for line in lines {
        let what = match (line.what, line.order) {
            ("recorded", _) => "as it was recorded",
            ("bound", _) => "no order could save more",
            (_, Some(Order::Cost)) => "what is cheap to have again goes first",
            _ => "what is unused for longest goes first",
        };
        let limit = line.max_size.map_or_else(|| "-".to_owned(), |limit| ByteSize(limit).to_string());
        let hits = |hits: u64, asked: u64, one: &str| match asked {
            0 => "-".to_owned(),
            _ => format!("{hits} of {}", count(asked, one)),
        };
        table.row([
            limit,
            what.to_owned(),
            hits(line.hits, line.asked, "use"),
            hits(line.packages_hits, line.packages_asked, "use"),
            took(line.saved_seconds),
        ]);
    }
    table
}

/// `20GB -> 30GB would have saved 41 min in 7 d`.
fn compared((from, before): (u64, Sum), (to, after): (u64, Sum), days: u32) -> String {
    let more = after.saved_seconds - before.saved_seconds;
    let word = if more < 0.0 { "cost" } else { "saved" };
    let (from, to, days) = (ByteSize(from), ByteSize(to), span(u64::from(days) * 86_400));
    format!("{from} -> {to} would have {word} {} in {days}", took(more.abs()))
}
