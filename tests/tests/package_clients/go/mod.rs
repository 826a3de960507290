//! The real `go`, through a mount and through the proxy.

mod builds;
mod guards;
mod upstream;

use larder_tests::http::{Answer, Fault};
use larder_tests::{Part, Ran, Session, have};

use self::upstream::{HOST, NAME, Upstream};
use crate::served::{Cache, stored, verified};

const ALPHA: &str = "/example.test/alpha/@v/v1.2.0";
/// Upper case in a path, which is escaped.
const BETA: &str = "/example.test/!beta/@v/v0.3.0";

const RECORD: &str = "/db/lookup/example.test/alpha@v1.2.0";

struct World<'a> {
    session: &'a Session,
    upstream: Upstream,
}

impl<'a> World<'a> {
    fn new(session: &'a Session) -> Self {
        let mut upstream = Upstream::new();
        let long = "// more\n".repeat(10_000);
        let source = |name: &str, more: &str| format!("package {name}\n\n{more}\n{long}");
        upstream.release("example.test/Beta", "v0.3.0", &source("beta", "const Name = \"beta\""), "", true);
        let needs = "require example.test/Beta v0.3.0\n";
        let alpha =
            source("alpha", "import beta \"example.test/Beta\"\n\nconst Name = \"alpha \" + beta.Name");
        upstream.release("example.test/alpha", "v1.2.0", &alpha, needs, true);
        upstream.release("golang.org/toolchain", "v0.0.1-go1.99.0.linux-amd64", "a toolchain", "", true);
        upstream.release("own.test/private", "v1.0.0", &source("private", ""), "", false);
        upstream.publish();
        session.write("app/go.mod", "module app.test/app\n\ngo 1.19\n");
        session.write(
            "app/main.go",
            "package main\n\nimport \"example.test/alpha\"\n\nfunc main() { println(alpha.Name) }\n",
        );
        Self { session, upstream }
    }

    fn cache(&self, more: &str) -> Cache<'a> {
        Cache::start(self.session, &self.settings(more))
    }

    fn settings(&self, more: &str) -> String {
        self.settings_of(&self.upstream.site.url(), more)
    }

    fn settings_of(&self, url: &str, more: &str) -> String {
        let sumdb = format!("{} {url}/db", self.upstream.gosumdb());
        format!(
            "{more}[pkgcache.upstream]\ngo = {{ url = \"{url}\", kind = \"go\", sumdb = \"{sumdb}\", no-sumdb = [\"own.test\"] }}\n"
        )
    }

    /// A command in a copy of the module, with a Go that has nothing yet.
    fn line(&self, name: &str, proxy: &str, command: &str) -> String {
        let sumdb = self.upstream.gosumdb();
        format!(
            "rm -rf {name} && cp -r app {name} && cd {name} && if [ -f ../go.sum ]; then cp ../go.sum ../go.mod .; fi && \
             GOPATH=$PWD/path GOCACHE=$PWD/../go-cache GOENV=off GOFLAGS='-modcacherw' GOTOOLCHAIN=local CGO_ENABLED=0 \
             GOPROXY={proxy} GOSUMDB='{sumdb}' GONOSUMDB=own.test sh -c '{command}'"
        )
    }

    fn run(&self, name: &str, cache: &Cache<'_>, command: &str) -> Ran {
        self.session.run(&self.line(name, &format!("{}/go", cache.url()), command))
    }

    /// Finds out what the module needs, or goes by go.sum, and has it built.
    #[track_caller]
    fn works(&self, name: &str, cache: &Cache<'_>) {
        let ran = self.run(name, cache, "go mod tidy && go run .").ok();
        assert!(ran.stderr().ends_with("alpha beta\n"), "{ran}");
    }

    fn forget(&self) {
        self.upstream.site.forget();
    }

    fn asked(&self) -> Vec<String> {
        // Go itself escapes what need not be.
        self.upstream.site.log().into_iter().map(|it| it.request.path.replace("%21", "!")).collect()
    }
}

