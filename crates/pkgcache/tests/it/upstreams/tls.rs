//! Upstreams with TLS and an authority of one's own, over HTTP/1.1 and HTTP/2, with nginx on the
//! other side.

use std::io::{Read, Write};
use std::sync::{Arc, Barrier};
use std::thread;

use camino::Utf8Path;
use larder_tests::{Part, Ran, have};

use crate::servers::{Authority, Nginx, cut_line, pattern};
use crate::support::{Cached, Proxy, read_answer, session};

/// nginx with HTTP/1.1 alone, with HTTP/2 too, slowly, and with somebody else's certificate.
const ONE: usize = 0;
const TWO: usize = 1;
const SLOW: usize = 2;
const OTHER: usize = 3;

fn secure() -> Option<(Nginx, Authority)> {
    if !have(&[Part::Nginx, Part::Openssl]) {
        return None;
    }
    let authority = Authority::new();
    let fresh = "add_header Cache-Control max-age=3600;";
    let here = format!("{} {fresh}", authority.lines("here"));
    let slow = format!("{here} limit_rate_after 256k; limit_rate 2m;");
    let many = (0..300).map(|count| format!("add_header x-{count} y;")).collect::<Vec<_>>().concat();
    let here = format!("{here} location /many/ {{ alias www/; {many} }}");
    let other = format!("{} {fresh}", authority.lines("elsewhere"));
    let nginx = Nginx::new(&[("ssl", &here), ("ssl http2", &here), ("ssl http2", &slow), ("ssl", &other)]);
    nginx.write("a", b"body");
    Some((nginx, authority))
}

/// A proxy with one of the servers at its root.
fn proxy(nginx: &Nginx, server: usize, authorities: &Utf8Path) -> Proxy {
    let upstream = format!("/=https://localhost:{}", nginx.port(server));
    Proxy::trusting(Some(authorities), &["--upstream", &upstream])
}

#[track_caller]
fn refused(nginx: &Nginx, server: usize, authorities: &Utf8Path, word: &str) {
    let proxy = proxy(nginx, server, authorities);
    for path in ["/a", "/b"] {
        let answer = proxy.get(path);
        assert!(answer.status == 504 && answer.text().contains(word), "{answer:?}");
    }
    let answer = proxy.ask("POST", "/a", "content-length: 0");
    assert!(answer.status == 504 && answer.text().contains(word), "{answer:?}");
    assert_eq!((proxy.listed(), nginx.requests("/a").len()), (0, 0));
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let Some((nginx, authority)) = secure() else { return };
    for (server, protocol) in [(ONE, "HTTP/1.1 200"), (TWO, "HTTP/2.0 200")] {
        let proxy = proxy(&nginx, server, &authority.certificates());
        proxy.get("/a").is(200, "stored", "body");
        proxy.settled("/a");
        proxy.get("/a").is(200, "hit", "body");
        assert_eq!(nginx.requests("/a").last().unwrap().0, protocol);
    }
    nginx.was_asked("/a", &["HTTP/1.1 200", "HTTP/2.0 200"]);
}

#[test]
fn an_answer_may_have_hundreds_of_fields() {
    let Some((nginx, authority)) = secure() else { return };
    for server in [ONE, TWO] {
        let answer = proxy(&nginx, server, &authority.certificates()).get("/many/a");
        assert_eq!(answer.is(200, "stored", "body").header("x-299"), Some("y"));
    }
}

#[test]
fn a_server_that_shows_an_authoritys_own_certificate_is_explained() {
    if !have(&[Part::Nginx, Part::Openssl]) {
        return;
    }
    let authority = Authority::new();
    let nginx = Nginx::new(&[("ssl", &authority.lines("own")), ("ssl", &authority.lines("alone"))]);
    nginx.write("a", b"body");
    let ask = |server, name| proxy(&nginx, server, &authority.file().join(name)).get("/a");
    let own = ask(0, "own.pem");
    assert!(own.status == 504 && own.text().contains("`openssl req -x509 -addext basic"), "{own:?}");
    // What the help leads to.
    ask(1, "alone.pem").is(200, "fwd=uri-miss", "body");
}

#[test]
fn nobody_else_is_trusted() {
    let Some((nginx, authority)) = secure() else { return };
    let unknown = "its authority is neither among the system's nor in the file";
    let another = Authority::new();
    refused(&nginx, ONE, &another.certificates(), unknown);
    refused(&nginx, TWO, &another.certificates(), unknown);
    refused(&nginx, OTHER, &authority.certificates(), "not valid for name");
    // Without a file there is no authority at all: none is built in.
    refused(&nginx, ONE, Utf8Path::new("/nonexistent"), unknown);
    refused(&nginx, ONE, Utf8Path::new("/dev/null"), unknown);
}

