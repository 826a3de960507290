//! `gcctl`: see `gcctl --help`.

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
    toolkit::run(&Signals::listen("gcctl"), cli.common.color, |signals| cli::run(&cli, signals))
}
