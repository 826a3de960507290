//! `pkgcache record`, `replay`, `export` and `import`: an index that moves on changes nothing for
//! who has a record, on this machine and on one without a network.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::Command;

use camino::Utf8Path;
use larder_tests::parts::{NPM, PIP, installed};
use larder_tests::{Part, Ran, have, signal, until};
use serde_json::{Value, json};

use crate::columns::Client;
use crate::npm::{self, Npm};
use crate::python::{self, Pip};
use crate::world::World;

/// A command of pkgcache's in a place of the client's own, with the clients of these tests before
/// the machine's.
fn pkgcache(world: &World, place: &str, words: &[&str]) -> Command {
    let mut command = world.client(place, "pkgcache", words);
    let folder = installed(PIP).parent().unwrap().to_owned();
    let tools = larder_tests::tools::folder();
    command.env("PATH", format!("{folder}:{tools}:{}", larder_tests::tools::path()));
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_CACHE_DIR", "cache").env("PIP_RETRIES", "0");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_COMPILE", "1");
    command.env("npm_config_cache", "cache").env("npm_config_update_notifier", "false");
    command.env("npm_config_fund", "false").env("npm_config_fetch_retries", "0");
    command
}

const INSTALL: [&str; 6] = ["--", "pip", "install", "--target", "there", "larder-demo"];

fn pip(world: &World, place: &str, words: &[&str]) -> Ran {
    World::run(pkgcache(world, place, &[words, &INSTALL].concat()))
}

/// npm in a project that wants the package, without a lock file.
fn npm(world: &World, place: &str, words: &[&str]) -> Ran {
    let project = json!({ "name": "p", "version": "1.0.0", "dependencies": { "larder-demo": "^1.0.0" } });
    world.session.write(&format!("{place}/package.json"), project.to_string());
    let script = installed(NPM);
    World::run(pkgcache(world, place, &[words, &["--", "node", script.as_str(), "install"]].concat()))
}

