//! What is on the disk: found again by the next process, never handed on where it is damaged, and
//! served alone where there is no upstream.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use larder_tests::http::free_address;
use storekit::Digest;

use crate::support::{Cached, Origin, Proxy, answer, session};

const FRESH: &str = "cache-control: max-age=3600";

fn stored(origin: &Origin) -> Proxy {
    let proxy = Proxy::of(origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.settled("/a");
    proxy
}

fn blob(proxy: &Proxy) -> camino::Utf8PathBuf {
    proxy.packages().blobs().path(&Digest::of(b"body"))
}

#[test]
fn the_next_process_finds_it() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin).again(&["--upstream", &format!("/={}", origin.url())]);
    proxy.get("/a").is(200, "hit", "body");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn what_was_fetched_when_it_is_told_to_end_is_stored() {
    // The answer ends before its entry is written; with many, one would be caught between the two.
    let origin = Origin::fixed(FRESH, "body");
    let mut proxy = Proxy::of(&origin);
    for round in 0..10 {
        let paths: Vec<_> = (0..8).map(|at| format!("/{round}/{at}")).collect();
        for path in &paths {
            proxy.get(path).is(200, "stored", "body");
        }
        proxy.signal("TERM");
        assert_eq!(proxy.wait(), Some(0));
        proxy = proxy.again(&["--offline", "--upstream", &format!("/={}", origin.url())]);
        for path in &paths {
            proxy.get(path).is(200, "hit", "body");
        }
        proxy = proxy.again(&["--upstream", &format!("/={}", origin.url())]);
    }
}

#[test]
fn the_same_bytes_are_stored_once() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    proxy.get("/b");
    proxy.settled("/b");
    assert_eq!(proxy.packages().blobs().list().unwrap(), [Digest::of(b"body")]);
}

#[test]
fn a_damaged_body_is_fetched_anew() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    fs::write(blob(&proxy), "bOdy").unwrap();
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "body");
    proxy.settled("/a");
    proxy.get("/a").is(200, "hit", "body");
    assert!(proxy.get("/metrics").text().contains("pkgcache_damaged_total 1\n"));
    let proxy = proxy.again(&["--upstream", &format!("/={}", origin.url())]);
    fs::write(blob(&proxy), "bod").unwrap();
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "body");
}

#[test]
fn a_damaged_body_is_an_error_where_nobody_can_be_asked() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin).again(&["--offline", "--upstream", &format!("/={}", origin.url())]);
    fs::write(blob(&proxy), "bOdy").unwrap();
    assert_eq!(proxy.get("/a").status, 504);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_body_that_is_gone_is_fetched_anew() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin).again(&["--upstream", &format!("/={}", origin.url())]);
    fs::remove_file(blob(&proxy)).unwrap();
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "body");
}

/// The file of the entry that was stored.
#[track_caller]
fn entry(proxy: &Proxy) -> camino::Utf8PathBuf {
    let mut path = None;
    let mut note = |it: storekit::FoundPackage| {
        path = Some(it.path);
        Ok::<_, storekit::Error>(())
    };
    proxy.packages().each(&mut note).unwrap();
    path.unwrap()
}

#[test]
fn an_entry_that_cannot_be_read_is_replaced() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    fs::write(entry(&proxy), "<<<<").unwrap();
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "body");
    proxy.settled("/a");
}

#[test]
fn an_entry_that_says_another_size_is_not_believed() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    let path = entry(&proxy);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("size = 4\n"), "{text}");
    fs::write(&path, text.replace("size = 4\n", "size = 2\n")).unwrap();
    proxy.command(&["verify"]).ends(3);
    proxy.get("/a").is(200, "stored", "body");
}