#[test]
fn a_tunnel_leaves_the_certificate_to_the_client() {
    let Some((nginx, authority)) = secure() else { return };
    if !have(&[Part::Curl]) {
        return;
    }
    let another = Authority::new();
    let host = format!("localhost:{}", nginx.port(TWO));
    let proxy = Proxy::with(&["--tunnel", &host]);
    let curl = |authorities: &Utf8Path| {
        let session = session();
        let mut command = session.program("curl");
        command.args(["-sS", "--http2", "--proxy", proxy.url(), "--cacert", authorities.as_str()]);
        Ran::of(command.arg(format!("https://{host}/a")))
    };
    assert_eq!(curl(&authority.certificates()).ok().stdout(), "body");
    curl(&another.certificates()).ends(60);
    nginx.was_asked("/a", &["HTTP/2.0 200"]);
    assert_eq!(proxy.listed(), 0);
}

#[test]
fn http_2_streams_a_large_body_to_all_from_one_fetch() {
    let Some((nginx, authority)) = secure() else { return };
    let body = Arc::new(pattern(4 << 20));
    nginx.write("large", &body);
    let proxy = Arc::new(proxy(&nginx, SLOW, &authority.certificates()));
    let start = Arc::new(Barrier::new(16));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (proxy, start, body) = (Arc::clone(&proxy), Arc::clone(&start), Arc::clone(&body));
            thread::spawn(move || {
                start.wait();
                let answer = proxy.get("/large");
                assert!(answer.whole && answer.body == *body, "{} bytes", answer.body.len());
                answer.cache().contains("collapsed")
            })
        })
        .collect();
    let mut early = proxy.connect();
    early.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    early.read_exact(&mut [0; 8 << 10]).unwrap();
    // nginx notes a request when it has sent all of it.
    assert!(nginx.requests("/large").is_empty(), "the first bytes waited for the last");
    let joined = clients.into_iter().map(|client| client.join().unwrap()).filter(|it| *it).count();
    assert!(joined >= 14, "{joined} of 16 came along");
    let mut rest = Vec::new();
    early.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&body[1 << 20..]));
    nginx.was_asked("/large", &["HTTP/2.0 200"]);
}

#[test]
fn http_2_shares_a_connection() {
    let Some((nginx, authority)) = secure() else { return };
    let proxy = Arc::new(proxy(&nginx, TWO, &authority.certificates()));
    proxy.get("/a").is(200, "stored", "body");
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let proxy = Arc::clone(&proxy);
            thread::spawn(move || {
                for number in 0..10 {
                    proxy.get(&format!("/a?{client}-{number}")).is(200, "stored", "body");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let connection = |path: &str| nginx.requests(path).first().unwrap().1.clone();
    nginx.was_asked("/a?7-9", &["HTTP/2.0 200"]);
    assert_eq!(connection("/a"), connection("/a?0-0"));
    assert_eq!(connection("/a"), connection("/a?7-9"));
    // What has a body, or fails, or has none, goes over it as well.
    assert_eq!(proxy.get("/none").status, 404);
    assert_eq!(proxy.ask("HEAD", "/a?head", "").header("content-length"), Some("4"));
    let mut post = proxy.connect();
    post.write_all(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody")
        .unwrap();
    assert_eq!(read_answer(&mut post).status, 405);
}

#[test]
fn what_breaks_off_under_tls_is_taken_up() {
    let Some((nginx, authority)) = secure() else { return };
    let body = pattern(2 << 20);
    nginx.write("large", &body);
    for (server, protocol) in [(ONE, "HTTP/1.1 206"), (TWO, "HTTP/2.0 206")] {
        let line = cut_line(nginx.port(server), 1 << 20);
        let upstream = format!("/=https://localhost:{}", line.port());
        let proxy = Proxy::trusting(Some(&authority.certificates()), &["--upstream", &upstream]);
        let answer = proxy.get("/large");
        assert!(answer.whole && answer.body == body, "{} bytes of {protocol}", answer.body.len());
        proxy.settled("/large");
        assert!(nginx.requests("/large").iter().any(|it| it.0 == protocol), "{:?}", nginx.requests("/large"));
    }
}

/// So many ask at once.
const CLIENTS: usize = 40;

#[test]
fn cold_requests_share_one_connection_where_the_upstream_speaks_http_2() {
    let Some((nginx, authority)) = secure() else { return };
    for (server, connections) in [(TWO, 1..=1), (ONE, 2..=CLIENTS)] {
        let names: Vec<_> = (0..CLIENTS).map(|client| format!("cold-{server}-{client}")).collect();
        for name in &names {
            nginx.write(name, &pattern(64 << 10));
        }
        let (proxy, together) = (proxy(&nginx, server, &authority.certificates()), Barrier::new(CLIENTS));
        thread::scope(|scope| {
            for name in &names {
                let (proxy, together) = (&proxy, &together);
                scope.spawn(move || {
                    let mut stream = proxy.connect();
                    together.wait();
                    write!(stream, "GET /{name} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                    let answer = read_answer(&mut stream);
                    assert!(answer.status == 200 && answer.body == pattern(64 << 10), "{name}");
                });
            }
        });
        let connection = |name: &String| {
            let path = format!("/{name}");
            nginx.was_asked(&path, &[["HTTP/1.1 200", "HTTP/2.0 200"][server]]);
            nginx.requests(&path).remove(0).1
        };
        let mut numbers: Vec<_> = names.iter().map(connection).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(connections.contains(&numbers.len()), "{} connections", numbers.len());
    }
}
