//! How long a response is fresh. Source: RFC 9111, 4.2.1 and 4.2.2.

use http::header::{EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::age::{self, Times};
use super::fields::date;
use super::policy::Policy;

/// A guess never lasts longer than this: a day.
const LONGEST_GUESS: i64 = 86_400;

/// For how many seconds it is fresh by what it says itself.
#[must_use]
pub(crate) fn explicit(headers: &HeaderMap, policy: &Policy, times: Times) -> Option<i64> {
    policy.lifetime().or_else(|| {
        let mut lines = headers.get_all(EXPIRES).iter().filter(|_| !policy.targeted);
        let first = lines.next()?;
        // Two dates, or one that is not valid, mean that it has expired already (RFC 9111, 5.3).
        let expires = first.to_str().ok().and_then(date::parse).filter(|_| lines.next().is_none());
        Some(expires.map_or(0, |expires| (expires - age::date_of(headers, times)).max(0)))
    })
}

/// A guess where it says nothing: a tenth of the time since it was last modified. An index that
/// lists what there is changes without a warning, so the caller decides whether to guess at all.
#[must_use]
pub(crate) fn guess(status: StatusCode, headers: &HeaderMap, policy: &Policy, times: Times) -> Option<i64> {
    if !(is_guessable(status) || policy.public) {
        return None;
    }
    let modified = headers.get(LAST_MODIFIED).and_then(|value| date::parse(value.to_str().ok()?))?;
    Some(((age::date_of(headers, times) - modified) / 10).clamp(0, LONGEST_GUESS))
}

/// Whether the status code allows to guess. Source: RFC 9110, 15.1.
#[must_use]
pub(crate) fn is_guessable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\n";
    const TIMES: Times = Times { requested: 784_111_777, received: 784_111_777 };

    #[track_caller]
    fn check(status: u16, text: &str, expected: Option<i64>) {
        let headers = headers(&format!("{DATE}{text}"));
        let status = StatusCode::from_u16(status).unwrap();
        let policy = Policy::of(&headers);
        let found = explicit(&headers, &policy, TIMES).or_else(|| guess(status, &headers, &policy, TIMES));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_it_says_counts_in_order() {
        check(200, "cache-control: max-age=1, s-maxage=3600\nexpires: 0", Some(3600));
        check(200, "cache-control: max-age=0\nexpires: Sun, 06 Nov 1994 09:49:37 GMT", Some(0));
        check(200, "expires: Sun, 06 Nov 1994 09:49:37 GMT", Some(3600));
        check(200, "expires: Sun, 06 Nov 1994 07:49:37 GMT", Some(0));
        check(200, "expires: 0", Some(0));
        check(200, "expires: Sun, 06 Nov 1994 09:49:37 GMT\nexpires: Sun, 06 Nov 1994 09:49:37 GMT", Some(0));
        check(200, "cdn-cache-control: no-cache\nexpires: Sun, 06 Nov 1994 09:49:37 GMT", None);
    }

    #[test]
    fn a_guess_needs_a_date_and_a_status_that_allows_it() {
        let modified = "last-modified: Sun, 06 Nov 1994 07:49:37 GMT";
        check(200, modified, Some(360));
        check(404, modified, Some(360));
        check(201, modified, None);
        check(599, modified, None);
        check(599, &format!("{modified}\ncache-control: public"), Some(360));
        check(200, "last-modified: Sun, 06 Nov 1894 07:49:37 GMT", Some(LONGEST_GUESS));
        check(200, "x: y", None);
    }
}
