//! Tests: what clients get of an index of which some versions are hidden.

use http::Uri;
use serde_json::{Value, json};

use crate::ecosystem::base::Base;
use crate::ecosystem::npm::Cut;
use crate::ecosystem::python::Form;
use crate::ecosystem::releases::{Hidden, Releases};
use crate::ecosystem::{BadIndex, cargo, go, npm, python};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn base() -> Base {
    let (here, mount) = ("http://127.0.0.1:1".to_owned(), "/m".to_owned());
    Base { here, mount, upstream: Uri::from_static("https://index.example/"), keeps_links: false }
}

/// Without the versions of these names.
fn without(releases: &Releases, versions: &[&str]) -> Hidden {
    Hidden::of(releases, |release| !versions.contains(&release.version.as_str()))
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), BadIndex>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn packument(latest: &str) -> String {
    let version = |version: &str| json!({ "name": "a", "version": version, "dist": { "tarball": format!("https://index.example/a/-/a-{version}.tgz") } });
    json!({
        "name": "a",
        "dist-tags": { "latest": latest, "next": "2.0.0-rc.1", "old": "1.0.0", "odd": "9.9.9" },
        "versions": {
            "1.0.0": version("1.0.0"), "1.10.0": version("1.10.0"), "1.9.0": version("1.9.0"),
            "2.0.0-rc.1": version("2.0.0-rc.1"), "1.11.0": version("1.11.0"),
        },
        "time": { "created": "2026-01-01T00:00:00Z", "1.0.0": "2026-01-01T00:00:00Z", "1.11.0": "2026-01-02T00:00:00Z" },
    })
    .to_string()
}

#[track_caller]
fn tags(latest: &str, hidden: &[&str], expected: &Value) -> Value {
    let (url, text) = (Uri::from_static("https://index.example/a"), packument(latest));
    let releases = npm::releases(&url, &mut text.as_bytes()).unwrap();
    let cut = Cut::new(&releases, without(&releases, hidden));
    let mut last = Value::Null;
    for variant in [npm::Variant::Full, npm::Variant::Abbreviated] {
        let page = written(|out| npm::render(&url, &mut text.as_bytes(), &base(), variant, &cut, out));
        last = serde_json::from_str(&page).unwrap();
        assert_eq!(last["dist-tags"], *expected, "{variant:?}");
        let has = |part: &str, version: &str| last[part].get(version).is_some();
        assert!(hidden.iter().all(|version| !has("versions", version) && !has("time", version)), "{last}");
        assert!(has("versions", "1.0.0") && has("time", "created"));
    }
    last
}

#[test]
fn a_packument_s_tags_name_versions_that_are_seen() {
    let all = json!({ "latest": "1.11.0", "next": "2.0.0-rc.1", "old": "1.0.0", "odd": "9.9.9" });
    tags("1.11.0", &[], &all);
    let older = json!({ "latest": "1.10.0", "next": "2.0.0-rc.1", "old": "1.0.0", "odd": "9.9.9" });
    tags("1.11.0", &["1.11.0"], &older);
    let page = tags(
        "1.11.0",
        &["1.11.0", "2.0.0-rc.1"],
        &json!({ "latest": "1.10.0", "old": "1.0.0", "odd": "9.9.9" }),
    );
    assert_eq!(page["versions"].as_object().unwrap().len(), 3);
    let release = json!({ "latest": "1.11.0", "old": "1.0.0", "odd": "9.9.9" });
    tags("2.0.0-rc.1", &["2.0.0-rc.1"], &release);
    let nothing_before = json!({ "next": "2.0.0-rc.1", "old": "1.0.0", "odd": "9.9.9" });
    tags(
        "1.9.0",
        &["1.9.0"],
        &json!({ "latest": "1.0.0", "next": "2.0.0-rc.1", "old": "1.0.0", "odd": "9.9.9" }),
    );
    let (url, text) = (Uri::from_static("https://index.example/a"), packument("1.0.0"));
    let releases = npm::releases(&url, &mut text.as_bytes()).unwrap();
    let cut = Cut::new(&releases, without(&releases, &["1.0.0"]));
    let page = written(|out| npm::render(&url, &mut text.as_bytes(), &base(), npm::Variant::Full, &cut, out));
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["dist-tags"], json!({ "next": nothing_before["next"], "odd": "9.9.9" }));
}

