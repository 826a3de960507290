//! What holds of every plan, over stores that are made up at random: images with shared blobs and
//! names, disks, referrers and pins, packages with shared bodies, trash.

#![allow(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "tests may panic, and no number here is large"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gcctl::limits::{Part, Why};
use gcctl::packages::{Package, Packages};
use gcctl::plan::{self, Plan};
use gcctl::snapshot::{Image, Removed, Snapshot};
use gcctl::{Limits, Matcher};
use jiff::{SignedDuration, Timestamp};
use storekit::{Age, ByteSize, Digest, Event, Kind, Level, Origin, PackageKey, WrittenSize};
use toolkit::amount::Amount;
use toolkit::tables::{Limit, Order};

/// A small generator (Knuth's constants): the same stores in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn hours(hours: u64) -> Timestamp {
    now() - SignedDuration::from_hours(i64::try_from(hours).unwrap())
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn image(random: &mut Random, number: u64, snapshot: &mut Snapshot) -> Image {
    let mut blobs: BTreeSet<_> = (0..random.below(4)).map(|_| format!("shared{}", random.below(8))).collect();
    if !random.one_in(3) || blobs.is_empty() {
        blobs.insert(format!("own{number}"));
    }
    // No circles: what stands in one stands for itself until the circle is broken.
    let subject = random.one_in(6).then(|| digest(&format!("own{}", random.below(number + 1))));
    let blobs: Vec<_> = blobs.iter().map(|name| digest(name)).collect();
    for blob in &blobs {
        snapshot.blobs.entry(*blob).or_insert(1 + random.below(50));
    }
    let own = digest(&format!("own{number}"));
    Image {
        key: format!("key{number}").parse().unwrap(),
        digest: own,
        names: (0..random.below(2)).map(|_| format!("app:{}", random.below(4))).collect(),
        origin: Origin {
            image: format!("i{}", random.below(3)).parse().ok().filter(|_| random.one_in(2)),
            ..Origin::default()
        },
        saved: hours(random.below(300)),
        used: hours(random.below(200)),
        uses: random.below(3),
        build_seconds: random.one_in(2).then(|| f64::from(u32::try_from(random.below(90)).unwrap())),
        is_disk: random.one_in(4),
        pinned: random.one_in(8),
        subject: subject.filter(|subject| *subject != own),
        incomplete: false,
        unknown: false,
        unfetched: false,
        blobs,
        files: 1 + random.below(3),
    }
}

fn package(random: &mut Random, number: u64, bodies: &mut BTreeMap<Digest, u64>) -> Package {
    let texts: BTreeSet<_> = (0..=random.below(3)).map(|_| format!("body{}", random.below(20))).collect();
    let mut named: Vec<_> = texts.iter().map(|text| digest(text)).collect();
    named.sort_unstable();
    for body in &named {
        bodies.entry(*body).or_insert(1 + random.below(60));
    }
    let ecosystem = ["apt", "huggingface", "python"][usize::try_from(random.below(3)).unwrap()];
    Package {
        key: PackageKey::new(ecosystem, "files.example", format!("https://files.example/{number}"), None),
        name: None,
        version: None,
        architecture: None,
        level: Level::None,
        used: hours(random.below(200)),
        bodies: named,
        file: 1 + random.below(3),
    }
}

fn store(seed: u64) -> Snapshot {
    let random = &mut Random(seed);
    let mut snapshot = Snapshot { now: now(), free: 500, other: 7, ..Snapshot::default() };
    for number in 0..random.below(14) {
        let image = image(random, number, &mut snapshot);
        snapshot.images.push(image);
    }
    let mut bodies = BTreeMap::new();
    let packages: Vec<_> = (0..random.below(14)).map(|number| package(random, number, &mut bodies)).collect();
    bodies.extend(random.one_in(3).then(|| (digest("idle body"), 9)));
    snapshot.packages = Arc::new(hold(Packages::new(packages, bodies)));
    snapshot.blobs.extend(random.one_in(3).then(|| (digest("idle"), 9)));
    if random.one_in(3) {
        let (name, since) = ("20260601T000000.000000Z-1".to_owned(), hours(random.below(48)));
        snapshot.trash.push(Removed { name, since, bytes: random.below(90), folders: 0 });
    }
    snapshot
}

