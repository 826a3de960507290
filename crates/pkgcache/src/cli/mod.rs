//! The command line, and what of the process's environment the library is told.

mod ask;
mod beside;
mod ca;
mod carry;
mod doors;
mod machine;
mod options;
mod process;
mod status;
mod systemd;
mod warm;

use std::cell::RefCell;
use std::io::{self, BufWriter};

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::styling::Styles;
use clap::{Parser, Subcommand};
use pkgcache::Options;
use pkgcache::commands::{self, Console, Selection};
use storekit::Store;
use toolkit::{Common, Outcome, Output, Settings, output};

use crate::cli::beside::replay::{self, ReplayArgs};
use crate::cli::beside::run::{self, RecordArgs, RunArgs, Task};
use crate::cli::ca::CaJob;
use crate::cli::carry::{ExportArgs, ImportArgs};
use crate::cli::doors::{DetectArgs, EnvArgs};
use crate::cli::options::{ByWhat, Filter, ServeArgs};
use crate::cli::status::StatusArgs;
use crate::cli::warm::{ListArgs, What};

/// Cache what package clients download: an HTTP proxy that keeps HTTP's caching rules
///
/// Exit codes: 0 done; 1 nothing is stored for the URL; 2 trouble; 3 stored bytes are damaged; 130
/// stopped by Ctrl-C; 143 stopped by a second SIGTERM.
#[derive(Parser)]
#[command(name = "pkgcache", version, styles = Styles::plain(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    job: Job,
    #[command(flatten)]
    pub(crate) common: Common,
}

impl Cli {
    /// Whether the command listens to signals by itself.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.job, Job::Serve(_) | Job::Run(_) | Job::Record(_) | Job::Replay(_))
    }

    /// Whether a reader that goes ends the command.
    fn output(&self) -> Output {
        match self.job {
            Job::Ls { .. } | Job::Info { .. } | Job::Why { .. } | Job::Detect(_) => Output::listing(),
            _ => Output::report(),
        }
    }
}

