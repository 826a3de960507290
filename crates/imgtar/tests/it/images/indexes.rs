//! An index of images that are stored already.

use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, gzip, layer, manifest, oci};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TYPE: &str = "vnd.docker.reference.type";
const ABOUT: &str = "vnd.docker.reference.digest";

/// A session with packed images for two platforms, under `amd` and `arm`.
pub(crate) fn two() -> Session {
    let session = Session::new();
    pack(&session, "amd", "linux/amd64", "1");
    pack(&session, "arm", "linux/arm64", "1");
    session
}

pub(crate) fn pack(session: &Session, key: &str, platform: &str, content: &str) {
    session.write(&format!("{key}.d/file"), format!("{platform} {content} {}", session.path("")));
    session.run(&format!("pack {key} {key}.d --platform {platform} --force")).ok();
}

pub(crate) fn index(session: &Session, key: &str) -> Value {
    session.run(&format!("info {key} --manifest")).ok().json()
}

fn info(session: &Session, key: &str) -> Value {
    session.run(&format!("info {key} --json")).ok().json()
}

/// What BuildKit writes for one platform: an index with the image and its attestation.
fn attested(architecture: &str) -> (Vec<u8>, [String; 2]) {
    let plain = layer("file", architecture);
    let packed = gzip(&plain);
    let config = config(&[&plain]).to_string().replace("amd64", architecture);
    let mut image = manifest(&[&plain], &[("+gzip", &packed)]);
    image["config"] = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let image = image.to_string();
    let statement = format!("{{\"of\":\"{architecture}\"}}");
    let attestation = json!({ "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.in-toto+json", statement.as_bytes())] })
    .to_string();
    let mut listed = [descriptor(MANIFEST, image.as_bytes()), descriptor(MANIFEST, attestation.as_bytes())];
    listed[0]["platform"] = json!({ "os": "linux", "architecture": architecture, "os.version": "7" });
    listed[1]["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    listed[1]["annotations"] =
        json!({ TYPE: "attestation-manifest", ABOUT: Digest::of(image.as_bytes()).to_string() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let blobs: [&[u8]; 7] = [
        config.as_bytes(),
        image.as_bytes(),
        statement.as_bytes(),
        attestation.as_bytes(),
        index.as_bytes(),
        b"{}",
        &packed,
    ];
    let digests = [&image, &attestation].map(|text| Digest::of(text.as_bytes()).to_string());
    (oci(&blobs, &[descriptor(INDEX, index.as_bytes())]).end(), digests)
}

#[test]
fn an_index_lists_what_is_stored_and_copies_nothing() {
    let session = two();
    let before = session.blobs().len();
    let made = session.run("index all amd arm --name app:1 --image app --json").ok();
    let made = made.says("saved all: an index for linux/amd64, linux/arm64").json();
    assert_eq!(session.blobs().len(), before + 1, "a blob was copied");
    assert_eq!((&made["saved"], &made["media_type"]), (&json!(true), &json!(INDEX)));
    assert_eq!(made["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(made["ids"], json!([session.ids("amd")[0], session.ids("arm")[0]]));
    let manifests = index(&session, "all")["manifests"].clone();
    let expected = ["amd", "arm"].map(|key| {
        let document = session.run(&format!("info {key} --manifest")).ok();
        json!({ "mediaType": MANIFEST, "digest": info(&session, key)["digest"], "size": document.bytes().len(),
            "platform": { "architecture": format!("{key}64"), "os": "linux" } })
    });
    assert_eq!(manifests, json!(expected));
    let all = info(&session, "all");
    assert_eq!((&all["names"], &all["image"]), (&json!(["app:1"]), &json!("app")));
    assert_eq!(all["digest"], made["digest"]);
    session.run("verify all").ok();
    assert!(session.run("ls").ok().stdout().contains("linux/amd64,linux/arm64"));
    // Out and in again it is the same, and each platform is to be had.
    let other = Session::new();
    other.feed("import k", session.run("export all").ok().bytes()).ok();
    assert_eq!(info(&other, "k")["digest"], made["digest"]);
    other.feed("import one", session.run("export app:1 --platform linux/arm64").ok().bytes()).ok();
    assert_eq!(other.ids("one"), session.ids("arm"));
}

#[test]
fn an_index_that_is_right_is_left_alone_and_any_other_is_replaced_only_by_force() {
    let session = two();
    session.run("index all amd arm --name app:1").ok();
    let first = info(&session, "all");
    for force in ["", " --force"] {
        let again = session.run(&format!("index all amd arm --name app:1 --json{force}")).ok();
        assert_eq!(again.says("all is stored already: an index for").json()["saved"], false);
    }
    assert_eq!(info(&session, "all")["saved"], first["saved"]);
    pack(&session, "arm", "linux/arm64", "2");
    let stays = session.run("index all amd arm --name app:1 --json").ok().says("it stays").json();
    assert_eq!((&stays["saved"], &stays["digest"]), (&json!(false), &first["digest"]));
    session.run("index all amd arm --name app:1 --force").ok().says("saved all");
    assert_ne!(info(&session, "all")["digest"], first["digest"]);
    assert_eq!(session.ids("all"), [session.ids("amd"), session.ids("arm")].concat());
    // With the same images under other names, the name alone is new.
    session.run("index all amd arm --name app:2 --force").ok().says("saved all");
    assert_eq!(info(&session, "all")["names"], json!(["app:2"]));
    // An image that was saved again is newer than the index, by whose name people ask for both.
    pack(&session, "arm", "linux/arm64", "2");
    session.run("tag arm app:2").ok();
    session.run("index all amd arm --name app:2 --force").ok().says("saved all");
    session.run("info app:2").ok().says("is `all`");
    // Nothing else is overwritten unasked.
    session.run("index amd arm").ok().says("stored already, as something else");
    assert_eq!(session.ids("amd").len(), 1);
}

#[test]
fn an_index_keeps_its_images_when_their_keys_go() {
    let session = two();
    session.run("index all amd arm").ok();
    let ids = session.ids("all");
    session.run("rm amd arm").ok();
    session.run("verify all").ok();
    assert_eq!(session.ids("all"), ids);
    session.run("index again amd all").ends(1).says("nothing is stored under `amd`");
    session.run("index again all").ok();
    assert_eq!(info(&session, "again")["digest"], info(&session, "all")["digest"]);
    // One that lost its own document is made anew.
    let digest: Digest = info(&session, "all")["digest"].as_str().unwrap().parse().unwrap();
    std::fs::remove_file(session.store().images().blobs().path(&digest)).unwrap();
    session.run("has all").ends(3);
    pack(&session, "amd", "linux/amd64", "1");
    pack(&session, "arm", "linux/arm64", "1");
    session.run("index all amd arm").ok().says("saved all");
    session.run("verify all").ok();
}

#[test]
fn attestations_come_after_the_images() {
    let session = Session::new();
    let [(amd, amd_digests), (arm, arm_digests)] = ["amd64", "arm64"].map(attested);
    session.feed("import amd", &amd).ok();
    session.feed("import arm", &arm).ok();
    session.run("index all amd arm").ok().says("an index for linux/amd64, linux/arm64");
    let manifests = index(&session, "all")["manifests"].as_array().unwrap().clone();
    let digests: Vec<_> = manifests.iter().map(|one| one["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [&amd_digests[0], &arm_digests[0], &amd_digests[1], &arm_digests[1]]);
    // What an index says of a platform beyond its name is kept.
    assert_eq!(manifests[1]["platform"]["os.version"], "7");
    assert_eq!(manifests[3]["annotations"][ABOUT], arm_digests[0].as_str());
    assert_eq!(session.ids("all").len(), 2);
    // One platform comes with its own attestation.
    session.run("index some all=linux/arm64").ok();
    let some = index(&session, "some")["manifests"].as_array().unwrap().clone();
    let some: Vec<_> = some.iter().map(|one| one["digest"].as_str().unwrap()).collect();
    assert_eq!(some, [&arm_digests[0], &arm_digests[1]]);
    session.run("verify").ok();
}

#[test]
fn what_nobody_could_choose_from_is_refused() {
    let session = two();
    pack(&session, "amd-too", "linux/x86_64", "2");
    session.run("index all amd amd-too").ends(2).says("`amd-too` is one more image for linux/amd64");
    session.run("index all amd amd").ends(2).says("one more image");
    session.run("index all amd=linux/arm64").ends(2).says("it has linux/amd64");
    session.run("index all amd=arm64").ends(2).says("is not a platform");
    session.run("index all amd none").ends(1).says("nothing is stored under `none`");
    session.run("index all").ends(2);
    // An image whose config says nothing of a machine, and what is not an image.
    session.feed("import odd", &odd()).ok();
    session.run("index all amd odd").ends(2).says("does not say for which platform it is");
    session.write("disk.raw", [1; 4096]);
    session.run("import disk disk.raw").ok();
    session.run("index all amd disk").ends(2).says("holds no container image");
    session.feed("import several", &oci_of_two()).ok();
    session.run("index all several").ends(2).says("holds 2 images");
    session.run("has all").ends(1);
    Session::new().run("index all amd").ends(1).says("nothing is stored under `amd`");
}

/// An image for no platform.
fn odd() -> Vec<u8> {
    let plain = layer("file", "odd");
    let mut config = config(&[&plain]);
    config["architecture"] = json!("");
    let config = config.to_string();
    let mut image = manifest(&[&plain], &[("", &plain)]);
    image["config"] = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let image = image.to_string();
    oci(&[config.as_bytes(), image.as_bytes(), &plain], &[descriptor(MANIFEST, image.as_bytes())]).end()
}

/// An archive that lists two images, each for its own.
fn oci_of_two() -> Vec<u8> {
    let plain = ["1", "2"].map(|text| layer("file", text));
    let configs = [0, 1].map(|n| config(&[&plain[n]]).to_string());
    let images = [0, 1].map(|n| manifest(&[&plain[n]], &[("", &plain[n])]).to_string());
    let blobs: [&[u8]; 6] = [
        configs[0].as_bytes(),
        configs[1].as_bytes(),
        images[0].as_bytes(),
        images[1].as_bytes(),
        &plain[0],
        &plain[1],
    ];
    oci(&blobs, &[0, 1].map(|n| descriptor(MANIFEST, images[n].as_bytes()))).end()
}
