//! What pkgcache has measured, in the order in which packages go and in `stats`.

use jiff::{SignedDuration, Timestamp};
use storekit::{Event, Kind};

use crate::packages::key;
use crate::scratch::Scratch;

/// The names of the packages that would go, in their order.
fn order(scratch: &Scratch, words: &str) -> String {
    let rows = scratch.run(&format!("plan --json --packages-max-size 1B {words}")).ends(0).rows();
    let urls = rows.iter().filter(|row| row["kind"] == "package").map(|row| row["url"].as_str().unwrap());
    urls.map(|url| url.rsplit('/').next().unwrap()).collect::<Vec<_>>().join(" ")
}

fn used(scratch: &Scratch, ecosystem: &str, name: &str, count: u64) {
    let event = Event::counted("pkgcache", Kind::Hit, count, 1, Timestamp::now());
    let id = Some(key(ecosystem, name).id().to_string());
    scratch.store.packages().uses().record_counts(&[Event { key: id, ..event }]).unwrap();
}

fn of_source(scratch: &Scratch, kind: Kind, ecosystem: &str, bytes: u64, seconds: Option<f64>) {
    let event = Event::counted("pkgcache", kind, 1, bytes, Timestamp::now() - SignedDuration::from_secs(9));
    let (ecosystem, source) = (Some(ecosystem.to_owned()), Some(key("npm", "x").source));
    scratch.store.events().record_counts(&[Event { ecosystem, source, seconds, ..event }]).unwrap();
}

#[test]
fn of_packages_last_used_at_the_same_time_the_one_used_least_goes_first() {
    let scratch = Scratch::new();
    scratch.store_packages(&["npm a 30 a", "npm b 30 b", "npm c 50 c"]);
    assert_eq!(order(&scratch, "").split(' ').next(), Some("c"));
    used(&scratch, "npm", "a", 2);
    used(&scratch, "npm", "b", 1);
    used(&scratch, "npm", "c", 100);
    // The last use decides before all others.
    assert_eq!(order(&scratch, ""), "c b a");
    used(&scratch, "npm", "b", 5);
    assert_eq!(order(&scratch, ""), "c a b");
    assert_eq!(order(&scratch, "--order cost"), "a b c", "each is as dear as the others");
}

#[test]
fn what_comes_slowly_stays_longer_by_cost() {
    let scratch = Scratch::new();
    scratch.store_packages(&["npm a 30 a", "python b 50 b"]);
    assert_eq!(order(&scratch, "--order cost"), "b a", "nothing is measured: the older goes");
    of_source(&scratch, Kind::Download, "python", 2_000_000, Some(40.0));
    of_source(&scratch, Kind::Download, "npm", 2_000_000, Some(4.0));
    assert_eq!(order(&scratch, "--order cost"), "a b");
    of_source(&scratch, Kind::Hit, "python", 100_000, None);
    of_source(&scratch, Kind::Miss, "python", 50_000, None);
    let table = scratch.run("stats").ends(0).stdout();
    let line = table.lines().find(|line| line.starts_with("python")).unwrap();
    let words: Vec<_> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    let source = key("npm", "x").source;
    assert_eq!(
        words,
        ["python", source.as_str(), "2", "50 %", "100kB", "2 s", "50.0kB/s", "here"],
        "{table}"
    );
    let rows = scratch.run("stats --json").ends(0).rows();
    let row = rows.iter().find(|row| row["ecosystem"] == "python").unwrap();
    assert_eq!((&row["rate"], &row["rate-of"]), (&50_000.0.into(), &"source".into()));
    assert_eq!(rows.last().unwrap()["package_saved_seconds"], 2.0);
}

/// What stores of earlier versions have on record, which names no source, is read as it was.
#[test]
fn events_of_earlier_versions_are_read() {
    let scratch = Scratch::new();
    scratch.store_packages(&["npm a 30 a"]);
    let folder = scratch.root.join("events");
    std::fs::create_dir_all(&folder).unwrap();
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let old = include_str!("events-0.ndjson").replace("DAY", &today);
    std::fs::write(folder.join(format!("{today}.pkgcache.ndjson")), old).unwrap();
    let rows = scratch.run("stats --json").ends(0).rows();
    let all = rows.last().unwrap();
    assert_eq!((rows.len(), &all["package_hits"], &all["package_misses"]), (2, &37.into(), &3.into()));
    assert_eq!((&all["package_hit_bytes"], &all["fetched_bytes"]), (&20_000_000.into(), &900.into()));
    assert_eq!(all["package_saved_seconds"], 2.0);
    assert_eq!(order(&scratch, "--order cost"), "a");
}
