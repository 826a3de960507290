//! Lock files that are made through the cache, beside those that are made without it; and what a
//! client does with one that was made without it.

use std::fs;
use std::process::Command;

use larder_tests::have;

use crate::columns::{Client, is_installed, lines};
use crate::npm::{self, Npm, Pnpm, Yarn, YarnClassic};
use crate::python::{self, LazyUv, Pip, Uv};
use crate::world::World;

/// Runs what makes a lock file, and reads that.
#[track_caller]
fn made(world: &World, place: &str, command: Command, lock: &str) -> String {
    World::run(command).ok();
    fs::read_to_string(world.session.path(place).join(lock)).unwrap()
}

/// A world whose cache runs, if the client is there.
fn started<C: Client>(mut world: World) -> Option<World> {
    have(C::PARTS).then(|| {
        world.serve("");
        world
    })
}

/// Puts a lock file into a project.
fn bring(world: &World, place: &str, name: &str, lock: &str) {
    world.session.write(&format!("{place}/{name}"), lock);
}

/// What is asked through the cache as a proxy.
fn through_proxy(world: &World, mut command: Command) -> Command {
    command.env("http_proxy", world.proxy());
    command
}

/// Installs by a lock file with the upstream cut off.
#[track_caller]
fn installs_unplugged<C: Client>(world: &World, place: &str, command: Command) {
    world.unplug();
    world.forget();
    let ran = World::run(command).ok();
    is_installed::<C>(world, place, &ran);
    assert!(lines(world).is_empty(), "{:?}", lines(world));
    world.heal();
}

#[test]
fn pnpm_writes_the_same_lock_file_and_installs_by_one_from_elsewhere() {
    let Some(world) = started::<Pnpm>(Pnpm::world()) else { return };
    let direct = made(&world, "direct", Pnpm::install(&world, "direct", &world.upstream()), "pnpm-lock.yaml");
    let cached = made(&world, "cached", Pnpm::install(&world, "cached", &world.url()), "pnpm-lock.yaml");
    assert_eq!(cached, direct);
    bring(&world, "frozen", "pnpm-lock.yaml", &direct);
    let command = npm::pnpm(&world, "frozen", &["install", "--frozen-lockfile"], &world.url());
    installs_unplugged::<Pnpm>(&world, "frozen", command);
}

#[test]
fn yarn_4_writes_the_same_lock_file_and_installs_by_one_from_elsewhere() {
    let Some(world) = started::<Yarn>(Yarn::world()) else { return };
    let direct = made(&world, "direct", Yarn::install(&world, "direct", &world.upstream()), "yarn.lock");
    let cached = made(&world, "cached", Yarn::install(&world, "cached", &world.url()), "yarn.lock");
    assert_eq!(cached, direct);
    bring(&world, "frozen", "yarn.lock", &direct);
    let command = npm::yarn(&world, "frozen", &["install", "--immutable"], &world.url());
    installs_unplugged::<Yarn>(&world, "frozen", command);
}

#[test]
fn yarn_1_writes_the_mount_into_its_lock_file_and_nothing_else() {
    let Some(world) = started::<YarnClassic>(YarnClassic::world()) else { return };
    let install = |place: &str, index: &str| YarnClassic::install(&world, place, index);
    let direct = made(&world, "direct", install("direct", &world.upstream()), "yarn.lock");
    let cached = made(&world, "cached", install("cached", &world.url()), "yarn.lock");
    assert_ne!(cached, direct);
    assert_eq!(cached.replace(&world.url(), &world.upstream()), direct);
}

#[test]
fn yarn_1_writes_the_same_lock_file_through_the_proxy_and_installs_by_one_from_elsewhere() {
    let Some(world) = started::<YarnClassic>(YarnClassic::world()) else { return };
    let install = |place: &str| YarnClassic::install(&world, place, &world.upstream());
    let direct = made(&world, "direct", install("direct"), "yarn.lock");
    world.forget();
    let cached = made(&world, "cached", through_proxy(&world, install("cached")), "yarn.lock");
    assert_eq!(cached, direct);
    bring(&world, "frozen", "yarn.lock", &direct);
    let command = npm::yarn_classic(&world, "frozen", &["install", "--frozen-lockfile"], &world.upstream());
    installs_unplugged::<YarnClassic>(&world, "frozen", through_proxy(&world, command));
}

#[test]
fn npm_writes_the_mount_into_its_lock_file_and_nothing_else() {
    let Some(world) = started::<Npm>(Npm::world()) else { return };
    let install = |place: &str, index: &str| Npm::install(&world, place, index);
    let direct = made(&world, "direct", install("direct", &world.upstream()), "package-lock.json");
    let cached = made(&world, "cached", install("cached", &world.url()), "package-lock.json");
    assert_ne!(cached, direct);
    assert_eq!(cached.replace(&world.url(), &world.upstream()), direct);
    let without = |mut command: Command| {
        command.env("npm_config_omit_lockfile_registry_resolved", "true");
        command
    };
    let index = world.upstream();
    let direct = made(&world, "direct 2", without(install("direct 2", &index)), "package-lock.json");
    let cached = made(&world, "cached 2", without(install("cached 2", &world.url())), "package-lock.json");
    assert_eq!(cached, direct);
}

