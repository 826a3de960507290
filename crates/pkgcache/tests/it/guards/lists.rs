//! Lists, advisories, ages, and what was taken back.

use std::fs;

use larder_tests::http::Site;
use larder_tests::until;
use serde_json::{Value, json};
use storekit::Digest;

use super::{OLD, ago, packument, refused, versions};
use crate::support::{Cached, Proxy, session};

fn npm(site: &Site, guards: &str) -> Proxy {
    Proxy::set(&settings(site, guards), &["--access-log", "access.ndjson"])
}

fn settings(site: &Site, guards: &str) -> String {
    format!(
        "[pkgcache.upstream]\nnpm = {{ url = \"{}\", kind = \"npm\" }}\n[pkgcache.guards]\n{guards}\n",
        site.url()
    )
}

fn demo() -> Site {
    let site = Site::new();
    packument(&site, "demo", &[("1.0.0", ago(OLD)), ("1.1.0", ago(OLD)), ("1.2.0", ago(60))]);
    packument(&site, "evil", &[("1.0.0", ago(OLD))]);
    site
}

#[test]
fn a_list_hides_versions_and_refuses_their_files_until_it_is_read_again() {
    let site = demo();
    let proxy = npm(&site, "block = [\"npm:evil\", \"npm:demo@1.1.*\"]");
    let evil = proxy.get("/npm/evil");
    refused(&evil, "block", "npm evil: `npm:evil` is blocked");
    refused(&proxy.get("/npm/evil/-/evil-1.0.0.tgz"), "block", "npm evil 1.0.0");
    assert_eq!(site.requests(), 0, "nothing that is blocked is asked for");
    let page = proxy.get("/npm/demo");
    assert_eq!(versions(&page.json()), ["1.0.0", "1.2.0"]);
    assert!(page.cache().ends_with("; hidden=1"), "{page:?}");
    proxy.get("/npm/demo/-/demo-1.0.0.tgz").is(200, "stored", "demo 1.0.0");
    refused(&proxy.get("/npm/demo/-/demo-1.1.0.tgz"), "block", "`npm:demo@1.1.*`");
    // In the forward mode nothing is written anew: the file is refused.
    assert_eq!(versions(&proxy.get(&format!("{}/demo", site.url())).json()).len(), 3);
    refused(&proxy.get(&format!("{}/demo/-/demo-1.1.0.tgz", site.url())), "block", "demo 1.1.0");
    assert_eq!(proxy.metric("pkgcache_guard_refusals_total{guard=\"block\"}"), 4);
    let lines = proxy.logs(4, |line| line["status"] == 403);
    assert!(
        lines.iter().all(|line| line["reason"].as_str().unwrap().contains("the guard `block`")),
        "{lines:?}"
    );

    fs::write(proxy.path("larder.toml"), settings(&site, "allow = [\"npm:demo@1.1.0\"]")).unwrap();
    proxy.signal("HUP");
    until("the guards are others", || proxy.get("/npm/demo/-/demo-1.0.0.tgz").status == 403);
    refused(&proxy.get("/npm/demo/-/demo-1.0.0.tgz"), "allow", "npm demo 1.0.0");
    refused(&proxy.get("/npm/evil"), "allow", "not on the list");
    assert_eq!(versions(&proxy.get("/npm/demo").json()), ["1.1.0"]);
    proxy.get("/npm/demo/-/demo-1.1.0.tgz").is(200, "stored", "demo 1.1.0");
    let why = proxy.command(&["why", "/npm/demo/-/demo-1.0.0.tgz"]).stdout();
    assert!(why.contains("refused by the guard `allow`"), "{why}");
}

