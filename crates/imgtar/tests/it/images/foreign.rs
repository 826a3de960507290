//! Layers that are to be had elsewhere (`urls`), as those of Windows, and layers that are not for
//! everybody to hand on.

use serde_json::{Value, json};
use storekit::Digest;

use crate::kit::remotes::{Fake, Real, Reply};
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, gzip, layer, manifest, oci};

const MARKED: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const DOCKERS: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const URL: &str = "https://elsewhere.example/layer";

/// An image whose base has this media type, and is to be had elsewhere unless `own`. Returns the
/// base's digest.
fn saved(session: &Session, media_type: &str, own: bool) -> String {
    let (base, top) = (layer("base", "not for everybody"), layer("top", "for everybody"));
    let (packed, top_packed) = (gzip(&base), gzip(&top));
    let config = config(&[&base, &top]).to_string();
    let mut document = manifest(&[&base, &top], &[("+gzip", &packed), ("+gzip", &top_packed)]);
    let mut listed_type = "application/vnd.oci.image.manifest.v1+json";
    if media_type == DOCKERS {
        listed_type = DOCKER_MANIFEST;
        document["mediaType"] = json!(DOCKER_MANIFEST);
        document["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
        document["layers"][1]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    }
    document["layers"][0]["mediaType"] = json!(media_type);
    if !own {
        document["layers"][0]["urls"] = json!([URL]);
    }
    let text = document.to_string();
    let listed = descriptor(listed_type, text.as_bytes());
    let archive = oci(&[config.as_bytes(), text.as_bytes(), &packed, &top_packed], &[listed]).end();
    session.feed("import k", &archive).ok();
    assert_eq!(session.run("info k --manifest").ok().stdout(), text);
    Digest::of(&packed).to_string()
}

/// One that takes no manifest with `urls`, as docker-registry does by default.
fn strict() -> Fake {
    Fake::start(|asked| {
        let has_urls =
            asked.is("PUT", "/manifests/") && String::from_utf8_lossy(&asked.body).contains("\"urls\"");
        let said = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"invalid URL on layer"}]}"#;
        has_urls.then(|| Reply::new(400).body(said))
    })
}

/// The manifest that a registry has under a tag, as a store has it after a pull.
fn there(host: &str, tag: &str) -> Value {
    let session = Session::new();
    session.run(&format!("pull {host}/app:{tag} --key k")).ok();
    serde_json::from_str(&session.run("info k --manifest").ok().stdout()).unwrap()
}

#[test]
fn they_stay_where_they_are_unless_they_are_asked_for() {
    for media_type in [MARKED, DOCKERS] {
        let session = Session::new();
        let foreign = saved(&session, media_type, false);
        let fake = Fake::start(|_| None);
        let digest = session.run("info k --json").ok().json()["digest"].clone();
        let pushed = session.run(&format!("push k {}/app:1 --json", fake.host)).ok().json();
        assert_eq!(pushed["digest"], digest);
        assert!(!fake.holds(&foreign));
        // The tag stands already, and the layer is asked for now.
        let pushed = session.run(&format!("push k {}/app:1 --foreign --json", fake.host)).ok().json();
        assert!(fake.holds(&foreign));
        assert_eq!((&pushed["digest"], &pushed["foreign_made_own"]), (&digest, &Value::Null));
    }
}

#[test]
fn a_registry_that_refuses_urls_says_so_and_takes_them_as_its_own() {
    for media_type in [MARKED, DOCKERS] {
        let session = Session::new();
        let foreign = saved(&session, media_type, false);
        let fake = strict();
        session
            .run(&format!("push k {}/app:1", fake.host))
            .ends(2)
            .says(&format!("its layer `{foreign}` is not sent: it is kept elsewhere (`{URL}`)"))
            .says("invalid URL on layer")
            .says("`--foreign` sends such layers");
        session.run(&format!("push k {}/app:1 --foreign", fake.host)).ok().says("the digest is different");
        assert!(fake.holds(&foreign));
        let document = there(&fake.host, "1");
        let base = &document["layers"][0];
        assert_eq!((base["digest"].as_str(), base.get("urls")), (Some(foreign.as_str()), None));
        // OCI's mark may stand alone, Docker's may not.
        let expected =
            if media_type == MARKED { MARKED } else { "application/vnd.docker.image.rootfs.diff.tar.gzip" };
        assert_eq!(base["mediaType"], expected);
    }
}

#[test]
fn real_registries_take_them_on_demand() {
    for media_type in [MARKED, DOCKERS] {
        let (session, own) = (Session::new(), Session::new());
        let Some(registry) = Real::start(&session) else { return };
        saved(&session, media_type, false);
        let image = format!("push k {}/app:1", registry.host);
        session.run(&image).ends(2).says("`--foreign` sends such layers");
        session.run(&format!("{image} --foreign")).ok();
        let other = Session::new();
        other.run(&format!("pull {}/app:1 --key k", registry.host)).ok();
        assert_eq!(other.ids("k"), session.ids("k"));
        other.run("verify").ok();
        let served = own.serve("");
        for flag in ["", "--foreign"] {
            session.run(&format!("push k {}/app:1 {flag}", served.address)).ok();
        }
        own.run("verify").ok();
    }
}

#[test]
fn a_layer_that_is_not_stored_cannot_be_sent() {
    let session = Session::new();
    let foreign = saved(&session, MARKED, false);
    let (first, second) = (Fake::start(|_| None), Fake::start(|_| None));
    session.run(&format!("push k {}/app:1", first.host)).ok();
    let without = Session::new();
    without.run(&format!("pull {}/app:1 --key k", first.host)).ok();
    without
        .run(&format!("push k {}/app:1 --foreign", second.host))
        .ends(2)
        .says(&format!("the layer `{foreign}` is not stored"))
        .says("push without `--foreign`");
    without.run(&format!("push k {}/app:1", second.host)).ok();
    // Where the registry has it, nothing is missing.
    session.run(&format!("push k {}/app:1 --foreign", first.host)).ok();
    without.run(&format!("push k {}/app:2 --foreign", first.host)).ok();
}

#[test]
fn a_layer_in_another_form_keeps_its_mark() {
    for (media_type, own) in [(MARKED, true), (MARKED, false), (DOCKERS, false)] {
        let session = Session::new();
        let foreign = saved(&session, media_type, own);
        let fake = Fake::start(|_| None);
        session.run(&format!("push k {}/app:1 --compress zstd --foreign", fake.host)).ok();
        let document = there(&fake.host, "1");
        let marked = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
        assert_eq!(document["layers"][0]["mediaType"], marked);
        assert_eq!(document["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        // What is to be had elsewhere is another blob.
        assert!(document["layers"][0].get("urls").is_none() && !fake.holds(&foreign));
        // A layer that is not sent stays as it is, and where it is.
        session.run(&format!("push k {}/app:2 --compress zstd", fake.host)).ok();
        if !own {
            let layer = &there(&fake.host, "2")["layers"][0];
            assert_eq!((layer["digest"].as_str(), &layer["urls"]), (Some(foreign.as_str()), &json!([URL])));
            assert_eq!(layer["mediaType"], MARKED);
        }
    }
}
