//! What Go's tools write and other readers take: `null` for empty lists and maps, an index that
//! lists nothing beside a whole manifest.json, a config under a name that is not its digest.

use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::remotes::Fake;
use crate::kit::session::Session;
use crate::kit::tars::{Tar, blob, config, descriptor, docker, gzip, id, layer, oci};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Imports through a pipe and from a file: the IDs are these.
#[track_caller]
fn imports(archive: &[u8], ids: &[String]) -> Session {
    let session = Session::new();
    session.feed("import pipe", archive).ok();
    session.write("a.tar", archive);
    session.run("import file a.tar").ok();
    assert_eq!([session.ids("pipe"), session.ids("file")], [ids, ids]);
    session.run("verify").ok();
    session
}

#[test]
fn an_index_that_lists_nothing_leaves_the_images_to_manifest_json() {
    let base = layer("base", "first");
    for listed in [json!(null), json!([])] {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
        let archive = docker("app:1", &[&base]).json("index.json", &index);
        let archive = archive.json("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" })).end();
        let session = imports(&archive, &[id(&[&base])]);
        assert_eq!(session.run("info pipe --json").ok().json()["names"], json!(["app:1"]));
    }
    let nothing = Tar::default().json("index.json", &json!({ "schemaVersion": 2, "manifests": null }));
    Session::new()
        .feed("import k", &nothing.json("manifest.json", &json!(null)).end())
        .ends(2)
        .says("lists none");
}

/// An image of no layer, with `null` wherever a list or a map is empty.
fn scratch(media_types: &Value) -> (String, String) {
    let config = json!({ "architecture": "amd64", "os": "linux", "config": null, "history": null,
        "rootfs": { "type": "layers", "diff_ids": null } })
    .to_string();
    let mut named = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes());
    (named["urls"], named["annotations"], named["platform"]) = (json!(null), json!(null), json!(null));
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_types, "config": named, "layers": null,
        "annotations": null, "subject": null, "artifactType": null, "manifests": null });
    (manifest.to_string(), config)
}

#[test]
fn null_is_an_empty_list_or_map_in_every_document() {
    let (manifest, config) = scratch(&json!(null));
    let mut listed = descriptor(MANIFEST, manifest.as_bytes());
    (listed["urls"], listed["annotations"], listed["platform"]) = (json!(null), json!(null), json!(null));
    let ids = [Digest::of(config.as_bytes()).to_string()];
    let blobs = [manifest.as_bytes(), config.as_bytes()];
    imports(&oci(&blobs, std::slice::from_ref(&listed)).end(), &ids);
    let index = json!({ "schemaVersion": 2, "manifests": [listed], "annotations": null, "subject": null,
        "config": null, "layers": null })
    .to_string();
    let blobs = [manifest.as_bytes(), config.as_bytes(), index.as_bytes()];
    let session = imports(&oci(&blobs, &[descriptor(INDEX, index.as_bytes())]).end(), &ids);
    assert_eq!(session.run("info pipe --manifest").ok().stdout(), index);
    session.run("ls").ok();
    session.run("export pipe out.tar").ok();
    // What another tool wrote into the store's own index is adopted all the same.
    session.write("../store/images/index.json", json!({ "schemaVersion": 2, "manifests": null }).to_string());
    session.run("has pipe").ok();
}

#[test]
fn null_comes_from_registries_too() {
    let (manifest, config) = scratch(&json!(MANIFEST));
    let fake = Fake::start(|_| None);
    fake.blob(config.as_bytes());
    fake.manifest("1", MANIFEST, &serde_json::from_str(&manifest).unwrap());
    let session = Session::new();
    session.run(&format!("pull {}/app:1 --key k", fake.host)).ok();
    assert_eq!(session.ids("k"), [Digest::of(config.as_bytes()).to_string()]);
}

#[test]
fn a_config_may_be_called_by_another_digest() {
    let base = layer("base", "first");
    let config = config(&[&base]).to_string();
    for name in [format!("{}.json", "a".repeat(64)), "b".repeat(64), format!("x/{}.json", "c".repeat(64))] {
        let list = json!([{ "Config": name, "RepoTags": ["app:1"], "Layers": ["l.tar"] }]);
        let archive =
            Tar::default().file(&name, &config).file("l.tar", &base).json("manifest.json", &list).end();
        imports(&archive, &[id(&[&base])]);
        let said = Session::new().feed("import k", &archive).ok();
        said.says(&format!("warning: the config `{name}` is not named by its digest")).says(&id(&[&base]));
    }
    // Beside an index, such a manifest.json names the image all the same.
    let packed = gzip(&base);
    let manifest = crate::kit::tars::manifest(&[&base], &[("+gzip", &packed)]).to_string();
    let name = format!("{}.json", "d".repeat(64));
    let list = json!([{ "Config": name, "RepoTags": ["app:2"], "Layers": [blob(&packed)] }]);
    let listed = [descriptor(MANIFEST, manifest.as_bytes())];
    let archive = oci(&[config.as_bytes(), manifest.as_bytes(), &packed], &listed).file(&name, &config);
    let session = imports(&archive.json("manifest.json", &list).end(), &[id(&[&base])]);
    assert_eq!(session.run("info pipe --json").ok().json()["names"], json!(["app:2"]));
    // A name that is right is not worth a word, and a blob's is its digest.
    let right = Session::new().feed("import k", &docker("app:1", &[&base]).end()).ok();
    assert!(!right.stderr().contains("warning"), "{}", right.stderr());
    let wrong = format!("blobs/sha256/{}", "e".repeat(64));
    let list = json!([{ "Config": wrong, "Layers": ["l.tar"] }]);
    let archive =
        Tar::default().file(&wrong, &config).file("l.tar", &base).json("manifest.json", &list).end();
    Session::new().feed("import k", &archive).ends(2).says("hashes to");
}
