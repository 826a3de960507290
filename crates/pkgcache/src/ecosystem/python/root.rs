//! The list of all projects: read, and written anew with links that stay on the mount.
//!
//! Source: PEP 503, 629, 691.

use std::io::{Read, Write};

use http::Uri;

use super::link;
use super::listed::{Head, malformed, short};
use super::markup::Markup;
use super::names::{self, normalized};
use super::write::escaped;
use super::{Form, json};
use crate::ecosystem::BadIndex;
use crate::ecosystem::base::Base;
use crate::ecosystem::json::{Editor, Fate, Path, Value, quoted};
use crate::rules::invalidate::is_same_origin;

/// What takes the names of a list, one by one.
type Each<'e> = dyn FnMut(&str) -> Result<(), BadIndex> + 'e;

/// Whether it can be a list of projects.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn check_list(page: &Uri, sent: Form, document: &mut dyn Read) -> Result<(), BadIndex> {
    read(page, sent, document, &mut |_| Ok(()))
}

/// Writes the list in the form that is wanted. What is JSON already stays as it is: it has no
/// links.
///
/// # Errors
/// [`BadIndex`].
pub(crate) fn render_list(
    page: &Uri,
    sent: Form,
    document: &mut dyn Read,
    base: &Base,
    wanted: Form,
    out: &mut dyn Write,
) -> Result<(), BadIndex> {
    match (sent, wanted) {
        (Form::Json, Form::Json) => {
            let mut each = |_: &str| Ok(());
            let mut projects = Projects::new(&mut each, Some(out));
            json::edit(document, &mut projects)?;
            projects.finish()
        }
        (_, Form::Json) => {
            out.write_all(b"{\"meta\":{\"api-version\":\"1.0\"},\"projects\":[")?;
            let mut comma = "";
            read(page, sent, document, &mut |name| {
                let written = write!(out, "{comma}{{\"name\":{}}}", quoted(name));
                comma = ",";
                Ok(written?)
            })?;
            Ok(out.write_all(b"]}\n")?)
        }
        _ => {
            out.write_all(HTML_HEAD.as_bytes())?;
            read(page, sent, document, &mut |name| {
                let (mount, at) = (&base.mount, normalized(name));
                Ok(writeln!(out, "<a href=\"{}/{at}/\">{}</a><br>", escaped(mount), escaped(name))?)
            })?;
            Ok(out.write_all(b"</body>\n</html>\n")?)
        }
    }
}

const HTML_HEAD: &str = "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
     <meta name=\"pypi:repository-version\" content=\"1.0\">\n<title>Simple index</title>\n</head>\n<body>\n";

fn read(page: &Uri, sent: Form, document: &mut dyn Read, each: &mut Each<'_>) -> Result<(), BadIndex> {
    if sent != Form::Json {
        return read_html(page, document, each);
    }
    let mut projects = Projects::new(each, None);
    json::edit(document, &mut projects)?;
    projects.finish()
}

/// Reads a list in HTML: its links to what lies below it. One without any is a list where it says
/// which version of the interface it has.
fn read_html(page: &Uri, document: &mut dyn Read, each: &mut Each<'_>) -> Result<(), BadIndex> {
    let (mut markup, mut head) = (Markup::new(document), Head::default());
    let (mut base, mut has_projects) = (None, false);
    while let Some(tag) = markup.next()? {
        if tag.repeated().is_some() && matches!(tag.name.as_str(), "a" | "base" | "meta") {
            return Err(malformed("a tag has an attribute twice"));
        }
        match (tag.name.as_str(), tag.get("href")) {
            ("meta", _) if tag.get("name") == Some("pypi:repository-version") => {
                head.set_version(short(tag.get("content").unwrap_or_default())?)?;
            }
            // Only the first one counts.
            ("base", Some(href)) if base.is_none() => base = Some(link::resolve(page, short(href)?)?.uri),
            ("a", Some(href)) => {
                let link = link::resolve(base.as_ref().unwrap_or(page), short(href)?)?;
                if let Some(name) = project(page, &link.uri) {
                    has_projects = true;
                    each(&name)?;
                }
            }
            _ => {}
        }
    }
    if has_projects || head.version.is_some() {
        return Ok(());
    }
    Err(malformed("it names no project, and does not say that it is a page of an index"))
}

/// The project whose page is at a link: right below the list.
fn project(page: &Uri, link: &Uri) -> Option<String> {
    let below = link.path().strip_prefix(page.path().trim_end_matches('/'))?.strip_prefix('/')?;
    let name = link::unescaped(below.strip_suffix('/').unwrap_or(below))?;
    (is_same_origin(page, link) && link.query().is_none() && names::is_valid(&name)).then_some(name)
}

/// Reads a list in JSON, and copies it.
struct Projects<'p> {
    each: &'p mut Each<'p>,
    out: Option<&'p mut dyn Write>,
    head: Head,
    lists: bool,
    named: bool,
}

impl<'p> Projects<'p> {
    fn new(each: &'p mut Each<'p>, out: Option<&'p mut dyn Write>) -> Self {
        Self { each, out, head: Head::default(), lists: false, named: false }
    }

    fn finish(&self) -> Result<(), BadIndex> {
        if self.lists { Ok(()) } else { Err(malformed("it has no list of projects")) }
    }
}

