//! Index documents that are none, and those that stand in for them.

use std::io::Write;

use larder_tests::http::{Fault, Site};
use larder_tests::until;

use crate::support::{Answer, Cached, Proxy};

const RELEASE: &str = "/debian/dists/stable/Release";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A proxy with a mount for each kind, whose indexes are asked for again each time.
fn proxy(site: &Site) -> Proxy {
    let url = site.url();
    let settings = format!(
        "[pkgcache]\nindex-ttl = \"0s\"\n[pkgcache.upstream]\n\
         debian = {{ url = \"{url}/debian\", kind = \"apt\", ttl = {{ pinned-by-name = \"0s\" }} }}\n\
         flat = {{ url = \"{url}/flat\", kind = \"apt\" }}\n\
         pypi = {{ url = \"{url}/simple\", kind = \"python\" }}\n\
         npm = {{ url = \"{url}/npm\", kind = \"npm\" }}\n\
         crates = {{ url = \"{url}/crates\", kind = \"cargo\" }}\n\
         fedora = {{ url = \"{url}/fedora\", kind = \"dnf\" }}\n"
    );
    Proxy::set(&settings, &["--allow", &site.authority()])
}

/// An index of each kind: where it is, and what may be there.
fn indexes() -> [(&'static str, String); 8] {
    let page = "{\"meta\": {\"api-version\": \"1.0\"}, \"name\": \"a\", \"files\": []}";
    let line = format!(
        "{{\"name\":\"aaaa\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{EMPTY}\",\"features\":{{}},\"yanked\":false}}\n"
    );
    let repomd = format!(
        "<?xml version=\"1.0\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"primary\">\
         <checksum type=\"sha256\">{EMPTY}</checksum><location href=\"repodata/primary.xml.gz\"/></data></repomd>\n"
    );
    [
        (RELEASE, release(EMPTY)),
        ("/pypi/a/", page.to_owned()),
        ("/pypi/", "{\"meta\": {\"api-version\": \"1.0\"}, \"projects\": [{\"name\": \"a\"}]}".to_owned()),
        ("/npm/-/npm/v1/keys", "{\"keys\": [{\"keyid\": \"k\"}]}".to_owned()),
        ("/npm/-/npm/v1/attestations/a@1.0.0", "{\"attestations\": []}".to_owned()),
        ("/npm/a", "{\"name\": \"a\", \"versions\": {}}".to_owned()),
        ("/crates/aa/aa/aaaa", line),
        ("/fedora/repodata/repomd.xml", repomd),
    ]
}

fn release(hex: &str) -> String {
    format!("Suite: stable\nSHA256:\n {hex} 0 main/binary-amd64/Packages\n")
}

/// Where the upstream has what is at this path here.
fn there(path: &str) -> String {
    path.replacen("/pypi", "/simple", 1)
}

fn put(site: &Site, path: &str, document: &str) {
    let fields =
        if path.starts_with("/pypi") { "content-type: application/vnd.pypi.simple.v1+json" } else { "" };
    site.put_with(&there(path), fields, document);
}

#[track_caller]
fn refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.text().contains("cannot be used: ") && answer.text().contains(reason), "{answer:?}");
}

/// Nothing of it is left, neither an entry nor a body.
#[track_caller]
fn nothing_is_kept(proxy: &Proxy) {
    assert_eq!(proxy.listed(), 0);
    until("the body is gone", || proxy.packages().blobs().list().unwrap().is_empty());
}

