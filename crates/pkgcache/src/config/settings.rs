//! The configuration from flags, variables and larder.toml's table `[pkgcache]`, in this order.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use http::Uri;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use storekit::{Age, ByteSize, Digest, WrittenSize};
use toolkit::amount::Setting;
use toolkit::net::without_credentials;
use toolkit::settings::Settings;

use crate::config::hosts::{HostRule, Hosts};
use crate::config::ttl::{Lifetimes, Ttl};
use crate::config::{Clients, Config, DOCKER, Forward, Limits, Registry, Upstream};
use crate::ecosystem::Ecosystem;
use crate::error::Error;

/// What can be said in larder.toml and by flags; what is absent is left to the next in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    rename_all = "kebab-case",
    expecting = "settings, such as `listen = \"127.0.0.1:3144\"`"
)]
pub struct Options {
    /// Where to listen.
    pub listen: Option<String>,
    /// Mounted upstreams, by name; `/` is the root.
    pub upstream: BTreeMap<String, Mount>,
    /// Registries of container images that are mirrored, by name.
    pub registry: BTreeMap<String, RegistryMount>,
    /// Hosts that the forward mode may ask.
    pub allow: Option<Vec<String>>,
    /// Hosts to which tunnels may go.
    pub tunnel: Option<Vec<String>>,
    /// Whether upstreams may have private addresses.
    pub allow_private: Option<bool>,
    /// The proxy through which upstreams are reached.
    pub parent: Option<String>,
    /// Never ask an upstream.
    pub offline: Option<bool>,
    /// Whether a lifetime is guessed for answers that name none.
    pub heuristic_freshness: Option<bool>,
    /// Whether the cookies of an answer are stored, and handed to all clients that get it.
    pub keep_cookies: Option<bool>,
    /// For how long what clients get is handed on without asking its upstream, by class.
    pub ttl: Ttl,
    /// The same for an index, by a shorter name.
    pub index_ttl: Option<Age>,
    /// For how long beyond that a stored response stands in for an upstream that fails.
    pub stale_window: Option<Age>,
    /// Whether other machines may connect.
    pub allow_remote: Option<bool>,
    /// Networks from which they may.
    pub clients: Option<Vec<String>>,
    /// A file with a token that lets any client in.
    pub token_file: Option<Utf8PathBuf>,
    /// Larger bodies are not stored.
    pub max_object: Option<ByteSize>,
    /// Connections of clients at a time.
    #[serde(deserialize_with = "connections")]
    pub max_connections: Option<usize>,
    /// A client's head has to come within this time.
    pub head_time: Option<Age>,
    /// A connection on which the client lets nothing move for so long is closed.
    pub idle_time: Option<Age>,
    /// An upstream has to say something within this time.
    pub answer_time: Option<Age>,
    /// A drain ends what moves nothing for so long.
    pub drain_time: Option<Age>,
    /// A file for the access log.
    pub access_log: Option<Utf8PathBuf>,
    /// For how long the counts by the minute are kept.
    pub keep_events: Option<Age>,
    /// How much may be stored: gcctl's to see to.
    pub max_size: Option<Setting<WrittenSize>>,
    /// For how long it may be unused: gcctl's to see to.
    pub max_age: Option<Setting<Age>>,
    /// The same for models: gcctl's to see to.
    pub models_max_age: Option<Setting<Age>>,
}

/// An upstream in larder.toml: its URL, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// The upstream's URL, without other settings.
    Url(String),
    /// With more.
    Table(MountTable),
}

/// A registry in larder.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    rename_all = "kebab-case",
    expecting = "a table such as `{ url = \"https://example.org\" }`"
)]
pub struct RegistryMount {
    /// Where it is; by default, `https://` and its name.
    pub url: Option<String>,
    /// What it has: images (`oci`, the default) or Ollama's models (`ollama`).
    pub kind: Option<Ecosystem>,
    /// The server, beside the registry's own, that may be sent its users' credentials for a token.
    pub tokens_from: Option<String>,
    /// For how long its tags and lists are handed on without a question.
    pub ttl: Ttl,
}

