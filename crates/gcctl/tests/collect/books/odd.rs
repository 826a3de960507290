//! What is damaged or not the store's costs itself alone: all else is listed and collected, and
//! nothing goes that a damaged image may need.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use camino::Utf8Path;
use storekit::Digest;

use crate::scratch::{Scratch, content, layer, write};

/// A store with `b` damaged in one way.
fn damaged(damage: impl Fn(&Scratch)) -> Scratch {
    let scratch = Scratch::new();
    scratch.three();
    write(&scratch.store, &["idle"]);
    damage(&scratch);
    scratch.wait_for_leases();
    scratch
}

/// Ways in which it can no longer be told what `b` needs.
fn damages() -> [fn(&Scratch); 6] {
    fn manifest(it: &Scratch) -> camino::Utf8PathBuf {
        it.store.images().blobs().path(&it.digest("b"))
    }
    fn key(it: &Scratch) -> camino::Utf8PathBuf {
        it.root.join("images/keys/b")
    }
    [
        |it| fs::write(manifest(it), "{}").unwrap(),
        |it| {
            let path = manifest(it);
            let whole = fs::read(&path).unwrap();
            fs::write(path, &whole[..whole.len() / 2]).unwrap();
        },
        |it| fs::remove_file(manifest(it)).unwrap(),
        |it| fs::write(key(it), "<<<<<<< HEAD\n").unwrap(),
        |it| {
            fs::remove_file(key(it)).unwrap();
            symlink("/nowhere", key(it)).unwrap();
        },
        |it| {
            // A document that has its digest and is none.
            let leases = [it.store.images().blobs().put(b"[]").unwrap()];
            let text = fs::read_to_string(key(it)).unwrap();
            let old = it.digest("b");
            let text = text.replace(&old.to_string(), &leases[0].digest().to_string());
            let size = text.lines().find(|line| line.starts_with("size")).unwrap().to_owned();
            fs::write(key(it), text.replace(&size, "size = 2")).unwrap();
        },
    ]
}

#[test]
fn a_damaged_image_is_one_line_and_holds_every_blob_until_it_is_removed() {
    for (number, damage) in damages().into_iter().enumerate() {
        let scratch = damaged(damage);
        let ls = scratch.run("ls").ends(0).stdout();
        assert_eq!(ls.lines().count(), 4, "{number}: {ls}");
        assert_eq!(ls.matches("(damaged)").count(), 1, "{number}: {ls}");
        scratch.run("df").ends(0);
        assert!(scratch.run("info b").ends(0).stdout().contains("\ndamaged: "));
        // No image goes for a limit of bytes, which would free none.
        let ran = scratch.run("run --max-size 1MB --min-free 8EB").ends(1).says("`gcctl rm b`");
        assert_eq!((scratch.keys().as_str(), ran.stdout().as_str()), ("a b c", ""), "{number}");
        // Nor does the damaged one for any, while others do; their blobs stay.
        let before = scratch.blobs();
        scratch.run("run --max-images 1").ends(0);
        // It fills no place of that limit.
        let sound = scratch.keys().replace('b', "");
        scratch.run(&format!("rm {}", sound.trim())).ends(0);
        assert_eq!((scratch.keys().as_str(), scratch.blobs()), ("b", before), "{number}");
        scratch.run("rm b --trash-grace 0s").ends(0);
        assert_eq!((scratch.keys().as_str(), scratch.blobs().len()), ("", 0), "{number}");
        scratch.run("verify").ends(0).says("all sound");
    }
}

#[test]
fn what_only_looks_moves_nothing() {
    let scratch = damaged(damages()[0]);
    let (before, manifest) = (scratch.blobs(), scratch.digest("b"));
    for words in [
        "ls",
        "info b",
        "df",
        "limits",
        "plan --max-images 0",
        "run --dry-run",
        "clean --dry-run",
        "rm --dry-run b",
        "report -o report.html",
        "stats",
        "pins",
    ] {
        scratch.run(words);
        assert!(scratch.store.images().blobs().path(&manifest).exists(), "{words}");
        assert!(!scratch.root.join("trash").exists() && scratch.blobs() == before, "{words}");
    }
}

