//! Documents of one version (`/NAME/VERSION`, `/NAME/TAG`): corepack and others install by them.

use larder_tests::http::{Fault, Site};
use serde_json::{Value, json};
use storekit::Digest;

use crate::support::{Cached, Proxy};

/// What a registry has of one version: the tarball stands before the number of the version.
fn version(site: &Site, name: &str, tarball: &str) -> Value {
    let bytes = "the tarball";
    json!({
        "name": name,
        "dist": {
            "tarball": format!("{}{tarball}", site.url()), "shasum": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "signatures": [{ "keyid": "k", "sig": "s" }], "size": bytes.len(),
            "attestations": { "url": format!("{}/npm/-/npm/v1/attestations/{name}@1.2.0", site.url()) },
        },
        "version": "1.2.0", "_npmUser": { "name": "me" }, "unknown": [1, { "tarball": "kept" }],
    })
}

/// A registry below a path, mounted; both packages' documents are there in each spelling.
fn scene() -> (Site, Proxy) {
    let site = Site::new();
    let fields = "content-type: application/json";
    let own = version(&site, "own", "/npm/own/-/own-1.2.0.tgz").to_string();
    let scoped = version(&site, "@s/own", "/elsewhere/own.tgz").to_string();
    for path in ["/npm/own/1.2.0", "/npm/own/latest"] {
        site.put_with(path, fields, own.clone());
    }
    for path in ["/npm/@s%2Fown/1.2.0", "/npm/@s%2Fown/latest", "/npm/@s/own/latest"] {
        site.put_with(path, fields, scoped.clone());
    }
    let settings =
        format!("[pkgcache.upstream]\nnpm = {{ url = \"{}/npm/\", kind = \"npm\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    (site, proxy)
}

#[test]
fn the_document_of_a_version_leads_to_the_mount() {
    let (site, proxy) = scene();
    let here = |tarball: &str| format!("http://x/npm/{tarball}");
    for (paths, name, old, new) in [
        (vec!["/npm/own/1.2.0"], "own", "/npm/own/-/own-1.2.0.tgz", "own/-/own-1.2.0.tgz"),
        (vec!["/npm/own/latest"], "own", "/npm/own/-/own-1.2.0.tgz", "own/-/own-1.2.0.tgz"),
        (
            vec!["/npm/@s/own/1.2.0", "/npm/@s%2fown/1.2.0", "/npm/%40s%2Fown/1.2.0"],
            "@s/own",
            "/elsewhere/own.tgz",
            "@s/own/-/own-1.2.0.tgz",
        ),
        (
            vec!["/npm/@s/own/latest", "/npm/@s%2fown/latest"],
            "@s/own",
            "/elsewhere/own.tgz",
            "@s/own/-/own-1.2.0.tgz",
        ),
    ] {
        site.forget();
        let mut expected = version(&site, name, old);
        expected["dist"]["tarball"] = here(new).into();
        expected["dist"]["attestations"]["url"] = here(&format!("-/npm/v1/attestations/{name}@1.2.0")).into();
        for path in paths {
            let answer = proxy.get(path);
            assert_eq!(
                (answer.status, answer.header("content-type")),
                (200, Some("application/json")),
                "{answer:?}"
            );
            // Nothing else changes, not even the order.
            assert_eq!(answer.text(), expected.to_string(), "{path}");
            let head = proxy.ask("HEAD", path, "");
            assert_eq!(head.header("content-length"), answer.header("content-length"), "{path}");
        }
        assert_eq!(site.requests(), 1, "all spellings are one document: {:?}", site.log());
    }
    let why = proxy.command(&["why", "/npm/own/latest"]).ok().stdout();
    assert!(why.contains("class     index (npm) own latest\n") && why.contains("for 60 s"), "{why}");
}

/// As corepack does it: the document, then the tarball that it names.
#[test]
fn a_tarball_is_installed_by_the_document_of_its_version() {
    let (site, proxy) = scene();
    let integrity = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(Digest::of(b"the tarball").bytes())
    };
    let mut document = version(&site, "own", "/npm/own/-/own-1.2.0.tgz");
    document["dist"]["integrity"] = format!("sha256-{integrity}").into();
    let packument = json!({ "name": "own", "versions": { "1.2.0": document } });
    site.put_with("/npm/own", "content-type: application/json", packument.to_string());
    site.put("/npm/own/-/own-1.2.0.tgz", "the tarball");
    let latest = proxy.get("/npm/own/latest").json();
    let tarball = latest["dist"]["tarball"].as_str().unwrap().trim_start_matches("http://x").to_owned();
    let file = proxy.get(&tarball);
    file.is(200, "stored", "the tarball");
    proxy.settled(&tarball);
    assert!(proxy.get(&tarball).cache().contains("verified=indexed"));
    // All of it stands in for a registry that is gone.
    let proxy = proxy.after_its_end(&["--offline"]);
    assert_eq!(proxy.get("/npm/own/latest").json(), latest);
    proxy.get(&tarball).is(200, "hit", "the tarball");
}

