//! larder.lock with real registries and engines: what a name stands for is decided once.

use std::fs;

use larder_tests::{DockerRegistry, Part, Ran, Session, have, not_run};

/// Makes `NAME:1` there an image of one file `/NAME`; the engine does not keep it.
fn push(registry: &DockerRegistry, session: &Session, name: &str, content: &str) {
    let image = format!("{}/{name}:1", registry.host());
    session.write("../push/Dockerfile", format!("{}COPY file /{name}\n", session.from("scratch")));
    session.write("../push/file", content);
    let line = format!(
        "docker build -q -t {image} ../push && docker push -q {image} && docker rmi $(docker images -q {image})"
    );
    session.run(&line).ok();
}

/// Bakes with the line; the one image must be found or built as `state` says.
#[track_caller]
fn bakes(session: &Session, line: &str, state: &str) -> Ran {
    let ran = session.run(line).ok();
    assert_eq!(ran.rows()[0]["state"], state, "{ran}");
    ran
}

/// What a file of docker's image says.
fn inside(session: &Session, image: &str, path: &str) -> String {
    let id = session.run(&format!("docker create {image} none")).ok().stdout();
    let file = session.run(&format!("docker cp {}:{path} - | tar -xO", id.trim())).stdout();
    session.run(&format!("docker rm {id}")).ok();
    file
}

const BAKE: &str = "larder bake --json";

#[test]
fn a_moved_base_is_built_from_when_it_is_asked_for() {
    if !have(&[Part::Docker, Part::Registry]) {
        return;
    }
    let mut session = Session::new();
    let mut registry = DockerRegistry::start(&session.aside("registry"));
    let app = session.image("app");
    let host = registry.host().to_owned();
    push(&registry, &session, "base", "base 1");
    push(&registry, &session, "tools", "tools 1");
    session.write(
        "Dockerfile",
        session.from(&format!("{host}/base:1")) + &format!("COPY --from={host}/tools:1 /tools /t\n"),
    );
    session.write("larder.toml", format!("[image.app]\ntags = [\"{app}\"]\n"));
    let lock = || fs::read_to_string(session.path("larder.lock")).unwrap_or_default();

    // What CI builds from has to be decided before.
    session
        .run(&format!("CI=true {BAKE}"))
        .ends(2)
        .says(&format!("has no digest for `{host}/base:1`, `{host}/tools:1`"));
    session.run(&format!("{BAKE} --locked")).ends(2);
    let unlocked = session.run("CI=true larder lock --check").ends(1).stdout();
    assert!(unlocked.contains(&format!("{host}/base:1  not locked  ->  sha256:")), "{unlocked}");
    assert_eq!(lock(), "");

    let first = bakes(&session, BAKE, "built").says(&format!("locked: {host}/base:1 at sha256:"));
    assert!(!first.stderr().contains("may name another image"), "{first}");
    assert_eq!(first.rows()[0]["key_warnings"], serde_json::json!([]));
    let written = lock();
    assert!(written.contains(&format!("name = \"{host}/tools:1\"\ndigest = \"sha256:")), "{written}");
    bakes(&session, &format!("CI=true {BAKE}"), "hit");

    // The tag moves: nothing changes, not even for a build from scratch.
    push(&registry, &session, "base", "base 2");
    let hit = bakes(&session, BAKE, "hit");
    assert_eq!(hit.rows()[0]["key"], first.rows()[0]["key"]);
    bakes(&session, &format!("{BAKE} --rebuild"), "built");
    assert_eq!(inside(&session, &app, "/base"), "base 1");
    assert_eq!((lock(), inside(&session, &app, "/t")), (written.clone(), "tools 1".to_owned()));

    let behind = session.run("larder lock --check").ends(1).stdout();
    assert!(behind.starts_with(&format!("{host}/base:1  sha256:")), "{behind}");
    assert_eq!((behind.lines().count(), lock()), (1, written.clone()));

    session.run(&format!("{BAKE} --update nothing:1")).ends(2).says("nothing to update under `nothing:1`");
    bakes(&session, &format!("{BAKE} --update {host}/tools:1"), "hit");
    let moved = bakes(&session, &format!("{BAKE} --update app"), "built");
    let moved = moved.says(&format!("updated: {host}/base:1 from sha256:"));
    assert!(moved.rows()[0]["changes"]["lines"].to_string().contains("base-changed"), "{moved}");
    assert_eq!(inside(&session, &app, "/base"), "base 2");
    session.run("larder lock --check").ok();

    registry.kill();
    bakes(&session, BAKE, "hit");
    bakes(&session, &format!("{BAKE} --update"), "hit").says("it stays as locked");
    // What nobody can say is not said to be well.
    session.run("larder lock --check").ends(2).says(&format!("`{host}/base:1` cannot be looked up now"));
    session.write("Dockerfile", format!("FROM {host}/gone:1\n"));
    session
        .run("larder lock")
        .ends(2)
        .says(&format!("`{host}/gone:1` is not locked: its registry does not answer for it"));
}

/// A project whose Dockerfile has an ignore file of its own, on a base from the registry.
fn with_two_ignore_files(session: &Session, registry: &DockerRegistry, settings: &str) {
    push(registry, session, "base", "base 1");
    session.write("docker/App", session.from(&format!("{}/base:1", registry.host())) + "COPY . /src\n");
    session.write("docker/App.dockerignore", "own\n");
    session.write(".dockerignore", "shared\n");
    for name in ["own", "shared"] {
        session.write(name, name);
    }
    session.write("larder.toml", format!("[image.app]\ndockerfile = \"docker/App\"\n{settings}"));
}

