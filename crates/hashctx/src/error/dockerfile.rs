//! What can be wrong with a Dockerfile, or with what was asked of it.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use crate::path::printable;

/// A fault, before it is tied to the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The bytes to mark; `None` where the text is good, and what was asked of it is not.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong, fit to follow a colon.
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(span: &Range<usize>, why: impl Into<String>) -> Self {
        Self { span: Some(span.clone()), why: why.into() }
    }

    /// What was asked for is not there.
    pub(crate) fn asked(why: impl Into<String>) -> Self {
        Self { span: None, why: why.into() }
    }
}

/// A Dockerfile, or a wish for one of its stages, that `BuildKit` would refuse, too.
#[derive(Debug, Error, Diagnostic)]
#[error("{place}: {why}")]
#[diagnostic(code(hashctx::bad_dockerfile), help("{help}"))]
pub struct DockerfileError {
    /// The Dockerfile, as the caller named it.
    pub name: String,
    /// Line, from 1; 0 where it is about none.
    pub line: usize,
    /// What is wrong with the instruction.
    pub why: String,
    place: String,
    help: &'static str,
    #[source_code]
    text: NamedSource<String>,
    #[label("{why}")]
    span: Option<SourceSpan>,
}

impl DockerfileError {
    pub(crate) fn new(name: &str, bytes: &[u8], fault: Fault) -> Box<Self> {
        let Fault { span, why } = fault;
        // Stray bytes grow when they are replaced: measure the marked text after that.
        let shown = |range: Range<usize>| printable(bytes.get(range).unwrap_or_default());
        let (name, why) = (name.to_owned(), printable(why.as_bytes()));
        let text = NamedSource::new(&name, shown(0..bytes.len()));
        let Some(span) = span else {
            let (place, help) = (name.clone(), "give `--target` the name of one of its stages");
            return Box::new(Self { name, line: 0, why, place, help, text, span: None });
        };
        let before = shown(0..span.start);
        let line = before.matches('\n').count() + 1;
        let (place, span) = (format!("{name}:{line}"), (before.len(), shown(span).trim_end().len()).into());
        let help = "the engine refuses this Dockerfile too: correct the marked text";
        Box::new(Self { name, line, why, place, help, text, span: Some(span) })
    }

    /// A digest that cannot be added to a Dockerfile.
    pub(crate) fn unpinned(name: &str, bytes: &[u8], fault: Fault) -> Box<Self> {
        let help = "write the image's name as it is, without quotes and escapes, or with its digest";
        Box::new(Self { help, ..*Self::new(name, bytes, fault) })
    }
}
