//! Mounts in larder.toml: upstreams and registries, and the files that they name.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use http::Uri;
use http::header::HeaderValue;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use toolkit::net::without_credentials;

use crate::config::count;
use crate::config::hosts::HostRule;
use crate::config::ttl::{Lifetimes, Ttl};
use crate::config::{DOCKER, DigestInName, Mirror, Registry, Sources, Upstream};
use crate::ecosystem::Ecosystem;
use crate::ecosystem::go::sumdb::Sumdb;
use crate::error::Error;

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
    /// Whether only what is stored is served.
    pub read_only: bool,
}

/// An upstream's table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct MountTable {
    /// Where it is.
    pub url: String,
    /// Other servers that have the same, in the order in which they are asked after it.
    #[serde(default)]
    pub mirrors: Vec<MirrorTable>,
    /// A file with what its server is sent where a client sends no credentials.
    pub credentials: Option<Utf8PathBuf>,
    /// Requests at it at a time.
    #[serde(default, deserialize_with = "count::requests")]
    pub max_requests: Option<usize>,
    /// Whether the next server is asked for what one does not have.
    #[serde(default)]
    pub next_on_404: bool,
    /// Which kind of package client it serves.
    #[serde(default)]
    pub kind: Ecosystem,
    /// The file with the keys that its indexes have to be signed by.
    pub keyring: Option<Utf8PathBuf>,
    /// The checksum database of Go's modules, as GOSUMDB has it.
    pub sumdb: Option<String>,
    /// Globs of the modules that this is not asked about, as GONOSUMDB has them.
    #[serde(default)]
    pub no_sumdb: Vec<String>,
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
    /// Whether only what is stored is served.
    #[serde(default)]
    pub read_only: bool,
    /// What becomes of digests in the names of its files.
    pub digest_in_name: Option<DigestInName>,
}

/// A server with the same content as an upstream, in larder.toml: its URL, or a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorTable {
    /// Where it is.
    pub url: String,
    /// A file with what it is sent.
    pub credentials: Option<Utf8PathBuf>,
}

impl<'de> Deserialize<'de> for MirrorTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            url: String,
            credentials: Option<Utf8PathBuf>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = MirrorTable;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(
                    "a URL, or a table such as `{ url = \"https://example.org\", credentials = \"FILE\" }`",
                )
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<MirrorTable, E> {
                Ok(MirrorTable { url: url.to_owned(), credentials: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<MirrorTable, A::Error> {
                let Table { url, credentials } = Table::deserialize(MapAccessDeserializer::new(table))?;
                Ok(MirrorTable { url, credentials })
            }
        }

        from.deserialize_any(Either)
    }
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
/// The upstream of this name. Files are below `folder`.
///
/// # Errors
/// What cannot be one; a file that cannot be used.
pub(super) fn upstream(
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
    let url = server(&table.url).map_err(wrong)?;
    let mirror = |mirror: &MirrorTable| {
        let wrong = |reason| Error::NotAnUpstream {
            text: format!("{name}={}", without_credentials(&mirror.url)),
            reason,
        };
        let credentials = mirror.credentials.as_ref().map(|path| credentials(&folder.join(path)));
        Ok(Mirror { url: server(&mirror.url).map_err(wrong)?, credentials: credentials.transpose()? })
    };
    let sources = Sources {
        credentials: table.credentials.as_ref().map(|path| credentials(&folder.join(path))).transpose()?,
        mirrors: table.mirrors.iter().map(mirror).collect::<Result<_, Error>>()?,
        next_on_404: table.next_on_404,
        max_requests: table.max_requests.and_then(|most| NonZeroUsize::new(most.max(1))),
    };
    if table.kind == Ecosystem::Generic && !table.ttl.is_empty() {
        return Err(wrong("`ttl` needs a `kind`, for without one HTTP's rules hold for everything"));
    }
    if table.kind != Ecosystem::Generic && table.digest_in_name.is_some() {
        return Err(wrong(
            "`digest-in-name` is for plain files: with a `kind`, an index says what a file has to be",
        ));
    }
    let sumdb = sumdb(&table).map_err(wrong)?;
    Ok(Upstream {
        name: name.trim_matches('/').to_owned(),
        url,
        sources: Arc::new(sources),
        kind: table.kind,
        keyring: table.keyring.map(|path| keyring(&folder.join(path))).transpose()?,
        sumdb,
        keep_links: table.keep_links,
        follow_redirects: table.follow_redirects,
        keep_private: table.keep_private,
        heuristic_freshness: table.heuristic_freshness.unwrap_or(guesses),
        ttl: ttl(&table.ttl),
        read_only: table.read_only,
        digest_in_name: table.digest_in_name.unwrap_or_default(),
    })
}

/// The checksum database of a mount of Go's modules.
fn sumdb(table: &MountTable) -> Result<Option<Arc<Sumdb>>, &'static str> {
    if table.kind != Ecosystem::Go {
        let is_set = table.sumdb.is_some() || !table.no_sumdb.is_empty();
        return if is_set { Err("`sumdb` and `no-sumdb` need `kind = \"go\"`") } else { Ok(None) };
    }
    Ok(Sumdb::read(table.sumdb.as_deref(), &table.no_sumdb)?.map(Arc::new))
}

/// The URL of an upstream, or what is wrong with it.
fn server(text: &str) -> Result<Uri, &'static str> {
    let url: Uri = text.parse().map_err(|_| "not a valid URL")?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
        return Err("a URL begins with `http://` or `https://` and a host");
    }
    if url.query().is_some() || url.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err("neither a query nor credentials can be a part of it: see `credentials`");
    }
    Ok(url)
}

/// What a file's first line has a server sent: a token, or `USER:PASSWORD`.
fn credentials(path: &Utf8Path) -> Result<HeaderValue, Error> {
    let bad = |reason: &str| Error::File { path: path.to_owned(), reason: reason.to_owned() };
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| bad(&error.to_string()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    let value = match line {
        "" => return Err(bad("its first line has to be `USER:PASSWORD`, or a token")),
        _ if line.contains(':') => format!("Basic {}", STANDARD.encode(line)),
        _ => format!("Bearer {line}"),
    };
    let value = HeaderValue::from_str(&value);
    let mut value = value.map_err(|_| bad("its first line has a character that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
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

/// The registry of this name.
///
/// # Errors
/// What cannot be one.
pub(super) fn registry(
    name: &str,
    mount: &RegistryMount,
    ttl: impl Fn(&Ttl) -> Lifetimes,
) -> Result<Registry, Error> {
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
    let (name, ttl, read_only) = (name.to_ascii_lowercase(), ttl(&mount.ttl), mount.read_only);
    Ok(Registry { name, url, tokens_from, has_models, ttl, read_only })
}
