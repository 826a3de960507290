//! dnf, yum and zypper: repositories of RPM packages (rpm-md). Nothing of them is ever rewritten.
//!
//! Limit: indexes that are packed with bzip2 or zchunk are handed on and verified, but not read for
//! what they say of packages; of zchunk the same list is there in another form.
//!
//! Sources: `createrepo_c(8)`, `dnf.conf(5)`, RPM's file names.

mod records;
mod repomd;
#[cfg(test)]
mod tests;
mod xml;

use storekit::Checksum;

pub(crate) use self::repomd::{CAP, Listed, Repomd, repomd, vouch};
use crate::ecosystem::openpgp::{Keyring, Signed};
use crate::ecosystem::path::{decoded, segments};
use crate::ecosystem::{Asked, BadIndex, Class, Package};

/// The folder of a repository's indexes.
const FOLDER: &str = "repodata";
/// What says which indexes there are.
const REPOMD: &str = "repomd.xml";
/// Lists of servers that have the same repository.
const MIRRORS: [&str; 3] = ["metalink", "mirrorlist", "metalink.xml"];

/// Paths with `…/repodata/NAME`: `repomd.xml`, its `.asc` and `.key` (indexes), `HEX-NAME`, where
/// the digits are a checksum's (self-certifying), all other names (sub-indexes); `index` is the
/// path of `repomd.xml`, `entry` the path below the base. `…/NAME-VERSION-RELEASE.ARCH.rpm`
/// (artifacts). `metalink` and `mirrorlist`, with a query and without (indexes). Anything else is
/// unknown, and so is whatever else is asked for with a query.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let Some(names) = segments(path) else { return Asked::default() };
    let Some((name, folder)) = names.split_last() else { return Asked::default() };
    if MIRRORS.contains(&name.as_str()) {
        return Asked::of(Class::Index);
    }
    if query.is_some() {
        return Asked::default();
    }
    if let Some((FOLDER, base)) = folder.split_last().map(|(folder, base)| (folder.as_str(), base)) {
        return indexes(name, base);
    }
    let within = folder.iter().any(|folder| folder == FOLDER);
    match package(name).filter(|_| !within) {
        Some(package) => Asked { class: Class::Artifact, package, ..Asked::default() },
        None => Asked::default(),
    }
}

/// What a file in the folder of indexes is.
fn indexes(name: &str, base: &[String]) -> Asked {
    if matches!(name.strip_prefix(REPOMD), Some("" | ".asc" | ".key")) {
        return Asked::of(Class::Index);
    }
    // What begins like a repomd.xml and is none may change with it.
    if name.starts_with(REPOMD) {
        return Asked::default();
    }
    let class = in_name(name).map_or(Class::SubIndex, Class::SelfCertifying);
    let above: String = base.iter().flat_map(|name| ["/", name]).collect();
    let index = Some(format!("{above}/{FOLDER}/{REPOMD}"));
    Asked { class, index, entry: Some(format!("{FOLDER}/{name}")), package: Package::default() }
}

/// The checksum that a name begins with. MD5 vouches for nothing.
fn in_name(name: &str) -> Option<Checksum> {
    let (hex, _) = name.split_once('-')?;
    let algorithm = match hex.len() {
        40 => "sha1",
        64 => "sha256",
        128 => "sha512",
        _ => return None,
    };
    Checksum::from_hex(algorithm, hex)
}

/// What the name of a package's file says: `NAME-VERSION-RELEASE.ARCH.rpm`. Names without a number
/// in both of version and release, or with a word for whatever is newest, do not count: they may be
/// given again and again.
fn package(name: &str) -> Option<Package> {
    let name = String::from_utf8(decoded(name)?).ok()?;
    let stem = name.strip_suffix(".rpm")?;
    let (rest, architecture) = stem.rsplit_once('.')?;
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let plain = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+._~^:".contains(c);
        !text.is_empty() && text.chars().all(plain)
    };
    let numbered = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let moves = ["latest", "current", "newest", "snapshot", "nightly"];
        plain(text)
            && text.contains(|c: char| c.is_ascii_digit())
            && !moves.iter().any(|word| lower.contains(word))
    };
    let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c));
    let fits = named && numbered(version) && numbered(release) && plain(architecture);
    fits.then(|| Package {
        name: Some(name.to_owned()),
        version: Some(format!("{version}-{release}")),
        architecture: Some(if architecture == "src" { "source" } else { architecture }.to_owned()),
    })
}

/// Whether a path of the forward mode looks like one of a repository, so that it is treated as one
/// whatever its host.
#[must_use]
pub(crate) fn is_likely(path: &str) -> bool {
    match ask(path, None).class {
        Class::Artifact | Class::SelfCertifying(_) => true,
        Class::Index => path.contains("/repodata/repomd.xml"),
        _ => false,
    }
}

/// All bases that a repository with this package may have: the folder of the file, and those above
/// it. Each with the path below it; the nearest first.
#[must_use]
pub(crate) fn bases(path: &str) -> Vec<(String, String)> {
    let Some(names) = segments(path) else { return Vec::new() };
    let split = |at: usize| {
        let (base, rest) = names.split_at_checked(at)?;
        Some((base.iter().flat_map(|name| ["/", name]).collect(), rest.join("/")))
    };
    (0..names.len()).rev().filter_map(split).collect()
}

/// The path of a repository's repomd.xml, by its base.
#[must_use]
pub(crate) fn repomd_of(base: &str) -> String {
    format!("{base}/{FOLDER}/{REPOMD}")
}

/// The base of a repository, and the path below it, of one of its indexes.
#[must_use]
pub(crate) fn place(path: &str) -> Option<(String, String)> {
    let names = segments(path)?;
    let (base, rest) = names.split_at_checked(names.len().checked_sub(2)?)?;
    let is_index = rest.first().is_some_and(|folder| folder == FOLDER);
    is_index.then(|| (base.iter().flat_map(|name| ["/", name]).collect(), rest.join("/")))
}

/// Whether a key of the keyring (packets or armor) made the signature of a repomd.xml, that may do
/// so at this time, in seconds since 1970.
///
/// # Errors
/// [`BadIndex`] says why it does not count as signed.
pub(crate) fn verify(repomd: &[u8], signature: &[u8], keyring: &[u8], now: i64) -> Result<(), BadIndex> {
    if repomd.len() as u64 > CAP {
        return Err(BadIndex::TooLarge("it is larger than 16 MiB"));
    }
    Keyring::read(keyring)?.check(Signed::Bytes(repomd), signature, now)
}
