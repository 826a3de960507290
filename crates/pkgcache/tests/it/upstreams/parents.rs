//! Through a parent proxy: plainly for what is plain, in a tunnel for what is not, and never in
//! circles.

use std::fs;

use larder_tests::http::free_address;
use larder_tests::{Part, have, until};

use crate::servers::{Authority, Nginx};
use crate::support::{Cached, Origin, Proxy};

const FRESH: &str = "cache-control: max-age=3600";

fn host(origin: &Origin) -> String {
    origin.address.to_string()
}

/// A proxy whose settings name parents that were not there when it began.
struct Late(Proxy);

impl Late {
    fn new() -> Self {
        Self(Proxy::with(&[]))
    }

    fn set(&self, settings: &str) {
        fs::write(self.0.path("larder.toml"), format!("[pkgcache]\n{settings}")).unwrap();
        let before = self.0.said().matches("read again").count();
        self.0.signal("HUP");
        until("the settings are read again", || self.0.said().matches("read again").count() > before);
    }
}

#[test]
fn what_is_plain_goes_through_the_parent_and_stays_in_both() {
    let origin = Origin::fixed(FRESH, "body");
    let parent = Proxy::with(&["--allow", &host(&origin)]);
    let upstream = format!("/={}", origin.url());
    let child = Proxy::with(&["--upstream", &upstream, "--allow", &host(&origin), "--parent", parent.url()]);
    for url in ["/a".to_owned(), format!("{}/b", origin.url())] {
        child.get(&url).is(200, "stored", "body");
        child.settled(&url);
        child.get(&url).is(200, "hit", "body");
    }
    let seen = origin.seen();
    assert_eq!(seen.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
    assert_eq!(seen[0].header("host"), Some(host(&origin).as_str()));
    assert_eq!(parent.listed(), 2);
    // What the parent has comes from there, to a child that has nothing.
    let other = Proxy::with(&["--upstream", &upstream, "--parent", parent.url()]);
    let answer = other.get("/a");
    assert_eq!((answer.text(), origin.seen().len()), ("body", 2));
    assert!(answer.headers.iter().any(|(_, value)| value.contains("pkgcache; hit")), "{answer:?}");
    let sent = child.raw(b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((sent.status, origin.seen().last().unwrap().method.as_str()), (200, "POST"));
}

#[test]
fn what_is_secure_goes_through_the_parents_tunnel() {
    if !have(&[Part::Nginx, Part::Openssl]) {
        return;
    }
    let authority = Authority::new();
    let nginx = Nginx::new(&[
        ("ssl", &authority.lines("here")),
        ("ssl http2", &authority.lines("here")),
        ("ssl", &authority.lines("elsewhere")),
    ]);
    nginx.write("a", b"body");
    for (server, expected) in [(0, "HTTP/1.1 200"), (1, "HTTP/2.0 200"), (2, "")] {
        let host = format!("localhost:{}", nginx.port(server));
        let parent = Proxy::with(&["--tunnel", &host]);
        let upstream = format!("/=https://{host}");
        let args = ["--upstream", &upstream, "--parent", parent.url()];
        let answer = Proxy::trusting(Some(&authority.certificates()), &args).get("/a");
        if expected.is_empty() {
            assert!(answer.status == 504 && answer.text().contains("not valid for name"), "{answer:?}");
        } else {
            answer.is(200, "fwd=uri-miss", "body");
            nginx.was_asked("/a", &["HTTP/1.1 200", "HTTP/2.0 200"][..=server]);
        }
        assert_eq!(parent.listed(), 0);
        let closed = Proxy::with(&[]);
        let answer = Proxy::with(&["--upstream", &upstream, "--parent", closed.url()]).get("/a");
        assert!(answer.status == 504 && answer.text().contains("opens no tunnel: 403"), "{answer:?}");
    }
}

#[test]
fn a_parent_that_is_not_there_is_named() {
    let free = free_address();
    let parent = format!("http://{free}");
    for upstream in ["/=http://files.invalid", "/=https://files.invalid"] {
        let answer = Proxy::with(&["--upstream", upstream, "--parent", &parent]).get("/a");
        assert!(
            answer.status == 504 && answer.text().contains(&format!("the parent proxy `{free}`")),
            "{answer:?}"
        );
    }
}

#[test]
fn no_parent_is_asked_for_the_machines_own_secrets() {
    let origin = Origin::fixed(FRESH, "secret");
    for host in ["169.254.169.254", "0xa9fea9fe", "2852039166", "169.16689662", "[fd00:ec2::254]"] {
        for scheme in ["http", "https"] {
            let upstream = format!("/={scheme}://{host}");
            let proxy = Proxy::with(&["--allow-private", "--upstream", &upstream, "--parent", &origin.url()]);
            assert_eq!(proxy.get("/latest").status, 403, "{upstream}");
        }
    }
    let proxy = Proxy::with(&["--tunnel", "*", "--allow", "*", "--parent", &origin.url()]);
    for address in ["10.0.0.1:80", "127.1:443"] {
        let tunnel = format!("CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        assert_eq!(proxy.raw(tunnel.as_bytes()).status, 403, "{address}");
    }
    assert_eq!(proxy.get("http://10.0.0.1/").status, 403);
    assert!(origin.seen().is_empty());
}

#[test]
fn circles_are_left() {
    let origin = Origin::fixed(FRESH, "body");
    let (one, two) = (Late::new(), Late::new());
    let rules = format!("allow = [\"{0}\"]\ntunnel = [\"{0}\"]\nparent = ", host(&origin));
    let tunnel = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", origin.address);
    for parents in [(&one, &one), (&two, &one)] {
        one.set(&format!("{rules}\"{}\"\n", parents.0.0.url()));
        two.set(&format!("{rules}\"{}\"\n", parents.1.0.url()));
        assert_eq!(one.0.get(&format!("{}/a", origin.url())).status, 508);
        let answer = one.0.raw(tunnel.as_bytes());
        assert!(answer.status == 504 && answer.text().contains("opens no tunnel"), "{answer:?}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn another_parent_is_another_connection() {
    // It keeps its connections open.
    let parent = |name: &'static str| {
        Origin::new(move |_, stream| {
            let head = "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 3\r\n\r\n";
            let _ = std::io::Write::write_all(stream, format!("{head}{name}").as_bytes());
            let _ = std::io::copy(stream, &mut std::io::sink());
        })
    };
    let (one, two) = (parent("one"), parent("two"));
    let proxy = Late::new();
    let rules = "upstream = { \"/\" = \"http://files.invalid\" }\nparent = ";
    proxy.set(&format!("{rules}\"{}\"\n", one.url()));
    assert_eq!(proxy.0.get("/a").text(), "one");
    proxy.set(&format!("{rules}\"{}\"\n", two.url()));
    assert_eq!(proxy.0.get("/a").text(), "two");
    assert_eq!(two.seen()[0].path, "http://files.invalid/a");
}