#[test]
fn a_pin_that_may_mean_a_damaged_image_holds_it() {
    for (number, damage) in damages().into_iter().enumerate() {
        let scratch = Scratch::new();
        scratch.three();
        scratch.run("pin *").ends(0);
        damage(&scratch);
        scratch.wait_for_leases();
        scratch.run("clean --trash-grace 0s");
        scratch.run("run --max-images 0 --trash-grace 0s --force");
        scratch.run("rm b --trash-grace 0s").ends(1);
        scratch.run("verify --repair").ends(3);
        let layer = scratch.store.images().blobs().path(&layer("b"));
        assert_eq!((scratch.keys().as_str(), layer.exists()), ("a b c", true), "{number}");
    }
}

#[test]
fn a_damaged_image_goes_by_force_whatever_pattern_may_mean_it() {
    for (number, damage) in damages().into_iter().enumerate() {
        let scratch = Scratch::new();
        scratch.three().name("a", &["app:1"]).name("b", &["app:2"]);
        scratch.run("pin app:*").ends(0);
        scratch.run("pin c").ends(0);
        damage(&scratch);
        scratch.wait_for_leases();
        scratch.run("rm b").ends(1).says("`gcctl rm --force b` removes it all the same");
        // What is not damaged, or is pinned by its key, stays.
        scratch.run("rm a --force").ends(1).says("`gcctl unpin` lets go");
        scratch.run("rm c --force").ends(1).says("`gcctl unpin` lets go");
        scratch.run("rm b --force").ends(0).says("`b` is damaged, and goes although held by ");
        assert_eq!(scratch.keys(), "a c", "{number}");
        scratch.assert_whole();
    }
}

#[test]
fn a_damaged_image_takes_no_place_of_a_limit() {
    let scratch = damaged(damages()[0]);
    // `b` is damaged; of the others the last used one stays.
    scratch.run("run --max-images 1").ends(0);
    let keys = scratch.keys();
    assert!(keys == "a b" || keys == "b c", "{keys}");
}

#[test]
fn what_stands_in_the_place_of_a_manifest_stops_no_repair() {
    for kind in ["folder", "pipe"] {
        let scratch = Scratch::new();
        scratch.three();
        let path = scratch.store.images().blobs().path(&scratch.digest("b"));
        fs::remove_file(&path).unwrap();
        put(&path, kind);
        fs::write(scratch.root.join("images/keys/c"), "junk").unwrap();
        let ran = scratch.run("verify --repair").ends(3);
        assert!(
            ran.stdout().contains("images/keys/b") && ran.stdout().contains("images/keys/c"),
            "{kind}: {}",
            ran.stdout()
        );
        assert_eq!(scratch.keys(), "a", "{kind}");
    }
}

#[test]
fn a_repair_sets_a_damaged_image_aside_and_advice_is_given_where_it_helps() {
    for damage in damages() {
        let scratch = damaged(damage);
        scratch.run("verify").ends(3).says("`gcctl verify --repair`");
        scratch.run("verify --repair").ends(3).says("moved aside");
        scratch.run("verify").ends(0).says("all sound");
        assert_eq!(scratch.keys(), "a c");
        scratch.run("run").ends(0);
        scratch.assert_whole();
    }
    // A pinned one stays, and an image that lacks a layer does: no repair mends these.
    let scratch = damaged(damages()[0]);
    scratch.run("pin b").ends(0);
    fs::remove_file(scratch.store.images().blobs().path(&layer("c"))).unwrap();
    scratch.run("verify --repair").ends(3);
    let ran = scratch.run("verify").ends(3).says("save the images anew");
    assert!(!ran.stderr().contains("--repair"), "{}", ran.stderr());
    assert!(ran.stdout().contains("`gcctl info b`, and `gcctl unpin`"), "{}", ran.stdout());
    assert_eq!(scratch.keys(), "a b c");
}

#[test]
fn a_repair_brings_back_from_the_trash_what_an_image_lacks() {
    let scratch = Scratch::new();
    scratch.three();
    let manifest = scratch.digest("b");
    let blobs = scratch.store.images().blobs();
    for digest in [manifest, layer("b")] {
        let place = scratch
            .root
            .join(format!("trash/20260101T000000.000000Z-1/images/blobs/sha256/{}", digest.hex()));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(blobs.path(&digest), place).unwrap();
    }
    fs::write(blobs.path(&manifest), "{}").unwrap();
    scratch.run("verify --repair").ends(3);
    scratch.run("verify").ends(0).says("all sound");
    assert_eq!(scratch.keys(), "a b c");
    scratch.assert_whole();
}

/// Puts something of a kind there.
fn put(path: &Utf8Path, kind: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match kind {
        "file" => fs::write(path, "x").unwrap(),
        "folder" => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("in"), "x").unwrap();
        }
        "link" => symlink("/nowhere", path).unwrap(),
        _ => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
    }
}

