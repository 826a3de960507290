//! How old a response is. Source: RFC 9111, 4.2.3 and 5.1.

use http::HeaderMap;
use http::header::{AGE, DATE};

use super::fields::{date, directives, joined, members};

/// When a response was asked for and when its head came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When it was asked for.
    pub(crate) requested: i64,
    /// When its head came.
    pub(crate) received: i64,
}

/// The response's `Date`, else when it came.
#[must_use]
pub(crate) fn date_of(headers: &HeaderMap, times: Times) -> i64 {
    headers.get(DATE).and_then(|value| date::parse(value.to_str().ok()?)).unwrap_or(times.received)
}

/// Its age when it came, by its own `Age` or by its `Date`, whichever is more.
#[must_use]
pub(crate) fn initial(headers: &HeaderMap, times: Times) -> i64 {
    let apparent = (times.received - date_of(headers, times)).max(0);
    let delay = (times.received - times.requested).max(0);
    apparent.max(announced(headers).unwrap_or(0) + delay)
}

/// Its age now. Clocks that went backwards make nothing younger than it came.
#[must_use]
pub(crate) fn current(headers: &HeaderMap, times: Times, now: i64) -> i64 {
    initial(headers, times) + (now - times.received).max(0)
}

/// The first value of `Age`; what is not a number does not count.
fn announced(headers: &HeaderMap) -> Option<i64> {
    directives::seconds(members(&joined(headers, AGE)?).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(text: &str, expected: i64) {
        let times = Times { requested: 784_111_775, received: 784_111_777 };
        assert_eq!(current(&headers(text), times, times.received + 10), expected, "{text}");
    }

    #[test]
    fn age_counts_from_whatever_is_oldest() {
        check("date: Sun, 06 Nov 1994 08:49:37 GMT", 12);
        check("date: Sun, 06 Nov 1994 08:48:37 GMT", 70);
        check("date: foo", 12);
        check("age: 100", 112);
        check("age: 100\nage: 0", 112);
        check("age: 0, 100", 12);
    }

    #[test]
    fn an_age_that_is_no_number_does_not_count() {
        for value in ["abc", "-7200", "7200.0", "7200;foo=bar", ""] {
            check(&format!("age: {value}"), 12);
        }
    }
}