#[test]
fn a_release_that_is_none_is_refused_and_not_kept() {
    let twice = format!("Suite: stable\nSHA256:\n {EMPTY} 0 a\n {OTHER} 0 a\n");
    for (document, reason) in [
        ("<!DOCTYPE html>\n<title>Log in</title>\n", "its line 1 is not a field"),
        ("{\"message\": \"log in\"}\n", "its line 1 is not a field"),
        ("Error: log in\n", "it has no field of a release"),
        ("", "it is empty"),
        (&release(EMPTY)[..60], "is not a checksum, a size and a name"),
        (
            &format!("Suite: stable\nSHA256:\n {EMPTY} 0 ../../etc/x\n"),
            "`../../etc/x` is not a path below it",
        ),
        (&twice, "it says two different things of `a`"),
        (
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: stable\n",
            "it has no signature at its end",
        ),
    ] {
        let (site, by) = (Site::new(), document);
        let proxy = proxy(&site);
        for name in ["Release", "InRelease"] {
            let path = format!("/debian/dists/stable/{name}");
            site.put_with(&path, "content-type: text/html", by);
            refused(&proxy.get(&path), reason);
            refused(&proxy.ask("GET", &path, "range: bytes=0-3\nif-none-match: \"x\""), reason);
            assert_eq!(proxy.ask("HEAD", &path, "").status, 502);
        }
        nothing_is_kept(&proxy);
    }
}

#[test]
fn a_signature_that_is_none_is_refused_and_not_kept() {
    let site = Site::new();
    site.put(&format!("{RELEASE}.gpg"), "<!DOCTYPE html>\n");
    let proxy = proxy(&site);
    refused(&proxy.get(&format!("{RELEASE}.gpg")), "it is no OpenPGP signature");
    nothing_is_kept(&proxy);
}

#[test]
fn releases_of_little_use_are_handed_on_as_they_are() {
    let (site, old) = (Site::new(), "MD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 Packages\n");
    let sha1 = "SHA1:\n da39a3ee5e6b4b0d3255bfef95601890afd80709 0 Packages\n";
    for document in [old, sha1, "Origin: somebody\n"] {
        let proxy = proxy(&site);
        site.put("/flat/Release", document);
        site.put("/flat/Packages", "");
        proxy.get("/flat/Release").is(200, "", document);
        proxy.get("/flat/Packages").is(200, "", "");
    }
}

#[test]
fn what_was_good_stands_in_for_an_index_that_is_none() {
    let site = Site::new();
    let proxy = proxy(&site);
    for (path, document) in indexes() {
        put(&site, path, &document);
        let good = proxy.get(path);
        assert_eq!(good.status, 200, "{path}: {good:?}");
        for bad in ["<!DOCTYPE html>\n<title>Log in</title>\n", &document[..document.len() / 2]] {
            site.put_with(&there(path), "content-type: text/html", bad);
            let instead = proxy.get(path);
            instead.is(200, "upstream-failed", good.text());
        }
        site.unplug();
        proxy.get(path).is(200, "upstream-failed", good.text());
        site.heal();
    }
    // One of each is kept, and nothing of those that were refused.
    until("the bodies are gone", || proxy.packages().blobs().list().unwrap().len() == indexes().len());
}

#[test]
fn what_was_good_stands_in_for_an_index_that_breaks_off() {
    let site = Site::new();
    // Nothing says that a rest would belong to the same bytes.
    site.without_validators();
    let proxy = proxy(&site);
    for (path, document) in indexes() {
        put(&site, path, &document);
        site.fail(&there(path), Fault::CutAfter(10));
        let broken = proxy.get(path);
        assert!(broken.status == 502 && broken.text().contains("did not come whole"), "{path}: {broken:?}");
        site.heal();
        let good = proxy.get(path);
        assert_eq!(good.status, 200, "{path}: {good:?}");
        site.fail(&there(path), Fault::CutAfter(10));
        proxy.get(path).is(200, "upstream-failed", good.text());
        site.heal();
    }
}

