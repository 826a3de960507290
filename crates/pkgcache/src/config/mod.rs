//! What the proxy is told: which upstreams, for whom, how much; and what a request may ask for.
//!
//! Deliberately absent: flags and the environment, which `cli` turns into this.

pub(crate) mod changes;
mod count;
pub(crate) mod guards;
pub(crate) mod hosts;
pub(crate) mod intercept;
pub(crate) mod listen;
pub(crate) mod mounts;
pub(crate) mod remote;
pub(crate) mod settings;
pub(crate) mod sources;
pub(crate) mod target;
pub(crate) mod ttl;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use http::Uri;
use storekit::Digest;
use toolkit::net::Network;

use crate::config::hosts::Hosts;
use crate::config::intercept::Intercept;
pub use crate::config::listen::Listen;
use crate::config::remote::RemoteConfig;
pub use crate::config::sources::{Mirror, Sources};
use crate::config::ttl::Lifetimes;
use crate::ecosystem::Ecosystem;
use crate::ecosystem::go::sumdb::Sumdb;
pub(crate) use crate::ecosystem::named::DigestInName;
use crate::guards::Guards;
use crate::wire::framing::HeadLimits;
use crate::wire::peer::Peer;

/// Everything that can be set.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Where to listen, where the process was not given sockets.
    pub listen: Listen,
    /// The mode of a socket in the file system; by default, the one that files have here.
    pub socket_mode: Option<u32>,
    /// The upstreams that have a path of their own.
    pub upstreams: Vec<Upstream>,
    /// The registries that are mirrored below `/v2/`, by the names that image references have.
    pub registries: Vec<Registry>,
    /// What may be asked for in the forward mode, and tunnelled to.
    pub forward: Forward,
    /// Where tunnels end here, and what is asked for in them is answered.
    pub intercept: Option<Intercept>,
    /// Whether upstreams may have private addresses (a proxy for a team's own servers).
    pub allow_private: bool,
    /// The proxy through which upstreams are reached.
    pub parent: Option<Uri>,
    /// Never ask an upstream.
    pub offline: bool,
    /// Whether what is stored is what a record names, and nothing else: it is offline then.
    pub replays: bool,
    /// Whether the forward mode guesses a lifetime for answers that name none.
    pub heuristic_freshness: bool,
    /// Whether the cookies of an answer are stored, and handed to all clients that get it.
    pub keep_cookies: bool,
    /// For how long what is asked for elsewhere than below a mount is handed on without a question.
    pub ttl: Lifetimes,
    /// For how long beyond that a stored response stands in for an upstream that fails.
    pub stale_window: Duration,
    /// Which clients may connect from another machine.
    pub clients: Clients,
    /// How much of what.
    pub limits: Limits,
    /// Where the access log goes; `-` is stdout.
    pub access_log: Option<Utf8PathBuf>,
    /// For how long counts stay in events/.
    pub keep_events: Duration,
    /// The bucket that several caches share.
    pub remote: Option<RemoteConfig>,
    /// What is kept from clients, where anything is.
    pub guards: Option<Arc<Guards>>,
}

/// An upstream and the path that it is mounted at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Upstream {
    /// The first segment of the paths below which it is mounted; empty at the root.
    pub name: String,
    /// Where it is.
    pub url: Uri,
    /// Where else its content is, and with which credentials.
    pub sources: Arc<Sources>,
    /// Which kind of package client it serves.
    pub kind: Ecosystem,
    /// The keys that its indexes have to be signed by, where that is checked here.
    pub keyring: Option<Arc<[u8]>>,
    /// The checksum database of Go's modules.
    pub sumdb: Option<Arc<Sumdb>>,
    /// Whether npm gets the upstream's own URLs of tarballs: it replaces their host by itself, and
    /// its lock files stay as they would be without the cache.
    pub keep_links: bool,
    /// Whether redirects are followed here, so that what they lead to is stored.
    pub follow_redirects: bool,
    /// Whether answers to requests with credentials are kept for clients that bring the same.
    pub keep_private: bool,
    /// Whether a lifetime is guessed for answers that name none.
    pub heuristic_freshness: bool,
    /// For how long its indexes, and files without a checksum, are handed on without a question.
    pub ttl: Lifetimes,
    /// Whether only what is stored is served.
    pub read_only: bool,
    /// What becomes of digests in the names of its files.
    pub digest_in_name: DigestInName,
}

