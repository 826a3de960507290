//! cargo: sparse indexes and crates. Mounted is the index, where its `config.json` is.

use std::io::{Read, Write};

use crate::ecosystem::base::Base;
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex};

/// Mounted paths: `/config.json` (a root), index files `/se/rd/serde` (roots; `package.name`), and
/// the crates `/dl/NAME/VERSION/SHA256.crate` (self-certifying; `index` is the path of the crate's
/// index file, `entry` is `NAME/VERSION`).
#[must_use]
pub(crate) fn ask(_path: &str, _query: Option<&str>) -> Asked {
    Asked::default()
}

/// Adds all versions of an index file, as `NAME/VERSION`.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(_document: &mut dyn Read, _table: &mut TableBuilder) -> Result<(), BadIndex> {
    Ok(())
}

/// Where the upstream has a crate, by the `dl` of its `config.json`. Source: the Cargo Book, "Index
/// format".
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn download_url(
    _config: &mut dyn Read,
    _name: &str,
    _version: &str,
    _sha256: &str,
) -> Result<String, BadIndex> {
    Err(BadIndex::Malformed(String::new()))
}

/// Writes the upstream's `config.json` with a `dl` that leads to this mount and has the checksum.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render_config(
    _config: &mut dyn Read,
    _base: &Base,
    _out: &mut dyn Write,
) -> Result<(), BadIndex> {
    Ok(())
}