#[test]
fn what_is_not_the_document_of_that_version_is_refused_and_not_kept() {
    for (document, reason) in [
        ("<!DOCTYPE html>\n".to_owned(), "cannot be used: "),
        ("{}".to_owned(), "it does not say its package's name"),
        ("[]".to_owned(), "it is not a JSON object"),
        ("{\"name\":\"other\",\"version\":\"1.2.0\"}".to_owned(), "it is not that of `own`"),
        ("{\"name\":\"own\"}".to_owned(), "it does not say its version"),
        ("{\"name\":\"own\",\"version\":\"1.2.0\"}".to_owned(), "it does not say where its tarball is"),
        (
            "{\"name\":\"own\",\"version\":\"1.3.0\",\"dist\":{\"tarball\":\"http://a/b\"}}".to_owned(),
            "it is not that of `own` 1.2.0",
        ),
        (
            "{\"name\":\"own\",\"version\":\"1.2.0\",\"dist\":{\"tarball\":\"file:///etc/x\"}}".to_owned(),
            "`dist.tarball` is not an http or https URL",
        ),
        ("{\"name\":\"own\",\"version\":\"1.2.0\",\"dist\":{\"tarb".to_owned(), "cannot be used: "),
    ] {
        let (site, proxy) = scene();
        site.put_with("/npm/own/1.2.0", "content-type: application/json", document);
        for target in ["/npm/own/1.2.0".to_owned(), format!("{}/npm/own/1.2.0", site.url())] {
            let answer = proxy.get(&target);
            assert!(answer.status == 502 && answer.text().contains(reason), "{target}: {answer:?}");
        }
        assert_eq!(proxy.listed(), 0, "{reason}");
    }
}

#[test]
fn what_was_good_stands_in_for_the_document_of_a_version() {
    let (site, proxy) = scene();
    // A document that breaks off is asked for as a whole, then.
    site.without_validators();
    let proxy = {
        let settings = std::fs::read_to_string(proxy.path("larder.toml")).unwrap();
        Proxy::set(&format!("[pkgcache]\nttl = {{ index = \"0s\" }}\n{settings}"), &[])
    };
    let good = proxy.get("/npm/own/latest");
    assert_eq!(good.status, 200, "{good:?}");
    for fault in [Fault::Status(404), Fault::Status(503), Fault::CutAfter(20), Fault::Hangup] {
        site.fail("/npm/own/latest", fault.clone());
        proxy.get("/npm/own/latest").is(200, "upstream-failed", good.text());
        site.heal();
    }
    site.fail("/npm/own/1.2.0", Fault::Status(404));
    assert_eq!(proxy.get("/npm/own/1.2.0").status, 404, "it was never there");
}

/// In the forward mode nothing is written anew.
#[test]
fn the_document_of_a_version_comes_as_it_is_through_the_forward_door() {
    let (site, proxy) = scene();
    let document = version(&site, "own", "/npm/own/-/own-1.2.0.tgz").to_string();
    let url = format!("{}/npm/own/1.2.0", site.url());
    proxy.get(&url).is(200, "", &document);
    proxy.settled(&url);
    proxy.get(&url).is(200, "hit", &document);
    assert_eq!(site.requests(), 1);
}
