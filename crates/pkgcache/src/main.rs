//! `pkgcache`: see `pkgcache --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    storekit::finish(cli::run(&cli::Cli::parse()))
}
