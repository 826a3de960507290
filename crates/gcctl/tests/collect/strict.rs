//! Limits that cannot be met, or that would take most of what is stored.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::scratch::{Scratch, save};

/// `c` and `b` are older images of the name that `a` has; `d` is the only one of its name.
fn named() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().save("d", 99, &["base", "d"]);
    for key in ["c", "b", "a"] {
        scratch.name(key, &["app:latest"]);
    }
    scratch.name("d", &["tool:1"]);
    scratch
}

fn bytes_of_images(scratch: &Scratch) -> u64 {
    let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
    df["unique"].as_u64().unwrap() + df["shared"].as_u64().unwrap()
}

#[test]
fn free_space_that_cannot_be_had_takes_no_image_that_is_the_newest_of_a_name() {
    let scratch = named();
    let ran = scratch.run("run --min-free 8EB").ends(1);
    assert!(
        ran.stderr().contains("2 images are the newest of their names and the whole store is "),
        "{}",
        ran.stderr()
    );
    assert!(!ran.stderr().contains("pinned") && !ran.stderr().contains("in use"), "{}", ran.stderr());
    assert_eq!(scratch.keys().len(), 3, "{}", scratch.keys());
    assert!(scratch.keys().contains('d'), "{}", scratch.keys());
    scratch.assert_whole();
    // Again does no harm.
    scratch.run("run --min-free 8EB").ends(1).says("nothing to remove");
}

#[test]
fn a_forgotten_unit_is_asked_about() {
    let scratch = named();
    for limit in ["--max-size 10", "--min-free 10", "--max-size 999999"] {
        let ran = scratch.run(&format!("run {limit}")).ends(2).says("gcctl::no_unit");
        assert_eq!((scratch.keys().as_str(), ran.stdout().as_str()), ("a b c d", ""));
    }
    let ran = scratch.run("run --max-size 10").ends(2);
    for key in ["d     16.4kB", "c     16.4kB", "b     16.4kB", "a     28.7kB", "4 of 4 images"] {
        assert!(ran.stderr().contains(key), "{}", ran.stderr());
    }
    scratch.run("plan --max-size 10").ends(0).says("`--force` is needed");
    scratch.run("run --max-size 1MB").ends(0);
    scratch.run("run --max-size 10 --force").ends(0).says("deleting 4 images and 10 blobs (77.8kB) for good");
    assert_eq!(scratch.keys(), "");
}

