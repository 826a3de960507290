//! When this store first heard of a version: for indexes without dates. See FORMAT.md of storekit,
//! "First seen".
//!
//! Limits: two processes that note versions of one package at the same time do not wait for each
//! other, and one's note may be lost, so that the version is noted again, later. Of a package with
//! more versions than fit, those beyond are new each time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use camino::Utf8Path;
use storekit::files::replace::{self, Durability};
use storekit::packages::seen::{FirstSeen, STAMP_EVERY};
use storekit::{At, Digest, Packages};

use crate::store::recent::Recent;

/// How a file begins.
const BEGIN: &str = "# larder seen 1\n";
/// No file is larger: 4 MiB.
const CAP: u64 = 4 << 20;
/// A version with more bytes is not noted.
const LONGEST: usize = 256;
/// Packages that are kept in memory.
const PACKAGES: usize = 256;

type Times = HashMap<String, i64>;

/// What is noted.
#[derive(Debug)]
pub(crate) struct Seen(Mutex<Recent<Digest, Note>>);

/// What is noted of a package.
#[derive(Clone, Debug)]
struct Note {
    times: Arc<Times>,
    /// The time of its file, in seconds since 1970: a collection goes by it.
    stamped: i64,
}

impl Default for Seen {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(PACKAGES)))
    }
}

/// A package of one upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    /// The name of its kind.
    pub(crate) ecosystem: &'a str,
    /// The upstream's URL.
    pub(crate) upstream: &'a str,
    pub(crate) name: &'a str,
}

impl Of<'_> {
    fn digest(self) -> Digest {
        Digest::of(format!("{}\n{}\n{}", self.ecosystem, self.upstream, self.name).as_bytes())
    }
}

impl Seen {
    /// When these versions were first seen, in seconds since 1970. What was not is noted: now.
    /// Where that cannot be written it is new each time, and the error says why.
    pub(crate) fn times<'v>(
        &self,
        packages: &Packages,
        of: Of<'_>,
        versions: impl Iterator<Item = &'v str>,
        now: i64,
    ) -> (Arc<Times>, Option<storekit::Error>) {
        let digest = of.digest();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let path = packages.first_seen().path(of.ecosystem, &digest);
        let Note { times, stamped } = known.get(&digest).unwrap_or_else(|| read(&path));
        let is_new = |version: &&str| {
            let is_plain = version.len() <= LONGEST && !version.contains(char::is_control);
            is_plain && !times.contains_key(*version)
        };
        let new: Vec<_> = versions.filter(is_new).collect();
        if new.is_empty() {
            let stamped = stamp(&path, stamped, now);
            known.insert(digest, Note { times: Arc::clone(&times), stamped });
            return (times, None);
        }
        let mut more = Times::clone(&times);
        more.extend(new.into_iter().map(|version| (version.to_owned(), now)));
        let more = Arc::new(more);
        if let Err(error) = write(&path, &more) {
            return (more, Some(error));
        }
        known.insert(digest, Note { times: Arc::clone(&more), stamped: now });
        (more, None)
    }
}

/// Notes in the file's time that something was asked of the package, where that lies far back.
/// Returns that time.
fn stamp(path: &Utf8Path, stamped: i64, now: i64) -> i64 {
    if now.saturating_sub(stamped) < STAMP_EVERY.as_secs().cast_signed() {
        return stamped;
    }
    FirstSeen::stamp(path, UNIX_EPOCH + Duration::from_secs(now.unsigned_abs()));
    now
}

/// What the file says. A file that is not one says nothing.
fn read(path: &Utf8Path) -> Note {
    let found = replace::read_with_metadata(path, CAP).ok().flatten();
    let stamped = found.as_ref().and_then(|(_, metadata)| metadata.modified().ok());
    let stamped = stamped.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let times = Arc::new(parse(&found.map(|(bytes, _)| bytes).unwrap_or_default()));
    Note { times, stamped: stamped.as_secs().cast_signed() }
}

/// A line that is not one says nothing.
fn parse(bytes: &[u8]) -> Times {
    let text = String::from_utf8_lossy(bytes);
    let Some(lines) = text.strip_prefix(BEGIN) else { return Times::new() };
    let line = |line: &str| {
        let (time, version) = line.split_once(' ')?;
        Some((version.to_owned(), time.parse().ok()?))
    };
    lines.lines().filter_map(line).collect()
}

