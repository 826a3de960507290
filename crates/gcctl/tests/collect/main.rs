//! The program over real stores: what it prints, what it removes, several of it at once, killed, on
//! a full disk.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests write what they like, and may panic"
)]

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use larder_tests::{Mount, Part, Ran, have, reviewed, signal, until_it_listens, until_it_waits};
use storekit::oci::MANIFEST;
use storekit::{Descriptor, Event, Key, Kind};

mod background;
mod books;
mod engine_limits;
mod engines;
mod extra;
mod freed;
mod index;
mod limits;
mod links;
mod machine;
mod names;
mod packages;
mod pins;
mod scratch;
mod signed;
mod strict;
mod words;
use scratch::{Scratch, layer, save, session, write};

#[test]
fn a_run_leaves_what_the_limit_allows_and_the_base_that_is_shared() {
    let scratch = Scratch::new();
    let ran = scratch.three().run("run --max-images 1").ends(0).says("removed 2 images and 4 blobs (32.8kB)");
    let out = ran.stdout();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "WHAT   FREES  LAST USE  USES  WHY");
    assert_eq!(lines[1], "c     16.4kB  30 h ago     0  over 1 image");
    assert_eq!(lines[2], "b     16.4kB  20 h ago     0  over 1 image");
    assert_eq!(scratch.keys(), "a");
    assert!(scratch.store.images().blobs().contains(&layer("base")));
    assert!(!scratch.store.images().blobs().contains(&layer("c")));
    assert_eq!(scratch.store.images().list().unwrap().len(), 1);
    let index = fs::read_to_string(scratch.root.join("images/index.json")).unwrap();
    assert_eq!(index.matches("dev.larder.key").count(), 1, "{index}");
    scratch.assert_whole();
    let events = scratch.store.events().read().unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == Kind::Evict).count(), 2);
}

#[test]
fn planning_and_applying_equals_running() {
    let (planned, run) = (Scratch::new(), Scratch::new());
    let limits = "--max-images 2 --max-age 25h";
    let plan = planned.three().run(&format!("plan {limits} --json")).ends(0).stdout();
    assert_eq!(planned.keys(), "a b c");
    planned.feed("apply", &plan).ends(0);
    run.three().run(&format!("run {limits}")).ends(0);
    assert_eq!(planned.keys(), run.keys());
    assert_eq!(planned.blobs(), run.blobs());
    // Twice does no harm.
    planned.feed("apply -", &plan).ends(0).says("kept `c`: gone already");
}

#[test]
fn a_dry_run_removes_nothing() {
    let scratch = Scratch::new();
    let ran = scratch.three().run("run --dry-run --max-images 0").ends(0);
    assert_eq!(ran.stdout().lines().count(), 4);
    scratch.run("clean --dry-run").ends(0);
    assert_eq!(scratch.keys(), "a b c");
}

#[test]
fn apply_keeps_what_changed_since_the_plan() {
    let scratch = Scratch::new();
    write(&scratch.store, &["idle", "base"]);
    let plan = scratch.three().save("d", 40, &["d"]).run("plan --max-images 0 --json").ends(0).stdout();
    scratch.store.images().touch(&"a".parse().unwrap());
    scratch.store.images().pin(&"b".parse().unwrap()).unwrap();
    save(&scratch.store, "c", &["base", "another"]);
    save(&scratch.store, "new", &["idle"]);
    let ran = scratch.feed("apply", &plan).ends(1);
    for line in ["kept `a`: used since", "kept `b`: pinned since", "kept `c`: something else was saved"] {
        assert!(ran.stderr().contains(line), "{}", ran.stderr());
    }
    assert_eq!(scratch.keys(), "a b c new");
    scratch.assert_whole();
}

#[test]
fn apply_keeps_what_was_used_although_it_had_been_used_a_moment_before() {
    let scratch = Scratch::new();
    save(&scratch.store, "a", &["base"]);
    save(&scratch.store, "b", &["base"]);
    let plan = scratch.run("plan --max-images 0 --json").ends(0).stdout();
    scratch.store.images().touch(&"a".parse().unwrap());
    scratch.feed("apply", &plan).ends(1).says("kept `a`: used since");
    assert_eq!(scratch.keys(), "a");
}

