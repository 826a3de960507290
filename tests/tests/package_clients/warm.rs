//! `pkgcache warm` and `check`: what lock files name is fetched once, and then the clients install
//! with their upstreams unplugged.

use std::process::Command;

use larder_tests::{Part, Ran, Session, have};
use serde_json::Value;

use crate::apt::repository::{Door, Repository};
use crate::cargo;
use crate::columns::{Client, is_installed, lines};
use crate::images::scene::Scene;
use crate::npm::{self, Npm, Pnpm, Yarn, YarnClassic};
use crate::python::{self, Pip, Uv};
use crate::world::World;

fn warm(session: &Session, words: &str) -> Ran {
    session.run(&format!("pkgcache warm --json {words}"))
}

fn check(session: &Session, words: &str) -> Ran {
    session.run(&format!("pkgcache check --json {words}"))
}

/// The packages that are not complete.
fn missing(ran: &Ran) -> Vec<String> {
    let rows = ran.rows();
    let bad = rows.iter().filter(|row| row["ok"] == false);
    bad.map(|row| row["package"].as_str().unwrap().to_owned()).collect()
}

fn sum(ran: &Ran, field: &str) -> u64 {
    ran.rows().iter().map(|row| row[field].as_u64().unwrap()).sum()
}

/// Makes a lock file without the cache, warms the cache by it, unplugs the upstream, and installs
/// by it.
#[track_caller]
fn by_lock<C: Client>(
    name: &str,
    lock: impl Fn(&World, &str) -> Command,
    install: impl Fn(&World, &str) -> Command,
) {
    if !have(C::PARTS) {
        return;
    }
    let mut world = C::world();
    world.serve("");
    World::run(lock(&world, "direct")).ok();
    let path = format!("direct/{name}");
    assert!(!missing(&check(&world.session, &path).ends(1)).is_empty());
    world.forget();
    let warmed = warm(&world.session, &path).ok();
    assert!(sum(&warmed, "fetched") > 0 && missing(&warmed).is_empty(), "{warmed}");
    world.unplug();
    // What is here is not fetched again.
    let again = warm(&world.session, &path).ok();
    assert_eq!((sum(&again, "fetched"), sum(&again, "files")), (0, sum(&warmed, "files")), "{again}");
    check(&world.session, &path).ok();
    world.forget();
    let text = std::fs::read_to_string(world.session.path(&path)).unwrap();
    world.session.write(&format!("frozen/{name}"), &text);
    let ran = World::run(install(&world, "frozen")).ok();
    is_installed::<C>(&world, "frozen", &ran);
    assert!(lines(&world).is_empty(), "{:?}", lines(&world));
    world.heal();
}

#[test]
fn npm_installs_by_its_lock_file() {
    by_lock::<Npm>(
        "package-lock.json",
        |world, place| Npm::install(world, place, &world.upstream()),
        |world, place| {
            let mut command = npm::npm(world, place, &["ci"], &world.url());
            command.env("npm_config_replace_registry_host", "always");
            command
        },
    );
}

#[test]
fn pnpm_installs_by_its_lock_file() {
    by_lock::<Pnpm>(
        "pnpm-lock.yaml",
        |world, place| Pnpm::install(world, place, &world.upstream()),
        |world, place| npm::pnpm(world, place, &["install", "--frozen-lockfile"], &world.url()),
    );
}

#[test]
fn yarn_1_installs_by_its_lock_file() {
    by_lock::<YarnClassic>(
        "yarn.lock",
        |world, place| YarnClassic::install(world, place, &world.upstream()),
        |world, place| {
            let words = ["install", "--frozen-lockfile"];
            let mut command = npm::yarn_classic(world, place, &words, &world.upstream());
            command.env("http_proxy", world.proxy());
            command
        },
    );
}

#[test]
fn yarn_4_installs_by_its_lock_file() {
    by_lock::<Yarn>(
        "yarn.lock",
        |world, place| Yarn::install(world, place, &world.upstream()),
        |world, place| npm::yarn(world, place, &["install", "--immutable"], &world.url()),
    );
}

#[test]
fn uv_installs_by_its_lock_file() {
    if !have(Uv::PARTS) {
        return;
    }
    let mut world = Uv::world();
    world.serve("");
    let uv = |place: &str, words: &[&str]| {
        let mut command = python::uv(&world, place, words);
        command.env("UV_DEFAULT_INDEX", world.upstream());
        command
    };
    World::run(uv("direct", &["lock"])).ok();
    let warmed = warm(&world.session, "direct/uv.lock").ok();
    assert!(sum(&warmed, "fetched") > 0 && missing(&warmed).is_empty(), "{warmed}");
    world.unplug();
    check(&world.session, "direct/uv.lock").ok();
    world.forget();
    let lock = std::fs::read_to_string(world.session.path("direct/uv.lock")).unwrap();
    world.session.write("frozen/uv.lock", lock);
    let mut command = uv("frozen", &["sync", "--frozen"]);
    command.env("http_proxy", world.proxy());
    World::run(command).ok();
    assert!(lines(&world).is_empty() && world.session.path("frozen/.venv/lib").is_dir());
    world.heal();
}

