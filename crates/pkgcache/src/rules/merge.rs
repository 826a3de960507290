//! Stored header fields after the server said that the response still holds. Source: RFC 9111, 3.2
//! and 4.3.4.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, SET_COOKIE};

use super::fields::hop;
use super::policy::Policy;

/// The stored fields, with those of a 304 (or of the answer to a HEAD) in their place. What
/// describes the stored bytes stays as it is.
#[must_use]
pub(crate) fn freshened(stored: &HeaderMap, update: &HeaderMap) -> HeaderMap {
    let mut update = update.clone();
    hop::strip(&mut update);
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE] {
        update.remove(name);
    }
    let mut merged = stored.clone();
    // Age counts from the new answer; one that has none starts at nought.
    merged.remove(http::header::AGE);
    for name in update.keys() {
        merged.remove(name);
    }
    for (name, value) in &update {
        merged.append(name, value.clone());
    }
    merged
}

/// The fields of a new response that are stored.
#[must_use]
pub(crate) fn stored_fields(headers: &HeaderMap, policy: &Policy) -> HeaderMap {
    let mut stored = headers.clone();
    hop::strip(&mut stored);
    for name in &policy.unstored_fields {
        stored.remove(name);
    }
    stored
}

/// Takes off the cookies, and returns them: they are meant for the client whose request was
/// answered, and for no client after it. RFC 9111, 7.3, lets a cache hand them to all.
pub(crate) fn take_cookies(headers: &mut HeaderMap) -> HeaderMap {
    let mut taken = HeaderMap::new();
    for name in [SET_COOKIE, HeaderName::from_static("set-cookie2")] {
        if let http::header::Entry::Occupied(entry) = headers.entry(&name) {
            let (_, values) = entry.remove_entry_mult();
            for value in values {
                taken.append(&name, value);
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[test]
    fn new_values_take_the_place_of_old_ones() {
        let stored = headers("a: 1\nb: 2\nb: 3\ncontent-length: 5\nage: 7\ncontent-encoding: gzip");
        let update = headers("b: 4\nb: 5\ncontent-length: 0\nconnection: c\nc: 1\ncontent-encoding: br");
        let expected = headers("a: 1\ncontent-length: 5\ncontent-encoding: gzip\nb: 4\nb: 5");
        assert_eq!(freshened(&stored, &update), expected);
    }

    #[test]
    fn cookies_are_taken_off() {
        let cookies = "set-cookie: a=b\nset-cookie: c=d\nset-cookie2: e=f";
        let mut response = headers(&format!("{cookies}\nx: y"));
        assert_eq!((take_cookies(&mut response), response), (headers(cookies), headers("x: y")));
    }

    #[test]
    fn named_fields_are_not_stored() {
        let response = headers("cache-control: no-cache=\"a\"\na: 1\nb: 2");
        let expected = headers("cache-control: no-cache=\"a\"\nb: 2");
        assert_eq!(stored_fields(&response, &Policy::of(&response)), expected);
    }
}
