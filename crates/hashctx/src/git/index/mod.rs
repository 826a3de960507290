//! The paths that git's index holds.
//!
//! Reads versions 2, 3 and 4, split and sparse indexes, of SHA-1 and SHA-256 repositories. The file
//! is taken for hostile: whatever breaks its format, its order or the rules of paths is an error.
//! Absent on purpose: its checksum (git does not check it either), and the extensions that only
//! save git time.

mod ewah;
mod parse;
mod split;

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::repo::read_optional;
use crate::error::git::GitError;
use crate::stat_cache::seek::seek;

/// The index of a work tree, or that of a folder without one: empty.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Objects of the entries that may be asked for: submodules, folders, and ignore files.
    objects: HashMap<usize, Oid>,
    /// One for each entry, where they were wanted.
    pub(super) stats: Vec<Recorded>,
    /// Whether any entry is left out of the work tree on purpose.
    any_skipped: bool,
    /// The tree that the entries make up, where git noted it.
    pub(super) tree: Option<Oid>,
}

/// An object's name, zeros at the end of a short one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Oid {
    bytes: [u8; 32],
    len: u8,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Symlink,
    /// A submodule.
    Gitlink,
    /// A folder of a sparse index, not expanded.
    Folder,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    len: u32,
    kind: EntryKind,
    stage: u8,
    skip_worktree: bool,
}

/// What git noted about a file when it last found it unchanged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) mtime: (u32, u32),
    pub(super) size: u32,
    pub(super) oid: Oid,
}

/// A path that a tree holds, what it is, and its object.
pub(super) type Row = (Vec<u8>, EntryKind, Oid);

/// What to keep of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its path and kind.
    Paths,
    /// What git noted about the file as well.
    Stats,
}

impl Index {
    /// Reads the index in `git_dir`; one that is not there is empty. Folders of a sparse index are
    /// left as they are.
    pub(super) fn read(git_dir: &Path, hash_len: usize, keep: Keep) -> Result<Self, GitError> {
        let path = git_dir.join("index");
        let Some(bytes) = read_optional(&path)? else { return Ok(Self::default()) };
        let (index, link) = parse::parse(&bytes, hash_len, keep).map_err(|fault| fault.at(&path))?;
        drop(bytes);
        let index = match link {
            Some(link) => split::merge(git_dir, hash_len, keep, &index, &link)?,
            None => index,
        };
        let damaged = || GitError::damaged(path, "its paths are not in order, or no paths");
        index.is_sound().then_some(index).ok_or_else(damaged)
    }

