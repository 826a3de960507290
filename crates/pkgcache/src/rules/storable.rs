//! Whether a response may be stored. Source: RFC 9111, 3 to 3.5.

use http::header::{AUTHORIZATION, EXPIRES};
use http::{HeaderMap, StatusCode};

use super::freshness;
use super::policy::Policy;
use super::request::Wishes;

/// Which clients may be given the response again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Anybody: this is a shared cache.
    Shared,
    /// Only those that bring the same credentials: the entry's key holds them.
    SameCredentials,
}

/// Whether the answer to a GET may be stored. `names` is what `Vary` says, [`super::vary::names`].
#[must_use]
pub(crate) fn is_storable(
    request: &HeaderMap,
    status: StatusCode,
    headers: &HeaderMap,
    policy: &Policy,
    sharing: Sharing,
) -> bool {
    let understood = is_understood(status);
    let no_store = policy.no_store && !(policy.must_understand && understood);
    let private = sharing == Sharing::Shared && (policy.private || !shares_credentials(request, policy));
    let refused = no_store
        || private
        || (policy.must_understand && !understood)
        || Wishes::of(request).no_store
        || status.is_informational()
        || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED)
        || super::vary::names(headers).is_none();
    !refused && (says_so(headers, policy) || freshness::is_guessable(status))
}

/// Whether the response itself says that it may be stored.
fn says_so(headers: &HeaderMap, policy: &Policy) -> bool {
    policy.public
        || policy.private
        || policy.lifetime().is_some()
        || (headers.contains_key(EXPIRES) && !policy.targeted)
}

/// Whether others may have what was asked for with these credentials, if any.
fn shares_credentials(request: &HeaderMap, policy: &Policy) -> bool {
    !request.contains_key(AUTHORIZATION)
        || policy.public
        || policy.must_revalidate
        || policy.s_maxage.is_some()
}

/// Whether the meaning of the status code for caches is known here: those that RFC 9110 defines.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(request: &str, status: u16, response: &str, expected: bool) {
        let (request, response) = (headers(request), headers(response));
        let status = StatusCode::from_u16(status).unwrap();
        let policy = Policy::of(&response);
        let found = is_storable(&request, status, &response, &policy, Sharing::Shared);
        assert_eq!(found, expected, "{request:?} {status} {response:?}");
    }

    #[test]
    fn what_forbids_it_counts() {
        check("", 200, "cache-control: no-store, max-age=60", false);
        check("", 200, "cache-control: private, max-age=60", false);
        check("", 200, "cache-control: private=\"a\", max-age=60", true);
        check("", 200, "cache-control: no-cache", true);
        check("cache-control: no-store", 200, "cache-control: max-age=60", false);
        check("", 200, "vary: *\ncache-control: max-age=60", false);
        check("", 304, "cache-control: max-age=60", false);
        check("", 206, "cache-control: max-age=60", false);
    }

    #[test]
    fn a_status_that_is_not_known_needs_a_word() {
        check("", 200, "x: y", true);
        check("", 299, "x: y", false);
        check("", 299, "cache-control: max-age=60", true);
        check("", 302, "expires: 0", true);
        check("", 599, "cache-control: max-age=60, no-store, must-understand", false);
        check("", 599, "cache-control: max-age=60, must-understand", false);
        check("", 200, "cache-control: max-age=60, no-store, must-understand", true);
    }

    #[test]
    fn credentials_are_not_shared_without_a_word() {
        check("authorization: x", 200, "cache-control: max-age=60", false);
        for word in ["public", "s-maxage=60", "must-revalidate"] {
            check("authorization: x", 200, &format!("cache-control: max-age=60, {word}"), true);
        }
        let request = headers("authorization: x");
        let response = headers("cache-control: private, max-age=60");
        let policy = Policy::of(&response);
        let alone = Sharing::SameCredentials;
        assert!(is_storable(&request, StatusCode::OK, &response, &policy, alone));
    }
}
