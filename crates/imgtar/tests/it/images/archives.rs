//! Import and export: what comes in goes out with the same IDs.

use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::session::Session;
use crate::kit::tars::{self, Tar, config, descriptor, docker, gzip, id, layer, manifest, oci, zstd};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Imports through a pipe and from a file, exports, imports again: the ID stays.
#[track_caller]
fn survives(archive: &[u8], ids: &[String]) {
    let session = Session::new();
    session.feed("import pipe", archive).ok();
    session.write("a.tar", archive);
    session.run("import file a.tar").ok();
    assert_eq!(session.ids("pipe"), ids);
    assert_eq!(session.ids("file"), ids);
    session.run("verify").ok();
    for compress in ["none", "zstd"] {
        let exported = session.run(&format!("export file --compress {compress}")).ok();
        let other = Session::new();
        other.feed("import again", exported.bytes()).ok();
        assert_eq!(other.ids("again"), ids);
        other.run("verify").ok();
    }
}

fn layers() -> (Vec<u8>, Vec<u8>) {
    (layer("base", "first"), layer("top", "second"))
}

#[test]
fn a_docker_archive_survives() {
    let (base, top) = layers();
    survives(&docker("app:1", &[&base, &top]).end(), &[id(&[&base, &top])]);
}

#[test]
fn a_compressed_archive_survives() {
    let (base, top) = layers();
    let archive = docker("app:1", &[&base, &top]).end();
    survives(&gzip(&archive), &[id(&[&base, &top])]);
    survives(&zstd(&archive), &[id(&[&base, &top])]);
}

#[test]
fn duplicate_layers_as_links_survive() {
    let base = layer("base", "first");
    let config = config(&[&base, &base]).to_string();
    let name = Digest::of(config.as_bytes()).hex();
    let archive = Tar::default()
        .file("one/layer.tar", &base)
        .link("two/layer.tar", "../one/layer.tar")
        .file(&format!("{name}.json"), &config)
        .json(
            "manifest.json",
            &json!([{ "Config": format!("{name}.json"), "RepoTags": null,
            "Layers": ["one/layer.tar", "two/layer.tar"] }]),
        );
    survives(&archive.end(), &[id(&[&base, &base])]);
}

#[test]
fn an_oci_archive_survives_in_every_form() {
    let (base, top) = layers();
    let config = config(&[&base, &top]).to_string();
    for (suffix, form) in [("", None), ("+gzip", Some(gzip as fn(&[u8]) -> Vec<u8>)), ("+zstd", Some(zstd))] {
        let [a, b] = [&base, &top].map(|plain| form.map_or_else(|| plain.clone(), |form| form(plain)));
        let manifest = manifest(&[&base, &top], &[(suffix, &a), (suffix, &b)]).to_string();
        let listed = [descriptor(MANIFEST, manifest.as_bytes())];
        let archive = oci(&[config.as_bytes(), manifest.as_bytes(), &a, &b], &listed);
        survives(&archive.end(), &[id(&[&base, &top])]);
    }
}

#[test]
fn compressed_layers_keep_their_manifest_and_their_bytes() {
    let base = layer("base", "first");
    let packed = gzip(&base);
    let manifest = manifest(&[&base], &[("+gzip", &packed)]).to_string();
    let config = config(&[&base]).to_string();
    let listed = [descriptor(MANIFEST, manifest.as_bytes())];
    let archive = oci(&[config.as_bytes(), manifest.as_bytes(), &packed], &listed).end();
    let session = Session::new();
    session.feed("import k", &archive).ok();
    assert_eq!(session.run("info k --manifest").ok().stdout(), manifest);
    assert!(session.blobs().contains(&Digest::of(&packed)));
}

#[test]
fn a_layer_is_stored_once_in_the_form_that_came_first() {
    let (base, top) = layers();
    let session = Session::new();
    session.feed("import a", &docker("a:1", &[&base]).end()).ok();
    session.write("b.tar", docker("b:1", &[&base, &top]).end());
    let line = session.run("import b b.tar --json").ok().json();
    assert_eq!((line["layers_written"].as_u64(), line["layers_reused"].as_u64()), (Some(1), Some(1)));
    // 2 layers, 2 configs, 2 manifests.
    assert_eq!(session.blobs().len(), 6);
}

#[test]
fn a_docker_archive_with_compressed_layers_survives() {
    let base = layer("base", "first");
    let config = config(&[&base]).to_string();
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar.gz"] }]);
    let archive =
        Tar::default().file("c.json", config).file("l.tar.gz", gzip(&base)).json("manifest.json", &manifest);
    survives(&archive.end(), &[id(&[&base])]);
}

#[test]
fn an_index_with_plain_layers_keeps_them_plain() {
    let base = layer("base", "first");
    let config = config(&[&base]).to_string();
    let manifest = manifest(&[&base], &[("", &base)]).to_string();
    let index =
        json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, manifest.as_bytes())] }).to_string();
    let blobs = [config.as_bytes(), manifest.as_bytes(), &base, index.as_bytes()];
    let archive = oci(&blobs, &[descriptor(INDEX, index.as_bytes())]).end();
    survives(&archive, &[id(&[&base])]);
    let session = Session::new();
    session.feed("import k", &archive).ok();
    assert_eq!(session.run("info k --manifest").ok().stdout(), index);
    assert!(session.blobs().contains(&Digest::of(&base)));
}

