//! Saves by a push: only what the store lacks moves, and nothing of it stays in the engine.

use std::process::Stdio;

use larder_tests::{Part, Ran, have, sh, signal, until, until_some};

use crate::engine::engines::{Image, layers, with, wrapped};
use crate::kit::session::Session;
use crate::kit::tars::{docker, id, layer};

/// How a save went, and what it moved: the way, layers written, layers reused.
#[track_caller]
fn came(run: Ran) -> (String, u64, u64) {
    let line = run.ok().json();
    let number = |name: &str| line[name].as_u64().unwrap();
    (line["way"].as_str().unwrap().to_owned(), number("layers_written"), number("layers_reused"))
}

/// Two images with one base, the first of them stored, both in the engine; a store that has the
/// first.
fn base_is_stored(engine: &'static str, test: &'static str) -> Option<(Session, [Image; 2], [String; 2])> {
    if !have(&[Part::engine(engine)]) {
        return None;
    }
    let images = [test.to_owned(), format!("{test}-other")].map(|name| Image::new(engine, &name));
    let [base, top] = layers(test);
    let other = layer("other", test);
    let elsewhere = Session::new();
    let session = Session::new();
    let first = docker(&images[0].0, &[&base, &top]).end();
    elsewhere.feed("import first", &first).ok();
    session.feed("import first", &first).ok();
    elsewhere.feed("import second", &docker(&images[1].0, &[&base, &other]).end()).ok();
    elsewhere.run(&format!("load first --engine {engine}")).ok();
    elsewhere.run(&format!("load second --engine {engine}")).ok();
    let ids = [id(&[&base, &top]), id(&[&base, &other])];
    Some((session, images, ids))
}

#[test]
fn docker_pushes_what_the_store_has_not() {
    let Some((session, [first, second], [_, id])) = base_is_stored("docker", "pushed") else { return };
    let save = |key: &str, image: &str| came(session.run(&format!("save {key} {image} --by push --json")));
    assert_eq!(save("again", &first.0), ("push".to_owned(), 0, 2));
    assert_eq!(save("second", &second.0), ("push".to_owned(), 1, 1));
    assert_eq!(session.ids("second"), [id.as_str()]);
    let info = session.run("info second --json").ok().json();
    assert_eq!(info["names"], serde_json::json!([second.0]));
    assert_eq!(save("hub", &format!("index.docker.io/library/{}", second.0)), ("push".to_owned(), 0, 2));
    assert_eq!(session.run("info hub --json").ok().json()["names"], serde_json::json!([second.0]));
    // By its ID, as bake does: no name comes with it.
    assert_eq!(save("by-id", &id), ("push".to_owned(), 0, 2));
    assert_eq!(session.run("info by-id --json").ok().json()["names"], serde_json::json!([]));
    // What docker sent all the same is not stored a second time: every blob is one that an image
    // needs.
    let verified = session.run("verify --json").ok().json();
    assert_eq!(verified["blobs"], session.blobs().len());
    // Nothing of it is left in the engine.
    let names = sh(&format!("docker image inspect --format '{{{{.RepoTags}}}}{{{{.RepoDigests}}}}' {id}"));
    assert_eq!(names, format!("[{}][]", second.0));
    second.remove();
    session.run("load second --engine docker").ok();
    assert_eq!(second.id(), id);
}

/// Whatever goes wrong with a push, the image comes as an archive.
#[test]
fn what_cannot_be_pushed_comes_as_an_archive() {
    let Some((session, [_, second], [_, id])) = base_is_stored("docker", "not-pushed") else { return };
    let scripts = [
        ("[ $1 = push ] && { echo 'no route' >&2; exit 1; }", "no route"),
        ("[ $1 = context ] && { echo tcp://elsewhere:2375; exit 0; }", "docker runs elsewhere"),
        (
            "[ $1 = info ] && { echo '[\"overlayfs\",[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]]'; exit 0; }",
            "containerd",
        ),
        // Somebody else's push, or one of another image.
        (
            "[ $1 = push ] && { curl -s -X PUT -d '{}' http://${2%%/*}/v2/x/manifests/y; exit 0; }",
            "pushed another image",
        ),
        ("[ $1 = push ] && { curl -s http://${2%%/*}/v2/; exit 0; }", "pushed another image"),
    ];
    for (number, (script, why)) in scripts.into_iter().enumerate() {
        let program = wrapped(&session, "docker", &format!("{script}\nexec $ENGINE \"$@\""));
        let words = format!("save k{number} {} --by push --json", second.0);
        let (way, ..) = came(with(&session, &program, "docker", &words).0);
        assert!(way.starts_with("archive") && way.contains(why), "{way} is not for `{why}`");
        assert_eq!(session.ids(&format!("k{number}")), [id.as_str()]);
    }
    session.run("verify").ok();
}

