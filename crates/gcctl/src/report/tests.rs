use std::sync::Arc;

use jiff::SignedDuration;
use quick_xml::events::Event as Xml;
use storekit::{Digest, Event, Kind, Origin, PackageKey};

use super::*;
use crate::Limits;
use crate::packages::{Package, Packages};
use crate::plan::decide;
use crate::snapshot::{Image, Removed};

const HOSTILE: &str = "</title><script>alert(1)</script>\"' onload=\"x\" &amp; ]]> <!-- \u{202e}\u{0}\n";

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn image(number: i64, name: &str, blobs: &[&str]) -> Image {
    Image {
        key: format!("k{number}").parse().unwrap(),
        digest: Digest::of(blobs[0].as_bytes()),
        names: vec![name.to_owned()],
        origin: Origin::default(),
        build_seconds: None,
        saved: now(),
        used: now() - SignedDuration::from_hours(number * 30),
        uses: 1,
        is_disk: false,
        pinned: false,
        subject: None,
        incomplete: false,
        unknown: false,
        unfetched: false,
        blobs: blobs.iter().map(|blob| Digest::of(blob.as_bytes())).collect(),
        files: 4096,
    }
}

fn package(number: i64, ecosystem: &str, url: &str, bodies: &[&str]) -> Package {
    Package {
        key: PackageKey {
            ecosystem: ecosystem.to_owned(),
            source: "files.example".to_owned(),
            url: url.to_owned(),
            scope: None,
        },
        name: None,
        version: None,
        architecture: None,
        level: storekit::Level::None,
        used: now() - SignedDuration::from_hours(number * 100),
        bodies: bodies.iter().map(|body| Digest::of(body.as_bytes())).collect(),
        file: 4096,
    }
}

/// Images of several names that share, and packages, both with names that mean ill.
fn snapshot() -> Snapshot {
    let images = vec![
        image(1, "app:1", &["m1", "base", "a"]),
        image(2, "app:1", &["m2", "base", "twin"]),
        image(3, HOSTILE, &["m3", "base", "twin", "big"]),
        Image { names: Vec::new(), ..image(40, "", &["m4", "lone"]) },
    ];
    let blobs = ["m1", "m2", "m3", "m4", "base", "a", "twin", "big", "lone", "idle"];
    let blobs = (1..).zip(blobs).map(|(size, blob)| (Digest::of(blob.as_bytes()), size * 4096));
    let packages = [
        package(1, "npm", "https://files.example/one", &["b1", "both"]),
        package(2, "python", HOSTILE, &["b2", "both"]),
    ];
    let bodies =
        (1..).zip(["b1", "b2", "both", "old"]).map(|(size, it)| (Digest::of(it.as_bytes()), size << 14));
    Snapshot {
        now: now(),
        images,
        blobs: blobs.collect(),
        packages: Arc::new(Packages::new(packages, bodies)),
        contexts: 8192,
        events: 4096,
        unfinished: 12_288,
        trash: vec![Removed { name: "20260101".to_owned(), since: now(), bytes: 70_000, folders: 0 }],
        other: 20_480,
        free: 1 << 30,
        ..Snapshot::default()
    }
}

fn html(snapshot: &Snapshot, limits: &Limits) -> String {
    let mut stats = Stats::default();
    for (day, hits) in [(1, 3), (5, 1)] {
        let time = now() - SignedDuration::from_hours(24 * day);
        for (kind, count) in [(Kind::Hit, hits), (Kind::Miss, 4 - hits)] {
            stats.add(&Event::counted("pkgcache", kind, count, 7, time));
            stats.add(&Event::counted("larder", kind, count, 7, time));
        }
    }
    let plan = decide(snapshot, limits);
    let folders = [OtherFolder {
        path: HOSTILE.to_owned(),
        kind: "hf".to_owned(),
        bytes: 1000,
        items: 2,
        limits: HOSTILE.to_owned(),
        frees: 500,
    }];
    Report { store: HOSTILE, snapshot, stats: &stats, plan: &plan, folders: &folders }.html()
}

/// An element: its name, and its attributes.
type Element = (String, Vec<(String, String)>);

/// What the page's elements are: names, and attributes as they are meant; and its text.
fn read(page: &str) -> (Vec<Element>, String) {
    let mut reader = quick_xml::Reader::from_str(page);
    reader.config_mut().check_end_names = true;
    let (mut elements, mut text, mut depth) = (Vec::new(), String::new(), 0_i32);
    loop {
        match reader.read_event().unwrap() {
            Xml::Eof => break,
            Xml::End(_) => depth -= 1,
            Xml::Text(it) => text.push_str(&it),
            it @ (Xml::Start(_) | Xml::Empty(_)) => {
                depth += i32::from(matches!(it, Xml::Start(_)));
                let (Xml::Start(it) | Xml::Empty(it)) = it else { continue };
                let attributes = it.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    (attribute.key.as_ref().to_owned(), attribute.value.into_owned())
                });
                elements.push((it.name().as_ref().to_owned(), attributes.collect()));
            }
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    (elements, text)
}

