//! Clients that let nothing move, and what is left of a connection that ends too early.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use larder_tests::http::listen;
use larder_tests::until;

use crate::support::{Cached, Origin, Proxy, answer, read_answer, read_until};

/// More than the buffers of two sockets take.
const LARGE: usize = 32 << 20;

fn proxy(settings: &str, args: &[&str]) -> Proxy {
    Proxy::set(&format!("[pkgcache]\n{settings}\n"), args)
}

/// Waits until this and no other client is connected.
#[track_caller]
fn is_alone(proxy: &Proxy) {
    until("nobody else is connected", || proxy.metric("pkgcache_connections") == 1);
}

#[test]
fn a_client_that_takes_nothing_is_not_waited_for() {
    let whole = answer(200, "cache-control: max-age=60", &vec![b'x'; LARGE]);
    let origin = Origin::new(move |_, stream| drop(stream.write_all(&whole)));
    let proxy = proxy("idle-time = \"1s\"", &["--upstream", &format!("/={}", origin.url())]);
    let mut slow = proxy.connect();
    slow.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    proxy.settled("/a");
    is_alone(&proxy);
    // What it did not take is not kept for it.
    let error = slow.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_does_not_send_its_body_is_not_waited_for() {
    let origin = Origin::fixed("", "body");
    let proxy = proxy("idle-time = \"1s\"", &["--upstream", &format!("/={}", origin.url())]);
    for rest in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut slow = proxy.connect();
        slow.write_all(format!("POST /a HTTP/1.1\r\nhost: x\r\n{rest}").as_bytes()).unwrap();
        is_alone(&proxy);
    }
}

#[test]
fn an_upstream_that_stops_in_the_middle_is_not_waited_for() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 8\r\n\r\nhalf");
        let _ = wait.lock().unwrap().recv();
    });
    let proxy = proxy("answer-time = \"1s\"", &["--upstream", &format!("/={}", origin.url())]);
    let mut client = proxy.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    client
        .read_to_string(&mut text)
        .expect("the end of the connection, before this client's own patience ends");
    assert!(text.ends_with("\r\n\r\nhalf"), "{text}");
    drop(go);
}

