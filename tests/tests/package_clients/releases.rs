//! The real rustup and uv, led to mounts of releases by `pkgcache run`: toolchains and Pythons of
//! the test's own.

use larder_tests::http::Site;
use larder_tests::parts::rustup;
use larder_tests::{Part, Ran, Session, have};
use serde_json::json;

use crate::served::{hex, stored};

fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn read(session: &Session, path: &str) -> Vec<u8> {
    std::fs::read(session.path(path)).unwrap()
}

fn settings(session: &Session, site: &Site) {
    let url = site.url();
    session.write(
        "larder.toml",
        format!(
            "[pkgcache.upstream]\nrustup = {{ url = \"{url}\", kind = \"releases\" }}\n\
             uv-python = {{ url = \"{url}/pythons\", kind = \"releases\" }}\n"
        ),
    );
}

/// Puts a release of the compiler there, whose archive `rustc` has in it what it prints.
fn release(session: &Session, site: &Site, (date, version): (&str, &str), default_server: &str) {
    let host = "x86_64-unknown-linux-gnu";
    let folder = format!("rustc-{version}-{host}");
    session
        .run(&format!(
            "rm -rf {folder} && mkdir -p {folder}/rustc/bin && cd {folder} && echo 3 > rust-installer-version && \
             echo rustc > components && echo file:bin/rustc > rustc/manifest.in && \
             printf '#!/bin/sh\\necho rustc {version}\\n' > rustc/bin/rustc && chmod +x rustc/bin/rustc && \
             cd .. && tar czf {folder}.tar.gz {folder}"
        ))
        .ok();
    let archive = read(session, &format!("{folder}.tar.gz"));
    let path = format!("/dist/{date}/{folder}.tar.gz");
    let sum = sha256(&archive);
    let manifest = format!(
        "manifest-version = \"2\"\ndate = \"{date}\"\n\n[pkg.rustc]\nversion = \"{version} (0 {date})\"\n\n\
         [pkg.rustc.target.{host}]\navailable = true\nurl = \"{default_server}{path}\"\nhash = \"{sum}\"\n\n\
         [pkg.rust]\nversion = \"{version} (0 {date})\"\n\n[pkg.rust.target.{host}]\navailable = true\n\
         url = \"{default_server}{path}\"\nhash = \"{sum}\"\ncomponents = [{{ pkg = \"rustc\", target = \"{host}\" }}]\n\
         extensions = []\n\n[profiles]\nminimal = [\"rustc\"]\n"
    );
    site.put(&path, archive);
    site.put(&format!("{path}.sha256"), format!("{sum}  {folder}.tar.gz\n"));
    for channel in [String::new(), format!("{date}/")] {
        let path = format!("/dist/{channel}channel-rust-stable.toml");
        site.put(
            &format!("{path}.sha256"),
            format!("{}  channel-rust-stable.toml\n", sha256(manifest.as_bytes())),
        );
        site.put(&path, manifest.clone());
    }
}

/// The server that rustup has built in, as the manifest of the toolchain here has it.
fn default_server() -> Option<String> {
    let sysroot = Ran::of(std::process::Command::new("rustc").args(["--print", "sysroot"]));
    let manifest = format!("{}/lib/rustlib/multirust-channel-manifest.toml", sysroot.stdout().trim());
    let text = std::fs::read_to_string(manifest).ok()?;
    let (_, url) = text.split_once("url = \"")?;
    Some(url.split_once("/dist/")?.0.to_owned())
}

fn installs(session: &Session, home: &str, options: &str) -> Ran {
    let rustup = rustup().unwrap();
    let homes = format!("RUSTUP_HOME=$PWD/{home} CARGO_HOME=$PWD/{home}/cargo RUSTUP_MAX_RETRIES=0");
    session.run(&format!(
        "{homes} pkgcache run {options} -- {rustup} toolchain install stable --profile minimal --no-self-update"
    ))
}

fn compiler(session: &Session, home: &str) -> String {
    let ran = session.run(&format!("{home}/toolchains/stable-x86_64-unknown-linux-gnu/bin/rustc")).ok();
    ran.stdout().trim().to_owned()
}

