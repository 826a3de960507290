//! pip, beside proxpi and devpi.

use std::io::{self, Cursor, Write};

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::command::{Cmd, quoted};
use larder::process::runner::RunError;
use larder_tests::http::Site;
use larder_tests::parts::{PIP, installed};
use serde_json::{Value, json};
use storekit::Digest;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::super::basics::{lost, sh};
use super::super::ground::{Ground, write};
use super::super::servers::{Server, free, proxpi};
use super::case::{Client, Cold, Peer};
use super::packages::{self, Package};
use super::warm::Locked;

const FIELDS: &str = "content-type: application/vnd.pypi.simple.v1+json\ncache-control: max-age=3600";

/// Adds a mirror of an index to a devpi: `$1` is its URL, `$2` the index, `$3` its program for
/// Python.
const ADD_MIRROR: &str = r#"
exec "$3" - "$1" "$2" <<'END'
import base64, json, sys, urllib.request
def ask(method, path, body, fields={}):
    fields = {'content-type': 'application/json', 'accept': 'application/json', **fields}
    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode(), fields, method=method)
    return json.load(urllib.request.urlopen(request))
login = ask('POST', '/+login', {'user': 'root', 'password': ''})
token = base64.b64encode(b'root:' + login['result']['password'].encode()).decode()
mirror = {'type': 'mirror', 'mirror_url': sys.argv[2], 'mirror_cache_expiry': 3600}
ask('PUT', '/root/bench', mirror, {'x-devpi-auth': token})
END
"#;

/// pip, with wheels whose metadata the index has beside them.
pub(super) struct Pip {
    site: Site,
    program: Utf8PathBuf,
    names: Vec<String>,
    wheels: Vec<String>,
}

impl Client for Pip {
    const NAME: &str = "pip";
    const JOB: &str = "pip install";
    const ROUNDS: usize = 7;
    const INSTALLED: &str = "out";
    const OWN_CACHE: f64 = 1.25;

    fn new(ground: &Ground<'_>) -> Result<Result<Self, String>, RunError> {
        let program = installed(PIP);
        if !program.is_file() {
            return Ok(Err("needs pip, as `.ci/run` installs it".to_owned()));
        }
        let mut pip = Self { site: Site::new(), program, names: Vec::new(), wheels: Vec::new() };
        pip.site.fields(&format!("{}\ndate: {}", packages::FOR_EVER, ground.date()?));
        packages::all().try_for_each(|package| pip.add(&package)).map_err(lost)?;
        let projects: Vec<_> = pip.names.iter().map(|name| json!({ "name": name })).collect();
        let root = json!({ "meta": { "api-version": "1.1" }, "projects": projects });
        pip.site.put_with("/simple/", FIELDS, root.to_string());
        Ok(Ok(pip))
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn settings(&self) -> String {
        format!(
            "[pkgcache.upstream]\npython = {{ url = \"{}/simple/\", kind = \"python\" }}\n",
            self.site.url()
        )
    }

    fn at_pkgcache(&self, url: &str) -> String {
        format!("{url}/python/")
    }

    fn directly(&self) -> String {
        format!("{}/simple/", self.site.url())
    }

    fn peers(&self, ground: &Ground<'_>) -> Result<Vec<Peer>, RunError> {
        // One process: what it remembers of indexes, each has for itself.
        let proxpi = proxpi(ground, &self.site.url(), 1, "/");
        let proxpi = Peer::new("proxpi", proxpi, |server| format!("{}/index/", server.url()))?;
        let devpi = self.devpi(ground);
        let devpi = Peer::new("devpi", devpi, |server| format!("{}/root/bench/+simple/", server.url()))?;
        Ok(vec![proxpi, devpi])
    }

    fn prepare(&self, folder: &Utf8Path, _: &str) -> io::Result<()> {
        write(&folder.join("requirements.txt"), self.names.join("\n"))
    }

    fn line(&self, place: &str) -> String {
        self.command(place, "install --no-compile --target out -r requirements.txt")
    }

    fn cold(&self) -> Cold {
        let host = self.site.authority().replace(':', "_");
        let file = |path: &String| (format!("/python/files/http_{host}{path}"), path.clone());
        Cold {
            indexes: self.names.iter().map(|name| format!("/python/{name}/")).collect(),
            files: self.wheels.iter().map(file).collect(),
        }
    }
}

impl Locked for Pip {
    const FILE: &str = "requirements-locked.txt";
    const FETCH: &str = "pip download";

    fn lock(&self) -> String {
        let words = "install --quiet --dry-run --ignore-installed --report report -r requirements.txt";
        let script = r#"import json
for it in json.load(open("report"))["install"]:
    pinned = it["metadata"]["name"] + "==" + it["metadata"]["version"]
    print(pinned, "--hash=sha256:" + it["download_info"]["archive_info"]["hashes"]["sha256"])"#;
        let install = self.command(&self.directly(), words);
        let print = format!("python3 -c {} > {}", quoted(script), Self::FILE);
        format!("sh -c {}", quoted(&format!("{install} && {print}")))
    }

