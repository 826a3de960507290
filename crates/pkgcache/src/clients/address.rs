//! Addresses of indexes as settings have them: without their credentials, in one spelling.

use std::fmt;

/// What is told to the server that it is for, and is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The address of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http://` or `https://`, the host, the path; no credentials, no query.
    pub url: String,
    /// The credentials that were in it, as they are written.
    pub credentials: Option<Secret>,
}

impl Address {
    /// Reads an address; `None` for what is not one of HTTP's.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return None;
        }
        // Where the host ends, as clients see it: a password with one of these is not valid.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(Secret::new(user)), host),
            None => (None, authority),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let slash = if path.is_empty() { "/" } else { path };
        let url = format!("{scheme}://{}{slash}", host.to_ascii_lowercase());
        let valid = url.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()));
        (valid && is_host(host) && !may_hide(path)).then_some(Self { url, credentials: user })
    }

    /// The URL with these credentials in it.
    #[must_use]
    pub(super) fn with(url: &str, credentials: &Secret) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        format!("{scheme}://{}@{rest}", credentials.reveal())
    }
}

/// Whether this is a host, and what follows a colon is a port.
fn is_host(text: &str) -> bool {
    let behind = text.rsplit_once(']').map_or(text, |(_, behind)| behind);
    behind
        .split_once(':')
        .is_none_or(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the end of a password may be in the path, since it was not encoded. A name may begin
/// with an `@`, as npm's scopes do.
fn may_hide(path: &str) -> bool {
    let within = |part: &str| part.rfind('@').is_some_and(|at| at > 0);
    path.split('/').any(within) || path.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

/// Text as a part of a URL's credentials.
#[must_use]
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let written = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(written).collect()
}

/// The URL with a `/` at its end.
#[must_use]
pub(crate) fn folder(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

/// Whether two URLs are one, a `/` at the end and a port that goes without saying aside.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    let usual = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let host = host.to_ascii_lowercase();
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.strip_suffix(usual).unwrap_or(&host))
}

/// The host, with its port where there is one.
#[must_use]
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The host without its port.
#[must_use]
pub fn host(url: &str) -> &str {
    let authority = authority(url);
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, url: &str, credentials: &str) {
        let credentials = Some(Secret::new(credentials)).filter(|_| !credentials.is_empty());
        let found = Address::read(text).unwrap();
        assert_eq!((found.url.as_str(), found.credentials == credentials), (url, true), "{text}");
        assert!(credentials.is_none_or(|it| !format!("{found:?}").contains(it.reveal())), "{text}");
    }

    #[test]
    fn no_credential_stays_in_an_address() {
        reads(" https://Files.example/simple ", "https://files.example/simple", "");
        reads("https://files.example", "https://files.example/", "");
        reads("HTTPS://me:secret@files.example:8443/a/?x#y", "https://files.example:8443/a/", "me:secret");
        reads("https://token@files.example/a", "https://files.example/a", "token");
        reads("https://me:s@e@files.example/a", "https://files.example/a", "me:s@e");
        reads("https://me:secret@files.example/@scope/x", "https://files.example/@scope/x", "me:secret");
        reads("http://files.example/@scope/x", "http://files.example/@scope/x", "");
        reads("http://files.example:80/@scope/x", "http://files.example:80/@scope/x", "");
        reads("http://[::1]:3144/a", "http://[::1]:3144/a", "");
    }

    #[test]
    fn what_is_not_http_is_none() {
        for text in [
            "file:///srv",
            "git+ssh://a/b",
            "files.example/simple",
            "https://",
            "https:///x",
            "http://a b/",
            "https://me:s/e@c@files.example/a",
            "https://me:se?cret@files.example/a",
            "",
        ] {
            assert_eq!(Address::read(text), None, "{text}");
        }
    }

    #[test]
    fn one_index_has_many_spellings() {
        assert!(is_same("https://a.example/simple", "HTTPS://A.example:443/simple/"));
        assert!(!is_same("https://a.example/simple", "http://a.example/simple"));
        assert!(!is_same("https://a.example/simple", "https://a.example/Simple"));
        assert_eq!(
            (authority("http://a:1/x"), host("http://a:1/x"), host("http://[::1]/")),
            ("a:1", "a", "[::1]")
        );
    }
}
