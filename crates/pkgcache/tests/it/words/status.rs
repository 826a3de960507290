//! What the server says of itself: the page, its JSON, the command, and the numbers for monitors.

use std::io::Write;

use larder_tests::until;
use serde_json::{Value, json};

use crate::support::{Origin, Proxy, answer};

const FRESH: &str = "cache-control: max-age=600\n";

/// Files, one of which stays half sent, and one that credentials alone let in.
fn origin() -> Origin {
    Origin::new(|request, stream| {
        let _ = match request.path.as_str() {
            "/slow" => stream.write_all(
                b"HTTP/1.1 200 OK\r\ncache-control: max-age=600\r\ncontent-length: 1000\r\n\r\nhalf",
            ),
            "/private" if request.header("authorization").is_none() => {
                stream.write_all(&answer(401, "", b""))
            }
            "/gone" => stream.write_all(&answer(404, FRESH, b"")),
            "/down" => stream.write_all(&answer(500, "", b"")),
            "/pkg" => stream.write_all(&answer(
                200,
                "content-type: application/json\n",
                br#"{"name":"pkg","dist-tags":{},"versions":{}}"#,
            )),
            _ => stream.write_all(&answer(200, FRESH, b"body")),
        };
        if request.path == "/slow" {
            // The cache ends it, with the test.
            let _ = std::io::Read::read(stream, &mut [0]);
        }
    })
}

fn proxy(origin: &Origin) -> Proxy {
    let url = origin.url();
    let settings = format!(
        "[pkgcache]\ndrain-time = \"1s\"\n\n[pkgcache.upstream]\nfiles = {{ url = \"{url}\", keep-private = true }}\nnpm = {{ url = \"{url}\", kind = \"npm\" }}\n"
    );
    Proxy::set(&settings, &[])
}

fn status(proxy: &Proxy) -> Value {
    proxy.get("/status.json").json()
}

#[test]
fn what_is_stored_fetched_and_refused_is_told() {
    let origin = origin();
    let mut proxy = proxy(&origin);
    proxy.get("/files/a?token=secret");
    proxy.settled("/files/a?token=secret");
    proxy.get("/files/a?token=secret");
    proxy.ask("GET", "/files/private", "authorization: Basic eDp5");
    proxy.settled_for("/files/private", "authorization: Basic eDp5");
    // What is not there, nobody can vouch for.
    proxy.get("/files/gone");
    proxy.settled("/files/gone");
    proxy.raw(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nhost: 127.0.0.1:9\r\n\r\n");
    let mut slow = proxy.connect();
    slow.write_all(b"GET /files/slow HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let flight = || status(&proxy)["flights"][0].clone();
    until("the fetch is under way", || flight()["bytes"] == json!(4));
    assert_eq!(
        (&flight()["url"], &flight()["size"]),
        (&json!(format!("{}/slow", origin.url())), &json!(1000))
    );

    let found = status(&proxy);
    assert_eq!(found["flight-count"], json!(1));
    let text = found.to_string();
    assert!(!text.contains("secret") && !text.contains("/private"), "{text}");
    let stored = &found["stored"];
    assert_eq!((&stored["ecosystems"][0]["urls"], &stored["unverified"]), (&json!(3), &json!(2)), "{stored}");
    assert_eq!(stored["unverified_urls"], json!([format!("{}/a", origin.url())]));
    let refused = &found["refused"];
    assert!(refused["latest"][0].as_str().unwrap().contains("tunnels to `127.0.0.1:9`"), "{refused}");
    let clients = found["clients"].to_string();
    assert!(clients.contains("npm_config_registry") && clients.contains("http://x/npm"), "{clients}");
    let hits = found["requests"].as_array().unwrap().iter().find(|it| it["result"] == "hit").unwrap();
    assert!(hits["count"].as_u64().unwrap() >= 1, "{hits}");

    let command = proxy.command(&["status", "--json", "--url", &format!("http://{}", proxy.authority())]);
    let told: Value = serde_json::from_str(&command.stdout()).unwrap();
    assert_eq!(told["stored"], found["stored"]);
    let command = proxy.command(&["status", "--url", &format!("http://{}", proxy.authority())]);
    let text = command.stdout();
    for part in [
        " hits, 3 misses",
        "generic",
        "fetched now (1):",
        "/slow (4B of 1.00kB)",
        "nobody vouches for them (2):",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // What the days say is written down at the end.
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    let proxy = proxy.again(&[]);
    let days = status(&proxy)["days"].as_array().unwrap().clone();
    let (today, rest) = days.split_last().unwrap();
    assert!(today["hits"].as_u64() >= Some(1) && today["saved-bytes"].as_u64() >= Some(4), "{today}");
    assert!(rest.len() == 29 && rest.iter().all(|day| day["hits"] == 0), "{rest:?}");
}

#[test]
fn indexes_are_told_with_their_age() {
    let origin = origin();
    let proxy = proxy(&origin);
    assert_eq!(proxy.get("/npm/pkg").status, 200);
    proxy.settled("/npm/pkg");
    let found = status(&proxy);
    let index = &found["stored"]["indexes"][0];
    assert_eq!(
        (&index["ecosystem"], &index["url"]),
        (&json!("npm"), &json!(format!("{}/pkg", origin.url())))
    );
    let time = |it: &Value| it.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&index["checked"]) <= time(&found["time"]));
    // An index is no file that somebody would have to vouch for.
    assert_eq!(found["stored"]["unverified"], json!(0));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let origin = origin();
    let proxy = proxy(&origin);
    proxy.get("/files/a/%3Cscript%3E\"onload=x");
    proxy.settled("/files/a/%3Cscript%3E\"onload=x");
    for path in ["/", "/status"] {
        let page = proxy.get(path);
        let html = page.text();
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(html.contains("Nobody vouches for") && html.contains("Lead clients here"), "{html}");
        for outside in ["<script", "<link", "<img", "url(", "src=", "@import", "\"onload"] {
            assert!(!html.contains(outside), "{outside}: {html}");
        }
        // It is read as strictly as XML.
        let mut reader = quick_xml::Reader::from_str(html.trim_start_matches("<!DOCTYPE html>"));
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
    }
    let head = proxy.ask("HEAD", "/", "");
    assert_eq!((head.status, head.text()), (200, ""));
}

#[test]
fn the_root_belongs_to_what_is_mounted_there() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::of(&origin);
    assert_eq!(proxy.get("/").text(), "body");
    assert!(proxy.get("/status").text().starts_with("<!DOCTYPE html>"));
}