/// How many of each there may be, for one limit alone.
fn limit(kind: u64, value: u64) -> Limits {
    let size = Some(WrittenSize { size: ByteSize(value * 20), bare: false });
    let age = Some(Age(std::time::Duration::from_secs(value * 3600 * 6)));
    let count = Some(value);
    let none =
        Limits { trash_grace: Some(Age(std::time::Duration::from_secs(24 * 3600))), ..Limits::default() };
    match kind {
        0 => Limits { max_images: count, ..none },
        1 => Limits { max_disks: count, ..none },
        2 => Limits { max_per_image: count, ..none },
        3 => Limits { max_size: size, ..none },
        4 => Limits { packages_max_size: size, ..none },
        5 => Limits { max_age: age, ..none },
        6 => Limits { packages_max_age: age, ..none },
        7 => Limits { models_max_age: age, ..none },
        8 => scoped(&[&format!("kind=images,max-entries={value}")], none),
        9 => scoped(&[&format!("kind=images,name={{i1,app:*,key3}},max-size={}B", value * 20)], none),
        10 => scoped(&[&format!("ecosystem=apt,max-size={}B", value * 20)], none),
        11 => scoped(&[&format!("kind=packages,name=*[0-4],max-entries={value}")], none),
        12 => scoped(&[&format!("kind=disks,max-age={}h", value * 6)], none),
        13 => scoped(&["ecosystem=apt,max-age=none"], Limits { max_age: age, ..none }),
        14 => Limits { max_size: size, order: Order::Cost, ..none },
        15 => Limits { min_free: Some(bytes(500 + (16_u64.saturating_sub(value)) * 20)), ..none },
        16 => Limits { max_size: size, low: Some("50%".parse().unwrap()), ..none },
        17 => Limits { max_size: size, reserved: Some(bytes(100)), ..none },
        18 => Limits {
            min_free: Some(bytes(500 + (16_u64.saturating_sub(value)) * 20)),
            min_free_by_default: true,
            ..none
        },
        _ => {
            let of_some = ["kind=images,max-entries=5", "ecosystem=python,max-size=60B,max-age=40h"];
            let limits = Limits { max_size: size, packages_max_age: age, max_per_image: count, ..none };
            scoped(&of_some, limits)
        }
    }
}

fn bytes(bytes: u64) -> Amount {
    Amount::Bytes(WrittenSize { size: ByteSize(bytes), bare: false })
}

fn scoped(texts: &[&str], mut limits: Limits) -> Limits {
    limits.scoped = texts.iter().map(|text| text.parse::<Limit>().unwrap().into()).collect();
    limits
}

/// Some packages never go.
fn is_held(url: &str) -> bool {
    url.ends_with('3')
}

fn hold(mut packages: Packages) -> Packages {
    packages.hold(|package| is_held(package.url()));
    packages
}

const KINDS: u64 = 20;

fn gone(plan: &Plan) -> BTreeSet<String> {
    let images = plan.images.iter().map(|image| image.key.to_string());
    images.chain(plan.packages.iter().map(|it| it.package.url().to_owned())).collect()
}

/// Only these entries, and all bodies.
fn only(packages: &Packages, stays: impl Fn(&Package) -> bool) -> Packages {
    hold(Packages::new(packages.iter().map(|it| it.to_package()).filter(stays), packages.bodies()))
}

