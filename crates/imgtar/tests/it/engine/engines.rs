//! Real engines and tools, where they are.

use std::process::Command;

use larder_tests::{Part, Ran, have, isolate, sh};

use crate::kit::session::Session;
use crate::kit::tars::{config, docker, id, layer};

/// Removes an image when the test ends, however it ends.
pub(crate) struct Image(pub(crate) String, &'static str);

impl Image {
    pub(crate) fn new(engine: &'static str, test: &str) -> Self {
        Self::named(engine, &format!("imgtar-test-{test}-{}:1", std::process::id()))
    }

    /// One of this very name.
    pub(crate) fn named(engine: &'static str, name: &str) -> Self {
        Self(name.to_owned(), engine)
    }

    pub(crate) fn remove(&self) {
        let mut command = Command::new(self.1);
        let _ = isolate(&mut command, "/nonexistent").args(["rmi", "-f", &self.0]).output();
    }

    pub(crate) fn id(&self) -> String {
        let id = sh(&format!("{} image inspect --format '{{{{.Id}}}}' {}", self.1, self.0));
        format!("sha256:{}", id.trim_start_matches("sha256:"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Layers that no other test has, so that no engine knows them.
pub(crate) fn layers(test: &str) -> [Vec<u8>; 2] {
    let mark = format!("{test} {} {:?}", std::process::id(), std::time::SystemTime::now());
    [layer("base", &mark), layer("top", &format!("top of {mark}"))]
}

/// Import, load, save, load again: always the same image.
fn goes_round(engine: &'static str) {
    if !have(&[Part::engine(engine)]) {
        return;
    }
    let image = Image::new(engine, "round");
    let [base, top] = layers(engine);
    let id = id(&[&base, &top]);
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run(&format!("load k --engine {engine}")).ok().says("loaded");
    assert_eq!(image.id(), id);
    session.run(&format!("load k --engine {engine}")).ok().says("was there");
    session.run(&format!("save other {} --engine {engine}", image.0)).ok();
    assert_eq!(session.ids("other"), [id.as_str()]);
    image.remove();
    session.run(&format!("load other --engine {engine} --tag {}", image.0)).ok().says("loaded");
    assert_eq!(image.id(), id);
    session.run("verify").ok();
}

#[test]
fn docker_goes_round() {
    goes_round("docker");
}

#[test]
fn podman_goes_round() {
    goes_round("podman");
}

/// A program that does what the script says, with the real engine as `$ENGINE`. Each call is a line
/// of `calls`.
pub(crate) fn wrapped(session: &Session, engine: &str, script: &str) -> String {
    let script = format!("ENGINE={engine}\necho \"$*\" >>calls\n{script}");
    session.script("wrapped", &script).into_string()
}

/// Runs with that engine. Returns the calls.
#[track_caller]
pub(crate) fn with(session: &Session, program: &str, engine: &str, words: &str) -> (Ran, Vec<String>) {
    let variable = format!("LARDER_{}", engine.to_uppercase());
    let words = format!("{words} --engine {engine}");
    let ran = Ran::of(session.command(&words).env(variable, program));
    let calls = std::fs::read_to_string(session.path("calls")).unwrap_or_default();
    let _ = std::fs::remove_file(session.path("calls"));
    (ran, calls.lines().map(str::to_owned).collect())
}

/// How many layers a load sent, and how many it skipped.
#[track_caller]
fn moved(session: &Session, words: &str) -> (u64, u64) {
    let line = session.run(&format!("{words} --json")).ok().json();
    (line["layers_sent"].as_u64().unwrap(), line["layers_skipped"].as_u64().unwrap())
}

/// An engine with a base gets what is above it, and the image is whole there.
fn gets_what_it_lacks(engine: &'static str) {
    if !have(&[Part::engine(engine)]) {
        return;
    }
    let [first, second, config_only] = ["first", "second", "third"].map(|test| Image::new(engine, test));
    let [base, middle] = layers(&format!("thin {engine}"));
    let [top, again] = layers(&format!("above {engine}"));
    let session = Session::new();
    session.feed("import first", &docker(&first.0, &[&base, &middle]).end()).ok();
    session.feed("import second", &docker(&second.0, &[&base, &middle, &top, &again]).end()).ok();
    session.feed("import third", &docker(&config_only.0, &[&base, &middle, &top]).end()).ok();
    assert_eq!(moved(&session, &format!("load first --engine {engine}")), (2, 0));
    let sent = moved(&session, &format!("load second --engine {engine}"));
    assert_eq!(sent, (2, 2));
    assert_eq!(moved(&session, &format!("load third --engine {engine}")), (0, 3));
    for (image, key) in [(&first, "first"), (&second, "second"), (&config_only, "third")] {
        session.run(&format!("save again-{key} {} --engine {engine}", image.0)).ok();
        assert_eq!(session.ids(&format!("again-{key}")), session.ids(key));
        assert_eq!(image.id(), session.ids(key)[0]);
    }
    session.run("verify").ok();
}

#[test]
fn docker_gets_what_it_lacks() {
    gets_what_it_lacks("docker");
}

#[test]
fn podman_gets_what_it_lacks() {
    gets_what_it_lacks("podman");
}

/// An image that is there costs one question, and a new name one command more.
fn is_asked_once(engine: &'static str) {
    if !have(&[Part::engine(engine)]) {
        return;
    }
    let (image, other) = (Image::new(engine, "once"), Image::new(engine, "once-more"));
    let session = Session::new();
    let [base, top] = layers(&format!("once {engine}"));
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run(&format!("load k --engine {engine}")).ok();
    let program = wrapped(&session, engine, "exec $ENGINE \"$@\"");
    let (run, calls) = with(&session, &program, engine, "load k");
    run.ok().says("was there");
    assert_eq!(calls.len(), 1, "{calls:?}");
    let (run, calls) = with(&session, &program, engine, &format!("load k --tag {}", other.0));
    run.ok().says("was there");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(other.id(), image.id());
}

/// What the engine had when it was asked, and what somebody removes then, is sent.
fn is_sent_what_goes_meanwhile(engine: &'static str) {
    if !have(&[Part::engine(engine)]) {
        return;
    }
    let image = Image::new(engine, "meanwhile");
    let session = Session::new();
    let [base, top] = layers("meanwhile");
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run(&format!("load k --engine {engine}")).ok();
    let other = Image::named(engine, &image.0.replace(":1", ":2"));
    let script = format!("[ $1 = tag ] && $ENGINE rmi -f {} >/dev/null\nexec $ENGINE \"$@\"", image.0);
    let program = wrapped(&session, engine, &script);
    let (run, calls) = with(&session, &program, engine, &format!("load k --tag {}", other.0));
    run.ok().says("2 layers sent");
    assert!(calls.iter().any(|call| call.starts_with("tag ")), "{calls:?}");
    assert_eq!(other.id(), id(&[&base, &top]));
}

#[test]
fn docker_is_sent_what_goes_meanwhile() {
    is_sent_what_goes_meanwhile("docker");
}

#[test]
fn podman_is_sent_what_goes_meanwhile() {
    is_sent_what_goes_meanwhile("podman");
}

#[test]
fn docker_is_asked_once_for_what_it_has() {
    is_asked_once("docker");
}

#[test]
fn podman_is_asked_once_for_what_it_has() {
    is_asked_once("podman");
}

/// An engine whose base goes away at the wrong moment: it is handed the archive by a script that
/// stands in for `load`. The first attempts that leave something out fail; the whole archive goes
/// in.
#[test]
fn a_load_that_was_too_thin_is_made_whole() {
    if !have(&[Part::Docker]) {
        return;
    }
    let image = Image::new("docker", "too-thin");
    let [base, top] = layers("too thin");
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    let script = "[ \"$1\" = load ] || exec $ENGINE \"$@\"\ncat >archive\n\
                  if tar -xOf archive manifest.json | grep -q imgtar-asks; then\n\
                  echo 'open /tmp/docker-import-1/imgtar-asks/1: no such file or directory' >&2; exit 1\nfi\n\
                  exec $ENGINE load <archive";
    let program = wrapped(&session, "docker", script);
    let (run, calls) = with(&session, &program, "docker", "load k --json");
    let line = run.ok().json();
    assert_eq!((&line["layers_sent"], &line["layers_skipped"]), (&2.into(), &0.into()));
    assert_eq!(calls.iter().filter(|call| *call == "load").count(), 3, "{calls:?}");
    assert_eq!(image.id(), id(&[&base, &top]));
}

/// What is not sent is not read: the engine's own layer makes the image.
#[test]
fn damage_in_a_layer_that_the_engine_has_does_no_harm() {
    if !have(&[Part::Docker]) {
        return;
    }
    let (first, second) = (Image::new("docker", "has-base"), Image::new("docker", "has-base-too"));
    let [base, top] = layers("has base");
    let session = Session::new();
    session.feed("import first", &docker(&first.0, &[&base]).end()).ok();
    session.feed("import second", &docker(&second.0, &[&base, &top]).end()).ok();
    session.run("load first").ok();
    damage(&session, "first", 0);
    assert_eq!(moved(&session, "load second"), (1, 1));
    assert_eq!(second.id(), id(&[&base, &top]));
    session.run("verify").ends(3);
}

#[test]
fn what_is_no_name_reaches_no_engine() {
    if !have(&[Part::Docker]) {
        return;
    }
    let image = Image::new("docker", "names");
    let session = Session::new();
    let [base, _] = layers("names");
    let names = format!("[\"{}\",\"--help\",\"-f\",\"a b\",\"UP/er\"]", image.0);
    let config = config(&[&base]).to_string();
    let hex = storekit::Digest::of(config.as_bytes()).hex();
    let manifest = format!(r#"[{{"Config":"{hex}.json","RepoTags":{names},"Layers":["layer.tar"]}}]"#);
    let archive = crate::kit::tars::Tar::default()
        .file(&format!("{hex}.json"), config)
        .file("layer.tar", &base)
        .file("manifest.json", manifest)
        .end();
    session.feed("import k", &archive).ok().says("`--help` is not a valid image name; skipped");
    let line = session.run("load k --json").ok().json();
    assert_eq!(line["names"], serde_json::json!([image.0]));
    session.run("save other -- --help").ends(2).says("`--help` is not an image");
    session.run("has other").ends(1);
}

#[test]
fn of_several_platforms_the_engine_gets_its_own() {
    if !have(&[Part::Docker]) || imgtar::format::oci::Platform::host().to_string() != "linux/amd64" {
        return;
    }
    let image = Image::new("docker", "platform");
    let (archive, _, [amd64, arm64]) = crate::images::archives::platforms();
    let session = Session::new();
    session.feed("import k", &archive).ok();
    session.run(&format!("load k --tag {}", image.0)).ok();
    assert_eq!(image.id(), amd64);
    session.run(&format!("load k --platform linux/arm64 --tag {}", image.0)).ok();
    assert_eq!(image.id(), arm64);
    sh(&format!("docker rmi -f {amd64} {arm64}"));
}

/// Flips a bit of the image's layer at this position.
fn damage(session: &Session, key: &str, layer: usize) {
    let info = session.run(&format!("info {key} --json")).ok().json();
    let digest: storekit::Digest =
        info["images"][0]["layers"][layer]["digest"].as_str().unwrap().parse().unwrap();
    let path = session.store().images().blobs().path(&digest);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn no_engine_takes_a_damaged_image() {
    if !have(&[Part::Docker]) {
        return;
    }
    let image = Image::new("docker", "damaged");
    let [base, top] = layers("damaged");
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    damage(&session, "k", 1);
    session.run("load k").ends(3).says("damaged");
    // The engine has not taken it.
    Ran::of(session.program("docker").args(["image", "inspect", &image.0])).fails();
}

#[test]
fn a_missing_image_or_engine_is_trouble() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    for words in ["load k", "save l app:1"] {
        Ran::of(session.command(words).env("LARDER_DOCKER", "/nowhere/docker"))
            .ends(2)
            .says("cannot be started");
    }
    if have(&[Part::Docker]) {
        session
            .run("save l no-such-image-anywhere:1")
            .ends(2)
            .says("`docker save no-such-image-anywhere:1` failed")
            .says("`docker images` lists what it has");
        session.run("has l").ends(1);
    }
}

#[test]
fn a_program_that_is_no_engine_is_named() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    for (words, says) in
        [("load k", "docker's answer was not understood"), ("save l app:1", "it wrote no archive")]
    {
        Ran::of(session.command(words).env("LARDER_DOCKER", "/bin/true")).ends(2).says(says);
    }
}

/// Docker's command is there, its daemon is not.
#[test]
fn where_docker_does_not_answer_podman_is_taken() {
    if !have(&[Part::Podman]) {
        return;
    }
    let image = Image::new("podman", "answers");
    let [base, top] = layers("answers");
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.script("bin/docker", "echo 'Cannot connect to the Docker daemon' >&2\nexit 1");
    let path = format!("{}:{}", session.path("bin"), larder_tests::tools::path());
    let run = |words: &str| {
        let mut command = session.command(words);
        command.env("PATH", &path).env("DOCKER_HOST", "unix:///nowhere.sock");
        Ran::of(&mut command)
    };
    run("load k").ok().says("docker does not answer").says("loaded");
    assert_eq!(image.id(), id(&[&base, &top]));
    run(&format!("save again {}", image.0)).ok();
    assert_eq!(session.ids("again"), session.ids("k"));
    // Who asks for docker gets docker's word.
    run("load k --engine docker").ends(2).says("Cannot connect to the Docker daemon");
}

#[test]
fn an_engine_that_stops_midway_is_trouble_and_not_saved() {
    let session = Session::new();
    let archive = docker("app:1", &[&layer("a", "b")]).end();
    session.write("half.tar", &archive[..archive.len() / 2]);
    let half = "[ \"$1\" = save ] && cat half.tar && echo 'daemon went away' >&2\nexit 1";
    let whole = "[ \"$1\" = save ] && cat whole.tar\necho 'daemon went away' >&2\nexit 1";
    session.write("whole.tar", &archive);
    for script in [half, whole] {
        let path = session.script("engine", script);
        Ran::of(session.command("save k app:1").env("LARDER_DOCKER", &path)).ends(2).says("daemon went away");
        session.run("has k").ends(1);
    }
}

#[test]
fn an_engine_that_stops_reading_is_trouble() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", &"x".repeat(5_000_000))]).end()).ok();
    let script = "[ \"$1\" = load ] && head -c 1000 >/dev/null && echo 'daemon went away' >&2 && exit 1\n\
                  echo 'No such image' >&2\nexit 1";
    let path = session.script("engine", script);
    Ran::of(session.command("load k").env("LARDER_DOCKER", &path)).ends(2).says("daemon went away");
}

#[test]
fn what_skopeo_puts_into_the_store_goes_out_again() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let [base, top] = layers("adopted");
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&base]).end()).ok();
    let archive = session.write("a.tar", docker("app:2", &[&base, &top]).end());
    sh(&format!("skopeo copy -q docker-archive:{archive} oci:{}:theirs", session.path("../store/images")));
    session.run("verify").ok();
    let other = Session::new();
    other.feed("import k", session.run("export theirs").ok().bytes()).ok();
    // skopeo writes configs anew, so that the ID is its own.
    assert_eq!(other.ids("k"), session.ids("theirs"));
}