fn ask(cache: &Cache<'_>, path: &str) -> Answer {
    cache.ask(&format!("/go{path}"), "")
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or_default()
}

#[test]
fn modules_are_verified_by_the_checksum_database_and_need_no_upstream_a_second_time() {
    if !have(&[Part::Go]) {
        return;
    }
    let session = Session::new();
    let world = World::new(&session);
    // Without the cache, for the lock file.
    let direct = format!("{},off", world.upstream.site.url());
    let line = world.line("direct", &direct, "go mod tidy").replace(&world.upstream.gosumdb(), "off");
    session.run(&line).ok();
    let cache = world.cache("");
    world.forget();
    world.works("cold", &cache);
    session.run("cmp direct/go.sum cold/go.sum && cmp direct/go.mod cold/go.mod").ok();
    let once = world.asked();
    for path in [ALPHA, BETA].iter().flat_map(|path| [".mod", ".zip"].map(|it| format!("{path}{it}"))) {
        assert_eq!(once.iter().filter(|it| **it == path).count(), 1, "{path} of {once:#?}");
    }
    assert!(once.iter().all(|path| !path.contains("supported") && !path.contains("own.test")), "{once:#?}");
    // A Go that has nothing again: no file is asked for, nor a tile or a record. (Which module has
    // a package is known now: of a path that has none, the upstream is asked each time.)
    session.run("cp cold/go.mod app/go.mod").ok();
    world.forget();
    world.works("warm", &cache);
    assert!(world.asked().is_empty(), "{:#?}", world.asked());
    toolchains_and_private_modules_are_handed_on(&world, &cache);
    only_the_database_that_is_set_is_asked(&cache);
    let lines = cache.stop();
    for file in [ALPHA, BETA].iter().flat_map(|path| [".mod", ".zip"].map(|it| format!("{path}{it}"))) {
        verified(&lines, &file.replace('!', "%21"), "signed");
    }
    let cache = world.cache("offline = true\n");
    world.forget();
    world.works("offline", &cache);
    // What is not there is no 404: `go` would go on to the next proxy.
    let missing = ask(&cache, "/example.test/absent/@v/list");
    assert_eq!(missing.status, 504, "{missing:?}");
    assert!(world.asked().is_empty(), "{:#?}", world.asked());
}

fn toolchains_and_private_modules_are_handed_on(world: &World<'_>, cache: &Cache<'_>) {
    let toolchain = "/golang.org/toolchain/@v/v0.0.1-go1.99.0.linux-amd64.zip";
    let answer = ask(cache, toolchain);
    assert!(answer.status == 200 && status(&answer).contains("verified=signed"), "{answer:?}");
    assert!(status(&ask(cache, toolchain)).contains("hit"));
    world.forget();
    let answer = ask(cache, "/own.test/private/@v/v1.0.0.zip");
    assert!(answer.status == 200 && status(&answer).contains("verified=pinned"), "{answer:?}");
    assert_eq!(world.asked(), ["/own.test/private/@v/v1.0.0.zip"], "the database heard of a private module");
    let why = world
        .session
        .run(&format!("pkgcache why {}/own.test/private/@v/v1.0.0.zip", world.upstream.site.url()));
    assert!(why.ok().stdout().contains("no-sumdb"));
}

fn only_the_database_that_is_set_is_asked(cache: &Cache<'_>) {
    assert_eq!(ask(cache, &format!("/sumdb/{NAME}/supported")).status, 200);
    for path in ["supported", "latest", "lookup/example.test/alpha@v1.2.0", "tile/8/0/000"] {
        assert_eq!(ask(cache, &format!("/sumdb/other.test/{path}")).status, 404, "{path}");
    }
}

