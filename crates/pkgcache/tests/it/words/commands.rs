//! `ls`, `info`, `verify`, and the server as a process: signals, settings, logs.

use std::fs;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use storekit::Digest;

use crate::support::{Cached, Origin, Proxy, answer, read_answer};

const FRESH: &str = "cache-control: max-age=3600\netag: \"v1\"";

fn stored(origin: &Origin) -> Proxy {
    let proxy = Proxy::of(origin);
    proxy.get("/a");
    proxy.settled("/a");
    proxy
}

#[test]
fn what_is_stored_is_listed() {
    let origin = Origin::fixed(FRESH, "body");
    let proxy = stored(&origin);
    let url = format!("{}/a", origin.url());
    let rows = proxy.command(&["ls", "--json"]).rows();
    assert_eq!((rows.len(), &rows[0]["url"], &rows[0]["size"]), (1, &url.clone().into(), &4.into()));
    assert_eq!(rows[0]["ecosystem"], "generic");
    nothing(&proxy, &["ls", "no such"], "no stored URL contains `no such`\n", 1);
    let info = proxy.command(&["info", &url]);
    let text = info.stdout();
    assert!(text.contains(&Digest::of(b"body").to_string()) && text.contains("etag: \"v1\""), "{text}");
    nothing(&proxy, &["info", "http://other/"], "nothing is stored for `http://other/`\n", 1);
}

#[test]
fn a_stored_url_is_known_in_any_spelling() {
    let site = larder_tests::http::Site::new();
    site.put("/debian/pool/libx++_1~rc1_all.deb", "deb");
    let settings =
        format!("[pkgcache.upstream]\ndebian = {{ url = \"{}/debian\", kind = \"apt\" }}\n", site.url());
    let proxy = Proxy::set(&settings, &[]);
    proxy.get("/debian/pool/libx%2b%2b_1~rc1_all.deb").is(200, "stored", "deb");
    proxy.kept(1);
    for path in ["/debian/pool/libx++_1~rc1_all.deb", "/debian/./pool/libx%2b%2B_1%7erc1_all.deb"] {
        let url = format!("{}{path}", site.url().replace("http", "HTTP"));
        assert!(proxy.command(&["info", &url]).ok().stdout().contains("libx++_1~rc1_all.deb"), "{url}");
        assert!(proxy.command(&["why", &url]).ok().stdout().contains("stored"), "{url}");
        proxy.command(&["refresh", &url]).ok();
    }
    let url = format!("{}/debian/pool/libx%2B%2B_1~rc1_all.deb", site.url());
    proxy.command(&["rm", &url]).ok();
    assert_eq!(proxy.listed(), 0);
}

#[test]
fn a_kind_of_client_that_there_is_not_is_named_with_those_that_there_are() {
    let session = crate::support::session()
        .file("larder.toml", "[pkgcache.upstream]\na = { url = \"http://a/\", kind = \"pip\" }\n");
    let said = session.run("env").fails().stderr();
    let text = "`pip` is no kind of package client: is `python` meant?";
    // It is wrapped where it stands.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(text) && said.contains("`oci`") && !said.contains("variant"), "{said}");
    let kinds: Vec<_> = said.rsplit("there are ").next().unwrap().split('`').skip(1).step_by(2).collect();
    assert!(kinds.len() > 10, "{said}");
    for command in ["ls --help", "export --help"] {
        let help = session.run(command).ok().stdout();
        let lacks: Vec<_> = kinds.iter().filter(|kind| !help.contains(&format!("`{kind}`"))).collect();
        assert!(lacks.is_empty(), "{command} does not name {lacks:?}");
    }
}

#[test]
fn on_a_machine_without_a_store_check_names_all_that_a_lock_file_wants() {
    let session = crate::support::session()
        .file("larder.toml", "[pkgcache.upstream]\nnpm = { url = \"http://127.0.0.1:9\", kind = \"npm\" }\n")
        .file(
            "package-lock.json",
            r#"{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","resolved":"http://127.0.0.1:9/a/-/a-1.0.0.tgz"}}}"#,
        );
    // The second finds the store that the first one's server has made.
    for _ in 0..2 {
        let checked = session.run("check package-lock.json").ends(1);
        assert!(checked.stdout().contains("a 1.0.0 (npm)"), "{checked}");
    }
    session.write("other/file", "not a store");
    session.run("check package-lock.json --store other").ends(2);
}

