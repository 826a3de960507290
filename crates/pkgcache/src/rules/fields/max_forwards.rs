//! How many more times a request may be passed on. Source: RFC 9110, 7.6.2.

use http::header::MAX_FORWARDS;
use http::{HeaderMap, HeaderValue, Method};

/// Counts this proxy in the `Max-Forwards` of an OPTIONS. Returns whether the request goes on: at 0
/// this proxy is the one that it is for. What is not a number is left as it is.
#[must_use]
pub(crate) fn goes_on(method: &Method, headers: &mut HeaderMap) -> bool {
    if *method != Method::OPTIONS {
        return true;
    }
    let read = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    match headers.get_all(MAX_FORWARDS).iter().filter_map(read).min() {
        Some(0) => false,
        Some(left) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
            true
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(method: &Method, before: &str, expected: Option<&str>) {
        let mut found = headers(before);
        let goes_on = goes_on(method, &mut found);
        assert_eq!(goes_on.then_some(found), expected.map(headers), "{method} {before}");
    }

    #[test]
    fn an_options_is_counted() {
        check(&Method::OPTIONS, "max-forwards: 0", None);
        check(&Method::OPTIONS, "max-forwards: 2", Some("max-forwards: 1"));
        check(&Method::OPTIONS, "max-forwards: 3\nmax-forwards: 0", None);
        check(&Method::OPTIONS, "max-forwards: x", Some("max-forwards: x"));
        check(&Method::OPTIONS, "a: b", Some("a: b"));
        check(&Method::GET, "max-forwards: 0", Some("max-forwards: 0"));
    }
}
