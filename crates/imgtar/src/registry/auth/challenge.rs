//! What a registry asks for: the `WWW-Authenticate` header. Text in, values out; nothing is sent
//! from here.
//!
//! Source: RFC 9110, 11.6.1; RFC 6750, 3; distribution-spec's token authentication.

use std::collections::BTreeMap;

/// A scheme such as `Bearer` (in lower case) and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case.
    pub scheme: String,
    /// Names in lower case; of two of one name, the first.
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter's value.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Reads one header. What cannot be understood ends the list.
#[must_use]
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header);
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|char| char == ',' || char.is_ascii_whitespace());
        let Some(name) = rest.token() else { return found };
        rest.skip(|char| char.is_ascii_whitespace());
        if !rest.0.starts_with('=') {
            found.push(Challenge { scheme: name.to_ascii_lowercase(), ..Challenge::default() });
            continue;
        }
        rest.0 = &rest.0[1..];
        rest.skip(|char| char.is_ascii_whitespace());
        let (Some(value), Some(challenge)) = (rest.value(), found.last_mut()) else { return found };
        challenge.parameters.entry(name.to_ascii_lowercase()).or_insert(value);
    }
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn token(&mut self) -> Option<&'a str> {
        let part = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
        let end = self.0.find(|char| !part(char)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token (with the characters of a URL, which some servers leave unquoted) or a quoted
    /// string.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let end =
                self.0.find(|char: char| char == ',' || char.is_ascii_whitespace()).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return (!value.is_empty()).then(|| value.to_owned());
        };
        let (mut value, mut chars) = (String::new(), quoted.char_indices());
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                char => value.push(char),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(header: &str, wanted: &[(&str, &[(&str, &str)])]) {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(scheme, parameters)| Challenge {
                scheme: (*scheme).to_owned(),
                parameters: parameters.iter().map(pair).collect(),
            })
            .collect();
        assert_eq!(parse(header), wanted);
    }

    #[test]
    fn a_registrys_bearer_challenge_reads() {
        check(
            r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#,
            &[(
                "bearer",
                &[
                    ("realm", "https://auth.example/token"),
                    ("service", "r.example"),
                    ("scope", "repository:a/b:pull,push"),
                ],
            )],
        );
    }

    #[test]
    fn several_challenges_and_odd_spaces_read() {
        check(
            r#" Basic Realm = "a \"b\" , c" ,, BEARER realm=https://x/t, error="invalid_token", realm="second""#,
            &[
                ("basic", &[("realm", "a \"b\" , c")]),
                ("bearer", &[("realm", "https://x/t"), ("error", "invalid_token")]),
            ],
        );
        check("Negotiate, Basic realm=\"r\"", &[("negotiate", &[]), ("basic", &[("realm", "r")])]);
    }

    #[test]
    fn what_cannot_be_understood_ends_it() {
        check("", &[]);
        check("=x", &[]);
        check("Bearer realm=\"never ends", &[("bearer", &[])]);
        check("realm=\"no scheme\"", &[]);
        check("Bearer realm=\"a\" \u{e9}", &[("bearer", &[("realm", "a")])]);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(header in "\\PC{0,80}", likely in "[A-Za-z=\", \\\\é]{0,60}") {
            let _ = (parse(&header), parse(&likely));
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let found = parse(&format!("Bearer a=1, realm=\"{quoted}\", b=2"));
            prop_assert_eq!(found[0].get("realm"), Some(value.as_str()));
            prop_assert_eq!(found[0].get("b"), Some("2"));
        }
    }
}
