//! What is said of each thing that went is what went with it.

use std::fs;

use larder_tests::Ran;
use serde_json::Value;

use crate::scratch::Scratch;

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of the rows of a kind, by what they are named by.
fn bytes(rows: &[Value], kind: &str, name: &str) -> Vec<(String, u64)> {
    let own = rows.iter().filter(|row| row["kind"] == kind);
    own.map(|row| (row[name].as_str().unwrap().to_owned(), row["bytes"].as_u64().unwrap())).collect()
}

#[test]
fn an_image_whose_sharer_stays_is_told_without_what_they_share() {
    let scratch = Scratch::new();
    scratch.save("old", 40, &["base", "own"]).save("younger", 30, &["base"]).save("stays", 1, &["x"]);
    let plan = scratch.run("plan --max-age 20h --json").ends(0).stdout();
    scratch.age("old", 0);
    let rows = rows(&scratch.feed("apply --json --force", &plan).ends(0).stdout());
    // Its key file and its manifest; the base stays with the image that was used.
    assert_eq!(bytes(&rows, "image", "key"), [("younger".to_owned(), 8192)]);
    let end = rows.last().unwrap();
    assert_eq!((end["bytes"].as_u64(), end["trashed"].as_u64()), (Some(8192), Some(8192)));

    // A table has all that went, each with what went with it.
    scratch.save("a", 40, &["base", "a"]).save("b", 30, &["base", "b"]);
    let plan = scratch.run("plan --max-age 20h --json").ends(0).stdout();
    scratch.age("a", 0);
    let table = scratch.feed("apply --force", &plan).ends(0).stdout();
    let line = table.lines().find(|line| line.starts_with("b ")).unwrap();
    assert!(line.contains(" 16.4kB "), "{table}");
}

#[test]
fn a_package_whose_sharer_stays_is_told_without_what_they_share() {
    let scratch = Scratch::new();
    scratch.store_packages(&["npm first 40 s own", "npm second 30 s", "npm third 30 s", "npm new 0 n"]);
    let plan = scratch.run("plan --packages-max-age 20h --json").ends(0).stdout();
    let planned = bytes(&rows(&plan), "package", "url");
    scratch.store_packages(&["npm third 0 s"]);
    let stored = || {
        let df = scratch.json("df --json");
        df["packages"].as_u64().unwrap() + df["packages-shared"].as_u64().unwrap()
    };
    let before = stored();
    let rows = rows(&scratch.feed("apply --json --force", &plan).ends(0).stdout());
    let went = bytes(&rows, "package", "url");
    let sum = went.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert_eq!(rows.last().unwrap()["package-bytes"].as_u64(), Some(sum));
    let of = |name: &str| went.iter().find(|(url, _)| url.ends_with(name)).map(|(_, bytes)| *bytes);
    assert_eq!((of("first"), of("second"), of("third")), (Some(4096 + 8192), Some(4096), None));
    assert!(planned.iter().map(|(_, bytes)| bytes).sum::<u64>() > sum);
    assert_eq!(before - stored(), sum);
}

#[test]
fn a_file_with_another_name_is_collected_and_frees_nothing() {
    let scratch = Scratch::new();
    scratch.three().store_packages(&["npm x 30 b"]);
    let frees = || {
        let plan = rows(&scratch.run("plan --json --max-images 1").ends(0).stdout());
        bytes(&plan, "image", "key").iter().map(|(_, bytes)| bytes).sum::<u64>()
    };
    let before = frees();
    // One name outside the store, and one blob under two names in it.
    let blob = |name: &str| scratch.store.images().blobs().path(&crate::scratch::layer(name));
    fs::hard_link(blob("c"), scratch.session.path("outside")).unwrap();
    let body = scratch.store.packages().blobs().path(&crate::scratch::layer("b"));
    fs::remove_file(&body).unwrap();
    fs::hard_link(blob("b"), &body).unwrap();
    assert_eq!(frees(), before - 2 * 8192);
    let df = scratch.json("df --json");
    assert_eq!((df["total"].as_u64(), df["other"].as_u64() >= Some(2 * 8192)), (Some(scratch.du()), true));
    scratch.run("run --max-images 1 --packages-max-age 1h --trash-grace 0s --force").ends(0);
    assert!(!blob("b").exists() && !blob("c").exists() && !body.exists());
    assert!(scratch.session.path("outside").exists());
}

#[test]
fn what_emptying_the_trash_frees_is_what_the_disk_has_more() {
    let scratch = Scratch::new();
    scratch.save("old", 40, &["base"]).save("new", 1, &["x"]).run("run --max-images 1").ends(0);
    let df = scratch.json("df --json");
    let folder = fs::read_dir(scratch.root.join("trash")).unwrap().next().unwrap().unwrap().path();
    let mut du = scratch.session.program("du");
    let du = Ran::of(du.args(["-s", "--block-size=1"]).arg(folder)).stdout();
    let du: u64 = du.split('\t').next().unwrap().parse().unwrap();
    assert_eq!(df["trash"].as_u64(), Some(du), "with its folders");
    let listed: Value = serde_json::from_str(&scratch.run("ls trash --json").ends(0).stdout()).unwrap();
    assert_eq!(listed["size"].as_u64(), Some(du));
    let plan = rows(&scratch.run("plan --json --trash-grace 0s").ends(0).stdout());
    assert_eq!(bytes(&plan, "trash", "name")[0].1, du);
    let before = scratch.du();
    let ran = rows(&scratch.run("run --json --trash-grace 0s").ends(0).stdout());
    assert_eq!((ran.last().unwrap()["emptied"].as_u64(), before - scratch.du()), (Some(du), du));
}
