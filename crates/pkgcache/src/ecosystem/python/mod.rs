//! pip, uv and others: simple indexes. Mounted is the index itself, what pip calls its index URL.
//!
//! Source: The Python packaging guide's "Simple repository API" (PEP 503, 592, 629, 658, 691, 700,
//! 708, 714, 740, 792).

mod html_page;
mod json_page;
mod link;
mod listed;
mod markup;
mod names;
#[cfg(test)]
mod reference;
mod root;
mod spool;
mod tag;
#[cfg(test)]
mod tests;
mod write;

use std::io::{BufWriter, Read, Write};

use http::Uri;

pub(crate) use names::{normalized, of_file};
pub(crate) use root::{check_list, render_list};

use crate::ecosystem::base::Base;
use crate::ecosystem::path::canonical;
use crate::ecosystem::releases::{Hidden, Releases};
use crate::ecosystem::table::TableBuilder;
use crate::ecosystem::{Asked, BadIndex, Class, Package, accept, json};
use listed::{Head, Listed};
use spool::Spool;
use write::Page;

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

/// Mounted paths: `/` (all projects), `/NAME/` (a project's page: an index), `/files/TAG/PATH` (a
/// file; `index` is its project's page by the file's name, `entry` is `TAG/PATH`, canonical) and
/// the same with `.metadata`. A page whose name is not normalized, or has no `/` behind it, is an
/// index as well; the caller redirects.
#[must_use]
pub(crate) fn ask(path: &str, query: Option<&str>) -> Asked {
    let path = canonical(path);
    let Some(path) = path.strip_prefix('/').filter(|_| query.is_none_or(str::is_empty)) else {
        return Asked::default();
    };
    if path.is_empty() {
        return Asked::of(Class::Index);
    }
    if let Some(name) = page_name(path) {
        let package = Package { name: Some(name), ..Package::default() };
        return Asked { package, ..Asked::of(Class::Index) };
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
/// `HOST_PORT`, `http_HOST` or `http_HOST_PORT`; https and its usual port are left out. The query
/// is not part of it: who asks here has no use for another host's signature.
#[must_use]
pub(crate) fn file_name(url: &Uri) -> Option<String> {
    tag::entry(url)
}

/// The mounted path of a file, by its URL; `None` where that is not one of a project's files.
#[must_use]
pub(crate) fn mounted_file(url: &Uri) -> Option<String> {
    let path = format!("/files/{}", file_name(url)?);
    (ask(&path, None).class == Class::Artifact).then_some(path)
}

/// The form that a client wants, by its `Accept` fields; `None` where it wants neither. A client
/// that says nothing gets what a browser does.
#[must_use]
pub(crate) fn wanted(accept: &str) -> Option<Form> {
    // Of two that are wanted alike, the later one is given. Ranges such as `*/*` are a browser's.
    const NAMED: [(&str, Form); 5] = [
        ("text/html", Form::PlainHtml),
        ("application/vnd.pypi.simple.latest+html", Form::Html),
        ("application/vnd.pypi.simple.v1+html", Form::Html),
        ("application/vnd.pypi.simple.latest+json", Form::Json),
        ("application/vnd.pypi.simple.v1+json", Form::Json),
    ];
    if accept.trim().is_empty() {
        return Some(Form::PlainHtml);
    }
    let wishes = NAMED.iter().filter_map(|(media, form)| Some((accept::wish(accept, media)?, *form)));
    let (named, ranged): (Vec<_>, Vec<_>) = wishes.partition(|(wish, _)| wish.named);
    let best = named.into_iter().max_by_key(|(wish, _)| *wish);
    let other = ranged.into_iter().max_by_key(|(wish, form)| (*wish, *form == Form::PlainHtml));
    best.into_iter().chain(other).max_by_key(|(wish, _)| *wish).map(|(_, form)| form)
}

/// The form that an upstream sent.
#[must_use]
pub(crate) fn sent(content_type: &str) -> Option<Form> {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => Some(Form::Json),
        "application/vnd.pypi.simple.v1+html" => Some(Form::Html),
        "text/html" | "application/xhtml+xml" => Some(Form::PlainHtml),
        _ => None,
    }
}

/// Adds all files of a page, and what lies beside them. `page` is its URL, against which links are
/// resolved. Of a project that is quarantined nothing is in the table afterwards.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn vouch(
    page: &Uri,
    form: Form,
    document: &mut dyn Read,
    table: &mut TableBuilder,
) -> Result<(), BadIndex> {
    let project = listed::project(page)?;
    let head = read(page, form, document, &mut |file| file.vouch(&project, table))?;
    if head.is_quarantined() {
        *table = TableBuilder::default();
    }
    Ok(())
}

