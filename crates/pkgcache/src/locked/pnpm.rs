//! `pnpm-lock.yaml`, versions 5 to 9.
//!
//! Source: pnpm's lockfile specifications, 5.2, 6.0 and 9.0.

use storekit::Checksum;

use super::yaml::{self, Yaml};
use super::{ADDRESS, FOLDER, File, GIT, Listed, Locked, Machines, NotALock};
use crate::ecosystem::Ecosystem;

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let documents = yaml::documents(text)?;
    let is_lock = documents.iter().any(|it| it.get("lockfileVersion").is_some());
    if !is_lock {
        return Err(NotALock::new("it has no `lockfileVersion`"));
    }
    let mut listed = Listed::default();
    // Version 9 may put what pnpm itself needs into a document before.
    for document in &documents {
        let Some(Yaml::Map(packages)) = document.get("packages") else { continue };
        for (key, package) in packages {
            add(key, package, &mut listed);
        }
    }
    Ok(listed)
}

fn add(key: &str, package: &Yaml, listed: &mut Listed) {
    let resolution = package.get("resolution");
    let word = |name: &str| resolution.and_then(|it| it.word(name));
    let named = package.word("name").zip(package.word("version"));
    let named = named.map(|(name, version)| (name.to_owned(), version.to_owned())).or_else(|| split(key));
    let tarball = word("tarball").map(str::to_owned);
    if let Some(why) = elsewhere(key, word("type"), tarball.as_deref(), word("integrity")) {
        listed.leave_out(key.trim_start_matches('/'), why);
        return;
    }
    let Some((name, version)) = named else {
        listed.leave_out(key, ADDRESS);
        return;
    };
    let checksum = word("integrity").and_then(Checksum::from_integrity);
    listed.packages.push(Locked {
        ecosystem: Ecosystem::Npm,
        index: None,
        name,
        version,
        files: vec![File { url: tarball, checksum, ..File::default() }],
        machines: Machines {
            os: package.words("os"),
            cpu: package.words("cpu"),
            libc: package.words("libc"),
        },
    });
}

fn elsewhere(
    key: &str,
    kind: Option<&str>,
    tarball: Option<&str>,
    integrity: Option<&str>,
) -> Option<&'static str> {
    match kind {
        Some("git") => return Some(GIT),
        Some("directory") => return Some(FOLDER),
        _ => {}
    }
    let is = |scheme: &str| key.contains(&format!("@{scheme}")) || key.starts_with(scheme);
    if is("file:") || is("link:") || tarball.is_some_and(|it| it.starts_with("file:")) {
        return Some(FOLDER);
    }
    if integrity.is_none() && (is("http:") || is("https:") || is("git+") || is("github.com/")) {
        return Some(ADDRESS);
    }
    None
}

/// The name and the version in a key: `/name/1.0.0_peers` (5), `/name@1.0.0(peers)` (6),
/// `name@1.0.0` (9).
fn split(key: &str) -> Option<(String, String)> {
    let key = key.trim_start_matches('/');
    let scope = if key.starts_with('@') { key.find('/')? + 1 } else { 0 };
    let end = scope + key.get(scope..)?.find(['@', '/'])?;
    let (name, version) = (key.get(..end)?, key.get(end + 1..)?);
    let version = version.split(['(', '_']).next()?;
    let is_version = version.starts_with(|c: char| c.is_ascii_digit());
    (is_version && end > scope).then(|| (name.to_owned(), version.to_owned()))
}
