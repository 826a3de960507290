//! What others do to a hub while revisions of it are removed, and what links there need.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use storekit::Age;
use toolkit::tables::ExtraKind;

use super::super::remove::{Became, Empty, Orders, Stays, remove_watched};
use super::super::{Folder, Going, choose, survey};
use super::*;

struct Hub {
    _dir: tempfile::TempDir,
    at: Utf8PathBuf,
}

impl Hub {
    /// Of revisions `REPOSITORY/COMMIT`, each with the blobs that its files link to; all unused for
    /// 50 hours.
    fn new(revisions: &[(&str, &[&str])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = Utf8PathBuf::from_path_buf(dir.path().canonicalize().unwrap()).unwrap().join("hub");
        let hub = Self { _dir: dir, at };
        for (revision, blobs) in revisions {
            hub.add(revision, blobs);
        }
        hub
    }

    fn path(&self, path: &str) -> Utf8PathBuf {
        self.at.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn age(&self, path: &str, hours: u64) {
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        let times = fs::FileTimes::new().set_accessed(time).set_modified(time);
        fs::File::open(self.path(path)).unwrap().set_times(times).unwrap();
    }

    fn add(&self, revision: &str, blobs: &[&str]) {
        let (repository, commit) = revision.split_once('/').unwrap();
        let folder = format!("models--{repository}/snapshots/{commit}");
        for name in blobs {
            let blob = format!("models--{repository}/blobs/{name}");
            if !self.has(&blob) {
                self.write(&blob, &name.repeat(5000));
                self.age(&blob, 50);
            }
            self.link(&format!("{folder}/{name}"), &format!("../../blobs/{name}"));
        }
        self.age(&folder, 50);
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    fn folder(&self) -> Folder {
        let max_age = Some(Age(Duration::from_secs(30 * 3600)));
        let (path, file) = (self.at.clone(), "/larder.toml".into());
        Folder { path, kind: ExtraKind::Hf, max_size: None, max_age, file }
    }

    fn found(&self) -> Found {
        survey(&self.folder()).unwrap()
    }

    /// What goes for its age.
    fn going(&self) -> Vec<Going> {
        choose(&self.folder(), &self.found(), Timestamp::now())
    }

    /// Removes this, while `meanwhile` happens. Returns what became of each: why it stays.
    fn remove(&self, going: &[Going], meanwhile: &dyn Fn(Moment<'_>)) -> Vec<(String, Option<Stays>)> {
        self.remove_since(Timestamp::now(), going, meanwhile)
    }

    fn remove_since(
        &self,
        since: Timestamp,
        going: &[Going],
        meanwhile: &dyn Fn(Moment<'_>),
    ) -> Vec<(String, Option<Stays>)> {
        let mut all = Vec::new();
        let (folders, stop) = ([self.folder()], AtomicBool::new(false));
        let orders = Orders { since, empty: Empty::Stays, stop: &stop };
        remove_watched(&folders, going, orders, meanwhile, |it, became| {
            let name = it.path.file_name().unwrap().to_owned();
            all.push((name, if let Became::Kept(reason) = became { Some(reason) } else { None }));
        })
        .unwrap();
        all.sort_by(|one: &(String, _), other| one.0.cmp(&other.0));
        all
    }

    #[track_caller]
    fn check(&self, meanwhile: &dyn Fn(Moment<'_>), expected: &[(&str, Option<Stays>)]) {
        let became = self.remove(&self.going(), meanwhile);
        let became: Vec<_> = became.iter().map(|(name, stays)| (name.as_str(), *stays)).collect();
        assert_eq!(became, expected);
    }

    /// All links of the revisions lead to files, and nothing is left aside.
    #[track_caller]
    fn is_sound(&self) {
        for revision in &self.scan().revisions {
            assert!(!revision.is_going(), "{} is aside", revision.path);
            for need in &revision.needs {
                assert!(self.has(need.as_str()), "{} lacks {need}", revision.path);
            }
        }
    }

    fn scan(&self) -> Scan {
        Scan::of(&Open::open(self.at.as_std_path()).unwrap().unwrap(), &self.at, &|_| {}).unwrap()
    }
}

use super::super::below::Folder as Open;

const ONE: &str = "models--a/snapshots/1";

fn before_one(moment: Moment<'_>) -> bool {
    moment == Moment::Before(Utf8Path::new(ONE))
}

#[test]
fn a_ref_that_comes_while_others_go_keeps_its_revision() {
    let hub = Hub::new(&[("a/1", &["x"]), ("a/2", &["y"]), ("b/3", &["z"])]);
    let meanwhile = |moment: Moment<'_>| {
        if before_one(moment) {
            hub.write("models--a/refs/new", "1");
            hub.write("models--b/refs/other", "9");
        }
    };
    hub.check(&meanwhile, &[("1", Some(Stays::Named)), ("2", None), ("3", None)]);
    assert!(hub.has(ONE) && hub.has("models--a/blobs/x") && hub.has("models--a/refs/new"));
    assert!(!hub.has("models--a/blobs/y") && hub.has("models--b/refs/other"));
    hub.is_sound();
}

#[test]
fn a_ref_that_comes_when_its_revision_is_aside_brings_it_back() {
    let hub = Hub::new(&[("a/1", &["x", "s"]), ("a/2", &["y", "s"])]);
    let meanwhile = |moment: Moment<'_>| {
        if moment == Moment::Aside {
            hub.write("models--a/refs/new", "1");
        }
    };
    hub.check(&meanwhile, &[("1", Some(Stays::Named)), ("2", None)]);
    assert!(hub.has(ONE) && hub.has("models--a/blobs/s") && !hub.has("models--a/blobs/y"));
    hub.is_sound();
}

#[test]
fn a_ref_that_moves_on_is_not_removed_with_what_it_named() {
    let hub = Hub::new(&[("a/1", &["x"])]);
    hub.write("models--a/refs/main", "1");
    let meanwhile = |moment: Moment<'_>| {
        if before_one(moment) {
            hub.write("models--a/refs/main", "2");
        }
    };
    hub.check(&meanwhile, &[("1", Some(Stays::Named))]);
    assert_eq!(fs::read_to_string(hub.path("models--a/refs/main")).unwrap(), "2");
    // What it names is not there, and the other goes.
    hub.check(&|_| {}, &[("1", None)]);
    assert!(hub.has("models--a/refs/main"));
}

#[test]
fn what_is_used_while_others_go_stays() {
    for used in ["models--a/blobs/x", "models--a/blobs/s", ONE] {
        let hub = Hub::new(&[("a/1", &["x", "s"]), ("a/2", &["y", "s"])]);
        let meanwhile = |moment: Moment<'_>| {
            if before_one(moment) {
                hub.age(used, 0);
            }
        };
        // Who used what both need is not known.
        let other = used.ends_with('s').then_some(Stays::Used);
        let became = hub.remove(&hub.going(), &meanwhile);
        let of = |commit: &str| became.iter().find(|it| it.0 == commit).unwrap().1;
        assert_eq!((of("1"), of("2")), (Some(Stays::Used), other), "{used}");
        assert!(hub.has(ONE) && hub.has("models--a/blobs/s"));
        hub.is_sound();
    }
}

#[test]
fn what_was_used_after_the_plan_was_made_stays() {
    let hub = Hub::new(&[("a/1", &["x", "s"]), ("a/2", &["y", "s"]), ("b/3", &["z"])]);
    hub.write("models--a/refs/main", "2");
    let (since, going) = (Timestamp::now(), hub.going());
    let blob = fs::File::open(hub.path("models--a/blobs/s")).unwrap();
    let later = SystemTime::now() + Duration::from_secs(1);
    blob.set_times(fs::FileTimes::new().set_accessed(later)).unwrap();
    let became = hub.remove_since(since, &going, &|_| {});
    let used = Some(Stays::Used);
    assert_eq!(became, [("1".to_owned(), used), ("2".to_owned(), used), ("3".to_owned(), None)]);
    // By a plan that is made afterwards, the use is one of what is named.
    hub.age("models--a/blobs/s", 0);
    hub.check(&|_| {}, &[("1", None)]);
}

#[test]
fn where_there_are_very_many_refs_not_all_are_read_for_each_revision() {
    let hub = Hub::new(&[]);
    for number in 0..200 {
        hub.add(&format!("a/{number}"), &["x"]);
        hub.write(&format!("models--a/refs/pr/{number}"), &number.to_string());
    }
    hub.add("a/kept", &["y"]);
    // One that no look before its turn shows.
    let meanwhile = |moment: Moment<'_>| {
        if moment == Moment::Before(Utf8Path::new("models--a/snapshots/kept")) {
            hub.write("models--a/refs/main", "kept");
        }
    };
    let became = hub.remove(&hub.going(), &meanwhile);
    let kept: Vec<_> = became.iter().filter(|it| it.1.is_some()).collect();
    assert_eq!(kept, [&("kept".to_owned(), Some(Stays::Named))]);
    assert!(hub.has("models--a/refs/main") && !hub.has("models--a/refs/pr/0"));
    hub.is_sound();
}

#[test]
fn a_link_in_the_place_of_the_folder_aside_stops_the_removal_before_it_begins() {
    let hub = Hub::new(&[("a/1", &["x"])]);
    hub.write("models--a/refs/main", "1");
    fs::create_dir(hub.path("elsewhere")).unwrap();
    hub.link("models--a/.larder-going", "../elsewhere");
    let (folders, stop) = ([hub.folder()], AtomicBool::new(false));
    let orders = Orders { since: Timestamp::now(), empty: Empty::Stays, stop: &stop };
    remove_watched(&folders, &hub.going(), orders, &|_| {}, |_, _| {}).unwrap_err();
    assert!(hub.has("models--a/refs/main") && hub.has(ONE));
    hub.is_sound();
}

#[test]
fn a_link_to_a_whole_folder_of_blobs_keeps_all_of_them() {
    let hub = Hub::new(&[("a/1", &["x"]), ("b/2", &["y"])]);
    hub.link("models--b/snapshots/2/all", "../../../models--a/blobs");
    hub.age("models--b/snapshots/2", 1);
    hub.check(&|_| {}, &[("1", None)]);
    assert!(hub.has("models--a/blobs/x"));
}

#[test]
fn blobs_that_others_come_to_need_stay_or_come_back() {
    for when in [Moment::Aside, Moment::BlobsAside] {
        let hub = Hub::new(&[("a/1", &["x", "y", "z"]), ("b/2", &["w"])]);
        let meanwhile = |moment: Moment<'_>| {
            if moment == when {
                hub.link("models--a/snapshots/9/x", "../../blobs/x");
                hub.link("models--c/snapshots/8/y", "../../../models--a/blobs/y");
            }
        };
        let before = hub.found().bytes;
        hub.check(&meanwhile, &[("1", None), ("2", None)]);
        for (path, is_there) in [("x", true), ("y", true), ("z", false)] {
            assert_eq!(hub.has(&format!("models--a/blobs/{path}")), is_there, "{path} {when:?}");
        }
        assert!(before > hub.found().bytes);
        hub.is_sound();
    }
}

