//! What a release is made of: the tools with their manual, as an archive, a package for Debian and
//! its kin, and a wheel for Python's installers.
//!
//! Two runs on one commit give the same bytes: names are sorted, times are the commit's, and paths
//! of the machine are taken out of the programs. Deliberately absent: signing, and uploading.

mod about;
mod archive;
mod build;
mod deb;
mod error;
mod install;
mod payload;
mod wheel;

use std::io::Write;

use camino::Utf8Path;
use larder::process::runner::Runner;
use storekit::digest::Digest;
use storekit::files::replace::{Durability, replace};

use about::About;
pub use about::Libc;
pub use error::DistError;
use error::at;
pub use install::install;
pub use payload::{File, Payload};

/// Builds everything into `folder`, and prints a line for each file: digest and name, as
/// `sha256sum` does.
///
/// # Errors
/// Any of [`DistError`]; nothing half-made has a final name.
pub fn dist(libc: &Libc, folder: &Utf8Path, runner: &Runner, out: &mut impl Write) -> Result<(), DistError> {
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        arch: std::env::consts::ARCH,
        libc: libc.clone(),
        time: build::time(runner)?,
    };
    let payload = build::payload(libc, runner)?;
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let mut sums = String::new();
    for (name, bytes) in [
        archive::archive(&about, &payload).map_err(at(folder))?,
        deb::deb(&about, &payload).map_err(at(folder))?,
        wheel::wheel(&about, &payload).map_err(at(folder))?,
    ] {
        sums.extend([&Digest::of(&bytes).hex(), "  ", &name, "\n"]);
        let path = folder.join(name);
        replace(&path, &bytes, Durability::Synced)?;
    }
    let path = folder.join("SHA256SUMS");
    replace(&path, sums.as_bytes(), Durability::Synced)?;
    write!(out, "{sums}").and_then(|()| out.flush()).map_err(at(Utf8Path::new("the report")))
}
