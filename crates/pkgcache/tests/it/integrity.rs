//! Bodies of which it is known what they have to be: here by an address with a digest.

use std::io::Write;

use crate::support::{Answer, Cached, Origin, Proxy, answer};
use larder_tests::http::Site;
use storekit::{Digest, Level, PackageEntry};

/// A proxy with the origin mounted as a registry.
fn registry(origin: &Origin) -> Proxy {
    let settings = format!("[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", kind = \"oci\" }}\n", origin.url());
    Proxy::set(&settings, &[])
}

fn get(proxy: &Proxy, body: &[u8]) -> Answer {
    proxy.get(&format!("/v2/tool/blobs/{}", Digest::of(body)))
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
    larder_tests::until("the response is stored", || !entries(&proxy).is_empty());
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
    for headers in
        ["", "cache-control: no-store", "range: bytes=0-99", "cache-control: no-cache\npragma: no-cache"]
    {
        let cut = proxy.ask("GET", &wrong, headers);
        assert!(!cut.whole || cut.status != 200, "{headers}: {} bytes came whole", cut.body.len());
    }
    // What is right is handed on, and not stored.
    let right = format!("/v2/tool/blobs/{}", Digest::of(body.as_bytes()));
    let whole = proxy.ask("GET", &right, "cache-control: no-store");
    assert!(whole.whole && whole.status == 200 && whole.body == body.as_bytes());
    assert!(entries(&proxy).is_empty());
}
