//! What stands in a store: first save wins, damage is found and mended, keys come and go.

use std::fs;

use camino::Utf8PathBuf;
use larder_tests::{Ran, signal, until, until_it_waits};
use serde_json::json;
use storekit::Digest;

use crate::kit::session::Session;
use crate::kit::tars::{docker, id, layer};

/// An image of two layers under `k`.
fn saved() -> (Session, Vec<u8>) {
    let session = Session::new();
    let archive = docker("app:1", &[&layer("base", "first"), &layer("top", &"second ".repeat(5000))]).end();
    session.feed("import k", &archive).ok();
    (session, archive)
}

/// The file of the largest layer.
fn layer_file(session: &Session) -> Utf8PathBuf {
    let info = session.run("info k --json").ok().json();
    let layers = info["images"][0]["layers"].as_array().unwrap().clone();
    let largest = layers.iter().max_by_key(|layer| layer["bytes"].as_u64()).unwrap();
    let digest: Digest = largest["digest"].as_str().unwrap().parse().unwrap();
    session.store().images().blobs().path(&digest)
}

type Hurt = fn(&Utf8PathBuf);

fn flip(path: &Utf8PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Utf8PathBuf) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
}

fn delete(path: &Utf8PathBuf) {
    fs::remove_file(path).unwrap();
}

#[test]
fn damage_is_told_from_a_miss_and_mended_by_the_next_save() {
    for hurt in [flip, truncate, delete] as [Hurt; 3] {
        let (session, archive) = saved();
        hurt(&layer_file(&session));
        let export = session.run("export k --compress none").ends(3);
        assert!(
            !String::from_utf8_lossy(export.bytes()).contains("RepoTags"),
            "the list of images was written"
        );
        session.run("has k").ends(3);
        session.run("verify").ends(3);
        session.feed("import k", &archive).ok();
        session.run("verify").ok();
        session.run("export k").ok();
    }
}

#[test]
fn damage_that_nobody_has_found_yet_is_mended_by_the_next_save() {
    for words in ["import k a.tar", "import k a.tar --force"] {
        let (session, archive) = saved();
        flip(&layer_file(&session));
        session.write("a.tar", archive);
        session.run(words).ok();
        session.run("verify").ok();
    }
}

/// What stands under another key is read before it is reused, through a pipe and from a file.
#[test]
fn a_damaged_layer_of_another_key_is_not_reused() {
    for from_file in [false, true] {
        let (session, archive) = saved();
        flip(&layer_file(&session));
        if from_file {
            session.write("a.tar", archive);
            session.run("import other a.tar").ok().says("1 new layer, 1 stored already");
        } else {
            session.feed("import other", &archive).ok();
        }
        session.run("verify").ok();
        session.run("export other").ok();
    }
}

#[test]
fn an_export_that_is_stopped_leaves_no_file() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let session = Session::new();
        session.write("d/zeros", vec![0; 200 << 20]);
        session.run("pack k d").ok();
        fs::create_dir(session.path("out")).unwrap();
        let mut export = session.command("export k out/image.tar --compress none").spawn().unwrap();
        until("a file is begun", || fs::read_dir(session.path("out")).unwrap().next().is_some());
        signal(&export, name);
        assert_eq!(export.wait().unwrap().code(), Some(code));
        assert_eq!(fs::read_dir(session.path("out")).unwrap().count(), 0);
    }
}

#[test]
fn saves_at_once_under_one_key_and_many_all_succeed() {
    let session = Session::new();
    let base = layer("base", &"shared ".repeat(50_000));
    let archives: Vec<_> =
        (0..4).map(|n| docker("app:1", &[&base, &layer("top", &n.to_string())]).end()).collect();
    std::thread::scope(|scope| {
        for (n, archive) in archives.iter().enumerate() {
            let session = &session;
            scope.spawn(move || session.feed(&format!("import k{n}"), archive).ok());
            scope.spawn(move || session.feed("import same", archive).ok());
        }
    });
    session.run("verify").ok();
    assert_eq!(session.run("ls").ok().stdout().lines().count(), 6);
    // The base once, four tops; a config and a manifest for each.
    assert_eq!(session.blobs().len(), 1 + 4 + 8);
}

#[test]
fn ctrl_c_ends_with_130_and_leaves_a_sound_store() {
    let (session, archive) = saved();
    let mut child = session.command("import other").stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &archive[..archive.len() / 2]).unwrap();
    until_it_waits(&child);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    session.run("has other").ends(1);
    session.run("verify").ok();
}

#[test]
fn verify_finds_a_flipped_bit_and_names_the_key() {
    let (session, _) = saved();
    flip(&layer_file(&session));
    let report = session.run("verify k --json").ends(3).stdout();
    let problem: serde_json::Value = serde_json::from_str(report.lines().next().unwrap()).unwrap();
    assert_eq!(problem["key"], json!("k"));
    assert!(problem["problem"].as_str().unwrap().contains("damaged"));
}

#[test]
fn an_export_file_of_a_damaged_image_never_appears() {
    let (session, _) = saved();
    flip(&layer_file(&session));
    session.run("export k out.tar").ends(3);
    assert!(!session.path("out.tar").exists());
}

#[test]
fn the_first_save_wins_unless_forced() {
    let (session, _) = saved();
    let before = session.ids("k");
    let other = layer("other", "third");
    let archive = docker("other:1", &[&other]).end();
    session.feed("import k", &archive).ok().says("stored already");
    assert_eq!(session.ids("k"), before);
    session.feed("import k --force", &archive).ok();
    assert_eq!(session.ids("k"), [id(&[&other])]);
}

