//! npm, pnpm, yarn 1 and yarn 4.

use std::process::Command;

use larder_tests::Part;
use larder_tests::parts::{NPM, PNPM, YARN, YARN_CLASSIC, installed};
use serde_json::{Value, json};

use crate::columns::{Client, columns, noise};
use crate::world::World;

/// Makes the tarballs in the working folder, and prints what a packument says of each.
const BUILD: &str = r"
const { execFileSync } = require('child_process');
const { createHash } = require('crypto');
const fs = require('fs');
const hash = (algorithm, data, form) => createHash(algorithm).update(data).digest(form);
const noise = fs.readFileSync('noise', 'utf8');
const versions = [
  { name: 'larder-demo', version: '1.0.0', dependencies: { '@larder/dep': '^2.0.0' }, text: 'demo\n' },
  { name: '@larder/dep', version: '1.0.0', text: 'old\n' },
  { name: '@larder/dep', version: '2.0.1', text: noise },
];
const rows = versions.map(({ text, ...manifest }) => {
  fs.rmSync('package', { recursive: true, force: true });
  fs.mkdirSync('package');
  fs.writeFileSync('package/package.json', JSON.stringify(manifest));
  fs.writeFileSync('package/text.txt', text);
  const file = `${manifest.name.split('/').pop()}-${manifest.version}.tgz`;
  execFileSync('tar', ['--sort=name', '--mtime=2020-01-02', '--owner=0', '--group=0', '-czf', file, 'package']);
  const data = fs.readFileSync(file);
  const integrity = `sha512-${hash('sha512', data, 'base64')}`;
  return { ...manifest, dist: { integrity, shasum: hash('sha1', data, 'hex'), file } };
});
console.log(JSON.stringify(rows));
";

/// A registry at a server's root; `more` is what larder.toml says of its mount.
pub(crate) fn registry(more: &str) -> World {
    let mut world = World::new("npm", "/", more, None);
    world.session.write("noise", noise("npm"));
    world.session.write("build.js", BUILD);
    let rows = world.session.run("node build.js").ok().json();
    let rows = rows.as_array().unwrap().clone();
    for (name, path) in [("larder-demo", "/larder-demo"), ("@larder/dep", "/@larder%2Fdep")] {
        let of = || rows.iter().filter(|row| row["name"] == name);
        let packument = packument(&world.site.url(), name, of());
        world.index(
            path,
            "content-type: application/json\ncache-control: max-age=300",
            packument.to_string(),
        );
        for row in of() {
            let file = row["dist"]["file"].as_str().unwrap();
            let path = format!("/{name}/-/{file}");
            let tarball = std::fs::read(world.session.path(file)).unwrap();
            if file == "dep-1.0.0.tgz" {
                world.site.put(&path, tarball);
            } else {
                world.artifact(&path, path.clone(), tarball);
            }
        }
    }
    world
}

fn packument<'a>(site: &str, name: &str, rows: impl Iterator<Item = &'a Value>) -> Value {
    let mut packument = json!({
        "_id": name,
        "name": name,
        "dist-tags": {},
        "versions": {},
        "time": { "created": "2020-01-02T03:04:05.000Z", "modified": "2020-01-02T03:04:05.000Z" },
    });
    for row in rows {
        let mut version = row.clone();
        let file = version["dist"].as_object_mut().unwrap().remove("file").unwrap();
        version["dist"]["tarball"] = format!("{site}/{name}/-/{}", file.as_str().unwrap()).into();
        version["_id"] = format!("{name}@{}", row["version"].as_str().unwrap()).into();
        let number = row["version"].as_str().unwrap();
        packument["time"][number] = "2020-01-02T03:04:05.000Z".into();
        packument["dist-tags"]["latest"] = number.into();
        packument["versions"][number] = version;
    }
    packument
}

/// A packument in which all tarballs lie elsewhere.
fn with_link(document: &str, url: &str) -> String {
    let mut packument: Value = serde_json::from_str(document).unwrap();
    for version in packument["versions"].as_object_mut().unwrap().values_mut() {
        version["dist"]["tarball"] = url.into();
    }
    packument.to_string()
}

fn files() -> Vec<(&'static str, String)> {
    vec![
        ("node_modules/larder-demo/text.txt", "demo\n".to_owned()),
        ("node_modules/@larder/dep/text.txt", noise("npm")),
    ]
}

