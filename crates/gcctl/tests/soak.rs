//! Writers, readers and collectors at once: nothing that stands lacks anything, and nothing goes
//! that somebody holds. First at every moment of a sweep on purpose, then for a while by chance.
//!
//! `LARDER_SOAK_SECONDS` says for how long (10, where nothing is said), and each kind of operation
//! is counted: `LARDER_SOAK_SECONDS=1800 cargo test -p gcctl --release --test soak -- --nocapture`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests write what they like, may panic, and tell what they counted"
)]

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use gcctl::Limits;
use gcctl::events::Told;
use gcctl::plan::{Plan, decide};
use gcctl::survey::survey;
use gcctl::sweep::{Moment, Reason, sweep, sweep_watched};
use jiff::Timestamp;
use storekit::oci::{CONFIG, MANIFEST};
use storekit::{Age, Descriptor, Digest, Entry, Key, Lease, Overwrite, Store};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().join("store")).unwrap();
    let store = Store::open_or_create(&root).unwrap();
    store.images().prepare().unwrap();
    (dir, store)
}

fn content(layer: u64) -> Vec<u8> {
    layer.to_string().bytes().cycle().take(5000).collect()
}

/// Writes the blobs of an image of these layers, its manifest last, and commits nothing.
fn write(store: &Store, layers: &[u64]) -> Vec<Lease> {
    let blobs = store.images().blobs();
    let mut leases: Vec<_> = layers.iter().map(|layer| blobs.put(&content(*layer)).unwrap()).collect();
    let describe = |media: &str, lease: &Lease| Descriptor::new(media, lease.digest(), lease.size());
    let layers: Vec<_> =
        leases.iter().map(|it| describe("application/vnd.oci.image.layer.v1.tar", it)).collect();
    let config = blobs.put(b"{}").unwrap();
    let manifest =
        serde_json::json!({"schemaVersion": 2, "config": describe(CONFIG, &config), "layers": layers});
    leases.push(config);
    leases.push(blobs.put(manifest.to_string().as_bytes()).unwrap());
    leases
}

fn commit(store: &Store, key: &Key, leases: &[Lease]) -> storekit::Result<()> {
    let manifest = leases.last().unwrap();
    let entry = Entry::new(Descriptor::new(MANIFEST, manifest.digest(), manifest.size()), Timestamp::now());
    store.images().commit(key, &entry, None, leases, Overwrite::Yes).map(drop)
}

fn key(number: u64) -> Key {
    format!("k{number}").parse().unwrap()
}

fn images(most: u64) -> Limits {
    Limits { max_images: Some(most), trash_grace: Some(Age(Duration::ZERO)), ..limits() }
}

/// None of those that hold where nothing is said.
fn limits() -> Limits {
    Limits { max_size: None, min_free: None, ..Limits::default() }
}

/// Whether all that a standing entry needs is there and sound, read twice where it is not: a
/// collector may have taken both. `None`: there is no such entry.
fn is_whole(store: &Store, key: &Key) -> Option<bool> {
    for _ in 0..100 {
        let entry = store.images().get(key).unwrap()?;
        let reach = store.images().walker().reach(&entry.descriptor).unwrap();
        let mut whole = reach.is_whole();
        for digest in reach.present.keys() {
            whole &= match store.images().blobs().reader(digest).unwrap() {
                Some(mut reader) => reader.read_to_end(&mut Vec::new()).is_ok(),
                None => false,
            };
        }
        if whole || store.images().get(key).unwrap().as_ref() == Some(&entry) {
            return Some(whole);
        }
    }
    panic!("{key} changes all the time");
}

/// At one moment of a sweep that takes `old`, another does something; what stands after that is
/// whole.
#[track_caller]
fn meanwhile(moment: Moment, act: impl Fn(&Store) + Sync, stays: &[u64]) {
    let (_dir, store) = store();
    for number in 0..3 {
        commit(&store, &key(number), &write(&store, &[100, number])).unwrap();
    }
    let plan: Plan = decide(&survey(&store, &Told::default()).unwrap(), &images(0));
    assert_eq!(plan.images.len(), 3);
    let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let watch = |now: Moment| {
        if now == moment {
            seen.fetch_add(1, Ordering::Relaxed);
            // As another process: what waits for a lock would show.
            thread::scope(|scope| scope.spawn(|| act(&store)).join().unwrap());
        }
    };
    sweep_watched(&store, &plan, plan.time, &stop, &watch).unwrap();
    assert_eq!(seen.into_inner(), 1);
    let standing = store.images().keys().unwrap();
    assert_eq!(standing, stays.iter().map(|number| key(*number)).collect::<Vec<_>>(), "{moment:?}");
    assert!(standing.iter().all(|key| is_whole(&store, key) == Some(true)), "{moment:?}");
    // The next run takes all else.
    let plan = decide(&survey(&store, &Told::default()).unwrap(), &images(10));
    sweep(&store, &plan, plan.time, &stop).unwrap();
    let mut needed = BTreeSet::new();
    for key in &standing {
        let entry = store.images().get(key).unwrap().unwrap();
        needed.extend(store.images().walker().reach(&entry.descriptor).unwrap().digests());
    }
    let left: BTreeSet<Digest> = store.images().blobs().list().unwrap().into_iter().collect();
    assert_eq!(left, needed, "{moment:?}");
}

const MOMENTS: [Moment; 5] =
    [Moment::Begun, Moment::PackagesGone, Moment::EntriesGone, Moment::ReadAhead, Moment::AllGone];

