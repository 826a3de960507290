//! Tests: plans as text.

use super::*;
use crate::limits::Scoped;
use toolkit::tables::{Limit, Order};

const FIRST: &str = r#"{"kind":"plan","version":4,"time":"2026-01-02T03:04:05Z","store":"/store","limits":{"max-images":2,"packages-max-age":60}}"#;
/// As version 1 had it.
const LAST: &str = r#"{"kind":"end","keep":true,"images":2,"bytes":10,"free":7}"#;

fn parse(lines: &[&str]) -> Result<Plan> {
    let text: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    read(&mut text.as_bytes())
}

#[track_caller]
fn refused(lines: &[&str], word: &str) {
    let message = parse(lines).unwrap_err().to_string();
    assert!(message.contains(word), "{message}");
}

#[test]
fn a_plan_survives_its_text() {
    let digest = Digest::of(b"x");
    let mut packages = Named::default();
    let package = Package {
        key: PackageKey::new("python", "files.example", "https://files.example/a", Some(digest)),
        name: None,
        version: None,
        architecture: None,
        level: Level::None,
        used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
        bodies: vec![digest],
        file: 0,
    };
    packages.push(&package, Why::PackagesMaxSize, 7, 2);
    let plan = Plan {
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
        store: Some("/store".into()),
        limits: Limits {
            once: ["max-images".to_owned()].into(),
            max_images: Some(2),
            max_disks: Some(3),
            max_per_image: Some(4),
            keep_last: Some(1),
            packages_max_size: Some("4GB".parse().unwrap()),
            packages_max_age: Some("5d".parse().unwrap()),
            models_max_age: Some("9d".parse().unwrap()),
            max_age: Some("3d".parse().unwrap()),
            max_size: Some("3".parse().unwrap()),
            min_free: Some("10GB".parse().unwrap()),
            min_free_by_default: false,
            high: Some("1GB".parse().unwrap()),
            low: Some("0.5GB".parse().unwrap()),
            reserved: Some("1kB".parse().unwrap()),
            order: Order::Cost,
            trash_grace: None,
            scoped: ["ecosystem=npm,max-size=3,max-age=2d", "kind=images,name=a*,max-age=none,keep-last=1"]
                .map(|text| Scoped::from(text.parse::<Limit>().unwrap()))
                .into(),
        },
        images: vec![Eviction {
            key: "k".parse().unwrap(),
            digest,
            used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
            uses: 3,
            why: Why::Subject,
            rank: Some(4),
            subject: Some(digest),
            blobs: vec![digest],
            bytes: 12,
        }],
        blobs: vec![Unneeded { digest, bytes: 5 }],
        packages: packages.done(),
        bodies: vec![Unneeded { digest, bytes: 6 }],
        abandoned: 4096,
        contexts: 0,
        trash: vec![Emptied { name: "b".into(), bytes: 1, why: Why::TrashGrace }],
        extras: vec![extra::Going {
            folder: "/f".into(),
            kind: ExtraKind::Hf,
            path: "models--a\nb/snapshots/c".into(),
            used: "2026-01-01T03:04:05.123456789Z".parse().unwrap(),
            refs: vec!["main".into()],
            why: extra::Why::MaxAge,
            bytes: 3,
        }],
        shred: true,
        left: Left { images: 2, disks: 1, per_image: 1, packages: 3, package_bytes: 4, bytes: 10, free: 7 },
        unmet: vec![Unmet { why: Why::MaxSize, left: 10, limit: 3 }],
        forced: std::collections::HashSet::default(),
        is_listed: false,
        rest: crate::plan::Rest::default(),
    };
    let mut text = Vec::new();
    write(&plan, &mut text).unwrap();
    assert_eq!(read(&mut &text[..]).unwrap(), plan);
}

#[test]
fn the_lines_are_as_documented() {
    let digest = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let image = format!(
        r#"{{"kind":"image","key":"k","digest":"{digest}","used":"2026-01-01T00:00:00Z","uses":0,"why":"max-images","rank":2,"bytes":9,"blobs":["{digest}"]}}"#
    );
    let blob = format!(r#"{{"kind":"blob","digest":"{digest}","bytes":5}}"#);
    let package = format!(
        r#"{{"kind":"package","ecosystem":"python","source":"files.example","url":"https://files.example/a","used":"2026-01-01T00:00:00Z","why":"packages-max-age","rank":7,"bytes":8,"bodies":["{digest}"]}}"#
    );
    let body = format!(r#"{{"kind":"body","digest":"{digest}","bytes":6}}"#);
    let unfinished = r#"{"kind":"unfinished","bytes":4096}"#;
    let trash = r#"{"kind":"trash","name":"20260101T000000.000000Z-1","bytes":5,"why":"trash-grace"}"#;
    let end = r#"{"kind":"end","keep":true,"images":2,"disks":0,"per-image":1,"packages":3,"package-bytes":4,"bytes":10,"free":7,"unmet":[]}"#;
    let lines = [FIRST, &image, &blob, &package, &body, unfinished, trash, end];
    let mut text = Vec::new();
    write(&parse(&lines).unwrap(), &mut text).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), lines.map(|line| format!("{line}\n")).concat());
}

#[test]
fn what_is_no_plan_is_refused() {
    refused(&[], "cut off");
    refused(&[FIRST], "cut off");
    refused(&["KEY  FREES  LAST USE"], "line 1");
    refused(&[LAST], "line 1");
    refused(&[FIRST, FIRST, LAST], "second plan");
    refused(&[FIRST, LAST, LAST], "line 3");
    refused(&[&FIRST.replace("\"version\":4", "\"version\":6"), LAST], "version 6");
    let of_one = |why: &str| format!(r#"{{"kind":"trash","name":"a","bytes":1,"why":"{why}"}}"#);
    refused(&[FIRST, &of_one("limit-1:max-size"), LAST], "no limit `limit-1:max-size`");
    refused(&[FIRST, &of_one("limit-0:max-size"), LAST], "not a limit");
    refused(&[FIRST, r#"{"kind":"contexts","bytes":1}"#, LAST], "no limit `clean`");
    refused(&[FIRST, r#"{"kind":"image","key":"../../etc"}"#, LAST], "not a key");
    refused(&[FIRST, r#"{"kind":"blob","digest":"sha256:../x","bytes":1}"#, LAST], "not a digest");
    refused(&[FIRST, r#"{"kind":"blob","digest":"x","bytes":-1}"#, LAST], "line 2");
    refused(&[FIRST, r#"{"kind":"folder","path":"/"}"#, LAST], "folder");
    refused(&[FIRST, r#"{"kind":"unfinished","bytes":1,"path":"/"}"#, LAST], "path");
}

#[test]
fn a_plan_of_an_earlier_version_is_read() {
    let first = r#"{"kind":"plan","version":1,"time":"2026-01-02T03:04:05Z","limits":{"max-images":2}}"#;
    let plan = parse(&[first, LAST]).unwrap();
    assert_eq!((plan.store, plan.limits.max_images, plan.left.images), (None, Some(2), 2));
}

#[test]
fn a_plan_without_its_last_newline_is_cut_off() {
    let text = format!("{FIRST}\n{LAST}");
    assert!(matches!(read(&mut text.as_bytes()), Err(Error::CutPlan)));
}