#[test]
fn apply_refuses_what_is_no_plan_and_removes_nothing() {
    let scratch = Scratch::new();
    let plan = scratch.three().run("plan --max-images 0 --json").ends(0).stdout();
    let cut = plan.rsplit_once("{\"kind\":\"end\"").unwrap().0;
    scratch.feed("apply", cut).ends(2).says("cut off");
    scratch.feed("apply", &plan.replace("\"key\":\"a\"", "\"key\":\"../../a\"")).ends(2).says("not a key");
    scratch.feed("apply", "WHAT  FREES\n").ends(2).says("line 1");
    scratch.run("apply nowhere").ends(2).says("nowhere");
    assert_eq!(scratch.keys(), "a b c");
    let outside = scratch.root.join("../outside");
    fs::create_dir(&outside).unwrap();
    let trash = r#"{"kind":"trash","name":"../../outside","bytes":1,"why":"trash-grace"}"#;
    let (first, last) = (plan.lines().next().unwrap(), plan.lines().last().unwrap());
    scratch.feed("apply", &format!("{first}\n{trash}\n{last}\n")).ends(1);
    assert!(outside.exists());
}

#[test]
fn a_pin_keeps_an_image_and_the_limit_is_said_to_be_broken() {
    let scratch = Scratch::new();
    scratch.three().run("pin c nothing").ends(1).says("nothing is stored under `nothing`");
    scratch.run("run --max-images 0 --max-age 1s").ends(1).says("1 image left, over the limit of 0");
    assert_eq!(scratch.keys(), "c");
    scratch.run("clean").ends(0);
    assert_eq!(scratch.keys(), "c");
    assert!(scratch.run("ls").ends(0).stdout().contains("(pinned)"));
    scratch.run("unpin c").ends(0);
    scratch.run("unpin c").ends(1);
    scratch.run("run --max-images 0").ends(0);
    assert_eq!(scratch.keys(), "");
}

#[test]
fn what_somebody_is_writing_stays_and_is_said() {
    let scratch = Scratch::new();
    scratch.three();
    let leases = write(&scratch.store, &["new", "base"]);
    scratch.run("run").ends(0).says("kept 2 blobs: in use");
    drop(leases);
    // A process that another test is just starting has them too, until it runs.
    let mut runs = (0..100).map(|_| scratch.run("run").ends(0));
    runs.find(|ran| !ran.stderr().contains("in use")).unwrap().says("2 blobs");
    assert!(!scratch.store.images().blobs().contains(&layer("new")));
}

#[test]
fn undo_brings_back_the_last_run_and_then_the_one_before() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    scratch.run("run --max-images 0").ends(0);
    assert_eq!(scratch.run("undo").ends(0).stdout(), "a\nb\n");
    scratch.assert_whole();
    assert_eq!(scratch.run("undo --json").ends(0).stdout(), "{\"key\":\"c\"}\n");
    assert_eq!(scratch.keys(), "a b c");
    scratch.assert_whole();
    scratch.run("undo").ends(1).says("nothing to bring back");
    // What was brought back counts as used now.
    scratch.run("run --max-age 1h").ends(0);
    assert_eq!(scratch.keys(), "a b c");
}

#[test]
fn undo_brings_back_no_image_whose_blobs_are_gone() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    let batch = scratch.store.trash().batches().unwrap().remove(0);
    let blob = format!("trash/{}/images/blobs/sha256/{}", batch.name(), layer("c").hex());
    fs::remove_file(scratch.root.join(blob)).unwrap();
    scratch.run("undo").ends(1).says("`c` could not be brought back: it lacks 1 blob");
    assert_eq!(scratch.keys(), "a b");
    scratch.assert_whole();
}