/// Each folder that the store reads.
const FOLDERS: [&str; 16] = [
    "images",
    "images/blobs/sha256",
    "images/keys",
    "images/inputs",
    "images/fetched",
    "images/pins",
    "packages",
    "packages/blobs/sha256",
    "packages/entries",
    "packages/entries/a.example",
    "packages/entries/a.example/2d",
    "packages/uses",
    "events",
    "contexts",
    "remotes",
    "trash",
];

#[test]
fn what_is_not_the_stores_is_passed_over_and_the_rest_is_collected() {
    let hex = Digest::of(b"x").hex();
    let names = ["stray".to_owned(), hex.clone(), format!("{hex}.toml"), "2026-01-01.ndjson".to_owned()];
    for folder in FOLDERS {
        for kind in ["file", "folder", "link", "pipe"] {
            let scratch = Scratch::new();
            scratch.three();
            for name in &names {
                put(&scratch.root.join(folder).join(name), kind);
            }
            let of = format!("{kind}s in {folder}");
            let ls = scratch.run("ls").ends(0).stdout();
            let ours = ["a ", "b ", "c "].iter().filter(|key| ls.contains(&format!("\n{key}"))).count();
            assert_eq!(ours, 3, "{of}: {ls}");
            let ran = scratch.run("run --max-age 25h");
            assert_eq!(ran.code(), 0, "{of}: {}", ran.stderr());
            let has_c = || scratch.keys().split(' ').any(|key| key == "c");
            assert!(!has_c(), "{of}: {}", scratch.keys());
            scratch.run("df").ends(0);
            assert_ne!(scratch.run("verify").code(), 2, "{of}");
            scratch.run("undo").ends(0);
            assert!(has_c(), "{of}: {}", scratch.keys());
        }
    }
    // It is said once, with its place.
    let scratch = Scratch::new();
    put(&scratch.three().root.join("images/inputs/stray"), "folder");
    put(&scratch.root.join("contexts"), "file");
    let ran = scratch.run("run").ends(0).says("passed over `contexts` and `images/inputs/stray`");
    assert_eq!(ran.stderr().matches("passed over").count(), 1, "{}", ran.stderr());
}

#[test]
fn whatever_stands_for_a_pin_holds() {
    let pattern = format!("={}", Digest::of(b"any").hex());
    for kind in ["file", "folder", "link", "pipe"] {
        for name in ["c", &pattern] {
            let scratch = Scratch::new();
            put(&scratch.three().root.join("images/pins").join(name), kind);
            scratch.run("run --max-images 0").ends(1);
            // Of a pattern that cannot be read, it may be any image.
            let expected = if name == "c" { "c" } else { "a b c" };
            assert_eq!(scratch.keys(), expected, "{kind} {name}");
        }
    }
    let scratch = Scratch::new();
    scratch.three();
    let long = format!("pin {}*", "a".repeat(70_000));
    scratch.run(&long).ends(2);
    scratch.run("run --max-images 0").ends(0);
}

#[test]
fn a_link_in_the_trash_and_a_trash_that_is_a_link_give_nothing_and_take_nothing_of_others() {
    let scratch = Scratch::new();
    scratch.three();
    let outside = scratch.root.join("../outside");
    fs::create_dir_all(outside.join("images/keys")).unwrap();
    fs::write(outside.join("images/keys/other"), "x").unwrap();
    fs::create_dir_all(scratch.root.join("trash")).unwrap();
    symlink(&outside, scratch.root.join("trash/20990101T000000.000000Z-1")).unwrap();
    scratch.run("undo").ends(1).says("nothing to bring back");
    scratch.run("run --trash-grace 0s").ends(0);
    assert!(outside.join("images/keys/other").exists());
    assert!(!scratch.root.join("trash/20990101T000000.000000Z-1").is_symlink());
    // What lies where such a trash leads is no batch, and not the store's.
    fs::remove_dir(scratch.root.join("trash")).unwrap();
    symlink(&outside, scratch.root.join("trash")).unwrap();
    scratch.run("run --max-images 2").ends(0);
    scratch.run("run --trash-grace 0s").ends(0);
    assert!(outside.join("images/keys/other").exists());
    assert_eq!(scratch.keys(), "a b");
}

#[test]
fn several_are_removed_together_or_none_and_it_is_said() {
    let scratch = Scratch::new();
    scratch.three();
    scratch.run("rm a nothing").ends(1).says("nothing was removed");
    assert_eq!(scratch.keys(), "a b c");
    scratch.run("rm a b").ends(0);
    assert_eq!(scratch.keys(), "c");
}

