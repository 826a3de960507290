//! What goes, decided from snapshots that are written down here.

#![allow(
    clippy::unwrap_used,
    clippy::similar_names,
    reason = "tests may panic, and `used` and `uses` are what they are"
)]

use std::collections::BTreeMap;

use gcctl::Limits;
use gcctl::limits::{Part, Why};
use gcctl::plan::{self, Clean, Holds, Left, Plan};
use gcctl::snapshot::{Image, Removed, Snapshot};
use jiff::{SignedDuration, Timestamp};
use storekit::{Digest, Origin};
use toolkit::tables::Limit;

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A blob called `NAME:BYTES`.
fn blob(text: &str) -> (Digest, u64) {
    let (name, bytes) = text.split_once(':').unwrap();
    (digest(name), bytes.parse().unwrap())
}

/// `"a 48 3 base:100 a1:10"`: the key, idle hours, uses, blobs. A `!` after the key pins it;
/// `@app:1` is a name, `>a` says that it refers to the blob `a`.
fn image(text: &str) -> (Image, Vec<(Digest, u64)>) {
    let mut words = text.split(' ');
    let key = words.next().unwrap();
    let used = hours(words.next().unwrap().parse().unwrap());
    let uses = words.next().unwrap().parse().unwrap();
    let (mut names, mut subject, mut blobs) = (Vec::new(), None, Vec::new());
    for word in words {
        match word.split_at(1) {
            ("@", name) => names.push(name.to_owned()),
            (">", referred) => subject = Some(digest(referred)),
            _ => blobs.push(blob(word)),
        }
    }
    let image = Image {
        origin: Origin::default(),
        key: key.trim_end_matches('!').parse().unwrap(),
        digest: digest(key),
        names,
        saved: hours(5000),
        used,
        uses,
        build_seconds: None,
        is_disk: key.starts_with("disk"),
        pinned: key.ends_with('!'),
        subject,
        incomplete: false,
        unknown: false,
        unfetched: false,
        blobs: blobs.iter().map(|(digest, _)| *digest).collect(),
        files: 1,
    };
    (image, blobs)
}

fn store(images: &[&str]) -> Snapshot {
    let (images, blobs): (Vec<_>, Vec<_>) = images.iter().copied().map(image).unzip();
    let blobs: BTreeMap<_, _> = blobs.into_iter().flatten().collect();
    Snapshot { now: now(), images, blobs, free: 1000, other: 7, ..Snapshot::default() }
}

fn limits(text: &str) -> Limits {
    let mut limits = Limits::default();
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        match name {
            "images" => limits.max_images = Some(value.parse().unwrap()),
            "size" => limits.max_size = Some(value.parse().unwrap()),
            "age" => limits.max_age = Some(value.parse().unwrap()),
            "free" => limits.min_free = Some(value.parse().unwrap()),
            "disks" => limits.max_disks = Some(value.parse().unwrap()),
            "each" => limits.max_per_image = Some(value.parse().unwrap()),
            "last" => limits.keep_last = Some(value.parse().unwrap()),
            "psize" => limits.packages_max_size = Some(value.parse().unwrap()),
            "page" => limits.packages_max_age = Some(value.parse().unwrap()),
            "high" => limits.high = Some(value.parse().unwrap()),
            "low" => limits.low = Some(value.parse().unwrap()),
            "reserved" => limits.reserved = Some(value.parse().unwrap()),
            "order" => limits.order = value.parse().unwrap(),
            "default-free" => {
                limits.min_free = Some(value.parse().unwrap());
                limits.min_free_by_default = true;
            }
            "of" => limits.scoped.push(value.replace(':', "=").parse::<Limit>().unwrap().into()),
            "grace" => limits.trash_grace = Some(value.parse().unwrap()),
            _ => panic!("{name}"),
        }
    }
    limits
}

fn gone(plan: &Plan) -> String {
    plan.images.iter().map(|image| image.key.as_str()).collect::<Vec<_>>().join(" ")
}

/// Which images go, in order; and the limits that are not met.
#[track_caller]
fn check(images: &[&str], limit: &str, expected: &str, unmet: &[Why]) {
    let plan = plan::decide(&store(images), &limits(limit));
    assert_eq!(gone(&plan), expected, "{limit}");
    assert_eq!(plan.unmet.iter().map(|it| it.why).collect::<Vec<_>>(), unmet, "{limit}");
}

