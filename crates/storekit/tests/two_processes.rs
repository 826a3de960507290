//! Several processes over one store: the test program starts itself again as another process, in a
//! role.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the roles leave marks for each other and speak over stdout, and tests may panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use storekit::oci::{CONFIG, MANIFEST};
use storekit::{Committed, Descriptor, Digest, Entry, Error, Key, Overwrite, Store};

const ROLE: &str = "STOREKIT_TEST_ROLE";
const STORE: &str = "STOREKIT_TEST_STORE";

/// Not a test of its own: what the other processes run.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = Store::open(Utf8Path::new(&std::env::var(STORE).unwrap())).unwrap();
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("hold-exclusive", _) => {
            let _lock = store.lock_exclusive().unwrap();
            say("ready");
            wait_for_end();
        }
        ("write-half", _) => {
            let blobs = store.images().blobs();
            let mut writer = blobs.create().unwrap();
            writer.write_all(&vec![7; 1 << 20]).unwrap();
            say("ready");
            wait_for_end();
        }
        ("save", name) => {
            say(if save(&store, name, "k", 1) == Committed::Saved { "saved" } else { "already there" });
        }
        ("save-many", name) => (0..40).for_each(|round| {
            save(&store, name, &format!("{name}-{round}"), round % 5);
        }),
        ("collect", _) => {
            while fs::exists(store.root().join("go-on")).unwrap() {
                sweep(&store);
            }
        }
        other => panic!("unknown role {other:?}"),
    }
}

fn say(word: &str) {
    println!("role: {word}");
}

fn wait_for_end() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// Saves an image whose layers are shared with other rounds and other processes.
fn save(store: &Store, own: &str, key: &str, shared: u32) -> Committed {
    let images = store.images();
    let blobs = images.blobs();
    let texts =
        [format!("base {shared}"), format!("layer {shared}"), format!("{own} {key}"), "{}".to_owned()];
    let leases: Vec<_> = texts.iter().map(|text| blobs.put(text.as_bytes()).unwrap()).collect();
    let describe =
        |media: &str, index: usize| Descriptor::new(media, leases[index].digest(), leases[index].size());
    let layers: Vec<_> =
        (0..3).map(|index| describe("application/vnd.oci.image.layer.v1.tar", index)).collect();
    let manifest = serde_json::json!({"schemaVersion": 2, "config": describe(CONFIG, 3), "layers": layers});
    let manifest = blobs.put(manifest.to_string().as_bytes()).unwrap();
    let entry = Entry::new(Descriptor::new(MANIFEST, manifest.digest(), manifest.size()), Timestamp::now());
    let leases: Vec<_> = leases.into_iter().chain([manifest]).collect();
    images.commit(&key.parse().unwrap(), &entry, None, &leases, Overwrite::No).unwrap()
}

/// Takes every blob that no entry needs, as a collector does, and empties the trash at once.
fn sweep(store: &Store) {
    let images = store.images();
    let batch = store.trash().batch(Timestamp::now());
    let lock = store.lock_exclusive().unwrap();
    let mut walker = images.walker();
    let needed: BTreeSet<Digest> = images
        .keys()
        .unwrap()
        .iter()
        .filter_map(|key| {
            Entry::parse(&fs::read(images.folder().join("keys").join(key.as_str())).ok()?, "k".into()).ok()
        })
        .flat_map(|entry| walker.reach(&entry.descriptor).unwrap().digests().collect::<Vec<_>>())
        .collect();
    for digest in images.blobs().list().unwrap().iter().filter(|digest| !needed.contains(digest)) {
        images.discard_blob(&lock, digest, &batch).unwrap();
    }
    drop(lock);
    store.trash().empty(Duration::ZERO, std::time::SystemTime::now()).unwrap();
}

struct Scratch {
    _dir: tempfile::TempDir,
    root: Utf8PathBuf,
    store: Store,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap().join("store");
        let store = Store::open_or_create(&root).unwrap().with_patience(Duration::from_millis(100));
        store.images().prepare().unwrap();
        Self { _dir: dir, root, store }
    }

    fn start(&self, role: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--nocapture", "--quiet"])
            .env(ROLE, role)
            .env(STORE, &self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Process { child, lines }
    }
}

/// Another process; killed when dropped.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Process {
    /// Waits for what the role says.
    fn said(&mut self) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some((_, word)) = line.trim().rsplit_once("role: ") {
                return word.to_owned();
            }
            line.clear();
        }
        panic!("the other process ended and said nothing");
    }

    #[track_caller]
    fn succeeds(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the other process failed: {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_lock_excludes_another_process_and_is_free_when_it_dies() {
    let scratch = Scratch::new();
    let mut holder = scratch.start("hold-exclusive");
    assert_eq!(holder.said(), "ready");
    assert!(matches!(scratch.store.lock_shared(), Err(Error::Locked { .. })));
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    scratch.store.lock_shared().map(drop).unwrap();
}

#[test]
fn what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not() {
    let scratch = Scratch::new();
    let mut writer = scratch.start("write-half");
    assert_eq!(writer.said(), "ready");
    assert_eq!(scratch.store.images().sweep_unfinished().unwrap(), 0);
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    assert!(scratch.store.images().blobs().list().unwrap().is_empty());
    assert_eq!(scratch.store.images().sweep_unfinished().unwrap(), 1 << 20);
}

#[test]
fn of_two_saves_under_one_key_at_once_an_image_that_is_whole_stays() {
    let scratch = Scratch::new();
    let mut savers = [scratch.start("save a"), scratch.start("save b")];
    let said: Vec<_> = savers.iter_mut().map(Process::said).collect();
    assert!(said.contains(&"saved".to_owned()), "{said:?}");
    let (_, reach) = scratch.store.images().find(&"k".parse::<Key>().unwrap()).unwrap().unwrap();
    assert!(reach.is_whole());
}

#[test]
fn collectors_never_take_what_running_saves_need() {
    let scratch = Scratch::new();
    fs::write(scratch.root.join("go-on"), "").unwrap();
    let collectors = [scratch.start("collect"), scratch.start("collect")];
    let savers = ["a", "b", "c"].map(|name| scratch.start(&format!("save-many {name}")));
    savers.into_iter().for_each(Process::succeeds);
    fs::remove_file(scratch.root.join("go-on")).unwrap();
    collectors.into_iter().for_each(Process::succeeds);
    let list = scratch.store.images().list().unwrap();
    assert_eq!(list.len(), 120);
    let mut walker = scratch.store.images().walker();
    for listed in list {
        let reach = walker.reach(&listed.entry.descriptor).unwrap();
        assert!(reach.is_whole(), "{} lacks {:?}", listed.key, reach.missing);
    }
    let index = fs::read(scratch.root.join("images/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 120);
}
