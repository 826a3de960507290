//! The tools in pipelines, as the README has them.

use larder_tests::{Part, Session, have};

/// What the README says to put into a script: its first block of shell.
const README: &str = include_str!("../../README.md");

/// The README's pipeline for the image `$APP`. It says when it builds, and runs `$DURING` then.
fn script() -> String {
    let (_, block) = README.split_once("```sh\n").expect("a pipeline");
    let (block, _) = block.split_once("```\n").expect("its end");
    let script = block
        .replace("docker build", "echo building; eval \"$DURING\"; docker build -q")
        .replace("-t app ", "-t \"$APP\" ")
        .replace("\"$key\" app ", "\"$key\" \"$APP\" ");
    assert_eq!((script.matches("$APP").count(), script.matches("$DURING").count()), (2, 1), "{script}");
    script
}

#[test]
fn the_pipeline_builds_once_and_then_loads() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    session.write("Dockerfile", session.from("scratch") + "COPY file /\n");
    let app = session.image("app");
    let session = session.env("APP", &app);
    let builds = |expected: bool| {
        let ran = session.run(&script()).ok();
        assert_eq!(ran.stdout().contains("building"), expected, "{ran}");
        session.image_id(&app).expect("an image")
    };
    let id = builds(true);
    session.run("docker rmi $APP").ok();
    assert_eq!(builds(false), id, "the name and the ID come back");
    session.write("file", "two");
    assert_ne!(builds(true), id);
}

#[test]
fn the_platform_that_is_hashed_is_built_whatever_the_engines_default_is() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    session.write("Dockerfile", "FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY file /\n");
    let app = session.image("app");
    let session = session.env("APP", &app).env("DOCKER_BUILDKIT", "1");
    let session = session.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x");
    session.run(&script()).ok();
    let built = session.run("docker inspect -f '{{.Architecture}} {{.Config.Env}}' $APP").ok().stdout();
    assert!(built.starts_with("amd64 ") && built.contains("ARCH=amd64"), "{built}");
}

