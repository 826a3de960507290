//! The teams that larder is for, from beginning to end, with the tools as they are installed.

use std::fs;

use larder_tests::{DockerRegistry, Part, Ran, Session, guide, have, parts};

/// A session whose `larder` and its tools are those of the release.
fn installed() -> Session {
    let session = Session::new();
    let release = parts::release().expect("a release");
    session
        .run(&format!(
            "mkdir ../opt && tar -C ../opt --strip-components 1 --zstd -xf {release}/larder-*-linux.tar.zst"
        ))
        .ok();
    session
}

/// A line with the installed tools first on PATH, and a store where larder.toml says.
fn line(session: &Session, line: &str) -> String {
    format!("unset LARDER_DIR; PATH={}:$PATH; {line}", session.aside("opt/bin"))
}

/// An engine, with what its command needs for `run`.
struct Engine {
    name: &'static str,
    part: Part,
    run: &'static str,
}

const DOCKER: Engine = Engine { name: "docker", part: Part::Docker, run: "docker run" };

/// This podman's other runtime refuses the control groups of some machines.
const PODMAN: Engine = Engine {
    name: "podman",
    part: Part::Podman,
    run: "podman --runtime runc run --ulimit nofile=1024:1024 --ulimit nproc=1024:1024",
};

impl Engine {
    /// Runs a line with the installed tools, which build with this engine.
    fn line(&self, session: &Session, text: &str) -> Ran {
        let only = if self.name == "docker" { "LARDER_DOCKER" } else { "LARDER_PODMAN" };
        session.run(&line(session, &format!("export {only}={}; {text}", self.name)))
    }

    fn image_id(&self, session: &Session, name: &str) -> String {
        let ask = format!("{} image inspect --format '{{{{.Id}}}}' {name}", self.name);
        session.run(&ask).ok().stdout().trim().to_owned()
    }
}

/// git, as somebody.
const GIT: &str = "git -c user.name=x -c user.email=x@example.org";

#[test]
fn a_test_image_is_kept_in_the_repository_and_loaded_from_a_clone() {
    keeps_a_test_image(&DOCKER);
}

#[test]
fn a_test_image_of_podmans_is_kept_in_the_repository_too() {
    keeps_a_test_image(&PODMAN);
}

fn keeps_a_test_image(engine: &Engine) {
    let wanted = [Part::Release, engine.part, Part::Git, Part::GitLfs];
    if !have(&wanted) {
        return;
    }
    let mut session = installed();
    let run = |session: &Session, text: &str| engine.line(session, text);
    let base = session.base_of(engine.name);
    let name = session.image_in(engine.name, "python-tests");
    let (engine_run, rmi) = (engine.run, format!("{} rmi -f {name}:latest", engine.name));
    session.write(
        "docker/Dockerfile.tests",
        session.from(&base) + "COPY requirements.txt /\nRUN echo built >/built\n",
    );
    session.write("requirements.txt", "pytest\n");
    session.write("tests/test.py", "assert True\n");
    session.write(
        "larder.toml",
        format!(
            "[store]\ndir = \"docker-cache\"\n\
             [image.python-tests]\ndescription = \"Everything that the Python tests need\"\n\
             dockerfile = \"docker/Dockerfile.tests\"\ntags = [\"{name}:latest\"]\n\
             [[ci.step]]\nname = \"unit\"\nimage = \"python-tests\"\n\
             run = '{engine_run} --rm -v \"$PWD:/work\" -w /work \"$LARDER_IMAGE\" cat /built tests/test.py'\n"
        ),
    );
    run(&session, "git init -q . && imgtar init --lfs docker-cache").ok();
    run(&session, "larder list").ok();
    let ci = run(&session, "larder ci").ok();
    assert!(ci.stdout().contains("built") && ci.stdout().contains("unit"), "{ci}");
    assert!(ci.stderr().contains("assert True"), "{ci}");
    // The store is no input of its own key, and neither are the tests.
    session.write("tests/test.py", "assert 1\n");
    assert!(run(&session, "larder bake").ok().stdout().contains("  hit  "));
    run(&session, &format!("git add -A . && {GIT} commit -qm 'Keep the image'")).ok();

    // A fresh clone, and an engine that has never seen the image.
    let id = engine.image_id(&session, &format!("{name}:latest"));
    run(&session, &rmi).ok();
    run(
        &session,
        "git init -q --bare ../remote && git push -q file://$(cd ../remote && pwd) HEAD:refs/heads/main",
    )
    .ok();
    run(&session, "git -C ../remote symbolic-ref HEAD refs/heads/main && git lfs install --skip-repo").ok();
    run(&session, "git clone -q file://$(cd ../remote && pwd) ../clone && mv ../remote ../away").ok();
    let cloned = run(&session, "cd ../clone && larder bake").ok();
    assert!(cloned.stdout().contains("  hit  ") && cloned.stdout().contains("  store "), "{cloned}");
    assert_eq!(engine.image_id(&session, &format!("{name}:latest")), id);

    // A damaged cache is noticed, never loaded, and built through.
    run(&session, "for blob in ../clone/docker-cache/images/blobs/sha256/*; do truncate -s -1 $blob; done")
        .ok();
    run(&session, &rmi).ok();
    let mended = run(&session, "cd ../clone && larder bake").ok();
    assert!(mended.stdout().contains("built") && mended.stderr().contains("damaged"), "{mended}");
    assert!(run(&session, "cd ../clone && larder bake").ok().stdout().contains("  hit  "));

    // A change of what it is built from is a miss with its reason.
    session.write("requirements.txt", "pytest\nhypothesis\n");
    let changed = run(&session, "larder bake").ok();
    assert!(
        changed.stdout().contains("1 change since") && changed.stdout().contains("changed requirements.txt"),
        "{changed}"
    );
}

