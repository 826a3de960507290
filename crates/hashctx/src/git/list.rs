//! The project's files below a folder, as git sees them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{Folder, Top};
use super::repo::Repo;
use super::rules::Decision;
use super::submodule;
use super::walk::Walk;
use crate::error::git::GitError;
use crate::listed::{Filter, Listed, Rule};
use crate::path::{RelPath, escape, printable};
use crate::stat_cache::StatCache;
use crate::warning::git::GitWarning;

/// What git sees below a folder.
#[derive(Debug, Default)]
pub struct GitListing {
    /// Files, links, and tracked specials, each once, most of them in order. Never a directory: git
    /// knows no empty ones.
    pub entries: Vec<Listed>,
    /// What others may see differently, in a fixed order.
    pub warnings: Vec<GitWarning>,
    /// The folders, but for the root itself, that may have a file CACHEDIR.TAG; no other one with
    /// an entry in it has.
    pub tagged: Vec<RelPath>,
}

/// Where a folder stands in its work tree.
pub(super) enum Place {
    Inside(Folder),
    /// A rule leaves it out, or a folder above it.
    Excluded(Excluded),
}

/// A folder that is left out.
pub(super) struct Excluded {
    pub(super) top: Arc<Top>,
    /// Relative to the top, ending in `/`.
    pub(super) path: Vec<u8>,
    pub(super) rule: Rule,
}

/// Lists the files below `root` that git takes for the project's: tracked or not ignored, and on
/// disk.
///
/// Links in `root` itself are followed, none below it. The same files come out whatever `threads`
/// is.
///
/// # Errors
/// Where a folder that counts cannot be read, or what git keeps about it is damaged.
pub fn list(root: &Path, threads: usize) -> Result<GitListing, GitError> {
    list_and_look(root, threads, None, None)
}

/// The same, each file being looked up in the cache of that root while its folder is open, and no
/// folder being entered that the filter prunes. What else it hides is listed.
///
/// # Errors
/// As [`list`].
pub fn list_and_look(
    root: &Path,
    threads: usize,
    cache: Option<&StatCache>,
    filter: Option<&dyn Filter>,
) -> Result<GitListing, GitError> {
    let root = root.canonicalize().map_err(GitError::read(root))?;
    if rayon::current_num_threads() == threads {
        return list_here(&root, cache, filter);
    }
    // Where a pool cannot be had, the threads that there are do as well.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
    let list = || list_here(&root, cache, filter);
    pool.map_or_else(|_| list(), |pool| pool.install(list))
}

/// The folder in a work tree's top, if `root` is one, that holds the repository itself and is not
/// called `.git`.
#[must_use]
pub fn own_folder(root: &Path) -> Option<RelPath> {
    let root = root.canonicalize().ok()?;
    Repo::at(&root).ok().flatten()?.own_folder(&root)
}

fn list_here(
    root: &Path,
    cache: Option<&StatCache>,
    filter: Option<&dyn Filter>,
) -> Result<GitListing, GitError> {
    // Two large files to be read, git's index and the cache.
    let (top, cache) = rayon::join(|| Top::around(root), || cache.filter(|cache| !cache.is_empty()));
    let top = top?;
    let walk = Walk::new(root, cache, filter)?;
    let mut listing = GitListing::default();
    listing.warnings.extend(submodule::line_ends(".", top.repo.as_ref()));
    listing.warnings.extend(top.repo.as_ref().filter(|repo| repo.config.bare).map(|_| GitWarning::Bare));
    match place(&top, root)? {
        Place::Inside(folder) => walk.run(root, folder),
        Place::Excluded(Excluded { top, path, rule: Rule { file, pattern, .. } }) => {
            let pattern = printable(pattern.as_bytes());
            listing.warnings.push(GitWarning::RootExcluded { file, pattern });
            walk.run_tracked(&top, &path);
        }
    }
    loop {
        let mut found = walk.take()?;
        listing.entries.reserve(found.runs.iter().map(Vec::len).sum());
        found.runs.iter_mut().for_each(|run| listing.entries.append(run));
        listing.warnings.append(&mut found.warnings);
        listing.tagged.append(&mut found.tagged);
        if found.later.is_empty() {
            break;
        }
        found.later.into_iter().for_each(|(path, folder)| walk.run(&path, folder));
    }
    listing.warnings.sort_by_cached_key(ToString::to_string);
    Ok(listing)
}

/// Goes down from the top to `root`, which is the top or lies below it.
pub(super) fn place(top: &Arc<Top>, root: &Path) -> Result<Place, GitError> {
    let mut folder = Folder::top(Arc::clone(top))?;
    let relative = root.strip_prefix(&top.path).unwrap_or(Path::new(""));
    for name in relative.iter().map(OsStrExt::as_bytes) {
        if let Some(decision) = folder.decide(name, true).filter(|decision| !decision.keeps) {
            let path = [relative.as_os_str().as_bytes(), b"/"].concat();
            let rule = rule(root, &decision);
            return Ok(Place::Excluded(Excluded { top: Arc::clone(top), path, rule }));
        }
        folder = folder.enter(name)?;
    }
    Ok(Place::Inside(folder))
}

/// The rule that decided, its file named from `root`.
pub(super) fn rule(root: &Path, decision: &Decision<'_>) -> Rule {
    let shared = root.iter().zip(decision.file).take_while(|(a, b)| a == b).count();
    let up = root.iter().skip(shared).map(|_| OsStr::new(".."));
    let file: PathBuf = up.chain(decision.file.iter().skip(shared)).collect();
    let file = escape(file.as_os_str().as_bytes()).into_owned();
    Rule { file, line: decision.line, pattern: String::from_utf8_lossy(decision.pattern).into_owned() }
}