#[test]
fn a_forgotten_unit_is_asked_about_after_a_pipe_too() {
    let scratch = named();
    for limit in ["--max-size 10", "--min-free 10"] {
        let plan = scratch.run(&format!("plan --json {limit}")).ends(0).stdout();
        assert!(plan.starts_with(r#"{"kind":"plan","version":4,"#), "{plan}");
        let ran = scratch.run(&format!("run {limit}")).ends(2).says("gcctl::no_unit");
        let piped = scratch.feed("apply -", &plan).ends(2).says("gcctl::no_unit");
        assert_eq!(piped.stderr(), ran.stderr());
        assert_eq!(scratch.keys(), "a b c d");
    }
    let plan = scratch.run("plan --json --max-size 10B").ends(0).stdout();
    scratch.feed("apply -", &plan).ends(2).says("gcctl::too_much");
}

#[test]
fn a_plan_deletes_at_once_only_where_its_limits_say_so() {
    let scratch = named();
    let edited = |limits: &str, from: &str, to: &str| {
        let plan = scratch.run(&format!("{limits} --json")).ends(0).stdout();
        assert!(plan.contains(from), "{plan}");
        scratch.feed("apply --force", &plan.replace(from, to))
    };
    let (kept, deleted) = (r#""keep":true"#, r#""keep":false"#);
    for plan in ["plan --max-images 0", "clean --dry-run", "plan --max-age 1h --trash-grace 1h"] {
        edited(plan, kept, deleted).ends(2).says("`keep` is false");
    }
    let other = r#""why":"max-size","rank""#;
    let edited_why = edited("plan --max-images 0", r#""why":"max-images","rank""#, other);
    edited_why.ends(2).says("no limit `max-size`");
    assert_eq!(scratch.keys(), "a b c d");
    edited("clean --trash-grace 0s --dry-run", deleted, deleted).ends(0);
    assert_eq!(scratch.keys(), "");
}

#[test]
fn trash_from_the_future_does_not_outlast_its_grace() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    let batch = scratch.root.join("trash").join(scratch.store.trash().batches().unwrap()[0].name());
    let (now, year) = (SystemTime::now(), Duration::from_secs(365 * 86_400));
    let set = |time| fs::File::open(&batch).unwrap().set_modified(time).unwrap();
    set(now + year);
    // Its grace begins with the first run that sees it.
    scratch.run("plan --trash-grace 1h").ends(0);
    assert!(fs::metadata(&batch).unwrap().modified().unwrap() > now + year / 2, "a plan changes nothing");
    scratch.run("run --trash-grace 1h").ends(0);
    assert!(fs::metadata(&batch).unwrap().modified().unwrap() < now + year / 2);
    set(now + year);
    scratch.run("run --trash-grace 0s").ends(0);
    assert!(!batch.exists());
}

#[test]
fn a_limit_of_bytes_that_takes_more_than_half_wants_force() {
    let scratch = named();
    let limits = format!("--max-size {}B", bytes_of_images(&scratch) - 40_000);
    scratch.run(&format!("run {limits}")).ends(2).says("would delete 3 of 4 images (49.2kB) for good");
    assert_eq!(scratch.keys(), "a b c d");
    let plan = scratch.run(&format!("plan --json {limits}")).ends(0).says("`--force` is needed").stdout();
    scratch.feed("apply", &plan).ends(2).says("gcctl::too_much");
    assert_eq!(scratch.keys(), "a b c d");
    scratch.feed("apply --force", &plan).ends(0).says("deleting 3 images and 6 blobs (49.2kB) for good");
    assert_eq!(scratch.keys(), "a");
    scratch.run("undo").ends(1);
}

#[test]
fn counts_and_ages_and_clean_say_what_they_want() {
    let scratch = named();
    scratch.run("run --max-images 1").ends(0);
    scratch.run("undo").ends(0);
    scratch.run("run --max-images 0").ends(0);
    scratch.run("undo").ends(0);
    let ran = scratch.run("clean").ends(0);
    assert!(!ran.stderr().contains("for good"), "{}", ran.stderr());
    scratch.run("undo").ends(0);
    scratch.run("clean --trash-grace 0s").ends(0).says("for good: the trash keeps nothing");
}

#[test]
fn applying_reports_what_is_there_afterwards() {
    let scratch = Scratch::new();
    let plan = scratch.three().run("plan --json --max-images 2").ends(0).stdout();
    for key in ["d", "e", "f", "g"] {
        save(&scratch.store, key, &["base", key]);
    }
    let ran = scratch.feed("apply", &plan).ends(1).says("left: 6 images");
    assert!(
        ran.stderr().contains("6 images left, over the limit of 2: 4 images came or changed"),
        "{}",
        ran.stderr()
    );
    let df = bytes_of_images(&scratch);
    let plan = scratch.run("plan --json --max-images 6").ends(0).stdout();
    let swept = scratch.feed("apply --json", &plan).ends(0).stdout();
    let end: serde_json::Value = serde_json::from_str(swept.lines().last().unwrap()).unwrap();
    assert_eq!(end["left"]["images"], 6);
    assert!(end["left"]["bytes"].as_u64().unwrap() >= df);
}

#[test]
fn applying_a_plan_tells_that_an_age_does_not_hold_now() {
    let scratch = Scratch::new();
    let plan = scratch.three().run("plan --json --max-age 25h").ends(0).stdout();
    scratch.save("d", 40, &["d"]);
    scratch.feed("apply", &plan).ends(1).says("an image is unused for 40 h, over the limit of 25 h");
    assert_eq!(scratch.keys(), "a b d");
    scratch.run("run --max-age 25h").ends(0);
}