const THREE: [&str; 3] = ["a 10 0 base:100 a1:10", "b 20 0 base:100 b1:20", "c 30 0 base:100 c1:30"];

#[test]
fn without_limits_no_image_goes() {
    check(&THREE, "", "", &[]);
    check(&[], "images=0 size=0 age=0s", "", &[]);
}

#[test]
fn the_count_takes_the_least_recently_used_first() {
    check(&THREE, "images=3", "", &[]);
    check(&THREE, "images=2", "c", &[]);
    check(&THREE, "images=0", "c b a", &[]);
}

#[test]
fn the_least_often_used_goes_before_one_that_is_as_old() {
    check(&["a 10 0 x:1", "b 10 3 x:1", "c 10 1 x:1"], "images=0", "a c b", &[]);
    // However often it was used before.
    check(&["a 10 0 x:1", "b 11 1000 x:1"], "images=1", "b", &[]);
    // What was just saved has no uses, and stays all the same.
    check(&["new 0 0 x:1", "b 1 1000 x:1"], "images=1", "b", &[]);
}

#[test]
fn for_bytes_what_frees_nothing_stays_or_goes_with_what_needs_the_same() {
    check(&["a 30 0 x:100", "b! 5 0 x:100", "c 10 0 x:100 c:10"], "size=110", "c", &[]);
    check(&["a 30 0 x:100", "b! 5 0 x:100"], "size=100", "", &[Why::MaxSize]);
    check(&["a 30 0 x:100", "b 20 0 x:100", "c 10 0 c:10"], "size=105", "a b", &[]);
}

#[test]
fn ties_go_by_key() {
    check(&["b 10 0 x:1", "a 10 0 x:1", "c 10 0 x:1"], "images=1", "a b", &[]);
}

#[test]
fn a_stamp_from_the_future_counts_as_now() {
    check(&["a -5 0 x:1", "b 1 0 x:1"], "images=1", "b", &[]);
    check(&["a -5 0 x:1"], "age=1h", "", &[]);
}

#[test]
fn the_age_takes_all_that_are_older() {
    check(&THREE, "age=20h", "c", &[]);
    check(&THREE, "age=15h", "c b", &[]);
    check(&["a 100 9999 x:1"], "age=20h", "a", &[]);
}

#[test]
fn the_size_counts_shared_layers_once() {
    // 100 + 10 + 20 + 30 + three key files.
    check(&THREE, "size=163", "", &[]);
    check(&THREE, "size=162", "c", &[]);
    check(&THREE, "size=132", "c", &[]);
    check(&THREE, "size=131", "c b", &[]);
    check(&THREE, "size=111", "c b", &[]);
    check(&THREE, "size=110", "c b a", &[]);
}

#[test]
fn the_free_space_takes_what_is_lacking() {
    check(&THREE, "free=1000", "", &[]);
    check(&THREE, "free=1031", "c", &[]);
    check(&THREE, "free=1032", "c b", &[]);
    check(&THREE, "free=1163", "c b a", &[]);
}

const NAMED: [&str; 5] = [
    "new 10 0 @app:1 base:100 a1:10",
    "old 20 0 @app:1 base:100 b1:20",
    "both 5 0 @app:1 @app:2 base:100 d1:10",
    "tool 30 0 @tool:1 base:100 c1:30",
    "bare 40 0 base:100 e1:5",
];

#[test]
fn a_limit_that_cannot_be_met_takes_only_what_is_not_the_newest_of_a_name() {
    // Everything is 175 and five key files.
    check(&NAMED, "size=0", "bare tool old new both", &[]);
    // Free space takes the newest of no name, though the store has it.
    check(&NAMED, "free=1038", "bare old new", &[]);
    check(&NAMED, "free=1039", "bare old new", &[Why::MinFree]);
    check(&NAMED, "free=1180", "bare old new", &[Why::MinFree]);
    check(&NAMED, "free=1180 reserved=0", "bare tool old new both", &[]);
    check(&NAMED, "free=1181", "bare old new", &[Why::MinFree]);
    check(&NAMED, "free=18EB", "bare old new", &[Why::MinFree]);
    check(&["a! 1 0 x:100", "b 2 0 @b:1 x:100 b1:5"], "size=50", "", &[Why::MaxSize]);
    check(&["a! 1 0 @b:1 x:100", "b 2 0 @b:1 x:100 b1:5"], "size=50", "b", &[Why::MaxSize]);
    // What has no name is the newest of none.
    check(&THREE, "free=1164", "c b a", &[Why::MinFree]);
    check(&["a! 1 0 x:100", "b 2 0 x:100 b1:5", "c 3 0 x:100 c1:5"], "size=50", "c b", &[Why::MaxSize]);
}

