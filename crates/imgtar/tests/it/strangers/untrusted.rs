//! A registry that is slow, busy, cut off, or lies: nothing is stored that is not what it should
//! be, no credentials go where they do not belong, and every wait has an end.

use std::io::Read;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use imgtar::Error;
use imgtar::registry::pull::Wanted;
use imgtar::registry::push::Options;
use imgtar::registry::{self, Config, Credentials, Patience, Pulled, Pushed};
use larder_tests::until;
use serde_json::json;
use storekit::Reference;
use storekit::{Digest, Store};

use crate::kit::remotes::{Fake, Reply};
use crate::kit::session::Session;
use crate::kit::tars::{config, descriptor, docker, gzip, layer, manifest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn quick() -> Config {
    let patience = Patience {
        insists: true,
        connect: Duration::from_secs(20),
        stall: Duration::from_secs(20),
        settle: Duration::from_secs(20),
        retries: 3,
        pause: Duration::from_millis(5),
        longest: Duration::from_millis(50),
        total: Duration::from_secs(2),
    };
    Config { patience, ..Config::default() }
}

/// Gives up at the first trouble.
pub(crate) fn hasty() -> Config {
    let config = quick();
    Config { patience: Patience { retries: 0, ..config.patience }, ..config }
}

pub(crate) fn store(session: &Session) -> Store {
    let store = Store::open_or_create(&session.path("../store")).unwrap();
    store.images().prepare().unwrap();
    store
}

pub(crate) fn reference(fake: &Fake) -> Reference {
    format!("{}/app:1", fake.host).parse().unwrap()
}

pub(crate) fn pull_with(session: &Session, fake: &Fake, config: &Config) -> Result<Option<Pulled>, Error> {
    let wanted = Wanted { key: Some("k".parse().unwrap()), ..Wanted::default() };
    registry::pull(&store(session), config, &reference(fake), &wanted, &())
}

pub(crate) fn pull(session: &Session, fake: &Fake) -> Result<Option<Pulled>, Error> {
    pull_with(session, fake, &quick())
}

pub(crate) fn push(session: &Session, fake: &Fake, config: &Config) -> Result<Option<Pushed>, Error> {
    let key = "k".parse().unwrap();
    registry::push(&store(session), config, &key, (&reference(fake), &[]), &Options::default(), &())
}

/// The pull must fail with this, and leave nothing that a key leads to.
#[track_caller]
pub(crate) fn refused(session: &Session, fake: &Fake, says: &str) {
    let error = pull(session, fake).unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    session.run("has k").ends(1);
    session.run("verify").ok();
}

/// Credentials for the host, in a file of the session's.
pub(crate) fn credentials(session: &Session, host: &str) -> Credentials {
    let text = format!(r#"{{"auths":{{"{host}":{{"username":"user","password":"hunter2"}}}}}}"#);
    Credentials { files: vec![session.write("auth.json", text)] }
}

/// `user:hunter2`.
pub(crate) const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

/// Yes the first so many times.
pub(crate) fn first(count: usize) -> impl Fn() -> bool + Send + Sync {
    let left = AtomicUsize::new(count);
    move || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

pub(crate) fn big() -> Vec<u8> {
    layer("big", &"0123456789abcdef".repeat(20_000))
}

pub(crate) fn blob_path(bytes: &[u8]) -> String {
    format!("/blobs/{}", Digest::of(bytes))
}

pub(crate) fn partials(session: &Session) -> Vec<String> {
    let names = storekit::files::replace::names(&session.path("../store/images/blobs/sha256")).unwrap();
    names.into_iter().filter(|name| name.starts_with(".tmp-")).collect()
}

#[test]
fn a_pull_goes_on_where_it_was_cut() {
    let (layer, cut) = (big(), first(2));
    let (path, body) = (blob_path(&layer), layer.clone());
    let fake = Fake::start(move |asked| {
        (asked.is("GET", &path) && cut()).then(|| {
            let from = asked.header("range").map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
            let status = if from > 0 { 206 } else { 200 };
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            Reply { cut: Some(1000), ..Reply::new(status).with("Content-Range", range).body(&body[from..]) }
        })
    });
    fake.image("1", &[&layer]);
    let session = Session::new();
    let pulled = pull(&session, &fake).unwrap().unwrap();
    assert_eq!(fake.seen("range"), ["bytes=1000-", "bytes=2000-"]);
    assert_eq!(pulled.tally.moved_bytes, layer.len() as u64);
    assert_eq!(partials(&session), [""; 0]);
    session.run("verify").ok();
}

#[test]
fn the_next_run_goes_on_too() {
    let (layer, cut) = (big(), first(1));
    let (path, body) = (blob_path(&layer), layer.clone());
    let fake = Fake::start(move |asked| {
        let reply = Reply { cut: Some(5000), ..Reply::new(200).body(&body) };
        (asked.is("GET", &path) && cut()).then_some(reply)
    });
    fake.image("1", &[&layer]);
    let session = Session::new();
    pull_with(&session, &fake, &hasty()).unwrap_err();
    assert_eq!(partials(&session), [format!(".tmp-partial-{}", Digest::of(&layer).hex())]);
    session.run("verify").ok();
    let pulled = pull(&session, &fake).unwrap().unwrap();
    assert_eq!(
        (fake.seen("range"), pulled.tally.moved_bytes),
        (vec!["bytes=5000-".to_owned()], layer.len() as u64 - 5000)
    );
    assert_eq!(partials(&session), [""; 0]);
}

#[test]
fn a_registry_that_knows_no_ranges_sends_all_again() {
    let (layer, cut) = (big(), first(1));
    let (path, body) = (blob_path(&layer), layer.clone());
    let fake = Fake::start(move |asked| {
        let cut = || if cut() { Some(5000) } else { None };
        asked.is("GET", &path).then(|| Reply { cut: cut(), ..Reply::new(200).body(&body) })
    });
    fake.image("1", &[&layer]);
    let session = Session::new();
    let pulled = pull(&session, &fake).unwrap().unwrap();
    assert_eq!((fake.seen("range").len(), pulled.tally.moved_bytes), (1, layer.len() as u64 + 5000));
    session.run("verify").ok();
}

#[test]
fn what_an_earlier_run_left_is_not_believed() {
    let layer = big();
    let fake = Fake::start(|_| None);
    fake.image("1", &[&layer]);
    for left in [b"garbage".to_vec(), vec![0; layer.len()], vec![0; layer.len() + 9]] {
        let session = Session::new();
        store(&session);
        session
            .write(&format!("../store/images/blobs/sha256/.tmp-partial-{}", Digest::of(&layer).hex()), left);
        pull(&session, &fake).unwrap().unwrap();
        assert_eq!(partials(&session), [""; 0]);
        session.run("verify").ok();
    }
}

#[test]
fn a_killed_pull_leaves_a_sound_store_and_is_taken_up() {
    let (layer, slow) = (big(), first(1));
    let (path, body) = (blob_path(&layer), layer.clone());
    let fake = Fake::start(move |asked| {
        // All but the last bytes, and then nothing for a while.
        let half = Reply::new(200).with("Content-Length", body.len()).body(&body[..200_000]);
        (asked.is("GET", &path) && slow()).then_some(half)
    });
    fake.image("1", &[&layer]);
    let session = Session::new();
    let words = format!("pull {}/app:1 --key k", fake.host);
    let mut child = session.command(&words).stdin(Stdio::null()).spawn().unwrap();
    let kept =
        session.path(&format!("../store/images/blobs/sha256/.tmp-partial-{}", Digest::of(&layer).hex()));
    until("a part is kept", || std::fs::metadata(&kept).is_ok_and(|metadata| metadata.len() >= 100_000));
    child.kill().unwrap();
    child.wait().unwrap();
    session.run("verify").ok();
    session.run("has k").ends(1);
    session.run(&words).ok();
    assert_eq!(fake.seen("range").len(), 1);
    assert_eq!(partials(&session), [""; 0]);
    session.run("verify").ok();
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    for (status, after) in [(429, "1"), (503, "Sun, 06 Nov 1994 08:49:37 GMT"), (500, "soon"), (408, "")] {
        let busy = first(3);
        let fake = Fake::start(move |_| busy().then(|| Reply::new(status).with("Retry-After", after)));
        fake.image("1", &[&layer("a", "b")]);
        let longest = Duration::from_millis(200);
        let patience = Patience { insists: true, longest, ..quick().patience };
        let (session, started) = (Session::new(), Instant::now());
        pull_with(&session, &fake, &Config { patience, ..quick() }).unwrap().unwrap();
        // Its own pauses would be 35 ms at most in all.
        assert!(after != "1" || started.elapsed() >= longest * 3, "{:?}", started.elapsed());
    }
}

#[test]
fn a_registry_that_stays_busy_is_given_up() {
    let fake =
        Fake::start(|_| Some(Reply::new(429).with("Retry-After", 999_999).body("slow\r\ndown \x1b[31m")));
    let session = Session::new();
    let started = Instant::now();
    refused(&session, &fake, "answered 429 to GET");
    assert_eq!(fake.count("GET", "/manifests/1"), 4);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!pull(&session, &fake).unwrap_err().to_string().contains('\x1b'));
}

#[test]
fn a_registry_that_stands_still_is_given_up() {
    let body = big();
    let (path, sent) = (blob_path(&body), body.clone());
    for drip in [Duration::from_secs(30), Duration::from_millis(50)] {
        let (path, sent) = (path.clone(), sent.clone());
        let fake = Fake::start(move |asked| {
            asked.is("GET", &path).then(|| Reply { drip: Some(drip), ..Reply::new(200).body(&sent) })
        });
        fake.image("1", &[&body]);
        let config = quick();
        let patience =
            Patience { insists: true, stall: Duration::from_millis(400), retries: 1, ..config.patience };
        let (session, started) = (Session::new(), Instant::now());
        let error = pull_with(&session, &fake, &Config { patience, ..config }).unwrap_err();
        assert!(error.to_string().contains("cannot be reached"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        session.run("has k").ends(1);
    }
}

#[test]
fn other_bytes_than_announced_are_refused() {
    let layer = big();
    let mut other = layer.clone();
    other[600] ^= 1;
    let longer = [&layer[..], b"more"].concat();
    let bodies = [
        (Reply::new(200).body(&other), "is something else"),
        (Reply::new(200).body(&longer), "that were announced"),
        (Reply { unsized_: true, ..Reply::new(200).body(&longer) }, "and has more"),
        (Reply::new(200).body(&layer[..layer.len() - 1]), "that were announced"),
        (Reply { unsized_: true, ..Reply::new(200).body(&layer[..1000]) }, "off after 1000 bytes, each time"),
        (Reply::new(200).with("Content-Encoding", "gzip").body(gzip(&layer)), "that were announced"),
        (Reply::new(206).with("Content-Range", "bytes 5-9/10").body(&layer), "another part"),
        (Reply::new(404), "a part of"),
        (Reply::new(403).body("no"), "does not let you pull"),
        (Reply::new(200).with("X-Bomb", "x".repeat(100_000)).body(&layer), "cannot be reached"),
    ];
    for (reply, says) in bodies {
        let path = blob_path(&layer);
        let fake = Fake::start(move |asked| asked.is("GET", &path).then(|| reply.clone()));
        fake.image("1", &[&layer]);
        refused(&Session::new(), &fake, says);
    }
}

#[test]
fn documents_that_lie_are_refused() {
    let plain = layer("a", "b");
    let good = manifest(&[&plain], &[("", &plain)]);
    let both = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": good["config"], "layers": [], "manifests": [] });
    let mut index = good.clone();
    index["mediaType"] = json!(INDEX);
    let listing = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, b"{}")] });
    let replies = [
        (
            Reply::new(200).with("Docker-Content-Digest", Digest::of(b"x")).body(good.to_string()),
            "what it sends as",
        ),
        (Reply::new(200).with("Content-Type", INDEX).body(good.to_string()), "and is something else"),
        (
            Reply::new(200).with("Content-Type", MANIFEST).body(index.to_string()),
            "and the answer's header says",
        ),
        (Reply::new(200).with("Content-Type", MANIFEST).body(both.to_string()), "at once"),
        (Reply::new(200).with("Content-Type", MANIFEST).body("{"), "cannot be understood"),
        (
            Reply::new(200).with("Content-Type", MANIFEST).body(r#"{"schemaVersion":1,"fsLayers":[]}"#),
            "first image format",
        ),
        (Reply::new(200).with("Content-Type", INDEX).body(listing.to_string()), "a part of"),
        (
            Reply::new(200).with("Content-Type", "text/html").body(good.to_string()),
            "neither a manifest nor an index",
        ),
        (Reply::new(200).with("Content-Type", MANIFEST).body("[".repeat(1 << 20)), "cannot be understood"),
        (
            Reply::new(200).with("Content-Type", MANIFEST).body(" ".repeat((20 << 20) + 1)),
            "larger than 21.0MB",
        ),
    ];
    for (reply, says) in replies {
        let fake = Fake::start(move |asked| asked.is("GET", "/manifests/1").then(|| reply.clone()));
        fake.image("other", &[&plain]);
        refused(&Session::new(), &fake, says);
    }
}

#[test]
fn sizes_beyond_all_sums_are_refused() {
    let (one, two) = (layer("a", "b"), layer("c", "d"));
    let mut document = manifest(&[&one, &two], &[("", &one), ("", &two)]);
    for at in 0..2 {
        document["layers"][at]["size"] = json!(u64::MAX);
    }
    let fake = Fake::start(|_| None);
    fake.image("other", &[&one, &two]);
    fake.manifest("1", MANIFEST, &document);
    refused(&Session::new(), &fake, "that were announced");
}

#[test]
fn one_blob_in_two_sizes_is_refused() {
    let plain = layer("a", "b");
    let mut document = manifest(&[&plain, &plain], &[("", &plain), ("", &plain)]);
    document["layers"][1]["size"] = json!(1);
    let fake = Fake::start(|_| None);
    fake.blob(config(&[&plain, &plain]).to_string().as_bytes());
    fake.blob(&plain);
    fake.manifest("1", MANIFEST, &document);
    refused(&Session::new(), &fake, "in two ways");
}

#[test]
fn a_strangers_words_reach_no_terminal() {
    let evil = "\u{1b}]0;evil\u{7}\u{1b}[31m";
    let listed = json!({ "mediaType": MANIFEST, "digest": Digest::of(b"x"), "size": 1,
        "platform": { "os": evil, "architecture": evil } });
    let fake = Fake::start(|_| None);
    fake.manifest("1", INDEX, &json!({ "schemaVersion": 2, "manifests": [listed] }));
    fake.manifest("2", MANIFEST, &json!({ "schemaVersion": 2, "config": evil, "layers": [] }));
    fake.manifest("3", "application/x", &json!({ "mediaType": evil, "layers": [] }));
    let session = Session::new();
    for words in ["app:1 --platform linux/amd64", "app:1", "app:2", "app:3"] {
        let run = session.run(&format!("pull {}/{words}", fake.host)).ends(2);
        assert!(!run.stderr().contains('\x1b') && !run.stderr().contains('\x07'), "{:?}", run.stderr());
    }
}

#[test]
fn a_manifest_by_digest_must_hash_to_it() {
    let fake = Fake::start(|asked| {
        let lie = Reply::new(200)
            .with("Docker-Content-Digest", Digest::of(b"y"))
            .body(r#"{"config":{},"layers":[]}"#);
        asked.path.contains("/manifests/sha256:").then_some(lie)
    });
    let reference = format!("{}/app@{}", fake.host, Digest::of(b"x")).parse().unwrap();
    let error =
        registry::pull(&store(&Session::new()), &quick(), &reference, &Wanted::default(), &()).unwrap_err();
    assert!(error.to_string().contains("what it sends as"), "{error}");
    let error = registry::resolve(&quick(), &reference, None).unwrap_err();
    assert!(error.to_string().contains("asked for"), "{error}");
}

#[test]
fn a_layer_that_is_not_what_its_config_says_is_refused() {
    let (good, evil) = (layer("a", "good"), layer("a", "evil"));
    for (form, packed) in
        [("", evil.clone()), ("+gzip", gzip(&evil)), ("+zstd", gzip(&good)), ("", gzip(&good))]
    {
        let fake = Fake::start(|_| None);
        fake.blob(config(&[&good]).to_string().as_bytes());
        fake.blob(&packed);
        fake.manifest("1", MANIFEST, &manifest(&[&good], &[(form, &packed)]));
        let session = Session::new();
        let error = pull(&session, &fake).unwrap_err();
        assert!(error.to_string().contains("cannot be stored"), "{error}");
        session.run("has k").ends(1);
        // The next image with the announced layer gets the real one.
        session.feed("import real", &docker("app:1", &[&good]).end()).ok();
        session.run("verify").ok();
    }
}

#[test]
fn an_index_without_end_is_refused() {
    let fake = Fake::start(|_| None);
    let mut media_type = MANIFEST;
    let mut document = manifest(&[], &[]);
    fake.blob(config(&[]).to_string().as_bytes());
    for depth in 0..7 {
        fake.manifest(if depth == 6 { "1" } else { "x" }, media_type, &document);
        let listed = descriptor(media_type, document.to_string().as_bytes());
        document = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] });
        media_type = INDEX;
    }
    refused(&Session::new(), &fake, "too many documents");
}

