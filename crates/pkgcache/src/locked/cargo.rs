//! `Cargo.lock`.
//!
//! Source: The Cargo Book, "Cargo.toml vs Cargo.lock"; cargo's `core/resolver/encode.rs` for the
//! sources and for version 1, whose checksums are in `[metadata]`.

use std::collections::BTreeMap;

use serde::Deserialize;
use storekit::Checksum;

use super::{FOLDER, File, GIT, Listed, Locked, NotALock};
use crate::ecosystem::Ecosystem;

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

pub(super) fn read(text: &str) -> Result<Listed, NotALock> {
    let lock: Lock = toml::from_str(text).map_err(|error| NotALock::toml(&error, text))?;
    let mut listed = Listed::default();
    for package in lock.package {
        let label = format!("{} {}", package.name, package.version);
        let Some(source) = package.source else {
            listed.leave_out(label, FOLDER);
            continue;
        };
        let index = source.strip_prefix("registry+").map(str::to_owned);
        let Some(index) = index.or_else(|| source.starts_with("sparse+").then(|| source.clone())) else {
            listed.leave_out(label, GIT);
            continue;
        };
        let key = format!("checksum {label} ({source})");
        let told = || lock.metadata.get(&key).and_then(toml::Value::as_str).map(str::to_owned);
        let checksum = package.checksum.or_else(told).and_then(|hex| Checksum::from_hex("sha256", &hex));
        listed.packages.push(Locked {
            ecosystem: Ecosystem::Cargo,
            index: Some(index.trim_start_matches("sparse+").to_owned()),
            name: package.name,
            version: package.version,
            files: vec![File { checksum, ..File::default() }],
            ..Locked::default()
        });
    }
    Ok(listed)
}