#[test]
fn tags_are_of_one_name() {
    let tags = ["a 1 0 @app:1 a1:9", "b 2 0 @app:2 b1:9", "c 3 0 @host:5000/app:1 c1:9"];
    check(&tags, "each=1", "b", &[]);
    check(&tags, "images=0 last=1", "b", &[Why::MaxImages]);
    check(&tags, "free=18EB", "b", &[Why::MinFree]);
    check(&tags, "of=kind:images,name:app,max-entries:1", "b", &[]);
}

#[test]
fn a_limit_that_can_be_met_is_met_beside_one_that_cannot() {
    check(&NAMED, "size=170 free=18EB", "bare tool old new", &[Why::MinFree]);
    check(&NAMED, "images=3 free=18EB", "bare tool old new", &[Why::MinFree]);
}

#[test]
fn what_keeps_the_rest_is_told_apart() {
    let images = ["a! 1 0 x:100", "b 2 0 @b:1 x:100 b1:5", "c 3 0 @b:1 x:100 c1:5"];
    let holds = |limit: &str, why| {
        let plan = plan::decide(&store(&images), &limits(limit));
        assert_eq!(plan.rest.bytes, plan.left.bytes);
        let Holds { pinned, last, newest, .. } = plan.rest.holds[&why];
        (plan.rest.images, pinned, last, newest)
    };
    assert_eq!(holds("free=18EB", Why::MinFree), (2, 1, 0, 1));
    assert_eq!(holds("size=50", Why::MaxSize), (2, 1, 0, 1));
    assert_eq!(holds("images=0 last=1", Why::MaxImages), (2, 1, 1, 0));
    assert_eq!(holds("each=0 last=2", Why::MaxPerImage), (3, 0, 2, 0));
    // Only what the limit is about.
    let of = Why::Limit(0, Part::Entries);
    assert_eq!(holds("last=1 of=kind:images,name:b,max-entries:0", of), (2, 0, 1, 0));
}

#[track_caller]
fn objection(images: &[&str], limit: &str, lost: Option<(u64, u64)>) {
    let found = plan::decide(&store(images), &limits(limit)).objection();
    assert_eq!(found.map(|it| (it.images.lost, it.images.of)), lost, "{limit}");
}

/// What goes although a limit is held back, and which those are.
#[track_caller]
fn guarded(images: &[&str], limit: &str, goes: &str, held: &[Why], shred: bool) {
    let (plan, found) = plan::decide(&store(images), &limits(limit)).guarded();
    let found: Vec<_> = found.iter().map(|it| it.why).collect();
    assert_eq!((gone(&plan).as_str(), found.as_slice(), plan.shred), (goes, held, shred), "{limit}");
}

#[test]
fn what_other_limits_ask_for_goes_though_one_is_held_back() {
    guarded(&THREE, "size=162B", "c", &[], true);
    guarded(&THREE, "size=131B", "", &[Why::MaxSize], false);
    // It alone left no room in the trash.
    guarded(&THREE, "images=2 size=110B", "c", &[Why::MaxSize], false);
    guarded(&THREE, "images=1 size=150B", "c b", &[Why::MaxSize], false);
    guarded(&THREE, "images=2 size=1000 free=18EB", "c", &[Why::MaxSize, Why::MinFree], false);
    guarded(
        &THREE,
        "size=1000 of=kind:images,max-size:10",
        "",
        &[Why::MaxSize, Why::Limit(0, Part::Size)],
        false,
    );
    guarded(&SIGNED, "images=3 size=1B", "", &[Why::MaxSize], false);
    guarded(&THREE, "images=2 free=1163B grace=0s", "c", &[Why::MinFree], true);
    // The tightest is held back first: what a looser one takes by itself may be little.
    guarded(&THREE, "size=162B free=1163B", "c", &[Why::MinFree], false);
}

