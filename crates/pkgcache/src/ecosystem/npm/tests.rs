//! Packuments in the shape of real ones.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use storekit::Checksum;

use super::*;
use crate::ecosystem::table::{Said, Table, Voucher};

const SHA512: &str =
    "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";
const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn base() -> Base {
    Base {
        keeps_links: false,
        here: "http://cache.example:3144".to_owned(),
        mount: "/npm".to_owned(),
        upstream: "https://registry.example/".parse().unwrap(),
    }
}

/// Two versions of a scoped package, the second one with a path of its own and scripts.
fn scoped() -> Json {
    json!({
        "_id": "@acme/left", "_rev": "2-1", "name": "@acme/left",
        "dist-tags": {"latest": "1.1.0"},
        "versions": {
            "1.0.0": {
                "name": "@acme/left", "version": "1.0.0", "main": "index.js", "bin": {"left": "cli.js"},
                "dependencies": {"dist": "^1.0.0"}, "scripts": {"test": "exit 0"}, "_npmVersion": "11.0.0",
                "_npmUser": {"name": "a", "trustedPublisher": {"id": "ci"}},
                "dist": {
                    "tarball": "https://registry.example/@acme/left/-/left-1.0.0.tgz",
                    "integrity": format!("sha512-{SHA512}"), "shasum": SHA1, "unpackedSize": 12, "fileCount": 2,
                    "signatures": [{"keyid": "k", "sig": "s"}],
                    "attestations": {
                        "url": "https://registry.example/-/npm/v1/attestations/@acme%2fleft@1.0.0",
                        "provenance": {"predicateType": "https://slsa.example/provenance/v1"},
                    },
                },
            },
            "1.1.0": {
                "name": "@acme/left", "version": "1.1.0", "scripts": {"postinstall": "node-gyp rebuild"},
                "dist": {"tarball": "http://files.example:8080/d/left.tgz?x=1#y", "shasum": SHA1},
                "_hasShrinkwrap": false,
            },
        },
        "time": {"created": "2024-01-01", "modified": "2024-02-02", "1.0.0": "2024-01-01", "1.1.0": "2024-02-02"},
        "readme": "# left\n", "maintainers": [], "users": {"dropped": true},
    })
}

fn url() -> Uri {
    "https://registry.example/@acme%2Fleft".parse().unwrap()
}

fn table(document: &Json) -> Result<Table, BadIndex> {
    let mut builder = TableBuilder::default();
    vouch(&url(), &mut document.to_string().as_bytes(), &mut builder)?;
    Ok(builder.finish())
}

