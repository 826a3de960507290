//! `hashctx`: see `hashctx --help`.

mod cli;
mod run;

use std::process::ExitCode;

use clap::Parser;
use toolkit::Signals;

fn main() -> ExitCode {
    let cli = cli::Cli::parse().settle();
    toolkit::run(&Signals::listen("hashctx"), cli.common.color, |_| run::run(&cli))
}