#[test]
fn a_limit_of_bytes_that_takes_most_is_objected_to() {
    objection(&THREE, "size=162B", None);
    objection(&THREE, "size=131B", Some((2, 3)));
    objection(&THREE, "size=110B", Some((3, 3)));
    objection(&THREE, "free=1163B", Some((3, 3)));
    objection(&["a 1 0 x:1", "b 2 0 x:1 y:1"], "size=2B", None);
    // What goes for another limit is deleted at once, too, where bytes leave no room in the trash.
    objection(&THREE, "images=1 size=150B", Some((2, 3)));
    objection(&THREE, "images=1", None);
    objection(&THREE, "images=2 grace=0s", None);
    objection(&THREE, "images=0 age=1s grace=0s", Some((3, 3)));
    objection(&THREE, "images=1 size=162B grace=0s", Some((2, 3)));
}

#[test]
fn a_small_limit_without_a_unit_is_objected_to_whatever_it_takes() {
    objection(&THREE, "size=10", Some((3, 3)));
    objection(&THREE, "size=163", Some((0, 3)));
    objection(&APPS, "of=kind:images,max-size:10", Some((3, 5)));
    objection(&[], "free=10", Some((0, 0)));
    objection(&THREE, "free=0", None);
    objection(&THREE, "size=1000000", None);
}

const SIGNED: [&str; 6] = [
    "a 10 0 base:100 a1:10",
    "sa 90 0 >a1 sa1:5",
    "tsa 99 0 >sa1 t1:5",
    "c 30 0 base:100 c1:10",
    "sc 1 0 >c1 sc1:5",
    "alone 50 0 >gone l1:5",
];

#[test]
fn what_refers_to_an_image_lives_and_dies_with_it() {
    check(&SIGNED, "images=3", "", &[]);
    check(&SIGNED, "images=2", "alone", &[]);
    check(&SIGNED, "images=1", "alone c sc", &[]);
    check(&SIGNED, "images=0", "alone c sc a sa tsa", &[]);
    check(&SIGNED, "age=20h", "alone c sc", &[]);
    let plan = plan::decide(&store(&SIGNED), &limits("images=0"));
    assert_eq!((plan.going(), plan.left.images), (3, 0));
    let reasons: Vec<_> = plan.images.iter().map(|it| (it.why, it.subject)).collect();
    assert_eq!(reasons[2], (Why::Subject, Some(digest("c1"))));
    assert_eq!(reasons[0], (Why::MaxImages, None));
}

#[test]
fn a_pinned_referrer_keeps_its_image() {
    check(&["a 10 0 a1:10", "s 9 0 >a1 s1:5", "t! 9 0 >s1 t1:5"], "images=0", "", &[Why::MaxImages]);
}

#[test]
fn a_referrer_stays_with_the_last_entry_that_holds_its_image() {
    let images = ["a 10 0 a1:10", "b 20 0 a1:10 b1:5", "s 99 0 >a1 s1:5"];
    check(&images, "images=1", "b", &[]);
    check(&images, "images=0", "b a s", &[]);
}

#[test]
fn limits_add_up() {
    check(&THREE, "age=25h images=2", "c", &[]);
    check(&THREE, "age=25h images=1", "c b", &[]);
    check(&THREE, "images=2 size=111", "c b", &[]);
    check(&THREE, "size=162 free=1032", "c b", &[]);
}

#[test]
fn a_pin_never_goes_and_the_limit_that_it_breaks_is_named() {
    let pinned = ["a! 30 0 base:100 a1:10", "b! 20 0 base:100 b1:20", "c 10 0 base:100 c1:30"];
    check(&pinned, "images=2", "c", &[]);
    check(&pinned, "images=1", "c", &[Why::MaxImages]);
    check(&pinned, "size=50", "c", &[Why::MaxSize]);
    check(&pinned, "age=1h", "c", &[]);
}

