//! npm, beside verdaccio.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;
use larder::process::command::{Cmd, quoted};
use larder::process::runner::RunError;
use larder_tests::http::Site;
use larder_tests::parts::{NPM, installed};
use ring::digest::{SHA512, digest};
use serde_json::{Value, json};

use super::super::super::basics::lost;
use super::super::ground::{Ground, write};
use super::super::servers::{Server, free};
use super::case::{Client, Cold, Peer};
use super::packages::{self, Package};
use super::warm::Locked;

const FIELDS: &str = "content-type: application/json\ncache-control: max-age=3600";
const TIME: &str = "2020-01-02T03:04:05.000Z";

/// npm, with a project that depends on all packages and has no lock file.
pub(super) struct Npm {
    site: Site,
    script: Utf8PathBuf,
    names: Vec<String>,
}

impl Client for Npm {
    const NAME: &str = "npm";
    const JOB: &str = "npm install";
    const ROUNDS: usize = 7;
    const INSTALLED: &str = "node_modules package-lock.json";
    const OWN_CACHE: f64 = 1.25;

    fn new(ground: &Ground<'_>) -> Result<Result<Self, String>, RunError> {
        let script = installed(NPM);
        if !script.is_file() {
            return Ok(Err("needs npm, as `.ci/run` installs it".to_owned()));
        }
        if ground.find("node")?.is_err() {
            return Ok(Err("needs node".to_owned()));
        }
        let mut npm = Self { site: Site::new(), script, names: Vec::new() };
        npm.site.fields(&format!("{}\ndate: {}", packages::FOR_EVER, ground.date()?));
        packages::all().try_for_each(|package| npm.add(&package)).map_err(lost)?;
        Ok(Ok(npm))
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn settings(&self) -> String {
        format!("[pkgcache.upstream]\nnpm = {{ url = \"{}/\", kind = \"npm\" }}\n", self.site.url())
    }

    fn at_pkgcache(&self, url: &str) -> String {
        format!("{url}/npm/")
    }

    fn directly(&self) -> String {
        format!("{}/", self.site.url())
    }

    fn peers(&self, ground: &Ground<'_>) -> Result<Vec<Peer>, RunError> {
        let verdaccio = self.verdaccio(ground);
        Ok(vec![Peer::new("verdaccio", verdaccio, |server| format!("{}/", server.url()))?])
    }

    fn prepare(&self, folder: &Utf8Path, _: &str) -> io::Result<()> {
        let versions = |name: &String| (name.clone(), Value::from("^1.0.0"));
        let needs: serde_json::Map<_, _> = self.names.iter().map(versions).collect();
        let project =
            json!({ "name": "project", "version": "1.0.0", "private": true, "dependencies": needs });
        write(&folder.join("package.json"), project.to_string())
    }

    fn line(&self, place: &str) -> String {
        self.command(place, "install")
    }

    fn cold(&self) -> Cold {
        let file = |name: &String| (format!("/npm{}", tarball_path(name)), tarball_path(name));
        Cold {
            indexes: self.names.iter().map(|name| format!("/npm/{name}")).collect(),
            files: self.names.iter().map(file).collect(),
        }
    }
}

impl Locked for Npm {
    const FILE: &str = "package-lock.json";
    const FETCH: &str = "npm ci";

    fn lock(&self) -> String {
        self.command(&self.directly(), "install --package-lock-only")
    }

    fn fetch(&self) -> String {
        self.command(&self.directly(), "ci")
    }
}

impl Npm {
    /// npm with a cache in the folder, without what it asks for beside packages.
    fn command(&self, place: &str, words: &str) -> String {
        format!(
            "CI=1 npm_config_registry={place} npm_config_cache=cache npm_config_audit=false npm_config_fund=false \
             npm_config_update_notifier=false npm_config_fetch_retries=0 npm_config_globalconfig=/dev/null \
             node {} {words}",
            quoted(self.script.as_str())
        )
    }

    fn add(&mut self, package: &Package) -> io::Result<()> {
        let name = &package.name;
        let tarball = tarball(package)?;
        let path = tarball_path(name);
        let version = json!({
            "_id": format!("{name}@1.0.0"),
            "name": name,
            "version": "1.0.0",
            "dist": {
                "integrity": format!("sha512-{}", STANDARD.encode(digest(&SHA512, &tarball))),
                "tarball": format!("{}{path}", self.site.url()),
            },
        });
        let packument = json!({
            "_id": name,
            "name": name,
            "dist-tags": { "latest": "1.0.0" },
            "versions": { "1.0.0": version },
            "time": { "created": TIME, "modified": TIME, "1.0.0": TIME },
        });
        self.site.put_with(&format!("/{name}"), FIELDS, packument.to_string());
        self.site.put(&path, tarball);
        self.names.push(name.clone());
        Ok(())
    }

    /// verdaccio in front of the upstream; or why it does not run.
    fn verdaccio(&self, ground: &Ground<'_>) -> Result<Result<Server, String>, RunError> {
        let program = match ground.find("verdaccio")? {
            Ok(program) => program,
            Err(reason) => return Ok(Err(reason)),
        };
        let folder = ground.folder.join("verdaccio");
        let settings = format!(
            "storage: {folder}/storage\nlog: {{ type: stdout, format: pretty, level: error }}\n\
             uplinks: {{ up: {{ url: '{}', maxage: 60m, cache: true }} }}\n\
             packages: {{ '**': {{ access: $all, proxy: up }} }}\n",
            self.directly()
        );
        let file = ground.write("verdaccio/config.yaml", settings).map_err(lost)?;
        let authority = free().map_err(lost)?;
        let cmd = Cmd::new(program).args(["--listen", &authority, "--config"]).path(&file);
        Server::run(ground, "verdaccio", authority, &cmd.env("HOME", folder.as_str())).map(Ok)
    }
}

/// Where the registry has it, as npm's own does.
fn tarball_path(name: &str) -> String {
    format!("/{name}/-/{name}-1.0.0.tgz")
}

fn tarball(package: &Package) -> io::Result<Vec<u8>> {
    let manifest = json!({ "name": package.name, "version": "1.0.0" }).to_string();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in
        [("package/package.json", manifest.as_bytes()), ("package/data", package.content.as_slice())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content)?;
    }
    tar.into_inner()?.finish()
}