#[test]
fn offline_serves_what_is_stored_and_says_so() {
    let origin = Origin::fixed("cache-control: max-age=0", "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.kept(1);
    let proxy = proxy.again(&["--offline", "--upstream", &format!("/={}", origin.url())]);
    proxy.get("/a").is(200, "detail=offline", "body");
    let started = Instant::now();
    let none = proxy.get("/b");
    assert_eq!(none.status, 504);
    assert!(none.text().contains("offline") && started.elapsed() < Duration::from_secs(1));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn offline_nothing_is_said_not_to_be() {
    let origin = Origin::new(|_, stream| {
        let page = r#"{"meta":{"api-version":"1.0"},"name":"a","files":[
            {"filename":"a-1.0-py3-none-any.whl","url":"../../f/a-1.0-py3-none-any.whl","hashes":{}}]}"#;
        let kind = "content-type: application/vnd.pypi.simple.v1+json";
        drop(stream.write_all(&answer(200, kind, page.as_bytes())));
    });
    let settings =
        format!("[pkgcache.upstream]\npypi = {{ url = \"{}/simple/\", kind = \"python\" }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    let page = proxy.ask("GET", "/pypi/a/", "accept: application/vnd.pypi.simple.v1+json");
    let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    let known = page["files"][0]["url"].as_str().unwrap();
    let path = &known[known.find("/pypi/").unwrap()..];
    let file = path.replace("a-1.0", "a-3.0");
    proxy.kept(1);
    assert_eq!(proxy.get(&file).status, 404);
    let none = proxy.again(&["--offline"]).get(&file);
    assert_eq!(none.status, 504);
    assert!(none.text().contains("does not name this file, and the proxy is offline"), "{}", none.text());
}

#[test]
fn an_upstream_that_is_gone_is_stood_in_for() {
    let origin = Origin::fixed("cache-control: max-age=0", "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.kept(1);
    // A port where nobody listens any more: the same store, the same URLs.
    let gone = free_address();
    let proxy = proxy.again(&["--upstream", &format!("/=http://{gone}")]);
    assert_eq!(proxy.get("/a").status, 504);
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(proxy.get("/b").status, 504);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "it was asked each time");
}

#[test]
fn every_question_is_answered_for_an_upstream_that_is_gone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("/=http://{}", listener.local_addr().unwrap());
    let proxy = Proxy::with(&["--upstream", &upstream]);
    let client = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 1024]);
        stream.write_all(&answer(200, "cache-control: max-age=0", b"body")).unwrap();
    });
    proxy.get("/a").is(200, "stored", "body");
    client.join().unwrap();
    proxy.kept(1);
    proxy.get("/a").is(200, "detail=upstream-failed", "body");
    let head = proxy.ask("HEAD", "/a", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    assert!(head.cache().contains("detail=upstream-failed"));
    proxy.ask("GET", "/a", "range: bytes=1-2").is(206, "detail=upstream-failed", "od");
    assert_eq!(proxy.ask("HEAD", "/b", "").status, 504);
}

#[test]
fn what_is_too_large_to_be_stored_is_handed_on() {
    let body = "0123456789".repeat(300_000);
    let sized = answer(200, FRESH, body.as_bytes());
    let chunks = format!("HTTP/1.1 200 X\r\n{FRESH}\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunks = format!("{chunks}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let origin = Origin::new(move |seen, stream| {
        drop(stream.write_all(if seen.path == "/sized" { &sized } else { chunks.as_bytes() }));
    });
    let proxy = Proxy::with(&["--max-object", "1MB", "--upstream", &format!("/={}", origin.url())]);
    for path in ["/sized", "/chunks"] {
        for _ in 0..2 {
            proxy.get(path).is(200, "fwd=uri-miss", &body);
        }
    }
    assert_eq!(proxy.listed(), 0);
}

#[test]
fn a_server_that_fails_is_stood_in_for() {
    let origin = Origin::new(|seen, stream| {
        let fresh = "cache-control: max-age=0, stale-if-error=60";
        if seen.before == 0 {
            drop(stream.write_all(&answer(200, fresh, b"body")));
        } else if seen.before == 1 {
            drop(stream.write_all(&answer(503, "", b"down")));
        }
    });
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.kept(1);
    proxy.get("/a").is(200, "detail=upstream-failed", "body");
    proxy.get("/a").is(200, "detail=upstream-failed", "body");
    assert!(origin.seen().len() >= 3);
}

#[test]
fn a_store_that_cannot_be_written_to_lets_the_answer_through() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    let blobs = proxy.packages().blobs().folder().to_owned();
    fs::remove_dir(&blobs).unwrap();
    fs::write(&blobs, "in the way").unwrap();
    proxy.get("/a").is(200, "fwd=uri-miss", "body");
    assert!(proxy.get("/metrics").text().contains("pkgcache_unstored_total 1\n"));
    // With the path, the reason, and what can be done.
    proxy.says(&format!("could not be stored: cannot write in `{blobs}`: "));
    proxy.says("Not a directory (os error 20)");
    proxy.says("; see whether `");
}

