//! What other limits would have come to.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use storekit::{ByteSize, Store};
use toolkit::words::{span, took};
use toolkit::{Align, Outcome, Table};

use super::console::Console;
use crate::error::Result;
use crate::events::Told;
use crate::replay::{Order, Reading, Sum, bound, simulate};
use crate::survey::survey;

/// Which limits are tried.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// Bytes of images.
    pub limits: Vec<ByteSize>,
    /// In which order images would go.
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
    /// How often images were asked for.
    asked: u64,
    hits: u64,
    saved_seconds: f64,
}

/// Prints what the limits would have come to, beside what was recorded and what no order of removal
/// could have beaten.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn what_if(store: &Store, wanted: &WhatIf, console: &mut Console<'_>) -> Result<Outcome> {
    let now = Timestamp::now();
    let snapshot = survey(store, &Told::default())?;
    let mut reading = Reading::default();
    store.events().each(None, |event| reading.add(&event))?;
    let span = SignedDuration::from_hours(24 * i64::from(wanted.days));
    let trace = reading.done(now.checked_sub(span).unwrap_or(Timestamp::MIN), &snapshot);
    let asked = trace.asked();
    let line = |what, max_size: Option<u64>, order, sum: Sum| Line {
        what,
        max_size,
        order,
        asked,
        hits: sum.hits,
        saved_seconds: sum.saved_seconds,
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
    if console.json {
        lines.iter().try_for_each(|line| console.line(line))?;
    } else if asked > 0 {
        console.table(&table(&lines))?;
    }
    console.flush()?;
    if asked == 0 {
        console
            .say("nothing is on record for these days: loads, pulls and saves of images note what they do");
        return Ok(Outcome::Yes);
    }
    for (from, to) in played.windows(2).filter_map(|two| Some((two.first()?, two.get(1)?))) {
        console.say(compared(*from, *to, wanted.days));
    }
    Ok(Outcome::Yes)
}

fn table(lines: &[Line]) -> Table {
    use Align::{Left, Right};
    let mut table =
        Table::new(&[("LIMIT", Right), ("WHAT", Left), ("ASKED", Right), ("HITS", Right), ("SAVED", Right)]);
    for line in lines {
        let what = match (line.what, line.order) {
            ("recorded", _) => "as it was recorded",
            ("bound", _) => "no order could save more",
            (_, Some(Order::Cost)) => "what is cheap to build goes first",
            _ => "what is unused for longest goes first",
        };
        let limit = line.max_size.map_or_else(|| "-".to_owned(), |limit| ByteSize(limit).to_string());
        let numbers = [line.asked.to_string(), line.hits.to_string(), seconds(line.saved_seconds)];
        table.row([limit, what.to_owned()].into_iter().chain(numbers));
    }
    table
}

/// `20GB -> 30GB would have saved 41 min in 7 d`.
fn compared((from, before): (u64, Sum), (to, after): (u64, Sum), days: u32) -> String {
    let more = after.saved_seconds - before.saved_seconds;
    let word = if more < 0.0 { "cost" } else { "saved" };
    let (from, to, days) = (ByteSize(from), ByteSize(to), span(u64::from(days) * 86_400));
    format!("{from} -> {to} would have {word} {} in {days}", seconds(more.abs()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds, never negative")]
fn seconds(seconds: f64) -> String {
    took(seconds.round() as u64)
}