#[test]
fn each_line_says_what_it_frees_and_the_lines_add_up() {
    let plan = plan::decide(&store(&THREE), &limits("images=0"));
    let bytes: Vec<_> = plan.images.iter().map(|image| image.bytes).collect();
    assert_eq!(bytes, [31, 21, 111]);
    assert_eq!(plan.bytes(), 163);
    assert_eq!(plan.images[0].blobs, [digest("c1")]);
}

#[test]
fn what_no_image_needs_goes_without_any_limit() {
    let mut snapshot = store(&THREE);
    snapshot.blobs.insert(digest("idle"), 5);
    snapshot.blobs.insert(digest("foreign"), 6);
    snapshot.foreign.insert(digest("foreign"));
    snapshot.unfinished = 9;
    snapshot.abandoned = 4;
    let plan = plan::decide(&snapshot, &Limits::default());
    assert_eq!(plan.blobs.iter().map(|it| (it.digest, it.bytes)).collect::<Vec<_>>(), [(digest("idle"), 5)]);
    assert_eq!(plan.abandoned, 4);
    // 163 + 6 + the 5 of a living writer + 5 in the trash.
    assert_eq!(plan.left, Left { images: 3, bytes: 179, free: 1004, ..plan.left });
}

#[test]
fn a_blob_of_another_tool_outlives_our_image() {
    let mut snapshot = store(&THREE);
    snapshot.foreign.insert(digest("base"));
    let plan = plan::decide(&snapshot, &limits("images=0"));
    assert!(plan.images.iter().all(|image| !image.blobs.contains(&digest("base"))));
}

fn with_trash(trash: &[(&str, i64, u64)]) -> Snapshot {
    let removed = |(name, age, bytes): &(&str, i64, u64)| Removed {
        name: (*name).to_owned(),
        since: hours(*age),
        bytes: *bytes,
        folders: 0,
    };
    Snapshot { trash: trash.iter().map(removed).collect(), ..store(&THREE) }
}

#[track_caller]
fn trash(limit: &str, emptied: &[(&str, Why)], shred: bool) {
    let plan = plan::decide(&with_trash(&[("1", 30, 50), ("2", 2, 40)]), &limits(limit));
    let names: Vec<_> = plan.trash.iter().map(|it| (it.name.as_str(), it.why)).collect();
    assert_eq!((names.as_slice(), plan.shred), (emptied, shred), "{limit}");
}

#[test]
fn the_trash_goes_after_its_grace_or_when_bytes_need_it() {
    trash("", &[("1", Why::TrashGrace)], false);
    trash("grace=31h", &[], false);
    trash("grace=1h", &[("1", Why::TrashGrace), ("2", Why::TrashGrace)], false);
    trash("grace=31h size=253", &[], false);
    trash("grace=31h size=252", &[("1", Why::MaxSize)], false);
    trash("grace=31h size=163", &[("1", Why::MaxSize), ("2", Why::MaxSize)], false);
    trash("grace=31h size=162", &[("1", Why::MaxSize), ("2", Why::MaxSize)], true);
    trash("grace=31h images=2", &[], false);
    trash("grace=0s", &[("1", Why::TrashGrace), ("2", Why::TrashGrace)], true);
    trash("grace=31h free=1050", &[("1", Why::MinFree)], false);
}

#[test]
fn what_moves_to_the_trash_still_counts() {
    let plan = plan::decide(&store(&THREE), &limits("images=2"));
    assert_eq!(plan.left, Left { images: 2, bytes: 163, free: 1000, ..plan.left });
    let plan = plan::decide(&store(&THREE), &limits("images=2 size=150"));
    assert_eq!((plan.shred, plan.left), (true, Left { images: 2, bytes: 132, free: 1031, ..plan.left }));
}

#[test]
fn nothing_goes_below_the_high_mark_and_then_down_to_the_low_one() {
    // 163 in all.
    check(&THREE, "size=163 high=163 low=100", "", &[]);
    check(&THREE, "size=1000 high=162 low=140", "c", &[]);
    check(&THREE, "high=162", "c", &[]);
    check(&THREE, "high=162 low=120", "c b", &[]);
    check(&THREE, "size=162 low=100%", "c", &[]);
    check(&THREE, "size=200 high=80% low=60%", "c b", &[]);
    check(&THREE, "size=200 high=82% low=60%", "", &[]);
}