fn rendered(document: &Json, variant: Variant) -> Result<String, BadIndex> {
    let mut out = Vec::new();
    render(&url(), &mut document.to_string().as_bytes(), &base(), variant, &Cut::default(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn file(url: &str, checksum: Option<Checksum>) -> Said {
    Said::File(Voucher { url: Some(url.to_owned()), checksum, ..Voucher::default() })
}

#[test]
fn the_strongest_checksum_vouches_for_a_tarball() {
    let table = table(&scoped()).unwrap();
    let strong = Checksum::from_integrity(&format!("sha512-{SHA512}"));
    let own = "https://registry.example/@acme/left/-/left-1.0.0.tgz";
    assert_eq!(table.get("@acme/left/-/left-1.0.0.tgz"), Some(file(own, strong)));
    let weak = Checksum::from_hex("sha1", SHA1);
    let own = "http://files.example:8080/d/left.tgz?x=1";
    assert_eq!(table.get("@acme/left/-/left-1.1.0.tgz"), Some(file(own, weak)));
    assert_eq!(table.get("d/left.tgz"), Some(file(own, weak)));
    assert_eq!(table.len(), 3);
}

#[test]
fn a_tarball_is_vouched_for_under_the_name_that_is_asked_for() {
    let table = table(&scoped()).unwrap();
    for path in ["/@acme/left/-/left-1.0.0.tgz", "/@acme%2fleft/-/left-1.0.0.tgz"] {
        let asked = ask(path, None);
        assert_eq!(asked.index.as_deref(), Some("/@acme%2Fleft"));
        assert!(table.get(&asked.entry.unwrap()).is_some(), "{path}");
    }
}

#[test]
fn links_of_the_full_packument_stay_on_the_mount_and_nothing_else_changes() {
    let mut expected = scoped();
    let dist = |version: &str| format!("/versions/{version}/dist");
    *expected.pointer_mut(&format!("{}/tarball", dist("1.0.0"))).unwrap() =
        json!("http://cache.example:3144/npm/@acme/left/-/left-1.0.0.tgz");
    *expected.pointer_mut(&format!("{}/tarball", dist("1.1.0"))).unwrap() =
        json!("http://cache.example:3144/npm/@acme/left/-/left-1.1.0.tgz");
    *expected.pointer_mut(&format!("{}/attestations/url", dist("1.0.0"))).unwrap() =
        json!("http://cache.example:3144/npm/-/npm/v1/attestations/@acme%2fleft@1.0.0");
    assert_eq!(rendered(&scoped(), Variant::Full).unwrap(), expected.to_string());
}

#[test]
fn tarballs_stay_where_they_are_for_a_client_that_leads_them_here_itself() {
    let mut out = Vec::new();
    let base = Base { keeps_links: true, ..base() };
    render(&url(), &mut scoped().to_string().as_bytes(), &base, Variant::Full, &Cut::default(), &mut out)
        .unwrap();
    let out: Json = serde_json::from_slice(&out).unwrap();
    for version in ["1.0.0", "1.1.0"] {
        let tarball = |json: &Json| json["versions"][version]["dist"]["tarball"].clone();
        assert_eq!(tarball(&out), tarball(&scoped()));
    }
    let attestations = &out["versions"]["1.0.0"]["dist"]["attestations"]["url"];
    assert!(attestations.as_str().unwrap().starts_with("http://cache.example:3144/npm/-/"));
}

#[test]
fn an_abbreviated_packument_has_what_an_install_needs() {
    let document: Json = rendered(&scoped(), Variant::Abbreviated).unwrap().parse().unwrap();
    let keys = |json: &Json| json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&document), ["dist-tags", "modified", "name", "time", "versions"]);
    assert_eq!(document["modified"], "2024-02-02");
    assert_eq!(document["time"], scoped()["time"]);
    let first = &document["versions"]["1.0.0"];
    assert_eq!(keys(first), ["bin", "dependencies", "dist", "name", "version"]);
    assert_eq!(keys(&first["dist"]), keys(&scoped()["versions"]["1.0.0"]["dist"]));
    let second = &document["versions"]["1.1.0"];
    assert_eq!(keys(second), ["_hasShrinkwrap", "dist", "hasInstallScript", "name", "version"]);
    assert_eq!(second["hasInstallScript"], true);
}

#[test]
fn an_abbreviated_packument_stays_one() {
    let document = json!({
        "name": "@acme/left", "modified": "m", "time": {"modified": "t"},
        "versions": {"1.0.0": {"hasInstallScript": true, "scripts": {"install": "x"}, "dist": {
            "tarball": "http://cache.example:3144/npm/@acme/left/-/left-1.0.0.tgz"}}},
    });
    let mut expected = document.clone();
    expected["versions"]["1.0.0"].as_object_mut().unwrap().remove("scripts");
    let out: Json = rendered(&document, Variant::Abbreviated).unwrap().parse().unwrap();
    assert_eq!(out, expected);
}

#[test]
fn a_package_whose_versions_were_all_taken_back_has_a_packument() {
    let document = json!({"_id": "@acme/left", "name": "@acme/left", "time": {"unpublished": {"time": "t"}}});
    assert_eq!(rendered(&document, Variant::Full).unwrap(), document.to_string());
    assert_eq!(table(&document).unwrap().len(), 0);
}

#[test]
fn two_checksums_of_one_tarball_are_a_contradiction() {
    let version = |hex: &str| json!({"dist": {"tarball": "https://registry.example/a.tgz", "shasum": hex}});
    let (one, other) = (version(SHA1), version(&"0".repeat(40)));
    let document = json!({"name": "@acme/left", "versions": {"1.0.0": one, "2.0.0": other}});
    assert_eq!(table(&document).unwrap().get("a.tgz"), Some(Said::Contradiction));
}

#[test]
fn what_is_not_a_packument_is_refused_with_a_reason() {
    let with = |pointer: &str, value: Json| {
        let mut document = scoped();
        *document.pointer_mut(pointer).unwrap() = value;
        document
    };
    let tarball = "/versions/1.0.0/dist/tarball";
    let cases = [
        (json!([]), "not a JSON object"),
        (json!({"error": "not found"}), "does not say its package's name"),
        (with("/name", json!("other")), "not that of `@acme/left`"),
        (with("/name", json!(1)), "not that of `@acme/left`"),
        (with("/versions", json!([])), "`versions` is not an object"),
        (with("/versions/1.0.0", json!("x")), "`versions.1.0.0` is not an object"),
        (with("/versions/1.0.0/dist", json!([1])), "`versions.1.0.0.dist` is not an object"),
        (with(tarball, json!({})), "tarball` is not a text"),
        (with(tarball, json!("file:///etc/passwd")), "not an http or https URL"),
        (with(tarball, json!("https://me:secret@a.example/x")), "not an http or https URL"),
        (with(tarball, json!("https://a.example/x\r\ny")), "not an http or https URL"),
        (with("/versions/1.0.0/dist/attestations/url", json!("javascript:1")), "not an http or https URL"),
    ];
    for (document, reason) in cases {
        for variant in [Variant::Full, Variant::Abbreviated] {
            let error = rendered(&document, variant).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        if !reason.contains("http") || document.pointer(tarball) != scoped().pointer(tarball) {
            assert!(table(&document).unwrap_err().to_string().contains(reason));
        }
    }
    let elsewhere: Uri = "https://registry.example/..".parse().unwrap();
    assert!(vouch(&elsewhere, &mut &b"{}"[..], &mut TableBuilder::default()).is_err());
}

#[test]
fn a_query_asks_for_something_else() {
    for path in ["/left", "/left/-/left-1.0.0.tgz"] {
        assert_eq!(ask(path, Some("write=true")), Asked::default());
        assert_eq!(ask(path, Some("")), ask(path, None));
    }
    assert_eq!(ask("/-/v1/search", Some("text=x")).class, Class::Api);
}

#[test]
fn the_variant_is_the_one_that_is_named() {
    let abbreviated = [
        "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
        "application/vnd.npm.install-v1+json",
    ];
    for accept in abbreviated {
        assert_eq!(wanted(accept), Variant::Abbreviated, "{accept}");
    }
    let full = [
        "",
        "*/*",
        "application/json",
        "application/*",
        "application/json, application/vnd.npm.install-v1+json;q=0.5",
        "application/vnd.npm.install-v1+json;q=0, */*",
    ];
    for accept in full {
        assert_eq!(wanted(accept), Variant::Full, "{accept}");
    }
}

#[test]
fn what_npm_leaves_where_it_is_stays_where_it_is() {
    let text = concat!(
        "{ \"name\" : \"@acme/left\",\n \"versions\":{\"1.0.0-\\u00e9\" :{\"dist\": {\"tarball\" : ",
        "\"https:\\/\\/registry.example\\/x\" , \"size\": 1.50e1 }}} , \"é\":\"\\ud83d\" }\n",
    );
    let mut out = Vec::new();
    render(&url(), &mut text.as_bytes(), &base(), Variant::Full, &Cut::default(), &mut out).unwrap();
    let link = "\"http://cache.example:3144/npm/@acme/left/-/left-1.0.0-%C3%A9.tgz\"";
    let expected = text.replace("\"https:\\/\\/registry.example\\/x\"", link);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Something in the shape of a packument, with anything anywhere.
fn packument() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(json!("https://registry.example/a/-/a-1.tgz")),
        Just(json!(null)),
        Just(json!({})),
        Just(json!(["x"])),
        any::<String>().prop_map(Json::from),
    ];
    let key = prop_oneof![
        Just("tarball".to_owned()),
        Just("attestations".to_owned()),
        Just("integrity".to_owned()),
        Just("url".to_owned()),
        any::<String>(),
    ];
    let dist = prop::collection::btree_map(key, scalar, 0..5);
    let versions = prop::collection::btree_map(any::<String>(), dist, 0..5);
    versions.prop_map(|versions| {
        let versions: serde_json::Map<_, _> =
            versions.into_iter().map(|(version, dist)| (version, json!({"dist": dist}))).collect();
        json!({"name": "@acme/left", "versions": versions, "x": 1})
    })
}

proptest! {
    #[test]
    fn nothing_but_links_changes(document in packument()) {
        if let Ok(out) = rendered(&document, Variant::Full) {
            let mut out: Json = out.parse().unwrap();
            for (version, value) in document["versions"].as_object().unwrap() {
                let link = &mut out["versions"][version]["dist"]["tarball"];
                if value["dist"]["tarball"].is_string() {
                    let start = "http://cache.example:3144/npm/@acme/left/-/left-";
                    prop_assert!(link.as_str().unwrap().starts_with(start));
                    *link = value["dist"]["tarball"].clone();
                } else if value["dist"].get("tarball").is_none() {
                    out["versions"][version]["dist"].as_object_mut().unwrap().remove("tarball");
                }
            }
            prop_assert_eq!(out, document);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let mut damaged = scoped().to_string().into_bytes();
        let at = at.index(damaged.len());
        damaged[at] = byte;
        for text in [bytes, damaged] {
            let mut table = TableBuilder::default();
            let _ = vouch(&url(), &mut text.as_slice(), &mut table);
            let (variant, cut) = (Variant::Abbreviated, Cut::default());
            let _ = render(&url(), &mut text.as_slice(), &base(), variant, &cut, &mut std::io::sink());
        }
    }

    #[test]
    fn only_what_names_one_version_is_called_unchangeable(
        path in "(/@a|/a|/@a%2fa|/-|/latest){0,3}(/-/)?(a-|latest)?[0-9a-z.]{0,4}(\\.tgz|/)?",
        query in prop::option::of("[a-z=]{0,3}"),
    ) {
        let asked = ask(&path, query.as_deref());
        if !matches!(asked.class, Class::Index | Class::Api | Class::Unknown) {
            prop_assert!(path.contains(".tgz") && query.is_none_or(|query| query.is_empty()));
            prop_assert!(asked.package.version.unwrap().starts_with(|c: char| c.is_ascii_digit()));
            prop_assert!(asked.index.is_some() && asked.entry.is_some());
        }
    }

    #[test]
    fn no_path_makes_it_panic(path in "/[@%2fF/a.~+-]{0,12}|/\\PC*", query: Option<String>) {
        let _ = ask(&path, query.as_deref());
    }
}