#[test]
fn what_was_good_stands_in_for_an_index_that_is_not_there() {
    let site = Site::new();
    let proxy = proxy(&site);
    for (path, document) in indexes() {
        site.fail(&there(path), Fault::Status(404));
        assert_eq!(proxy.get(path).status, 404, "{path} was never there");
        site.heal();
        put(&site, path, &document);
        let good = proxy.get(path);
        assert_eq!(good.status, 200, "{path}: {good:?}");
        site.fail(&there(path), Fault::Status(404));
        proxy.get(path).is(200, "upstream-failed", good.text());
        site.heal();
        for status in [401, 403, 410] {
            site.fail(&there(path), Fault::Status(status));
            assert_eq!(proxy.get(path).status, status, "{path}");
            site.heal();
            site.unplug();
            proxy.get(path).is(200, "upstream-failed", good.text());
            site.heal();
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_not_there_whatever_is_stored() {
    let site = Site::new();
    let proxy = proxy(&site);
    let deb = "/debian/pool/a/a_1_all.deb";
    site.put(deb, "deb");
    proxy.get(deb).is(200, "", "deb");
    proxy.kept(1);
    site.fail(deb, Fault::Status(404));
    assert_eq!(proxy.get(deb).status, 404);
}

#[test]
fn the_body_of_a_refused_index_that_an_entry_has_stays() {
    let site = Site::new();
    let proxy = proxy(&site);
    site.put("/debian/pool/a/a_1_all.deb", "<html>");
    proxy.get("/debian/pool/a/a_1_all.deb").is(200, "", "<html>");
    until("it is stored", || proxy.listed() == 1);
    site.put(RELEASE, "<html>");
    site.put("/debian/dists/testing/Release", "<html lang=en>");
    refused(&proxy.get(RELEASE), "its line 1 is not a field");
    refused(&proxy.get("/debian/dists/testing/Release"), "its line 1 is not a field");
    until("the other body is gone", || proxy.packages().blobs().list().unwrap().len() == 1);
    proxy.get("/debian/pool/a/a_1_all.deb").is(200, "fwd-status=304", "<html>");
}

#[test]
fn an_index_that_says_it_is_larger_than_any_is_not_fetched() {
    let origin = crate::support::Origin::new(|_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", (1_u64 << 30) + 1);
        drop(stream.write_all(head.as_bytes()));
    });
    let settings =
        format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"cargo\" }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    let answer = proxy.get("/aa/aa/aaaa");
    assert!(answer.status == 502 && answer.text().contains("none is larger than 1 GiB"), "{answer:?}");
    nothing_is_kept(&proxy);
}

/// Nothing says beforehand how much comes.
#[test]
fn an_index_that_becomes_larger_than_any_is_cut_off_and_not_kept() {
    let origin = crate::support::Origin::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        let line = vec![b' '; 1 << 20];
        // It would go on for ever.
        while stream.write_all(&line).is_ok() {}
    });
    let settings =
        format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"cargo\" }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    let answer = proxy.get("/aa/aa/aaaa");
    assert!(answer.status == 502 && answer.text().contains("did not come whole"), "{answer:?}");
    proxy.says("no index is larger than 1 GiB");
    nothing_is_kept(&proxy);
}

/// The forward mode writes nothing anew, and checks all the same.
#[test]
fn an_index_that_is_none_is_refused_through_the_forward_door() {
    let site = Site::new();
    let proxy = proxy(&site);
    let config = format!("{{\"dl\":\"{}/crates\"}}", site.url());
    let config = ("/crates/config.json", config);
    let checked = indexes().into_iter().skip(1).take(6).chain([config]);
    for (path, document) in checked {
        let url = format!("{}{}", site.url(), there(path));
        let answers = || {
            ["GET", "HEAD"].map(|method| {
                proxy.ask(method, &url, "accept: */*\naccept-encoding: gzip, br\nif-none-match: \"x\"")
            })
        };
        for bad in ["<!DOCTYPE html>\n<title>Log in</title>\n", &document[..document.len() / 2], "{}"] {
            site.put_with(&there(path), "content-type: text/html", bad);
            let [get, head] = answers();
            refused(&get, "");
            assert_eq!(head.status, 502, "{path}: {head:?}");
        }
        nothing_is_kept(&proxy);
        put(&site, path, &document);
        let [get, head] = answers();
        get.is(200, "", &document);
        assert_eq!(head.status, 200, "{path}: {head:?}");
        site.put_with(&there(path), "content-type: text/html", "<!DOCTYPE html>\n");
        let [get, _] = answers();
        get.is(200, "upstream-failed", &document);
        // The next one begins with an empty store.
        for ecosystem in ["python", "npm", "cargo"] {
            proxy.command(&["rm", "--ecosystem", ecosystem]);
        }
        for digest in proxy.packages().blobs().list().unwrap() {
            std::fs::remove_file(proxy.packages().blobs().path(&digest)).unwrap();
        }
    }
}

