//! `imgtar serve` with real engines: docker, podman, skopeo, containerd, and the BuildKit inside
//! dockerd. With a newer BuildKit where LARDER_BUILDCTL and LARDER_BUILDKITD name one.
#![expect(clippy::doc_markdown, reason = "the variables' names are prose here")]

use std::process::{Command, Stdio};

use larder_tests::{Part, Ran, have, isolate, sh, until};

use crate::engine::engines::layers;
use crate::kit::containerd::{Containerd, Ended};
use crate::kit::session::Session;
use crate::kit::tars::{docker, id};

/// What is gone at the end of a test, however it ends.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut command = Command::new("sh");
        let _ = isolate(&mut command, "/nonexistent").args(["-c", &self.0]).output();
    }
}

#[test]
fn docker_pulls_and_pushes_only_what_is_missing() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let [base, top] = layers("served");
    session.feed("import k --name app:1", &docker("x:1", &[&base, &top]).end()).ok();
    let registry = session.serve("-v");
    let at = format!("{}/app", registry.address);
    let _gone = Gone(format!("docker rmi -f {at}:1 {at}:2 {at}:3"));
    sh(&format!("docker pull -q {at}:1"));
    assert_eq!(sh(&format!("docker image inspect -f '{{{{.Id}}}}' {at}:1")), id(&[&base, &top]));
    // A new image upon it: the layers that docker pulled are not sent back, though they are stored
    // in another form.
    let folder = session.path("ctx");
    session.write("ctx/f", format!("{:?}", std::time::SystemTime::now()));
    session.write("ctx/Dockerfile", format!("FROM {at}:1\nCOPY f /f\n"));
    sh(&format!("DOCKER_BUILDKIT=0 docker build -q -t {at}:2 {folder}"));
    let pushed = sh(&format!("docker push {at}:2"));
    assert_eq!(pushed.matches("Layer already exists").count(), 2, "{pushed}");
    let ids = session.ids("app..2");
    assert_eq!(ids, [sh(&format!("docker image inspect -f '{{{{.Id}}}}' {at}:2"))]);
    session.run("verify").ok();
    // Base, top in their stored forms and the new one; two configs, two manifests.
    assert_eq!(session.blobs().len(), 7);
    sh(&format!(
        "docker rmi -f {at}:2 && docker pull -q {at}:2 && docker tag {at}:2 {at}:3 && docker push -q {at}:3"
    ));
    assert_eq!(session.ids("app..3"), ids);
    session.run("load app..3 --tag served-check:1").ok();
    sh("docker rmi served-check:1");
}

#[test]
fn the_buildkit_in_docker_builds_from_it_and_takes_cache_from_it() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let [base, top] = layers("buildkit");
    session.feed("import k --name app:1", &docker("x:1", &[&base, &top]).end()).ok();
    let registry = session.serve("-v");
    let at = &registry.address;
    let _gone = Gone(format!("docker rmi -f {at}/cache:1 {at}/cache:2"));
    session.write("ctx/f", format!("{:?}", std::time::SystemTime::now()));
    session.write("ctx/Dockerfile", format!("FROM {at}/app:1 AS a\nCOPY f /f\nFROM a\nCOPY f /g\n"));
    let build = |rest: &str| {
        let folder = session.path("ctx");
        let inline = "--build-arg BUILDKIT_INLINE_CACHE=1";
        sh(&format!("DOCKER_BUILDKIT=1 docker build --progress plain {inline} {rest} {folder} 2>&1"))
    };
    build(&format!("-t {at}/cache:1"));
    sh(&format!("docker push -q {at}/cache:1 && docker rmi -f {at}/cache:1"));
    let again = build(&format!("-t {at}/cache:2 --cache-from {at}/cache:1"));
    assert!(again.contains("CACHED"), "{again}");
    let log = registry.said();
    assert!(log.contains("HEAD /v2/cache/manifests/1 200"), "{log}");
    session.run("verify").ok();
}

#[test]
fn podman_and_skopeo_pull_and_push() {
    if !have(&[Part::Podman, Part::Skopeo]) {
        return;
    }
    let session = Session::new();
    let [base, top] = layers("podman-serve");
    session.feed("import k --name app:1", &docker("x:1", &[&base, &top]).end()).ok();
    let registry = session.serve("");
    let at = format!("{}/app", registry.address);
    let _gone = Gone(format!("podman rmi -f {at}:1 {at}:2"));
    let image = sh(&format!("podman pull -q --tls-verify=false {at}:1"));
    assert_eq!(format!("sha256:{image}"), id(&[&base, &top]));
    sh(&format!("podman tag {at}:1 {at}:2 && podman push -q --tls-verify=false {at}:2"));
    assert_eq!(session.ids("app..2"), [id(&[&base, &top])]);
    let folder = session.path("dir");
    sh(&format!("skopeo copy -q --src-tls-verify=false docker://{at}:1 dir:{folder}"));
    sh(&format!("skopeo copy -q --dest-tls-verify=false dir:{folder} docker://{at}/copy:3"));
    sh(&format!(
        "skopeo copy -q --dest-tls-verify=false --dest-compress-format zstd dir:{folder} docker://{at}/copy:4"
    ));
    assert_eq!(session.ids("app._copy..3"), [id(&[&base, &top])]);
    // Its key is not a reference name that skopeo takes; the image's name is.
    let layout = session.path("../store/images");
    sh(&format!("skopeo inspect oci:{layout}:app/copy:3"));
    let tags = sh(&format!("skopeo list-tags --tls-verify=false docker://{at}/copy"));
    assert!(tags.contains("\"3\"") && tags.contains("\"4\""), "{tags}");
    sh(&format!("skopeo delete --tls-verify=false docker://{at}/copy:3"));
    session.run("has app._copy..3").ends(1);
    session.run("verify").ok();
}

