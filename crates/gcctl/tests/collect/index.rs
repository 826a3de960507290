//! A plan is the same with an index of the packages, whatever that says, as without one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use storekit::{Digest, Error, FoundPackage, PackageEntry, PackageKey};

use crate::packages::response;
use crate::scratch::Scratch;

/// As many entries as it takes for an index, and some more.
const MANY: u64 = 1200;

/// Numbers that look random, and are the same in each run (Knuth's constants).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl Scratch {
    fn index(&self) -> Utf8PathBuf {
        self.root.join(".packages")
    }

    fn put(&self, number: u64, random: &mut Random) {
        let packages = self.store.packages();
        let key = PackageKey::new("npm", "files.example", format!("https://files.example/{number}"), None);
        let mut entry = PackageEntry::new(key);
        for _ in 0..=random.below(2) {
            // A few are not there, and a few have several names.
            let text = format!("body {}", random.below(300));
            let digest = Digest::of(text.as_bytes());
            if random.below(20) > 0 {
                fs::write(packages.blobs().path(&digest), text.as_bytes()).unwrap();
            }
            entry.responses.push(response(digest, text.len() as u64));
        }
        let path = packages.path(&entry.key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a server does.
        let staged = path.with_file_name(format!(".tmp-{number}"));
        fs::write(&staged, entry.to_text()).unwrap();
        let used = SystemTime::now() - Duration::from_secs(60 * random.below(10_000));
        fs::File::options().append(true).open(&staged).unwrap().set_modified(used).unwrap();
        fs::rename(staged, path).unwrap();
    }

    fn many(seed: u64) -> (Self, Random) {
        let scratch = Self::new();
        let mut random = Random(seed);
        scratch.store.packages().prepare().unwrap();
        (0..MANY).for_each(|number| scratch.put(number, &mut random));
        (scratch, random)
    }

    fn entries(&self) -> Vec<Utf8PathBuf> {
        let mut paths = Vec::new();
        let mut note = |found: FoundPackage| {
            paths.push(found.path);
            Ok(())
        };
        self.store.packages().each::<Error>(&mut note).unwrap();
        paths
    }

    /// The plan, without when it was made and how much the disk has free.
    fn planned(&self, limits: &str) -> Vec<String> {
        let plan = self.run(&format!("plan --json {limits}")).ends(0).stdout();
        let shown = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["time"].take();
            line["free"].take();
            line.to_string()
        };
        plan.lines().map(shown).collect()
    }

    /// Compares with the plan without an index, and leaves the one that stood there.
    fn is_the_same_without(&self, limits: &str) {
        let with = self.planned(limits);
        let (index, aside) = (self.index(), self.root.join("aside"));
        let is_there = fs::rename(&index, &aside).is_ok();
        assert_eq!(self.planned(limits), with, "{limits}");
        if is_there {
            fs::rename(aside, index).unwrap();
        }
    }
}

const LIMITS: [&str; 3] = ["--packages-max-age 3d", "--packages-max-size 1MB", "--max-size 2MB"];

#[test]
fn a_plan_is_the_same_with_an_index_as_without() {
    for seed in 0..4 {
        let (scratch, mut random) = Scratch::many(seed);
        scratch.run("df").ends(0);
        for round in 0..6 {
            for path in scratch.entries() {
                match random.below(60) {
                    0 => fs::remove_file(path).unwrap(),
                    1 => fs::write(path, "damaged").unwrap(),
                    2 => fs::hard_link(&path, path.with_extension(format!("{round}"))).unwrap(),
                    3..10 => fs::File::options()
                        .append(true)
                        .open(path)
                        .unwrap()
                        .set_modified(SystemTime::now())
                        .unwrap(),
                    _ => {}
                }
            }
            (0..random.below(100)).for_each(|_| {
                let number = random.below(2 * MANY);
                scratch.put(number, &mut random);
            });
            if let Ok(mut bytes) = fs::read(scratch.index()) {
                let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
                match random.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10),
                    2 => bytes[11] = b'9',
                    _ => {}
                }
                fs::write(scratch.index(), bytes).unwrap();
            }
            scratch.is_the_same_without(LIMITS[round % LIMITS.len()]);
        }
        scratch.run("run --packages-max-age 3d").ends(0);
        let again = scratch.planned("--packages-max-age 3d");
        assert!(again.iter().all(|line| !line.contains("\"kind\":\"package\"")), "{seed}: {again:?}");
    }
}

#[test]
fn an_index_is_there_where_it_is_worth_it_and_its_size_is_on_the_books() {
    let (scratch, _) = Scratch::many(1);
    assert!(!scratch.index().exists());
    let df = scratch.json("df --json");
    assert!(scratch.index().exists());
    assert_eq!(df["total"], scratch.du());
    scratch.store_packages(&["npm one 1 a"]);
    let before = fs::metadata(scratch.index()).unwrap().modified().unwrap();
    assert_eq!(scratch.json("df --json")["total"], scratch.du());
    assert_eq!(
        fs::metadata(scratch.index()).unwrap().modified().unwrap(),
        before,
        "one entry is not worth it"
    );
}

/// A body that an entry names which the index does not know stays, and so does one of an entry that
/// the index knows otherwise.
#[test]
fn no_body_goes_that_an_entry_names_which_the_index_does_not_know() {
    let (scratch, mut random) = Scratch::many(2);
    let plan = scratch.run("plan --json --packages-max-age 1h").ends(0).stdout();
    assert!(scratch.index().exists());
    // Both name bodies of others that go.
    for number in [5, MANY + 5] {
        scratch.put(number, &mut random);
        let key = PackageKey::new("npm", "files.example", format!("https://files.example/{number}"), None);
        scratch.store.packages().touch(&key);
    }
    let named: Vec<_> = [5, MANY + 5]
        .into_iter()
        .flat_map(|number| {
            let key =
                PackageKey::new("npm", "files.example", format!("https://files.example/{number}"), None);
            scratch.store.packages().get(&key).unwrap().unwrap().bodies()
        })
        .filter(|body| scratch.store.packages().blobs().contains(body))
        .collect();
    scratch.feed("apply --force", &plan).ends(0);
    assert!(!named.is_empty());
    for body in named {
        assert!(scratch.store.packages().blobs().contains(&body), "{body}");
    }
}

#[test]
fn a_server_may_store_while_plans_are_made() {
    let (scratch, _) = Scratch::many(3);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(9);
            while !done.load(Ordering::Relaxed) {
                let number = random.below(2 * MANY);
                scratch.put(number, &mut random);
            }
        });
        for limits in LIMITS.iter().cycle().take(9) {
            scratch.planned(limits);
        }
        done.store(true, Ordering::Relaxed);
    });
    for limits in LIMITS {
        scratch.is_the_same_without(limits);
    }
}

#[test]
fn where_no_index_can_be_written_the_plan_is_the_same() {
    let (scratch, _) = Scratch::many(4);
    let without: Vec<_> = LIMITS.iter().map(|limits| scratch.planned(limits)).collect();
    fs::remove_file(scratch.index()).unwrap();
    // A folder in its place cannot be replaced, whoever asks.
    fs::create_dir(scratch.index()).unwrap();
    assert_eq!(LIMITS.map(|limits| scratch.planned(limits)).to_vec(), without);
}
