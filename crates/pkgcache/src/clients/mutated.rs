//! Tests: clients' settings and what programs print, damaged. Whatever becomes of them, no reader
//! panics, what is found are addresses of HTTP without credentials, and what is printed of it can
//! be read as settings again.

use super::tests::{environment, text};
use super::{Found, Text, apt, cargo, dnf, npm, plan::Plan, python, registries};
use crate::damaged::each_text;

/// Reads the file as it is, which has to name an index, and then what becomes of it.
#[track_caller]
fn tried(name: &str, settings: &str, read: impl Fn(&Text) -> Found) {
    let whole = read(&text(name, settings));
    assert!(!whole.indexes.is_empty(), "{whole:?}");
    sound(whole);
    each_text(settings, |damaged| sound(read(&text(name, damaged))));
}

fn sound(found: Found) {
    for index in &found.indexes {
        let url: http::Uri = index.url.parse().unwrap_or_else(|error| panic!("{:?}: {error}", index.url));
        assert!(matches!(url.scheme_str(), Some("http" | "https")), "{url}");
        assert!(url.authority().is_some_and(|it| !it.as_str().contains('@')), "{url}");
    }
    let plan = Plan::of(found);
    let printed = plan.to_toml();
    assert!(printed.parse::<toml::Table>().is_ok(), "{printed}");
    let _ = plan.options();
}

const INI: &str = "; c\n[global]\nindex-url = https://me:word@one.example/simple\nextra-index-url =\n  https://two.example/simple/\n\
    [install]\nno-index = false\n";
const NPMRC: &str = "registry=https://one.example/npm/\n@scope:registry=\"https://two.example/\"\n//one.example/npm/:_authToken=${TOKEN}\n";
const YARN: &str =
    "npmRegistryServer: \"https://one.example/${HOME-x}/\"\nregistry \"https://two.example/\"\n";
const UV: &str = "index-url = \"https://one.example/simple\"\nextra-index-url = [\"https://me:word@two.example/s\"]\n\
    [[index]]\nname = \"own\"\nurl = \"https://three.example/s\"\ndefault = true\n[pip]\nindex-url = \"https://four.example/s\"\n";
const CARGO: &str = "[source.crates-io]\nreplace-with = \"near\"\n[source.near]\nregistry = \"sparse+https://near.example/index/\"\n\
    [registries.own]\nindex = \"sparse+https://own.example/i/\"\n";
const LIST: &str = "# c\ndeb [arch=amd64 signed-by=/k] http://one.example/debian stable main\ndeb-src https://me:word@two.example/apt/ ./\n";
const SOURCES: &str = "Types: deb\nURIs: http://one.example/debian\n https://two.example/debian\nSuites: s\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/\n";
const REPO: &str = "[base]\nname=Base\nbaseurl=http://one.example/linux/$releasever/os/\n  https://two.example/os\nmetalink=https://m.example/x\n[off]\nenabled=0\nbaseurl=http://off.example/\n";
const DAEMON: &str = "{\"registry-mirrors\": [\"https://mirror.example\"], \"debug\": true}";
const LOGINS: &str = "{\"auths\": {\"r.example:5000\": {\"auth\": \"bWU6d29yZA==\"}}, \"credHelpers\": {\"q.example\": \"h\"}}";
const PODMAN: &str = "unqualified-search-registries = [\"s.example\"]\n[[registry]]\nprefix = \"a.example/team\"\nlocation = \"b.example/x\"\n\
    [[registry.mirror]]\nlocation = \"m.example\"\n[[registry]]\nlocation = \"l.example:5000\"\ninsecure = true\n";
const HOSTS: &str =
    "server = \"https://real.example\"\n[host.\"https://m.example\"]\ncapabilities = [\"pull\"]\n";

#[test]
fn settings_of_python_and_npm_are_read_or_passed_over() {
    let none = environment(&[]);
    tried("pip.conf", INI, |file| python::pip(std::slice::from_ref(file), &none));
    tried("uv.toml", UV, |file| python::uv(std::slice::from_ref(file), &none));
    let set = environment(&[("TOKEN", "t"), ("a", "${a}")]);
    tried("npmrc", NPMRC, |file| npm::npm(std::slice::from_ref(file), &set));
    tried(".yarnrc.yml", YARN, |file| npm::yarn(std::slice::from_ref(file), &set));
    let netrc = "machine one.example login me password word\ndefault login d password e\n";
    tried(".netrc", netrc, |file| {
        let mut found = python::pip(&[text("pip.conf", INI)], &none);
        python::with_netrc(&mut found, file);
        found
    });
}

#[test]
fn settings_of_cargo_are_read_or_passed_over() {
    let none = environment(&[]);
    tried("config.toml", CARGO, |file| cargo::cargo(std::slice::from_ref(file), &[], &none));
    tried("credentials.toml", "[registries.own]\ntoken = \"word\"\n", |file| {
        cargo::cargo(&[text("config.toml", CARGO)], std::slice::from_ref(file), &none)
    });
}

#[test]
fn lists_of_apt_and_dnf_are_read_or_passed_over() {
    tried("a.list", LIST, |file| apt::apt(std::slice::from_ref(file), &[]));
    tried("a.sources", SOURCES, |file| apt::apt(std::slice::from_ref(file), &[]));
    let auth = "machine http://one.example/debian login me password word\n";
    tried("auth.conf", auth, |file| apt::apt(&[text("a.list", LIST)], std::slice::from_ref(file)));
    tried("a.repo", REPO, |file| dnf::dnf(&[], std::slice::from_ref(file)));
    let mounts =
        [dnf::Mounted { url: "https://two.example/".to_owned(), at: "http://127.0.0.1:1/two/".to_owned() }];
    each_text(REPO, |damaged| {
        let led = dnf::led(damaged, "http://127.0.0.1:1", &mounts);
        assert!(led.len() <= 8 * damaged.len() + 4096, "{} of {}", led.len(), damaged.len());
        let _ = dnf::proxy(damaged);
    });
    each_text("Acquire::http::Proxy \"http://proxy.example:3128/\";\n", |damaged| {
        let _ = apt::proxy(damaged);
    });
}

#[test]
fn settings_of_engines_are_read_or_passed_over() {
    tried("daemon.json", DAEMON, |file| registries::docker(file, Some("own.example")));
    tried("config.json", LOGINS, registries::logins);
    tried("registries.conf", PODMAN, |file| registries::podman(std::slice::from_ref(file)));
    tried("hosts.toml", HOSTS, |file| registries::containerd("name.example", file));
}

#[test]
fn what_clients_print_of_themselves_is_read_or_passed_over() {
    for (printed, read) in [
        (
            "  -i <url>  Base URL (default\n  https://index.example/simple). x\n",
            (|text: &str| python::built_in(text, "pip")) as fn(&str) -> Option<Found>,
        ),
        ("https://registry.example/\n", |text| npm::built_in(text, "npm")),
        ("failed to download from `https://index.example/config.json`\n", cargo::built_in),
        ("index.some-where.example-1949cf8c6b5b557f", cargo::of_cache_folder),
        ("own.example https://index.own.example/v1/\n", registries::built_in),
    ] {
        assert!(read(printed).is_some(), "{printed}");
        each_text(printed, |damaged| read(damaged).into_iter().for_each(sound));
    }
}