/// A registry of container images that is mirrored here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// The host, with a port where it has one, that image references name it by; in lower case.
    pub name: String,
    /// Where it is.
    pub url: Uri,
    /// The server, beside the registry's own, that gives tokens for its users' credentials.
    pub tokens_from: Option<String>,
    /// Whether it has Ollama's models, and no images.
    pub has_models: bool,
    /// For how long its tags and lists are handed on without a question.
    pub ttl: Lifetimes,
    /// Whether only what is stored is served.
    pub read_only: bool,
}

/// What the forward mode may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Servers that may be asked.
    pub hosts: Hosts,
    /// Servers to which CONNECT may open a tunnel.
    pub tunnels: Hosts,
    /// Whether it may to any server: the private one of a command, which could go there itself.
    pub opens_all: bool,
}

/// Which clients may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Networks beside this machine.
    pub networks: Vec<Network>,
    /// The digest of a token that lets any client in.
    pub token: Option<Digest>,
}

/// How much of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request's head.
    pub(crate) head: HeadLimits,
    /// Larger bodies are passed on and not stored, in bytes.
    pub object: u64,
    /// Connections of clients at a time.
    pub connections: usize,
    /// Connections of one client at a time, where that is limited.
    pub client_connections: Option<usize>,
    /// A client's head has to come within this time.
    pub head_time: Duration,
    /// A connection on which the client lets nothing move for so long is closed.
    pub idle: Duration,
    /// A connection to an upstream has to stand within this time.
    pub connect: Duration,
    /// An upstream has to say something within this time.
    pub answer: Duration,
    /// A drain ends what moves nothing for so long.
    pub drain: Duration,
    /// A drain ends what is under way still after so long, though it moves.
    pub drain_moving: Duration,
    /// An upstream that cannot be reached is left alone for so long, at first; at most 60 times
    /// that.
    pub back_off: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: HeadLimits { head: 32 << 10, fields: 100 },
            object: 64 << 30,
            connections: 16_384,
            client_connections: None,
            head_time: Duration::from_secs(20),
            idle: Duration::from_secs(300),
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            drain_moving: Duration::from_secs(300),
            back_off: Duration::from_secs(1),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::local(0),
            socket_mode: None,
            upstreams: Vec::new(),
            registries: Vec::new(),
            forward: Forward::default(),
            intercept: None,
            allow_private: false,
            parent: None,
            offline: false,
            replays: false,
            heuristic_freshness: false,
            keep_cookies: false,
            ttl: Lifetimes::default(),
            stale_window: Duration::from_secs(7 * 86_400),
            clients: Clients::default(),
            limits: Limits::default(),
            access_log: None,
            keep_events: Duration::from_secs(30 * 86_400),
            remote: None,
            guards: None,
        }
    }
}

/// The registry that image references mean where they name none.
pub(crate) const DOCKER: &str = "docker.io";

