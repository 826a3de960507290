//! Carries out what was decided, one thing after the other: each is done whole or not at all.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};

use camino::Utf8PathBuf;
use storekit::files::replace::{Durability, Staged, sync_folder};

use super::record::WriteError;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Gives a file this content. One that is there keeps its permissions and its owner; a new one
    /// has those of `like`, else the owner of its folder.
    Write { path: Utf8PathBuf, bytes: Vec<u8>, like: Option<Utf8PathBuf> },
    /// Removes a file.
    Remove { path: Utf8PathBuf },
}

/// As a person would do it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "# writes {path}"),
            Self::Remove { path } => write!(f, "rm -f {path}"),
        }
    }
}

/// Does one after the other.
///
/// # Errors
/// I/O errors; what came before is done then.
pub(crate) fn carry_out(steps: &[Step]) -> Result<(), WriteError> {
    steps.iter().try_for_each(one)
}

/// Gives a file the owner of another one, where this process may.
fn give(file: &File, like: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // A group of its own a user may give.
            let _ = fchown(file, None, Some(like.gid()));
            Ok(())
        }
        done => done,
    }
}

fn one(step: &Step) -> Result<(), WriteError> {
    match step {
        Step::Write { path, bytes, like } => {
            let folder = path.parent().unwrap_or(path);
            let mut staged = Staged::new(folder)?;
            let failed = |source| storekit::Error::io("write", path, source);
            staged.file().write_all(bytes).map_err(failed)?;
            let like = fs::metadata(path).ok().or_else(|| fs::metadata(like.as_ref()?).ok());
            if let Some(owner) = like.clone().or_else(|| fs::metadata(folder).ok()) {
                give(staged.file(), &owner).map_err(failed)?;
            }
            // After the owner: a change of owner takes some of them away.
            if let Some(like) = like {
                staged.file().set_permissions(like.permissions()).map_err(failed)?;
            }
            staged.publish(path, Durability::Synced)?;
            Ok(())
        }
        Step::Remove { path } => {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(storekit::Error::io("remove", path, error).into());
                }
                _ => {}
            }
            let folder = path.parent().unwrap_or(path);
            Ok(sync_folder(folder, Durability::Synced)?)
        }
    }
}
