//! Why a key could not be had.

use std::io;

use camino::Utf8PathBuf;
use miette::Diagnostic;
use thiserror::Error;

/// Why a key could not be had.
#[derive(Debug, Error, Diagnostic)]
pub enum HashError {
    /// A path could not be read.
    #[error("cannot read `{path}`")]
    #[diagnostic(code(hashctx::read), help("make it readable, or hide it with an ignore file"))]
    Read {
        /// The path, escaped where it is not plain text.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The folder to hash is not one.
    #[error("`{path}` is not a folder")]
    #[diagnostic(code(hashctx::not_a_folder), help("give the folder that holds the build context"))]
    NotAFolder {
        /// As it was given.
        path: Utf8PathBuf,
    },
}

impl HashError {
    /// An I/O error on a path, for `map_err`.
    pub fn read(path: impl ToString) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_string(), source }
    }
}
