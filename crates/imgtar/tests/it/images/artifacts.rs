//! Artifacts: charts, wasm modules, signatures. They come out as they went in, and what refers to
//! an image comes with it.

use std::collections::BTreeSet;

use larder_tests::{Part, Ran, have};
use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::registry::Checked;
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, gzip, id, layer, manifest, oci, zstd};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const HELM: &str = "application/vnd.cncf.helm.config.v1+json";

/// A manifest with these blobs: the types and the bytes of the config and of the files.
struct Artifact {
    manifest: String,
    blobs: Vec<Vec<u8>>,
}

impl Artifact {
    fn new(config: (&str, &[u8]), files: &[(&str, &[u8])], more: &Value) -> Self {
        let described: Vec<_> = files.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect();
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor(config.0, config.1), "layers": described });
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let blobs =
            std::iter::once(config.1).chain(files.iter().map(|(_, bytes)| *bytes)).map(<[u8]>::to_vec);
        Self { manifest: manifest.to_string(), blobs: blobs.collect() }
    }

    fn descriptor(&self) -> Value {
        descriptor(MANIFEST, self.manifest.as_bytes())
    }

    fn digest(&self) -> String {
        Digest::of(self.manifest.as_bytes()).to_string()
    }

    fn all(&self) -> Vec<&[u8]> {
        self.blobs.iter().map(Vec::as_slice).chain([self.manifest.as_bytes()]).collect()
    }

    fn archive(&self) -> Vec<u8> {
        oci(&self.all(), &[self.descriptor()]).end()
    }
}

fn chart() -> Artifact {
    let mut chart = Artifact::new(
        (HELM, br#"{"name":"app","version":"1.0.0"}"#),
        &[("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &gzip(&layer("app/Chart.yaml", "x")))],
        &json!({ "annotations": { "org.opencontainers.image.title": "app" } }),
    );
    // Of its file, the manifest tells the name.
    let mut manifest: Value = serde_json::from_str(&chart.manifest).unwrap();
    manifest["layers"][0]["annotations"] = json!({ "org.opencontainers.image.title": "app-1.0.0.tgz" });
    chart.manifest = manifest.to_string();
    chart
}

/// What refers to this, with this type.
fn referrer(subject: &Value, kind: &str) -> Artifact {
    Artifact::new(
        (EMPTY, b"{}"),
        &[("application/spdx+json", format!("{{\"of\":\"{kind}\"}}").as_bytes())],
        &json!({ "artifactType": kind, "subject": subject }),
    )
}

/// The entries of an archive, with their bytes.
fn entries(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut entries = Vec::new();
    imgtar::archive::walk::walk(archive, "-", &mut |item, input| {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).unwrap();
        entries.push((item.name, bytes));
        Ok(())
    })
    .unwrap();
    entries
}

fn entry<'e>(entries: &'e [(String, Vec<u8>)], name: &str) -> Option<&'e [u8]> {
    entries.iter().find(|(own, _)| own == name).map(|(_, bytes)| bytes.as_slice())
}

/// Imports through a pipe and from a file, exports and imports again: the same blobs, byte for
/// byte. Returns the archive.
#[track_caller]
fn survives(archive: &[u8], key_digest: &str) -> Vec<(String, Vec<u8>)> {
    let session = Session::new();
    session.write("a.tar", archive);
    session.feed("import k", archive).ok();
    session.run("import file a.tar").ok();
    let digest = |session: &Session, key: &str| {
        session.run(&format!("info {key} --json")).ok().json()["digest"].clone()
    };
    assert_eq!([digest(&session, "k"), digest(&session, "file")], [key_digest, key_digest]);
    session.run("verify").ok();
    let exported = session.run("export k --compress none").ok().bytes().to_vec();
    let other = Session::new();
    other.feed("import again", &exported).ok();
    assert_eq!(digest(&other, "again"), key_digest);
    assert_eq!(session.blobs(), other.blobs());
    other.run("verify").ok();
    assert_eq!(other.run("export again --compress none").ok().bytes().to_vec(), exported);
    entries(&exported)
}

