//! Lists a folder as it stands on disk, less what a filter hides.
//!
//! Follows no links and knows no rules of its own. Order is up to the readers of the listing.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use ignore::{DirEntry, WalkBuilder, WalkState};

use crate::error::HashError;
use crate::files::stat::Kind;
use crate::listed::{Filter, Judgement, Listed, Lister, Listing, drop_filled};
use crate::path::{RelPath, escape};

/// Every file, link and empty folder below the root, less what the filter hides. A folder with
/// nothing left in it that is not hidden itself counts as empty, for so the engines see it.
#[derive(Default)]
pub struct Walk<'a> {
    /// Hides paths; `None` hides nothing.
    pub filter: Option<&'a dyn Filter>,
    /// Whether sockets are left out, so that a folder with nothing else in it counts as empty.
    pub no_sockets: bool,
}

impl Lister for Walk<'_> {
    fn list(&self, root: &Utf8Path, threads: usize) -> Result<Listing, HashError> {
        let done = Mutex::new(Ok(Vec::new()));
        WalkBuilder::new(root).standard_filters(false).threads(threads).build_parallel().run(|| {
            let mut batch = Batch { walk: self, root, found: Ok(Vec::new()), done: &done };
            Box::new(move |entry| batch.take(entry))
        });
        let mut entries = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        drop_filled(&mut entries);
        Ok(Listing { entries, ..Listing::default() })
    }
}

type Found = Result<Vec<Listed>, HashError>;

/// What one thread has found; handed in when the thread's walk ends.
struct Batch<'a> {
    walk: &'a Walk<'a>,
    root: &'a Utf8Path,
    found: Found,
    done: &'a Mutex<Found>,
}

impl Batch<'_> {
    fn take(&mut self, entry: Result<DirEntry, ignore::Error>) -> WalkState {
        match entry.map_err(failed).and_then(|entry| self.judged(&entry)) {
            Ok((listed, next)) => {
                if let (Ok(found), Some(listed)) = (&mut self.found, listed) {
                    found.push(listed);
                }
                next
            }
            Err(error) => {
                self.found = Err(error);
                WalkState::Quit
            }
        }
    }

    fn judged(&self, entry: &DirEntry) -> Result<(Option<Listed>, WalkState), HashError> {
        let Some(below) = below(self.root, entry.path()) else {
            return Ok((None, WalkState::Continue));
        };
        let kind = kind_of(entry);
        let judge = |filter: &dyn Filter| filter.judge(below, kind == Kind::Dir);
        match self.walk.filter.map_or(Ok(Judgement::Keep), judge)? {
            Judgement::Keep if self.walk.no_sockets && kind == Kind::Socket => {
                Ok((None, WalkState::Continue))
            }
            Judgement::Keep => Ok((Some(Listed::new(checked(below)?, kind)), WalkState::Continue)),
            Judgement::Hide => Ok((None, WalkState::Continue)),
            Judgement::Prune => Ok((None, WalkState::Skip)),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match (done.as_mut(), std::mem::replace(&mut self.found, Ok(Vec::new()))) {
            (Ok(all), Ok(mut found)) => all.append(&mut found),
            (Ok(_), Err(error)) => *done = Err(error),
            (Err(_), _) => {}
        }
    }
}

/// The bytes of `path` below the root; `None` for the root itself.
fn below<'p>(root: &Utf8Path, path: &'p Path) -> Option<&'p [u8]> {
    let rest = path.as_os_str().as_bytes().strip_prefix(root.as_str().as_bytes())?;
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    (!rest.is_empty()).then_some(rest)
}

fn checked(below: &[u8]) -> Result<RelPath, HashError> {
    let odd =
        || io::Error::new(io::ErrorKind::InvalidData, "the walk returned a path that is not below the root");
    RelPath::new(below).ok_or_else(odd).map_err(HashError::read(escape(below)))
}

fn kind_of(entry: &DirEntry) -> Kind {
    match entry.file_type() {
        Some(kind) if kind.is_file() => Kind::File,
        Some(kind) if kind.is_dir() => Kind::Dir,
        Some(kind) if kind.is_symlink() => Kind::Symlink,
        Some(kind) if kind.is_socket() => Kind::Socket,
        _ => Kind::Special,
    }
}

/// The walk's errors carry their path in layers around the I/O error.
fn failed(error: ignore::Error) -> HashError {
    let path = path_of(&error)
        .map_or_else(|| "the context".to_owned(), |path| escape(path.as_os_str().as_bytes()).into_owned());
    let text = error.to_string();
    let source = error.into_io_error().unwrap_or_else(|| io::Error::other(text));
    HashError::Read { path, source }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}
