//! The same by podman, with storage of the test's own.

use larder_tests::{Part, Session, have};

use super::{ALL, bakes, bakes_all, bakes_by, report};

/// A session whose podman has storage of its own, with an image of one file.
pub(super) fn with_podman(settings: &str) -> Session {
    let session = Session::new().file("Dockerfile", "FROM scratch\nCOPY . /src\n").file("file", "one");
    session.write("larder.toml", format!("[image.app]\n{settings}"));
    session.with_podman()
}

#[test]
fn the_loop_closes_with_podman() {
    if !have(&[Part::Podman]) {
        return;
    }
    for settings in ["engine = \"podman\"\n", "engine = \"podman\"\nignore = \"all\"\n"] {
        let session = with_podman(settings);
        session.write(".containerignore", "noise\nlarder.toml\n");
        let id = || {
            let ran = session.run("../bin/podman image inspect --format '{{.Id}}' localhost/app:latest");
            (ran.code() == 0).then(|| ran.stdout())
        };
        let first = bakes(&session, "built");
        assert_eq!(first["from"], "podman");
        let built = id().expect("an image");
        session.run("../bin/podman rmi -f app").ok();
        assert_eq!(id(), None);
        let hit = bakes(&session, "hit");
        assert_eq!((&hit["key"], &hit["from"], id()), (&first["key"], &"store".into(), Some(built.clone())));
        assert_eq!(bakes(&session, "hit")["from"], "engine");
        session.write("noise", "hidden from podman");
        assert_eq!(bakes(&session, "hit")["key"], first["key"]);
        session.write("file", "two");
        assert_ne!(bakes(&session, "built")["key"], first["key"]);
        assert_ne!(id(), Some(built));
        session.run("imgtar verify").ok();
    }
}

#[test]
fn podman_takes_the_dockerfile_of_a_piped_context() {
    if !have(&[Part::Podman]) {
        return;
    }
    let session = with_podman("engine = \"podman\"\ncontext = \"app\"\nignore = \"all\"\n");
    session.write("app/Dockerfile", "FROM scratch\nLABEL from=context\n");
    // It lies where larder and podman run.
    session.write("Dockerfile", "FROM scratch\nLABEL from=elsewhere\n");
    bakes(&session, "built");
    let label = session.run("../bin/podman image inspect --format '{{.Config.Labels.from}}' app").ok();
    assert_eq!(label.stdout().trim(), "context");
}

#[test]
fn the_engine_that_answers_builds() {
    if !have(&[Part::Podman]) {
        return;
    }
    let session = with_podman("").env("LARDER_DOCKER", "/bin/false");
    let told = "does not answer: podman is used in its place";
    assert_eq!(report(&session.run(ALL).ok().says(told))["from"], "podman");
    assert!(!session.run(ALL).ok().stderr().contains("note:"));
    let ran = session.run(ALL).ok().says(told);
    assert_eq!((&report(&ran)["state"], &report(&ran)["engine"]), (&"hit".into(), &"podman".into()));
    let text = session.run("larder bake").ok().stdout();
    assert!(text.lines().next().is_some_and(|line| line.ends_with("  for podman")), "{text}");
    session.run("larder bake --engine docker --json").ends(2).says("no engine");
    // Docker answers again: what podman has is not in it.
    session.script("../bin/docker", "[ $1 = version ]");
    let session = session.env("LARDER_DOCKER", "../bin/docker");
    session
        .run("larder bake --check")
        .ok()
        .says("note: docker is used; the last bake of this project used podman");
    let asked = session.run("larder bake --engine docker --check").ok();
    asked.says("note: docker is used; the last bake of this project used podman");
    assert!(!session.run("larder bake --engine podman").ok().stderr().contains("note"));
}

#[test]
fn podman_finds_its_bases_under_localhost() {
    if !have(&[Part::Podman]) {
        return;
    }
    let session =
        with_podman("engine = \"podman\"\n[image.base]\nengine = \"podman\"\ndockerfile = \"Base\"\n");
    session.write("Base", "FROM scratch\nCOPY file /\n");
    for name in ["base", "localhost/base:latest"] {
        session.write("Dockerfile", format!("FROM {name}\nLABEL x={name}\n"));
        session.write("file", name);
        bakes_all(&session, ALL, &[("app", "built"), ("base", "built")]);
        bakes_all(&session, ALL, &[("app", "hit"), ("base", "hit")]);
        session.write("file", format!("{name} 2"));
        let built = bakes_all(&session, ALL, &[("app", "built"), ("base", "built")]);
        let reason = built[0]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("`base` was rebuilt"), "{reason}");
        session.run("../bin/podman rmi -af").ok();
        bakes_all(&session, "larder bake --json app", &[("app", "hit"), ("base", "hit")]);
    }
    // One that larder.toml does not have is known by its ID.
    session.write("larder.toml", "[image.app]\nengine = \"podman\"\n");
    session.write("Dockerfile", "FROM mine\nLABEL x=y\n");
    session.run("../bin/podman build -q -f Base -t mine .").ok();
    bakes(&session, "built");
    bakes(&session, "hit");
    session.write("file", "another");
    session.run("../bin/podman build -q -f Base -t mine .").ok();
    let moved = bakes_by(&session, "larder bake --json --update mine", "built");
    assert_eq!(moved["changes"]["lines"][0], "base-changed mine");
}
