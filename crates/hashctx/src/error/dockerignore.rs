//! What can be wrong with an ignore file.

use std::io;
use std::ops::Range;

use camino::Utf8PathBuf;
use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use crate::path::printable;

/// A line that the reference refuses, too.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: `{pattern}` is not a pattern: {why}")]
pub struct PatternError {
    /// Line of the file, from 1.
    pub line: usize,
    /// The bytes of the file to mark: the pattern with its `!`.
    pub span: Range<usize>,
    /// The pattern as the file has it, stray bytes replaced.
    pub pattern: String,
    /// The reason, fit to follow a colon.
    pub why: String,
}

/// An ignore file that cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum LoadError {
    /// It exists and cannot be read.
    #[error("cannot read {path}")]
    #[diagnostic(
        code(hashctx::ignore_unreadable),
        help("the engine reads it before each build: make it a readable file, or remove it")
    )]
    Read {
        path: Utf8PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One of its lines is not a pattern.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pattern(Box<BadLine>),
}

/// A line that is not a pattern, with the file around it.
#[derive(Debug, Error, Diagnostic)]
#[error("{path}:{line}: `{pattern}` is not a pattern: {why}")]
#[diagnostic(
    code(hashctx::bad_ignore_pattern),
    help("the engine refuses this line too: correct it or remove it")
)]
pub struct BadLine {
    /// The ignore file that has the pattern.
    pub path: Utf8PathBuf,
    /// Line of the file, from 1.
    pub line: usize,
    /// The pattern as the file has it.
    pub pattern: String,
    /// What is wrong with the pattern.
    pub why: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("{why}")]
    span: SourceSpan,
}

impl LoadError {
    /// Ties an error to the file that it was found in.
    #[must_use]
    pub fn pattern(path: Utf8PathBuf, bytes: &[u8], error: PatternError) -> Self {
        let PatternError { line, span, pattern, why } = error;
        // Stray bytes grow when they are replaced: measure the marked text after that.
        let shown = |range: Range<usize>| printable(bytes.get(range).unwrap_or_default());
        let [pattern, why] = [pattern, why].map(|text| printable(text.as_bytes()));
        let span = (shown(0..span.start).len(), shown(span).len()).into();
        let text = NamedSource::new(path.as_str(), shown(0..bytes.len()));
        Self::Pattern(Box::new(BadLine { path, line, pattern, why, text, span }))
    }
}