/// An upstream's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountTable {
    /// Where it is.
    pub url: String,
    /// Which kind of package client it serves.
    #[serde(default)]
    pub kind: Ecosystem,
    /// The file with the keys that its indexes have to be signed by.
    pub keyring: Option<Utf8PathBuf>,
    /// Whether npm gets the upstream's own URLs of tarballs.
    #[serde(default)]
    pub keep_links: bool,
    /// Whether redirects are followed here.
    #[serde(default)]
    pub follow_redirects: bool,
    /// Whether answers to credentials are kept for clients that bring the same.
    #[serde(default)]
    pub keep_private: bool,
    /// Whether a lifetime is guessed for answers that name none.
    pub heuristic_freshness: Option<bool>,
    /// For how long what clients get is handed on without a question, by class.
    #[serde(default)]
    pub ttl: Ttl,
}

impl<'de> Deserialize<'de> for Mount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Mount;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a URL, or a table such as `{ url = \"https://example.org\" }`")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<Mount, E> {
                Ok(Mount::Url(url.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Mount, A::Error> {
                MountTable::deserialize(MapAccessDeserializer::new(table)).map(Mount::Table)
            }
        }

        from.deserialize_any(Either)
    }
}

/// A number of connections.
fn connections<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    struct Count;

    impl Visitor<'_> for Count {
        type Value = usize;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a number of connections: write a whole number, 1 or more")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<usize, E> {
            usize::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
        }
    }

    from.deserialize_any(Count).map(Some)
}

/// The port where nothing else is said.
const LISTEN: &str = "127.0.0.1:3144";

impl Options {
    /// What the table and the variables say.
    ///
    /// # Errors
    /// A table or a variable that says something wrong.
    pub fn load(settings: &Settings) -> miette::Result<Self> {
        let table: Self = settings.table("pkgcache")?;
        let get = |name: &str| settings.environment().get(&format!("LARDER_PKGCACHE_{name}"));
        let words = |name: &str| get(name).map(|text| text.split_whitespace().map(str::to_owned).collect());
        let flag = |name: &str| -> miette::Result<Option<bool>> {
            let parsed = get(name).map(str::parse).transpose().into_diagnostic();
            parsed.wrap_err_with(|| format!("LARDER_PKGCACHE_{name} is neither `true` nor `false`"))
        };
        let mut variables = Self {
            listen: get("LISTEN").map(str::to_owned),
            allow: words("ALLOW"),
            tunnel: words("TUNNEL"),
            parent: get("PARENT").map(str::to_owned),
            offline: flag("OFFLINE")?,
            allow_private: flag("ALLOW_PRIVATE")?,
            token_file: get("TOKEN_FILE").map(Into::into),
            ..Self::default()
        };
        variables.mount(get("UPSTREAM").unwrap_or_default().split_whitespace())?;
        Ok(variables.or(table))
    }

