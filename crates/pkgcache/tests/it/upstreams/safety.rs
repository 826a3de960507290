//! What is refused, on raw sockets.

use std::io::Write;
use std::time::{Duration, Instant};

use larder_tests::http::listen;

use crate::support::{Cached, Origin, Proxy, read_answer, read_until, session};

const FRESH: &str = "cache-control: max-age=3600";

#[track_caller]
fn refused(proxy: &Proxy, bytes: &str, status: u16) {
    let answer = proxy.raw(bytes.as_bytes());
    assert_eq!(answer.status, status, "{bytes:?}: {answer:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{bytes:?}");
}

#[test]
fn smuggled_requests_reach_nobody() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    let inner = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for (head, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 0\r\nContent-Length: 5", ""),
        ("Content-Length: 0,5", ""),
        ("Content-Length: -1", ""),
        ("X: y\rZ: w", ""),
        ("X: y\0", ""),
        ("X: y\nContent-Length: 33", ""),
    ] {
        let bytes = format!("POST /a HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}{inner}");
        let answer = proxy.raw(bytes.as_bytes());
        assert!(matches!(answer.status, 400 | 501), "{head:?}: {answer:?}");
    }
    refused(&proxy, &format!("GET /a HTTP/1.1\nHost: x\n\n{inner}"), 400);
    refused(&proxy, &format!("GET /a HTTP/1.1\r\n\r\n{inner}"), 400);
    refused(&proxy, &format!("GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n{inner}"), 400);
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

/// A server that has no answer before it has the whole request.
fn listening() -> Origin {
    Origin::new(|_, stream| drop(std::io::copy(stream, &mut std::io::sink())))
}

#[test]
fn chunk_tricks_end_the_connection() {
    let origin = listening();
    let proxy = Proxy::of(&origin);
    for chunks in [
        "5;a=b\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\n0\n\n",
        "5\r\nabcdeX\r\n0\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "zz\r\n",
    ] {
        let head = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(&proxy, &format!("{head}{chunks}GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
    }
    assert!(origin.seen().iter().all(|seen| seen.path != "/hidden"));
}

#[test]
fn a_body_that_is_not_whole_is_the_clients_fault_and_is_logged() {
    let origin = listening();
    let proxy = Proxy::with(&["--upstream", &format!("/={}", origin.url()), "--access-log", "access.ndjson"]);
    let head = "POST /a HTTP/1.1\r\nHost: x\r\n";
    let ask = |body: &str| {
        let mut stream = proxy.connect();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{answer:?}");
        answer.text().to_owned()
    };
    let trailer = ask("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n");
    assert!(trailer.contains("is not complete: a trailer behind the last chunk"), "{trailer}");
    ask("Content-Length: 10\r\n\r\nhalf");
    ask("Transfer-Encoding: chunked\r\n\r\n8\r\nhalf");
    proxy.logs(3, |line| line["status"] == 400);
    assert!(proxy.get("/metrics").text().contains("\npkgcache_upstream_failures_total 0\n"));
}

#[test]
fn the_token_goes_no_further_also_where_it_is_not_needed() {
    let origin = Origin::fixed(FRESH, "body");
    let session = session().file("token", "0123456789abcdef\n");
    let upstream = format!("/={}", origin.url());
    let proxy = Proxy::in_session(session, &["--upstream", &upstream, "--token-file", "token"]);
    let told = |authorization: &str| {
        assert_eq!(proxy.ask("GET", "/a", &format!("authorization: {authorization}")).status, 200);
        origin.seen().last().unwrap().header("authorization").map(str::to_owned)
    };
    assert_eq!(told("Bearer another-secret-word").as_deref(), Some("Bearer another-secret-word"));
    assert_eq!(told("Bearer 0123456789abcdef"), None);
}

#[test]
fn a_refusal_waits_its_turn() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    let mut stream = proxy.connect();
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\nHost: x\n\n").unwrap();
    read_answer(&mut stream.try_clone().unwrap()).is(200, "", "body");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
    assert!(origin.seen().len() == 1);
}

#[test]
fn huge_heads_are_refused() {
    let proxy = Proxy::of(&Origin::fixed(FRESH, "body"));
    refused(&proxy, &format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40_000)), 431);
    refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200)), 431);
    refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000)), 431);
}

#[test]
fn path_tricks_are_refused() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--upstream", &format!("a={}/base", origin.url())]);
    for path in [
        "/a/../x",
        "/a/%2e%2e/x",
        "/a/..%2fx",
        "/a/x%00",
        "/a/x%0d%0aX:%20y",
        "/a/x%5cy",
        "/a/%zz",
        "/a/%2e/x",
        "/a/x/.",
    ] {
        refused(&proxy, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
    }
    assert_eq!(proxy.get("/b/x").status, 404);
    assert!(origin.seen().is_empty());
}

#[test]
fn it_is_no_open_proxy() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--allow", "allowed.invalid"]);
    refused(&proxy, &format!("GET {}/a HTTP/1.1\r\nHost: x\r\n\r\n", origin.url()), 403);
    refused(&proxy, "GET http://user:pw@allowed.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refused(&proxy, &format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", origin.address), 403);
    refused(&proxy, "CONNECT allowed.invalid HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refused(&proxy, "CONNECT allowed.invalid@127.0.0.1:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400);
    refused(&proxy, "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405);
    assert!(origin.seen().is_empty());
}