/// By itself npm does so with its built-in registry alone; here that is one of the test's.
fn replaces_the_host(mut command: Command) -> Command {
    command.env("npm_config_replace_registry_host", "127.0.0.1");
    command
}

#[test]
fn npm_writes_the_same_lock_file_where_links_are_kept_and_installs_by_one_from_elsewhere() {
    let Some(world) = started::<Npm>(npm::registry(", keep-links = true")) else { return };
    let install = |place: &str, index: &str| replaces_the_host(Npm::install(&world, place, index));
    let direct = made(&world, "direct", install("direct", &world.upstream()), "package-lock.json");
    let cached = made(&world, "cached", install("cached", &world.url()), "package-lock.json");
    assert_eq!(cached, direct);
    bring(&world, "frozen", "package-lock.json", &direct);
    let command = npm::npm(&world, "frozen", &["ci"], &world.url());
    installs_unplugged::<Npm>(&world, "frozen", replaces_the_host(command));
}

/// Without addresses in the lock file, npm takes those of the packument, and replaces more of them
/// than the host.
#[test]
fn npm_installs_by_a_lock_file_without_addresses_where_links_are_kept() {
    let Some(world) = started::<Npm>(npm::registry(", keep-links = true")) else { return };
    let mut command = replaces_the_host(Npm::install(&world, "direct", &world.upstream()));
    command.env("npm_config_omit_lockfile_registry_resolved", "true");
    let direct = made(&world, "direct", command, "package-lock.json");
    assert!(!direct.contains("resolved"), "{direct}");
    World::run(replaces_the_host(Npm::install(&world, "cached", &world.url()))).ok();
    bring(&world, "frozen", "package-lock.json", &direct);
    // A part of npm compares the host with its port.
    let mut command = npm::npm(&world, "frozen", &["ci"], &world.url());
    command.env("npm_config_replace_registry_host", "always");
    installs_unplugged::<Npm>(&world, "frozen", command);
}

/// What a lock file says where the cache is taken out of all URLs.
fn without_the_cache(world: &World, lock: &str) -> String {
    let files = format!("{}files/http_{}", world.url(), world.files().authority().replace(':', "_"));
    lock.replace(&files, &world.files().url()).replace(&world.url(), &world.upstream())
}

fn uv_lock(world: &World, place: &str, index: &str) -> Command {
    let mut command = python::uv(world, place, &["lock"]);
    command.env("UV_DEFAULT_INDEX", index);
    command
}

#[test]
fn uv_writes_the_mount_into_its_lock_file_and_nothing_else() {
    for world in [Uv::world, LazyUv::world] {
        let Some(world) = started::<Uv>(world()) else { return };
        let upstream = world.upstream();
        let direct = made(&world, "direct", uv_lock(&world, "direct", &upstream), "uv.lock");
        let cached = made(&world, "cached", uv_lock(&world, "cached", &world.url()), "uv.lock");
        assert_ne!(cached, direct);
        assert_eq!(without_the_cache(&world, &cached), direct);
        for place in ["synced", "frozen"] {
            bring(&world, place, "uv.lock", &cached);
            let mut command = python::uv(&world, place, &["sync", "--locked"]);
            command.env("UV_DEFAULT_INDEX", world.url());
            World::run(command).ok();
            world.unplug();
            world.forget();
        }
        assert!(lines(&world).is_empty(), "{:?}", lines(&world));
    }
}

#[test]
fn uv_writes_the_same_lock_file_through_the_proxy_and_installs_by_one_from_elsewhere() {
    for world in [Uv::world, LazyUv::world] {
        let Some(world) = started::<Uv>(world()) else { return };
        let upstream = world.upstream();
        let direct = made(&world, "direct", uv_lock(&world, "direct", &upstream), "uv.lock");
        world.forget();
        let command = through_proxy(&world, uv_lock(&world, "cached", &upstream));
        assert_eq!(made(&world, "cached", command, "uv.lock"), direct);
        for place in ["synced", "frozen"] {
            bring(&world, place, "uv.lock", &direct);
            let mut command = python::uv(&world, place, &["sync", "--frozen"]);
            command.env("UV_DEFAULT_INDEX", &upstream);
            let command = through_proxy(&world, command);
            if place == "synced" {
                World::run(command).ok();
                continue;
            }
            world.unplug();
            world.forget();
            World::run(command).ok();
            assert!(lines(&world).is_empty(), "{:?}", lines(&world));
            assert!(world.session.path("frozen/.venv/lib").is_dir());
        }
    }
}

