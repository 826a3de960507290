//! Events that say the same, in one line: so a day takes no more room than there are keys.
//!
//! What is lost is when each happened. Of evictions the first time stays, of all else the last, so
//! that an eviction stands before what was wanted again because of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use camino::Utf8Path;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Event, FOREIGN, Kind, LINE};
use crate::error::{At, Result};
use crate::files::replace::{self, Durability, same_file};

/// The first line of a file that was rolled up: how many bytes came behind it then.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    rolled_up: u64,
}

/// What tells events apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    kind: Kind,
    tool: String,
    key: Option<String>,
    tier: Option<String>,
    origin: (Option<String>, Option<String>),
}

/// Rolls a file up, unless another process is at it, or it was and has less than half as much again
/// since. With `whole`, it is not looked at again where that was done.
///
/// # Errors
/// I/O errors; the file stands as it was then.
pub(super) fn roll_up(path: &Utf8Path, whole: bool) -> Result<()> {
    let file = File::open(path).at("open", path)?;
    let length = file.metadata().at("read", path)?.len();
    let worth = match rolled_up(&file) {
        None => true,
        Some(before) if whole => length > before + HEAD as u64,
        Some(before) => length > before.saturating_mul(3) / 2,
    };
    // Who appends holds it shared, and looks whether it is still the file of that name.
    if !worth || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !same_file(&file, path) {
        return Ok(());
    }
    replace::replace(path, &rolled(&file, path)?, Durability::Unsynced)
}

/// The head is no longer.
const HEAD: usize = 40;
/// A file that was rolled up has no more bytes: 4 MiB, so that a day has room left.
const MOST: usize = 4 << 20;

/// How many bytes the file had when it was rolled up last.
fn rolled_up(file: &File) -> Option<u64> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; HEAD];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let line = bytes.get(..length)?.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Head>(line).ok().map(|head| head.rolled_up)
}

/// The text of a file that says the same. Where it would be too long, the oldest is left out.
fn rolled(file: &File, path: &Utf8Path) -> Result<Vec<u8>> {
    let mut sums: BTreeMap<Same, Event> = BTreeMap::new();
    lines(file, path, |event| add(&mut sums, event))?;
    let mut events: Vec<_> = sums.into_values().collect();
    events.sort_by_key(|event| event.time);
    let mut lines = text(&events, path)?;
    let too_many = lines.len().saturating_sub(MOST);
    let cut = lines.iter().skip(too_many).position(|byte| *byte == b'\n').map_or(0, |at| too_many + at + 1);
    let lines = if too_many > 0 { lines.split_off(cut) } else { lines };
    let head = Head { rolled_up: lines.len() as u64 };
    let mut text = serde_json::to_vec(&head).map_err(std::io::Error::from).at("write", path)?;
    text.push(b'\n');
    text.extend_from_slice(&lines);
    Ok(text)
}

/// The events, each a line; `path` is for the message only.
pub(super) fn text(events: &[Event], path: &Utf8Path) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event).map_err(std::io::Error::from).at("write", path)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn add(sums: &mut BTreeMap<Same, Event>, event: Event) {
    let kind = event.kind;
    let Event { tool, key, tier, ecosystem, source, .. } = event.clone();
    let sum = match sums.entry(Same { kind, tool, key, tier, origin: (ecosystem, source) }) {
        Entry::Occupied(sum) => sum.into_mut(),
        Entry::Vacant(new) => {
            new.insert(event);
            return;
        }
    };
    sum.count = Some(times(sum).saturating_add(times(&event)));
    sum.bytes = both(sum.bytes, event.bytes, u64::saturating_add);
    sum.seconds = both(sum.seconds, event.seconds, |one, other| one + other);
    // The limit is that of the first time.
    let time = if kind == Kind::Evict { Timestamp::min } else { Timestamp::max };
    sum.time = time(sum.time, event.time);
}

fn times(event: &Event) -> u64 {
    event.count.unwrap_or(1)
}

fn both<T>(one: Option<T>, other: Option<T>, sum: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(sum(one, other)),
        (one, other) => one.or(other),
    }
}

/// Hands on the events of a file; lines that cannot be understood are passed over, and so is the
/// beginning of a file that is larger than any of ours.
pub(super) fn lines(file: &File, path: &Utf8Path, mut take: impl FnMut(Event)) -> Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    let length = file.get_ref().metadata().at("read", path)?.len();
    if length > FOREIGN {
        file.seek(SeekFrom::Start(length - FOREIGN)).at("read", path)?;
    }
    loop {
        line.clear();
        if file.by_ref().take(LINE).read_until(b'\n', &mut line).at("read", path)? == 0 {
            return Ok(());
        }
        serde_json::from_slice(&line).into_iter().for_each(&mut take);
    }
}