/// The command finds nothing and says so, on stderr and unless it is to be quiet.
#[track_caller]
fn nothing(proxy: &Proxy, args: &[&str], told: &str, code: i32) {
    for (quiet, told) in [(None, told), (Some("--quiet"), "")] {
        let args: Vec<_> = args.iter().copied().chain(quiet).collect();
        let found = proxy.command(&args).ends(code);
        assert_eq!((found.stderr(), found.stdout()), (told.to_owned(), String::new()));
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
    let sound = proxy.command(&["verify"]).ok();
    assert_eq!(sound.stdout(), "1 response, 1 body: all sound\n");
    fs::write(proxy.packages().blobs().path(&Digest::of(b"body")), "bOdy").unwrap();
    let damaged = proxy.command(&["verify", "--json"]).ends(3);
    assert_eq!(damaged.rows()[0]["url"], format!("{}/a", origin.url()));
    // It was taken out.
    proxy.command(&["verify"]).ok();
}

#[test]
fn sigterm_ends_what_is_under_way_and_then_the_process() {
    let ((told, waits), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let (told, wait) = (Mutex::new(told), Mutex::new(wait));
    let origin = Origin::new(move |_, stream| {
        told.lock().unwrap().send(()).unwrap();
        let _ = wait.lock().unwrap().recv();
        let _ = std::io::Write::write_all(stream, &answer(200, FRESH, b"body"));
    });
    let mut proxy = Proxy::of(&origin);
    let mut stream = proxy.connect();
    std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let idle = proxy.connect();
    waits.recv().unwrap();
    proxy.signal("TERM");
    proxy.says("a second signal ends at once");
    go.send(()).unwrap();
    read_answer(&mut stream).is(200, "", "body");
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
    let settings = |origin: &Origin| format!("[pkgcache.upstream]\na = \"{}\"\n", origin.url());
    let proxy = Proxy::set(&settings(&one), &[]);
    let file = proxy.path("larder.toml");
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
    let upstream = Origin::fixed("", "body");
    let mount = format!("[pkgcache.upstream]\na = \"{}\"\n", upstream.url());
    let settings = |most: &str| format!("[pkgcache]\nmax-connections = {most}\n{mount}");
    let proxy = Proxy::set(&settings("100"), &[]);
    let set = |most: &str| fs::write(proxy.path("larder.toml"), settings(most)).unwrap();
    for _ in 0..2 {
        set("50");
        proxy.signal("HUP");
        proxy.says("the new `max-connections` holds only after a restart");
        assert_eq!(proxy.get("/a/x").text(), "body");
    }
    set("100");
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
    let lines = proxy.logged(3);
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
    let (log, old) = (proxy.path("access.ndjson"), proxy.path("old.ndjson"));
    let ask = |proxy: &Proxy, count: usize| {
        let mut stream = proxy.connect();
        for _ in 0..count {
            std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            read_answer(&mut stream).is(200, "", "ok\n");
        }
    };
    ask(&proxy, 3);
    fs::rename(&log, &old).unwrap();
    proxy.signal("HUP");
    proxy.says("read again");
    ask(&proxy, 500);
    proxy.signal("TERM");
    assert_eq!(proxy.wait(), Some(0));
    let lines = |path| fs::read_to_string(path).unwrap().lines().count();
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
    let events = proxy.store().events().read().unwrap();
    let find = |kind| events.iter().find(|event| event.kind == kind).unwrap();
    let count = |kind| find(kind).count;
    assert_eq!((count(storekit::Kind::Miss), count(storekit::Kind::Fetch)), (Some(1), Some(1)), "{events:?}");
    assert_eq!(events.iter().filter(|event| event.kind == storekit::Kind::Hit).count(), 1, "{events:?}");
    // How long the upstream took is on record with the source, and which entry it was beside that.
    let mut keys = Vec::new();
    let each = &mut |it: storekit::FoundPackage| {
        keys.push(it.entry?.key);
        Ok::<_, storekit::Error>(())
    };
    proxy.store().packages().each(each).unwrap();
    let [entry] = keys.as_slice() else { panic!("{keys:?}") };
    let download = find(storekit::Kind::Download);
    assert_eq!((download.bytes, download.count), (Some(4), Some(1)));
    assert!(download.seconds.is_some_and(|seconds| seconds > 0.0 && seconds < 60.0), "{download:?}");
    for event in [download, find(storekit::Kind::Hit), find(storekit::Kind::Miss)] {
        let origin = (event.ecosystem.as_deref(), event.source.as_deref());
        assert_eq!(origin, (Some(entry.ecosystem.as_str()), Some(entry.source.as_str())));
    }
    let uses = proxy.store().packages().uses().read().unwrap();
    let id = entry.id().to_string();
    assert!(uses.iter().all(|event| event.key.as_deref() == Some(id.as_str())), "{uses:?}");
    let counts: Vec<_> = uses.iter().map(|event| (event.kind, event.count)).collect();
    let hits = count(storekit::Kind::Hit);
    assert_eq!(counts, [(storekit::Kind::Miss, Some(1)), (storekit::Kind::Hit, hits)]);
    assert!(hits.unwrap() >= 1 && uses[0].bytes == Some(4) && uses[0].seconds == download.seconds);
}

#[test]
fn a_connection_is_served_again_after_a_rest() {
    let proxy = stored(&Origin::fixed(FRESH, "body"));
    let mut stream = proxy.connect();
    // Longer and shorter than a connection may rest before it goes to another thread.
    for pause in [0, 3000, 100, 3000] {
        // A client that rests.
        std::thread::sleep(Duration::from_millis(pause));
        std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        read_answer(&mut stream).is(200, "hit", "body");
    }
    // A head that pauses in the middle stays with whom it began.
    std::io::Write::write_all(&mut stream, b"GET /a HTTP/1.1\r\nho").unwrap();
    // As above.
    std::thread::sleep(Duration::from_secs(3));
    std::io::Write::write_all(&mut stream, b"st: x\r\n\r\n").unwrap();
    read_answer(&mut stream).is(200, "hit", "body");
}

#[test]
fn verify_leaves_what_is_sound_as_it_is() {
    let origin = Origin::new(|seen, stream| {
        let body = seen.header("foo").unwrap_or_default().to_owned();
        let answer = answer(200, &format!("{FRESH}\nvary: foo"), body.as_bytes());
        drop(std::io::Write::write_all(stream, &answer));
    });
    let proxy = Proxy::of(&origin);
    for foo in ["one", "two"] {
        proxy.ask("GET", "/a", &format!("foo: {foo}"));
        proxy.settled_for("/a", &format!("foo: {foo}"));
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
    proxy.command(&["verify"]).ends(3).says("2 of 3 stored responses are damaged");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago, "that was not a use of it");
    assert_eq!(proxy.command(&["verify"]).stdout(), "1 response, 1 body: all sound\n");
    proxy.ask("GET", "/a", "foo: two").is(200, "hit", "two");
}

#[test]
fn a_strangers_control_characters_reach_no_terminal() {
    let origin = Origin::fixed(&format!("{FRESH}\nx-evil: \u{9b}31mred"), "body");
    let proxy = stored(&origin);
    let url = format!("{}/a", origin.url());
    for args in [&["info", &url][..], &["info", "--json", &url]] {
        let text = proxy.command(args).stdout();
        assert!(text.contains("31mred") && !text.contains('\u{9b}'), "{text:?}");
    }
    let row = &proxy.command(&["info", "--json", &url]).rows()[0];
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
        assert_eq!(mode(&proxy.path("access.ndjson")), file, "{umask}");
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
    proxy.command(&["verify"]).ends(2).says(body.as_str());
    assert_eq!(proxy.listed(), 1);
}
