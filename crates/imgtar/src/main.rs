//! `imgtar`: see `imgtar --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use toolkit::Signals;

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(written) = toolkit::manual::written::<cli::Args>() {
        return written;
    }
    if let Some(ended) = toolkit::guard::enter() {
        return ended;
    }
    let args = cli::Args::parse();
    toolkit::limits::raise_open_files();
    toolkit::run(&Signals::listen("imgtar"), args.common.color, |signals| cli::run::run(args, signals))
}
