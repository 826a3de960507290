//! The `Authorization` header of each request to one registry.
//!
//! The registry's password goes to the registry itself, over the connection that was chosen, and to
//! the place that hands out its tokens where that is the same scheme, host and port, or one that
//! the caller or the built-in pair for docker.io trusts. Any other place is asked without a
//! password. Tokens go to the registry alone.
//!
//! Source: distribution's "Token Authentication Specification" and "`OAuth2` Token Authentication".

pub(crate) mod challenge;
pub(crate) mod credentials;
pub(crate) mod helper;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::Method;

use super::retry::Failure;
use super::transport::{Answer, Request, RequestBody, Transport};
use super::url::{Origin, Url, escape};
use crate::error::registry::Error;
use crate::registry::auth::challenge::Challenge;
use crate::registry::auth::credentials::{Credential, FoundCredential};
use storekit::reference::DOCKER_HUB;

/// The host that hands out docker.io's tokens: the one pair of names that is known here.
const HUB_REALM: &str = "auth.docker.io";
/// No answer with a token is larger.
const CAP: u64 = 1 << 20;
/// How long a token serves that does not say so, and how much earlier it is renewed.
const LIFE: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(10);

/// What is to be done, where: `repository:NAME:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope(pub(crate) Vec<String>);

impl Scope {
    pub(crate) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    pub(crate) fn remove(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push,delete")])
    }

    /// This, and reading another repository of the registry.
    pub(crate) fn and_pull(mut self, repository: &str) -> Self {
        self.0.push(format!("repository:{repository}:pull"));
        self
    }
}

struct Token {
    header: String,
    until: Instant,
}

#[derive(Default)]
struct State {
    basic: bool,
    /// The last challenge, by which tokens are renewed before they end.
    challenge: Option<Challenge>,
    tokens: HashMap<Scope, Token>,
}

/// The credentials for one registry, and what was got for them.
pub(crate) struct Auth {
    registry: String,
    origin: Origin,
    credential: Option<Credential>,
    pub(crate) trouble: Option<String>,
    trusted: Vec<Origin>,
    state: Mutex<State>,
}

#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Auth {
    /// `realms`: hosts, with a port or not, that may see the registry's password.
    pub(crate) fn new(registry: &str, origin: Origin, found: FoundCredential, realms: &[String]) -> Self {
        let own = (registry == DOCKER_HUB).then(|| HUB_REALM.to_owned());
        let trusted =
            realms.iter().chain(&own).filter_map(|realm| Origin::parse(host(realm), true)).collect();
        let FoundCredential { credential, trouble } = found;
        let registry = registry.to_owned();
        Self { registry, origin, credential, trouble, trusted, state: Mutex::default() }
    }

    /// The header for a request, as far as is known without asking.
    pub(crate) fn header(&self, scope: &Scope) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = state.tokens.get(scope).filter(|token| token.until > Instant::now()) {
            return Some(token.header.clone());
        }
        match &self.credential {
            Some(Credential::Token(token)) => Some(format!("Bearer {token}")),
            Some(Credential::Password { user, password }) if state.basic => Some(basic(user, password)),
            _ => None,
        }
    }

    /// Makes ready for a request whose body can be sent only once: renews a token that has ended.
    pub(crate) fn renew(&self, transport: &Transport, scope: &Scope) -> Result<(), Failure> {
        if self.header(scope).is_some() {
            return Ok(());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(challenge) = state.challenge.clone() else { return Ok(()) };
        self.fetch(transport, &mut state, &challenge, scope)
    }

    /// Does what the registry's 401 asks for. `used`: the header that it was not content with.
    /// `false`: there is nothing more to be done.
    pub(crate) fn answer(
        &self,
        transport: &Transport,
        refusal: &Answer,
        scope: &Scope,
        used: Option<&str>,
    ) -> Result<bool, Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have got it meanwhile.
        let newer = state.tokens.get(scope).is_some_and(|token| used != Some(token.header.as_str()));
        if newer {
            return Ok(true);
        }
        let challenges: Vec<_> = refusal.headers("www-authenticate").flat_map(challenge::parse).collect();
        let named = |name: &str| challenges.iter().find(|challenge| challenge.scheme == name);
        if let Some(bearer) = named("bearer") {
            self.fetch(transport, &mut state, bearer, scope)?;
            state.challenge = Some(bearer.clone());
            return Ok(true);
        }
        let password = matches!(self.credential, Some(Credential::Password { .. }));
        let first = named("basic").is_some() && password && !state.basic;
        state.basic |= first;
        Ok(first)
    }

    fn fetch(
        &self,
        transport: &Transport,
        state: &mut State,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<(), Failure> {
        let realm = challenge.get("realm").unwrap_or_default();
        let odd = |reason: String| Error::Untrue { registry: self.registry.clone(), reason };
        let url = Url::parse(realm).ok_or_else(|| odd("it does not name a token server".to_owned()))?;
        if !url.origin().tls
            && (self.origin.tls || *url.origin() != self.origin && !url.origin().is_loopback())
        {
            return Err(Error::Insecure { url: url.shown() }.into());
        }
        let trusted = self.trusts(url.origin());
        let request = TokenRequest { url: &url, challenge, scope };
        let answer = match self.credential.as_ref().filter(|_| trusted) {
            Some(Credential::Identity(token)) => request.exchange(transport, token)?,
            Some(Credential::Password { user, password }) => {
                request.get(transport, Some(basic(user, password)))?
            }
            _ => request.get(transport, None)?,
        };
        if answer.status != 200 {
            return Err(self.refused(answer, &url, trusted));
        }
        let bytes =
            answer.read(CAP)?.ok_or_else(|| odd(format!("`{url}` answers with more than a token")))?;
        let token = read(&bytes).ok_or_else(|| odd(format!("`{url}` answers without a token")))?;
        state.tokens.insert(scope.clone(), token);
        Ok(())
    }

    fn refused(&self, answer: Answer, url: &Url, trusted: bool) -> Failure {
        if !matches!(answer.status, 400 | 401 | 403) {
            return answer.failure(&format!("GET {}", url.origin().authority()));
        }
        let said = answer.said();
        let help = self.help(Some((url.origin(), trusted)));
        let doing = "have a token".to_owned();
        Error::Denied { registry: self.registry.clone(), doing, said, help }.into()
    }

    /// What to do where the registry, or the place of its tokens, says no.
    pub(crate) fn help(&self, realm: Option<(&Origin, bool)>) -> String {
        let registry = &self.registry;
        if let Some((realm, false)) = realm.filter(|_| self.credential.is_some()) {
            let realm = realm.authority();
            return format!(
                "your password was not sent to `{realm}`, its token server; `--auth-realm {realm}` sends it, if that server belongs to `{registry}`"
            );
        }
        match (&self.trouble, &self.credential) {
            (Some(trouble), None) => {
                format!("{trouble}; mend that, or log in anew: `docker login {registry}`")
            }
            (_, Some(_)) => "log in as a user who may do this, or check the name".to_owned(),
            (None, None) => format!("log in: `docker login {registry}` or `podman login {registry}`"),
        }
    }

    /// As [`Auth::help`], after the registry itself has said no.
    pub(crate) fn help_after(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let realm = state.challenge.as_ref().and_then(|challenge| Url::parse(challenge.get("realm")?));
        self.help(realm.as_ref().map(|realm| (realm.origin(), self.trusts(realm.origin()))))
    }

    /// Whether the place may see the registry's password. That it is not in the clear was seen to
    /// before.
    fn trusts(&self, realm: &Origin) -> bool {
        let same = |trusted: &Origin| trusted.host == realm.host && trusted.port == realm.port;
        *realm == self.origin || self.trusted.iter().any(same)
    }
}

