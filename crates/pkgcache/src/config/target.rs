//! What a request asks for: which upstream, which URL, and whether that may be asked at all.
//!
//! Source: RFC 9112, 3.2; RFC 3986, 2.4 and 5.2.4.

use std::sync::Arc;

use http::{Uri, uri::PathAndQuery};
use storekit::Checksum;

use crate::config::hosts::is_address;
use crate::config::ttl::Lifetimes;
use crate::config::{Config, DOCKER, DigestInName, Sources, Upstream};
use crate::ecosystem::go::sumdb::Sumdb;
use crate::ecosystem::lfs::Action;
use crate::ecosystem::path::canonical;
use crate::ecosystem::{Class, Ecosystem, apt, dnf, named, npm, oci, python};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(crate) struct Target {
    /// The name of the upstream, or the host of the forward mode.
    pub(crate) source: String,
    /// The URL, with scheme and host.
    pub(crate) url: Uri,
    /// Whether private addresses will do.
    pub(crate) private: bool,
    /// Whether redirects are followed here.
    pub(crate) follow_redirects: bool,
    /// Whether answers to credentials are kept for clients that bring the same.
    pub(crate) keep_private: bool,
    /// Whether a lifetime is guessed for answers that name none.
    pub(crate) heuristic: bool,
    /// Whether cookies are stored, for all.
    pub(crate) keep_cookies: bool,
    /// Which kind of client asks.
    pub(crate) kind: Ecosystem,
    /// The path that was asked for below the upstream's own URL, as it was sent; the whole path
    /// where none is mounted.
    pub(crate) below: String,
    /// The upstream's own URL, where one is mounted, or is known, that has this kind.
    pub(crate) upstream: Uri,
    /// Where else what is below that can be had.
    pub(crate) sources: Arc<Sources>,
    /// The keys that the indexes have to be signed by, where that is checked.
    pub(crate) keyring: Option<Arc<[u8]>>,
    /// The checksum database of Go's modules.
    pub(crate) sumdb: Option<Arc<Sumdb>>,
    /// Whether npm gets the upstream's own URLs of tarballs.
    pub(crate) keep_links: bool,
    /// For how long what it gives is handed on without a question.
    pub(crate) ttl: Lifetimes,
    /// The server, beside its own, that may be sent credentials for a token.
    pub(crate) tokens_from: Option<String>,
    /// The name of the mount below which it was asked for; empty at the root, `None` in the forward
    /// mode.
    pub(crate) mount: Option<String>,
    /// Whether no upstream is asked for it.
    pub(crate) read_only: bool,
    /// What the body has to be, where the address says so: `/sha256/HEX/NAME/PATH`. Boxed, since
    /// few have one.
    pub(crate) promised: Option<Box<Checksum>>,
    /// What becomes of a digest in its name; of no use where it has none.
    pub(crate) digest_in_name: Option<DigestInName>,
    /// Where its bytes are asked for in the place of its URL, by a client that may have them.
    pub(crate) action: Option<Arc<Action>>,
}

impl Target {
    /// Whether the URL is below the upstream's own: not a file that an index names elsewhere.
    #[must_use]
    pub(crate) fn is_below_upstream(&self) -> bool {
        path_below(&self.upstream, &self.url).is_some()
    }
}

/// Why a request is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// It means nothing.
    Malformed(&'static str),
    /// It may not be asked for.
    Forbidden(String),
    /// Nothing is mounted there.
    Unknown,
}

/// The target of a request that is not a CONNECT.
///
/// # Errors
/// [`NoTarget`].
pub(crate) fn target(config: &Config, uri: &Uri) -> Result<Target, NoTarget> {
    target_for(config, uri, false)
}

