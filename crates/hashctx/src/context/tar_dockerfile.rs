//! The Dockerfile that a tar of the inputs needs, where it is not an input by itself.
//!
//! An engine that is given a tar takes the Dockerfile from it, and what it takes from there can be
//! copied into the image: `BuildKit` reads no ignore file of a tar. So where the build reads it as
//! a source, it is an input.

use std::io;

use crate::config::{Config, Rules, Selection};
use crate::context::dockerfile_mode::Precise;
use crate::error::HashError;
use crate::files::digest::Digest;
use crate::files::entry::{Content, Entry};
use crate::files::regular;
use crate::files::stat::Kind;
use crate::listed::Listed;
use crate::listing::select::below;
use crate::path::RelPath;
use crate::warning::Warning;

/// Permissions that the file has in the tar, whatever it has on disk.
pub(crate) const MODE: u16 = 0o644;

/// Those of a folder in the tar that is not an input.
pub(crate) const FOLDER_MODE: u16 = 0o755;

/// A file that is in the tar although no rule makes it an input.
#[derive(Debug)]
pub(crate) struct Extra {
    /// Its place in the tar.
    pub(crate) path: RelPath,
    /// As the tar has it.
    pub(crate) bytes: Vec<u8>,
    /// As it is on disk.
    digest: Digest,
    /// Whether the build depends on it beyond the lines that `-f` covers.
    is_input: bool,
}

impl Extra {
    /// The one of a build, where its Dockerfile is not listed; `listed` is sorted. One from outside
    /// the context is called `Dockerfile`, or `.Dockerfile` where an input has that name.
    pub(crate) fn of_build(
        config: &Config,
        (dockerfile, bytes): (&camino::Utf8Path, &[u8]),
        precise: &Precise,
        listed: &[Listed],
    ) -> Option<Self> {
        let free = |path: &RelPath| !is_listed(listed, path);
        let path = match below(&config.root, dockerfile) {
            Some(path) => Some(path).filter(free),
            None => standard().into_iter().find(free),
        }?;
        let own = Listed::new(path.clone(), Kind::File);
        let all = listed.iter().cloned().chain([own]).collect();
        let is_input = precise.narrow(None, &config.root, all).iter().any(|one| one.path == path);
        Some(Self { path, bytes: precise.pinned.clone(), digest: Digest::of(bytes), is_input })
    }

    /// The one that an engine takes by itself, where it is not listed.
    pub(crate) fn of_folder(config: &Config, listed: &[Listed]) -> Result<Option<Self>, HashError> {
        let Some(path) = standard().into_iter().next().filter(|path| !is_listed(listed, path)) else {
            return Ok(None);
        };
        let file = config.root.join("Dockerfile");
        match regular::read(file.as_std_path()) {
            Ok(bytes) => Ok(Some(Self { path, digest: Digest::of(&bytes), bytes, is_input: true })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HashError::read(&file)(source)),
        }
    }

    /// Whether the build reads it as a source.
    pub(crate) fn is_input(&self) -> bool {
        self.is_input
    }

    /// Puts it among the inputs, if it is one. They are sorted.
    pub(crate) fn join(self, config: &Config, entries: &mut Vec<Entry>) {
        if !self.is_input {
            return;
        }
        let permissions = config.mode.of_dir(FOLDER_MODE.into());
        for folder in self.path.parents().filter_map(RelPath::new) {
            match (permissions, entries.binary_search_by(|entry| entry.path.cmp(&folder))) {
                // A folder with something in it stands for its mode only.
                (None, Ok(at)) => drop(entries.remove(at)),
                (Some(_), Err(at)) => {
                    entries.insert(at, Entry { path: folder, content: Content::Dir { permissions } });
                }
                _ => {}
            }
        }
        let at = entries.partition_point(|entry| entry.path < self.path);
        let content = Content::File { digest: self.digest, mode: config.mode.of_file(MODE.into()) };
        entries.insert(at, Entry { path: self.path, content });
    }

    /// Where the same inputs without a tar have another key.
    pub(crate) fn warning(&self, config: &Config) -> Option<Warning> {
        let other = self.is_input && !from_a_tar(config);
        other.then(|| Warning::DockerfileInTar { path: self.path.clone() })
    }
}

/// Whether a build can get just these inputs from a tar only.
pub(crate) fn from_a_tar(config: &Config) -> bool {
    config.build.is_some() && !matches!(config.selection, Selection::Rules(Rules::Docker | Rules::None))
}

fn standard() -> Vec<RelPath> {
    ["Dockerfile", ".Dockerfile"].into_iter().filter_map(|name| RelPath::new(name.as_bytes())).collect()
}

/// The list is sorted.
pub(crate) fn is_listed(listed: &[Listed], path: &RelPath) -> bool {
    listed.binary_search_by(|one| one.path.cmp(path)).is_ok()
}
