//! A tool's manual, written by the tool itself: man pages and completions for shells.
//!
//! Only in programs that `cargo xtask dist` builds for this purpose.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use miette::{IntoDiagnostic, WrapErr};

use crate::{Outcome, finish};

/// The variable that names the folder for the manual.
pub const FOLDER: &str = "LARDER_MANUAL";

/// Writes the manual of the command line `C` where the environment asks for it: the exit code then.
/// `None`: the program does its work.
#[must_use]
pub fn written<C: CommandFactory>() -> Option<ExitCode> {
    let folder = std::env::var_os(FOLDER)?;
    let result = write(C::command(), Path::new(&folder));
    Some(finish(result.into_diagnostic().wrap_err("cannot write the manual").map(|()| Outcome::Yes)))
}

/// `man/NAME.1`, one for each subcommand too, and `completions/…` for bash, zsh and fish.
fn write(command: clap::Command, folder: &Path) -> io::Result<()> {
    let [man, completions] = ["man", "completions"].map(|name| folder.join(name));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    let mut command = command;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let name = command.get_name().to_owned();
        clap_complete::generate_to(shell, &mut command, name, &completions)?;
    }
    clap_mangen::generate_to(command.disable_help_subcommand(true), &man)
}
