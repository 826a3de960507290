//! nginx as the origin: what it says of files, and what it answers to conditions, ranges and
//! mistakes.

use std::fs::File;
use std::time::{Duration, SystemTime};

use larder_tests::{Part, have};

use crate::servers::{Nginx, cut_line, pattern};
use crate::support::{Cached, Proxy};

const SERVER: &str = "gzip_types text/plain; gzip_min_length 1; gzip_vary on; gzip_proxied any;\n\
    location /gzip/ { alias www/; gzip on; add_header Cache-Control max-age=3600; }\n\
    location /asked/ { alias www/; add_header Cache-Control no-cache; }\n\
    location /fresh/ { alias www/; add_header Cache-Control max-age=3600 always; }\n\
    location = /moved { return 301 /fresh/a; }\n\
    location = /elsewhere { return 302 http://10.0.0.1/a; }\n\
    location = /round { return 302 /round; }";

fn nginx() -> Option<(Nginx, Proxy)> {
    if !have(&[Part::Nginx]) {
        return None;
    }
    let nginx = Nginx::new(&[("", SERVER)]);
    nginx.write("a", b"body");
    let proxy = Proxy::with(&["--upstream", &format!("/=http://127.0.0.1:{}", nginx.port(0))]);
    Some((nginx, proxy))
}

fn date(nginx: &Nginx, name: &str, age: Duration) {
    let file = File::options().append(true).open(nginx.path(name)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn a_file_is_asked_about_and_fetched_when_it_changed() {
    let Some((nginx, proxy)) = nginx() else { return };
    let first = proxy.get("/asked/a");
    first.is(200, "stored", "body");
    proxy.kept(1);
    proxy.get("/asked/a").is(200, "fwd-status=304", "body");
    nginx.write("a", b"another body");
    date(&nginx, "a", Duration::from_secs(60));
    proxy.get("/asked/a").is(200, "fwd=", "another body");
    nginx.was_asked("/asked/a", &["HTTP/1.1 200", "HTTP/1.1 304", "HTTP/1.1 200"]);
    // The client's own conditions.
    let tag = first.header("etag").unwrap();
    proxy.ask("GET", "/asked/a", &format!("if-none-match: {tag}")).is(200, "", "another body");
    let new = proxy.get("/asked/a").header("etag").unwrap().to_owned();
    assert_eq!(proxy.ask("GET", "/asked/a", &format!("if-none-match: {new}")).status, 304);
}

#[test]
fn where_lifetimes_are_guessed_an_old_file_is_fresh_for_a_while_and_a_new_one_is_asked_about() {
    let Some((nginx, proxy)) = nginx() else { return };
    let upstream = format!("/=http://127.0.0.1:{}", nginx.port(0));
    let proxy = proxy.again(&["--upstream", &upstream, "--heuristic-freshness"]);
    nginx.write("old", b"old");
    date(&nginx, "old", Duration::from_secs(100 * 86_400));
    for (path, count) in [("/old", 1), ("/a", 2)] {
        proxy.get(path);
        proxy.kept(count);
    }
    proxy.get("/old").is(200, "hit", "old");
    proxy.get("/a").is(200, "fwd-status=304", "body");
    nginx.was_asked("/old", &["HTTP/1.1 200"]);
}

#[test]
fn a_broken_download_is_taken_up_and_ranges_are_served() {
    let Some((nginx, _)) = nginx() else { return };
    let body = pattern(3 << 20);
    nginx.write("large", &body);
    let line = cut_line(nginx.port(0), 1 << 20);
    let proxy = Proxy::with(&["--upstream", &format!("/=http://{line}")]);
    let answer = proxy.get("/fresh/large");
    assert!(answer.whole && answer.body == body, "{} bytes", answer.body.len());
    proxy.settled("/fresh/large");
    let asked: Vec<_> = nginx.requests("/fresh/large").into_iter().map(|it| it.0).collect();
    assert!(asked.contains(&"HTTP/1.1 206".to_owned()), "{asked:?}");
    let part = proxy.ask("GET", "/fresh/large", "range: bytes=1048570-1048585");
    assert!(part.status == 206 && part.body == body[1_048_570..=1_048_585], "{part:?}");
    // Of what is not stored, nginx cuts the range.
    let part = proxy.ask("GET", "/a", "range: bytes=1-2");
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "od", Some("bytes 1-2/4")));
    assert_eq!(proxy.ask("GET", "/a", "range: bytes=9-").status, 416);
}

#[test]
fn packed_and_plain_are_two_answers() {
    let Some((nginx, proxy)) = nginx() else { return };
    nginx.write("text", "word ".repeat(1000).as_bytes());
    let ask = |headers: &str| proxy.ask("GET", "/gzip/text", headers);
    // What comes while another variant is still being stored is passed on and not stored itself.
    let settled = |headers: &str| proxy.settled_for("/gzip/text", headers);
    for cache in ["fwd=", "hit"] {
        let packed = ask("accept-encoding: gzip");
        assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < 1000 && packed.whole);
        assert!(packed.cache().contains(cache) && packed.header("vary").is_some(), "{packed:?}");
        settled("accept-encoding: gzip");
        ask("").is(200, cache, &"word ".repeat(1000));
        settled("");
    }
    nginx.was_asked("/gzip/text", &["HTTP/1.1 200"; 2]);
}

#[test]
fn what_is_missing_stays_missing_for_as_long_as_it_says() {
    let Some((nginx, proxy)) = nginx() else { return };
    let missing = proxy.get("/fresh/none");
    assert_eq!(missing.status, 404);
    proxy.settled("/fresh/none");
    assert!(proxy.get("/fresh/none").cache().contains("hit"));
    nginx.was_asked("/fresh/none", &["HTTP/1.1 404"]);
    for _ in 0..2 {
        assert_eq!(proxy.get("/none").status, 404);
    }
    nginx.write("none", b"here");
    proxy.get("/none").is(200, "", "here");
    let head = proxy.ask("HEAD", "/fresh/a", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    assert_eq!(proxy.ask("POST", "/fresh/a", "content-length: 0").status, 405);
}

#[test]
fn redirects_are_passed_on_or_followed() {
    let Some((nginx, proxy)) = nginx() else { return };
    let url = format!("http://127.0.0.1:{}", nginx.port(0));
    let moved = proxy.get("/moved");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/fresh/a")));
    let settings = format!("[pkgcache.upstream]\nf = {{ url = \"{url}\", follow-redirects = true }}\n");
    let follows = Proxy::set(&settings, &[]);
    follows.get("/f/moved").is(200, "stored", "body");
    follows.settled("/f/moved");
    follows.get("/f/moved").is(200, "hit", "body");
    assert_eq!(follows.get("/f/elsewhere").status, 403);
    assert_eq!(follows.get("/f/round").status, 502);
}
