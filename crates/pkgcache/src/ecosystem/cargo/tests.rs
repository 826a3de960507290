//! Documents in the shape of a sparse index's.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use storekit::Checksum;

use super::*;
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::table::{Said, Standing, Table, TableBuilder, Voucher};

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const OTHER: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn version(vers: &str, cksum: &str) -> String {
    let line = json!({
        "name": "Left-Pad", "vers": vers, "cksum": cksum, "yanked": false, "v": 2, "pubtime": "2026-01-01T00:00:00Z",
        "deps": [{"name": "a", "req": "^1", "features": [], "optional": false, "kind": "normal", "vers": "x"}],
        "features": {}, "features2": {"b": ["dep:a"]}, "rust_version": "1.90",
    });
    format!("{line}\n")
}

fn table(text: &str) -> Result<Table, BadIndex> {
    let mut table = TableBuilder::default();
    vouch(&mut text.as_bytes(), &mut table)?;
    Ok(table.finish())
}

fn base() -> Base {
    Base {
        keeps_links: false,
        here: "http://cache.example:3144".to_owned(),
        mount: "/crates".to_owned(),
        upstream: "https://index.example/".parse().unwrap(),
    }
}

fn rendered(config: &str) -> Result<Value, BadIndex> {
    let mut out = Vec::new();
    render_config(&mut config.as_bytes(), &base(), &mut out)?;
    Ok(serde_json::from_slice(&out).unwrap())
}

fn url(dl: &str, name: &str) -> Result<String, BadIndex> {
    download_url(&mut json!({ "dl": dl }).to_string().as_bytes(), name, "1.0.0+b", HEX)
}

#[test]
fn each_version_is_vouched_for_by_its_checksum() {
    let text =
        [version("1.0.0", HEX), "\n".to_owned(), version("1.0.0+build.1", OTHER).replace('\n', "\r\n")]
            .concat();
    let table = table(&text).unwrap();
    let said = |hex| {
        let standing = Standing { published: Some(1_767_225_600), withdrawn: false };
        let checksum = Checksum::from_hex("sha256", hex);
        Some(Said::File(Voucher { checksum, standing, ..Voucher::default() }))
    };
    assert_eq!(table.get("Left-Pad/1.0.0"), said(HEX));
    assert_eq!(table.get("Left-Pad/1.0.0+build.1"), said(OTHER));
    let asked = ask(&format!("/dl/Left-Pad/1.0.0%2Bbuild.1/{OTHER}.crate"), None);
    assert_eq!(table.get(&asked.entry.unwrap()), said(OTHER));
    assert_eq!(asked.index.as_deref(), Some("/le/ft/left-pad"));
    assert_eq!(table.len(), 2);
}

#[test]
fn one_version_with_two_checksums_is_not_vouched_for() {
    let table = table(&[version("1.0.0", HEX), version("1.0.0", OTHER)].concat()).unwrap();
    assert_eq!(table.get("Left-Pad/1.0.0"), Some(Said::Contradiction));
}

#[track_caller]
fn refused(text: &str, reason: &str) {
    let error = table(text).unwrap_err().to_string();
    assert!(error.starts_with("its line ") && error.contains(reason), "{error}");
}

