//! HEAD of what package clients ask for: it says what GET would say.

use larder_tests::http::{Fault, Reply, Site};
use storekit::Digest;

use crate::support::{Answer, Cached, Proxy};

const CRATE: &str = "/crates/api/v1/crates/aaaa/1.0.0/download";
const TARBALL: &str = "/npm/a/-/a-1.0.0.tgz";
const WHEEL: &str = "/files/a-1-py3-none-any.whl";
const DEB: &str = "/debian/pool/a/a_1_all.deb";
const NONE: [&str; 0] = [];

/// What is at this path: all have the same size.
fn body(path: &str) -> String {
    format!("the bytes of {}", path.split('/').nth(1).unwrap_or_default())
}

fn hex(path: &str) -> String {
    Digest::of(body(path).as_bytes()).hex()
}

/// An upstream of each kind, with a package.
fn site() -> Site {
    let site = Site::new();
    let page = format!(
        "{{\"meta\":{{\"api-version\":\"1.1\"}},\"name\":\"a\",\"files\":[{{\"filename\":\"a-1-py3-none-any.whl\",\
         \"url\":\"{}{WHEEL}\",\"hashes\":{{\"sha256\":\"{}\"}},\"size\":{}}}]}}",
        site.url(),
        hex(WHEEL),
        body(WHEEL).len()
    );
    site.put_with("/simple/a/", "content-type: application/vnd.pypi.simple.v1+json", page);
    let packument = format!(
        "{{\"name\":\"a\",\"dist-tags\":{{\"latest\":\"1.0.0\"}},\"versions\":{{\"1.0.0\":{{\"name\":\"a\",\"version\":\"1.0.0\",\
         \"dist\":{{\"tarball\":\"{}{TARBALL}\",\"shasum\":\"6a73ca2c3b5e8b3b8ddc2d8a3c8d2cf4b7e5a5fa\"}}}}}}}}",
        site.url()
    );
    site.put("/npm/a", packument);
    let line = format!(
        "{{\"name\":\"aaaa\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":false}}\n",
        hex(CRATE)
    );
    site.put("/crates/aa/aa/aaaa", line);
    let config = format!("{{\"dl\":\"{0}/crates/api/v1/crates\",\"api\":\"{0}/crates\"}}", site.url());
    site.put("/crates/config.json", config);
    let packages = format!(
        "Package: a\nFilename: pool/a/a_1_all.deb\nSize: {}\nSHA256: {}\n",
        body(DEB).len(),
        hex(DEB)
    );
    let named = Digest::of(packages.as_bytes()).hex();
    site.put(
        "/debian/dists/stable/Release",
        format!("Suite: stable\nSHA256:\n {named} {} main/binary-amd64/Packages\n", packages.len()),
    );
    site.put("/debian/dists/stable/main/binary-amd64/Packages", packages);
    for path in [CRATE, TARBALL, WHEEL, DEB] {
        site.put_with(path, "content-type: application/x-package\nset-cookie: a=b", body(path));
    }
    site
}

/// A proxy with a mount for each kind.
fn proxy(site: &Site) -> Proxy {
    let url = site.url();
    let settings = format!(
        "[pkgcache.upstream]\n\
         debian = {{ url = \"{url}/debian\", kind = \"apt\" }}\n\
         pypi = {{ url = \"{url}/simple\", kind = \"python\" }}\n\
         npm = {{ url = \"{url}/npm\", kind = \"npm\" }}\n\
         crates = {{ url = \"{url}/crates\", kind = \"cargo\" }}\n"
    );
    Proxy::set(&settings, &[])
}

/// The path here of the wheel that the page names.
fn wheel(site: &Site) -> String {
    format!("/pypi/files/http_{}{WHEEL}", site.authority().replace(':', "_"))
}

fn the_crate() -> String {
    format!("/crates/dl/aaaa/1.0.0/{}.crate", hex(CRATE))
}