#[test]
fn the_pipeline_saves_nothing_that_was_edited_during_the_build() {
    if !have(&[Part::Docker]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    session.write("Dockerfile", session.from("scratch") + "COPY file /\n");
    let app = session.image("app");
    let session = session.env("APP", &app).env("DURING", "echo two > file");
    let ran = session.run(&script()).ok();
    assert!(ran.stdout().contains("building"), "{ran}");
    assert_eq!(session.run("imgtar ls --json").ok().stdout(), "");
}

#[test]
fn the_pipeline_saves_the_manifest_of_the_key() {
    if !have(&[Part::Docker, Part::B3sum]) {
        return;
    }
    let mut session = Session::new().file("file", "one");
    session.write("Dockerfile", session.from("scratch") + "COPY file /\n");
    let app = session.image("app");
    let session = session.env("APP", &app);
    session.run(&script()).ok();
    let sums = session
        .run("hashctx -f Dockerfile --platform linux/amd64 . | tee key; imgtar info --inputs $(cat key) | b3sum --no-names")
        .ok()
        .stdout();
    let sums: Vec<_> = sums.lines().collect();
    assert_eq!((sums.len(), sums[0]), (2, sums[1]));
    // An image of another platform does not get under the key.
    session.run("printf 'FROM scratch\nCOPY file /\n' > Other").ok();
    let ran = session.run(
        "imgtar info --inputs $(cat key) > inputs; imgtar pack other . --platform linux/s390x --manifest inputs",
    );
    assert_eq!(ran.code(), 2, "{ran}");
}

#[test]
fn the_key_is_the_digest_of_the_manifest() {
    if !have(&[Part::B3sum]) {
        return;
    }
    let session = Session::new().file("a", "1").file("d/b", "2").file("Dockerfile", "FROM scratch\n");
    for args in [".", "-f Dockerfile --build-arg A=1 .", "--input x=y d"] {
        let key = session.run(&format!("hashctx {args}")).ok().stdout();
        let sum = session.run(&format!("hashctx --manifest {args} | b3sum --no-names")).ok().stdout();
        assert_eq!(key, sum, "hashctx {args}");
        assert_eq!(key.trim().len(), 64);
    }
}

#[test]
fn a_key_is_the_same_wherever_the_checkout_lies() {
    let session = Session::new().file("a/x", "1").file("a/d/y", "2");
    session.run("mkdir -p other/place && cp -r a other/place/b && chmod -R go-rwx other && touch -d @1 other/place/b/x").ok();
    let keys = session.run("hashctx a; hashctx other/place/b").ok().stdout();
    let keys: Vec<_> = keys.lines().collect();
    assert_eq!((keys.len(), keys[0]), (2, keys[1]));
}

/// A session that packs the folder `d`, without an engine.
fn packing() -> Session {
    let toml = "[image.x]\npack = { dir = \"d\" }\n";
    Session::new().file("larder.toml", toml).env("LARDER_DOCKER", "/nonexistent/docker")
}

#[test]
fn a_closed_pipe_ends_a_reading_command_quietly() {
    let session = packing().file("d/f", "content");
    for number in 0..200 {
        session.write(&format!("d/many/{number}"), "x");
    }
    session.run("larder bake -q").ok();
    session.run("mkfifo ../tmp/go").ok();
    let key = session.run("imgtar ls --json").ok().rows()[0]["key"].as_str().expect("a key").to_owned();
    let export = format!("imgtar export {key}");
    let export_plain = format!("imgtar export {key} --compress none");
    let info = format!("imgtar info {key}");
    let commands = [
        "hashctx d",
        "hashctx --manifest d",
        "hashctx --list d",
        "hashctx --json d",
        "hashctx --tar d",
        "imgtar ls",
        "imgtar ls --json",
        &info,
        &export,
        &export_plain,
        "gcctl ls",
        "gcctl df",
        "gcctl plan --max-images 0",
        "gcctl plan --max-images 0 --json",
    ];
    for command in commands {
        // The reader says when it is gone; then the first byte comes.
        let ran = session.run(&format!(
            "{{ read go <../tmp/go; {command}; echo \"ended with $?\" >&2; }} | {{ exec <&-; echo go >../tmp/go; }}"
        ));
        assert_eq!(ran.stderr(), "ended with 0\n", "{command}");
    }
}

#[test]
fn applying_a_plan_is_the_same_as_a_run() {
    let session = packing();
    for version in 1..=4 {
        session.write("d/file", format!("version {version}"));
        session.run("larder bake -q").ok();
    }
    session.run("cp -a ../store ../other").ok();
    let state = |store: &str| {
        session
            .run(&format!("cd {store}/images && ls keys && ls blobs/sha256 && cat index.json"))
            .ok()
            .stdout()
    };
    let before = state("../store");
    session.run("gcctl run --max-images 2 --dry-run").ok();
    assert_eq!(state("../store"), before, "a dry run removes nothing");
    session.run("gcctl plan --json --max-images 2 | gcctl apply -").ok();
    session.run("gcctl run --store ../other --max-images 2").ok();
    assert_eq!(state("../store"), state("../other"));
    assert_ne!(state("../store"), before);
    session.run("imgtar verify && imgtar verify --store ../other").ok();
    assert_eq!(session.run("imgtar ls --json").rows().len(), 2);
}

#[test]
fn what_hashctx_remembers_lies_in_a_store_that_the_others_take() {
    let session = packing().file("d/f", "content");
    session.run("hashctx d && test -f ../store/CACHEDIR.TAG && imgtar pack key d && gcctl ls").ok();
    // A folder of somebody else's stays as it is, and the key is the same.
    session.write("other/file", "precious");
    session.run("test $(hashctx d) = $(hashctx --store other d) && test \"$(ls other)\" = file").ok();
}
