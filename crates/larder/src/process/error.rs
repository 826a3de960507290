//! Why a command did not do its work.

use std::io;

use camino::Utf8PathBuf;
use miette::Diagnostic;
use storekit::Platform;
use thiserror::Error;

use crate::outputs::OutputError;

/// Why a command did not do its work.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum RunError {
    #[error("cannot run `{program}`")]
    #[diagnostic(code(larder::cannot_run), help("it is looked for beside larder itself and on PATH"))]
    Start { program: String, source: io::Error },

    #[error("cannot follow `{program}`")]
    #[diagnostic(code(larder::lost))]
    Lost { program: String, source: io::Error },

    #[error("`{command}` {how}")]
    #[diagnostic(code(larder::failed), help("`-v` prints the command, to be run by hand"))]
    Failed { command: String, how: String, code: Option<u8> },

    #[error("the image has no place: the store does not take it, and no engine answers")]
    #[diagnostic(code(larder::nowhere), help("name another store with `--store DIR`"))]
    Nowhere,

    #[error("`{base}`, which comes before it, could not be baked")]
    #[diagnostic(
        code(larder::below),
        help("see its own error: what is made from the old one would be saved as made from the new")
    )]
    Below { base: String },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Output(#[from] OutputError),

    #[error("the image's files cannot be read: {0}")]
    #[diagnostic(code(larder::unextracted), help("`imgtar verify KEY` says what is wrong with it"))]
    Unextracted(String),

    #[error("the image that was just saved is damaged")]
    #[diagnostic(code(larder::outputs_lost), help("`larder bake --rebuild` makes it anew"))]
    OutputsLost,

    #[error("no engine: {0}")]
    #[diagnostic(
        code(larder::no_engine),
        help(
            "install docker and start its daemon, or podman; `LARDER_DOCKER` and `LARDER_PODMAN` name other commands"
        )
    )]
    NoEngine(String),

    #[error("{engine} has {has}, and larder.lock has {locked} from there: the build would not be from that")]
    #[diagnostic(
        code(larder::other_local),
        help(
            "`larder bake --update {name}` locks what {engine} has now; `lock = false` for the image takes whatever it has"
        )
    )]
    OtherLocal { engine: &'static str, has: String, name: String, locked: String },

    #[error("`{command}` was ended: it took longer than {limit}")]
    #[diagnostic(code(larder::late), help("`timeout` in larder.toml says how long it may take"))]
    Late { command: String, limit: String },

    #[error("`{command}` {how}, for {platform} on a machine of {own}")]
    #[diagnostic(
        code(larder::foreign_platform),
        help(
            "a `RUN` of another platform needs an emulator: install qemu-user-static and binfmt-support on the engine's machine \
             (without it a step says `exec format error`), or build on a machine of that platform"
        )
    )]
    Foreign { command: String, how: String, code: Option<u8>, platform: String, own: String },

    #[error("{0}")]
    #[diagnostic(
        code(larder::other_platform),
        help("install docker's plugin buildx, or build with podman: `--engine podman`")
    )]
    OtherPlatform(String),

    #[error("the Dockerfile `{path}` is not a regular file")]
    #[diagnostic(code(larder::special_file), help("`dockerfile` in larder.toml is relative to `context`"))]
    SpecialFile { path: Utf8PathBuf },

    #[error("there is no Dockerfile `{path}`")]
    #[diagnostic(code(larder::no_dockerfile))]
    NoDockerfile {
        path: Utf8PathBuf,
        #[help]
        help: String,
    },

    #[error("the folder `{path}`, the context `{name}`, does not exist")]
    #[diagnostic(
        code(larder::no_named_context),
        help(
            "`contexts` names folders relative to larder.toml; where another image's `outputs` make it, name that in `needs`"
        )
    )]
    NoNamedContext { name: String, path: Utf8PathBuf },

    #[error("the context `{path}` {why}")]
    #[diagnostic(
        code(larder::no_context),
        help(
            "`context` is a folder, relative to larder.toml or to the compose project; left out, it is that folder itself"
        )
    )]
    NoContext { path: Utf8PathBuf, why: &'static str },

    #[error("docker needs its plugin buildx for `contexts`")]
    #[diagnostic(code(larder::no_contexts), help("install buildx, or build with podman: `--engine podman`"))]
    NoContexts,

    #[error("`{path}`, which the bake writes, would be an input of `{image}`: {by}")]
    #[diagnostic(
        code(larder::written_input),
        help(
            "each bake would change its key: hide it from the build with a line `{path}` in .dockerignore; `**/*.larder*` hides all that \
             larder writes beside the compose files"
        )
    )]
    WrittenInput { image: String, path: Utf8PathBuf, by: String },

    #[error("interrupted")]
    #[diagnostic(code(larder::interrupted))]
    Interrupted(u8),
}

impl RunError {
    /// The code that the command itself ended with, or that says by which signal it was killed.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Failed { code, .. } | Self::Foreign { code, .. } => *code,
            Self::Interrupted(code) => Some(*code),
            Self::Start { .. }
            | Self::Lost { .. }
            | Self::Nowhere
            | Self::OtherLocal { .. }
            | Self::Below { .. }
            | Self::Output(_)
            | Self::Unextracted(_)
            | Self::OutputsLost
            | Self::Late { .. }
            | Self::NoContexts
            | Self::OtherPlatform(_)
            | Self::WrittenInput { .. }
            | Self::SpecialFile { .. }
            | Self::NoContext { .. }
            | Self::NoDockerfile { .. }
            | Self::NoNamedContext { .. }
            | Self::NoEngine(_) => None,
        }
    }

    /// The same of a build for a platform: a machine of another one may not run what it built.
    #[must_use]
    pub(crate) fn of_build_for(self, platform: &Platform) -> Self {
        let own = Platform::host();
        match self {
            Self::Failed { command, how, code } if !runs(&own, platform) => {
                Self::Foreign { command, how, code, platform: platform.to_string(), own: own.to_string() }
            }
            other => other,
        }
    }

    /// Whether a signal asked larder itself to stop.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }
}

/// Whether a machine runs programs of the other platform by itself.
fn runs(own: &Platform, other: &Platform) -> bool {
    let older = [("amd64", "386"), ("arm64", "arm")];
    other.matches(own)
        || own.matches(other)
        || (own.os() == other.os() && older.contains(&(own.architecture(), other.architecture())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_another_machine_says_what_it_needs() {
        let after = |own: &str, other: &str| {
            let [own, other] = [own, other].map(|text| text.parse().expect("a platform"));
            runs(&own, &other)
        };
        assert!(after("linux/amd64", "linux/amd64/v3") && after("linux/amd64", "linux/386"));
        assert!(after("linux/arm64", "linux/arm/v7") && !after("linux/amd64", "linux/arm64"));
        let failed = RunError::Failed { command: "docker build".into(), how: "ended".into(), code: Some(1) };
        let told = failed.of_build_for(&"linux/s390x".parse().expect("a platform"));
        assert!(
            told.to_string().starts_with("`docker build` ended, for linux/s390x on a machine of "),
            "{told}"
        );
        assert_eq!(told.exit_code(), Some(1));
    }
}