/// The packages: their paths here and there.
fn packages(site: &Site) -> [(String, &'static str); 3] {
    [(DEB.to_owned(), DEB), (wheel(site), WHEEL), (the_crate(), CRATE)]
}

/// What an answer says: its status, and its fields but for the day, and for what `Cache-Status`
/// says of the store.
fn said(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut fields: Vec<_> = answer.headers.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
    fields
        .retain(|(name, _)| !matches!(name.as_str(), "date" | "cache-status" | "age" | "via" | "connection"));
    fields.sort();
    let verified = answer.cache().split("; ").find(|it| it.starts_with("verified=")).unwrap_or_default();
    (answer.status, fields, verified.to_owned())
}

fn ready(site: &Site) -> Proxy {
    let proxy = proxy(site);
    // apt and cargo ask for a package when they have an index that names it.
    let indexes = [
        "/debian/dists/stable/Release",
        "/debian/dists/stable/main/binary-amd64/Packages",
        "/crates/aa/aa/aaaa",
    ];
    for path in indexes {
        assert_eq!(proxy.get(path).status, 200);
    }
    proxy.kept(indexes.len());
    proxy
}

#[test]
fn a_file_that_is_not_stored_has_the_head_that_get_gives_it() {
    let site = site();
    let proxy = ready(&site);
    for (path, there) in packages(&site) {
        for fields in ["", "if-none-match: \"x\"\nrange: bytes=0-3\naccept-encoding: gzip"] {
            site.forget();
            let cold = proxy.ask("HEAD", &path, fields);
            assert!(cold.status == 200 && cold.whole, "{path}: {cold:?}");
            let log = site.log();
            let asked = log.iter().filter(|it| it.request.method == "HEAD");
            assert_eq!(asked.count(), 1, "{path}: {log:#?}");
            assert!(log.iter().all(|it| it.request.header("range").is_none()), "{log:#?}");
        }
        let cold = proxy.ask("HEAD", &path, "");
        let get = proxy.get(&path);
        assert_eq!(get.text(), body(there), "{path}");
        assert_eq!(said(&cold), said(&get), "{path}");
        assert_eq!(said(&get).2, "verified=indexed", "{path}");
        proxy.settled(&path);
        let (mut warm, mut again) = (said(&proxy.ask("HEAD", &path, "")), said(&proxy.get(&path)));
        assert_eq!(warm, again, "{path}");
        // Cookies are for the client that was answered by the server.
        warm.1.retain(|(name, _)| name != "set-cookie");
        again = said(&get);
        again.1.retain(|(name, _)| name != "set-cookie");
        assert_eq!(warm, again, "{path}");
    }
}

#[test]
fn a_condition_holds_for_the_head_of_what_is_not_stored() {
    let site = site();
    let proxy = ready(&site);
    for (path, _) in packages(&site) {
        let tag = proxy.ask("HEAD", &path, "").header("etag").unwrap().to_owned();
        let fields = format!("if-none-match: {tag}");
        let head = proxy.ask("HEAD", &path, &fields);
        let get = proxy.ask("GET", &path, &fields);
        assert_eq!((head.status, get.status), (304, 304), "{path}: {head:?} {get:?}");
        assert_eq!(said(&head), said(&get), "{path}");
    }
}

#[test]
fn a_file_of_another_size_than_its_index_says_has_no_head() {
    let site = site();
    let proxy = ready(&site);
    for (path, there) in [(DEB.to_owned(), DEB), (wheel(&site), WHEEL)] {
        site.put(there, "short");
        let head = proxy.ask("HEAD", &path, "");
        assert!(head.status == 502 && head.cache().contains("upstream-failed"), "{head:?}");
        let get = proxy.get(&path);
        assert!(get.status == 502 && get.text().contains("its index says"), "{get:?}");
    }
    assert_eq!(proxy.metric("pkgcache_mismatches_total"), 4);
}

#[test]
fn a_file_that_its_index_names_and_the_upstream_has_not_is_no_404_by_head() {
    let site = site();
    let proxy = ready(&site);
    for (path, there) in packages(&site) {
        for status in [404, 410, 403, 500] {
            site.fail(there, Fault::Status(status));
            let (head, get) = (proxy.ask("HEAD", &path, ""), proxy.get(&path));
            assert_eq!(head.status, get.status, "{path} {status}: {head:?}");
            assert_ne!(head.status, 404);
            assert!(head.whole && head.body.is_empty(), "{head:?}");
            site.heal();
        }
    }
}

#[test]
fn a_server_that_knows_no_head_is_asked_by_get() {
    let site = site();
    let proxy = ready(&site);
    for status in [405, 501, 403, 400] {
        let path = format!("/npm/a/-/a-{status}.0.0.tgz");
        site.script(&path, move |request| match request.method.as_str() {
            "HEAD" => Reply { status, ..Reply::default() },
            _ => Reply { status: 200, fields: "etag: \"x\"".to_owned(), body: b"tarball".into() },
        });
        let head = proxy.ask("HEAD", &path, "range: bytes=0-1");
        assert_eq!((head.status, head.header("content-length")), (200, Some("7")), "{status}: {head:?}");
        proxy.settled(&path);
        proxy.get(&path).is(200, "hit", "tarball");
    }
}

#[test]
fn where_a_registry_says_another_digest_there_is_no_head() {
    let site = site();
    let settings = format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    let (digest, other) = (Digest::of(b"blob"), Digest::of(b"other"));
    let path = format!("/v2/tool/blobs/{digest}");
    for (said, status) in [(other, 502), (digest, 200)] {
        site.put_with(&path, &format!("docker-content-digest: {said}"), "blob");
        let head = proxy.ask("HEAD", &path, "");
        assert_eq!(head.status, status, "{head:?}");
        assert!(status != 200 || head.cache().contains("verified=addressed"), "{head:?}");
    }
    // Nothing of it is stored.
    assert_eq!(site.log().iter().map(|it| it.bytes).sum::<usize>(), 0);
}

#[test]
fn what_is_stored_elsewhere_has_a_head_without_a_question() {
    let site = site();
    let proxy = ready(&site);
    let bytes = body(CRATE);
    // A Debian package of the same bytes.
    site.put("/debian/pool/b.deb", bytes.clone());
    proxy.get("/debian/pool/b.deb").is(200, "", &bytes);
    proxy.settled("/debian/pool/b.deb");
    assert_eq!(proxy.get("/crates/config.json").status, 200);
    site.forget();
    let head = proxy.ask("HEAD", &the_crate(), "");
    let length = bytes.len().to_string();
    assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())), "{head:?}");
    assert_eq!(site.log().iter().map(|it| it.request.path.clone()).collect::<Vec<_>>(), NONE);
}

