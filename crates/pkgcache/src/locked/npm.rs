//! npm's `package-lock.json`, versions 1 to 3.
//!
//! Source: npm's documentation, "package-lock.json".

use std::collections::BTreeMap;

use serde::Deserialize;
use storekit::Checksum;

use super::{ADDRESS, FOLDER, File, GIT, Listed, Locked, Machines, NotALock};
use crate::ecosystem::Ecosystem;

/// A dependency of a dependency, and so on, in version 1.
const DEEPEST: usize = 64;

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: Option<BTreeMap<String, Package>>,
    #[serde(default)]
    dependencies: BTreeMap<String, Package>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Package {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<serde_json::Value>,
    integrity: Option<String>,
    link: bool,
    in_bundle: bool,
    bundled: bool,
    os: Vec<String>,
    cpu: Vec<String>,
    libc: Vec<String>,
    dependencies: BTreeMap<String, serde_json::Value>,
}

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let lock: Lock = serde_json::from_str(text).map_err(|error| NotALock::json(&error))?;
    let mut listed = Listed::default();
    let Some(packages) = lock.packages else {
        nested(lock.dependencies, &mut listed, 0)?;
        return Ok(listed);
    };
    for (place, package) in packages {
        // The project itself, and the folders of its workspaces.
        let Some((_, name)) = place.rsplit_once("node_modules/") else { continue };
        let name = package.name.clone().unwrap_or_else(|| name.to_owned());
        add(name, package, &mut listed);
    }
    Ok(listed)
}

/// Version 1: what a package brings along for itself is within it.
fn nested(packages: BTreeMap<String, Package>, listed: &mut Listed, depth: usize) -> Result<(), NotALock> {
    if depth > DEEPEST {
        return Err(NotALock::new("its dependencies are nested too deeply"));
    }
    for (name, mut package) in packages {
        let below = std::mem::take(&mut package.dependencies);
        let below: Result<BTreeMap<_, _>, _> =
            below.into_iter().map(|(name, value)| Ok((name, serde_json::from_value(value)?))).collect();
        add(name, package, listed);
        nested(below.map_err(|error| NotALock::json(&error))?, listed, depth + 1)?;
    }
    Ok(())
}

fn add(name: String, package: Package, listed: &mut Listed) {
    // What is in another one's tarball comes with that.
    if package.in_bundle || package.bundled {
        return;
    }
    let version = package.version.unwrap_or_default();
    // Version 1 has `npm:NAME@VERSION` of a package under another name.
    let (name, version) = match version.strip_prefix("npm:").and_then(|it| it.rsplit_once('@')) {
        Some((name, version)) => (name.to_owned(), version.to_owned()),
        None => (name, version),
    };
    let resolved = package.resolved.as_ref().and_then(|it| it.as_str()).map(str::to_owned);
    if let Some(why) = elsewhere(package.link, resolved.as_deref().unwrap_or_default(), &version) {
        listed.leave_out(name, why);
        return;
    }
    let checksum = package.integrity.as_deref().and_then(Checksum::from_integrity);
    listed.packages.push(Locked {
        ecosystem: Ecosystem::Npm,
        index: None,
        name,
        version,
        files: vec![File { url: resolved, checksum, ..File::default() }],
        machines: Machines { os: package.os, cpu: package.cpu, libc: package.libc },
    });
}

/// Why a package does not come from a registry, where it does not.
pub(super) fn elsewhere(is_link: bool, resolved: &str, version: &str) -> Option<&'static str> {
    let is = |scheme: &str| resolved.starts_with(scheme) || version.starts_with(scheme);
    if is_link || is("file:") || is("link:") || is("workspace:") || is("portal:") {
        return Some(FOLDER);
    }
    if is("git+") || is("git:") || is("github:") || is("git@") || version.contains(".git#") {
        return Some(GIT);
    }
    // A registry's tarball has a version for its version.
    let numbered = version.starts_with(|c: char| c.is_ascii_digit());
    (!numbered && (is("http:") || is("https:"))).then_some(ADDRESS)
}
