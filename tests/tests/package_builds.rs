//! Builds of images whose Dockerfile knows of no cache, through `pkgcache run`: with the network,
//! again with the upstreams cut off, and without the cache, to see that nothing of it stays.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests may fail and write as they like")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use larder_tests::http::Site;
use larder_tests::{Part, Session, have, not_run, parts};

/// Steps of five clients. What they keep for themselves goes: it names the index that they asked.
const STEPS: &str = "COPY authorities /authorities\n\
    ENV PIP_CERT=/authorities NODE_EXTRA_CA_CERTS=/authorities CARGO_HTTP_CAINFO=/authorities SSL_CERT_FILE=/authorities\n\
    COPY npm /opt/npm\nCOPY cargo rustc uv /usr/local/bin/\nCOPY project /project\n\
    RUN rm -f /etc/apt/apt.conf.d/*clean && echo 'deb [trusted=yes] VENDOR/ ./' >/etc/apt/sources.list.d/vendor.list \\\n \
      && apt-get update -o APT::Update::Error-Mode=any && rm /etc/apt/sources.list.d/vendor.list && apt-get install -y --no-install-recommends hello \\\n \
      && rm -rf /var/log /var/cache/apt /var/cache/ldconfig /var/lib/apt/lists\n\
    RUN pip install --no-compile --break-system-packages --root-user-action=ignore idna==3.4 && rm -rf /root/.cache\n\
    RUN uv pip install --system --break-system-packages --no-cache iniconfig==2.0.0\n\
    RUN cd /project && node /opt/npm/bin/npm-cli.js install --no-audit --no-fund --no-update-notifier \\\n \
      && rm -rf /root/.npm\n\
    RUN cd /project && cargo fetch --quiet && test -d /root/.cargo/registry/cache && rm -rf /root/.cargo/registry /root/.cargo/.global-cache\n";

/// What cargo asks the compiler.
const QUESTION: &str = "- --crate-name ___ --print=file-names --crate-type bin --crate-type rlib --crate-type dylib \
    --crate-type cdylib --crate-type staticlib --crate-type proc-macro --print=sysroot \
    --print=split-debuginfo --print=crate-name --print=cfg -Wwarnings";

/// A folder with a Dockerfile, and the upstreams of this machine's own clients.
struct Project {
    session: Session,
    base: String,
    /// A repository that the cache does not answer for.
    vendor: Site,
}

impl Project {
    fn new(mut session: Session, engine: &'static str) -> Option<Self> {
        let detected = upstreams()?;
        let base = session.client_base_of(engine);
        session.write("larder.toml", detected);
        let vendor = Site::new();
        vendor.put(
            "/./Packages",
            "Package: own\nVersion: 1\nArchitecture: all\nFilename: ./own.deb\nSize: 1\n",
        );
        let project = Self { session, base, vendor };
        project.context();
        Some(project)
    }

    fn context(&self) {
        let session = &self.session;
        let from = session.from(&self.base);
        let steps = STEPS.replace("VENDOR", &self.vendor.url());
        session.write("Dockerfile", format!("{from}\n{steps}"));
        let authorities =
            std::env::var("SSL_CERT_FILE").unwrap_or("/etc/ssl/certs/ca-certificates.crt".into());
        session.write("authorities", fs::read(authorities).unwrap());
        let npm = parts::installed("node/node_modules/npm10");
        session.run(&format!("cp -a {npm} npm")).ok();
        let cargo = parts::cargo().unwrap();
        session.run(&format!("cp -L {cargo}/cargo cargo")).ok();
        session.run(&format!("cp -L {} uv", parts::installed(parts::UV))).ok();
        // cargo asks the compiler what it can, and needs no more of it to fetch.
        let says = |args: &str| {
            let mut rustc = Command::new(cargo.join("rustc"));
            let says = rustc.args(args.split(' ')).stdin(Stdio::null()).output().unwrap().stdout;
            String::from_utf8(says).unwrap()
        };
        let (who, what) = (says("-vV"), says(QUESTION));
        session.script("rustc", &format!("[ \"$1\" = -vV ] && exec cat <<'E'\n{who}E\ncat <<'E'\n{what}E"));
        session.write("project/Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"=1.0.9\"\n");
        session.write("project/src/lib.rs", "");
        session.write(
            "project/package.json",
            r#"{"name":"x","version":"1.0.0","dependencies":{"is-odd":"3.0.1"}}"#,
        );
    }

