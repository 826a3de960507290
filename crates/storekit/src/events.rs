//! What happened in a store: `events/YYYY-MM-DD.ndjson` (UTC), one JSON object a line. See
//! FORMAT.md, "Events".
//!
//! An event is a note for people and statistics: nothing that is stored depends on one.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{At, Result};
use crate::files::replace;

/// No event is longer, in bytes.
const LINE: u64 = 64 << 10;

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
    /// How often it happened in the minute up to `time`, where the events are many; once where it
    /// is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Where else images came from or went to, by its name in larder.toml; `machine` is this store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// An entry was removed by a collection; `bytes` is what only it held.
    Evict,
    /// Damaged bytes were found.
    Damage,
    /// A project was baked: `count` images, of which the engine was sent `bytes`; `seconds` is the
    /// build time that this saved.
    Bake,
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
        }
    }

    /// So many of a kind in one minute, with so many bytes.
    #[must_use]
    pub fn counted(tool: &str, kind: Kind, count: u64, bytes: u64, now: Timestamp) -> Self {
        let (count, bytes) = (Some(count), Some(bytes));
        let (key, seconds, tier) = (None, None, None);
        Self { time: now, tool: tool.to_owned(), kind, key, bytes, seconds, count, tier }
    }
}

/// The events of a store.
#[derive(Clone, Debug)]
pub struct Events {
    folder: Utf8PathBuf,
}

impl Events {
    pub(crate) fn new(folder: Utf8PathBuf) -> Self {
        Self { folder }
    }

    /// Appends an event, in one write, so that several processes can.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn record(&self, event: &Event) -> Result<()> {
        self.append(event, &event.time.strftime("%Y-%m-%d.ndjson").to_string())
    }

    /// Appends a count by the minute, to a file of the tool's own: they are many, and kept for a
    /// shorter time.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn record_count(&self, event: &Event) -> Result<()> {
        self.append(event, &format!("{}.{}.ndjson", event.time.strftime("%Y-%m-%d"), event.tool))
    }

    /// Removes the tool's files of counts that are of days before `first`.
    ///
    /// # Errors
    /// I/O errors; callers may well go on.
    pub fn forget_counts(&self, tool: &str, first: Timestamp) -> Result<()> {
        let (end, first) = (format!(".{tool}.ndjson"), first.strftime("%Y-%m-%d").to_string());
        for name in replace::names(&self.folder)? {
            if name.strip_suffix(&end).is_some_and(|day| day < first.as_str()) {
                let path = self.folder.join(name);
                fs::remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    fn append(&self, event: &Event, name: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).at("create", &self.folder)?;
        let path = self.folder.join(name);
        let mut line = serde_json::to_vec(event).map_err(std::io::Error::from).at("write", &path)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&path).at("open", &path)?;
        file.write_all(&line).at("write", &path)
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
        for name in replace::names(&self.folder)? {
            let is_before = |first: &String| name.get(..first.len()).is_none_or(|day| day < first.as_str());
            if first.as_ref().is_some_and(is_before) {
                continue;
            }
            let path = self.folder.join(name);
            let mut file = BufReader::new(fs::File::open(&path).at("open", &path)?);
            let mut line = Vec::new();
            loop {
                line.clear();
                let read = file.by_ref().take(LINE).read_until(b'\n', &mut line).at("read", &path)?;
                if read == 0 {
                    break;
                }
                serde_json::from_slice(&line).into_iter().for_each(&mut take);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_forgotten_after_their_time_and_events_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events::new(Utf8PathBuf::from_path_buf(dir.path().join("events")).unwrap());
        let day = |day: &str| format!("2026-01-{day}T03:04:05Z").parse::<Timestamp>().unwrap();
        let key: crate::Key = "k".parse().unwrap();
        events.record(&Event::new("imgtar", Kind::Hit, &key, day("01"))).unwrap();
        for date in ["01", "02", "03"] {
            events.record_count(&Event::counted("pkgcache", Kind::Fetch, 7, 100, day(date))).unwrap();
        }
        events.forget_counts("pkgcache", day("02")).unwrap();
        let left: Vec<_> = events.read().unwrap().iter().map(|it| (it.kind, it.count)).collect();
        assert_eq!(left, [(Kind::Hit, None), (Kind::Fetch, Some(7)), (Kind::Fetch, Some(7))]);
    }
}
