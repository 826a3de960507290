//! A store of a test's own, and the program run over it.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use larder_tests::{Ran, Session};
use storekit::oci::{CONFIG, MANIFEST};
use storekit::{Descriptor, Digest, Entry, Key, Lease, Overwrite, Store};

/// A folder to run the program in.
pub(crate) fn session() -> Session {
    Session::of(env!("CARGO_BIN_EXE_gcctl"))
}

/// A store in a folder of its own.
pub(crate) struct Scratch {
    pub(crate) session: Session,
    pub(crate) root: Utf8PathBuf,
    pub(crate) store: Store,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let session = session();
        let root = session.store();
        Self::at(session, root)
    }

    pub(crate) fn at(session: Session, root: Utf8PathBuf) -> Self {
        let store = Store::open_or_create(&root).unwrap();
        Self { session, root, store }
    }

    /// Saves an image of these layers, last used so many hours ago.
    pub(crate) fn save(&self, key: &str, hours: u64, layers: &[&str]) -> &Self {
        save(&self.store, key, layers);
        self.wait_for_leases();
        self.age(key, hours)
    }

    /// Makes the key last used so many hours ago.
    pub(crate) fn age(&self, key: &str, hours: u64) -> &Self {
        let used = SystemTime::now() - Duration::from_secs(hours * 3600 + 60);
        let file = fs::File::options().append(true).open(self.root.join("images/keys").join(key)).unwrap();
        file.set_modified(used).unwrap();
        self
    }

    /// Gives the key's image names.
    pub(crate) fn name(&self, key: &str, names: &[&str]) -> &Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        // A new key file would count as used now.
        let path = self.root.join("images/keys").join(key);
        let used = fs::metadata(&path).unwrap().modified().unwrap();
        assert!(self.store.images().set_names(&key.parse().unwrap(), names).unwrap());
        fs::File::options().append(true).open(path).unwrap().set_modified(used).unwrap();
        self
    }

    /// Saves what refers to the image of another key.
    pub(crate) fn refer(&self, key: &str, to: &str) -> &Self {
        let listed = self.store.images().peek(&to.parse().unwrap()).unwrap().unwrap();
        let leases = write_referring(&self.store, &[key], Some(&listed.entry.descriptor));
        commit(&self.store, key, &leases);
        drop(leases);
        self.wait_for_leases();
        self
    }

    /// The digest of the key's manifest.
    pub(crate) fn digest(&self, key: &str) -> Digest {
        self.store.images().peek(&key.parse().unwrap()).unwrap().unwrap().entry.descriptor.digest
    }

    /// Waits until no blob is leased: a process that another test is just starting has the leases
    /// of this one too, until it runs.
    pub(crate) fn wait_for_leases(&self) {
        for blob in fs::read_dir(self.root.join("images/blobs/sha256")).unwrap() {
            fs::File::open(blob.unwrap().path()).unwrap().lock().unwrap();
        }
    }

    /// Three images that share a base: `c` is the oldest.
    pub(crate) fn three(&self) -> &Self {
        for (key, hours) in [("a", 10), ("b", 20), ("c", 30)] {
            self.save(key, hours, &["base", key]);
        }
        self
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = self.session.command("--store .");
        command.current_dir(&self.root).args(words.split_whitespace());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(&mut self.command(words))
    }

    pub(crate) fn feed(&self, words: &str, input: &str) -> Ran {
        Ran::fed(&mut self.command(words), input.as_bytes())
    }

    pub(crate) fn keys(&self) -> String {
        let keys = self.store.images().keys().unwrap();
        keys.iter().map(Key::as_str).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn blobs(&self) -> Vec<Digest> {
        self.store.images().blobs().list().unwrap()
    }

    /// Every entry is whole, every blob sound, and index.json names what is there.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        let images = self.store.images();
        for listed in images.list().unwrap() {
            let reach = images.walker().reach(&listed.entry.descriptor).unwrap();
            assert!(reach.is_whole(), "{} lacks {:?}", listed.key, reach.missing);
            reach.digests().for_each(|digest| images.blobs().verify(&digest).unwrap());
        }
    }
}

pub(crate) fn save(store: &Store, key: &str, layers: &[&str]) {
    commit(store, key, &write(store, layers));
}

fn commit(store: &Store, key: &str, leases: &[Lease]) {
    let manifest = leases.last().unwrap();
    let entry = Entry::new(Descriptor::new(MANIFEST, manifest.digest(), manifest.size()), Timestamp::now());
    store.images().commit(&key.parse().unwrap(), &entry, None, leases, Overwrite::Yes).unwrap();
}

/// Writes the blobs of an image, its manifest last, and commits nothing.
pub(crate) fn write(store: &Store, layers: &[&str]) -> Vec<Lease> {
    write_referring(store, layers, None)
}

fn write_referring(store: &Store, layers: &[&str], subject: Option<&Descriptor>) -> Vec<Lease> {
    store.images().prepare().unwrap();
    let blobs = store.images().blobs();
    let mut leases: Vec<_> = layers.iter().map(|layer| blobs.put(&content(layer)).unwrap()).collect();
    let describe = |media: &str, lease: &Lease| Descriptor::new(media, lease.digest(), lease.size());
    let layers: Vec<_> =
        leases.iter().map(|it| describe("application/vnd.oci.image.layer.v1.tar", it)).collect();
    let config = blobs.put(b"{}").unwrap();
    let mut manifest =
        serde_json::json!({"schemaVersion": 2, "config": describe(CONFIG, &config), "layers": layers});
    if let Some(subject) = subject {
        manifest["subject"] = serde_json::to_value(subject).unwrap();
    }
    leases.push(config);
    leases.push(blobs.put(manifest.to_string().as_bytes()).unwrap());
    leases
}

/// 8 KiB for each name.
pub(crate) fn content(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(8192).collect()
}

pub(crate) fn layer(name: &str) -> Digest {
    Digest::of(&content(name))
}
