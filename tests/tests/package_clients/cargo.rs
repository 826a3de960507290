//! cargo with a sparse index, by source replacement.

use std::collections::BTreeMap;
use std::fs;

use larder_tests::http::{Fault, Site, get};
use larder_tests::{Part, Ran, Session, have, parts, sh};

use crate::served::{Cache, at_once, stored, verified};

const ALPHA: &str = "/crates/alpha-one/1.2.0/download";
const BETA: &str = "/crates/beta/0.3.0+x/download";
const CONFIG: &str = "/index/config.json";
const ALPHA_INDEX: &str = "/index/al/ph/alpha-one";
const BETA_INDEX: &str = "/index/be/ta/beta";

/// An index with two crates, one of which needs the other, and a package that needs both.
pub(crate) struct Registry<'a> {
    session: &'a Session,
    pub(crate) site: Site,
    files: BTreeMap<&'static str, Vec<u8>>,
    cargo: String,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        let cargo = parts::cargo().unwrap();
        let cargo = format!("PATH={cargo}:$PATH CARGO_TERM_COLOR=never CARGO_NET_RETRY=0");
        let site = Site::new();
        let mut registry = Self { session, site, files: BTreeMap::new(), cargo };
        let url = registry.site.url();
        registry.put(CONFIG, format!("{{\"dl\": \"{url}/crates\", \"api\": \"{url}\"}}"));
        registry.release("beta", "0.3.0+x", "", [BETA, BETA_INDEX]);
        registry.release("alpha-one", "1.2.0", "beta = \"0.3\"\n", [ALPHA, ALPHA_INDEX]);
        session.write("app/src/lib.rs", "pub use alpha_one::NAME;\n");
        let package = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
        session.write("app/Cargo.toml", format!("{package}[dependencies]\nalpha-one = \"1\"\n"));
        registry
    }

    fn put(&mut self, path: &'static str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.site.put(path, bytes.clone());
        self.files.insert(path, bytes);
    }

    /// Puts everything there as it was.
    fn mend(&self) {
        self.files.iter().for_each(|(path, bytes)| self.site.put(path, bytes.clone()));
        self.site.heal();
    }

    /// Packs a crate as `cargo publish` would, and names it in the index.
    fn release(&mut self, name: &str, version: &str, needs: &str, [path, index]: [&'static str; 2]) {
        let folder = format!("{name}-made");
        let source = format!("pub const NAME: &str = \"{name}\";\n{}", "// more\n".repeat(2000));
        self.session.write(&format!("{folder}/src/lib.rs"), source);
        let about = "edition = \"2021\"\ndescription = \"d\"\nlicense = \"MIT\"";
        let text = format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\n{about}\n[dependencies]\n{needs}"
        );
        self.session.write(&format!("{folder}/Cargo.toml"), text);
        // What it needs is in the index already.
        let packed = self.session.run(&format!(
            "cd {folder} && {} CARGO_HOME=$PWD/../home-of-{name} cargo {} package --no-verify --allow-dirty",
            self.cargo,
            from(&format!("{}/index/", self.site.url()))
        ));
        packed.ok();
        let file = self.session.path(&format!("{folder}/target/package/{name}-{version}.crate"));
        let sum = sh(&format!("sha256sum {file} | cut -d' ' -f1"));
        self.put(path, fs::read(&file).unwrap());
        let needs = match needs.split_once(" = ") {
            Some((name, wanted)) => format!(
                "{{\"name\":\"{name}\",\"req\":{},\"features\":[],\"optional\":false,\"default_features\":true,\
                 \"target\":null,\"kind\":\"normal\"}}",
                wanted.trim()
            ),
            None => String::new(),
        };
        let line = format!(
            "{{\"name\":\"{name}\",\"vers\":\"{version}\",\"deps\":[{needs}],\"cksum\":\"{sum}\",\"features\":{{}},\"yanked\":false}}\n"
        );
        self.put(index, line);
    }

    pub(crate) fn cache(&self, more: &str) -> Cache<'a> {
        let authority = self.site.authority();
        let settings = format!(
            "allow = [\"{authority}\"]\n{more}[pkgcache.upstream]\n\
             crates = {{ url = \"http://{authority}/index\", kind = \"cargo\" }}\n"
        );
        Cache::start(self.session, &settings)
    }

    /// A line that fetches with a cargo that has nothing yet, into `name/Cargo.lock`.
    fn line(&self, name: &str, index: &str) -> String {
        format!(
            "rm -rf {name} && cp -r app {name} && cd {name} && {} CARGO_HOME=$PWD/../cargo-{name} cargo {} fetch",
            self.cargo,
            from(index)
        )
    }

    #[track_caller]
    pub(crate) fn fetch(&self, name: &str, cache: &Cache<'_>) -> Ran {
        self.session.run(&format!("rm -rf cargo-{name}; {}", self.line(name, &mount(cache))))
    }

    /// Fetches without a cache, into `name/Cargo.lock`.
    #[track_caller]
    pub(crate) fn lock(&self, name: &str) {
        self.session.run(&self.line(name, &format!("{}/index/", self.site.url()))).ok();
    }

    /// Fetches by the lock file that the package has, and has the very crates of the registry then.
    #[track_caller]
    pub(crate) fn fetch_locked(&self, name: &str, cache: &Cache<'_>) {
        let line = self.line(name, &mount(cache)).replace(" fetch", " fetch --locked");
        self.session.run(&line).ok();
        self.has_all(name);
    }

    /// Fetches, and has the very crates of the registry then.
    #[track_caller]
    fn works(&self, cache: &Cache<'_>) {
        self.fetch("app-works", cache).ok();
        self.has_all("app-works");
    }

    #[track_caller]
    fn has_all(&self, name: &str) {
        for (made, file) in [("alpha-one", "alpha-one-1.2.0"), ("beta", "beta-0.3.0+x")] {
            let original = format!("{made}-made/target/package/{file}.crate");
            self.session.run(&format!("cmp cargo-{name}/registry/cache/*/{file}.crate {original}")).ok();
        }
    }

    #[track_caller]
    fn has_no_crate(&self) {
        let stored = stored(self.session);
        assert!(!stored.iter().any(|url| url.contains("/download")), "{stored:#?}");
    }
}

