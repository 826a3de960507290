//! What was written into the user's files, and where their backups are.
//!
//! The record lies beside the project's first compose file. Nothing in it is believed: a checkout
//! may bring one. Only files below its own folder are restored, from backups with the noted digest,
//! and only where the file is what larder wrote.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use storekit::files::replace::read_capped;
use thiserror::Error;

use super::edit::{Edit, applied};
use super::pins::Pins;

/// The record's name.
pub(crate) const FILE: &str = "docker-compose.larder.json";

/// What the name of a backup ends with.
pub(super) const BACKUP: &str = ".larder-backup";

/// The version that this larder writes, and the only one that it reads.
const VERSION: u32 = 1;

/// No file that is edited is larger: 4 MiB.
pub(super) const LARGEST: u64 = 4 << 20;

/// Why nothing was written, or taken back.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum WriteError {
    #[error("`{path}` was edited since the bake, at {difference}")]
    #[diagnostic(code(larder::compose_edited), help("nothing was changed; {help}"))]
    Edited { path: Utf8PathBuf, difference: String, help: String },

    #[error("`{path}` is not larder's")]
    #[diagnostic(
        code(larder::compose_foreign),
        help("nothing was changed; move it away: larder writes a file of that name")
    )]
    Foreign { path: Utf8PathBuf },

    #[error("the backup `{path}` is not what was saved")]
    #[diagnostic(
        code(larder::compose_backup),
        help(
            "nothing was changed; compare the two files, and remove the backup and {FILE} when the file is as you want it"
        )
    )]
    Backup { path: Utf8PathBuf },

    #[error("`{path}` is not a record of larder's: {why}")]
    #[diagnostic(
        code(larder::compose_record),
        help("nothing was changed; remove it where nothing is to be taken back")
    )]
    Record { path: Utf8PathBuf, why: String },

    #[error("`{path}` cannot be edited in place: {why}")]
    #[diagnostic(
        code(larder::compose_in_place),
        help("nothing was changed; without `--in-place`, the images are pinned in a file above the others")
    )]
    InPlace { path: Utf8PathBuf, why: String },

    #[error("`{path}` cannot be edited: {why}")]
    #[diagnostic(
        code(larder::devcontainer),
        help("nothing was changed; add `{file}` to its `dockerComposeFile` by hand")
    )]
    Devcontainer { path: Utf8PathBuf, why: String, file: String },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Io(#[from] storekit::Error),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    version: u32,
    /// The images of services that are pinned in the files themselves.
    #[serde(default)]
    pub(super) pins: Pins,
    pub(super) files: Vec<Changed>,
}

/// A file of the user's that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    /// Relative to the record.
    pub(super) path: Utf8PathBuf,
    /// The digest of what it was, which the backup has.
    pub(super) original: String,
    /// The digests of what larder has written, the last one at the end.
    pub(super) written: Vec<String>,
    /// What the last one changed.
    pub(super) edits: Vec<Edit>,
}

/// How a file stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it was before any bake.
    Original,
    /// As larder wrote it.
    Written,
    /// Neither.
    Edited,
}

impl Changed {
    pub(super) fn backup(&self) -> Utf8PathBuf {
        backup_of(&self.path)
    }

    pub(super) fn state(&self, now: Option<&[u8]>) -> State {
        let digest = now.map(digest);
        match digest {
            Some(digest) if digest == self.original => State::Original,
            Some(digest) if self.written.contains(&digest) => State::Written,
            _ => State::Edited,
        }
    }

    /// What it was, from its backup.
    ///
    /// # Errors
    /// A backup that is gone, or is another file.
    pub(super) fn original(&self, folder: &Utf8Path) -> Result<Vec<u8>, WriteError> {
        let path = folder.join(self.backup());
        let bytes = read_capped(&path, LARGEST)?.filter(|bytes| digest(bytes) == self.original);
        bytes.ok_or(WriteError::Backup { path })
    }

    /// What larder wrote last, as far as that can be told.
    pub(super) fn last_written(&self, folder: &Utf8Path) -> Option<String> {
        let original = String::from_utf8(self.original(folder).ok()?).ok()?;
        let text = applied(&original, &self.edits)?;
        (self.written.last() == Some(&digest(text.as_bytes()))).then_some(text)
    }
}

impl Record {
    pub(super) fn new(pins: Pins, files: Vec<Changed>) -> Self {
        Self { version: VERSION, pins, files }
    }

    /// The record in the folder; an empty one where there is none.
    ///
    /// # Errors
    /// A file that is none, or of another version, or names files elsewhere.
    pub(crate) fn load(folder: &Utf8Path) -> Result<Self, WriteError> {
        let path = folder.join(FILE);
        let Some(bytes) = read_capped(&path, LARGEST)? else { return Ok(Self::default()) };
        let wrong = |why: String| WriteError::Record { path: path.clone(), why };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if record.version != VERSION {
            return Err(wrong(format!("its version is {}, and this larder knows {VERSION}", record.version)));
        }
        match record.files.iter().find(|file| !is_below(&file.path)) {
            Some(file) => Err(wrong(format!("it names `{}`, which is not below its folder", file.path))),
            None => Ok(record),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn text(&self) -> String {
        // All of it is text, and numbers.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    pub(super) fn of(&self, path: &Utf8Path) -> Option<&Changed> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What counts in the place of files that a bake has written: what they were before it.
pub(crate) fn originals<'a>(
    record: &'a Record,
    folder: &'a Utf8Path,
) -> impl Fn(&Utf8Path, &[u8]) -> Option<Vec<u8>> + 'a {
    move |path, bytes| {
        let changed = record.of(path.strip_prefix(folder).ok()?)?;
        if changed.state(Some(bytes)) == State::Written { changed.original(folder).ok() } else { None }
    }
}

pub(super) fn backup_of(path: &Utf8Path) -> Utf8PathBuf {
    format!("{path}{BACKUP}").into()
}

pub(super) fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Whether a path leads to something below the folder that it begins in, as far as its words tell.
pub(super) fn is_below(path: &Utf8Path) -> bool {
    !path.as_str().is_empty() && path.components().all(|part| matches!(part, Utf8Component::Normal(_)))
}
