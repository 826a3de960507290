//! What a store has seen of time, so that a clock that is years off ages nothing.
//!
//! Each collection notes when it ran, by the times of an empty file. One whose clock is far from
//! that, behind it or ahead, believes the note and not the clock, until the clock has run on there
//! for a day: ages are reckoned from the earlier of both. So a wrong clock deletes nothing early,
//! and a store that rested for long waits a day longer. A store that was never collected has the
//! time at which it was made for its note.
//!
//! Limit: while the clock is behind, all that was used at times that are ahead of it counts as used
//! now, so that none of it comes before another.

use std::fs::{self, FileTimes};
use std::io;
use std::time::SystemTime;

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};

use crate::files::lock;
use crate::store::{Store, TAG_FILE};

/// The file, in the store's folder: empty, so that it takes no room. It was changed at the last
/// time that was believed, and last read where a clock that is not believed was first seen; in 1970
/// where there is none.
const FILE: &str = ".clock";
/// A clock may go back so far: one that was set by another zone's time.
const BACK: SignedDuration = SignedDuration::from_hours(26);
/// Between two collections there may be so much time.
const AHEAD: SignedDuration = SignedDuration::from_hours(24 * 180);
/// So long a clock has to run on where it is before it is believed.
const PROBATION: SignedDuration = SignedDuration::from_hours(24);

/// The time of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// What ages are reckoned from: where the clock is not believed, the earlier of what it says
    /// and the last time that was believed.
    pub now: Timestamp,
    /// The later of these: no name of the trash may have an earlier one.
    pub latest: Timestamp,
    /// What the clock says, where that is not believed, and when it will be.
    pub doubted: Option<Doubted>,
}

/// A clock that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubted {
    /// What it says.
    pub clock: Timestamp,
    /// From when on, by itself, it is believed.
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    /// The last time that was believed.
    last: Timestamp,
    /// Where a clock that is not believed was first seen.
    doubted: Option<Timestamp>,
}

impl Noted {
    /// What is noted once the clock says `now`.
    fn then(self, now: Timestamp) -> Self {
        let is_near = |from: Timestamp, back: SignedDuration| {
            let since = now.duration_since(from);
            since >= -back && since <= AHEAD
        };
        if is_near(self.last, BACK) {
            return Self { last: self.last.max(now), doubted: None };
        }
        match self.doubted.filter(|first| is_near(*first, SignedDuration::ZERO)) {
            Some(first) if now.duration_since(first) >= PROBATION => Self { last: now, doubted: None },
            Some(_) => self,
            None => Self { doubted: Some(now), ..self },
        }
    }

    fn time(self, now: Timestamp) -> Time {
        let until = |first: Timestamp| first.checked_add(PROBATION).unwrap_or(Timestamp::MAX);
        match self.doubted {
            None => Time { now, latest: now.max(self.last), doubted: None },
            Some(first) => Time {
                now: now.min(self.last),
                latest: now.max(self.last),
                doubted: Some(Doubted { clock: now, until: until(first) }),
            },
        }
    }
}

/// The time of a store, as its clock says `now`; notes nothing.
#[must_use]
pub fn read(store: &Store, now: Timestamp) -> Time {
    noted(store).map_or(Time { now, latest: now, doubted: None }, |noted| noted.then(now).time(now))
}

/// The same, and notes it. A store that cannot be written to keeps the note that it has.
#[must_use = "the time that is believed may be another than the clock's"]
pub fn observe(store: &Store, now: Timestamp) -> Time {
    let before = noted(store);
    let noted = before.map_or(Noted { last: now, doubted: None }, |noted| noted.then(now));
    if before != Some(noted) {
        let _ = note(store, noted);
    }
    noted.time(now)
}

fn path(store: &Store) -> Utf8PathBuf {
    store.root().join(FILE)
}

fn note(store: &Store, Noted { last, doubted }: Noted) -> io::Result<()> {
    // A folder that is no store yet stays as it is.
    if !store.root().join(TAG_FILE).is_file() {
        return Ok(());
    }
    let times = FileTimes::new().set_modified(last.into());
    let times = times.set_accessed(doubted.map_or(SystemTime::UNIX_EPOCH, SystemTime::from));
    lock::open(&path(store), lock::MODE)?.set_times(times)
}

fn noted(store: &Store) -> Option<Noted> {
    let time = |time: io::Result<SystemTime>| Timestamp::try_from(time.ok()?).ok();
    let Some(metadata) = fs::symlink_metadata(path(store)).ok().filter(fs::Metadata::is_file) else {
        let made = fs::metadata(store.root().join(TAG_FILE)).and_then(|tag| tag.modified());
        return Some(Noted { last: time(made)?, doubted: None });
    };
    let doubted = time(metadata.accessed()).filter(|first| *first > Timestamp::UNIX_EPOCH);
    Some(Noted { last: time(metadata.modified())?, doubted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// What is believed at each of these times, in turn.
    #[track_caller]
    fn believes(times: &[(&str, &str)]) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(camino::Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        // The first time is that at which it was made.
        let tag = fs::File::options().append(true).open(store.root().join(TAG_FILE)).unwrap();
        tag.set_modified(at(times[0].0).into()).unwrap();
        for (clock, expected) in times {
            let read = read(&store, at(clock));
            assert_eq!(read.now, at(expected), "{clock}");
            assert_eq!(observe(&store, at(clock)), read);
            assert!(read.latest >= read.now && read.latest >= at(clock));
        }
    }

    #[test]
    fn a_clock_that_is_years_off_is_not_believed_and_one_that_goes_on_is() {
        // Ahead, and back again.
        believes(&[
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2031-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2031-01-01T05:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-03T00:00:00Z", "2026-01-03T00:00:00Z"),
            ("2026-03-03T00:00:00Z", "2026-03-03T00:00:00Z"),
        ]);
        // Behind, and right again.
        believes(&[
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("1970-01-01T00:01:00Z", "1970-01-01T00:01:00Z"),
            ("2026-01-01T00:05:00Z", "2026-01-01T00:05:00Z"),
        ]);
        // First collected while the clock was ahead: what it said then makes nothing older.
        believes(&[
            ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-02T01:00:00Z", "2026-01-02T01:00:00Z"),
        ]);
        // A zone's time, and a store that rested for long.
        believes(&[
            ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"),
            ("2026-01-01T02:00:00Z", "2026-01-01T02:00:00Z"),
            ("2027-01-01T00:00:00Z", "2026-01-01T12:00:00Z"),
            ("2027-01-01T23:00:00Z", "2026-01-01T12:00:00Z"),
            ("2027-01-02T01:00:00Z", "2027-01-02T01:00:00Z"),
        ]);
    }

    #[test]
    fn what_is_no_file_notes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(camino::Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        fs::create_dir(path(&store)).unwrap();
        let made = noted(&store).unwrap();
        let _ = observe(&store, made.last.checked_add(SignedDuration::from_hours(1)).unwrap());
        assert_eq!(noted(&store), Some(made));
    }
}
