//! What a registry wants before it answers: a token, fetched here for each account and repository,
//! so that no client has to go round the cache for it.
//!
//! Credentials go to the registry itself, and to the one other server that is set for it
//! (`tokens-from`); to no other, whatever a challenge names.
//!
//! Source: OCI distribution-spec v1.1, "Authentication"; RFC 6750, 3; the token protocol of the
//! distribution project ("Token Authentication Specification").

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use storekit::Digest;

use crate::cache::{self, Cache};
use crate::config::target::Target;
use crate::ecosystem::oci;
use crate::fetch::redirect::Trip;
use crate::rules::invalidate::is_same_origin;

/// No answer with a token is larger.
const CAP: usize = 1 << 20;
/// A token that does not say for how long it holds, does for so many seconds.
const USUAL: i64 = 60;
/// It is not used in its last seconds.
const MARGIN: i64 = 10;

/// As whom a request is sent to a registry.
#[derive(Debug)]
pub(crate) struct Identity {
    /// What the client sent: user and password.
    basic: Option<HeaderValue>,
    key: Digest,
    tried: bool,
}

/// What a registry wants.
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// A registry's token.
#[derive(Deserialize)]
struct Given {
    #[serde(default, rename = "token")]
    text: Option<String>,
    #[serde(default, rename = "access_token")]
    by_another_name: Option<String>,
    #[serde(default)]
    expires_in: Option<i64>,
}

impl Identity {
    /// As whom the request of a client is sent. The client's own credentials are taken off: they
    /// are for the server that gives tokens. `None` where this is not a registry, or where the
    /// client brings a token of its own.
    pub(crate) fn of(cache: &Cache, target: &Target, headers: &mut HeaderMap) -> Option<Self> {
        if !target.kind.is_registry() {
            return None;
        }
        let sent = headers.get(AUTHORIZATION).cloned();
        if sent.as_ref().is_some_and(|value| !is_basic(value)) {
            return None;
        }
        headers.remove(AUTHORIZATION);
        let repository = oci::parse(&target.below).map(|path| path.name).unwrap_or_default();
        let account = sent.as_ref().map(|value| Digest::of(value.as_bytes()).hex()).unwrap_or_default();
        let key = Digest::of(format!("{} {repository} {account}", target.upstream).as_bytes());
        headers.extend(cache.tokens.get(&key, cache::now()).map(|token| (AUTHORIZATION, token)));
        Some(Self { basic: sent, key, tried: false })
    }

    /// Whether the answer is a challenge that was met, so that the request is to be sent again.
    pub(crate) async fn takes_up(
        &mut self,
        trip: &Trip<'_>,
        response: &Response<Incoming>,
        headers: &mut HeaderMap,
    ) -> bool {
        if response.status() != StatusCode::UNAUTHORIZED || std::mem::replace(&mut self.tried, true) {
            return false;
        }
        trip.cache.tokens.forget(&self.key);
        for value in response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|it| it.to_str().ok()) {
            if let Some(challenge) = Challenge::parse(value) {
                let Some((token, until)) = self.fetch(trip, &challenge).await else { continue };
                trip.cache.tokens.keep(self.key, token.clone(), until, cache::now());
                headers.insert(AUTHORIZATION, token);
                return true;
            }
            let wants_basic = value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
            if let Some(basic) = self.basic.clone().filter(|_| wants_basic) {
                headers.insert(AUTHORIZATION, basic);
                return true;
            }
        }
        false
    }

    /// Asks for a token.
    async fn fetch(&self, trip: &Trip<'_>, challenge: &Challenge) -> Option<(HeaderValue, i64)> {
        let url = challenge.url()?;
        let registry = &trip.target.upstream;
        let own = is_same_origin(&url, registry);
        let downgrade = registry.scheme_str() == Some("https") && url.scheme_str() != Some("https");
        let set = url.authority().is_some_and(|it| Some(it.as_str()) == trip.target.tokens_from.as_deref());
        if downgrade {
            return None;
        }
        let mut headers = HeaderMap::new();
        let basic = self.basic.clone().filter(|_| own || set);
        if self.basic.is_some() && basic.is_none() {
            trip.cache.outside.warning(&format!(
                "{registry}: its tokens come from {}, which is not sent credentials: set `tokens-from` for it",
                url.host().unwrap_or_default()
            ));
        }
        headers.extend(basic.map(|value| (AUTHORIZATION, value)));
        let target = Target { url: url.clone(), private: own && trip.target.private, ..Target::default() };
        let (method, route) = (&Method::GET, trip.route);
        let asking = Trip { cache: trip.cache, method, target: &target, route, wire: None, spare: false };
        let response = asking.send_once(&headers).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), CAP).collect().await.ok()?.to_bytes();
        let (value, lasts) = given(&body)?;
        Some((value, cache::now() + lasts))
    }
}

