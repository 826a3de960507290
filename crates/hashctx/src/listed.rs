//! The seam between "which files" and "hash them".
//!
//! A [`Lister`] says which paths are inputs: a walk, git's view, a list from stdin. A [`Filter`]
//! hides paths: an engine's ignore file. Neither reads the content of an input.

use std::collections::HashSet;

use camino::Utf8Path;

use crate::error::HashError;
use crate::files::stat::Kind;
use crate::path::RelPath;
use crate::stat_cache::Seen;
use crate::warning::Warning;

/// One path that is an input. Kept small: there may be a million. Hashing asks for the metadata
/// itself, in parallel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it is, below the root.
    pub path: RelPath,
    /// What was seen there.
    pub kind: Kind,
    /// Which file the stat cache knows it for, where the lister looked it up already.
    pub seen: Option<Seen>,
}

impl Listed {
    /// A path that was not looked up.
    #[must_use]
    pub fn new(path: RelPath, kind: Kind) -> Self {
        Self { path, kind, seen: None }
    }
}

/// What a lister found.
#[derive(Debug, Default)]
pub struct Listing {
    /// The inputs, in any order, each path once.
    pub entries: Vec<Listed>,
    /// What could make a key of them lie.
    pub warnings: Vec<Warning>,
    /// Where the lister took note of them: the folders that may have a file CACHEDIR.TAG. No other
    /// one below the root that holds an entry has.
    pub tagged: Option<Vec<RelPath>>,
}

/// Says which paths below a root are inputs.
pub trait Lister: Sync {
    /// Lists the inputs below `root`, with up to `threads` threads. A path that cannot be looked at
    /// is an error, never a gap: a key of part of the files would be a lie.
    ///
    /// # Errors
    /// Where a folder cannot be read, or a file of rules is invalid.
    fn list(&self, root: &Utf8Path, threads: usize) -> Result<Listing, HashError>;
}

/// Hides paths that a lister found.
pub trait Filter: Sync {
    /// Judges the path itself; the filter takes care of rules that hit one of its parents. `dir`
    /// where the path is a directory and no link to one. A walk asks about a directory before it
    /// asks about what is in it.
    ///
    /// # Errors
    /// Where a pattern has no meaning, and that shows only when it is used.
    fn judge(&self, path: &[u8], dir: bool) -> Result<Judgement, HashError>;

    /// Whether each of these is kept: the same as one by one, and sooner where neighbours lie in
    /// one folder.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    fn keeps(&self, entries: &[Listed]) -> Result<Vec<bool>, HashError> {
        let judge = |entry: &Listed| self.judge(entry.path.as_bytes(), entry.kind == Kind::Dir);
        entries.iter().map(|entry| judge(entry).map(|judgement| judgement == Judgement::Keep)).collect()
    }
}

/// What a [`Filter`] says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is an input.
    Keep,
    /// It is hidden; of a directory, something below may still be kept.
    Hide,
    /// It is hidden with everything below it.
    Prune,
}

/// The line that decided whether a path is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file that the rule stands in, as the user would name it from the context's root.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The pattern as it is written there, lossily decoded.
    pub pattern: String,
}

/// What an ignore file says about one path, existing or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the path is left out.
    pub excluded: bool,
    /// The rule that decided; `None` where no rule hits the path.
    pub by: Option<Rule>,
}

/// Drops the directories that hold another entry.
pub fn drop_filled(entries: &mut Vec<Listed>) {
    let filled = folders(entries);
    let keep: Vec<bool> = entries
        .iter()
        .map(|entry| entry.kind != Kind::Dir || !filled.contains(entry.path.as_bytes()))
        .collect();
    let mut keep = keep.into_iter();
    entries.retain(|_| keep.next().unwrap_or(true));
}

/// Every folder that an entry lies in, the root not among them.
#[must_use]
pub fn folders(entries: &[Listed]) -> HashSet<&[u8]> {
    let mut folders = HashSet::new();
    let mut last: &[u8] = b"";
    for entry in entries {
        let innermost = entry.path.split().unwrap_or_default().0;
        // Most entries stand beside one of the same folder.
        if innermost != last {
            last = innermost;
            // Where a folder is known, those above it are.
            let _ = entry.path.parents().take_while(|folder| folders.insert(*folder)).count();
        }
    }
    folders
}

/// The same of entries that are sorted, each folder once.
#[must_use]
pub fn sorted_folders(entries: &[Listed]) -> Vec<&[u8]> {
    let mut folders = Vec::new();
    let mut last: &[u8] = b"";
    for entry in entries {
        let path = entry.path.as_bytes();
        // All that lies in one folder stands together.
        let is_new = |folder: &&[u8]| !(last.starts_with(folder) && last.get(folder.len()) == Some(&b'/'));
        folders.extend(entry.path.parents().take_while(is_new));
        last = path;
    }
    folders
}
