//! Finds the repository that a folder belongs to.
//!
//! As git does without any `GIT_*` variable: the nearest `.git` upward, a folder or a file that
//! names one, on the same file system. Absent on purpose: `core.worktree` pointing elsewhere than
//! the folder with `.git`, and the check of who owns the repository (nothing of it is run here).

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::config::Config;
use crate::error::git::GitError;
use crate::path::RelPath;

/// Length that git itself reads of a `.git` file at most.
const LINK_LIMIT: u64 = 1 << 20;

/// A repository with a work tree.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    /// Where its HEAD and index are.
    pub(super) git_dir: PathBuf,
    /// Where its objects, config and `info/exclude` are; for a linked work tree not the same.
    pub(super) common_dir: PathBuf,
    /// Bytes of an object's name: 20, or 32 for SHA-256.
    pub(super) hash_len: usize,
    pub(super) config: Config,
}

/// What `.git` in a folder is.
enum DotGit {
    /// Nothing, or nothing that git minds.
    None,
    Repo(Repo),
    /// A file that leads nowhere.
    Broken,
}

impl Repo {
    /// The repository that `folder`, an absolute path without links, lies in, and the top of its
    /// work tree.
    pub(super) fn around(folder: &Path) -> Result<Option<(PathBuf, Self)>, GitError> {
        let device = fs::metadata(folder).map_err(GitError::read(folder))?.dev();
        for top in folder.ancestors() {
            if fs::metadata(top).map_err(GitError::read(top))?.dev() != device {
                return Ok(None);
            }
            match dot_git(top)? {
                DotGit::Repo(repo) => return Ok(Some((top.to_owned(), repo))),
                DotGit::Broken => return Err(GitError::BrokenLink { path: top.join(".git") }),
                DotGit::None if is_git_dir(top)? => return Ok(None),
                DotGit::None => {}
            }
        }
        Ok(None)
    }

    /// The repository whose work tree's top is `folder`, if it is one. git takes a broken link for
    /// a plain folder here.
    pub(super) fn at(folder: &Path) -> Result<Option<Self>, GitError> {
        match dot_git(folder)? {
            DotGit::Repo(repo) => Ok(Some(repo)),
            DotGit::None | DotGit::Broken => Ok(None),
        }
    }

    /// The folder below a work tree's top, relative to it, that holds the repository itself where
    /// that is not `.git`: a `.git` file leads there.
    pub(super) fn own_folder(&self, top: &Path) -> Option<RelPath> {
        let below = |dir: &PathBuf| RelPath::new(dir.strip_prefix(top).ok()?.as_os_str().as_bytes());
        [&self.common_dir, &self.git_dir].into_iter().find_map(below).filter(|own| own.as_bytes() != b".git")
    }

    /// The commit that is checked out, in hexadecimal; `None` before the first one, or where refs
    /// are kept in a way that is not known here.
    pub(super) fn head(&self) -> Result<Option<String>, GitError> {
        let Some(text) = read_small(&self.git_dir.join("HEAD"))? else { return Ok(None) };
        match ref_name(&text) {
            Some(name) if name.split('/').all(is_plain_part) => self.resolve(name),
            Some(_) => Ok(None),
            None => Ok(Some(String::from_utf8_lossy(trim_end(&text)).into_owned())),
        }
    }

    fn resolve(&self, name: &str) -> Result<Option<String>, GitError> {
        for dir in [&self.git_dir, &self.common_dir] {
            if let Some(text) = read_small(&dir.join(name))? {
                return Ok(Some(String::from_utf8_lossy(trim_end(&text)).into_owned()));
            }
        }
        let Some(packed) = read_optional(&self.common_dir.join("packed-refs"))? else { return Ok(None) };
        let packed = String::from_utf8_lossy(&packed);
        let found = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, other)| *other == name);
        Ok(found.map(|(id, _)| id.to_owned()))
    }
}

/// Reads a file that may be absent.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, GitError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(GitError::read(path)(error)),
    }
}