#[test]
fn several_images_keep_their_names() {
    let (base, top) = layers();
    let (a, b) = (config(&[&base]).to_string(), config(&[&top]).to_string());
    let archive = Tar::default()
        .file("a.json", &a)
        .file("b.json", &b)
        .file("1/layer.tar", &base)
        .file("2/layer.tar", &top)
        .json(
            "manifest.json",
            &json!([
            { "Config": "a.json", "RepoTags": ["a:1", "a:2"], "Layers": ["1/layer.tar"] },
            { "Config": "b.json", "RepoTags": ["b:1"], "Layers": ["2/layer.tar"] }]),
        )
        .end();
    survives(&archive, &[id(&[&base]), id(&[&top])]);
    let session = Session::new();
    session.feed("import k", &archive).ok();
    let info = session.run("info k --json").ok().json();
    assert_eq!(info["names"], json!(["a:1", "a:2", "b:1"]));
    assert_eq!(info["images"][0]["names"], json!(["a:1", "a:2"]));
    session.run("tag k other:1").ends(2).says("holds 2 images");
    let manifest = entry(session.run("export k --compress none").ok().bytes(), "manifest.json");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest[1]["RepoTags"], json!(["docker.io/library/b:1"]));
}

/// An index with an image for two platforms and an attestation.
pub(crate) fn platforms() -> (Vec<u8>, String, [String; 2]) {
    let (base, top) = layers();
    let (a, b) = (gzip(&base), gzip(&top));
    let (first, second) =
        (config(&[&base]).to_string(), config(&[&top]).to_string().replace("amd64", "arm64"));
    let statement = r#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.as_bytes();
    let one = manifest(&[&base], &[("+gzip", &a)]).to_string();
    let two = json!({ "schemaVersion": 2, "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &b)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", second.as_bytes()) })
    .to_string();
    let attested =
        json!({ "schemaVersion": 2, "layers": [descriptor("application/vnd.in-toto+json", statement)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}") })
        .to_string();
    let listed =
        [(&one, "amd64"), (&two, "arm64"), (&attested, "unknown")].map(|(manifest, architecture)| {
            let mut descriptor = descriptor(MANIFEST, manifest.as_bytes());
            descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
            descriptor
        });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let mut top = descriptor(INDEX, index.as_bytes());
    top["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/app:1" });
    let blobs: Vec<&[u8]> =
        [&first, &second, &one, &two, &attested, &index].iter().map(|text| text.as_bytes()).collect();
    let archive = oci(&[&blobs[..], &[b"{}", statement, &a, &b]].concat(), &[top]).end();
    let ids = [&first, &second].map(|config| Digest::of(config.as_bytes()).to_string());
    (archive, index, ids)
}

#[test]
fn an_index_survives_byte_for_byte_with_its_attestations() {
    let (archive, index, ids) = platforms();
    survives(&archive, &ids);
    let session = Session::new();
    session.feed("import k", &archive).ok();
    let again = Session::new();
    again.feed("import k", session.run("export k").ok().bytes()).ok();
    assert_eq!(again.run("info k --manifest").ok().stdout(), index);
    assert_eq!(again.run("info k --json").ok().json()["names"], json!(["app:1"]));
    assert_eq!(again.blobs().len(), session.blobs().len());
}

#[test]
fn one_platform_can_be_exported() {
    let (archive, _, ids) = platforms();
    let session = Session::new();
    session.feed("import k", &archive).ok();
    session.run("export k --platform linux/s390x").ends(2).says("it has linux/amd64, linux/arm64");
    let other = Session::new();
    other.feed("import k", session.run("export k --platform linux/arm64").ok().bytes()).ok();
    assert_eq!(other.ids("k"), ids[1..]);
}

