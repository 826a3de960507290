//! What is answered from the store, and what is not.

use std::io::Write;

use crate::support::{Cached, Origin, Proxy, answer};

const FRESH: &str = "cache-control: max-age=3600\netag: \"v1\"";

#[test]
fn the_second_answer_comes_from_the_store() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "pkgcache; fwd=uri-miss; stored", "body");
    proxy.settled("/a");
    let hit = proxy.get("/a");
    hit.is(200, "pkgcache; hit; ttl=", "body");
    assert!(hit.header("age").is_some() && hit.header("etag") == Some("\"v1\""));
    assert_eq!(hit.header("content-length"), Some("4"));
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_stale_answer_is_asked_about() {
    let origin = Origin::new(|seen, stream| {
        let known = seen.header("if-none-match") == Some("\"v1\"");
        let (status, body) = if known { (304, "") } else { (200, "body") };
        drop(stream.write_all(&answer(status, "cache-control: no-cache\netag: \"v1\"", body.as_bytes())));
    });
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "fwd=uri-miss", "body");
    proxy.kept(1);
    proxy.get("/a").is(200, "fwd=stale; fwd-status=304", "body");
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_304_that_speaks_of_something_else_is_not_believed() {
    let origin = Origin::new(|seen, stream| {
        let (status, tag, body) = match seen.before {
            0 => (200, "v1", "one"),
            1 => (304, "v2", ""),
            _ => (200, "v2", "two"),
        };
        drop(stream.write_all(&answer(
            status,
            &format!("cache-control: no-cache\netag: \"{tag}\""),
            body.as_bytes(),
        )));
    });
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "", "one");
    proxy.kept(1);
    proxy.get("/a").is(200, "", "two");
    let conditions: Vec<_> =
        origin.seen().iter().map(|it| it.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(conditions, [None, Some("\"v1\"".to_owned()), None]);
}

#[test]
fn answers_to_credentials_are_not_shared() {
    let origin = Origin::new(|seen, stream| {
        let body = seen.header("authorization").unwrap_or("nobody").to_owned();
        drop(stream.write_all(&answer(200, "cache-control: max-age=60", body.as_bytes())));
    });
    let proxy = Proxy::of(&origin);
    proxy.ask("GET", "/a", "authorization: one").is(200, "", "one");
    proxy.ask("GET", "/a", "authorization: two").is(200, "", "two");
    proxy.get("/a").is(200, "", "nobody");
}

#[test]
fn private_answers_are_kept_for_the_same_credentials_where_that_is_set() {
    let origin = Origin::new(|seen, stream| {
        let body = seen.header("authorization").unwrap_or("nobody").to_owned();
        drop(stream.write_all(&answer(200, "cache-control: private, max-age=60", body.as_bytes())));
    });
    let settings =
        format!("[pkgcache.upstream]\nr = {{ url = \"{}\", keep-private = true }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    for _ in 0..2 {
        for who in ["one", "two"] {
            let credentials = format!("authorization: {who}");
            proxy.ask("GET", "/r/a", &credentials).is(200, "", who);
            proxy.settled_for("/r/a", &credentials);
        }
    }
    proxy.get("/r/a").is(200, "", "nobody");
    let credentials: Vec<_> =
        origin.seen().iter().map(|it| it.header("authorization").map(str::to_owned)).collect();
    assert_eq!(credentials, [Some("one".to_owned()), Some("two".to_owned()), None]);
}

#[test]
fn a_change_on_the_server_makes_what_is_stored_doubtful() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a");
    proxy.settled("/a");
    proxy.ask("DELETE", "/a", "").is(200, "fwd=method", "body");
    proxy.get("/a").is(200, "fwd=uri-miss", "body");
    assert_eq!(
        origin.seen().iter().map(|it| it.method.as_str()).collect::<Vec<_>>(),
        ["GET", "DELETE", "GET"]
    );
}

#[test]
fn a_change_with_credentials_counts_for_those_without() {
    let origin = Origin::fixed(FRESH, "body");
    let settings =
        format!("[pkgcache.upstream]\nr = {{ url = \"{}\", keep-private = true }}\n", origin.url());
    let proxy = Proxy::set(&settings, &[]);
    proxy.get("/r/a");
    proxy.settled("/r/a");
    proxy.ask("PUT", "/r/a", "authorization: one\ncontent-length: 0");
    proxy.get("/r/a").is(200, "fwd=uri-miss", "body");
}

#[test]
fn what_decides_about_an_answer_for_all_is_not_for_one_to_say() {
    let origin = Origin::new(|seen, stream| {
        let body = format!("{:?}", seen.header("x-forwarded-host").or(seen.header("x-original-url")));
        drop(stream.write_all(&answer(200, FRESH, body.as_bytes())));
    });
    let proxy = Proxy::of(&origin);
    let more = "x-forwarded-host: evil.example\nx-original-url: /b";
    proxy.ask("GET", "/a", more).is(200, "stored", "None");
    proxy.ask("HEAD", "/b", more);
    assert_eq!(origin.seen()[1].header("x-forwarded-host"), None);
}

