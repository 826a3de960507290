//! Links of a page: relative ones made whole, and all others refused that are not of the web.
//!
//! Source: RFC 3986, 5.2 and 5.3.

use http::Uri;

use super::{names, tag};
use crate::ecosystem::BadIndex;
use crate::ecosystem::path::escape;
use crate::ecosystem::table::fetchable;

/// A link that can be followed from here.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Without its fragment.
    pub(super) url: String,
    pub(super) uri: Uri,
    /// What is behind the `#`.
    pub(super) fragment: String,
}

/// The link as it is seen from a page.
///
/// # Errors
/// [`BadIndex::Malformed`], if it does not lead to a plain http or https URL.
pub(super) fn resolve(page: &Uri, reference: &str) -> Result<Link, BadIndex> {
    let refused = || {
        let shown: String = reference.chars().take(200).collect();
        let shown = storekit::printable(&shown);
        BadIndex::Malformed(format!(
            "the page links to `{shown}`, which is not an http or https URL without a password"
        ))
    };
    let (reference, fragment) = split(reference.trim_ascii(), '#');
    if reference.contains(|c: char| c.is_ascii_control() || c == '\\') {
        return Err(refused());
    }
    let url = whole(page, &escaped(reference)).ok_or_else(refused)?;
    let uri = fetchable(&url).filter(has_valid_port).ok_or_else(refused)?;
    Ok(Link { url, uri, fragment: fragment.to_owned() })
}

impl Link {
    /// The same with an ending behind its path.
    #[must_use]
    pub(super) fn with_ending(&self, ending: &str) -> String {
        let (path, query) = split(&self.url, '?');
        let mark = if self.url.contains('?') { "?" } else { "" };
        format!("{path}{ending}{mark}{query}")
    }

    /// The name of the file that it leads to; `None` for a folder, or for what no file can be
    /// called.
    #[must_use]
    pub(super) fn file_name(&self) -> Option<String> {
        let name = unescaped(self.uri.path().rsplit('/').next()?)?;
        is_file_name(&name).then_some(name)
    }

    /// How it is named below `files/`, if a request for that is known to be one for a file of this
    /// project.
    #[must_use]
    pub(super) fn entry(&self, project: &str) -> Option<String> {
        let entry = tag::entry(&self.uri)?;
        let told = names::of_file(entry.rsplit('/').next()?)?;
        (told.project == project).then_some(entry)
    }

    /// The same with its path as the page spells it, for clients that write it into a lock file.
    #[must_use]
    pub(super) fn written(&self, project: &str) -> Option<String> {
        let entry = self.entry(project)?;
        Some(format!("{}{}", entry.split_once('/')?.0, self.uri.path()))
    }
}

/// Whether a file can have this name.
#[must_use]
pub(super) fn is_file_name(name: &str) -> bool {
    let wrong = |c: char| c.is_control() || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}');
    !matches!(name, "" | "." | "..") && name.len() <= 1024 && !name.contains(wrong)
}

/// Whether what stands behind the host is a port.
fn has_valid_port(url: &Uri) -> bool {
    url.port_u16().is_some() || url.authority().is_some_and(|it| it.as_str() == it.host())
}