#[test]
fn a_link_that_comes_to_lead_into_a_revision_brings_it_back() {
    let hub = Hub::new(&[("a/1", &["x"]), ("a/2", &["y"])]);
    let meanwhile = |moment: Moment<'_>| {
        if moment == Moment::Aside {
            hub.link("models--a/snapshots/9/x", "../1/x");
        }
    };
    hub.check(&meanwhile, &[("1", Some(Stays::Needed)), ("2", None)]);
    hub.is_sound();
}

#[test]
fn each_revision_is_read_so_often_however_many_go() {
    let read = |number: usize| {
        let names: Vec<_> = (0..number).map(|it| (format!("a/{it}"), format!("own{it}"))).collect();
        let hub = Hub::new(&[]);
        for (revision, own) in &names {
            hub.add(revision, &["shared", own]);
        }
        let reads = RefCell::new(0);
        let count = |moment: Moment<'_>| {
            if matches!(moment, Moment::Read(_)) {
                *reads.borrow_mut() += 1;
            }
        };
        let became = hub.remove(&hub.going(), &count);
        assert_eq!(became.iter().filter(|(_, stays)| stays.is_none()).count(), number);
        assert!(!hub.has("models--a/blobs/shared"));
        reads.into_inner()
    };
    assert_eq!(read(120), 120 * 3);
    assert_eq!(read(240), 240 * 3);
}

