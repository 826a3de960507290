//! Bodies of which it is known what they have to be: here by an address with a digest.

use std::io::Write;

use crate::support::{Answer, Cached, Origin, Proxy, answer};
use larder_tests::http::Site;
use larder_tests::until;
use storekit::{Digest, Level, PackageEntry};

/// A proxy with the origin mounted as a registry.
fn registry(origin: &Origin) -> Proxy {
    let settings = format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n", origin.url());
    Proxy::set(&settings, &[])
}

fn get(proxy: &Proxy, body: &[u8]) -> Answer {
    proxy.get(&format!("/v2/tool/blobs/{}", Digest::of(body)))
}

/// Waits until no fetch is under way: another request would be given what that brings.
fn over(proxy: &Proxy) {
    until("the fetch is over", || proxy.get("/status.json").json()["flight-count"] == 0);
}

fn entries(proxy: &Proxy) -> Vec<PackageEntry> {
    let mut entries = Vec::new();
    let mut note = |found: storekit::FoundPackage| {
        entries.extend(found.entry);
        Ok::<_, storekit::Error>(())
    };
    proxy.packages().each(&mut note).unwrap();
    entries
}

#[test]
fn what_was_announced_is_stored_with_its_digest() {
    let origin = Origin::fixed("", "body");
    let proxy = registry(&origin);
    get(&proxy, b"body").is(200, "stored", "body");
    until("the response is stored", || !entries(&proxy).is_empty());
    let entry = &entries(&proxy)[0];
    assert_eq!((entry.key.ecosystem.as_str(), entry.name.as_deref()), ("oci", Some("tool")));
    let response = &entry.responses[0];
    assert_eq!((response.announced, response.level), (Some(Digest::of(b"body").into()), Level::Addressed));
    let hit = get(&proxy, b"body");
    hit.is(200, "hit", "body");
    assert!(hit.header("cache-status").is_some_and(|it| it.contains("; verified=addressed")), "{hit:?}");
}

#[test]
fn what_is_not_what_was_announced_is_cut_before_its_last_byte_and_forgotten() {
    let body = "0123456789".repeat(50_000);
    for headers in ["cache-control: max-age=60", "cache-control: max-age=60\ntransfer-encoding: chunked"] {
        let chunked = format!(
            "HTTP/1.1 200 X\r\n{}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            headers.replace('\n', "\r\n"),
            body.len()
        );
        let sized = answer(200, headers, body.as_bytes());
        let bytes = if headers.contains("chunked") { chunked.into_bytes() } else { sized };
        let origin = Origin::new(move |_, stream| drop(stream.write_all(&bytes)));
        let proxy = registry(&origin);
        let cut = get(&proxy, b"something else");
        assert!(!cut.whole && cut.body.len() < body.len(), "{} bytes came", cut.body.len());
        assert!(entries(&proxy).is_empty() && proxy.packages().blobs().list().unwrap().is_empty());
        assert!(proxy.get("/metrics").text().contains("pkgcache_mismatches_total 1\n"));
        let (announced, found) = (Digest::of(b"something else"), Digest::of(body.as_bytes()));
        let url = format!("{}/v2/tool/blobs/{announced}", origin.url());
        let log = |times: usize| {
            let line = format!("`{url}` was announced as `{announced}` and came as `{found}`");
            until(format_args!("{times} lines: {line}"), || proxy.said().matches(&line).count() == times);
        };
        log(1);
        // The next client asks again, and is told again.
        assert!(!get(&proxy, b"something else").whole);
        assert_eq!(origin.seen().len(), 2);
        log(2);
    }
}

