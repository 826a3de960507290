//! A bucket of an object store as a place.

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use larder_tests::others::rclone::{ACCESS_KEY, SECRET_KEY};
use larder_tests::{Part, Ran, Rclone, have, sh, until};

use super::scene::{INPUTS, Scene, blob_files, flip, noted, number, saved, saved_another};
use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};

/// Where the blobs of the bucket are on disk, the largest first.
fn blobs(scene: &Scene) -> Vec<Utf8PathBuf> {
    // The server removes a folder that is empty.
    let entries = scene.object("blobs/sha256").read_dir_utf8().into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().into_path()).collect();
    files.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    files
}

/// Makes a file as old as this.
fn age(path: &Utf8PathBuf, age: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::now() - age)).unwrap();
}

const LONG: Duration = Duration::from_secs(7200);

#[test]
fn the_layout_is_that_of_a_store() {
    let Some(scene) = Scene::bucket() else { return };
    let session = Session::new();
    saved(&session);
    scene.run(&session, "push k").ok();
    let read = |name: &str| std::fs::read(scene.object(name)).unwrap();
    assert_eq!(read("inputs/k"), INPUTS.as_bytes());
    let own = std::fs::read(super::scene::root(&session).join("images/keys/k")).unwrap();
    assert_eq!(read("keys/k"), own);
    assert_eq!(read("oci-layout"), b"{\"imageLayoutVersion\":\"1.0.0\"}");
    assert_eq!(blobs(&scene).len(), session.blobs().len());
    // A copy of it is a store, and tools find the image in that.
    let copy = session.path("copy");
    sh(&format!(
        "mkdir -p {copy} && cp -r {} {copy}/images && cp {}/CACHEDIR.TAG {copy}",
        scene.object("").as_str().trim_end_matches('/'),
        super::scene::root(&session)
    ));
    session.run(&format!("--store {copy} verify k")).ok();
    session.run(&format!("--store {copy} ls")).ok();
    if have(&[Part::Skopeo]) {
        sh(&format!("skopeo copy -q oci:{copy}/images:k oci-archive:{copy}/out.tar"));
    }
}

#[test]
fn a_damaged_blob_there_is_refused_and_mended_by_force() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    flip(&blobs(&scene)[0]);
    let scene = scene.restarted();
    scene.run(&other, "pull k").ends(3).says("is something else");
    other.run("has k").ends(1);
    other.run("verify").ok();
    // Its size is right: only a push that is forced sends it again.
    assert_eq!(number(&scene.run(&session, "push k --json").ok().json(), "moved_blobs"), 0);
    scene.run(&session, "push k --force").ok();
    scene.run(&other, "pull k").ok();
    assert_eq!(noted(&other, "k"), noted(&session, "k"));
}

#[test]
fn what_is_missing_there_is_refused_and_brought_by_a_push() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    std::fs::remove_file(&blobs(&scene)[0]).unwrap();
    let scene = scene.restarted();
    scene.run(&other, "pull k").ends(3).says("a part of the image under `k`");
    other.run("has k").ends(1);
    // The broken entry stands in nobody's way.
    saved_another(&other);
    let moved = scene.run(&other, "push k --json").ok().json();
    assert_eq!(moved["saved"], true);
    let back = scene.run(&session, "push k --force --json").ok().json();
    assert_eq!((&back["saved"], number(&back, "moved_blobs")), (&true.into(), 1));
    scene.run(&Session::new(), "pull k").ok();
}

#[test]
fn a_lie_in_a_key_file_is_refused() {
    let Some(mut scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    let path = scene.object("keys/k");
    let text = std::fs::read_to_string(&path).unwrap();
    for (lie, said, code) in [
        ("not toml".to_owned(), "cannot be understood", 3),
        (text.replace("size = ", "size = 1"), "is something else", 3),
        (text.replace("version = 1", "version = 2"), "format version 2", 2),
        (text.replace("sha256:", "sha256:../"), "cannot be understood", 3),
    ] {
        std::fs::write(&path, lie).unwrap();
        scene = scene.restarted();
        scene.run(&other, "pull k").ends(code).says(said);
        let listed = scene.run(&other, "ls --json").ok().json();
        assert!(listed["problem"].is_string(), "{listed}");
        other.run("has k").ends(1);
    }
}

#[test]
fn only_old_blobs_that_no_key_needs_are_removed() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    saved_another(&other);
    other.run("export k a.tar").ok();
    other.run("import other a.tar").ok();
    scene.run(&other, "push other").ok();
    let all = blobs(&scene).len();
    // A push may be about to name them.
    scene.run(&session, "rm other").ok();
    assert_eq!(blobs(&scene).len(), all);
    for path in blobs(&scene) {
        age(&path, LONG);
    }
    let scene = scene.restarted();
    let unknown = std::fs::read_to_string(scene.object("keys/k")).unwrap();
    std::fs::write(scene.object("keys/odd"), unknown.replace("version = 1", "version = 2")).unwrap();
    let scene = scene.restarted();
    scene.run(&session, "rm nothing").ends(1).says("no blob was removed");
    assert_eq!(blobs(&scene).len(), all, "what a later version needs is not known");
    std::fs::remove_file(scene.object("keys/odd")).unwrap();
    let scene = scene.restarted();
    scene.run(&session, "rm nothing").ends(1).says("went that no key needs");
    assert_eq!(blobs(&scene).len(), session.blobs().len());
    scene.run(&Session::new(), "pull k").ok();
    scene.run(&session, "rm k").ok();
    assert!(blobs(&scene).is_empty());
    assert!(!scene.object("inputs/k").exists() && !scene.object("keys/k").exists());
}