#[test]
fn index_files_that_cannot_be_are_refused_with_a_reason() {
    refused("<html>", "is not a version of a crate");
    refused("[]", "is not a version of a crate");
    refused(r#"{"name": "a", "vers": "1.0.0"}"#, "missing field `cksum`");
    refused(r#"{"name": 1, "vers": "1.0.0", "cksum": ""}"#, "invalid type");
    refused(r#"{"name": "a", "name": "b", "vers": "1.0.0", "cksum": ""}"#, "duplicate field `name`");
    refused(&version("1.0.0", "abc"), "its `cksum` is not a SHA-256");
    refused(&version("../x", HEX), "its version is not valid");
    refused(&version("1.0.0\r\nx", HEX), "its version is not valid");
    refused(&version("1.0.0", HEX).replace("Left-Pad", "../x"), "its name is not valid");
    let two = [version("1.0.0", HEX), version("1.0.1", HEX).replace("Left-Pad", "right")].concat();
    refused(&two, "its line 2 is not a version of a crate: it has another name than the lines before");
    refused(
        &format!("{{\"name\": {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        "is not a version of a crate",
    );
    let deep = format!("{{\"x\": {}", "[".repeat(100_000));
    refused(&deep, "is not a version of a crate");
    let long = table(&"x".repeat(17 << 20)).unwrap_err();
    assert_eq!(long, BadIndex::TooLarge("one of its lines is longer than 16 MiB"));
    let mut builder = TableBuilder::default();
    assert!(vouch(&mut b"{\"name\": \"\xff\"}".as_slice(), &mut builder).is_err());
}

#[test]
fn a_message_does_not_repeat_an_index() {
    let text = format!("{{\"name\": {{\"{}\": 1}}}}", "x".repeat(100_000));
    assert!(table(&text).unwrap_err().to_string().len() < 300);
    let text = format!("\"{}\"", "\u{1b}[2J".repeat(100_000));
    let error = table(&text).unwrap_err().to_string();
    assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn the_upstream_says_where_a_crate_is() {
    let crates = "https://files.example/crates";
    assert_eq!(url(crates, "Left-Pad").unwrap(), format!("{crates}/Left-Pad/1.0.0+b/download"));
    let all = "https://files.example/{prefix}/{lowerprefix}/{crate}-{version}.crate?{sha256-checksum}";
    let found = |name| url(all, name).unwrap();
    assert_eq!(found("Left-Pad"), format!("https://files.example/Le/ft/le/ft/Left-Pad-1.0.0+b.crate?{HEX}"));
    assert_eq!(found("Abc"), format!("https://files.example/3/A/3/a/Abc-1.0.0+b.crate?{HEX}"));
    assert_eq!(found("Ab"), format!("https://files.example/2/2/Ab-1.0.0+b.crate?{HEX}"));
    assert_eq!(found("A"), format!("https://files.example/1/1/A-1.0.0+b.crate?{HEX}"));
    assert_eq!(url("http://a.example/{crate}", "x").unwrap(), "http://a.example/x");
    assert!(url(crates, "../x").is_err());
    assert!(download_url(&mut json!({ "dl": crates }).to_string().as_bytes(), "x", "1/..", HEX).is_err());
    assert!(download_url(&mut json!({ "dl": crates }).to_string().as_bytes(), "x", "1.0.0", "x").is_err());
}

#[test]
fn the_configuration_leads_to_this_mount() {
    let config = r#"{"dl": "https://files.example/crates", "api": "https://api.example", "auth-required": false, "x": {"y": [1]}}"#;
    let dl = "http://cache.example:3144/crates/dl/{crate}/{version}/{sha256-checksum}.crate";
    let expected = json!({"dl": dl, "api": "https://api.example", "auth-required": false, "x": {"y": [1]}});
    assert_eq!(rendered(config).unwrap(), expected);
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    for wrong in [
        "",
        "{}",
        "[]",
        "<html>",
        r#"{"dl": 1}"#,
        r#"{"dl": "file:///etc/passwd"}"#,
        r#"{"dl": "https://u:p@files.example/"}"#,
        r#"{"dl": "/crates"}"#,
        r#"{"dl": "https://{crate}:{version}@x/"}"#,
        r#"{"dl": "https://a.example/\r\nx"}"#,
        r#"{"dl": "https://a.example/", "dl": "https://b.example/"}"#,
        r#"{"dl": "https://a.example/"} x"#,
    ] {
        assert!(rendered(wrong).is_err(), "{wrong}");
    }
    let deep =
        format!(r#"{{"dl": "https://a.example/", "x": {}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(rendered(&deep).is_err());
    let large = format!(r#"{{"dl": "https://a.example/", "x": "{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(rendered(&large).unwrap_err(), BadIndex::TooLarge("it is larger than 1 MiB"));
}

fn a_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn segment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "dl",
        "se",
        "rd",
        "serde",
        "1.0.0",
        "latest",
        "download",
        "config.json",
        "1",
        "2",
        "3",
        "a",
        "api",
        "crates",
        "serde-1.0.0.crate",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.crate",
        "..",
        "",
        "%2e%2e",
        "%2f",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[ -~]{0,6}", 1 => any::<String>()]
}

proptest! {
    #[test]
    fn everything_but_the_links_is_kept(values in prop::collection::btree_map("[a-z{}\"]{0,8}", a_value(), 0..6)) {
        let mut config: Map<String, Value> = values.into_iter().collect();
        config.insert("dl".to_owned(), json!("https://files.example/"));
        let mut found = rendered(&Value::Object(config.clone()).to_string()).unwrap();
        let dl = found.as_object_mut().unwrap().remove("dl").unwrap();
        prop_assert!(dl.as_str().unwrap().starts_with("http://cache.example:3144/crates/dl/"));
        config.remove("dl");
        prop_assert_eq!(found, Value::Object(config));
    }

    #[test]
    fn no_document_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut builder = TableBuilder::default();
        let _ = vouch(&mut bytes.as_slice(), &mut builder);
        let _ = render_config(&mut bytes.as_slice(), &base(), &mut Vec::new());
    }

    #[test]
    fn no_change_of_a_document_makes_a_reader_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = [version("1.0.0", HEX), version("1.0.1", OTHER)].concat().into_bytes();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let mut builder = TableBuilder::default();
        let _ = vouch(&mut bytes.as_slice(), &mut builder);
    }

    #[test]
    fn nothing_that_may_change_is_taken_for_what_may_not(segments in prop::collection::vec(segment(), 0..7)) {
        let path = format!("/{}", segments.join("/"));
        let asked = ask(&path, None);
        match asked.class {
            Class::SelfCertifying(checksum) => {
                let hex = checksum.to_string().split_once(':').unwrap().1.to_owned();
                prop_assert!(path.ends_with(&[&hex, ".crate"].concat()));
            }
            Class::Artifact | Class::PinnedByName => {
                prop_assert!(asked.index.is_some() && (path.ends_with("/download") || path.strip_suffix(".crate").is_some()));
            }
            _ => {}
        }
        prop_assert!(asked.index.is_none_or(|index| ask(&index, None).class == Class::Index));
        prop_assert_eq!(ask(&path, Some("x")).class, Class::Unknown);
    }
}
