//! Ranges that begin far behind what has come: they are fetched ahead, and what comes of them is a
//! part of the body.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use storekit::Digest;

use crate::support::{Cached, Origin, Proxy, Request, answer, read_until};

const M: usize = 1 << 20;
const SIZE: usize = 48 * M;

/// Bytes of which no two pieces are alike.
fn noise() -> Arc<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(SIZE);
    while bytes.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Arc::new(bytes)
}

/// What an origin does with a request for a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Given,
    /// The whole is given, which is allowed.
    Ignored,
    /// The first one breaks off in the middle.
    Breaking,
    /// Each has a byte that is not the body's.
    Wrong,
}

fn asked(request: &Request) -> Option<Range<usize>> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { SIZE } else { last.parse::<usize>().ok()? + 1 };
    Some(first.parse().ok()?..last)
}

/// An origin that sends 64 KiB of the whole body, and the rest after a word.
fn halting(bytes: &Arc<Vec<u8>>, parts: Parts) -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let (wait, bytes) = (Mutex::new(wait), Arc::clone(bytes));
    let broken = Mutex::new(false);
    let fields = "cache-control: max-age=600\netag: \"v1\"";
    let origin = Origin::new(move |request, stream| {
        if let Some(range) = asked(request).filter(|_| parts != Parts::Ignored) {
            let told = format!("{fields}\ncontent-range: bytes {}-{}/{SIZE}", range.start, range.end - 1);
            let mut part = answer(206, &told, &bytes[range.clone()]);
            if parts == Parts::Wrong {
                let at = part.len() - range.len() / 2;
                part[at] ^= 1;
            }
            let breaks = parts == Parts::Breaking && !std::mem::replace(&mut *broken.lock().unwrap(), true);
            let end = if breaks { part.len() / 2 } else { part.len() };
            let _ = stream.write_all(&part[..end]);
            return;
        }
        let whole = answer(200, fields, &bytes);
        let (first, rest) = whole.split_at(whole.len() - SIZE + (64 << 10));
        let _ = stream.write_all(first);
        let _ = wait.lock().unwrap().recv();
        // The proxy may have had enough.
        let _ = stream.write_all(rest);
    });
    (origin, go)
}

