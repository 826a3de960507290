//! `imgtar`: see `imgtar --help`.

mod bar;
mod cli;
mod disks;
mod extracting;
mod initing;
mod run;
mod view;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let signals = run::set_up(&args.common);
    storekit::finish(run::run(args, &signals))
}
