//! The notes of when versions were first seen: which of them are there, and which may go. See
//! FORMAT.md, "First seen".

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Digest;
use crate::error::{At, Result};
use crate::files::replace;

/// A note goes when nothing was asked of its package for longer: 400 days.
pub const KEEP: Duration = Duration::from_secs(400 * 86_400);
/// How far behind the last use the time of a note may be.
pub const STAMP_EVERY: Duration = Duration::from_secs(86_400);

/// The notes of a store.
#[derive(Clone, Debug)]
pub struct FirstSeen {
    folder: Utf8PathBuf,
}

impl FirstSeen {
    pub(super) fn new(folder: Utf8PathBuf) -> Self {
        Self { folder }
    }

    /// Where the note with this digest is, or would be.
    #[must_use]
    pub fn path(&self, ecosystem: &str, digest: &Digest) -> Utf8PathBuf {
        let hex = digest.hex();
        self.folder.join(ecosystem).join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    /// Whether this path below packages/seen is that of a note.
    #[must_use]
    pub fn is_note(below: &[&str]) -> bool {
        matches!(below, [_, _, hex] if Digest::from_hex(hex).is_some())
    }

    /// Notes that something was asked of the package. A store that cannot be written goes without.
    pub fn stamp(path: &Utf8Path, now: SystemTime) {
        let _ = fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now));
    }

    /// Removes the notes that are not used any more, and what dead writers left. A time in the
    /// future counts as now. What is forgotten is new when it is seen again, so that it waits
    /// longer, and never shorter.
    ///
    /// # Errors
    /// I/O errors.
    pub fn tidy(&self, now: SystemTime) -> Result<()> {
        for ecosystem in folders(&self.folder)? {
            for shard in folders(&ecosystem)? {
                replace::sweep_unfinished(&shard)?;
                for name in replace::names_if_folder(&shard)?.iter().filter(|name| is_hex(name)) {
                    tidy_note(&shard.join(name), now)?;
                }
            }
        }
        Ok(())
    }
}

fn is_hex(name: &str) -> bool {
    Digest::from_hex(name).is_some()
}

/// The folders in it, but for links.
fn folders(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let is_folder = |path: &Utf8PathBuf| fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    if !is_folder(&folder.to_owned()) {
        return Ok(Vec::new());
    }
    let names = replace::names_if_folder(folder)?;
    Ok(names.into_iter().map(|name| folder.join(name)).filter(is_folder).collect())
}

fn tidy_note(path: &Utf8Path, now: SystemTime) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.is_file() {
        return Ok(());
    }
    let used = metadata.modified().at("read", path)?;
    match now.duration_since(used) {
        Err(_) => FirstSeen::stamp(path, now),
        Ok(unused) if unused > KEEP => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.at("remove", path)?,
        },
        Ok(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_goes_when_nothing_was_asked_of_its_package_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let seen = FirstSeen::new(Utf8Path::from_path(dir.path()).unwrap().join("seen"));
        let now = SystemTime::now();
        seen.tidy(now).unwrap();
        let note = |name: &str, used: SystemTime| {
            let path = seen.path("go", &Digest::of(name.as_bytes()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            FirstSeen::stamp(&path, used);
            path
        };
        let day = Duration::from_secs(86_400);
        let [old, young, ahead] = [now - KEEP - day, now - KEEP + day, now + 900 * day]
            .map(|used| note(&format!("{used:?}"), used));
        let foreign = old.parent().unwrap().join("README");
        fs::write(&foreign, "x").unwrap();
        FirstSeen::stamp(&foreign, now - 2 * KEEP);
        seen.tidy(now).unwrap();
        assert!(!old.exists() && young.exists() && ahead.exists() && foreign.exists());
        let used = fs::metadata(&ahead).unwrap().modified().unwrap();
        assert!(used <= now, "its time begins when it is first found");
    }
}