#[test]
fn names_do_not_lead_to_private_addresses() {
    let origin = Origin::fixed(FRESH, "body");
    // No address to us, and this machine to the system that looks it up.
    let host = format!("127.1:{}", origin.address.port());
    let closed = Proxy::with(&["--allow", &host, "--upstream", &format!("m=http://{host}")]);
    assert_eq!(closed.get("/m/a").status, 403);
    assert_eq!(closed.get(&format!("http://{host}/a")).status, 403);
    assert!(origin.seen().is_empty());
    let open = Proxy::with(&["--allow-private", "--upstream", &format!("m=http://{host}")]);
    assert_eq!(open.get("/m/a").status, 200);
}

#[test]
fn no_way_of_writing_this_machine_leads_to_it() {
    let origin = Origin::fixed(FRESH, "secret");
    let port = origin.address.port();
    let proxy = Proxy::with(&["--allow", &format!("*:{port}"), "--tunnel", &format!("*:{port}")]);
    let (hosts, mapped) =
        (["127.0.0.1", "0x7f000001", "0x7f.1", "2130706433", "017700000001"], "[::ffff:7f00:1]");
    for host in hosts.into_iter().chain([
        "127.1",
        "LOCALHOST",
        "[::1]",
        mapped,
        "0.0.0.0",
        "0",
        "[::]",
        "[::127.0.0.1]",
    ]) {
        assert_eq!(proxy.get(&format!("http://{host}:{port}/a")).status, 403, "{host}");
        let tunnel = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(proxy.raw(tunnel.as_bytes()).status, 403, "{host}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn the_machines_own_secrets_are_never_asked_for() {
    let proxy = Proxy::with(&["--allow-private", "--allow", "*", "--upstream", "m=http://169.254.169.254"]);
    for url in [
        "/m/latest",
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
    ] {
        assert_eq!(proxy.get(url).status, 403, "{url}");
    }
}

#[test]
fn a_tunnel_goes_to_allowed_hosts_alone() {
    let address = listen(|mut stream| {
        let mut bytes = [0; 4];
        std::io::Read::read_exact(&mut stream, &mut bytes).unwrap();
        stream.write_all(&bytes.map(|byte| byte.to_ascii_uppercase())).unwrap();
    });
    let proxy = Proxy::with(&["--tunnel", &address.to_string()]);
    let mut stream = proxy.connect();
    write!(stream, "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    stream.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    std::io::Read::read_exact(&mut stream, &mut bytes).unwrap();
    assert_eq!(&bytes, b"PING");
}

#[test]
fn other_machines_are_let_in_only_where_it_is_said_who() {
    let session = session();
    for words in ["", "--client 10.0.0.0/8", "--allow-remote"] {
        session.run(&format!("serve --listen 0.0.0.0:0 {words}")).ends(2).says("other machines");
    }
}

#[test]
fn a_slow_head_is_not_waited_for() {
    let proxy = Proxy::set("[pkgcache]\nhead-time = \"1s\"\n", &[]);
    let mut stream = proxy.connect();
    let started = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    for _ in 0..30 {
        // A slow client.
        std::thread::sleep(Duration::from_millis(100));
        if stream.write_all(b"a: b\r\n").is_err() {
            break;
        }
    }
    let answer = read_answer(&mut stream);
    assert!(answer.status == 0 || answer.status == 408, "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_request_that_came_back_is_not_sent_round_again() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a");
    let via = origin.seen()[0].header("via").unwrap().to_owned();
    assert_eq!(proxy.ask("GET", "/b", &format!("via: {via}")).status, 508);
}

#[test]
fn a_host_that_is_not_one_is_refused() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--upstream", &format!("/={}", origin.url()), "--allow", "*"]);
    for host in ["a b", "user@a", "user:pw@a", "a/b", "@", "a:b", "[::1"] {
        refused(&proxy, &format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
        refused(&proxy, &format!("GET http://a/ HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400);
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_request_that_was_refused_is_logged_as_it_came() {
    let proxy = Proxy::with(&["--access-log", "access.ndjson"]);
    let long = "x".repeat(40_000);
    let lines =
        ["GET /a\u{1b}[2J\u{9b} HTTP/1.1", "GET /b HTTP/1.1", "GET  /c", &format!("GET /{long} HTTP/1.1")];
    for line in lines {
        proxy.raw(format!("{line}\r\nHost: user@x\r\n\r\n").as_bytes());
    }
    let logged = proxy.logged(lines.len());
    let shown: Vec<_> = logged.iter().map(|line| line["request"].as_str().unwrap()).collect();
    assert_eq!(shown[..3], [r"GET /a\x1b[2J\xc2\x9b HTTP/1.1", "GET /b HTTP/1.1", "GET  /c"]);
    assert!(shown[3].starts_with("GET /xxx") && shown[3].len() < 2000, "{}", shown[3].len());
    let statuses: Vec<_> = logged.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [400, 400, 400, 431]);
    assert_eq!((&logged[1]["method"], &logged[1]["url"]), (&"GET".into(), &"/b".into()));
    // No line shows another path than the client's own.
    let urls: Vec<_> = logged.iter().map(|line| line["url"].as_str().unwrap()).collect();
    assert_eq!(urls[..3], [r"/a\x1b[2J\xc2\x9b", "/b", ""]);
}
