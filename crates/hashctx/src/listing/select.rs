//! Which files of a folder are inputs: puts the listers and the filters together as a configuration
//! says.

use camino::Utf8Path;
use rayon::prelude::*;

use crate::config::{Config, Rules, Selection};
use crate::error::HashError;
use crate::files::stat::Kind;
use crate::git::{self, GitListing};
use crate::listed::{Filter, Listed, Lister, Listing};
use crate::listing::engine_ignore::EngineIgnore;
use crate::listing::files_from::FilesFrom;
use crate::listing::stores;
use crate::listing::walk::Walk;
use crate::path::RelPath;
use crate::stat_cache::StatCache;
use crate::warning::Warning;

/// Entries that one thread judges at a time.
const CHUNK: usize = 1024;

/// Lists the inputs of a folder. `dockerfile` where it is the context of a build's own; `cache`
/// where they may be looked up on the way.
///
/// # Errors
/// Where the folder cannot be read in full, or an ignore file is invalid.
pub fn list(
    config: &Config,
    root: &Utf8Path,
    dockerfile: Option<&Utf8Path>,
    cache: Option<&StatCache>,
) -> Result<Listing, HashError> {
    if !root.is_dir() {
        let help = "give the folder that holds the build context";
        return Err(HashError::NotAFolder { path: root.to_owned(), help });
    }
    if stores::is_store(root.as_std_path()) {
        return Err(HashError::IsAStore { path: root.to_owned() });
    }
    let mut listing = match &config.selection {
        Selection::Files(paths) => FilesFrom { paths }.list(root, config.threads)?,
        Selection::Rules(rules) => under_rules(config, *rules, root, dockerfile, cache)?,
    };
    let found = stores::leave_out(root, &mut listing);
    listing.warnings.extend(found.into_iter().map(|path| Warning::StoreInContext { path }));
    if !config.engine.sends_sockets() {
        listing.entries.retain(|entry| entry.kind != Kind::Socket);
    }
    if let Some(own) = config.key_file.as_deref().and_then(|file| below(root, file)) {
        listing.entries.retain(|entry| entry.path != own);
    }
    Ok(listing)
}

fn under_rules(
    config: &Config,
    rules: Rules,
    root: &Utf8Path,
    dockerfile: Option<&Utf8Path>,
    cache: Option<&StatCache>,
) -> Result<Listing, HashError> {
    let engines = match rules {
        Rules::All | Rules::Docker => EngineIgnore::load(config, root, dockerfile)?,
        Rules::Git | Rules::None => None,
    };
    let filter = engines.as_ref().map(|engines| engines as &dyn Filter);
    let mut listing = match rules {
        Rules::Docker | Rules::None => {
            Walk { filter, no_sockets: !config.engine.sends_sockets() }.list(root, config.threads)?
        }
        Rules::All | Rules::Git => {
            let mut listing = gits(root, config.threads, cache, filter)?;
            if let Some(filter) = filter {
                hide(filter, &mut listing.entries)?;
            }
            listing
        }
    };
    listing.warnings.extend(engines.iter().flat_map(EngineIgnore::warnings));
    Ok(listing)
}

/// A repository's own files among the inputs, which lie in these folders: they change with every
/// `git fetch`.
pub(crate) fn repository(root: &Utf8Path, folders: &[&[u8]]) -> Option<Warning> {
    let plain = |folder: &&&[u8]| **folder == b".git" || folder.ends_with(b"/.git");
    let own = git::own_folder(root.as_std_path()).filter(|own| folders.contains(&own.as_bytes()));
    let path = own.or_else(|| folders.iter().find(plain).and_then(|folder| RelPath::new(*folder)));
    path.map(|path| Warning::Repository { path })
}

/// Drops what the filter hides.
fn hide(filter: &dyn Filter, entries: &mut Vec<Listed>) -> Result<(), HashError> {
    let kept: Vec<_> = entries.par_chunks(CHUNK).map(|some| filter.keeps(some)).collect();
    let kept: Vec<Vec<bool>> = kept.into_iter().collect::<Result<_, _>>()?;
    let mut kept = kept.into_iter().flatten();
    entries.retain(|_| kept.next().unwrap_or(true));
    Ok(())
}

fn gits(
    root: &Utf8Path,
    threads: usize,
    cache: Option<&StatCache>,
    filter: Option<&dyn Filter>,
) -> Result<Listing, HashError> {
    let GitListing { entries, warnings, tagged } =
        git::list_and_look(root.as_std_path(), threads, cache, filter)?;
    let warnings = warnings.into_iter().map(Warning::Git).collect();
    Ok(Listing { entries, warnings, tagged: Some(tagged) })
}

/// Where `file`, which need not exist, lies below the root.
pub(crate) fn below(root: &Utf8Path, file: &Utf8Path) -> Option<RelPath> {
    use std::os::unix::ffi::OsStrExt;
    let folder = file.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let folder = folder.as_std_path().canonicalize().ok()?;
    let file = folder.join(file.file_name()?);
    RelPath::new(file.strip_prefix(root.as_std_path().canonicalize().ok()?).ok()?.as_os_str().as_bytes())
}
