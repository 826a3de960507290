//! Several servers of one mount, in their order.

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use larder_tests::http::free_address;
use larder_tests::until;
use storekit::Digest;

use crate::support::{Answer, Cached, Origin, Proxy, answer};

/// A server whose answers have the status that is set; its bodies say which it is.
struct Server {
    origin: Origin,
    status: Arc<AtomicU16>,
}

impl Server {
    fn new(body: &'static str) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let set = Arc::clone(&status);
        let origin = Origin::new(move |_, stream| {
            let status = set.load(Ordering::SeqCst);
            let fields = if status == 429 { "retry-after: 7" } else { "cache-control: max-age=600" };
            drop(stream.write_all(&answer(status, fields, body.as_bytes())));
        });
        Self { origin, status }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.origin.seen().len()
    }
}

fn settings(first: &str, mirrors: &[&str], more: &str) -> String {
    format!("[pkgcache.upstream]\na = {{ url = \"{first}/base\", mirrors = {mirrors:?}{more} }}\n")
}

#[test]
fn the_next_server_is_asked_where_one_fails_and_a_404_is_an_answer() {
    let (one, two) = (Server::new("one"), Server::new("two"));
    let mirror = format!("{}/copy/", two.origin.url());
    let proxy = Proxy::set(&settings(&one.origin.url(), &[&mirror], ""), &[]);
    proxy.get("/a/x?q").is(200, "stored", "one");
    assert_eq!(two.asked(), 0);
    for status in [500, 503, 429] {
        one.answers(status);
        let path = format!("/a/{status}");
        proxy.get(&path).is(200, "stored", "two");
        assert_eq!(two.origin.seen().last().unwrap().path, format!("/copy/{status}"));
    }
    // It asked to be left alone, and is.
    let asked = one.asked();
    proxy.get("/a/y").is(200, "stored", "two");
    assert_eq!(one.asked(), asked);
    // The object is the upstream's own, whichever server gave it.
    until("it is stored", || {
        proxy.command(&["ls"]).stdout().contains(&format!("{}/base/y", one.origin.url()))
    });
    assert!(!proxy.command(&["ls"]).stdout().contains("/copy/"));
    // Where all fail, what a server said goes before what none could say.
    two.answers(502);
    let answer = proxy.get("/a/z");
    assert_eq!((answer.status, answer.text()), (502, "two"));
    two.answers(404);
    assert_eq!(proxy.get("/a/w").status, 404);
    assert!(proxy.metric("pkgcache_upstream_failovers_total") >= 4);
}

#[test]
fn a_server_without_something_gives_way_only_where_that_is_set() {
    let (one, two) = (Server::new("one"), Server::new("two"));
    one.answers(404);
    let mirror = two.origin.url();
    let proxy = Proxy::set(&settings(&one.origin.url(), &[&mirror], ""), &[]);
    assert_eq!((proxy.get("/a/x").status, two.asked()), (404, 0));
    let proxy = Proxy::set(&settings(&one.origin.url(), &[&mirror], ", next-on-404 = true"), &[]);
    proxy.get("/a/x").is(200, "stored", "two");
    // A server that fails may have it: that is not known to be absent.
    two.answers(500);
    assert_eq!(proxy.get("/a/y").status, 500);
}

#[test]
fn a_server_that_cannot_be_reached_gives_way_and_unsafe_requests_go_to_the_first_alone() {
    let two = Server::new("two");
    let (gone, mirror) = (format!("http://{}", free_address()), two.origin.url());
    let proxy = Proxy::set(&settings(&gone, &[&mirror], ""), &[]);
    for path in ["/a/x", "/a/y"] {
        proxy.get(path).is(200, "stored", "two");
    }
    let head = proxy.ask("HEAD", "/a/z", "");
    assert_eq!((head.status, two.asked()), (200, 3));
    let post = proxy.ask("POST", "/a/x", "content-length: 0");
    assert_eq!((post.status, two.asked()), (504, 3));
}

/// A file whose bytes are wrong at one server is asked of the next by the next request.
#[test]
fn a_server_whose_bytes_are_wrong_gives_way_for_the_next_request() {
    let (one, two) = (Server::new("wrong"), Server::new("right"));
    let proxy = Proxy::set(&settings(&one.origin.url(), &[&two.origin.url()], ""), &[]);
    let path = format!("/sha256/{}/a/x", Digest::of(b"right").hex());
    assert!(!proxy.get(&path).whole, "no client gets the whole of it");
    proxy.get(&path).is(200, "stored", "right");
    // Only of that file.
    proxy.get("/a/y").is(200, "stored", "wrong");
    assert_eq!((one.asked(), two.asked()), (2, 1));
}

