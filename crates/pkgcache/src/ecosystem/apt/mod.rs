//! apt: signed releases, their indexes and packages. Nothing of it is ever rewritten.
//!
//! Source: Debian's wiki, "DebianRepository/Format".

mod fields;
mod packages;
mod place;
mod release;
pub(crate) mod signature;
#[cfg(test)]
pub(super) mod tests;

use storekit::Checksum;

pub(crate) use self::packages::vouch;
use self::place::Kind;
pub(crate) use self::place::{Place, place};
pub(crate) use self::release::{Release, release};
pub(crate) use crate::ecosystem::packing::Packing;
use crate::ecosystem::{Asked, Class, Package};

/// Paths with `…/dists/SUITE/…`: `InRelease`, `Release`, `Release.gpg` (indexes),
/// `…/by-hash/ALG/HEX` (self-certifying), the other indexes (`index` is the path of `InRelease`,
/// `entry` the path below the suite's folder); `…/pool/…` (artifacts; `entry` is the path below the
/// base); the same in flat repositories, where a package's base is one of [`bases`]. What nothing
/// lists is unknown, and so is whatever is asked for with a query.
///
/// A release stays an index below the path of a snapshot too: some services answer for a time to
/// come with what is newest now.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let Some(place) = place(path).filter(|_| query.is_none()) else { return Asked::default() };
    let names: Vec<&str> = place.rest.split('/').collect();
    match place::kind(&names) {
        Kind::Release => Asked::of(Class::Index),
        Kind::ByHash(algorithm, hex) => by_hash(&place, &algorithm, &hex),
        Kind::Index if place.release.is_some() => listed(&place),
        Kind::Package(package) if place.release.is_none() => {
            Asked { class: Class::Artifact, package, index: None, entry: Some(place.rest) }
        }
        Kind::Index | Kind::Package(_) | Kind::Other => Asked::default(),
    }
}

fn listed(place: &Place) -> Asked {
    let architecture = place.rest.split('/').find_map(|name| name.strip_prefix("binary-"));
    let package = Package { architecture: architecture.map(str::to_owned), ..Package::default() };
    let index = place.beside_release("InRelease");
    Asked { class: Class::SubIndex, package, index, entry: Some(place.rest.clone()) }
}

/// MD5 vouches for nothing: such an index is known by its release alone ([`Release::files`]).
fn by_hash(place: &Place, algorithm: &str, hex: &str) -> Asked {
    let known = match algorithm {
        "SHA1" | "SHA256" | "SHA512" => Checksum::from_hex(algorithm, hex),
        "MD5Sum" if release::is_hex(hex, 32) => return listed(place),
        _ => None,
    };
    let Some(checksum) = known else { return Asked::default() };
    Asked { class: Class::SelfCertifying(checksum), ..listed(place) }
}

/// Whether a path of the forward mode looks like one of a repository, so that it is treated as one
/// whatever its host. Names that a site of another kind may have (`/Packages`) are not enough.
#[must_use]
pub(crate) fn is_likely(path: &str) -> bool {
    let Some(place) = place(path) else { return false };
    let names: Vec<&str> = place.rest.split('/').collect();
    let below_dists = place.release.as_ref().is_some_and(|folder| !folder.is_empty());
    match place::kind(&names) {
        Kind::ByHash(..) => matches!(ask(path, None).class, Class::SubIndex | Class::SelfCertifying(_)),
        Kind::Release => below_dists || place.rest != "Release",
        Kind::Index => below_dists || place.rest.contains('.'),
        Kind::Package(package) => package.name.is_some(),
        Kind::Other => false,
    }
}

/// All bases that a repository with this package may have: the one that [`place`] gives, and in a
/// flat repository the folders above it, whose indexes may name files in folders. Each with the
/// path below it; the nearest first.
#[must_use]
pub(crate) fn bases(path: &str) -> Vec<(String, String)> {
    let Some(place) = place(path) else { return Vec::new() };
    if place.release.is_some() || place.rest.contains('/') {
        return vec![(place.base, place.rest)];
    }
    let mut found = vec![(place.base, place.rest)];
    while let Some((base, rest)) = found.last() {
        let Some((above, folder)) = base.rsplit_once('/') else { break };
        found.push((above.to_owned(), format!("{folder}/{rest}")));
    }
    found
}

/// Whether an index of this path below its suite names packages or sources, and how it is packed.
/// `None` also for those that are packed in a way that is not read here.
#[must_use]
pub(crate) fn names_packages(path: &str) -> Option<Packing> {
    let name = path.rsplit('/').next()?;
    let (stem, packing) = match name.rsplit_once('.') {
        None => (name, Packing::Plain),
        Some((stem, "gz")) => (stem, Packing::Gzip),
        Some((stem, "xz")) => (stem, Packing::Xz),
        Some((stem, "zst")) => (stem, Packing::Zstd),
        Some(_) => return None,
    };
    matches!(stem, "Packages" | "Sources").then_some(packing)
}