#[derive(Subcommand)]
enum Job {
    /// Serve as a caching proxy
    ///
    /// As a reverse proxy for the mounted upstreams (`http://127.0.0.1:3144/NAME/…`), and as a
    /// forward proxy (`http_proxy=http://127.0.0.1:3144`) for these and for the allowed hosts.
    /// Prints its URL when it answers. `/` (and `/status`, where an upstream is mounted at the
    /// root) is a page about what is stored, saved, fetched now and refused, and how clients
    /// are led here; `/status.json` says the same to programs, as does `pkgcache status`.
    /// `/healthz` says `ok`, `/metrics` has counts, sizes and times in the text form of
    /// Prometheus (examples/grafana has a board). All of these are for whoever may use the
    /// cache; URLs that need credentials are only counted, and queries are left out. Upstreams
    /// with TLS are checked against the system's authorities, or those in `SSL_CERT_FILE`.
    ///
    /// SIGTERM (and Ctrl-C) ends it: no new connections are taken, idle ones are closed, and the
    /// others end with their answers. A connection on which nothing moves for `drain-time` (30s) is
    /// cut off, and after 5 minutes every connection; a second signal ends all at once. Exit code 0
    /// (Ctrl-C: 130; a second SIGTERM: 143). SIGHUP makes it read its settings again and open its
    /// access log anew. It says what has changed; a new `listen`, `socket-mode`, `max-connections`
    /// or `remote` holds only after a restart. Where a settings file is gone, or says something
    /// wrong, it says so, and the old settings stay.
    ///
    /// `--listen unix:PATH` listens on a Unix socket, with the mode `socket-mode` (by default 0600,
    /// with a umask that lets the group write 0660): who may connect there needs no token. One that
    /// a process left behind is replaced; at the end it is taken away. Sockets that systemd gives
    /// (`LISTEN_FDS`) go before `listen`, and a manager is told (`NOTIFY_SOCKET`) when it answers,
    /// reloads and stops: examples/systemd has unit files.
    ///
    /// An upstream may have several servers: `url`, then `mirrors = ["URL", …]` in this order. One
    /// that cannot be reached, fails (5xx) or asks for fewer requests (429) gives way to the next,
    /// and so does, for the next request, one whose bytes are not what their index says; a 404 is
    /// an answer, unless `next-on-404` is set. What is stored is the same object, whichever gave
    /// it. `credentials = "FILE"` (`USER:PASSWORD`, or a token; a mirror as `{ url = "URL",
    /// credentials = "FILE" }` has its own) is what that server alone is sent, for GET and HEAD of
    /// all clients; a client's own go before it, and to no mirror.
    ///
    /// `max-requests` of an upstream says how many requests may be under way there: others wait for
    /// 10 s, then get a 503. A client with more than `max-connections-per-client` (an address; a
    /// network of IPv6 with 64 bits; at a Unix socket, a user) gets a 429. Both have `Retry-After`,
    /// and the access log has the `reason`.
    ///
    /// A mount with a `kind` (`apk`, `apt`, `cargo`, `dnf`, `git-lfs`, `go`, `huggingface`, `npm`,
    /// `python`, `releases`) knows its packages: each file is compared with the checksum that its
    /// index names, and cut off before its last byte where it is another; indexes lead clients back
    /// to the mount. `keyring` checks the signature of apt's releases, of dnf's `repomd.xml` and of
    /// apk's indexes. `sumdb` is Go's checksum database, as in GOSUMDB, and `no-sumdb` has the
    /// modules that it is not asked about, as GONOSUMDB. `keep-links` leaves npm the upstream's own
    /// URLs of tarballs, whose host it replaces by itself. Registries answer at `/v2/HOST/NAME`, at
    /// `/v2/NAME?ns=HOST`, and the default one at `/v2/NAME`; only pulls are mirrored. Addresses of
    /// this server, in indexes and in challenges of registries, have the `Host` that the client
    /// named, and `https` where a server in front says `X-Forwarded-Proto: https`.
    ///
    /// What an address promises is compared as well: `/sha256/HEX/NAME/PATH` (or `/sha512/…`) is
    /// the file at `/NAME/PATH` with this checksum, and holds for ever. Where the name of a plain
    /// file has a SHA-256 in it (64 hex digits alone), a file that has it holds for ever, too, and
    /// any other is as if it had none: the digits may mean something else. `digest-in-name =
    /// "require"` of a mount refuses such a file, and `"ignore"` makes nothing of names.
    ///
    /// `releases` has archives in folders that are named by a date or a version, as rustup and
    /// `uv python` ask for them: each is compared with the `FILE.sha256` or `SHA256SUMS` beside it.
    /// Clients of `git-lfs` are led here by the server's answer to a batch, and only those whom it
    /// lets in get an object.
    ///
    /// Any other answer says how long it is fresh. If it does not, the upstream is asked each time
    /// whether it still holds, for it may be an index that has changed; `heuristic-freshness`
    /// guesses a tenth of the answer's age instead, a day at most.
    ///
    /// A `Location` that leads to a mounted upstream is rewritten to the path below its mount; any
    /// other is an absolute URL that leads past the cache. `follow-redirects` follows redirects of
    /// GET and HEAD here instead, to the same server and to those in `allow`; other methods never.
    ///
    /// What is stored, and the access log, can be read by this user alone; with a umask that lets
    /// the group write (002, 007), by the group too. Folders and files that are there already keep
    /// their modes, and where all users can read what is stored, it says so. Cookies go to the
    /// client whose request was answered and are not stored, without `keep-cookies`.
    ///
    /// Each option but `--store` can stand in the table `[pkgcache]` of larder.toml: `listen`,
    /// `allow`, `tunnel`, `intercept`, `allow-private`, `parent`, `offline`, `allow-remote`,
    /// `clients`, `token-file`, `max-object`, `heuristic-freshness`, `keep-cookies`, `drain-time`,
    /// `access-log`, `remote`; upstreams as `[pkgcache.upstream]`, with `NAME = "URL"` or `NAME =
    /// { url = "URL", kind = "apt", keyring = "FILE", keep-links = true, follow-redirects = true,
    /// keep-private = true, heuristic-freshness = true, mirrors = ["URL"], next-on-404 = true,
    /// credentials = "FILE", max-requests = 50, sumdb = "KEY URL", no-sumdb = ["GLOB"],
    /// read-only = true, digest-in-name = "use" }`;
    /// registries as `[pkgcache.registry]`, with `NAME = { url = "URL", tokens-from = "HOST" }`.
    /// Only there: `socket-mode`, `max-connections-per-client`, `ttl`, `stale-window` (a stored
    /// copy stands in for an upstream that fails for 7d beyond that; a 404 of an index counts as a
    /// failure, a 410 does not), `max-connections` (16384, and no more than three
    /// quarters of the files that may be open), `head-time` (a request's head has to come within
    /// 20s), `idle-time` (a connection on which the client lets nothing move is closed, 300s),
    /// `answer-time` (an upstream has to say something within 60s, from the end of the request's
    /// body on), `keep-events` (the counts in events/, 30d); `max-size` and `max-age`, which `gcctl
    /// run` keeps: what is unused for longest goes, also while this serves. Where this has stored
    /// something, it starts one that removes what is over `max-size` (`background = false` in
    /// [gcctl] forbids it). Variables: `LARDER_PKGCACHE_LISTEN`, `_UPSTREAM`, `_ALLOW`, `_TUNNEL`
    /// and `_INTERCEPT` (words), `_PARENT`, `_OFFLINE`, `_ALLOW_PRIVATE`, `_TOKEN_FILE`, `_REMOTE`.
    ///
    /// `ttl = { index = "60s", tag = "10s", pinned-by-name = "30d" }` says for how long the classes
    /// that `pkgcache why` names are handed on without a question: an index (60s; `index-ttl` for
    /// short), a registry's tag (as an index), and a file of which nothing says a checksum (for
    /// ever). It can stand in the table of a mount with a `kind`, and of a registry, too, where it
    /// goes first. What has a checksum cannot change, and for all else HTTP's rules hold.
    ///
    /// An upstream that cannot be reached is left alone for a second, then for twice as long each
    /// time, up to a minute; one that asks for it (429, or 503 with `Retry-After`) for as long as
    /// it says, up to an hour. After that one request finds out how it is, and the others get the
    /// stored copy, or the failure, at once. The same holds for one that package clients are served
    /// from while it fails; only what nothing stored can stand in for is asked of it all the same.
    ///
    /// Several caches share what they store in a bucket of an object store: `remote =
    /// "s3://BUCKET/PREFIX"`, or `https://HOST/BUCKET/PREFIX` (or `remote = { url = …, read-only =
    /// true, plain-http = true, time = "5s", wait = "10s" }`). The account is in
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_REGION`, the
    /// server of `s3://` in `AWS_ENDPOINT_URL` where it is not Amazon's. What is not stored here is
    /// looked for there, and what an upstream gave is written there afterwards; at the end for up
    /// to `drain-time`. An answer of the bucket's that does not come within `time` is not waited
    /// for, nor another node that fetches the same for longer than `wait`. A bucket in trouble is
    /// left alone for a while, with a warning. Answers to requests with credentials, and tags of
    /// registries, stay with each node. `plain-http` lets it be another machine's without TLS.
    ///
    /// `[pkgcache.guards]` keeps packages from clients, with a 403 that names the guard; each is
    /// off unless it is set (crates/pkgcache/GUARDS.md has an example of each). Packages are
    /// written `KIND:NAME` or `KIND:NAME@VERSION`, with `*`. `namespace = { "npm:@acme/*" = "MOUNT"
    /// }`: such a name is sent to no other upstream. `block` and `allow` are lists. `osv =
    /// ["FILE"]` has advisories (JSON files, zips or folders of them; `{ files = ["FILE"], refuse =
    /// "all", ignore = ["ID"] }`, else those of malicious packages count), read again when they
    /// change. `cooldown = "7d"` is how old a version has to be, by its index's date, else since it
    /// was first seen here (`{ npm = "7d", apt = "2d" }`; `cooldown-except` is a list). `require =
    /// "indexed"` says who has to vouch for a file (`{ apt = "signed" }`). `withdrawn = "refuse"`
    /// refuses what its index took back, which has a mark otherwise. Indexes that are not signed
    /// are without what is refused. `read-only = true` of a mount or a registry serves only what is
    /// stored.
    ///
    /// `[pkgcache.intercept]` lists `hosts` whose https comes through the proxy and is cached, too:
    /// their tunnels end here, by an authority that clients have to trust (`pkgcache ca --help`,
    /// crates/pkgcache/INTERCEPTION.md; `ca` names its folder). All other tunnels stay closed to
    /// the cache.
    ///
    /// Where neither an upstream nor a host is set, the indexes of this machine's clients are
    /// cached, as `pkgcache detect` finds them; a line on stderr names each.
    Serve(Box<ServeArgs>),
    /// Run a command with a private cache that its package clients are led to
    ///
    /// Starts a server for this store on a port that stays the same, leads pip, uv, npm, pnpm,
    /// yarn, cargo, apt (its http sources), dnf and `huggingface_hub` to it, by variables and by a
    /// `cargo`, a `dnf`, a `pip` and a `uv` that go before the real ones on PATH, and ends with the
    /// command; git with Git LFS (but not what it pushes), rustup and `uv python`, where upstreams
    /// of kind `git-lfs` and `releases` are set. uv is led for `uv pip` alone, but for `uv pip
    /// compile`, and pip for all but `pip lock`: these would write the cache's address into lock
    /// files. `LARDER_PKGCACHE_URL` says where the cache is. The options are those of `serve`;
    /// where no upstream is set, the indexes of this machine's clients are cached. Where another
    /// `run` serves this store already, that server is used. Where hosts are intercepted, the
    /// command's https goes through the cache (`https_proxy`), and the command trusts its
    /// authority; all other hosts are tunnelled.
    ///
    /// Exit code: the command's; 126 or 127 where it cannot be started. On stderr stands what
    /// could not be served, and in a line what was saved; where another one's server is used, what
    /// other commands took of it meanwhile is in both. Where the store cannot be used, the
    /// command runs without the cache, with a warning; with `--offline` that is an error.
    Run(Box<RunArgs>),
    /// Run a command as `run` does, and write down all that it was given
    ///
    /// The record has a line for each object: URL, ecosystem, name, version, digest, size, who
    /// vouches for it; also what was not there, and the indexes that the cache itself needed to
    /// tell what a file has to be. `replay` gives another run exactly these, `export --record`
    /// carries them to another machine, `imgtar save --packages` keeps the record beside an image.
    /// `run --record` writes the same; but without a usable store `run` goes on, and this is an
    /// error. Indexes as they were given stay in the store until limits let them go (`gcctl`); with
    /// the image that the record belongs to, `gcctl pin --closure` holds them.
    Record(Box<RecordArgs>),
    /// Run a command with exactly what a record has, and ask no upstream
    ///
    /// Indexes are those that were recorded, whatever the upstream has today. What is not in the
    /// record is refused with 504, so that no client takes another version or another index for it,
    /// and named at the end; what was not there when it was recorded (404) is not there again. The
    /// cache is at the address at which it was recorded, with the same `--as`.
    ///
    /// Where the store has not all that the record names, nothing is run: that is named, and the
    /// exit code is 1. Else it is the command's. What a command fetches past the cache, such as
    /// through its own proxy, is not kept from it: unplug the network for that.
    Replay(Box<ReplayArgs>),
    /// Write stored objects to a file, for a machine that cannot reach the upstreams
    ///
    /// All that is stored, or what the options say. The same objects give the same file. URLs are
    /// in it with their queries, as in the store. With `--since`, bodies are left out that an
    /// earlier export carried; the file names them, so that `import` can tell what is missing.
    ///
    /// Exit code 1 where something that a record names is not stored any more: it is named.
    Export(ExportArgs),
    /// Store what an export has
    ///
    /// Each body is compared with its digest before it is stored, and what is here already is not
    /// written again. What is stored of the same URL stays; the newer answer counts. A damaged file
    /// is refused with the name of what is damaged (exit code 3); the objects before that are
    /// stored, and another import goes on after them.
    ///
    /// Exit code 1 where an earlier export has to be imported first: what is missing is named.
    /// Who wrote the file says what stands under which URL: import only what you trust as much as
    /// the upstreams. Signatures of apt and dnf are checked again with a mount's `keyring`.
    Import(ImportArgs),
    /// Say what a running cache holds and does
    ///
    /// Asks the server for what its page at `/` shows: what is stored by ecosystem, hits and
    /// what they saved, fetches under way, the age of indexes, what nobody vouches for, what
    /// could not be served. With `--json`, all of it as one object, as at `/status.json`. Fails
    /// where no cache answers.
    Status(StatusArgs),
    /// Fetch what lock files name, so that clients install it with the upstreams gone
    ///
    /// Reads Cargo.lock, package-lock.json, pnpm-lock.yaml, yarn.lock (1 and later), requirements
    /// with pinned versions, uv.lock, pylock.toml, poetry.lock, pdm.lock, go.sum, a list of
    /// images (images.txt), a list of packages for apt (apt.txt, with all that they depend on), and
    /// bills of materials (`CycloneDX`, SPDX 2). Each is asked for as its client would
    /// ask, from the upstreams that `serve` would have, and compared with the lock file's checksum.
    /// What is here already is not fetched again, so a run that was stopped goes on where it was.
    ///
    /// Prints what could not be had, and why; exits 1 then.
    Warm(Box<ListArgs>),
    /// Say whether all that lock files name is stored
    ///
    /// Asks no upstream, and reads every file. Prints what is missing, or is another than the lock
    /// file says, and exits 1 then.
    Check(Box<ListArgs>),
    /// Print the indexes that this machine's package clients use, as a part of larder.toml
    ///
    /// Reads the settings of pip, uv, npm, yarn, cargo, apt, dnf, `huggingface_hub`, docker, podman
    /// and containerd, and their variables. A client without settings is asked which index it has
    /// built in. Credentials are not printed: clients go on sending their own. Exits 1 where
    /// nothing was found.
    Detect(DetectArgs),
    /// Print what leads package clients to the cache
    ///
    /// By the upstreams that are set, or else found on this machine:
    /// `eval "$(pkgcache env)"`, `docker build $(pkgcache env --for docker) .`,
    /// `pkgcache env --for ci >> "$GITHUB_ENV"`. What a client takes from a file alone is told with
    /// the file's place.
    ///
    /// uv.lock and other lock files take down the index that was asked: with these variables set,
    /// `uv sync`, `lock`, `add` and `run` write the cache's address into uv.lock. `run` sets them
    /// for `uv pip` alone; set them so for yourself, too, where others are to use the lock file.
    Env(EnvArgs),
    /// Make and show the authority by which hosts are intercepted
    ///
    /// A client that reaches its server by https through a proxy asks for a tunnel, and nothing
    /// in it can be cached. For the hosts that `hosts` in [pkgcache.intercept] lists
    /// (`--intercept`), the tunnel ends here: the server shows a certificate of this authority's,
    /// made for the host and held in memory for a day at most, answers as it does for http, and
    /// asks the host itself over TLS that is checked as ever. So clients have to trust the
    /// authority. All other tunnels stay as they are.
    #[command(subcommand)]
    Ca(CaJob),
    /// List the stored URLs; with `--verbose` the responses of each, too
    ///
    /// The number of URLs and the bytes of their bodies, each once, are told on stderr.
    Ls {
        /// Only URLs with this text in them
        #[arg(default_value = "", hide_default_value = true, value_name = "TEXT")]
        part: String,
        #[command(flatten)]
        filter: Filter,
        /// Print sums: by ecosystem, source, name, version or architecture
        #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
        by: Option<ByWhat>,
    },
    /// Show all that is stored of a URL
    Info {
        /// The upstream's own URL, as `ls` prints it
        url: String,
    },
    /// Forget what is stored of URLs
    ///
    /// Bodies that no other URL has stay in the store until they are collected.
    Rm {
        /// The upstream's own URL, as `ls` prints it
        #[arg(required_unless_present_any = ["ecosystem", "name", "source"], conflicts_with_all = ["ecosystem", "name", "source"])]
        url: Option<String>,
        #[command(flatten)]
        filter: Filter,
    },
    /// Ask the upstream again at the next request of a URL
    ///
    /// What is stored is made stale, and stands in as ever where the upstream fails. A file that
    /// cannot change, such as one whose checksum an index says, is not asked for again: `rm` it.
    Refresh {
        /// The upstream's own URL, as `ls` prints it
        url: String,
    },
    /// Explain what becomes of a request for a URL
    ///
    /// What it is, who says what it has to be, for how long it is fresh and which setting says so,
    /// what is stored of it, and what would be asked for. Nothing is asked. Exit code 1 where
    /// nothing is stored.
    Why {
        /// The upstream's own URL, or a path of this server
        url: String,
    },
    /// Read every stored body and compare it with its digest, and with what its index announced
    ///
    /// Names what is damaged, takes it out of the store, and exits 3; after that, all is sound.
    Verify,
}

