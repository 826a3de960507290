//! A folder as git sees it: whose rules bear on it, and what git makes of the things in it.
//!
//! Going down from a top (of a work tree, or of a folder outside any) is the only way to a folder,
//! so the rule that nothing below an ignored folder comes back needs no code: the walk does
//! not go there.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::index::{Index, Keep, Oid};
use super::repo::{Repo, is_absent, is_link, os_path, read_optional};
use super::rules::{Decision, Rules};
use super::sparse;
use crate::error::git::GitError;
use crate::path::RelPath;

/// The name of git's ignore files.
pub(super) const IGNORE_FILE: &str = ".gitignore";
/// git takes no notice of a larger one.
const IGNORE_FILE_LIMIT: u64 = 100 << 20;

/// The top of a set of rules: a work tree's, or a folder's outside any repository.
#[derive(Debug)]
pub(super) struct Top {
    /// Absolute, without links.
    pub(super) path: PathBuf,
    pub(super) repo: Option<Repo>,
    /// Empty without a repository.
    pub(super) index: Index,
    /// Where the repository itself lies in the work tree, if it is not `.git`.
    own: Option<RelPath>,
}

/// A folder, and the rules for what is in it.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) top: Arc<Top>,
    /// Relative to the top, ending in `/`; empty for the top itself.
    pub(super) path: Vec<u8>,
    rules: Option<Arc<Rules>>,
}

/// What git makes of a directory.
#[derive(Debug)]
pub(super) enum Sub {
    /// It belongs to the same work tree: a walk goes on in it.
    Part,
    /// It is the top of another work tree: a submodule with its commit, or an embedded repository.
    Other(Option<Repo>, Option<Oid>),
    /// It is left out, by a rule, as the repository itself, or as another in the place of a tracked
    /// file, but for what is tracked in it, if anything.
    Excluded,
}

impl Top {
    /// The top that `folder`, absolute and without links, lies under: of its repository, or the
    /// folder itself.
    pub(super) fn around(folder: &Path) -> Result<Arc<Self>, GitError> {
        match Repo::around(folder)? {
            Some((path, repo)) => Self::new(path, Some(repo)),
            None => Self::new(folder.to_owned(), None),
        }
    }

    /// The top of a repository, or of a folder without one.
    pub(super) fn new(path: PathBuf, repo: Option<Repo>) -> Result<Arc<Self>, GitError> {
        let index = match &repo {
            Some(repo) => {
                sparse::expand(Index::read(&repo.git_dir, repo.hash_len, Keep::Paths)?, &path, repo)?
            }
            None => Index::default(),
        };
        let own = repo.as_ref().and_then(|repo| repo.own_folder(&path));
        Ok(Arc::new(Self { path, repo, index, own }))
    }

    /// Whether the repository itself lies at a path relative to the top.
    pub(super) fn is_own(&self, relative: &[u8]) -> bool {
        self.own.as_ref().is_some_and(|own| own.as_bytes() == relative)
    }

    /// The path of something that stands `relative` to the top.
    pub(super) fn join(&self, relative: &[u8]) -> PathBuf {
        self.path.join(os_path(relative))
    }
}

impl Folder {
    /// The top as a folder.
    pub(super) fn top(top: Arc<Top>) -> Result<Self, GitError> {
        let rules = match &top.repo {
            Some(repo) => {
                let path = repo.common_dir.join("info/exclude");
                let content = read_optional(&path)?.unwrap_or_default();
                Rules::push(None, path, &[], &content)
            }
            None => None,
        };
        Self { top, path: Vec::new(), rules }.with_ignore_file(true)
    }

    /// The folder of that name in this one.
    pub(super) fn enter(&self, name: &[u8]) -> Result<Self, GitError> {
        self.part(name).with_ignore_file(true)
    }

    /// The folder of that name in this one, its own ignore file not yet looked at.
    pub(super) fn part(&self, name: &[u8]) -> Self {
        let path = [&self.path, name, b"/"].concat();
        Self { top: Arc::clone(&self.top), path, rules: self.rules.clone() }
    }

    /// The same with its ignore file's rules. `there` is false where it is known not to be on disk.
    pub(super) fn with_ignore_file(mut self, there: bool) -> Result<Self, GitError> {
        if !there && !self.top.index.any_skipped() {
            return Ok(self);
        }
        let name = self.child(IGNORE_FILE.as_bytes());
        let path = self.top.join(&name);
        let content = match there.then(|| read_ignore_file(&path)).transpose()?.flatten() {
            Some(content) => content,
            None => match (self.top.index.skipped(&name), &self.top.repo) {
                (Some(oid), Some(repo)) => sparse::blob(repo, oid)?,
                _ => return Ok(self),
            },
        };
        self.rules = Rules::push(self.rules, path, &self.path, &content);
        Ok(self)
    }

    /// The path, relative to the top, of what has that name in this folder.
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, name].concat()
    }

    /// The rule that decides about what has that name here.
    pub(super) fn decide(&self, name: &[u8], dir: bool) -> Option<Decision<'_>> {
        self.decide_path(&self.child(name), dir)
    }

    fn decide_path(&self, path: &[u8], dir: bool) -> Option<Decision<'_>> {
        self.rules.as_deref()?.decide(path, dir)
    }

    /// Whether the rules leave out something in this folder, given by its path relative to the top.
    /// The index is not asked.
    pub(super) fn excludes(&self, path: &[u8], dir: bool) -> bool {
        self.decide_path(path, dir).is_some_and(|decision| !decision.keeps)
    }

    /// What git makes of the directory of that name. `near` is where another folder was found in
    /// the index, 0 for none, and becomes where what is in this one stands.
    pub(super) fn sub(&self, name: &[u8], near: &mut usize) -> Result<Sub, GitError> {
        let path = self.child(name);
        let index = &self.top.index;
        if let Some(commit) = index.gitlink_near(near, &path) {
            return Ok(Sub::Other(Repo::at(&self.top.join(&path))?, Some(commit)));
        }
        if self.top.is_own(&path) || self.excludes(&path, true) {
            return Ok(Sub::Excluded);
        }
        // What the index holds files of is not a repository of its own, whatever stands in it.
        if index.has_below_near(near, &[&path, &b"/"[..]].concat()) {
            return Ok(Sub::Part);
        }
        match Repo::at(&self.top.join(&path))? {
            // A tracked file's name stands for the file, so that git never lists a repository
            // there.
            Some(_) if index.contains(&path) => Ok(Sub::Excluded),
            Some(repo) if !self.is_own(&repo) => Ok(Sub::Other(Some(repo), None)),
            _ => Ok(Sub::Part),
        }
    }

    /// Whether a repository found further down is the one that the walk is in, by way of a link.
    fn is_own(&self, other: &Repo) -> bool {
        self.top.repo.as_ref().is_some_and(|own| own.git_dir == other.git_dir)
    }
}

/// An ignore file's content: empty for what is neither file nor link, `None` where nothing is there
/// or a link, which git does not follow.
fn read_ignore_file(path: &Path) -> Result<Option<Vec<u8>>, GitError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => content(file).map(Some).map_err(GitError::read(path)),
        Err(error) if is_absent(&error) || is_link(&error) => Ok(None),
        Err(error) => Err(GitError::read(path)(error)),
    }
}

fn content(mut file: File) -> std::io::Result<Vec<u8>> {
    let meta = file.metadata()?;
    let mut content = Vec::new();
    if meta.is_file() && meta.len() <= IGNORE_FILE_LIMIT {
        file.read_to_end(&mut content)?;
    }
    Ok(content)
}