/// The same, of a client that is Ollama, or is not: that one means another registry where it names
/// none.
///
/// # Errors
/// [`NoTarget`].
pub(crate) fn target_for(config: &Config, uri: &Uri, is_ollama: bool) -> Result<Target, NoTarget> {
    let without = without_dots(uri);
    let uri = without.as_ref().unwrap_or(uri);
    check_path(uri.path())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => forward(config, uri, host),
        (Some(_), _) => Err(NoTarget::Malformed("only `http` URLs can be asked for in the forward mode")),
        (None, _) if uri.path().starts_with('/') => reverse(config, uri, is_ollama),
        (None, _) => Err(NoTarget::Malformed("the target is not a path or a URL")),
    }
}

fn forward(config: &Config, uri: &Uri, host: &str) -> Result<Target, NoTarget> {
    let is_secure = uri.scheme_str() == Some("https");
    let usual = if is_secure { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(usual);
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(NoTarget::Malformed("credentials in a URL"));
    }
    let url = normal(uri).ok_or(NoTarget::Malformed("the URL is not valid here"))?;
    // What can be had by a mount is to be had by its own address, too.
    let is_allowed = may_reach(config, uri);
    if is_secure && !is_allowed {
        return Err(NoTarget::Malformed(
            "`https` URLs can be asked for in the forward mode where their host is intercepted",
        ));
    }
    let mounted = mounted_at(config, &url, is_allowed);
    let is_mounted = mounted.is_some();
    if !is_mounted && !is_allowed {
        return Err(NoTarget::Forbidden(format!("`{host}:{port}` is not in `allow` of [pkgcache]")));
    }
    let known = mounted.unwrap_or_else(|| by_looks(config, &url));
    Ok(Target {
        source: if port == usual { host.to_owned() } else { format!("{host}:{port}") },
        keep_links: false,
        keyring: known.keyring,
        sumdb: known.sumdb,
        ttl: known.ttl,
        read_only: known.read_only,
        keep_private: known.kind != Ecosystem::Generic,
        follow_redirects: known.kind != Ecosystem::Generic,
        kind: known.kind,
        below: known.below,
        upstream: known.upstream,
        sources: known.sources,
        tokens_from: known.tokens_from,
        url,
        private: config.allow_private
            || is_named_address(config, is_secure, (host, port))
            || (is_mounted && is_address(host)),
        heuristic: config.heuristic_freshness,
        keep_cookies: config.keep_cookies,
        ..Target::default()
    })
}

/// Whether a rule names the address itself, so that its author knows where it is.
fn is_named_address(config: &Config, is_secure: bool, (host, port): (&str, u16)) -> bool {
    match &config.intercept {
        Some(intercept) if is_secure => intercept.names_address(host, port),
        _ => config.forward.hosts.name_address(host, port),
    }
}

/// What is known of a URL of the forward mode.
struct Known {
    kind: Ecosystem,
    below: String,
    upstream: Uri,
    sources: Arc<Sources>,
    keyring: Option<Arc<[u8]>>,
    sumdb: Option<Arc<Sumdb>>,
    ttl: Lifetimes,
    tokens_from: Option<String>,
    read_only: bool,
}

/// A URL below an upstream that is mounted is of its kind, and what is pulled from a registry of
/// that registry. How a client brings its credentials there, the registry itself says, if clients
/// may reach it for other things: they may push.
fn mounted_at(config: &Config, url: &Uri, is_allowed: bool) -> Option<Known> {
    let upstreams = config.upstreams.iter().filter_map(|it| {
        let (below, upstream, keyring) = (path_below(&it.url, url)?, it.url.clone(), it.keyring.clone());
        let (sources, sumdb, ttl) = (Arc::clone(&it.sources), it.sumdb.clone(), it.ttl);
        let (kind, tokens_from, read_only) = (it.kind, None, it.read_only);
        Some(Known { kind, below, upstream, sources, keyring, sumdb, ttl, tokens_from, read_only })
    });
    let registries = config.registries.iter().filter_map(|it| {
        let greets = |path: &str| matches!(path.trim_end_matches('/'), "/v2" | "/v2/token") && !is_allowed;
        let below = path_below(&it.url, url).filter(|path| oci::parse(path).is_some() || greets(path))?;
        let (upstream, tokens_from) = (it.url.clone(), it.tokens_from.clone());
        let (kind, sources, ttl, read_only) = (it.kind(), Arc::default(), it.ttl, it.read_only);
        let (keyring, sumdb) = (None, None);
        Some(Known { kind, below, upstream, sources, keyring, sumdb, ttl, tokens_from, read_only })
    });
    upstreams.chain(registries).max_by_key(|it| it.upstream.path().len())
}

