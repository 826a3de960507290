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
    nothing(&proxy, &["ls", "no such"], "no stored URL contains `no such`\n", 1);
    let info = proxy.command(&["info", &url]);
    let text = String::from_utf8(info.stdout).unwrap();
    assert!(text.contains(&Digest::of(b"body").to_string()) && text.contains("etag: \"v1\""), "{text}");
    nothing(&proxy, &["info", "http://other/"], "nothing is stored for `http://other/`\n", 1);
}

/// The command finds nothing and says so, on stderr and unless it is to be quiet.
#[track_caller]
fn nothing(proxy: &Proxy, args: &[&str], told: &str, code: i32) {
    for (quiet, told) in [(None, told), (Some("--quiet"), "")] {
        let args: Vec<_> = args.iter().copied().chain(quiet).collect();
        let found = proxy.command(&args);
        assert_eq!((found.status.code(), String::from_utf8_lossy(&found.stderr)), (Some(code), told.into()));
        assert!(found.stdout.is_empty(), "{found:?}");
    }
}

#[test]
fn a_store_without_packages_lists_nothing() {
    let proxy = Proxy::of(&Origin::fixed(FRESH, "body"));
    nothing(&proxy, &["ls"], "nothing is stored yet\n", 0);
    nothing(&proxy, &["ls", "--json"], "nothing is stored yet\n", 0);
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
    let again = proxy.command(&["verify"]);
    assert_eq!(again.status.code(), Some(0), "it was not taken out: {again:?}");
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
    proxy.says("the old settings stay: `");
    assert_eq!(proxy.get("/a/x").text(), "one", "what makes no sense changed something");
    fs::write(&file, settings(&two)).unwrap();
    proxy.signal("HUP");
    proxy.says("the settings were read again");
    assert_eq!(proxy.get("/a/y").text(), "two");
    fs::remove_file(&file).unwrap();
    proxy.signal("HUP");
    proxy.says("larder.toml` is gone; put it back");
    assert_eq!(proxy.get("/a/z").text(), "two", "the mounts are gone with the file");
}

#[test]
fn what_only_a_restart_changes_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("larder.toml");
    let upstream = Origin::fixed("", "body");
    let mount = format!("[pkgcache.upstream]\na = \"{}\"\n", upstream.url());
    let serve =
        |listen: &str| fs::write(&file, format!("[pkgcache]\nmax-connections = {listen}\n{mount}")).unwrap();
    serve("100");
    let proxy = Proxy::in_folder(dir, &[]);
    for _ in 0..2 {
        serve("50");
        proxy.signal("HUP");
        proxy.says("the new `max-connections` holds only after a restart");
        assert_eq!(proxy.get("/a/x").text(), "body");
    }
    serve("100");
    proxy.signal("HUP");
    proxy.says("read again");
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
    proxy.says("read again");
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

#[test]
fn verify_leaves_what_is_sound_as_it_is() {
    let origin = Origin::new(|seen, stream| {
        let body = seen.header("foo").unwrap_or_default().to_owned();
        let answer = crate::support::answer(200, &format!("{FRESH}\nvary: foo"), body.as_bytes());
        drop(std::io::Write::write_all(stream, &answer));
    });
    let proxy = Proxy::of(&origin);
    for foo in ["one", "two"] {
        proxy.ask("GET", "/a", &format!("foo: {foo}"));
        while proxy.ask("GET", "/a", &format!("foo: {foo}\ncache-control: only-if-cached")).status == 504 {}
    }
    let packages = proxy.packages();
    let mut found = None;
    let mut note = |it: storekit::FoundPackage| {
        found = Some(it);
        Ok::<_, storekit::Error>(())
    };
    packages.each(&mut note).unwrap();
    let path = found.unwrap().path;
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().append(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    fs::write(packages.blobs().path(&Digest::of(b"one")), "oNe").unwrap();
    fs::write(path.with_file_name("unreadable.toml"), "<<<").unwrap();
    let damaged = proxy.command(&["verify"]);
    assert_eq!(damaged.status.code(), Some(3));
    let text = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(text.contains("2 of 3 stored responses are damaged"), "{text}");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago, "that was not a use of it");
    let sound = proxy.command(&["verify"]);
    assert_eq!(String::from_utf8_lossy(&sound.stdout), "1 response, 1 body: all sound\n");
    proxy.ask("GET", "/a", "foo: two").is(200, "hit", "two");
}

#[test]
fn a_strangers_control_characters_reach_no_terminal() {
    let origin = Origin::fixed(&format!("{FRESH}\nx-evil: \u{9b}31mred"), "body");
    let proxy = stored(&origin);
    let url = format!("{}/a", origin.url());
    for args in [&["info", &url][..], &["info", "--json", &url]] {
        let text = String::from_utf8(proxy.command(args).stdout).unwrap();
        assert!(text.contains("31mred") && !text.contains('\u{9b}'), "{text:?}");
    }
    let row = &json(&proxy.command(&["info", "--json", &url]).stdout)[0];
    let headers = row["responses"][0]["headers"].as_array().unwrap();
    assert!(headers.contains(&serde_json::json!(["x-evil", "\u{c2}\u{9b}31mred"])), "{row}");
}

#[test]
fn what_is_stored_and_logged_is_not_for_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let origin = Origin::fixed(FRESH, "body");
    let upstream = format!("/={}", origin.url());
    for (umask, folder, file) in [("022", 0o700, 0o600), ("002", 0o770, 0o660), ("077", 0o700, 0o600)] {
        let args = ["--upstream", &upstream, "--access-log", "access.ndjson"];
        let proxy = Proxy::under(&format!("umask {umask}"), &args);
        proxy.get("/a").is(200, "stored", "body");
        proxy.settled("/a");
        let mode = |path: &camino::Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&proxy.packages().folder()), folder, "{umask}");
        assert_eq!(mode(&proxy.packages().blobs().path(&Digest::of(b"body"))), file, "{umask}");
        assert_eq!(mode(&proxy.store().join("access.ndjson")), file, "{umask}");
    }
}

#[test]
fn verify_takes_nothing_for_damaged_that_it_cannot_read() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    let body = proxy.packages().blobs().path(&Digest::of(b"body"));
    // Not even root reads a folder.
    fs::remove_file(&body).unwrap();
    fs::create_dir(&body).unwrap();
    let output = proxy.command(&["verify"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains(body.as_str()), "{text}");
    assert_eq!(proxy.listed(), 1);
}
