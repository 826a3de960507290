//! How a registry's client brings the credentials that it has: it is sent for a token to this
//! program, whose tokens are the credentials themselves.
//!
//! A client sends credentials only where it was asked for them, and goes for a token to whatever
//! server it is told. So it is told this one, which needs no memory of it: what the registry wants
//! for a token of its own, `fetch::token` finds out.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RANGE, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::config::Config;
use crate::index::ruled::{Plan, here};
use crate::observe::meter;
use crate::response::reply::own;

/// What such a token begins with; nothing stands behind it for a client without credentials.
const PREFIX: &str = "pkgcache.";
/// For how many seconds a client may use its token.
const HOLDS: u32 = 3600;
/// Where tokens are given, below the address of the registries.
pub(super) const TOKEN: &str = "/v2/token";

/// Puts the credentials that a token stands for in its place.
pub(crate) fn unwrap(headers: &mut HeaderMap) {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some(credentials) = token.and_then(|(_, token)| token.trim().strip_prefix(PREFIX)) else { return };
    let basic = HeaderValue::from_str(&format!("Basic {credentials}")).ok();
    match basic.filter(|_| !credentials.is_empty()) {
        Some(basic) => drop(headers.insert(AUTHORIZATION, basic)),
        None => drop(headers.remove(AUTHORIZATION)),
    }
}

/// Tells a client whose request was not allowed where to bring its credentials. What the registry
/// itself says would lead it past this cache, which it reaches at `here`.
pub(crate) fn challenge(here: &str, headers: &mut HeaderMap) {
    let realm = format!("{here}{TOKEN}");
    let text = format!("Bearer realm=\"{realm}\",service=\"pkgcache\"");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
}

/// Whether a client says that it is Ollama.
pub(crate) fn is_ollama(agent: &[u8]) -> bool {
    agent.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"ollama/"))
}

/// Where Ollama's server is to fetch the ranges of a blob: here. It asks for the whole of it first,
/// only to read that, throws the body away, and gives up where nothing is said. What it began to
/// fetch so is what the ranges are read from.
pub(crate) fn ranges(
    config: &Config,
    method: &Method,
    url: &Uri,
    headers: &HeaderMap,
) -> Option<HeaderValue> {
    let is_it = headers.get(USER_AGENT).is_some_and(|agent| is_ollama(agent.as_bytes()));
    let is_whole = *method == Method::GET && !headers.contains_key(RANGE);
    let path = url.path_and_query()?;
    // By the forward door, and in an intercepted tunnel, its own address leads here.
    let whole = url.authority().map(|_| url.to_string());
    let at = || {
        let at = whole.unwrap_or_else(|| format!("{}{path}", here(config, headers)));
        HeaderValue::from_str(&at).ok()
    };
    (is_it && is_whole && path.path().contains("/blobs/")).then(at)?
}

/// The greeting of a client that brings nothing: it may have credentials.
pub(super) fn greeting(config: &Config, headers: &HeaderMap) -> Plan {
    let mut response = own(StatusCode::UNAUTHORIZED, "{}", None);
    challenge(&here(config, headers), response.headers_mut());
    Plan::answer(response, meter::Result::Own)
}

/// The token of a client, with credentials or without.
pub(super) fn token(headers: &HeaderMap) -> Plan {
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
    let basic = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let plain =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte));
    let credentials = basic.map(|(_, text)| text.trim()).filter(plain).unwrap_or_default();
    let token = format!("{PREFIX}{credentials}");
    let body = format!("{{\"token\":\"{token}\",\"access_token\":\"{token}\",\"expires_in\":{HOLDS}}}");
    let mut response = own(StatusCode::OK, body, None);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Plan::answer(response, meter::Result::Own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollama_alone_is_told_where_ranges_are() {
        let url = Uri::from_static("/v2/library/a/blobs/sha256:00");
        let told = |agent: &'static str, method: &Method, url: &Uri, range: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            headers.insert(http::header::HOST, HeaderValue::from_static("cache.example:3144"));
            headers.extend(range.map(|range| (RANGE, HeaderValue::from_static(range))));
            ranges(&Config::default(), method, url, &headers).map(|it| it.to_str().unwrap().to_owned())
        };
        let agent = "ollama/0.12.0 (amd64 linux) Go/go1.24";
        let here = "http://cache.example:3144/v2/library/a/blobs/sha256:00";
        assert_eq!(told(agent, &Method::GET, &url, None).as_deref(), Some(here));
        assert_eq!(told(agent, &Method::GET, &url, Some("bytes=0-1")), None);
        assert_eq!(told(agent, &Method::HEAD, &url, None), None);
        assert_eq!(told("docker/20.10", &Method::GET, &url, None), None);
        assert_eq!(told(agent, &Method::GET, &Uri::from_static("/v2/library/a/manifests/x"), None), None);
    }

    #[track_caller]
    fn unwraps(sent: &'static str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(sent));
        unwrap(&mut headers);
        assert_eq!(headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()), expected, "{sent}");
    }

    #[test]
    fn a_token_is_the_credentials_that_it_was_given_for() {
        unwraps("Bearer pkgcache.dTpw", Some("Basic dTpw"));
        unwraps("bearer  pkgcache.dTpw ", Some("Basic dTpw"));
        unwraps("Bearer pkgcache.", None);
        for other in ["Bearer pkgcach", "Bearer x.y", "Basic dTpw", "Basic pkgcache.x", "pkgcache."] {
            unwraps(other, Some(other));
        }
    }

    #[test]
    fn what_becomes_of_a_token_or_of_credentials_gives_no_other_header() {
        for sent in ["Bearer pkgcache.bWU6d29yZA==", "Basic bWU6d29yZA=="] {
            crate::damaged::each_text(sent, |text| {
                let Ok(value) = HeaderValue::try_from(text) else { return };
                let mut headers = HeaderMap::new();
                headers.insert(AUTHORIZATION, value);
                let Plan::Answer(answer, _) = token(&headers) else { panic!("a token is an answer") };
                assert_eq!(answer.status(), StatusCode::OK);
                unwrap(&mut headers);
                assert!(headers.len() <= 1);
            });
        }
    }
}