#[test]
fn rustup_is_led_here_and_each_archive_is_compared() {
    let Some(default_server) = default_server().filter(|_| have(&[Part::Rustup])) else { return };
    let (session, site) = (Session::new(), Site::new());
    settings(&session, &site);
    release(&session, &site, ("2026-01-02", "1.98.0"), &default_server);
    installs(&session, "one", "").ok();
    assert_eq!(compiler(&session, "one"), "rustc 1.98.0");
    let archive = "/dist/2026-01-02/rustc-1.98.0-x86_64-unknown-linux-gnu.tar.gz";
    assert_eq!(site.count(archive), 1);
    // A new client asks for nothing that is here.
    site.forget();
    installs(&session, "two", "").ok();
    assert_eq!((compiler(&session, "two").as_str(), site.count("/dist/2026")), ("rustc 1.98.0", 0));
    // The channel moves on while a client has the checksum of the manifest before.
    release(&session, &site, ("2026-02-03", "1.99.0"), &default_server);
    installs(&session, "three", "").ok();
    assert_eq!(compiler(&session, "three"), "rustc 1.98.0", "within its time the index is as it was");
    session.run(&format!("pkgcache refresh {}/dist/channel-rust-stable.toml", site.url())).ok();
    installs(&session, "four", "").ok();
    assert_eq!(compiler(&session, "four"), "rustc 1.99.0");
    site.unplug();
    installs(&session, "five", "").ok();
    installs(&session, "six", "--offline").ok();
    let rows = session.run(&format!("pkgcache ls --json {archive}")).ok().rows();
    let row = rows.iter().find(|row| row["url"].as_str().unwrap().ends_with(archive)).unwrap();
    assert_eq!((&row["ecosystem"], &row["responses"][0]["level"]), (&json!("releases"), &json!("indexed")));
    assert!(stored(&session).iter().any(|url| url.ends_with("channel-rust-stable.toml")));
}

/// What stands before the path of a Python in uv's own list: a mirror takes its place.
fn uv_prefix(session: &Session) -> String {
    let own = "grep -aoE 'https://[a-z./-]*/python-build-standalone/releases/download' \"$(command -v uv)\"";
    session.run(&format!("{own} | head -n 1")).ok().stdout().trim().to_owned()
}

#[test]
fn uv_installs_pythons_from_here_and_each_is_compared() {
    if !have(&[Part::Uv]) {
        return;
    }
    let (session, site) = (Session::new(), Site::new());
    settings(&session, &site);
    let prefix = uv_prefix(&session);
    session
        .run(
            "mkdir -p python/bin python/lib/python3.13 && printf '#!/bin/sh\\necho 3.13\\n' > python/bin/python3.13 && \
             chmod +x python/bin/python3.13 && ln -s python3.13 python/bin/python3 && \
             printf '# system configuration generated and used by the sysconfig module\\nbuild_time_vars = {}\\n' > python/lib/python3.13/_sysconfigdata__linux_x86_64-linux-gnu.py && tar czf p.tar.gz python",
        )
        .ok();
    let bytes = read(&session, "p.tar.gz");
    let (sum, name) =
        (sha256(&bytes), "cpython-3.13.1%2B20260102-x86_64-unknown-linux-gnu-install_only.tar.gz");
    let listed = json!({ "cpython-3.13.1-linux-x86_64-gnu": {
        "name": "cpython", "arch": { "family": "x86_64", "variant": null }, "os": "linux", "libc": "gnu",
        "major": 3, "minor": 13, "patch": 1, "prerelease": "", "url": format!("{prefix}/20260102/{name}"),
        "sha256": sum, "variant": null, "build": "20260102",
    }});
    session.write("list.json", listed.to_string());
    let path = format!("/pythons/20260102/{name}");
    site.put("/pythons/20260102/SHA256SUMS", format!("{sum}  {}\n", name.replace("%2B", "+")));
    let installs = |folder: &str, options: &str| {
        session.run(&format!(
            "UV_PYTHON_DOWNLOADS_JSON_URL=list.json UV_CACHE_DIR=$PWD/{folder}-cache UV_HTTP_RETRIES=0 pkgcache run {options} -- \
             uv python install 3.13.1 --install-dir {folder} --no-bin && {folder}/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13"
        ))
    };
    // A wrong one is cut off here.
    let mut wrong = bytes.clone();
    wrong[20] ^= 1;
    site.put(&path, wrong);
    assert!(installs("wrong", "").code() != 0);
    assert!(!stored(&session).iter().any(|url| url.ends_with(name)), "a wrong one is stored");
    site.put(&path, bytes);
    assert_eq!(installs("one", "").ok().stdout().trim(), "3.13");
    let asked = site.count(name);
    site.unplug();
    assert_eq!(installs("two", "").ok().stdout().trim(), "3.13");
    installs("three", "--offline").ok();
    assert_eq!(site.count(name), asked);
}
