//! Lock files of Python's clients that are TOML: `uv.lock`, `pylock.toml`, `poetry.lock` and
//! `pdm.lock`.
//!
//! Source: uv's "Locking and syncing" and its `lock/mod.rs` for the form; PEP 751; poetry's
//! `packages/locker.py`; pdm's "Lock file".

use std::collections::BTreeMap;

use serde::Deserialize;
use storekit::Checksum;

use super::{ADDRESS, FOLDER, File, GIT, Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::path::decoded;

/// `sha256:HEX`, as all but `pylock.toml` write it.
fn checksum(text: &str) -> Option<Checksum> {
    text.parse().ok()
}

/// The name at the end of a URL or a path.
fn last(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
    String::from_utf8(decoded(name)?).ok()
}

fn locked(index: Option<String>, name: String, version: Option<String>, files: Vec<File>) -> Locked {
    let version = version.unwrap_or_default();
    Locked { ecosystem: Ecosystem::Python, index, name, version, files, ..Locked::default() }
}

#[derive(Deserialize)]
struct UvLock {
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Deserialize)]
struct UvPackage {
    name: String,
    version: Option<String>,
    #[serde(default)]
    source: UvSource,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
}

#[derive(Default, Deserialize)]
struct UvSource {
    registry: Option<String>,
    git: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
struct UvFile {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
}

/// `uv.lock`.
pub(super) fn uv(text: &str) -> Result<Listed, NotALock> {
    let lock: UvLock = toml::from_str(text).map_err(|error| NotALock::toml(&error, text))?;
    let mut listed = Listed::default();
    for package in lock.package {
        let Some(index) = package.source.registry else {
            let source = (package.source.git, package.source.url);
            let why = match source {
                (Some(_), _) => GIT,
                (None, Some(_)) => ADDRESS,
                (None, None) => FOLDER,
            };
            listed.leave_out(package.name, why);
            continue;
        };
        let files = package.wheels.into_iter().chain(package.sdist).map(|file| File {
            name: file.filename.or_else(|| last(file.url.as_deref().or(file.path.as_deref())?)),
            checksum: file.hash.as_deref().and_then(checksum),
            url: file.url,
            ..File::default()
        });
        let files = files.collect();
        listed.packages.push(locked(Some(index), package.name, package.version, files));
    }
    Ok(listed)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: String,
    #[serde(default)]
    packages: Vec<PylockPackage>,
}

#[derive(Deserialize)]
struct PylockPackage {
    name: String,
    version: Option<String>,
    index: Option<String>,
    vcs: Option<toml::Value>,
    directory: Option<toml::Value>,
    archive: Option<toml::Value>,
    sdist: Option<PylockFile>,
    #[serde(default)]
    wheels: Vec<PylockFile>,
}

#[derive(Deserialize)]
struct PylockFile {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// `pylock.toml`.
pub(super) fn pylock(text: &str) -> Result<Listed, NotALock> {
    let lock: Pylock = toml::from_str(text).map_err(|error| NotALock::toml(&error, text))?;
    if !lock.lock_version.starts_with("1.") {
        return Err(NotALock::new(format!("its `lock-version` is {:?}: only 1 is known", lock.lock_version)));
    }
    let mut listed = Listed::default();
    for package in lock.packages {
        let why = match () {
            () if package.vcs.is_some() => Some(GIT),
            () if package.directory.is_some() => Some(FOLDER),
            () if package.archive.is_some() => Some(ADDRESS),
            () => None,
        };
        if let Some(why) = why {
            listed.leave_out(package.name, why);
            continue;
        }
        let strongest = |hashes: &BTreeMap<String, String>| {
            hashes.iter().filter_map(|(algorithm, hex)| Checksum::from_hex(algorithm, hex)).max()
        };
        let files = package.wheels.into_iter().chain(package.sdist).map(|file| File {
            name: file.name.or_else(|| last(file.url.as_deref().or(file.path.as_deref())?)),
            checksum: strongest(&file.hashes),
            url: file.url,
            ..File::default()
        });
        let files = files.collect();
        listed.packages.push(locked(package.index, package.name, package.version, files));
    }
    Ok(listed)
}

#[derive(Deserialize)]
struct PoetryLock {
    #[serde(default)]
    package: Vec<PoetryPackage>,
    #[serde(default)]
    metadata: PoetryMetadata,
}

#[derive(Default, Deserialize)]
struct PoetryMetadata {
    /// Poetry 1.0 to 1.2 have the files of all packages here.
    #[serde(default)]
    files: BTreeMap<String, Vec<PoetryFile>>,
}

#[derive(Deserialize)]
struct PoetryPackage {
    name: String,
    version: String,
    #[serde(default)]
    files: Vec<PoetryFile>,
    source: Option<PoetrySource>,
    /// pdm's.
    git: Option<toml::Value>,
    /// pdm's.
    path: Option<toml::Value>,
    /// pdm's.
    url: Option<toml::Value>,
}

#[derive(Deserialize)]
struct PoetryFile {
    file: Option<String>,
    url: Option<String>,
    hash: Option<String>,
}

#[derive(Deserialize)]
struct PoetrySource {
    #[serde(rename = "type", default)]
    kind: String,
    url: Option<String>,
}

/// `poetry.lock` and `pdm.lock`.
pub(super) fn poetry(text: &str) -> Result<Listed, NotALock> {
    let mut lock: PoetryLock = toml::from_str(text).map_err(|error| NotALock::toml(&error, text))?;
    let mut listed = Listed::default();
    for package in lock.package {
        let kind = package.source.as_ref().map_or("", |source| source.kind.as_str());
        let why = match kind {
            "git" => Some(GIT),
            "directory" | "file" => Some(FOLDER),
            "url" => Some(ADDRESS),
            _ if package.git.is_some() => Some(GIT),
            _ if package.path.is_some() => Some(FOLDER),
            _ if package.url.is_some() => Some(ADDRESS),
            _ => None,
        };
        if let Some(why) = why {
            listed.leave_out(package.name, why);
            continue;
        }
        let told = if package.files.is_empty() { lock.metadata.files.remove(&package.name) } else { None };
        let files = told.unwrap_or(package.files).into_iter().map(|file| File {
            name: file.file.or_else(|| last(file.url.as_deref()?)),
            checksum: file.hash.as_deref().and_then(checksum),
            url: file.url,
            ..File::default()
        });
        let files = files.collect();
        let index = package.source.and_then(|source| source.url);
        listed.packages.push(locked(index, package.name, Some(package.version), files));
    }
    Ok(listed)
}
