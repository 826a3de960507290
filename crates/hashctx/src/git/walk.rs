//! The walk through a work tree, by several threads.
//!
//! Each directory is judged before anything in it is seen. A listing says what a file is; it is
//! looked at only to look it up in the stat cache, while its folder is open. What is tracked below
//! an ignored directory is taken from the index, without a walk.

use std::fs::FileType;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::Scope;
use rayon::slice::ParallelSliceMut;
use rustix::fs::{Mode, OFlags};
use storekit::store::TAG_FILE;

use super::folder::{Folder, IGNORE_FILE, Sub, Top};
use super::index::EntryKind;
use super::names::{Name, Names};
use super::repo::{Repo, is_absent, lstat};
use super::submodule;
use crate::error::git::GitError;
use crate::files::stat::Kind;
use crate::listed::{Filter, Judgement, Listed};
use crate::path::RelPath;
use crate::stat_cache::StatCache;
use crate::warning::git::GitWarning;

/// Room made for files of one folder.
const RUN: usize = 32;

/// What all threads of a walk share.
pub(super) struct Walk<'a> {
    /// The context, absolute and without links.
    root: &'a Path,
    open: OwnedFd,
    /// Where each file is looked up.
    cache: Option<&'a StatCache>,
    /// Says which folders are not entered.
    filter: Option<&'a dyn Filter>,
    found: Mutex<Found>,
}

/// What was come upon, in one folder or in all.
#[derive(Default)]
pub(super) struct Found {
    /// Files, in runs: each in order, and none of another run between its first and its last.
    pub(super) runs: Vec<Vec<Listed>>,
    pub(super) warnings: Vec<GitWarning>,
    /// Folders that may have a cache's tag.
    pub(super) tagged: Vec<RelPath>,
    /// Tops of work trees below ignored directories, still to be walked.
    pub(super) later: Vec<(PathBuf, Folder)>,
    error: Option<GitError>,
}

/// A folder to be read.
struct Step {
    folder: Folder,
    /// Below the root; `None` for the root.
    path: Option<RelPath>,
    /// Whether its own ignore file was read.
    ruled: bool,
    near: Near,
}

/// Where what is in a folder stands in sorted lists, about.
#[derive(Clone, Copy, Default)]
struct Near {
    index: usize,
    cache: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        root: &'a Path,
        cache: Option<&'a StatCache>,
        filter: Option<&'a dyn Filter>,
    ) -> Result<Self, GitError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::open(root, flags, Mode::empty()).map_err(io::Error::from);
        Ok(Self { root, open: open.map_err(GitError::read(root))?, cache, filter, found: Mutex::default() })
    }

    /// Walks everything below `path`, which is the folder `folder`, on the threads of the pool that
    /// this is called in.
    pub(super) fn run(&self, path: &Path, folder: Folder) {
        let first = Step { folder, path: self.relative(path), ruled: true, near: Near::default() };
        rayon::scope(|scope| self.step(scope, first));
    }

    /// Lists what is tracked below a folder that is itself left out.
    pub(super) fn run_tracked(&self, top: &Arc<Top>, folder: &[u8]) {
        self.visit(|visitor| visitor.tracked_below(top, folder));
    }

    /// What was found since the last call, its runs in order.
    pub(super) fn take(&self) -> Result<Found, GitError> {
        let mut found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        found.runs.par_sort_unstable_by(|a, b| first(a).cmp(&first(b)));
        match found.error.take() {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    fn step<'s>(&'s self, scope: &Scope<'s>, step: Step) {
        for next in self.visit(|visitor| visitor.folder(step)).unwrap_or_default() {
            scope.spawn(|scope| self.step(scope, next));
        }
    }

    /// Adds what one visit finds.
    fn visit<T>(&self, work: impl FnOnce(&mut Visitor<'_>) -> Result<T, GitError>) -> Option<T> {
        let mut visitor = Visitor { walk: self, found: Found::default(), run: Vec::new() };
        let result = work(&mut visitor);
        visitor.end_run();
        let mut found = visitor.found;
        let result = result.map_err(|error| found.error = Some(error)).ok();
        self.found.lock().unwrap_or_else(PoisonError::into_inner).add(found);
        result
    }

    /// Whether nothing in a folder can be an input. In doubt something can: the judge of what is in
    /// it sees what is wrong.
    fn prunes(&self, folder: &RelPath) -> bool {
        let judge = |filter: &dyn Filter| filter.judge(folder.as_bytes(), true).ok();
        self.filter.and_then(judge) == Some(Judgement::Prune)
    }

    /// A path as it is named below the root; `None` for the root.
    fn relative(&self, path: &Path) -> Option<RelPath> {
        let below = path.as_os_str().as_bytes().strip_prefix(self.root.as_os_str().as_bytes())?;
        RelPath::new(below.strip_prefix(b"/").unwrap_or(below))
    }
}

impl Found {
    fn add(&mut self, mut other: Self) {
        self.runs.append(&mut other.runs);
        self.warnings.append(&mut other.warnings);
        self.tagged.append(&mut other.tagged);
        self.later.append(&mut other.later);
        self.error = self.error.take().or(other.error);
    }
}

/// The folder that is looked at.
struct Here<'n> {
    folder: Folder,
    /// Below the root; `None` for the root.
    path: Option<RelPath>,
    open: &'n Names,
    near: Near,
    /// What stands in it, relative to the top.
    child: Vec<u8>,
}

/// Looks at one folder.
struct Visitor<'w> {
    walk: &'w Walk<'w>,
    found: Found,
    /// Files since the last directory.
    run: Vec<Listed>,
}

