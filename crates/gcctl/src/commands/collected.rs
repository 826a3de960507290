//! What the last collection in the background did: written into the file that it locks, and told to
//! whoever looks at the store.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use storekit::Store;
use storekit::files::replace;
use toolkit::words::ago;

/// The file, in the store's folder.
const FILE: &str = ".collecting";
/// What the last one did has no more bytes.
const LARGEST: u64 = 64 << 10;

/// What the last one did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// When it ended.
    pub(crate) time: Timestamp,
    /// How many images and packages went.
    pub(crate) removed: u64,
    /// The bytes that went.
    pub(crate) bytes: u64,
    /// In words.
    pub(crate) said: String,
    /// Whether a limit was held back, so that the store stays over it.
    #[serde(default)]
    pub(crate) held: bool,
}

/// What the last one did; `None` where none has, or that cannot be read.
pub(crate) fn last(store: &Store) -> Option<Last> {
    let bytes = replace::read_capped(&path(store), LARGEST).ok()??;
    serde_json::from_slice(bytes.trim_ascii_end()).ok()
}

/// What is to be known of the last one by whoever looks at the store: that a limit was held back.
pub(crate) fn held_back(store: &Store, now: Timestamp) -> Option<String> {
    let last = last(store).filter(|last| last.held)?;
    Some(format!(
        "held back by the last collection in the background ({}): {}",
        ago(last.time, now),
        last.said
    ))
}

/// The file.
pub(super) fn path(store: &Store) -> Utf8PathBuf {
    store.root().join(FILE)
}

/// Writes it into the locked file.
pub(super) fn write(file: &mut File, last: &Last) -> std::io::Result<()> {
    let text = serde_json::to_string(last).unwrap_or_default() + "\n";
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}
