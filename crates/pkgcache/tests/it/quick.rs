//! The short way of hits: the same bytes as on the ordinary way, in the same order, to their end.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use larder_tests::until;
use proptest::prelude::*;

use crate::servers::pattern;
use crate::support::{Answer, Origin, Proxy, answer, read_answer, read_until};

const FRESH: &str = "cache-control: max-age=3600";
const BIG: usize = 300_000;
const HUGE: usize = 40 << 20;

/// What there is to ask for, all of it stored and fresh.
fn stored() -> (Origin, Proxy) {
    let origin = Origin::new(|seen, stream| {
        let tagged =
            format!("{FRESH}\netag: \"v1\"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\nx: \u{fc}");
        let bytes = match seen.path.as_str() {
            "/vary" => {
                answer(200, &format!("{FRESH}\nvary: foo"), seen.header("foo").unwrap_or("none").as_bytes())
            }
            "/big" => answer(200, &tagged, &pattern(BIG)),
            "/huge" => answer(200, FRESH, &pattern(HUGE)),
            "/empty" => answer(200, FRESH, b""),
            "/gone" => answer(404, FRESH, b"not here"),
            "/old" => answer(
                200,
                &format!("{FRESH}\nage: 100\nage: 7\ndate: yesterday\nconnection: x\nx: y"),
                b"old",
            ),
            _ => answer(200, &tagged, b"body"),
        };
        let _ = stream.write_all(&bytes);
    });
    let host = origin.address.to_string();
    let proxy = Proxy::with(&["--allow", &host, "--upstream", &format!("/={}", origin.url())]);
    let url = format!("http://{host}/a");
    for path in PATHS.iter().chain(&["/huge", url.as_str()]).filter(|path| **path != "/healthz") {
        for field in ["foo: 1", "foo: 2", "y: z"] {
            proxy.stores(path, field);
        }
    }
    (origin, proxy)
}

const PATHS: [&str; 8] = ["/a", "/a?b=%2F", "/big", "/vary", "/empty", "/gone", "/old", "/healthz"];

const FIELDS: [&str; 16] = [
    "accept: */*",
    "Accept-Encoding: gzip, deflate",
    "foo: 1",
    "FOO:2",
    "x:",
    "user-agent: x/1 (y; z)",
    "connection: keep-alive",
    "Proxy-Connection: Keep-Alive",
    "range: bytes=1-2",
    "range: bytes=-1,0-0",
    "if-none-match: \"v1\"",
    "if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT",
    "cache-control: max-stale=5",
    "content-length: 0",
    "te: trailers",
    "cookie: a=b",
];

impl Proxy {
    /// Asks until what such a request asks for is stored: not every fetch beside another one is.
    fn stores(&self, path: &str, field: &str) {
        let only = format!("{field}\ncache-control: only-if-cached");
        until(format_args!("{path} is stored"), || {
            self.ask("GET", path, field);
            self.ask("GET", path, &only).status != 504
        });
    }

    fn quick(&self) -> u64 {
        self.metric("pkgcache_quick_total")
    }
}

