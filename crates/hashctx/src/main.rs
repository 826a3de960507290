//! `hashctx`: see `hashctx --help`.

mod cli;
mod run;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    storekit::finish(run::run(&cli::Cli::parse().settle()))
}
