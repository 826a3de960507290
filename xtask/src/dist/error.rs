//! Why there is no release.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use larder::process::runner::RunError;
use miette::Diagnostic;
use thiserror::Error;

/// Why there is no release.
#[derive(Debug, Error, Diagnostic)]
pub enum DistError {
    /// A command that failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Run(#[from] RunError),
    /// A file that cannot be read or written.
    #[error("cannot read or write `{path}`")]
    #[diagnostic(code(xtask::dist::file))]
    File {
        /// The file or folder.
        path: Utf8PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file that cannot be written under its name.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] storekit::Error),
    /// cargo-zigbuild is not there.
    #[error("cargo-zigbuild is not installed")]
    #[diagnostic(
        code(xtask::dist::zigbuild),
        help(
            "it builds programs that start on older systems: `pip install cargo-zigbuild` (with `ziglang`), or \
             `cargo install cargo-zigbuild`; `--native` builds for systems as new as this one"
        )
    )]
    NoZigbuild,
}

pub(crate) fn at(path: &Utf8Path) -> impl Fn(io::Error) -> DistError {
    let path = path.to_owned();
    move |source| DistError::File { path: path.clone(), source }
}