    /// Builds; the line that `run` ends with.
    #[track_caller]
    fn build(&self, run: &str, build: &str) -> String {
        self.builds(&format!("pkgcache run {run} -- {build} ."))
    }

    /// The same, of a tar of the folder.
    #[track_caller]
    fn build_piped(&self, run: &str, build: &str) -> String {
        self.builds(&format!("tar -c . | pkgcache run {run} -- {build} -"))
    }

    #[track_caller]
    fn builds(&self, line: &str) -> String {
        let said = self.session.run(line).ok().stderr();
        said.lines().rev().find(|line| line.starts_with("pkgcache: ")).unwrap_or_default().to_owned()
    }

    /// The vendor's repository was asked, and not by the cache.
    #[track_caller]
    fn vendor_was_asked_directly(&self) {
        let log = self.vendor.log();
        assert!(log.iter().any(|it| it.request.path == "/./Packages"), "nobody asked");
        assert!(log.iter().all(|it| it.request.header("via").is_none()), "the cache asked");
        self.vendor.forget();
    }

    /// A line for each file of an image with its mode, and one for what is in it.
    fn files(&self, engine: &str, image: &str) -> BTreeSet<String> {
        let line = format!(
            "id=$({engine} create {image} true) && mkdir root && {engine} export $id | tar -x -C root; {engine} rm $id >&2
            cd root && find . -printf '%p mode %m %y %l\\n' && find . -type f -exec sha256sum {{}} + | sed 's/\\(.*\\)  \\(.*\\)/\\2 has \\1/'
            cd .. && rm -rf root"
        );
        let listed = self.session.run(&line).ok().stdout();
        listed.lines().filter(|line| !is_fickle(line)).map(str::to_owned).collect()
    }
}

/// What `pkgcache detect` finds on this machine, if all four clients have an index that it knows.
/// The clients' own settings say it, so their home is the user's.
fn upstreams() -> Option<String> {
    let tool = larder_tests::tools::folder().join("pkgcache");
    let found = Command::new(tool).arg("detect").output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let all =
        ["apt", "python", "npm", "cargo"].iter().all(|kind| text.contains(&format!("kind = \"{kind}\"")));
    if !all {
        not_run(&format!("not all clients of this machine have an index that can be found:\n{text}"));
    }
    all.then_some(text)
}

/// Paths that differ in two builds of the same without a cache, too.
fn is_fickle(path: &str) -> bool {
    let fickle = ["var/lib/dpkg/", "var/log", "etc/hostname", "etc/hosts", "etc/resolv.conf"];
    fickle.iter().any(|it| path.starts_with(&format!("./{it}")))
}