/// What is there once the plan is carried out.
fn carried_out(snapshot: &Snapshot, plan: &Plan) -> Snapshot {
    let mut after = snapshot.clone();
    let gone = gone(plan);
    let removed: BTreeSet<_> = plan.images.iter().flat_map(|image| &image.blobs).copied().collect();
    after.images.retain(|image| !gone.contains(image.key.as_str()));
    after
        .blobs
        .retain(|digest, _| !removed.contains(digest) && !plan.blobs.iter().any(|it| it.digest == *digest));
    let stay = only(&snapshot.packages, |package| !gone.contains(&package.key.url));
    let named: BTreeSet<_> = stay.iter().flat_map(|package| package.bodies()).map(|it| it.digest).collect();
    let bodies: Vec<_> = stay.bodies().filter(|(digest, _)| named.contains(digest)).collect();
    after.packages = Arc::new(hold(Packages::new(stay.iter().map(|it| it.to_package()), bodies)));
    after.trash.retain(|kept| !plan.trash.iter().any(|it| it.name == kept.name));
    let (in_trash, freed) = if plan.shred { (0, plan.bytes()) } else { (plan.bytes(), 0) };
    if in_trash > 0 {
        let (name, since) = ("20260615T120000.000000Z-1".to_owned(), now());
        after.trash.push(Removed { name, since, bytes: in_trash, folders: 0 });
    }
    let emptied: u64 = plan.trash.iter().map(|emptied| emptied.bytes).sum();
    after.free += freed + emptied + plan.package_bytes();
    after
}

fn for_each_store(check: impl Fn(&Snapshot, u64, u64)) {
    for seed in 0..120 {
        let snapshot = store(seed);
        for kind in 0..KINDS {
            for value in [0, 1, 2, 4, 8, 16] {
                check(&snapshot, kind, value);
            }
        }
    }
}

#[test]
fn what_is_said_to_be_left_is_left() {
    for_each_store(|snapshot, kind, value| {
        let plan = plan::decide(snapshot, &limit(kind, value));
        let after = carried_out(snapshot, &plan);
        assert_eq!(plan.left, after.left(), "{kind} {value} {plan:#?}");
        let freed = snapshot.usage().total() - after.usage().total();
        let emptied: u64 = plan.trash.iter().map(|emptied| emptied.bytes).sum();
        let at_once = if plan.shred { plan.bytes() } else { 0 };
        assert_eq!(freed, emptied + at_once + plan.package_bytes());
    });
}

#[test]
fn no_kept_entry_loses_what_it_needs() {
    for_each_store(|snapshot, kind, value| {
        let plan = plan::decide(snapshot, &limit(kind, value));
        let after = carried_out(snapshot, &plan);
        for image in &after.images {
            assert!(image.blobs.iter().all(|digest| after.blobs.contains_key(digest)), "{}", image.key);
        }
        for image in plan.images.iter().filter(|image| image.subject.is_none()) {
            assert!(!snapshot.images.iter().any(|it| it.pinned && it.key == image.key), "{}", image.key);
        }
        for package in plan.packages.iter() {
            assert!(!is_held(package.package.url()));
        }
        for package in after.packages.iter() {
            assert!(package.bodies().all(|body| body.is_there));
        }
    });
}

#[test]
fn a_second_run_removes_nothing() {
    for_each_store(|snapshot, kind, value| {
        let limits = limit(kind, value);
        let first = plan::decide(snapshot, &limits);
        let second = plan::decide(&carried_out(snapshot, &first), &limits);
        assert!(gone(&second).is_empty() && second.blobs.is_empty(), "{kind} {value} {second:#?}");
        assert!(second.bodies.is_empty() && second.packages.is_empty());
        assert_eq!(first.unmet, second.unmet);
    });
}

#[test]
fn a_tighter_limit_removes_a_superset() {
    // All kinds of one limit; of several together, what one takes another need not.
    for seed in 0..120 {
        let snapshot = store(seed);
        for kind in 0..KINDS - 1 {
            let mut looser: Option<BTreeSet<String>> = None;
            for value in [20, 16, 8, 4, 3, 2, 1, 0] {
                let limits = limit(kind, value);
                let plan = plan::decide(&snapshot, &limits);
                let low = limits.watermarks().map_or(u64::MAX, |marks| marks.low);
                let is_above_low = !gone(&plan).is_empty() && plan.left.bytes > low;
                if is_above_low || plan.unmet.iter().any(|it| it.why.is_of_bytes()) {
                    // One that cannot be met, or a `low` that cannot be reached, keeps the newest
                    // of each name.
                    break;
                }
                let gone = gone(&plan);
                assert!(looser.is_none_or(|looser| looser.is_subset(&gone)), "{seed} {kind} {value}");
                looser = Some(gone);
            }
        }
    }
}

