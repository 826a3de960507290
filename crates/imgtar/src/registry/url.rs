//! The few URLs that a registry's client meets: `http` and `https`, and what a `Location` makes of
//! them.
//!
//! Refuses text with a user, with spaces or control characters, or of another scheme.
//!
//! Source: RFC 3986, 5.2, without the removal of dot segments (servers do that); RFC 9110, 4.2.

use std::fmt::{self, Write};

pub(crate) use toolkit::net::Origin;

/// An absolute URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    origin: Origin,
    /// Path and query, with the leading `/`.
    path: String,
}

impl Url {
    pub(crate) fn new(origin: Origin, path: String) -> Self {
        Self { origin, path }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = clean(text)?;
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self { origin: Origin::parse(authority, tls)?, path: format!("{slash}{path}") })
    }

    /// What a `Location` header in an answer from here leads to.
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let location = clean(location)?;
        if location.contains("://") && location.find("://") < location.find(['/', '?']).map(|at| at + 1) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.origin.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let path = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{own}{location}"),
            _ => format!("{}/{location}", own.rsplit_once('/').map_or("", |(folder, _)| folder)),
        };
        Some(Self { origin: self.origin.clone(), path })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// For messages: without the query, which may hold a signature.
    pub(crate) fn shown(&self) -> String {
        let text = self.to_string();
        text.split('?').next().unwrap_or_default().to_owned()
    }

    /// The same with another parameter at the end of the query. The value must need no escapes, or
    /// have them.
    pub(crate) fn with(&self, parameter: &str) -> Self {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        Self { origin: self.origin.clone(), path: format!("{}{mark}{parameter}", self.path) }
    }
}

/// Without a fragment; nothing where there are characters that no URL has.
fn clean(text: &str) -> Option<&str> {
    let text = text.split('#').next().unwrap_or_default();
    let sound = text.len() <= 8 << 10 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (sound && !text.is_empty()).then_some(text)
}

/// Text as a value of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing into text never fails.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn leads(location: &str, to: &str) {
        let from = Url::parse("https://a.example/v2/x/blobs/uploads/?n=1").unwrap();
        assert_eq!(from.join(location).unwrap().to_string(), to);
    }

    #[test]
    fn locations_are_joined() {
        leads("https://b.example:444/p?q=https://c", "https://b.example:444/p?q=https://c");
        leads("//b.example/p", "https://b.example/p");
        leads("/p?to=https://c/d", "https://a.example/p?to=https://c/d");
        leads("p/q", "https://a.example/v2/x/blobs/uploads/p/q");
        leads("?m=2#part", "https://a.example/v2/x/blobs/uploads/?m=2");
        leads("HTTP://B.example:80?x", "http://b.example/?x");
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for text in [
            "",
            "x",
            "ftp://a/",
            "https://",
            "https://a@b/",
            "https://a:b@c/",
            "https://a:99999/",
            "https://a b/",
            "https://a/\r\nHost: b",
            "file:///etc/passwd",
            "https://[::g]/",
            "https://a:/",
            "https://a\\@b/",
        ] {
            assert!(Url::parse(text).is_none(), "{text} was accepted");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (text, yes) in [
            ("http://localhost:5000/", true),
            ("http://127.8.9.1/", true),
            ("http://[::1]:5000/", true),
            ("http://localhost.example/", false),
            ("http://128.0.0.1/", false),
            ("http://127.0.0.1.example/", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().origin().is_loopback(), yes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(base in "https?://[a-z.:0-9@\\[\\]]{1,12}/[a-z/?]{0,8}", location in "\\PC{0,40}") {
            if let Some(url) = Url::parse(&base) {
                let again = Url::parse(&url.to_string());
                prop_assert_eq!(again.unwrap().to_string(), url.to_string());
                let _ = url.join(&location).map(|url| url.to_string());
            }
            let _ = Url::parse(&location);
        }
    }
}
