//! Models of Ollama's, by a client that asks as its server does: for a manifest, for the head of
//! each blob, for the blob itself only to read `Location`, and then for 16 ranges of it at once.
//! The server itself is not there to be tried.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::thread;

use larder_tests::http::{Answer, Site, connect};
use larder_tests::{Session, until_some};
use serde_json::{Value, json};

use crate::served::{Cache, stored, verified};

/// So large that its ranges lie far apart.
const SIZE: usize = 40 << 20;
const PARTS: usize = 16;
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry of models, and the server where its blobs lie.
pub(crate) struct Registry<'a> {
    session: &'a Session,
    pub(crate) site: Site,
    pub(crate) cdn: Site,
    weights: Vec<u8>,
    pub(crate) digest: String,
}

impl<'a> Registry<'a> {
    fn new(session: &'a Session) -> Self {
        Self::of(session, SIZE)
    }

    /// With weights of so many bytes.
    pub(crate) fn of(session: &'a Session, length: usize) -> Self {
        let (site, cdn) = (Site::new(), Site::new());
        let mut state = 7_u32;
        let word = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let weights: Vec<u8> = (0..length).map(word).collect();
        let digest = sha256(session, &weights);
        let config = b"{\"model_format\":\"gguf\"}".to_vec();
        let small = sha256(session, &config);
        let layer = |kind: &str, digest: &str, size: usize| json!({ "mediaType": kind, "digest": digest, "size": size });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": layer("application/vnd.docker.container.image.v1+json", &small, config.len()),
            "layers": [layer("application/vnd.ollama.image.model", &digest, length)],
        });
        let fields = format!("content-type: {MANIFEST}");
        site.put_with("/v2/library/tiny/manifests/latest", &fields, manifest.to_string());
        for (digest, bytes) in [(&digest, weights.clone()), (&small, config)] {
            cdn.put(&format!("/{digest}"), bytes);
            let to = format!("{}/{digest}?signature=1", cdn.url());
            let reply = move |_: &_| larder_tests::http::Reply {
                status: 307,
                fields: format!("location: {to}"),
                body: Vec::new(),
            };
            site.script(&format!("/v2/library/tiny/blobs/{digest}"), reply);
        }
        Self { session, site, cdn, weights, digest }
    }

    fn cache(&self, more: &str) -> Cache<'a> {
        let (cdn, url) = (self.cdn.authority(), self.site.url());
        let settings = format!(
            "allow = [\"{cdn}\"]\n{more}\n[pkgcache.registry]\n\"models.example\" = {{ url = \"{url}\", kind = \"ollama\" }}\n\"images.example\" = {{}}\n"
        );
        Cache::start(self.session, &settings)
    }

    fn forget(&self) {
        self.site.forget();
        self.cdn.forget();
    }
}

/// How many bytes of bodies the cache has fetched.
fn upstream_bytes(cache: &Cache<'_>) -> usize {
    let metrics = ask(cache.authority(), "GET", "/metrics", "");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix("pkgcache_upstream_bytes_total "));
    value.unwrap().parse().unwrap()
}

fn sha256(session: &Session, bytes: &[u8]) -> String {
    session.write("blob", bytes);
    format!("sha256:{}", session.run("sha256sum blob | cut -d' ' -f1").ok().stdout().trim())
}

/// Sends a request as Ollama's server does; its answer is to be read.
fn send(cache: &str, method: &str, path: &str, fields: &str) -> BufReader<TcpStream> {
    let mut stream = connect(cache);
    let agent = "ollama/0.12.0 (amd64 linux) Go/go1.24.1";
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {cache}\r\nuser-agent: {agent}\r\nconnection: close\r\n{fields}\r\n"
    )
    .unwrap();
    BufReader::new(stream)
}

fn ask(cache: &str, method: &str, path: &str, fields: &str) -> Answer {
    Answer::read(&mut send(cache, method, path, fields), method)
}