#[test]
fn wheels_come_out_of_images_on_hits_and_on_builds() {
    releases_wheels(&DOCKER);
}

#[test]
fn wheels_come_out_of_images_of_podmans_too() {
    releases_wheels(&PODMAN);
}

fn releases_wheels(engine: &Engine) {
    if !have(&[Part::Release, engine.part]) {
        return;
    }
    let mut session = installed();
    let run = |session: &Session, text: &str| engine.line(session, text);
    let base = session.base_of(engine.name);
    let [builder, wheels] = ["builder", "wheels"].map(|name| session.image_in(engine.name, name));
    session.write("Dockerfile.builder", session.from(&base) + "RUN mkdir -p /build/dist\n");
    session.write(
        "Dockerfile.wheels",
        format!("FROM {builder}:latest\nARG PY\nCOPY src /src\nRUN cat /src/lib >/build/dist/lib-$PY.whl\n"),
    );
    session.write("src/lib", "one\n");
    session.write("tests/t", "1\n");
    session.write("VERSION", "1.0\n");
    session.write(".gitignore", "dist/\ntarget/\nstore/\n");
    session.write(
        "larder.toml",
        format!(
            "[store]\ndir = \"store\"\n[defaults]\nrefresh = \"30d\"\n\
             [image.builder]\ndescription = \"Compilers, cmake, git\"\ndockerfile = \"Dockerfile.builder\"\ntags = [\"{builder}:latest\"]\n\
             [image.wheels]\ndockerfile = \"Dockerfile.wheels\"\nignore = \"all\"\nmatrix = {{ PY = [\"3.9\", \"3.10\"] }}\n\
             tags = [\"{wheels}:{{PY}}\"]\noutputs = {{ \"dist\" = \"/build/dist/*.whl\" }}\n\
             [[ci.step]]\nname = \"create-tag\"\nwhen = \"manual\"\nrun = \"echo v$(cat VERSION) >tag\"\n\
             [[ci.step]]\nname = \"build\"\nbake = [\"wheels\"]\n\
             [[ci.step]]\nname = \"test\"\nrun = \"echo tested; cat dist/*.whl\"\ninputs = [\"dist/*.whl\", \"tests/**\"]\n\
             [[ci.step]]\nname = \"deploy\"\nwhen = \"manual\"\nrun = \"echo deployed >deployed\"\nenv = [\"PYPI_TOKEN\"]\n\
             [ci]\nlog = \"target/ci\"\n"
        ),
    );
    run(&session, "git init -q .").ok();
    let first = run(&session, "larder ci").ok();
    for words in ["wheels-3.9 ", "wheels-3.10 ", "build ", "test ", "total"] {
        assert!(first.stdout().contains(words), "`{words}` is not in {first}");
    }
    assert_eq!(session.run("cat dist/lib-3.9.whl dist/lib-3.10.whl").ok().stdout(), "one\none\n");
    assert_eq!(session.run("head -1 target/ci/test.log").ok().stdout(), "tested\n");
    assert!(!session.path("tag").exists() && !session.path("deployed").exists());

    // Nothing changed: nothing is built, and the tests need not run again.
    let again = run(&session, "larder ci").ok();
    assert!(again.stderr().contains("skipped: test") && !again.stdout().contains("built"), "{again}");
    // The outputs come on a hit, too.
    run(&session, "rm -r dist && larder ci").ok().says("skipped: test");
    assert!(session.path("dist/lib-3.10.whl").is_file());

    // A source file changes: the builder is a hit, the wheels are built, and tested.
    session.write("src/lib", "two\n");
    let changed = run(&session, "larder ci").ok();
    let state = |image: &str| {
        let line = changed.stdout().lines().find(|line| line.starts_with(image)).expect("a line").to_owned();
        line.split_whitespace().nth(1).expect("a state").to_owned()
    };
    assert_eq!([state("builder "), state("wheels-3.9 "), state("wheels-3.10 ")], ["hit", "built", "built"]);
    assert_eq!(session.run("cat dist/*.whl; tail -n +2 target/ci/test.log").ok().stdout(), "two\n".repeat(4));
    assert_eq!(session.run("wc -l <target/ci/times.ndjson").ok().stdout().trim(), "8");

    // What is manual runs where it is asked for, and only with what it needs.
    run(&session, "larder ci deploy")
        .ends(2)
        .says("step `deploy` needs the environment variable `PYPI_TOKEN`");
    run(&session, "PYPI_TOKEN=x larder ci create-tag deploy").ok();
    assert!(session.path("tag").is_file() && session.path("deployed").is_file());

    // A build that gives no output is an error that says so.
    session.write("Dockerfile.wheels", format!("FROM {builder}:latest\nCOPY src /src\n"));
    run(&session, "larder bake wheels")
        .ends(2)
        .says("nothing in image `wheels-3.9` is called `/build/dist/*.whl`");
}

