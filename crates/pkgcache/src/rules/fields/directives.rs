//! The grammar of `Cache-Control`: a list of names, each with a value or none. Source: RFC 9111,
//! 5.2.

use super::members;

/// No number of seconds counts as more: about 34,000 years.
pub(crate) const FOR_EVER: i64 = 1 << 40;

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// Its name in lower case.
    pub(crate) name: String,
    /// Its value, without quotes.
    pub(crate) value: Option<String>,
}

/// Reads a list. What is not a directive is left out.
#[must_use]
pub(crate) fn parse(text: &str) -> Vec<Directive> {
    members(text).filter_map(directive).collect()
}

fn directive(text: &str) -> Option<Directive> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value))),
        None => (text, None),
    };
    let token = !name.is_empty() && name.bytes().all(is_token);
    token.then(|| Directive { name: name.to_ascii_lowercase(), value })
}

/// Whether the byte may stand in a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The text inside quotes, or the text as it is where it is not quoted as a whole.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// A number of seconds; what is too large is [`FOR_EVER`], what is not a number is `None`.
#[must_use]
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| text.parse().unwrap_or(FOR_EVER).min(FOR_EVER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let found = parse(text);
        let found: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.value.as_deref())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_and_values_are_told_apart() {
        check("Max-Age=3600, No-Store", &[("max-age", Some("3600")), ("no-store", None)]);
        check("max-age=\"3600\"", &[("max-age", Some("3600"))]);
        check("max-age='3600'", &[("max-age", Some("'3600'"))]);
        check("x=\"max-age=1, y\", a", &[("x", Some("max-age=1, y")), ("a", None)]);
        check("max-age =1, max-age= 1, ,", &[("max-age", Some(" 1"))]);
        check("no-cache=\"a\\\"b\"", &[("no-cache", Some("a\"b"))]);
    }

    #[test]
    fn seconds_are_whole_numbers() {
        assert_eq!(seconds("003600"), Some(3600));
        assert_eq!(seconds("99999999999999999999"), Some(FOR_EVER));
        for text in ["", "-1", "+1", "1.0", " 1", "1s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
