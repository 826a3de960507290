//! The parts of a packument that matter here, and what they may be.
//!
//! Source: npm's registry documentation, "Package metadata".

use http::Uri;

use super::names::Name;
use crate::ecosystem::BadIndex;
use crate::ecosystem::json::{Fate, Path, Value};
use crate::ecosystem::releases::seconds;
use crate::ecosystem::table::fetchable;

/// A link that can be followed from here.
pub(super) struct Link {
    /// As the packument has it, without a fragment.
    pub(super) url: String,
    pub(super) uri: Uri,
}

/// What a version has that is looked at.
const OF_DIST: [&str; 3] = ["tarball", "integrity", "shasum"];

/// The package whose packument is at this URL.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn name(url: &Uri) -> Result<Name, BadIndex> {
    Name::of_packument(url.path()).ok_or_else(|| malformed("its address is not that of a package"))
}

/// Which parts are looked at.
#[must_use]
pub(super) fn fate(path: &Path) -> Fate {
    let seen = match path.depth() {
        0 => true,
        1 => matches!(path.last(), "name" | "versions"),
        2 => path.name(0) == "versions",
        3 => path.is(&["versions", "*", "dist"]),
        4 => path.is(&["versions", "*", "dist", "*"]) && OF_DIST.contains(&path.last()),
        _ => path.is(&["versions", "*", "dist", "attestations", "url"]),
    };
    if seen { Fate::Seen } else { Fate::Copied }
}

/// The same, with when versions were published.
#[must_use]
pub(super) fn fate_with_times(path: &Path) -> Fate {
    if path.is(&["time", "*"]) { Fate::Seen } else { fate(path) }
}

/// When a version was published; nothing where that is not a time.
#[must_use]
pub(super) fn time(value: Value<'_>) -> Option<u32> {
    if let Value::Text(text) = value { seconds(text) } else { None }
}

/// Checks what holds the parts together. Returns whether this is the package's name.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn check(path: &Path, value: Value<'_>, name: &Name) -> Result<bool, BadIndex> {
    let is_object = value == Value::Object;
    if path.is(&["name"]) {
        let is_same = value == Value::Text(name.as_str());
        let wrong = || malformed(&format!("it is not that of `{}`", name.as_str()));
        return is_same.then_some(true).ok_or_else(wrong);
    }
    match path.depth() {
        0 if !is_object => Err(malformed("it is not a JSON object")),
        1 | 2 if !is_object && path.name(0) == "versions" => Err(not(path, "an object")),
        3 if !is_object && path.last() == "dist" && value != Value::Null => Err(not(path, "an object")),
        _ => Ok(false),
    }
}

/// Checks that all parts were there.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn finish(named: bool) -> Result<(), BadIndex> {
    if named { Ok(()) } else { Err(malformed("it does not say its package's name")) }
}

/// A text, or `None` for null.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn text<'v>(path: &Path, value: Value<'v>) -> Result<Option<&'v str>, BadIndex> {
    match value {
        Value::Text(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        _ => Err(not(path, "a text")),
    }
}

/// A link, or `None` for null.
///
/// # Errors
/// [`BadIndex`].
pub(super) fn link(path: &Path, value: Value<'_>) -> Result<Option<Link>, BadIndex> {
    let Some(text) = text(path, value)? else { return Ok(None) };
    let url = text.split('#').next().unwrap_or_default();
    let uri = fetchable(url).ok_or_else(|| not(path, "an http or https URL without a password"))?;
    Ok(Some(Link { url: url.to_owned(), uri }))
}

pub(super) fn not(path: &Path, what: &str) -> BadIndex {
    malformed(&format!("`{path}` is not {what}"))
}

pub(super) fn malformed(why: &str) -> BadIndex {
    BadIndex::Malformed(why.to_owned())
}
