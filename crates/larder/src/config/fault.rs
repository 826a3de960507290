//! What is wrong in larder.toml, and where.

use std::ops::Range;

use camino::Utf8PathBuf;
use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use super::nearest::nearest;

/// Why larder.toml cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ConfigError {
    #[error("there is no `larder.toml` in {folder} or above it")]
    #[diagnostic(
        code(larder::no_config),
        help("`larder init` writes one; `[image.NAME]` with `context = \".\"` is enough")
    )]
    Missing { folder: Utf8PathBuf },

    #[error("cannot read {path}")]
    #[diagnostic(code(larder::config_unreadable), help("check that the file can be read by this user"))]
    Read { path: Utf8PathBuf, source: std::io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Box<Invalid>),
}

/// A larder.toml that says something that larder does not know.
#[derive(Debug, Error, Diagnostic)]
#[error("{name} {what}: {message}")]
#[diagnostic(code(larder::config))]
pub struct Invalid {
    pub(super) name: String,
    /// What follows from it for the file.
    pub(super) what: &'static str,
    pub(super) message: String,
    #[source_code]
    pub(super) text: NamedSource<String>,
    #[label("here")]
    pub(super) at: Option<SourceSpan>,
    #[help]
    pub(super) help: String,
}

/// What is wrong, and where: a place in the text of all layers together.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) at: Option<Range<usize>>,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, at: Range<usize>, help: impl Into<String>) -> Self {
        Self { message: message.into(), at: Some(at), help: help.into() }
    }
}

/// The fault that the TOML reader found.
pub(super) fn misread(error: &toml::de::Error) -> Fault {
    // toml's own message has a second line where it names the table; one line is enough beside the
    // mark.
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    let help = nearest_expected(&message).map_or_else(
        || "`larder reference` lists the keys of each table".to_owned(),
        |name| format!("is `{name}` meant?"),
    );
    Fault { message, at: error.span(), help }
}

/// Of ``unknown field `x`, expected one of `a`, `b` ``: what is nearest to x.
fn nearest_expected(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().filter(|_| message.starts_with("unknown "))?;
    nearest(unknown, quoted).map(ToOwned::to_owned)
}
