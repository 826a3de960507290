//! pip, uv and others: simple indexes. Mounted is the index itself, what pip calls its index URL.
//!
//! Source: PyPA's "Simple repository API" (PEP 503, 592, 629, 658, 691, 700, 708, 714, 740, 792).

mod names;
mod tag;

use std::io::{Read, Write};

use http::Uri;

pub(crate) use names::normalized;

use crate::ecosystem::base::Base;
use crate::ecosystem::path::canonical;
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex, Class, Package};

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `application/vnd.pypi.simple.v1+json`.
    Json,
    /// `application/vnd.pypi.simple.v1+html`.
    Html,
    /// `text/html`.
    PlainHtml,
}

/// Mounted paths: `/` (all projects), `/NAME/` (a project's page: a root), `/files/TAG/PATH` (a
/// file; `index` is its project's page by the file's name, `entry` is `TAG/PATH`, canonical) and the
/// same with `.metadata`. A page whose name is not normalized, or has no `/` behind it, is a root as
/// well; the caller redirects.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let path = canonical(path);
    let Some(path) = path.strip_prefix('/').filter(|_| query.is_none_or(str::is_empty)) else {
        return Asked::default();
    };
    if path.is_empty() {
        return Asked::of(Class::Root);
    }
    if let Some(name) = page_name(path) {
        let package = Package { name: Some(name), ..Package::default() };
        return Asked { package, ..Asked::of(Class::Root) };
    }
    path.strip_prefix("files/").and_then(file).unwrap_or_default()
}

/// The project whose page is asked for, normalized.
fn page_name(path: &str) -> Option<String> {
    let name = path.strip_suffix('/').or_else(|| names::of_file(path).is_none().then_some(path))?;
    names::is_valid(name).then(|| normalized(name))
}

/// What a request for `TAG/PATH` asks for.
fn file(entry: &str) -> Option<Asked> {
    if !tag::is_entry(entry) {
        return None;
    }
    let (_, last) = entry.rsplit_once('/')?;
    let signature = last.strip_suffix(".asc");
    let named = signature.or_else(|| last.strip_suffix(".metadata")).unwrap_or(last);
    let told = names::of_file(named)?;
    let index = Some(format!("/{}/", told.project));
    let package =
        Package { name: Some(told.project), version: Some(told.version), architecture: told.platform };
    let class = if signature.is_some() { Class::PinnedByName } else { Class::Artifact };
    Some(Asked { class, package, index, entry: Some(entry.to_owned()) })
}

/// `TAG/PATH` of a file's URL: how it is named below `files/` and in tables. `TAG` is `HOST`,
/// `HOST_PORT`, `http_HOST` or `http_HOST_PORT`; https and its usual port are left out. The query is
/// not part of it: who asks here has no use for another host's signature.
#[must_use]
pub(crate) fn file_name(url: &Uri) -> Option<String> {
    tag::entry(url)
}

/// The form that a client wants, by its `Accept` fields; `None` where it wants neither.
#[must_use]
pub(crate) fn wanted(_accept: &str) -> Option<Form> {
    None
}

/// The form that an upstream sent.
#[must_use]
pub(crate) fn sent(_content_type: &str) -> Option<Form> {
    None
}

/// Adds all files of a page. `page` is its URL, against which links are resolved.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    _page: &Uri,
    _form: Form,
    _document: &mut dyn Read,
    _table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    Ok(())
}

/// Writes the page in the form that is wanted, with links that stay on the mount.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(
    _page: &Uri,
    _sent: Form,
    _document: &mut dyn Read,
    _base: &Base,
    _wanted: Form,
    _out: &mut dyn Write,
) -> Result<(), BadIndex> {
    Ok(())
}
