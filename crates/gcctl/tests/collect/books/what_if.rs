//! `what-if`, over events as the tools note them.

use jiff::{SignedDuration, Timestamp};
use storekit::{Event, Kind};

use crate::packages::key;
use crate::scratch::Scratch;

/// `"save a, hit b"`: one event a minute, the last one now. A build takes a minute.
fn note(scratch: &Scratch, words: &str) {
    let all: Vec<_> = words.split(", ").collect();
    let begin = Timestamp::now() - SignedDuration::from_mins(i64::try_from(all.len()).unwrap());
    for (minute, word) in (1..).zip(all) {
        let (kind, key) = word.split_once(' ').unwrap();
        let kind: Kind = serde_json::from_str(&format!("\"{kind}\"")).unwrap();
        let time = begin + SignedDuration::from_mins(minute);
        let event = Event::new("imgtar", kind, &key.parse().unwrap(), time);
        let seconds = (kind != Kind::Miss).then_some(60.0);
        scratch.store.events().record(&Event { seconds, ..event }).unwrap();
    }
}

#[test]
fn a_larger_limit_is_compared_with_a_smaller_one_and_with_the_bound() {
    let scratch = Scratch::new();
    // Each takes 18.4 kB: a layer, a manifest, a key file, and half of a config.
    for key in ["a", "b"] {
        scratch.save(key, 1, &[key]);
    }
    note(&scratch, "save a, save b, miss a, save a, miss b, save b, hit b, miss a, save a");
    let words = "what-if --max-size 19kB --max-size 50kB --json";
    let ran = scratch.run(words).ends(0).says("19.0kB -> 50.0kB would have saved 3 min in 7 d");
    let lines: Vec<serde_json::Value> =
        ran.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |at: usize| (lines[at]["what"].as_str().unwrap(), lines[at]["hits"].as_u64().unwrap());
    assert_eq!(
        [0, 1, 2, 3, 4].map(of),
        [
            ("recorded", 1),
            ("played", 1),
            // All steps together have room for three of the four stays.
            ("bound", 3),
            ("played", 4),
            ("bound", 4),
        ]
    );
    assert!(lines.iter().all(|line| line["asked"] == 6));
    let table = scratch.run("what-if --max-size 50kB --order cost").ends(0).stdout();
    assert_eq!(
        table,
        " LIMIT  WHAT                                    IMAGES FOUND  PACKAGES FOUND  TIME SAVED\n\
         \x20    -  as it was recorded                       1 of 6 uses               -       1 min\n\
         50.0kB  what is cheap to have again goes first   4 of 6 uses               -       4 min\n\
         50.0kB  no order could save more                 4 of 6 uses               -       4 min\n"
    );
    scratch.run("what-if").ends(2);
}

#[test]
fn where_nothing_is_on_record_that_is_said() {
    let scratch = Scratch::new();
    let ran = scratch.three().run("what-if --max-size 1GB").ends(0).says("nothing is on record");
    assert_eq!(ran.stdout(), "");
}

/// Packages are played by their uses, with what they take in the store and took to fetch.
#[test]
fn packages_are_played_too() {
    let scratch = Scratch::new();
    scratch.store_packages(&["python x 30 a", "npm y 40 b"]);
    let (x, y) = (key("python", "x").id(), key("npm", "y").id());
    let uses = scratch.store.packages().uses();
    let begin = Timestamp::now() - SignedDuration::from_mins(60);
    for (minute, kind, id, seconds) in [
        (0, Kind::Miss, x, Some(30.0)),
        (10, Kind::Miss, y, Some(2.0)),
        (20, Kind::Hit, x, None),
        (30, Kind::Hit, y, None),
    ] {
        let event = Event::counted("pkgcache", kind, 1, 9000, begin + SignedDuration::from_mins(minute));
        uses.record_counts(&[Event { key: Some(id.to_string()), seconds, ..event }]).unwrap();
    }
    let lines = scratch.run("what-if --max-size 30kB --max-size 5kB --json").ends(0).rows();
    let of = |at: usize| {
        (lines[at]["packages-hits"].as_u64().unwrap(), lines[at]["saved-seconds"].as_f64().unwrap())
    };
    assert_eq!((of(0), of(1), of(2)), ((2, 32.0), (2, 32.0), (2, 32.0)), "{lines:?}");
    assert_eq!(of(3), (0, 0.0), "neither fits");
    assert!(lines.iter().all(|line| line["packages-asked"] == 4 && line["asked"] == 0));
    assert_eq!((&lines[0]["rate"], &lines[0]["rate-of"]), (&10_000_000.0.into(), &"assumed".into()));
    let table = scratch.run("what-if --max-size 30kB").ends(0).stdout();
    assert!(table.contains("2 of 4 uses") && table.contains("32 s"), "{table}");
}
