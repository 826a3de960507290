//! From a configuration to a manifest: list, leave out, hash, declare. Conducts the other rooms.
//!
//! Deliberately absent: the rules themselves (`git`, `dockerignore`, `dockerfile`), the text of a
//! manifest (`manifest`), the streams.

pub mod check_ignore;
pub(crate) mod dockerfile_mode;
pub mod reader;
pub(crate) mod tar_dockerfile;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use crate::config::{Build, Config, Rules, Selection};
use crate::context::dockerfile_mode::{Precise, has_scheme};
use crate::context::reader::Reader;
use crate::context::tar_dockerfile::Extra;
use crate::dockerfile::{Base, Remote, Unknown};
use crate::dockerignore::choose;
use crate::error::HashError;
use crate::files::digest::Digest;
use crate::files::entry::{Entry, ModePolicy};
use crate::files::stat::Kind;
use crate::listed::{Listed, sorted_folders};
use crate::listing::case_clash;
use crate::listing::select;
use crate::manifest::{Declared, Manifest, NamedEntries};
use crate::path::RelPath;
use crate::stat_cache::{self, StatCache};
use crate::warning::Warning;

/// No Dockerfile is larger: `BuildKit` hands one on in a message of at most that many bytes.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// What a context came to.
#[derive(Debug)]
pub struct Hashed {
    /// Everything that enters the key.
    pub manifest: Manifest,
    /// What makes the key say less than its user may think.
    pub warnings: Vec<Warning>,
    /// What the build depends on that its Dockerfile and contexts do not tell.
    pub unknowns: Vec<Unknown>,
}

/// What is to be hashed, before any file of the main context was read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The inputs in the main context, sorted by path.
    pub(crate) listed: Vec<Listed>,
    /// The Dockerfile's bytes, where the key is for a build.
    pub(crate) dockerfile: Option<Vec<u8>>,
    /// What a tar of the inputs needs beside them, where the engine is to be given one.
    pub(crate) extra: Option<Extra>,
    /// Where the Dockerfile lies in the main context, and its bytes with the digests of the build's
    /// pins, if it has any.
    pub(crate) pinned: Option<(RelPath, Vec<u8>)>,
    pub(crate) warnings: Vec<Warning>,
    unknowns: Vec<Unknown>,
    declared: BTreeSet<Declared>,
    named: Vec<NamedEntries>,
}

/// Hashes a context.
///
/// # Errors
/// Where any input cannot be read: there is no key of a part. Where warnings are to be errors,
/// those.
pub fn hash(config: &Config) -> Result<Hashed, HashError> {
    in_pool(config.threads, || {
        let cache = cache(config, &config.root);
        let mut plan = plan(config, false, cache.as_ref())?;
        let listed = std::mem::take(&mut plan.listed);
        let entries = read(config, &config.root, cache, listed, &mut plan.warnings)?;
        finish(config, plan, entries)
    })?
}

/// The images that a build needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Those that it starts from or copies from, each once.
    pub bases: Vec<Base>,
    /// The image of the frontend that the Dockerfile names without a digest.
    pub frontend: Option<String>,
    /// Whether a frontend reads the Dockerfile that is not docker's own: whether the images are all
    /// of the build's is not known then.
    pub foreign: bool,
    /// What it fetches that its address does not pin, and that can be pinned.
    pub remotes: Vec<Remote>,
    /// Whether the frontend that the Dockerfile names checks what `ADD` fetches; None where that
    /// is not known.
    pub checks_sources: Option<bool>,
    /// The build args that no stage declares.
    pub unused_args: Vec<String>,
}

/// The images that a build needs. Of all its files only the Dockerfile is read.
///
/// # Errors
/// A Dockerfile that cannot be read or understood.
pub fn images(config: &Config) -> Result<Images, HashError> {
    let Some(build) = &config.build else { return Ok(Images::default()) };
    let precise = Precise::new(build, config.engine, &read_dockerfile(build)?)?;
    let frontend = precise.frontend().map(|(image, _)| image.to_owned());
    Ok(Images {
        bases: precise.images().to_vec(),
        frontend,
        foreign: precise.is_foreign(),
        remotes: precise.remotes().to_vec(),
        checks_sources: precise.checks_sources,
        unused_args: precise.unused_args,
    })
}

