//! What happened in a store: `events/YYYY-MM-DD.ndjson` (UTC), one JSON object a line. See
//! FORMAT.md, "Events".
//!
//! An event is a note for people and statistics: nothing that is stored depends on one. So they are
//! bounded: what says the same is rolled up (`rolled`), the oldest days go, and a day that has very
//! much to say loses what comes at its end.

pub mod rates;
mod rolled;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::slice;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{At, Result};
use crate::files::replace::{self, same_file};

/// No event is longer, in bytes.
const LINE: u64 = 64 << 10;
/// A file is rolled up when it has more bytes: 1 MiB. Before that nobody would notice.
const LARGE: u64 = 1 << 20;
/// No file has more: 8 MiB.
const DAY: u64 = 8 << 20;
/// All together have no more: 32 MiB.
const ALL: u64 = 32 << 20;
/// So many days are kept, of those on which something happened: a clock that was wrong for a while
/// takes nothing away.
const DAYS: usize = 90;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// Which tool noted it.
    pub tool: String,
    /// What happened.
    pub kind: Kind,
    /// To which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many bytes it moved, saved or freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How many seconds it saved or took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How often it happened, in the minute up to `time` or on that day, where events are many;
    /// once where it is absent. `bytes` and `seconds` are of all these together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Where else images came from or went to, by its name in larder.toml; `machine` is this store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The limit for which something was removed: `max-size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// With how much this limit would have kept it: bytes, a number of images, or seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<u64>,
    /// Which kind of client packages were for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecosystem: Option<String>,
    /// Where packages are from: the host of their URL, and its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An image was asked for and handed on; `seconds` is the build time that this saved.
    Hit,
    /// An image was asked for and not there.
    Miss,
    /// An image was saved; `seconds` is how long its build took.
    Save,
    /// An upstream was asked; `bytes` is what it sent.
    Fetch,
    /// Packages came whole from `source`, and were stored: `bytes` in `seconds`, from the question
    /// to the last byte of each. The bytes are in those of `Fetch`, too.
    Download,
    /// An entry was removed by a collection; `bytes` is what only it held.
    Evict,
    /// Damaged bytes were found.
    Damage,
    /// A project was baked: `count` images, of which the engine was sent `bytes`; `seconds` is the
    /// build time that this saved.
    Bake,
    /// A store was collected in the background: `count` images and packages went, and `bytes`.
    Collect,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl Event {
    /// An event that has only a kind and a key.
    #[must_use]
    pub fn new(tool: &str, kind: Kind, key: &crate::Key, now: Timestamp) -> Self {
        Self {
            time: now,
            tool: tool.to_owned(),
            kind,
            key: Some(key.to_string()),
            bytes: None,
            seconds: None,
            count: None,
            tier: None,
            limit: None,
            needed: None,
            ecosystem: None,
            source: None,
        }
    }

    /// So many of a kind in one minute, with so many bytes.
    #[must_use]
    pub fn counted(tool: &str, kind: Kind, count: u64, bytes: u64, now: Timestamp) -> Self {
        let (count, bytes) = (Some(count), Some(bytes));
        let (key, seconds, tier, limit, needed) = (None, None, None, None, None);
        let (tool, ecosystem, source) = (tool.to_owned(), None, None);
        Self { time: now, tool, kind, key, bytes, seconds, count, tier, limit, needed, ecosystem, source }
    }
}

/// The events of a store.
#[derive(Clone, Debug)]
pub struct Events {
    folder: Utf8PathBuf,
    /// All files together have no more bytes.
    most: u64,
}

impl Events {
    pub(crate) fn new(folder: Utf8PathBuf) -> Self {
        Self { folder, most: ALL }
    }

    /// The same in half the room.
    pub(crate) fn in_half_the_room(self) -> Self {
        Self { most: self.most / 2, ..self }
    }

