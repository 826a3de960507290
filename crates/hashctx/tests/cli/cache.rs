//! The stat cache is never believed too much.

use std::fs::{self, File, FileTimes};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::session::Session;

const FILES: usize = 10_000;

/// A context of many files that have been quiet for long enough to be remembered.
fn remembered(count: usize) -> Session {
    let session = Session::new();
    (0..count).for_each(|n| session.write(format!("{}/f{n}", n % 100), format!("{n:08}")));
    // Only time makes files old.
    std::thread::sleep(Duration::from_millis(2100));
    session.ok::<&str>(&[]);
    assert!(cache(&session).metadata().expect("a cache").len() > 49 * count as u64);
    session
}

fn cache(session: &Session) -> std::path::PathBuf {
    let mut caches = fs::read_dir(session.store().join("contexts")).expect("caches");
    caches.next().expect("a cache").expect("read").path()
}

#[track_caller]
fn no_stale_key(session: &Session) {
    assert_eq!(session.ok(&["--manifest"]), session.ok(&["--manifest", "--no-stat-cache"]));
}

#[test]
fn ten_thousand_rewrites_of_the_same_size_and_time_are_all_seen() {
    let session = remembered(FILES);
    let before = session.ok(&["--manifest"]);
    for n in 0..FILES {
        let path = session.path(format!("{}/f{n}", n % 100));
        let mtime = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        fs::write(&path, format!("{:08}", n + FILES)).expect("written");
        let times = FileTimes::new().set_modified(mtime);
        File::options().write(true).open(&path).and_then(|file| file.set_times(times)).expect("restored");
    }
    let after = session.ok(&["--manifest"]);
    assert!(after.lines().skip(1).zip(before.lines().skip(1)).all(|(after, before)| after != before));
    no_stale_key(&session);
}

#[test]
fn a_rewrite_right_after_the_key_is_seen() {
    let session = Session::new().file("f", "0000");
    let old = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
    for n in 0..100 {
        fs::write(session.path("f"), format!("{n:04}")).expect("written");
        File::options()
            .write(true)
            .open(session.path("f"))
            .and_then(|file| file.set_times(old))
            .expect("set");
        no_stale_key(&session);
    }
}

#[test]
fn a_file_that_changes_again_and_again_is_read_each_time() {
    let session = remembered(200);
    for n in 0..2 {
        fs::write(session.path("7/f7"), format!("{n:08}")).expect("written");
        let mtime = session.path("7/f7").metadata().and_then(|metadata| metadata.modified()).expect("a time");
        // As above.
        std::thread::sleep(Duration::from_millis(2100));
        no_stale_key(&session);
        let caches = fs::read_dir(session.store().join("contexts")).expect("caches");
        assert_eq!(caches.count(), 2, "the base, and what was learnt since");
        fs::write(session.path("7/f7"), format!("{n:07}x")).expect("written");
        let times = FileTimes::new().set_modified(mtime);
        File::options()
            .write(true)
            .open(session.path("7/f7"))
            .and_then(|file| file.set_times(times))
            .expect("set");
        no_stale_key(&session);
    }
}

#[test]
fn several_processes_share_one_cache() {
    let session = remembered(200);
    let key = session.ok::<&str>(&[]);
    for damage in [false, true] {
        if damage {
            fs::write(cache(&session), "nonsense").expect("written");
        }
        let start = |_| session.command::<&str>(&[]).stdout(Stdio::piped()).spawn().expect("hashctx");
        let running: Vec<_> = (0..4).map(start).collect();
        for child in running {
            assert_eq!(child.wait_with_output().expect("ended").stdout, key.as_bytes());
        }
    }
    assert!(cache(&session).metadata().expect("mended").len() > 49 * 200);
}

#[test]
fn a_store_that_cannot_be_written_costs_only_time() {
    let session = Session::new().file("a", "x");
    fs::write(session.store(), "a file in place of a folder").expect("written");
    session.ok::<&str>(&[]);
}