#[test]
fn docker_logs_in_with_the_token() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let [base, _] = layers("login");
    session.feed("import k --name app:1", &docker("x:1", &[&base]).end()).ok();
    session.write("token", "a-long-secret");
    let registry = session.serve("--token-file token");
    let at = &registry.address;
    let config = session.path("docker");
    let _gone = Gone(format!("docker rmi -f {at}/app:1"));
    let run = |words: &str| format!("docker --config {config} {words}");
    sh(&format!("! {}", run(&format!("pull -q {at}/app:1"))));
    sh(&format!("{} < {}", run(&format!("login -u anybody --password-stdin {at}")), session.path("token")));
    sh(&run(&format!("pull -q {at}/app:1")));
}

#[test]
fn containerd_pulls_zstd_layers_and_pushes() {
    if !have(&[Part::Containerd]) {
        return;
    }
    let session = Session::new();
    let [base, top] = layers("containerd");
    session.feed("import k --name app:1", &docker("x:1", &[&base, &top]).end()).ok();
    let registry = session.serve("-v");
    let at = format!("{}/app", registry.address);
    let containerd = Containerd::start(&session);
    let ctr = format!("ctr -a {}", containerd.socket);
    sh(&format!("{ctr} images pull --plain-http {at}:1"));
    let stored = session.run("info k --json").ok().json()["digest"].as_str().unwrap().to_owned();
    assert!(sh(&format!("{ctr} images ls")).contains(&stored));
    sh(&format!("{ctr} images tag {at}:1 {at}/again:2 && {ctr} images push --plain-http {at}/again:2"));
    assert_eq!(session.ids("app._again..2"), [id(&[&base, &top])]);
    session.run("verify").ok();
}

#[test]
fn a_newer_buildkit_keeps_its_cache_in_it() {
    let named = |name: &str| std::env::var(name).ok().filter(|path| !path.is_empty());
    let (Some(buildctl), Some(buildkitd)) = (named("LARDER_BUILDCTL"), named("LARDER_BUILDKITD")) else {
        // Debian has none: `serving::buildkits_cache_lands_in_the_store` sends what it sends.
        return;
    };
    let session = Session::new();
    let [base, top] = layers("newer");
    session.feed("import k --name app:1", &docker("x:1", &[&base, &top]).end()).ok();
    let registry = session.serve("-v");
    let at = &registry.address;
    let (root, sock) = (session.path("bk/root"), session.path("bk/sock"));
    std::fs::create_dir_all(&root).unwrap();
    let log = std::fs::File::create(session.path("bk/log")).unwrap();
    let words =
        ["--root", root.as_str(), "--addr", &format!("unix://{sock}"), "--oci-worker-snapshotter=native"];
    let more = ["--containerd-worker=false", "--oci-worker-net=host"];
    let mut command = session.program(&buildkitd);
    let child = command.args(words).args(more).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _daemon = Ended(child);
    let buildctl = format!("{buildctl} --addr unix://{sock}");
    // It tells nobody when it is ready.
    until("buildkitd answers", || {
        let mut shell = session.program("sh");
        Ran::of(shell.args(["-c", &format!("{buildctl} debug workers")])).code() == 0
    });
    session.write("ctx/f", format!("{:?}", std::time::SystemTime::now()));
    session.write("ctx/Dockerfile", format!("FROM {at}/app:1 AS a\nCOPY f /f\nFROM a\nCOPY f /g\n"));
    let folder = session.path("ctx");
    let build = |export: &str, import: &str| {
        let from = format!("--frontend dockerfile.v0 --local context={folder} --local dockerfile={folder}");
        sh(&format!("{buildctl} build {from} --progress plain {export} {import} 2>&1"))
    };
    let mut tags = 0;
    for form in ["image-manifest=false,oci-mediatypes=true", "image-manifest=true,oci-mediatypes=true"] {
        for compression in ["gzip", "zstd", "uncompressed"] {
            tags += 1;
            let cache = format!("type=registry,ref={at}/cache/app:{tags},registry.insecure=true");
            let to = format!(
                "--export-cache {cache},mode=max,compression={compression},force-compression=true,{form}"
            );
            build(&to, "");
            sh(&format!("{buildctl} prune --all"));
            let again = build("", &format!("--import-cache {cache}"));
            assert!(again.contains("CACHED"), "{again}");
            sh(&format!("{buildctl} prune --all"));
        }
    }
    // An image with its attestations.
    let output = format!("--output type=image,name={at}/built:1,push=true,registry.insecure=true");
    build(&output, "--opt attest:provenance=mode=max");
    let rows = session.run("ls --json").ok().stdout();
    assert_eq!(rows.matches("cache/app:").count(), tags, "{rows}");
    assert!(!rows.contains("\"problem\""), "{rows}");
    session.run("verify").ok();
}