#[test]
fn pip_installs_by_requirements_with_hashes_and_by_pylock() {
    by_lock::<Pip>(
        "requirements.txt",
        |world, place| {
            let mut command =
                python::uv(world, place, &["pip", "compile", "-q", "--generate-hashes", "pyproject.toml"]);
            command.args(["-o", "requirements.txt"]).env("UV_DEFAULT_INDEX", world.upstream());
            command
        },
        |world, place| {
            let words = ["install", "--target", "out", "--require-hashes", "-r", "requirements.txt"];
            let mut command = python::pip(world, place, &words);
            command.env("PIP_INDEX_URL", world.url());
            command
        },
    );
    if !have(Pip::PARTS) {
        return;
    }
    let mut world = Pip::world();
    world.serve("");
    let mut command = python::pip(&world, "direct", &["lock", "larder-demo"]);
    command.env("PIP_INDEX_URL", world.upstream());
    World::run(command).ok();
    warm(&world.session, "direct/pylock.toml").ok();
    world.unplug();
    let checked = check(&world.session, "direct/pylock.toml").ok();
    assert_eq!(sum(&checked, "files"), 2, "{checked}");
    let ran = World::run(Pip::install(&world, "offline", &world.url())).ok();
    is_installed::<Pip>(&world, "offline", &ran);
}

/// What the lock file says of the bytes counts, also where the index says something else.
#[test]
fn another_checksum_than_the_lock_file_s_is_told() {
    if !have(Npm::PARTS) {
        return;
    }
    let mut world = Npm::world();
    world.serve("");
    World::run(Npm::install(&world, "direct", &world.upstream())).ok();
    let lock = std::fs::read_to_string(world.session.path("direct/package-lock.json")).unwrap();
    let mut value: Value = serde_json::from_str(&lock).unwrap();
    let integrity = format!("sha512-{}==", "A".repeat(86));
    value["packages"]["node_modules/larder-demo"]["integrity"] = integrity.into();
    world.session.write("package-lock.json", value.to_string());
    for run in [warm, check] {
        let ran = run(&world.session, "package-lock.json").ends(1);
        assert_eq!(missing(&ran), ["larder-demo 1.0.0"], "{ran}");
        assert!(ran.stdout().contains("and the lock file says `sha512:"), "{ran}");
    }
}

#[test]
fn a_package_that_the_upstream_does_not_have_is_named_and_the_others_come() {
    if !have(Npm::PARTS) {
        return;
    }
    let mut world = Npm::world();
    world.serve("");
    let lock = "\"left-behind@^1\":\n  version \"1.2.3\"\n  resolved \"https://elsewhere.example/left-behind/-/left-behind-1.2.3.tgz#\
                a9993e364706816aba3e25717850c26c9cd0d89d\"\n\n\"@larder/dep@^2\":\n  version \"2.0.1\"\n";
    world.session.write("yarn.lock", lock);
    let ran = world.session.run("pkgcache warm yarn.lock").ends(1);
    assert!(ran.stdout().starts_with("left-behind 1.2.3 (npm): `/npm/left-behind`: 404"), "{ran}");
    assert!(ran.stderr().contains("1 package is not complete"), "{ran}");
    let ran = check(&world.session, "yarn.lock").ends(1);
    assert_eq!(missing(&ran), ["left-behind 1.2.3"]);
    // A project that needs nothing of a lock file's kind.
    world.session.write("Cargo.lock", "version = 4\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n");
    let ran = world.session.run("pkgcache check -v Cargo.lock").ok();
    assert!(ran.stderr().contains("own 0.1.0 is a folder of the project's"), "{ran}");
}

#[test]
fn cargo_fetches_by_its_lock_file() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = cargo::Registry::new(&session);
    registry.lock("direct");
    let cache = registry.cache("");
    let warmed = warm(&session, "direct/Cargo.lock").ok();
    assert_eq!(sum(&warmed, "files"), 2, "{warmed}");
    registry.site.unplug();
    check(&session, "direct/Cargo.lock").ok();
    session.run("cp direct/Cargo.lock app/").ok();
    registry.fetch_locked("locked", &cache);
}

#[test]
fn apt_installs_what_a_list_names() {
    if !have(&[Part::Apt]) {
        return;
    }
    for (by_hash, door) in [(false, Door::Mount), (true, Door::Mount), (true, Door::Proxy)] {
        let session = Session::new();
        let repository = Repository::new(&session, by_hash);
        let cache = repository.checked("");
        session.write("apt.txt", "# what the image needs\nhello other=1.0+b1\n");
        let suite = "--suite stable --platform linux/amd64 apt.txt";
        check(&session, suite).ends(1);
        let warmed = warm(&session, suite).ok();
        assert_eq!(sum(&warmed, "files"), 2, "{warmed}");
        repository.site.unplug();
        check(&session, suite).ok();
        let cache = cache.offline();
        repository.client(&cache, door, "offline").works();
        session.write("apt.txt", "hello=9\nnone\n");
        let ran = check(&session, suite).ends(1);
        assert_eq!(missing(&ran), ["hello 9", "none"], "{ran}");
    }
}

#[test]
fn engines_pull_what_a_list_names() {
    if !have(&[Part::Skopeo, Part::Registry, Part::Curl]) {
        return;
    }
    let scene = Scene::new();
    let (own, other) = scene.push_list(true);
    let cache = scene.cache("");
    scene.session.write("images.txt", "one.example/library/app:all\n");
    check(&scene.session, "images.txt").ends(1);
    warm(&scene.session, "images.txt").ok();
    scene.site.unplug();
    check(&scene.session, "images.txt").ok();
    let cache = cache.offline();
    let line = format!(
        "skopeo --insecure-policy copy --src-tls-verify=false docker://{}/one.example/library/app:all dir:out",
        cache.authority()
    );
    scene.session.run(&line).ok();
    for layer in &own.layers {
        assert!(scene.session.path("out").join(layer.trim_start_matches("sha256:")).is_file());
    }
    let ls = scene.session.run("pkgcache ls --json").ok();
    assert!(!ls.stdout().contains(&other.layers[0]), "the other platform's layer came, too");
}