/// A URL that looks like a file of a Debian or RPM repository is taken for one, and where an index
/// of Python is mounted, one that looks like a file of such an index: these lie on other servers.
fn by_looks(config: &Config, url: &Uri) -> Known {
    let (path, tokens_from, keyring, sumdb) = (url.path(), None, None, None);
    if let Some(index) = config.upstreams.iter().find(|it| it.kind == Ecosystem::Python)
        && let Some(below) = python::mounted_file(url)
    {
        let (kind, upstream) = (Ecosystem::Python, index.url.clone());
        let (sources, ttl, read_only) = (Arc::default(), index.ttl, index.read_only);
        return Known { kind, below, upstream, sources, keyring, sumdb, ttl, tokens_from, read_only };
    }
    let kind = match () {
        () if apt::is_likely(path) => Ecosystem::Apt,
        () if dnf::is_likely(path) => Ecosystem::Dnf,
        () => Ecosystem::Generic,
    };
    let root =
        format!("{}://{}/", url.scheme_str().unwrap_or("http"), url.authority().map_or("", |it| it.as_str()));
    let (below, upstream) = (path.to_owned(), root.parse().unwrap_or_default());
    let (sources, ttl, read_only) = (Arc::default(), config.ttl, false);
    Known { kind, below, upstream, sources, keyring, sumdb, ttl, tokens_from, read_only }
}

/// The path of a URL below another one, if it lies there.
pub(crate) fn path_below(upstream: &Uri, url: &Uri) -> Option<String> {
    let base = normal(upstream)?;
    let same = base.scheme() == url.scheme() && base.authority() == url.authority();
    let rest = url.path().strip_prefix(base.path().trim_end_matches('/')).filter(|_| same)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| path_of(rest))
}

/// The path without its query, with a `/` at its beginning.
fn path_of(rest: &str) -> String {
    let path = rest.split('?').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn reverse(config: &Config, uri: &Uri, is_ollama: bool) -> Result<Target, NoTarget> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if let Some(rest) = registry_path(config, uri) {
        return registry(config, uri, rest, is_ollama);
    }
    let (promised, path) = promise(config, path)?;
    let mounted = config.mounted(path).or_else(|| tarball_without_mount(config, path));
    let (upstream, rest) = mounted.ok_or(NoTarget::Unknown)?;
    let url = below(upstream, rest).ok_or(NoTarget::Malformed("the path is not valid here"))?;
    let host = upstream.url.host().unwrap_or_default();
    Ok(Target {
        source: if upstream.name.is_empty() { host.to_owned() } else { upstream.name.clone() },
        url,
        private: config.allow_private || is_address(host),
        follow_redirects: upstream.follow_redirects
            || upstream.kind != Ecosystem::Generic
            || promised.is_some(),
        keep_private: upstream.keep_private || upstream.kind != Ecosystem::Generic,
        heuristic: upstream.heuristic_freshness,
        keep_cookies: config.keep_cookies,
        kind: upstream.kind,
        below: path_of(rest),
        upstream: upstream.url.clone(),
        sources: Arc::clone(&upstream.sources),
        keep_links: upstream.keep_links,
        keyring: upstream.keyring.clone(),
        sumdb: upstream.sumdb.clone(),
        ttl: upstream.ttl,
        read_only: upstream.read_only,
        tokens_from: None,
        mount: Some(upstream.name.clone()),
        promised: promised.map(Box::new),
        digest_in_name: in_name(upstream.kind, upstream.digest_in_name, rest),
        action: None,
    })
}