#[test]
fn a_damaged_module_is_refused_and_not_kept() {
    if !have(&[Part::Go]) {
        return;
    }
    let session = Session::new();
    let world = World::new(&session);
    let site = &world.upstream.site;
    let cache = world.cache("");
    for (path, byte) in [(format!("{ALPHA}.zip"), 80), (format!("{BETA}.mod"), 10)] {
        site.flip(&path, byte);
        let answer = ask(&cache, &path);
        assert!(!answer.whole, "{answer:?}");
        let ran = world.run("tampered", &cache, "go mod tidy").fails();
        assert!(!ran.to_string().contains("SECURITY ERROR"), "{ran}");
        assert!(!stored(&session).iter().any(|url| url.ends_with(&path)), "{path} is kept");
        site.flip(&path, byte);
    }
    world.works("healed", &cache);
    // An upstream that fails is not one that has no such module.
    site.fail("", Fault::Status(500));
    assert!(ask(&cache, "/example.test/gamma/@v/list").status >= 500);
    site.heal();
    assert_eq!(ask(&cache, "/example.test/gamma/@v/list").status, 404);
}

#[test]
fn a_record_or_tile_that_is_not_the_databases_vouches_for_nothing() {
    if !have(&[Part::Go]) {
        return;
    }
    for path in [RECORD, "/db/tile/8/1/000.p/1", "/db/tile/8/0/001.p/47"] {
        let session = Session::new();
        let world = World::new(&session);
        let site = &world.upstream.site;
        let cache = world.cache("");
        site.flip(path, 20);
        let answer = ask(&cache, &format!("{ALPHA}.zip"));
        assert!(answer.status == 200 && status(&answer).contains("verified=pinned"), "{path}: {answer:?}");
        assert!(!stored(&session).iter().any(|url| url.ends_with(path)), "{path} is kept");
        site.flip(path, 20);
        // What was kept without a voucher is looked at, once there is one.
        let answer = ask(&cache, &format!("{ALPHA}.zip"));
        assert!(status(&answer).contains("hit") && status(&answer).contains("verified=signed"), "{answer:?}");
    }
}

#[test]
fn go_is_led_by_run_and_goes_through_the_proxy_and_a_go_sum_warms_the_cache() {
    if !have(&[Part::Go]) {
        return;
    }
    let session = Session::new();
    let world = World::new(&session);
    session.write("larder.toml", format!("[pkgcache]\n{}", world.settings("")));
    let proxies = format!("\"{}|off\"", world.upstream.site.url());
    let line = world.line("run", &proxies, "echo $GOPROXY && go mod tidy");
    let ran = session.run(&line.replace("sh -c", "pkgcache run --only go -- sh -c")).ok();
    let led = ran.stdout();
    assert!(led.starts_with("http://127.0.0.1:") && led.trim_end().ends_with("/go/|off"), "{ran}");
    session.run("cp run/go.sum run/go.mod . && pkgcache check go.sum").ok();
    let other = session.run("sed 's/h1:./h1:_/; s/_/A/' go.sum >other && pkgcache check --as go other");
    assert!(other.ends(1).stdout().contains("and the lock file says"), "another sum");
    session.run("rm -r $LARDER_DIR").ok();
    let warmed = session.run("pkgcache warm --json go.sum").ok();
    assert!(warmed.rows().iter().all(|row| row["ok"] == true), "{warmed}");
    world.upstream.site.unplug();
    let cache = world.cache("");
    let ran = world.run("warmed", &cache, "go run .").ok();
    assert!(ran.stderr().ends_with("alpha beta\n"), "{ran}");
    cache.stop();
    world.upstream.site.heal();
    // Go asks for the addresses of this machine without a proxy, for others through it.
    let more = format!("parent = \"{}\"\n", world.upstream.site.url());
    let url = format!("http://{HOST}");
    let cache = Cache::start(&session, &world.settings_of(&url, &more));
    let command = format!("export http_proxy={}; go run .", cache.url());
    let ran = session.run(&world.line("proxied", &url, &command)).ok();
    assert!(ran.stderr().ends_with("alpha beta\n"), "{ran}");
    verified(&cache.stop(), ".zip", "signed");
}