/// A file that breaks off is taken up at the next server, where a checksum tells that it is the
/// same.
#[test]
fn the_rest_of_a_file_comes_from_the_next_server() {
    const BODY: &str = "0123456789abcdefghij";
    let breaks = Origin::new(|_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\netag: \"one\"\r\n\r\n", BODY.len());
        drop(stream.write_all(format!("{head}{}", &BODY[..8]).as_bytes()));
    });
    let rest = Origin::new(|request, stream| {
        let from: usize =
            request.header("range").unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
        let fields =
            format!("etag: \"two\"\r\ncontent-range: bytes {from}-{}/{}", BODY.len() - 1, BODY.len());
        drop(stream.write_all(&answer(206, &fields, &BODY.as_bytes()[from..])));
    });
    let proxy = Proxy::set(&settings(&breaks.url(), &[&rest.url()], ""), &[]);
    let path = format!("/sha256/{}/a/x", Digest::of(BODY.as_bytes()).hex());
    let found = proxy.get(&path);
    assert_eq!((found.text(), found.whole), (BODY, true));
    assert_eq!(rest.seen()[0].header("if-range"), None, "its tag is another server's");
}

#[test]
fn each_server_gets_its_own_credentials_and_no_other_ones() {
    let (one, two) = (Server::new("one"), Server::new("two"));
    one.answers(503);
    let first = one.origin.url();
    let text = format!(
        "[pkgcache.upstream.a]\nurl = \"{first}\"\ncredentials = \"first\"\n\
         mirrors = [{{ url = \"{}\", credentials = \"second\" }}]\n",
        two.origin.url()
    );
    let session = crate::support::session()
        .file("larder.toml", &text)
        .file("first", "user:secret\n")
        .file("second", "t0ken\n");
    let proxy = Proxy::in_session(session, &["--access-log", "access.ndjson"]);
    let sent =
        |server: &Server| server.origin.seen().last().unwrap().header("authorization").map(str::to_owned);
    proxy.get("/a/x").is(200, "stored", "two");
    assert_eq!(sent(&one).as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(sent(&two).as_deref(), Some("Bearer t0ken"));
    // A client's own are for the first server.
    one.answers(500);
    assert_eq!(proxy.ask("GET", "/a/y", "authorization: Bearer own").text(), "two");
    assert_eq!(sent(&one).as_deref(), Some("Bearer own"));
    assert_eq!(sent(&two).as_deref(), Some("Bearer t0ken"));
    // Nobody publishes by them.
    proxy.ask("POST", "/a/x", "content-length: 0");
    assert_eq!(sent(&one), None);
    let log = std::fs::read_to_string(proxy.path("access.ndjson")).unwrap();
    assert!(!log.contains("t0ken") && !proxy.said().contains("t0ken"), "{log}");
}

/// Requests at a mount wait for their turn, and a client is told when it has all its connections.
#[test]
fn a_mount_and_a_client_have_no_more_than_they_may() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, count) = (Arc::clone(&most), Arc::clone(&now));
    let origin = Origin::new(move |_, stream| {
        seen.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // So long that others would be here by now, were they let in.
        std::thread::sleep(std::time::Duration::from_millis(30));
        count.fetch_sub(1, Ordering::SeqCst);
        drop(stream.write_all(&answer(200, "cache-control: no-store", b"body")));
    });
    let text = format!(
        "[pkgcache]\nmax-connections-per-client = 8\naccess-log = \"access.ndjson\"\n\
         [pkgcache.upstream]\na = {{ url = \"{}\", max-requests = 2 }}\n",
        origin.url()
    );
    let proxy = Proxy::set(&text, &[]);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || assert_eq!(proxy.get(&format!("/a/{client}")).text(), "body"));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let held: Vec<_> = (0..8).map(|_| proxy.connect()).collect();
    let mut refused = proxy.get("/a/x");
    until("all that are held have come in", || {
        refused = proxy.get("/a/x");
        refused.status == 429
    });
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.text().contains("`max-connections-per-client`"), "{}", refused.text());
    let line = &proxy.logs(1, |line| line["status"] == 429)[0];
    assert!(line["reason"].as_str().unwrap().contains("max-connections-per-client"), "{line}");
    drop(held);
    until("there is room again", || proxy.get("/a/x").status == 200);
    let mut stream = proxy.connect();
    write!(stream, "GET /a/y HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(stream), "GET").status, 200);
}