/// The token in an answer, as it is sent, and for how many seconds it is used.
fn given(body: &[u8]) -> Option<(HeaderValue, i64)> {
    let given: Given = serde_json::from_slice(body).ok()?;
    let text = given.text.or(given.by_another_name).filter(|text| !text.is_empty())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
    value.set_sensitive(true);
    let lasts = given.expires_in.unwrap_or(USUAL).clamp(0, 86_400);
    Some((value, (lasts - MARGIN).max(1)))
}

fn is_basic(value: &HeaderValue) -> bool {
    value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut challenge = Self::default();
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => challenge.realm = value,
                "service" => challenge.service = Some(value),
                "scope" => challenge.scope = Some(value),
                _ => {}
            }
        }
        (!challenge.realm.is_empty()).then_some(challenge)
    }

    fn url(&self) -> Option<Uri> {
        let mut text = self.realm.clone();
        let pairs = [("service", &self.service), ("scope", &self.scope)];
        for (name, value) in pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(name);
            text.push('=');
            text.push_str(&escaped(value));
        }
        crate::ecosystem::table::fetchable(&text)
    }
}

/// The parameters of a challenge: `name="value"` or `name=value`, with commas between them.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let (value, left) = if let Some(quoted) = behind.strip_prefix('"') {
            quoted_value(quoted)
        } else {
            let (value, left) = behind.split_once(',').unwrap_or((behind, ""));
            (value.trim().to_owned(), left)
        };
        found.push((name, value));
        rest = left;
    }
    found
}

fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// As a value in a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    let write = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged;

    #[test]
    fn a_challenge_says_where_tokens_are_given() {
        let text = "Bearer realm=\"https://auth.example/token\",service=\"r.example\", scope=\"repository:a/b:pull,push\"";
        let url = Challenge::parse(text).and_then(|it| it.url()).map(|url| url.to_string());
        let expected = "https://auth.example/token?service=r.example&scope=repository:a/b:pull,push";
        assert_eq!(url.as_deref(), Some(expected));
        let odd =
            Challenge::parse("bearer realm=\"http://a/t?x=1\", scope=\"a b\\\"c\"").and_then(|it| it.url());
        assert_eq!(odd.map(|url| url.to_string()).as_deref(), Some("http://a/t?x=1&scope=a%20b%22c"));
    }

    #[test]
    fn what_is_not_a_challenge_is_none() {
        for text in ["Basic realm=\"x\"", "Bearer", "Bearer service=\"x\"", "", "Bearer realm="] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
        for realm in ["file:///etc/passwd", "x", "http://u:p@a/"] {
            assert!(Challenge { realm: realm.to_owned(), ..Challenge::default() }.url().is_none(), "{realm}");
        }
    }

    #[test]
    fn a_damaged_challenge_names_an_address_that_can_be_asked_or_none() {
        let text = "Bearer realm=\"https://auth.example/token?x=1\",service=\"r.example\", scope=\"repository:a/b:pull\"";
        damaged::each_text(text, |text| {
            if let Some(url) = Challenge::parse(text).and_then(|it| it.url()) {
                assert!(matches!(url.scheme_str(), Some("http" | "https")), "{url}");
                assert!(url.authority().is_some_and(|it| !it.as_str().contains('@')), "{url}");
            }
        });
    }

    #[test]
    fn a_damaged_answer_gives_a_token_that_can_be_sent_or_none() {
        let answer = "{\"token\":\"abc.def\",\"access_token\":\"ghi\",\"expires_in\":300,\"issued_at\":\"2026-11-01T00:00:00Z\"}";
        let (value, lasts) = given(answer.as_bytes()).unwrap();
        assert_eq!((value.to_str().unwrap(), lasts, value.is_sensitive()), ("Bearer abc.def", 290, true));
        damaged::each(answer, |damaged| {
            if let Some((value, lasts)) = given(damaged) {
                assert!(value.as_bytes().starts_with(b"Bearer ") && (1..86_400).contains(&lasts));
            }
        });
    }
}