#[test]
fn uv_in_run_leaves_lock_files_as_they_are_and_is_led_where_it_installs() {
    let Some(world) = started::<Uv>(Uv::world()) else { return };
    let upstream = world.upstream();
    let in_run = |place: &str, words: &[&str]| {
        let mut command = python::uv_in_run(&world, place, words);
        command.env("UV_DEFAULT_INDEX", &upstream);
        command
    };
    let direct = made(&world, "direct", uv_lock(&world, "direct", &upstream), "uv.lock");
    assert_eq!(made(&world, "project", in_run("project", &["lock"]), "uv.lock"), direct);
    for words in [&["sync"][..], &["sync", "--locked"], &["lock", "--upgrade"], &["run", "true"]] {
        assert_eq!(made(&world, "project", in_run("project", words), "uv.lock"), direct, "{words:?}");
    }
    let words = ["pip", "compile", "-q", "-o", "pylock.toml", "pyproject.toml"];
    let lock = made(&world, "compiled", in_run("compiled", &words), "pylock.toml");
    assert!(lock.contains(&world.files().url()), "{lock}");
    world.forget();
    let words = ["--quiet", "--directory", ".", "pip", "install", "--target", "out", "larder-demo"];
    let ran = World::run(in_run("installed", &words)).ok();
    is_installed::<Uv>(&world, "installed", &ran);
    let log: Vec<_> = [&world.site, world.files()].iter().flat_map(|site| site.log()).collect();
    assert!(!log.is_empty(), "nobody asked");
    assert!(log.iter().all(|it| it.request.header("via").is_some()), "uv came by itself");
}

fn pip_lock(world: &World, place: &str, index: &str) -> Command {
    let mut command = python::pip(world, place, &["lock", "larder-demo"]);
    command.env("PIP_INDEX_URL", index);
    command
}

#[test]
fn pip_writes_the_mount_into_its_lock_file_and_nothing_else() {
    let Some(world) = started::<Pip>(Pip::world()) else { return };
    let upstream = world.upstream();
    let direct = made(&world, "direct", pip_lock(&world, "direct", &upstream), "pylock.toml");
    let cached = made(&world, "cached", pip_lock(&world, "cached", &world.url()), "pylock.toml");
    assert_ne!(cached, direct);
    assert_eq!(without_the_cache(&world, &cached), direct);
}

#[test]
fn pip_in_run_leaves_lock_files_as_they_are_and_is_led_where_it_installs() {
    let Some(world) = started::<Pip>(Pip::world()) else { return };
    let upstream = world.upstream();
    let in_run = |place: &str, words: &[&str]| {
        let mut command = python::pip_in_run(&world, place, words);
        command.env("PIP_INDEX_URL", &upstream);
        command
    };
    let direct = made(&world, "direct", pip_lock(&world, "direct", &upstream), "pylock.toml");
    for words in [&["lock", "larder-demo"][..], &["--retries", "2", "-q", "lock", "larder-demo"]] {
        assert_eq!(made(&world, "project", in_run("project", words), "pylock.toml"), direct, "{words:?}");
    }
    world.forget();
    let ran = World::run(in_run("installed", &["install", "--target", "out", "larder-demo"])).ok();
    is_installed::<Pip>(&world, "installed", &ran);
    let log: Vec<_> = [&world.site, world.files()].iter().flat_map(|site| site.log()).collect();
    assert!(!log.is_empty(), "nobody asked");
    assert!(log.iter().all(|it| it.request.header("via").is_some()), "pip came by itself");
}

/// What is missing is listed, for pip itself says of an index no more than that it has no such
/// project.
#[test]
fn what_pip_lacks_in_run_is_listed() {
    let Some(world) = started::<Pip>(Pip::world()) else { return };
    let mut command = python::pip_in_run(&world, "offline", &["install", "--target", "out", "larder-demo"]);
    command.env("PIP_INDEX_URL", world.upstream()).env("LARDER_PKGCACHE_OFFLINE", "true");
    let ran = World::run(command).fails();
    let missing = format!("{}larder-demo/: the proxy is offline, and this is not stored", world.upstream());
    assert!(ran.stderr().contains(&missing), "{ran}");
}

#[test]
fn pip_writes_the_same_lock_file_through_the_proxy_and_installs_again_through_it() {
    let Some(world) = started::<Pip>(Pip::world()) else { return };
    let upstream = world.upstream();
    let direct = made(&world, "direct", pip_lock(&world, "direct", &upstream), "pylock.toml");
    let command = through_proxy(&world, pip_lock(&world, "cached", &upstream));
    assert_eq!(made(&world, "cached", command, "pylock.toml"), direct);
    World::run(through_proxy(&world, Pip::install(&world, "cold", &upstream))).ok();
    let command = through_proxy(&world, Pip::install(&world, "warm", &upstream));
    installs_unplugged::<Pip>(&world, "warm", command);
}
