//! SIGKILL in the middle of large bodies: the next process asks for the rest of each alone, where
//! it is sure to be of the same bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use larder_tests::until;
use storekit::{Digest, PackageKey};

use crate::servers::pattern;
use crate::support::{Cached, Origin, Proxy, Request, answer, read_until};

const M: usize = 1 << 20;
const SIZE: usize = 12 * M;
/// So much of each comes before the kill.
const HALF: usize = 7 * M;
const CHANGED: &str = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
/// A clock that is ahead: what it answers is fresh whenever this runs.
const DATE: &str = "date: Fri, 01 Jan 2100 00:00:00 GMT";

/// What is asked for: the path at the origin, and what its answers say of it.
const PATHS: [(&str, &str); 8] = [
    ("/tag", "etag: \"v1\""),
    ("/date", CHANGED),
    // Its address has the digest.
    ("/digest", ""),
    ("/nothing", ""),
    ("/changed", "etag: \"v1\""),
    ("/lying", "etag: \"v1\""),
    // The same, and a byte of it is another on the disk.
    ("/damaged", ""),
    ("/ahead", "etag: \"v1\""),
];

/// The bytes that belong to a path.
fn body(path: &str) -> Vec<u8> {
    let mut bytes = pattern(SIZE);
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes
}

fn new_body(path: &str) -> Vec<u8> {
    let mut bytes = body(path);
    bytes.reverse();
    bytes
}

/// An origin that gives half of each body until it is told to give all.
struct Halves {
    origin: Origin,
    gives_all: Arc<AtomicBool>,
    /// Bytes of bodies that it has sent, by path.
    sent: Arc<[AtomicU64; PATHS.len()]>,
}

impl Halves {
    fn new() -> Self {
        let (gives_all, sent) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (all, counts) = (Arc::clone(&gives_all), Arc::clone(&sent));
        let origin = Origin::new(move |request, stream| give(request, stream, &all, &counts));
        Self { origin, gives_all, sent }
    }

    fn sent(&self, path: &str) -> usize {
        let place = PATHS.iter().position(|(it, _)| *it == path).unwrap();
        usize::try_from(self.sent[place].load(Ordering::Relaxed)).unwrap()
    }

    /// The `Range` and the `If-Range` of each request for a path.
    fn asked(&self, path: &str) -> Vec<(Option<String>, Option<String>)> {
        let seen = self.origin.seen().into_iter().filter(|request| request.path == path);
        let field = |request: &Request, name: &str| request.header(name).map(str::to_owned);
        seen.map(|request| (field(&request, "range"), field(&request, "if-range"))).collect()
    }
}

fn give(request: &Request, stream: &mut TcpStream, all: &AtomicBool, counts: &[AtomicU64; PATHS.len()]) {
    let Some(place) = PATHS.iter().position(|(path, _)| *path == request.path) else { return };
    let (path, fields) = PATHS[place];
    let gives_all = all.load(Ordering::Relaxed);
    let fields = format!("{DATE}\ncache-control: max-age=600\n{fields}");
    let fields = fields.trim_end();
    let (head, bytes) = match asked(request) {
        Some(range) if path != "/changed" => {
            let first = range.start + usize::from(path == "/lying");
            let told = format!("{fields}\ncontent-range: bytes {first}-{}/{SIZE}", range.end - 1);
            (answer(206, &told, &body(path)[range.clone()]), range.len())
        }
        Some(_) => (answer(200, &fields.replace("v1", "v2"), &new_body(path)), SIZE),
        None => (answer(200, fields, &body(path)), SIZE),
    };
    let is_whole = gives_all || asked(request).is_some();
    let end = if is_whole { head.len() } else { head.len() - SIZE + HALF };
    if stream.write_all(&head[..end]).is_ok() {
        let sent = if is_whole { bytes } else { HALF };
        counts[place].fetch_add(sent as u64, Ordering::Relaxed);
    }
    if !is_whole {
        // The proxy is killed meanwhile.
        let _ = stream.read(&mut [0]);
    }
}

fn asked(request: &Request) -> Option<Range<usize>> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { SIZE } else { last.parse::<usize>().ok()? + 1 };
    Some(first.parse().ok()?..last)
}

/// Where the path is at the proxy.
fn at_proxy(path: &str) -> String {
    if matches!(path, "/digest" | "/damaged") {
        return format!("/sha256/{}/files{path}", Digest::of(&body(path)).hex());
    }
    format!("/files{path}")
}