/// What becomes of the digest in the path of a plain file.
fn in_name(kind: Ecosystem, set: DigestInName, path: &str) -> Option<DigestInName> {
    let counts = kind == Ecosystem::Generic && set != DigestInName::Ignore;
    (counts && named::digests(&path_of(path)).next().is_some()).then_some(set)
}

/// A tarball's path that npm asks for without that of its registry: so it does with the upstream's
/// own URLs (`keep-links`) where it installs by a lock file that has no addresses
/// (`omit-lockfile-registry-resolved`).
fn tarball_without_mount<'c, 'p>(config: &'c Config, path: &'p str) -> Option<(&'c Upstream, &'p str)> {
    let mount = config.upstreams.iter().find(|it| it.kind == Ecosystem::Npm && it.keep_links)?;
    let is_tarball = npm::ask(path, None).class == Class::Artifact;
    is_tarball.then_some((mount, path))
}

/// What the body of `/sha256/HEX/NAME/PATH`, or the same with `sha512`, has to be, and the path
/// behind that. A mount of that name keeps its paths.
fn promise<'p>(config: &Config, path: &'p str) -> Result<(Option<Checksum>, &'p str), NoTarget> {
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let Some((algorithm, rest)) = parts.filter(|(it, _)| matches!(*it, "sha256" | "sha512")) else {
        return Ok((None, path));
    };
    if config.upstreams.iter().any(|upstream| upstream.name == algorithm) {
        return Ok((None, path));
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (hex, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let checksum = Checksum::from_hex(algorithm, hex)
        .ok_or(NoTarget::Malformed("what stands behind the algorithm is not a checksum in hex"))?;
    Ok((Some(checksum), behind))
}

/// Whether the URL is one of the forward mode, of a server that clients may reach for whatever they
/// like.
#[must_use]
pub(crate) fn may_reach(config: &Config, uri: &Uri) -> bool {
    let Some(host) = uri.host() else { return false };
    match uri.scheme_str() {
        Some("https") => {
            let port = uri.port_u16().unwrap_or(443);
            config.intercept.as_ref().is_some_and(|it| it.covers(host, port))
        }
        _ => config.forward.hosts.allow(host, uri.port_u16().unwrap_or(80)),
    }
}

/// The path below `/v2/`, where registries are mirrored there.
pub(crate) fn registry_path<'a>(config: &Config, uri: &'a Uri) -> Option<&'a str> {
    let taken = config.upstreams.iter().any(|upstream| upstream.name == "v2");
    if config.registries.is_empty() || taken {
        return None;
    }
    let rest = uri.path().strip_prefix("/v2")?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

/// A path of a registry: which one, `ns` says, else the first part of the path, if a registry has
/// that name; else it is the default one.
fn registry(config: &Config, uri: &Uri, rest: &str, is_ollama: bool) -> Result<Target, NoTarget> {
    let query = uri.query().unwrap_or_default();
    let mut others = Vec::new();
    let mut named = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("ns=") {
            Some(name) => named = Some(canonical(name)),
            None => others.push(pair),
        }
    }
    let unknown = |name: &str| {
        let name = storekit::printable(name).to_string();
        NoTarget::Forbidden(format!("the registry `{name}` is not one that is mirrored here"))
    };
    let first = rest.split_once('/').map(|(first, behind)| (canonical(first), behind));
    let (found, name) = match (&named, &first) {
        (Some(named), _) => (config.registry(named).ok_or_else(|| unknown(named))?, rest),
        (None, Some((first, behind))) if config.registry(first).is_some() => {
            (config.registry(first).ok_or_else(|| unknown(first))?, *behind)
        }
        // The greeting and the tokens of clients are the same for all.
        (None, None) if matches!(rest, "" | "token") => {
            (config.registries.first().ok_or_else(|| unknown(DOCKER))?, rest)
        }
        (None, _) => (config.default_registry(is_ollama).ok_or_else(|| unknown(DOCKER))?, rest),
    };
    // docker.io's own images are found below `library/`.
    let short = name.split("/manifests/").next().filter(|it| *it != name);
    let short = short.or_else(|| name.split("/blobs/").next().filter(|it| *it != name));
    let short = short.or_else(|| name.strip_suffix("/tags/list"));
    let library = found.name == DOCKER && short.is_some_and(|it| !it.contains('/'));
    let below = format!("/v2/{}{name}", if library { "library/" } else { "" });
    let question = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    let text = format!("{}{below}{question}", found.url.to_string().trim_end_matches('/'));
    let url = text.parse().ok().and_then(|url| normal(&url));
    let host = found.url.host().unwrap_or_default();
    Ok(Target {
        source: found.name.clone(),
        url: url.ok_or(NoTarget::Malformed("the path is not valid here"))?,
        private: config.allow_private || is_address(host),
        follow_redirects: true,
        keep_private: true,
        kind: found.kind(),
        below,
        upstream: found.url.clone(),
        tokens_from: found.tokens_from.clone(),
        ttl: found.ttl,
        read_only: found.read_only,
        ..Target::default()
    })
}