/// A name may look like a short ID. It brings its names either way, and stands for all its tags.
#[test]
fn a_name_that_looks_like_an_id_is_a_name() {
    let Some((session, [first, second], [_, id])) = base_is_stored("docker", "hex") else { return };
    let name = format!("facade{:x}", std::process::id());
    let tags =
        [Image::named("docker", &format!("{name}:latest")), Image::named("docker", &format!("{name}:old"))];
    sh(&format!("docker tag {} {}", second.0, tags[0].0));
    for by in ["push", "archive"] {
        let saved = session.run(&format!("save {by} {name} --by {by} --engine docker --json")).ok().json();
        assert!(saved["way"].as_str().unwrap().starts_with(by), "{saved}");
        let info = session.run(&format!("info {by} --json")).ok().json();
        assert_eq!(info["names"], serde_json::json!([tags[0].0]));
        assert_eq!(session.ids(by), [id.as_str()]);
    }
    sh(&format!("docker tag {} {}", first.0, tags[1].0));
    let (way, ..) = came(session.run(&format!("save both {name} --by push --engine docker --json")));
    assert!(way.contains("several images of that name"), "{way}");
    assert_eq!(session.ids("both").len(), 2);
}

/// A layer whose digest docker knows from elsewhere, and that the store has not, is sent after all.
#[test]
fn what_docker_only_names_is_asked_for_again() {
    let Some((session, [first, second], [_, id])) = base_is_stored("docker", "named") else { return };
    came(session.run(&format!("save second {} --by push --json", second.0)));
    let fresh = Session::new();
    // It has the first image's top, which docker has never pushed; the base it knows by digest now.
    fresh.run(&format!("save first {} --by archive", first.0)).ok();
    fresh.run("export first first.tar --compress none").ok();
    let only_top = Session::new();
    let info = fresh.run("info first --json").ok().json();
    let layer: storekit::Digest =
        info["images"][0]["layers"][1]["diff_id"].as_str().unwrap().parse().unwrap();
    sh(&format!("tar -C {} -xf {} blobs/sha256/{}", only_top.path(""), fresh.path("first.tar"), layer.hex()));
    only_top.run(&format!("pack top blobs/sha256/{}", layer.hex())).ok();
    let (way, written, reused) = came(only_top.run(&format!("save second {} --by push --json", second.0)));
    assert!(
        way.starts_with("archive, since the store has no layer") || (way.as_str(), written) == ("push", 2),
        "{way} {reused}"
    );
    assert_eq!(only_top.ids("second"), [id.as_str()]);
    let (way, written, reused) = came(only_top.run(&format!("save first {} --by push --json", first.0)));
    assert_eq!((way.as_str(), written, reused), ("push", 0, 2));
    only_top.run("verify").ok();
}

/// Podman knows every layer by its diffID, and pushes by ID, so that no name is needed.
#[test]
fn podman_pushes_what_the_store_has_not() {
    let Some((session, [first, second], [_, id])) = base_is_stored("podman", "podman-pushed") else { return };
    let save = |words: &str| came(session.run(&format!("save {words} --by push --engine podman --json")));
    assert_eq!(save(&format!("again {}", first.0)), ("push".to_owned(), 0, 2));
    assert_eq!(save(&format!("second {}", second.0)), ("push".to_owned(), 1, 1));
    assert_eq!(session.ids("second"), [id.as_str()]);
    let names = |key: &str| session.run(&format!("info {key} --json")).ok().json()["names"].clone();
    assert_eq!(names("second"), serde_json::json!([second.0]));
    // A fresh store has the first only; by its ID no name comes with an image.
    assert_eq!(save(&format!("by-id {id}")), ("push".to_owned(), 0, 2));
    assert_eq!(names("by-id"), serde_json::json!([]));
    let verified = session.run("verify --json").ok().json();
    assert_eq!(verified["blobs"], session.blobs().len());
    let known = sh(&format!("podman image inspect --format '{{{{.RepoTags}}}}' {id}"));
    assert_eq!(known, format!("[docker.io/library/{}]", second.0));
    second.remove();
    session.run("load second --engine podman").ok();
    assert_eq!(second.id(), id);
}

#[test]
fn a_podman_elsewhere_gives_an_archive() {
    let Some((session, [_, second], [_, id])) = base_is_stored("podman", "podman-elsewhere") else { return };
    let script = "[ $1 = version ] && { echo '{\"Version\":\"4.3.1\"}'; exit 0; }\nexec $ENGINE \"$@\"";
    let program = wrapped(&session, "podman", script);
    let words = format!("save k {} --by push --json", second.0);
    let (way, ..) = came(with(&session, &program, "podman", &words).0);
    assert_eq!(way, "archive, since podman runs elsewhere");
    assert_eq!(session.ids("k"), [id.as_str()]);
}

