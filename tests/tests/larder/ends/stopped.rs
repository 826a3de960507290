//! What is stored comes while no engine answers, as long as nothing has to be built.

use std::fs;

use larder_tests::{Part, Session, have};

/// What stops the engine for one command.
fn stopped(engine: &str) -> &'static str {
    if engine == "docker" { "DOCKER_HOST=unix:///nowhere/docker.sock" } else { "LARDER_PODMAN=false" }
}

/// The name, state and number of written files of each image that the line bakes.
#[track_caller]
fn bakes(session: &Session, line: &str, code: i32, wanted: &[&str]) -> String {
    let ran = session.run(line).ends(code);
    let text = |row: &serde_json::Value| {
        format!("{} {} {}", row["image"], row["state"], row["outputs"]).replace('"', "")
    };
    assert_eq!(ran.rows().iter().map(text).collect::<Vec<_>>(), wanted, "{ran}");
    ran.stderr()
}

/// `app` has outputs and stands on `base`, which has none.
fn on_an_image_of_the_project(engine: &'static str, session: Session) {
    let mut session = session;
    let [base, app] = ["base", "app"].map(|name| session.image_in(engine, name));
    session.write("Base", session.from("scratch") + "COPY a /\n");
    session.write("App", format!("FROM {base}\nCOPY b /\n"));
    session.write("a", "a1");
    session.write("b", "b1");
    session.write(
        "larder.toml",
        format!(
            "[defaults]\nengine = \"{engine}\"\n\
             [image.base]\ndockerfile = \"Base\"\ntags = [\"{base}:latest\"]\n\
             [image.app]\ndockerfile = \"App\"\ntags = [\"{app}:latest\"]\noutputs = {{ \"out/\" = [\"/a\", \"/b\"] }}\n"
        ),
    );
    let stop = stopped(engine);
    bakes(&session, "larder bake --json", 0, &["base built null", "app built 2"]);
    session.run("rm -r out").ok();
    let said = bakes(&session, &format!("{stop} larder bake --json app"), 0, &["base hit null", "app hit 2"]);
    assert!(said.contains("base: it is stored, but could not be loaded into the engine"), "{said}");
    assert_eq!(fs::read_to_string(session.path("out/a")).expect("a file"), "a1");
    session.run("rm -r out").ok();
    bakes(&session, &format!("{stop} larder bake --json"), 0, &["base hit null", "app hit 2"]);

    // Who asks for the base wants it in the engine.
    let said = bakes(&session, &format!("{stop} larder bake --json base"), 2, &["base failed null"]);
    assert!(said.contains("no engine"), "{said}");
    session.write("b", "b2");
    let said =
        bakes(&session, &format!("{stop} larder bake --json app"), 2, &["base hit null", "app failed null"]);
    assert!(said.contains("error: app: no engine"), "{said}");
    // Nothing is kept of that.
    bakes(&session, "larder bake --json", 0, &["base hit null", "app built 1"]);
    assert_eq!(fs::read_to_string(session.path("out/b")).expect("a file"), "b2");
}

#[test]
fn outputs_come_without_docker_on_a_base_without_outputs() {
    if have(&[Part::Docker]) {
        on_an_image_of_the_project("docker", Session::new());
    }
}

#[test]
fn outputs_come_without_podman_on_a_base_without_outputs() {
    if have(&[Part::Podman]) {
        on_an_image_of_the_project("podman", Session::new().with_podman());
    }
}

#[test]
fn outputs_come_without_an_engine_on_a_packed_base() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new();
    let [base, app] = ["base", "app"].map(|name| session.image(name));
    session.write("files/a", "a1");
    session.write("App", format!("FROM {base}\nCOPY b /\n"));
    session.write("b", "b1");
    session.write(
        "larder.toml",
        format!(
            "[defaults]\nengine = \"docker\"\n\
             [image.base]\npack = {{ dir = \"files\", {} }}\ntags = [\"{base}:latest\"]\n\
             [image.app]\ndockerfile = \"App\"\ntags = [\"{app}:latest\"]\noutputs = {{ \"out/\" = [\"/a\", \"/b\"] }}\n",
            session.labels()
        ),
    );
    bakes(&session, "larder bake --json", 0, &["base built null", "app built 2"]);
    session.run("rm -r out").ok();
    let stop = stopped("docker");
    bakes(&session, &format!("{stop} larder bake --json"), 0, &["base hit null", "app hit 2"]);
    session.write("b", "b2");
    bakes(&session, &format!("{stop} larder bake --json"), 2, &["base hit null", "app failed null"]);
}