    /// Adds upstreams from `NAME=URL`.
    ///
    /// # Errors
    /// What is not that.
    pub fn mount<'a>(&mut self, mounts: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        for text in mounts {
            let wrong =
                || Error::NotAnUpstream { text: without_credentials(text), reason: "there is no `=`" };
            let (name, url) = text.split_once('=').ok_or_else(wrong)?;
            self.upstream.insert(name.to_owned(), Mount::Url(url.to_owned()));
        }
        Ok(())
    }

    /// Adds registries from `NAME` or `NAME=URL`.
    pub fn mirror<'a>(&mut self, registries: impl IntoIterator<Item = &'a str>) {
        for text in registries {
            let (name, url) = text.split_once('=').map_or((text, None), |(name, url)| (name, Some(url)));
            let mount = RegistryMount { url: url.map(str::to_owned), ..RegistryMount::default() };
            self.registry.insert(name.to_owned(), mount);
        }
    }

    /// These, and where they say nothing, the others. Upstreams add up.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        let mut upstream = other.upstream;
        upstream.append(&mut self.upstream);
        let mut registry = other.registry;
        registry.append(&mut self.registry);
        Self {
            upstream,
            registry,
            listen: self.listen.or(other.listen),
            allow: self.allow.or(other.allow),
            tunnel: self.tunnel.or(other.tunnel),
            allow_private: self.allow_private.or(other.allow_private),
            parent: self.parent.or(other.parent),
            offline: self.offline.or(other.offline),
            heuristic_freshness: self.heuristic_freshness.or(other.heuristic_freshness),
            keep_cookies: self.keep_cookies.or(other.keep_cookies),
            ttl: self.ttl.or(&other.ttl),
            index_ttl: self.index_ttl.or(other.index_ttl),
            stale_window: self.stale_window.or(other.stale_window),
            allow_remote: self.allow_remote.or(other.allow_remote),
            clients: self.clients.or(other.clients),
            token_file: self.token_file.or(other.token_file),
            max_object: self.max_object.or(other.max_object),
            max_connections: self.max_connections.or(other.max_connections),
            head_time: self.head_time.or(other.head_time),
            idle_time: self.idle_time.or(other.idle_time),
            answer_time: self.answer_time.or(other.answer_time),
            drain_time: self.drain_time.or(other.drain_time),
            access_log: self.access_log.or(other.access_log),
            keep_events: self.keep_events.or(other.keep_events),
            max_size: self.max_size.or(other.max_size),
            max_age: self.max_age.or(other.max_age),
            models_max_age: self.models_max_age.or(other.models_max_age),
        }
    }

    /// The configuration. Relative files are below `folder`.
    ///
    /// # Errors
    /// A value that is not valid.
    pub fn config(&self, folder: &Utf8Path) -> miette::Result<Config> {
        let defaults = Config::default();
        let limits = Limits {
            object: self.max_object.map_or(defaults.limits.object, |size| size.0),
            head_time: self.head_time.map_or(defaults.limits.head_time, |age| age.0),
            idle: self.idle_time.map_or(defaults.limits.idle, |age| age.0),
            answer: self.answer_time.map_or(defaults.limits.answer, |age| age.0),
            drain: self.drain_time.map_or(defaults.limits.drain, |age| age.0),
            connections: self.max_connections.unwrap_or(defaults.limits.connections).max(1),
            ..defaults.limits
        };
        let guesses = self.heuristic_freshness.unwrap_or(false);
        let ttl = |own: &Ttl| Lifetimes::of(own, &self.ttl, self.index_ttl);
        let config = Config {
            listen: listen(self.listen.as_deref().unwrap_or(LISTEN))?,
            upstreams: self
                .upstream
                .iter()
                .map(|(name, mount)| upstream(name, mount, folder, guesses, ttl))
                .collect::<Result<_, _>>()?,
            registries: self
                .registry
                .iter()
                .map(|(name, mount)| registry(name, mount, ttl))
                .collect::<Result<_, _>>()?,
            forward: Forward {
                hosts: hosts(self.allow.as_deref())?,
                tunnels: hosts(self.tunnel.as_deref())?,
            },
            allow_private: self.allow_private.unwrap_or(false),
            parent: self.parent.as_deref().map(parent).transpose()?,
            offline: self.offline.unwrap_or(false),
            replays: false,
            ttl: ttl(&Ttl::default()),
            stale_window: self.stale_window.map_or(defaults.stale_window, |age| age.0),
            heuristic_freshness: guesses,
            keep_cookies: self.keep_cookies.unwrap_or(false),
            clients: Clients {
                networks: all(self.clients.as_deref())?,
                token: self.token_file.as_ref().map(|path| token(&folder.join(path))).transpose()?,
            },
            limits,
            access_log: self
                .access_log
                .as_ref()
                .map(|path| if path == "-" { path.clone() } else { folder.join(path) }),
            keep_events: self.keep_events.map_or(defaults.keep_events, |age| age.0),
        };
        if !config.listen.ip().is_loopback() && !self.allow_remote.unwrap_or(false) {
            return Err(Error::Exposed { address: config.listen }.into());
        }
        Ok(config)
    }
}

fn listen(text: &str) -> miette::Result<SocketAddr> {
    text.parse().into_diagnostic().wrap_err_with(|| {
        format!("cannot listen on {text:?}: write an address with a port, such as `{LISTEN}`")
    })
}

fn all<T>(texts: Option<&[String]>) -> miette::Result<Vec<T>>
where
    T: FromStr,
    T::Err: Diagnostic + Send + Sync + 'static,
{
    texts.unwrap_or_default().iter().map(|text| text.parse().map_err(Into::into)).collect()
}

fn hosts(texts: Option<&[String]>) -> miette::Result<Hosts> {
    all::<HostRule>(texts).map(Hosts)
}

fn parent(text: &str) -> Result<Uri, Error> {
    let wrong = |reason| Error::NotAParent { text: without_credentials(text), reason };
    let uri: Uri = text.parse().map_err(|_| wrong("not a valid URL"))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong("a parent proxy has a URL with `http://` and a host"));
    }
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(wrong("credentials for a parent proxy are not supported"));
    }
    Ok(uri)
}