#[test]
fn a_length_beside_chunks_is_not_believed() {
    for cache in ["max-age=60", "no-store"] {
        let head = format!("HTTP/1.1 200 OK\r\ncache-control: {cache}\r\ncontent-length: 4\r\n");
        let bytes = format!("{head}transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n");
        let origin = Origin::new(move |_, stream| drop(stream.write_all(bytes.as_bytes())));
        let proxy = Proxy::of(&origin);
        proxy.get("/a").is(200, "fwd=uri-miss", "0123456789");
        proxy.get("/a").is(200, "", "0123456789");
    }
}

#[test]
fn ranges_are_cut_from_what_is_stored() {
    let origin = Origin::fixed(FRESH, "0123456789");
    let proxy = Proxy::of(&origin);
    proxy.get("/a");
    proxy.settled("/a");
    proxy.ask("GET", "/a", "range: bytes=2-4").is(206, "hit", "234");
    proxy.ask("GET", "/a", "range: bytes=-3").is(206, "hit", "789");
    proxy.ask("GET", "/a", "range: bytes=10-").is(416, "hit", "");
    let parts = proxy.ask("GET", "/a", "range: bytes=0-0,9-9");
    assert!(parts.text().contains("bytes 9-9/10\r\n\r\n9\r\n"), "{parts:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_range_of_what_is_not_stored_is_asked_for_as_it_is() {
    let origin = Origin::new(|seen, stream| {
        assert_eq!(seen.header("range"), Some("bytes=2-4"));
        drop(stream.write_all(&answer(206, "content-range: bytes 2-4/10", b"234")));
    });
    Proxy::of(&origin).ask("GET", "/a", "range: bytes=2-4").is(206, "fwd=uri-miss", "234");
}

#[test]
fn the_forward_mode_stores_too() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--allow", &origin.address.to_string()]);
    let url = format!("{}/a", origin.url());
    proxy.get(&url).is(200, "stored", "body");
    proxy.settled(&url);
    proxy.get(&url).is(200, "hit", "body");
    assert_eq!(origin.seen()[0].path, "/a");
}

#[test]
fn redirects_are_passed_on_or_followed_as_it_is_set() {
    let end = Origin::fixed(FRESH, "body");
    let target = end.url();
    let start = Origin::new(move |_, stream| {
        drop(stream.write_all(&answer(302, &format!("location: {target}/b"), b"")));
    });
    assert_eq!(Proxy::of(&start).get("/a").status, 302);
    let follows = |more: &str| {
        let upstream = format!(
            "[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", follow-redirects = true }}\n",
            start.url()
        );
        Proxy::set(&format!("[pkgcache]\n{more}\n{upstream}"), &[])
    };
    let proxy = follows(&format!("allow = [\"{}\"]\nallow-private = true", end.address));
    let secrets = "authorization: secret\ncookie: secret\nx-token: secret\naccept: text/x";
    let followed = proxy.ask("GET", "/a", secrets);
    followed.is(200, "", "body");
    let seen = end.seen();
    assert_eq!(seen[0].path, "/b");
    assert!(!seen[0].headers.values().any(|value| value == "secret"), "{seen:?}");
    assert_eq!(seen[0].header("accept"), Some("text/x"));
    let told = &start.seen()[1];
    assert!(["authorization", "cookie", "x-token"].iter().all(|name| told.header(name) == Some("secret")));
    // So it is for HEAD, and for a part; what may change something on the server stays there.
    let head = proxy.ask("HEAD", "/h", secrets);
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    proxy.ask("GET", "/r", "range: bytes=1-2").is(200, "fwd=uri-miss", "body");
    assert!(!end.seen()[1].headers.values().any(|value| value == "secret"), "{:?}", end.seen());
    assert_eq!(proxy.ask("POST", "/p", "content-length: 0").status, 302);
    // An address that is named may be asked, as in a request.
    let named = follows(&format!("allow = [\"{}\"]", end.address));
    named.get("/n").is(200, "", "body");
    let reached = end.seen().len();
    // Each hop is checked: its host has to be allowed, and its address public.
    assert_eq!(follows("").get("/a").status, 403);
    assert_eq!(follows("allow = [\"*\"]").get("/a").status, 403);
    assert_eq!(end.seen().len(), reached);
}

/// An origin whose answer to each request is another, last modified long ago.
fn changing(headers: &'static str) -> Origin {
    Origin::new(move |seen, stream| {
        let body = format!("answer {}", seen.before);
        drop(stream.write_all(&answer(200, headers, body.as_bytes())));
    })
}

#[test]
fn a_lifetime_is_guessed_only_where_that_is_set() {
    let origin = changing("last-modified: Sun, 06 Nov 1994 08:49:37 GMT");
    let mount = format!("m={}", origin.url());
    let proxy = Proxy::with(&["--upstream", &mount, "--allow", &origin.address.to_string()]);
    for path in ["/m/@v/list".to_owned(), format!("{}/list", origin.url())] {
        proxy.get(&path).is(200, "stored", "answer 0");
        proxy.get(&path).is(200, "fwd=", "answer 1");
    }
    proxy.kept(2);
    let proxy = proxy.again(&["--upstream", &mount, "--heuristic-freshness"]);
    // Which of the two stands does not matter: it is not asked about.
    let hit = proxy.get("/m/@v/list");
    assert!(hit.cache().contains("hit; ttl=") && origin.seen().len() == 4, "{hit:?}");
}