#[test]
fn a_ref_that_cannot_be_read_holds_all_revisions_of_its_repository() {
    type Make = fn(&Hub);
    let bad: [(&str, Make); 6] = [
        ("refs/link", |hub| hub.link("models--a/refs/link", "main")),
        ("refs/bytes", |hub| fs::write(hub.path("models--a/refs/bytes"), b"\xff\xfe").unwrap()),
        ("refs/empty", |hub| hub.write("models--a/refs/empty", "")),
        ("refs/long", |hub| hub.write("models--a/refs/long", &"1".repeat(2000))),
        ("refs/pr/1", |hub| hub.link("models--a/refs/pr/1", "/nowhere")),
        ("refs", |hub| {
            fs::rename(hub.path("models--a/refs"), hub.path("refs")).unwrap();
            hub.link("models--a/refs", "../refs");
        }),
    ];
    for (path, make) in bad {
        let hub = Hub::new(&[("a/1", &["x"]), ("a/2", &["y"]), ("b/3", &["z"])]);
        hub.write("models--a/refs/main", "2");
        let planned = hub.going();
        make(&hub);
        assert_eq!(hub.found().unread, [Utf8PathBuf::from(format!("models--a/{path}"))]);
        assert_eq!(hub.found().items.iter().filter(|item| item.is_held).count(), 2);
        // Neither by a new plan, nor by one that was made before.
        let going: Vec<_> = hub.going().into_iter().map(|it| it.path).collect();
        assert_eq!(going, ["models--b/snapshots/3"]);
        let became = hub.remove(&planned, &|_| {});
        assert_eq!(became.iter().filter(|it| it.1.is_some()).count(), 2, "{path} {became:?}");
        assert!(hub.has(ONE) && hub.has("models--a/snapshots/2") && !hub.has("models--b/snapshots/3"));
    }
}