#[test]
fn a_chart_survives() {
    let chart = chart();
    let found = survives(&chart.archive(), &chart.digest());
    // No image, so nothing for docker.
    assert_eq!(entry(&found, "manifest.json"), None);
    let index: Value = serde_json::from_slice(entry(&found, "index.json").unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], chart.digest());
    for blob in chart.all() {
        assert_eq!(entry(&found, &crate::kit::tars::blob(blob)), Some(blob));
    }
}

#[test]
fn artifacts_of_every_kind_survive() {
    let plain = layer("x", "y");
    let wasm = (b"\0asm\x01\0\0\0".as_slice(), "application/wasm");
    let kinds = [
        Artifact::new(("application/vnd.wasm.config.v0+json", b"{}"), &[(wasm.1, wasm.0)], &json!({})),
        // With a layer that would be compressed in an image.
        Artifact::new(
            (EMPTY, b"{}"),
            &[("application/x-tar", &plain)],
            &json!({ "artifactType": "application/x.y" }),
        ),
        // Those that borrow the config of an image: with no layer in it, and with one that is none.
        Artifact::new((IMAGE_CONFIG, b"{}"), &[(wasm.1, wasm.0)], &json!({})),
        Artifact::new(
            (IMAGE_CONFIG, b"{}"),
            &[("application/vnd.oci.image.layer.v1.tar", &plain)],
            &json!({}),
        ),
        Artifact::new(
            (IMAGE_CONFIG, config(&[br#"{"critical":{}}"#]).to_string().as_bytes()),
            &[("application/vnd.dev.cosign.simplesigning.v1+json", br#"{"critical":{}}"#)],
            &json!({}),
        ),
        Artifact::new(("application/vnd.unknown.config.v1+json", b"{}"), &[], &json!({})),
    ];
    for artifact in &kinds {
        let found = survives(&artifact.archive(), &artifact.digest());
        assert_eq!(entry(&found, "manifest.json"), None, "{}", artifact.manifest);
    }
    // All of them in one index.
    let listed: Vec<_> = kinds.iter().map(Artifact::descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let blobs: BTreeSet<_> = kinds.iter().flat_map(Artifact::all).chain([index.as_bytes()]).collect();
    let archive = oci(&blobs.into_iter().collect::<Vec<_>>(), &[descriptor(INDEX, index.as_bytes())]).end();
    let found = survives(&archive, &Digest::of(index.as_bytes()).to_string());
    assert_eq!(entry(&found, "manifest.json"), None);
}

#[test]
fn an_artifact_is_said_to_be_one() {
    let session = Session::new();
    session.feed("import k", &chart().archive()).ok().says(&format!("saved k: artifact `{HELM}`, 1 file ("));
    let again = session.feed("import k --json", &chart().archive()).ok();
    assert_eq!(again.json()["artifacts"][0]["artifact_type"], HELM);
    again.says(&format!("k is stored already: artifact `{HELM}`"));
    assert!(session.run("ls").ok().stdout().contains("cncf.helm.config artifact"));
    let info = session.run("info k --json").ok().json();
    assert_eq!(info["artifact_types"], json!([HELM]));
    let file = &info["artifacts"][0]["files"][0];
    assert_eq!(file["name"], "app-1.0.0.tgz");
    assert_eq!(file["bytes"], gzip(&layer("app/Chart.yaml", "x")).len());
    let text = session.run("info k").ok().stdout();
    assert!(text.contains(&format!("artifact  {HELM}")) && text.contains("app-1.0.0.tgz"), "{text}");
    session.run("load k").ends(2).says("holds no container image");
    session.run("export k --platform linux/amd64").ends(2).says("holds no container image");
    // A manifest's words steer no terminal.
    let hostile =
        Artifact::new(("application/x\u{9b}31m", b"{}"), &[], &json!({ "artifactType": "a\u{1b}[2J" }));
    let saved = session.feed("import hostile", &hostile.archive()).ok();
    for text in [saved.stderr(), session.run("ls").ok().stdout(), session.run("info hostile").ok().stdout()] {
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
    }
}

/// What follows a layer's media type, and what makes the form.
type Form = (&'static str, fn(&[u8]) -> Vec<u8>);

/// An image in this form, with a signature, and a signature of that.
fn signed(form: Form) -> (Vec<Vec<u8>>, String, [Artifact; 2], String) {
    let base = layer("base", "first");
    let packed = form.1(&base);
    let image = manifest(&[&base], &[(form.0, &packed)]).to_string();
    let config = config(&[&base]).to_string();
    let sbom = referrer(&descriptor(MANIFEST, image.as_bytes()), "application/vnd.example.sbom");
    let signature = referrer(&sbom.descriptor(), "application/vnd.example.signature");
    (vec![config.into_bytes(), packed, image.clone().into_bytes()], image, [sbom, signature], id(&[&base]))
}

/// The digests of what the archive's index lists.
fn listed(found: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let index: Value = serde_json::from_slice(entry(found, "index.json").unwrap()).unwrap();
    index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn referrers_in_an_archive_keep_their_image() {
    let forms: [Form; 3] = [("+gzip", gzip), ("+zstd", zstd), ("", <[u8]>::to_vec)];
    for form in forms {
        let (blobs, image, referrers, id) = signed(form);
        let all: Vec<_> =
            blobs.iter().map(Vec::as_slice).chain(referrers.iter().flat_map(Artifact::all)).collect();
        let all: BTreeSet<_> = all.into_iter().collect();
        let mut roots = vec![descriptor(MANIFEST, image.as_bytes())];
        roots.extend(referrers.iter().map(Artifact::descriptor));
        let archive = oci(&all.into_iter().collect::<Vec<_>>(), &roots).end();
        let session = Session::new();
        session.feed("import k", &archive).ok().says("1 new layer, 0 stored already").says("2 artifacts");
        assert_eq!(session.ids("k"), [id.as_str()]);
        let exported = session.run("export k --compress none").ok().bytes().to_vec();
        let found = entries(&exported);
        let wanted = [Digest::of(image.as_bytes()).to_string(), referrers[0].digest(), referrers[1].digest()];
        assert_eq!(listed(&found), BTreeSet::from(wanted));
        assert!(entry(&found, "manifest.json").is_some());
        let other = Session::new();
        other.feed("import again", &exported).ok();
        assert_eq!(
            other.run("info again --manifest").ok().stdout(),
            session.run("info k --manifest").ok().stdout()
        );
        assert_eq!(other.blobs(), session.blobs());
        other.run("verify").ok();
    }
}

#[test]
fn referrers_under_other_keys_come_along() {
    let (blobs, image, referrers, id) = signed(("+gzip", gzip));
    let session = Session::new();
    let bytes: Vec<_> = blobs.iter().map(Vec::as_slice).collect();
    session.feed("import k", &oci(&bytes, &[descriptor(MANIFEST, image.as_bytes())]).end()).ok();
    let alone = entries(session.run("export k --compress none").ok().bytes());
    assert_eq!(listed(&alone).len(), 1);
    for (number, referrer) in referrers.iter().enumerate() {
        session.feed(&format!("import r{number}"), &referrer.archive()).ok();
    }
    session.feed("import other", &chart().archive()).ok();
    let exported = session.run("export k --compress none").ok().bytes().to_vec();
    let digest = Digest::of(image.as_bytes()).to_string();
    let wanted = BTreeSet::from([digest.clone(), referrers[0].digest(), referrers[1].digest()]);
    assert_eq!(listed(&entries(&exported)), wanted);
    let other = Session::new();
    other.feed("import again", &exported).ok();
    assert_eq!(other.ids("again"), [id.as_str()]);
    let images = other.run("info again --json").ok().json();
    assert_eq!(images["images"][0]["manifest"], digest);
    let subjects: BTreeSet<_> =
        images["artifacts"].as_array().unwrap().iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, BTreeSet::from([digest.as_str(), &referrers[0].digest()]));
    // One platform alone is an image for an engine.
    let one = entries(session.run("export k --compress none --platform linux/amd64").ok().bytes());
    assert_eq!(listed(&one).len(), 1);
    // A referrer that is not all there is named.
    let missing = Digest::of(&referrers[0].blobs[1]);
    std::fs::remove_file(session.path("../store/images/blobs/sha256").join(missing.hex())).unwrap();
    let partial = session.run("export k --compress none").ok();
    assert_eq!(listed(&entries(partial.bytes())), BTreeSet::from([digest, referrers[1].digest()]));
    partial.says(&format!(
        "warning: `{}`, which refers to the image, is not complete in the store",
        referrers[0].digest()
    ));
}

/// Tools that know only OCI's types do not find Docker's in a layout, and need not: an archive has
/// OCI's.
#[test]
fn an_image_with_dockers_types_is_exported_with_ocis() {
    let base = layer("base", "first");
    let (packed, config) = (gzip(&base), config(&[&base]).to_string());
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let image = json!({ "schemaVersion": 2, "mediaType": docker,
        "config": descriptor("application/vnd.docker.container.image.v1+json", config.as_bytes()),
        "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", &packed)] })
    .to_string();
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let mut child = descriptor(docker, image.as_bytes());
    child["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let index = json!({ "schemaVersion": 2, "mediaType": list, "manifests": [child] }).to_string();
    let session = Session::new();
    let archive =
        |root: Value| oci(&[config.as_bytes(), &packed, image.as_bytes(), index.as_bytes()], &[root]).end();
    session.feed("import one --name app:1", &archive(descriptor(docker, image.as_bytes()))).ok();
    session.feed("import list --name app:1", &archive(descriptor(list, index.as_bytes()))).ok();
    for key in ["one", "list"] {
        assert!(session.run(&format!("info {key} --manifest")).ok().stdout().contains("vnd.docker"));
        session.run(&format!("export {key} {key}.tar --compress none --platform linux/amd64")).ok();
        let found = entries(&std::fs::read(session.path(&format!("{key}.tar"))).unwrap());
        let index: Value = serde_json::from_slice(entry(&found, "index.json").unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["mediaType"], MANIFEST);
        if !have(&[Part::Skopeo]) {
            return;
        }
        for transport in ["oci-archive", "docker-archive"] {
            let from = format!(
                "{transport}:{}:{}",
                session.path(&format!("{key}.tar")),
                if transport == "oci-archive" { "1" } else { "app:1" }
            );
            Ran::of(session.program("skopeo").args(["inspect", &from])).ok();
        }
    }
}

/// What skopeo makes of an archive: the same manifest.
#[test]
fn skopeo_reads_what_is_exported() {
    if !have(&[Part::Skopeo]) {
        return;
    }
    let session = Session::new();
    let (chart, (blobs, image, referrers, _)) = (chart(), signed(("+gzip", gzip)));
    session.feed("import chart", &chart.archive()).ok();
    let bytes: Vec<_> = blobs.iter().map(Vec::as_slice).collect();
    session
        .feed("import image --name app:1", &oci(&bytes, &[descriptor(MANIFEST, image.as_bytes())]).end())
        .ok();
    session.feed("import sbom", &referrers[0].archive()).ok();
    for (key, reference, wanted) in [("chart", "", &chart.manifest), ("image", ":1", &image)] {
        session.run(&format!("export {key} {key}.tar --compress none")).ok();
        let from = format!("oci-archive:{}{reference}", session.path(&format!("{key}.tar")));
        let raw = Ran::of(session.program("skopeo").args(["inspect", "--raw", &from]));
        assert_eq!(raw.stdout(), **wanted, "{raw}");
    }
}

/// The descriptor with annotations.
fn noted(mut descriptor: Value, annotations: &[(&str, &str)]) -> Value {
    descriptor["annotations"] = annotations.iter().map(|(name, value)| (*name, *value)).collect();
    descriptor
}

const NAME: &str = "io.containerd.image.name";
const REF: &str = "org.opencontainers.image.ref.name";

/// Imports an image that is called `app:1`, with a signature beside it and one of that. Returns the
/// image's manifest.
fn with_referrers(session: &Session) -> (String, [Artifact; 2]) {
    let (blobs, image, referrers, _) = signed(("+gzip", gzip));
    let all = blobs.iter().map(Vec::as_slice).chain(referrers.iter().flat_map(Artifact::all));
    let all: BTreeSet<_> = all.collect();
    let named = noted(descriptor(MANIFEST, image.as_bytes()), &[(NAME, "docker.io/library/app:1")]);
    let roots = [named, referrers[0].descriptor(), referrers[1].descriptor()];
    session.feed("import k", &oci(&all.into_iter().collect::<Vec<_>>(), &roots).end()).ok();
    (image, referrers)
}

#[test]
fn an_image_beside_its_referrers_has_the_names_of_its_key() {
    let session = Session::new();
    let (image, _) = with_referrers(&session);
    let names = || session.run("info k --json").ok().json()["images"][0]["names"].clone();
    assert_eq!(names(), json!(["app:1"]));
    session.run("tag k team/app:2 app:3").ok();
    assert_eq!(names(), json!(["team/app:2", "app:3"]));
    let found = entries(session.run("export k --compress none").ok().bytes());
    let saved: Value = serde_json::from_slice(entry(&found, "manifest.json").unwrap()).unwrap();
    assert_eq!(saved[0]["RepoTags"], json!(["docker.io/team/app:2", "docker.io/library/app:3"]));
    let index: Value = serde_json::from_slice(entry(&found, "index.json").unwrap()).unwrap();
    let restored: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["annotations"][NAME]).collect();
    assert_eq!(
        restored,
        ["docker.io/team/app:2", "docker.io/library/app:3"]
            .map(Value::from)
            .iter()
            .chain([&Value::Null; 2])
            .collect::<Vec<_>>()
    );
    let registry = session.serve("");
    for path in ["team/app/manifests/2", "app/manifests/3", "larder/keys/manifests/k"] {
        registry.get(&format!("/v2/{path}")).is(200).brings(image.as_bytes());
    }
    registry.get("/v2/app/manifests/1").is(404);
}

#[test]
fn an_image_beside_its_referrers_is_pushed_under_its_tag() {
    let (session, there) = (Session::new(), Session::new());
    let (image, referrers) = with_referrers(&session);
    let registry = there.serve("");
    let pushed = session.run(&format!("push k {}/app:1 --json", registry.address)).ok().json();
    assert_eq!(pushed["digest"], Digest::of(image.as_bytes()).to_string());
    registry.get("/v2/app/manifests/1").is(200).brings(image.as_bytes());
    for (subject, referrer) in
        [(image.as_bytes(), &referrers[0]), (referrers[0].manifest.as_bytes(), &referrers[1])]
    {
        let list = registry.get(&format!("/v2/app/referrers/{}", Digest::of(subject))).is(200).json();
        assert_eq!(list["manifests"][0]["digest"], referrer.digest());
    }
}

#[test]
fn one_of_two_platforms_is_chosen_beside_a_signature_too() {
    let session = Session::new();
    let host = storekit::Platform::host();
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let mut listed = Vec::new();
    for (text, own) in [("here", true), ("there", false)] {
        let base = layer("base", text);
        let mut config = config(&[&base]);
        config["architecture"] = if own { host.architecture() } else { "s390x" }.into();
        let (config, packed) = (config.to_string(), gzip(&base));
        let mut image = manifest(&[&base], &[("+gzip", &packed)]);
        image["config"] = descriptor(IMAGE_CONFIG, config.as_bytes());
        let image = image.to_string();
        listed.push(descriptor(MANIFEST, image.as_bytes()));
        blobs.extend([config.into_bytes(), packed, image.into_bytes()]);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let root = descriptor(INDEX, index.as_bytes());
    let signature = referrer(&root, "application/vnd.example.signature");
    let all: Vec<_> =
        blobs.iter().map(Vec::as_slice).chain(signature.all()).chain([index.as_bytes()]).collect();
    session.feed("import k", &oci(&all, &[root, signature.descriptor()]).end()).ok();
    session.run("extract k /base -C out").ok();
    assert_eq!(std::fs::read_to_string(session.path("out/base")).unwrap(), "here");
    session.run("tag k app:1").ok();
}

#[test]
fn what_a_cosign_tag_in_the_archive_names_keeps_its_bytes() {
    let (blobs, image, _, _) = signed(("", <[u8]>::to_vec));
    let digest = Digest::of(image.as_bytes());
    let signature = Artifact::new(
        (IMAGE_CONFIG, b"{}"),
        &[("application/vnd.dev.cosign.simplesigning.v1+json", br#"{"critical":{}}"#)],
        &json!({}),
    );
    let tag = format!("sha256-{}.sig", digest.hex());
    let roots = [
        noted(descriptor(MANIFEST, image.as_bytes()), &[(REF, "1")]),
        noted(signature.descriptor(), &[(REF, &tag)]),
    ];
    let all: Vec<_> = blobs.iter().map(Vec::as_slice).chain(signature.all()).collect();
    let session = Session::new();
    session.feed("import k", &oci(&all, &roots).end()).ok();
    let found = entries(session.run("export k --compress none").ok().bytes());
    assert_eq!(listed(&found), BTreeSet::from([digest.to_string(), signature.digest()]));
}

#[test]
fn an_index_that_only_refers_survives() {
    let (blobs, image, _, _) = signed(("+gzip", gzip));
    let root = descriptor(MANIFEST, image.as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "artifactType": "a/b", "manifests": [],
        "subject": root })
    .to_string();
    let all: Vec<_> = blobs.iter().map(Vec::as_slice).chain([index.as_bytes()]).collect();
    let session = Session::new();
    session.feed("import k", &oci(&all, &[root, descriptor(INDEX, index.as_bytes())]).end()).ok();
    let found = entries(session.run("export k --compress none").ok().bytes());
    let wanted = [image.as_bytes(), index.as_bytes()].map(|bytes| Digest::of(bytes).to_string());
    assert_eq!(listed(&found), BTreeSet::from(wanted));
}

/// An image under `k`, its SBOM under `r0`, the signature of that under `r1`.
fn apart(session: &Session) -> String {
    let (blobs, image, referrers, _) = signed(("+gzip", gzip));
    let bytes: Vec<_> = blobs.iter().map(Vec::as_slice).collect();
    session.feed("import k", &oci(&bytes, &[descriptor(MANIFEST, image.as_bytes())]).end()).ok();
    for (number, referrer) in referrers.iter().enumerate() {
        session.feed(&format!("import r{number}"), &referrer.archive()).ok();
    }
    Digest::of(image.as_bytes()).to_string()
}

#[test]
fn what_refers_to_a_removed_image_goes_with_it() {
    let session = Session::new();
    let keys =
        || session.store().images().keys().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    let digest = apart(&session);
    session.run("rm r1").ok();
    assert_eq!(keys(), ["k", "r0"]);
    apart(&session);
    session.run("rm k").ok().says("`r0` referred to what was removed, and went with it").says("`r1`");
    assert!(keys().is_empty());
    // Not as long as another key holds the image, nor if it is pinned.
    apart(&session);
    let exported = session.run("export k --compress none").ok().bytes().to_vec();
    session.feed("import other", &exported).ok();
    session.run("rm k").ok();
    assert_eq!(keys(), ["other", "r0", "r1"]);
    session.store().images().pin(&"r0".parse().unwrap()).unwrap();
    session.run("rm other").ok();
    assert_eq!(keys(), ["r0", "r1"]);
    session.run("rm r0").ends(1).says("`r0` is pinned, and stays: `gcctl unpin r0` lets it go");
    assert_eq!(keys(), ["r0", "r1"]);
    session.store().images().unpin(&"r0".parse().unwrap()).unwrap();
    apart(&session);
    let registry = session.serve("");
    registry.delete(&format!("/v2/app/manifests/{digest}")).is(202);
    assert!(keys().is_empty());
}

#[test]
fn an_artifact_that_borrows_an_images_config_is_pulled_as_it_was_pushed() {
    let (session, there) = (Session::new(), Session::new());
    let plain = layer("x", "y");
    let kind = "application/vnd.oci.image.layer.v1.tar";
    let artifact = Artifact::new((IMAGE_CONFIG, b"{}"), &[(kind, &plain)], &json!({}));
    session.feed("import k", &artifact.archive()).ok();
    let registry = there.serve("");
    session.run(&format!("push k {}/app:1", registry.address)).ok();
    session.run(&format!("pull {}/app:1 --key back", registry.address)).ok();
    assert_eq!(session.run("info back --json").ok().json()["digest"], artifact.digest());
}

#[test]
fn a_chart_beside_its_signature_is_one_artifact() {
    let (session, there) = (Session::new(), Session::new());
    let chart = chart();
    let signature = referrer(&chart.descriptor(), "application/vnd.example.signature");
    let all: BTreeSet<_> = chart.all().into_iter().chain(signature.all()).collect();
    let roots = [signature.descriptor(), noted(chart.descriptor(), &[(NAME, "docker.io/team/chart:1")])];
    session.feed("import k", &oci(&all.into_iter().collect::<Vec<_>>(), &roots).end()).ok();
    session.run("tag k team/chart:2").ok();
    let index = entries(session.run("export k --compress none").ok().bytes());
    let index: Value = serde_json::from_slice(entry(&index, "index.json").unwrap()).unwrap();
    let names = index["manifests"].as_array().unwrap().iter().map(|one| one["annotations"][NAME].as_str());
    assert_eq!(names.collect::<Vec<_>>(), [None, Some("docker.io/team/chart:2")]);
    let registry = session.serve("");
    registry.get("/v2/team/chart/manifests/2").is(200).brings(chart.manifest.as_bytes());
    let registry = there.serve("");
    session.run(&format!("push k {}/chart:1", registry.address)).ok();
    registry.get("/v2/chart/manifests/1").is(200).brings(chart.manifest.as_bytes());
    // Two that stand for themselves keep their names.
    let other = Artifact::new((EMPTY, b"{}"), &[("application/x.y", b"z")], &json!({}));
    let all: BTreeSet<_> = chart.all().into_iter().chain(other.all()).collect();
    let two = oci(&all.into_iter().collect::<Vec<_>>(), &[other.descriptor(), chart.descriptor()]).end();
    session.feed("import two", &two).ok();
    session.run("tag two a:1").ends(2);
}

#[test]
fn what_has_a_subject_that_is_not_a_descriptor_is_refused_as_by_a_registry() {
    for subject in [json!({}), json!(7), json!({ "digest": Digest::of(b"x").to_string() })] {
        let session = Session::new();
        session.feed("import k", &referrer(&subject, "a/b").archive()).ends(2).says("cannot be understood");
        session.run("has k").ends(1);
    }
    let session = Session::new();
    session.feed("import k", &referrer(&json!(null), "a/b").archive()).ok();
}

#[test]
fn several_artifacts_are_not_said_to_be_images() {
    let session = Session::new();
    let (one, two) = (chart(), referrer(&json!(null), "a/b"));
    let blobs: BTreeSet<_> = one.all().into_iter().chain(two.all()).collect();
    let blobs: Vec<_> = blobs.into_iter().collect();
    let archive = oci(&blobs, &[one.descriptor(), two.descriptor()]).end();
    session.feed("import k", &archive).ok();
    session.run("tag k app:1").ends(2).says("`k` holds 2 artifacts, which keep their own names");
}
