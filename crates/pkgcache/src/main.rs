//! `pkgcache`: see `pkgcache --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use toolkit::Signals;

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(written) = toolkit::manual::written::<cli::Cli>() {
        return written;
    }
    let cli = cli::Cli::parse();
    // A server listens for itself: it reads its settings anew on HUP, or passes signals on.
    let signals = if cli.listens() { Signals::deaf("pkgcache") } else { Signals::listen("pkgcache") };
    toolkit::run(&signals, cli.common.color, |_| cli::run(&cli))
}