/// `app` has outputs and stands on an image that only the engine has.
fn on_a_local_image(engine: &'static str, session: Session) {
    let mut session = session;
    let command = if engine == "docker" { "docker" } else { "../bin/podman" };
    let [base, app] = ["base", "app"].map(|name| session.image_in(engine, name));
    let make = |content: &str| {
        session.write("../base/Dockerfile", session.from("scratch") + "COPY a /\n");
        session.write("../base/a", content);
        session.run(&format!("{command} build -q -t {base}:latest ../base")).ok();
    };
    make("a1");
    session.write("Dockerfile", format!("FROM {base}\nCOPY b /\n"));
    session.write("b", "b1");
    let outputs = "outputs = { \"out/\" = [\"/a\", \"/b\"] }\n";
    session.write(
        "larder.toml",
        format!("[image.app]\nengine = \"{engine}\"\ntags = [\"{app}:latest\"]\n{outputs}"),
    );
    let read = |file: &str| fs::read_to_string(session.path(file)).unwrap_or_default();
    session.run("larder bake --locked").ends(2).says("larder.lock has no digest for");
    let said = bakes(&session, "larder bake --json", 0, &["app built 2"]);
    assert!(said.contains(&format!(", which {engine} alone has")), "{said}");
    let lock = read("larder.lock");
    assert!(lock.contains(&format!("local = \"{engine}\"\n")), "{lock}");
    let again = bakes(&session, "larder bake --json --locked", 0, &["app hit 0"]);
    assert_eq!(again, "");

    session.run("rm -r out").ok();
    let stop = stopped(engine);
    bakes(&session, &format!("{stop} larder bake --json"), 0, &["app hit 2"]);
    bakes(&session, &format!("{stop} larder bake --json --check"), 0, &["app hit null"]);

    // The engine has another one by now: what is locked counts, and nothing is built from the
    // other.
    make("a2");
    session.run("rm -r out").ok();
    let said = bakes(&session, "larder bake --json", 0, &["app hit 2"]);
    assert!(said.contains(&format!("`larder bake --update {base}`")), "{said}");
    assert_eq!((read("out/a"), read("larder.lock")), ("a1".to_owned(), lock.clone()));
    let behind = session.run("larder lock --check").ends(1).stdout();
    assert!(behind.contains(&format!("{base}:latest  sha256:")), "{behind}");
    session.write("b", "b2");
    let said = bakes(&session, "larder bake --json", 2, &["app failed null"]);
    assert!(said.contains(&format!("error: app: {engine} has sha256:")), "{said}");
    let said = bakes(&session, &format!("larder bake --json --update {base}"), 0, &["app built 2"]);
    assert!(said.contains("updated: "), "{said}");
    assert_eq!((read("out/a"), read("out/b")), ("a2".to_owned(), "b2".to_owned()));
    assert_ne!(read("larder.lock"), lock);
    // Without a lock it is whatever the engine has.
    make("a3");
    let toml = read("larder.toml");
    session.write("larder.toml", format!("{toml}lock = false\n"));
    bakes(&session, "larder bake --json", 0, &["app built 1"]);
    assert_eq!(read("out/a"), "a3");
}

#[test]
fn docker_alone_has_the_base() {
    if have(&[Part::Docker]) {
        on_a_local_image("docker", Session::new());
    }
}

#[test]
fn podman_alone_has_the_base() {
    if have(&[Part::Podman]) {
        on_a_local_image("podman", Session::new().with_podman());
    }
}
