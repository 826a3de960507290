//! Real clients with the credentials of a private index, whose files lie on another host or are
//! redirected there: pip, uv, npm and cargo, through a mount and through the forward door. The
//! other host never sees the credentials.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use base64::Engine as _;
use larder_tests::http::{Fault, Reply, Site};
use larder_tests::parts::{NPM, PIP, UV, installed};
use larder_tests::{Part, Ran, Session, have};
use storekit::Digest;

use crate::support::{Proxy, session};

/// `me` with the password `word`, in base64; as tokens, it is what is sent as well.
const WORD: &str = "bWU6d29yZA==";

/// Two hosts, of which one wants credentials.
struct Scene {
    own: Site,
    other: Site,
    /// Of the cache before it.
    settings: String,
    session: Session,
}

/// How a client comes to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Mount,
    Forward,
}

impl Scene {
    fn new(session: Session) -> Self {
        let (own, other) = (Site::new(), Site::new());
        own.guard(|request| {
            let has = request.header("authorization").is_some_and(|value| value.contains(WORD));
            let fields = "www-authenticate: Basic realm=\"x\"".to_owned();
            (!has).then(|| Reply { status: 401, fields, ..Reply::default() })
        });
        let settings = format!(
            "[pkgcache]\nallow = [\"{}\"]\n[pkgcache.upstream]\n\
             pypi = {{ url = \"{url}/simple/\", kind = \"python\" }}\nnpm = {{ url = \"{url}/npm/\", kind = \"npm\" }}\n\
             linked = {{ url = \"{url}/linked/\", kind = \"cargo\" }}\nmoved = {{ url = \"{url}/moved/\", kind = \"cargo\" }}\n",
            other.authority(),
            url = own.url()
        );
        Self { own, other, settings, session }
    }

    /// A cache that has nothing yet.
    fn cache(&self) -> Proxy {
        self.own.forget();
        self.other.forget();
        Proxy::set(&self.settings, &[])
    }

    /// Where a client finds the index, without the scheme.
    fn index(&self, cache: &Proxy, door: Door, mount: &str, there: &str) -> String {
        match door {
            Door::Mount => format!("{}/{mount}/", cache.authority()),
            Door::Forward => format!("{}/{there}/", self.own.authority()),
        }
    }

    /// Puts the file on the other host; the index's own address for it leads there.
    fn file(&self, there: &str, name: &str, bytes: Vec<u8>) {
        self.other.put(&format!("/files/{name}"), bytes);
        self.own.fail(there, Fault::Redirect(302, format!("{}/files/{name}", self.other.url())));
    }

    /// Runs the client, led to the proxy where it comes by that door.
    #[track_caller]
    fn run(cache: &Proxy, door: Door, command: &mut Command) {
        if door == Door::Forward {
            let names = ["http_proxy", "HTTP_PROXY", "CARGO_HTTP_PROXY", "npm_config_proxy"];
            command.envs(names.map(|name| (name, cache.url())));
        }
        Ran::of(command).ok();
    }

    /// The other host was asked for these, by the cache, and got no credentials with them.
    #[track_caller]
    fn nothing_traveled(&self, what: &str, files: &[&str]) {
        assert!(self.own.requests() > 0, "{what}: the index was not asked");
        for file in files {
            let asked = self.other.log().iter().any(|it| it.request.path.ends_with(file));
            assert!(asked, "{what}: the other host was not asked for {file}");
        }
        for it in self.own.log().iter().chain(&self.other.log()) {
            assert!(
                it.request.header("via").is_some(),
                "{what}: {} was asked past the cache",
                it.request.path
            );
        }
        for it in
            self.other.log().iter().filter(|it| files.iter().any(|file| it.request.path.ends_with(file)))
        {
            let text = format!("{} {:?}", it.request.path, it.request.headers);
            let bare = !text.contains("bWU6d29yZA") && it.request.header("authorization").is_none();
            assert!(bare, "{what}: the other host got {text}");
        }
    }
}