#[track_caller]
fn same(one: &BTreeSet<String>, other: &BTreeSet<String>) {
    let differing: Vec<_> = one.symmetric_difference(other).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// Builds with docker: cold, again with the upstreams cut off, and without the cache.
fn builds_with_docker(buildkit: &str) {
    if !have(&[Part::Docker, Part::ClientBase, Part::Npm, Part::Cargo, Part::Uv]) {
        return;
    }
    let session = Session::new().env("DOCKER_BUILDKIT", buildkit);
    let Some(mut project) = Project::new(session, "docker") else { return };
    let [first, second, plain] = ["first", "second", "plain"].map(|it| project.session.image(it));
    // What the engine has of an earlier run would ask for nothing.
    let line = project.build("", &format!("docker build --no-cache -t {first}"));
    assert!(!line.contains(" 0B from upstream"), "{line}");
    project.vendor_was_asked_directly();
    let line = project.build_piped("--offline", &format!("docker build --no-cache -t {second}"));
    assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
    project.session.run(&format!("docker build --no-cache --network host -t {plain} .")).ok();
    let [first_files, second_files, plain_files] =
        [&first, &second, &plain].map(|image| project.files("docker", image));
    assert!(first_files.len() > 1000 && first_files.iter().any(|line| line.contains("idna/core.py has ")));
    same(&first_files, &second_files);
    same(&second_files, &plain_files);
    let inspects = format!("docker image inspect -f '{{{{json .Config}}}}' {first}");
    // The classic builder writes build arguments and steps into the history as they were given.
    let history =
        if buildkit == "1" { format!("; docker history --no-trunc {first}") } else { String::new() };
    let text = project.session.run(&(inspects + &history)).ok().stdout();
    // The Dockerfile itself names the vendor.
    let text = text.replace(&project.vendor.url(), "");
    for word in ["127.0.0.1", "larder-pip", "pip.conf", "npmrc"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_build_comes_through_the_cache_and_leaves_nothing_of_it() {
    builds_with_docker("1");
}

#[test]
fn the_classic_builder_comes_through_it_too() {
    builds_with_docker("0");
}

#[test]
fn podman_comes_through_it_too() {
    if !have(&[Part::Podman, Part::ClientBase, Part::Npm, Part::Cargo, Part::Uv]) {
        return;
    }
    let session = Session::new().with_podman();
    let Some(project) = Project::new(session, "../bin/podman") else { return };
    // Without layers between: its storage here copies each one whole.
    let build = "../bin/podman build --layers=false --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024";
    project.build("", &format!("{build} --no-cache -t here"));
    project.vendor_was_asked_directly();
    let line = project.build_piped("--offline", &format!("{build} --no-cache -t again"));
    assert!(line.contains(" 0 misses, 0B from upstream"), "{line}");
    let files = project.files("../bin/podman", "localhost/again");
    assert!(files.iter().any(|line| line.contains("iniconfig/__init__.py has ")));
    for path in ["etc/pip.conf", "root/.npmrc", "usr/local/etc/npmrc", "root/.cargo/config.toml", "./uv.toml"]
    {
        assert!(!files.iter().any(|line| line.contains(path)), "{path} stayed");
    }
}

#[test]
fn a_bake_leads_the_clients_of_its_builds_to_the_cache() {
    if !have(&[Part::Docker, Part::ClientBase]) {
        return;
    }
    let Some(detected) = upstreams() else { return };
    let mut session = Session::new().env("LARDER_DOCKER", "docker");
    let (base, tag) = (session.client_base_of("docker"), session.image("app"));
    // A step of this run's own: one that the engine has would ask for nothing.
    let steps = format!(
        "COPY authorities /authorities\nENV PIP_CERT=/authorities\n\
         RUN : {tag} && pip install --no-compile --break-system-packages --root-user-action=ignore idna==3.4\n"
    );
    session.write("Dockerfile", format!("{}\n{steps}", session.from(&base)));
    let authorities = std::env::var("SSL_CERT_FILE").unwrap_or("/etc/ssl/certs/ca-certificates.crt".into());
    session.write("authorities", fs::read(authorities).unwrap());
    let settings = |packages: &str| {
        let image = format!("[image.app]\ntags = [\"{tag}\"]\nlock = false\n{packages}");
        session.write("larder.toml", format!("{image}\n{detected}"));
    };
    settings("packages = [\"pip\"]\n");
    let bakes = |line: &str| session.run(&format!("larder bake --json {line}")).ok().rows().remove(0);
    let first = bakes("");
    assert!(first["packages"]["misses"].as_u64().unwrap() > 0, "{first}");
    // The same again, with the upstreams cut off.
    let again =
        session.run("LARDER_PKGCACHE_OFFLINE=true larder bake --json --rebuild app").ok().rows().remove(0);
    assert_eq!(
        (&again["packages"]["misses"], &again["packages"]["fetched"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    assert_eq!((&again["key"], &again["state"]), (&first["key"], &"built".into()));
    // Clients are in no key, and the switches turn it off.
    settings("");
    assert_eq!(bakes("")["state"], "hit");
    settings("packages = [\"pip\"]\ncache = { packages = false }\n");
    assert!(bakes("--rebuild").get("packages").is_none());
    settings("packages = [\"pip\"]\n");
    assert!(bakes("--rebuild --no-package-cache").get("packages").is_none());
    settings("packages = [\"pip\", \"conda\"]\n");
    let refused = session.run("larder bake").ends(2).stderr();
    assert!(refused.contains("cannot lead `conda`"), "{refused}");
}