/// The words by which cargo takes another index for its own.
fn from(index: &str) -> String {
    format!(
        "--config 'source.crates-io.replace-with=\"it\"' --config 'source.it.registry=\"sparse+{index}\"'"
    )
}

fn mount(cache: &Cache<'_>) -> String {
    format!("{}/crates/", cache.url())
}

#[test]
fn a_cold_cache_verifies_and_a_warm_one_asks_for_no_crate() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    registry.works(&cache);
    registry.site.forget();
    registry.works(&cache);
    assert_eq!(registry.site.requests(), 0, "{:#?}", registry.site.log());
    verified(&cache.stop(), ".crate", "indexed");
    // Another process, and the index's time is over: each of its files is asked for once.
    let cache = registry.cache("index-ttl = \"0s\"\n");
    registry.works(&cache);
    for path in [CONFIG, ALPHA_INDEX, BETA_INDEX] {
        assert_eq!(registry.site.answered(path, 304), registry.site.count(path), "{path}");
    }
    assert_eq!([ALPHA, BETA].map(|path| registry.site.count(path)), [0, 0]);
    assert_eq!([ALPHA_INDEX, BETA_INDEX].map(|path| registry.site.count(path)), [1, 1]);
}

#[test]
fn everything_works_when_the_upstream_is_cut_off() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("index-ttl = \"0s\"\n");
    registry.works(&cache);
    registry.site.unplug();
    registry.works(&cache);
    registry.site.heal();
    registry.site.forget();
    let cache = cache.offline();
    registry.works(&cache);
    assert_eq!(registry.site.requests(), 0);
    verified(&cache.stop(), ".crate", "indexed");
}

#[test]
fn a_damaged_crate_is_refused_and_not_kept() {
    if !have(&[Part::Cargo]) {
        return;
    }
    for (path, flips) in [(ALPHA, true), (BETA, true), (ALPHA, false), (BETA, false)] {
        let session = Session::new();
        let registry = Registry::new(&session);
        let cache = registry.cache("");
        if flips {
            registry.site.flip(path, 300);
        } else {
            registry.site.put(path, &registry.files[path][..200]);
        }
        registry.fetch("app-try", &cache).fails();
        assert!(!stored(&session).iter().any(|url| url.ends_with(path)), "{path} is kept");
        registry.mend();
        registry.works(&cache);
        assert!(stored(&session).iter().any(|url| url.ends_with(path)), "{path} is not kept");
    }
}

#[test]
fn an_index_that_leads_elsewhere_or_is_broken_is_refused_and_not_kept() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    let config = registry.files[CONFIG].clone();
    for bad in [b"{\"dl\": \"file:///etc\"}".as_slice(), &config[..config.len() / 2], b"<html>", b""] {
        registry.site.put(CONFIG, bad);
        let ran = registry.fetch("app-try", &cache).fails();
        assert!(ran.stderr().contains("502") || ran.stderr().contains("cannot be used"), "{ran}");
        registry.has_no_crate();
    }
    registry.mend();
    for path in [ALPHA_INDEX, BETA_INDEX] {
        let whole = &registry.files[path];
        for bad in [&whole[..whole.len() / 2], b"<html>not here</html>"] {
            registry.site.put(path, bad);
            let ran = registry.fetch("app-try", &cache).fails();
            assert!(ran.stderr().contains("502") || ran.stderr().contains("cannot be used"), "{ran}");
            registry.mend();
        }
    }
    registry.site.fail_once(ALPHA_INDEX, Fault::CutAfter(40));
    registry.works(&cache);
}