/// What is asked of an interface is asked anew each time, whatever lifetime its answer names.
#[test]
fn an_interface_is_never_stored() {
    let origin = crate::support::Origin::fixed(
        "cache-control: public, max-age=600\r\nlast-modified: Sun, 01 Nov 2020 00:00:00 GMT\r\n",
        "{\"objects\":",
    );
    let settings = format!(
        "[pkgcache]\nheuristic-freshness = true\n[pkgcache.upstream]\nnpm = {{ url = \"{}\", kind = \"npm\" }}\n",
        origin.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    for path in ["/npm/-/v1/search?text=a", "/npm/-/all", "/npm/-/package/a/dist-tags"] {
        for _ in 0..2 {
            // It is nobody's index, so whatever it is goes to the client.
            proxy.get(path).is(200, "fwd=request", "{\"objects\":");
        }
        assert_eq!(origin.count("GET", path.strip_prefix("/npm").unwrap()), 2, "{path}");
    }
    nothing_is_kept(&proxy);
}

/// All links of the list of projects lead to pages of the mount.
#[test]
fn the_list_of_all_projects_stays_on_the_mount() {
    let site = Site::new();
    let proxy = proxy(&site);
    let list = format!(
        "<!DOCTYPE html><a href=\"/simple/a/\">a</a><a href=\"{}/simple/b/\">b</a><a href=\"https://e.example/c/\">c</a>",
        site.url()
    );
    site.put_with("/simple/", "content-type: text/html", list);
    let html = proxy.ask("GET", "/pypi/", "accept: text/html");
    let links: Vec<_> =
        html.text().split("href=\"").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    assert_eq!(links, ["/pypi/a/", "/pypi/b/"], "{html:?}");
    let json = proxy.ask("GET", "/pypi/", "accept: application/vnd.pypi.simple.v1+json");
    assert_eq!(json.json()["projects"], serde_json::json!([{"name": "a"}, {"name": "b"}]));
    assert_eq!(proxy.ask("GET", "/pypi/", "accept: image/png").status, 406);
}

/// Without a keyring nobody here knows that somebody changed it; apt does, and says so.
#[test]
fn a_release_that_was_changed_is_had_anew_after_a_refresh() {
    let site = Site::new();
    let settings =
        format!("[pkgcache.upstream]\ndebian = {{ url = \"{}/debian\", kind = \"apt\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    site.put(RELEASE, release(OTHER));
    proxy.get(RELEASE).is(200, "stored", &release(OTHER));
    proxy.kept(1);
    site.put(RELEASE, release(EMPTY));
    proxy.get(RELEASE).is(200, "hit", &release(OTHER));
    proxy.command(&["refresh", &format!("{}{RELEASE}", site.url())]).ok();
    proxy.get(RELEASE).is(200, "", &release(EMPTY));
}

/// It shows no other refusal than this.
#[test]
fn yarn_1_is_told_in_the_way_that_it_shows() {
    let site = Site::new();
    let proxy = proxy(&site);
    let yarn = "user-agent: yarn/1.22.22 npm/? node/v20.0.0 linux x64";
    site.put("/npm/a", "<!DOCTYPE html>\n");
    let refused = proxy.ask("GET", "/npm/a", yarn);
    assert_eq!((refused.status, refused.header("content-type")), (424, Some("application/json")));
    assert!(refused.json()["error"].as_str().unwrap().contains("/npm/a cannot be used: "), "{refused:?}");
    // Others get what says more of the reason, and yarn 1 what has it try again.
    for agent in ["yarn/4.18.1 npm/?", "yarn/10.0", "npm/11.0.0"] {
        assert_eq!(proxy.ask("GET", "/npm/a", &format!("user-agent: {agent}")).status, 502, "{agent}");
    }
    site.unplug();
    assert_eq!(proxy.ask("GET", "/npm/b", yarn).status, 502);
    let proxy = proxy.again(&["--offline"]);
    let missing = proxy.ask("GET", "/npm/b", yarn);
    assert!(missing.status == 424 && missing.json()["error"].as_str().unwrap().contains("is offline"));
    assert_eq!(proxy.ask("GET", "/npm/b", "").status, 504);
}
