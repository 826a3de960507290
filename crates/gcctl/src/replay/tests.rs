use std::collections::BTreeMap;

use storekit::Key;

use super::simulate::{Held, turn};
use super::*;

/// Numbers that look random, and are the same in each run (Knuth's constants).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn random(seed: u64, items: u64, uses: u64) -> Trace {
    let mut random = Random(seed);
    let of = |number: u64| if number.is_multiple_of(3) { Of::Package } else { Of::Image };
    let items = (0..items).map(|number| Item {
        of: of(number),
        bytes: 1 + random.below(6),
        seconds: f64::from(u32::try_from(random.below(50)).unwrap()),
    });
    let items: Vec<_> = items.collect();
    let mut time = 0;
    let uses = (0..uses).map(|_| {
        time += i64::try_from(random.below(400)).unwrap();
        let item = usize::try_from(random.below(items.len() as u64)).unwrap();
        Use { item, time, again: random.below(5) / 4, hits: 0 }
    });
    let uses: Vec<_> = uses.collect();
    Trace { items, uses, first: 0 }
}

/// As plainly as it can be said: a list that is looked through for each removal.
fn plainly(trace: &Trace, limit: u64, order: Order) -> Sum {
    let mut held: BTreeMap<usize, (i64, u64)> = BTreeMap::new();
    let mut sum = Sum::default();
    for (step, it) in trace.uses.iter().enumerate() {
        let item = trace.items[it.item];
        let before = held.remove(&it.item);
        if item.bytes <= limit {
            let bytes = |held: &BTreeMap<usize, (i64, u64)>| -> u64 {
                held.keys().map(|item| trace.items[*item].bytes).sum()
            };
            while bytes(&held) + item.bytes > limit {
                let goes = |(item, (time, uses)): (&usize, &(i64, u64))| {
                    (turn(trace, *item, Held { time: *time, uses: *uses }, order), *item)
                };
                let first = *held.iter().min_by_key(|it| goes(*it)).unwrap().0;
                held.remove(&first);
            }
            let uses = before.map_or(it.again, |(_, uses)| uses + it.again + 1);
            held.insert(it.item, (it.time, uses));
        }
        if step >= trace.first {
            let again = if item.bytes <= limit { it.again } else { 0 };
            sum.add(u64::from(before.is_some()) + again, &item);
        }
    }
    sum
}

/// The best that any order could do, found by trying all: what is kept after each use is any set of
/// what was there, and of what was asked for, that fits.
fn best(trace: &Trace, limit: u64) -> (u64, f64) {
    let bytes = |set: u32| -> u64 {
        let is_in = |item: &usize| set >> item & 1 == 1;
        (0..trace.items.len()).filter(is_in).map(|item| trace.items[item].bytes).sum()
    };
    let mut states: BTreeMap<u32, (u64, f64)> = BTreeMap::from([(0, (0, 0.0))]);
    for (step, it) in trace.uses.iter().enumerate() {
        let item = trace.items[it.item];
        let mut next: BTreeMap<u32, (u64, f64)> = BTreeMap::new();
        for (set, (hits, seconds)) in states {
            let was_there = set >> it.item & 1;
            let again = if item.bytes <= limit { it.again } else { 0 };
            let new = if step >= trace.first { u64::from(was_there) + again } else { 0 };
            let mut sum = Sum::default();
            sum.add(new, &item);
            let all = set | 1 << it.item;
            let mut some = all;
            loop {
                if bytes(some) <= limit {
                    let best = next.entry(some).or_insert((0, 0.0));
                    *best = (best.0.max(hits + new), best.1.max(seconds + sum.saved_seconds));
                }
                if some == 0 {
                    break;
                }
                some = (some - 1) & all;
            }
        }
        states = next;
    }
    states.values().fold((0, 0.0), |(hits, seconds), it| (hits.max(it.0), f64::max(seconds, it.1)))
}

#[test]
fn it_is_played_as_a_plain_list_plays_it() {
    for seed in 0..300 {
        let trace = Trace { first: usize::try_from(seed % 30).unwrap(), ..random(seed, 2 + seed % 12, 80) };
        for limit in [0, 1, 3, 7, 12, 20, 1000] {
            for order in [Order::Lru, Order::Cost] {
                assert_eq!(simulate(&trace, limit, order), plainly(&trace, limit, order), "{seed} {limit}");
            }
        }
    }
}

#[test]
fn no_order_beats_the_bound_and_the_best_is_between() {
    for seed in 0..150 {
        let trace = Trace { first: usize::try_from(seed % 5).unwrap(), ..random(seed, 2 + seed % 4, 14) };
        for limit in [0, 2, 5, 9, 14] {
            let ((hits, seconds), bound) = (best(&trace, limit), bound(&trace, limit));
            assert!(all(bound) >= hits && bound.saved_seconds + 1e-6 >= seconds, "{seed} {limit}");
            for order in [Order::Lru, Order::Cost] {
                let played = simulate(&trace, limit, order);
                assert!(all(played) <= hits && played.saved_seconds <= seconds + 1e-6, "{seed} {limit}");
            }
        }
    }
}