/// An archive with one image, whose config has these words for its machine.
fn of_machine(architecture: &str, variant: Option<&str>) -> Vec<u8> {
    let (base, _) = layers();
    let mut config = config(&[&base]);
    config["architecture"] = json!(architecture);
    config["variant"] = json!(variant);
    let config = config.to_string();
    let manifest =
        json!({ "schemaVersion": 2, "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &base)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()) })
        .to_string();
    let listed = [descriptor(MANIFEST, manifest.as_bytes())];
    oci(&[config.as_bytes(), manifest.as_bytes(), &base], &listed).end()
}

#[test]
fn an_image_is_found_by_any_spelling_of_its_platform() {
    for (architecture, variant, names) in [
        ("aarch64", None, ["linux/arm64", "linux/arm64/v8", "linux/aarch64"]),
        ("arm64", Some("v8"), ["linux/arm64", "linux/arm64/v8", "linux/aarch64"]),
        ("arm64", Some(""), ["linux/arm64", "linux/arm64/v8", "linux/aarch64"]),
        ("x86_64", None, ["linux/amd64", "linux/amd64/v1", "linux/x86_64"]),
        ("arm", None, ["linux/arm/v7", "linux/arm", "linux/armhf"]),
        ("arm", Some("v6"), ["linux/arm/v6", "linux/arm/v7", "linux/arm"]),
        ("i386", None, ["linux/386", "linux/i386", "linux/386"]),
    ] {
        let session = Session::new();
        session.feed("import k", &of_machine(architecture, variant)).ok();
        for name in names {
            let exported = session.run(&format!("export k --platform {name}")).ok().bytes().to_vec();
            let other = Session::new();
            other.feed("import k", &exported).ok();
            assert_eq!(other.ids("k"), session.ids("k"), "{name}");
        }
        assert_eq!(session.run("ls --json").ok().json()["platforms"], json!([names[0]]));
    }
}

#[test]
fn what_an_index_lists_and_the_archive_lacks_is_left_out_with_a_warning() {
    let (base, _) = layers();
    let (config, packed) = (config(&[&base]).to_string(), gzip(&base));
    let manifest = manifest(&[&base], &[("+gzip", &packed)]).to_string();
    let absent = descriptor(MANIFEST, b"elsewhere");
    let index =
        json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, manifest.as_bytes()), absent] });
    let index = index.to_string();
    let listed = [descriptor(INDEX, index.as_bytes())];
    let archive = oci(&[config.as_bytes(), manifest.as_bytes(), &packed, index.as_bytes()], &listed).end();
    let session = Session::new();
    session.feed("import k", &archive).ok().says("does not hold it");
    assert_eq!(session.ids("k"), [id(&[&base])]);
}

#[test]
fn an_export_is_the_same_each_time_and_its_list_comes_last() {
    let (base, top) = layers();
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&base, &top]).end()).ok();
    let first = session.run("export k --compress none").ok().bytes().to_vec();
    assert_eq!(first, session.run("export k --compress none").ok().bytes().to_vec());
    session.run("export k out.tar --compress none").ok();
    assert_eq!(std::fs::read(session.path("out.tar")).unwrap(), first);
    let mut archive = tar::Archive::new(&first[..]);
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names.last().unwrap(), "manifest.json");
    assert!(names.contains(&tars::blob(&top)));
}

/// The bytes of an entry.
fn entry(archive: &[u8], name: &str) -> Vec<u8> {
    use std::io::Read;
    let mut archive = tar::Archive::new(archive);
    let mut found =
        archive.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with(name));
    let mut bytes = Vec::new();
    found.as_mut().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// An archive of one layer that comes as gzip and is called something else.
fn mislabelled(suffix: &str, nested: bool) -> Vec<u8> {
    let plain = layer("base", "first");
    let packed = gzip(&plain);
    let config = config(&[&plain]).to_string();
    let manifest = manifest(&[&plain], &[(suffix, &packed)]).to_string();
    let listed = descriptor(MANIFEST, manifest.as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed.clone()] }).to_string();
    let top = if nested { descriptor(INDEX, index.as_bytes()) } else { listed };
    oci(&[config.as_bytes(), manifest.as_bytes(), &packed, index.as_bytes()], &[top]).end()
}

#[test]
fn a_layer_whose_form_is_called_wrongly_harms_no_other_image() {
    for suffix in ["+zstd", ""] {
        let session = Session::new();
        session.feed("import wrong", &mislabelled(suffix, false)).ok();
        session.feed("import good", &docker("app:1", &[&layer("base", "first")]).end()).ok();
        session.run("verify").ok();
        session.run("export good good.tar").ok();
        session.run("export wrong wrong.tar").ok();
    }
}

#[test]
fn a_nested_manifest_that_calls_a_form_wrongly_is_refused() {
    for suffix in ["+zstd", ""] {
        let session = Session::new();
        session.feed("import wrong", &mislabelled(suffix, true)).ends(2).says("gzip");
        session.run("has wrong").ends(1);
    }
}

#[test]
fn a_plain_layer_that_is_not_its_config_s_is_damage() {
    let session = Session::new();
    let (mine, other) = (layer("base", "first"), layer("base", "second"));
    session.feed("import k", &docker("app:1", &[&mine]).end()).ok();
    let blobs = session.store().images().blobs();
    let config = config(&[&mine]).to_string();
    let manifest = manifest(&[&mine], &[("", &other)]).to_string();
    for bytes in [other.as_slice(), config.as_bytes(), manifest.as_bytes()] {
        drop(blobs.put(bytes).unwrap());
    }
    let path = session.store().images().folder().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let mut foreign = descriptor(MANIFEST, manifest.as_bytes());
    foreign["annotations"] = json!({ "org.opencontainers.image.ref.name": "evil" });
    index["manifests"].as_array_mut().unwrap().push(foreign);
    std::fs::write(&path, index.to_string()).unwrap();
    session.run("verify evil").ends(3);
    session.run("export evil evil.tar").ends(3);
    session.run("verify k").ok();
}
