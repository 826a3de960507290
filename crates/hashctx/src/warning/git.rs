//! Where git's view could make a key lie.

use miette::Diagnostic;
use thiserror::Error;

use crate::path::{RelPath, unescape};

/// Something about git's view that others may see differently.
#[derive(Clone, Debug, Error, Diagnostic, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum GitWarning {
    /// A submodule is not checked out. What stands in its folder, most often nothing, counts as it
    /// is.
    #[error("the submodule `{path}` is not checked out")]
    #[diagnostic(
        code(hashctx::git::missing_submodule),
        severity(Warning),
        help("run `git submodule update --init {path}`")
    )]
    MissingSubmodule { path: RelPath },

    /// A submodule's commit is not the one that the repository around it records.
    #[error("the submodule `{path}` is at {found}, but {recorded} is recorded")]
    #[diagnostic(
        code(hashctx::git::moved_submodule),
        severity(Warning),
        help("run `git submodule update {path}`, or commit its new state")
    )]
    MovedSubmodule {
        path: RelPath,
        recorded: String,
        /// The commit that is checked out.
        found: String,
    },

    /// A tracked file of a submodule was changed or removed.
    #[error("the submodule `{path}` has changes that are not committed, as in `{file}`")]
    #[diagnostic(
        code(hashctx::git::dirty_submodule),
        severity(Warning),
        help("commit or undo them: see `git -C {path} status`")
    )]
    DirtySubmodule {
        path: RelPath,
        /// One file that was changed, relative to the submodule.
        file: RelPath,
    },

    /// The repository's settings make git write CRLF into the work tree.
    #[error("git turns line ends into CRLF in `{path}`: the same commit has other files elsewhere")]
    #[diagnostic(
        code(hashctx::git::line_ends),
        severity(Warning),
        help("set `core.autocrlf` to `input` or `false` and check the files out again")
    )]
    LineEnds {
        /// The repository's folder, relative to the context; `.` for the context's own.
        path: String,
    },

    /// The context's `.git` file leads to a bare repository, as it does beside a set of work trees.
    #[error("git sees no work tree here: the repository is bare")]
    #[diagnostic(
        code(hashctx::git::bare),
        severity(Warning),
        help(
            "hash one of its work trees, or use `--ignore docker` where git's rules are not meant to apply"
        )
    )]
    Bare,

    /// A rule of the repository around the context leaves the whole context out.
    #[error("the whole folder is left out by `{pattern}` in `{file}`: only tracked files of it count")]
    #[diagnostic(
        code(hashctx::git::root_excluded),
        severity(Warning),
        help("use `--ignore docker` where git's rules are not meant to apply")
    )]
    RootExcluded { file: String, pattern: String },
}

impl GitWarning {
    /// The folder below the context that it is about; `None` for the context itself.
    #[must_use]
    pub fn path(&self) -> Option<RelPath> {
        match self {
            Self::MissingSubmodule { path }
            | Self::MovedSubmodule { path, .. }
            | Self::DirtySubmodule { path, .. } => Some(path.clone()),
            Self::LineEnds { path } => RelPath::new(unescape(path)?),
            Self::Bare | Self::RootExcluded { .. } => None,
        }
    }
}
