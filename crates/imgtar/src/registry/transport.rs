//! One request, one answer: the only place that knows the HTTP library.
//!
//! Follows no redirect, sends no credentials of its own accord, unpacks nothing. Every wait has a
//! bound.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use toolkit::bucket;
use ureq::config::Config as AgentConfig;
use ureq::http::{HeaderMap, Method};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy, SendBody, Timeout};

use super::proxy::{Named, Proxies};
use super::retry::{self, Failure, Patience, SLOWEST};
use super::url::Url;
use crate::error::Result;
use crate::error::registry::{Error, tame};

/// No answer's head is larger.
const HEAD: usize = 64 << 10;
/// So much is read of the body of an answer that says no.
const SAID: u64 = 8 << 10;
const AGENT: &str = concat!("imgtar/", env!("CARGO_PKG_VERSION"));
/// An answer that takes longer is slow; with TLS, a first one takes several rounds.
const SLOW: Duration = Duration::from_millis(500);
const SLOW_TLS: Duration = Duration::from_secs(1);
const STOPPED: &str = "it stopped answering";

/// A request to a registry.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: RequestBody<'a>,
    /// Whether the answer may take as long as the registry needs to read an upload again.
    pub(crate) settles: bool,
}

/// A request's body.
pub(crate) enum RequestBody<'a> {
    None,
    Bytes(&'a [u8]),
    Stream { from: &'a mut dyn Read, length: Option<u64> },
}

impl Request<'_> {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: Vec::new(), body: RequestBody::None, settles: false }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer, its body not read yet.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where it came from.
    pub(crate) url: Url,
    headers: HeaderMap,
    body: ureq::Body,
    stall: Duration,
}

impl Answer {
    /// A header, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers of the name that are text.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The announced number of bytes.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The body. It must go on: one that stands still, or nearly does, is an error.
    pub(crate) fn into_reader(self) -> impl Read + Send {
        let from = self.body.into_with_config().limit(u64::MAX).reader();
        Paced { from, stall: self.stall, waited: Duration::ZERO, came: 0 }
    }

    /// The body, if it has no more bytes than the cap.
    pub(crate) fn read(self, cap: u64) -> Result<Option<Vec<u8>>, Failure> {
        let url = self.url.shown();
        let mut bytes = Vec::new();
        let read = self.into_reader().take(cap + 1).read_to_end(&mut bytes);
        read.map_err(|error| cut(&url, &error))?;
        Ok((bytes.len() as u64 <= cap).then_some(bytes))
    }