#[test]
fn a_limit_of_bytes_counts_the_trash_and_empties_it() {
    let scratch = Scratch::new();
    scratch.three().run("run --max-images 2").ends(0);
    let df = |name: &str| {
        let out = scratch.run("df --json").ends(0).stdout();
        serde_json::from_str::<serde_json::Value>(&out).unwrap()[name].as_u64().unwrap()
    };
    assert!(df("trash") >= 12_288);
    let images = df("unique") + df("shared");
    scratch.run(&format!("run --max-size {images}B")).ends(0).says("emptied");
    assert_eq!(df("trash"), 0);
    scratch.run(&format!("run --max-size {}B", images - 1)).ends(0).says("removed 1 image");
    assert_eq!((df("trash"), scratch.keys().as_str()), (0, "a"));
    scratch.run("undo").ends(1);
    scratch.assert_whole();
}

/// The parts of `df --json` that add up to `total`.
pub(crate) const PARTS: [&str; 13] = [
    "unique",
    "shared",
    "unreferenced",
    "packages",
    "packages-shared",
    "packages-unneeded",
    "unfinished",
    "trash",
    "damaged",
    "contexts",
    "events",
    "first-seen",
    "other",
];

#[test]
fn the_parts_of_df_add_up_to_what_du_says() {
    let scratch = Scratch::new();
    scratch.three().save("d", 1, &["base", "d"]).run("run --max-images 3").ends(0);
    write(&scratch.store, &["idle"]);
    fs::write(scratch.root.join("images/blobs/sha256/.tmp-dead"), vec![1; 70_000]).unwrap();
    fs::hard_link(scratch.root.join("images/oci-layout"), scratch.root.join("again")).unwrap();
    let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
    let du = Ran::of(scratch.session.program("du").args(["-s", "--block-size=1", scratch.root.as_str()]));
    let du: u64 = du.stdout().split('\t').next().unwrap().parse().unwrap();
    assert_eq!(df["total"], du);
    assert_eq!(PARTS.iter().map(|part| df[part].as_u64().unwrap()).sum::<u64>(), du);
    assert!(df["unreferenced"].as_u64().unwrap() >= 8192 && df["unfinished"].as_u64().unwrap() >= 69_632);
}

#[test]
fn what_a_dead_writer_left_goes() {
    for folder in ["images/blobs/sha256", "packages/blobs/sha256"] {
        let scratch = Scratch::new();
        scratch.three();
        fs::create_dir_all(scratch.root.join(folder)).unwrap();
        let [dead, body] = [".tmp-dead", "body"].map(|name| scratch.root.join(folder).join(name));
        for path in [&dead, &body] {
            fs::write(path, vec![1; 70_000]).unwrap();
        }
        assert!(scratch.run("plan").ends(0).stdout().contains("unfinished files  73.7kB"));
        scratch.run("run").ends(0);
        assert!(!dead.exists() && body.exists());
    }
}

#[test]
fn what_lies_beside_no_image_goes() {
    for folder in ["images/inputs", "images/fetched"] {
        let scratch = Scratch::new();
        scratch.three();
        let [ownerless, owned] = ["x", "a"].map(|key| scratch.root.join(folder).join(key));
        fs::write(&ownerless, "larder\n").unwrap();
        fs::write(&owned, "larder\n").unwrap();
        assert!(scratch.run("plan").ends(0).stdout().contains("unfinished files"));
        scratch.run("run").ends(0);
        assert!(!ownerless.exists() && owned.exists());
        assert_eq!(scratch.run("plan").ends(0).stdout(), "");
    }
}

#[test]
fn what_lies_beside_an_image_counts_and_goes_and_comes_with_it() {
    let scratch = Scratch::new();
    scratch.three();
    let df = || {
        let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
        let du = Ran::of(scratch.session.program("du").args(["-s", "--block-size=1", scratch.root.as_str()]));
        assert_eq!(df["total"].to_string(), du.stdout().split('\t').next().unwrap());
        df["unique"].as_u64().unwrap()
    };
    let before = df();
    let files = ["images/inputs/c", "images/fetched/c"].map(|file| scratch.root.join(file));
    for file in &files {
        fs::write(file, vec![1; 5000]).unwrap();
    }
    assert_eq!(df(), before + 2 * 8192);
    scratch.run("run --max-images 1").ends(0);
    assert_eq!(scratch.keys(), "a");
    assert!(files.iter().all(|file| !file.exists()));
    df();
    scratch.run("undo").ends(0);
    assert!(files.iter().all(|file| file.exists()));
    df();
}