/// The bytes of an answer as they come.
fn raw(stream: &mut TcpStream, head_only: bool) -> Vec<u8> {
    let head = read_until(stream, "\r\n\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.filter(|_| !head_only && !head.starts_with("HTTP/1.1 304"));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    [head.as_bytes(), &body].concat()
}

/// The answer to a request that comes alone, and so may take the short way.
fn alone(proxy: &Proxy, request: &str) -> Vec<u8> {
    let mut stream = proxy.connect();
    stream.write_all(request.as_bytes()).unwrap();
    raw(&mut stream, request.starts_with("HEAD"))
}

/// The answer to a request that the parser has read together with another before it.
fn behind(proxy: &Proxy, request: &str) -> Vec<u8> {
    let mut stream = proxy.connect();
    let both = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n{request}");
    stream.write_all(both.as_bytes()).unwrap();
    raw(&mut stream, false);
    raw(&mut stream, request.starts_with("HEAD"))
}

fn request(address: &str) -> impl Strategy<Value = String> + use<> {
    let urls = PATHS.iter().map(|path| (*path).to_owned()).chain([format!("http://{address}/a")]);
    let target = prop::sample::select(urls.collect::<Vec<_>>());
    let fields = prop::collection::vec(prop::sample::select(&FIELDS[..]), 0..4);
    (prop::sample::select(&["GET", "GET", "HEAD"][..]), target, fields)
        .prop_filter(
            "the parser takes one of these, and no answer is stored for two of those",
            |(_, _, fields)| {
                let count =
                    |name: &str| fields.iter().filter(|it| it.to_lowercase().starts_with(name)).count();
                count("content-length") < 2 && count("foo") < 2
            },
        )
        .prop_map(|(method, target, fields)| {
            let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
        })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn both_ways_give_the_same_bytes() {
    let (origin, proxy) = stored();
    let mut runner = proptest::test_runner::TestRunner::new(cases(300));
    let fetched = origin.seen().len();
    let result = runner.run(&request(&origin.address.to_string()), |request| {
        let before = alone(&proxy, &request);
        let ordinary = behind(&proxy, &request);
        // Its age may have become another meanwhile.
        let after = alone(&proxy, &request);
        let same = ordinary == before || ordinary == after;
        prop_assert!(
            same,
            "{request}\n{}\n{}",
            String::from_utf8_lossy(&before),
            String::from_utf8_lossy(&ordinary)
        );
        Ok(())
    });
    result.unwrap();
    assert!(proxy.quick() > 100, "{} took the short way", proxy.quick());
    assert_eq!(origin.seen().len(), fetched, "what was compared was not a hit");
}

#[test]
fn requests_that_come_together_are_answered_in_their_turn() {
    let (origin, proxy) = stored();
    let mut runner = proptest::test_runner::TestRunner::new(cases(60));
    let requests = prop::collection::vec(request(&origin.address.to_string()), 1..6);
    let result = runner.run(&(requests, 1..400_usize), |(requests, cut)| {
        let body =
            |bytes: &[u8]| bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|at| bytes[at..].to_vec());
        let expected: Vec<_> = requests.iter().map(|request| body(&behind(&proxy, request))).collect();
        let mut stream = proxy.connect();
        stream.set_nodelay(true).unwrap();
        let all = requests.concat();
        let (first, rest) = all.split_at(cut.min(all.len()));
        stream.write_all(first.as_bytes()).unwrap();
        stream.write_all(rest.as_bytes()).unwrap();
        for (request, expected) in requests.iter().zip(expected) {
            prop_assert_eq!(body(&raw(&mut stream, request.starts_with("HEAD"))), expected, "{}", request);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_large_body_comes_to_its_end_though_the_client_is_slow_and_the_server_told_to_end() {
    let (_origin, mut proxy) = stored();
    let before = proxy.quick();
    let mut stream = proxy.connect();
    stream.write_all(b"GET /huge HTTP/1.1\r\nhost: x\r\n\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 17];
    stream.read_exact(&mut first).unwrap();
    let first = first.as_slice();
    assert_eq!(first, b"HTTP/1.1 200 OK\r\n");
    assert_eq!(proxy.quick(), before + 1);
    proxy.signal("TERM");
    let answer = Answer::read(&mut BufReader::new(first.chain(stream)), "GET");
    assert!(answer.whole && answer.body == pattern(HUGE));
    assert_eq!(proxy.wait(), Some(0));
}

#[test]
fn the_access_log_has_what_takes_the_short_way() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--upstream", &format!("/={}", origin.url()), "--access-log", "access.ndjson"]);
    proxy.get("/a");
    proxy.settled("/a");
    let request = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    let ways = [alone(&proxy, request), behind(&proxy, request)];
    assert_eq!(proxy.quick(), 1);
    let mut lines = proxy.logs(ways.len(), |line| line["result"] == "hit" && line["bytes"] == 4);
    for line in &mut lines {
        for changing in ["time", "seconds", "cache"] {
            assert!(line.as_object_mut().unwrap().remove(changing).is_some(), "{changing}");
        }
    }
    assert_eq!(lines[0], lines[1]);
    let counted = proxy.get("/metrics");
    assert!(counted.text().contains("pkgcache_requests_total{result=\"hit\"} "), "{counted:?}");
}

#[test]
fn who_asks_for_the_end_gets_it() {
    let (_origin, proxy) = stored();
    let mut stream = proxy.connect();
    stream
        .write_all(
            b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.windows(8).filter(|it| it == b"HTTP/1.1").count(), 2);
}

#[test]
fn what_lies_behind_an_unread_body_is_no_request() {
    let (origin, proxy) = stored();
    let hidden = "GET /hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = hidden.len() + 5;
    let mut stream = proxy.connect();
    // Refused by its path, before anybody reads the body.
    write!(stream, "POST /a/../b HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{hidden}").unwrap();
    assert_eq!(read_answer(&mut stream).status, 400);
    let _ = stream.write_all(format!("abcde{hidden}").as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(origin.seen().iter().all(|seen| seen.path != "/hidden"), "{:?}", origin.seen());
}