#[test]
fn a_young_version_is_hidden_until_it_is_old_enough() {
    let site = demo();
    let proxy = npm(&site, "cooldown = \"7d\"\ncooldown-except = [\"npm:own\"]");
    let page = proxy.get("/npm/demo").json();
    assert_eq!(
        (versions(&page), page["dist-tags"]["latest"].as_str()),
        (vec![&"1.0.0".to_owned(), &"1.1.0".to_owned()], Some("1.1.0"))
    );
    assert!(page["time"].get("1.2.0").is_none());
    let young = proxy.get("/npm/demo/-/demo-1.2.0.tgz");
    refused(&young, "cooldown", "npm demo 1.2.0: it was published on ");
    assert!(young.text().contains(" and may be had from "), "{young:?}");
    proxy.get("/npm/demo/-/demo-1.1.0.tgz").is(200, "stored", "demo 1.1.0");
    // The document of one version has no date: its packument's counts.
    let one = json!({ "name": "demo", "version": "1.2.0", "dist": { "tarball": format!("{}/demo/-/demo-1.2.0.tgz", site.url()) } });
    site.put_with("/demo/latest", "content-type: application/json", one.to_string());
    refused(&proxy.get("/npm/demo/latest"), "cooldown", "npm demo 1.2.0");
    // Where nothing is left, the client is told why.
    packument(&site, "fresh", &[("1.0.0", ago(5))]);
    refused(&proxy.get("/npm/fresh"), "cooldown", "npm fresh 1.0.0");
    packument(&site, "own", &[("1.0.0", ago(5))]);
    assert_eq!(versions(&proxy.get("/npm/own").json()), ["1.0.0"]);
    // It becomes old enough by itself: the page is another then.
    packument(&site, "soon", &[("1.0.0", ago(OLD)), ("1.1.0", ago(7 * 86_400 - 3))]);
    let tag = |answer: &larder_tests::http::Answer| answer.header("etag").map(str::to_owned);
    let before = proxy.get("/npm/soon");
    assert_eq!(versions(&before.json()), ["1.0.0"]);
    until("the version is old enough", || versions(&proxy.get("/npm/soon").json()).len() == 2);
    assert_ne!(tag(&proxy.get("/npm/soon")), tag(&before));
}

#[test]
fn where_an_index_has_no_dates_what_was_seen_first_counts_also_after_a_restart() {
    let site = Site::new();
    let wheel = |version: &str| format!("/files/own-{version}-py3-none-any.whl");
    let page = |versions: &[&str]| {
        let link = |version: &&str| {
            let body = format!("wheel {version}");
            site.put(&wheel(version), body.clone());
            let hex = Digest::of(body.as_bytes()).hex();
            format!("<a href=\"{}#sha256={hex}\">own</a>\n", wheel(version))
        };
        let links: String = versions.iter().map(link).collect();
        let head = "<!DOCTYPE html><meta name=\"pypi:repository-version\" content=\"1.0\">\n";
        site.put_with("/simple/own/", "content-type: text/html", format!("{head}{links}"));
    };
    page(&["1.0"]);
    let settings = format!(
        "[pkgcache]\nindex-ttl = \"0s\"\n[pkgcache.upstream]\npypi = {{ url = \"{}/simple/\", kind = \"python\" }}\n\
         [pkgcache.guards]\ncooldown = {{ python = \"4s\" }}\n",
        site.url()
    );
    let proxy = Proxy::in_session(session().file("larder.toml", &settings), &[]);
    refused(&proxy.get("/pypi/own/"), "cooldown", "python own 1.0: it was first seen here");
    let tag = site.authority().replace(':', "_");
    let file = format!("/pypi/files/http_{tag}{}", wheel("1.0"));
    refused(&proxy.get(&file), "cooldown", "first seen here");
    until("the version is old enough", || proxy.get("/pypi/own/").status == 200);
    page(&["1.0", "1.1"]);
    let proxy = proxy.again(&[]);
    let both = proxy.get("/pypi/own/").text().to_owned();
    assert!(both.contains("own-1.0") && !both.contains("own-1.1"), "{both}");
    proxy.get(&file).is(200, "stored", "wheel 1.0");
    refused(&proxy.get(&file.replace("1.0", "1.1")), "cooldown", "python own 1.1");
}

#[test]
fn advisories_are_read_again_when_their_file_changes() {
    let site = demo();
    let advisory = |name: &str, versions: &[&str]| {
        json!({ "id": "MAL-2026-1", "affected": [{ "package": { "ecosystem": "npm", "name": name }, "versions": versions }] }).to_string()
    };
    let session = session()
        .file("larder.toml", &settings(&site, "osv = [\"advisories\"]"))
        .file("advisories/one.json", &advisory("evil", &["1.0.0"]));
    let proxy = Proxy::in_session(session, &[]);
    refused(&proxy.get("/npm/evil"), "osv", "npm evil 1.0.0: the advisory MAL-2026-1 names it");
    let file = "/npm/demo/-/demo-1.0.0.tgz";
    proxy.get(file).is(200, "stored", "demo 1.0.0");
    proxy.settled(file);
    // From here on it is answered the short way, which must not outlast the change.
    proxy.get(file).is(200, "hit", "demo 1.0.0");
    fs::write(proxy.path("advisories/two.json"), advisory("demo", &["1.0.0"])).unwrap();
    until("the advisories are read again", || proxy.get(file).status == 403);
    refused(&proxy.get(file), "osv", "npm demo 1.0.0");
    assert_eq!(versions(&proxy.get("/npm/demo").json()), ["1.1.0", "1.2.0"]);
    // What cannot be read leaves what is known.
    fs::write(proxy.path("advisories/two.json"), "{\"id\":").unwrap();
    fs::write(proxy.path("advisories/one.json"), advisory("evil", &["9.9.9"])).unwrap();
    refused(&proxy.get(file), "osv", "npm demo 1.0.0");
    let proxy = proxy.command(&["why", "/npm/demo"]);
    assert!(proxy.stderr().contains("cannot use the advisories in"), "{}", proxy.stderr());
}