    fn fetch(&self) -> String {
        let words = format!("download --no-deps --require-hashes --dest cache/files -r {}", Self::FILE);
        self.command(&self.directly(), &words)
    }
}

impl Pip {
    /// pip with a cache in the folder. It keeps nothing there of a server without TLS, unless that
    /// is trusted.
    fn command(&self, place: &str, words: &str) -> String {
        format!(
            "PIP_CONFIG_FILE=/dev/null PIP_CACHE_DIR=cache PIP_RETRIES=0 PIP_DISABLE_PIP_VERSION_CHECK=1 \
             PIP_TRUSTED_HOST={} PIP_INDEX_URL={place} {} {words}",
            self.site.authority(),
            quoted(self.program.as_str())
        )
    }

    fn add(&mut self, package: &Package) -> io::Result<()> {
        let name = &package.name;
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        let wheel = wheel(package, &metadata)?;
        let file = format!("{}-1.0-py3-none-any.whl", name.replace('-', "_"));
        let path = format!("/packages/{file}");
        let page = json!({
            "meta": { "api-version": "1.1" },
            "name": name,
            "versions": ["1.0"],
            "files": [{
                "filename": file,
                "url": format!("{}{path}", self.site.url()),
                "hashes": { "sha256": hex(&wheel) },
                "core-metadata": { "sha256": hex(metadata.as_bytes()) },
                "size": wheel.len(),
                "upload-time": "2020-01-02T03:04:05.000006Z",
                "yanked": Value::Bool(false),
            }],
        });
        self.site.put_with(&format!("/simple/{name}/"), FIELDS, page.to_string());
        self.site.put(&format!("{path}.metadata"), metadata);
        self.site.put(&path, wheel);
        self.names.push(name.clone());
        self.wheels.push(path);
        Ok(())
    }

    /// devpi with a mirror of the upstream, as `root/bench`; or why it does not run.
    fn devpi(&self, ground: &Ground<'_>) -> Result<Result<Server, String>, RunError> {
        let programs = match ground.find_all(["devpi-init", "devpi-server", "python3"])? {
            Ok(programs) => programs,
            Err(reason) => return Ok(Err(reason)),
        };
        let [init, server, python] = programs;
        let folder = ground.folder.join("devpi");
        let made = Cmd::new(init).arg("--no-root-pypi").arg("--serverdir").path(&folder);
        if !ground.runner.ask(&made)?.0.success() {
            return Ok(Err("`devpi-init` failed".to_owned()));
        }
        let authority = free().map_err(lost)?;
        let (host, port) = authority.split_once(':').unwrap_or_default();
        // The others hand on what the index has beside the wheels.
        let cmd = Cmd::new(server).args(["--enable-core-metadata", "--host", host, "--port", port]);
        let cmd = cmd.arg("--serverdir").path(&folder);
        let server = Server::run(ground, "devpi", authority.clone(), &cmd)?;
        let add = sh(ADD_MIRROR.to_owned()).args(["sh", &server.url(), &self.directly(), &python]);
        if !ground.runner.ask(&add)?.0.success() {
            return Ok(Err("devpi took no mirror".to_owned()));
        }
        Ok(Ok(server))
    }
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string().trim_start_matches("sha256:").to_owned()
}

fn wheel(package: &Package, metadata: &str) -> io::Result<Vec<u8>> {
    let name = package.name.replace('-', "_");
    let info = format!("{name}-1.0.dist-info");
    let tags = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let mut files = vec![
        (format!("{name}/__init__.py"), &b""[..]),
        (format!("{name}/data"), &package.content),
        (format!("{info}/METADATA"), metadata.as_bytes()),
        (format!("{info}/WHEEL"), tags.as_bytes()),
    ];
    let own = format!("{info}/RECORD");
    let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).chain([own.as_str()]).collect();
    let record = format!("{},,\n", paths.join(",,\n"));
    files.push((own, record.as_bytes()));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path, SimpleFileOptions::default())?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_lists_its_files() {
        let package = Package { name: "bench-00".to_owned(), content: vec![7; 10] };
        let wheel = wheel(&package, "Name: bench-00\n").expect("a wheel");
        let mut zip = zip::ZipArchive::new(Cursor::new(wheel)).expect("an archive");
        let record = zip.by_name("bench_00-1.0.dist-info/RECORD").expect("a list");
        let record = io::read_to_string(record).expect("text");
        let names: Vec<_> = record.lines().map(|line| line.trim_end_matches(",,").to_owned()).collect();
        let mut found: Vec<_> = zip.file_names().map(str::to_owned).collect();
        found.sort_unstable_by_key(|name| names.iter().position(|it| it == name));
        assert_eq!(found, names);
    }
}