#[test]
fn ten_at_once_fetch_each_file_once() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    registry.site.forget();
    let names: Vec<_> = (0..10).map(|number| format!("at-once-{number}")).collect();
    let lines: Vec<_> = names.iter().map(|name| registry.line(name, &mount(&cache))).collect();
    for (ran, name) in at_once(&session, &lines).into_iter().zip(&names) {
        ran.ok();
        registry.has_all(name);
    }
    for path in [CONFIG, ALPHA_INDEX, BETA_INDEX, ALPHA, BETA] {
        assert_eq!(registry.site.count(path), 1, "{path}");
    }
}

#[test]
fn the_lock_file_is_the_same_and_one_from_elsewhere_is_fetched_here() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    registry.lock("direct");
    let cache = registry.cache("");
    session.run(&registry.line("led", &mount(&cache))).ok();
    session.run("cmp direct/Cargo.lock led/Cargo.lock && cp direct/Cargo.lock app/").ok();
    // With the lock file, and the upstream unplugged.
    registry.site.unplug();
    registry.fetch_locked("locked", &cache);
    session.run("cmp direct/Cargo.lock locked/Cargo.lock").ok();
}

/// A registry that is named, and not a stand-in for the usual one, is named in the lock file: by
/// the address that was asked.
#[test]
fn the_lock_file_has_the_address_of_a_named_registry() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    let package = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let needs = "[dependencies]\nbeta = { version = \"0.3\", registry = \"own\" }\n";
    session.write("app/Cargo.toml", format!("{package}{needs}"));
    let lock = |name: &str, index: &str| {
        let set = format!("CARGO_REGISTRIES_OWN_INDEX=sparse+{index}");
        let line = registry.line(name, index).replace("cargo --config", &format!("env {set} cargo --config"));
        session.run(&line).ok();
        fs::read_to_string(session.path(name).join("Cargo.lock")).unwrap()
    };
    let direct_index = format!("{}/index/", registry.site.url());
    let (direct, led) = (lock("direct", &direct_index), lock("led", &mount(&cache)));
    assert_ne!(direct, led);
    assert_eq!(led.replace(&mount(&cache), &direct_index), direct);
}

#[test]
fn an_upstream_in_trouble_leaves_what_is_stored() {
    if !have(&[Part::Cargo]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("index-ttl = \"0s\"\n");
    registry.works(&cache);
    registry.site.fail("", Fault::Status(500));
    registry.works(&cache);
    registry.site.heal();
    registry.site.fail(ALPHA_INDEX, Fault::Status(404));
    registry.works(&cache);
    registry.site.heal();
    registry.site.forget();
    registry.site.fail("", Fault::TooManyRequests("600".to_owned()));
    registry.works(&cache);
    registry.works(&cache);
    assert_eq!(registry.site.requests(), 1, "{:#?}", registry.site.log());
}

#[test]
fn both_doors_lead_to_one_entry_and_head_is_as_get_would_be() {
    if !have(&[Part::Cargo, Part::Curl]) {
        return;
    }
    let session = Session::new();
    let registry = Registry::new(&session);
    let cache = registry.cache("");
    // Nothing is stored yet: HEAD says what GET will.
    let sum = sh(&format!(
        "sha256sum {} | cut -d' ' -f1",
        session.path("beta-made/target/package/beta-0.3.0+x.crate")
    ));
    let path = format!("/crates/dl/beta/0.3.0+x/{sum}.crate");
    let head = session.run(&format!("curl -sfI {}{path}", cache.url())).ok().stdout();
    let answer = get(cache.authority(), &path).unwrap();
    assert_eq!((answer.status, &answer.body), (200, &registry.files[BETA]));
    assert!(head.contains(" 200 ") && head.contains(&format!("ength: {}\r\n", answer.body.len())), "{head}");
    registry.works(&cache);
    // The forward mode knows crates below the index.
    let config = format!("{{\"dl\": \"{}/index/crates\"}}", registry.site.url());
    registry.site.put(CONFIG, config);
    registry.site.put(&format!("/index{ALPHA}"), registry.files[ALPHA].clone());
    let beta = format!("/index{BETA}");
    registry.site.put(&beta, registry.files[BETA].clone());
    session.run("pkgcache rm --ecosystem cargo").ok();
    registry.works(&cache);
    registry.site.forget();
    for path in [beta.clone(), beta.replace('+', "%2b"), beta.replace('+', "%2B")] {
        let asked =
            session.run(&format!("curl -sf -x {} {}{path} | sha256sum", cache.url(), registry.site.url()));
        assert!(asked.ok().stdout().starts_with(&sum), "{path}");
    }
    assert_eq!(registry.site.requests(), 0, "{:#?}", registry.site.log());
    assert_eq!(
        stored(&session).iter().filter(|url| url.contains("beta") && url.contains("download")).count(),
        1
    );
}
