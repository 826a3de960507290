//! Another store as a place.

use larder_tests::{Part, have, sh, until};

use super::scene::{Scene, blob_files, flip, noted, root, saved};
use crate::kit::session::Session;

#[test]
fn a_damaged_blob_there_is_refused_and_mended_by_a_push() {
    let (session, other, scene) = (Session::new(), Session::new(), Scene::store());
    saved(&session);
    scene.run(&session, "push k").ok();
    flip(&blob_files(&scene.files)[0]);
    scene.run(&other, "pull k").ends(3).says("does not hold what it should");
    other.run("has k").ends(1);
    assert!(!other.run("ls").ok().stdout().contains('k'), "nothing stands under the key");
    // What is damaged there is not damage here.
    other.run("verify").ok();
    scene.run(&session, "push k").ok();
    scene.run(&other, "pull k").ok();
    assert_eq!(noted(&other, "k"), noted(&session, "k"));
}

#[test]
fn a_damaged_blob_there_stays_where_nothing_is_written() {
    let (session, other, scene) = (Session::new(), Session::new(), Scene::store());
    saved(&session);
    scene.run(&session, "push k").ok();
    let before = blob_files(&scene.files);
    for blob in &before {
        flip(blob);
    }
    for job in ["has k", "pull k", "ls", "info k"] {
        let mut command = scene.command(&other, job);
        command.env("LARDER_READ_ONLY", "1").output().unwrap();
    }
    assert_eq!(blob_files(&scene.files), before);
}

#[test]
fn a_missing_blob_there_is_refused_and_brought_by_a_push() {
    let (session, other, scene) = (Session::new(), Session::new(), Scene::store());
    saved(&session);
    scene.run(&session, "push k").ok();
    std::fs::remove_file(&blob_files(&scene.files)[0]).unwrap();
    // As if none of it were there: another place is asked, and the next push brings it.
    scene.run(&other, "has k").ends(1);
    scene.run(&other, "pull k").ends(3).says("a part of the image under `k`");
    other.run("has k").ends(1);
    scene.run(&session, "push k").ok();
    scene.run(&other, "pull k").ok();
}

#[test]
fn a_damaged_blob_here_is_not_pushed() {
    let (session, scene) = (Session::new(), Scene::store());
    saved(&session);
    flip(&blob_files(&session)[0]);
    scene.run(&session, "push k").ends(3).says("is damaged");
    scene.run(&session, "has k").ends(1);
}

#[test]
fn a_place_that_cannot_be_written_to_says_so() {
    if !have(&[Part::Mount]) {
        return;
    }
    let (session, scene) = (Session::new(), Scene::store());
    saved(&session);
    let folder = root(&scene.files);
    std::fs::create_dir(&folder).unwrap();
    let imgtar = env!("CARGO_BIN_EXE_imgtar");
    let line = format!(
        "unshare -m sh -c 'mount --bind {folder} {folder} && mount -o remount,ro,bind {folder} && \
         {imgtar} --store {} push k --tier {}' 2>&1; echo $?",
        root(&session),
        scene.place
    );
    let said = sh(&line);
    assert!(said.contains(folder.as_str()) && said.ends_with('2'), "{said}");
}

#[test]
fn a_killed_push_leaves_a_store_that_verifies_and_the_next_one_completes_it() {
    let (session, other, scene) = (Session::new(), Session::new(), Scene::store());
    let big = session.path("big");
    sh(&format!("mkdir {big} && head -c 60000000 /dev/urandom > {big}/random"));
    session.run(&format!("pack k {big}")).ok();
    let mut push = scene.command(&session, "push k").spawn().unwrap();
    let folder = root(&scene.files).join("images/blobs/sha256");
    until("something of it is there", || folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()));
    push.kill().unwrap();
    push.wait().unwrap();
    scene.files.run("verify").ok();
    scene.run(&session, "push k").ok();
    scene.files.run("verify").ok();
    scene.run(&other, "pull k").ok();
    other.run("verify").ok();
}

#[test]
fn what_git_lfs_has_not_fetched_is_said_with_its_remedy() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let (session, other) = (Session::new(), Session::new());
    saved(&session);
    let repository = session.path("project");
    sh(&format!("git init -q {repository}"));
    let store = repository.join("cache");
    session.run(&format!("init --lfs {store}")).ok();
    let place = format!("store:{store}");
    session.run(&format!("push k --tier {place}")).ok();
    session.run(&format!("push k --tier {place}")).ok();
    for blob in std::fs::read_dir(store.join("images/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let (name, size) =
            (path.file_name().unwrap().to_str().unwrap().to_owned(), path.metadata().unwrap().len());
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {size}\n");
        std::fs::write(path, pointer).unwrap();
    }
    other.run(&format!("pull k --tier {place}")).ends(2).says("git lfs pull");
    other.run(&format!("has k --tier {place}")).ends(2).says("git lfs pull");
    // A push brings the blobs themselves.
    session.run(&format!("push k --tier {place}")).ok();
    other.run(&format!("pull k --tier {place}")).ok();
}
