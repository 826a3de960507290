//! What a sparse checkout leaves out of the work tree but git still knows: folders of the index
//! that are not expanded, and ignore files.

use std::path::Path;

use super::index::{EntryKind, Index, Oid, Row};
use super::objects::{self, ObjectKind};
use super::repo::{Repo, lstat, os_path};
use crate::error::git::GitError;

/// A tree in a hostile repository may name itself below itself.
const DEPTH_LIMIT: usize = 1000;
/// And name the same large tree many times over.
const ROW_LIMIT: usize = 20_000_000;

/// Puts the tracked paths below each folder of a sparse index into it, where that folder is on disk
/// after all.
pub(super) fn expand(index: Index, top: &Path, repo: &Repo) -> Result<Index, GitError> {
    let folders = index.folders();
    if folders.is_empty() {
        return Ok(index);
    }
    let mut rows = Vec::new();
    for (path, oid) in folders {
        let name = path.strip_suffix(b"/").unwrap_or(&path);
        let on_disk = top.join(os_path(name));
        if lstat(&on_disk)?.is_some_and(|meta| meta.is_dir()) {
            tree(repo, oid, &path, 0, &mut rows)?;
        }
    }
    index
        .replace_folders(&rows)
        .ok_or_else(|| GitError::damaged(&repo.common_dir, "a tree in it is not a tree"))
}

/// The content of a blob.
pub(super) fn blob(repo: &Repo, oid: Oid) -> Result<Vec<u8>, GitError> {
    object(repo, oid, ObjectKind::Blob)
}

/// The tree of a commit.
pub(super) fn tree_of(repo: &Repo, commit: Oid) -> Result<Option<Oid>, GitError> {
    let content = object(repo, commit, ObjectKind::Commit)?;
    let line = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().and_then(|line| Oid::from_hex(line.strip_prefix("tree ")?)))
}

/// Everything below a tree: path, kind and object of each.
pub(super) fn tree(
    repo: &Repo,
    oid: Oid,
    prefix: &[u8],
    depth: usize,
    rows: &mut Vec<Row>,
) -> Result<(), GitError> {
    let damaged = || GitError::damaged(&repo.common_dir, "a tree in it is damaged");
    let content = object(repo, oid, ObjectKind::Tree)?;
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        if rows.len() > ROW_LIMIT {
            return Err(damaged());
        }
        let (mode, name, oid, left) = tree_entry(rest, repo.hash_len).ok_or_else(damaged)?;
        rest = left;
        let path = [prefix, name].concat();
        match mode {
            b"40000" if depth < DEPTH_LIMIT => {
                tree(repo, oid, &[&path, &b"/"[..]].concat(), depth + 1, rows)?;
            }
            b"120000" => rows.push((path, EntryKind::Symlink, oid)),
            b"160000" => rows.push((path, EntryKind::Gitlink, oid)),
            [b'1', b'0', b'0', ..] => rows.push((path, EntryKind::File, oid)),
            _ => return Err(damaged()),
        }
    }
    Ok(())
}

/// Mode, name and object of one entry of a tree, and the bytes behind it.
type TreeEntry<'t> = (&'t [u8], &'t [u8], Oid, &'t [u8]);

/// `mode name NUL object`.
fn tree_entry(bytes: &[u8], hash_len: usize) -> Option<TreeEntry<'_>> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let (mode, rest) = bytes.split_at_checked(space)?;
    let rest = rest.get(1..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    let (name, rest) = rest.split_at_checked(end)?;
    let (oid, left) = rest.get(1..)?.split_at_checked(hash_len)?;
    Some((mode, name, Oid::new(oid)?, left))
}

fn object(repo: &Repo, oid: Oid, wanted: ObjectKind) -> Result<Vec<u8>, GitError> {
    match objects::read(repo, oid)? {
        (kind, content) if kind == wanted => Ok(content),
        _ => Err(GitError::damaged(&repo.common_dir, "an object in it is of another kind than its use")),
    }
}
