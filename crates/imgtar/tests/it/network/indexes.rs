//! One name for several platforms, as docker, podman and skopeo see it in a registry.

use larder_tests::{Part, have, sh};
use serde_json::Value;

use crate::engine::engines::Image;
use crate::images::indexes::{index, pack, two};
use crate::kit::remotes::Real;
use crate::kit::session::Session;

/// What `skopeo copy` takes for a machine of this architecture: the digest of its config.
fn taken(session: &Session, from: &str, architecture: &str) -> String {
    let folder = session.path(&format!("copy-{architecture}"));
    sh(&format!(
        "rm -rf {folder} && skopeo copy -q --override-arch {architecture} --src-tls-verify=false {from} dir:{folder}"
    ));
    let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_index_is_pushed_as_one_name_for_all_its_platforms() {
    let session = two();
    let Some(registry) = Real::start(&session) else { return };
    if !have(&[Part::Skopeo]) {
        return;
    }
    session.run("index all amd arm --name app:1").ok();
    let there = format!("{}/team/app:1", registry.host);
    session.run(&format!("push app:1 {there}")).ok();
    let raw = sh(&format!("skopeo inspect --raw --tls-verify=false docker://{there}"));
    assert_eq!(serde_json::from_str::<Value>(&raw).unwrap(), index(&session, "all"));
    let layout = session.path("../store/images");
    for from in [format!("docker://{there}"), format!("oci:{layout}:all")] {
        assert_eq!(taken(&session, &from, "amd64"), session.ids("amd")[0], "{from}");
        assert_eq!(taken(&session, &from, "arm64"), session.ids("arm")[0], "{from}");
    }
    // A later index of which one image is another sends that image alone.
    pack(&session, "arm", "linux/arm64", "2");
    session.run("index all amd arm --name app:1 --force").ok();
    let pushed = session.run(&format!("push app:1 {there} --json")).ok().json();
    assert_eq!(pushed["moved_blobs"], 2, "{pushed}");
    assert_eq!(taken(&session, &format!("docker://{there}"), "arm64"), session.ids("arm")[0]);
    // And it comes back as it went.
    let other = Session::new();
    other.run(&format!("pull {there} --key k")).ok();
    assert_eq!(other.ids("k"), session.ids("all"));
}

#[test]
fn docker_pulls_its_own_platform_out_of_an_index() {
    pulled("docker", "docker pull -q", "docker pull -q --platform linux/arm64");
}

#[test]
fn podman_pulls_its_own_platform_out_of_an_index() {
    let pull = "podman pull -q --tls-verify=false";
    pulled("podman", pull, &format!("{pull} --arch arm64"));
}

/// From a registry, and from the store served as one.
fn pulled(engine: &'static str, pull: &str, pull_arm: &str) {
    let session = two();
    let Some(registry) = Real::start(&session) else { return };
    if !have(&[Part::engine(engine)]) || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    session.run("index all amd arm --name app:1").ok();
    // Docker before 23 reads no zstd.
    session.run(&format!("push all {}/app:1 --compress gzip", registry.host)).ok();
    let served = session.serve("");
    for host in [registry.host.as_str(), &served.address] {
        let image = Image::named(engine, &format!("{host}/app:1"));
        sh(&format!("{pull} {}", image.0));
        assert_eq!(image.id(), session.ids("amd")[0]);
        sh(&format!("{pull_arm} {}", image.0));
        assert_eq!(image.id(), session.ids("arm")[0]);
    }
}

#[test]
fn an_engine_is_given_its_own_platform_of_an_index() {
    for engine in ["docker", "podman"] {
        if !have(&[Part::engine(engine)]) || cfg!(not(target_arch = "x86_64")) {
            continue;
        }
        let session = two();
        let image = Image::new(engine, "index");
        session.run(&format!("index all arm amd --name {}", image.0)).ok();
        session.run(&format!("load all --engine {engine}")).ok();
        assert_eq!(image.id(), session.ids("amd")[0]);
    }
}