/// The system calls on folders, and all on files, until the first stored answer is served, with so
/// many entries.
fn calls_until_ready(number: usize) -> (usize, usize) {
    let origin = Origin::fixed(FRESH, "body");
    // In memory where that can be: nothing of it matters to a disk.
    let (session, upstream) = (session(), format!("/={}", origin.url()));
    let memory = tempfile::tempdir_in("/dev/shm");
    if let Ok(folder) = &memory {
        std::os::unix::fs::symlink(folder.path(), session.store()).unwrap();
    }
    let proxy = Proxy::in_session(session, &["--upstream", &upstream]);
    proxy.get("/a").is(200, "stored", "body");
    proxy.settled("/a");
    let entries = proxy.packages().entries();
    for folder in (0..256).map(|prefix| entries.join(format!("generic/many/{prefix:02x}"))).take(number) {
        fs::create_dir_all(&folder).unwrap();
        let first = folder.join("first.toml");
        fs::write(&first, "version = 1\n").unwrap();
        for count in 1..number / 256 {
            fs::hard_link(&first, folder.join(format!("{count:064x}.toml"))).unwrap();
        }
    }
    let trace = proxy.path("trace");
    let proxy = proxy.traced(&trace, &["--upstream", &upstream]);
    proxy.get("/a").is(200, "hit", "body");
    let text = fs::read_to_string(&trace).unwrap();
    (text.lines().filter(|line| line.contains("getdents")).count(), text.lines().count())
}

#[test]
fn it_is_ready_at_once_however_much_is_stored() {
    if !larder_tests::have(&[larder_tests::Part::Strace]) {
        return;
    }
    let (few, many) = (calls_until_ready(0), calls_until_ready(200_000));
    assert_eq!((few.0, many.0), (0, 0), "folders were read");
    assert!(few.1 > 20, "{few:?}: nothing was traced");
    assert!(many.1 <= few.1 + 20, "{many:?} calls with many entries, {few:?} with few");
}

#[test]
fn a_full_disk_lets_the_download_through() {
    if !larder_tests::have(&[larder_tests::Part::Mount]) {
        return;
    }
    let body: Vec<u8> = (0..12_u32 << 20).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let whole = answer(200, FRESH, &body);
    let origin = Origin::new(move |seen, stream| {
        let small = answer(200, FRESH, b"body");
        drop(stream.write_all(if seen.path == "/large" { &whole } else { &small }));
    });
    let session = session();
    let disk = larder_tests::Mount::new(&session.store(), "4m");
    let proxy = Proxy::in_session(session, &["--upstream", &format!("/={}", origin.url())]);
    let large = proxy.get("/large");
    assert!(large.whole && large.status == 200 && large.body == body, "{} bytes came", large.body.len());
    assert!(proxy.get("/metrics").text().contains("pkgcache_unstored_total 1\n"));
    // What is small finds room again.
    proxy.get("/small").is(200, "stored", "body");
    proxy.settled("/small");
    drop((proxy, disk));
}
