//! `ls`, `info`, `verify`, and the server as a process: signals, settings, logs.

use std::fs;
use std::time::Duration;

use storekit::Digest;

use crate::support::{Origin, Proxy};

const FRESH: &str = "cache-control: max-age=3600\netag: \"v1\"";

fn stored(origin: &Origin) -> Proxy {
    let proxy = Proxy::of(origin);
    proxy.get("/a");
    proxy.settled("/a");
    proxy
}

fn json(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_is_stored_is_listed() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    let url = format!("{}/a", origin.url());
    let rows = json(&proxy.command(&["ls", "--json"]).stdout);
    assert_eq!((rows.len(), &rows[0]["url"], &rows[0]["size"]), (1, &url.clone().into(), &4.into()));
    assert_eq!(rows[0]["ecosystem"], "generic");
    assert_eq!(proxy.command(&["ls", "no such"]).status.code(), Some(1));
    let info = proxy.command(&["info", &url]);
    let text = String::from_utf8(info.stdout).unwrap();
    assert!(text.contains(&Digest::of(b"body").to_string()) && text.contains("etag: \"v1\""), "{text}");
    assert_eq!(proxy.command(&["info", "http://other/"]).status.code(), Some(1));
}

#[test]
fn verify_names_what_is_damaged() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    let sound = proxy.command(&["verify"]);
    assert_eq!(sound.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&sound.stdout), "1 response, 1 body: all sound\n");
    fs::write(proxy.packages().blobs().path(&Digest::of(b"body")), "bOdy").unwrap();
    let damaged = proxy.command(&["verify", "--json"]);
    assert_eq!(damaged.status.code(), Some(3));
    assert_eq!(json(&damaged.stdout)[0]["url"], format!("{}/a", origin.url()));
    assert_eq!(proxy.command(&["verify"]).status.code(), Some(3), "it is missing now");
}

#[test]
fn sigterm_ends_what_is_under_way_and_then_the_process() {
    let origin = Origin::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(500));
        let answer = crate::support::answer(200, FRESH, b"body");
        let _ = std::io::Write::write_all(stream, &answer);
    });
    let mut proxy = Proxy::of(&origin);
    let mut stream = proxy.connect();
    std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let idle = proxy.connect();
    std::thread::sleep(Duration::from_millis(200));
    proxy.signal("TERM");
    crate::support::read_answer(&mut stream).is(200, "", "body");
    assert_eq!(proxy.wait(), Some(0));
    drop(idle);
}

#[test]
fn sigint_exits_130() {
    let mut proxy = Proxy::of(&Origin::fixed(FRESH, "body"));
    proxy.signal("INT");
    assert_eq!(proxy.wait(), Some(130));
}

#[test]
fn sighup_reads_the_settings_again() {
    let (one, two) = (Origin::fixed("", "one"), Origin::fixed("", "two"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("larder.toml");
    let settings = |origin: &Origin| format!("[pkgcache.upstream]\na = \"{}\"\n", origin.url());
    fs::write(&file, settings(&one)).unwrap();
    let proxy = Proxy::in_folder(dir, &[]);
    assert_eq!(proxy.get("/a/x").text(), "one");
    fs::write(&file, "[pkgcache]\nlisten = 5\n").unwrap();
    proxy.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(proxy.get("/a/x").text(), "one", "what makes no sense changed something");
    fs::write(&file, settings(&two)).unwrap();
    proxy.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(proxy.get("/a/y").text(), "two");
}

#[test]
fn each_request_is_noted() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = Proxy::with(&["--upstream", &format!("/={}", origin.url()), "--access-log", "access.ndjson"]);
    proxy.get("/a");
    proxy.settled("/a");
    proxy.get("/a");
    std::thread::sleep(Duration::from_millis(200));
    let lines = json(&fs::read(proxy.store().join("access.ndjson")).unwrap());
    let (first, last) = (&lines[0], lines.last().unwrap());
    assert_eq!(
        (&first["result"], &first["bytes"], &first["whole"]),
        (&"miss".into(), &4.into(), &true.into())
    );
    assert_eq!(
        (&last["result"], &last["status"], &last["method"]),
        (&"hit".into(), &200.into(), &"GET".into())
    );
}

#[test]
fn the_access_log_can_be_moved_away_and_is_whole_at_the_end() {
    let origin = Origin::fixed(FRESH, "body");
    let mut proxy =
        Proxy::with(&["--upstream", &format!("/={}", origin.url()), "--access-log", "access.ndjson"]);
    let (log, old) = (proxy.store().join("access.ndjson"), proxy.store().join("old.ndjson"));
    let ask = |proxy: &Proxy, count: usize| {
        let mut stream = proxy.connect();
        for _ in 0..count {
            std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            crate::support::read_answer(&mut stream).is(200, "", "ok\n");
        }
    };
    ask(&proxy, 3);
    fs::rename(&log, &old).unwrap();
    proxy.signal("HUP");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !log.exists() {
        assert!(std::time::Instant::now() < deadline, "it was not opened anew");
        std::thread::sleep(Duration::from_millis(10));
    }
    ask(&proxy, 500);
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    let lines = |path| json(&fs::read(path).unwrap()).len();
    assert_eq!((lines(&old), lines(&log)), (3, 500));
}

#[test]
fn the_process_says_how_it_is() {
    let proxy = stored(&Origin::fixed(FRESH, "body"));
    assert_eq!(proxy.get("/healthz").text(), "ok\n");
    let metrics = proxy.get("/metrics");
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(metrics.text().contains("pkgcache_requests_total{result=\"miss\"} 1\n"), "{}", metrics.text());
}

#[test]
fn the_counts_are_written_down() {
    let mut proxy = stored(&Origin::fixed(FRESH, "body"));
    proxy.get("/a");
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    let store = storekit::Store::open(&proxy.store().join("store")).unwrap();
    let events = store.events().read().unwrap();
    let count = |kind| events.iter().find(|event| event.kind == kind).and_then(|event| event.count);
    assert_eq!((count(storekit::Kind::Miss), count(storekit::Kind::Fetch)), (Some(1), Some(1)), "{events:?}");
    assert!(count(storekit::Kind::Hit).unwrap() >= 1);
}

#[test]
fn a_connection_is_served_again_after_a_rest() {
    let proxy = stored(&Origin::fixed(FRESH, "body"));
    let mut stream = proxy.connect();
    for pause in [0, 3000, 100, 3000] {
        std::thread::sleep(Duration::from_millis(pause));
        std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        crate::support::read_answer(&mut stream).is(200, "hit", "body");
    }
    // A head that pauses in the middle stays with whom it began.
    std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nho").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    std::io::Write::write_all(&mut stream, b"st: x\r\n\r\n").unwrap();
    crate::support::read_answer(&mut stream).is(200, "hit", "body");
}