    /// Appends an event, in one write, so that several processes can. What makes the day's file too
    /// large is left out.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn record(&self, event: &Event) -> Result<()> {
        self.append(slice::from_ref(event), &event.time.strftime("%Y-%m-%d.ndjson").to_string())
    }

    /// Appends the counts of one minute, all of one tool, to a file of the tool's own: they are
    /// many, and kept for a shorter time.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn record_counts(&self, events: &[Event]) -> Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        self.append(events, &format!("{}.{}.ndjson", first.time.strftime("%Y-%m-%d"), first.tool))
    }

    /// Removes the tool's files of counts that are of days before `first`.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn forget_counts(&self, tool: &str, first: Timestamp) -> Result<()> {
        let (end, first) = (format!(".{tool}.ndjson"), first.strftime("%Y-%m-%d").to_string());
        for name in self.names()? {
            if name.strip_suffix(&end).is_some_and(|day| day < first.as_str()) {
                remove(&self.folder.join(name))?;
            }
        }
        Ok(())
    }

    fn append(&self, events: &[Event], name: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).at("create", &self.folder)?;
        let path = self.folder.join(name);
        let lines = rolled::text(events, &path)?;
        let (mut file, mut length) = open(&path)?;
        if length >= DAY {
            drop(file);
            rolled::roll_up(&path, false)?;
            (file, length) = open(&path)?;
        }
        if length >= DAY {
            return Ok(());
        }
        file.write_all(&lines).at("write", &path)?;
        drop(file);
        // What goes wrong with that is tried again.
        if length == 0 {
            let _ = self.tidy();
        } else if length > LARGE {
            let _ = rolled::roll_up(&path, false);
        }
        Ok(())
    }

    /// Rolls up the days that are over, and removes the oldest where there are too many, or too
    /// large ones. Done by whoever notes the first event of a day.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn tidy(&self) -> Result<()> {
        replace::sweep_unfinished(&self.folder)?;
        let names = self.names()?;
        let days: BTreeSet<_> = names.iter().filter_map(|name| name.get(..10)).collect();
        let first_kept = days.iter().rev().nth(DAYS - 1);
        let today = days.last();
        let mut bytes = 0;
        for name in names.iter().rev() {
            let (path, day) = (self.folder.join(name), name.get(..10).unwrap_or_default());
            if today.is_some_and(|today| day < *today) {
                rolled::roll_up(&path, true)?;
            }
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            // Counts are removed by the tool that keeps them.
            let is_old = is_of_a_day(name) && first_kept.is_some_and(|first| day < *first);
            if is_old || bytes > self.most {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The files, oldest first. What has another name, or is not a regular file, is not ours.
    fn names(&self) -> Result<Vec<String>> {
        let is_file = |name: &String| is_regular(&self.folder.join(name));
        let names = replace::names(&self.folder)?.into_iter();
        Ok(names.filter(|name| is_of_events(name)).filter(is_file).collect())
    }

    /// All events, oldest file first. Lines that cannot be understood (cut off by a full disk) are
    /// passed over.
    ///
    /// # Errors
    /// I/O errors.
    pub fn read(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.each(None, |event| events.push(event)).map(|()| events)
    }

    /// Hands on all events of `first` and later, or of all days, oldest file first; what is read is
    /// never held together.
    ///
    /// # Errors
    /// I/O errors.
    pub fn each(&self, first: Option<Timestamp>, mut take: impl FnMut(Event)) -> Result<()> {
        let first = first.map(|first| first.strftime("%Y-%m-%d").to_string());
        for name in self.names()? {
            let is_before = |first: &String| name.get(..first.len()).is_none_or(|day| day < first.as_str());
            if first.as_ref().is_some_and(is_before) {
                continue;
            }
            let path = self.folder.join(name);
            match File::open(&path) {
                // Its day was too long ago.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => rolled::lines(&file.at("open", &path)?, &path, &mut take)?,
            }
        }
        Ok(())
    }
}

/// The file to append to, held shared so that nobody replaces it meanwhile, and its length.
fn open(path: &Utf8Path) -> Result<(File, u64)> {
    loop {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")).at("open", path);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).at("open", path)?;
        flock(&file, FlockOperation::LockShared).at("lock", path)?;
        if same_file(&file, path) {
            let length = file.metadata().at("read", path)?.len();
            return Ok((file, length));
        }
    }
}

/// Whether a file of events has such a name: `YYYY-MM-DD.ndjson` or `YYYY-MM-DD.TOOL.ndjson`.
fn is_of_events(name: &str) -> bool {
    let is_day = |day: &str| day.parse::<jiff::civil::Date>().is_ok();
    name.split_once('.').is_some_and(|(day, rest)| is_day(day) && rest.ends_with("ndjson"))
}

/// A pipe would be waited for, and a device may have no end.
fn is_regular(path: &Utf8Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether it holds events, and not a tool's counts.
fn is_of_a_day(name: &str) -> bool {
    name.get(10..) == Some(".ndjson")
}

fn remove(path: &Utf8Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.at("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_file_of_events_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let foreign = folder.join("notes.txt");
        fs::write(&foreign, "x".repeat(1 << 20)).unwrap();
        fs::create_dir(folder.join("2026-01-01.ndjson")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(folder.join("2026-01-02.ndjson")).status();
        assert!(pipe.unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", folder.join("2026-01-03.ndjson")).unwrap();
        fs::write(folder.join("2026-01-04.a.ndjson"), "").unwrap();
        let events = Events::new(folder.to_owned());
        assert_eq!(events.names().unwrap(), ["2026-01-04.a.ndjson"]);
        assert!(events.read().unwrap().is_empty());
        assert!(open(&folder.join("2026-01-02.ndjson")).is_err());
        assert_eq!(fs::metadata(&foreign).unwrap().len(), 1 << 20);
    }

    #[test]
    fn counts_are_forgotten_after_their_time_and_events_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::new(Utf8PathBuf::from_path_buf(dir.path().join("events")).unwrap());
        let day = |day: &str| format!("2026-01-{day}T03:04:05Z").parse::<Timestamp>().unwrap();
        let key: crate::Key = "k".parse().unwrap();
        events.record(&Event::new("imgtar", Kind::Hit, &key, day("01"))).unwrap();
        for date in ["01", "02", "03"] {
            events.record_counts(&[Event::counted("pkgcache", Kind::Fetch, 7, 100, day(date))]).unwrap();
        }
        events.forget_counts("pkgcache", day("02")).unwrap();
        let left: Vec<_> = events.read().unwrap().iter().map(|it| (it.kind, it.count)).collect();
        assert_eq!(left, [(Kind::Hit, None), (Kind::Fetch, Some(7)), (Kind::Fetch, Some(7))]);
    }

    fn events() -> (tempfile::TempDir, Events) {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::new(Utf8PathBuf::from_path_buf(dir.path().join("events")).unwrap());
        (dir, events)
    }

    fn hit(key: &str, time: &str) -> Event {
        let event = Event::new("imgtar", Kind::Hit, &key.parse().unwrap(), time.parse().unwrap());
        Event { seconds: Some(1.5), ..event }
    }

    fn bytes(events: &Events) -> u64 {
        events.names().unwrap().iter().map(|name| fs::metadata(events.folder.join(name)).unwrap().len()).sum()
    }

    #[test]
    fn a_day_of_many_hits_is_short_and_none_is_lost() {
        let (_dir, events) = events();
        for number in 0..30_000 {
            events.record(&hit(&format!("k{}", number % 7), "2026-01-02T03:04:05Z")).unwrap();
        }
        assert!(bytes(&events) < LARGE + 1000);
        let (mut count, mut seconds) = (0, 0.0);
        events
            .each(None, |event| {
                count += event.count.unwrap_or(1);
                seconds += event.seconds.unwrap();
            })
            .unwrap();
        assert_eq!((count, seconds), (30_000, 45_000.0));
    }

    #[test]
    fn writers_at_once_lose_nothing_while_the_file_is_rolled_up() {
        let (_dir, events) = events();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let events = &events;
                scope.spawn(move || {
                    for _ in 0..5000 {
                        events.record(&hit(&format!("k{writer}"), "2026-01-02T03:04:05Z")).unwrap();
                    }
                });
            }
        });
        let mut count = 0;
        events.each(None, |event| count += event.count.unwrap_or(1)).unwrap();
        assert_eq!(count, 20_000);
    }

    #[test]
    fn the_days_before_are_rolled_up_and_the_oldest_go() {
        let (_dir, events) = events();
        let first: jiff::civil::Date = "2026-01-01".parse().unwrap();
        let days = first.series(jiff::Span::new().days(1)).take(100);
        for day in days {
            for key in ["a", "b", "a"] {
                events.record(&hit(key, &format!("{day}T03:04:05Z"))).unwrap();
            }
        }
        assert_eq!(events.names().unwrap().len(), DAYS);
        let all = events.read().unwrap();
        let of = |day: &str| -> Vec<_> {
            let of_day = all.iter().filter(|event| event.time.to_string().starts_with(day));
            of_day.map(|event| (event.key.clone().unwrap(), event.count)).collect()
        };
        assert_eq!(of("2026-04-09"), [("a".to_owned(), Some(2)), ("b".to_owned(), None)]);
        assert_eq!(of("2026-04-10").len(), 3, "today is not over");
        assert_eq!(of("2026-01-10"), []);
    }

    #[test]
    fn an_eviction_stands_before_what_was_wanted_again() {
        let (_dir, events) = events();
        let at = |kind, minute: &str| {
            let time = format!("2026-01-02T03:{minute}:00Z").parse().unwrap();
            events.record(&Event::new("gcctl", kind, &"k".parse().unwrap(), time)).unwrap();
        };
        at(Kind::Evict, "01");
        at(Kind::Miss, "02");
        at(Kind::Evict, "03");
        rolled::roll_up(&events.folder.join("2026-01-02.ndjson"), true).unwrap();
        let kinds: Vec<_> = events.read().unwrap().iter().map(|event| (event.kind, event.count)).collect();
        assert_eq!(kinds, [(Kind::Evict, Some(2)), (Kind::Miss, None)]);
    }

    /// However many keys there are, and whatever else lies there.
    #[test]
    fn all_of_it_is_bounded() {
        let (_dir, events) = events();
        fs::create_dir_all(&events.folder).unwrap();
        // Each takes a kilobyte.
        let line = |number| {
            let event =
                Event { tool: "x".repeat(1000), ..hit(&format!("k{number}"), "2026-01-02T03:04:05Z") };
            serde_json::to_string(&event).unwrap()
        };
        let text: Vec<_> = (0..9000).map(line).collect();
        for day in 1..=9 {
            fs::write(events.folder.join(format!("2026-01-0{day}.ndjson")), text.join("\n")).unwrap();
        }
        fs::write(events.folder.join("junk"), [0xff; 100]).unwrap();
        events.record(&hit("k", "2026-01-10T03:04:05Z")).unwrap();
        assert!(bytes(&events) <= ALL, "{}", bytes(&events));
        assert!(bytes(&events) > ALL / 2 && events.read().unwrap().len() > 10_000);
        let today = events.folder.join("2026-01-10.ndjson");
        fs::write(&today, vec![b' '; usize::try_from(DAY).unwrap()]).unwrap();
        events.record(&hit("k", "2026-01-10T03:04:05Z")).unwrap();
        assert!(fs::metadata(today).unwrap().len() < 200, "what says nothing goes");
    }
}
