//! Which URLs an unsafe request makes stale. Source: RFC 9111, 4.4; RFC 3986, 5.2 for references.

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};

/// Whether a request of this method changes nothing on the server (RFC 9110, 9.2.1).
#[must_use]
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// What is no longer to be believed after `method` on `url` was answered so: the URL, and what the
/// answer names on the same server.
#[must_use]
pub(crate) fn doubtful(method: &Method, url: &Uri, status: StatusCode, headers: &HeaderMap) -> Vec<Uri> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut urls = vec![url.clone()];
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = headers.get(name).and_then(|value| resolve(url, value.to_str().ok()?));
        urls.extend(named.filter(|named| is_same_origin(named, url)));
    }
    urls
}

/// Whether both are on the same server.
#[must_use]
pub(crate) fn is_same_origin(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// The absolute URL that a reference on `base` means, without its fragment.
#[must_use]
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let target = if let Some(rest) = reference.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if has_scheme(reference) {
        reference.to_owned()
    } else {
        format!("{scheme}://{authority}{}", path_of(base, reference))
    };
    let target: Uri = target.parse().ok()?;
    (target.scheme().is_some() && target.authority().is_some()).then_some(target)
}

/// Whether the reference names a scheme: RFC 3986, 3.1.
fn has_scheme(reference: &str) -> bool {
    let first = reference.split(['/', '?']).next().unwrap_or_default();
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    first.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(inner)
    })
}

/// Path and query of a reference that names no server.
fn path_of(base: &Uri, reference: &str) -> String {
    match reference.as_bytes().first() {
        None => base.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        Some(b'?') => format!("{}{reference}", base.path()),
        Some(b'/') => without_dots(reference),
        Some(_) => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{reference}"))
        }
    }
}

/// The path without `.` and `..`.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        segments.push("");
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn resolves(reference: &str, expected: &str) {
        let base: Uri = "http://a/b/c?d".parse().unwrap();
        assert_eq!(
            resolve(&base, reference).map(|uri| uri.to_string()).as_deref(),
            Some(expected),
            "{reference}"
        );
    }

    #[test]
    fn references_are_resolved() {
        resolves("x?y#z", "http://a/b/x?y");
        resolves("/x", "http://a/x");
        resolves("../x/./y", "http://a/x/y");
        resolves("../../../x/..", "http://a/");
        resolves("?y", "http://a/b/c?y");
        resolves("", "http://a/b/c?d");
        resolves("//e/f", "http://e/f");
        resolves("https://e/f", "https://e/f");
        resolves("./x:y", "http://a/b/x:y");
        resolves("1:x", "http://a/b/1:x");
        for elsewhere in ["http://", "mailto:x", "urn:a:b"] {
            assert_eq!(resolve(&"http://a/".parse().unwrap(), elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn only_what_succeeded_on_the_same_server_counts() {
        let url: Uri = "http://a/b".parse().unwrap();
        let named = headers("location: /c\ncontent-location: http://other/d");
        let doubted =
            |method: Method, status| doubtful(&method, &url, StatusCode::from_u16(status).unwrap(), &named);
        assert_eq!(doubted(Method::POST, 200), ["http://a/b", "http://a/c"]);
        assert_eq!(doubted(Method::from_bytes(b"M-SEARCH").unwrap(), 303).len(), 2);
        assert!(doubted(Method::POST, 500).is_empty());
        assert!(doubted(Method::GET, 200).is_empty());
    }
}
