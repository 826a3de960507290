//! Conditions: those that clients send and this cache answers, and those that it sends itself.
//!
//! Source: RFC 9110, 8.8.3 and 13; RFC 9111, 4.3. `If-Match` and `If-Unmodified-Since` are the
//! server's alone.

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

use super::age::{self, Times};
use super::fields::date;

/// Whether the request has a condition that this cache can answer.
#[must_use]
pub(crate) fn has_condition(request: &HeaderMap) -> bool {
    request.contains_key(IF_NONE_MATCH) || request.contains_key(IF_MODIFIED_SINCE)
}

/// Whether the client has this response already, so that 304 says all.
#[must_use]
pub(crate) fn is_not_modified(request: &HeaderMap, stored: &HeaderMap, times: Times) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tag = stored.get(ETAG).map(HeaderValue::as_bytes);
        return request.get_all(IF_NONE_MATCH).iter().any(|line| {
            line.as_bytes() == b"*" || tags(line.as_bytes()).any(|it| tag.is_some_and(|tag| weak_eq(it, tag)))
        });
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(parse_date);
    let modified = stored.get(LAST_MODIFIED).map_or(Some(age::date_of(stored, times)), parse_date);
    since.zip(modified).is_some_and(|(since, modified)| modified <= since)
}

fn parse_date(value: &HeaderValue) -> Option<i64> {
    date::parse(value.to_str().ok()?)
}

/// The entity tags in a list; what is not a tag ends it.
fn tags(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        list = list.trim_ascii_start();
        while let Some(rest) = list.strip_prefix(b",") {
            list = rest.trim_ascii_start();
        }
        let opaque = list.strip_prefix(b"W/").unwrap_or(list).strip_prefix(b"\"")?;
        let length = opaque.iter().position(|byte| *byte == b'"')?;
        let prefix = list.len() - opaque.len();
        let (tag, rest) = list.split_at(prefix + length + 1);
        list = rest;
        Some(tag)
    })
}

fn weak_eq(a: &[u8], b: &[u8]) -> bool {
    a.strip_prefix(b"W/").unwrap_or(a) == b.strip_prefix(b"W/").unwrap_or(b)
}

/// The entity tag, if it promises that the bytes are the same.
#[must_use]
pub(crate) fn strong_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let tag = headers.get(ETAG)?;
    (tag.len() > 2 && tag.as_bytes().starts_with(b"\"") && tag.as_bytes().ends_with(b"\"")).then_some(tag)
}

/// What asks for a part of the same bytes, as `If-Range`: the strong tag or, where there is no tag
/// at all, when they were changed last, if that was a minute before the answer by the server's own
/// clock. Source: RFC 9110, 8.8.2.2 and 13.1.5.
#[must_use]
pub(crate) fn strong_validator(headers: &HeaderMap) -> Option<&HeaderValue> {
    if headers.contains_key(ETAG) {
        return strong_tag(headers);
    }
    let modified = headers.get(LAST_MODIFIED)?;
    let age = headers.get(DATE).and_then(parse_date)?.checked_sub(parse_date(modified)?)?;
    (age >= 60).then_some(modified)
}

/// Whether a part that was asked for with this validator can be of the same bytes.
#[must_use]
pub(crate) fn has_validator(part: &HeaderMap, validator: &HeaderValue) -> bool {
    if validator.as_bytes().starts_with(b"\"") {
        return part.get(ETAG) == Some(validator);
    }
    // A part need not have it (RFC 9110, 15.3.7).
    part.get(LAST_MODIFIED).is_none_or(|modified| modified == validator)
}

/// Whether a range may be cut out of this response: there is no `If-Range`, or it names exactly
/// this one.
#[must_use]
pub(crate) fn range_applies(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(wanted) = request.get(IF_RANGE) else { return true };
    if wanted.as_bytes().contains(&b'"') {
        return strong_tag(stored) == Some(wanted);
    }
    let modified = stored.get(LAST_MODIFIED).and_then(parse_date);
    modified.is_some() && modified == parse_date(wanted)
}

/// The conditions that ask the server whether the stored response still holds; empty where it names
/// nothing to ask by.
#[must_use]
pub(crate) fn validators(stored: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    if let Some(tag) = stored.get(ETAG) {
        conditions.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED).filter(|value| parse_date(value).is_some()) {
        conditions.insert(IF_MODIFIED_SINCE, modified.clone());
    }
    conditions
}

/// Takes all conditions and ranges off a request.
pub(crate) fn strip(request: &mut HeaderMap) {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE] {
        request.remove(name);
    }
}

