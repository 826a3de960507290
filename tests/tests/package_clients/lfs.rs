//! The real git and git-lfs, led to a mount by `pkgcache run`, in front of a server of batches and
//! a store of objects that stands elsewhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use larder_tests::http::{Answer, Origin, answer, connect};
use larder_tests::{Part, Ran, Session, have, until};
use serde_json::{Value, json};

use crate::served::{Cache, hex};

/// What lets somebody into the store, and into the closed repository.
const SIGNATURE: &str = "sig=5ec3e7";
const LETS_IN: &str = "let-me-in";
const ACCOUNT: &str = "authorization: Basic YTp3b3Jk\r\n";

/// What the store of objects has, and how it is.
#[derive(Default)]
struct Stock {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    is_unplugged: AtomicBool,
    is_wrong: AtomicBool,
}

struct World {
    session: Session,
    stock: Arc<Stock>,
    store: Origin,
    batches: Origin,
    is_cut: Arc<AtomicBool>,
}

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

impl World {
    fn new() -> Self {
        let (stock, is_cut) = (Arc::<Stock>::default(), Arc::<AtomicBool>::default());
        let (own, cut) = (Arc::clone(&stock), Arc::clone(&is_cut));
        let store = Origin::new(move |request, stream| {
            if own.is_unplugged.load(Ordering::Relaxed) {
                return;
            }
            let oid = request.path.trim_start_matches("/o/").split('?').next().unwrap_or_default();
            let objects = own.objects.lock().unwrap();
            let may = request.path.ends_with(SIGNATURE) && request.header("x-let-in") == Some(LETS_IN);
            let told = match objects.get(oid).filter(|_| may) {
                None => answer(403, "", b"no"),
                Some(bytes) => {
                    let mut bytes = bytes.clone();
                    bytes[0] ^= u8::from(own.is_wrong.load(Ordering::Relaxed));
                    answer(200, "", &bytes)
                }
            };
            let _ = stream.write_all(&told);
        });
        let at = store.url();
        let batches = Origin::serving(move |connection| {
            let mut request = connection.head()?;
            connection.body(&mut request, None)?;
            let request = connection.note(request);
            if cut.load(Ordering::Relaxed) {
                return None;
            }
            let is_closed = request.path.starts_with("/team/closed.git");
            let told = if is_closed && request.header("authorization").is_none() {
                answer(401, "lfs-authenticate: Basic realm=\"x\"", b"{}")
            } else {
                answer(
                    200,
                    "content-type: application/vnd.git-lfs+json",
                    batch(&at, &request.body).as_bytes(),
                )
            };
            connection.write(&told)
        });
        Self { session: Session::new(), stock, store, batches, is_cut }
    }

    fn settings(&self) -> String {
        format!("[pkgcache.upstream]\nlfs = {{ url = \"{}/\", kind = \"git-lfs\" }}\n", self.batches.url())
    }

    /// A repository whose large files the server of batches has.
    fn repository(&self, files: &[(&str, &[u8])]) {
        let session = &self.session;
        session.write("larder.toml", self.settings());
        session
            .run("git lfs install --skip-repo && git init -q -b main work && git init -q --bare bare")
            .ok();
        session.write("work/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
        let url = format!("{}/team/models.git/info/lfs", self.batches.url());
        session.write("work/.lfsconfig", format!("[lfs]\n\turl = {url}\n"));
        for (name, bytes) in files {
            session.write(&format!("work/{name}"), bytes);
            self.stock.objects.lock().unwrap().insert(sha256(bytes), bytes.to_vec());
        }
        let who = "-c user.name=a -c user.email=a@b.example";
        session.run(&format!("cd work && git add . && git {who} commit -qm one && GIT_LFS_SKIP_PUSH=1 git push -q ../bare main")).ok();
        session.run("git --git-dir=bare symbolic-ref HEAD refs/heads/main").ok();
    }

    fn clone_into(&self, name: &str, options: &str) -> Ran {
        // Two tries are enough for an object that cannot be had.
        let git = "git -c lfs.transfer.maxretries=1";
        let line = format!("pkgcache run {options} -- {git} clone -q file://$PWD/bare {name}");
        self.session.run(&line)
    }

    fn file(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.session.path(path)).unwrap()
    }
}

/// The answer to a batch, with a field that nobody knows.
fn batch(store: &str, question: &[u8]) -> String {
    let question: Value = serde_json::from_slice(question).unwrap();
    let operation = question["operation"].as_str().unwrap();
    let objects = question["objects"].as_array().unwrap().iter().map(|object| {
        let href = format!("{store}/o/{}?{SIGNATURE}", object["oid"].as_str().unwrap());
        let action = json!({ "href": href, "header": { "x-let-in": LETS_IN }, "expires_in": 3600 });
        json!({ "oid": object["oid"], "size": object["size"], "authenticated": true, "actions": { operation: action }, "x": 1 })
    });
    json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() }).to_string()
}

/// Asks for one object by a batch; what the answer says of it.
fn asks(
    cache: &Cache<'_>,
    repository: &str,
    operation: &str,
    oid: &str,
    size: usize,
    fields: &str,
) -> Answer {
    let question = json!({ "operation": operation, "objects": [{ "oid": oid, "size": size }] }).to_string();
    let mut stream = connect(cache.authority());
    write!(
        stream,
        "POST /lfs/team/{repository}.git/info/lfs/objects/batch HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
         content-type: application/vnd.git-lfs+json\r\ncontent-length: {}\r\n{fields}\r\n{question}",
        cache.authority(),
        question.len()
    )
    .unwrap();
    Answer::read(&mut std::io::BufReader::new(stream), "POST")
}

