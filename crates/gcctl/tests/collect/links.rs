//! A store behind symbolic links: the real thing is counted, limited and swept.

use std::fs;
use std::os::unix::fs::symlink;

use camino::{Utf8Path, Utf8PathBuf};
use larder_tests::{Mount, Part, Ran, have};

use crate::scratch::{Scratch, session};

/// The program on a store by this name.
fn on(store: &Utf8Path, words: &str) -> Ran {
    Ran::of(session().command(words).arg("--store").arg(store))
}

fn df(store: &Utf8Path) -> serde_json::Value {
    let mut df: serde_json::Value = serde_json::from_str(&on(store, "df --json").ends(0).stdout()).unwrap();
    // Others write to the disk, too.
    df["free"] = 0.into();
    df
}

/// Moves a folder of the store to `to`, and leaves a link.
fn move_away(scratch: &Scratch, folder: &str, to: &Utf8Path) {
    let from = scratch.root.join(folder);
    Ran::of(scratch.session.program("mv").args([&from, to])).ok();
    symlink(to, from).unwrap();
}

#[test]
fn a_store_that_is_a_link_is_the_store() {
    let scratch = Scratch::new();
    scratch.three();
    let link = scratch.root.with_file_name("link");
    symlink(&scratch.root, &link).unwrap();
    assert_eq!(df(&link), df(&scratch.root));
    on(&link, "run --max-images 2").ends(0).says("removed 1 image and 2 blobs (16.4kB)");
    let images = df(&link)["shared"].as_u64().unwrap() + df(&link)["unique"].as_u64().unwrap();
    on(&link, &format!("run --max-size {}B", images - 1)).ends(0).says("removed 1 image and 2 blobs");
    assert_eq!((scratch.keys().as_str(), scratch.blobs().len()), ("a", 4));
    Ran::of(scratch.session.command("run --max-images 0").env("LARDER_DIR", &link))
        .ends(0)
        .says("removed 1 image and 4 blobs");
    on(&link, "run --trash-grace 0s").ends(0).says("emptied");
    assert_eq!(fs::read_dir(scratch.root.join("trash")).unwrap().count(), 0);
}

#[test]
fn a_folder_of_the_store_that_is_a_link_counts_and_is_swept() {
    for folder in
        ["images", "images/blobs", "images/blobs/sha256", "images/keys", "images/inputs", "trash", "packages"]
    {
        let scratch = Scratch::new();
        scratch.three().save("d", 40, &["base", "d"]).run("run --max-images 3").ends(0);
        fs::create_dir_all(scratch.root.join("packages/blobs/sha256")).unwrap();
        let before = df(&scratch.root);
        move_away(&scratch, folder, &scratch.root.with_file_name("elsewhere"));
        assert_eq!(df(&scratch.root), before, "{folder}");
        scratch.run("run --max-images 1").ends(0).says("removed 2 images and 4 blobs (32.8kB)");
        assert_eq!((scratch.keys().as_str(), scratch.blobs().len()), ("a", 4), "{folder}");
        assert_eq!(scratch.run("undo").ends(0).stdout(), "b\nc\n", "{folder}");
        scratch.assert_whole();
        scratch.run("run --max-images 1 --trash-grace 0s --force").ends(0).says("emptied");
        assert_eq!(df(&scratch.root)["trash"], 0, "{folder}");
        assert_eq!(scratch.blobs().len(), 4, "{folder}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_not_an_empty_store() {
    let scratch = Scratch::new();
    scratch.three();
    let away: Utf8PathBuf = scratch.root.with_file_name("elsewhere");
    move_away(&scratch, "images", &away);
    fs::rename(&away, scratch.root.with_file_name("unplugged")).unwrap();
    for words in ["ls", "df", "run --max-images 1"] {
        scratch.run(words).ends(2).says("cannot follow the link");
    }
    Ran::of(scratch.session.command("ls").env("LARDER_DIR", scratch.root.join("images")))
        .ends(2)
        .says("cannot follow the link");
}

#[test]
fn links_elsewhere_are_not_followed() {
    let scratch = Scratch::new();
    scratch.three();
    let before = df(&scratch.root)["total"].as_u64().unwrap();
    symlink("..", scratch.root.join("images/keys/.loop")).unwrap();
    symlink("/usr", scratch.root.join("mine")).unwrap();
    assert!(df(&scratch.root)["total"].as_u64().unwrap() < before + 16_384);
}

#[test]
fn images_on_another_file_system_than_the_trash_are_refused_unless_they_are_deleted_at_once() {
    if !have(&[Part::Mount]) {
        return;
    }
    let scratch = Scratch::new();
    let disk = scratch.session.path("disk");
    let _mount = Mount::new(&disk, "2m");
    scratch.three();
    move_away(&scratch, "images", &disk.join("images"));
    let before = scratch.blobs();
    for words in ["run --max-images 2", "clean"] {
        let ran = scratch.run(words).ends(2);
        let said = ran.stderr().split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(said.contains("lies on another file system than the store's trash"), "{said}");
    }
    assert_eq!((scratch.keys().as_str(), scratch.blobs()), ("a b c", before));
    assert!(!scratch.root.join("trash").exists());
    scratch.run("run --max-images 2 --trash-grace 0s").ends(0).says("removed 1 image");
    fs::create_dir(disk.join("trash")).unwrap();
    symlink(disk.join("trash"), scratch.root.join("trash")).unwrap();
    scratch.run("run --max-images 1").ends(0).says("removed 1 image");
    assert_eq!(scratch.run("undo").ends(0).stdout(), "b\n");
    scratch.assert_whole();
}