/// A sparse index with a crate of two versions, of which the first is yanked.
fn crates(site: &Site) -> Vec<String> {
    site.put_with(
        "/config.json",
        "content-type: application/json",
        json!({ "dl": format!("{}/dl", site.url()) }).to_string(),
    );
    let line = |version: &str, yanked: bool| {
        let body = format!("crate {version}");
        site.put(&format!("/dl/demo/{version}/download"), body.clone());
        let cksum = Digest::of(body.as_bytes()).hex();
        let line = json!({ "name": "demo", "vers": version, "deps": [], "features": {}, "cksum": cksum, "yanked": yanked });
        (format!("{line}\n"), format!("/crates/dl/demo/{version}/{cksum}.crate"))
    };
    let ((one, first), (two, second)) = (line("1.0.0", true), line("1.1.0", false));
    site.put("/de/mo/demo", one + &two);
    vec![first, second]
}

#[test]
fn what_was_taken_back_is_served_with_a_mark_or_refused() {
    let site = Site::new();
    let files = crates(&site);
    let set = |guards: &str| {
        let mount = format!("crates = {{ url = \"{}\", kind = \"cargo\" }}", site.url());
        Proxy::set(
            &format!("[pkgcache.upstream]\n{mount}\n[pkgcache.guards]\n{guards}\n"),
            &["--access-log", "access.ndjson"],
        )
    };
    let proxy = set("");
    proxy.get("/crates/de/mo/demo");
    for (file, is_withdrawn) in files.iter().zip([true, false]) {
        for _ in 0..2 {
            let answer = proxy.get(file);
            assert_eq!(
                (answer.status, answer.cache().contains("; withdrawn")),
                (200, is_withdrawn),
                "{answer:?}"
            );
            proxy.settled(file);
        }
    }
    let marked = |line: &Value| line["cache"].as_str().is_some_and(|it| it.contains("; withdrawn"));
    assert!(!proxy.logs(2, marked).is_empty() && proxy.metric("pkgcache_withdrawn_total") >= 2);
    let proxy = set("withdrawn = \"refuse\"");
    // No client has asked for the index file: the guard does.
    refused(&proxy.get(&files[0]), "withdrawn", "cargo demo 1.0.0: its index has taken it back");
    proxy.get(&files[1]).is(200, "stored", "crate 1.1.0");
}

#[test]
fn a_file_that_its_index_does_not_name_so_is_refused_where_that_is_required() {
    let site = Site::new();
    crates(&site);
    packument(&site, "demo", &[("1.0.0", ago(OLD))]);
    site.put("/demo/-/demo-9.9.9.tgz", "unnamed");
    let other = Digest::of(b"something else");
    let settings = format!(
        "[pkgcache.upstream]\ncrates = {{ url = \"{0}\", kind = \"cargo\" }}\nnpm = {{ url = \"{0}\", kind = \"npm\" }}\n\
         [pkgcache.guards]\nrequire = \"indexed\"\n",
        site.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    proxy.get("/npm/demo/-/demo-1.0.0.tgz").is(200, "verified=indexed", "demo 1.0.0");
    refused(&proxy.get("/npm/demo/-/demo-9.9.9.tgz"), "require", "as `pinned`, and has to be `indexed`");
    // The address promises what the index does not say.
    site.put("/dl/demo/1.1.0/download", "something else");
    let promised = format!("/crates/dl/demo/1.1.0/{}.crate", other.hex());
    refused(&proxy.get(&promised), "require", "as `addressed`, and has to be `indexed`");
}