/// The path and the field by which the answer leads to its object.
fn led(cache: &Cache<'_>, answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let said: Value = serde_json::from_str(answer.text()).unwrap();
    let download = &said["objects"][0]["actions"]["download"];
    let path = download["href"].as_str().unwrap().strip_prefix(cache.url()).expect("it is led here");
    let (name, value) = download["header"].as_object().unwrap().iter().next().unwrap();
    (path.to_owned(), format!("{name}: {}\r\n", value.as_str().unwrap()))
}

#[test]
fn git_lfs_is_led_here_and_each_object_is_fetched_once_and_compared() {
    if !have(&[Part::Git, Part::GitLfs]) {
        return;
    }
    let world = World::new();
    let (one, two) = (b"model one ".repeat(40_000), b"model two ".repeat(30_000));
    world.repository(&[("one.bin", &one), ("two.bin", &two)]);
    world.stock.is_wrong.store(true, Ordering::Relaxed);
    let ran = world.clone_into("wrong", "");
    assert!(ran.code() != 0, "a wrong object was taken: {ran}");
    assert_eq!(world.session.run("pkgcache ls").ok().stdout(), "", "a wrong object is stored");
    world.stock.is_wrong.store(false, Ordering::Relaxed);

    world.clone_into("first", "").ok();
    assert!(world.file("first/one.bin") == one && world.file("first/two.bin") == two);
    let fetched = world.store.seen().len();
    world.stock.is_unplugged.store(true, Ordering::Relaxed);
    world.clone_into("second", "").ok();
    assert!(world.file("second/one.bin") == one && world.file("second/two.bin") == two);
    assert_eq!(world.store.seen().len(), fetched, "the store was asked again");
    let asked = world.batches.seen().len();
    // The server of batches itself cannot be asked, or is not.
    world.clone_into("offline", "--offline").ok();
    assert!(world.file("offline/one.bin") == one && world.batches.seen().len() == asked);
    world.is_cut.store(true, Ordering::Relaxed);
    world.clone_into("cut", "").ok();
    assert!(world.file("cut/two.bin") == two);

    let rows = world.session.run("pkgcache ls --json").ok().rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in &rows {
        let (ecosystem, name, level) = (&row["ecosystem"], &row["name"], &row["responses"][0]["level"]);
        assert_eq!(
            (ecosystem, name, level),
            (&json!("git-lfs"), &json!("team/models"), &json!("addressed")),
            "{row}"
        );
    }
    // What lets somebody into the store is kept nowhere.
    world
        .session
        .run(&format!("! grep -rqe '{SIGNATURE}' -e {LETS_IN} \"$LARDER_DIR\"/packages/entries"))
        .ok();
}

#[test]
fn an_object_of_git_lfs_is_for_those_whom_its_server_lets_in() {
    let world = World::new();
    let bytes = b"a closed model ".repeat(1000);
    let oid = sha256(&bytes);
    world.stock.objects.lock().unwrap().insert(oid.clone(), bytes.clone());
    let cache = Cache::start(&world.session, &world.settings());
    let ask =
        |repository: &str, fields: &str| asks(&cache, repository, "download", &oid, bytes.len(), fields);

    let (path, ticket) = led(&cache, &ask("closed", ACCOUNT));
    let got = cache.ask(&path, &ticket);
    assert!(got.whole && got.status == 200 && got.body == bytes, "{got:?}");
    until("it is stored", || world.session.run("pkgcache ls").ok().stdout().lines().count() == 1);
    // Part of it is had from what is stored.
    let part = cache.ask(&path, &format!("{ticket}range: bytes=2-7\r\n"));
    assert!(part.status == 206 && part.body == bytes[2..8], "{part:?}");

    assert_eq!(ask("closed", "").status, 401);
    for (path, ticket) in [
        (path.as_str(), ""),
        (&path, "x-pkgcache-ticket: 00000000000000000000000000000000\r\n"),
        (&path.replace("closed", "other"), ticket.as_str()),
        (&format!("/sha256/{oid}{path}"), ""),
        (&path, ACCOUNT),
    ] {
        let refused = cache.ask(path, ticket);
        assert!(matches!(refused.status, 400 | 403), "{path} {ticket}: {refused:?}");
    }
    // Another repository has the same object: its bytes are here.
    let (path, ticket) = led(&cache, &ask("open", ""));
    assert_eq!(cache.ask(&path, &ticket).body, bytes);
    assert_eq!(world.store.seen().len(), 1, "it was fetched twice");

    let upload = asks(&cache, "open", "upload", &oid, bytes.len(), "");
    assert!(upload.text().contains(&format!("{}/o/{oid}?{SIGNATURE}", world.store.url())), "{upload:?}");
    // Where the server cannot be asked, nobody gets what an account was let in for.
    world.is_cut.store(true, Ordering::Relaxed);
    assert!(ask("closed", "").status >= 500);
    let (path, ticket) = led(&cache, &ask("closed", ACCOUNT));
    assert_eq!(cache.ask(&path, &ticket).body, bytes);
    let said = cache.said();
    let lines = format!("{:?}", cache.stop());
    assert!(!said.contains(SIGNATURE) && !lines.contains(SIGNATURE), "{said}{lines}");
}
