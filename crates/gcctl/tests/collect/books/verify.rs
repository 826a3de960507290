//! `verify` over all kinds: one damage of each is found, changes nothing, and is mended.

use std::fs;

use camino::Utf8PathBuf;
use storekit::{Digest, PackageKey};

use crate::scratch::{Scratch, content, layer, write};

/// A store with something of each kind that can be damaged.
fn all_kinds() -> Scratch {
    let scratch = Scratch::new();
    scratch.three().store_packages(&["npm one 1 x", "npm two 1 y x"]);
    write(&scratch.store, &["idle"]);
    scratch.save("gone", 50, &["base", "gone"]).run("run --max-images 3").ends(0);
    for (path, text) in [
        ("images/inputs/a", "larder\n"),
        ("images/fetched/a", "{\"version\":1}\n"),
        ("contexts/one", "larder stat cache 2\n/x\n"),
    ] {
        let path = scratch.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    scratch
}

/// Everything below the store, with its bytes.
fn files(scratch: &Scratch) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    fn below(folder: &Utf8PathBuf, all: &mut Vec<(Utf8PathBuf, Vec<u8>)>) {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().path().to_owned();
            if path.is_dir() { below(&path, all) } else { all.push((path.clone(), fs::read(&path).unwrap())) }
        }
    }
    let mut all = Vec::new();
    below(&scratch.root, &mut all);
    all.sort();
    all
}

/// Damages one file; what is found is of this kind, and after a repair nothing is, but what only a
/// save can mend.
#[track_caller]
fn check(kind: &str, also: &[&str], damage: impl Fn(&Scratch)) {
    finds(kind, also, false, damage);
}

/// An index that is late, as a kill leaves it, is found, and no damage.
#[track_caller]
fn finds(kind: &str, also: &[&str], is_late: bool, damage: impl Fn(&Scratch)) {
    let scratch = all_kinds();
    scratch.run("verify").ends(0).says("all sound");
    damage(&scratch);
    let before = files(&scratch);
    let kinds = |words: &str, code| -> Vec<String> {
        let out = scratch.run(words).ends(code).stdout();
        let kind = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone();
        let mut kinds: Vec<_> = out.lines().map(|line| kind(line).as_str().unwrap().to_owned()).collect();
        kinds.dedup();
        kinds
    };
    let expected: Vec<_> = [kind].iter().chain(also).map(|kind| (*kind).to_owned()).collect();
    // What lies in the trash is no harm.
    let code = if kind == "trash" || is_late { 0 } else { 3 };
    assert_eq!(kinds("verify --json", code), expected);
    assert!(files(&scratch) == before, "{kind}: something was changed");
    assert_eq!(kinds("verify --json --repair", code), expected);
    let left = scratch.run("verify --json");
    let text = left.stdout();
    assert!(text.lines().all(|line| line.contains("save it anew") || line.contains("missing")), "{text}");
}

fn blob(scratch: &Scratch, name: &str) -> Utf8PathBuf {
    scratch.store.images().blobs().path(&layer(name))
}

#[test]
fn damaged_files_of_images_are_found_and_mended() {
    check("blob", &["image"], |it| fs::write(blob(it, "a"), content("b")).unwrap());
    check("blob", &[], |it| fs::write(blob(it, "idle"), "cut").unwrap());
    check("image", &[], |it| fs::remove_file(blob(it, "c")).unwrap());
    check("image", &[], |it| fs::write(it.root.join("images/keys/b"), "odd").unwrap());
    check("beside", &[], |it| fs::write(it.root.join("images/fetched/a"), "odd").unwrap());
    check("beside", &[], |it| fs::write(it.root.join("images/inputs/a"), [0xff]).unwrap());
    check("index", &[], |it| fs::write(it.root.join("images/index.json"), "{").unwrap());
    finds("index", &[], true, |it| fs::remove_file(it.root.join("images/keys/b")).unwrap());
}

#[test]
fn damaged_files_of_packages_are_found_and_mended() {
    let body = |it: &Scratch, name: &str| it.store.packages().blobs().path(&Digest::of(&content(name)));
    let entry = |it: &Scratch, name: &str| {
        let url = format!("https://files.example/{name}");
        it.store.packages().path(&PackageKey::new("npm", "files.example", url, None))
    };
    check("body", &["package"], |it| fs::write(body(it, "x"), content("z")).unwrap());
    check("package", &[], |it| fs::remove_file(body(it, "x")).unwrap());
    check("package", &[], |it| fs::write(entry(it, "one"), "odd").unwrap());
    let scratch = all_kinds();
    fs::write(body(&scratch, "x"), content("z")).unwrap();
    scratch.run("verify --repair").ends(3).says("`imgtar verify` and `pkgcache verify` look deeper");
    scratch.run("verify").ends(0);
    // `two` has its other body still.
    assert_eq!(scratch.packages(), "two");
}

#[test]
fn other_damaged_files_are_found_and_mended() {
    check("context", &[], |it| fs::write(it.root.join("contexts/one"), "odd").unwrap());
    check("trash", &[], |it| {
        let batch = it.store.trash().batches().unwrap().remove(0);
        let path = format!("trash/{}/images/blobs/sha256/{}", batch.name(), layer("gone").hex());
        fs::write(it.root.join(path), "odd").unwrap();
    });
}

#[test]
fn what_is_derived_is_made_anew() {
    let scratch = all_kinds();
    fs::write(scratch.root.join(".names"), "odd").unwrap();
    fs::write(scratch.root.join(".images"), "odd").unwrap();
    scratch.run("verify --repair").ends(0).says("all sound");
    assert!(!scratch.root.join(".names").exists() && !scratch.root.join(".images").exists());
    scratch.assert_whole();
}