fn ask(proxy: &Proxy, path: &str, range: &Range<usize>) -> TcpStream {
    let mut stream = proxy.connect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nrange: bytes={}-{}\r\n\r\n",
        range.start,
        range.end - 1
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The head and so many bytes of the body.
fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let head = read_until(stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    let mut body = vec![0; count];
    stream.read_exact(&mut body).unwrap();
    body
}

/// Asks for all of it, and waits until that has begun.
fn begin(proxy: &Proxy, path: &str) -> TcpStream {
    let mut stream = proxy.connect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n");
    stream
}

#[track_caller]
fn is_stored(proxy: &Proxy, path: &str, bytes: &[u8]) {
    proxy.settled(path);
    let stored = proxy.get(path);
    assert!(stored.whole && stored.body == bytes && stored.cache().contains("hit"), "{}", stored.cache());
}

#[test]
fn a_range_far_ahead_does_not_wait_for_what_comes_before() {
    let bytes = noise();
    let (origin, go) = halting(&bytes, Parts::Given);
    let proxy = Proxy::of(&origin);
    let _whole = begin(&proxy, "/a");
    for range in [40 * M..SIZE, 8 * M..16 * M, 20 * M..21 * M] {
        let part = read(&mut ask(&proxy, "/a", &range), range.len());
        assert!(part == bytes[range.clone()], "{range:?} is another");
    }
    // Within what came ahead already, and one that reaches behind it.
    let range = 9 * M..10 * M;
    assert!(read(&mut ask(&proxy, "/a", &range), M) == bytes[range]);
    let range = 15 * M..19 * M;
    assert!(read(&mut ask(&proxy, "/a", &range), 4 * M) == bytes[range]);
    assert_eq!(origin.seen().len(), 5, "{:#?}", origin.seen());
    go.send(()).unwrap();
    is_stored(&proxy, "/a", &bytes);
    let sent = proxy.metric("pkgcache_upstream_bytes_total");
    assert!(sent <= SIZE as u64 * 105 / 100, "{sent} bytes were fetched of {SIZE}");
}

#[test]
fn sixteen_ranges_at_once_are_each_begun_at_once() {
    let bytes = noise();
    let (origin, go) = halting(&bytes, Parts::Given);
    let proxy = Arc::new(Proxy::of(&origin));
    let _whole = begin(&proxy, "/a");
    let each = SIZE / 16;
    let clients: Vec<_> = (0..16)
        .map(|number| {
            let (proxy, bytes) = (Arc::clone(&proxy), Arc::clone(&bytes));
            thread::spawn(move || {
                let range = number * each..(number + 1) * each;
                let mut stream = ask(&proxy, "/a", &range);
                let begun = read(&mut stream, 4096);
                assert!(begun == bytes[range.start..range.start + 4096], "{number}");
                let mut rest = vec![0; each - 4096];
                stream.read_exact(&mut rest).unwrap();
                assert!(rest == bytes[range.start + 4096..range.end], "{number}");
            })
        })
        .collect();
    // Only the first of them is the body's own, and waits for the word.
    let mut clients = clients.into_iter();
    let first = clients.next().unwrap();
    clients.for_each(|client| client.join().unwrap());
    go.send(()).unwrap();
    first.join().unwrap();
    is_stored(&proxy, "/a", &bytes);
    let sent = proxy.metric("pkgcache_upstream_bytes_total");
    assert!(sent <= SIZE as u64 * 105 / 100, "{sent} bytes were fetched of {SIZE}");
}

#[test]
fn an_upstream_without_parts_is_waited_for() {
    let bytes = noise();
    let (origin, go) = halting(&bytes, Parts::Ignored);
    let proxy = Proxy::of(&origin);
    let _whole = begin(&proxy, "/a");
    let range = 40 * M..41 * M;
    let mut stream = ask(&proxy, "/a", &range);
    larder_tests::until("a part was asked for", || origin.seen().len() == 2);
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert!(read(&mut stream, M) == bytes[range]);
    is_stored(&proxy, "/a", &bytes);
}

#[test]
fn a_part_that_breaks_off_is_gone_on_with() {
    let bytes = noise();
    let (origin, go) = halting(&bytes, Parts::Breaking);
    let proxy = Proxy::of(&origin);
    let _whole = begin(&proxy, "/a");
    let range = 20 * M..30 * M;
    assert!(read(&mut ask(&proxy, "/a", &range), 10 * M) == bytes[range]);
    go.send(()).unwrap();
    is_stored(&proxy, "/a", &bytes);
}

#[test]
fn parts_with_other_bytes_are_found_out_and_nothing_is_kept() {
    let bytes = noise();
    let (origin, go) = halting(&bytes, Parts::Wrong);
    let registry = format!("one.example={}", origin.url());
    let proxy = Proxy::with(&["--registry", &registry]);
    let path = format!("/v2/one.example/app/blobs/{}", Digest::of(&bytes));
    let range = 20 * M..30 * M;
    let part = read(&mut ask(&proxy, &path, &range), range.len());
    assert!(part != bytes[range], "the origin lies");
    // The first request was for a part, and has begun the whole.
    assert_eq!(origin.seen().len(), 2, "{:#?}", origin.seen());
    let mut whole = begin(&proxy, &path);
    go.send(()).unwrap();
    let mut body = Vec::new();
    let _ = whole.read_to_end(&mut body);
    assert!(
        body.len() < SIZE,
        "a client got {} bytes of what is not the blob: {:?} {}",
        body.len(),
        origin
            .seen()
            .iter()
            .map(|it| format!("{} {:?} {:?}", it.path, it.header("range"), it.header("if-range")))
            .collect::<Vec<_>>(),
        body == *bytes
    );
    assert_eq!(proxy.metric("pkgcache_mismatches_total"), 1);
    assert_eq!(proxy.listed(), 0);
}
