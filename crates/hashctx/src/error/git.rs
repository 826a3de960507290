//! Why git's view of a folder could not be had.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

/// Why git's view of a folder could not be had.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum GitError {
    /// A path could not be looked at. A listing with a gap would be a lie, so this ends it.
    #[error("cannot read `{}`", path.display())]
    #[diagnostic(code(hashctx::git::read), help("make it readable, or hide it with .gitignore"))]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    /// `.git` is a file that does not lead to a repository.
    #[error("`{}` leads to no git repository", path.display())]
    #[diagnostic(
        code(hashctx::git::broken_link),
        help(
            "git refuses this folder too: put the repository back where the file points, or remove the file"
        )
    )]
    BrokenLink {
        /// The `.git` file.
        path: PathBuf,
    },

    /// The index, or an object that it needs, is not what git writes.
    #[error("`{}` is damaged: {what}", path.display())]
    #[diagnostic(
        code(hashctx::git::damaged),
        help("see what `git fsck` says; `git reset` rebuilds an index")
    )]
    Damaged {
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },

    /// The repository uses something that is unknown here.
    #[error("`{}` needs {what}, which is not known here", path.display())]
    #[diagnostic(code(hashctx::git::unsupported), help("take the newest larder, or use `--ignore docker`"))]
    Unsupported { path: PathBuf, what: String },
}

impl GitError {
    /// An I/O error on a path, for `map_err`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.into(), source }
    }

    pub(crate) fn damaged(path: impl Into<PathBuf>, what: &'static str) -> Self {
        Self::Damaged { path: path.into(), what }
    }
}