#[test]
fn what_is_reserved_is_collected_by_no_limit_of_bytes() {
    check(&THREE, "size=100 reserved=132", "c", &[Why::MaxSize]);
    check(&THREE, "size=100 reserved=163", "", &[Why::MaxSize]);
    // The last would leave nothing.
    check(&THREE, "size=100 reserved=5", "c b", &[Why::MaxSize]);
    check(&THREE, "size=100 reserved=0", "c b a", &[]);
    // What would leave less than is reserved stays, and another goes in its place.
    check(&THREE, "free=1100 reserved=120", "c a", &[Why::MinFree]);
    check(&THREE, "size=100 reserved=133", "b", &[Why::MaxSize]);
    check(&SIGNED, "size=60 reserved=123", "alone c sc", &[Why::MaxSize]);
    check(&SIGNED, "size=60 reserved=124", "alone", &[Why::MaxSize]);
    let plan = plan::decide(&store(&THREE), &limits("size=100 reserved=133"));
    assert_eq!(plan.rest.holds[&Why::MaxSize].reserved, Some(133));
    check(&THREE, "images=0 reserved=163", "c b a", &[]);
}

#[test]
fn a_free_space_that_nobody_asked_for_takes_no_image() {
    check(&THREE, "default-free=1100", "", &[]);
    trash("grace=31h default-free=1050", &[("1", Why::MinFree)], false);
    trash("grace=31h default-free=2000 images=0", &[("1", Why::MinFree), ("2", Why::MinFree)], false);
}

const APPS: [&str; 5] = [
    "app-1 10 0 @app:1 base:100 a1:10",
    "app-2 20 0 @app:2 base:100 a2:20",
    "web-1 30 0 @web:1 base:100 w1:30",
    "disk-1 40 0 d1:40",
    "disk-2 50 0 d2:50",
];

/// A limit of some things: `:` for `=`.
#[test]
fn a_limit_of_some_things_takes_only_those() {
    check(&APPS, "of=kind:images,max-entries:2", "web-1", &[]);
    check(&APPS, "of=kind:disks,max-entries:1", "disk-2", &[]);
    check(&APPS, "of=kind:images,name:app-*,max-entries:1", "app-2", &[]);
    check(&APPS, "of=kind:images,name:app?2,max-entries:0", "app-2", &[]);
    check(&APPS, "of=kind:images,name:{app,web}-*,max-entries:0", "web-1 app-2 app-1", &[]);
    check(&APPS, "of=kind:packages,max-size:0", "", &[]);
    check(&APPS, "of=kind:disks,max-entries:1 of=kind:images,max-entries:2", "disk-2 web-1", &[]);
}

#[test]
fn the_bytes_of_some_things_are_what_they_need_together() {
    // The base once: 100 + 10 + 20 + 30, and three key files.
    check(&APPS, "of=kind:images,max-size:163", "", &[]);
    check(&APPS, "of=kind:images,max-size:162", "web-1", &[]);
    check(&APPS, "of=kind:images,name:app-*,max-size:131", "app-2", &[]);
    check(&APPS, "of=kind:disks,max-size:91", "disk-2", &[]);
    check(&["a! 1 0 x:100"], "of=kind:images,max-size:50", "", &[Why::Limit(0, Part::Size)]);
}

#[test]
fn the_last_age_that_is_about_a_thing_counts() {
    check(&APPS, "age=15h of=kind:images,name:app-*,max-age:none", "disk-2 disk-1 web-1", &[]);
    check(&APPS, "of=kind:images,max-age:15h", "web-1 app-2", &[]);
    check(
        &APPS,
        "age=35h of=kind:disks,max-age:45h of=kind:disks,name:disk-1,max-age:1h",
        "disk-2 disk-1",
        &[],
    );
    check(&APPS, "age=45h of=kind:images,name:app?*,max-age:5h", "disk-2 app-2 app-1", &[]);
    let plan = plan::decide(&store(&APPS), &limits("age=45h of=kind:images,max-age:25h"));
    assert_eq!(plan.images[1].why, Why::Limit(0, Part::Age));
}

#[test]
fn some_things_keep_the_last_of_each_name() {
    check(&APPS, "images=0 of=kind:images,keep-last:1", "disk-2 disk-1 app-2", &[Why::MaxImages]);
    check(
        &APPS,
        "images=0 of=kind:images,name:app*,keep-last:1",
        "disk-2 disk-1 web-1 app-2",
        &[Why::MaxImages],
    );
}

