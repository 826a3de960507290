//! Which requests a response answers beside the one that it was made for. Source: RFC 9111, 4.1;
//! RFC 9110, 12.5.5.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{CONTENT_LANGUAGE, VARY};

use super::fields::{joined, members};

/// The names in `Vary`, in lower case, sorted; `None` where it says `*`, which no other request
/// matches.
#[must_use]
pub(crate) fn names(headers: &HeaderMap) -> Option<Vec<String>> {
    let text = joined(headers, VARY).unwrap_or_default();
    let mut names: Vec<_> = members(&text).map(str::to_ascii_lowercase).collect();
    names.sort_unstable();
    names.dedup();
    (!names.iter().any(|name| name == "*")).then_some(names)
}

/// What the named headers are in the request, normalised; absent ones are left out.
#[must_use]
pub(crate) fn selecting(names: &[String], request: &HeaderMap) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), normalised(name, request)?))).collect()
}

/// Whether a response that was selected by `stored` answers this request too.
#[must_use]
pub(crate) fn matches(
    names: &[String],
    stored: &BTreeMap<String, String>,
    request: &HeaderMap,
    response: &HeaderMap,
) -> bool {
    names.iter().all(|name| {
        stored.get(name) == normalised(name, request).as_ref()
            || (name == "accept-language" && has_preferred_language(request, response))
    })
}

/// The header as one list with single blanks. In lists of which RFC 9110 says that neither order
/// nor case mean anything, they mean nothing.
fn normalised(name: &str, request: &HeaderMap) -> Option<String> {
    let text = joined(request, name)?;
    let mut list: Vec<_> = members(&text).map(str::to_owned).collect();
    if matches!(name, "accept-language" | "accept-encoding" | "accept-charset") {
        list = list.iter().map(|member| member.to_ascii_lowercase().replace([' ', '\t'], "")).collect();
        list.sort_unstable();
    }
    Some(list.join(", "))
}

/// Whether the response is in the language that the request likes best, and in no other.
fn has_preferred_language(request: &HeaderMap, response: &HeaderMap) -> bool {
    let language = joined(response, CONTENT_LANGUAGE).unwrap_or_default().to_ascii_lowercase();
    let text = joined(request, "accept-language").unwrap_or_default().to_ascii_lowercase();
    let mut liked: Vec<_> = members(&text).filter_map(weighted).collect();
    liked.sort_by(|a, b| b.1.total_cmp(&a.1));
    match liked.as_slice() {
        [(best, weight), rest @ ..] => {
            *best == language && *weight > 0.0 && rest.first().is_none_or(|(_, next)| next < weight)
        }
        [] => false,
    }
}

fn weighted(member: &str) -> Option<(&str, f32)> {
    let (language, parameters) = member.split_once(';').unwrap_or((member, "q=1"));
    let weight = parameters.trim().strip_prefix("q=")?.parse().ok()?;
    Some((language.trim(), weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(response: &str, first: &str, second: &str, expected: bool) {
        let response = headers(response);
        let names = names(&response).unwrap();
        let stored = selecting(&names, &headers(first));
        assert_eq!(matches(&names, &stored, &headers(second), &response), expected, "{first} / {second}");
    }

    #[test]
    fn named_headers_have_to_be_the_same() {
        check("vary: Foo", "foo: 1\nother: 2", "foo: 1\nother: 3", true);
        check("vary: Foo", "foo: 1", "foo: 2", false);
        check("vary: Foo", "foo: 1", "x: y", false);
        check("vary: Foo", "x: y", "foo: 1", false);
        check("vary: Foo, Bar", "foo: 1", "foo: 1", true);
        check("vary: Foo\nvary: Bar", "foo: 1\nbar: 2", "foo: 1\nbar: 3", false);
        check("x: y", "foo: 1", "foo: 2", true);
    }

    #[test]
    fn ways_of_writing_the_same_do_not_count() {
        check("vary: foo", "foo: 1, 2", "foo: 1\nfoo: 2", true);
        check("vary: foo", "foo: 1,2", "foo:  1, 2 ", true);
        check("vary: foo", "foo: a, b", "foo: b, a", false);
        check("vary: accept-language", "accept-language: en, de", "accept-language: De,  eN", true);
    }

    #[test]
    fn the_language_that_is_liked_best_will_do() {
        let response = "vary: accept-language\ncontent-language: de";
        check(response, "accept-language: en, de", "accept-language: fr;q=0.5, de;q=1.0", true);
        check(response, "accept-language: en, de", "accept-language: fr, de", false);
        check(response, "accept-language: en, de", "accept-language: de;q=0", false);
    }

    #[test]
    fn a_star_anywhere_matches_nothing() {
        for text in ["vary: *", "vary: *, *", "vary: , *", "vary: Foo, *", "vary:\nvary: *"] {
            assert_eq!(names(&headers(text)), None, "{text}");
        }
    }
}
