//! What is wrong in larder.toml, and where.

use std::ops::Range;

use camino::Utf8PathBuf;
use miette::{Diagnostic, NamedSource, SourceSpan};
use storekit::printable;
use thiserror::Error;

use toolkit::nearest::nearest_expected;

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

    #[error("there is no `{path}`")]
    #[diagnostic(code(larder::no_config_file), help("`--file`, or LARDER_TOML, names the file itself"))]
    NoFile { path: Utf8PathBuf },

    #[error("`{path}` is not UTF-8: line {line} has another letter")]
    #[diagnostic(code(larder::config_not_text), help("save the file as UTF-8"))]
    NotText { path: Utf8PathBuf, line: usize },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] storekit::Error),

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
    #[label("and here")]
    pub(super) beside: Option<SourceSpan>,
    #[help]
    pub(super) help: String,
}

/// What is wrong, and where: a place in the text of all layers together.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) at: Option<Range<usize>>,
    /// The other place, where two do not go together.
    pub(crate) beside: Option<Range<usize>>,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, at: Range<usize>, help: impl Into<String>) -> Self {
        // A name from the file may have anything in it.
        let message = printable(&message.into()).into_owned();
        Self { message, at: Some(at), beside: None, help: help.into() }
    }

    /// The same, with the other of two places that do not go together.
    pub(super) fn and(self, beside: Range<usize>) -> Self {
        Self { beside: Some(beside), ..self }
    }
}

/// The fault that the TOML reader found.
pub(super) fn misread(error: &toml::de::Error) -> Fault {
    misread_beside(error, &[], &[])
}

/// The same in a table that has had these keys, too, which were taken out before. `own` are the
/// places of those that are left: a key of a table within is none of them.
pub(super) fn misread_beside(error: &toml::de::Error, own: &[Range<usize>], taken: &[&str]) -> Fault {
    // toml's own message has a second line where it names the table; one line is enough beside the
    // mark.
    let message = error.message().lines().next().unwrap_or_default();
    let is_own = error.span().is_some_and(|at| own.contains(&at));
    let taken: String = taken.iter().filter(|_| is_own).flat_map(|key| ["`", key, "`, "]).collect();
    let known = ", expected one of ";
    let message = match message.split_once(known).filter(|_| message.starts_with("unknown field ")) {
        Some((unknown, others)) => format!("{unknown}{known}{taken}{others}"),
        None => message.to_owned(),
    };
    let help = nearest_expected(&message).map_or_else(
        || "`larder reference` lists the keys of each table".to_owned(),
        |name| format!("is `{name}` meant?"),
    );
    Fault { message, at: error.span(), help, ..Fault::default() }
}