/// A composer that makes disks of specifications: their text, in the format that they name.
const COMPOSER: &str = "#!/bin/sh -e\n[ \"$1 $2\" = 'build --out' ]; echo \"$4\" >>\"$COMPOSED\"\n\
    truncate -s 64M raw.$$; cat \"$4\" specs/common/* | dd of=raw.$$ bs=1M seek=40 conv=notrunc status=none\n\
    printf \"$SUITE $ARCH\" | dd of=raw.$$ bs=1M seek=50 conv=notrunc status=none\n\
    qemu-img convert -f raw -O \"$(sed -n 's/^format: //p' \"$4\")\" raw.$$ \"$3\"; rm raw.$$\n";

#[test]
fn disks_are_composed_once_and_copied_from_then_on() {
    if !have(&[Part::Release, Part::QemuImg]) {
        return;
    }
    let session = installed();
    session.script("../opt/bin/image-composer", COMPOSER);
    session.write("larder.toml", include_str!("../teams/c.toml"));
    session.write("specs/edge.yml", "format: qcow2\npackages: [nginx]\n");
    session.write("specs/edge-debug.yml", "format: raw\npackages: [nginx, gdb]\n");
    session.write("specs/common/base.yml", "users: [admin]\n");
    let setting = "export LARDER_DIR=$(cd ..; pwd)/images COMPOSED=$(cd ..; pwd)/composed;";
    let run = |text: &str| session.run(&line(&session, &format!("{setting} {text}")));
    let composed = || {
        let lines = fs::read_to_string(session.aside("composed")).unwrap_or_default();
        let _ = fs::remove_file(session.aside("composed"));
        let mut names: Vec<_> =
            lines.lines().map(|line| line.trim_start_matches("specs/").to_owned()).collect();
        names.sort();
        names
    };
    let state = |ran: &Ran, name: &str| {
        let text = ran.stdout();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a line");
        line.split_whitespace().nth(1).expect("a state").to_owned()
    };

    let listed = run("larder list").ok();
    assert!(
        listed.stdout().contains("Edge node, qcow2") && listed.stdout().contains("out/edge-debug.raw"),
        "{listed}"
    );
    let first = run("larder bake").ok();
    assert_eq!((state(&first, "edge"), state(&first, "edge-debug")), ("built".into(), "built".into()));
    assert_eq!(composed(), ["edge-debug.yml", "edge.yml"]);
    let made = fs::read(session.path("out/edge.qcow2")).expect("a disk");
    session.run("qemu-img check -q out/edge.qcow2 && qemu-img info -f raw out/edge-debug.raw").ok();

    // The cached one is copied out; the other one's cache is off.
    let again = run("rm -r out; larder bake").ok();
    assert_eq!((state(&again, "edge"), state(&again, "edge-debug")), ("hit".into(), "built".into()));
    assert_eq!(composed(), ["edge-debug.yml"]);
    assert!(fs::read(session.path("out/edge.qcow2")).expect("a disk") == made, "other bytes");

    // What nobody reads changes nothing; what both read composes both, with the reason.
    session.write("specs/other.yml", "x\n");
    assert_eq!(state(&run("larder bake edge").ok(), "edge"), "hit");
    session.write("specs/common/base.yml", "users: [root]\n");
    let changed = run("larder bake").ok();
    assert!(changed.stdout().contains("changed specs/common/base.yml"), "{changed}");
    assert_eq!(composed(), ["edge-debug.yml", "edge.yml"]);
    session.write("specs/common/base.yml", "users: [admin]\n");
    assert_eq!(state(&run("larder bake edge").ok(), "edge"), "hit");
    // Off for once, on the command line.
    assert_eq!(state(&run("larder bake edge --no-image-cache").ok(), "edge"), "built");
    assert_eq!(composed(), ["edge.yml"]);

    // The two that were kept are listed, shown, exported, and taken away.
    let keys = run("imgtar ls --json").ok().rows();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let key = run("larder bake edge --json").ok().rows()[0]["key"].as_str().expect("a key").to_owned();
    assert!(run(&format!("imgtar info {key}")).ok().stdout().contains("qcow2"));
    run(&format!("imgtar export {key} ../exported.qcow2")).ok();
    assert!(fs::read(session.aside("exported.qcow2")).expect("a disk") == made, "other bytes");
    run(&format!("imgtar rm {key} && imgtar import {key} ../exported.qcow2")).ok();
    assert_eq!(state(&run("rm -r out; larder bake edge").ok(), "edge"), "hit");
    run("gcctl plan --json --max-disks 1 >../plan && gcctl apply ../plan").ok();
    assert_eq!(run("imgtar ls --json").ok().rows().len(), 1);
}

