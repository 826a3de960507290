//! What guards keep from real clients, and what these show of it.

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

use crate::cargo::Registry;
use crate::columns::Client;
use crate::npm::{self, Npm, npm};
use crate::python::{Pip, pip};
use crate::world::World;

/// As indexes write it.
fn now() -> String {
    larder_tests::sh("date -u +%Y-%m-%dT%H:%M:%SZ")
}

/// Whether it failed, and shows its user which guard refused what.
#[track_caller]
fn shows(ran: &Ran, words: &[&str]) {
    let shown = format!("{}{}", ran.stdout(), ran.stderr());
    assert!(ran.code() != 0 && words.iter().all(|words| shown.contains(words)), "{shown}");
}

/// The registry with a version of the dependency that came a minute ago.
fn with_a_young_version() -> World {
    let world = npm::registry("");
    let mut packument: Value = serde_json::from_slice(&world.content("/@larder%2Fdep")).unwrap();
    let mut young = packument["versions"]["2.0.1"].clone();
    let tarball = world.content("/@larder/dep/-/dep-2.0.1.tgz");
    world.site.put("/@larder/dep/-/dep-2.1.0.tgz", tarball);
    young["version"] = "2.1.0".into();
    young["dist"]["tarball"] = format!("{}/@larder/dep/-/dep-2.1.0.tgz", world.site.url()).into();
    packument["versions"]["2.1.0"] = young;
    packument["dist-tags"]["latest"] = "2.1.0".into();
    packument["time"]["2.1.0"] = now().into();
    let text = packument.to_string();
    world.site.put_with("/@larder%2Fdep", "content-type: application/json", text);
    world
}

fn locked(world: &World, place: &str) -> String {
    let lock = std::fs::read_to_string(world.session.path(&format!("{place}/package-lock.json"))).unwrap();
    let lock: Value = serde_json::from_str(&lock).unwrap();
    lock["packages"]["node_modules/@larder/dep"]["version"].as_str().unwrap().to_owned()
}

#[test]
fn npm_takes_an_older_version_and_shows_why_a_locked_one_is_refused() {
    if !have(Npm::PARTS) {
        return;
    }
    let mut world = with_a_young_version();
    world.serve("");
    World::run(npm(&world, "before", &["install"], &world.url())).ok();
    assert_eq!(locked(&world, "before"), "2.1.0");

    world.serve("[pkgcache.guards]\ncooldown = \"7d\"");
    World::run(npm(&world, "after", &["install"], &world.url())).ok();
    assert_eq!(locked(&world, "after"), "2.0.1");
    let lock = std::fs::read(world.session.path("before/package-lock.json")).unwrap();
    let ci = |world: &World, place: &str| {
        let command = npm(world, place, &["ci"], &world.url());
        world.session.write(&format!("{place}/package-lock.json"), lock.clone());
        World::run(command)
    };
    shows(
        &ci(&world, "locked"),
        &["403", "refused by the guard `cooldown`: npm @larder/dep 2.1.0: it was published on"],
    );

    world.serve("[pkgcache.guards]\nblock = [\"npm:@larder/*\"]");
    world.forget();
    let blocked = World::run(npm(&world, "blocked", &["install"], &world.url()));
    shows(&blocked, &["403", "refused by the guard `block`: npm @larder/dep: `npm:@larder/*` is blocked"]);
    assert!(world.log().iter().all(|it| !format!("{it:?}").contains("@larder")), "{:?}", world.log());
}

#[test]
fn what_a_lock_file_names_and_a_guard_refuses_is_neither_warmed_nor_there() {
    if !have(Npm::PARTS) {
        return;
    }
    let mut world = with_a_young_version();
    world.serve("");
    World::run(npm(&world, "locked", &["install"], &world.url())).ok();
    // All of it is stored, and refused as a client would be.
    for (guard, words) in [
        ("cooldown = \"7d\"", "refused by the guard `cooldown`: npm @larder/dep 2.1.0"),
        ("block = [\"npm:@larder/dep@2.*\"]", "refused by the guard `block`: npm @larder/dep 2.1.0"),
    ] {
        world.serve(&format!("[pkgcache.guards]\n{guard}"));
        for command in ["check", "warm"] {
            let ran =
                world.session.run(&format!("pkgcache {command} --json locked/package-lock.json")).ends(1);
            let rows = ran.rows();
            let row = rows.iter().find(|row| row["package"] == "@larder/dep 2.1.0").unwrap();
            assert!(
                row["ok"] == false && row["problem"].as_str().unwrap().contains(words),
                "{command}: {ran}"
            );
            let others = rows.iter().filter(|row| row["package"] != "@larder/dep 2.1.0");
            assert!(others.clone().count() > 0 && others.clone().all(|row| row["ok"] == true), "{ran}");
        }
    }
}

#[test]
fn pip_takes_an_older_version_and_shows_why_there_is_none() {
    if !have(Pip::PARTS) {
        return;
    }
    let mut world = Pip::world();
    let path = "/simple/larder-dep/";
    let mut page: Value = serde_json::from_slice(&world.content(path)).unwrap();
    // The newest is young, and the demo needs it: without that, the older one is taken.
    page["files"][1]["upload-time"] = now().into();
    world.site.put_with(path, "content-type: application/vnd.pypi.simple.v1+json", page.to_string());
    let older = "larder_dep-1.0.0-py3-none-any.whl.metadata";
    let metadata = std::fs::read(world.session.path(older)).unwrap();
    world.files().put(&format!("/packages/ab/{older}"), metadata);
    world.serve("[pkgcache.guards]\ncooldown = { python = \"7d\" }");
    let install = |world: &World, place: &str, what: &str| {
        let words =
            ["install", "--target", "site", "--no-cache-dir", "-vv", "--index-url", &world.url(), what];
        World::run(pip(world, place, &words))
    };
    let older = install(&world, "older", "larder-dep");
    older.ok();
    assert!(world.session.path("older/site/larder_dep-1.0.0.dist-info").exists());

    world.serve("[pkgcache.guards]\nblock = [\"python:larder_dep\"]");
    world.forget();
    let blocked = install(&world, "blocked", "larder-demo");
    shows(&blocked, &["refused by the guard `block`: python larder-dep: `python:larder_dep` is blocked"]);
    assert!(world.log().iter().all(|it| !format!("{it:?}").contains("larder-dep")), "{:?}", world.log());
}

#[test]
fn cargo_chooses_no_refused_version_and_shows_why_a_locked_one_is() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    registry.lock("locked");
    let cache = registry.cache("[pkgcache.guards]\nblock = [\"cargo:beta@0.3*\"]\n");
    // As of a version that its author has taken back: an older one would do.
    shows(&registry.fetch("free", &cache), &["failed to select a version", "yanked"]);
    session.run("cp locked/Cargo.lock app/").ok();
    shows(
        &registry.fetch("by-lock", &cache),
        &["403", "refused by the guard `block`: cargo beta 0.3.0+x: `cargo:beta@0.3*` is blocked"],
    );
}