/// A Dockerfile that names the build's pins by their digests, and the ignore file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// The bytes of the ignore file that lies beside the Dockerfile, with what it adds to the
    /// Dockerfile's name. None: the engine reads the context's own, or none.
    pub ignore: Option<(String, Vec<u8>)>,
}

/// The Dockerfile of the configuration's build for an engine to read in its place.
///
/// # Errors
/// A Dockerfile, or an ignore file, that cannot be read or understood; an image that is named so
/// that no digest can be added.
pub fn pinned(config: &Config) -> Result<Option<Pinned>, HashError> {
    let Some(build) = &config.build else { return Ok(None) };
    let dockerfile = Precise::new(build, config.engine, &read_dockerfile(build)?)?.pinned;
    let found = choose::find(config.engine, &config.root, &build.dockerfile)?;
    let own = |(path, bytes): (Utf8PathBuf, Vec<u8>)| {
        Some((path.as_str().strip_prefix(build.dockerfile.as_str())?.to_owned(), bytes))
    };
    Ok(Some(Pinned { dockerfile, ignore: found.and_then(own) }))
}

/// `tar` where the inputs are to be written as one; `cache` where they are looked up in it.
pub(crate) fn plan(config: &Config, tar: bool, cache: Option<&StatCache>) -> Result<Plan, HashError> {
    let mut warnings = Vec::new();
    let build = config.build.as_ref();
    let dockerfile = build.map(read_dockerfile).transpose()?;
    let precise = match (build, &dockerfile) {
        (Some(build), Some(text)) => Some(Precise::new(build, config.engine, text)?),
        _ => None,
    };
    let mut declared: BTreeSet<Declared> = config.inputs.iter().map(input).collect();
    let (mut named, mut unknowns) = (Vec::new(), Vec::new());
    if let (Some(build), Some(precise)) = (build, &precise) {
        declared.extend(precise.declared(build));
        warnings.extend(precise.warnings(build));
        unknowns = precise.unknowns(build);
        named = named_folders(config, build, precise, &mut warnings)?;
    }
    // What is not read is not looked up.
    let cache = cache.filter(|_| precise.as_ref().is_none_or(|precise| precise.takes_all(None)));
    let narrow = precise.as_ref().map(|precise| (precise, None));
    let listed = list(config, &config.root, narrow, cache, &mut warnings)?;
    let extra = match (build, &dockerfile, &precise) {
        _ if !tar && !tar_dockerfile::from_a_tar(config) => None,
        (Some(build), Some(bytes), Some(precise)) => {
            Extra::of_build(config, (&build.dockerfile, bytes), precise, &listed)
        }
        _ => Extra::of_folder(config, &listed)?,
    };
    // What the tar has beside its inputs may be the source that the folder lacks.
    if extra.as_ref().is_some_and(Extra::is_input) {
        warnings.retain(|warning| !matches!(warning, Warning::MissingSource { .. }));
    }
    let pinned = build
        .filter(|build| build.is_renamed())
        .zip(precise)
        .and_then(|(build, precise)| Some((select::below(&config.root, &build.dockerfile)?, precise.pinned)));
    Ok(Plan { listed, dockerfile, extra, pinned, warnings, unknowns, declared, named })
}

pub(crate) fn finish(config: &Config, plan: Plan, mut entries: Vec<Entry>) -> Result<Hashed, HashError> {
    if config.strict && !plan.warnings.is_empty() {
        return Err(HashError::Strict { warnings: plan.warnings });
    }
    if let Some(extra) = plan.extra {
        extra.join(config, &mut entries);
    }
    let manifest = Manifest { declared: plan.declared, entries, named: plan.named };
    Ok(Hashed { manifest, warnings: plan.warnings, unknowns: plan.unknowns })
}

/// Runs `work` with that many threads for everything that it does in parallel.
fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T, HashError> {
    if rayon::current_num_threads() == threads {
        return Ok(work());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.map_err(|source| HashError::Threads { threads, source })?.install(work))
}

