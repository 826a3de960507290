//! Where a submodule is not what the repository around it records.
//!
//! A file counts as unchanged where its size and time are those that git noted; else its content is
//! hashed. Limit: where a filter or line-end conversion makes the work tree differ from the object,
//! and times were lost by a copy, a clean file counts as changed. Files that are not tracked do not
//! make a submodule dirty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use ring::digest;

use super::folder::Top;
use super::index::{EntryKind, Index, Keep, Oid, Recorded};
use super::repo::{Repo, lstat, os_path};
use super::sparse;
use crate::error::git::GitError;
use crate::path::{RelPath, printable};
use crate::warning::git::GitWarning;

/// What is worth saying about the work tree at `path`, which is called `name` below the context.
/// `commit` is the recorded one of a submodule; an embedded repository has none.
pub(super) fn warnings(
    path: &Path,
    name: Option<RelPath>,
    repo: Option<&Repo>,
    commit: Option<Oid>,
) -> Result<Vec<GitWarning>, GitError> {
    let Some(name) = name else { return Ok(Vec::new()) };
    let mut warnings: Vec<_> = line_ends(&name.to_string(), repo).into_iter().collect();
    match (commit, repo) {
        (Some(_), None) => warnings.push(GitWarning::MissingSubmodule { path: name }),
        (Some(commit), Some(repo)) => warnings.extend(drift(path, name, repo, commit)?),
        (None, _) => {}
    }
    Ok(warnings)
}

/// What is worth saying about the submodules among these folders below `root`, which are sorted.
/// Where git's files cannot be read, nothing is.
#[must_use]
pub fn of_folders(root: &Path, folders: &BTreeSet<RelPath>) -> Vec<GitWarning> {
    let Some(root) = root.canonicalize().ok() else { return Vec::new() };
    let Ok(around) = Top::around(&root) else { return Vec::new() };
    let (mut tops, mut found) = (vec![around], Vec::new());
    for folder in folders {
        let path = root.join(folder.as_path());
        // The last one is the innermost.
        let within = |top: &Arc<Top>| Some((Arc::clone(top), path.strip_prefix(&top.path).ok()?.to_owned()));
        let Some((top, below)) = tops.iter().rev().find_map(within) else { continue };
        let Some(commit) = top.index.gitlink(below.as_os_str().as_bytes()) else { continue };
        let Ok(repo) = Repo::at(&path) else { continue };
        found.extend(warnings(&path, Some(folder.clone()), repo.as_ref(), Some(commit)).unwrap_or_default());
        tops.extend(repo.and_then(|repo| Top::new(path, Some(repo)).ok()));
    }
    found
}

/// The warning that a repository's settings change line ends.
pub(super) fn line_ends(name: &str, repo: Option<&Repo>) -> Option<GitWarning> {
    repo?.config.writes_crlf.then(|| GitWarning::LineEnds { path: name.to_owned() })
}

fn drift(path: &Path, name: RelPath, repo: &Repo, commit: Oid) -> Result<Option<GitWarning>, GitError> {
    let recorded = commit.to_string();
    match repo.head()? {
        Some(found) if found != recorded => {
            let found = printable(found.as_bytes());
            Ok(Some(GitWarning::MovedSubmodule { path: name, recorded, found }))
        }
        Some(_) => {
            let file = changed(path, repo, commit)?.and_then(RelPath::new);
            Ok(file.map(|file| GitWarning::DirtySubmodule { path: name, file }))
        }
        None => Ok(None),
    }
}

/// A tracked file that differs from the commit, if any.
fn changed(path: &Path, repo: &Repo, commit: Oid) -> Result<Option<Vec<u8>>, GitError> {
    let index = Index::read(&repo.git_dir, repo.hash_len, Keep::Stats)?;
    let written = lstat(&repo.git_dir.join("index"))?.map_or((0, 0), |meta| mtime(&meta));
    if let Some(staged) = staged(&index, repo, commit)? {
        return Ok(Some(staged));
    }
    for (name, kind, recorded) in index.recorded() {
        let file = path.join(os_path(name));
        if is_changed(&file, kind, &recorded, written)? {
            return Ok(Some(name.to_vec()));
        }
    }
    Ok(None)
}

/// A path whose entry in the index is not the commit's. Most often git has noted the tree of all
/// entries.
fn staged(index: &Index, repo: &Repo, commit: Oid) -> Result<Option<Vec<u8>>, GitError> {
    let Some(tree) = sparse::tree_of(repo, commit)? else { return Ok(None) };
    if index.tree == Some(tree) || !index.folders().is_empty() {
        return Ok(None);
    }
    let mut rows = Vec::new();
    sparse::tree(repo, tree, &[], 0, &mut rows)?;
    let mut committed: BTreeMap<_, _> =
        rows.into_iter().map(|(name, kind, oid)| (name, (kind, oid))).collect();
    for (name, kind, oid) in index.objects() {
        if committed.remove(name) != Some((kind, oid)) {
            return Ok(Some(name.to_vec()));
        }
    }
    Ok(committed.into_keys().next())
}

fn is_changed(
    path: &Path,
    kind: EntryKind,
    recorded: &Recorded,
    written: (u32, u32),
) -> Result<bool, GitError> {
    let Some(meta) = lstat(path)? else { return Ok(kind != EntryKind::Gitlink) };
    let same_kind = match kind {
        EntryKind::File => meta.is_file(),
        EntryKind::Symlink => meta.is_symlink(),
        // A submodule's own submodules are looked at when the walk comes to them.
        EntryKind::Gitlink | EntryKind::Folder => return Ok(false),
    };
    let same_size = u64::from(recorded.size) == meta.len() & u64::from(u32::MAX);
    if !same_kind {
        return Ok(true);
    }
    // git notes no size where it could not be sure; and what is as new as the index may have
    // changed after it.
    if !same_size && recorded.size != 0 {
        return Ok(true);
    }
    if same_size && recorded.mtime == mtime(&meta) && recorded.mtime < written {
        return Ok(false);
    }
    let content = match kind {
        EntryKind::Symlink => fs::read_link(path).map(|target| target.as_os_str().as_bytes().to_vec()),
        _ => fs::read(path),
    };
    Ok(blob_name(&content.map_err(GitError::read(path))?, recorded.oid) != Some(recorded.oid))
}

/// Seconds and nanoseconds, cut as in an index.
fn mtime(meta: &fs::Metadata) -> (u32, u32) {
    let low = |value: i64| u32::try_from(value & i64::from(u32::MAX)).unwrap_or_default();
    (low(meta.mtime()), low(meta.mtime_nsec()))
}

/// The name that git gives to a file's content, of the same length as another name.
fn blob_name(content: &[u8], like: Oid) -> Option<Oid> {
    let algorithm = match like.as_bytes().len() {
        20 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        _ => &digest::SHA256,
    };
    let mut hash = digest::Context::new(algorithm);
    hash.update(format!("blob {}\0", content.len()).as_bytes());
    hash.update(content);
    Oid::new(hash.finish().as_ref())
}