#[test]
fn where_all_fits_the_bound_is_reached() {
    for seed in 0..50 {
        let trace = random(seed, 8, 60);
        let all = trace.items.iter().map(|item| item.bytes).sum();
        let (bound, played) = (bound(&trace, all), simulate(&trace, all, Order::Lru));
        assert_eq!((bound.images, bound.packages), (played.images, played.packages));
        let asked = trace.asked(Of::Image) + trace.asked(Of::Package);
        assert_eq!(played.images + played.packages, asked - used(&trace));
        assert!((bound.saved_seconds - played.saved_seconds).abs() < 1e-6);
    }
}

fn all(sum: Sum) -> u64 {
    sum.images + sum.packages
}

/// How many things were asked for.
fn used(trace: &Trace) -> u64 {
    trace.uses.iter().map(|it| it.item).collect::<std::collections::BTreeSet<_>>().len() as u64
}

fn event(kind: Kind, key: &str, time: &str, seconds: Option<f64>, bytes: Option<u64>) -> Event {
    let key: Key = key.parse().unwrap();
    Event { seconds, bytes, ..Event::new("imgtar", kind, &key, time.parse().unwrap()) }
}

#[test]
fn a_save_after_a_miss_is_one_use_and_a_days_hits_are_told_apart() {
    let mut reading = Reading::default();
    let hits = event(Kind::Hit, "a", "2026-01-03T00:00:00Z", Some(180.0), Some(3000));
    for event in [
        event(Kind::Miss, "a", "2026-01-01T00:00:00Z", None, None),
        event(Kind::Save, "a", "2026-01-01T00:10:00Z", Some(60.0), None),
        event(Kind::Save, "b", "2026-01-02T00:00:00Z", Some(5.0), None),
        Event { count: Some(3), ..hits },
        event(Kind::Evict, "a", "2026-01-03T01:00:00Z", None, Some(10)),
        event(Kind::Damage, "a", "2026-01-03T01:00:00Z", None, None),
    ] {
        reading.add(&event);
    }
    let trace = reading.done("2026-01-02T00:00:00Z".parse().unwrap(), &Snapshot::default());
    assert_eq!(trace.items[0], Item { of: Of::Image, bytes: 1000, seconds: 60.0 });
    assert_eq!(
        trace.items[1],
        Item { of: Of::Image, bytes: 1000, seconds: 5.0 },
        "of unknown size: as the others"
    );
    let uses: Vec<_> = trace.uses.iter().map(|it| (it.item, it.again, it.hits)).collect();
    assert_eq!((uses, trace.first), (vec![(0, 0, 0), (1, 0, 0), (0, 2, 3)], 1));
    assert_eq!(trace.recorded(), Sum { images: 3, packages: 0, saved_seconds: 180.0 });
    assert_eq!((trace.asked(Of::Image), simulate(&trace, 999, Order::Lru).images), (4, 0));
    assert_eq!(simulate(&trace, 1000, Order::Lru).images, 2, "`b` has taken its place");
    assert_eq!(simulate(&trace, 2000, Order::Lru), trace.recorded());
}

/// Packages are named by their IDs, and a package that is stored takes what it takes there.
#[test]
fn packages_are_played_with_images() {
    let package = |kind, id: &str, minute: u32, bytes: u64, seconds: Option<f64>| {
        let event = event(kind, id, &format!("2026-01-01T00:{minute:02}:00Z"), seconds, Some(bytes));
        Event { tool: "pkgcache".to_owned(), count: Some(1), ..event }
    };
    let mut reading = Reading::default();
    reading.add(&event(Kind::Miss, "a", "2026-01-01T00:00:00Z", None, None));
    reading.add(&event(Kind::Save, "a", "2026-01-01T00:01:00Z", Some(60.0), Some(1000)));
    for event in [
        package(Kind::Miss, "0000000000000001", 2, 500, Some(2.0)),
        package(Kind::Hit, "0000000000000001", 20, 500, None),
        package(Kind::Hit, "0000000000000002", 30, 0, None),
        package(Kind::Hit, "a", 31, 0, None),
    ] {
        reading.add_package(&event);
    }
    reading.add(&event(Kind::Hit, "a", "2026-01-01T00:40:00Z", None, None));
    let trace = reading.done(Timestamp::MIN, &Snapshot::default());
    assert_eq!(trace.items[1], Item { of: Of::Package, bytes: 500, seconds: 2.0 });
    assert_eq!(trace.items[2].bytes, 500, "of unknown size: as the other packages");
    assert_eq!((trace.asked(Of::Image), trace.asked(Of::Package)), (2, 4));
    let all = simulate(&trace, 3000, Order::Lru);
    assert_eq!((all, bound(&trace, 3000)), (Sum { images: 1, packages: 1, saved_seconds: 62.0 }, all));
    let few = simulate(&trace, 1000, Order::Lru);
    assert_eq!((few.images, few.packages), (0, 1), "for the package the image went");
    let dear = simulate(&trace, 1500, Order::Cost);
    assert_eq!((dear.images, dear.packages), (1, 1), "the image is dear");
}
