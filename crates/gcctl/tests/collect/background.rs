//! Collections in the background: gently, one at a time, told afterwards.

use std::fs;
use std::time::{Duration, SystemTime};

use larder_tests::Ran;
use storekit::Kind;

use crate::scratch::Scratch;

/// Three images and four packages, and a limit that one image and a package are over.
fn over() -> (Scratch, String) {
    let scratch = Scratch::new();
    scratch.three();
    scratch.store_packages(&["python a 10 a", "npm b 20 b", "npm c 99 c", "apt d 15 d"]);
    let bytes = scratch.json("plan --json")["bytes"].as_u64().unwrap();
    let limits = format!("--max-size {}B", bytes - 20_000);
    (scratch, limits)
}

fn background(scratch: &Scratch, words: &str) -> Ran {
    let ran = Ran::of(scratch.command(&format!("run --background {words}")).env("LARDER_BACKGROUND", "yes"));
    assert_eq!((ran.stdout().as_str(), ran.stderr().as_str()), ("", ""));
    ran.ends(0)
}

#[test]
fn what_is_over_goes_without_a_word_and_is_told_later() {
    let (scratch, limits) = over();
    scratch.run("limits").ends(0);
    background(&scratch, &limits);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("a b", "a b d"));
    scratch.run("limits").ends(0).says("the last collection in the background (now): ");
    scratch.run("limits").ends(0).says("deleted 1 package");
    let last = scratch.json("limits --json");
    assert_eq!(last["background"]["removed"], 2, "{last}");
    let events = scratch.store.events().read().unwrap();
    let noted: Vec<_> = events.iter().filter(|event| event.kind == Kind::Collect).collect();
    assert_eq!((noted.len(), noted[0].count), (1, Some(2)));
    assert_eq!(noted[0].bytes, last["background"]["bytes"].as_u64());
    scratch.assert_whole();
}

#[test]
fn it_is_no_more_often_than_every_minute_and_one_at_a_time() {
    let (scratch, limits) = over();
    let path = scratch.root.join(".collecting");
    let file = fs::File::create(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    file.lock().unwrap();
    background(&scratch, &limits);
    assert_eq!(scratch.keys(), "a b c", "another one works");
    file.unlock().unwrap();
    background(&scratch, &limits);
    assert_eq!(scratch.keys(), "a b");
    scratch.save("c", 30, &["base", "c"]);
    background(&scratch, "--max-size 40kB");
    assert_eq!(scratch.keys(), "a b c", "one has just worked");
}

#[test]
fn it_does_nothing_that_is_not_needed_or_wants_force_or_is_switched_off() {
    let (scratch, limits) = over();
    let again = || drop(fs::remove_file(scratch.root.join(".collecting")));
    // Ages and counts are for those who run it.
    background(&scratch, "--max-images 1 --max-age 1h");
    again();
    background(&scratch, "--max-size 1B");
    scratch.run("limits").ends(0).says("`gcctl run --force` does");
    // Whoever looks at the store hears of it, too.
    scratch
        .run("df")
        .ends(0)
        .says("held back by the last collection in the background")
        .says("`gcctl run --force` does");
    again();
    Ran::of(scratch.command(&format!("run --background {limits}")).env("LARDER_BACKGROUND", "no")).ends(0);
    let file = scratch.root.join("larder.toml");
    fs::write(file, "[gcctl]\nbackground = false\n").unwrap();
    Ran::of(scratch.command(&format!("run --background {limits}")).env_remove("LARDER_BACKGROUND")).ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("a b c", "a b c d"));
}
