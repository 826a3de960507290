//! What tiers that are written were seen to have, by a note in the store, so that a bake in which
//! nothing changed asks nobody. One file for each tier; it is safe to lose.
//!
//! What was seen counts for a day: tiers are emptied by others, too.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::files::replace::{Durability, replace};
use storekit::store::Store;

use crate::config::tiers::tier::Tier;
use crate::note;

/// How long it counts that a tier had something.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So many keys of a tier are noted, the latest.
const MOST: usize = 4096;
/// No note is longer, in bytes.
const CAP: u64 = 1 << 20;

/// What one tier was seen to have.
#[derive(Default)]
pub(super) struct Seen {
    file: Option<Utf8PathBuf>,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    /// When each was seen last, in seconds since 1970.
    at: BTreeMap<String, u64>,
    /// Those that the tier turned out not to have.
    gone: Vec<String>,
    changed: bool,
}

impl Seen {
    /// What is noted of the tier in the store.
    pub(super) fn read(store: &Utf8Path, tier: &Tier) -> Self {
        let file = path(store, tier);
        let keys = Keys { at: noted(&file), ..Keys::default() };
        Self { file: Some(file), keys: Mutex::new(keys) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().at.contains_key(key)
    }

    /// Notes that the tier has it.
    pub(super) fn add(&self, key: &str) {
        let mut keys = self.keys();
        if keys.at.insert(key.to_owned(), now()).is_none() {
            keys.changed = true;
        }
        keys.gone.retain(|gone| gone != key);
    }

    /// Notes that it has it not, or not as it should be.
    pub(super) fn remove(&self, key: &str) {
        let mut keys = self.keys();
        if keys.at.remove(key).is_some() {
            keys.changed = true;
        }
        keys.gone.push(key.to_owned());
    }

    /// Writes the note, with what other bakes have noted meanwhile.
    pub(super) fn write(&self, store: &Utf8Path) {
        let keys = self.keys();
        let Some(file) = self.file.as_ref().filter(|_| keys.changed && Store::open(store).is_ok()) else {
            return;
        };
        let mut all = noted(file);
        all.retain(|key, _| !keys.gone.contains(key));
        all.extend(keys.at.iter().map(|(key, at)| (key.clone(), *at)));
        // Only a question more is asked where it cannot be written.
        let _ = replace(file, text(all).as_bytes(), Durability::Unsynced);
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets all that the tier was seen to have.
pub(crate) fn forget(store: &Utf8Path, tier: &Tier) {
    // It ends by itself in a day.
    let _ = fs::remove_file(path(store, tier));
}

/// What is to be signed by others is another thing.
fn path(store: &Utf8Path, tier: &Tier) -> Utf8PathBuf {
    let flag = tier.place.flag();
    let signed = tier.signed_by.iter().map(|path| path.as_str());
    let about: Vec<_> = std::iter::once(flag.as_str()).chain(signed).collect();
    store.join(note::file_name("in-tier", &about))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a note says that counts still.
fn noted(file: &Utf8Path) -> BTreeMap<String, u64> {
    let is_fine = fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= CAP);
    let text = if is_fine { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    parse(&text, now())
}

/// A line for each key: `SECONDS KEY`. What cannot be understood says nothing.
fn parse(text: &str, now: u64) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (at, key) = line.split_once(' ')?;
        let at = at.parse().ok()?;
        (at <= now && now - at < DAY.as_secs()).then(|| (key.to_owned(), at))
    };
    text.lines().filter_map(line).collect()
}

fn text(keys: BTreeMap<String, u64>) -> String {
    let mut lines: Vec<_> = keys.into_iter().map(|(key, at)| (at, key)).collect();
    lines.sort_unstable();
    let latest = lines.len().saturating_sub(MOST);
    let line = |(at, key): &(u64, String)| format!("{at} {key}\n");
    lines.iter().skip(latest).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_for_a_day() {
        let now = 1_000_000;
        let read = parse("999000 new\n900000 old\n1000001 later\nno line\n7\n", now);
        assert_eq!(read, BTreeMap::from([("new".to_owned(), 999_000)]));
        assert_eq!(text(read), "999000 new\n");
    }

    #[test]
    fn only_the_latest_are_noted() {
        let many = (0..MOST as u64 + 10).map(|number| (format!("{number:08}"), number)).collect();
        let text = text(many);
        assert_eq!((text.lines().count(), text.lines().next()), (MOST, Some("10 00000010")));
    }
}
