//! npm, pnpm and yarn: packuments and tarballs. Mounted is the registry's root.

mod names;
mod packument;
mod releases;
mod render;
#[cfg(test)]
mod tests;
mod version;
mod vouch;

use std::io::{BufWriter, Read, Write};

use http::Uri;

use crate::ecosystem::base::Base;
use crate::ecosystem::releases::Releases;
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex, Class, Package, accept, json};
use names::Name;
pub(crate) use releases::Cut;
pub(crate) use version::{check_version, render_version, version_path};

/// The variant of a packument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// `application/json`.
    Full,
    /// `application/vnd.npm.install-v1+json`.
    Abbreviated,
}

/// Mounted paths: `/NAME`, `/@SCOPE%2fNAME`, `/@SCOPE/NAME` (a packument: an index), each
/// with a version or a tag behind it (what it has of that one: an index, too), the tarballs
/// `/NAME/-/FILE.tgz` (`index` is the packument's path, `entry` the tarball's canonical path
/// without its first `/`), `/-/npm/v1/attestations/…` and keys (indexes), the rest of `/-/…` an
/// interface.
///
/// The `index` of a scoped package is `/@SCOPE%2FNAME`, whichever way the tarball's path is
/// written.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let path = names::plain(path);
    let Some(path) = path.strip_prefix('/') else { return Asked::default() };
    if let Some(interface) = path.strip_prefix("-/") {
        let stays = ["npm/v1/attestations/", "npm/v1/keys"].iter().any(|it| interface.starts_with(it));
        return Asked::of(if stays { Class::Index } else { Class::Api });
    }
    if query.is_some_and(|query| !query.is_empty()) {
        return Asked::default();
    }
    if let Some(name) = Name::parse(path) {
        let package = Package { name: Some(name.as_str().to_owned()), ..Package::default() };
        return Asked { package, ..Asked::of(Class::Index) };
    }
    if let Some((name, version)) = version::parse(path) {
        let (name, version) = (Some(name.as_str().to_owned()), Some(version.to_owned()));
        return Asked { package: Package { name, version, architecture: None }, ..Asked::of(Class::Index) };
    }
    tarball(path).unwrap_or_default()
}

/// What a request for `NAME/-/FILE.tgz` asks for. Some registries repeat the scope behind the `-`.
fn tarball(path: &str) -> Option<Asked> {
    let (name, file) = path.split_once("/-/")?;
    let name = Name::parse(name)?;
    let scope = name.as_str().strip_suffix(name.base()).filter(|scope| !scope.is_empty());
    let file = scope.and_then(|scope| file.strip_prefix(scope)).unwrap_or(file);
    let version = file.strip_suffix(".tgz")?.strip_prefix(name.base())?.strip_prefix('-')?;
    // A word there is the name of a tag, and such a file may change.
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".+-_~".contains(&byte);
    if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.bytes().all(known) {
        return None;
    }
    let index = Some(name.packument());
    let package = Package {
        name: Some(name.as_str().to_owned()),
        version: Some(version.to_owned()),
        architecture: None,
    };
    Some(Asked { class: Class::Artifact, package, index, entry: Some(path.to_owned()) })
}

/// The variant that a client wants, by its `Accept` fields. Ranges such as `*/*` want the full one,
/// unless the other is named beside them.
#[must_use]
pub(crate) fn wanted(accept: &str) -> Variant {
    let abbreviated = accept::wish(accept, "application/vnd.npm.install-v1+json").filter(|wish| wish.named);
    let full = accept::wish(accept, "application/json").filter(|wish| wish.named);
    if abbreviated.is_some() && abbreviated >= full { Variant::Abbreviated } else { Variant::Full }
}

/// Adds all tarballs of a packument, by their conventional paths and, where that is another, their
/// upstream's.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    packument: &Uri,
    document: &mut dyn Read,
    table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    json::edit(document, &mut vouch::Vouch::new(packument, table)?)
}

/// The versions of a packument.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn releases(packument: &Uri, document: &mut dyn Read) -> Result<Releases, BadIndex> {
    let mut reader = releases::Reader::new(packument)?;
    json::edit(document, &mut reader)?;
    Ok(reader.found)
}

/// Whether it can be what is at this URL: a list of keys, or of attestations.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn check_list(url: &Uri, document: &mut dyn Read) -> Result<(), BadIndex> {
    let member = if url.path().ends_with("/-/npm/v1/keys") { "keys" } else { "attestations" };
    let mut list = List { member, lists: false };
    json::edit(document, &mut list)?;
    let missing = || BadIndex::Malformed(format!("it has no list `{member}`"));
    if list.lists { Ok(()) } else { Err(missing()) }
}

/// Looks for a list in an object.
struct List {
    member: &'static str,
    lists: bool,
}

impl json::Editor for List {
    fn fate(&mut self, path: &json::Path) -> json::Fate {
        if path.is(&[self.member]) { json::Fate::Seen } else { json::Fate::Copied }
    }

    fn see(&mut self, _: &json::Path, value: json::Value<'_>) -> Result<Option<String>, BadIndex> {
        self.lists = value == json::Value::List;
        Ok(None)
    }
}

/// Writes the packument in the variant, with links that stay on the mount, and without what clients
/// are not to see; all else as it is.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(
    packument: &Uri,
    document: &mut dyn Read,
    base: &Base,
    variant: Variant,
    cut: &Cut,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    json::edit(document, &mut render::Render::new(packument, base, variant, cut, &mut out)?)?;
    Ok(out.flush()?)
}
