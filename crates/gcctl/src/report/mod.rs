//! `report`: one page about a store, for people.
//!
//! Pure: what it shows is handed in. Pictures are drawn here; every name on it comes from anybody,
//! and is written by `toolkit::page` alone.

mod disk;
mod page;
mod treemap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::plan::Plan;
use crate::snapshot::Snapshot;
use crate::stats::Stats;

pub use disk::{Group, Part, groups};

/// So many days are shown.
pub const DAYS: u32 = 30;

/// What a page is about.
pub struct Report<'a> {
    /// The store's folder.
    pub store: &'a str,
    /// What it holds.
    pub snapshot: &'a Snapshot,
    /// How well the caches did in the last [`DAYS`] days.
    pub stats: &'a Stats,
    /// What the next run would remove.
    pub plan: &'a Plan,
    /// The folders of other tools.
    pub folders: &'a [OtherFolder],
}

/// A folder of another tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherFolder {
    /// Where it is.
    pub path: String,
    /// What it holds.
    pub kind: String,
    /// Its bytes on disk.
    pub bytes: u64,
    /// How many things are in it.
    pub items: u64,
    /// Its limits, in words.
    pub limits: String,
    /// What the next run would free of it.
    pub frees: u64,
}

/// A day's shares of hits, 0 to 1; `None` where nothing was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// The day (UTC).
    pub date: Date,
    /// Of images.
    pub images: Option<f64>,
    /// Of packages.
    pub packages: Option<f64>,
}

impl Report<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        page::html(self)
    }

    /// The days up to now, each with its shares of hits.
    fn days(&self) -> Vec<Day> {
        let today = date(self.snapshot.now);
        let first = today.checked_sub((i64::from(DAYS) - 1).days()).unwrap_or(Date::MIN);
        let days = first.series(1.day()).take_while(|day| *day <= today).take(DAYS as usize);
        days.map(|date| {
            let (images, packages) = self.stats.rates(date);
            Day { date, images, packages }
        })
        .collect()
    }
}

fn date(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
