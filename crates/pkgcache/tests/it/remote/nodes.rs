//! Several nodes and a bucket that does what it should: two implementations of it.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::http::Origin;
use larder_tests::{Moto, Part, Rclone, have, until};

use super::{body, node, patient, size, upstream, wrote};
use crate::support::{Answer, Cached, Proxy, answer, session};

/// Files of all sizes: none, one that is compared before it is handed on, one that is meanwhile,
/// and one that is written in two parts.
const FILES: [&str; 4] = ["/none-0", "/small-5000", "/large-3000000", "/parts-70000000"];

#[track_caller]
fn is_right(found: &Answer, path: &str) {
    assert_eq!((found.status, found.whole), (200, true), "{path} {:?}", found.headers);
    assert!(found.body == body(path, size(path)), "{path} has other bytes");
}

/// What one node fetched, another has from the bucket, with an empty store; and the third after
/// that from its own.
fn what_one_fetched_is_not_fetched_again(bucket: &str) {
    let origin = upstream();
    let mut first = node(bucket, &origin, "");
    for path in FILES {
        let found = first.get(path);
        is_right(&found, path);
        assert!(found.cache().contains("fwd=uri-miss; stored"), "{:?}", found.headers);
    }
    first.get("/debian/dists/stable/InRelease");
    // What is not written yet is written before it ends.
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0), "{}", first.said());
    assert!(!first.said().contains("not written"), "{}", first.said());
    let fetched = origin.seen().len();
    assert_eq!(fetched, FILES.len() + 1);

    let second = node(bucket, &origin, "");
    for path in FILES {
        let found = second.get(path);
        is_right(&found, path);
        assert!(found.cache().contains("pkgcache; hit; ttl=3"), "{:?}", found.headers);
        assert!(found.cache().ends_with("detail=remote"), "{:?}", found.headers);
        second.settled(path);
        let again = second.get(path);
        is_right(&again, path);
        assert!(again.cache().contains("pkgcache; hit") && !again.cache().contains("remote"));
    }
    // An index that another node has just asked for is as fresh here, and no longer.
    let index = second.get("/debian/dists/stable/InRelease");
    assert!(index.cache().contains("detail=remote"), "{:?}", index.headers);
    assert_eq!(origin.seen().len(), fetched, "{:?}", origin.seen());
    let of_remote = second.logs(FILES.len() + 1, |line| line["result"] == "remote");
    assert_eq!(of_remote.len(), FILES.len() + 1);
    assert_eq!(second.metric("pkgcache_requests_total{result=\"remote\"}"), 5);
    assert!(second.metric("pkgcache_remote_bytes_total") > 73_000_000);
    assert_eq!(second.metric("pkgcache_remote_stored_total"), 0, "what came from there is not written again");
}

#[test]
fn nodes_share_what_they_fetched_over_rclone() {
    if have(&[Part::Rclone]) {
        let folder = session();
        let store = Rclone::start(&folder.path("buckets"));
        what_one_fetched_is_not_fetched_again(&format!("{}/team/cache", store.url()));
    }
}

#[test]
fn nodes_share_what_they_fetched_over_moto_and_ask_the_upstream_once() {
    if !have(&[Part::Moto]) {
        return;
    }
    let store = Moto::start();
    what_one_fetched_is_not_fetched_again(&format!("{}/team/cache", store.url()));
    all_ask_at_once(&store.url());
    one_is_killed(&format!("{}/killed", store.url()));
}

/// An upstream that answers when the test says so.
fn held() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let origin = Origin::new(move |request, stream| {
        let _ = wait.lock().unwrap().recv();
        let whole = body(&request.path, size(&request.path));
        drop(stream.write_all(&answer(200, "cache-control: max-age=3600", &whole)));
    });
    (origin, go)
}

fn asks(node: &Proxy, path: &'static str) -> thread::JoinHandle<Answer> {
    let mut stream = node.connect();
    thread::spawn(move || {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        Answer::read(&mut std::io::BufReader::new(stream), "GET")
    })
}

/// Three nodes are asked for the same at the same time.
fn all_ask_at_once(bucket: &str) {
    let (origin, go) = held();
    // However slow the machine is, nobody loses patience here.
    let nodes = [0; 3].map(|_| patient(bucket, &origin, ", time = \"20s\", wait = \"20s\""));
    let clients: Vec<_> = nodes.iter().map(|node| asks(node, "/once-2000000")).collect();
    until("the upstream is asked", || !origin.seen().is_empty());
    go.send(()).unwrap();
    drop(go);
    for client in clients {
        is_right(&client.join().unwrap(), "/once-2000000");
    }
    let said: Vec<_> = nodes.iter().map(|node| node.said()).collect();
    assert_eq!(origin.seen().len(), 1, "{:?} {said:?}", origin.seen());
}

/// One of three is killed while it asks: another asks in its place.
fn one_is_killed(bucket: &str) {
    let (origin, go) = held();
    let [mut first, second, third] = [0; 3].map(|_| node(bucket, &origin, ""));
    let lost = asks(&first, "/killed-2000000");
    until("the upstream is asked", || !origin.seen().is_empty());
    let clients = [asks(&second, "/killed-2000000"), asks(&third, "/killed-2000000")];
    first.kill();
    assert_eq!(lost.join().unwrap().status, 0);
    let begun = Instant::now();
    drop(go);
    for client in clients {
        is_right(&client.join().unwrap(), "/killed-2000000");
    }
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(origin.seen().len() <= 3, "{:?}", origin.seen());
}

#[test]
fn a_node_that_only_reads_writes_nothing_and_private_answers_stay_where_they_are() {
    if !have(&[Part::Rclone]) {
        return;
    }
    let folder = session();
    let store = Rclone::start(&folder.path("buckets"));
    let origin = upstream();
    let reads = node(&store.url(), &origin, ", read-only = true");
    is_right(&reads.get("/small-5000"), "/small-5000");
    let mut reads = reads.after_its_end(&[]);
    reads.kill();
    assert!(!store.object("packages").exists());

    let private = session().env("AWS_ACCESS_KEY_ID", larder_tests::others::rclone::ACCESS_KEY);
    let private = private.env("AWS_SECRET_ACCESS_KEY", larder_tests::others::rclone::SECRET_KEY).file(
        "larder.toml",
        &format!(
            "[pkgcache]\nremote = \"{}\"\n[pkgcache.upstream]\n\"/\" = {{ url = \"{}\", keep-private = true }}\n",
            store.url(),
            origin.url()
        ),
    );
    let private = Proxy::in_session(private, &[]);
    let secret = "authorization: Bearer of-one-client";
    is_right(&private.ask("GET", "/private-5000", secret), "/private-5000");
    private.settled_for("/private-5000", secret);
    is_right(&private.get("/public-5000"), "/public-5000");
    wrote(&private, 1);
    let written = walk(store.object("packages").as_std_path());
    let text =
        |path: &std::path::PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    assert!(written.iter().any(|path| text(path).contains("/public-5000")), "{written:?}");
    assert!(!written.iter().any(|path| text(path).contains("/private-5000")), "{written:?}");
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
