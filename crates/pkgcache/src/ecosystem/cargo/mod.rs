//! cargo: sparse indexes and crates. Mounted is the index, where its `config.json` is.

mod config;
#[cfg(test)]
mod tests;
mod versions;

use storekit::Checksum;

pub(crate) use self::config::{check_config, download_url, render_config};
pub(crate) use self::versions::{releases, render, vouch};
use crate::ecosystem::path::canonical;
use crate::ecosystem::{Asked, Class, Package};

/// The name of a crate, and a version, has no more bytes.
const LONGEST: usize = 128;

/// Mounted paths: `/config.json` (an index), index files `/se/rd/serde` (indexes; `package.name`),
/// and the crates `/dl/NAME/VERSION/SHA256.crate` (self-certifying; `index` is the path of the
/// crate's index file, `entry` is `NAME/VERSION`). Crates as registries usually name them
/// (`…/NAME/VERSION/download`, `…/NAME-VERSION.crate`) are artifacts. `/api/…` is an interface.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let path = canonical(path);
    let Some(path) = path.strip_prefix('/').filter(|_| query.is_none()) else { return Asked::default() };
    let names: Vec<&str> = path.split('/').collect();
    match names.as_slice() {
        ["config.json"] => Asked::of(Class::Index),
        ["dl", name, version, file] => marked(name, version, file),
        [.., name] if index_path(name).as_deref() == Some(path) => {
            let package = Package { name: Some((*name).to_owned()), ..Package::default() };
            Asked { package, ..Asked::of(Class::Index) }
        }
        [.., name, version, "download"] => crate_of(Class::Artifact, name, version),
        [.., folder, file] if version_in(file, folder).is_some() => {
            crate_of(Class::Artifact, folder, version_in(file, folder).unwrap_or_default())
        }
        ["api", ..] => Asked::of(Class::Api),
        _ => Asked::default(),
    }
}

fn marked(name: &str, version: &str, file: &str) -> Asked {
    let hex = file.strip_suffix(".crate").and_then(|hex| Checksum::from_hex("sha256", hex));
    hex.map_or_else(Asked::default, |checksum| crate_of(Class::SelfCertifying(checksum), name, version))
}

/// The version in `NAME-VERSION.crate`.
fn version_in<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".crate")
}

fn crate_of(class: Class, name: &str, version: &str) -> Asked {
    let Some(index) = index_path(name).filter(|_| is_version(version)) else { return Asked::default() };
    let package =
        Package { name: Some(name.to_owned()), version: Some(version.to_owned()), ..Package::default() };
    Asked { class, package, index: Some(format!("/{index}")), entry: Some(format!("{name}/{version}")) }
}

/// Where the index has the file of a crate, without a `/` before it; `None` where no crate can have
/// the name.
#[must_use]
pub(crate) fn index_path(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() > LONGEST || !name.bytes().all(plain) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    match name.len() {
        0 => None,
        1 | 2 => Some(format!("{}/{name}", name.len())),
        3 => Some(format!("3/{}/{name}", name.get(..1)?)),
        _ => Some(format!("{}/{}/{name}", name.get(..2)?, name.get(2..4)?)),
    }
}

/// Whether it could be a version: it begins with a number and has nothing that versions have not.
fn is_version(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let number = text.split('.').next().unwrap_or_default();
    let begins = text.contains('.') && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    begins && text.len() <= LONGEST && text.bytes().all(plain)
}

/// Text of an index for a message: its beginning, printable.
fn shown(text: &str) -> String {
    const MOST: usize = 120;
    storekit::printable(&text.chars().take(MOST).collect::<String>()).to_string()
}