struct TokenRequest<'a> {
    url: &'a Url,
    challenge: &'a Challenge,
    scope: &'a Scope,
}

impl TokenRequest<'_> {
    /// What is asked for: what is needed, and what the registry named where that is something else.
    fn scopes(&self) -> Vec<&str> {
        let mut scopes: Vec<_> = self.scope.0.iter().map(String::as_str).collect();
        for named in self.challenge.get("scope").unwrap_or_default().split_whitespace() {
            let covered = scopes.iter().any(|own| covers(own, named));
            if !covered {
                scopes.push(named);
            }
        }
        scopes
    }

    fn get(&self, transport: &Transport, authorization: Option<String>) -> Result<Answer, Failure> {
        let mut url = self.url.clone();
        if let Some(service) = self.challenge.get("service") {
            url = url.with(&format!("service={}", escape(service)));
        }
        for scope in self.scopes() {
            url = url.with(&format!("scope={}", escape(scope)));
        }
        let mut request = Request::new(Method::GET, url);
        if let Some(header) = authorization {
            request = request.with("authorization", header);
        }
        transport.send(request)
    }

    fn exchange(&self, transport: &Transport, identity: &str) -> Result<Answer, Failure> {
        let service = escape(self.challenge.get("service").unwrap_or_default());
        let scope = escape(&self.scopes().join(" "));
        let form = format!(
            "grant_type=refresh_token&client_id=imgtar&service={service}&scope={scope}&refresh_token={}",
            escape(identity)
        );
        let mut request = Request::new(Method::POST, self.url.clone());
        request = request.with("content-type", "application/x-www-form-urlencoded");
        request.body = RequestBody::Bytes(form.as_bytes());
        transport.send(request)
    }
}

/// The host of a realm, which may be written as the URL that a registry names.
fn host(realm: &str) -> &str {
    let rest = realm.split_once("://").map_or(realm, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Whether a scope has all that another has: the same resource, and its actions.
fn covers(own: &str, other: &str) -> bool {
    match (own.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((resource, actions)), Some((wanted, others))) => {
            resource == wanted && others.split(',').all(|other| actions.split(',').any(|own| own == other))
        }
        _ => own == other,
    }
}

fn read(bytes: &[u8]) -> Option<Token> {
    let given: Given = serde_json::from_slice(bytes).ok()?;
    let token = given.token.or(given.access_token)?;
    let sound = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let life = given.expires_in.map_or(LIFE, |seconds| Duration::from_secs(seconds.clamp(20, 86_400)));
    let until = Instant::now() + life.saturating_sub(MARGIN);
    sound.then(|| Token { header: format!("Bearer {token}"), until })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_scope_covers_a_narrower_one() {
        let wide = "repository:a/b:pull,push";
        for (other, yes) in [
            ("repository:a/b:pull", true),
            ("repository:a/b:push,pull", true),
            ("repository:a/b:delete", false),
            ("repository:a/c:pull", false),
            ("aws", false),
        ] {
            assert_eq!(covers(wide, other), yes, "{other}");
        }
    }

    #[test]
    fn a_realm_is_a_host_or_a_url() {
        for text in ["auth.example:8443", "https://auth.example:8443/jwt/auth", "auth.example:8443/"] {
            assert_eq!(host(text), "auth.example:8443");
        }
    }

    #[test]
    fn what_could_break_a_header_is_no_token() {
        assert!(read(br#"{"token":"abc"}"#).is_some());
        assert!(read(br#"{"access_token":"abc","expires_in":300}"#).is_some());
        let bad: [&[u8]; 5] =
            [br#"{"token":"a\r\nX: y"}"#, br#"{"token":""}"#, b"{}", b"", br#"{"token":"a b"}"#];
        for text in bad {
            assert!(read(text).is_none());
        }
    }
}
