//! What guards keep from the real `go`, and what of it the outside hears.

use larder_tests::{Part, Session, have};

use super::upstream::Upstream;
use super::{ALPHA, World};
use crate::served::Cache;

/// A mount of the team's own modules beside the public one, by the same checksum database.
fn settings(world: &World<'_>, own: &Upstream, guards: &str) -> String {
    let sumdb = format!("{} {}/db", world.upstream.gosumdb(), world.upstream.site.url());
    let mounts = world.settings("").replace("no-sumdb = [\"own.test\"]", "no-sumdb = []");
    format!(
        "{mounts}own = {{ url = \"{}\", kind = \"go\", sumdb = \"{sumdb}\" }}\n[pkgcache.guards]\n{guards}",
        own.site.url()
    )
}

#[test]
fn nobody_outside_hears_of_a_module_of_a_namespace() {
    if !have(&[Part::Go]) {
        return;
    }
    let session = Session::new();
    let world = World::new(&session);
    let mut own = Upstream::new();
    own.release("own.test/lib", "v1.0.0", "package lib\n", "", false);
    own.publish();
    let guards = "[pkgcache.guards.namespace]\n\"go:own.test/*\" = \"own\"\n";
    let cache = Cache::start(&session, &settings(&world, &own, guards));
    let proxies = format!("{}/own,{}/go", cache.url(), cache.url());
    let get = |name: &str, proxy: &str| world.line(name, proxy, "go get own.test/lib@v1.0.0");
    world.forget();
    session.run(&get("led", &proxies)).ok();
    assert!(own.site.log().iter().any(|it| it.request.path == "/own.test/lib/@v/v1.0.0.zip"));
    // A client that does not know that it is the team's own asks the database through the mount.
    let asks = get("asks", &proxies).replace("GONOSUMDB=own.test", "GONOSUMDB=");
    let refused = session.run(&asks).fails();
    let words =
        "refused by the guard `namespace`: own.test/lib: `go:own.test/*` belongs to the mount `/own/`";
    assert!(refused.stderr().contains(words) && refused.stderr().contains("GONOSUMDB"), "{refused}");
    let elsewhere = session.run(&get("elsewhere", &format!("{}/go", cache.url()))).fails();
    assert!(elsewhere.stderr().contains(words), "{elsewhere}");
    let zip = cache.ask("/own/own.test/lib/@v/v1.0.0.zip", "");
    assert_eq!(zip.status, 200, "{zip:?}");
    assert!(world.asked().iter().all(|path| !path.contains("own.test")), "{:#?}", world.asked());
    world.works("public", &cache);
}

#[test]
fn a_version_that_is_blocked_or_too_young_is_refused_with_the_reason() {
    if !have(&[Part::Go]) {
        return;
    }
    for (guards, words) in [
        (
            "block = [\"go:example.test/Beta@*\"]\n",
            "refused by the guard `block`: go example.test/Beta v0.3.0",
        ),
        ("allow = [\"go:example.test/alpha\"]\n", "refused by the guard `allow`: go example.test/Beta"),
        ("cooldown = { go = \"2d\" }\n", "refused by the guard `cooldown`: go example.test/alpha v1.2.0"),
    ] {
        let session = Session::new();
        let world = World::new(&session);
        let own = Upstream::new();
        let cache = Cache::start(&session, &settings(&world, &own, guards));
        let ran = world.run("refused", &cache, "go mod tidy").fails();
        assert!(ran.stderr().contains(words), "{guards}: {ran}");
    }
    // What was built before goes on, where a lock file names it and nothing speaks against it.
    let session = Session::new();
    let world = World::new(&session);
    let own = Upstream::new();
    let cache =
        Cache::start(&session, &settings(&world, &own, "block = [\"go:example.test/Beta@v0.2.*\"]\n"));
    world.works("allowed", &cache);
    assert!(world.asked().iter().any(|path| path.starts_with(ALPHA)));
}