/// A guide of docs, with the registry and the images' names of this test.
fn text_of(name: &str, replaced: &[(&str, &str)]) -> String {
    let path = format!("{}/../docs/{name}.md", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    replaced.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// Docker's base as the guides call it, for images with a label of the test's own.
fn debian(session: &mut Session, test: &str) -> String {
    format!("{}\nLABEL test={test}", session.base())
}

#[test]
fn the_guide_of_a_test_image_plays() {
    if !have(&[Part::Release, Part::Docker, Part::Base, Part::Git, Part::GitLfs]) {
        return;
    }
    let mut session = installed();
    let name = session.image("guided-tests");
    let base = debian(&mut session, &name);
    let names = [("debian:12", base.as_str()), ("rinna-python-tests", &name)];
    guide::play(&session, &text_of("test-image", &names), &line(&session, "export LARDER_DOCKER=docker"));
}

#[test]
fn the_guide_of_files_out_of_images_plays() {
    if !have(&[Part::Release, Part::Docker, Part::Base, Part::Git]) {
        return;
    }
    let mut session = installed();
    let [builder, wheels] = ["guided-builder", "guided-wheels"].map(|name| session.image(name));
    let base = debian(&mut session, &builder);
    let names = [("debian:12", base.as_str()), ("pyovf-builder", &builder), ("pyovf-wheels", &wheels)];
    let prepare = "export LARDER_DIR=../store LARDER_DOCKER=docker";
    guide::play(&session, &text_of("wheels", &names), &line(&session, prepare));
}

#[test]
fn the_guide_of_disks_plays() {
    if !have(&[Part::Release, Part::QemuImg]) {
        return;
    }
    let session = installed();
    guide::play(&session, &text_of("disks", &[]), &line(&session, "export LARDER_DIR=../store"));
}

#[test]
fn three_kinds_of_build_share_a_registry() {
    if !have(&[Part::Release, Part::Docker, Part::Registry, Part::Git]) {
        return;
    }
    let mut session = installed();
    let registry = DockerRegistry::start(&session.aside("registry"));
    let [base, runner] = ["base", "runner"].map(|name| session.image(name));
    let names = [
        ("registry.example", registry.host()),
        ("autogit-base:latest", &format!("{base}:latest")),
        ("autogit-runner:latest", &format!("{runner}:latest")),
    ];
    guide::play(&session, &text_of("registry", &names), &line(&session, "export LARDER_DOCKER=docker"));
}

#[test]
fn the_services_of_a_compose_file_start_at_once() {
    if !have(&[Part::Release, Part::Docker, Part::DockerCompose, Part::Base]) {
        return;
    }
    let mut session = installed();
    let base = session.base();
    let [project, ..] =
        ["atelier", "atelier-devcontainer", "atelier-test-gen"].map(|name| session.image(name));
    // Its own, so that nothing of another test's is removed.
    let from = format!("{base}\nLABEL test={project}");
    let names = [("debian:12", from.as_str()), ("atelier", &project)];
    guide::play(&session, &text_of("compose", &names), &line(&session, "export LARDER_DOCKER=docker"));
}
