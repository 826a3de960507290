//! Pins that end, pins of patterns, and pins of what a rebuild needs.

use std::fs;

use storekit::{Beside, Digest, Key, Overwrite, PackageKey};

use crate::scratch::{Scratch, write};

/// The record of a build that fetched what is at the ends of these URLs.
fn record(names: &[&str]) -> String {
    let line = |name: &&str| {
        let url = format!("https://files.example/{name}");
        let entry = PackageKey::new("python", "files.example", url.clone(), None).path();
        format!("{{\"url\":\"{url}\",\"entry\":\"{entry}\"}}\n")
    };
    let lines: String = names.iter().map(line).collect();
    format!("{{\"version\":1,\"objects\":{}}}\n{lines}", names.len())
}

/// `base`, `app` on it, `other`; `app` fetched what is at the end of `x` and `y`.
fn built() -> Scratch {
    let scratch = Scratch::new();
    scratch.save("base", 30, &["base"]).save("local", 40, &["local"]).save("other", 50, &["other"]);
    let local = scratch.digest("local");
    let inputs = format!("hashctx 3\nbase the\\x20base larder:base\nbase local:1 {local}\n");
    let fetched = record(&["x", "y"]);
    scratch.save("app", 20, &["base", "app"]);
    let images = scratch.store.images();
    let key: Key = "app".parse().unwrap();
    let entry = images.get(&key).unwrap().unwrap();
    let leases = write(&scratch.store, &["base", "app"]);
    let beside = Beside { inputs: Some(inputs.as_bytes()), fetched: Some(fetched.as_bytes()) };
    images.commit_with(&key, &entry, beside, &leases, Overwrite::Yes).unwrap();
    drop(leases);
    scratch.save("last", 10, &["last"]);
    scratch.store_packages(&["python x 30 a", "npm y 40 b", "npm z 10 c"]);
    scratch
}

#[test]
fn a_closure_holds_what_a_rebuild_needs_at_the_greatest_pressure() {
    let scratch = built();
    scratch.run("pin app --closure").ends(0).says("`app` pinned");
    let pins = scratch.run("pins").ends(0).stdout();
    assert!(pins.contains("one image, and what a rebuild needs"), "{pins}");
    let before = scratch.run("plan --max-size 1B").ends(0);
    assert!(before.stderr().contains("2 packages are held by a pin"), "{before}");
    scratch.run("run --max-size 1 --packages-max-size 1 --max-age 1s --force").ends(1);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("app base local", "x y"));
    scratch.run("clean --all").ends(0);
    scratch.run("rm https://files.example/x").ends(1).says("held by a pin");
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("app base local", "x y"));
    scratch.assert_whole();
    // A pin without that holds it alone.
    scratch.run("pin app").ends(0);
    scratch.run("clean --all").ends(0);
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("app", ""));
}

#[test]
fn what_a_closure_cannot_hold_is_said() {
    let scratch = built();
    let images = scratch.store.images();
    let key: Key = "app".parse().unwrap();
    let ran = scratch.run("pin app --closure").ends(0);
    assert!(!ran.stderr().contains("cannot be held"), "all is stored: {ran}");
    // One base only an engine has; of what the build fetched one file is not there any more.
    let lost = Digest::of(b"elsewhere");
    let inputs = format!("hashctx 3\nbase debian:12 {lost}\nbase base larder:base\n");
    let fetched = record(&["x", "gone"]);
    let standing = images.get(&key).unwrap().unwrap();
    let leases = write(&scratch.store, &["base", "app"]);
    let beside = Beside { inputs: Some(inputs.as_bytes()), fetched: Some(fetched.as_bytes()) };
    images.commit_with(&key, &standing, beside, &leases, Overwrite::Yes).unwrap();
    drop(leases);
    let ran = scratch.run("pin app --closure").ends(0);
    let ran = ran.says("`app`: its base `debian:12` is not in the store").says("`app` was pinned already");
    assert!(ran.says("1 file that its build fetched cannot be held").stderr().contains("debian:12"));
}

