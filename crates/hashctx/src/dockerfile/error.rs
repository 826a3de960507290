//! What can be wrong with a Dockerfile, or with what was asked of it.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use crate::path::printable;

/// A fault, before it is tied to the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The bytes to mark.
    pub(super) span: Range<usize>,
    /// What is wrong, fit to follow a colon.
    pub(super) why: String,
}

impl Fault {
    pub(super) fn new(span: &Range<usize>, why: impl Into<String>) -> Self {
        Self { span: span.clone(), why: why.into() }
    }
}

/// A Dockerfile that `BuildKit` would refuse, too.
#[derive(Debug, Error, Diagnostic)]
#[error("{name}:{line}: {why}")]
#[diagnostic(
    code(hashctx::bad_dockerfile),
    help("the engine refuses this Dockerfile too: correct the marked text")
)]
pub struct DockerfileError {
    /// The Dockerfile, as the caller named it.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// The reason.
    pub why: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("{why}")]
    span: SourceSpan,
}

impl DockerfileError {
    pub(super) fn new(name: &str, bytes: &[u8], fault: Fault) -> Box<Self> {
        let Fault { span, why } = fault;
        // Stray bytes grow when they are replaced: measure the marked text after that.
        let shown = |range: Range<usize>| printable(bytes.get(range).unwrap_or_default());
        let why = printable(why.as_bytes());
        let before = shown(0..span.start);
        let line = before.matches('\n').count() + 1;
        let span = (before.len(), shown(span).trim_end().len()).into();
        let text = NamedSource::new(name, shown(0..bytes.len()));
        Box::new(Self { name: name.to_owned(), line, why, text, span })
    }
}
