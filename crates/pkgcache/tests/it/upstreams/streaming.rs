//! Bodies while they come: who waits for whom, and what happens where they break off.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::until;

use crate::support::{Cached, Origin, Proxy, answer, read_until};

/// An origin that sends half of `0123456789`, waits for a word, then sends the rest.
fn halting() -> (Origin, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        let whole = answer(200, "cache-control: max-age=60\netag: \"v1\"", b"0123456789");
        let (first, rest) = whole.split_at(whole.len() - 5);
        let _ = stream.write_all(first);
        let _ = wait.lock().unwrap().recv();
        let _ = stream.write_all(rest);
    });
    (origin, go)
}

fn ask(proxy: &Proxy, path: &str, headers: &str) -> TcpStream {
    let mut stream = proxy.connect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn followers_stream_along_and_there_is_one_fetch() {
    let (origin, go) = halting();
    let proxy = Proxy::of(&origin);
    let mut first = ask(&proxy, "/a", "");
    read_until(&mut first, "\r\n\r\n01234");
    let mut others: Vec<_> = (0..255).map(|_| ask(&proxy, "/a", "")).collect();
    for other in &mut others {
        assert!(read_until(other, "\r\n\r\n01234").contains("collapsed"));
    }
    go.send(()).unwrap();
    for stream in others.iter_mut().chain([&mut first]) {
        read_until(stream, "56789");
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn many_who_ask_at_once_cause_one_fetch() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        let _ = wait.lock().unwrap().recv();
        drop(stream.write_all(&answer(200, "cache-control: max-age=60", b"body")));
    });
    let proxy = Arc::new(Proxy::of(&origin));
    let start = Arc::new(Barrier::new(64));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (proxy, start) = (Arc::clone(&proxy), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                proxy.get("/a").is(200, "", "body").status
            })
        })
        .collect();
    // And this one, which asks how many there are.
    until("all have come", || proxy.metric("pkgcache_connections") == 65);
    go.send(()).unwrap();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn the_fetch_survives_the_client_that_began_it() {
    let (origin, go) = halting();
    let proxy = Proxy::of(&origin);
    let mut first = ask(&proxy, "/a", "");
    read_until(&mut first, "01234");
    drop(first);
    let mut second = ask(&proxy, "/a", "");
    read_until(&mut second, "01234");
    drop(second);
    go.send(()).unwrap();
    proxy.settled("/a");
    proxy.get("/a").is(200, "hit", "0123456789");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn ranges_are_cut_from_what_still_comes() {
    let (origin, go) = halting();
    let proxy = Proxy::of(&origin);
    let mut first = ask(&proxy, "/a", "");
    read_until(&mut first, "01234");
    let mut early = ask(&proxy, "/a", "range: bytes=1-3\r\n");
    assert!(read_until(&mut early, "\r\n\r\n123").contains("206"), "it need not wait");
    let mut late = ask(&proxy, "/a", "range: bytes=-2\r\n");
    let head = read_until(&mut late, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("collapsed"), "{head}");
    assert!(head.contains("content-range: bytes 8-9/10\r\n"), "{head}");
    let mut both = ask(&proxy, "/a", "range: bytes=0-0,9-9\r\n");
    read_until(&mut both, "bytes 0-0/10\r\n\r\n0");
    go.send(()).unwrap();
    read_until(&mut late, "89");
    read_until(&mut both, "bytes 9-9/10\r\n\r\n9\r\n");
    assert_eq!(origin.seen().len(), 1);
}

/// An origin that breaks off in the middle of `0123456789` at first, and gives the rest to whoever
/// asks for it.
fn breaking(tag: &'static str, later_tag: &'static str) -> Origin {
    Origin::new(move |seen, stream| {
        let bytes = if let Some(range) = seen.header("range") {
            assert_eq!((range, seen.header("if-range")), ("bytes=4-", Some(tag)));
            answer(206, &format!("etag: {later_tag}\ncontent-range: bytes 4-9/10"), b"456789")
        } else {
            let mut bytes = answer(200, &format!("cache-control: max-age=60\netag: {tag}"), b"0123456789");
            if seen.before == 0 {
                bytes.truncate(bytes.len() - 6);
            }
            bytes
        };
        drop(stream.write_all(&bytes));
    })
}

#[test]
fn what_breaks_off_is_taken_up_where_it_ended() {
    let origin = breaking("\"v1\"", "\"v1\"");
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "0123456789");
    proxy.settled("/a");
    proxy.get("/a").is(200, "hit", "0123456789");
    assert_eq!(origin.seen().len(), 2);
}

