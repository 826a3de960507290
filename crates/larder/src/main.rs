//! `larder`: see `larder --help`.

use std::process::ExitCode;

use clap::Parser;
use larder::cli;
use toolkit::{Color, Signals};

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(written) = toolkit::manual::written::<cli::Args>() {
        return written;
    }
    if let Some(ended) = toolkit::guard::enter() {
        return ended;
    }
    let args = cli::Args::parse();
    // It listens for itself: a signal is handed to its children.
    toolkit::run(&Signals::deaf("larder"), Color::Auto, |signals| cli::run(args, signals))
}