#[test]
fn for_bytes_no_image_goes_that_frees_next_to_nothing_with_the_others() {
    for_each_store(|snapshot, kind, value| {
        let plan = plan::decide(snapshot, &limit(kind, value));
        let after = carried_out(snapshot, &plan);
        let for_bytes = plan.images.iter().filter(|image| image.why.is_of_bytes());
        for image in for_bytes.filter(|image| image.subject.is_none()) {
            let before = snapshot.images.iter().find(|it| it.key == image.key).unwrap();
            let is_freed = |digest: &Digest| !after.images.iter().any(|it| it.blobs.contains(digest));
            // By its own files, and those of what refers to it, a small one frees something.
            let mut own = vec![before];
            while let Some(more) = snapshot.images.iter().find(|it| {
                !own.iter().any(|one| one.key == it.key)
                    && own.iter().any(|one| it.subject == Some(one.digest))
            }) {
                own.push(more);
            }
            let files: u64 = own.iter().map(|it| it.files).sum();
            let blobs: BTreeSet<&Digest> = own.iter().flat_map(|it| &it.blobs).collect();
            let shared: u64 = blobs.iter().map(|digest| snapshot.bytes(digest)).sum();
            // What refers to it may be held by another image of its digest, or have gone with that.
            let alone: u64 = before.blobs.iter().map(|digest| snapshot.bytes(digest)).sum();
            let is_small =
                [(before.files, alone), (files, shared)].iter().any(|(own, all)| own * 20 >= own + all);
            let is_freed = blobs.iter().any(|digest| is_freed(digest));
            assert!(is_small || is_freed, "{kind} {value} {}", image.key);
        }
    });
}

#[test]
fn no_less_is_left_than_is_reserved() {
    for_each_store(|snapshot, kind, value| {
        if ![3, 14, 15].contains(&kind) {
            return;
        }
        let limits = Limits { reserved: Some(bytes(100)), ..limit(kind, value) };
        let plan = plan::decide(snapshot, &limits);
        let of_bytes = |why| matches!(why, Why::MaxSize | Why::MinFree);
        let is_for_it = plan.images.iter().any(|it| of_bytes(it.why));
        if is_for_it || plan.packages.iter().any(|it| of_bytes(it.why)) {
            let after = carried_out(snapshot, &plan).usage();
            assert!(after.governed() - after.trash >= 100, "{kind} {value}");
        }
    });
}

#[test]
fn what_removing_a_set_frees_is_known() {
    for seed in 0..120 {
        let snapshot = store(seed);
        let random = &mut Random(seed);
        let places: Vec<_> = (0..snapshot.packages.len()).filter(|_| random.one_in(2)).collect();
        let freed = snapshot.packages.freed_by(&places);
        let gone: Vec<_> = places.iter().map(|it| snapshot.packages.get(*it).unwrap()).collect();
        let after = only(&snapshot.packages, |package| !gone.iter().any(|it| it.url() == package.key.url));
        let (before, unneeded) = snapshot.packages.occupied();
        let (left, now_unneeded) = after.occupied();
        assert_eq!(before.own + before.shared - left.own - left.shared, freed);
        assert_eq!(
            now_unneeded - unneeded,
            freed - gone.iter().map(gcctl::packages::View::file).sum::<u64>()
        );
    }
}

#[test]
fn the_last_ones_of_a_name_stay_whatever_the_other_limits_say() {
    for seed in 0..120 {
        let snapshot = store(seed);
        for kind in 0..KINDS {
            let limits = Limits { keep_last: Some(1), ..limit(kind, 0) };
            let plan = plan::decide(&snapshot, &limits);
            let after = carried_out(&snapshot, &plan);
            let names = |snapshot: &Snapshot| -> BTreeSet<String> {
                let referrers = snapshot.referrers();
                let own = snapshot.images.iter().enumerate().filter(|(at, _)| !referrers.is_attached(*at));
                own.filter_map(|(_, it)| it.origin.image.as_ref().map(ToString::to_string)).collect()
            };
            assert!(names(&snapshot).is_subset(&names(&after)), "{seed} {kind}");
        }
    }
}

