//! One repository of one registry: what it has, and what it is sent. Its documents are read in
//! `document`.
//!
//! Every answer is untrusted: redirects are few, never lead out of TLS, and take no credentials to
//! another host.
//!
//! Source: OCI distribution-spec v1.1.

use std::time::Duration;

use storekit::oci::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST};
use storekit::{Descriptor, Digest};
use ureq::http::Method;

use super::auth::{Auth, Scope};
use super::config::Config;
use super::pieces::{Pieces, is_refusal};
use super::retry::{Failure, Patience, asking, retrying};
use super::transport::{Answer, Request, RequestBody, Transport};
use super::url::{Origin, Url};
use crate::error::Result;
use crate::error::registry::Error;
use storekit::reference::{DOCKER_HUB, Reference};

/// Where docker.io is asked: its name is not a server's.
const HUB_HOST: &str = "registry-1.docker.io";
const REDIRECTS: usize = 5;
/// How long this machine's own registry may take to show whether it speaks TLS.
const PROBE: Duration = Duration::from_secs(10);

/// The header of what knows the API of registries.
const API_VERSION: &str = "docker-distribution-api-version";

/// What a HEAD told.
enum Head {
    Says(Digest),
    Absent,
    /// A GET will tell.
    Untold,
}

/// Speaks with one repository.
pub struct Client {
    transport: Transport,
    auth: Auth,
    base: Origin,
    plain_http: bool,
    registry: String,
    repository: String,
    scope: Scope,
    pieces: Pieces,
    pub(crate) patience: Patience,
}

/// What is meant to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read only.
    Pull,
    /// To write too.
    Push,
    /// To delete too.
    Remove,
}

impl Client {
    /// A client for the reference's repository. A registry on this machine is asked whether it
    /// speaks TLS.
    ///
    /// # Errors
    /// A registry on this machine that does not answer.
    pub fn new(config: &Config, reference: &Reference, purpose: Purpose) -> Result<Self> {
        let (registry, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
        let transport = Transport::new(&config.roots, &config.proxies, config.patience, &config.waits);
        let host = if registry == DOCKER_HUB { HUB_HOST } else { &registry };
        let base = base(config, &transport, host)?;
        let found = config.credentials.find(&registry, &repository);
        let auth = Auth::new(&registry, base.clone(), found, &config.realms);
        let scope = match purpose {
            Purpose::Pull => Scope::pull(&repository),
            Purpose::Push => Scope::push(&repository),
            Purpose::Remove => Scope::remove(&repository),
        };
        let (plain_http, patience) = (config.plain_http, config.patience);
        let pieces = Pieces::default();
        Ok(Self { transport, auth, base, plain_http, registry, repository, scope, pieces, patience })
    }

    /// The registry, as it is named in references.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's name in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// The digest that a tag or a digest stands for, without reading the document where the
    /// registry tells it. `None` where there is none.
    ///
    /// # Errors
    /// No connection; a registry that says no or lies.
    pub fn resolve(&self, target: &str) -> Result<Option<Digest>> {
        let head = asking(self.patience, || {
            let answer = self.call(self.request(Method::HEAD, "manifests", target, None), &self.scope)?;
            match answer.status {
                200 => return Ok(announced(&answer).map_or(Head::Untold, Head::Says)),
                // It speaks of its own API: that is no proxy which knows no HEAD.
                404 if answer.header(API_VERSION).is_some() => return Ok(Head::Absent),
                _ => {}
            }
            match self.refusal(answer, "HEAD", target) {
                passing @ (Failure::Passing { .. } | Failure::Silent(_)) => Err(passing),
                // Some registries say no to every HEAD, and not in one way: what a GET brings
                // decides.
                _ => Ok(Head::Untold),
            }
        })?;
        let digest = match head {
            Head::Says(digest) => digest,
            Head::Absent => return Ok(None),
            Head::Untold => {
                return Ok(self.manifest(target, None)?.map(|document| document.descriptor.digest));
            }
        };
        match target.parse::<Digest>().ok().filter(|wanted| *wanted != digest) {
            None => Ok(Some(digest)),
            Some(wanted) => {
                Err(self.untrue(format!("asked for `{wanted}`, it answers with `{digest}`")).into())
            }
        }
    }

    /// Whether the repository has the blob, in full length; not, where the registry does not tell.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn has_blob(&self, blob: &Descriptor) -> Result<bool> {
        let target = blob.digest.to_string();
        retrying(self.patience, || {
            let answer = self.call(self.request(Method::HEAD, "blobs", &target, None), &self.scope)?;
            match answer.status {
                200 => Ok(answer.length().is_none_or(|length| length == blob.size)),
                _ => match self.refusal(answer, "HEAD", &target) {
                    // What becomes of an upload decides.
                    failure if is_refusal(&failure) => Ok(false),
                    failure => Err(failure),
                },
            }
        })
    }