#[test]
fn what_is_left_is_what_df_shows() {
    let scratch = Scratch::new();
    scratch.three();
    let line = |words: &str| {
        let out = scratch.run(words).ends(0).stdout();
        serde_json::from_str::<serde_json::Value>(out.lines().last().unwrap()).unwrap()
    };
    let planned = line("plan --json --max-images 1")["bytes"].as_u64().unwrap();
    let swept = line("run --json --max-images 1")["left"]["bytes"].as_u64().unwrap();
    let df = line("df --json");
    let apart =
        ["other", "contexts", "events", "first-seen", "trash-folders"].map(|part| df[part].as_u64().unwrap());
    let found = df["total"].as_u64().unwrap() - apart.iter().sum::<u64>();
    assert_eq!((planned, swept), (found, found));
}

#[test]
fn damaged_blobs_are_no_trash_that_could_come_back() {
    let scratch = Scratch::new();
    scratch.three();
    let blobs = scratch.store.images().blobs();
    fs::write(blobs.path(&layer("a")), "damaged").unwrap();
    blobs.verify(&layer("a")).unwrap_err();
    blobs.move_aside(&layer("a")).unwrap();
    let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
    let folders = df["trash-folders"].as_u64().unwrap();
    assert_eq!((df["trash"].as_u64(), df["damaged"].as_u64()), (Some(0), Some(4096 + folders)));
    scratch.run("run --trash-grace 0s").ends(0);
    let df: serde_json::Value = serde_json::from_str(&scratch.run("df --json").ends(0).stdout()).unwrap();
    assert_eq!(df["damaged"], 0);
}

#[test]
fn where_no_store_is_yet_there_is_nothing_to_do() {
    let session = session();
    for (store, words, code) in [
        ("none", "ls", 0),
        ("none", "df", 0),
        ("none", "plan --max-images 1", 0),
        ("none", "run --max-images 1", 0),
        ("none", "clean", 0),
        ("none", "undo", 1),
        ("none", "pin a", 1),
        ("none", "unpin a", 1),
        (".", "run", 0),
    ] {
        let mut command = session.command(words);
        command.env("LARDER_DIR", store);
        Ran::of(&mut command).ends(code).says("there is no store at `");
        Ran::of(command.args(["--store", store])).ends(2).says("there is no store at `");
        assert_eq!(fs::read_dir(session.path("")).unwrap().count(), 0, "{words} made something");
    }
}

#[test]
fn what_a_damaged_image_may_need_stays() {
    let scratch = Scratch::new();
    let images = scratch.three().store.images();
    let manifest = images.peek(&"b".parse().unwrap()).unwrap().unwrap().entry.descriptor.digest;
    let before = scratch.blobs();
    fs::write(images.blobs().path(&manifest), "damaged").unwrap();
    for command in ["run --max-images 1", "plan"] {
        scratch.run(command).ends(0).says("gcctl rm b");
    }
    assert_eq!(scratch.keys(), "a b");
    assert!(
        before.iter().filter(|digest| **digest != manifest).all(|digest| scratch.blobs().contains(digest))
    );
    fs::write(scratch.root.join("images/keys/b"), "<<<<<<< HEAD\n").unwrap();
    scratch.run("run").ends(0).says("gcctl rm b");
    scratch.run("verify").ends(3);
}

#[test]
fn another_tools_image_is_kept() {
    let scratch = Scratch::new();
    scratch.three();
    let leases = write(&scratch.store, &["foreign"]);
    let manifest = leases.last().unwrap();
    let descriptor = Descriptor::new(MANIFEST, manifest.digest(), manifest.size());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor]});
    fs::write(scratch.root.join("images/index.json"), index.to_string()).unwrap();
    drop(leases);
    scratch.run("run").ends(0);
    assert!(scratch.store.images().blobs().contains(&layer("foreign")));
    assert_eq!(scratch.store.images().keys().unwrap().len(), 4);
    scratch.assert_whole();
}