#[test]
fn undo_says_of_each_image_why_it_stays_in_the_trash() {
    let scratch = Scratch::new();
    scratch.three();
    fs::remove_file(scratch.store.images().blobs().path(&layer("c"))).unwrap();
    scratch.run("run --max-images 2").ends(0);
    let why = format!("`c` could not be brought back: it lacks 1 blob, such as {}", layer("c"));
    scratch.run("undo").ends(1).says("brought back no image").says(&why);
    scratch.run("undo").ends(1).says("nothing of trash/").says(&why);
    scratch.run("rm b").ends(0);
    scratch.save("b", 1, &["base", "other"]);
    scratch.run("undo").ends(1).says("`b` could not be brought back: another image is stored under its key");
}

#[test]
fn info_says_what_an_image_lacks_and_which_pin_holds_it() {
    let scratch = Scratch::new();
    scratch.three();
    fs::remove_file(scratch.store.images().blobs().path(&layer("c"))).unwrap();
    scratch.run("pin c --until 2099-01-01").ends(0);
    scratch.run("pin [bc]").ends(0);
    let info = scratch.run("info c").ends(0).stdout();
    for line in [
        "pinned by its key, until 2099-01-02T00:00:00Z\n".to_owned(),
        "pinned by the pattern `[bc]`\n".to_owned(),
        format!("incomplete: lacks {}\n", layer("c")),
    ] {
        assert!(info.contains(&line), "{info}");
    }
    let pins = scratch.run("pins").ends(0).stdout();
    assert!(pins.contains("one image") && pins.contains("2 images"), "{pins}");
    scratch.run("unpin c").ends(0).says("the pattern `[bc]` holds it still");
    scratch.run("unpin b").ends(1).says("the pattern `[bc]` holds it still");
    scratch.run("pin a --until 2001-01-01").ends(1).says("nothing was pinned");
}

#[test]
fn what_git_lfs_has_not_fetched_is_told_so_and_is_not_damaged() {
    let scratch = Scratch::new();
    scratch.three();
    let digest = scratch.digest("a");
    let path = scratch.store.images().blobs().path(&digest);
    let size = fs::metadata(&path).unwrap().len();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid {digest}\nsize {size}\n");
    fs::write(&path, pointer).unwrap();
    let list = scratch.run("ls").ends(0);
    let row = |name: &str| list.stdout().lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(row("a ").contains("(not fetched)") && !list.stdout().contains("damaged"), "{}", list.stdout());
    let said = "is not fetched by Git LFS: `git lfs pull` fetches it";
    list.says(&format!("1 image {said}"));
    scratch.run("verify").ends(0).says(&format!("1 blob {said}"));
    assert!(scratch.run("info a").ends(0).stdout().contains("not fetched: `git lfs pull`"));
    let plan = scratch.run("plan --max-images 2").ends(0);
    plan.says("`a` was not fetched by Git LFS").says("`git lfs pull` fetches it");
    scratch.run("verify --repair").ends(0);
    assert_eq!(scratch.keys(), "a b c");
    // Beside damage it is said all the same.
    fs::write(scratch.store.images().blobs().path(&layer("b")), "damaged").unwrap();
    scratch.run("verify").ends(3).says(&format!("1 blob {said}"));
}

#[test]
fn undo_brings_back_what_is_sound_and_verify_says_what_the_trash_has() {
    let scratch = Scratch::new();
    scratch.three();
    let blobs = scratch.store.images().blobs();
    fs::write(blobs.path(&layer("b")), content("z")).unwrap();
    scratch.run("rm a b").ends(0);
    let verified = scratch.run("verify").ends(0);
    verified.says("1 damaged file in the trash").says("`undo` leaves them there").says("all sound");
    let undone = scratch.run("undo").ends(1).says("brought back 1 image");
    let undone = undone.says(&format!(
        "`b` could not be brought back: 1 blob of it in the trash is damaged, such as {}",
        layer("b")
    ));
    undone.says("1 damaged file is left in trash/");
    assert_eq!((scratch.keys().as_str(), blobs.contains(&layer("b"))), ("a c", false));
    scratch.assert_whole();
    // A save that could have it from there writes it anew.
    scratch.save("b", 1, &["base", "b"]).assert_whole();
    scratch.run("verify --repair").ends(0);
    let left = scratch.run("verify").ends(0);
    assert!(!left.stderr().contains("damaged"), "{}", left.stderr());
}