#[test]
fn what_is_saved_at_any_moment_of_a_sweep_is_whole() {
    for moment in MOMENTS {
        // Another image on the layers that go, and one that goes again.
        meanwhile(moment, |store| commit(store, &key(7), &write(store, &[100, 1, 55])).unwrap(), &[7]);
        let again = |store: &Store| commit(store, &key(1), &write(store, &[100, 1])).unwrap();
        // Before the entries go, it was used since the plan: it stays as well.
        meanwhile(moment, again, &[1]);
    }
}

#[test]
fn what_is_used_or_pinned_before_its_entry_goes_stays() {
    for moment in [Moment::Begun, Moment::PackagesGone] {
        meanwhile(moment, |store| assert!(store.images().pin(&key(2)).unwrap()), &[2]);
        let used = |store: &Store| {
            let path = store.root().join("images/keys/k0");
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
        };
        meanwhile(moment, used, &[0]);
    }
}

#[test]
fn another_sweep_at_any_moment_does_no_harm() {
    for moment in MOMENTS {
        let another = |store: &Store| {
            let plan = decide(&survey(store, &Told::default()).unwrap(), &images(0));
            sweep(store, &plan, plan.time, &AtomicBool::new(false)).unwrap();
            commit(store, &key(9), &write(store, &[100, 2])).unwrap();
        };
        meanwhile(moment, another, &[9]);
    }
}

/// Numbers that look random (Knuth's constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Default)]
struct Counts {
    saves: AtomicU64,
    reads: AtomicU64,
    sweeps: AtomicU64,
    removed: AtomicU64,
    undone: AtomicU64,
    waits: AtomicU64,
}

/// What one worker does again and again.
type Work = fn(&Store, &mut Random, &Counts);

fn count(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// So many images are pinned, and never go.
const PINNED: u64 = 4;
const KEYS: u64 = 60;
const LAYERS: u64 = 40;

fn writer(store: &Store, random: &mut Random, counts: &Counts) {
    let number = PINNED + random.below(KEYS);
    let layers = [random.below(LAYERS), random.below(LAYERS), 1000 + number];
    let leases = write(store, &layers);
    (0..random.below(200)).for_each(|_| thread::yield_now());
    for lease in &leases {
        assert!(store.images().blobs().contains(&lease.digest()), "a leased blob has gone");
    }
    match commit(store, &key(number), &leases) {
        Err(storekit::Error::Locked { .. }) => count(&counts.waits, 1),
        committed => committed.unwrap(),
    }
    for lease in &leases {
        assert!(store.images().blobs().contains(&lease.digest()), "a leased blob has gone");
    }
    count(&counts.saves, 1);
}

fn reader(store: &Store, random: &mut Random, counts: &Counts) {
    let number = random.below(PINNED + KEYS);
    let whole = is_whole(store, &key(number));
    assert_ne!(whole, Some(false), "k{number} lacks a blob");
    assert!(number >= PINNED || whole == Some(true), "k{number} was pinned, and is gone");
    count(&counts.reads, 1);
}

fn collector(store: &Store, random: &mut Random, counts: &Counts) {
    let grace = Duration::from_secs(3600 * random.below(2));
    let limits = Limits { trash_grace: Some(Age(grace)), ..images(random.below(KEYS)) };
    let plan = decide(&survey(store, &Told::default()).unwrap(), &limits);
    match sweep(store, &plan, plan.time, &AtomicBool::new(false)) {
        Err(gcctl::Error::Store(storekit::Error::Locked { .. })) => {
            count(&counts.waits, 1);
        }
        swept => {
            let swept = swept.unwrap();
            assert!(swept.kept.iter().all(|kept| kept.reason != Reason::SubjectStays));
            count(&counts.removed, swept.images.len() as u64);
        }
    }
    count(&counts.sweeps, 1);
    if random.below(4) == 0
        && let Some(batch) = store.trash().batches().unwrap().last()
    {
        match store.images().undo(batch) {
            Err(storekit::Error::Locked { .. }) => count(&counts.waits, 1),
            // Another collector may have emptied it meanwhile.
            undone => {
                count(&counts.undone, undone.unwrap_or_default().len() as u64);
            }
        }
    }
}

#[test]
fn nothing_that_stands_lacks_anything_while_all_are_at_it() {
    let seconds = std::env::var("LARDER_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let (_dir, store) = store();
    for number in 0..PINNED {
        store.images().pin(&key(number)).unwrap();
        commit(&store, &key(number), &write(&store, &[number, number + 1])).unwrap();
    }
    let (counts, end) = (Counts::default(), Instant::now() + Duration::from_secs(seconds.unwrap_or(10)));
    let works: [(u64, Work); 3] = [(16, writer), (8, reader), (4, collector)];
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (place, (number, work)) in works.into_iter().enumerate() {
            for worker in 0..number {
                let (store, counts, failed) = (&store, &counts, &failed);
                workers.push(scope.spawn(move || {
                    let mut random = Random(place as u64 * 1000 + worker);
                    while Instant::now() < end && !failed.load(Ordering::Relaxed) {
                        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            work(store, &mut random, counts);
                        }));
                        if let Err(cause) = done {
                            failed.store(true, Ordering::Relaxed);
                            std::panic::resume_unwind(cause);
                        }
                    }
                }));
            }
        }
        for worker in workers {
            worker.join().unwrap();
        }
    });
    for key in store.images().keys().unwrap() {
        assert_ne!(is_whole(&store, &key), Some(false), "{key}");
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let Counts { saves, reads, sweeps, removed, undone, waits } = &counts;
    eprintln!(
        "{} saves, {} reads, {} sweeps of {} images, {} brought back, {} gave up waiting: 0 lacking, 0 live",
        of(saves),
        of(reads),
        of(sweeps),
        of(removed),
        of(undone),
        of(waits)
    );
    assert!(of(saves) > 0 && of(reads) > 0 && of(sweeps) > 0 && of(removed) > 0);
}