/// The names of an image in docker.
fn names_of(id: &str) -> String {
    sh(&format!("docker image inspect --format '{{{{join .RepoTags \" \"}}}}' {id}"))
}

/// How many names docker has the image under for a push.
fn pushed_names(id: &str) -> usize {
    names_of(id).matches("larder/save").count()
}

/// A save whose push stands still, under way: docker has the image under one name more.
fn standing_still(session: &Session, image: &str, id: &str) -> std::process::Child {
    let script = "[ $1 = push ] || exec $ENGINE \"$@\"\nwhile kill -0 $PPID; do sleep 0.05; done 2>/dev/null";
    let program = wrapped(session, "docker", script);
    let before = pushed_names(id);
    let mut command = session.command(&format!("save k {image} --by push --engine docker"));
    let child = command.env("LARDER_DOCKER", program).stdin(Stdio::null()).spawn().unwrap();
    until("docker has a name for the push", || pushed_names(id) > before);
    child
}

#[test]
fn a_push_that_is_stopped_leaves_no_name_behind() {
    let Some((session, [_, second], [_, id])) = base_is_stored("docker", "stopped") else { return };
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = standing_still(&session, &second.0, &id);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert_eq!(names_of(&id), second.0);
        session.run("has k").ends(1);
    }
    session.run("verify").ok();
}

#[test]
fn what_a_killed_push_left_goes_with_the_next_save() {
    let Some((session, [first, second], [_, id])) = base_is_stored("docker", "killed") else { return };
    let mut child = standing_still(&session, &second.0, &id);
    let mut other = standing_still(&session, &second.0, &id);
    // While its push is under way, nobody takes its name away.
    session.run(&format!("save meanwhile {}", first.0)).ok();
    assert_eq!(pushed_names(&id), 2, "{}", names_of(&id));
    signal(&child, "KILL");
    signal(&other, "KILL");
    child.wait().unwrap();
    other.wait().unwrap();
    assert!(names_of(&id).contains("larder/save"));
    session.run(&format!("save next {}", first.0)).ok();
    assert_eq!(names_of(&id), second.0);
}

/// The second one, which comes while the base is being stored, waits for it.
#[test]
fn of_images_on_one_base_the_first_brings_it() {
    let Some((_, [first, second], [_, id])) = base_is_stored("docker", "at-once") else { return };
    let session = Session::new();
    let script = "[ $1 != save ] || until [ -e go ]; do sleep 0.05; done\nexec $ENGINE \"$@\"";
    let program = wrapped(&session, "docker", script);
    let save = |key: &str, image: &str| {
        let mut command = session.command(&format!("save {key} {image} --by push --engine docker --json"));
        command.env("LARDER_DOCKER", &program).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let came = |child: std::process::Child| {
        let line = child.wait_with_output().unwrap().stdout;
        let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
        line["way"].as_str().unwrap().to_owned()
    };
    let asked = || std::fs::read_to_string(session.path("calls")).unwrap_or_default();
    let one = save("one", &first.0);
    until("the first is on its way", || asked().contains("\nsave "));
    let before = asked().len();
    let other = save("other", &second.0);
    until("the second has asked for its image", || asked()[before..].contains("image inspect"));
    session.write("go", "");
    assert_eq!(came(one), "archive, since the store has no layer of it");
    assert_eq!(came(other), "push");
    assert_eq!(session.ids("other"), [id.as_str()]);
    let left = sh(&format!("find {} -name '.save-*'", session.path("")));
    assert_eq!(left, "");
}

/// Whether the process runs: one that has ended, and nobody has asked after, has no words.
fn runs(process: &str) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| !words.is_empty())
}

#[test]
fn what_a_save_has_started_ends_with_it() {
    let session = Session::new();
    let program = session.script("engine", "[ $1 = save ] || exit 1\necho $$ >../begun\nexec sleep 600");
    for (engine, variable) in [("docker", "LARDER_DOCKER"), ("podman", "LARDER_PODMAN")] {
        for (name, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
            let mut command = session.command(&format!("save k app --by archive --engine {engine}"));
            let command = command.env(variable, &program).stdin(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let begun = session.path("../begun");
            let process = until_some("the engine's command runs", || {
                std::fs::read_to_string(&begun).ok().filter(|text| text.ends_with('\n'))
            });
            signal(&child, name);
            assert_eq!(child.wait().unwrap().code(), code, "{engine}, {name}");
            until("it ends with imgtar", || !runs(process.trim()));
            std::fs::remove_file(&begun).unwrap();
        }
    }
    session.run("has k").ends(1);
}

#[test]
fn an_engine_that_is_not_there_is_told_as_ever() {
    let session = Session::new();
    let mut command = session.command("save k app --engine podman --by archive");
    Ran::of(command.env("LARDER_PODMAN", "/none/podman")).ends(2).says("`/none/podman` cannot be started");
}