/// All files below a place, with what is in them.
fn files(world: &World, place: &str) -> BTreeMap<String, Vec<u8>> {
    fn below(root: &Utf8Path, folder: &Utf8Path, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                below(root, &path, all);
            } else {
                all.insert(path.strip_prefix(root).unwrap().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    let (root, mut all) = (world.session.path(place), BTreeMap::new());
    below(&root, &root, &mut all);
    assert!(!all.is_empty(), "nothing is in {place}");
    all
}

/// The index has a newer version, and not the older one any more, nor its wheel.
fn python_moves_on(world: &World) {
    let newer = python::BUILD.replace("'2.0.0+local.1', [], noise", "'3.0.0', [], 'newer\\n'");
    world.session.write("newer/build.py", newer);
    world.session.write("newer/noise", "x");
    let rows = world.session.run("cd newer && python3 build.py").ok().json();
    let row = rows.as_array().unwrap().iter().find(|row| row["version"] == "3.0.0").unwrap().clone();
    let name = row["filename"].as_str().unwrap();
    let path = format!("/packages/ab/{name}");
    world.files().put(&path, fs::read(world.session.path(&format!("newer/{name}"))).unwrap());
    let page = String::from_utf8(world.content("/simple/larder-dep/")).unwrap();
    let mut page: Value = serde_json::from_str(&page).unwrap();
    let file = json!({
        "filename": name, "url": format!("{}{path}", world.files().url()), "hashes": { "sha256": row["sha256"] },
    });
    page["files"] = json!([file]);
    page["versions"] = json!(["3.0.0"]);
    let fields = "content-type: application/vnd.pypi.simple.v1+json\ncache-control: max-age=600";
    world.site.put_with("/simple/larder-dep/", fields, page.to_string());
    world.files().remove("/packages/ab/larder_dep-2.0.0%2Blocal.1-py3-none-any.whl");
    world.age();
}

fn lines(world: &World, record: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.session.path(record)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn pip_installs_by_a_record_what_it_installed_then_here_and_behind_an_air_gap() {
    if !have(Pip::PARTS) {
        return;
    }
    let mut world = Pip::world();
    world.serve("");
    pip(&world, "one", &["record", "-o", "../r.ndjson"]).ok();
    let then = files(&world, "one/there");
    assert!(then.keys().any(|path| path.contains("larder_dep-2.0.0")), "{:?}", then.keys());
    let record = lines(&world, "r.ndjson");
    assert_eq!((&record[0]["version"], &record[0]["complete"]), (&json!(2), &json!(true)));
    let of = |path: &str| record.iter().find(|it| it["url"].as_str().is_some_and(|it| it.ends_with(path)));
    let page = of("/simple/larder-dep/").expect("the index is on record");
    assert!(page["kept"].is_string() && page["digest"].is_string(), "{page}");
    let wheel = of("larder_dep-2.0.0+local.1-py3-none-any.whl").expect("the wheel is on record");
    assert_eq!(
        (&wheel["name"], &wheel["version"]),
        (&json!("larder-dep"), &json!("2.0.0+local.1")),
        "{wheel}"
    );
    assert_eq!(wheel["level"], "indexed");

    let first = world.session.run("pkgcache export first.tar.zst --record r.ndjson --json").ok().json();
    assert!(first["bodies"].as_u64().unwrap() >= 4, "{first}");
    python_moves_on(&world);
    pip(&world, "now", &["run"]).ok();
    assert!(files(&world, "now/there").keys().any(|path| path.contains("larder_dep-3.0.0")));
    // The record has the index as it was, and the wheel that is gone upstream.
    world.forget();
    let replayed = pip(&world, "again", &["replay", "../r.ndjson"]).ok();
    assert_eq!(files(&world, "again/there"), then, "{replayed}");
    assert!(world.log().is_empty(), "a replay asked: {:?}", world.log());
    // What is not in the record is refused, and named.
    let other = ["replay", "../r.ndjson", "--", "pip", "install", "--target", "there", "larder-other"];
    let refused = World::run(pkgcache(&world, "other", &other)).fails();
    assert!(refused.stderr().contains("not in the record that is replayed"), "{refused}");
    assert!(refused.stderr().contains("/simple/larder-other/"), "{refused}");

    // Another machine: another store, and no upstream.
    let later = world.session.run("pkgcache export later.tar.zst --since first.tar.zst --json").ok().json();
    assert!(later["bodies"].as_u64() > Some(0) && later["expected"].as_u64() > Some(0), "{later}");
    world.unplug();
    let store = ["--store", "../other-store"];
    let import =
        |file: &str| world.session.run(&format!("pkgcache --store other-store --json import {file}"));
    world.session.run("mkdir -p other-store && rmdir other-store").ok();
    let early = import("later.tar.zst").ends(1);
    assert!(early.json()["missing"].as_u64() > Some(0), "{early}");
    pip(&world, "early", &[&store[..], &["replay", "../r.ndjson"]].concat())
        .ends(1)
        .says("cannot be replayed");
    import("first.tar.zst").ok();
    let again = import("first.tar.zst").ok().json();
    assert_eq!((&again["written"], &again["bytes"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(import("later.tar.zst").ok().json()["missing"], 0);
    pip(&world, "behind", &[&store[..], &["replay", "../r.ndjson"]].concat()).ok();
    assert_eq!(files(&world, "behind/there"), then);
    // Without the record, the newest that came counts.
    pip(&world, "newest", &[&store[..], &["run", "--offline"]].concat()).ok();
    assert!(files(&world, "newest/there").keys().any(|path| path.contains("larder_dep-3.0.0")));
    world.session.run("pkgcache --store other-store verify").ok();
    world.heal();
}

#[test]
fn npm_installs_by_a_record_what_it_installed_then() {
    if !have(Npm::PARTS) {
        return;
    }
    let mut world = npm::registry("");
    world.serve("");
    npm(&world, "one", &["record", "-o", "../r.ndjson"]).ok();
    let then = files(&world, "one/node_modules");
    // The version that was installed is taken back, and no other fits.
    let packument = String::from_utf8(world.content("/@larder%2Fdep")).unwrap();
    let mut packument: Value = serde_json::from_str(&packument).unwrap();
    packument["versions"].as_object_mut().unwrap().remove("2.0.1").unwrap();
    packument["dist-tags"]["latest"] = json!("1.0.0");
    world.site.put_with("/@larder%2Fdep", "content-type: application/json", packument.to_string());
    world.age();
    npm(&world, "now", &["run"]).fails();
    world.unplug();
    let replayed = npm(&world, "again", &["replay", "../r.ndjson"]).ok();
    assert_eq!(files(&world, "again/node_modules"), then, "{replayed}");
    // A lock file's install needs the index for the cache alone: that is on record as well.
    world.heal();
    fs::copy(world.session.path("one/package-lock.json"), world.session.path("again/package-lock.json"))
        .unwrap();
    let lock = fs::read(world.session.path("one/package-lock.json")).unwrap();
    let ci = |place: &str, words: &[&str]| {
        world.session.write(&format!("{place}/package-lock.json"), &lock);
        let package = fs::read(world.session.path("one/package.json")).unwrap();
        world.session.write(&format!("{place}/package.json"), package);
        let script = installed(NPM);
        World::run(pkgcache(&world, place, &[words, &["--", "node", script.as_str(), "ci"]].concat()))
    };
    world.session.run("pkgcache rm --ecosystem npm").ok();
    world.site.put_with("/@larder%2Fdep", "content-type: application/json", world.content("/@larder%2Fdep"));
    ci("locked", &["record", "-o", "../ci.ndjson"]).ok();
    assert!(lines(&world, "ci.ndjson").iter().any(|it| it["needed"] == true), "no index is on record");
    world.unplug();
    ci("relocked", &["replay", "../ci.ndjson"]).ok();
    assert_eq!(files(&world, "relocked/node_modules"), then);
    world.heal();
}

#[test]
fn an_import_that_is_killed_leaves_a_store_that_works_and_goes_on() {
    if !have(&[Part::Curl]) {
        return;
    }
    let world = World::new("files", "/", "", None);
    for number in 0..40 {
        world.site.put(&format!("/{number}"), format!("{number} ").repeat(50_000 + number));
    }
    world.session.write("larder.toml", format!("[pkgcache.upstream]\nf = \"{}/\"\n", world.site.url()));
    let script = "for n in $(seq 0 39); do curl -sSf -o /dev/null $LARDER_PKGCACHE_URL/f/$n; done";
    let mut record = pkgcache(&world, "one", &["record", "-o", "../r.ndjson", "--", "sh", "-c", script]);
    Ran::of(record.env_remove("http_proxy")).ok();
    world.session.run("pkgcache export all.tar.zst --record r.ndjson && mkfifo pipe").ok();
    let whole = fs::read(world.session.path("all.tar.zst")).unwrap();
    let mut child = world.session.start("exec pkgcache --store other-store import pipe");
    let mut pipe = fs::File::options().write(true).open(world.session.path("pipe")).unwrap();
    pipe.write_all(&whole[..whole.len() * 3 / 4]).unwrap();
    pipe.flush().unwrap();
    let entries = world.session.path("other-store/packages/entries");
    until("something is stored", || entries.is_dir() && fs::read_dir(&entries).unwrap().next().is_some());
    signal(&child, "KILL");
    child.wait().unwrap();
    drop(pipe);
    let store = "--store other-store";
    world.session.run(&format!("pkgcache {store} verify")).ok();
    let again = world.session.run(&format!("pkgcache {store} --json import all.tar.zst")).ok().json();
    assert!(again["present"].as_u64() > Some(0) && again["written"].as_u64() > Some(0), "{again}");
    world.unplug();
    Ran::of(&mut pkgcache(
        &world,
        "two",
        &["--store", "../other-store", "replay", "../r.ndjson", "--", "sh", "-c", script],
    ))
    .ok();
    // One that is damaged on the way is refused by name.
    let mut bad = whole.clone();
    let at = bad.len() / 2;
    bad[at] ^= 1;
    world.session.write("bad.tar.zst", bad);
    let refused = world.session.run("pkgcache --store third-store import bad.tar.zst").ends(3);
    assert!(refused.stderr().contains("bad.tar.zst` is damaged"), "{refused}");
    world.session.run("pkgcache --store third-store verify").ok();
    world.heal();
}

/// Its layers have the times that they are given, so that the same steps give the same image.
#[test]
fn a_build_that_is_replayed_after_the_index_moved_on_gives_the_same_image() {
    if !have(&[Part::Podman, Part::ClientBase, Part::Python]) {
        return;
    }
    let mut world = Pip::world();
    world.serve("");
    world.session = world.session.with_podman();
    let base = world.session.client_base_of("../bin/podman");
    let step = "RUN pip install --no-compile --break-system-packages --target /there larder-demo && rm -rf /root/.cache\n";
    let text = format!("{}\n{step}", world.session.from(&base));
    world.session.write("Dockerfile", text);
    let build = |words: &str, tag: &str| {
        let podman = "../bin/podman build --layers=false --timestamp=0 --no-cache --runtime runc \
            --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
        world.session.run(&format!("pkgcache {words} -- {podman} -t {tag} .")).ok();
        let id = world.session.run(&format!("../bin/podman image inspect -f '{{{{.Id}}}}' localhost/{tag}"));
        id.ok().stdout()
    };
    let then = build("record -o r.ndjson", "then");
    python_moves_on(&world);
    assert_ne!(build("run", "now"), then, "the index has not moved on");
    world.unplug();
    assert_eq!(build("replay r.ndjson", "again"), then);
    world.heal();
}