/// A client of docker's that has the builder before BuildKit only.
const CLASSIC: &str = "case $1 in buildx) exit 1;; --version) echo 'Docker version 23.0.0';;\n\
                       *) DOCKER_BUILDKIT=0 exec docker \"$@\";; esac";

#[test]
fn each_builder_of_dockers_reads_the_ignore_file_that_it_would_read_anyway() {
    if !have(&[Part::Docker, Part::Registry]) {
        return;
    }
    let mut session = Session::new();
    session.script("../bin/classic", CLASSIC);
    let registry = DockerRegistry::start(&session.aside("registry"));
    let app = session.image("app");
    // A client of docker's without buildx has the classic builder alone, from version 23 on.
    let has_buildkit = "docker buildx version || docker --version | grep -q ' \\(1\\|20\\)\\.'";
    let has_buildkit = session.run(has_buildkit).code() == 0;
    if !has_buildkit {
        not_run("needs a docker client with BuildKit");
    }
    for ignore in ["docker", "all"].into_iter().filter(|_| has_buildkit) {
        with_two_ignore_files(&session, &registry, &format!("tags = [\"{app}\"]\nignore = \"{ignore}\"\n"));
        bakes(&session, &format!("{BAKE} --rebuild"), "built");
        let found = ["own", "shared", "base"].map(|name| inside(&session, &app, &format!("/src/{name}")));
        assert_eq!(found, ["", "shared", ""], "BuildKit, {ignore}");
        assert_eq!(inside(&session, &app, "/base"), "base 1");
    }
    // The image of another builder is another one, and not saved under this one's key.
    with_two_ignore_files(&session, &registry, &format!("tags = [\"{app}\"]\n"));
    let ran = session.run(&format!("LARDER_DOCKER=../bin/classic {BAKE} --rebuild")).ok();
    assert_eq!((&ran.rows()[0]["state"], &ran.rows()[0]["saved"]), (&"built".into(), &false.into()), "{ran}");
    let found = ["own", "shared", "base"].map(|name| inside(&session, &app, &format!("/src/{name}")));
    assert_eq!(found, ["own", "", ""], "classic");
    assert!(inside(&session, &app, "/src/docker/App").starts_with("FROM "));
}

#[test]
fn podman_builds_from_the_locked_base() {
    if !have(&[Part::Docker, Part::Podman, Part::Registry]) {
        return;
    }
    let session = Session::new().with_podman();
    let registry = DockerRegistry::start(&session.aside("registry"));
    let conf = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host());
    session.write("../registries.conf", conf);
    with_two_ignore_files(&session, &registry, "engine = \"podman\"\n");
    let first = bakes(&session, BAKE, "built");
    push(&registry, &session, "base", "base 2");
    assert_eq!(bakes(&session, BAKE, "hit").rows()[0]["key"], first.rows()[0]["key"]);
    session.run("../bin/podman rmi -af").ok();
    bakes(&session, &format!("{BAKE} --rebuild"), "built");
    let list = "../bin/podman save localhost/app:latest -o ../app.tar && tar -xOf ../app.tar --wildcards '*.tar' \
                | tar -tf - --ignore-zeros | grep -v '/$' | sort";
    let names = session.run(list).ok().stdout();
    assert!(names.contains("src/shared") && !names.contains("src/own"), "{names}");
    let all = "tar -xOf ../app.tar --wildcards '*.tar' | tar -xO --ignore-zeros -f - base";
    assert_eq!(session.run(all).ok().stdout(), "base 1");
    assert_eq!(bakes(&session, &format!("{BAKE} --update"), "built").rows()[0]["saved"], true);
}

#[test]
fn a_context_is_the_locked_image() {
    if !have(&[Part::Docker, Part::Podman, Part::Registry]) {
        return;
    }
    let session = Session::new().with_podman();
    let registry = DockerRegistry::start(&session.aside("registry"));
    let host = registry.host();
    let conf = format!("[[registry]]\nlocation = \"{host}\"\ninsecure = true\n");
    session.write("../registries.conf", conf);
    push(&registry, &session, "tools", "tools 1");
    session.write("Dockerfile", session.from("scratch") + "COPY --from=tools /tools /t\n");
    let context = format!("contexts = {{ tools = \"docker-image://{host}/tools:1\" }}\n");
    session.write("larder.toml", format!("[image.app]\nengine = \"podman\"\n{context}"));
    let file = || {
        let list = "../bin/podman save localhost/app:latest -o ../app.tar && tar -xOf ../app.tar --wildcards '*.tar' \
                    | tar -xO --ignore-zeros -f - t; rm ../app.tar";
        session.run(list).ok().stdout()
    };
    session.run(&format!("{BAKE} --locked")).ends(2).says(&format!("has no digest for `{host}/tools:1`"));
    let first = bakes(&session, BAKE, "built").says(&format!("locked: {host}/tools:1 at sha256:"));
    assert_eq!((&first.rows()[0]["saved"], file().as_str()), (&true.into(), "tools 1"), "{first}");
    assert_eq!(first.rows()[0]["key_warnings"], serde_json::json!([]), "{first}");
    push(&registry, &session, "tools", "tools 2");
    bakes(&session, &format!("CI=true {BAKE}"), "hit");
    session.run("../bin/podman rmi -af").ok();
    bakes(&session, &format!("{BAKE} --rebuild"), "built");
    assert_eq!(file(), "tools 1");
    let behind = session.run("larder lock --check").ends(1).stdout();
    assert!(behind.starts_with(&format!("{host}/tools:1  sha256:")), "{behind}");
    let moved = bakes(&session, &format!("{BAKE} --update {host}/tools:1"), "built");
    assert_eq!((&moved.rows()[0]["saved"], file().as_str()), (&true.into(), "tools 2"), "{moved}");
}