#[track_caller]
fn is_cut_and_forgotten(origin: &Origin) {
    let proxy = Proxy::of(origin);
    let cut = proxy.get("/a");
    assert!(!cut.whole && "0123".starts_with(cut.text()), "{cut:?}");
    assert_eq!(
        proxy.ask("GET", "/a", "cache-control: only-if-cached").status,
        504,
        "half an answer was stored"
    );
    proxy.get("/a").is(200, "fwd=uri-miss", "0123456789");
}

#[test]
fn the_rest_of_something_else_is_not_taken_for_the_rest() {
    is_cut_and_forgotten(&breaking("\"v1\"", "\"v2\""));
}

#[test]
fn without_a_strong_tag_a_broken_answer_stays_broken() {
    is_cut_and_forgotten(&breaking("W/\"v1\"", "W/\"v1\""));
}

#[test]
fn an_upstream_that_starts_again_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let whole = answer(200, "cache-control: max-age=60\netag: \"v1\"", b"0123456789");
    let rest = answer(206, "etag: \"v1\"\ncontent-range: bytes 4-9/10", b"456789");
    let upstream = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(&whole[..whole.len() - 6]).unwrap();
        drop((stream, listener));
        // Longer than it takes to be refused, of which nobody tells.
        thread::sleep(Duration::from_millis(800));
        let mut stream = std::net::TcpListener::bind(address).unwrap().accept().unwrap().0;
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(&rest).unwrap();
    });
    let proxy = Proxy::with(&["--upstream", &format!("/=http://{address}")]);
    proxy.get("/a").is(200, "stored", "0123456789");
    upstream.join().unwrap();
}

#[test]
fn a_chunked_answer_that_breaks_off_is_not_stored() {
    let origin = Origin::new(|seen, stream| {
        let end = if seen.before == 0 { "" } else { "0\r\n\r\n" };
        let head = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n";
        drop(stream.write_all(format!("{head}4\r\nbody\r\n{end}").as_bytes()));
    });
    let proxy = Proxy::of(&origin);
    assert!(!proxy.get("/a").whole);
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "body");
    proxy.settled("/a");
    proxy.get("/a").is(200, "hit", "body");
}

#[test]
fn the_first_byte_does_not_wait_for_the_last() {
    let (origin, go) = halting();
    let proxy = Proxy::of(&origin);
    let started = Instant::now();
    let mut first = ask(&proxy, "/a", "");
    read_until(&mut first, "0123");
    assert!(started.elapsed() < Duration::from_secs(5));
    go.send(()).unwrap();
    read_until(&mut first, "456789");
}

#[test]
fn nobody_joins_a_fetch_that_a_change_has_overtaken() {
    for credentials in ["", "authorization: x"] {
        nobody_joins(credentials);
    }
}

fn nobody_joins(credentials: &str) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |seen, stream| {
        let body = if seen.before == 0 { "old" } else { "new" };
        let whole = answer(200, "cache-control: max-age=60, public", body.as_bytes());
        let (first, rest) = whole.split_at(whole.len() - 1);
        let _ = stream.write_all(first);
        if seen.method == "GET" && seen.before == 0 {
            let _ = wait.lock().unwrap().recv();
        }
        let _ = stream.write_all(rest);
    });
    let proxy = Proxy::of(&origin);
    let mut first = ask(&proxy, "/a", &credentials.replace(": x", ": x\r\n"));
    read_until(&mut first, "ol");
    assert_eq!(proxy.ask("PUT", "/a", "").status, 200);
    proxy.get("/a").is(200, "fwd=uri-miss; stored", "new");
    go.send(()).unwrap();
    read_until(&mut first, "d");
    proxy.settled("/a");
    let proxy = proxy.after_its_end(&["--upstream", &format!("/={}", origin.url())]);
    proxy.get("/a").is(200, "hit", "new");
}

#[test]
fn who_comes_late_is_not_given_what_was_stale_when_it_came() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |seen, stream| {
        let whole = answer(200, "cache-control: no-cache", seen.before.to_string().as_bytes());
        let (first, rest) = whole.split_at(whole.len() - 1);
        let _ = stream.write_all(first);
        if seen.before == 0 {
            let _ = wait.lock().unwrap().recv();
        }
        let _ = stream.write_all(rest);
    });
    let proxy = Proxy::of(&origin);
    let mut first = ask(&proxy, "/a", "");
    read_until(&mut first, "\r\n\r\n");
    proxy.get("/a").is(200, "fwd=uri-miss", "1");
    go.send(()).unwrap();
    read_until(&mut first, "0");
}