#[test]
fn a_store_that_is_too_small_is_said_to_be() {
    let scratch = Scratch::new();
    for key in ["x", "y", "z"].map(|key| key.parse::<Key>().unwrap()) {
        let note =
            |tool, kind| scratch.store.events().record(&Event::new(tool, kind, &key, Timestamp::now()));
        note("gcctl", Kind::Evict).unwrap();
        note("imgtar", Kind::Miss).unwrap();
    }
    scratch.three().run("run --max-images 3").ends(0).says("3 were wanted again");
}

#[test]
fn uses_count_and_are_listed() {
    let scratch = Scratch::new();
    scratch.three();
    let key: Key = "c".parse().unwrap();
    for _ in 0..7 {
        scratch.store.events().record(&Event::new("imgtar", Kind::Hit, &key, Timestamp::now())).unwrap();
    }
    let out = scratch.run("ls").ends(0).stdout();
    assert_eq!(out.lines().next().unwrap(), "KEY    SIZE     OWN  LAST USE  USES  NAMES");
    assert_eq!(out.lines().last().unwrap(), "c    28.7kB  16.4kB  30 h ago     7");
    // How often counts only among those that were last used at the same time.
    scratch.run("run --max-images 2").ends(0);
    assert_eq!(scratch.keys(), "a b");
}

#[test]
fn a_folder_that_is_no_store_is_refused() {
    let session = session().file("thesis.tex", "x");
    session.run("ls --store .").ends(2).says("is not a larder store");
}

#[test]
fn writers_and_two_collectors_at_once_leave_every_image_whole() {
    let scratch = Scratch::new();
    scratch.three();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for limit in ["run --max-images 3 -q", "run --max-images 2 --trash-grace 0s -q --force"] {
            let (scratch, over) = (&scratch, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let ran = scratch.run(limit);
                    assert!(matches!(ran.code(), 0 | 1), "{ran}");
                }
            });
        }
        let writer = |name: &'static str| {
            let scratch = &scratch;
            move || {
                for round in 0..40 {
                    let (own, reused) = (format!("{name}{round}"), format!("shared{}", round % 4));
                    save(&scratch.store, &own, &["base", &reused, &own]);
                }
            }
        };
        let writers = [scope.spawn(writer("v")), scope.spawn(writer("w"))];
        let done = writers.map(thread::ScopedJoinHandle::join);
        over.store(true, Ordering::Relaxed);
        for it in done {
            it.unwrap();
        }
    });
    scratch.assert_whole();
    scratch.run("run --max-images 2 --trash-grace 0s --force").ends(0);
    assert_eq!(scratch.store.images().keys().unwrap().len(), 2);
    // Two images: base, config, and for each its own, its manifest and what it reuses.
    assert!(scratch.blobs().len() <= 8, "{:?}", scratch.blobs());
    scratch.assert_whole();
}

#[test]
fn a_sweep_that_is_killed_leaves_a_whole_store_and_the_next_one_ends_it() {
    let scratch = Scratch::new();
    for round in 0..30_u64 {
        for number in 0..12 {
            let name = format!("k{number}");
            scratch.save(&name, 1 + number, &["base", &name, &format!("r{round}-{number}")]);
        }
        let mut child = quiet(&mut scratch.command("run --max-images 2 -q"));
        // Any moment may be the bad one: no event tells of it.
        thread::sleep(Duration::from_micros(500 + round * 900));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(9), "{status}");
        scratch.run("verify").ends(0);
        scratch.assert_whole();
    }
    scratch.run("run --max-images 2 --trash-grace 0s --force").ends(0);
    assert_eq!(scratch.keys(), "k0 k1");
    assert_eq!(scratch.blobs().len(), 8);
    assert!(!fs::read_dir(scratch.root.join("trash")).unwrap().any(|_| true));
}