#[test]
fn a_name_without_a_tag_means_all_its_tags() {
    let scratch = Scratch::new();
    scratch.three().name("a", &["n1:1"]).name("b", &["docker.io/library/n1:2"]).name("c", &["n10:1"]);
    scratch.run("pin n1").ends(0).says("n1:*` pinned: holds 2 images");
    scratch.run("run --max-images 0").ends(1);
    assert_eq!(scratch.keys(), "a b");
    scratch.run("unpin n1").ends(0);
    assert_eq!(scratch.run("pins").ends(0).stdout(), "");
    scratch.run("pin n2").ends(1).says("`gcctl ls` lists the keys");
}

#[test]
fn what_is_pinned_after_the_plan_stays() {
    let scratch = built();
    let plan = scratch.run("plan --json --max-images 0 --packages-max-age 1h").ends(0).stdout();
    assert!(plan.contains("files.example/x") && plan.contains("\"key\":\"base\""));
    scratch.run("pin a* --closure").ends(0);
    let ran = scratch.feed("apply --force", &plan).ends(1);
    for word in ["kept `app`: pinned since", "kept `base`: pinned since", "kept 2 packages: pinned since"] {
        assert!(ran.stderr().contains(word), "{ran}");
    }
    assert_eq!((scratch.keys().as_str(), scratch.packages().as_str()), ("app base local", "x y"));
}

#[test]
fn a_pattern_holds_what_is_there_and_what_comes() {
    let scratch = Scratch::new();
    scratch.three().name("a", &["app:1"]).name("b", &["web:1"]);
    scratch.run("pin app:* c*").ends(0).says("`app:*` pinned");
    scratch.run("pin app:*").ends(0).says("was pinned already");
    scratch.save("d", 40, &["d"]).name("d", &["app:2"]).save("e", 40, &["e"]);
    scratch.run("run --max-images 0").ends(1).says("3 images are pinned");
    assert_eq!(scratch.keys(), "a c d");
    scratch.run("unpin app:*").ends(0);
    scratch.run("unpin app:*").ends(1).says("was not pinned");
    scratch.run("run --max-images 0").ends(1);
    assert_eq!(scratch.keys(), "c");
    scratch.run("pin [").ends(2).says("no pattern of names");
}

#[test]
fn a_pin_ends() {
    let scratch = Scratch::new();
    scratch.three();
    scratch.run("pin a --until 2100-01-01").ends(0);
    scratch.run("pin b --until 2001-01-01").ends(1).says("over already");
    fs::create_dir_all(scratch.root.join("images/pins")).unwrap();
    fs::write(scratch.root.join("images/pins/c"), "until 2001-01-01T00:00:00Z\n").unwrap();
    scratch.run("run --max-images 0").ends(1);
    assert_eq!(scratch.keys(), "a");
    let pins = scratch.run("pins --json").ends(0).stdout();
    assert!(
        pins.contains(r#"{"key":"a","until":"2100-01-02T00:00:00Z","closure":false,"over":false}"#),
        "{pins}"
    );
    assert!(pins.contains(r#""closure":false,"over":true"#), "{pins}");
    scratch.run("pin a --until soon").ends(2).says("not a day or a time");
}

/// A hand, or another version, may have written it; pins come together in a merge.
#[test]
fn a_pattern_that_cannot_be_read_holds_everything() {
    let nested = format!("{}x{}", "{a,".repeat(200), "}".repeat(200));
    for pattern in [nested, "x?".repeat(30_000), "[".to_owned()] {
        let scratch = Scratch::new();
        scratch.three().run("pin app-*").ends(0);
        scratch.store.images().pin_pattern(&pattern, storekit::Pin::default()).unwrap();
        scratch.run("run --max-images 0 --trash-grace 0s --force").ends(1);
        assert_eq!(scratch.keys(), "a b c");
    }
}