fn split(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

/// With what a URL cannot have written as escapes.
fn escaped(reference: &str) -> String {
    let mut written = String::with_capacity(reference.len());
    for byte in reference.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>^`{|}".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.extend(escape(byte));
        }
    }
    written
}

pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let hex = behind.get(..2).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = behind.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// The whole URL that a reference means.
fn whole(page: &Uri, reference: &str) -> Option<String> {
    let scheme = reference.split(['/', '?']).next().and_then(|first| first.split_once(':'));
    let (scheme, behind) = match scheme {
        Some((scheme, _)) => (scheme, reference.get(scheme.len() + 1..)?),
        None => (page.scheme_str()?, reference),
    };
    if let Some(behind) = behind.strip_prefix("//") {
        let end = behind.find(['/', '?']).unwrap_or(behind.len());
        let (authority, behind) = behind.split_at_checked(end)?;
        return written(scheme, authority, behind);
    }
    if scheme.len() + 1 == reference.len() - behind.len() {
        // A scheme without a host.
        return None;
    }
    let (path, query) = split(behind, '?');
    let path = match path {
        "" => page.path().to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", page.path().rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    let mark = if behind.contains('?') { "?" } else { "" };
    written(scheme, page.authority()?.as_str(), &format!("{path}{mark}{query}"))
}

fn written(scheme: &str, authority: &str, behind: &str) -> Option<String> {
    let (path, query) = split(behind, '?');
    let mark = if behind.contains('?') { "?" } else { "" };
    Some(format!("{}://{authority}{}{mark}{query}", scheme.to_ascii_lowercase(), without_steps(path)?))
}

/// The path without `.` and `..`; `None` where some of them are hidden by escapes.
fn without_steps(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.trim_start_matches('/').split('/') {
        match part {
            ".." => _ = parts.pop(),
            "." => {}
            part if matches!(unescaped(part).as_deref(), Some("." | "..")) => return None,
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") || matches!(path, "." | "..") {
        parts.push("");
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn leads(reference: &str, expected: &str) {
        let page = "http://index.example:8080/simple/a/".parse().unwrap();
        let link = resolve(&page, reference).unwrap();
        assert_eq!(link.url, expected, "{reference}");
    }

    #[test]
    fn links_are_seen_from_the_page() {
        leads("b.whl#sha256=1", "http://index.example:8080/simple/a/b.whl");
        leads("../../packages/./b.whl", "http://index.example:8080/packages/b.whl");
        leads("../../../../b.whl", "http://index.example:8080/b.whl");
        leads("/b.whl", "http://index.example:8080/b.whl");
        leads("//files.example/b.whl?a=../b", "http://files.example/b.whl?a=../b");
        leads(" HTTPS://files.example/a/../b.whl ", "https://files.example/b.whl");
        leads("?C=N", "http://index.example:8080/simple/a/?C=N");
        leads("", "http://index.example:8080/simple/a/");
        leads("..", "http://index.example:8080/simple/");
        leads("b c-é.whl", "http://index.example:8080/simple/a/b%20c-%C3%A9.whl");
        leads("a/b:c", "http://index.example:8080/simple/a/a/b:c");
    }

    #[test]
    fn a_path_is_written_as_the_page_spells_it() {
        let page = "https://index.example/simple/torch/".parse().unwrap();
        let link = resolve(&page, "/a/torch-2.0%2Bcpu-py3-none-any.whl").unwrap();
        assert_eq!(link.entry("torch").as_deref(), Some("index.example/a/torch-2.0+cpu-py3-none-any.whl"));
        assert_eq!(
            link.written("torch").as_deref(),
            Some("index.example/a/torch-2.0%2Bcpu-py3-none-any.whl")
        );
        assert_eq!(link.written("other"), None);
    }

    #[test]
    fn other_links_are_refused() {
        let page = "https://index.example/simple/a/".parse().unwrap();
        let wrong = [
            "file:///etc/passwd",
            "javascript:alert(1)",
            "mailto:a@b",
            "ftp://a/b",
            "https:b.whl",
            "http://",
            "https://me:secret@a/b",
            "//me@a/b",
            "https://a/%2e%2e/b",
            "a/.%2E/b",
            "a\\b",
            "a\r\nb",
            "a\0b",
            "http:///b",
            "https://a:99999/b",
            "https://a:/b",
            "data:,",
            ":b",
        ];
        for reference in wrong {
            assert!(resolve(&page, reference).is_err(), "{reference:?}");
        }
    }

    #[test]
    fn the_name_of_a_file_is_the_last_part() {
        let page = "https://index.example/".parse().unwrap();
        let name = |reference| resolve(&page, reference).unwrap().file_name();
        assert_eq!(name("a/torch-2%2Bcpu.whl?x#y").as_deref(), Some("torch-2+cpu.whl"));
        for reference in ["a/", "a%2Fb", "a%00", "a%0a", "%FF", "a%5Cb", "a%E2%80%A8"] {
            assert_eq!(name(reference), None, "{reference}");
        }
        assert_eq!(
            resolve(&page, "a.whl?x=1").unwrap().with_ending(".metadata"),
            "https://index.example/a.whl.metadata?x=1"
        );
    }
}