fn write(path: &Utf8Path, times: &Times) -> storekit::Result<()> {
    let mut lines: Vec<_> = times.iter().map(|(version, time)| (*time, version)).collect();
    lines.sort_unstable();
    let mut text = BEGIN.to_owned();
    for (time, version) in lines {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{time} {version}");
        if text.len() as u64 > CAP - 2 * LONGEST as u64 {
            break;
        }
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).at("create", folder)?;
    }
    replace::replace(path, text.as_bytes(), Durability::Unsynced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use storekit::Store;

    const OF: Of<'_> = Of { ecosystem: "go", upstream: "https://proxy.example/", name: "corp.example/a" };

    fn packages() -> (tempfile::TempDir, Packages) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        (dir, store.packages())
    }

    fn times(seen: &Seen, packages: &Packages, of: Of<'_>, versions: &[&str], now: i64) -> Vec<i64> {
        let (times, error) = seen.times(packages, of, versions.iter().copied(), now);
        assert!(error.is_none(), "{error:?}");
        versions.iter().map(|version| times[*version]).collect()
    }

    #[test]
    fn what_was_seen_is_known_after_a_restart() {
        let (_dir, packages) = packages();
        assert_eq!(times(&Seen::default(), &packages, OF, &["v1.0.0", "v1.1.0"], 10), [10, 10]);
        let seen = Seen::default();
        assert_eq!(times(&seen, &packages, OF, &["v1.1.0", "v1.2.0"], 20), [10, 20]);
        assert_eq!(times(&seen, &packages, OF, &["v1.2.0", "v1.0.0"], 30), [20, 10]);
        let other = Of { upstream: "https://other.example/", ..OF };
        assert_eq!(times(&seen, &packages, other, &["v1.0.0"], 40), [40]);
    }

    #[test]
    fn a_note_has_the_day_at_which_something_was_last_asked_of_its_package() {
        const DAY: i64 = 86_400;
        let (_dir, packages) = packages();
        let seen = Seen::default();
        let path = packages.first_seen().path(OF.ecosystem, &OF.digest());
        let now = jiff::Timestamp::now().as_second();
        times(&seen, &packages, OF, &["v1"], now);
        let used = || {
            let used = std::fs::metadata(&path).unwrap().modified().unwrap();
            used.duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
        };
        // A server that runs on and one that begins anew, once a day.
        for (seen, days) in [(&seen, 300), (&seen, 600), (&Seen::default(), 900)] {
            let later = now + days * DAY;
            assert_eq!(times(seen, &packages, OF, &["v1"], later), [now]);
            assert_eq!(used(), later);
            times(seen, &packages, OF, &["v1"], later + DAY / 2);
            assert_eq!(used(), later);
            packages
                .first_seen()
                .tidy(UNIX_EPOCH + Duration::from_secs((later + 399 * DAY).unsigned_abs()))
                .unwrap();
        }
        packages
            .first_seen()
            .tidy(UNIX_EPOCH + Duration::from_secs((now + 1301 * DAY).unsigned_abs()))
            .unwrap();
        // Forgotten, it is new, and waits longer.
        let again = now + 1302 * DAY;
        assert_eq!(times(&Seen::default(), &packages, OF, &["v1"], again), [again]);
    }

    #[test]
    fn a_file_that_is_damaged_says_what_it_can() {
        let (_dir, packages) = packages();
        times(&Seen::default(), &packages, OF, &["v1", "v2"], 10);
        let path = packages.first_seen().path(OF.ecosystem, &OF.digest());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# larder seen 1\n10 v1\n10 v2\n");
        std::fs::write(&path, "# larder seen 1\n10 v1\nx v2\n\u{0}\n7").unwrap();
        assert_eq!(times(&Seen::default(), &packages, OF, &["v1", "v2"], 20), [10, 20]);
        std::fs::write(&path, "# larder seen 2\n10 v1\n").unwrap();
        assert_eq!(times(&Seen::default(), &packages, OF, &["v1"], 30), [30]);
        crate::damaged::each(&text, |damaged| {
            std::fs::write(&path, damaged).unwrap();
            drop(read(&path));
        });
    }

    #[test]
    fn what_cannot_be_noted_is_new_each_time() {
        let (_dir, packages) = packages();
        std::fs::create_dir_all(packages.folder()).unwrap();
        std::fs::write(packages.folder().join("seen"), "in the way").unwrap();
        let seen = Seen::default();
        for now in [10, 20] {
            let (times, error) = seen.times(&packages, OF, ["v1"].into_iter(), now);
            assert!(times["v1"] == now && error.is_some());
        }
        let (times, error) = seen.times(&packages, OF, ["a\nb"].into_iter(), 30);
        assert!(times.is_empty() && error.is_none());
    }
}
