//! The Dockerfile's place in the tar, and what may go wrong between a tar and an engine.

use crate::config::{Build, Config, Rules, Selection};
use crate::context::Plan;
use crate::digest::Digest;
use crate::engine::EngineIgnore;
use crate::entry::{Content, Entry};
use crate::error::HashError;
use crate::listing::{Filter, Judgement, Kind, Listed};
use crate::path::RelPath;
use crate::precise::Precise;
use crate::regular;
use crate::select::below;
use crate::warning::Warning;

/// A file that is in the tar although it is no input.
pub(super) struct Extra {
    /// Its place in the tar.
    pub(super) path: RelPath,
    pub(super) bytes: Vec<u8>,
}

/// The Dockerfile, where it is not among the inputs: the build's own, else the one that an engine takes by itself. One from
/// outside the context is called `Dockerfile` in the tar, or `.Dockerfile` where an input has that name.
pub(super) fn dockerfile(
    config: &Config,
    plan: &Plan,
    listed: &[Listed],
) -> Result<Option<Extra>, HashError> {
    let is_listed = |path: &RelPath| position(listed, path).is_some();
    let standard = ["Dockerfile", ".Dockerfile"].map(|name| RelPath::new(name.as_bytes()));
    let (Some(build), Some(bytes)) = (&config.build, &plan.dockerfile) else {
        let Some(path) = standard.into_iter().flatten().next().filter(|path| !is_listed(path)) else {
            return Ok(None);
        };
        let file = config.root.join("Dockerfile");
        return match regular::read(file.as_std_path()) {
            Ok(bytes) => Ok(Some(Extra { path, bytes })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(HashError::read(&file)(source)),
        };
    };
    let path = match below(&config.root, &build.dockerfile) {
        Some(path) => Some(path).filter(|path| !is_listed(path)),
        None => standard.into_iter().flatten().find(|path| !is_listed(path)),
    };
    Ok(path.map(|path| Extra { path, bytes: bytes.clone() }))
}

/// Where the engine would see less than was hashed, or more than the key covers.
pub(super) fn warnings(
    config: &Config,
    extra: Option<&Extra>,
    listed: &[Listed],
) -> Result<Vec<Warning>, HashError> {
    let mut warnings = Vec::new();
    match (&config.build, extra) {
        (None, Some(extra)) => warnings.push(Warning::DockerfileNotInKey { path: extra.path.clone() }),
        (Some(build), Some(extra)) if copies(config, build, extra, listed)? => {
            warnings.push(Warning::DockerfileCopied { path: extra.path.clone() });
        }
        _ => {}
    }
    if !matches!(config.selection, Selection::Rules(Rules::All | Rules::Docker)) {
        warnings.extend(hidden_in_tar(config, listed)?);
    }
    Ok(warnings)
}

/// Whether the build reads the extra file as one of its sources, when it is given the tar.
fn copies(config: &Config, build: &Build, extra: &Extra, listed: &[Listed]) -> Result<bool, HashError> {
    let own = Listed { path: extra.path.clone(), kind: Kind::File };
    let all = listed.iter().cloned().chain([own]).collect();
    let read = Precise::new(build, &extra.bytes)?.narrow(None, &config.root, all);
    Ok(read.iter().any(|one| one.path == extra.path))
}

/// Some engines read the ignore file of a tar.
fn hidden_in_tar(config: &Config, listed: &[Listed]) -> Result<Option<Warning>, HashError> {
    let dockerfile = config.build.as_ref().map(|build| build.dockerfile.as_path());
    let Some(engines) = EngineIgnore::load(config, &config.root, dockerfile)? else { return Ok(None) };
    let Some(file) = below(&config.root, engines.file()).filter(|file| position(listed, file).is_some())
    else {
        return Ok(None);
    };
    let mut hidden = Vec::new();
    for one in listed {
        if engines.judge(one.path.as_bytes(), one.kind == Kind::Dir)? != Judgement::Keep {
            hidden.push(&one.path);
        }
    }
    let others = hidden.len().saturating_sub(1);
    Ok(hidden.first().map(|path| Warning::HiddenInTar { file, path: RelPath::clone(path), others }))
}

/// A Dockerfile that is an input too must not have changed since it was read for the build.
pub(super) fn check(config: &Config, plan: &Plan, entries: &[Entry]) -> Result<(), HashError> {
    let (Some(build), Some(bytes)) = (&config.build, &plan.dockerfile) else { return Ok(()) };
    let Some(path) = below(&config.root, &build.dockerfile) else { return Ok(()) };
    let at = entries.binary_search_by(|entry| entry.path.cmp(&path));
    match at.ok().and_then(|at| entries.get(at)).map(|entry| &entry.content) {
        Some(Content::File { digest, .. }) if *digest != Digest::of(bytes) => {
            Err(HashError::Vanished { path: path.to_string() })
        }
        _ => Ok(()),
    }
}

/// The list is sorted.
fn position(listed: &[Listed], path: &RelPath) -> Option<usize> {
    listed.binary_search_by(|one| one.path.cmp(path)).ok()
}
