//! The configuration from flags, variables and larder.toml's table `[pkgcache]`, in this order.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use http::Uri;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use serde::Deserialize;
use storekit::{Age, ByteSize, Digest, WrittenSize};
use toolkit::amount::Setting;
use toolkit::bucket::{Account, HalfAnAccount};
use toolkit::net::without_credentials;
use toolkit::settings::Settings;

use crate::config::count;
use crate::config::guards::GuardTable;
use crate::config::hosts::{HostRule, Hosts};
use crate::config::intercept::InterceptTable;
use crate::config::mounts::{self, Mount, RegistryMount};
use crate::config::remote::{RemoteConfig, RemoteSetting, RemoteTable};
use crate::config::ttl::{Lifetimes, Ttl};
use crate::config::{Clients, Config, Forward, Limits, Listen};
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
    /// The mode of a socket in the file system, in octal digits.
    pub socket_mode: Option<String>,
    /// Mounted upstreams, by name; `/` is the root.
    pub upstream: BTreeMap<String, Mount>,
    /// Registries of container images that are mirrored, by name.
    pub registry: BTreeMap<String, RegistryMount>,
    /// Hosts that the forward mode may ask.
    pub allow: Option<Vec<String>>,
    /// Hosts to which tunnels may go.
    pub tunnel: Option<Vec<String>>,
    /// Hosts whose tunnels end here.
    pub intercept: InterceptTable,
    /// Where this user's authority for these lies, unless that is set.
    #[serde(skip)]
    pub usual_ca: Option<Utf8PathBuf>,
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
    #[serde(deserialize_with = "count::connections")]
    pub max_connections: Option<usize>,
    /// Connections of one client at a time.
    #[serde(deserialize_with = "count::connections")]
    pub max_connections_per_client: Option<usize>,
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
    /// What is kept from clients.
    pub guards: Option<GuardTable>,
    /// The bucket that several caches share.
    pub remote: Option<RemoteSetting>,
    /// Whether it is only read, whatever its table says.
    #[serde(skip)]
    pub remote_read_only: Option<bool>,
    /// The account that the environment names for it.
    #[serde(skip)]
    pub account: Option<Result<Account, HalfAnAccount>>,
    /// The server that the environment names for buckets.
    #[serde(skip)]
    pub endpoint: Option<String>,
    /// How much may be stored: gcctl's to see to.
    pub max_size: Option<Setting<WrittenSize>>,
    /// For how long it may be unused: gcctl's to see to.
    pub max_age: Option<Setting<Age>>,
    /// The same for models: gcctl's to see to.
    pub models_max_age: Option<Setting<Age>>,
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
            intercept: InterceptTable { hosts: words("INTERCEPT"), ca: None },
            usual_ca: settings.environment().state_folder().map(|folder| folder.join("pkgcache-ca")),
            parent: get("PARENT").map(str::to_owned),
            offline: flag("OFFLINE")?,
            allow_private: flag("ALLOW_PRIVATE")?,
            token_file: get("TOKEN_FILE").map(Into::into),
            remote: get("REMOTE").map(|url| RemoteSetting::Url(url.to_owned())),
            account: Some(Account::of(settings.environment())),
            endpoint: ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
                .iter()
                .find_map(|name| settings.environment().get(name).map(str::to_owned)),
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
            socket_mode: self.socket_mode.or(other.socket_mode),
            allow: self.allow.or(other.allow),
            tunnel: self.tunnel.or(other.tunnel),
            intercept: self.intercept.or(other.intercept),
            usual_ca: self.usual_ca.or(other.usual_ca),
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
            max_connections_per_client: self.max_connections_per_client.or(other.max_connections_per_client),
            head_time: self.head_time.or(other.head_time),
            idle_time: self.idle_time.or(other.idle_time),
            answer_time: self.answer_time.or(other.answer_time),
            drain_time: self.drain_time.or(other.drain_time),
            access_log: self.access_log.or(other.access_log),
            keep_events: self.keep_events.or(other.keep_events),
            guards: self.guards.or(other.guards),
            remote: self.remote.or(other.remote),
            remote_read_only: self.remote_read_only.or(other.remote_read_only),
            account: self.account.or(other.account),
            endpoint: self.endpoint.or(other.endpoint),
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
            client_connections: self.max_connections_per_client.map(|most| most.max(1)),
            ..defaults.limits
        };
        let guesses = self.heuristic_freshness.unwrap_or(false);
        let ttl = |own: &Ttl| Lifetimes::of(own, &self.ttl, self.index_ttl);
        let mut config = Config {
            listen: listen(self.listen.as_deref().unwrap_or(LISTEN), folder)?,
            socket_mode: self.socket_mode.as_deref().map(mode).transpose()?,
            upstreams: self
                .upstream
                .iter()
                .map(|(name, mount)| mounts::upstream(name, mount, folder, guesses, ttl))
                .collect::<Result<_, _>>()?,
            registries: self
                .registry
                .iter()
                .map(|(name, mount)| mounts::registry(name, mount, ttl))
                .collect::<Result<_, _>>()?,
            forward: Forward {
                hosts: hosts(self.allow.as_deref())?,
                tunnels: hosts(self.tunnel.as_deref())?,
                opens_all: false,
            },
            intercept: self.intercept.intercept(folder, self.usual_ca.as_deref())?,
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
            remote: self.remote.as_ref().map(|remote| self.remote(remote)).transpose()?,
            guards: None,
        };
        let guards =
            self.guards.as_ref().map(|table| table.guards(&config.upstreams, &config.registries, folder));
        config.guards = guards.transpose()?.flatten().map(Arc::new);
        if let Some(address) = config.listen.net()
            && config.listen.is_remote()
            && !self.allow_remote.unwrap_or(false)
        {
            return Err(Error::Exposed { address }.into());
        }
        Ok(config)
    }
}