/// A client, which is a script for node, in a project of its own.
fn script(world: &World, place: &str, script: &str, words: &[&str]) -> Command {
    let project = json!({
        "name": "project",
        "version": "1.0.0",
        "private": true,
        "dependencies": { "larder-demo": "^1.0.0" },
    });
    world.session.write(&format!("{place}/package.json"), project.to_string());
    let script = installed(script);
    let words: Vec<_> = std::iter::once(script.as_str()).chain(words.iter().copied()).collect();
    world.client(place, "node", &words)
}

pub(crate) struct Npm;

pub(crate) fn npm(world: &World, place: &str, words: &[&str], registry: &str) -> Command {
    let mut command = script(world, place, NPM, words);
    command.env("npm_config_registry", registry).env("npm_config_cache", "cache");
    command.env("npm_config_audit", "false").env("npm_config_fund", "false");
    command.env("npm_config_update_notifier", "false").env("npm_config_fetch_retries", "0");
    command.env("npm_config_globalconfig", "/dev/null");
    command
}

impl Client for Npm {
    const PARTS: &'static [Part] = &[Part::Node, Part::Npm];

    fn world() -> World {
        registry("")
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        npm(world, place, &["install"], index)
    }

    fn installed() -> Vec<(&'static str, String)> {
        files()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

pub(crate) struct Pnpm;

pub(crate) fn pnpm(world: &World, place: &str, words: &[&str], registry: &str) -> Command {
    let mut command = script(world, place, PNPM, words);
    // A layout as the others have it, so that the same files are looked for.
    let settings = "storeDir: ./store\ncacheDir: ./cache\nnodeLinker: hoisted\nfetchRetries: 0\n";
    world.session.write(&format!("{place}/pnpm-workspace.yaml"), settings);
    command.env("pnpm_config_registry", registry);
    command.env("npm_config_globalconfig", "/dev/null");
    command
}

impl Client for Pnpm {
    const SHOWS_REASONS: bool = false;
    const PARTS: &'static [Part] = &[Part::Node, Part::Pnpm];

    fn world() -> World {
        registry("")
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        pnpm(world, place, &["install", "--no-frozen-lockfile"], index)
    }

    fn installed() -> Vec<(&'static str, String)> {
        files()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

pub(crate) struct YarnClassic;

pub(crate) fn yarn_classic(world: &World, place: &str, words: &[&str], registry: &str) -> Command {
    let mut command = script(world, place, YARN_CLASSIC, words);
    command.args(["--non-interactive", "--no-progress", "--cache-folder", "cache"]);
    command.env("YARN_REGISTRY", registry);
    command
}

impl Client for YarnClassic {
    const PARTS: &'static [Part] = &[Part::Node, Part::YarnClassic];

    fn world() -> World {
        registry("")
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        yarn_classic(world, place, &["install"], index)
    }

    fn installed() -> Vec<(&'static str, String)> {
        files()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

pub(crate) struct Yarn;

pub(crate) fn yarn(world: &World, place: &str, words: &[&str], registry: &str) -> Command {
    let mut command = script(world, place, YARN, words);
    let settings = "nodeLinker: node-modules\nenableGlobalCache: false\ncacheFolder: ./cache\n\
                    enableTelemetry: false\nhttpRetry: 0\n";
    world.session.write(&format!("{place}/.yarnrc.yml"), settings);
    // A project of its own, whatever lies above.
    if !world.session.path(&format!("{place}/yarn.lock")).is_file() {
        world.session.write(&format!("{place}/yarn.lock"), "");
    }
    command.env("YARN_NPM_REGISTRY_SERVER", registry).env("YARN_UNSAFE_HTTP_WHITELIST", "127.0.0.1");
    command.env("YARN_ENABLE_IMMUTABLE_INSTALLS", "false");
    command
}

impl Client for Yarn {
    const PARTS: &'static [Part] = &[Part::Node, Part::Yarn];

    fn world() -> World {
        registry("")
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        yarn(world, place, &["install"], index)
    }

    fn installed() -> Vec<(&'static str, String)> {
        files()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

mod npm_tests {
    super::columns!(super::Npm);
}

mod pnpm_tests {
    super::columns!(super::Pnpm);
}

mod yarn_1 {
    super::columns!(super::YarnClassic);
}

mod yarn_4 {
    super::columns!(super::Yarn);
}