/// A project whose wheel is linked on the other host, and one whose wheel is redirected there.
fn python() -> Scene {
    let scene = Scene::new(session());
    for name in ["linked", "moved"] {
        let file = format!("{name}-1.0-py3-none-any.whl");
        let make = format!(
            "import zipfile; z = zipfile.ZipFile('{file}', 'w'); i = '{name}-1.0.dist-info/'; z.writestr('{name}.py', ''); \
             z.writestr(i + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n'); \
             z.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'); \
             z.writestr(i + 'RECORD', ''); z.close()"
        );
        Ran::of(scene.session.program("python3").args(["-c", &make])).ok();
        let wheel = fs::read(scene.session.path(&file)).unwrap();
        let place = if name == "linked" { format!("{}/files/", scene.other.url()) } else { String::new() };
        let page = format!("<a href=\"{place}{file}#sha256={}\">{file}</a>", Digest::of(&wheel).hex());
        scene.own.put_with(&format!("/simple/{name}/"), "content-type: text/html", page);
        scene.file(&format!("/simple/{name}/{file}"), &file, wheel);
    }
    scene
}

/// Installs both with credentials in the URL and by netrc.
fn installs(scene: &Scene, program: &str, words: &[&str]) {
    for door in [Door::Mount, Door::Forward] {
        for by_url in [true, false] {
            // By netrc, a client that comes through the proxy itself brings a host's credentials to
            // all its ports: one that the index does not name is asked for by the cache alone.
            let projects: &[&str] =
                if by_url || door == Door::Mount { &["linked", "moved"] } else { &["moved"] };
            let cache = scene.cache();
            let netrc = if by_url { "" } else { "machine 127.0.0.1 login me password word\n" };
            scene.session.write("netrc", netrc);
            let user = if by_url { "me:word@" } else { "" };
            let index = format!("http://{user}{}", scene.index(&cache, door, "pypi", "simple"));
            let _ = fs::remove_dir_all(scene.session.path("out"));
            let mut command = scene.session.program(installed(program));
            command.args(words).args([
                "--no-deps",
                "--target",
                "out",
                "--no-cache-dir",
                "--index-url",
                &index,
            ]);
            command
                .args(projects)
                .env("NETRC", scene.session.path("netrc"))
                .env("PIP_CONFIG_FILE", "/dev/null");
            Scene::run(&cache, door, &mut command);
            let files: Vec<_> = projects.iter().map(|name| format!("{name}-1.0-py3-none-any.whl")).collect();
            let files: Vec<_> = files.iter().map(String::as_str).collect();
            scene.nothing_traveled(&format!("{program} {door:?} by_url={by_url}"), &files);
        }
    }
}

#[test]
fn pip_s_credentials_stay_with_its_index() {
    if have(&[Part::Python, Part::Pip]) {
        installs(&python(), PIP, &["install", "-q", "--disable-pip-version-check"]);
    }
}

#[test]
fn uv_s_credentials_stay_with_its_index() {
    if have(&[Part::Python, Part::Uv]) {
        installs(&python(), UV, &["pip", "install", "-q"]);
    }
}

#[test]
fn npm_s_credentials_stay_with_its_registry() {
    if !have(&[Part::Node, Part::Npm]) {
        return;
    }
    let scene = Scene::new(session());
    let npm = || {
        let mut command = scene.session.program("node");
        command.arg(installed(NPM));
        command
    };
    for name in ["linked", "moved"] {
        let package = format!("{{\"name\":\"{name}\",\"version\":\"1.0.0\"}}");
        scene.session.write(&format!("{name}/package.json"), package);
        Ran::of(npm().args(["pack", "-s", &format!("./{name}")])).ok();
        let file = format!("{name}-1.0.0.tgz");
        let tarball = fs::read(scene.session.path(&file)).unwrap();
        let there = format!("/npm/{name}/-/{file}");
        let place = if name == "linked" {
            format!("{}/files/{file}", scene.other.url())
        } else {
            scene.own.url() + &there
        };
        let integrity = base64::engine::general_purpose::STANDARD.encode(Digest::of(&tarball).bytes());
        let dist = serde_json::json!({ "tarball": place, "integrity": format!("sha256-{integrity}") });
        let version = serde_json::json!({ "name": name, "version": "1.0.0", "dist": dist });
        let packument = serde_json::json!({
            "name": name, "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": version },
        });
        scene.own.put_with(&format!("/npm/{name}"), "content-type: application/json", packument.to_string());
        scene.file(&there, &file, tarball);
    }
    for door in [Door::Mount, Door::Forward] {
        for credentials in ["_authToken", "_auth"] {
            let cache = scene.cache();
            let index = scene.index(&cache, door, "npm", "npm");
            let settings = format!("registry=http://{index}\n//{index}:{credentials}={WORD}\n");
            scene.session.write("../home/.npmrc", settings);
            scene.session.write("x/package.json", "{\"name\":\"x\",\"version\":\"1.0.0\"}");
            for made in ["cache", "x/node_modules", "x/package-lock.json"] {
                let made = scene.session.path(made);
                let _ = fs::remove_dir_all(&made).or_else(|_| fs::remove_file(&made));
            }
            let words = [
                "install",
                "--prefix",
                "x",
                "--no-audit",
                "--no-fund",
                "--cache",
                "cache",
                "linked",
                "moved",
            ];
            Scene::run(&cache, door, npm().args(words));
            let files = ["linked-1.0.0.tgz", "moved-1.0.0.tgz"];
            scene.nothing_traveled(&format!("npm {door:?} {credentials}"), &files);
        }
    }
}

