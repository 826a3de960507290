//! What goes, decided from snapshots that are written down here.

#![allow(
    clippy::unwrap_used,
    clippy::similar_names,
    reason = "tests may panic, and `used` and `uses` are what they are"
)]

use std::collections::BTreeMap;

use gcctl::Limits;
use gcctl::limits::Why;
use gcctl::plan::{self, Left, Plan};
use gcctl::snapshot::{Image, Removed, Snapshot};
use jiff::{SignedDuration, Timestamp};
use storekit::Digest;

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

/// `"a 48 3 base:100 a1:10"`: the key, idle hours, uses, blobs. A `!` after the key pins it.
fn image(text: &str) -> (Image, Vec<(Digest, u64)>) {
    let mut words = text.split(' ');
    let key = words.next().unwrap();
    let used = hours(words.next().unwrap().parse().unwrap());
    let uses = words.next().unwrap().parse().unwrap();
    let blobs: Vec<_> = words.map(blob).collect();
    let image = Image {
        key: key.trim_end_matches('!').parse().unwrap(),
        digest: digest(key),
        names: Vec::new(),
        saved: hours(5000),
        used,
        uses,
        pinned: key.ends_with('!'),
        incomplete: false,
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
    // Four times as old and used three times: a third of its age is more than a quarter.
    check(&["a 10 0 x:1", "b 40 3 x:1"], "images=1", "b", &[]);
    check(&["a 10 0 x:1", "b 29 3 x:1"], "images=1", "a", &[]);
    // What was just saved has no uses, and stays all the same.
    check(&["new 0 0 x:1", "b 1 1000 x:1"], "images=1", "b", &[]);
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
    check(&THREE, "free=1164", "c b a", &[Why::MinFree]);
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
    assert_eq!(plan.left, Left { images: 3, bytes: 179, free: 1004 });
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
    assert_eq!(plan.left, Left { images: 2, bytes: 163, free: 1000 });
    let plan = plan::decide(&store(&THREE), &limits("images=2 size=150"));
    assert_eq!((plan.shred, plan.left), (true, Left { images: 2, bytes: 132, free: 1031 }));
}

#[test]
fn clean_takes_all_but_the_pinned() {
    let snapshot = store(&["a! 30 0 base:100", "b 20 0 base:100 b1:20"]);
    let plan = plan::clean(&snapshot, &limits("images=0 size=0"));
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