#[test]
fn keys_come_and_go() {
    let (session, _) = saved();
    session.run("has k").ok();
    session.run("has other").ends(1);
    session.run("info other").ends(1).says("nothing is stored");
    session.run("export other").ends(1);
    session.run("rm k other").ends(1);
    session.run("has k").ends(1);
    session.run("rm k").ends(1);
}

#[test]
fn no_store_is_a_miss_and_a_foreign_folder_trouble() {
    let session = Session::new();
    session.run("has k").ends(1);
    session.run("load k --engine docker").ends(1);
    assert_eq!(session.run("ls --json").ok().stdout(), "");
    session.write("../store/something", "x");
    session.run("ls").ends(2).says("not a larder store");
    session.feed("import k", b"").ends(2);
}

#[test]
fn names_are_set() {
    let (session, _) = saved();
    session.run("tag k new other:2").ok();
    assert_eq!(session.run("info k --json").ok().json()["names"], json!(["new:latest", "other:2"]));
    session.run("tag k Bad/Name").ends(2).says("is not an image name");
    session.run("tag other x").ends(1);
}

#[test]
fn notes_are_kept() {
    let session = Session::new();
    session.write("inputs", "the manifest\n");
    let archive = docker("app:1", &[&layer("base", "first")]).end();
    session.feed("import k --build-seconds 12.5 --manifest inputs --name app:x", &archive).ok();
    let info = session.run("info k --json").ok().json();
    assert_eq!((&info["build_seconds"], &info["names"]), (&json!(12.5), &json!(["app:x"])));
    assert_eq!(session.run("info k --inputs").ok().stdout(), "the manifest\n");
    session.feed("import l --build-seconds -1", &archive).ends(2);
    session.feed("import l --build-seconds=nan", &archive).ends(2);
}

#[test]
fn where_an_image_came_from_is_noted_and_shown() {
    let session = Session::new();
    let archive = docker("app:1", &[&layer("base", "first")]).end();
    session.write("disk.raw", "a disk");
    let flags = "--image app --host build-3 --commit 931ee0b+";
    session.feed(&format!("import k {flags}"), &archive).ok();
    session.run(&format!("import d disk.raw {flags}")).ok();
    session.write("folder/file", "x");
    session.run(&format!("pack p folder {flags}")).ok();
    for key in ["k", "d", "p"] {
        let info = session.run(&format!("info {key} --json")).ok().json();
        let told = ["image", "host", "commit"].map(|field| info[field].clone());
        assert_eq!(told, [json!("app"), json!("build-3"), json!("931ee0b+")], "{key}");
        let text = session.run(&format!("info {key}")).ok().stdout();
        assert!(text.contains("made as   app\nmade on   build-3\nmade from 931ee0b+\n"), "{text}");
    }
    assert_eq!(session.run("ls --json").ok().stdout().matches("\"commit\":\"931ee0b+\"").count(), 3);
    // A change of the names leaves it.
    session.run("tag k new:1").ok();
    assert_eq!(session.run("info k --json").ok().json()["image"], json!("app"));
    // It changes nothing else, and the first save stands with its own.
    session.feed("import plain", &archive).ok();
    session.feed("import k --image other", &archive).ok().says("stored already");
    let [with, plain] = ["k", "plain"].map(|key| session.run(&format!("info {key} --json")).ok().json());
    assert_eq!((&with["digest"], with["image"].as_str()), (&plain["digest"], Some("app")));
    assert!(plain.get("image").is_none());
}

#[test]
fn what_is_said_of_an_image_is_short_and_plain() {
    let session = Session::new();
    for flag in ["--image", "--host", "--commit"] {
        for text in ["", "a\nb", &"a".repeat(256)] {
            let mut command = session.command("import k nothing.tar");
            Ran::of(command.args([flag, text]))
                .ends(2)
                .says("it must have 1 to 255 bytes and no control characters");
        }
    }
}

#[test]
fn keys_are_no_paths() {
    let session = Session::new();
    for key in ["../x", ".hidden", "a/b"] {
        session.run(&format!("import {key}")).ends(2).says("write 1 to 128 letters, digits");
    }
}

#[test]
fn trouble_names_the_file() {
    let (session, _) = saved();
    session.run("export k /dev/full").ends(2).says("cannot write `/dev/full`");
    session.write("folder/file", "x");
    session.run("import l folder").ends(2).says("`folder` is a folder").says("imgtar pack");
    session.run("export k folder").ends(2).says("folder");
}

#[test]
fn a_killed_import_leaves_a_store_that_verifies() {
    let (session, _) = saved();
    let noise: String =
        (0..4_000_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    let archive = docker("big:1", &[&layer("big", &noise)]).end();
    session.write("big.tar", &archive);
    for pause in [0, 2, 5, 10, 20, 40] {
        let mut child =
            session.command("import big big.tar --force").stdin(std::process::Stdio::null()).spawn().unwrap();
        // Any moment may be the bad one: no event tells of it.
        std::thread::sleep(std::time::Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        session.run("verify").ok();
    }
    session.run("import big big.tar --force").ok();
    let names = fs::read_dir(session.store().images().blobs().folder()).unwrap();
    assert!(
        names.map(|entry| entry.unwrap().file_name()).all(|name| name.len() == 64),
        "unfinished files are left"
    );
}
