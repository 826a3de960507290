//! `hashctx`: see `hashctx --help`.

mod cli;
mod run;

use std::process::ExitCode;

use clap::Parser;
use toolkit::Signals;

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(written) = toolkit::manual::written::<cli::Cli>() {
        return written;
    }
    let cli = cli::Cli::parse().settle();
    toolkit::run(&Signals::listen("hashctx"), cli.common.color, |_| run::run(&cli))
}