#[test]
fn signatures_count_with_what_they_sign() {
    let images = ["a 10 0 a1:10", "s 90 0 >a1 s1:5", "b 20 0 b1:10"];
    check(&images, "of=kind:images,max-size:28", "", &[]);
    check(&images, "of=kind:images,max-size:27", "b", &[]);
    check(&images, "of=kind:images,max-entries:0", "b a s", &[]);
}

/// With build seconds after the uses' place: `key:seconds`.
fn built(images: &[(&str, f64)]) -> Snapshot {
    let mut snapshot = store(&images.iter().map(|(image, _)| *image).collect::<Vec<_>>());
    for (image, (_, seconds)) in snapshot.images.iter_mut().zip(images) {
        image.build_seconds = Some(*seconds);
    }
    snapshot
}

#[test]
fn by_cost_that_goes_first_which_is_cheap_to_have_again_for_what_it_frees() {
    let order = |images: &[(&str, f64)]| {
        let plan = plan::decide(&built(images), &limits("images=0 order=cost"));
        assert_eq!(plan.images.iter().map(|it| it.rank.unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        gone(&plan)
    };
    // The same size: the quickest build first.
    assert_eq!(order(&[("a 10 0 x:100", 9.0), ("b 10 0 y:100", 5.0), ("c 1 0 z:100", 7.0)]), "b c a");
    // The same build: the largest first.
    assert_eq!(order(&[("a 10 0 x:50", 9.0), ("b 10 0 y:200", 9.0), ("c 1 0 z:100", 9.0)]), "b c a");
    // Uses count: the largest of them, used three times, is worth as much as one a quarter of it.
    assert_eq!(order(&[("a 10 0 x:50", 9.0), ("b 10 3 y:199", 9.0), ("c 1 0 z:100", 9.0)]), "c a b");
    // What is shared frees nothing: only its own counts.
    assert_eq!(
        order(&[("a 1 0 big:900 x:9", 9.0), ("b 1 0 big:900 y:9", 9.0), ("c 9 0 z:20", 9.0)]),
        "c a b"
    );
    // Ties: what is unused for longest.
    assert_eq!(order(&[("a 10 0 x:99", 9.0), ("b 30 0 y:99", 9.0), ("c 20 0 z:99", 9.0)]), "b c a");
}

#[test]
fn clean_takes_all_but_the_pinned() {
    let snapshot = store(&["a! 30 0 base:100", "b 20 0 base:100 b1:20"]);
    let plan = plan::clean(&snapshot, &limits("images=0 size=0"), Clean { images: true, ..Clean::default() });
    assert_eq!(gone(&plan), "b");
    assert_eq!(plan.images[0].why, Why::Clean);
    assert!(plan.unmet.is_empty() && !plan.shred);
}

#[test]
fn the_parts_add_up() {
    let mut snapshot = with_trash(&[("1", 30, 50)]);
    snapshot.blobs.insert(digest("idle"), 5);
    snapshot.unfinished = 9;
    let usage = snapshot.usage();
    assert_eq!((usage.unique, usage.shared, usage.unreferenced), (63, 100, 5));
    assert_eq!(usage.total(), 163 + 5 + 9 + 50 + 7);
}

#[test]
fn twenty_thousand_images_are_planned_in_a_blink() {
    let mut snapshot = Snapshot { now: now(), ..Snapshot::default() };
    for number in 0..20_000_u64 {
        let name = number.to_string();
        let key: storekit::Key = name.parse().unwrap();
        let own = digest(&name);
        let shared = digest(&format!("s{}", number / 10));
        snapshot.blobs.insert(own, 10);
        snapshot.blobs.insert(shared, 100);
        let (template, _) = image("a 1 0");
        let used = hours(i64::try_from(number).unwrap());
        snapshot.images.push(Image { key, used, blobs: vec![own, shared], ..template });
    }
    let begun = std::time::Instant::now();
    let plan = plan::decide(&snapshot, &limits("size=1000"));
    assert!(plan.images.len() > 19_000 && plan.unmet.is_empty());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
