//! Real engines and tools, where they are. Those that are not are listed as not run; with
//! LARDER_REQUIRE_ENGINES=1 a missing one is a failure.
#![expect(clippy::doc_markdown, reason = "the variable's name is prose here")]

use std::process::{Command, Stdio};

use crate::session::{Run, Session};
use crate::tars::{config, docker, id, layer};

/// Whether the test can run: `probe` must succeed.
#[track_caller]
fn available(probe: &str) -> bool {
    let mut words = probe.split_whitespace();
    let ran = Command::new(words.next().unwrap()).args(words).stdin(Stdio::null()).output();
    let there = ran.is_ok_and(|output| output.status.success());
    if !there {
        larder_tests::not_run(&format!("`{probe}` fails"));
    }
    there
}

/// Runs a command line, and returns its output.
#[track_caller]
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Removes an image when the test ends, however it ends.
struct Image(String, &'static str);

impl Image {
    fn new(engine: &'static str, test: &str) -> Self {
        Self(format!("imgtar-test-{test}-{}:1", std::process::id()), engine)
    }

    fn remove(&self) {
        let _ = Command::new(self.1).args(["rmi", "-f", &self.0]).output();
    }

    fn id(&self) -> String {
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
fn layers(test: &str) -> [Vec<u8>; 2] {
    let mark = format!("{test} {} {:?}", std::process::id(), std::time::SystemTime::now());
    [layer("base", &mark), layer("top", &format!("top of {mark}"))]
}

/// Import, load, save, load again: always the same image.
fn goes_round(engine: &'static str) {
    if !available(&format!("{engine} info")) {
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

#[test]
fn of_several_platforms_the_engine_gets_its_own() {
    if !available("docker info") || imgtar::oci::Platform::host().to_string() != "linux/amd64" {
        return;
    }
    let image = Image::new("docker", "platform");
    let (archive, _, [amd64, arm64]) = crate::archives::platforms();
    let session = Session::new();
    session.feed("import k", &archive).ok();
    session.run(&format!("load k --tag {}", image.0)).ok();
    assert_eq!(image.id(), amd64);
    session.run(&format!("load k --platform linux/arm64 --tag {}", image.0)).ok();
    assert_eq!(image.id(), arm64);
    sh(&format!("docker rmi -f {amd64} {arm64}"));
}

#[test]
fn no_engine_takes_a_damaged_image() {
    if !available("docker info") {
        return;
    }
    let image = Image::new("docker", "damaged");
    let [base, top] = layers("damaged");
    let session = Session::new();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    let info = session.run("info k --json").ok().json();
    let digest: storekit::Digest =
        info["images"][0]["layers"][1]["digest"].as_str().unwrap().parse().unwrap();
    let path = session.store().images().blobs().path(&digest);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    session.run("load k").code(3).says("damaged");
    let found = Command::new("docker").args(["image", "inspect", &image.0]).output().unwrap();
    assert!(!found.status.success(), "the engine took it");
}

#[test]
fn a_missing_image_or_engine_is_trouble() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    for words in ["load k", "save l app:1"] {
        let output = session.command(words).env("LARDER_DOCKER", "/nowhere/docker").output().unwrap();
        Run::of(output).code(2).says("cannot be started");
    }
    if available("docker info") {
        session
            .run("save l no-such-image-anywhere:1")
            .code(2)
            .says("`docker save no-such-image-anywhere:1` failed");
        session.run("has l").code(1);
    }
}

#[test]
fn an_engine_that_stops_midway_is_trouble_and_not_saved() {
    let session = Session::new();
    let archive = docker("app:1", &[&layer("a", "b")]).end();
    session.write("half.tar", &archive[..archive.len() / 2]);
    let half = "#!/bin/sh\n[ \"$1\" = save ] && cat half.tar && echo 'daemon went away' >&2\nexit 1\n";
    let whole = "#!/bin/sh\n[ \"$1\" = save ] && cat whole.tar\necho 'daemon went away' >&2\nexit 1\n";
    session.write("whole.tar", &archive);
    for script in [half, whole] {
        let path = session.write("engine", script);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = session.command("save k app:1").env("LARDER_DOCKER", &path).output().unwrap();
        Run::of(output).code(2).says("daemon went away");
        session.run("has k").code(1);
    }
}

#[test]
fn an_engine_that_stops_reading_is_trouble() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", &"x".repeat(5_000_000))]).end()).ok();
    let script = "#!/bin/sh\n[ \"$1\" = load ] && head -c 1000 >/dev/null && echo 'daemon went away' >&2 && exit 1\n\
                  echo 'No such image' >&2\nexit 1\n";
    let path = session.write("engine", script);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = session.command("load k").env("LARDER_DOCKER", &path).output().unwrap();
    Run::of(output).code(2).says("daemon went away");
}

#[test]
fn what_skopeo_puts_into_the_store_goes_out_again() {
    if !available("skopeo --version") {
        return;
    }
    let [base, top] = layers("adopted");
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&base]).end()).ok();
    let archive = session.write("a.tar", docker("app:2", &[&base, &top]).end());
    sh(&format!("skopeo copy -q docker-archive:{archive} oci:{}:theirs", session.path("store/images")));
    session.run("verify").ok();
    let other = Session::new();
    other.feed("import k", &session.run("export theirs").ok().stdout).ok();
    // skopeo writes configs anew, so that the ID is its own.
    assert_eq!(other.ids("k"), session.ids("theirs"));
}

#[test]
fn skopeo_reads_the_store_and_the_archives() {
    if !available("skopeo --version") {
        return;
    }
    let [base, top] = layers("skopeo");
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&base, &top]).end()).ok();
    let store = session.path("store/images");
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
    if !available("podman info") {
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
        assert_eq!(session.run(&format!("export {format} --compress none")).ok().code, 0);
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
