//! What a request says about caching. Source: RFC 9111, 5.2.1.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, IF_MATCH, IF_UNMODIFIED_SINCE};

use super::fields::directives::{self, FOR_EVER};
use super::fields::joined;

/// A request's directives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Nothing of this exchange is to be stored, and nothing stored to be used.
    pub(crate) no_store: bool,
    /// The server is to be asked.
    pub(crate) no_cache: bool,
    /// The server is not to be asked.
    pub(crate) only_if_cached: bool,
    /// No older than this.
    pub(crate) max_age: Option<i64>,
    /// Stale for no longer than this.
    pub(crate) max_stale: Option<i64>,
    /// Fresh for at least so long.
    pub(crate) min_fresh: Option<i64>,
}

impl Wishes {
    /// What the request says.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut wishes = Self::default();
        for directive in directives::parse(&joined(headers, CACHE_CONTROL).unwrap_or_default()) {
            let seconds = || directive.value.as_deref().and_then(directives::seconds);
            match directive.name.as_str() {
                "no-store" => wishes.no_store = true,
                "no-cache" => wishes.no_cache = true,
                "only-if-cached" => wishes.only_if_cached = true,
                "max-age" => wishes.max_age = seconds(),
                "max-stale" => wishes.max_stale = seconds().or(Some(FOR_EVER)),
                "min-fresh" => wishes.min_fresh = seconds(),
                _ => {}
            }
        }
        wishes
    }
}

/// Whether only the server can answer it: a cache does not judge these conditions (RFC 9111,
/// 4.3.2).
#[must_use]
pub(crate) fn is_for_the_server(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[test]
    fn wishes_are_understood() {
        let found =
            Wishes::of(&headers("cache-control: max-age=0, max-stale\ncache-control: min-fresh=5, x"));
        let expected =
            Wishes { max_age: Some(0), max_stale: Some(FOR_EVER), min_fresh: Some(5), ..Wishes::default() };
        assert_eq!(found, expected);
        assert_eq!(Wishes::of(&headers("cache-control: nothing-to-see-here")), Wishes::default());
    }
}
