//! What happened in a store: `events/YYYY-MM-DD.ndjson` (UTC), one JSON object a line. See FORMAT.md, "Events".
//!
//! An event is a note for people and statistics: nothing that is stored depends on one.

use std::fs::{self, OpenOptions};
use std::io::Write;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{At, Result};
use crate::replace;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
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
    /// An entry was removed by a collection; `bytes` is what only it held.
    Evict,
    /// Damaged bytes were found.
    Damage,
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
        }
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
        fs::create_dir_all(&self.folder).at("create", &self.folder)?;
        let path = self.folder.join(event.time.strftime("%Y-%m-%d.ndjson").to_string());
        let mut line = serde_json::to_vec(event).map_err(std::io::Error::from).at("write", &path)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&path).at("open", &path)?;
        file.write_all(&line).at("write", &path)
    }

    /// All events, oldest file first. Lines that cannot be understood (cut off by a full disk) are passed over.
    ///
    /// # Errors
    /// I/O errors.
    pub fn read(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for name in replace::names(&self.folder)? {
            let path = self.folder.join(name);
            let text = fs::read(&path).at("read", &path)?;
            events.extend(
                text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()),
            );
        }
        Ok(events)
    }
}