fn upstream(
    name: &str,
    mount: &Mount,
    folder: &Utf8Path,
    guesses: bool,
    ttl: impl Fn(&Ttl) -> Lifetimes,
) -> Result<Upstream, Error> {
    let table = match mount {
        Mount::Url(url) => MountTable { url: url.clone(), ..MountTable::default() },
        Mount::Table(table) => table.clone(),
    };
    let wrong =
        |reason| Error::NotAnUpstream { text: format!("{name}={}", without_credentials(&table.url)), reason };
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name != "/" && (name.is_empty() || !name.chars().all(good) || name.starts_with('.')) {
        return Err(wrong("a name has letters, digits, `-`, `_` and `.`"));
    }
    let url: Uri = table.url.parse().map_err(|_| wrong("not a valid URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(wrong("a URL begins with `http://` or `https://` and a host"));
    }
    if url.query().is_some() || url.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(wrong("neither a query nor credentials can be a part of it"));
    }
    if table.kind == Ecosystem::Generic && !table.ttl.is_empty() {
        return Err(wrong("`ttl` needs a `kind`, for without one HTTP's rules hold for everything"));
    }
    Ok(Upstream {
        name: name.trim_matches('/').to_owned(),
        url,
        kind: table.kind,
        keyring: table.keyring.map(|path| keyring(&folder.join(path))).transpose()?,
        keep_links: table.keep_links,
        follow_redirects: table.follow_redirects,
        keep_private: table.keep_private,
        heuristic_freshness: table.heuristic_freshness.unwrap_or(guesses),
        ttl: ttl(&table.ttl),
    })
}

/// No keyring is larger: 16 MiB.
const LARGEST_KEYRING: u64 = 16 << 20;

/// What is in a file with keys.
fn keyring(path: &Utf8Path) -> Result<Arc<[u8]>, Error> {
    let bad = |reason: String| Error::File { path: path.to_owned(), reason };
    let found = storekit::files::replace::read_capped(path, LARGEST_KEYRING);
    let bytes = found.map_err(|error| bad(error.to_string()))?;
    Ok(bytes.ok_or_else(|| bad("it is not there".to_owned()))?.into())
}

/// docker.io is served by another host, and its tokens by a third.
const DOCKER_URL: &str = "https://registry-1.docker.io";
const DOCKER_TOKENS: &str = "auth.docker.io";

