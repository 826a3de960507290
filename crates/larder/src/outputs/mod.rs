//! Files that a bake puts into the project: taken out of an image, or made as a disk.
//!
//! What was written for which key is noted in the store, for each image or disk of a project. By
//! that note a bake knows what is there and sound already, and which files of an earlier key are
//! to go; all others are the user's and stay. A note that is lost costs no more than a second
//! writing, and the files of earlier keys stay.

pub(crate) mod place;
pub(crate) mod record;
pub(crate) mod staged;
#[cfg(test)]
mod tests;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use thiserror::Error;

/// One line of `outputs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Where the files go, relative to larder.toml.
    pub to: Utf8PathBuf,
    /// Whether that is a folder whatever comes: it ends with a slash, or has several patterns.
    pub folder: bool,
    /// Patterns of absolute paths in the image, as `imgtar extract` reads them.
    pub from: Vec<String>,
}

/// Whether the path, relative to larder.toml, is one that no image may write to.
#[must_use]
pub fn is_reserved(path: &Utf8Path) -> bool {
    path.components().any(|part| part.as_str().eq_ignore_ascii_case(".git"))
        || ["larder.toml", "larder.lock", "larder.local.toml"].iter().any(|own| path == *own)
}

/// Why files could not be put into the project.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum OutputError {
    #[error("nothing in image `{image}` is called `{pattern}`")]
    #[diagnostic(
        code(larder::no_output),
        help(
            "`outputs` names files, folders or patterns from the image's root; does the build still make them?"
        )
    )]
    NoMatch { image: String, pattern: String },

    #[error("`{path}` is an output of `{image}` and would be an input of its own key: {by}")]
    #[diagnostic(
        code(larder::output_is_input),
        help("write its folder into .dockerignore, or put the output elsewhere")
    )]
    Input { image: String, path: Utf8PathBuf, by: String },

    #[error("`{path}` comes from `{owner}` and from `{other}`")]
    #[diagnostic(
        code(larder::two_owners),
        help("name another place in `outputs` of one of them: each bake would replace the other's file")
    )]
    TwoOwners { path: Utf8PathBuf, owner: String, other: String },

    #[error("`{path}` cannot be written: {why}")]
    #[diagnostic(code(larder::output_place), help("outputs are files below larder.toml's folder"))]
    Place { path: Utf8PathBuf, why: &'static str },

    #[error("`{path}` cannot be written: a folder stands there")]
    #[diagnostic(
        code(larder::output_folder),
        help("`\"{path}/\"` in larder.toml, with a slash, puts the file into the folder")
    )]
    Folder { path: Utf8PathBuf },

    #[error("cannot write the output `{path}`")]
    #[diagnostic(code(larder::output_unwritten))]
    Write { path: Utf8PathBuf, source: std::io::Error },

    #[error("`{glob}`, an input of disk `{disk}`, names no file")]
    #[diagnostic(code(larder::no_input), help("patterns are read from larder.toml's folder on"))]
    NoInput { disk: String, glob: String },

    #[error("cannot read the inputs `{glob}`")]
    #[diagnostic(code(larder::inputs_unread))]
    Inputs { glob: String, source: ignore::Error },

    #[error("`run` of disk `{disk}` {how}")]
    #[diagnostic(code(larder::run_failed), help("nothing was kept, and the old output stands"))]
    RunFailed { disk: String, how: String },

    #[error("`run` of disk `{disk}` made {made} of `$LARDER_OUTPUT`, and not {wanted}")]
    #[diagnostic(
        code(larder::no_disk),
        help("a folder is wanted where `output` ends with a slash, else a file")
    )]
    NoDisk { disk: String, made: &'static str, wanted: &'static str },

    #[error("the output `{path}` of disk `{disk}` is an input of its own key")]
    #[diagnostic(code(larder::output_is_input), help("put the output where no pattern of `inputs` finds it"))]
    DiskInput { disk: String, path: Utf8PathBuf },
}

/// Each pattern with its line.
pub(crate) fn lines(outputs: &[Output]) -> impl Iterator<Item = (&Output, &str)> {
    outputs.iter().flat_map(|output| output.from.iter().map(move |pattern| (output, pattern.as_str())))
}

/// Whether files of both may fall on one another: a place of one lies at, above or below one of the
/// other.
pub(crate) fn may_meet(outputs: &[Output], others: &[Output]) -> bool {
    let meet = |one: &Output, other: &Output| one.to.starts_with(&other.to) || other.to.starts_with(&one.to);
    outputs.iter().any(|one| others.iter().any(|other| meet(one, other)))
}

/// The lines in one text: other lines give other files.
pub(crate) fn spec(outputs: &[Output]) -> String {
    let text = |(output, pattern): (&Output, &str)| format!("{}\0{}\0{pattern}", output.to, output.folder);
    lines(outputs).map(text).collect::<Vec<_>>().join("\n")
}
