//! Real clients that `run` leads to the cache, by nothing but their own settings: each asks its
//! index through the cache alone, with the credentials that it has, and the second time nobody asks
//! the index for a file.

use std::fs;
use std::process::Command;

use larder_tests::http::{Reply, Site};
use larder_tests::{DockerRegistry, Part, Ran, Session, have, not_run};
use storekit::Digest;

use crate::support::{Proxy, session};

/// `Authorization` for `me` with the password `p@w`.
const BASIC: &str = "Basic bWU6cEB3";

/// A file that is served only to clients with these credentials.
fn guarded(site: &Site, path: &str, kind: &'static str, credentials: &'static str, body: Vec<u8>) {
    site.script(path, move |request| {
        if request.header("authorization") == Some(credentials) {
            return Reply { status: 200, fields: format!("content-type: {kind}"), body: body.clone() };
        }
        Reply { status: 401, fields: "www-authenticate: Basic realm=\"x\"".into(), body: Vec::new() }
    });
}

/// All requests came from a cache.
#[track_caller]
fn all_through_the_cache(site: &Site) {
    let log = site.log();
    assert!(!log.is_empty(), "nobody asked");
    for it in log {
        let via = it.request.header("via").unwrap_or_default();
        assert!(via.contains("pkgcache"), "{} {} came by itself", it.request.method, it.request.path);
    }
}

/// Runs the command with a cache; what it saved, from the last line.
#[track_caller]
fn led(session: &Session, command: &[&str]) -> String {
    let mut run = session.command("run --");
    let ran = Ran::of(run.args(command)).ok();
    let said = ran.stderr();
    said.lines()
        .find(|line| line.starts_with("pkgcache: ") && line.ends_with("saved"))
        .expect("sums")
        .to_owned()
}

#[test]
fn pip_brings_the_credentials_of_its_index() {
    if !have(&[Part::Python]) {
        return;
    }
    let session = session();
    let make = "import zipfile; z = zipfile.ZipFile('own-1.0-py3-none-any.whl', 'w'); z.writestr('own.py', ''); \
        z.writestr('own-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n'); \
        z.writestr('own-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'); \
        z.writestr('own-1.0.dist-info/RECORD', ''); z.close()";
    Ran::of(session.program("python3").args(["-c", make])).ok();
    let wheel = fs::read(session.path("own-1.0-py3-none-any.whl")).unwrap();
    let site = Site::new();
    let page = format!(
        "<a href=\"own-1.0-py3-none-any.whl#sha256={}\">own-1.0-py3-none-any.whl</a>",
        Digest::of(&wheel).hex()
    );
    guarded(&site, "/simple/own/", "text/html", BASIC, page.into_bytes());
    guarded(&site, "/simple/own/own-1.0-py3-none-any.whl", "application/octet-stream", BASIC, wheel);
    let index = site.url().replace("http://", "http://me:p%40w@");
    let session =
        session.env("PIP_INDEX_URL", &format!("{index}/simple/")).env("PIP_CONFIG_FILE", "/dev/null");
    let pip = [
        "pip",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "download",
        "-q",
        "--no-deps",
        "-d",
        "out",
        "own",
    ];
    led(&session, &pip);
    assert!(session.path("out/own-1.0-py3-none-any.whl").is_file());
    all_through_the_cache(&site);
    let files = || site.log().iter().filter(|it| it.request.path.contains("py3-none-any")).count();
    let before = files();
    fs::remove_dir_all(session.path("out")).unwrap();
    let saved = led(&session, &pip);
    assert_eq!(files(), before, "the file was asked for again: {saved}");
    assert!(!saved.contains("0 hits"), "{saved}");
}

#[test]
fn npm_brings_the_token_of_its_scope() {
    if !have(&[Part::Node]) {
        return;
    }
    let session = session().file("own/package.json", "{\"name\": \"@team/own\", \"version\": \"1.0.0\"}");
    let packed = Ran::of(session.program("npm").args(["pack", "--json", "./own"])).ok().stdout();
    let packed: serde_json::Value = serde_json::from_str(&packed).unwrap();
    // Of one form in npm 11, of another from 12 on.
    let packed = packed.get(0).or_else(|| packed.get("@team/own")).unwrap();
    let tarball = fs::read(session.path(packed["filename"].as_str().unwrap())).unwrap();
    let site = Site::new();
    let dist = serde_json::json!({
        "tarball": format!("{}/@team/own/-/own-1.0.0.tgz", site.url()),
        "integrity": packed["integrity"], "shasum": packed["shasum"],
    });
    let version = serde_json::json!({ "name": "@team/own", "version": "1.0.0", "dist": dist });
    let packument = serde_json::json!({
        "name": "@team/own", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": version },
    });
    guarded(&site, "/@team%2fown", "application/json", "Bearer word", packument.to_string().into_bytes());
    guarded(&site, "/@team/own/-/own-1.0.0.tgz", "application/octet-stream", "Bearer word", tarball);
    let place = site.url().trim_start_matches("http:").to_owned();
    session.write("../home/.npmrc", format!("@team:registry={}/\n{place}/:_authToken=word\n", site.url()));
    session.write("package.json", "{\"name\": \"x\", \"version\": \"1.0.0\"}");
    let npm = ["npm", "install", "--no-audit", "--no-fund", "--cache", "cache", "@team/own"];
    led(&session, &npm);
    assert!(session.path("node_modules/@team/own/package.json").is_file());
    all_through_the_cache(&site);
    for folder in ["cache", "node_modules"] {
        fs::remove_dir_all(session.path(folder)).unwrap();
    }
    let before = site.log().iter().filter(|it| it.request.path.contains("/-/")).count();
    led(&session, &npm);
    let after = site.log().iter().filter(|it| it.request.path.contains("/-/")).count();
    assert_eq!(before, after);
}

