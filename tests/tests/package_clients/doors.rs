//! The same object through every door, in every spelling, and by HEAD.

use larder_tests::http::Fault;
use larder_tests::parts::{NPM, PIP, PNPM, UV, YARN, YARN_CLASSIC, installed};
use larder_tests::{Part, Session, have};

use crate::columns::{Client, is_installed, lines};
use crate::npm::Npm;
use crate::python::Pip;
use crate::world::World;

fn started<C: Client>() -> Option<World> {
    have(C::PARTS).then(|| {
        let mut world = C::world();
        world.serve("");
        world
    })
}

#[track_caller]
fn is_hit(world: &World, target: &str, body: &[u8]) {
    let answer = world.ask("GET", target, "");
    let status = answer.header("cache-status").unwrap_or_default();
    assert!(status.contains("hit") || status.contains("collapsed"), "{target}: {:?}", answer.headers);
    assert!(status.contains("verified=indexed"), "{target}: {:?}", answer.headers);
    assert!(answer.whole && answer.body == body, "{target}: {} bytes", answer.body.len());
}

#[test]
fn a_tarball_is_one_entry_through_every_door() {
    let Some(world) = started::<Npm>() else { return };
    let (path, below) = world.artifacts[1].clone();
    let body = world.content(&path);
    let url = world.file_url(&path);
    let first = world.ask("GET", &url, "");
    assert!(first.whole && first.body == body, "{:?}", first.headers);
    world.forget();
    let escaped = url.replace("@larder/", "%40larder%2f");
    for target in [url.clone(), world.below(&below), world.below(&below).replace('@', "%40"), escaped] {
        is_hit(&world, &target, &body);
    }
    assert!(lines(&world).is_empty(), "{:?}", lines(&world));
    assert_eq!(world.entries_of(body.len()), 1);
}

#[test]
fn a_wheel_is_one_entry_through_every_door() {
    let Some(world) = started::<Pip>() else { return };
    let (path, below) = world.artifacts.last().unwrap().clone();
    let body = world.content(&path);
    let first = world.ask("GET", &world.below(&below), "");
    assert!(first.whole && first.body == body, "{:?}", first.headers);
    world.forget();
    for path in [path.clone(), path.replace("%2B", "+"), path.replace("%2B", "%2b")] {
        is_hit(&world, &format!("{}{path}", world.files().url()), &body);
    }
    for below in [below.clone(), below.replace("%2B", "+"), below.replace("%2B", "%2b")] {
        is_hit(&world, &world.below(&below), &body);
    }
    assert!(lines(&world).is_empty(), "{:?}", lines(&world));
    assert_eq!(world.entries_of(body.len()), 1);
}

#[test]
fn head_says_what_get_would() {
    let Some(world) = started::<Pip>() else { return };
    let Some(registry) = started::<Npm>() else { return };
    let wheel = world.below(&world.artifacts.last().unwrap().1);
    let tarball = registry.below(&registry.artifacts[0].1);
    let asked = [
        (&world, world.below("/larder-dep/"), "accept: application/vnd.pypi.simple.v1+json\r\n"),
        (&world, world.below("/larder-dep/"), "accept: text/html\r\n"),
        (&world, wheel, ""),
        (&registry, registry.below("/@larder%2fdep"), "accept: application/vnd.npm.install-v1+json\r\n"),
        (&registry, registry.below("/larder-demo"), "accept: application/json\r\n"),
        (&registry, tarball, ""),
    ];
    for (world, path, fields) in asked {
        let of = |answer: &larder_tests::http::Answer| {
            let names = ["content-length", "content-type", "etag", "vary", "accept-ranges"];
            (answer.status, names.map(|name| answer.header(name).map(str::to_owned)))
        };
        let cold = world.ask("HEAD", &path, fields);
        let get = world.ask("GET", &path, fields);
        // A file's entry is written a moment after its last byte.
        if fields.is_empty() {
            world.entries_of(get.body.len());
        }
        let warm = world.ask("HEAD", &path, fields);
        assert_eq!(get.status, 200, "{path}: {get:?}");
        assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert_eq!((of(&cold), of(&warm)), (of(&get), of(&get)), "{path}");
    }
}