impl Config {
    /// Why something that is not stored is not asked for, in an answer to a client.
    #[must_use]
    pub(crate) fn unasked(&self) -> &'static str {
        if self.replays {
            "it is not in the record that is replayed"
        } else {
            "the proxy is offline, and this is not stored"
        }
    }

    /// The registry of this name: a closed table, whoever asks.
    #[must_use]
    pub(crate) fn registry(&self, name: &str) -> Option<&Registry> {
        let name = name.to_ascii_lowercase();
        let name = match name.strip_suffix(":443").unwrap_or(&name) {
            "index.docker.io" | "registry-1.docker.io" => DOCKER,
            name => name,
        };
        // A path has no room for a second port in some clients' settings.
        self.registries.iter().find(|it| it.name == name || it.name.replace(':', "_") == name)
    }

    /// The registry that is meant where none is named: by Ollama one of its models, by others one
    /// of images. The only one that there is, is meant by all.
    #[must_use]
    pub fn default_registry(&self, is_ollama: bool) -> Option<&Registry> {
        let mut own = self.registries.iter().filter(|it| it.has_models == is_ollama);
        match (self.registries.as_slice(), own.next(), own.next()) {
            ([only], ..) | (_, Some(only), None) => Some(only),
            _ if is_ollama => None,
            _ => self.registry(DOCKER),
        }
    }

    /// The upstream for a path, and the path below it. The root's is asked last.
    #[must_use]
    pub fn mounted<'a, 'b>(&'a self, path: &'b str) -> Option<(&'a Upstream, &'b str)> {
        let below = |upstream: &Upstream| {
            if upstream.name.is_empty() {
                return Some(path);
            }
            let rest = path.strip_prefix('/')?.strip_prefix(upstream.name.as_str())?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
        };
        let found = self.upstreams.iter().filter_map(|upstream| Some((upstream, below(upstream)?)));
        found.max_by_key(|(upstream, _)| upstream.name.len())
    }
}

impl Registry {
    /// Which kind of client it serves.
    #[must_use]
    pub(crate) fn kind(&self) -> Ecosystem {
        if self.has_models { Ecosystem::Ollama } else { Ecosystem::Oci }
    }
}

impl Clients {
    /// Whether a client may come in without a token. At a socket in the file system, its mode says
    /// who may connect.
    #[must_use]
    pub(crate) fn let_in(&self, peer: &Peer) -> bool {
        peer.ip().is_none_or(|address| self.knows(address))
    }

    /// Whether a client at this address may come in without a token.
    #[must_use]
    pub fn knows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollama_means_the_registry_of_models() {
        let config = |names: &[&str]| {
            let registry = |name: &&str| Registry {
                name: (*name).to_owned(),
                has_models: name.starts_with("models"),
                ..Registry::default()
            };
            Config { registries: names.iter().map(registry).collect(), ..Config::default() }
        };
        for (names, ollamas, others) in [
            (&["models.example"][..], "models.example", "models.example"),
            (&["images.example"], "images.example", "images.example"),
            (&["models.example", "images.example"], "models.example", "images.example"),
            (&["models.example", "a.example", "b.example"], "models.example", ""),
            (&["models.example", "a.example", "docker.io"], "models.example", "docker.io"),
            (&["a.example", "docker.io"], "", "docker.io"),
            (&["models.example", "models2.example", "a.example"], "", "a.example"),
        ] {
            let config = config(names);
            let name = |is_ollama| config.default_registry(is_ollama).map_or("", |it| it.name.as_str());
            assert_eq!((name(true), name(false)), (ollamas, others), "{names:?}");
        }
    }

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, &str)>) {
        let upstream = |name: &str| Upstream {
            name: name.to_owned(),
            url: Uri::from_static("http://a/"),
            ..Upstream::default()
        };
        let config =
            Config { upstreams: vec![upstream(""), upstream("one"), upstream("on")], ..Config::default() };
        let found = config.mounted(path).map(|(upstream, rest)| (upstream.name.as_str(), rest));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn the_name_is_the_first_segment() {
        check("/one/x?y", Some(("one", "/x?y")));
        check("/one", Some(("one", "")));
        check("/on?x", Some(("on", "?x")));
        check("/onex", Some(("", "/onex")));
        check("/", Some(("", "/")));
    }

    #[test]
    fn no_other_client_is_known() {
        let clients = Clients { networks: vec!["10.1.0.0/16".parse().unwrap()], token: None };
        for (address, known) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(clients.knows(address.parse().unwrap()), known, "{address}");
        }
    }
}