impl Visitor<'_> {
    /// Lists the files of a folder, and returns the folders in it to go on with.
    fn folder(&mut self, Step { folder, path, ruled, near }: Step) -> Result<Vec<Step>, GitError> {
        let Some(open) = self.names(path.as_ref())? else { return Ok(Vec::new()) };
        let names = open.sorted();
        let has = |wanted: &str| names.iter().any(|name| name.bytes() == wanted.as_bytes());
        if has(TAG_FILE) {
            self.found.tagged.extend(path.clone());
        }
        let folder = if ruled { folder } else { folder.with_ignore_file(has(IGNORE_FILE))? };
        let child = folder.path.clone();
        let mut here = Here { folder, path, open: &open, near, child };
        let mut next = Vec::new();
        // Whatever it is, and in every folder.
        for name in names.iter().filter(|name| name.bytes() != b".git") {
            if name.kind == Kind::Dir {
                self.end_run();
                next.extend(self.directory(&mut here, *name)?);
            } else {
                if self.run.is_empty() {
                    self.run.reserve(names.len().min(RUN));
                }
                self.file(&mut here, *name);
            }
        }
        Ok(next)
    }

    /// `None` for a folder that is gone meanwhile.
    fn names(&self, folder: Option<&RelPath>) -> Result<Option<Names>, GitError> {
        let path = folder.map_or(Path::new("."), RelPath::as_path);
        match Names::read(self.walk.open.as_fd(), path) {
            Ok(names) => Ok(Some(names)),
            Err(error) if is_absent(&error) && folder.is_some() => Ok(None),
            Err(error) => {
                let absolute =
                    folder.map_or_else(|| self.walk.root.to_owned(), |_| self.walk.root.join(path));
                Err(GitError::read(&absolute)(error))
            }
        }
    }

    fn directory(&mut self, here: &mut Here<'_>, name: Name<'_>) -> Result<Option<Step>, GitError> {
        let path = RelPath::below(here.path.as_ref(), name.bytes());
        if path.as_ref().is_some_and(|path| self.walk.prunes(path)) {
            return Ok(None);
        }
        let Here { folder, near, .. } = here;
        let sub = folder.sub(name.bytes(), &mut near.index)?;
        if let (Some(cache), Some(path)) = (self.walk.cache, &path) {
            near.cache = cache.seek(near.cache, &[path.as_bytes(), b"/"].concat());
        }
        let near = *near;
        let name = name.bytes();
        match sub {
            Sub::Part => Ok(Some(Step { folder: folder.part(name), path, ruled: false, near })),
            Sub::Other(repo, commit) => {
                let absolute = folder.top.join(&folder.child(name));
                let warnings = submodule::warnings(&absolute, path.clone(), repo.as_ref(), commit)?;
                self.found.warnings.extend(warnings);
                let near = Near { index: 0, ..near };
                Ok(Some(Step { folder: Folder::top(Top::new(absolute, repo)?)?, path, ruled: true, near }))
            }
            Sub::Excluded => {
                self.tracked_below(&folder.top, &[&folder.child(name), &b"/"[..]].concat())?;
                self.end_run();
                Ok(None)
            }
        }
    }

    fn file(&mut self, here: &mut Here<'_>, name: Name<'_>) {
        let Here { folder, path: parent, open, near, child } = here;
        child.truncate(folder.path.len());
        child.extend_from_slice(name.bytes());
        let wanted = matches!(name.kind, Kind::File | Kind::Symlink) && !folder.excludes(child, false);
        if !wanted && !folder.top.index.contains(child) {
            return;
        }
        let Some(path) = RelPath::below(parent.as_ref(), name.bytes()) else { return };
        let cache = self.walk.cache.filter(|_| name.kind == Kind::File);
        let look =
            |cache: &StatCache| cache.look(&mut near.cache, path.as_bytes(), || open.stat(name.bytes()));
        let seen = cache.and_then(look);
        self.run.push(Listed { path, kind: name.kind, seen });
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            self.found.runs.push(std::mem::take(&mut self.run));
        }
    }

    fn list(&mut self, path: &Path, kind: FileType) {
        let kind = match kind {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => Kind::Symlink,
            kind if kind.is_dir() => return,
            kind if kind.is_socket() => Kind::Socket,
            _ => Kind::Special,
        };
        self.run.extend(self.walk.relative(path).map(|path| Listed::new(path, kind)));
    }

    /// Lists what is tracked below a folder that is not walked. Nothing is found by way of a link.
    fn tracked_below(&mut self, top: &Arc<Top>, folder: &[u8]) -> Result<(), GitError> {
        let mut real = None;
        for (relative, kind) in top.index.below(folder) {
            let path = top.join(relative);
            let Some(parent) = path.parent() else { continue };
            if real.as_ref().is_none_or(|(last, _)| *last != *parent) {
                real = Some((parent.to_owned(), is_real_folder(&top.path, parent)?));
                self.not_listed(parent);
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
        let repo = Repo::at(&path)?;
        let name = self.walk.relative(&path);
        let commit = top.index.gitlink(relative);
        self.found.warnings.extend(submodule::warnings(&path, name, repo.as_ref(), commit)?);
        let folder = Folder::top(Top::new(path.clone(), repo)?)?;
        self.found.later.push((path, folder));
        Ok(())
    }

    /// Takes note of a folder that is not read, and of those above it: there may be a tag in any of
    /// them.
    fn not_listed(&mut self, folder: &Path) {
        let Some(folder) = self.walk.relative(folder) else { return };
        self.found.tagged.extend(folder.parents().filter_map(RelPath::new));
        self.found.tagged.push(folder);
    }
}

fn first(run: &[Listed]) -> Option<&RelPath> {
    run.first().map(|listed| &listed.path)
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