    /// Stores a manifest or an index, under a tag or its digest.
    ///
    /// # Errors
    /// As [`Client::resolve`]; a registry that has got something else.
    pub fn put_manifest(&self, target: &str, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let has_urls = bytes.windows(6).any(|part| part == b"\"urls\"");
        retrying(self.patience, || {
            let mut request = self.request(Method::PUT, "manifests", target, None);
            request = request.with("content-type", descriptor.media_type.clone());
            (request.body, request.settles) = (RequestBody::Bytes(bytes), true);
            let answer = self.call(request, &self.scope)?;
            match answer.status {
                200..300 => {}
                // A registry that is just moving a blob of somebody else's push does not see it for
                // a moment.
                400 | 404 => return Err(Failure::Absent(self.refusal(answer, "PUT", target).into_error())),
                // What docker-registry says of addresses that it does not allow: that will hardly
                // pass.
                500 if has_urls => {
                    return Err(Failure::Absent(self.refusal(answer, "PUT", target).into_error()));
                }
                _ => return Err(self.refusal(answer, "PUT", target)),
            }
            match announced(&answer).filter(|got| *got != descriptor.digest) {
                Some(got) => {
                    Err(self.untrue(format!("sent `{}`, it stored `{got}`", descriptor.digest)).into())
                }
                None => Ok(()),
            }
        })
    }

    /// Sends a request with the credentials that the registry asks for; a body is sent again.
    /// Follows the redirects of reading requests. Any answer but a challenge comes back.
    pub(crate) fn call(&self, request: Request<'_>, scope: &Scope) -> Result<Answer, Failure> {
        let Request { method, url, headers, mut body, settles } = request;
        for round in 0.. {
            let body = match &mut body {
                RequestBody::None => RequestBody::None,
                RequestBody::Bytes(bytes) => RequestBody::Bytes(bytes),
                RequestBody::Stream { from, length } => {
                    RequestBody::Stream { from: &mut **from, length: *length }
                }
            };
            let once = matches!(body, RequestBody::Stream { .. });
            if once {
                self.auth.renew(&self.transport, scope)?;
            }
            let used = self.auth.header(scope).filter(|_| *url.origin() == self.base);
            let request =
                Request { method: method.clone(), url: url.clone(), headers: headers.clone(), body, settles };
            let answer = self.follow(request, used.as_deref())?;
            if answer.status != 401 || answer.url.origin() != &self.base || round == 2 {
                return Ok(answer);
            }
            if !self.auth.answer(&self.transport, &answer, scope, used.as_deref())? {
                return Ok(answer);
            }
            if once {
                let reason = "it asked for credentials again".to_owned();
                return Err(Failure::passing(Error::Unreachable { url: url.shown(), reason }));
            }
        }
        Err(self.untrue("it asks for credentials again and again".to_owned()).into())
    }

    fn follow(&self, request: Request<'_>, authorization: Option<&str>) -> Result<Answer, Failure> {
        let Request { method, mut url, headers, mut body, settles } = request;
        let reads = matches!(method, Method::GET | Method::HEAD);
        for _ in 0..=REDIRECTS {
            self.check_url(&url)?;
            let mut headers = headers.clone();
            // Only the registry itself gets the credentials.
            if *url.origin() == self.base {
                headers.extend(authorization.map(|value| ("authorization", value.to_owned())));
            }
            let body = std::mem::replace(&mut body, RequestBody::None);
            let answer =
                self.transport.send(Request { method: method.clone(), url, headers, body, settles })?;
            if !reads || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = answer.header("location").and_then(|location| answer.url.join(location));
            url =
                next.ok_or_else(|| self.untrue("it redirects to an address that cannot be used".to_owned()))?;
            if answer.url.origin().tls && !url.origin().tls {
                return Err(Error::Insecure { url: url.shown() }.into());
            }
        }
        Err(self.untrue(format!("it redirects more than {REDIRECTS} times")).into())
    }