#[test]
fn an_old_blob_that_is_used_again_becomes_young() {
    let Some(scene) = Scene::bucket() else { return };
    let session = Session::new();
    saved(&session);
    scene.run(&session, "push k").ok();
    for path in blobs(&scene) {
        age(&path, LONG);
    }
    let scene = scene.restarted();
    session.run("export k a.tar").ok();
    session.run("import again a.tar").ok();
    let pushed = scene.run(&session, "push again --json").ok().json();
    assert_eq!(number(&pushed, "moved_blobs"), 0, "{pushed}");
    for path in blobs(&scene) {
        let modified = path.metadata().unwrap().modified().unwrap();
        assert!(modified.elapsed().is_ok_and(|age| age < LONG / 2), "{path}");
    }
}

#[test]
fn a_large_blob_goes_in_parts() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    let disk = session.path("disk");
    // More than one part: a file of random bytes, as one layer.
    sh(&format!("mkdir {disk} && head -c 70000000 /dev/urandom > {disk}/random"));
    session.run(&format!("pack k {disk}")).ok();
    scene.run(&session, "push k").ok();
    assert_eq!(std::fs::read(&blobs(&scene)[0]).unwrap(), std::fs::read(&blob_files(&session)[0]).unwrap());
    scene.run(&other, "pull k").ok();
    other.run("verify").ok();
}

#[test]
fn a_killed_push_leaves_no_entry_and_the_next_one_completes_it() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    let big = session.path("big");
    sh(&format!("mkdir {big} && head -c 60000000 /dev/urandom > {big}/random"));
    session.run(&format!("pack k {big}")).ok();
    let mut push = scene.command(&session, "push k --jobs 1").spawn().unwrap();
    until("the first blob is there", || scene.object("blobs/sha256").exists());
    push.kill().unwrap();
    push.wait().unwrap();
    if !scene.object("keys/k").exists() {
        scene.run(&other, "pull k").ends(1);
    }
    scene.run(&session, "push k").ok();
    scene.run(&other, "pull k").ok();
    other.run("verify").ok();
}

#[test]
fn wrong_credentials_are_said_and_nothing_secret_is_printed() {
    let Some(scene) = Scene::bucket() else { return };
    let session = Session::new();
    saved(&session);
    let run = |words: &str, variables: &[(&str, &str)]| {
        let mut command = session.command(&format!("{words} --tier {}", scene.place));
        Ran::of(command.envs(variables.iter().copied()))
    };
    let wrong = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", "not-the-secret")];
    for words in ["has k", "pull k --force", "push k", "ls", "rm k"] {
        for variables in [&wrong[..], &[]] {
            let said = run(words, variables).ends(2).says("AWS_ACCESS_KEY_ID").stderr();
            for secret in ["not-the-secret", ACCESS_KEY, "Signature="] {
                assert!(!said.contains(secret), "{said}");
            }
        }
    }
    run("has k", &wrong[..1]).ends(2).says("set alone");
    let token = [wrong[0], ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_SESSION_TOKEN", "secret-token")];
    let said = session.run("has k --tier s3:http://127.0.0.1:1/larder --timeout 1s").ends(2).stderr();
    assert!(!said.contains("Amz"), "{said}");
    run("has k", &token).ends(1);
}

#[test]
fn a_bucket_that_cannot_be_written_to_says_so() {
    let Some(scene) = Scene::bucket() else { return };
    let session = Session::new();
    saved(&session);
    scene.run(&session, "push k").ok();
    let none = scene.place.replace("/larder/team", "/none");
    let mut command = session.command(&format!("push k --tier {none}"));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Ran::of(&mut command).ends(2).says("NoSuchBucket");
    session.run("has k --tier s3:http://s3.example/larder").ends(2).says("is not encrypted");
}

#[test]
fn a_bucket_that_takes_nothing_says_so() {
    if !have(&[Part::Rclone]) {
        return;
    }
    let session = Session::new();
    saved(&session);
    let folder = session.aside("buckets");
    let rclone = Rclone::start_with(&folder, &["--read-only"]);
    let mut command = session.command(&format!("push k --tier s3:{}/team --timeout 2s", rclone.url()));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    Ran::of(&mut command).ends(2).says("answered");
    assert!(!rclone.object("team/keys/k").exists());
}

#[test]
fn a_pull_goes_on_where_an_earlier_one_stopped() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    scene.run(&session, "push k").ok();
    // What a killed pull leaves of the largest blob.
    let blob = &blobs(&scene)[0];
    let bytes = std::fs::read(blob).unwrap();
    other.run("init").ok();
    let partial = format!("images/blobs/sha256/.tmp-partial-{}", blob.file_name().unwrap());
    std::fs::write(super::scene::root(&other).join(partial), &bytes[..bytes.len() - 1000]).unwrap();
    let pulled = scene.run(&other, "pull k --json").ok().json();
    assert!(number(&pulled, "moved_bytes") < 5000, "{pulled}");
    other.run("verify").ok();
}

#[test]
fn several_images_under_one_key_come_back() {
    let Some(scene) = Scene::bucket() else { return };
    let (session, other) = (Session::new(), Session::new());
    let (archive, index, _) = crate::images::archives::platforms();
    session.feed("import k", &archive).ok();
    scene.run(&session, "push k").ok();
    scene.run(&other, "pull k").ok();
    assert_eq!(other.run("info k --manifest").ok().stdout(), index);
    let plain = docker("b:1", &[&layer("b", "b")]).end();
    session.feed("import b", &plain).ok();
    scene.run(&session, "push b").ok();
    scene.run(&session, "rm b").ok();
    scene.run(&Session::new(), "pull k").ok();
}
