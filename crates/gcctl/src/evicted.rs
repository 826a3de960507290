//! Which limit would have kept what a run removes, so that an alarm can name it when that is wanted
//! again.
//!
//! Of images the events say it. Events name no package, so a few of those that went are noted in
//! the store: see FORMAT.md, ".evicted".

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::files::replace::{self, Durability};
use storekit::{PackageKey, Store};

use crate::limits::{Limits, Why};
use crate::plan::Plan;

/// The file in the store. Derived and local: it may go at any time.
const FILE: &str = ".evicted";
const BEGIN: &str = "# evicted 1\n";
/// Before the name of a limit that an option of one run said.
const ONCE: &str = "once:";
/// Of the packages that one run removes, no more are noted, evenly spread over them.
const A_RUN: usize = 2048;
/// No more are noted in all, in lines; the oldest go.
const ALL: usize = 16_384;
const CAP: u64 = 8 << 20;
/// What was removed longer ago says nothing, in minutes: seven days.
const WINDOW: i64 = 7 * 24 * 60;

/// Whether what went for this went because somebody named it, or for an option of one run, and not
/// for a limit that stands.
pub(crate) fn is_by_hand(limit: &str) -> bool {
    limit.starts_with(ONCE) || [Why::Named, Why::Clean].iter().any(|why| why.name() == limit)
}

/// The limit for which something went, as it is noted.
pub(crate) fn noted(why: Why, limits: &Limits) -> String {
    if limits.is_once(why) { format!("{ONCE}{why}") } else { why.to_string() }
}

/// For each image that the plan removes, by its place, the limit that would have kept it: bytes,
/// a number of images, or seconds; `None` where no one number would.
pub(crate) fn needed_of_images(plan: &Plan) -> Vec<Option<u64>> {
    let packages = plan.package_bytes();
    let (mut bytes, mut images, mut needed) = (0_u64, 0_u64, Vec::new());
    // From the last to the first: each would have been kept by a limit that allows it and all that
    // went after it, and what is left.
    for image in plan.images.iter().rev() {
        bytes = bytes.saturating_add(image.bytes);
        images += u64::from(image.subject.is_none());
        needed.push(match image.why {
            Why::MaxSize => Some(plan.left.bytes.saturating_add(bytes).saturating_add(packages)),
            Why::MinFree => Some(plan.left.free.saturating_sub(bytes.saturating_add(packages))),
            Why::MaxImages => Some(plan.left.images.saturating_add(images)),
            Why::MaxAge => Some(age(plan.time, image.used)),
            _ => None,
        });
    }
    needed.reverse();
    needed
}

/// The same of packages.
fn needed_of_packages(plan: &Plan) -> Vec<Option<u64>> {
    let images = plan.bytes();
    let (mut bytes, mut needed) = (0_u64, Vec::new());
    let all: Vec<_> = plan.packages.iter().collect();
    for package in all.iter().rev() {
        bytes = bytes.saturating_add(package.bytes);
        needed.push(match package.why {
            Why::PackagesMaxSize => Some(plan.left.package_bytes.saturating_add(bytes)),
            Why::MaxSize => Some(plan.left.bytes.saturating_add(bytes).saturating_add(images)),
            Why::MinFree => Some(plan.left.free.saturating_sub(bytes.saturating_add(images))),
            Why::MaxAge | Why::PackagesMaxAge | Why::ModelsMaxAge => {
                Some(age(plan.time, package.package.used()))
            }
            _ => None,
        });
    }
    needed.reverse();
    needed
}

fn age(now: Timestamp, used: Timestamp) -> u64 {
    now.duration_since(used).unsigned_abs().as_secs()
}

/// Packages that were removed in the last days, of those that are noted, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// How many were removed.
    pub evicted: u64,
    /// How many of them are stored again.
    pub wanted: u64,
    /// The limits that would have kept these, by name.
    pub keep: Keep,
}

/// Limits by name, each as loose as it has to be: the most of each, and the least of `min-free`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep(BTreeMap<String, Option<u64>>);

impl Keep {
    /// Asks for a limit that is as loose as this, too.
    pub fn ask(&mut self, limit: &str, needed: Option<u64>) {
        let standing = self.0.entry(limit.to_owned()).or_insert(needed);
        let loosest = if limit == Why::MinFree.name() { u64::min } else { u64::max };
        *standing = standing.zip(needed).map(|(one, other)| loosest(one, other)).or(*standing).or(needed);
    }

    /// ``; `max-size = "31GB"` would have kept them``, or a looser one without a number; empty
    /// where nothing is known.
    #[must_use]
    pub fn advice(&self) -> String {
        let written = |(name, needed): (&String, &Option<u64>)| match needed {
            Some(needed) => format!("`{name} = {}`", value(name, *needed)),
            None => format!("a looser `{name}`"),
        };
        let limits: Vec<_> = self.0.iter().map(written).collect();
        if limits.is_empty() {
            return String::new();
        }
        format!("; {} would have kept them", limits.join(" and "))
    }
}