/// Packs a package of this name; its tarball, and what npm says of it.
fn packed(session: &Session, name: &str) -> (Vec<u8>, serde_json::Value) {
    session
        .write(&format!("{name}/package.json"), format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}"));
    let said = Ran::of(session.program("npm").args(["pack", "--json", &format!("./{name}")])).ok().stdout();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let said = said.get(0).or_else(|| said.get(name)).unwrap().clone();
    (fs::read(session.path(said["filename"].as_str().unwrap())).unwrap(), said)
}

#[test]
fn npm_installs_a_lock_file_that_was_made_without_a_cache() {
    if !have(&[Part::Node]) {
        return;
    }
    let session = session();
    let (site, other) = (Site::new(), Site::new());
    let (own, said) = packed(&session, "own");
    let dist = serde_json::json!({
        "tarball": format!("{}/own/-/own-1.0.0.tgz", site.url()),
        "integrity": said["integrity"], "shasum": said["shasum"],
    });
    let version = serde_json::json!({ "name": "own", "version": "1.0.0", "dist": dist });
    let packument = serde_json::json!({
        "name": "own", "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": version },
    });
    site.put_with("/own", "content-type: application/json", packument.to_string());
    site.put("/own/-/own-1.0.0.tgz", own);
    other.put("/by-url.tgz", packed(&session, "by-url").0);
    // By another host than the registry's: npm tells them apart by that.
    let by_url = format!("{}/by-url.tgz", other.url().replace("127.0.0.1", "localhost"));
    let project = serde_json::json!({
        "name": "x", "version": "1.0.0", "dependencies": { "own": "1.0.0", "by-url": by_url },
    });
    session.write("x/package.json", project.to_string());
    session.write("../home/.npmrc", format!("registry={}/\n", site.url()));
    let npm = |command: &'static str| {
        ["npm", command, "--prefix", "x", "--no-audit", "--no-fund", "--cache", "cache"]
    };
    let lock = || fs::read_to_string(session.path("x/package-lock.json")).unwrap();
    let empty = || {
        for folder in ["cache", "x/node_modules"] {
            fs::remove_dir_all(session.path(folder)).unwrap();
        }
        site.forget();
    };
    Ran::of(session.program("npm").args(&npm("install")[1..])).ok();
    let made = lock();
    empty();
    led(&session, &npm("ci"));
    all_through_the_cache(&site);
    assert!(session.path("x/node_modules/by-url/package.json").is_file());
    // One that is made with the cache is the same.
    empty();
    fs::remove_file(session.path("x/package-lock.json")).unwrap();
    led(&session, &npm("install"));
    assert_eq!(lock(), made);
}

/// A session with the cargo that builds this on its PATH.
fn with_cargo() -> Session {
    let cargo = std::env::var("CARGO").expect("a test of cargo's");
    let folder = camino::Utf8Path::new(&cargo).parent().expect("a folder").to_owned();
    session().env("PATH", &format!("{folder}:{}", larder_tests::tools::path()))
}

#[test]
fn cargo_fetches_from_the_mount_and_its_lock_file_stays() {
    let session = with_cargo()
        .file("own/Cargo.toml", "[package]\nname = \"own\"\nversion = \"1.0.0\"\nedition = \"2021\"\ndescription = \"x\"\nlicense = \"MIT\"\n")
        .file("own/src/lib.rs", "")
        .file("x/Cargo.toml", "[package]\nname = \"x\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nown = \"1\"\n")
        .file("x/src/lib.rs", "");
    let run = |command: &mut Command| Ran::of(command).ok();
    let package = [
        "package",
        "--offline",
        "--no-verify",
        "--allow-dirty",
        "--quiet",
        "--manifest-path",
        "own/Cargo.toml",
    ];
    run(session.program("cargo").args(package));
    let bytes = fs::read(session.path("own/target/package/own-1.0.0.crate")).unwrap();
    let site = Site::new();
    let line = serde_json::json!({
        "name": "own", "vers": "1.0.0", "deps": [], "cksum": Digest::of(&bytes).hex(), "features": {}, "yanked": false,
    });
    site.put("/config.json", format!("{{\"dl\": \"{}/dl\"}}", site.url()));
    site.put("/3/o/own", format!("{line}\n"));
    site.put("/dl/own/1.0.0/download", bytes);
    let config = format!(
        "[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+{}/\"\n",
        site.url()
    );
    session.write("../home/.cargo/config.toml", config);
    run(session.program("cargo").args(["generate-lockfile", "--quiet", "--manifest-path", "x/Cargo.toml"]));
    let lock = fs::read_to_string(session.path("x/Cargo.lock")).unwrap();
    site.forget();
    let forget = || fs::remove_dir_all(session.path("../home/.cargo/registry")).unwrap();
    forget();
    // Where no toolchain comes first, and where one does, the settings follow it.
    led(&session, &["cargo", "fetch", "--quiet", "--manifest-path", "x/Cargo.toml"]);
    all_through_the_cache(&site);
    forget();
    let asked = site.log().len();
    led(&session, &["cargo", "fetch", "--quiet", "--manifest-path", "x/Cargo.toml"]);
    let files = site.log().iter().skip(asked).filter(|it| it.request.path.contains("/dl/")).count();
    assert_eq!(files, 0);
    assert_eq!(fs::read_to_string(session.path("x/Cargo.lock")).unwrap(), lock);
}

