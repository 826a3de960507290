//! `yarn.lock`: of yarn 1 (a form of its own) and of later ones (YAML).
//!
//! Source: yarn 1's `src/lockfile/parse.js`; yarn's "Lockfile" and `parsers` package for the later
//! form, whose `checksum` is of an archive that yarn makes itself, and so tells nothing of the
//! tarball.

use storekit::Checksum;

use super::yaml::{self, Yaml};
use super::{File, Listed, Locked, Machines, NotALock, npm};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::path::decoded;

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    if text.lines().any(|line| line.starts_with("__metadata:")) { later(text) } else { first(text) }
}

/// An entry of yarn 1's that is not at its end yet.
struct Entry {
    name: String,
    version: String,
    resolved: Option<String>,
    integrity: Option<String>,
}

fn first(text: &str) -> Result<Listed, NotALock> {
    let mut listed = Listed::default();
    let mut entry: Option<Entry> = None;
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            finish(entry.take(), &mut listed);
            let Some(patterns) = bare.strip_suffix(':') else {
                return Err(NotALock::at(number + 1, "neither a package nor what is said of one"));
            };
            let pattern = patterns.split(',').next().unwrap_or_default().trim().trim_matches('"');
            let name =
                name_of(pattern).ok_or_else(|| NotALock::at(number + 1, "a package without a name"))?;
            entry = Some(Entry { name, version: String::new(), resolved: None, integrity: None });
            continue;
        }
        // What is further in is about its dependencies.
        let is_own = line.starts_with("  ") && !line.starts_with("   ");
        let (Some(entry), Some((key, value))) = (entry.as_mut().filter(|_| is_own), bare.split_once(' '))
        else {
            continue;
        };
        let value = value.trim().trim_matches('"').to_owned();
        match key {
            "version" => entry.version = value,
            "resolved" => entry.resolved = Some(value),
            "integrity" => entry.integrity = Some(value),
            _ => {}
        }
    }
    finish(entry, &mut listed);
    Ok(listed)
}

fn finish(entry: Option<Entry>, listed: &mut Listed) {
    let Some(Entry { name, version, resolved, integrity }) = entry else { return };
    let (url, hex) = match resolved.as_deref().and_then(|it| it.split_once('#')) {
        Some((url, hex)) => (Some(url.to_owned()), Some(hex.to_owned())),
        None => (resolved.clone(), None),
    };
    let address = url.as_deref().unwrap_or_default();
    let is_git =
        address.trim_end_matches('/').rsplit('.').next() == Some("git") || address.starts_with("git");
    if is_git || npm::elsewhere(false, address, &version).is_some() {
        listed.leave_out(name, if is_git { super::GIT } else { super::ADDRESS });
        return;
    }
    let checksum = integrity.as_deref().and_then(Checksum::from_integrity);
    let checksum = checksum.or_else(|| Checksum::from_hex("sha1", &hex?));
    let files = vec![File { url, checksum, ..File::default() }];
    listed.packages.push(Locked { ecosystem: Ecosystem::Npm, name, version, files, ..Locked::default() });
}

/// The package that `NAME@RANGE`, or `ALIAS@npm:NAME@RANGE`, means.
fn name_of(pattern: &str) -> Option<String> {
    let named = |text: &str| {
        let at = text.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(text.len(), |(at, _)| at);
        text.get(..at).filter(|name| !name.is_empty()).map(str::to_owned)
    };
    match pattern.split_once("@npm:").map(|(_, meant)| meant) {
        Some(meant) if meant.starts_with(|c: char| c.is_ascii_alphabetic() || c == '@') => named(meant),
        _ => named(pattern),
    }
}

fn later(text: &str) -> Result<Listed, NotALock> {
    let mut listed = Listed::default();
    for document in yaml::documents(text)? {
        let Yaml::Map(entries) = document else { continue };
        for (key, entry) in entries {
            if key == "__metadata" {
                continue;
            }
            let Some(resolution) = entry.word("resolution") else { continue };
            let Some((name, version)) = resolution.rsplit_once("@npm:") else {
                let why = if resolution.contains("@git") || resolution.contains(".git#") {
                    super::GIT
                } else if resolution.contains("@http") {
                    super::ADDRESS
                } else if resolution.contains("@patch:") {
                    // What is patched has an entry of its own.
                    continue;
                } else {
                    super::FOLDER
                };
                listed.leave_out(resolution, why);
                continue;
            };
            // What is patched has an entry of its own, and a registry may say where its tarballs
            // are.
            if resolution.contains("@patch:") {
                continue;
            }
            let (version, archive) = match version.split_once("::__archiveUrl=") {
                Some((version, url)) => (version, Some(url)),
                None => (version, None),
            };
            let url = archive.and_then(decoded).and_then(|url| String::from_utf8(url).ok());
            listed.packages.push(Locked {
                ecosystem: Ecosystem::Npm,
                index: None,
                name: name.to_owned(),
                version: version.to_owned(),
                files: vec![File { url, ..File::default() }],
                machines: conditions(entry.word("conditions").unwrap_or_default()),
            });
        }
    }
    Ok(listed)
}

/// `os=linux & cpu=x64`.
fn conditions(text: &str) -> Machines {
    let mut machines = Machines::default();
    for part in text.split('&') {
        let Some((key, value)) = part.trim().split_once('=') else { continue };
        let list = match key {
            "os" => &mut machines.os,
            "cpu" => &mut machines.cpu,
            "libc" => &mut machines.libc,
            _ => continue,
        };
        list.push(value.trim().to_owned());
    }
    machines
}
