//! The command line, and what of the process's environment the library is told.

use std::io::{self, BufWriter};

use camino::Utf8PathBuf;
use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand};
use pkgcache::commands::{self, Console};
use pkgcache::settings::Options;
use storekit::{ByteSize, Store};
use toolkit::{Common, Outcome, Output, Settings};

/// Keeps what package clients download, and hands it on as HTTP's rules say
///
/// Exit codes: 0 done; 1 nothing is stored there; 2 trouble; 3 stored bytes are damaged; 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(name = "pkgcache", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    job: Job,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Cli {
    pub(crate) fn is_server(&self) -> bool {
        matches!(self.job, Job::Serve(_))
    }

    /// Whether a reader that goes ends the command.
    fn output(&self) -> Output {
        match self.job {
            Job::Ls { .. } | Job::Info { .. } => Output::listing(),
            Job::Serve(_) | Job::Verify => Output::report(),
        }
    }
}

#[derive(Subcommand)]
enum Job {
    /// Serve as a caching proxy
    ///
    /// As a reverse proxy for the mounted upstreams (`http://127.0.0.1:3144/NAME/…`), and as a forward proxy
    /// (`http_proxy=http://127.0.0.1:3144`) for the allowed hosts. Prints its URL when it answers. `/healthz` says `ok`,
    /// `/metrics` has the counts in the text form of Prometheus. SIGTERM ends it when all that is under way is done;
    /// SIGHUP makes it read its settings again (all but the address and the number of connections) and open its access log
    /// anew.
    ///
    /// Each option but `--store` can stand in the table `[pkgcache]` of larder.toml: `listen`, `allow`, `tunnel`,
    /// `allow-private`, `parent`, `offline`, `allow-remote`, `clients`, `token-file`, `max-object`, `access-log`; upstreams
    /// as `[pkgcache.upstream]`, with `NAME = "URL"` or `NAME = { url = "URL", follow-redirects = true, keep-private = true }`.
    /// Only there: `max-connections` (16384, and no more than three quarters of the files that may be open), `head-time` (a
    /// request's head has to come within 20s), `idle-time` (a connection on which the client lets nothing move is closed,
    /// 300s), `answer-time` (an upstream has to say something within 60s), `keep-events` (the counts in events/, 30d).
    /// Variables: `LARDER_PKGCACHE_LISTEN`, `_UPSTREAM`, `_ALLOW`, `_TUNNEL` (words), `_PARENT`, `_OFFLINE`,
    /// `_ALLOW_PRIVATE`, `_TOKEN_FILE`.
    Serve(Box<ServeArgs>),
    /// List the stored URLs
    Ls {
        /// Only those with this text in them
        #[arg(default_value = "", hide_default_value = true, value_name = "TEXT")]
        part: String,
    },
    /// Show all that is stored of a URL
    Info {
        /// The upstream's own URL, as `ls` prints it
        url: String,
    },
    /// Read every stored body and compare it with its digest
    ///
    /// Names what is damaged, moves it aside, and exits 3.
    Verify,
}

#[derive(Args)]
struct ServeArgs {
    /// Where to listen [default: 127.0.0.1:3144]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Mount an upstream at `/NAME/`, or at the root with `/=URL`
    #[arg(long, value_name = "NAME=URL")]
    upstream: Vec<String>,
    /// Let the forward proxy ask this host: `example.org`, `*.example.org`, `example.org:8080`, `*`
    #[arg(long, value_name = "HOST")]
    allow: Option<Vec<String>>,
    /// Let CONNECT open tunnels to this host
    #[arg(long, value_name = "HOST")]
    tunnel: Option<Vec<String>>,
    /// Let names of upstreams have private addresses
    ///
    /// An upstream that is written as an address may be private anyway. Link-local addresses, where clouds keep their
    /// machines' secrets, are never asked.
    #[arg(long)]
    allow_private: bool,
    /// Reach upstreams through this proxy
    #[arg(long, value_name = "URL")]
    parent: Option<String>,
    /// Serve what is stored, however old, and ask nobody
    #[arg(long)]
    offline: bool,
    /// Listen on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,
    /// Let this network in: `10.0.0.0/8`
    #[arg(long = "client", value_name = "NETWORK")]
    clients: Option<Vec<String>>,
    /// Let in whoever brings the token in this file's first line, as a password or a bearer token
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
    /// Pass larger bodies on without storing them [default: 64GiB]
    #[arg(long, value_name = "SIZE")]
    max_object: Option<ByteSize>,
    /// Write a JSON object for each request to this file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    access_log: Option<Utf8PathBuf>,
}

impl ServeArgs {
    fn options(&self) -> miette::Result<Options> {
        let set = |flag: bool| flag.then_some(true);
        let mut options = Options {
            listen: self.listen.clone(),
            allow: self.allow.clone(),
            tunnel: self.tunnel.clone(),
            allow_private: set(self.allow_private),
            parent: self.parent.clone(),
            offline: set(self.offline),
            allow_remote: set(self.allow_remote),
            clients: self.clients.clone(),
            token_file: self.token_file.clone(),
            max_object: self.max_object,
            access_log: self.access_log.clone(),
            ..Options::default()
        };
        options.mount(self.upstream.iter().map(String::as_str))?;
        Ok(options)
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> miette::Result<Outcome> {
    let settings = Settings::of_process("pkgcache", &cli.common)?;
    let environment = settings.environment().clone();
    let store = settings.store_dir(cli.common.store.as_deref())?;
    let mut out = BufWriter::new(cli.output());
    let mut console =
        Console { out: &mut out, err: &mut io::stderr(), json: cli.common.json, quiet: cli.common.quiet };
    Ok(match &cli.job {
        Job::Serve(args) => {
            let folder = environment.folder.clone();
            let load = || {
                let settings = Settings::load(environment.clone());
                args.options()?.or(Options::load(&settings)?).config(&folder)
            };
            pkgcache::run::serve(load()?, Store::open_or_create(&store)?, load, &mut console.out)?
        }
        Job::Ls { part } => commands::ls(&Store::open(&store)?.packages(), part, &mut console)?,
        Job::Info { url } => commands::info(&Store::open(&store)?.packages(), url, &mut console)?,
        Job::Verify => commands::verify(&Store::open(&store)?.packages(), &mut console)?,
    })
}