#[test]
fn a_ref_that_becomes_unreadable_meanwhile_holds_them_too() {
    for when in [Moment::Before(Utf8Path::new(ONE)), Moment::Aside] {
        let hub = Hub::new(&[("a/1", &["x"])]);
        let meanwhile = |moment: Moment<'_>| {
            if moment == when {
                hub.write("models--a/refs/main", "");
            }
        };
        hub.check(&meanwhile, &[("1", Some(Stays::Unread))]);
        hub.is_sound();
    }
}

#[test]
fn whatever_links_need_stays_and_nothing_outside_is_touched() {
    let hub = Hub::new(&[("a/1", &["x", "y", "p", "q"]), ("a/2", &["v"]), ("b/3", &["z"]), ("b/4", &["u"])]);
    fs::write(hub.at.with_file_name("precious"), "mine").unwrap();
    // Those that stay lead to blobs of those that go: through an alias among the blobs, by their
    // whole paths, from another repository, and through a link outside.
    hub.link("models--a/blobs/alias", "x");
    symlink(hub.path("models--a/blobs"), hub.at.with_file_name("around")).unwrap();
    hub.link("models--b/snapshots/4/alias", "../../../models--a/blobs/alias");
    hub.link("models--b/snapshots/4/whole", hub.path("models--a/blobs/y").as_str());
    hub.link("models--b/snapshots/4/around", "../../../../around/p");
    // And into a revision; and something else in the hub to another one.
    hub.link("models--b/snapshots/4/other", "../3/z");
    hub.link("mine", "models--a/snapshots/2");
    // One that goes leads out, to nothing, and in a circle.
    for (name, target) in [("out", "../../../../precious"), ("gone", "../../blobs/gone"), ("self", "self")] {
        hub.link(&format!("{ONE}/{name}"), target);
    }
    hub.age(ONE, 50);
    hub.age("models--b/snapshots/4", 1);
    hub.check(&|_| {}, &[("1", None)]);
    for name in ["x", "y", "p"] {
        assert!(hub.has(&format!("models--a/blobs/{name}")), "{name}");
    }
    assert!(!hub.has("models--a/blobs/q") && !hub.has(ONE));
    assert!(hub.has("models--a/snapshots/2") && hub.has("models--b/snapshots/3"));
    assert_eq!(fs::read_to_string(hub.at.with_file_name("precious")).unwrap(), "mine");
    hub.is_sound();
}

