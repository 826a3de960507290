//! Builds of images whose steps fetch modules, through `pkgcache run`.

use larder_tests::{Part, Session, have};

use super::World;

/// A project whose Dockerfile knows of no cache, with this machine's Go in its context.
fn project<'a>(session: &'a Session, base: &str) -> World<'a> {
    let world = World::new(session);
    session.write("larder.toml", format!("[pkgcache]\n{}", world.settings("")));
    let root = larder_tests::sh("go env GOROOT");
    let copy = format!(
        "mkdir -p context/go/bin context/app && cp -L {root}/bin/go context/go/bin && cp -L {root}/VERSION context/go \
         && cp app/main.go context/app"
    );
    session.run(&copy).ok();
    session
        .write("context/app/go.mod", "module app.test/app\n\ngo 1.19\n\nrequire example.test/alpha v1.2.0\n");
    let (from, sumdb) = (session.from(base), world.upstream.gosumdb());
    let settings = format!("GOROOT=/go GOPATH=/modules GOCACHE=/tmp/go GOSUMDB='{sumdb}' GONOSUMDB=own.test");
    let step = format!("cd /app && {settings} /go/bin/go mod download example.test/alpha");
    session.write("context/Dockerfile", format!("{from}\nCOPY go /go\nCOPY app /app\nRUN {step}\n"));
    world
}

/// Builds twice, the second time offline: what the step fetches comes through the cache.
#[track_caller]
fn comes_through(session: &Session, world: &World<'_>, build: &str) {
    let run = |words: &str| {
        let proxies = format!("{}|off", world.upstream.site.url());
        let line = format!("GOENV=off GOPROXY='{proxies}' pkgcache run {words} --only go -- {build} context");
        let ran = session.run(&line).ok();
        ran.stderr().lines().rev().find(|line| line.starts_with("pkgcache: ")).unwrap_or_default().to_owned()
    };
    let first = run("");
    assert!(!first.contains(" 0B from upstream"), "{first}");
    world.forget();
    let again = run("--offline");
    assert!(again.contains(" 0 misses, 0B from upstream"), "{again}");
    assert!(world.asked().is_empty(), "{:?}", world.asked());
}

#[test]
fn steps_that_fetch_modules_come_through_the_cache() {
    if !have(&[Part::Go, Part::Docker, Part::ClientBase]) {
        return;
    }
    for buildkit in ["1", "0"] {
        let mut session = Session::new().env("DOCKER_BUILDKIT", buildkit);
        let (base, image) = (session.client_base_of("docker"), session.image("modules"));
        let world = project(&session, &base);
        comes_through(&session, &world, &format!("docker build --no-cache -t {image}"));
        let listed = session.run(&format!(
            "docker run --rm {image} sh -c 'env; ls -a /etc; ls /modules/pkg/mod/cache/download/example.test/alpha/@v'"
        ));
        let listed = listed.ok().stdout();
        assert!(listed.contains("v1.2.0.zip") && !listed.contains("larder-go"), "{listed}");
        assert!(!listed.contains("GOPROXY"), "{listed}");
        if buildkit == "1" {
            let shown =
                session.run(&format!("docker image inspect {image}; docker history --no-trunc {image}"));
            let shown = shown.ok().stdout();
            assert!(!shown.contains("127.0.0.1"), "{shown}");
        }
    }
}

#[test]
fn podmans_steps_that_fetch_modules_come_through_it_too() {
    if !have(&[Part::Go, Part::Podman, Part::ClientBase]) {
        return;
    }
    let mut session = Session::new().with_podman();
    let base = session.client_base_of("../bin/podman");
    let world = project(&session, &base);
    let podman = "../bin/podman build --layers=false --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --no-cache";
    comes_through(&session, &world, &format!("{podman} -t here"));
}
