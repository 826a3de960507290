//! Why a key could not be had: every error of the library, by what it is about.
//!
//! Deliberately absent: doubts that leave a key (`warning`), exit codes.

pub(crate) mod dockerfile;
pub(crate) mod dockerignore;
pub(crate) mod git;

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use thiserror::Error;

use self::dockerfile::DockerfileError;
use self::dockerignore::LoadError;
use self::git::GitError;
use crate::manifest::ManifestError;
use crate::warning::Warning;

/// Why a key could not be had.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum HashError {
    /// A path could not be read.
    #[error("cannot read `{path}`")]
    #[diagnostic(code(hashctx::read), help("make it readable, or hide it with an ignore file"))]
    Read {
        /// The path, escaped where it is not plain text.
        path: String,
        #[source]
        source: io::Error,
    },

    /// A file that the caller named could not be read.
    #[error("cannot read `{path}`")]
    #[diagnostic(code(hashctx::read), help("{help}"))]
    Named {
        /// As it was given.
        path: Utf8PathBuf,
        /// What to do about it.
        help: &'static str,
        #[source]
        source: io::Error,
    },

    /// The folder to hash is not one, or not there.
    #[error("`{path}` {}", if path.symlink_metadata().is_ok() { "is not a folder" } else { "does not exist" })]
    #[diagnostic(code(hashctx::not_a_folder), help("{help}"))]
    NotAFolder {
        /// As it was given.
        path: Utf8PathBuf,
        /// What to do about it.
        help: &'static str,
    },

    /// A path was gone, or something else, when it was to be read.
    #[error("`{path}` vanished or changed while the context was read")]
    #[diagnostic(code(hashctx::vanished), help("run again when nothing writes to the context"))]
    Vanished {
        /// The path, escaped where it is not plain text.
        path: String,
    },

    /// A file was written to while it was read, time and again.
    #[error("`{path}` changed while it was read")]
    #[diagnostic(
        code(hashctx::changing),
        help(
            "run again when nothing writes to it, or hide it with an ignore file; `--allow-changing` takes what was read"
        )
    )]
    Changing {
        /// The path, escaped where it is not plain text.
        path: String,
    },

    /// A FIFO, or a device; or a socket that took a file's place.
    #[error("`{path}` is a {what}")]
    #[diagnostic(
        code(hashctx::special_file),
        help("remove it, or hide it with an ignore file: no two engines copy it in the same way")
    )]
    Special {
        /// The path, escaped where it is not plain text.
        path: String,
        what: &'static str,
    },

    /// A Dockerfile has no end, or none in sight.
    #[error("`{path}` is larger than {mib} MiB")]
    #[diagnostic(code(hashctx::too_large), help("name a Dockerfile with `-f`"))]
    TooLarge {
        path: String,
        /// As much as is read.
        mib: u64,
    },

    /// A path of a list does not lie in the context.
    #[error("`{path}` is not a path below the context")]
    #[diagnostic(code(hashctx::outside), help("give paths relative to the context, without `..`"))]
    Outside {
        /// The path, escaped where it is not plain text.
        path: String,
    },

    /// A list of paths names none.
    #[error("the list in `{list}` names no path")]
    #[diagnostic(
        code(hashctx::empty_list),
        help(
            "see whether what wrote the list failed; where there may be no file at all, say `--allow-empty`"
        )
    )]
    EmptyList {
        /// As it was given.
        list: Utf8PathBuf,
    },

    /// A path of a list is not there.
    #[error("`{path}` is in the list, but cannot be read")]
    #[diagnostic(
        code(hashctx::listed),
        help(
            "list what is there, relative to the folder that is hashed; `git ls-files` names deleted files too"
        )
    )]
    Listed {
        /// The path, escaped where it is not plain text.
        path: String,
        #[source]
        source: io::Error,
    },

    /// A folder of a list holds what the list does not name.
    #[error("`{path}` is a folder, and the list names nothing of what is in it")]
    #[diagnostic(
        code(hashctx::listed_folder),
        help("list the files in it, or take the folder off the list: its name alone says nothing of them")
    )]
    ListedFolder {
        /// The path, escaped where it is not plain text.
        path: String,
    },

    /// A path of a list leads through a symbolic link.
    #[error("`{path}` lies beyond the symbolic link `{link}`")]
    #[diagnostic(
        code(hashctx::beyond_link),
        help("list the link itself, and the files where they really are")
    )]
    BeyondLink {
        /// The path, escaped where it is not plain text.
        path: String,
        link: String,
    },

    /// The folder to hash is a store of larder's.
    #[error("`{path}` is a larder store, which is never an input")]
    #[diagnostic(code(hashctx::is_a_store))]
    IsAStore {
        /// As it was given.
        path: Utf8PathBuf,
    },

    /// The threads could not be started.
    #[error("cannot start {threads} threads")]
    #[diagnostic(code(hashctx::threads), help("ask for fewer with `--threads`"))]
    Threads {
        threads: usize,
        #[source]
        source: rayon::ThreadPoolBuildError,
    },

    /// The output could not be written.
    #[error("cannot write")]
    #[diagnostic(code(hashctx::write))]
    Write(#[source] io::Error),

    /// There were warnings, and they were to be errors.
    #[error("the key may not cover every input (refused by `--strict`)")]
    #[diagnostic(code(hashctx::strict))]
    Strict {
        #[related]
        warnings: Vec<Warning>,
    },

    /// A manifest could not be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Manifest(#[from] ManifestError),

    /// An engine's ignore file cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ignore(#[from] LoadError),

    /// The Dockerfile cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dockerfile(#[from] Box<DockerfileError>),

    /// The engine runs the C preprocessor over the Dockerfile.
    #[error("podman runs the C preprocessor over `{path}`: what it includes cannot be told from the file")]
    #[diagnostic(
        code(hashctx::preprocessed),
        help("preprocess it before both, and name the result: `cpp -E -P -traditional -undef -iquote DIR {path} {}`", .path.as_str().trim_end_matches(".in"))
    )]
    Preprocessed { path: Utf8PathBuf },

    /// Git's view of the folder could not be had.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
}

impl HashError {
    /// An I/O error on a file that was named, for `map_err`.
    pub fn named(path: &Utf8Path, help: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Named { path: path.to_owned(), help, source }
    }

    /// An I/O error on a path of a list, for `map_err`.
    pub fn listed(path: impl ToString) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Listed { path: path.to_string(), source }
    }

    /// An I/O error on an input, for `map_err`.
    pub fn read(path: impl ToString) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_string(), source }
    }
}