#[test]
fn a_hundred_thousand_packages_are_planned() {
    let freed = |count: u64| {
        let mut snapshot = Snapshot { now: now(), ..Snapshot::default() };
        let random = &mut Random(count);
        let named = |number: u64| vec![digest(&number.to_string()), digest(&format!("s{}", number / 10))];
        let packages: Vec<_> = (0..count)
            .map(|it| Package { bodies: named(it), ..package(random, it, &mut BTreeMap::new()) })
            .collect();
        let bodies = (0..count).flat_map(named).map(|body| (body, 10));
        snapshot.packages = Arc::new(Packages::new(packages, bodies));
        let plan = plan::decide(&snapshot, &limit(4, 0));
        assert_eq!(plan.packages.len() as u64, count);
        plan.packages.iter().map(|package| package.bytes).sum::<u64>()
    };
    assert!(freed(100_000) > 1_000_000);
}

/// The order by cost, worked out anew from the snapshot.
#[test]
fn the_order_by_cost_is_that_of_a_naive_model() {
    for seed in 0..120 {
        let mut snapshot = store(seed);
        snapshot.images.iter_mut().for_each(|image| (image.subject, image.pinned) = (None, false));
        let fetched = Event::counted("pkgcache", Kind::Download, 1, 7_000_000, now());
        snapshot.rates.add(&Event { seconds: Some(1_000_000.0), ..fetched });
        let plan =
            plan::decide(&snapshot, &Limits { max_images: Some(0), order: Order::Cost, ..Limits::default() });
        let value = |key: &str| {
            let image = snapshot.images.iter().find(|image| image.key.as_str() == key).unwrap();
            let holders = |blob: &Digest| snapshot.images.iter().filter(|it| it.blobs.contains(blob)).count();
            let own = image.blobs.iter().filter(|blob| holders(blob) == 1).map(|blob| snapshot.bytes(blob));
            let own = image.files + own.sum::<u64>();
            let fetched = snapshot.size(image) as f64 / 7.0;
            let seconds = image.build_seconds.filter(|it| *it > 0.0).unwrap_or(fetched).max(0.01);
            seconds * (1 + image.uses) as f64 / own as f64
        };
        let values: Vec<_> = plan.images.iter().map(|image| value(image.key.as_str())).collect();
        assert!(values.is_sorted(), "{seed}: {values:?}");
        let ranks: Vec<_> = plan.images.iter().map(|image| image.rank.unwrap()).collect();
        assert_eq!(ranks, (1..=ranks.len() as u64).collect::<Vec<_>>());
    }
}

/// What each limit of some things is about has no more than it allows, or nothing of it may go.
#[test]
fn a_limit_of_some_things_is_met_or_said_not_to_be() {
    for_each_store(|snapshot, kind, value| {
        let limits = limit(kind, value);
        let plan = plan::decide(snapshot, &limits);
        let after = carried_out(snapshot, &plan);
        for (place, limit) in (0_u8..).zip(&limits.scoped) {
            let (entries, bytes) = after.measure(&Matcher::new(&limit.of));
            let is_unmet = |part| plan.unmet.iter().any(|it| it.why == Why::Limit(place, part));
            let is_over = limit.max_entries.is_some_and(|most| entries > most);
            assert_eq!(is_over, is_unmet(Part::Entries), "{kind} {value}");
            let is_over = limit.max_size.is_some_and(|most| bytes > most.size.0);
            assert_eq!(is_over, is_unmet(Part::Size), "{kind} {value}");
        }
        // Nothing goes for a limit that is about other things.
        for image in &plan.images {
            if let Why::Limit(place, _) = image.why {
                let matcher = Matcher::new(&limits.scoped[usize::from(place)].of);
                let found = snapshot.images.iter().find(|it| it.key == image.key).unwrap();
                assert!(matcher.takes_image(found));
            }
        }
    });
}