#[test]
fn cargo_s_credentials_stay_with_its_registry() {
    let Some(folder) = larder_tests::parts::cargo() else { return };
    let scene = Scene::new(session().env("PATH", &format!("{folder}:{}", larder_tests::tools::path())));
    for name in ["linked", "moved"] {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\ndescription = \"x\"\nlicense = \"MIT\"\n"
        );
        scene.session.write(&format!("{name}/Cargo.toml"), manifest);
        scene.session.write(&format!("{name}/src/lib.rs"), "");
        let words = ["package", "-q", "--offline", "--no-verify", "--allow-dirty", "--manifest-path"];
        Ran::of(scene.session.program("cargo").args(words).arg(format!("{name}/Cargo.toml"))).ok();
        let file = format!("{name}-1.0.0.crate");
        let bytes = fs::read(scene.session.path(&format!("{name}/target/package/{file}"))).unwrap();
        let line = serde_json::json!({
            "name": name, "vers": "1.0.0", "deps": [], "cksum": Digest::of(&bytes).hex(), "features": {}, "yanked": false,
        });
        let place = if name == "linked" {
            format!("{}/files", scene.other.url())
        } else {
            format!("{}/moved/dl", scene.own.url())
        };
        let config = format!("{{\"dl\":\"{place}/{{crate}}-{{version}}.crate\",\"auth-required\":true}}");
        scene.own.put(&format!("/{name}/config.json"), config);
        scene.own.put(&format!("/{name}/{}/{}/{name}", &name[..2], &name[2..4]), format!("{line}\n"));
        scene.file(&format!("/moved/dl/{file}"), &file, bytes);
    }
    scene.session.write(
        "x/Cargo.toml",
        "[package]\nname = \"x\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\n\
         linked = { version = \"1\", registry = \"linked\" }\nmoved = { version = \"1\", registry = \"moved\" }\n",
    );
    scene.session.write("x/src/lib.rs", "");
    for door in [Door::Mount, Door::Forward] {
        let cache = scene.cache();
        let mut config = "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n".to_owned();
        for name in ["linked", "moved"] {
            let index = scene.index(&cache, door, name, name);
            let _ = write!(
                config,
                "[registries.{name}]\nindex = \"sparse+http://{index}\"\ntoken = \"{WORD}\"\n"
            );
        }
        let _ = fs::remove_dir_all(scene.session.path("../home/.cargo"));
        let _ = fs::remove_file(scene.session.path("x/Cargo.lock"));
        scene.session.write("../home/.cargo/config.toml", config);
        let mut command = scene.session.program("cargo");
        Scene::run(&cache, door, command.args(["fetch", "-q", "--manifest-path", "x/Cargo.toml"]));
        // By `dl`, cargo itself sends the token to whatever host that names: through the proxy,
        // too.
        let files: &[&str] = match door {
            Door::Mount => &["moved-1.0.0.crate", "linked-1.0.0.crate"],
            Door::Forward => &["moved-1.0.0.crate"],
        };
        scene.nothing_traveled(&format!("cargo {door:?}"), files);
    }
}