/// Asks for all of it, and reads so much.
fn read(proxy: &Proxy, path: &str, range: &str, count: usize) -> Vec<u8> {
    let mut stream = proxy.connect();
    let request = format!("GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{range}\r\n", at_proxy(path));
    stream.write_all(request.as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n");
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_a_kill_left_half_way_is_gone_on_with_where_it_is_sure_to_be_the_same() {
    let halves = Halves::new();
    let mount = format!("files={}", halves.origin.url());
    let mut proxy = Proxy::with(&["--upstream", &mount]);
    std::thread::scope(|scope| {
        for (path, _) in PATHS {
            let proxy = &proxy;
            scope.spawn(move || {
                assert!(read(proxy, path, "", HALF - M)[..] == body(path)[..HALF - M], "{path}");
                let ahead = 9 * M..10 * M;
                if path == "/ahead" {
                    let range = format!("range: bytes={}-{}\r\n", ahead.start, ahead.end - 1);
                    assert!(read(proxy, path, &range, M)[..] == body(path)[ahead], "ahead");
                }
            });
        }
    });
    until("half of each has been fetched", || PATHS.iter().all(|(path, _)| halves.sent(path) >= HALF));
    proxy.kill();
    // What is fresh stays for whoever goes on with it; nobody can go on with one.
    let swept = proxy.packages().sweep_unfinished().unwrap();
    assert!((1..SIZE as u64).contains(&swept), "{swept} bytes were swept");
    damage(&proxy, &format!("{}/damaged", halves.origin.url()));
    halves.gives_all.store(true, Ordering::Relaxed);
    let before: Vec<_> = PATHS.iter().map(|(path, _)| halves.asked(path).len()).collect();
    let proxy = proxy.again(&["--upstream", &mount]);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (path, _) in PATHS {
            let (found, proxy) = (&found, &proxy);
            scope.spawn(move || found.lock().unwrap().push((path, proxy.get(&at_proxy(path)))));
        }
    });
    for (path, found) in found.into_inner().unwrap() {
        let place = PATHS.iter().position(|(it, _)| *it == path).unwrap();
        let asked = halves.asked(path).split_off(before[place]);
        let (first, condition) = asked[0].clone();
        let sent = halves.sent(path);
        let resumed = first.is_some();
        let fits = !matches!(path, "/nothing" | "/changed" | "/lying");
        assert_eq!(resumed, path != "/nothing", "{path}: {asked:?}");
        if fits {
            assert!(sent <= SIZE * 105 / 100, "{path}: {sent} bytes were sent of {SIZE}: {asked:?}");
        }
        match path {
            "/tag" | "/changed" | "/lying" | "/ahead" => assert_eq!(condition.as_deref(), Some("\"v1\"")),
            "/date" => assert_eq!(condition.as_deref(), CHANGED.strip_prefix("last-modified: ")),
            _ => assert_eq!(condition, None, "{path}"),
        }
        if path == "/damaged" {
            assert!(!found.whole && found.body.len() < SIZE, "a wrong byte was handed on");
            continue;
        }
        let expected = if path == "/changed" { new_body(path) } else { body(path) };
        assert!(found.whole && found.status == 200 && found.body == expected, "{path}: {asked:?}");
        proxy.settled(&at_proxy(path));
        let stored = proxy.get(&at_proxy(path));
        assert!(stored.body == expected && stored.cache().contains("hit"), "{path}: {}", stored.cache());
    }
    // What was found wrong is thrown away, and all is fetched.
    let path = "/damaged";
    let found = proxy.get(&at_proxy(path));
    assert!(found.whole && found.body == body(path), "{:?}", halves.asked(path));
    assert_eq!(halves.asked(path).last().unwrap(), &(None, None));
    proxy.settled(&at_proxy(path));
    let left = std::fs::read_dir(proxy.packages().blobs().folder()).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), PATHS.len(), "{left:?}");
}

/// Changes a byte of what was left of a body.
fn damage(proxy: &Proxy, url: &str) {
    let key = PackageKey::new("generic", "", url, None);
    let name = format!(".tmp-partial-{}", key.digest().hex());
    let path = proxy.packages().blobs().folder().join(name);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(b"?", 1000).unwrap();
}