/// What stands at a path, links not followed; `None` for nothing.
pub(super) fn lstat(path: &Path) -> Result<Option<Metadata>, GitError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(GitError::read(path)(error)),
    }
}

/// Whether an error says that there is a link where none is followed, or too many of them.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Bytes as the system calls want a path.
pub(super) fn os_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether an error says that nothing is there.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn dot_git(folder: &Path) -> Result<DotGit, GitError> {
    let path = folder.join(".git");
    match metadata(&path)? {
        Some(meta) if meta.is_dir() => Ok(if is_git_dir(&path)? { found(path)? } else { DotGit::None }),
        Some(meta) if meta.is_file() => linked(folder, &path, &meta),
        _ => Ok(DotGit::None),
    }
}

fn linked(folder: &Path, path: &Path, meta: &Metadata) -> Result<DotGit, GitError> {
    if meta.len() > LINK_LIMIT {
        return Ok(DotGit::Broken);
    }
    let text = fs::read(path).map_err(GitError::read(path))?;
    let Some(target) = text.strip_prefix(b"gitdir: ").map(trim_end).filter(|target| !target.is_empty())
    else {
        return Ok(DotGit::Broken);
    };
    let target = folder.join(os_path(target));
    Ok(if is_git_dir(&target)? { found(target)? } else { DotGit::Broken })
}

fn found(git_dir: PathBuf) -> Result<DotGit, GitError> {
    // Without the `..` that links between these folders are full of.
    let plain = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let git_dir = plain(git_dir);
    let common_dir = plain(common_dir(&git_dir)?);
    let path = common_dir.join("config");
    let parsed = |path: &Path| -> Result<Config, GitError> {
        Ok(read_optional(path)?.map(|bytes| Config::parse(&bytes)).unwrap_or_default())
    };
    let mut config = parsed(&path)?;
    // A linked work tree is one, whatever the repository says of itself; with sparse checkouts it
    // says so in a file of its own.
    config.bare = git_dir == common_dir && (config.bare || parsed(&common_dir.join("config.worktree"))?.bare);
    let hash_len = match config.object_format.as_deref() {
        None | Some("sha1") => 20,
        Some("sha256") => 32,
        Some(other) => return Err(GitError::Unsupported { path, what: format!("object format `{other}`") }),
    };
    Ok(DotGit::Repo(Repo { git_dir, common_dir, hash_len, config }))
}

fn common_dir(git_dir: &Path) -> Result<PathBuf, GitError> {
    let link = read_small(&git_dir.join("commondir"))?;
    Ok(link.map_or_else(|| git_dir.to_owned(), |target| git_dir.join(os_path(trim_end(&target)))))
}

/// Whether git takes a folder for a repository: a HEAD that is a ref or a commit, `objects` and
/// `refs`.
fn is_git_dir(path: &Path) -> Result<bool, GitError> {
    if !has_head(&path.join("HEAD"))? {
        return Ok(false);
    }
    let common = common_dir(path)?;
    let enters = |name: &str| rustix::fs::access(common.join(name), Access::EXEC_OK).is_ok();
    Ok(enters("objects") && enters("refs"))
}

fn has_head(path: &Path) -> Result<bool, GitError> {
    if let Ok(target) = fs::read_link(path) {
        return Ok(target.as_os_str().as_bytes().starts_with(b"refs/"));
    }
    let Some(text) = read_small(path)? else { return Ok(false) };
    let hex = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    Ok(hex >= 40 || ref_name(&text).is_some())
}

/// The ref that HEAD stands for.
fn ref_name(head: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(head).ok()?.strip_prefix("ref:")?.trim();
    name.starts_with("refs/").then_some(name)
}

fn is_plain_part(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
}

/// A small file's content; `None` where there is no file.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, GitError> {
    match metadata(path)? {
        Some(meta) if meta.is_file() && meta.len() <= LINK_LIMIT => read_optional(path),
        _ => Ok(None),
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, GitError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if is_absent(&error) || is_link(&error) => Ok(None),
        Err(error) => Err(GitError::read(path)(error)),
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}
