//! Whether a stored response may be handed on without asking the server. Source: RFC 9111, 4 and
//! 4.2.4; RFC 5861.

use http::StatusCode;

use super::policy::Policy;
use super::request::Wishes;

/// What may be done with a stored response that matches the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Hand it on.
    Fresh,
    /// Hand it on although it is stale: the request allows that.
    Stale,
    /// Hand it on, and ask the server beside.
    WhileRevalidating,
    /// Ask the server first.
    AskFirst,
}

/// What may be done with a response of this age that is fresh for `lifetime` seconds.
#[must_use]
pub(crate) fn decide(policy: &Policy, wishes: &Wishes, lifetime: i64, age: i64) -> Reuse {
    let too_old = wishes.max_age.is_some_and(|most| age > most || most == 0);
    if policy.no_cache || wishes.no_cache || too_old {
        return Reuse::AskFirst;
    }
    let left = lifetime - age;
    if left > 0 {
        return if wishes.min_fresh.is_some_and(|least| left < least) {
            Reuse::AskFirst
        } else {
            Reuse::Fresh
        };
    }
    if !policy.may_be_stale() || wishes.min_fresh.is_some() {
        return Reuse::AskFirst;
    }
    if wishes.max_stale.is_some_and(|most| -left <= most) {
        return Reuse::Stale;
    }
    match policy.stale_while_revalidate {
        Some(window) if -left <= window => Reuse::WhileRevalidating,
        _ => Reuse::AskFirst,
    }
}

/// Why the server gave no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It cannot be reached, said nothing, or said something that is not to be passed on.
    Unreachable,
    /// It answered 500, 502, 503 or 504.
    Error,
}

/// Whether the server's answer is one that a stale response may stand in for. Source: RFC 5861, 4.
#[must_use]
pub(crate) fn is_failing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a stale response may stand in for the server that failed.
#[must_use]
pub(crate) fn may_stand_in(policy: &Policy, lifetime: i64, age: i64, failure: Failure) -> bool {
    let in_window = policy.stale_if_error.is_some_and(|window| age - lifetime <= window);
    policy.may_be_stale() && (in_window || failure == Failure::Unreachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(response: &str, request: &str, age: i64, expected: Reuse) {
        let response = headers(&format!("cache-control: {response}"));
        let policy = Policy::of(&response);
        let wishes = Wishes::of(&headers(&format!("cache-control: {request}")));
        let found = decide(&policy, &wishes, policy.lifetime().unwrap_or(0), age);
        assert_eq!(found, expected, "{response:?} {request} {age}");
    }

    #[test]
    fn fresh_is_younger_than_its_lifetime() {
        check("max-age=10", "", 9, Reuse::Fresh);
        check("max-age=10", "", 10, Reuse::AskFirst);
        check("max-age=10, no-cache", "", 0, Reuse::AskFirst);
        check("max-age=10, must-revalidate", "", 9, Reuse::Fresh);
    }

    #[test]
    fn the_request_may_ask_for_more_or_be_content_with_less() {
        check("max-age=10", "no-cache", 0, Reuse::AskFirst);
        check("max-age=10", "max-age=0", 0, Reuse::AskFirst);
        check("max-age=10", "max-age=5", 6, Reuse::AskFirst);
        check("max-age=10", "max-age=5", 5, Reuse::Fresh);
        check("max-age=10", "min-fresh=5", 6, Reuse::AskFirst);
        check("max-age=10", "max-stale=5", 15, Reuse::Stale);
        check("max-age=10", "max-stale=5", 16, Reuse::AskFirst);
        check("max-age=10", "max-stale", 1000, Reuse::Stale);
        for cc in ["must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"] {
            check(&format!("max-age=10, {cc}"), "max-stale", 11, Reuse::AskFirst);
        }
    }

    #[test]
    fn a_window_lets_it_be_stale_meanwhile() {
        check("max-age=1, stale-while-revalidate=4", "", 5, Reuse::WhileRevalidating);
        check("max-age=1, stale-while-revalidate=4", "", 6, Reuse::AskFirst);
        check("max-age=1, stale-while-revalidate=4, must-revalidate", "", 5, Reuse::AskFirst);
    }

    #[test]
    fn the_stale_stand_in_for_servers_that_are_gone() {
        let stands = |cc: &str, age, failure| {
            let policy = Policy::of(&headers(&format!("cache-control: {cc}")));
            may_stand_in(&policy, policy.lifetime().unwrap_or(0), age, failure)
        };
        assert!(stands("max-age=1", 9999, Failure::Unreachable));
        assert!(!stands("max-age=1", 2, Failure::Error));
        assert!(stands("max-age=1, stale-if-error=60", 61, Failure::Error));
        assert!(!stands("max-age=1, stale-if-error=60", 62, Failure::Error));
        assert!(!stands("max-age=1, must-revalidate", 2, Failure::Unreachable));
    }
}