#[test]
fn a_packument_s_versions_have_their_dates_wherever_these_stand() {
    let url = Uri::from_static("https://index.example/a");
    let mut packument: Value = serde_json::from_str(&packument("1.0.0")).unwrap();
    let time = packument.as_object_mut().unwrap().remove("time").unwrap();
    let text = packument.to_string();
    let early = format!("{{\"time\":{time},{}", text.strip_prefix('{').unwrap());
    let late = format!("{},\"time\":{time}}}", text.strip_suffix('}').unwrap());
    for text in [early, late] {
        let releases = npm::releases(&url, &mut text.as_bytes()).unwrap();
        let of =
            |version: &str| releases.all.iter().find(|it| it.version == version).unwrap().standing.published;
        assert_eq!(
            [of("1.0.0"), of("1.11.0"), of("1.9.0")],
            [Some(1_767_225_600), Some(1_767_312_000), None]
        );
        let mut table = crate::ecosystem::table::TableBuilder::default();
        npm::vouch(&url, &mut text.as_bytes(), &mut table).unwrap();
        let Some(crate::ecosystem::table::Said::File(said)) = table.finish().get("a/-/a-1.11.0.tgz") else {
            panic!()
        };
        assert_eq!(said.standing.published, Some(1_767_312_000));
    }
}

fn simple_page() -> String {
    let file = |name: &str, more: Value| {
        let mut file = json!({ "filename": name, "url": format!("https://f.example/{name}"), "hashes": { "sha256": HEX } });
        file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        file
    };
    json!({
        "meta": { "api-version": "1.1" }, "name": "a", "versions": ["1.0", "2.0", "3.0"],
        "files": [
            file("a-1.0.tar.gz", json!({ "upload-time": "2026-01-01T00:00:00Z" })),
            file("a-2.0.tar.gz", json!({ "upload-time": "2026-01-02T00:00:00.5Z", "yanked": "broken" })),
            file("a-2.0-py3-none-any.whl", json!({ "yanked": false, "upload-time": null })),
            file("a-3.0-py3-none-any.whl", json!({})),
        ],
    })
    .to_string()
}

#[test]
fn a_page_of_a_project_is_without_the_files_that_are_hidden() {
    let (url, text) = (Uri::from_static("https://index.example/simple/a/"), simple_page());
    let releases = python::releases(&url, Form::Json, &mut text.as_bytes()).unwrap();
    let standings: Vec<_> =
        releases.all.iter().map(|it| (it.standing.published, it.standing.withdrawn)).collect();
    assert_eq!(
        standings,
        [(Some(1_767_225_600), false), (Some(1_767_312_000), true), (None, false), (None, false)]
    );
    let yanked = Hidden::of(&releases, |release| !release.standing.withdrawn);
    let third = without(&releases, &["2.0", "3.0"]);
    for (hidden, files, versions) in [
        (
            &yanked,
            vec!["a-1.0.tar.gz", "a-2.0-py3-none-any.whl", "a-3.0-py3-none-any.whl"],
            json!(["1.0", "2.0", "3.0"]),
        ),
        (&third, vec!["a-1.0.tar.gz"], json!(["1.0"])),
        (
            &Hidden::default(),
            vec!["a-1.0.tar.gz", "a-2.0.tar.gz", "a-2.0-py3-none-any.whl", "a-3.0-py3-none-any.whl"],
            json!(["1.0", "2.0", "3.0"]),
        ),
    ] {
        let render = |wanted| {
            written(|out| {
                python::render(&url, Form::Json, &mut text.as_bytes(), &base(), wanted, hidden, out)
            })
        };
        let page: Value = serde_json::from_str(&render(Form::Json)).unwrap();
        let names: Vec<_> =
            page["files"].as_array().unwrap().iter().map(|it| it["filename"].as_str().unwrap()).collect();
        assert_eq!((&names, &page["versions"]), (&files, &versions));
        let html = render(Form::Html);
        assert_eq!(html.matches("<a href").count(), files.len(), "{html}");
        assert!(files.iter().all(|file| html.contains(&format!(">{file}</a>"))), "{html}");
    }
}

