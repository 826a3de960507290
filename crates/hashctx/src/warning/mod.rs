//! Where a key may not cover every input: what is worth saying although the key could be had.
//!
//! Deliberately absent: how a warning is printed; `--strict`.

pub(crate) mod git;

use camino::Utf8PathBuf;
use miette::Diagnostic;
use thiserror::Error;

use self::git::GitWarning;
use crate::path::RelPath;

/// Something that makes a key say less than its user may think. `--strict` turns every one of them
/// into an error.
#[derive(Clone, Debug, Error, Diagnostic, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum Warning {
    /// A store of larder's own lies inside the context, and no ignore file hides it from the
    /// engine.
    #[error("`{path}` is a larder store: it is not an input of the key, but the engine reads it")]
    #[diagnostic(
        code(hashctx::store_in_context),
        severity(Warning),
        help("hide it: add `{path}` to .dockerignore")
    )]
    StoreInContext { path: RelPath },

    /// The content of a file is not there, only Git LFS's pointer to it.
    #[error("`{path}` is a Git LFS pointer, not its content")]
    #[diagnostic(code(hashctx::lfs_pointer), severity(Warning), help("run `git lfs pull`"))]
    LfsPointer { path: RelPath },

    /// Files that only their owner can read. Engines copy the permissions into the image; the key
    /// does not have them.
    #[error("`{path}`{} cannot be read by others, in an image neither", and_more(*others))]
    #[diagnostic(code(hashctx::private), severity(Warning), help("run `chmod o+r`, or use `--mode full`"))]
    Private {
        path: RelPath,
        /// How many more there are.
        others: usize,
    },

    /// A file was written to while it was read, time and again.
    #[error("`{path}` changed while it was read")]
    #[diagnostic(code(hashctx::unsteady), severity(Warning), help("run again when nothing writes to it"))]
    Unsteady { path: RelPath },

    /// Two names of one folder differ in case only.
    #[error("`{path}` and `{other}` differ in case only")]
    #[diagnostic(
        code(hashctx::case_clash),
        severity(Warning),
        help("rename one: some file systems keep only one")
    )]
    CaseClash {
        /// One, escaped where it is not plain text.
        path: String,
        other: String,
    },

    /// Something about git's view that others may see differently.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitWarning),

    /// A repository's own files are inputs.
    #[error("`{path}` is among the inputs: the key changes with whatever git does there")]
    #[diagnostic(code(hashctx::repository), severity(Warning), help("add `{path}` to .dockerignore"))]
    Repository { path: RelPath },

    /// A base image's name has no digest, and `--base` does not give one.
    #[error("`{image}` may name another image later: its name has no digest")]
    #[diagnostic(
        code(hashctx::moving_tag),
        severity(Warning),
        help(
            "give its digest: `@sha256:…` in the Dockerfile, `--base {}=sha256:…`, or `base` in larder.toml",
            expanded(image)
        )
    )]
    MovingTag {
        /// The image, as `FROM` or `--from` has it, variables expanded but where build args decide.
        image: String,
    },

    /// An `ADD` fetches something that its address does not pin.
    #[error("line {line} fetches `{from}`, which may be something else later")]
    #[diagnostic(
        code(hashctx::moving_source),
        severity(Warning),
        help("give a file's `--checksum`, a repository's whole commit")
    )]
    MovingSource {
        /// The line of the Dockerfile, from 1.
        line: usize,
        /// The address as it is written there.
        from: String,
    },

    /// A named context is an address that does not pin what it names.
    #[error(
        "the context `{name}` may be something else later: its address has no digest and no whole commit"
    )]
    #[diagnostic(
        code(hashctx::moving_context),
        severity(Warning),
        help("give an image's digest, a repository's whole commit")
    )]
    MovingContext { name: String },

    /// An instruction names a source that is not there.
    #[error("line {line} names a source that is not in the context: the engine refuses it")]
    #[diagnostic(
        code(hashctx::missing_source),
        severity(Warning),
        help("correct it, or see with `--check-ignore` what hides it")
    )]
    MissingSource {
        /// The line of the Dockerfile, from 1.
        line: usize,
    },

    /// The value of a predefined proxy argument, which no key has, gets into the image.
    #[error("line {line} uses the proxy argument `{name}`, whose value is not in the key")]
    #[diagnostic(
        code(hashctx::proxy_arg),
        severity(Warning),
        help("leave it to the engine, which sets it for every `RUN`, or give the value another name")
    )]
    ProxyArg {
        /// The line of the Dockerfile, from 1.
        line: usize,
        name: String,
    },

    /// A digest was given for an image that the build does not use.
    #[error("the build does not use `{image}`: its digest is not in the key")]
    #[diagnostic(
        code(hashctx::base_unused),
        severity(Warning),
        help("give the name that `FROM` has for it, variables expanded")
    )]
    BaseUnused {
        /// The name that was given.
        image: String,
    },

    /// The build reads files that git ignores, and git's rules were to count.
    #[error("the build reads `{path}`{}, which git ignores: the key does not cover it", and_more(*others))]
    #[diagnostic(
        code(hashctx::hidden_source),
        severity(Warning),
        help("build from `hashctx --tar`, or leave out `--ignore`")
    )]
    HiddenSource {
        path: RelPath,
        /// How many more there are.
        others: usize,
    },

    /// The Dockerfile's own ignore file is empty, and the context's says something.
    #[error("an empty `{file}`: engines differ on whether `.dockerignore` counts then")]
    #[diagnostic(code(hashctx::empty_ignore_file), severity(Warning), help("remove it, or fill it"))]
    EmptyIgnoreFile { file: Utf8PathBuf },

    /// An exception of the ignore file names a folder above what an earlier line hides. Releases of
    /// docker part there.
    #[error(
        "`{path}` is hidden, but docker 20.10 and older send it: a later exception names a folder above it"
    )]
    #[diagnostic(
        code(hashctx::sent_by_older),
        severity(Warning),
        help(
            "to send it, let the exception name the path itself (`!folder/**`); to hide it, put its line after the exception"
        )
    )]
    SentByOlder { path: RelPath },

    /// A socket, a FIFO or a device: what becomes of it no ignore file says.
    #[error("`{path}` is a {what}: {why}")]
    #[diagnostic(code(hashctx::special_file), severity(Warning))]
    UnlikeAFile {
        path: RelPath,
        what: &'static str,
        /// What becomes of it.
        why: &'static str,
    },

    /// A tar has a Dockerfile that is not an input of the folder: its key covers one file more.
    #[error("`{path}` is an input of the tar only: without `--tar` the key is another one")]
    #[diagnostic(
        code(hashctx::dockerfile_in_tar),
        severity(Warning),
        help(
            "no engine hides it in a tar: keep it in the folder, hidden by no ignore file, or take the tar's key"
        )
    )]
    DockerfileInTar {
        /// Its place in the tar.
        path: RelPath,
    },

    /// The ignore file in a tar hides files that were hashed; some engines obey it.
    #[error("`{file}`, which is in the tar, hides `{path}`{} from some engines", and_more(*others))]
    #[diagnostic(code(hashctx::hidden_in_tar), severity(Warning), help("use `--ignore docker` or `all`"))]
    HiddenInTar {
        file: RelPath,
        /// The first file that it hides.
        path: RelPath,
        /// How many more there are.
        others: usize,
    },
}

/// The name that `--base` takes.
fn expanded(image: &str) -> &str {
    if image.contains('$') { "NAME-AS-EXPANDED" } else { image }
}

fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" and {others} more") }
}