#[test]
fn an_index_is_fetched_for_its_head() {
    let site = site();
    site.put_with("/simple/", "content-type: text/html", "<a href=\"a/\">a</a>");
    let proxy = proxy(&site);
    for path in ["/pypi/", "/pypi/a/", "/npm/a", "/crates/config.json", "/crates/aa/aa/aaaa"] {
        let head = proxy.ask("HEAD", path, "");
        site.fail("", Fault::Status(404));
        let get = proxy.get(path);
        site.heal();
        assert_eq!(get.status, 200, "{path}: {get:?}");
        assert_eq!(said(&head).0, 200, "{path}: {head:?}");
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}: {head:?}");
        assert_eq!(said(&head), said(&get), "{path}");
    }
}

/// A mirror that is being updated has no index for a while, by whatever method it is asked.
#[test]
fn what_was_good_stands_in_for_the_head_of_an_index() {
    let site = site();
    site.put_with("/simple/", "content-type: text/html", "<a href=\"a/\">a</a>");
    let url = site.url();
    let settings = format!(
        "[pkgcache]\nindex-ttl = \"0s\"\n[pkgcache.upstream]\npypi = {{ url = \"{url}/simple\", kind = \"python\" }}\n"
    );
    let proxy = Proxy::set(&settings, &[]);
    for path in ["/pypi/", "/pypi/a/"] {
        assert_eq!(proxy.get(path).status, 200);
        proxy.kept(1);
        for fault in [Fault::Status(404), Fault::Status(500), Fault::TooManyRequests("0".to_owned())] {
            site.fail("", fault);
            let (head, get) = (proxy.ask("HEAD", path, ""), proxy.get(path));
            assert!(head.status == 200 && head.cache().contains("upstream-failed"), "{path}: {head:?}");
            assert_eq!(said(&head), said(&get), "{path}");
            site.heal();
        }
    }
}

#[test]
fn a_redirect_leads_back_to_the_mount_by_head_too() {
    let site = site();
    let proxy = proxy(&site);
    // One that leads elsewhere is refused by both, one within the server is followed by both.
    site.put("/npm/a/-/there.tgz", "tarball");
    let path = "/npm/a/-/a-9.0.0.tgz";
    for (to, status) in [("/npm/a/-/there.tgz", 200), ("http://elsewhere.example/x", 403), ("ftp://x/", 403)]
    {
        site.fail(path, Fault::Redirect(302, to.to_owned()));
        let head = proxy.ask("HEAD", path, "");
        assert_eq!(head.status, status, "{to}: {head:?}");
        let get = proxy.get(path);
        assert_eq!(said(&head), said(&get), "{to}");
        if status == 200 {
            // Its entry is written a moment after its last byte; before that, nothing can be
            // removed.
            proxy.kept(1);
        }
        proxy.command(&["rm", "--ecosystem", "npm"]);
        site.heal();
    }
}
