//! The ignore files that bear on one folder, and what they say about a path.
//!
//! Touches no disk: the caller reads the files. A folder's rules stand on those of the folder
//! above; the lowest are those of `info/exclude`. Whether a folder above is left out, which no rule
//! can undo, is the caller's to know.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pattern::{Pattern, patterns};

/// One ignore file, on top of those with less weight.
#[derive(Debug)]
pub(super) struct Rules {
    file: PathBuf,
    /// Length of the folder's path, with its `/`, that the file's patterns are relative to.
    base: usize,
    patterns: Vec<Pattern>,
    below: Option<Arc<Rules>>,
}

/// The line that decided about a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'r> {
    /// The ignore file that has the rule.
    pub(super) file: &'r Path,
    /// Its line, from 1.
    pub(super) line: usize,
    /// The pattern as written, `!` and `/` included.
    pub(super) pattern: &'r [u8],
    /// Whether it keeps the path (`!`) rather than leaving it out.
    pub(super) keeps: bool,
}

impl Rules {
    /// Puts a file's content on top of `below`. `folder` is where its patterns apply, relative to
    /// the top of the rules, ending in `/` or empty. A file without patterns adds nothing.
    pub(super) fn push(
        below: Option<Arc<Self>>,
        file: PathBuf,
        folder: &[u8],
        content: &[u8],
    ) -> Option<Arc<Self>> {
        let patterns = patterns(content);
        if patterns.is_empty() {
            return below;
        }
        Some(Arc::new(Self { file, base: folder.len(), patterns, below }))
    }

    /// The line that decides about a path, relative to the top of the rules and in the folder of
    /// the topmost file or below it; `None` where none hits. The last line that hits wins, of the
    /// innermost file with one.
    pub(super) fn decide(&self, path: &[u8], dir: bool) -> Option<Decision<'_>> {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        std::iter::successors(Some(self), |rules| rules.below.as_deref())
            .find_map(|rules| rules.decide_here(path, name, dir))
    }

    fn decide_here(&self, path: &[u8], name: &[u8], dir: bool) -> Option<Decision<'_>> {
        let relative = path.get(self.base..)?;
        let pattern = self.patterns.iter().rev().find(|pattern| pattern.hits(relative, name, dir))?;
        let Pattern { line, ref text, negated, .. } = *pattern;
        Some(Decision { file: &self.file, line, pattern: text, keeps: negated })
    }
}

#[cfg(test)]
mod tests;