#[test]
fn skopeo_reads_the_store_and_the_archives() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let [base, top] = layers("skopeo");
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&base, &top]).end()).ok();
    let store = session.path("../store/images");
    sh(&format!("skopeo inspect oci:{store}:k"));
    session.run("export k plain.tar --compress none").ok();
    session.run("export k packed.tar").ok();
    let id = id(&[&base, &top]);
    let wanted = config(&[&base, &top]).to_string();
    for file in ["plain.tar", "packed.tar"] {
        for transport in ["docker-archive", "oci-archive"] {
            // skopeo's OCI archives are plain tars only.
            if file == "packed.tar" && transport == "oci-archive" {
                continue;
            }
            let from = session.path(file);
            let to = session.path("copy");
            let _ = std::fs::remove_dir_all(&to);
            sh(&format!("skopeo copy -q {transport}:{from} dir:{to}"));
            assert_eq!(std::fs::read_to_string(to.join(id.trim_start_matches("sha256:"))).unwrap(), wanted);
        }
    }
    for (from, transport) in [("oci-archive", "docker-archive"), ("oci", "oci-archive")] {
        let to = session.path(&format!("{transport}.tar"));
        let from = if from == "oci" {
            format!("oci:{store}:k")
        } else {
            format!("{from}:{}", session.path("plain.tar"))
        };
        sh(&format!("skopeo copy -q {from} {transport}:{to}:app:2"));
        session.run(&format!("import {transport} {transport}.tar")).ok();
        assert_eq!(session.ids(transport), [id.as_str()]);
    }
}

#[test]
fn podman_archives_of_both_kinds_come_in() {
    if !have(&[Part::Podman]) {
        return;
    }
    let image = Image::new("podman", "kinds");
    let [base, top] = layers("kinds");
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    session.run("load k --engine podman").ok();
    for format in ["docker-archive", "oci-archive"] {
        let to = session.path(&format!("{format}.tar"));
        sh(&format!("podman save -q --format {format} -o {to} {}", image.0));
        session.run(&format!("import {format} {to}")).ok();
        assert_eq!(session.run(&format!("export {format} --compress none")).ok().code(), 0);
    }
    assert_eq!(session.ids("docker-archive"), [id(&[&base, &top])]);
    // podman loads what is exported, compressed or not.
    for compress in ["none", "zstd"] {
        image.remove();
        let file = session.path("out.tar");
        session.run(&format!("export docker-archive {file} --compress {compress}")).ok();
        sh(&format!("podman load -q -i {file}"));
        assert_eq!(image.id(), id(&[&base, &top]));
    }
}