#[test]
fn a_crate_s_hidden_versions_are_yanked_and_all_else_stays() {
    let line = |vers: &str, more: &str| {
        format!("{{\"name\":\"a\",\"vers\":\"{vers}\",\"deps\":[],\"cksum\":\"{HEX}\"{more}}}\n")
    };
    let text = [
        line("1.0.0", ",\"yanked\":false"),
        line("1.1.0", ",\"yanked\":false,\"v\":2"),
        line("1.2.0", ""),
        line("1.3.0", ",\"yanked\":true"),
    ]
    .concat();
    let releases = cargo::releases(&mut text.as_bytes()).unwrap();
    assert!(releases.all.iter().all(|it| it.standing.published.is_none()));
    assert_eq!(releases.all.iter().filter(|it| it.standing.withdrawn).count(), 1);
    let hidden = without(&releases, &["1.1.0", "1.2.0", "1.3.0"]);
    let found = written(|out| cargo::render(&mut text.as_bytes(), &hidden, out));
    let expected = [
        line("1.0.0", ",\"yanked\":false"),
        line("1.1.0", ",\"yanked\":true,\"v\":2"),
        line("1.2.0", ",\"yanked\":true"),
        line("1.3.0", ",\"yanked\":true"),
    ]
    .concat();
    assert_eq!(found, expected);
    let dated = text + &line("2.0.0", ",\"pubtime\":\"2026-01-01T00:00:00Z\"");
    let releases = cargo::releases(&mut dated.as_bytes()).unwrap();
    let published: Vec<_> = releases.all.iter().map(|it| it.standing.published.unwrap()).collect();
    assert_eq!(published, [0, 0, 0, 0, 1_767_225_600], "what has no date is older than the field");
}

#[test]
fn a_module_s_list_is_without_the_versions_that_are_hidden() {
    let text = "v1.0.0\nv1.1.0 2026-01-01T00:00:00Z\n\nv1.2.0\n";
    let releases = go::releases(&mut text.as_bytes()).unwrap();
    let hidden = without(&releases, &["v1.1.0"]);
    assert_eq!(written(|out| go::render(&mut text.as_bytes(), &hidden, out)), "v1.0.0\n\nv1.2.0\n");
    let latest =
        go::release(&mut "{\"Version\":\"v1.2.0\",\"Time\":\"2026-01-01T00:00:00Z\"}".as_bytes()).unwrap();
    assert_eq!(latest.all[0].version, "v1.2.0");
    assert!(go::release(&mut "v1".as_bytes()).is_err());
}

#[test]
fn a_damaged_index_is_read_or_refused() {
    let npm_url = Uri::from_static("https://index.example/a");
    crate::damaged::each(packument("1.11.0"), |damaged| {
        let Ok(releases) = npm::releases(&npm_url, &mut &*damaged) else { return };
        let cut = Cut::new(&releases, without(&releases, &["1.11.0", "2.0.0-rc.1"]));
        let mut out = Vec::new();
        let done = npm::render(&npm_url, &mut &*damaged, &base(), npm::Variant::Full, &cut, &mut out);
        let page = serde_json::from_slice::<Value>(&out);
        assert!(done.is_err() || page.is_ok_and(|page| page["versions"].get("1.11.0").is_none()));
    });
    let url = Uri::from_static("https://index.example/simple/a/");
    crate::damaged::each(simple_page(), |damaged| {
        let Ok(releases) = python::releases(&url, Form::Json, &mut &*damaged) else { return };
        let hidden = without(&releases, &["2.0"]);
        let mut out = Vec::new();
        let done = python::render(&url, Form::Json, &mut &*damaged, &base(), Form::Json, &hidden, &mut out);
        assert!(done.is_err() || serde_json::from_slice::<Value>(&out).is_ok());
    });
}
