//! What a key is to be made of.

use camino::Utf8PathBuf;
use storekit::Platform;

use crate::dockerignore::Engine;
use crate::files::entry::ModePolicy;
use crate::path::RelPath;

/// What a key is to be made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder whose files are hashed.
    pub root: Utf8PathBuf,
    /// Which of them.
    pub selection: Selection,
    /// The engine whose ignore file hides files.
    pub engine: Engine,
    /// The ignore file in place of the one that the engine would choose.
    pub ignore_file: Option<Utf8PathBuf>,
    /// Which part of their modes.
    pub mode: ModePolicy,
    /// The build that the key is for, if it is for one.
    pub build: Option<Build>,
    /// Further values, by name.
    pub inputs: Vec<(String, String)>,
    /// A file that is never an input: where the key itself is kept.
    pub key_file: Option<Utf8PathBuf>,
    /// Whether a warning is an error.
    pub strict: bool,
    /// Whether a file that changes while it is read is worth a warning only.
    pub allow_changing: bool,
    /// Threads to use, at least 1. The key does not depend on it.
    pub threads: usize,
    /// The folder of the stat caches; `None` reads every file.
    pub cache: Option<Utf8PathBuf>,
}

/// Which files are inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those that the ignore files leave.
    Rules(Rules),
    /// These and no others.
    Files(Vec<RelPath>),
}

/// Whose ignore files hide files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Git's and the engine's: the project as its authors and its builds see it.
    All,
    /// Git's only.
    Git,
    /// The engine's only: what a build can read.
    Docker,
    /// No rules: everything counts.
    None,
}

/// A build of a Dockerfile.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The Dockerfile, relative to the working folder.
    pub dockerfile: Utf8PathBuf,
    /// The stage to build; `None` is the last one.
    pub target: Option<String>,
    /// Build args and their values.
    pub args: Vec<(String, String)>,
    /// The platform to build for.
    pub platform: Platform,
    /// Digests of base images, by the name that `FROM` has for them.
    pub bases: Vec<(String, String)>,
    /// Those of the bases that a build is to name by their digests, as [`crate::pinned`] does.
    pub pins: Vec<(String, String)>,
    /// Names by which a build is to name images in its Dockerfile, by those that it has for them.
    pub uses: Vec<(String, String)>,
    /// Of what the build fetches, by its address: the digest of the file, or the repository's
    /// commit.
    pub sources: Vec<(String, String)>,
    /// Those of them that the build is to check, as [`crate::pinned`] writes it.
    pub pinned_sources: Vec<(String, String)>,
    /// Named contexts: folders, or addresses with a scheme.
    pub contexts: Vec<(String, String)>,
}

impl Build {
    /// Whether the Dockerfile to build from is another one than that on disk.
    pub(crate) fn is_renamed(&self) -> bool {
        !(self.pins.is_empty() && self.uses.is_empty() && self.pinned_sources.is_empty())
    }
}

/// Args that every build knows: engines keep them out of their own cache, so they never enter a
/// key.
pub const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];
