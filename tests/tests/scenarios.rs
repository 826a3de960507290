//! The teams that larder is for, from beginning to end, with the tools as they are installed.

use larder_tests::{Part, Session, have, parts};

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

/// git, as somebody.
const GIT: &str = "git -c user.name=x -c user.email=x@example.org";

#[test]
fn a_test_image_is_kept_in_the_repository_and_loaded_from_a_clone() {
    let wanted = [Part::Release, Part::Docker, Part::Git, Part::GitLfs];
    if !have(&wanted) {
        return;
    }
    let mut session = installed();
    let run = |session: &Session, text: &str| session.run(&line(session, text));
    let base = session.base();
    let name = session.image("python-tests");
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
             run = 'docker run --rm -v \"$PWD:/work\" -w /work \"$LARDER_IMAGE\" cat /built tests/test.py'\n"
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
    let id = session.image_id(&format!("{name}:latest"));
    run(&session, &format!("docker rmi -f {name}:latest")).ok();
    run(
        &session,
        "git init -q --bare ../remote && git push -q file://$(cd ../remote && pwd) HEAD:refs/heads/main",
    )
    .ok();
    run(&session, "git -C ../remote symbolic-ref HEAD refs/heads/main && git lfs install --skip-repo").ok();
    run(&session, "git clone -q file://$(cd ../remote && pwd) ../clone && mv ../remote ../away").ok();
    let cloned = run(&session, "cd ../clone && larder bake").ok();
    assert!(cloned.stdout().contains("  hit  ") && cloned.stdout().contains("  store "), "{cloned}");
    assert_eq!(session.image_id(&format!("{name}:latest")), id);

    // A damaged cache is noticed, never loaded, and built through.
    run(&session, "for blob in ../clone/docker-cache/images/blobs/sha256/*; do truncate -s -1 $blob; done")
        .ok();
    run(&session, &format!("docker rmi -f {name}:latest")).ok();
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
    if !have(&[Part::Release, Part::Docker]) {
        return;
    }
    let mut session = installed();
    let run = |session: &Session, text: &str| session.run(&line(session, text));
    let base = session.base();
    let [builder, wheels] = ["builder", "wheels"].map(|name| session.image(name));
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
