//! `limits`: each limit, where it comes from, and how it stands.

use jiff::Timestamp;
use serde::Serialize;
use storekit::{ByteSize, Store};
use toolkit::words::{ago, span};
use toolkit::{Align, Outcome, Table};

use super::collected::{self, Last};
use super::console::Console;
use super::extra::{self, Stands};
use crate::error::Result;
use crate::events::Told;
use crate::extra::Folder;
use crate::limits::layer::Row;
use crate::limits::{Layers, Limits};
use crate::matcher::Matcher;
use crate::packages::View;
use crate::snapshot::Snapshot;
use crate::survey::survey;

/// A limit as it is printed.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    value: &'a str,
    from: String,
    /// What there is: bytes, a number, or seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<u64>,
}

/// What the last collection in the background did.
#[derive(Serialize)]
struct Background<'a> {
    background: &'a Last,
}

/// How a limit stands.
#[derive(Clone, Copy)]
enum Now {
    Bytes(u64),
    Count(u64),
    Seconds(u64),
}

impl Now {
    fn number(self) -> u64 {
        match self {
            Self::Bytes(number) | Self::Count(number) | Self::Seconds(number) => number,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Bytes(bytes) => ByteSize(bytes).to_string(),
            Self::Count(count) => count.to_string(),
            Self::Seconds(seconds) => span(seconds),
        }
    }
}

/// Prints each limit, its value, where that comes from, and what there is; then those of extra
/// folders.
///
/// # Errors
/// A store that cannot be read, an output that cannot be written.
pub fn limits(
    store: &Store,
    layers: &Layers,
    extras: &[Folder],
    console: &mut Console<'_>,
) -> Result<Outcome> {
    let snapshot = survey(store, &Told::default())?;
    let (rows, limits) = (layers.rows(), layers.limits().settled(snapshot.capacity));
    let mut table = Table::new(&[
        ("LIMIT", Align::Left),
        ("VALUE", Align::Left),
        ("NOW", Align::Right),
        ("FROM", Align::Left),
    ]);
    let own = rows.iter().map(|row| {
        let now = now(row, &snapshot, &limits);
        (row.name.clone(), value(row, &limits), row.from.to_string(), now)
    });
    let of_extras = extra::limits(extras, snapshot.now, console);
    let of_extras = of_extras.into_iter().map(|it| {
        let now = it.now.map(|now| match now {
            Stands::Bytes(bytes) => Now::Bytes(bytes),
            Stands::Seconds(seconds) => Now::Seconds(seconds),
        });
        (it.name, it.value, it.file.to_string(), now)
    });
    for (name, value, from, now) in own.chain(of_extras) {
        if console.json {
            let now = now.map(Now::number);
            console.line(&Line { name: &name, value: &value, from, now })?;
        } else {
            let now = now.map_or_else(|| "-".to_owned(), Now::text);
            table.row([name, value, now, from]);
        }
    }
    let last = collected::last(store);
    if !console.json {
        console.table(&table)?;
    } else if let Some(last) = &last {
        console.line(&Background { background: last })?;
    }
    console.flush()?;
    if let Some(last) = last {
        let when = ago(last.time, snapshot.now);
        console.say(format!("the last collection in the background ({when}): {}", last.said));
    }
    console.flush().map(|()| Outcome::Yes)
}

/// The value as it was said; of a share also how much that is.
fn value(row: &Row, limits: &Limits) -> String {
    let amount = match row.name.as_str() {
        "high" => limits.high,
        "low" => limits.low.or(limits.high),
        "min-free" => limits.min_free,
        "reserved" => limits.reserved,
        _ => None,
    };
    match amount.filter(|_| row.value.contains('%')) {
        Some(amount) => format!("{}: {}", row.value, ByteSize(amount.of(0))),
        None => row.value.clone(),
    }
}

fn now(row: &Row, snapshot: &Snapshot, limits: &Limits) -> Option<Now> {
    let left = snapshot.left();
    let unused = |times: &mut dyn Iterator<Item = Timestamp>| {
        let oldest = times.min()?;
        Some(Now::Seconds(snapshot.now.duration_since(oldest).unsigned_abs().as_secs()))
    };
    let images = snapshot.images.iter().map(|image| image.used);
    let mut packages = snapshot.packages.iter().map(|package| package.used());
    if let Some((of, part)) = row.name.split_once(": ") {
        let limit = limits.scoped.iter().find(|limit| limit.of.to_string() == of)?;
        let matcher = Matcher::new(&limit.of);
        let (entries, bytes) = snapshot.measure(&matcher);
        return match part {
            "max-size" => Some(Now::Bytes(bytes)),
            "max-entries" => Some(Now::Count(entries)),
            "max-age" => {
                let images = snapshot.images.iter().filter(|image| matcher.takes_image(image));
                let packages = snapshot.packages.iter().filter(|package| matcher.takes_package(*package));
                unused(&mut images.map(|it| it.used).chain(packages.map(|it| it.used())))
            }
            _ => None,
        };
    }
    match row.name.as_str() {
        "max-size" | "high" | "low" => Some(Now::Bytes(left.bytes)),
        "reserved" => Some(Now::Bytes(left.bytes.saturating_sub(snapshot.usage().removed()))),
        "min-free" => Some(Now::Bytes(left.free)),
        "max-age" => unused(&mut images.chain(packages)),
        "max-images" => {
            let apart = if limits.max_disks.is_some() { left.disks } else { 0 };
            Some(Now::Count(left.images - apart))
        }
        "max-disks" => Some(Now::Count(left.disks)),
        "max-per-image" => Some(Now::Count(left.per_image)),
        "packages-max-size" => Some(Now::Bytes(left.package_bytes)),
        "packages-max-age" => unused(&mut packages),
        "models-max-age" => {
            let models = snapshot.packages.iter().filter(View::is_model);
            unused(&mut models.map(|it| it.used()))
        }
        "trash-grace" => unused(&mut snapshot.trash.iter().map(|removed| removed.since)),
        _ => None,
    }
}
