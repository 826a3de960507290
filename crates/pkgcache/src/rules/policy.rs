//! What a response says about its caching: `CDN-Cache-Control` where it is there and valid, else
//! `Cache-Control`.
//!
//! Source: RFC 9111, 5.2.2; RFC 9213; RFC 5861; RFC 8246.

use http::HeaderMap;

use super::fields::directives::{self, Directive};
use super::fields::structured::{self, Item};
use super::fields::{joined, members};

/// The name of the field that is for this cache alone.
const TARGETED: &str = "cdn-cache-control";

/// A response's directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive of its own")]
pub(crate) struct Policy {
    /// Not to be stored.
    pub(crate) no_store: bool,
    /// Not to be reused without asking.
    pub(crate) no_cache: bool,
    /// For one user only.
    pub(crate) private: bool,
    /// For everybody, though asked for with credentials.
    pub(crate) public: bool,
    /// Never to be served stale.
    pub(crate) must_revalidate: bool,
    /// The same, for shared caches.
    pub(crate) proxy_revalidate: bool,
    /// `no-store` counts only for caches that do not know the status code.
    pub(crate) must_understand: bool,
    /// Fresh for so many seconds.
    pub(crate) max_age: Option<i64>,
    /// The same, for shared caches.
    pub(crate) s_maxage: Option<i64>,
    /// May be served stale so long while it is fetched anew.
    pub(crate) stale_while_revalidate: Option<i64>,
    /// May be served stale so long where the server fails.
    pub(crate) stale_if_error: Option<i64>,
    /// Header fields not to be stored, in lower case.
    pub(crate) unstored_fields: Vec<String>,
    /// Whether the field for this cache said all that, so that `Expires` does not count.
    pub(crate) targeted: bool,
}

impl Policy {
    /// What the response says.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if let Some(directives) = joined(headers, TARGETED).and_then(|text| targeted(&text)) {
            return Self { targeted: true, ..Self::collect(&directives) };
        }
        let text = joined(headers, http::header::CACHE_CONTROL).unwrap_or_default();
        Self::collect(&directives::parse(&text))
    }

    /// How many seconds it is fresh, where it says so.
    #[must_use]
    pub(crate) fn lifetime(&self) -> Option<i64> {
        self.s_maxage.or(self.max_age)
    }

    /// Whether it may be served when it is stale and no server can be asked.
    #[must_use]
    pub(crate) fn may_be_stale(&self) -> bool {
        !(self.must_revalidate || self.proxy_revalidate || self.no_cache || self.s_maxage.is_some())
    }

    fn collect(directives: &[Directive]) -> Self {
        let mut policy = Self::default();
        for directive in directives {
            policy.add(directive);
        }
        policy
    }

    fn add(&mut self, Directive { name, value }: &Directive) {
        // Of two values the first counts, and one that is not a number makes the response stale
        // (RFC 9111, 4.2.1).
        let seconds =
            |known: Option<i64>| known.or_else(|| value.as_deref().and_then(directives::seconds).or(Some(0)));
        match name.as_str() {
            "no-store" => self.no_store = true,
            "no-cache" if value.is_none() => self.no_cache = true,
            "private" if value.is_none() => self.private = true,
            "no-cache" | "private" => self.unstored_fields.extend(field_names(value.as_deref())),
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "max-age" => self.max_age = seconds(self.max_age),
            "s-maxage" => self.s_maxage = seconds(self.s_maxage),
            "stale-while-revalidate" => self.stale_while_revalidate = seconds(self.stale_while_revalidate),
            "stale-if-error" => self.stale_if_error = seconds(self.stale_if_error),
            _ => {}
        }
    }
}

fn field_names(value: Option<&str>) -> Vec<String> {
    members(value.unwrap_or_default()).map(str::to_ascii_lowercase).collect()
}

/// The directives of a targeted field; `None` where it is malformed or empty, for then it does not
/// count.
fn targeted(text: &str) -> Option<Vec<Directive>> {
    let members = structured::dictionary(text)?;
    let directives = members.into_iter().filter_map(|(name, item)| {
        let value = match item {
            Item::Bool(true) => None,
            Item::Integer(number) => Some(number.to_string()),
            Item::String(text) if name == "private" || name == "no-cache" => Some(text),
            // A value of the wrong type: as if the directive were not there.
            _ => return None,
        };
        Some(Directive { name, value })
    });
    Some(directives.collect::<Vec<_>>()).filter(|directives| !directives.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::directives::FOR_EVER;
    use crate::rules::fields::tests::headers;

    #[track_caller]
    fn check(text: &str, expected: &Policy) {
        assert_eq!(Policy::of(&headers(text)), *expected, "{text}");
    }

    #[test]
    fn directives_are_understood_in_any_case_and_on_any_line() {
        let expected = Policy { max_age: Some(1), s_maxage: Some(3600), no_store: true, ..Policy::default() };
        check("cache-control: MaX-aGe=1\ncache-control: s-maxage=\"3600\", No-StOrE, foo", &expected);
    }

    #[test]
    fn a_lifetime_that_is_no_number_is_none_left() {
        for text in ["max-age=-1", "max-age='1'", "max-age", "max-age= 3600"] {
            check(&format!("cache-control: {text}"), &Policy { max_age: Some(0), ..Policy::default() });
        }
        check("cache-control: max-age=1800, max-age=1", &Policy { max_age: Some(1800), ..Policy::default() });
        let huge = Policy { max_age: Some(FOR_EVER), ..Policy::default() };
        check("cache-control: max-age=99999999999999", &huge);
    }

    #[test]
    fn named_fields_are_not_stored_and_the_rest_is() {
        let unstored_fields = vec!["a".to_owned(), "set-cookie".to_owned()];
        check(
            "cache-control: no-cache=\"A\", private=\"set-cookie\"",
            &Policy { unstored_fields, ..Policy::default() },
        );
    }

    #[test]
    fn the_targeted_field_goes_first() {
        let fresh = Policy { max_age: Some(60), targeted: true, ..Policy::default() };
        check("cdn-cache-control: max-age=60\ncache-control: no-store", &fresh);
    }

    proptest::proptest! {
        #[test]
        fn a_lifetime_is_never_negative_nor_endless(
            text in "((max-age|s-maxage|stale-if-error|no-cache|private|x)(=\"?[0-9a-z-]{0,25}\"?)?[, ]{0,3}){0,6}",
            name in "(cache-control|cdn-cache-control)",
        ) {
            let policy = Policy::of(&headers(&format!("{name}: {text}")));
            let lifetimes = [policy.max_age, policy.s_maxage, policy.stale_if_error];
            proptest::prop_assert!(lifetimes.into_iter().flatten().all(|it| (0..=FOR_EVER).contains(&it)));
        }
    }

    #[test]
    fn a_malformed_targeted_field_does_not_count() {
        let no_store = Policy { no_store: true, ..Policy::default() };
        for text in ["max-age=60, &&&", "", "MAX-AGE=60", "max-age=\"60\""] {
            check(&format!("cdn-cache-control: {text}\ncache-control: no-store"), &no_store);
        }
    }
}