/// Does what the command line says.
pub(crate) fn run(cli: &Cli) -> miette::Result<Outcome> {
    let settings = Settings::of_process("pkgcache", &cli.common)?;
    let environment = settings.environment().clone();
    let store = settings.store_dir(cli.common.store.as_deref())?;
    let mut out = BufWriter::new(cli.output());
    let mut console = Console {
        out: &mut out,
        err: &mut io::stderr(),
        json: cli.common.json,
        quiet: cli.common.quiet,
        verbose: cli.common.verbose,
    };
    let set = || Options::load(&settings);
    let configured = |options: Options| {
        let options = doors::completed(options.or(set()?), &environment, &mut |_| {})?;
        options.config(&environment.folder)
    };
    let mut tell = say_where(!cli.common.quiet);
    Ok(match &cli.job {
        Job::Detect(args) => doors::detect(args, &set()?, &environment, cli.common.json, &mut console.out)?,
        Job::Env(args) => {
            let options = set()?;
            let is_set = !doors::is_unset(&options);
            let config = doors::completed(options, &environment, &mut |_| {})?;
            let config = config.config(&environment.folder)?;
            doors::env(args, (&config, is_set), &environment, &cli.common, &mut console.out)?
        }
        Job::Run(args) => {
            let mut tell = say_where(cli.common.verbose);
            let options = doors::completed(args.led.serve.options()?.or(set()?), &environment, &mut tell)?;
            let config = options.config(&environment.folder)?;
            let users = process::keep_to_ourselves();
            let store = Store::open_or_create(&store);
            let task = Task { led: &args.led, record: args.record.as_ref(), needs_cache: false };
            run::run(task, config, &environment, (store, users), cli.common.quiet)?
        }
        Job::Record(args) => {
            let config = configured(args.led.serve.options()?)?;
            let users = process::keep_to_ourselves();
            let store = Store::open_or_create(&store);
            let task = Task { led: &args.led, record: Some(&args.output), needs_cache: true };
            run::run(task, config, &environment, (store, users), cli.common.quiet)?
        }
        Job::Export(args) => carry::export(args, &Store::open(&store)?, &environment.folder, &mut console)?,
        Job::Import(args) => {
            process::keep_to_ourselves();
            carry::import(args, &Store::open_or_create(&store)?, &environment.folder, &mut console)?
        }
        Job::Replay(args) => {
            let config = configured(args.led.serve.options()?)?;
            let users = process::keep_to_ourselves();
            let store = Store::open_or_create(&store)?;
            replay::replay(args, config, &environment, (&store, users), cli.common.quiet)?
        }
        Job::Warm(args) | Job::Check(args) => {
            let what = if matches!(cli.job, Job::Warm(_)) { What::Warm } else { What::Check };
            let config = configured(args.upstreams.options()?)?;
            process::keep_to_ourselves();
            let store = Store::open_or_create(&store)?;
            warm::run(what, args, config, &environment, store, &mut console)?
        }
        Job::Serve(args) => {
            let folder = environment.folder.clone();
            let known = RefCell::new(Vec::new());
            let tell = RefCell::new(&mut tell);
            let load = || {
                still_there(&known.borrow())?;
                let settings = Settings::load(environment.clone());
                *known.borrow_mut() = settings.files().map(Utf8Path::to_owned).collect();
                let options = args.options()?.or(Options::load(&settings)?);
                let mut tell = tell.borrow_mut();
                doors::completed(options, &environment, &mut **tell)?.config(&folder)
            };
            process::keep_to_ourselves();
            process::serve(load()?, Store::open_or_create(&store)?, load, &mut console.out)?
        }
        Job::Ca(job) => ca::run(job, &set()?, &environment, &mut console)?,
        Job::Ls { part, filter, by } => {
            let which = Selection { part: part.clone(), ..filter.selection() };
            commands::ls(&Store::open(&store)?.packages(), &which, by.map(ByWhat::by), &mut console)?
        }
        Job::Rm { url, filter } => {
            let which = Selection { url: url.clone(), ..filter.selection() };
            commands::rm(&Store::open(&store)?.packages(), &which, &mut console)?
        }
        Job::Refresh { url } => {
            commands::refresh(&Store::open(&store)?.packages(), &Selection::of_url(url), &mut console)?
        }
        Job::Info { url } => commands::info(&Store::open(&store)?.packages(), url, &mut console)?,
        Job::Why { url } => {
            let config = doors::completed(set()?, &environment, &mut |_| {})?.config(&environment.folder)?;
            process::why(config, Store::open(&store)?, url, &mut console)?
        }
        Job::Status(args) => {
            let config = set()?.config(&environment.folder)?;
            status::status(args, &config, &environment, &mut console)?
        }
        Job::Verify => commands::verify(&Store::open(&store)?.packages(), &mut console)?,
    })
}

/// Says what is set by itself, where that is wanted.
fn say_where(is_wanted: bool) -> impl FnMut(&str) {
    move |line| {
        if is_wanted {
            output::say(&format!("pkgcache: {line}"));
        }
    }
}

/// Refuses to go on without a settings file that was read before: it is more likely being replaced
/// than given up.
fn still_there(files: &[Utf8PathBuf]) -> miette::Result<()> {
    match files.iter().find(|path| !path.is_file()) {
        Some(path) => Err(miette::miette!(
            help = "put it back; an empty file, or a restart, drops what it said",
            "`{path}` is gone"
        )),
        None => Ok(()),
    }
}