#[test]
fn a_body_that_is_not_as_long_as_its_index_says_is_not_handed_on() {
    let site = Site::new();
    let wheel = "/files/tool-1-py3-none-any.whl";
    let hash = "1".repeat(64);
    let page = format!(
        "{{\"meta\":{{\"api-version\":\"1.1\"}},\"name\":\"tool\",\"files\":[{{\"filename\":\"tool-1-py3-none-any.whl\",\
         \"url\":\"{wheel}\",\"hashes\":{{\"sha256\":\"{hash}\"}},\"size\":100}}]}}"
    );
    site.put_with("/simple/tool/", "content-type: application/vnd.pypi.simple.v1+json", page);
    site.put(wheel, "short");
    let settings =
        format!("[pkgcache.upstream]\nindex = {{ url = \"{}/simple/\", kind = \"python\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    let answer = proxy.get(&format!("/index/files/http_{}{wheel}", site.authority().replace(':', "_")));
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.text().contains("has 5 bytes, and its index says 100"), "{answer:?}");
}

#[test]
fn neither_size_nor_the_clients_word_lets_a_wrong_body_through() {
    let body = "0123456789".repeat(50_000);
    let bytes = answer(200, "", body.as_bytes());
    let origin = Origin::new(move |_, stream| drop(stream.write_all(&bytes)));
    let settings = format!(
        "[pkgcache]\nmax-object = \"1kB\"\n[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n",
        origin.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    let wrong = format!("/v2/tool/blobs/{}", Digest::of(b"something else"));
    for headers in [
        "",
        "cache-control: no-store",
        "range: bytes=0-99",
        "cache-control: no-cache\npragma: no-cache",
        "authorization: Bearer x",
    ] {
        let cut = proxy.ask("GET", &wrong, headers);
        assert!(!cut.whole || cut.status != 200, "{headers}: {} bytes came whole", cut.body.len());
    }
    // What is right is handed on, and not stored.
    let right = format!("/v2/tool/blobs/{}", Digest::of(body.as_bytes()));
    let whole = proxy.ask("GET", &right, "cache-control: no-store");
    assert!(whole.whole && whole.status == 200 && whole.body == body.as_bytes());
    assert!(entries(&proxy).is_empty());
}

#[test]
fn what_cannot_be_stored_is_compared_all_the_same() {
    let body = "0123456789".repeat(50_000);
    let bytes = answer(200, "", body.as_bytes());
    let origin = Origin::new(move |_, stream| drop(stream.write_all(&bytes)));
    let settings = format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    let folder = proxy.packages().blobs().folder().to_owned();
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::write(&folder, "not a folder").unwrap();
    let get = |of: &[u8]| proxy.get(&format!("/v2/tool/blobs/{}", Digest::of(of)));
    let wrong = get(b"something else");
    assert!(!wrong.whole && wrong.body.len() < body.len(), "{}", wrong.body.len());
    let right = get(body.as_bytes());
    assert!(right.status == 200 && right.whole && right.body == body.as_bytes());
    assert!(right.header("cache-status").is_some_and(|it| !it.contains("stored")), "{right:?}");
    assert!(proxy.get("/metrics").text().contains("pkgcache_mismatches_total 1\n"));
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    over(&proxy);
    get(body.as_bytes()).is(200, "stored", &body);
}

#[test]
fn a_plain_file_of_an_account_is_compared_and_not_stored() {
    let site = Site::new();
    let body = "right ".repeat(20_000);
    site.put("/tool", body.clone());
    let settings = format!("[pkgcache.upstream]\ntools = \"{}\"\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    let path = format!("/sha256/{}/tools/tool", Digest::of(body.as_bytes()).hex());
    let get = || proxy.ask("GET", &path, "authorization: Bearer x");
    let right = get();
    assert!(
        right.status == 200 && right.whole && right.text() == body,
        "{} {}",
        right.status,
        right.body.len()
    );
    assert!(right.header("cache-status").is_some_and(|it| !it.contains("stored")), "{:?}", right.headers);
    over(&proxy);
    site.flip("/tool", 100_000);
    let wrong = get();
    // It may be cut off before its head has left.
    assert!(!wrong.whole, "{} {}", wrong.status, wrong.body.len());
    until("nothing of it stays", || {
        entries(&proxy).is_empty() && proxy.packages().blobs().list().unwrap().is_empty()
    });
}

/// A plain file whose checksum somebody knows: a Dockerfile's `ADD --checksum`, a script.
#[test]
fn an_address_may_say_what_a_plain_file_has_to_be() {
    let site = Site::new();
    site.put("/releases/tool-1.0.tar.gz", "body");
    let settings = format!("[pkgcache.upstream]\ntools = \"{0}/releases\"\nsha512 = \"{0}\"\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    let path = |hex: &str| format!("/sha256/{hex}/tools/tool-1.0.tar.gz");
    let right = Digest::of(b"body").hex();
    let head = proxy.ask("HEAD", &path(&right), "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    proxy.get(&path(&right)).is(200, "stored", "body");
    until("it is stored", || entries(&proxy).iter().any(|it| it.responses.len() == 1));
    site.put("/releases/tool-1.0.tar.gz", "evil");
    let hit = proxy.get(&path(&right.to_uppercase()));
    hit.is(200, "hit", "body");
    assert!(hit.header("cache-status").is_some_and(|it| it.contains("; verified=addressed")), "{hit:?}");
    proxy.ask("GET", &path(&right), "range: bytes=1-2").is(206, "hit", "od");
    // Of what somebody else expects, nothing that is another comes whole, and nothing is lost.
    let cut = proxy.get(&path(&Digest::of(b"other").hex()));
    assert!(!cut.whole || cut.status == 502, "{cut:?}");
    proxy.get(&path(&right)).is(200, "hit", "body");
    site.unplug();
    proxy.get(&path(&right)).is(200, "hit", "body");
    let why = proxy.command(&["why", &path(&right)]).ok();
    assert!(why.stdout().contains("class     self-certifying (generic)"), "{why}");
    assert_eq!(proxy.get("/sha256/abc/tools/tool-1.0.tar.gz").status, 400);
    assert_eq!(proxy.get(&format!("/sha256/{right}/none/x")).status, 404);
    // A mount of that name keeps its paths, and what its address does not promise is asked for
    // anew: also within the second in which it was handed on for an address that does.
    site.heal();
    let plain = "/sha512/releases/tool-1.0.tar.gz";
    assert_eq!(proxy.get(plain).text(), "evil");
    for change in 0..20 {
        let body = format!("body {change}");
        site.put("/releases/tool-1.0.tar.gz", body.as_str());
        let promised = path(&Digest::of(body.as_bytes()).hex());
        (0..6).for_each(|_| assert_eq!(proxy.get(&promised).text(), body));
        site.put("/releases/tool-1.0.tar.gz", "evil");
        let mounted = proxy.get(plain);
        assert_eq!(mounted.text(), "evil", "{mounted:?}");
    }
}

/// npm names tarballs by SHA-512, and those of old by SHA-1.
#[test]
fn verify_compares_bodies_with_whatever_their_index_announced() {
    let site = Site::new();
    let integrity =
        "sha512-r1nYKAZEX1Pb+z6sXr+rNsJXynquzxwuM7qSBc00AhcHIeZlH8p5Bm+q/80DNGZKiHqvsiE+/aaVZYioF96tOQ==";
    let version = |name: &str, dist: &str| {
        format!(
            "\"{name}\":{{\"name\":\"a\",\"version\":\"{name}\",\"dist\":{{\"tarball\":\"{}/a/-/a-{name}.tgz\",{dist}}}}}",
            site.url()
        )
    };
    let one = version("1.0.0", &format!("\"integrity\":\"{integrity}\""));
    let two = version("2.0.0", "\"shasum\":\"3de02384225e5cd7fdf8df29ba0cde1acc10a067\"");
    site.put_with(
        "/a",
        "content-type: application/json",
        format!("{{\"name\":\"a\",\"versions\":{{{one},{two}}}}}"),
    );
    site.put("/a/-/a-1.0.0.tgz", "tarball one");
    site.put("/a/-/a-2.0.0.tgz", "tarball two");
    let settings = format!("[pkgcache.upstream]\nnpm = {{ url = \"{}\", kind = \"npm\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    proxy.get("/npm/a/-/a-1.0.0.tgz").is(200, "stored", "tarball one");
    proxy.get("/npm/a/-/a-2.0.0.tgz").is(200, "stored", "tarball two");
    until("all are stored", || entries(&proxy).len() == 3);
    let algorithms = || -> Vec<_> {
        let mut all: Vec<_> = entries(&proxy)
            .iter()
            .flat_map(|it| it.responses.iter().filter_map(|it| it.announced.map(|it| it.algorithm())))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(algorithms(), ["sha1", "sha512"]);
    proxy.command(&["verify"]).ok();
    // Each body still has its digest, and is another one than was announced.
    for mut entry in entries(&proxy) {
        for response in entry.responses.iter_mut().filter(|it| it.announced.is_some()) {
            let algorithm = response.announced.unwrap().algorithm();
            let length = if algorithm == "sha1" { 40 } else { 128 };
            response.announced = storekit::Checksum::from_hex(algorithm, &"1".repeat(length));
        }
        proxy.packages().put(&entry, &[]).unwrap();
    }
    let damaged = proxy.command(&["verify"]).ends(3).says("2 of 3 stored responses are damaged");
    let text = damaged.stdout();
    for announced in ["its index announced sha1:1111", "its index announced sha512:1111"] {
        assert!(text.contains(announced) && text.contains("and the body has sha"), "{text}");
    }
    proxy.command(&["verify"]).ok();
    assert_eq!(algorithms(), [""; 0]);
    // The next request brings it anew.
    proxy.get("/npm/a/-/a-1.0.0.tgz").is(200, "", "tarball one");
    until("it is stored again", || algorithms() == ["sha512"]);
}

/// A list of packages that is not read here is handed on and verified; what it names is not, and
/// that is said.
#[test]
fn why_and_the_log_say_why_nobody_vouches_for_a_file() {
    let site = Site::new();
    let list = "BZh is read by nobody here";
    let repomd = format!(
        "<?xml version=\"1.0\"?><repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"primary\">\
         <checksum type=\"sha256\">{}</checksum><location href=\"repodata/primary.xml.bz2\"/></data></repomd>",
        Digest::of(list.as_bytes()).hex()
    );
    site.put("/fedora/repodata/repomd.xml", repomd);
    site.put("/fedora/repodata/primary.xml.bz2", list);
    site.put("/fedora/a-1-1.noarch.rpm", "rpm");
    site.put_with("/npm/a", "content-type: application/json", "{\"name\":\"a\",\"versions\":{}}");
    let settings = format!(
        "[pkgcache.upstream]\nfedora = {{ url = \"{0}/fedora\", kind = \"dnf\" }}\nnpm = {{ url = \"{0}/npm\", kind = \"npm\" }}\n",
        site.url()
    );
    let proxy = Proxy::set(&settings, &[]);
    let why = |path: &str| proxy.command(&["why", path]).stdout();
    let package = "/fedora/a-1-1.noarch.rpm";
    assert!(
        why(package).contains("expected  nothing (pinned): no repomd.xml of a folder above it is stored")
    );
    assert_eq!(proxy.get("/fedora/repodata/repomd.xml").status, 200);
    let answer = proxy.get("/fedora/repodata/primary.xml.bz2");
    answer.is(200, "verified=indexed", list);
    proxy.get(package).is(200, "verified=pinned", "rpm");
    proxy.says("has its list of packages as repodata/primary.xml.bz2 alone, which is not read here");
    until("it is stored", || why(package).contains("stored    200"));
    let text = why(package);
    assert!(text.contains("in bzip2 or zchunk alone, which is not read here"), "{text}");
    assert_eq!(
        proxy.command(&["why", "--json", package]).rows()[0]["unvouched"],
        "its repository has its list of packages in bzip2 or zchunk alone, which is not read here"
    );
    // What is vouched for says nothing of the kind.
    assert!(!why("/fedora/repodata/primary.xml.bz2").contains("nothing ("));
    proxy.get("/npm/a");
    assert!(why("/npm/a/-/a-9.0.0.tgz").contains("nothing (pinned): its packument does not name it"));
}
