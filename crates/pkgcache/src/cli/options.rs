//! Options that several commands take: which URLs, what is asked, how it is served.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use pkgcache::commands::{By, Selection};
use pkgcache::{InterceptTable, Options, RemoteSetting};
use storekit::{Age, ByteSize};

/// Which URLs.
#[derive(Args)]
pub(crate) struct Filter {
    /// Only what this kind of client asked for: `apk`, `apt`, `cargo`, `dnf`, `generic`, `git-lfs`,
    /// `go`, `huggingface`, `npm`, `oci`, `ollama`, `python`, `releases`
    #[arg(long, value_name = "ECOSYSTEM")]
    ecosystem: Option<String>,
    /// Only files of the package with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only what came from this upstream or host
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
}

impl Filter {
    pub(crate) fn selection(&self) -> Selection {
        let Self { ecosystem, name, source } = self;
        Selection {
            ecosystem: ecosystem.clone(),
            name: name.clone(),
            source: source.clone(),
            ..Selection::default()
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ByWhat {
    Ecosystem,
    Source,
    Name,
    Version,
    Architecture,
}

impl ByWhat {
    pub(crate) fn by(self) -> By {
        match self {
            Self::Ecosystem => By::Ecosystem,
            Self::Source => By::Source,
            Self::Name => By::Name,
            Self::Version => By::Version,
            Self::Architecture => By::Architecture,
        }
    }
}

/// What is asked, and how it is reached.
#[derive(Args)]
pub(crate) struct UpstreamArgs {
    /// Mount an upstream at `/NAME/`, or at the root with `/=URL`
    #[arg(long, value_name = "NAME=URL")]
    upstream: Vec<String>,
    /// Mirror this registry of container images below `/v2/`
    #[arg(long, value_name = "NAME[=URL]")]
    registry: Vec<String>,
    /// Let the forward proxy ask this host: `example.org`, `*.example.org`, `example.org:8080`, `*`
    #[arg(long, value_name = "HOST")]
    allow: Option<Vec<String>>,
    /// Let CONNECT open tunnels to this host
    #[arg(long, value_name = "HOST")]
    tunnel: Option<Vec<String>>,
    /// End tunnels to this host here, and answer what is asked for in them: `example.org`,
    /// `*.example.org`, `example.org:8443`; needs an authority (`pkgcache ca init`)
    #[arg(long, value_name = "HOST")]
    intercept: Option<Vec<String>>,
    /// Let names of upstreams have private addresses
    ///
    /// An upstream that is written as an address may be private anyway. Link-local addresses, where
    /// clouds keep their machines' secrets, are never asked.
    #[arg(long)]
    allow_private: bool,
    /// Reach upstreams through this proxy, which then looks up their names
    #[arg(long, value_name = "URL")]
    parent: Option<String>,
}

impl UpstreamArgs {
    pub(crate) fn options(&self) -> miette::Result<Options> {
        let mut options = Options {
            allow: self.allow.clone(),
            tunnel: self.tunnel.clone(),
            intercept: InterceptTable { hosts: self.intercept.clone(), ca: None },
            allow_private: self.allow_private.then_some(true),
            parent: self.parent.clone(),
            ..Options::default()
        };
        options.mount(self.upstream.iter().map(String::as_str))?;
        options.mirror(self.registry.iter().map(String::as_str));
        Ok(options)
    }
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct ServeArgs {
    /// Where to listen: an address and a port, or `unix:PATH` [default: 127.0.0.1:3144; for `run` a
    /// port of the store's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    upstreams: UpstreamArgs,
    /// Serve what is stored, however old, and ask no upstream
    #[arg(long)]
    offline: bool,
    /// Guess how long an answer is fresh if it does not say so
    #[arg(long)]
    heuristic_freshness: bool,
    /// Store the cookies of an answer, and hand them to all clients that get it
    #[arg(long)]
    keep_cookies: bool,
    /// Listen on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,
    /// Let this network in: `10.0.0.0/8`
    #[arg(long = "client", value_name = "NETWORK")]
    clients: Option<Vec<String>>,
    /// Let in clients that send the token in this file's first line, as a password or a bearer
    /// token
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
    /// Pass larger bodies on without storing them [default: 64GiB]
    #[arg(long, value_name = "SIZE")]
    max_object: Option<ByteSize>,
    /// At the end, cut off connections on which nothing moves for this long [default: 30s]
    #[arg(long, value_name = "AGE")]
    drain_time: Option<Age>,
    /// Share what is stored with other caches in this bucket: `s3://BUCKET/PREFIX`
    #[arg(long, value_name = "PLACE")]
    remote: Option<String>,
    /// Write nothing to the bucket
    #[arg(long)]
    remote_read_only: bool,
    /// Write a JSON object for each request to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    access_log: Option<Utf8PathBuf>,
}

impl ServeArgs {
    pub(crate) fn options(&self) -> miette::Result<Options> {
        let set = |flag: bool| flag.then_some(true);
        Ok(Options {
            listen: self.listen.clone(),
            offline: set(self.offline),
            heuristic_freshness: set(self.heuristic_freshness),
            keep_cookies: set(self.keep_cookies),
            allow_remote: set(self.allow_remote),
            clients: self.clients.clone(),
            token_file: self.token_file.clone(),
            max_object: self.max_object,
            drain_time: self.drain_time,
            remote: self.remote.clone().map(RemoteSetting::Url),
            remote_read_only: set(self.remote_read_only),
            access_log: self.access_log.clone(),
            ..self.upstreams.options()?
        })
    }
}