#[test]
fn ctrl_c_ends_a_sweep_between_two_steps() {
    let scratch = Scratch::new();
    scratch.three();
    let plan = scratch.run("plan --max-images 0 --json").ends(0).stdout();
    // The sweep waits for the lock, and finds that it was told to stop after its first step.
    let lock = scratch.store.lock_shared().unwrap();
    let mut command = scratch.command("apply");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(plan.as_bytes()).unwrap();
    until_it_listens(&child);
    until_it_waits(&child);
    signal(&child, "INT");
    until_it_waits(&child);
    drop(lock);
    let ran = Ran::after("apply", child).ends(130).says("stopped before the end");
    assert!(!ran.stderr().contains("came or changed"), "nobody else was there: {}", ran.stderr());
    scratch.assert_whole();
    scratch.run("run --trash-grace 0s").ends(0);
    assert_eq!(scratch.blobs().len(), if scratch.keys().is_empty() { 0 } else { 8 });
}

fn quiet(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_full_disk_is_no_hindrance() {
    if !have(&[Part::Mount]) {
        return;
    }
    let left = |said: &str| said.split_once("left: ").unwrap().1.lines().next().unwrap().to_owned();
    for limits in ["--max-images 2 --min-free 10kB", "--max-images 2"] {
        let session = session();
        let folder = session.path("disk");
        let _disk = Mount::new(&folder, "2m");
        let scratch = Scratch::at(session, folder.join("store"));
        scratch.three();
        let mut filler = fs::File::create(folder.join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        assert_eq!(rustix::fs::statvfs(folder.as_std_path()).unwrap().f_bavail, 0);
        let ran = scratch.run(&format!("run {limits}")).ends(0);
        assert!(ran.stderr().contains("removed 1 image"), "{}", ran.stderr());
        scratch.assert_whole();
        assert_eq!(scratch.keys(), "a b");
        assert_eq!(
            left(&ran.stderr()),
            left(&scratch.run("plan --max-images 2").ends(0).stderr()),
            "{limits}"
        );
    }
}

#[test]
fn the_manual_is_as_it_was_reviewed() {
    let scratch = Scratch::new();
    let mut manual = String::new();
    for page in [
        "",
        "ls ",
        "info ",
        "df ",
        "stats ",
        "report ",
        "verify ",
        "what-if ",
        "plan ",
        "apply ",
        "run ",
        "pin ",
        "unpin ",
        "clean ",
        "undo ",
        "engine ",
        "engine plan ",
    ] {
        let out = scratch.run(&format!("{page}--help")).ends(0).stdout();
        manual.extend(["$ gcctl ", page, "--help\n", &out, "\n"]);
    }
    let manual: String = manual.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt"), &manual);
}

#[test]
fn a_filter_of_packages_lists_no_images() {
    let scratch = Scratch::new();
    scratch.three();
    assert_eq!(scratch.run("ls --ecosystem npm -0").ends(0).stdout(), "");
    scratch.run("ls --ecosystem npm").ends(0).says("no packages match");
    for what in ["images", "extra", "trash", "events"] {
        let ran = scratch.run(&format!("ls {what} --ecosystem npm")).ends(2);
        ran.says(&format!("what `ls {what}` lists has no ecosystem"));
    }
    scratch.run("ls --ecosystem nmp").ends(2).says("is `npm` meant?");
    scratch.run("ls packages --ecosystem go").ends(0).says("no packages match");
    scratch.run("ls --name nothing").ends(0).says("no images match");
}

#[test]
fn a_stray_file_in_the_trash_stops_nothing() {
    let scratch = Scratch::new();
    scratch.three();
    fs::create_dir_all(scratch.root.join("trash")).unwrap();
    fs::write(scratch.root.join("trash/note"), "x").unwrap();
    scratch.run("run --trash-grace 0s").ends(0);
    scratch.run("run --max-images 2 --trash-grace 0s").ends(0);
    assert_eq!(scratch.keys(), "a b");
}
