//! Lets `gcctl` collect a store in the background.
//!
//! What fills a store starts it; whether anything is to be done, and how gently, is gcctl's to say.
//! It is no part of what started it: it prints nothing, and is not waited for.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};

/// The variable that forbids it, with `no`.
pub const VARIABLE: &str = "LARDER_BACKGROUND";

/// Whether the value of the variable forbids it.
#[must_use]
pub fn is_off(value: Option<&str>) -> bool {
    matches!(value, Some("no" | "none" | "off" | "false" | "0"))
}

/// The program that lies beside this one, else its name for PATH to find.
#[must_use]
pub fn beside(name: &str) -> String {
    let own = std::env::current_exe().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    let there = own.as_deref().and_then(Utf8Path::parent).map(|folder| folder.join(name));
    there.filter(|path| path.is_file()).map_or_else(|| name.to_owned(), Utf8PathBuf::into_string)
}

/// Starts `gcctl run --background` over the store, in the working folder.
///
/// # Errors
/// A program that cannot be started.
pub fn collect(gcctl: &str, folder: Option<&Utf8Path>, store: &Utf8Path) -> io::Result<()> {
    let mut command = Command::new(gcctl);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    command.args(["run", "--background", "--quiet", "--store", store.as_str()]);
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = silent.process_group(0).spawn()?;
    // Where this process lives on, nothing is left of the other one.
    thread::spawn(move || child.wait());
    Ok(())
}
