//! Why a bake stopped. An image that cannot be built is no reason: the report says so.

use camino::Utf8PathBuf;
use miette::Diagnostic;
use thiserror::Error;

use crate::config::ConfigError;
use crate::config::chosen::ChosenError;
use crate::config::secrets::NoSecret;
use crate::lock::LockError;
use crate::process::runner::RunError;
use crate::tags::plan::TagError;

/// Why nothing was baked at all, or the bake stopped.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum BakeError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Chosen(#[from] ChosenError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Secret(#[from] NoSecret),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),

    #[error("larder.lock has no digest for {names}")]
    #[diagnostic(
        code(larder::not_locked),
        help(
            "run `larder lock` and commit larder.lock; `--locked`, the default where CI is set, writes nothing"
        )
    )]
    NotLocked { names: String },

    #[error(
        "what `{image}` is built from cannot be locked: its Dockerfile is for another `# syntax=` frontend"
    )]
    #[diagnostic(
        code(larder::not_lockable),
        help(
            "larder reads Dockerfiles of `docker/dockerfile` alone, and `--locked`, the default where CI is set, builds nothing that is not locked; \
             `lock = false` in `[image.{image}]` takes whatever is there"
        )
    )]
    NotLockable { image: String },

    #[error("there is nothing to update under `{name}`")]
    #[diagnostic(
        code(larder::nothing_to_update),
        help(
            "name an image of larder.toml that is baked, or an image as its Dockerfile has it, such as `debian:12`"
        )
    )]
    NothingToUpdate { name: String },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Tag(#[from] TagError),

    #[error("`{name}` is a disk, and only images can be proved")]
    #[diagnostic(code(larder::not_proved), help("name images; `--rebuild` makes a disk anew"))]
    NotProved { name: String },

    #[error("cannot make a temporary folder")]
    #[diagnostic(code(larder::temp), help("TMPDIR names the folder for temporary files"))]
    Temp(#[source] std::io::Error),

    #[error("cannot write the summary to {path}")]
    #[diagnostic(code(larder::summary), help("the images are baked; `--summary` names a file to append to"))]
    Summary {
        path: Utf8PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("cannot write the report")]
    #[diagnostic(code(larder::report))]
    Report(#[source] std::io::Error),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Run(#[from] RunError),
}
