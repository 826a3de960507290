//! Names of images on their way between engines and the store: each is the one that it was.

use larder_tests::{Part, have, sh};

use crate::engine::engines::{Image, layers};
use crate::kit::session::Session;
use crate::kit::tars::{docker, id};

/// A name that no other test has.
fn short(test: &str) -> String {
    format!("imgtar-test-names-{test}-{}:1", std::process::id())
}

/// The names that podman has an image under, sorted.
fn podmans(id: &str) -> Vec<String> {
    let id = id.trim_start_matches("sha256:");
    let names = sh(&format!("podman image inspect --format '{{{{join .RepoTags \" \"}}}}' {id}"));
    let mut names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
    names.sort();
    names
}

fn stored(session: &Session, key: &str) -> serde_json::Value {
    session.run(&format!("info {key} --json")).ok().json()["names"].clone()
}

/// A load into podman: under which names, and whether the image was there.
#[track_caller]
fn loaded(session: &Session, words: &str) -> (Vec<String>, bool) {
    let line = session.run(&format!("load {words} --engine podman --json")).ok().json();
    let names = line["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    (names.collect(), line["present"].as_bool().unwrap())
}

#[test]
fn podmans_names_have_their_registry_again() {
    if !have(&[Part::Podman]) {
        return;
    }
    for registry in ["docker.io/library/", "docker.io/team/", "registry.example:5000/a/", "localhost/"] {
        let name = format!("{registry}{}", short("registry"));
        let (image, other) =
            (Image::named("podman", &name), Image::named("podman", &format!("localhost/{}", short("other"))));
        let [base, top] = layers("registry");
        let image_id = id(&[&base, &top]);
        let first = Session::new();
        first.feed("import k", &docker(&name, &[&base, &top]).end()).ok();
        assert_eq!(loaded(&first, "k"), (vec![name.clone()], false));
        // A store with the base takes a push, a fresh one an archive.
        let second = Session::new();
        second.feed("import base", &docker("base:1", &[&base]).end()).ok();
        for (session, way) in [(&first, "push"), (&second, "push"), (&Session::new(), "archive")] {
            let words = format!("save saved {name} --by {way} --engine podman --json");
            let line = session.run(&words).ok().json();
            assert!(line["way"].as_str().unwrap().starts_with(way), "{line}");
            image.remove();
            assert_eq!(loaded(session, "saved"), (vec![name.clone()], false), "by {way}");
            assert_eq!(podmans(&image_id), [name.as_str()], "by {way}");
        }
        // Of an image that is there, the name alone comes back.
        sh(&format!("podman tag {name} {} && podman untag {name} {name}", other.0));
        assert_eq!(loaded(&first, "saved"), (vec![name.clone()], true));
        let mut both = vec![other.0.clone(), name.clone()];
        both.sort();
        assert_eq!(podmans(&image_id), both);
        // An archive says the same.
        first.run("export saved out.tar --compress none").ok();
        image.remove();
        other.remove();
        sh(&format!("podman load -q -i {}", first.path("out.tar")));
        assert_eq!(podmans(&image_id), [name.as_str()], "from an archive");
    }
}

/// Layers that podman has stay there, and so do the names.
#[test]
fn what_is_sent_in_part_has_its_name_too() {
    if !have(&[Part::Podman]) {
        return;
    }
    let name = format!("docker.io/library/{}", short("part"));
    let (base_image, image) =
        (Image::named("podman", &format!("localhost/{}", short("base"))), Image::named("podman", &name));
    let [base, top] = layers("part");
    let session = Session::new();
    session.feed("import base", &docker(&base_image.0, &[&base]).end()).ok();
    session.feed("import k", &docker(&name, &[&base, &top]).end()).ok();
    loaded(&session, "base");
    let line = session.run("load k --engine podman --json").ok().json();
    assert_eq!((&line["layers_sent"], &line["layers_skipped"]), (&1.into(), &1.into()));
    assert_eq!(podmans(&image.id()), [name.as_str()]);
}

#[test]
fn dockers_short_names_are_docker_ios_in_podman() {
    if !have(&[Part::Podman, Part::Docker]) {
        return;
    }
    let image = Image::named("docker", &short("docker"));
    let copy = Image::named("podman", &format!("docker.io/library/{}", image.0));
    let [base, top] = layers("docker");
    let session = Session::new();
    session.feed("import first", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run("load first --engine docker").ok();
    session.run(&format!("save k {} --engine docker", image.0)).ok();
    assert_eq!(stored(&session, "k"), serde_json::json!([image.0]));
    assert_eq!(loaded(&session, "k").0, [copy.0.as_str()]);
    assert_eq!(podmans(&image.id()), [copy.0.as_str()]);
    // And back: docker has the name that it had.
    session.run(&format!("save back {} --engine podman", copy.0)).ok();
    image.remove();
    let line = session.run("load back --engine docker --json").ok().json();
    assert_eq!(line["names"], serde_json::json!([image.0]));
    let names = sh(&format!("docker image inspect --format '{{{{join .RepoTags \" \"}}}}' {}", image.0));
    assert_eq!(names, image.0);
}

/// What a user names to podman is completed as podman does it.
#[test]
fn names_that_are_given_for_podman_are_podmans() {
    if !have(&[Part::Podman]) {
        return;
    }
    let image = Image::named("podman", &format!("localhost/{}", short("given")));
    let [base, top] = layers("given");
    let session = Session::new();
    session.feed("import k", &docker("any:1", &[&base, &top]).end()).ok();
    assert_eq!(loaded(&session, &format!("k --tag {}", short("given"))), (vec![image.0.clone()], false));
    let words = format!("save named {} --name {} --engine podman", image.id(), short("given"));
    session.run(&words).ok();
    assert_eq!(stored(&session, "named"), serde_json::json!([image.0]));
    image.remove();
    assert_eq!(loaded(&session, "named").0, [image.0.as_str()]);
}

/// Of an image's name that is none, an engine says so; that it may be down is no help.
#[test]
fn a_name_that_is_none_gets_the_help_for_names() {
    for engine in ["docker", "podman"] {
        if !have(&[Part::engine(engine)]) {
            continue;
        }
        let session = Session::new();
        for name in ["App", "a:b:c", "a@sha256:00"] {
            session
                .run(&format!("save k {name} --engine {engine}"))
                .ends(2)
                .says("write NAME, NAME:TAG or an ID")
                .says(&format!("`{engine} images`"));
        }
    }
}