#[test]
fn idle_clients_leave_files_for_the_others() {
    let origin = Origin::fixed("cache-control: max-age=60", "body");
    let upstream = format!("/={}", origin.url());
    // The first limit can be raised, the second cannot.
    for limit in ["-Sn 80", "-n 80"] {
        let proxy = Proxy::under(&format!("ulimit {limit}"), &["--upstream", &upstream]);
        let clients: Vec<_> = (0..90).map(|_| proxy.connect()).collect();
        for (mut client, path) in clients.iter().zip(["/a", "/a", "/b"]) {
            write!(client, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let answer = read_answer(&mut client.try_clone().unwrap());
            assert!(answer.text() == "body" && !answer.cache().is_empty(), "{limit}: {answer:?}");
        }
        drop(clients);
        assert!(proxy.get("/metrics").text().contains("\npkgcache_unstored_total 0\n"));
    }
}

/// An echo at the other end of tunnels.
fn echo() -> std::net::SocketAddr {
    listen(|stream| drop(std::io::copy(&mut &stream, &mut &stream)))
}

/// A tunnel through which something has gone already.
fn tunnel(proxy: &Proxy, to: std::net::SocketAddr) -> TcpStream {
    let mut stream = proxy.connect();
    write!(stream, "CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n\r\nping").unwrap();
    read_until(&mut stream, "\r\n\r\nping");
    stream
}

#[test]
fn a_tunnel_counts_as_a_connection_and_ends_when_nothing_moves() {
    let echo = echo();
    let proxy = proxy("max-connections = 2\nidle-time = \"2s\"", &["--tunnel", &echo.to_string()]);
    let mut first = tunnel(&proxy, echo);
    let second = tunnel(&proxy, echo);
    let mut third = proxy.connect();
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(third.read(&mut [0; 16]).unwrap_err().kind(), ErrorKind::WouldBlock, "there was no place");
    drop(second);
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(third.read(&mut [0; 16]).unwrap() > 0);
    drop(third);
    assert_eq!(first.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_tunnel_that_moves_is_waited_for_and_one_that_rests_is_not() {
    let echo = echo();
    let mut proxy = proxy("drain-time = \"1s\"", &["--tunnel", &echo.to_string()]);
    let resting = tunnel(&proxy, echo);
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    drop(resting);
    let mut proxy = proxy.again(&["--tunnel", &echo.to_string()]);
    let mut moving = tunnel(&proxy, echo);
    proxy.signal("TERM");
    for _ in 0..15 {
        moving.write_all(b"pong").unwrap();
        moving.read_exact(&mut [0; 4]).unwrap();
        // All in all longer than an end waits for what rests.
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(moving.read_to_end(&mut Vec::new()).unwrap(), 0);
    assert_eq!(proxy.wait(), Some(0));
}

/// An origin that sends `whole`, in chunks, and its end when it is told to. Where it is told not
/// to, it breaks off.
fn chunked(cache: &'static str) -> (Origin, mpsc::Sender<bool>) {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
        let _ = stream.write_all(format!("{head}cache-control: {cache}\r\n\r\n5\r\nwhole\r\n").as_bytes());
        if wait.lock().unwrap().recv() == Ok(true) {
            let _ = stream.write_all(b"0\r\n\r\n");
        }
    });
    (origin, go)
}

/// Asks in the way in which the end of the connection is the end of the answer.
fn ask_old(proxy: &Proxy) -> TcpStream {
    let mut stream = proxy.connect();
    stream.write_all(b"GET /a HTTP/1.0\r\n\r\n").unwrap();
    read_until(&mut stream, "\r\n\r\nwhole");
    stream
}

#[test]
fn an_end_of_the_connection_is_no_end_of_an_answer_that_broke_off() {
    for cache in ["max-age=60", "no-store"] {
        let (origin, go) = chunked(cache);
        let proxy = Proxy::of(&origin);
        let mut client = ask_old(&proxy);
        go.send(false).unwrap();
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{cache}");
        let mut client = ask_old(&proxy);
        go.send(true).unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0, "{cache}");
    }
}

#[test]
fn nor_is_the_end_of_the_process() {
    let (origin, _go) = chunked("max-age=60");
    let mut proxy = Proxy::of(&origin);
    let mut client = ask_old(&proxy);
    proxy.kill();
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_upstream_that_has_a_whole_body_is_waited_for_no_longer_than_any() {
    let (_go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, _| {
        let _ = wait.lock().unwrap().recv();
    });
    let proxy = proxy("answer-time = \"1s\"", &["--upstream", &format!("/={}", origin.url())]);
    for body in ["content-length: 4\r\n\r\nbody", "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"]
    {
        let answer = proxy.raw(format!("POST /a HTTP/1.1\r\nhost: x\r\n{body}").as_bytes());
        assert!(answer.status == 504 && answer.text().contains("did not answer within 1 s"), "{answer:?}");
    }
}

#[test]
fn an_upstream_that_is_slow_on_a_kept_connection_is_asked_once() {
    let origin = Origin::serving(|connection| {
        loop {
            let request = connection.head()?;
            if connection.note(request).path == "/fast" {
                let fields = "cache-control: no-store\r\ncontent-length: 0";
                connection.write(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes())?;
            }
        }
    });
    let proxy = proxy("answer-time = \"1s\"", &["--upstream", &format!("/={}", origin.url())]);
    assert_eq!(proxy.get("/fast").status, 200);
    assert_eq!(proxy.get("/slow").status, 504);
    let asked: Vec<_> = origin.seen().into_iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    assert_eq!(asked, ["GET /fast", "GET /slow"]);
}

/// A proxy that has a large body, and a client that has begun to take it.
fn taking(size: usize, drain: &str) -> (Proxy, TcpStream) {
    let whole = answer(200, "cache-control: max-age=60", &vec![b'x'; size]);
    let origin = Origin::new(move |_, stream| drop(stream.write_all(&whole)));
    let settings = format!("drain-time = \"{drain}\"");
    let proxy = proxy(&settings, &["--upstream", &format!("/={}", origin.url())]);
    proxy.get("/a");
    proxy.settled("/a");
    let mut client = proxy.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 4096]).unwrap();
    (proxy, client)
}