#[test]
fn a_blob_of_another_repository_goes_with_the_last_that_needs_it() {
    let hub = Hub::new(&[("a/1", &["x"]), ("b/2", &["y"])]);
    hub.link("models--b/snapshots/2/x", "../../../models--a/blobs/x");
    hub.age("models--b/snapshots/2", 50);
    let all = hub.going();
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.path == ONE);
    let removed = |going: &[Going]| {
        let before = hub.found().bytes;
        let became = hub.remove(going, &|_| {});
        assert!(became.iter().all(|it| it.1.is_none()), "{became:?}");
        before - hub.found().bytes
    };
    assert!(removed(&first) < 5000 && hub.has("models--a/blobs/x"));
    assert!(removed(&second) > 10_000 && !hub.has("models--a/blobs/x"));
    assert!(!hub.has("models--a/.larder-going"));
    hub.is_sound();
}

#[test]
fn names_that_are_no_text_hold_what_they_need() {
    use std::os::unix::ffi::OsStrExt;
    let hub = Hub::new(&[("a/1", &["x", "y"])]);
    let odd = hub.path("models--a/snapshots").into_std_path_buf();
    let odd = odd.join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    symlink("../../blobs/x", odd.join("f")).unwrap();
    hub.check(&|_| {}, &[("1", None)]);
    assert!(hub.has("models--a/blobs/x") && !hub.has("models--a/blobs/y"));
}

#[test]
fn the_use_of_a_shared_blob_keeps_only_those_that_may_be_meant() {
    let hub = Hub::new(&[("a/1", &["x", "w"]), ("a/2", &["y", "w"]), ("a/3", &["z", "w"])]);
    let old = |hub: &Hub| -> Vec<_> {
        let going = hub.going().into_iter();
        going.map(|it| it.path.file_name().unwrap().to_owned()).collect()
    };
    hub.age("models--a/snapshots/2", 40);
    hub.age("models--a/blobs/w", 1);
    assert_eq!(old(&hub), ["1", "3"], "of those without a ref, the last that was changed");
    hub.age("models--a/blobs/z", 35);
    assert_eq!(old(&hub), ["1", "2"], "or used");
    hub.write("models--a/refs/main", "1");
    assert_eq!(old(&hub), ["2", "3"]);
    hub.write("models--a/refs/v0", "2");
    assert_eq!(old(&hub), ["3"]);
    hub.age("models--a/blobs/z", 2);
    assert!(old(&hub).is_empty());
    // To list them is no use of them.
    hub.age("models--a/blobs/z", 50);
    hub.found();
    assert_eq!(old(&hub), ["3"]);
}

#[test]
fn blobs_that_a_killed_run_left_aside_outlive_a_revision_of_the_same_name() {
    let hub = Hub::new(&[("a/1", &["x"]), ("a/2", &["s"])]);
    hub.age("models--a/snapshots/2", 1);
    let aside = "models--a/.larder-going/1/.larder-blobs";
    fs::create_dir_all(hub.path(aside)).unwrap();
    fs::rename(hub.path("models--a/blobs/s"), hub.path(aside).join("s")).unwrap();
    let going: Vec<_> = hub.going().into_iter().filter(|it| it.path == ONE).collect();
    let became = hub.remove(&going, &|_| {});
    assert_eq!(became, [("1".to_owned(), None)]);
    assert!(hub.has(&format!("{aside}/s")));
    hub.check(&|_| {}, &[("1", None)]);
    assert!(hub.has("models--a/blobs/s"));
    hub.is_sound();
}

#[test]
fn what_a_killed_run_left_goes_for_the_size_too_whatever_it_shares() {
    let hub = Hub::new(&[("a/1", &["x"]), ("a/2", &["x"]), ("a/3", &["x", "y"])]);
    hub.write("models--a/refs/main", "3");
    fs::create_dir(hub.path("models--a/.larder-going")).unwrap();
    fs::rename(hub.path(ONE), hub.path("models--a/.larder-going/1")).unwrap();
    let max_size = Some(storekit::WrittenSize { size: storekit::ByteSize(1), bare: false });
    let folder = Folder { max_age: None, max_size, ..hub.folder() };
    let going = choose(&folder, &hub.found(), Timestamp::now());
    let paths: Vec<_> = going.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["models--a/.larder-going/1"], "and none that frees nothing");
    assert_eq!(hub.remove(&going, &|_| {}), [("1".to_owned(), None)]);
    assert!(!hub.has("models--a/.larder-going") && hub.has("models--a/blobs/x"));
    hub.is_sound();
}