/// The inputs of one folder, sorted. For a build, those that it reads of the context of that name.
fn list(
    config: &Config,
    root: &Utf8Path,
    build: Option<(&Precise, Option<&str>)>,
    cache: Option<&StatCache>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Listed>, HashError> {
    let main = build.is_none_or(|(_, context)| context.is_none());
    let dockerfile = config.build.as_ref().map(|build| build.dockerfile.as_path()).filter(|_| main);
    let mut listing = select::list(config, root, dockerfile, cache)?;
    warnings.append(&mut listing.warnings);
    if let (Some((precise, context)), Selection::Rules(rules)) = (build, &config.selection) {
        listing.entries = precise.narrow(context, root, listing.entries);
        if matches!(rules, Rules::All | Rules::Git) {
            let hidden = precise.hidden_by_git(config, context, root, dockerfile, &listing.entries)?;
            warnings.extend(hidden);
        }
    }
    let sorted = |pair: &[Listed]| matches!(pair, [one, next] if one.path <= next.path);
    if !listing.entries.par_windows(2).all(sorted) {
        listing.entries.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }
    if let (Some((precise, context)), Selection::Rules(rules)) = (build, &config.selection) {
        warnings.extend(precise.missing(*rules, context, root, &listing.entries));
    }
    let folders = sorted_folders(&listing.entries);
    warnings.extend(select::repository(root, &folders));
    warnings.extend(case_clash::find(&listing.entries, &folders));
    let filled = filled(config.mode, &folders);
    if !filled.is_empty() {
        listing.entries.extend(filled);
        listing.entries.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(listing.entries)
}

/// The folders that are inputs although something lies in them: their modes enter with all others.
fn filled(mode: ModePolicy, folders: &[&[u8]]) -> Vec<Listed> {
    let folder = |path: &&[u8]| Some(Listed::new(RelPath::new(*path)?, Kind::Dir));
    if mode == ModePolicy::Full { folders.iter().filter_map(folder).collect() } else { Vec::new() }
}

fn read(
    config: &Config,
    root: &Utf8Path,
    cache: Option<StatCache>,
    listed: Vec<Listed>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Entry>, HashError> {
    let reader = Reader::open(root, config.mode, cache.as_ref())?.allow_changing(config.allow_changing);
    let (entries, lessons) = reader.entries(listed)?;
    warnings.extend(reader.take_warnings());
    // A cache that cannot be written costs time, not the key.
    let _ = cache.map(|cache| cache.save(&entries, &lessons));
    // There may be a million: they go while the key is made.
    rayon::spawn(move || drop(lessons));
    Ok(entries)
}

fn cache(config: &Config, root: &Utf8Path) -> Option<StatCache> {
    let folder = config.cache.as_deref().filter(|_| stat_cache::serves(root))?;
    Some(StatCache::open(folder, root))
}

fn named_folders(
    config: &Config,
    build: &Build,
    precise: &Precise,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<NamedEntries>, HashError> {
    let read = |(name, place): &&(String, String)| !has_scheme(place) && precise.reads(name);
    let mut folders: Vec<_> = build.contexts.iter().filter(read).collect();
    folders.sort_unstable();
    let hashed = folders.into_iter().map(|(name, place)| {
        let place = Utf8Path::new(place);
        let listed = list(config, place, Some((precise, Some(name))), None, warnings)?;
        let entries = self::read(config, place, cache(config, place), listed, warnings)?;
        Ok(NamedEntries { name: name.clone(), entries })
    });
    hashed.collect()
}

/// A pipe will do; what has no end will not.
pub(crate) fn read_dockerfile(build: &Build) -> Result<Vec<u8>, HashError> {
    let path = &build.dockerfile;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_DOCKERFILE + 1).read_to_end(&mut text));
    match read.map_err(HashError::named(path, "name the Dockerfile as seen from the working folder"))? {
        size if size as u64 > MAX_DOCKERFILE => {
            Err(HashError::TooLarge { path: path.to_string(), mib: MAX_DOCKERFILE >> 20 })
        }
        _ => Ok(text),
    }
}

fn input((name, value): &(String, String)) -> Declared {
    Declared::Input(name.clone(), Digest::of(value.as_bytes()))
}