/// Whether a 304 speaks of the stored response (RFC 9111, 4.3.4): its tag, if it has one, is the
/// stored one's.
#[must_use]
pub(crate) fn speaks_of(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    match (not_modified.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) => weak_eq(new.as_bytes(), old.as_bytes()),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    const TIMES: Times = Times { requested: 0, received: 784_111_777 };

    #[track_caller]
    fn not_modified(request: &str, stored: &str, expected: bool) {
        assert_eq!(
            is_not_modified(&headers(request), &headers(stored), TIMES),
            expected,
            "{request} / {stored}"
        );
    }

    #[test]
    fn tags_are_compared_weakly() {
        not_modified("if-none-match: \"a\"", "etag: \"a\"", true);
        not_modified("if-none-match: W/\"a\"", "etag: \"a\"", true);
        not_modified("if-none-match: \"x\", W/\"y,\" ,\"a\"", "etag: W/\"a\"", true);
        not_modified("if-none-match: \"ü\"", "etag: \"ü\"", true);
        not_modified("if-none-match: *", "x: y", true);
        not_modified("if-none-match: \"x\"\nif-none-match: \"a\"", "etag: \"a\"", true);
        not_modified("if-none-match: a", "etag: \"a\"", false);
        not_modified("if-none-match: \"b\"", "etag: \"a\"", false);
        not_modified("if-none-match: \"b\"", "x: y", false);
    }

    #[test]
    fn a_date_promises_the_same_bytes_only_where_it_is_old_and_alone() {
        let modified = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT\ndate: Sun, 06 Nov 1994 08:";
        for (fields, expected) in [
            (format!("{modified}50:37 GMT"), Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            (format!("{modified}50:36 GMT"), None),
            (format!("{modified}50:37 GMT\netag: W/\"a\""), None),
            (format!("{modified}50:36 GMT\netag: \"a\""), Some("\"a\"")),
            ("last-modified: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), None),
            ("date: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), None),
        ] {
            let fields = headers(&fields);
            let found = strong_validator(&fields);
            assert_eq!(found.map(|it| it.to_str().unwrap()), expected, "{fields:?}");
            assert!(found.is_none_or(|it| has_validator(&fields, it)));
        }
        let (tag, date) =
            (HeaderValue::from_static("\"a\""), HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(has_validator(&headers("x: y"), &date) && !has_validator(&headers("x: y"), &tag));
        assert!(!has_validator(&headers("last-modified: Sun, 06 Nov 1994 08:49:38 GMT"), &date));
    }

    #[test]
    fn a_tag_goes_before_a_date() {
        let stored = "etag: \"a\"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT";
        not_modified("if-none-match: \"a\"\nif-modified-since: Sun, 06 Nov 1984 08:49:37 GMT", stored, true);
        not_modified("if-none-match: \"b\"\nif-modified-since: Sun, 06 Nov 2004 08:49:37 GMT", stored, false);
    }

    #[test]
    fn dates_are_compared_in_any_form() {
        let stored = "last-modified: Sun, 06 Nov 1994 08:49:37 GMT";
        not_modified("if-modified-since: Sunday, 06-Nov-94 08:49:37 GMT", stored, true);
        not_modified("if-modified-since: Sun, 06 Nov 1994 08:49:38 GMT", stored, true);
        not_modified("if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", stored, false);
        not_modified("if-modified-since: x", stored, false);
        not_modified("if-modified-since: Sun, 06 Nov 1994 08:49:38 GMT", "x: y", true);
    }

    #[test]
    fn a_range_needs_exactly_this_response() {
        let stored = headers("etag: \"a\"\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT");
        let applies = |text: &str| range_applies(&headers(text), &stored);
        assert!(
            applies("x: y")
                && applies("if-range: \"a\"")
                && applies("if-range: Sun, 06 Nov 1994 08:49:37 GMT")
        );
        assert!(!applies("if-range: \"b\"") && !applies("if-range: W/\"a\""));
        assert!(!applies("if-range: Sun, 06 Nov 1994 08:49:38 GMT") && !applies("if-range: x"));
        assert!(!range_applies(&headers("if-range: W/\"a\""), &headers("etag: W/\"a\"")));
    }

    #[test]
    fn a_304_with_another_tag_speaks_of_something_else() {
        let stored = headers("etag: \"a\"");
        assert!(speaks_of(&headers("x: y"), &stored) && speaks_of(&headers("etag: W/\"a\""), &stored));
        assert!(!speaks_of(&headers("etag: \"b\""), &stored));
    }

    proptest::proptest! {
        #[test]
        fn no_list_of_tags_makes_it_panic(list in proptest::collection::vec(0x20_u8..0xff, 0..40)) {
            let _ = tags(&list).count();
        }
    }
}
