//! Merges a split index: what this file holds, on top of a shared one.

use std::collections::HashSet;
use std::path::Path;

use super::parse::{self, Fault, Input, Link};
use super::{Index, Keep, ewah};
use crate::error::git::GitError;
use crate::git::repo::read_optional;

/// Reads the shared index that `link` names, and applies the entries of `own` to it: first those
/// that replace, in order, then those that are new.
pub(super) fn merge(
    git_dir: &Path,
    hash_len: usize,
    keep: Keep,
    own: &Index,
    link: &Link,
) -> Result<Index, GitError> {
    let path = git_dir.join(format!("sharedindex.{}", link.base));
    let base = if link.base.is_zero() {
        Index::default()
    } else {
        let bytes = read_optional(&path)?.ok_or_else(|| GitError::damaged(&path, "it is missing"))?;
        parse::parse(&bytes, hash_len, keep).map_err(|fault| fault.at(&path))?.0
    };
    apply(&base, own, link).map_err(|fault| fault.at(&git_dir.join("index")))
}

fn apply(base: &Index, own: &Index, link: &Link) -> Result<Index, Fault> {
    let (mut deleted, mut replaced) = (Vec::new(), Vec::new());
    if !link.bitmaps.is_empty() {
        let mut input = Input(&link.bitmaps);
        deleted = ewah::read(&mut input, base.entries.len())?;
        replaced = ewah::read(&mut input, base.entries.len())?;
    }
    if replaced.len() > own.entries.len() {
        return Err(Fault::Damaged("it replaces more entries than it holds"));
    }
    Ok(sorted(base, own, &deleted, &replaced))
}

/// One index of both, in order: an own entry takes the place of a shared one with its path and
/// stage, and, as in git, one that is merged takes the place of all stages.
fn sorted(base: &Index, own: &Index, deleted: &[usize], replaced: &[usize]) -> Index {
    let gone: HashSet<usize> = deleted.iter().chain(replaced).copied().collect();
    let mut rows: Vec<(&[u8], u8, &Index, usize)> =
        Vec::with_capacity(base.entries.len() + own.entries.len());
    for (at, &position) in replaced.iter().enumerate() {
        rows.push((base.name(position), own.key(at).1, own, at));
    }
    for at in replaced.len()..own.entries.len() {
        rows.push((own.name(at), own.key(at).1, own, at));
    }
    let new: HashSet<(&[u8], u8)> = rows.iter().map(|row| (row.0, row.1)).collect();
    let stands = |at: &usize| {
        let (name, stage) = base.key(*at);
        !gone.contains(at) && !new.contains(&(name, stage)) && !new.contains(&(name, 0))
    };
    rows.extend((0..base.entries.len()).filter(stands).map(|at| (base.name(at), base.key(at).1, base, at)));
    rows.sort_unstable_by_key(|row| (row.0, row.1));
    let mut merged = Index { tree: own.tree, ..Index::default() };
    for (name, _, from, at) in rows {
        merged.push(name, from, at);
    }
    merged
}
