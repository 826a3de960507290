//! The walk through a work tree, by several threads.
//!
//! `ignore` walks with all its own rules off; each directory is judged here before anything in it is seen. What is tracked
//! below an ignored directory is taken from the index, without a walk.

use std::collections::HashMap;
use std::fs::FileType;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::{DirEntry, ParallelVisitor, ParallelVisitorBuilder, WalkBuilder, WalkState};

use super::error::GitError;
use super::folder::{Folder, Sub, Top};
use super::index::EntryKind;
use super::repo::{is_absent, lstat};
use super::submodule;
use super::warning::GitWarning;
use crate::listing::{Kind, Listed};
use crate::path::RelPath;

/// What all threads of a walk share.
pub(super) struct Walk<'a> {
    /// The context, absolute and without links.
    root: &'a Path,
    folders: Folders,
    found: Mutex<Found>,
}

/// What a thread, or all of them, came upon.
#[derive(Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Listed>,
    pub(super) warnings: Vec<GitWarning>,
    /// Tops of work trees below ignored directories, still to be walked.
    pub(super) later: Vec<(PathBuf, Folder)>,
    error: Option<GitError>,
}

/// The folders that were entered, by the bytes of their paths, for `Path` compares part by part; in several parts, each with its own lock.
struct Folders([Mutex<HashMap<Vec<u8>, Arc<Folder>>>; 16]);

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self { root, folders: Folders(Default::default()), found: Mutex::default() }
    }

    /// Walks everything below `path`, which is the folder `folder`.
    pub(super) fn run(&self, path: &Path, folder: Folder, threads: usize) {
        self.folders.insert(path, folder);
        let mut builder = WalkBuilder::new(path);
        builder.standard_filters(false).follow_links(false).threads(threads.max(1));
        builder.build_parallel().visit(&mut Visitors(self));
    }

    /// Lists what is tracked below a folder that is itself left out.
    pub(super) fn run_tracked(&self, top: &Arc<Top>, folder: &[u8]) {
        let mut visitor = Visitor::new(self);
        if let Err(error) = visitor.tracked_below(top, folder) {
            visitor.found.error = Some(error);
        }
    }

    /// What was found since the last call.
    pub(super) fn take(&self) -> Result<Found, GitError> {
        let mut found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        match found.error.take() {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// A path as it is named below the root; `None` for the root.
    fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.as_os_str().as_bytes().strip_prefix(self.root.as_os_str().as_bytes())?;
        RelPath::new(below.strip_prefix(b"/").unwrap_or(below))
    }
}

impl Found {
    fn add(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
        self.warnings.append(&mut other.warnings);
        self.later.append(&mut other.later);
        self.error = self.error.take().or(other.error);
    }
}

