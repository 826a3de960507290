//! From a configuration to a manifest: list, leave out, hash, declare.

use std::collections::BTreeSet;

use camino::Utf8Path;
use rayon::prelude::*;

use crate::clash;
use crate::config::{Build, Config, PROXY_ARGS};
use crate::digest::Digest;
use crate::entry::Entry;
use crate::error::HashError;
use crate::hash::Reader;
use crate::listing::Listed;
use crate::manifest::{Declared, Manifest, NamedEntries};
use crate::select;
use crate::stat_cache::StatCache;
use crate::warning::Warning;

/// What a context came to.
#[derive(Debug)]
pub struct Hashed {
    /// Everything that enters the key.
    pub manifest: Manifest,
    /// What makes the key say less than its user may think.
    pub warnings: Vec<Warning>,
}

/// What is to be hashed, before any file of the main context was read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The inputs in the main context, sorted by path.
    pub(crate) listed: Vec<Listed>,
    /// The Dockerfile's bytes, where the key is for a build.
    pub(crate) dockerfile: Option<Vec<u8>>,
    pub(crate) warnings: Vec<Warning>,
    declared: BTreeSet<Declared>,
    named: Vec<NamedEntries>,
}

/// Hashes a context.
///
/// # Errors
/// Where any input cannot be read: there is no key of a part. Where warnings are to be errors, those.
pub fn hash(config: &Config) -> Result<Hashed, HashError> {
    in_pool(config.threads, || {
        let mut plan = plan(config)?;
        let listed = std::mem::take(&mut plan.listed);
        let entries = read(config, &config.root, listed, &mut plan.warnings)?;
        finish(config, plan, entries)
    })?
}

pub(crate) fn plan(config: &Config) -> Result<Plan, HashError> {
    let mut warnings = Vec::new();
    let build = config.build.as_ref();
    let listed = list(config, &config.root, build.map(|build| build.dockerfile.as_path()), &mut warnings)?;
    let dockerfile = build.map(read_dockerfile).transpose()?;
    let mut declared: BTreeSet<Declared> = config.inputs.iter().map(input).collect();
    let mut named = Vec::new();
    if let (Some(build), Some(text)) = (build, &dockerfile) {
        declared.extend(of_build(build, text));
        named = named_folders(config, build, &mut warnings)?;
    }
    Ok(Plan { listed, dockerfile, warnings, declared, named })
}

pub(crate) fn finish(config: &Config, plan: Plan, entries: Vec<Entry>) -> Result<Hashed, HashError> {
    if config.strict && !plan.warnings.is_empty() {
        return Err(HashError::Strict { warnings: plan.warnings });
    }
    let manifest = Manifest { declared: plan.declared, entries, named: plan.named };
    Ok(Hashed { manifest, warnings: plan.warnings })
}

/// Runs `work` with that many threads for everything that it does in parallel.
fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, HashError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.map_err(|source| HashError::Threads { threads, source })?.install(work))
}

/// The inputs of one folder, sorted.
fn list(
    config: &Config,
    root: &Utf8Path,
    dockerfile: Option<&Utf8Path>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Listed>, HashError> {
    let mut listing = select::list(config, root, dockerfile)?;
    warnings.append(&mut listing.warnings);
    warnings.extend(clash::find(&listing.entries));
    listing.entries.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(listing.entries)
}

fn read(
    config: &Config,
    root: &Utf8Path,
    listed: Vec<Listed>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Entry>, HashError> {
    let cache = config.cache.as_deref().map(|folder| StatCache::open(folder, root));
    let reader = Reader::open(root, config.mode, cache.as_ref())?;
    let entries = reader.entries(listed)?;
    warnings.extend(reader.take_warnings());
    // A cache that cannot be written costs time, not the key.
    let _ = cache.map(StatCache::save);
    Ok(entries)
}

fn named_folders(
    config: &Config,
    build: &Build,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<NamedEntries>, HashError> {
    let mut folders: Vec<_> = build.contexts.iter().filter(|(_, place)| !has_scheme(place)).collect();
    folders.sort_unstable();
    let hashed = folders.into_iter().map(|(name, place)| {
        let place = Utf8Path::new(place);
        let listed = list(config, place, None, warnings)?;
        let entries = read(config, place, listed, warnings)?;
        Ok(NamedEntries { name: name.clone(), entries })
    });
    hashed.collect()
}

fn read_dockerfile(build: &Build) -> Result<Vec<u8>, HashError> {
    std::fs::read(&build.dockerfile).map_err(HashError::read(&build.dockerfile))
}

fn input((name, value): &(String, String)) -> Declared {
    Declared::Input(name.clone(), Digest::of(value.as_bytes()))
}

fn of_build(build: &Build, text: &[u8]) -> Vec<Declared> {
    let secret = |(name, value): &(String, String)| (name.clone(), Digest::of(value.as_bytes()));
    let mut declared =
        vec![Declared::Dockerfile(Digest::of(text)), Declared::Platform(build.platform.clone())];
    declared.extend(build.target.clone().map(Declared::Target));
    let args = build.args.iter().filter(|(name, _)| !PROXY_ARGS.contains(&name.as_str()));
    declared.extend(args.map(secret).map(|(name, digest)| Declared::Arg(name, digest)));
    declared.extend(build.bases.iter().map(|(name, digest)| Declared::Base(name.clone(), digest.clone())));
    let sources = build.contexts.iter().filter(|(_, place)| has_scheme(place));
    declared.extend(sources.map(secret).map(|(name, digest)| Declared::Source(name, digest)));
    declared
}

/// Whether a named context is an address and no folder.
fn has_scheme(place: &str) -> bool {
    place.contains("://") || place.starts_with("git@")
}