/// The URL of a path below an upstream.
fn below(upstream: &Upstream, rest: &str) -> Option<Uri> {
    let base = upstream.url.path().trim_end_matches('/');
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let text = format!("{}://{}{base}{slash}{rest}", upstream.url.scheme_str()?, upstream.url.authority()?);
    normal(&text.parse().ok()?)
}

/// The URL with its host in lower case and without a port that goes without saying, so that it has
/// one key.
pub(crate) fn normal(uri: &Uri) -> Option<Uri> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.host()?.to_ascii_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = uri.port_u16().filter(|port| *port != usual).map_or(String::new(), |port| format!(":{port}"));
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{host}{port}{slash}{path}").parse().ok()
}

/// The URL as requests for it are taken: without dots that lead nowhere, then as [`normal`].
pub(crate) fn plain(uri: &Uri) -> Option<Uri> {
    normal(without_dots(uri).as_ref().unwrap_or(uri))
}

/// The URL without parts of its path that are `.`, which lead nowhere (RFC 3986, 5.2.4): apt asks
/// so for what lies in a flat repository. `None` where there are none.
fn without_dots(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str();
    let (path, query) = path.split_at_checked(path.find('?').unwrap_or(path.len()))?;
    if !path.contains("/./") {
        return None;
    }
    let mut parts: Vec<_> = path.split('/').collect();
    let last = parts.pop()?;
    parts.retain(|part| *part != ".");
    parts.push(last);
    let mut split = uri.clone().into_parts();
    split.path_and_query = Some(format!("{}{query}", parts.join("/")).parse().ok()?);
    Uri::from_parts(split).ok()
}

/// Refuses paths that a server behind might take for others than they look.
fn check_path(path: &str) -> Result<(), NoTarget> {
    let plain = decoded(path.as_bytes()).ok_or(NoTarget::Malformed("a percent sign that escapes nothing"))?;
    if plain.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
        return Err(NoTarget::Malformed("a path with a control character or a backslash"));
    }
    let mut segments = plain.split(|byte| *byte == b'/');
    // To some servers, what is behind a semicolon is not a part of the name.
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().map(<[u8]>::to_vec);
    if segments.any(|segment| matches!(name(segment).as_deref(), Some(b".." | b"."))) {
        return Err(NoTarget::Malformed("a path with `.` or `..`"));
    }
    Ok(())
}