impl Editor for Projects<'_> {
    fn fate(&mut self, path: &Path) -> Fate {
        let seen = path.depth() == 0
            || path.is(&["meta"])
            || path.is(&["meta", "api-version"])
            || path.is(&["projects"])
            || path.is(&["projects", "*"])
            || path.is(&["projects", "*", "name"]);
        if seen { Fate::Seen } else { Fate::Copied }
    }

    fn see(&mut self, path: &Path, value: Value<'_>) -> Result<Option<String>, BadIndex> {
        match (path.depth(), path.last(), value) {
            (2, "api-version", Value::Text(version)) => {
                return Ok(Some(quoted(self.head.set_version(version)?)));
            }
            (1, "projects", Value::List) => self.lists = true,
            (0, ..) | (1, "meta", _) if value == Value::Object => {}
            (2, "", Value::Object) => self.named = false,
            (3, _, Value::Text(name)) if names::is_valid(name) => {
                self.named = true;
                (self.each)(name)?;
            }
            _ => return Err(malformed(&format!("its `{path}` is not what it should be"))),
        }
        Ok(None)
    }

    fn end(&mut self, path: &Path) -> Result<Option<String>, BadIndex> {
        if path.is(&["projects", "*"]) && !std::mem::take(&mut self.named) {
            return Err(malformed("one of its projects has no name"));
        }
        Ok(None)
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), BadIndex> {
        Ok(self.out.as_mut().map_or(Ok(()), |out| out.write_all(bytes))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "{\"meta\": {\"api-version\": \"1.9\", \"_last-serial\": 7}, \"projects\": [{\"name\": \"Zope.Interface\", \"_last-serial\": 3}, {\"name\": \"a\"}]}";
    const HTML: &str = "<!DOCTYPE html><html><body><a href=\"/simple/zope-interface/\">Zope.Interface</a>\n\
        <a href='a/'>a</a><a href=\"https://index.example/simple/b\">b</a><a href=\"https://elsewhere.example/simple/c/\">c</a>\
        <a href=\"/about/\">about</a><a href=\"/simple/d/e/\">e</a><a href=\"/simple/f/?x\">f</a></body></html>";

    fn url() -> Uri {
        Uri::from_static("https://index.example/simple/")
    }

    fn base() -> Base {
        let (here, mount) = ("http://127.0.0.1:1".to_owned(), "/pypi".to_owned());
        Base { here, mount, upstream: url(), keeps_links: false }
    }

    fn rendered(sent: Form, document: &str, wanted: Form) -> Result<String, String> {
        let mut out = Vec::new();
        let done = render_list(&url(), sent, &mut document.as_bytes(), &base(), wanted, &mut out);
        let checked = check_list(&url(), sent, &mut document.as_bytes());
        assert_eq!(done.is_ok(), checked.is_ok(), "{done:?} {checked:?}");
        done.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_written_in_the_form_that_is_wanted() {
        assert_eq!(rendered(Form::Json, JSON, Form::Json).unwrap(), JSON.replace("1.9", "1.4"));
        let html = rendered(Form::Json, JSON, Form::Html).unwrap();
        assert!(html.contains("<a href=\"/pypi/zope-interface/\">Zope.Interface</a><br>\n"), "{html}");
        let json = rendered(Form::PlainHtml, HTML, Form::Json).unwrap();
        assert_eq!(
            json,
            "{\"meta\":{\"api-version\":\"1.0\"},\"projects\":[{\"name\":\"zope-interface\"},{\"name\":\"a\"},{\"name\":\"b\"}]}\n"
        );
    }

    #[test]
    fn no_link_of_a_list_leads_past_the_mount() {
        let html = rendered(Form::PlainHtml, HTML, Form::PlainHtml).unwrap();
        let links: Vec<_> = html.split("href=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
        assert_eq!(links, ["/pypi/zope-interface/", "/pypi/a/", "/pypi/b/"]);
    }

    #[test]
    fn what_is_not_a_list_is_refused() {
        for (form, document, reason) in [
            (Form::Json, "{}", "it has no list of projects"),
            (Form::Json, "[]", "is not what it should be"),
            (Form::Json, "{\"projects\": {}}", "its `projects` is not what it should be"),
            (Form::Json, "{\"projects\": [{}]}", "one of its projects has no name"),
            (Form::Json, "{\"projects\": [{\"name\": \"../a\"}]}", "is not what it should be"),
            (Form::Json, &JSON[..JSON.len() / 2], "is not valid JSON"),
            (Form::Json, "{\"meta\": {\"api-version\": \"2.0\"}, \"projects\": []}", "only 1 is known"),
            (Form::PlainHtml, "<!DOCTYPE html><title>Log in</title>", "it names no project"),
            (Form::PlainHtml, "<a href=\"javascript:x\">a</a>", "not an http or https URL"),
            (Form::PlainHtml, "", "it names no project"),
        ] {
            let error = rendered(form, document, Form::Json).unwrap_err();
            assert!(error.contains(reason), "{document}: {error}");
        }
    }

    #[test]
    fn a_damaged_list_is_read_or_refused() {
        for (form, document) in [(Form::Json, JSON), (Form::PlainHtml, HTML)] {
            for wanted in [Form::Json, Form::Html] {
                crate::damaged::each(document, |damaged| {
                    let mut out = Vec::new();
                    let done = render_list(&url(), form, &mut &*damaged, &base(), wanted, &mut out);
                    assert!(out.len() <= 64 * damaged.len() + 4096, "{} of {}", out.len(), damaged.len());
                    assert!(done.is_err() || out.ends_with(b"\n") || form == Form::Json);
                });
            }
        }
    }
}