#[test]
fn a_client_that_takes_nothing_holds_up_no_end() {
    // By the parser's way, and by the short one.
    for head in ["connection: close\r\n", ""] {
        let (mut proxy, _client) = taking(LARGE, "1s");
        let mut other = proxy.connect();
        write!(other, "GET /a HTTP/1.1\r\nhost: x\r\n{head}\r\n").unwrap();
        other.read_exact(&mut [0; 4096]).unwrap();
        let started = Instant::now();
        proxy.signal("TERM");
        assert_eq!(proxy.wait(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        assert!(proxy.said().contains("cut off: 2 connections"), "{}", proxy.said());
    }
}

#[test]
fn an_upstream_that_hangs_is_waited_for_once() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 8\r\n\r\nhalf");
        let _ = wait.lock().unwrap().recv();
    });
    let upstream = format!("/={}", origin.url());
    let mut proxy = proxy("drain-time = \"1s\"", &["--upstream", &upstream]);
    let mut client = proxy.connect();
    client.write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 16]).unwrap();
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    assert!(proxy.said().contains("some downloads were cut off"), "{}", proxy.said());
    drop(go);
}

#[test]
fn a_client_that_reads_slowly_and_steadily_is_waited_for() {
    const SIZE: usize = 14 << 20;
    let (mut proxy, mut client) = taking(SIZE, "3s");
    proxy.signal("TERM");
    let (mut taken, mut piece) = (4096, vec![0; 64 << 10]);
    loop {
        let count = client.read(&mut piece).expect("no reset");
        taken += count;
        if count == 0 {
            break;
        }
        // What the kernel has all of is not held up any more.
        if !proxy.has_ended() {
            // A slow reader.
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    assert!(taken > SIZE, "{taken}");
    assert_eq!(proxy.wait(), Some(0));
    assert!(!proxy.said().contains("cut off"), "{}", proxy.said());
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let (mut proxy, mut client) = taking(LARGE, "1h");
        proxy.signal(first);
        proxy.says("waiting for 1 connection; a second signal ends at once");
        proxy.signal(second);
        assert_eq!(proxy.wait(), Some(code));
        let mut rest = Vec::new();
        let whole = client.read_to_end(&mut rest).is_ok() && rest.len() >= LARGE - 4096;
        assert!(!whole, "it was sent to its end");
    }
}

#[test]
fn a_tunnel_is_counted_with_what_went_through_it() {
    let echo = echo();
    let proxy = proxy("", &["--tunnel", &echo.to_string(), "--access-log", "access.ndjson"]);
    let mut stream = tunnel(&proxy, echo);
    // So long it must have been open.
    std::thread::sleep(Duration::from_millis(50));
    stream.write_all(b"more").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    let line = &proxy.logged(1)[0];
    let found = (&line["result"], &line["bytes"], &line["received"], &line["whole"]);
    assert_eq!(found, (&"tunnel".into(), &8.into(), &8.into(), &true.into()));
    assert!(line["seconds"].as_f64().unwrap() >= 0.05, "{line}");
    assert_eq!(proxy.metric("pkgcache_sent_bytes_total{result=\"tunnel\"}"), 8);
    assert_eq!(proxy.metric("pkgcache_tunnel_received_bytes_total"), 8);
}