/// The bytes behind the escapes, decoded once.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { digit(rest.next()?)? << 4 | digit(rest.next()?)? } else { byte });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Registry;

    fn config() -> Config {
        let upstream = |name: &str, url: &'static str| Upstream {
            name: name.to_owned(),
            url: Uri::from_static(url),
            ..Upstream::default()
        };
        let mut config = Config {
            upstreams: vec![
                upstream("a", "https://Files.example:443/base/"),
                upstream("l", "http://127.0.0.1:8000"),
            ],
            ..Config::default()
        };
        config.forward.hosts.0 = vec!["*.example".parse().unwrap(), "10.0.0.1:8000".parse().unwrap()];
        config
    }

    #[track_caller]
    fn leads(text: &str, source: &str, url: &str, private: bool) {
        let found = target(&config(), &text.parse().unwrap()).unwrap();
        assert_eq!(
            (found.source.as_str(), found.url.to_string().as_str(), found.private),
            (source, url, private)
        );
    }

    #[track_caller]
    fn refused(text: &str) {
        let Ok(uri) = text.parse() else { return };
        assert!(target(&config(), &uri).is_err(), "{text} was taken");
    }

    #[test]
    fn a_dot_in_a_path_leads_nowhere() {
        let plain = |text: &str| without_dots(&text.parse().unwrap()).map(|it| it.to_string());
        assert_eq!(plain("http://a/x/./y/././z?q=/./").as_deref(), Some("http://a/x/y/z?q=/./"));
        assert_eq!(plain("/./x").as_deref(), Some("/x"));
        for text in ["/x/..", "/x/.", "/x.y", "http://a/?/./"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn paths_lead_to_mounted_upstreams() {
        leads("/a/x?y=%2F", "a", "https://files.example/base/x?y=%2F", false);
        leads("/a", "a", "https://files.example/base/", false);
        leads("/l/x", "l", "http://127.0.0.1:8000/x", true);
    }

    #[test]
    fn urls_lead_to_allowed_hosts() {
        leads("http://One.Example:80/x", "One.Example", "http://one.example/x", false);
        leads("http://10.0.0.1:8000", "10.0.0.1:8000", "http://10.0.0.1:8000/", true);
        refused("http://other.test/");
        refused("http://one.example:22/");
        refused("http://user@one.example/");
        refused("https://one.example/");
        refused("ftp://one.example/");
    }

    #[test]
    fn a_registry_is_known_by_its_own_urls() {
        let registry = Registry {
            name: "r.example".to_owned(),
            url: Uri::from_static("http://127.0.0.1:5000"),
            tokens_from: Some("auth.example".to_owned()),
            ..Registry::default()
        };
        let config = Config { registries: vec![registry], ..Config::default() };
        let found = |text: &str| target(&config, &text.parse().unwrap());
        let forward = found("http://127.0.0.1:5000/v2/team/app/tags/list").unwrap();
        let mirrored = found("/v2/team/app/tags/list").unwrap();
        let same = |it: &Target| {
            let (url, tokens) = (it.url.clone(), it.tokens_from.clone());
            (it.kind, url, it.below.clone(), it.upstream.clone(), tokens, it.private, it.keep_private)
        };
        assert_eq!(same(&forward), same(&mirrored));
        assert_eq!(forward.tokens_from.as_deref(), Some("auth.example"));
        // Nothing else of its host is.
        for other in ["http://127.0.0.1:5000/v1/x", "http://127.0.0.1:5000/v2/x", "http://127.0.0.1/v2/"] {
            assert!(found(other).is_err(), "{other} was taken");
        }
    }

    #[test]
    fn paths_that_could_mean_another_are_refused() {
        for path in [
            "/b/x",
            "*",
            "/a/../x",
            "/a/%2e%2E/x",
            "/a/.%2e",
            "/a/%2e/x",
            "/a/x%00",
            "/a/x%0d%0ay",
            "/a/x%5cy",
            "/a/%",
            "/a/%zz",
            "/a/%2",
            "/a/..%2fx",
            "/a/..;/x",
            "/a/%2e%2e;y=z/x",
        ] {
            refused(path);
        }
        leads("/a/x..y/...", "a", "https://files.example/base/x..y/...", false);
        leads("/a/%252e%252e/x", "a", "https://files.example/base/%252e%252e/x", false);
    }
}
