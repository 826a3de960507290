//! pip, uv and others: simple indexes. Mounted is the index itself, what pip calls its index URL.
//!
//! Source: PyPA's "Simple repository API" (PEP 503, 592, 629, 658, 691, 700, 708, 714, 740, 792).

use std::io::{Read, Write};

use http::Uri;

use crate::ecosystem::base::Base;
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex};

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
/// same with `.metadata`. A page whose name is not normalized is unknown here; the caller redirects.
#[must_use]
pub(crate) fn ask(_path: &str, _query: Option<&str>) -> Asked {
    Asked::default()
}

/// The name of a project as pages have it: lower case, and runs of `-`, `_` and `.` are one `-`.
/// Source: PEP 503.
#[must_use]
pub(crate) fn normalized(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.push(c.to_ascii_lowercase());
        }
    }
    normal
}

/// `TAG/PATH` of a file's URL: how it is named below `files/` and in tables.
#[must_use]
pub(crate) fn file_name(_url: &Uri) -> Option<String> {
    None
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
