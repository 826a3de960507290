//! The programs and their manual, put where a user's shell finds them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use larder::process::runner::Runner;
use storekit::files::replace::{Durability, replace};

use super::about::Libc;
use super::build;
use super::error::{DistError, at};

/// Builds everything for this machine and puts it below `root`: `bin`, `share`. Prints each path.
///
/// # Errors
/// Any of [`DistError`].
pub fn install(root: &Utf8Path, runner: &Runner, out: &mut impl Write) -> Result<(), DistError> {
    for (name, file) in build::payload(&Libc::Native, runner)? {
        let path = root.join(name);
        let folder = path.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        replace(&path, &file.content, Durability::Synced)?;
        let mode = std::fs::Permissions::from_mode(file.mode());
        std::fs::set_permissions(&path, mode).map_err(at(&path))?;
        writeln!(out, "{path}").map_err(at(&path))?;
    }
    Ok(())
}
