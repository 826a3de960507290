//! What holds for places of every kind.

use larder_tests::Ran;

use super::scene::{INPUTS, Scene, noted, number, root, saved, saved_another};
use crate::kit::session::Session;

#[test]
fn an_image_comes_back_byte_for_byte_with_all_that_is_noted() {
    for scene in Scene::each() {
        let (session, other) = (Session::new(), Session::new());
        saved(&session);
        scene.run(&session, "has k").ends(1).says("there is no `k` in");
        scene.run(&other, "pull k").ends(1).says("there is no `k` in");
        let pushed = scene.run(&session, "push k --json").ok().json();
        assert_eq!((&pushed["saved"], &pushed["tier"]), (&true.into(), &scene.place.as_str().into()));
        assert!(number(&pushed, "moved_bytes") > 1_000_000, "{pushed}");
        let found = scene.run(&other, "has k --json").ok().json();
        assert_eq!(found["there"], true);
        scene.run(&other, "has k nothing").ends(1).says("there is no `nothing`");

        let pulled = scene.run(&other, "pull k --json").ok().json();
        assert_eq!(pulled["saved"], true);
        assert_eq!(pulled["digest"], pushed["digest"]);
        assert_eq!(noted(&other, "k"), noted(&session, "k"), "{}", scene.place);
        assert_eq!(other.run("info k --inputs").ok().stdout(), INPUTS);
        assert_eq!(
            other.run("info k --manifest").ok().stdout(),
            session.run("info k --manifest").ok().stdout()
        );
        assert_eq!(other.blobs(), session.blobs());
        other.run("verify").ok();
        scene.run(&other, "pull k").ok().says("stored already");
    }
}

#[test]
fn a_second_push_and_pull_move_nothing() {
    for scene in Scene::each() {
        let (session, other) = (Session::new(), Session::new());
        saved(&session);
        scene.run(&session, "push k").ok();
        let again = scene.run(&session, "push k --json").ok().json();
        assert_eq!((number(&again, "moved_blobs"), &again["saved"]), (0, &false.into()), "{again}");
        // The blobs are there under another key.
        let archive = session.run("export k a.tar");
        archive.ok();
        session.run("import other a.tar").ok();
        let beside = scene.run(&session, "push other --json").ok().json();
        assert_eq!((number(&beside, "moved_blobs"), &beside["saved"]), (0, &true.into()), "{beside}");
        scene.run(&other, "pull k").ok();
        let second = scene.run(&other, "pull other --json").ok().json();
        assert_eq!((number(&second, "moved_blobs"), &second["saved"]), (0, &true.into()), "{second}");
    }
}

#[test]
fn the_first_save_stands_unless_forced() {
    for scene in Scene::each() {
        let (session, other, reader) = (Session::new(), Session::new(), Session::new());
        saved(&session);
        saved_another(&other);
        let first = scene.run(&session, "push k --json").ok().json();
        let second = scene.run(&other, "push k --json").ok().says("it stays").json();
        assert_eq!((&second["saved"], &second["digest"]), (&false.into(), &first["digest"]));
        scene.run(&reader, "pull k").ok();
        assert_eq!(noted(&reader, "k"), noted(&session, "k"));

        let forced = scene.run(&other, "push k --force --json").ok().json();
        assert_eq!(forced["saved"], true);
        scene.run(&reader, "pull k").ok().says("stored already");
        scene.run(&reader, "pull k --force").ok();
        assert_eq!(noted(&reader, "k"), noted(&other, "k"), "{}", scene.place);
        reader.run("info k --inputs").ends(1);
    }
}

#[test]
fn two_pushes_at_once_both_end_well() {
    for scene in Scene::each() {
        let (session, other, reader) = (Session::new(), Session::new(), Session::new());
        saved(&session);
        saved_another(&other);
        std::thread::scope(|scope| {
            let pushes = [&session, &session, &other].map(|session| {
                let mut command = scene.command(session, "push k");
                scope.spawn(move || Ran::of(&mut command))
            });
            for push in pushes {
                push.join().unwrap().ok();
            }
        });
        scene.run(&reader, "pull k").ok();
        reader.run("verify").ok();
        if root(&scene.files).exists() {
            scene.files.run("verify").ok();
        }
    }
}

#[test]
fn what_a_place_cannot_be_asked_is_refused() {
    let session = Session::new();
    saved(&session);
    let place = format!("--tier store:{}", session.path("elsewhere"));
    for words in [
        "pull k --name a:1",
        "pull k --key other",
        "pull k --platform linux/amd64",
        "pull k --commit x",
        "pull team/app:1",
        "has team/app:1",
        "push k registry.example/app",
        "push k --compress gzip",
        "has k --remote registry.example/app",
    ] {
        session.run(&format!("{words} {place}")).ends(2);
    }
    session.run("push k --force").ends(2);
    session.run("has k --timeout 5s").ends(2);
    session.run("has k --tier registry:app").ends(2).says("is not a place");
    session.run(&format!("push nothing {place}")).ends(1);
    assert!(!session.path("elsewhere").exists(), "a question makes no store");
}
