//! npm, pnpm and yarn: packuments and tarballs. Mounted is the registry's root.

use std::io::{Read, Write};

use http::Uri;

use crate::ecosystem::base::Base;
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex};

/// The variant of a packument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// `application/json`.
    Full,
    /// `application/vnd.npm.install-v1+json`.
    Abbreviated,
}

/// Mounted paths: `/NAME`, `/@SCOPE%2fNAME`, `/@SCOPE/NAME` (a packument: a root), the tarballs
/// `/NAME/-/FILE.tgz` (`index` is the packument's path, `entry` the tarball's canonical path without
/// its first `/`), `/-/npm/v1/attestations/…` and keys (roots), the rest of `/-/…` an interface.
#[must_use]
pub(crate) fn ask(_path: &str, _query: Option<&str>) -> Asked {
    Asked::default()
}

/// The variant that a client wants, by its `Accept` fields.
#[must_use]
pub(crate) fn wanted(_accept: &str) -> Variant {
    Variant::Full
}

/// Adds all tarballs of a packument, by their conventional paths and, where that is another, their
/// upstream's.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    _packument: &Uri,
    _document: &mut dyn Read,
    _table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    Ok(())
}

/// Writes the packument in the variant, with links that stay on the mount; all else as it is.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(
    _packument: &Uri,
    _document: &mut dyn Read,
    _base: &Base,
    _variant: Variant,
    _out: &mut dyn Write,
) -> Result<(), BadIndex> {
    Ok(())
}