#[test]
fn apt_asks_for_http_sources_through_the_proxy() {
    if Command::new("apt-get").arg("--version").output().is_err() {
        return not_run("needs `apt-get`");
    }
    let site = Site::new();
    site.put(
        "/debian/Packages",
        "Package: own\nVersion: 1\nArchitecture: all\nFilename: ./own.deb\nSize: 1\n",
    );
    let host = site.url().trim_start_matches("http://").to_owned();
    let session = session()
        .file(
            "larder.toml",
            &format!(
                "[pkgcache]\nallow = [\"{host}\"]\n[pkgcache.upstream]\ndebian = {{ url = \"{}/debian\", kind = \"apt\" }}\n",
                site.url()
            ),
        )
        .file("sources.list", &format!("deb [trusted=yes] {}/debian ./\n", site.url()))
        .file("apt/lists/partial/x", "")
        .file("apt/cache/archives/partial/x", "")
        .file("empty/x", "");
    let work = session.path("");
    let options = [
        format!("Dir::Etc::sourcelist={work}sources.list"),
        format!("Dir::Etc::sourceparts={work}empty"),
        format!("Dir::State::lists={work}apt/lists"),
        format!("Dir::Cache={work}apt/cache"),
        "APT::Sandbox::User=".to_owned(),
    ];
    let mut command = vec!["apt-get", "-q"];
    command.extend(options.iter().flat_map(|option| ["-o", option]));
    command.push("update");
    led(&session, &command);
    all_through_the_cache(&site);
}

/// Puts an image of one small layer into the registry.
fn push_image(session: &Session, registry: &str) {
    let mut blobs = Vec::new();
    let mut blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        session.write(&format!("image/blobs/sha256/{}", digest.hex()), bytes);
        blobs.push(digest);
        serde_json::json!({ "digest": digest.to_string(), "size": bytes.len() })
    };
    let mut described = |bytes: &[u8], kind: &str| {
        let mut it = blob(bytes);
        it["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        it
    };
    let layer = described(&[0; 1024], "layer.v1.tar");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = described(config.to_string().as_bytes(), "config.v1+json");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer],
    });
    let manifest = described(manifest.to_string().as_bytes(), "manifest.v1+json");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    session.write("image/index.json", index.to_string());
    session.write("image/oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}");
    let to = format!("docker://{registry}/team/app:1");
    let args = ["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "oci:image", &to];
    Ran::of(session.program("skopeo").args(args)).ok();
}

#[test]
fn skopeo_pulls_by_the_settings_that_are_printed() {
    if !have(&[Part::Registry, Part::Skopeo]) {
        return;
    }
    let session = session();
    let registry = DockerRegistry::start(&session.path("registry"));
    let name = registry.host().to_owned();
    push_image(&session, &name);
    session
        .write("larder.toml", format!("[pkgcache.registry]\n\"{name}\" = {{ url = \"http://{name}\" }}\n"));
    let proxy = Proxy::in_session(session, &[]);
    let printed = proxy.command(&["env", "--for", "podman", "--url", proxy.url()]).ok().stdout();
    let conf = proxy.path("registries.conf");
    larder_tests::write(&conf, printed);
    let checked = proxy.command(&["env", "--check", "--url", proxy.url()]).ok().stdout();
    assert!(checked.starts_with(&format!("{name} (oci): ok")), "{checked}");
    let pull = |to: &str| {
        let from = format!("docker://{name}/team/app:1");
        let to = format!("dir:{}", proxy.path(to));
        let mut skopeo = Command::new("skopeo");
        larder_tests::isolate(&mut skopeo, proxy.path(""));
        skopeo.args(["--registries-conf", conf.as_str(), "--insecure-policy", "copy", "-q", &from, &to]);
        Ran::of(&mut skopeo).ok();
    };
    pull("one");
    // Stored, it comes without the registry.
    drop(registry);
    pull("two");
    let rows = proxy.command(&["ls", "--ecosystem", "oci", "--json"]).ok().rows();
    assert!(rows.len() >= 3, "{rows:?}");
}