#[test]
fn layers_of_other_places_are_not_fetched_there() {
    let elsewhere = Fake::start(|_| None);
    let plain = layer("a", "b");
    elsewhere.blob(&plain);
    let mut document = manifest(&[&plain], &[("", &plain)]);
    document["layers"][0]["urls"] = json!([format!("http://{}{}", elsewhere.host, blob_path(&plain))]);
    let fake = Fake::start(|_| None);
    fake.blob(config(&[&plain]).to_string().as_bytes());
    fake.manifest("1", MANIFEST, &document);
    let session = Session::new();
    let pulled = pull(&session, &fake).unwrap().unwrap();
    assert!(elsewhere.log().is_empty());
    // Nobody is to believe that such a layer is what its config says.
    assert!(pulled.imported.entry.adopted);
}

#[test]
fn an_upload_goes_on_where_it_was_cut() {
    let session = Session::new();
    let noise = crate::network::registries::noise(3);
    session.feed("import k", &docker("app:1", &[&noise]).end()).ok();
    let cut = first(1);
    let fake =
        Fake::start_cutting(|_| None, move |asked| (asked.method == "PATCH" && cut()).then_some(300_000));
    push(&session, &fake, &quick()).unwrap().unwrap();
    let ranges = fake.seen("content-range");
    assert!(ranges.len() == 1 && ranges[0].starts_with("300000-"), "{ranges:?}");
    assert_eq!(fake.count("POST", "/uploads/"), 2);
    assert_eq!(fake.count("PATCH", "/uploads/"), 2);
}