#[test]
fn monitors_learn_sizes_times_and_sources() {
    let origin = origin();
    let proxy = proxy(&origin);
    proxy.get("/files/a");
    proxy.settled("/files/a");
    proxy.get("/files/a");
    let source = origin.url().replace("http://", "").replace(':', "_");
    let of = |name: &str, result: &str| {
        format!("pkgcache_{name}{{ecosystem=\"generic\",source=\"{source}\",result=\"{result}\"}}")
    };
    assert_eq!(proxy.metric(&of("origin_requests_total", "miss")), 1);
    assert!(proxy.metric(&of("origin_bytes_total", "hit")) >= 4);
    assert_eq!(proxy.metric("pkgcache_request_seconds_count{result=\"miss\"}"), 1);
    until("the store was looked through", || proxy.get("/metrics").text().contains("pkgcache_stored_urls{"));
    assert_eq!(proxy.metric("pkgcache_stored_urls{ecosystem=\"generic\"}"), 1);
    assert!(proxy.metric("pkgcache_stored_bytes{ecosystem=\"generic\"}") > 0);
}

/// The names of this program's numbers in a text.
fn names(text: &str) -> std::collections::BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("pkgcache_")).collect()
}

#[test]
fn the_board_shows_numbers_that_there_are() {
    let board = include_str!("../../../../../examples/grafana/pkgcache.json");
    let board: Value = serde_json::from_str(board).unwrap();
    let origin = origin();
    let proxy = proxy(&origin);
    proxy.get("/files/a");
    proxy.settled("/files/a");
    until("the store was looked through", || proxy.get("/metrics").text().contains("pkgcache_stored_urls{"));
    let metrics = proxy.get("/metrics").text().to_owned();
    let known = names(&metrics);
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    for panel in panels {
        assert!(panel["title"].is_string() && panel["gridPos"]["w"].is_u64(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let used = names(expression);
            assert!(!used.is_empty() && used.is_subset(&known), "{expression}");
        }
    }
    let variable = board["templating"]["list"][1]["query"]["query"].as_str().unwrap();
    assert!(names(variable).is_subset(&known));
}

#[test]
fn a_cache_that_does_not_answer_is_an_error() {
    let origin = origin();
    let mut proxy = proxy(&origin);
    let url = format!("http://{}", proxy.authority());
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    let ran = proxy.command(&["status", "--url", &url]);
    ran.ends(2).says("no cache answers at");
    proxy.command(&["status", "--url", "unix:/tmp/x"]).ends(2).says("curl --unix-socket");
}