    /// Whether a path is tracked, as anything.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.find(path).is_some()
    }

    /// The commit of the submodule at a path, if it is one.
    pub(super) fn gitlink(&self, path: &[u8]) -> Option<Oid> {
        self.gitlink_near(&mut 0, path)
    }

    /// The same, sought from where another path was found, and found again from there.
    pub(super) fn gitlink_near(&self, near: &mut usize, path: &[u8]) -> Option<Oid> {
        *near = self.seek(*near, path);
        let at = *near;
        let same = (at..self.entries.len()).take_while(|&at| self.name(at) == path);
        same.filter(|&at| self.entries.get(at).is_some_and(|entry| entry.kind == EntryKind::Gitlink))
            .find_map(|at| self.objects.get(&at).copied())
    }

    /// Whether there is any tracked file that git does not want in the work tree.
    pub(super) fn any_skipped(&self) -> bool {
        self.any_skipped
    }

    /// The object of a tracked file that git does not want in the work tree.
    pub(super) fn skipped(&self, path: &[u8]) -> Option<Oid> {
        let at = self.find(path)?;
        self.entries.get(at).filter(|entry| entry.skip_worktree)?;
        self.objects.get(&at).copied()
    }

    /// Whether something below a folder is tracked; `folder` ends in `/`, or is empty for the top.
    pub(super) fn has_below(&self, folder: &[u8]) -> bool {
        self.has_below_near(&mut 0, folder)
    }

    /// The same, sought from where another path was found, and found again from there.
    pub(super) fn has_below_near(&self, near: &mut usize, folder: &[u8]) -> bool {
        *near = self.seek(*near, folder);
        self.name(*near).starts_with(folder) && !self.entries.is_empty()
    }

    /// The tracked paths below a folder, each once, in order, with what they are.
    pub(super) fn below<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = (&'a [u8], EntryKind)> {
        let mut before = None;
        let paths = self.entries.iter().enumerate().skip(self.seek(0, folder));
        let paths = paths.map(|(at, entry)| (self.name(at), entry.kind));
        paths
            .take_while(move |(path, _)| path.starts_with(folder))
            .filter(move |(path, _)| before.replace(*path) != Some(*path))
    }

    /// The folders of a sparse index.
    pub(super) fn folders(&self) -> Vec<(Vec<u8>, Oid)> {
        let folders = self.entries.iter().enumerate().filter(|(_, entry)| entry.kind == EntryKind::Folder);
        folders.filter_map(|(at, _)| Some((self.name(at).to_vec(), *self.objects.get(&at)?))).collect()
    }

    /// Every entry's path and kind, and what was recorded of it. Not those that are left out of the
    /// work tree on purpose, nor what a merge left undecided.
    pub(super) fn recorded(&self) -> impl Iterator<Item = (&[u8], EntryKind, Recorded)> {
        let entries = self.entries.iter().zip(&self.stats).enumerate();
        entries
            .filter(|(_, (entry, _))| entry.stage == 0 && !entry.skip_worktree)
            .map(|(at, (entry, recorded))| (self.name(at), entry.kind, *recorded))
    }

    /// Every entry's path, kind and object, where they were kept.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&[u8], EntryKind, Oid)> {
        let entries = self.entries.iter().zip(&self.stats).enumerate();
        entries.map(|(at, (entry, recorded))| (self.name(at), entry.kind, recorded.oid))
    }

    /// Drops the folders of a sparse index, and adds the paths that stand below some of them;
    /// `None` where these are not paths, or there already.
    pub(super) fn replace_folders(&self, rows: &[Row]) -> Option<Self> {
        let mut own = Self::default();
        for (name, kind, oid) in rows {
            let Ok(len) = u32::try_from(name.len()) else { continue };
            own.objects.insert(own.entries.len(), *oid);
            own.entries.push(Entry {
                start: own.names.len(),
                len,
                kind: *kind,
                stage: 0,
                skip_worktree: true,
            });
            own.names.extend_from_slice(name);
        }
        let stands = (0..self.entries.len()).filter(|&at| self.kind(at) != Some(EntryKind::Folder));
        let mut all: Vec<_> = stands.map(|at| (self.key(at), self, at)).collect();
        all.extend((0..own.entries.len()).map(|at| (own.key(at), &own, at)));
        all.sort_unstable_by_key(|row| row.0);
        let mut merged = Self::default();
        for ((name, _), from, at) in all {
            merged.push(name, from, at);
        }
        merged.is_sound().then_some(merged)
    }

    fn kind(&self, at: usize) -> Option<EntryKind> {
        Some(self.entries.get(at)?.kind)
    }

    /// Whether every name is a path, and each comes after the one before it.
    fn is_sound(&self) -> bool {
        let follows = |at: usize| at == 0 || self.key(at - 1) < self.key(at);
        (0..self.entries.len()).into_par_iter().all(|at| self.is_path(at) && follows(at))
    }

    fn key(&self, at: usize) -> (&[u8], u8) {
        (self.name(at), self.entries.get(at).map_or(0, |entry| entry.stage))
    }

    fn is_path(&self, at: usize) -> bool {
        let name = match self.kind(at) {
            Some(EntryKind::Folder) => self.name(at).strip_suffix(b"/").unwrap_or_default(),
            _ => self.name(at),
        };
        !name.contains(&0) && name.split(|&byte| byte == b'/').all(is_name)
    }

    /// Adds an entry of another index, under the name of yet another one.
    fn push(&mut self, name: &[u8], from: &Self, at: usize) {
        let Some(entry) = from.entries.get(at) else { return };
        let Ok(len) = u32::try_from(name.len()) else { return };
        if let Some(oid) = from.objects.get(&at) {
            self.objects.insert(self.entries.len(), *oid);
        }
        self.stats.extend(from.stats.get(at));
        self.any_skipped |= entry.skip_worktree;
        self.entries.push(Entry { start: self.names.len(), len, ..*entry });
        self.names.extend_from_slice(name);
    }

    fn name(&self, at: usize) -> &[u8] {
        let Some(entry) = self.entries.get(at) else { return &[] };
        self.names.get(entry.start..entry.start + entry.len as usize).unwrap_or_default()
    }

    /// The first entry whose path does not come before `path`, sought from another one on.
    fn seek(&self, from: usize, path: &[u8]) -> usize {
        seek(from, self.entries.len(), |at| self.name(at) < path)
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        let at = self.seek(0, path);
        (!path.is_empty() && self.name(at) == path).then_some(at)
    }
}

fn is_name(part: &[u8]) -> bool {
    !matches!(part, b"" | b"." | b".." | b".git")
}

impl Oid {
    /// From an object's name in bytes: 20 or 32 of them.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let len = u8::try_from(bytes.len()).ok().filter(|len| matches!(len, 20 | 32))?;
        let mut oid = Self { bytes: [0; 32], len };
        oid.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(oid)
    }

    /// From an object's name in hexadecimal: 40 or 64 digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
        let bytes: Vec<u8> =
            digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, d| sum << 4 | d)).collect();
        Self::new(&bytes).filter(|_| text.len() == 2 * bytes.len())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.bytes == [0; 32]
    }
}

impl std::fmt::Display for Oid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Oid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}