#[test]
fn a_cookie_goes_to_the_client_that_asked_and_to_nobody_after_it() {
    let headers = "cache-control: max-age=60\nset-cookie: a=b\nset-cookie: c=d";
    let origin = Origin::fixed(headers, "body");
    let upstream = format!("/={}", origin.url());
    let proxy = Proxy::of(&origin);
    let cookies = |answer: &crate::support::Answer| {
        answer.headers.iter().filter(|(name, _)| name == "set-cookie").count()
    };
    assert_eq!(cookies(proxy.get("/a").is(200, "stored", "body")), 2);
    proxy.settled("/a");
    assert_eq!(cookies(proxy.get("/a").is(200, "hit", "body")), 0);
    let info = proxy.command(&["info", &format!("{}/a", origin.url())]);
    assert!(!info.stdout().contains("set-cookie"), "{info}");
    // The rules of HTTP allow to hand it to all.
    let proxy = proxy.again(&["--upstream", &upstream, "--keep-cookies"]);
    proxy.get("/b");
    proxy.settled("/b");
    assert_eq!(cookies(proxy.get("/b").is(200, "hit", "body")), 2);
    // What was stored then is not handed on any more.
    let proxy = proxy.again(&["--upstream", &upstream]);
    assert_eq!(cookies(proxy.get("/b").is(200, "hit", "body")), 0);
}

#[test]
fn a_location_in_a_mount_leads_back_through_the_mount() {
    let origin = Origin::new(|seen, stream| {
        let host = seen.header("host").unwrap().to_owned();
        let location = match seen.path.as_str() {
            "/base/relative" => "there".to_owned(),
            "/base/absolute" => format!("http://{host}/base/there"),
            "/base/outside" => "/elsewhere".to_owned(),
            _ => "http://other.example/".to_owned(),
        };
        let fields = format!("cache-control: max-age=60\nlocation: {location}");
        drop(stream.write_all(&answer(301, &fields, b"")));
    });
    let proxy = Proxy::with(&["--upstream", &format!("m={}/base", origin.url())]);
    let outside = format!("{}/elsewhere", origin.url());
    for (path, expected) in [
        ("/m/relative", "/m/there"),
        ("/m/absolute", "/m/there"),
        ("/m/outside", outside.as_str()),
        ("/m/other", "http://other.example/"),
    ] {
        for method in ["GET", "HEAD", "POST"] {
            let answer = proxy.ask(method, path, "content-length: 0");
            assert_eq!((answer.status, answer.header("location")), (301, Some(expected)), "{method} {path}");
        }
        proxy.get(path);
        proxy.settled(path);
        let stored = proxy.get(path);
        assert!(stored.cache().contains("hit") && stored.header("location") == Some(expected), "{stored:?}");
    }
}

#[test]
fn a_failure_that_does_not_say_how_long_it_holds_leaves_the_success_that_is_stored() {
    for (fields, stays) in [("etag: \"none\"", true), ("cache-control: max-age=60\netag: \"none\"", false)] {
        let origin = Origin::new(move |seen, stream| {
            let stored = "cache-control: max-age=0, stale-if-error=60\netag: \"v1\"";
            let answer = match seen.before {
                0 => answer(200, stored, b"body"),
                1 => answer(404, fields, b"none"),
                _ => answer(503, "", b"down"),
            };
            drop(stream.write_all(&answer));
        });
        let proxy = Proxy::of(&origin);
        proxy.get("/a").is(200, "stored", "body");
        proxy.kept(1);
        proxy.get("/a").is(404, "fwd=stale", "none");
        if stays {
            proxy.get("/a").is(200, "detail=upstream-failed", "body");
        } else {
            proxy.settled("/a");
            proxy.get("/a").is(404, "hit", "none");
        }
    }
}

#[test]
fn an_answer_may_have_hundreds_of_fields() {
    let fields = (0..300).map(|count| format!("x-{count}: y\n")).collect::<Vec<_>>().concat();
    let origin = Origin::fixed(&format!("{FRESH}\n{fields}"), "body");
    let proxy = Proxy::of(&origin);
    proxy.get("/a").is(200, "stored", "body");
    proxy.settled("/a");
    let hit = proxy.get("/a");
    assert_eq!(hit.is(200, "hit", "body").header("x-299"), Some("y"));
}

#[test]
fn an_options_goes_no_further_than_it_says() {
    let origin = Origin::fixed("", "body");
    let proxy = Proxy::of(&origin);
    let here = proxy.ask("OPTIONS", "/a", "max-forwards: 0");
    assert_eq!(here.status, 200);
    assert!(here.header("allow").is_some_and(|methods| methods.contains("GET")));
    assert!(origin.seen().is_empty(), "it was passed on");
    proxy.ask("OPTIONS", "/a", "max-forwards: 2").is(200, "", "body");
    assert_eq!(origin.seen()[0].header("max-forwards"), Some("1"));
}
