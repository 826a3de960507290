//! What may go wrong between a tar and an engine.

use crate::config::{Config, Rules, Selection};
use crate::context::Plan;
use crate::context::tar_dockerfile::is_listed;
use crate::error::HashError;
use crate::files::digest::Digest;
use crate::files::entry::{Content, Entry};
use crate::files::stat::Kind;
use crate::listed::{Filter, Judgement, Listed};
use crate::listing::engine_ignore::EngineIgnore;
use crate::listing::select::below;
use crate::path::RelPath;
use crate::warning::Warning;

/// Some engines read the ignore file of a tar.
pub(super) fn hidden(config: &Config, listed: &[Listed]) -> Result<Option<Warning>, HashError> {
    if matches!(config.selection, Selection::Rules(Rules::All | Rules::Docker)) {
        return Ok(None);
    }
    let dockerfile = config.build.as_ref().map(|build| build.dockerfile.as_path());
    let Some(engines) = EngineIgnore::load(config, &config.root, dockerfile)? else { return Ok(None) };
    let Some(file) = below(&config.root, engines.file()).filter(|file| is_listed(listed, file)) else {
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
