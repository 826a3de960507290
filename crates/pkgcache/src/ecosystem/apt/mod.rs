//! apt: signed releases, their indexes and packages. Nothing of it is ever rewritten.
//!
//! Source: Debian's wiki, "DebianRepository/Format".

use std::io::Read;

use http::Uri;
use storekit::Checksum;

use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex};

/// How the bytes of an index are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
}

/// What a release says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// Each file below the release's folder: path, size and its strongest checksum.
    pub(crate) files: Vec<(String, u64, Checksum)>,
    /// When it ceases to be valid, in seconds since 1970.
    pub(crate) valid_until: Option<i64>,
}

/// The parts of a path in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The path above `dists` or `pool`, without a `/` at its end.
    pub(crate) base: String,
    /// For what lies below `dists`: the release's folder (`dists/stable/updates`).
    pub(crate) release: Option<String>,
    /// The path below the release's folder, else below the base.
    pub(crate) rest: String,
}

/// Paths with `…/dists/SUITE/…`: `InRelease`, `Release`, `Release.gpg` (roots), `…/by-hash/ALG/HEX`
/// (self-certifying), what else lies below a suite (sub-indexes; `index` is the path of InRelease,
/// `entry` the path below the suite's folder); `…/pool/…` (artifacts; `entry` is the canonical path
/// below the base).
#[must_use]
pub(crate) fn ask(_path: &str, _query: Option<&str>) -> Asked {
    Asked::default()
}

/// Whether a path of the forward mode looks like one of a repository, so that it is treated as one
/// whatever its host.
#[must_use]
pub(crate) fn is_likely(_path: &str) -> bool {
    false
}

/// The parts of such a path; canonical.
#[must_use]
pub(crate) fn place(_path: &str) -> Option<Place> {
    None
}

/// Whether an index of this path below its suite names packages or sources, and how it is packed.
#[must_use]
pub(crate) fn names_packages(_path: &str) -> Option<Packing> {
    None
}

/// Reads a `Release` or an `InRelease` (clear-signed: only what the signature covers counts).
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn release(_document: &mut dyn Read) -> Result<Release, BadIndex> {
    Ok(Release::default())
}

/// Adds all files of a `Packages` or a `Sources`, by their paths below the repository's base.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    _packing: Packing,
    _document: &mut dyn Read,
    _table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    Ok(())
}

/// The URL of a path below a base.
#[must_use]
pub(crate) fn below(_base: &Uri, _path: &str) -> Option<Uri> {
    None
}