    /// What an answer that says no says, for a message.
    pub(crate) fn said(self) -> String {
        let mut bytes = Vec::new();
        // Half a message is better than none.
        let _ = self.into_reader().take(SAID).read_to_end(&mut bytes);
        tame(&own_words(&bytes).unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The failure that an unexpected answer of a registry is.
    pub(crate) fn failure(self, asked: &str) -> Failure {
        let asked = asked.to_owned();
        self.failure_as(|status, said| Error::Refused { asked, status, said }.into())
    }

    /// The same as this error, made of the status and of what the answer says.
    pub(crate) fn failure_as(self, error: impl FnOnce(u16, String) -> crate::Error) -> Failure {
        let status = self.status;
        let after = self.header("retry-after").and_then(|text| retry::retry_after(text, SystemTime::now()));
        let error = error(status, self.said());
        match status {
            408 | 429 | 500 | 502..=504 | 506..=599 => Failure::Passing { error, after },
            _ => Failure::Final(error),
        }
    }
}

/// The words in the error body that registries are to send, or in that of an object store. All else
/// that such a store says may hold what was signed.
fn own_words(body: &[u8]) -> Option<String> {
    if let Some(text) = std::str::from_utf8(body).ok().filter(|text| text.trim_start().starts_with('<')) {
        let words = ["Code", "Message"].map(|name| bucket::element(text, name).unwrap_or_default());
        return Some(words.join(" "));
    }
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = document.get("errors")?.get(0)?;
    let words =
        ["code", "message"].map(|name| first.get(name).and_then(|word| word.as_str()).unwrap_or_default());
    Some(words.join(" "))
}

/// A connection that broke off, or stands still.
pub(crate) fn cut(url: &str, error: &io::Error) -> Failure {
    let unreachable = |reason| Error::Unreachable { url: url.to_owned(), reason };
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(ureq::Error::Timeout(_)) => Failure::Silent(unreachable(STOPPED.to_owned()).into()),
        _ if error.kind() == io::ErrorKind::TimedOut => {
            Failure::Silent(unreachable(tame(&error.to_string())).into())
        }
        _ => Failure::passing(unreachable(tame(&error.to_string()))),
    }
}

/// How long answers were waited for that were slow, by all that share this.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<AtomicU64>);

impl Waits {
    /// The sum.
    #[must_use]
    pub fn slow(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Counts an answer that took so long: in full, or not at all where a place that is only far
    /// takes that long.
    fn add(&self, took: Duration, tls: bool) {
        if took > if tls { SLOW_TLS } else { SLOW } {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.0.fetch_add(millis, Ordering::Relaxed);
        }
    }
}

/// Makes connections and keeps them.
pub(crate) struct Transport {
    agent: Agent,
    waits: Waits,
    config: AgentConfig,
    proxies: Proxies,
    patience: Patience,
}

impl Transport {
    /// `roots`: the certificates that are trusted, DER.
    pub(crate) fn new(roots: &[Vec<u8>], proxies: &Proxies, patience: Patience, waits: &Waits) -> Self {
        let roots: Vec<_> = roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(HEAD)
            .user_agent(AGENT)
            .accept("")
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_send_request(Some(patience.stall))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .timeout_per_write(Some(patience.stall))
            .max_idle_connections_per_host(16)
            .build();
        let agent = Agent::new_with_config(config.clone());
        Self { agent, waits: waits.clone(), config, proxies: proxies.clone(), patience }
    }

    /// Sends it. An answer of whatever status is one; where there is none, that may be passing. A
    /// place that is not waited for long is not asked any more once its slow answers together took
    /// as long.
    pub(crate) fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let Request { method, url, headers, body, settles } = request;
        let text = url.to_string();
        let named = self.proxies.serve(url.origin());
        let proxy = named.map(Named::parse).transpose()?;
        let mut builder = ureq::http::Request::builder().method(method).uri(&text);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let RequestBody::Stream { length: Some(length), .. } = &body {
            builder = builder.header("content-length", length.to_string());
        }
        let shown = url.shown();
        if !self.patience.insists && self.waits.slow() >= self.patience.total {
            let reason = "it answers too slowly".to_owned();
            return Err(Failure::Silent(Error::Unreachable { url: shown, reason }.into()));
        }
        // How long an upload takes says nothing.
        let counts = !settles && !matches!(body, RequestBody::Stream { .. });
        let begun = Instant::now();
        let answer = match body {
            RequestBody::None => self.run(builder.body(()), proxy, settles),
            RequestBody::Bytes(bytes) => self.run(builder.body(bytes), proxy, settles),
            RequestBody::Stream { from, .. } => {
                self.run(builder.body(SendBody::from_reader(from)), proxy, settles)
            }
        };
        if counts {
            self.waits.add(begun.elapsed(), url.origin().tls);
        }
        let (parts, body) = answer.map_err(|error| failure(&shown, named, error))?.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            url,
            headers: parts.headers,
            body,
            stall: self.patience.stall,
        })
    }

    fn run(
        &self,
        request: Result<ureq::http::Request<impl ureq::AsSendBody>, ureq::http::Error>,
        proxy: Option<Proxy>,
        settles: bool,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let answer = if settles { self.patience.settle } else { self.patience.stall };
        let configured = self.agent.configure_request(request?).proxy(proxy);
        let configured = configured.timeout_recv_response(Some(answer)).timeout_per_read(Some(answer));
        self.agent.run(configured.build())
    }

    /// One like this that has no open connections and gives up on silence after so long.
    pub(crate) fn hasty(&self, stall: Duration) -> Self {
        let patience =
            Patience { stall, settle: stall, connect: self.patience.connect.min(stall), ..self.patience };
        let agent = Agent::new_with_config(self.config.clone());
        let (waits, config, proxies) = (self.waits.clone(), self.config.clone(), self.proxies.clone());
        Self { agent, waits, config, proxies, patience }
    }
}

