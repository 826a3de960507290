//! Bodies that an index has announced: the proxy inside this process, with a classifier that names
//! a digest.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Uri;
use pkgcache::{Class, Classify, Config, Outside, Server, Upstream};
use storekit::{Digest, Store};
use tokio::runtime::Runtime;

use crate::support::{Answer, Cached, Origin, answer};

#[derive(Debug)]
struct Announcing(Digest);

impl Classify for Announcing {
    fn classify(&self, _source: &str, _url: &Uri) -> Class {
        let name = Some("tool".to_owned());
        Class { ecosystem: "test".to_owned(), name, announced: Some(self.0), ..Class::default() }
    }
}

/// Nobody listens.
#[derive(Debug)]
struct Nobody;

impl Outside for Nobody {
    fn note(&self, _: &str) {}

    fn warning(&self, _: &str) {}

    fn stdout(&self) -> Box<dyn Write + Send> {
        Box::new(std::io::sink())
    }

    fn authorities(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

struct Proxy {
    store: Store,
    address: SocketAddr,
    _runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Proxy {
    fn new(origin: &Origin, announced: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(camino::Utf8Path::from_path(dir.path()).unwrap()).unwrap();
        let upstream =
            Upstream { name: String::new(), url: origin.url().parse().unwrap(), ..Upstream::default() };
        let config = Config { upstreams: vec![upstream], ..Config::default() };
        let classify = Box::new(Announcing(Digest::of(announced)));
        let runtime = Runtime::new().unwrap();
        let server =
            runtime.block_on(Server::bind(config, store.clone(), classify, Arc::new(Nobody))).unwrap();
        let address = server.address().unwrap();
        runtime.spawn(server.run());
        Self { store, address, _runtime: runtime, _dir: dir }
    }

    fn get(&self, path: &str) -> Answer {
        larder_tests::http::get(&self.address.to_string(), path).unwrap()
    }

    fn entries(&self) -> Vec<storekit::PackageEntry> {
        let mut entries = Vec::new();
        let mut note = |found: storekit::FoundPackage| {
            entries.extend(found.entry);
            Ok::<_, storekit::Error>(())
        };
        self.store.packages().each(&mut note).unwrap();
        entries
    }
}

#[test]
fn what_was_announced_is_stored_with_its_digest() {
    let origin = Origin::fixed("cache-control: max-age=60", "body");
    let proxy = Proxy::new(&origin, b"body");
    proxy.get("/a").is(200, "stored", "body");
    larder_tests::until("the response is stored", || !proxy.entries().is_empty());
    let entry = &proxy.entries()[0];
    assert_eq!((entry.key.ecosystem.as_str(), entry.name.as_deref()), ("test", Some("tool")));
    assert_eq!(entry.responses[0].announced, Some(Digest::of(b"body")));
    proxy.get("/a").is(200, "hit", "body");
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
        let proxy = Proxy::new(&origin, b"something else");
        let cut = proxy.get("/a");
        assert!(!cut.whole && cut.body.len() < body.len(), "{} bytes came", cut.body.len());
        assert!(proxy.entries().is_empty() && proxy.store.packages().blobs().list().unwrap().is_empty());
        assert!(proxy.get("/metrics").text().contains("pkgcache_mismatches_total 1\n"));
    }
}
