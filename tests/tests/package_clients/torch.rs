//! Wheel indexes of one flavour, as vendors have them (`/whl/cu121/`): HTML alone, links relative
//! to the server or to another one, with a digest or without.

use larder_tests::http::Site;
use larder_tests::parts::Part;
use larder_tests::{Ran, have};

use crate::columns::noise;
use crate::python::{BUILD, pip};
use crate::world::World;

const DEMO: &str = "/whl/cu121/larder_demo-1.0.0-py3-none-any.whl";
const DEP: &str = "/r2/whl/cu121/larder_dep-2.0.0%2Blocal.1-py3-none-any.whl";

/// An index whose pages are HTML. One wheel is beside it, without a digest; the other lies at
/// another server.
fn world() -> World {
    let files = Site::new();
    let host = files.url();
    let mut world = World::new("python", "/whl/cu121/", "", Some(files));
    world.session.write("noise", noise("torch"));
    world.session.write("build.py", BUILD);
    let rows = world.session.run("python3 build.py").ok().json();
    let row = |name: &str, version: &str| {
        let all = rows.as_array().unwrap().iter();
        let mut found = all.filter(|row| row["project"] == name && row["version"] == version);
        let row = found.next().unwrap().clone();
        let wheel = std::fs::read(world.session.path(row["filename"].as_str().unwrap())).unwrap();
        (row["sha256"].as_str().unwrap().to_owned(), wheel)
    };
    let ((_, demo), (digest, dep)) = (row("larder-demo", "1.0.0"), row("larder-dep", "2.0.0+local.1"));
    let link = |href: &str| {
        let name = href.split('#').next().unwrap().rsplit('/').next().unwrap().replace("%2B", "+");
        format!(
            "<!DOCTYPE html>\n<html><body>\n<h1>Links</h1>\n<a href=\"{href}\">{name}</a><br/>\n</body></html>\n"
        )
    };
    let fields = "content-type: text/html";
    world.site.put(DEMO, demo);
    world.files().put(DEP, dep);
    world.index("/whl/cu121/larder-demo/", fields, link(DEMO));
    world.index("/whl/cu121/larder-dep/", fields, link(&format!("{host}{DEP}#sha256={digest}")));
    world
}

fn install(world: &World, place: &str) -> Ran {
    let mut command = pip(world, place, &["install", "--target", "out", "larder-demo"]);
    command.env("PIP_INDEX_URL", world.url());
    World::run(command)
}

#[track_caller]
fn installs(world: &World, place: &str) {
    let ran = install(world, place).ok();
    let found = std::fs::read_to_string(world.session.path(place).join("out/larder_dep.txt"));
    assert!(found.is_ok_and(|it| it == noise("torch")), "{ran}");
}

#[test]
fn a_vendor_s_index_is_followed_verified_where_it_says_a_digest_and_needed_once() {
    if !have(&[Part::Python, Part::Pip]) {
        return;
    }
    let mut world = world();
    world.serve("");
    installs(&world, "cold");
    assert_eq!(world.level_of(&world.file_url(DEP)), "indexed");
    assert_eq!(world.level_of(&world.index_url(DEMO)), "pinned");
    world.forget();
    installs(&world, "warm");
    assert_eq!(world.log().len(), 0, "{:?}", world.log());
    world.unplug();
    world.age();
    installs(&world, "cut");
    world.serve("offline = true");
    installs(&world, "offline");
}

#[test]
fn a_damaged_wheel_of_a_vendor_is_not_installed() {
    if !have(&[Part::Python, Part::Pip]) {
        return;
    }
    let mut world = world();
    world.serve("");
    world.files().flip(DEP, 1000);
    install(&world, "flipped").fails();
    assert!(world.stored_of(&world.file_url(DEP)).is_empty());
    world.files().flip(DEP, 1000);
    installs(&world, "healed");
}