/// Fetches a blob in parts. `None` where one does not come whole.
fn blob(cache: &str, digest: &str) -> Option<Vec<u8>> {
    let path = format!("/v2/library/tiny/blobs/{digest}");
    let head = ask(cache, "HEAD", &path, "");
    assert_eq!(head.status, 200, "{head:?}");
    let size: usize = head.header("content-length").unwrap().parse().unwrap();
    // The head alone is read; then the connection ends.
    let mut whole = send(cache, "GET", &path, "");
    let head = larder_tests::http::read_until(&mut whole, "\r\n\r\n").to_lowercase();
    drop(whole);
    if head.starts_with("http/1.1 502") {
        return None;
    }
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let location = head.lines().find_map(|line| line.strip_prefix("location: "));
    assert_eq!(location, Some(format!("http://{cache}{path}").as_str()), "{head}");
    let part = size.div_ceil(PARTS);
    let ranges = (0..PARTS).map(|at| (at * part, size.min((at + 1) * part))).filter(|(from, to)| from < to);
    let fetch = |(from, to): (usize, usize)| {
        let (cache, path) = (cache.to_owned(), path.clone());
        thread::spawn(move || {
            let answer = ask(&cache, "GET", &path, &format!("range: bytes={from}-{}\r\n", to - 1));
            (answer.whole && answer.status == 206 && answer.body.len() == to - from).then_some(answer.body)
        })
    };
    let fetching: Vec<_> = ranges.map(fetch).collect();
    let parts: Option<Vec<_>> = fetching.into_iter().map(|it| it.join().unwrap()).collect();
    Some(parts?.concat())
}

/// Fetches the model; the bytes of its weights.
fn pull(cache: &Cache<'_>) -> Option<Vec<u8>> {
    let accept = format!("accept: {MANIFEST}\r\n");
    let manifest = ask(cache.authority(), "GET", "/v2/library/tiny/manifests/latest", &accept);
    assert_eq!(manifest.status, 200, "{manifest:?}");
    let manifest: Value = manifest.json();
    let digest = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let weights = blob(cache.authority(), &digest(&manifest["layers"][0]));
    let config = blob(cache.authority(), &digest(&manifest["config"]));
    assert!(config.is_none_or(|config| config.starts_with(b"{\"model_format\"")));
    weights
}

#[test]
fn a_model_is_fetched_once_and_needs_no_registry_a_second_time() {
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    assert!(pull(&cache).as_ref() == Some(&registry.weights));
    let sent = upstream_bytes(&cache);
    assert!(sent <= SIZE * 105 / 100, "{sent} bytes of {SIZE}: {:?}", registry.cdn.log());
    registry.forget();
    assert!(pull(&cache).as_ref() == Some(&registry.weights));
    assert_eq!((registry.site.requests(), registry.cdn.requests()), (0, 0), "{:?}", registry.site.log());
    // Another client is told nothing of ranges.
    let path = format!("/v2/library/tiny/blobs/{}", registry.digest);
    let mut stream = connect(cache.authority());
    write!(stream, "HEAD {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(stream), "HEAD").header("location"), None);
    registry.site.unplug();
    registry.cdn.unplug();
    let cache = cache.offline();
    assert!(pull(&cache).as_ref() == Some(&registry.weights));
    verified(&cache.stop(), "/blobs/", "addressed");
    assert!(stored(&session).iter().all(|url| !url.contains("signature")));
    let rows = session.run("pkgcache ls --json --ecosystem ollama").ok().rows();
    assert_eq!(rows.len(), stored(&session).len(), "{rows:?}");
}

#[test]
fn damaged_weights_come_whole_to_nobody() {
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    let path = format!("/{}", registry.digest);
    registry.cdn.flip(&path, SIZE / 2);
    assert!(pull(&cache).is_none(), "every part of it came whole");
    until_some("the damage is told", || cache.said().contains(&registry.digest).then_some(()));
    assert!(!stored(&session).iter().any(|url| url.contains(&registry.digest)));
    registry.cdn.flip(&path, SIZE / 2);
    assert!(pull(&cache).as_ref() == Some(&registry.weights));
}

#[test]
fn several_that_pull_at_once_fetch_it_once() {
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| pull(&cache))).collect();
        for pulled in pulls {
            assert!(pulled.join().unwrap().as_ref() == Some(&registry.weights));
        }
    });
    let sent = upstream_bytes(&cache);
    assert!(sent <= SIZE * 105 / 100, "{sent} bytes of {SIZE}: {:?}", registry.cdn.log());
}