/// What a request that got no answer failed of. An error of ours that came up from its body is
/// itself.
fn failure(url: &str, proxy: Option<&Named>, error: ureq::Error) -> Failure {
    let through = proxy.map(Named::told).unwrap_or_default();
    let unreachable =
        |reason: String| Error::Unreachable { url: url.to_owned(), reason: tame(&(reason + &through)) };
    match error {
        ureq::Error::Io(error) => match crate::error::unwrap_inner(error) {
            Ok(own) => Failure::Final(own),
            Err(error) if tls(&error).is_some() => {
                Failure::Final(unreachable(tls(&error).unwrap_or_default()).into())
            }
            // Such as a proxy's word on a password.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Failure::Final(unreachable(error.to_string()).into())
            }
            Err(error) if is_absent(error.kind()) => Failure::Absent(unreachable(error.to_string()).into()),
            Err(error) => Failure::passing(unreachable(error.to_string())),
        },
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Failure::Silent(unreachable("no connection came about in time".to_owned()).into())
        }
        ureq::Error::Timeout(_) => Failure::Silent(unreachable(STOPPED.to_owned()).into()),
        error @ (ureq::Error::HostNotFound
        | ureq::Error::LargeResponseHeader(..)
        | ureq::Error::BadUri(_)) => Failure::Final(unreachable(error.to_string()).into()),
        error => Failure::passing(unreachable(error.to_string())),
    }
}

/// What is wrong with the TLS of the other side, where that is what failed.
fn tls(error: &io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => Some(
            "its certificate is not trusted: it is not signed by an authority that this machine trusts"
                .to_owned(),
        ),
        rustls::Error::InvalidCertificate(why) => Some(format!("its certificate is not trusted: {why}")),
        rustls::Error::InvalidMessage(_) => {
            Some("it does not speak TLS; `--plain-http` talks to it without encryption".to_owned())
        }
        _ => None,
    }
}

fn is_absent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// Reads on only while enough comes. Time that the reader takes for itself does not count.
struct Paced<R> {
    from: R,
    stall: Duration,
    waited: Duration,
    came: u64,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let asked = Instant::now();
        let count = self.from.read(buffer)?;
        self.came += count as u64;
        self.waited += asked.elapsed();
        if self.waited > self.stall {
            if self.came < SLOWEST && count > 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its answer comes too slowly"));
            }
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_answers_count_and_in_full() {
        let waits = Waits::default();
        waits.add(Duration::from_millis(400), false);
        waits.add(Duration::from_millis(900), true);
        assert_eq!(waits.slow(), Duration::ZERO);
        waits.add(Duration::from_millis(900), false);
        waits.clone().add(Duration::from_millis(1100), true);
        assert_eq!(waits.slow(), Duration::from_secs(2));
    }

    #[test]
    fn only_the_words_of_a_refusal_are_told() {
        let json = br#"{"errors":[{"code":"DENIED","message":"no","detail":"x"}]}"#;
        assert_eq!(own_words(json).unwrap(), "DENIED no");
        let xml =
            b"<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>not so</Message>\
                    <AWSAccessKeyId>AK</AWSAccessKeyId><StringToSign>secret</StringToSign></Error>";
        assert_eq!(own_words(xml).unwrap(), "SignatureDoesNotMatch not so");
        assert_eq!(own_words(b"<html><b>signed</b></html>").unwrap().trim(), "");
        assert_eq!(own_words(b"plain words"), None);
    }
}