#[test]
fn an_upload_that_is_forgotten_begins_anew() {
    let session = Session::new();
    let noise = crate::network::registries::noise(4);
    session.feed("import k", &docker("app:1", &[&noise]).end()).ok();
    let cut = first(1);
    let fake = Fake::start_cutting(
        |asked| asked.is("GET", "/uploads/").then(|| Reply::new(404)),
        move |asked| (asked.method == "PATCH" && cut()).then_some(300_000),
    );
    push(&session, &fake, &quick()).unwrap().unwrap();
    assert!(fake.seen("content-range").is_empty());
    assert_eq!(fake.count("POST", "/uploads/"), 3);
    let info = session.run("info k --json").ok().json();
    assert!(fake.holds(info["images"][0]["layers"][0]["digest"].as_str().unwrap()));
}

#[test]
fn an_upload_to_another_host_takes_no_credentials_along() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    let elsewhere = Fake::start(|asked| (asked.method == "PUT").then(|| Reply::new(201)));
    let to = format!("http://{}/v2/x/blobs/uploads/1", elsewhere.host);
    let fake = Fake::start(move |asked| {
        if asked.header("authorization").is_none() {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic realm=\"r\""));
        }
        (asked.method == "POST").then(|| Reply::new(202).with("Location", &to))
    });
    let config = Config { credentials: credentials(&session, &fake.host), ..quick() };
    push(&session, &fake, &config).unwrap().unwrap();
    assert!(elsewhere.log().len() == 2 && elsewhere.seen("authorization").is_empty());
}

