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
use toolkit::Signals;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    toolkit::limits::raise_open_files();
    toolkit::run(&Signals::listen("imgtar"), args.common.color, |signals| run::run(args, signals))
}