impl Options {
    fn remote(&self, setting: &RemoteSetting) -> miette::Result<RemoteConfig> {
        let account = self.account.clone().transpose()?.unwrap_or_default();
        let mut table = match setting {
            RemoteSetting::Url(url) => RemoteTable { url: url.clone(), ..RemoteTable::default() },
            RemoteSetting::Table(table) => table.clone(),
        };
        table.read_only |= self.remote_read_only.unwrap_or(false);
        Ok(table.config(account, self.endpoint.as_deref())?)
    }
}

fn listen(text: &str, folder: &Utf8Path) -> miette::Result<Listen> {
    Listen::read(text, folder).ok_or_else(|| {
        miette::miette!(
            help = "write an address with a port, such as `{LISTEN}`, or `unix:` and the path of a socket",
            "cannot listen on {text:?}"
        )
    })
}

/// A mode that says who may read and write.
fn mode(text: &str) -> miette::Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| {
        miette::miette!(
            help = "write octal digits, such as `0660` for this user and the group",
            "{text:?} is not a mode of a socket"
        )
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
    use crate::config::mounts::{MirrorTable, MountTable};

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
        assert!(!config.listen.is_remote() && config.upstreams.is_empty());
        assert_eq!(config.forward, Forward::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        refused(|it| it.listen = Some("3144".into()), "cannot listen");
        refused(|it| it.listen = Some("0.0.0.0:3144".into()), "other machines");
        refused(|it| it.socket_mode = Some("rw".into()), "not a mode");
        refused(|it| it.socket_mode = Some("4755".into()), "not a mode");
        refused(|it| it.allow = Some(vec!["a b".into()]), "not a host");
        refused(|it| it.clients = Some(vec!["10.0.0.0/99".into()]), "not a network");
        refused(|it| it.parent = Some("socks5://x".into()), "invalid parent proxy");
        refused(|it| it.parent = Some("http://user:pw@x".into()), "http://…@x");
        refused(|it| it.mount(["x=ftp://a/"]).unwrap(), "invalid upstream");
        refused(|it| it.mount(["a/b=http://a/"]).unwrap(), "invalid upstream");
        refused(|it| it.mount(["x=http://user:pw@a/"]).unwrap(), "http://…@a/");
        let mirrored = |url: &str, credentials: Option<&str>| MountTable {
            url: "http://a".to_owned(),
            mirrors: vec![MirrorTable { url: url.to_owned(), credentials: credentials.map(Into::into) }],
            ..MountTable::default()
        };
        let mirror =
            |table, word| refused(|it| drop(it.upstream.insert("a".into(), Mount::Table(table))), word);
        mirror(mirrored("ftp://b", None), "invalid upstream \"a=ftp://b\"");
        mirror(mirrored("http://user:pw@b", None), "http://…@b");
        mirror(mirrored("http://b", Some("/nonexistent")), "/nonexistent");
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
        wrong(
            "[pkgcache.upstream]\na = { url = \"http://a\", max-requests = -1 }",
            "expected a number of requests",
        );
        wrong("[pkgcache.upstream]\na = { url = \"http://a\", mirrors = [3] }", "expected a URL, or a table");
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
        assert!(config.offline && config.listen.to_string() == "127.0.0.1:1");
    }
}
