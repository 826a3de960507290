//! `cargo xtask`: see `cargo xtask --help`.

mod cli;

use std::process::ExitCode;

use clap::Parser;
use toolkit::{Color, Signals};

fn main() -> ExitCode {
    if let Some(ended) = toolkit::guard::enter() {
        return ended;
    }
    let args = cli::Args::parse();
    // It listens for itself: a signal is handed to its children.
    toolkit::run(&Signals::deaf("xtask"), Color::Auto, |signals| cli::run(args, signals))
}