/// Older pips say so with every question for a page.
#[test]
fn a_client_that_wants_nothing_stored_gets_what_its_index_allows() {
    let Some(world) = started::<Pip>() else { return };
    let page = world.below("/larder-dep/");
    let fields = "accept: application/vnd.pypi.simple.v1+json\r\ncache-control: max-age=0\r\n";
    for _ in 0..3 {
        assert_eq!(world.ask("GET", &page, fields).status, 200);
    }
    assert_eq!(lines(&world), ["GET /simple/larder-dep/ 200"]);
    world.session.run(&format!("pkgcache refresh '{}'", world.index_url("/simple/larder-dep/"))).ok();
    assert_eq!(world.ask("GET", &page, fields).status, 200);
    assert_eq!(lines(&world).last().unwrap(), "GET /simple/larder-dep/ 304");
}

/// A registry may have its tarballs anywhere.
#[test]
fn a_tarball_that_lies_elsewhere_is_found_at_its_usual_place() {
    let Some(world) = started::<Npm>() else { return };
    let (path, below) = world.artifacts[0].clone();
    let body = world.content(&path);
    world.site.put("/elsewhere/a.tgz", body.clone());
    world.site.remove(&path);
    let packument = String::from_utf8(world.content("/larder-demo")).unwrap();
    world
        .site
        .put("/larder-demo", Npm::with_link(&packument, &format!("{}/elsewhere/a.tgz", world.site.url())));
    let answer = world.ask("GET", &world.below(&below), "");
    assert!(answer.status == 200 && answer.whole && answer.body == body, "{answer:?}");
    assert_eq!(world.level_of(&world.file_url("/elsewhere/a.tgz")), "indexed");
    let ran = World::run(Npm::install(&world, "project", &world.url())).ok();
    is_installed::<Npm>(&world, "project", &ran);
}

#[test]
fn every_client_is_told_when_a_server_wants_to_be_asked_again() {
    let Some(world) = started::<Npm>() else { return };
    world.site.fail("", Fault::TooManyRequests("3600".to_owned()));
    for path in ["/larder-demo", "/@larder%2Fdep", "/larder-demo"] {
        let answer = world.ask("GET", &world.below(path), "");
        let after: u32 = answer.header("retry-after").unwrap_or_default().parse().unwrap_or(0);
        assert!([429, 503].contains(&answer.status) && after > 3000, "{path}: {answer:?}");
    }
    assert_eq!(lines(&world), ["GET /larder-demo 429"]);
}

/// Some indexes have no JSON.
#[test]
fn pip_installs_from_an_index_of_html() {
    let Some(world) = started::<Pip>() else { return };
    for path in &world.indexes {
        let page: serde_json::Value = serde_json::from_slice(&world.content(path)).unwrap();
        let link = |file: &serde_json::Value| {
            let text = |name: &str| file[name].as_str().unwrap().to_owned();
            let hash = file["hashes"]["sha256"].as_str().unwrap();
            format!("<a href=\"{}#sha256={hash}\">{}</a><br>\n", text("url"), text("filename"))
        };
        let links: String = page["files"].as_array().unwrap().iter().map(link).collect();
        let html = format!("<!DOCTYPE html><html><body>\n{links}</body></html>\n");
        world.site.put_with(path, "content-type: text/html", html);
    }
    let ran = World::run(Pip::install(&world, "project", &world.url())).ok();
    is_installed::<Pip>(&world, "project", &ran);
    let wheel = &world.artifacts.last().unwrap().0;
    assert_eq!(world.level_of(&world.file_url(wheel)), "indexed");
}

#[test]
fn the_table_in_the_manual_names_the_tested_versions() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/pkgcache/CLIENTS.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let session = Session::new();
    let clients = [
        (Part::Pip, "pip", PIP, false),
        (Part::Uv, "uv", UV, false),
        (Part::Npm, "npm", NPM, true),
        (Part::Pnpm, "pnpm", PNPM, true),
        (Part::YarnClassic, "yarn", YARN_CLASSIC, true),
        (Part::Yarn, "yarn", YARN, true),
    ];
    for (part, name, program, is_script) in clients.into_iter().filter(|it| have(&[it.0])) {
        let node = if is_script { "node " } else { "" };
        let said = session.run(&format!("{node}{} --version", installed(program))).ok().stdout();
        let version =
            said.split_whitespace().find(|it| it.starts_with(|c: char| c.is_ascii_digit())).unwrap();
        assert!(manual.contains(&format!("\n| {name} {version} | ")), "{part}: {name} {version}");
    }
}
