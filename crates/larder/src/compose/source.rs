//! The texts that a compose project is read from, and what is wrong in them, with the line marked.

use camino::{Utf8Path, Utf8PathBuf};
use miette::{
    Diagnostic, MietteError, MietteSpanContents, NamedSource, SourceCode, SourceSpan, SpanContents,
};
use storekit::printable;
use thiserror::Error;

pub(crate) use crate::config::compose::services::Place;

/// Why compose files cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum ComposeError {
    #[error("there is no compose file in {folder} or above it")]
    #[diagnostic(
        code(larder::compose_missing),
        help(
            "compose looks for `compose.yaml`, `compose.yml`, `docker-compose.yml` and `docker-compose.yaml`; name another one: \
             `larder bake --compose FILE`"
        )
    )]
    NotFound { folder: Utf8PathBuf },

    #[error("there is no `{path}`")]
    #[diagnostic(code(larder::compose_no_file), help("{help}"))]
    NoFile { path: Utf8PathBuf, help: &'static str },

    #[error("`{path}` is not UTF-8: line {line} has another letter")]
    #[diagnostic(code(larder::compose_not_text), help("save the file as UTF-8"))]
    NotText { path: Utf8PathBuf, line: usize },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Variables(#[from] Box<MisreadVariables>),

    #[error("the compose files have no service `{name}`")]
    #[diagnostic(code(larder::compose_no_service))]
    NoService {
        name: String,
        #[help]
        help: String,
    },

    #[error("larder cannot build the service `{name}`: {why}")]
    #[diagnostic(
        code(larder::compose_not_built),
        help("name services that are built from a folder of this machine; compose sees to the others")
    )]
    NotBuilt { name: String, why: String },

    #[error("no service of the compose files is built from a folder of this machine")]
    #[diagnostic(
        code(larder::compose_nothing),
        help(
            "larder bakes what is built here; a service of a profile counts where that is active: `--compose-profile NAME`"
        )
    )]
    Nothing,

    #[error("`{name}` is not a project name")]
    #[diagnostic(
        code(larder::compose_project),
        help("lower case letters, digits, `-` and `_`, a letter or a digit first: as compose has it")
    )]
    ProjectName { name: String },

    #[error("cannot write `{path}`")]
    #[diagnostic(code(larder::compose_temp), help("TMPDIR names the folder for temporary files"))]
    Temp { path: Utf8PathBuf, source: std::io::Error },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] storekit::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Misread(#[from] Box<Misread>),
}

/// A file that says something that is not understood.
#[derive(Debug, Error, Diagnostic)]
#[error("{name} is not understood: {message}")]
#[diagnostic(code(larder::compose))]
pub struct Misread {
    name: String,
    message: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    at: Option<SourceSpan>,
    #[help]
    help: String,
}

/// A file of variables that says something that is not understood. Its values may be secrets: none
/// is shown.
#[derive(Debug, Error, Diagnostic)]
#[error("`{path}` is not understood: line {line}, column {column}: {message}")]
#[diagnostic(code(larder::compose_variables))]
pub struct MisreadVariables {
    pub(crate) path: Utf8PathBuf,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    #[source_code]
    pub(crate) excerpt: OneLine,
    #[label("here")]
    pub(crate) at: SourceSpan,
    #[help]
    pub(crate) help: String,
}

/// A line of a file, without the others.
#[derive(Debug)]
pub(crate) struct OneLine {
    pub(crate) file: String,
    /// From 1 on.
    pub(crate) number: usize,
    pub(crate) text: String,
}

impl SourceCode for OneLine {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let part = self.text.read_span(span, before, after)?;
        let (data, at, column) = (part.data(), *part.span(), part.column());
        let line = self.number.saturating_sub(1);
        Ok(Box::new(MietteSpanContents::new_named(self.file.clone(), data, at, line, column, 1)))
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) at: Place,
    pub(crate) help: String,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>, at: &Place, help: impl Into<String>) -> Self {
        // A name from the file may have anything in it.
        Self { message: printable(&message.into()).into_owned(), at: at.clone(), help: help.into() }
    }
}

/// The texts that were read, in the order of reading.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

/// One text.
#[derive(Debug)]
pub(crate) struct Source {
    /// As people are shown it.
    pub(crate) name: String,
    pub(crate) path: Utf8PathBuf,
    pub(crate) text: String,
}

impl Sources {
    /// Adds a text; its number in places.
    pub(crate) fn add(&mut self, name: &str, path: &Utf8Path, text: String) -> usize {
        self.0.push(Source { name: name.to_owned(), path: path.to_owned(), text });
        self.0.len() - 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    pub(crate) fn get(&self, file: usize) -> Option<&Source> {
        self.0.get(file)
    }

    /// The line of a place, after its file: `docker-compose.yml:3`.
    pub(crate) fn line(&self, place: &Place) -> Option<String> {
        let source = self.0.get(place.file)?;
        let before = source.text.get(..place.at.start)?;
        Some(format!("{}:{}", source.name, before.matches('\n').count() + 1))
    }

    /// The error as people see it: with the text that it is in.
    pub(crate) fn explain(&self, fault: Fault) -> ComposeError {
        let Fault { message, at, help } = fault;
        let (name, text) = match self.0.get(at.file) {
            Some(source) => (source.name.clone(), source.text.clone()),
            None => (String::new(), String::new()),
        };
        let end = at.at.end.min(text.len());
        let range = at.at.start.min(end)..end;
        let text = NamedSource::new(&name, text);
        Misread { name, message, text, at: Some(range.into()), help }.boxed()
    }
}

impl Misread {
    fn boxed(self) -> ComposeError {
        ComposeError::Misread(Box::new(self))
    }
}
