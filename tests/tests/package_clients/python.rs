//! pip and uv.

use std::process::Command;

use larder_tests::Part;
use larder_tests::http::Site;
use larder_tests::parts::{PIP, UV, installed};
use serde_json::{Value, json};

use crate::columns::{Client, columns, noise};
use crate::world::World;

/// Makes the wheels in the working folder, and prints what a page says of each.
pub(crate) const BUILD: &str = r"
import hashlib, json, sys, zipfile
rows = []
def wheel(name, version, requires, extra):
    escaped = name.replace('-', '_')
    info = f'{escaped}-{version}.dist-info'
    metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    metadata += ''.join(f'Requires-Dist: {it}\n' for it in requires)
    tags = 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
    files = {f'{escaped}.txt': extra, f'{info}/METADATA': metadata, f'{info}/WHEEL': tags}
    files[f'{info}/RECORD'] = ''.join(f'{it},,\n' for it in [*files, f'{info}/RECORD'])
    filename = f'{escaped}-{version}-py3-none-any.whl'
    with zipfile.ZipFile(filename, 'w') as out:
        for path, text in files.items():
            out.writestr(zipfile.ZipInfo(path), text)
    with open(filename + '.metadata', 'w') as out:
        out.write(metadata)
    data = open(filename, 'rb').read()
    digest = lambda data: hashlib.sha256(data).hexdigest()
    rows.append({'project': name, 'filename': filename, 'size': len(data), 'sha256': digest(data),
        'metadata': digest(metadata.encode()), 'version': version})
noise = open('noise').read()
wheel('larder-demo', '1.0.0', ['larder-dep >= 2'], 'demo\n')
wheel('larder-dep', '1.0.0', [], 'old\n')
wheel('larder-dep', '2.0.0+local.1', [], noise)
json.dump(rows, sys.stdout)
";

/// Whether an index says beforehand what the metadata of a wheel is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metadata {
    Beside,
    InTheWheel,
}

/// An index below `/simple`, and its files on another server.
fn world(metadata: Metadata) -> World {
    let files = Site::new();
    let (host, tag) = (files.url(), format!("http_{}", files.authority().replace(':', "_")));
    let mut world = World::new("python", "/simple/", "", Some(files));
    world.session.write("noise", noise("python"));
    world.session.write("build.py", BUILD);
    let rows = world.session.run("python3 build.py").ok().json();
    let rows = rows.as_array().unwrap().clone();
    for project in ["larder-demo", "larder-dep"] {
        let of: Vec<_> = rows.iter().filter(|row| row["project"] == project).collect();
        let page = page(project, &of, &host, metadata);
        let fields = "content-type: application/vnd.pypi.simple.v1+json\ncache-control: max-age=600";
        world.index(&format!("/simple/{project}/"), fields, page.to_string());
    }
    for row in &rows {
        let name = row["filename"].as_str().unwrap();
        let path = path(name);
        let wheel = std::fs::read(world.session.path(name)).unwrap();
        let described = std::fs::read(world.session.path(&format!("{name}.metadata"))).unwrap();
        if row["version"] == "1.0.0" && row["project"] == "larder-dep" {
            world.files().put(&path, wheel);
            continue;
        }
        if metadata == Metadata::Beside {
            let path = format!("{path}.metadata");
            world.artifact(&path, format!("/files/{tag}{path}"), described);
        }
        world.artifact(&path, format!("/files/{tag}{path}"), wheel);
    }
    world
}

/// Where a file lies at its host.
fn path(name: &str) -> String {
    format!("/packages/ab/{}", name.replace('+', "%2B"))
}

fn page(project: &str, rows: &[&Value], host: &str, metadata: Metadata) -> Value {
    let file = |row: &&Value| {
        let mut file = json!({
            "filename": row["filename"],
            "url": format!("{host}{}", path(row["filename"].as_str().unwrap())),
            "hashes": { "sha256": row["sha256"] },
            "requires-python": ">=3.8",
            "size": row["size"],
            "upload-time": "2020-01-02T03:04:05.000006Z",
            "yanked": false,
        });
        if metadata == Metadata::Beside {
            file["core-metadata"] = json!({ "sha256": row["metadata"] });
        }
        file
    };
    let files: Vec<_> = rows.iter().map(file).collect();
    let versions: Vec<_> = rows.iter().map(|row| &row["version"]).collect();
    json!({ "meta": { "api-version": "1.1" }, "name": project, "versions": versions, "files": files })
}

