//! Says of single paths whether git's rules leave them out, and which line decided.
//!
//! As `git check-ignore`, but that nothing is refused: a path in a submodule or an embedded
//! repository is judged by the rules there, and a path beyond a symbolic link as the link itself,
//! for nothing beyond a link is an input.

use std::path::{Path, PathBuf};

use super::folder::{Folder, Sub, Top};
use super::list::{Excluded, Place, place, rule};
use super::repo::lstat;
use crate::error::git::GitError;
use crate::listed::{Rule, Verdict};
use crate::path::RelPath;

/// Answers for paths below one folder. The repository is looked at once, the ignore files on the
/// way for each path.
pub struct Checker {
    root: PathBuf,
    place: Place,
}

/// What git makes of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whether it is left out, and by which rule; the rule may also be one that keeps it (`!`). Of
    /// a tracked path no rule is named: none counts. What is called `.git`, and all below it, is
    /// left out by no rule, and so is what lies in a repository in the place of a tracked file.
    pub verdict: Verdict,
    /// Whether the index holds it, or something below it.
    pub tracked: bool,
}

impl Checker {
    /// A checker for the paths below `root`, which need not be the top of its work tree.
    ///
    /// # Errors
    /// Where `root` or its repository cannot be read.
    pub fn new(root: &Path) -> Result<Self, GitError> {
        let root = root.canonicalize().map_err(GitError::read(root))?;
        let place = place(&Top::around(&root)?, &root)?;
        Ok(Self { root, place })
    }

    /// Judges a path, existing or not. `dir` says that a path which does not exist would be a
    /// directory.
    ///
    /// # Errors
    /// Where an ignore file or a repository on the way cannot be read.
    pub fn check(&self, path: &RelPath, dir: bool) -> Result<Check, GitError> {
        if path.as_bytes().split(|&byte| byte == b'/').any(|part| part == b".git") {
            return Ok(judged(Verdict { excluded: true, by: None }, false));
        }
        match &self.place {
            Place::Inside(folder) => self.descend(folder.clone(), path, dir),
            Place::Excluded(Excluded { top, path: base, rule }) => {
                Ok(left_out(top, &[base, path.as_bytes()].concat(), rule.clone()))
            }
        }
    }

    /// Whether the index holds a path, so that it counts whatever stands there. In doubt it does.
    #[must_use]
    pub fn tracks(&self, path: &RelPath) -> bool {
        self.check(path, false).map_or(true, |check| check.tracked)
    }

    fn descend(&self, mut folder: Folder, path: &RelPath, dir: bool) -> Result<Check, GitError> {
        let mut parts = path.as_bytes().split(|&byte| byte == b'/').peekable();
        while let Some(name) = parts.next() {
            let here = folder.child(name);
            let on_disk = lstat(&folder.top.join(&here))?;
            let is_dir = on_disk.as_ref().map_or(dir || parts.peek().is_some(), std::fs::Metadata::is_dir);
            if parts.peek().is_none() || !is_dir {
                return Ok(self.last(&folder, name, is_dir));
            }
            folder = match folder.sub(name, &mut 0)? {
                Sub::Part => folder.enter(name)?,
                Sub::Other(repo, _) => Folder::top(Top::new(folder.top.join(&here), repo)?)?,
                Sub::Excluded => return Ok(self.excluded(&folder, name, parts)),
            };
        }
        Ok(judged(Verdict::default(), false))
    }

    /// Judges what is not gone through.
    fn last(&self, folder: &Folder, name: &[u8], dir: bool) -> Check {
        let decision = folder.decide(name, dir);
        let excluded =
            decision.is_some_and(|decision| !decision.keeps) || folder.top.is_own(&folder.child(name));
        let by = decision.map(|decision| rule(&self.root, &decision));
        if is_tracked(&folder.top, &folder.child(name)) {
            return judged(Verdict::default(), true);
        }
        judged(Verdict { excluded, by }, false)
    }

    /// Judges a path below a directory that is left out.
    fn excluded<'p>(&self, folder: &Folder, name: &[u8], rest: impl Iterator<Item = &'p [u8]>) -> Check {
        let path = rest.fold(folder.child(name), |path, part| [&path, &b"/"[..], part].concat());
        match folder.decide(name, true) {
            Some(decision) => left_out(&folder.top, &path, rule(&self.root, &decision)),
            None => judged(Verdict { excluded: true, by: None }, false),
        }
    }
}

/// A path, relative to the top, below something that a rule leaves out.
fn left_out(top: &Top, path: &[u8], rule: Rule) -> Check {
    if is_tracked(top, path) {
        return judged(Verdict::default(), true);
    }
    judged(Verdict { excluded: true, by: Some(rule) }, false)
}

fn is_tracked(top: &Top, path: &[u8]) -> bool {
    top.index.contains(path) || top.index.has_below(&[path, b"/"].concat())
}

fn judged(verdict: Verdict, tracked: bool) -> Check {
    Check { verdict, tracked }
}
