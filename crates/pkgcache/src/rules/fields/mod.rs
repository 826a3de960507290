//! The fields that carry what HTTP says about caching: each read from its text, and written.

pub(crate) mod cache_status;
pub(crate) mod date;
pub(crate) mod directives;
pub(crate) mod hop;
pub(crate) mod max_forwards;
pub(crate) mod structured;

use http::{HeaderMap, header::AsHeaderName};

/// All lines of a header as one list, `None` where it is absent.
pub(crate) fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = lines.next()?.into_owned();
    Some(lines.fold(first, |all, line| all + ", " + &line))
}

/// The members of a comma-separated list, trimmed, the empty ones left out. Commas inside quotes do
/// not count.
pub(crate) fn members(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && c == '\\';
        if c == '"' && !was_escaped {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
    .map(|member| member.trim_matches([' ', '\t']))
    .filter(|member| !member.is_empty())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Headers from lines `name: value`.
    pub(crate) fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(':').unwrap();
            let name = http::HeaderName::from_bytes(name.trim().as_bytes()).unwrap();
            headers.append(name, http::HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn commas_inside_quotes_do_not_split() {
        assert_eq!(
            members(r#" a, "b, c" ,, "d\", e",f"#).collect::<Vec<_>>(),
            ["a", r#""b, c""#, r#""d\", e""#, "f"]
        );
    }

    #[test]
    fn lines_of_one_name_are_one_list() {
        assert_eq!(joined(&headers("a: 1\nb: x\na: 2"), "a").unwrap(), "1, 2");
        assert_eq!(joined(&headers("a: 1"), "b"), None);
    }
}
