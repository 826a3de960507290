//! `imgtar serve`: its flags, its signals, its messages.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use camino::Utf8PathBuf;
use imgtar::Error;
use imgtar::serve::{Config, Listener, Server};
use miette::Result;
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use storekit::Store;
use tokio::sync::oneshot;
use toolkit::output;
use toolkit::{Common, Outcome, Output, Settings, Signals};

/// Where a token may stand.
const TOKEN: &str = "LARDER_SERVE_TOKEN";
/// The exit code for SIGTERM, which ends a server as its user wants it.
const TERMINATED: u8 = 143;

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Where to listen, such as `localhost:5000`; port 0 takes any that is free
    ///
    /// Of a name's addresses, the first that this machine has is taken, IPv4 before IPv6; without
    /// `--allow-remote`, all of them must be loopback.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    listen: String,
    /// Listen on an address that other machines reach; a token is needed then
    #[arg(long)]
    allow_remote: bool,
    /// Take no pushes, and remove nothing
    #[arg(long)]
    read_only: bool,
    /// What clients must send as a password or a bearer's token, in a file; else in
    /// LARDER_SERVE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
}

/// Serves until SIGTERM (0), Ctrl-C (130) or SIGHUP (129); a second signal ends it at once.
pub(crate) fn serve(
    root: &camino::Utf8Path,
    settings: &Settings,
    common: &Common,
    args: &ServeArgs,
    signals: &Signals,
) -> Result<Outcome> {
    let listen = addresses(&args.listen)?;
    let store = Store::open_or_create(root)?;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let config = Config {
        allow_remote: args.allow_remote,
        read_only: args.read_only,
        token: token(settings, args)?,
        // What is left is for connections, uploads and the store's own work.
        leases: usize::try_from(files / 2).unwrap_or(512).clamp(64, 4096),
        listener: Arc::new(Log { requests: common.verbose }),
        ..Config::new(listen)
    };
    let server = Server::bind(&store, &config)?;
    // From now on a signal lets what is being answered come to its end.
    signals.hold();
    crate::cli::run::out(announce(server.address(), common.json))?;
    let (asked, asking) = oneshot::channel();
    // The server may have ended by itself.
    signals.on_asked(move |_| asked.send(()).unwrap_or_default());
    server.run(async {
        let _ = asking.await;
    })?;
    if signals.ended() == Some(Outcome::Code(TERMINATED)) {
        signals.answered();
    }
    Ok(Outcome::Yes)
}

/// The addresses of a host, those of IPv4 first: engines take them for this machine more readily.
fn addresses(listen: &str) -> Result<Vec<SocketAddr>, Error> {
    let unknown = |why: &dyn std::fmt::Display| Error::Usage {
        message: format!("cannot listen on `{listen}`: {why}"),
        help: "write an address or a name of this machine, and a port: `localhost:5000`, `127.0.0.1:0`, `[::1]:5000`",
    };
    let mut found: Vec<_> = listen.to_socket_addrs().map_err(|error| unknown(&error))?.collect();
    if found.is_empty() {
        return Err(unknown(&"the name has no address"));
    }
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

/// The one line on stdout: from then on the server answers.
fn announce(address: SocketAddr, as_json: bool) -> io::Result<()> {
    let url = format!("http://{address}");
    let line = if as_json { json!({ "url": url, "address": address.to_string() }).to_string() } else { url };
    let mut out = Output::report();
    writeln!(out, "{line}")?;
    out.flush()
}

fn token(settings: &Settings, args: &ServeArgs) -> Result<Option<String>, Error> {
    let Some(path) = &args.token_file else {
        return Ok(settings.environment().get(TOKEN).map(|token| token.trim().to_owned()));
    };
    let path = settings.environment().folder.join(path);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Input { path, source })?;
    Ok(Some(text.trim().to_owned()))
}

/// Messages on stderr.
struct Log {
    requests: bool,
}

impl Listener for Log {
    fn trouble(&self, message: &str) {
        output::say(message);
    }

    fn request(&self, line: &str) {
        if self.requests {
            output::say(line);
        }
    }
}
