//! Where a key could lie: what is worth saying although the key could be had.

use miette::Diagnostic;
use thiserror::Error;

use crate::path::RelPath;

/// Something that makes a key say less than its user may think. `--strict` turns every one of them into an error.
#[derive(Clone, Debug, Error, Diagnostic, PartialEq, Eq)]
pub enum Warning {
    /// A store of larder's own lies inside the context, and no ignore file hides it from the engine.
    #[error("`{path}` is a larder store: it is no input of the key, but the engine reads it")]
    #[diagnostic(
        code(hashctx::store_in_context),
        severity(Warning),
        help("hide it: add `{path}` to .dockerignore")
    )]
    StoreInContext {
        /// The store's folder.
        path: RelPath,
    },
}