impl Folders {
    fn part(&self, path: &[u8]) -> &Mutex<HashMap<Vec<u8>, Arc<Folder>>> {
        let sum = path.iter().fold(0_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        // The remainder is always in bounds.
        &self.0[sum % self.0.len()]
    }

    fn insert(&self, path: &Path, folder: Folder) {
        let path = path.as_os_str().as_bytes();
        let mut part = self.part(path).lock().unwrap_or_else(PoisonError::into_inner);
        part.insert(path.to_owned(), Arc::new(folder));
    }

    fn get(&self, path: &[u8]) -> Option<Arc<Folder>> {
        self.part(path).lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Makes a visitor for each thread.
struct Visitors<'w, 'a>(&'w Walk<'a>);

impl<'w> ParallelVisitorBuilder<'w> for Visitors<'w, '_> {
    fn build(&mut self) -> Box<dyn ParallelVisitor + 'w> {
        Box::new(Visitor::new(self.0))
    }
}

/// One thread's part of the walk.
struct Visitor<'w, 'a> {
    walk: &'w Walk<'a>,
    /// The folder of the last entry: most often that of the next one too.
    last: Option<(Vec<u8>, Arc<Folder>)>,
    found: Found,
}

impl Drop for Visitor<'_, '_> {
    fn drop(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.walk.found.lock().unwrap_or_else(PoisonError::into_inner).add(found);
    }
}

impl ParallelVisitor for Visitor<'_, '_> {
    fn visit(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        let state = match entry {
            Ok(entry) if entry.depth() == 0 => Ok(WalkState::Continue),
            Ok(entry) => self.entry(&entry),
            Err(error) => self.failed(error),
        };
        state.unwrap_or_else(|error| {
            self.found.error = Some(error);
            WalkState::Quit
        })
    }
}

impl<'w, 'a> Visitor<'w, 'a> {
    fn new(walk: &'w Walk<'a>) -> Self {
        Self { walk, last: None, found: Found::default() }
    }

    fn entry(&mut self, entry: &DirEntry) -> Result<WalkState, GitError> {
        let name = entry.file_name().as_bytes();
        // Whatever it is, and in every folder.
        if name == b".git" {
            return Ok(WalkState::Skip);
        }
        let Some(folder) = self.folder_of(entry.path()) else { return Ok(WalkState::Skip) };
        match entry.file_type() {
            Some(kind) if kind.is_dir() => self.directory(&folder, entry.path(), name),
            Some(kind) => Ok(self.file(&folder, entry.path(), name, kind)),
            None => Ok(WalkState::Skip),
        }
    }

    fn folder_of(&mut self, path: &Path) -> Option<Arc<Folder>> {
        let path = path.as_os_str().as_bytes();
        let slash = path.iter().rposition(|&byte| byte == b'/')?;
        let parent = path.get(..slash.max(1))?;
        match &self.last {
            Some((last, folder)) if last == parent => Some(Arc::clone(folder)),
            _ => {
                let folder = self.walk.folders.get(parent)?;
                self.last = Some((parent.to_owned(), Arc::clone(&folder)));
                Some(folder)
            }
        }
    }

    fn directory(&mut self, folder: &Folder, path: &Path, name: &[u8]) -> Result<WalkState, GitError> {
        let entered = match folder.sub(name)? {
            Sub::Part => folder.enter(name)?,
            Sub::Other(repo, commit) => {
                let relative = self.walk.relative(path);
                self.found.warnings.extend(submodule::warnings(path, relative, repo.as_ref(), commit)?);
                Folder::top(Top::new(path.to_owned(), repo)?)?
            }
            Sub::Excluded => {
                self.tracked_below(&folder.top, &[&folder.child(name), &b"/"[..]].concat())?;
                return Ok(WalkState::Skip);
            }
        };
        self.walk.folders.insert(path, entered);
        Ok(WalkState::Continue)
    }

    fn file(&mut self, folder: &Folder, path: &Path, name: &[u8], kind: FileType) -> WalkState {
        let wanted = kind.is_file() || kind.is_symlink();
        if (wanted && !folder.excludes(name, false)) || folder.top.index.contains(&folder.child(name)) {
            self.list(path, kind);
        }
        WalkState::Continue
    }

    fn list(&mut self, path: &Path, kind: FileType) {
        let kind = match kind {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => Kind::Symlink,
            kind if kind.is_dir() => return,
            _ => Kind::Special,
        };
        self.found.entries.extend(self.walk.relative(path).map(|path| Listed { path, kind }));
    }

    /// Lists what is tracked below a folder that is not walked. Nothing is found by way of a link.
    fn tracked_below(&mut self, top: &Arc<Top>, folder: &[u8]) -> Result<(), GitError> {
        let mut real = None;
        for (relative, kind) in top.index.below(folder) {
            let path = top.join(relative);
            let Some(parent) = path.parent() else { continue };
            if real.as_ref().is_none_or(|(last, _)| *last != *parent) {
                real = Some((parent.to_owned(), is_real_folder(&top.path, parent)?));
            }
            if !real.as_ref().is_some_and(|(_, real)| *real) {
                continue;
            }
            if kind == EntryKind::Gitlink && is_real_folder(&top.path, &path)? {
                self.later_submodule(top, relative, path)?;
            } else if let Some(meta) = lstat(&path)? {
                self.list(&path, meta.file_type());
            }
        }
        Ok(())
    }

    fn later_submodule(&mut self, top: &Top, relative: &[u8], path: PathBuf) -> Result<(), GitError> {
        let repo = super::repo::Repo::at(&path)?;
        let name = self.walk.relative(&path);
        let commit = top.index.gitlink(relative);
        self.found.warnings.extend(submodule::warnings(&path, name, repo.as_ref(), commit)?);
        let folder = Folder::top(Top::new(path.clone(), repo)?)?;
        self.found.later.push((path, folder));
        Ok(())
    }

    fn failed(&self, error: ignore::Error) -> Result<WalkState, GitError> {
        let path = path_of(&error).unwrap_or(self.walk.root).to_owned();
        let error = error.into_io_error().unwrap_or_else(|| io::Error::other("the walk failed"));
        if is_absent(&error) && path != self.walk.root {
            return Ok(WalkState::Continue);
        }
        Err(GitError::Read { path, source: error })
    }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}

/// Whether a path below `top` is a directory, without any link on the way.
fn is_real_folder(top: &Path, path: &Path) -> Result<bool, GitError> {
    for part in path.ancestors().take_while(|part| *part != top) {
        if !lstat(part)?.is_some_and(|meta| meta.is_dir()) {
            return Ok(false);
        }
    }
    Ok(true)
}