/// A limit as it stands in larder.toml, rounded to the looser side.
fn value(name: &str, needed: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let sizes = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB"), (1, "B")];
    let largest = |units: [(u64, &'static str); 4]| {
        let unit = units.into_iter().find(|(unit, _)| needed / 10 >= *unit);
        unit.unwrap_or((1, units[3].1))
    };
    if name.ends_with("max-images") {
        return needed.to_string();
    }
    if name.ends_with("max-age") {
        let (unit, word) = largest(units);
        let word = if word == "min" { "m" } else { word };
        return format!("\"{}{word}\"", needed / unit + 1);
    }
    let (unit, word) = largest(sizes);
    let rounded = if name == Why::MinFree.name() { needed / unit } else { needed.div_ceil(unit) };
    format!("\"{rounded}{word}\"")
}

fn path(store: &Store) -> Utf8PathBuf {
    store.root().join(FILE)
}

/// The lines that count: those of the last days, and nothing that is not one.
fn lines(store: &Store, now: Timestamp) -> Vec<String> {
    let bytes = replace::read_capped(&path(store), CAP).ok().flatten().unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let Some(lines) = text.strip_prefix(BEGIN) else { return Vec::new() };
    let first = minutes(now) - WINDOW;
    let is_recent = |line: &&str| read(line).is_some_and(|it| it.minute >= first);
    lines.lines().filter(is_recent).map(str::to_owned).collect()
}

fn minutes(time: Timestamp) -> i64 {
    time.as_second() / 60
}

/// What a line says.
struct Line<'a> {
    minute: i64,
    why: &'a str,
    needed: Option<u64>,
    /// Below packages/entries.
    entry: &'a str,
}

fn read(line: &str) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, ' ');
    let (minute, why, needed, entry) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_plain = Utf8Path::new(entry).components().all(|it| matches!(it, camino::Utf8Component::Normal(_)));
    let needed = if needed == "-" { None } else { Some(needed.parse().ok()?) };
    is_plain.then_some(Line { minute: minute.parse().ok()?, why, needed, entry })
}

/// Notes some of the packages that went, by their places in the plan. Statistics only: where they
/// cannot be noted, they are not.
pub(crate) fn note(store: &Store, plan: &Plan, went: &[usize], now: Timestamp) {
    if went.is_empty() {
        return;
    }
    let (mut lines, needed) = (lines(store, now), needed_of_packages(plan));
    for place in went.iter().step_by(went.len().div_ceil(A_RUN)) {
        let package = plan.packages.get(*place).filter(|it| !is_by_hand(&noted(it.why, &plan.limits)));
        let Some(package) = package else { continue };
        let PackageKey { ecosystem, source, url, scope } = package.package.key();
        let entry = PackageKey::new(&ecosystem, &source, url, scope).path();
        let needed = needed.get(*place).copied().flatten();
        let needed = needed.map_or_else(|| "-".to_owned(), |needed| needed.to_string());
        lines.push(format!("{} {} {needed} {entry}", minutes(now), package.why.name()));
    }
    let mut text = BEGIN.to_owned();
    for line in lines.iter().skip(lines.len().saturating_sub(ALL)) {
        // A string takes all that is written to it.
        let _ = writeln!(text, "{line}");
    }
    let _ = replace::replace(&path(store), text.as_bytes(), Durability::Unsynced);
}

/// What became of the packages that were removed in the last days.
#[must_use]
pub fn returned(store: &Store, now: Timestamp) -> Returned {
    let entries = store.packages().entries();
    let mut returned = Returned::default();
    for line in lines(store, now) {
        let Some(Line { why, needed, entry, .. }) = read(&line) else { continue };
        returned.evicted += 1;
        if fs::symlink_metadata(entries.join(entry)).is_ok() {
            returned.wanted += 1;
            returned.keep.ask(why, needed);
        }
    }
    returned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_looser_than_it_has_to_be() {
        for (name, needed, text) in [
            ("max-size", 30_100_000_001, "\"31GB\""),
            ("packages-max-size", 9_999_999, "\"10000kB\""),
            ("max-size", 5, "\"5B\""),
            ("min-free", 19_999_999_999, "\"19GB\""),
            ("max-images", 7, "7"),
            ("max-age", 10 * 86_400, "\"11d\""),
            ("models-max-age", 700, "\"12m\""),
        ] {
            assert_eq!(value(name, needed), text);
            let is_read = match name {
                "max-images" => toolkit::tables::count(text).is_ok(),
                _ if name.ends_with("age") => text.trim_matches('"').parse::<storekit::Age>().is_ok(),
                _ => text.trim_matches('"').parse::<storekit::WrittenSize>().is_ok(),
            };
            assert!(is_read, "{text}");
        }
    }

    #[test]
    fn of_several_the_loosest_is_told() {
        let mut keep = Keep::default();
        assert_eq!(keep.advice(), "");
        for (limit, needed) in [
            ("max-size", Some(20_000)),
            ("max-size", Some(30_000)),
            ("max-size", None),
            ("min-free", Some(90)),
            ("min-free", Some(80)),
            ("max-per-image", None),
        ] {
            keep.ask(limit, needed);
        }
        let advice = "; a looser `max-per-image` and `max-size = \"30kB\"` and `min-free = \"80B\"` would have kept them";
        assert_eq!(keep.advice(), advice);
    }

    #[test]
    fn a_line_that_leads_out_of_the_entries_is_none() {
        assert!(read("1 max-size 5 a/b.toml").is_some() && read("1 max-size - a").is_some());
        for line in [
            "",
            "1",
            "x max-size 5 a",
            "1 max-size x a",
            "1 max-size 5 ../a",
            "1 max-size 5 /a",
            "1 m 5 a/../b",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
    }
}