    fn check_url(&self, url: &Url) -> Result<(), Error> {
        let origin = url.origin();
        let open = self.plain_http && origin.host == self.base.host;
        if origin.tls || origin.is_loopback() || open {
            return Ok(());
        }
        Err(Error::Insecure { url: format!("http://{}", origin.authority()) })
    }

    /// A request for something in the repository.
    pub(crate) fn request<'a>(
        &self,
        method: Method,
        kind: &str,
        target: &str,
        accept: Option<&str>,
    ) -> Request<'a> {
        let path = format!("/v2/{}/{kind}/{target}", self.repository);
        let request = Request::new(method, Url::new(self.base.clone(), path));
        if kind != "manifests" {
            return request;
        }
        let mut types = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST].map(str::to_owned).to_vec();
        types.extend(accept.filter(|accept| is_type(accept)).map(str::to_owned));
        types.push("*/*;q=0.1".to_owned());
        request.with("accept", types.join(", "))
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::new(self.base.clone(), format!("/v2/{}/{path}", self.repository))
    }

    /// What an answer that was not to come fails of.
    pub(crate) fn refusal(&self, answer: Answer, method: &str, target: &str) -> Failure {
        if matches!(answer.status, 401 | 403) && answer.url.origin() == &self.base {
            let verb = match &self.scope {
                scope if *scope == Scope::push(&self.repository) => "push to",
                scope if *scope == Scope::remove(&self.repository) => "delete from",
                _ => "pull from",
            };
            let doing = format!("{verb} `{}`", self.repository);
            let (registry, said) = (self.registry.clone(), answer.said());
            return Error::Denied { registry, doing, said, help: self.auth.help_after() }.into();
        }
        answer.failure(&format!("{method} {}", self.name(target)))
    }

    pub(crate) fn untrue(&self, reason: String) -> Error {
        Error::Untrue { registry: self.registry.clone(), reason }
    }

    /// What stands under a tag or digest; the repository where it is empty.
    pub(crate) fn name(&self, target: &str) -> String {
        if target.is_empty() {
            return format!("{}/{}", self.registry, self.repository);
        }
        let mark = if target.parse::<Digest>().is_ok() { '@' } else { ':' };
        format!("{}/{}{mark}{target}", self.registry, self.repository)
    }
}

/// Where the registry is to be asked, and how.
fn base(config: &Config, transport: &Transport, host: &str) -> Result<Origin> {
    let origin = |tls| {
        let error =
            || Error::Unreachable { url: host.to_owned(), reason: "not a valid host name".to_owned() };
        Origin::parse(host, tls).ok_or_else(error)
    };
    if config.plain_http {
        return Ok(origin(false)?);
    }
    let plain = origin(false)?;
    if !plain.is_loopback() || !speaks_plainly(transport, &plain, config.patience)? {
        return Ok(origin(true)?);
    }
    Ok(plain)
}

/// Whether a registry on this machine speaks plain HTTP. One with TLS answers a plain request with
/// 400 or a cut.
fn speaks_plainly(transport: &Transport, origin: &Origin, patience: Patience) -> Result<bool> {
    let hasty = transport.hasty(PROBE.min(patience.stall));
    let request = || Request::new(Method::GET, Url::new(origin.clone(), "/v2/".to_owned()));
    let mut asked = 0;
    loop {
        asked += 1;
        match hasty.send(request()) {
            Ok(answer) => return Ok(answer.status != 400),
            // Asked in another way, it would be as silent.
            Err(Failure::Silent(error)) if !patience.insists => return Err(error),
            Err(_) if asked < 2 => std::thread::sleep(Duration::from_millis(50)),
            // Whatever it is, asking it with TLS will say why not.
            Err(_) => return Ok(!speaks_tls(&hasty, origin)),
        }
    }
}

fn speaks_tls(transport: &Transport, origin: &Origin) -> bool {
    let tls = Origin { tls: true, ..origin.clone() };
    match transport.send(Request::new(Method::GET, Url::new(tls, "/v2/".to_owned()))) {
        Ok(_) => true,
        // A certificate that is not trusted is still one.
        Err(failure) => matches!(failure, Failure::Final(_)),
    }
}

/// The digest that the answer announces, where it is one of ours.
pub(super) fn announced(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.trim().parse().ok()
}

/// Whether text can be a media type.
pub(super) fn is_type(text: &str) -> bool {
    text.len() < 200 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.+-_!#$&^".contains(&byte))
}