/// A page on which the first file lies elsewhere.
fn with_link(document: &str, url: &str) -> String {
    let mut page: Value = serde_json::from_str(document).unwrap();
    page["files"][0]["url"] = url.into();
    page.to_string()
}

pub(crate) struct Pip;

pub(crate) fn pip(world: &World, place: &str, words: &[&str]) -> Command {
    as_pip(world.client(place, installed(PIP).as_str(), words))
}

/// pip as `pkgcache run` starts it.
pub(crate) fn pip_in_run(world: &World, place: &str, words: &[&str]) -> Command {
    let mut command = world.client(place, "pkgcache", &[&["run", "--", "pip"], words].concat());
    // The one that is installed for these tests goes before the machine's.
    let folder = installed(PIP).parent().unwrap().to_owned();
    let tools = larder_tests::tools::folder();
    command.env("PATH", format!("{folder}:{tools}:{}", larder_tests::tools::path()));
    as_pip(command)
}

/// The command with what pip needs.
fn as_pip(mut command: Command) -> Command {
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_CACHE_DIR", "cache").env("PIP_RETRIES", "1");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_COMPILE", "1");
    command
}

impl Client for Pip {
    const SHOWS_REASONS: bool = false;
    const PARTS: &'static [Part] = &[Part::Python, Part::Pip];

    fn world() -> World {
        world(Metadata::Beside)
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        let mut command = pip(world, place, &["install", "--target", "out", "larder-demo"]);
        command.env("PIP_INDEX_URL", index);
        command
    }

    fn installed() -> Vec<(&'static str, String)> {
        vec![("out/larder_demo.txt", "demo\n".to_owned()), ("out/larder_dep.txt", noise("python"))]
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

pub(crate) struct Uv;

pub(crate) fn uv(world: &World, place: &str, words: &[&str]) -> Command {
    as_uv(world, place, world.client(place, installed(UV).as_str(), words))
}

/// uv as `pkgcache run` starts it.
pub(crate) fn uv_in_run(world: &World, place: &str, words: &[&str]) -> Command {
    as_uv(world, place, world.client(place, "pkgcache", &[&["run", "--", "uv"], words].concat()))
}

/// The command with what uv needs.
fn as_uv(world: &World, place: &str, mut command: Command) -> Command {
    let home = world.session.path(place);
    let project = "[project]\nname = \"project\"\nversion = \"0.1.0\"\nrequires-python = \">=3.9\"\n\
                   dependencies = [\"larder-demo\"]\n";
    world.session.write(&format!("{place}/pyproject.toml"), project);
    command.env("UV_CACHE_DIR", home.join("cache")).env("UV_NO_CONFIG", "1").env("UV_HTTP_RETRIES", "1");
    command.env("UV_PYTHON_DOWNLOADS", "never").env("UV_LINK_MODE", "copy");
    command
}

impl Client for Uv {
    const PARTS: &'static [Part] = &[Part::Python, Part::Uv];

    fn world() -> World {
        world(Metadata::Beside)
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        let mut command = uv(world, place, &["pip", "install", "--target", "out", "larder-demo"]);
        command.env("UV_DEFAULT_INDEX", index);
        command
    }

    fn installed() -> Vec<(&'static str, String)> {
        Pip::installed()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

/// uv, which reads a part of each wheel first, where the index does not say what is in it.
pub(crate) struct LazyUv;

impl Client for LazyUv {
    const PARTS: &'static [Part] = Uv::PARTS;

    fn world() -> World {
        world(Metadata::InTheWheel)
    }

    fn install(world: &World, place: &str, index: &str) -> Command {
        Uv::install(world, place, index)
    }

    fn installed() -> Vec<(&'static str, String)> {
        Pip::installed()
    }

    fn with_link(document: &str, url: &str) -> String {
        with_link(document, url)
    }
}

mod pip_tests {
    super::columns!(super::Pip);
}

mod uv_tests {
    super::columns!(super::Uv);
}

mod uv_with_ranges {
    super::columns!(super::LazyUv);
}