/// The files of a page, by their versions.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn releases(page: &Uri, form: Form, document: &mut dyn Read) -> Result<Releases, BadIndex> {
    let mut found = Releases::default();
    let head = read(page, form, document, &mut |file| {
        let version = names::of_file(&file.name).map(|told| told.version);
        found.add(version.as_deref().unwrap_or(&file.name), file.standing())
    })?;
    Ok(if head.is_quarantined() { Releases::default() } else { found })
}

/// Writes the page in the form that is wanted, with links that stay on the mount, and without the
/// files that clients are not to see. Of a project that is quarantined no files are listed.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render(
    page: &Uri,
    sent: Form,
    document: &mut dyn Read,
    base: &Base,
    wanted: Form,
    hidden: &Hidden,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    match (sent, wanted) {
        (Form::Json, Form::Json) => rewrite(page, document, base, hidden, &mut out)?,
        (_, Form::Json) => write_json(page, (sent, document), base, hidden, &mut out)?,
        _ => write_html(page, (sent, document), base, hidden, &mut out)?,
    }
    Ok(out.flush()?)
}

/// Reads a page of any form.
fn read(
    page: &Uri,
    form: Form,
    document: &mut dyn Read,
    each: &mut listed::Each<'_>,
) -> Result<Head, BadIndex> {
    if form != Form::Json {
        return html_page::read(page, document, each);
    }
    let mut reading = json_page::Reading::new(page, each)?;
    json::edit(document, &mut reading)?;
    Ok(reading.head)
}

/// What takes the files of a page, but for those that are hidden.
fn seen<'e>(
    hidden: &'e Hidden,
    mut each: impl FnMut(Listed) -> Result<(), BadIndex> + 'e,
) -> impl FnMut(Listed) -> Result<(), BadIndex> + 'e {
    let mut places = 0..;
    move |file| {
        let is_hidden = places.next().is_some_and(|place| hidden.has_place(place));
        if is_hidden { Ok(()) } else { each(file) }
    }
}

fn rewrite(
    page: &Uri,
    document: &mut dyn Read,
    base: &Base,
    hidden: &Hidden,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let mut each = |_: Listed| Ok(());
    let mut rewriting = json_page::Rewriting::new(page, base, hidden, &mut each, out)?;
    json::edit(document, &mut rewriting)?;
    rewriting.finish()
}

fn write_html(
    url: &Uri,
    (sent, document): (Form, &mut dyn Read),
    base: &Base,
    hidden: &Hidden,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let project = listed::project(url)?;
    let page = Page { url, project: &project, base };
    let mut files = Spool::new()?;
    let mut put = seen(hidden, |file| files.put(page.html_file(&file).as_bytes()));
    let head = read(url, sent, document, &mut put)?;
    drop(put);
    out.write_all(page.html_head(&head).as_bytes())?;
    if !head.is_quarantined() {
        files.write(out)?;
    }
    Ok(out.write_all(Page::HTML_END.as_bytes())?)
}

fn write_json(
    url: &Uri,
    (sent, document): (Form, &mut dyn Read),
    base: &Base,
    hidden: &Hidden,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    let project = listed::project(url)?;
    let page = Page { url, project: &project, base };
    let (mut files, mut comma) = (Spool::new()?, "");
    let mut put = seen(hidden, |file| {
        files.put(comma.as_bytes())?;
        comma = ",";
        files.put(page.json_file(&file).as_bytes())
    });
    let head = read(url, sent, document, &mut put)?;
    drop(put);
    out.write_all(page.json_head(&head).as_bytes())?;
    if !head.is_quarantined() {
        files.write(out)?;
    }
    Ok(out.write_all(Page::JSON_END.as_bytes())?)
}