#[test]
fn the_areas_add_up_to_what_df_says() {
    let snapshot = snapshot();
    let total = snapshot.usage().total();
    assert_eq!(groups(&snapshot).iter().map(Group::bytes).sum::<u64>(), total);
    let (elements, _) = read(&html(&snapshot, &Limits::default()));
    let bytes = |attributes: &Vec<(String, String)>| -> Option<u64> {
        attributes.iter().find(|(name, _)| name == "data-bytes").map(|(_, bytes)| bytes.parse().unwrap())
    };
    // Each picture is there for wide screens and for narrow ones.
    let sum: u64 = elements.iter().filter_map(|(_, attributes)| bytes(attributes)).sum();
    assert_eq!(sum, 2 * total);
}

#[test]
fn what_goes_with_all_images_of_a_name_is_its_part() {
    let snapshot = snapshot();
    let groups = groups(&snapshot);
    let images = groups.iter().find(|group| group.name == "images").unwrap();
    let of = |name: &str| images.parts.iter().find(|part| part.name == name).map(|part| part.bytes / 4096);
    // Two key files, `m1`, `m2` and `a`; `base` and `twin` are another's, too.
    assert_eq!(of("app"), Some(2 + 1 + 2 + 6));
    assert_eq!((of("shared by names"), of("needed by no image")), (Some(5 + 7), Some(10)));
    assert_eq!(of("without a name"), Some(1 + 4 + 9));
}

#[test]
fn a_page_is_whole_in_itself_and_names_are_only_text() {
    let limits = Limits { max_images: Some(1), ..Limits::default() };
    let (elements, text) = read(&html(&snapshot(), &limits));
    for (name, attributes) in &elements {
        assert!(!matches!(name.as_str(), "script" | "link" | "img" | "iframe" | "object" | "base"), "{name}");
        for (attribute, value) in attributes {
            assert!(!attribute.starts_with("on"), "{attribute}");
            assert!(!matches!(attribute.as_str(), "src" | "href" | "action"), "{attribute}");
            assert!(!value.contains("url("), "{value}");
        }
    }
    assert!(!text.contains('\u{202e}') && !text.contains('\u{0}'));
    let page = html(&snapshot(), &limits);
    assert!(page.contains("&lt;/title&gt;&lt;script&gt;") && !page.contains("<script"));
    assert!(!include_str!("page.css").contains("url("));
}

#[test]
fn what_the_next_run_removes_is_told() {
    let page = html(&snapshot(), &Limits { max_images: Some(1), ..Limits::default() });
    assert!(page.contains("over 1 image") && page.contains("<td class=\"name\">k40</td>"), "{page}");
    assert!(html(&snapshot(), &Limits::default()).contains("No limit is set"));
    let min_free = Some("5%".parse().unwrap());
    let usual = Limits { min_free, min_free_by_default: true, ..Limits::default() };
    let page = html(&snapshot(), &usual);
    assert!(page.contains("(`min-free`: 0B)"), "{page}");
}

#[test]
fn an_empty_store_has_a_page_too() {
    let snapshot = Snapshot { now: now(), ..Snapshot::default() };
    let plan = decide(&snapshot, &Limits::default());
    let stats = Stats::default();
    let page = Report { store: "/s", snapshot: &snapshot, stats: &stats, plan: &plan, folders: &[] }.html();
    read(&page);
    assert!(page.contains("No images are stored.") && page.contains("Nothing is on record"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn ages_add_up_to_what_is_needed() {
    let snapshot = snapshot();
    let usage = snapshot.usage();
    let classes = [86_400, 30 * 86_400];
    let images = disk::ages(&snapshot, &classes);
    assert_eq!(images.iter().sum::<u64>(), usage.unique + usage.shared);
    // `k1` was used within a day and more: `base` counts with it alone.
    assert_eq!(
        images[1..].iter().map(|bytes| bytes / 4096).collect::<Vec<_>>(),
        [3 + 1 + 2 + 3 + 5 + 6 + 7 + 8, 14]
    );
    assert_eq!(
        disk::package_ages(&snapshot, &classes).iter().sum::<u64>(),
        usage.packages + usage.packages_shared
    );
}