#[test]
fn a_damaged_blob_is_never_whole_in_a_registry() {
    let session = Session::new();
    let noise = crate::network::registries::noise(5);
    session.feed("import k", &docker("app:1", &[&noise]).end()).ok();
    let info = session.run("info k --json").ok().json();
    let digest: Digest = info["images"][0]["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    let path = session.store().images().blobs().path(&digest);
    for compress in ["keep", "gzip"] {
        let sound = std::fs::read(&path).unwrap();
        let mut bytes = sound.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let fake = Fake::start(|_| None);
        session.run(&format!("push k {}/app:1 --compress {compress}", fake.host)).ends(3).says("damaged");
        assert_eq!(fake.count("PUT", "/manifests/"), 0);
        assert!(!fake.holds(&digest.to_string()));
        std::fs::write(&path, sound).unwrap();
    }
}

#[test]
fn a_registry_that_takes_something_else_is_found_out() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    let fake = Fake::start(|asked| {
        let lie = Reply::new(201).with("Docker-Content-Digest", Digest::of(b"x"));
        asked.is("PUT", "/manifests/").then_some(lie)
    });
    let error = push(&session, &fake, &quick()).unwrap_err();
    assert!(error.to_string().contains("it stored"), "{error}");
}

#[test]
fn a_mount_that_is_refused_is_an_upload() {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    let fake = Fake::start(|asked| asked.is("POST", "mount=").then(|| Reply::new(403)));
    let options = Options { from: vec!["other".to_owned()], ..Options::default() };
    let key = "k".parse().unwrap();
    let pushed = registry::push(&store(&session), &quick(), &key, (&reference(&fake), &[]), &options, &());
    assert_eq!(pushed.unwrap().unwrap().tally.moved_blobs, 2);
}

#[test]
fn a_connection_that_is_not_http_is_trouble() {
    let host = larder_tests::http::listen(|stream| {
        let _ = (&stream).read(&mut [0; 64]);
        let _ = std::io::Write::write_all(&mut &stream, b"SSH-2.0-x\r\n");
    });
    let reference = format!("{host}/app:1").parse().unwrap();
    let error = registry::resolve(&quick(), &reference, None).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}