fn registry(name: &str, mount: &RegistryMount, ttl: impl Fn(&Ttl) -> Lifetimes) -> Result<Registry, Error> {
    let is_docker = name == DOCKER;
    let usual = if is_docker { DOCKER_URL.to_owned() } else { format!("https://{name}") };
    let text = mount.url.clone().unwrap_or(usual);
    let wrong =
        |reason| Error::NotAnUpstream { text: format!("{name}={}", without_credentials(&text)), reason };
    if name.parse::<HostRule>().is_err() || name.contains('*') {
        return Err(wrong("a registry's name is its host, with a port where it has one"));
    }
    let url: Uri = text.parse().map_err(|_| wrong("not a valid URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err(wrong("a URL begins with `http://` or `https://` and a host"));
    }
    if url.path() != "/"
        || url.query().is_some()
        || url.authority().is_some_and(|it| it.as_str().contains('@'))
    {
        return Err(wrong(
            "a registry is a host: neither a path, a query nor credentials can be a part of it",
        ));
    }
    let has_models = match mount.kind {
        None | Some(Ecosystem::Oci) => false,
        Some(Ecosystem::Ollama) => true,
        Some(_) => return Err(wrong("the `kind` of a registry is `oci` or `ollama`")),
    };
    let tokens_from = mount.tokens_from.clone().or(is_docker.then(|| DOCKER_TOKENS.to_owned()));
    Ok(Registry { name: name.to_ascii_lowercase(), url, tokens_from, has_models, ttl: ttl(&mount.ttl) })
}

/// The digest of the token in the file's first line.
fn token(path: &Utf8Path) -> Result<Digest, Error> {
    let bad = |reason: String| Error::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| bad(error.to_string()))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < 16 {
        return Err(bad("its first line has to be a token of at least 16 characters".to_owned()));
    }
    Ok(Digest::of(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Options), word: &str) {
        let mut options = Options::default();
        change(&mut options);
        let error = options.config(Utf8Path::new("/")).expect_err(word);
        assert!(error.to_string().contains(word), "{error}");
    }

    #[test]
    fn the_default_is_this_machine_and_nobody_elses_servers() {
        let config = Options::default().config(Utf8Path::new("/")).unwrap();
        assert!(config.listen.ip().is_loopback() && config.upstreams.is_empty());
        assert_eq!(config.forward, Forward::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(|it| it.listen = Some("3144".into()), "cannot listen");
        refused(|it| it.listen = Some("0.0.0.0:3144".into()), "other machines");
        refused(|it| it.allow = Some(vec!["a b".into()]), "not a host");
        refused(|it| it.clients = Some(vec!["10.0.0.0/99".into()]), "not a network");
        refused(|it| it.parent = Some("socks5://x".into()), "invalid parent proxy");
        refused(|it| it.parent = Some("http://user:pw@x".into()), "http://…@x");
        refused(|it| it.mount(["x=ftp://a/"]).unwrap(), "invalid upstream");
        refused(|it| it.mount(["a/b=http://a/"]).unwrap(), "invalid upstream");
        refused(|it| it.mount(["x=http://user:pw@a/"]).unwrap(), "http://…@a/");
        let ttl = || toml::from_str("index = \"1s\"").unwrap();
        let table = |ttl| MountTable { url: "http://a".to_owned(), ttl, ..MountTable::default() };
        refused(|it| drop(it.upstream.insert("a".into(), Mount::Table(table(ttl())))), "needs a `kind`");
        refused(|it| it.token_file = Some("/nonexistent".into()), "/nonexistent");
        assert!(Options::default().mount(["x"]).is_err());
    }

    #[track_caller]
    fn wrong(toml: &str, words: &str) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("larder.toml"), toml).unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let environment = toolkit::settings::Environment { folder, variables: BTreeMap::new() };
        let message = Options::load(&Settings::load(environment)).unwrap_err().to_string();
        assert!(message.contains(words), "{toml}: {message}");
        for rust in ["untagged", "variant", "struct ", "usize"] {
            assert!(!message.contains(rust), "{message}");
        }
    }

    #[test]
    fn a_wrong_setting_is_said_in_words() {
        wrong("[pkgcache.upstream]\na = 3", "expected a URL, or a table");
        wrong("[pkgcache.upstream]\na = { url = 3 }", "expected a string");
        wrong("[pkgcache.upstream]\na = { uri = \"http://a\" }", "unknown field `uri`, expected");
        wrong("[pkgcache.upstream]\na = { keep-private = true }", "missing field `url`");
        wrong("[pkgcache.upstream]\na = { url = \"http://a\", ttl = { tga = \"1s\" } }", "is `tag` meant?");
        wrong("[pkgcache.registry]\na = { ttl = \"1s\" }", "expected times by class");
        wrong("[pkgcache]\nttl = { artifact = \"1s\" }", "cannot change");
        wrong("[pkgcache]\nmax-connections = -1", "integer `-1`, expected a number of connections");
        wrong("[pkgcache]\nmax-connections = \"5\"", "expected a number of connections");
        wrong("[pkgcache]\nmax-object = true", "expected a size");
        wrong("pkgcache = 3", "expected settings, such as");
    }

    #[test]
    fn a_lifetime_is_guessed_only_where_that_is_said() {
        let guesses = |all: Option<bool>, own: Option<bool>| {
            let table =
                MountTable { url: "http://a/".into(), heuristic_freshness: own, ..MountTable::default() };
            let upstream = [("a".to_owned(), Mount::Table(table))].into();
            let options = Options { heuristic_freshness: all, upstream, ..Options::default() };
            let config = options.config(Utf8Path::new("/")).unwrap();
            (config.heuristic_freshness, config.upstreams[0].heuristic_freshness)
        };
        assert_eq!(guesses(None, None), (false, false));
        assert_eq!(guesses(None, Some(true)), (false, true));
        assert_eq!(guesses(Some(true), None), (true, true));
        assert_eq!(guesses(Some(true), Some(false)), (true, false));
    }

    #[test]
    fn the_first_word_counts_and_upstreams_add_up() {
        let mut first = Options { listen: Some("127.0.0.1:1".into()), ..Options::default() };
        first.mount(["a=http://one/", "/=http://root/"]).unwrap();
        let mut second =
            Options { listen: Some("127.0.0.1:2".into()), offline: Some(true), ..Options::default() };
        second.mount(["a=http://two/", "b=http://three/"]).unwrap();
        let config = first.or(second).config(Utf8Path::new("/")).unwrap();
        let found: Vec<_> =
            config.upstreams.iter().map(|it| (it.name.as_str(), it.url.to_string())).collect();
        assert_eq!(
            found,
            [("", "http://root/".into()), ("a", "http://one/".into()), ("b", "http://three/".into())]
        );
        assert!(config.offline && config.listen.port() == 1);
    }
}
