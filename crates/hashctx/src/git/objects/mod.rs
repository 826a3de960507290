//! Reads single objects of a repository: what a sparse checkout leaves out of the work tree, and
//! commits.
//!
//! Loose ones, packs (index version 2) and alternates. Absent on purpose: writing, promised objects
//! of a partial clone (git would fetch them), and checking an object's name against its content.

mod delta;
mod pack;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::index::Oid;
use super::repo::{Repo, is_absent, os_path, read_optional};
use crate::error::git::GitError;

/// No object that is wanted here is larger.
const SIZE_LIMIT: u64 = 256 << 20;
/// How far alternates may name further ones, as in git.
const ALTERNATES_DEPTH: usize = 5;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Commit,
    Tree,
    Blob,
    Tag,
}

/// An object's kind and content.
pub(super) type Object = (ObjectKind, Vec<u8>);

/// Reads an object.
pub(super) fn read(repo: &Repo, oid: Oid) -> Result<Object, GitError> {
    for dir in object_dirs(repo)? {
        if let Some(object) = read_in(&dir, repo.hash_len, oid)? {
            return Ok(object);
        }
    }
    let name = oid.to_string();
    let (folder, file) = name.split_at(2);
    Err(GitError::damaged(repo.common_dir.join("objects").join(folder).join(file), "the object is missing"))
}

/// Where objects are: the repository's own folder, and those that it borrows from.
fn object_dirs(repo: &Repo) -> Result<Vec<PathBuf>, GitError> {
    let mut dirs = vec![repo.common_dir.join("objects")];
    let mut seen = BTreeSet::new();
    let mut level = dirs.clone();
    for _ in 0..ALTERNATES_DEPTH {
        let mut next = Vec::new();
        for dir in level.iter().filter(|dir| seen.insert((*dir).clone())) {
            next.extend(alternates(dir)?);
        }
        dirs.extend(next.iter().cloned());
        level = next;
    }
    Ok(dirs)
}

fn alternates(dir: &Path) -> Result<Vec<PathBuf>, GitError> {
    let text = read_optional(&dir.join("info/alternates"))?.unwrap_or_default();
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(lines.map(|line| dir.join(os_path(line))).collect())
}

fn read_in(dir: &Path, hash_len: usize, oid: Oid) -> Result<Option<Object>, GitError> {
    let name = oid.to_string();
    let (folder, file) = name.split_at(2);
    let path = dir.join(folder).join(file);
    match File::open(&path) {
        Ok(file) => return loose(file, &path).map(Some),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(GitError::read(path)(error)),
    }
    pack::read(&dir.join("pack"), hash_len, oid)
}

/// `kind size NUL content`, compressed.
fn loose(file: File, path: &Path) -> Result<Object, GitError> {
    let mut bytes = Vec::new();
    let inflated = ZlibDecoder::new(file).take(SIZE_LIMIT).read_to_end(&mut bytes);
    let damaged = || GitError::damaged(path, "it is not an object");
    inflated.map_err(|_| damaged())?;
    let end = bytes.iter().position(|&byte| byte == 0).ok_or_else(damaged)?;
    let content = bytes.split_off(end + 1);
    let header = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let (kind, size) = header.split_once(' ').ok_or_else(damaged)?;
    let kind = match kind {
        "commit" => ObjectKind::Commit,
        "tree" => ObjectKind::Tree,
        "blob" => ObjectKind::Blob,
        "tag" => ObjectKind::Tag,
        _ => return Err(damaged()),
    };
    let complete = size.parse() == Ok(content.len());
    complete.then_some((kind, content)).ok_or_else(damaged)
}

/// Reads a compressed stream that must give exactly `size` bytes.
fn inflate(from: impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > SIZE_LIMIT {
        return Err(io::Error::other("an object is too large"));
    }
    let mut bytes = Vec::new();
    ZlibDecoder::new(from).take(size + 1).read_to_end(&mut bytes)?;
    let complete = u64::try_from(bytes.len()) == Ok(size);
    complete.then_some(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
