//! The note of what was written for which key.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use storekit::files::replace::{Durability, read_capped, replace};
use storekit::files::state::FileState;
use storekit::store::Store;

use crate::note;

/// A note is small: more than this was not written by a bake.
const LARGEST: u64 = 64 << 20;

/// What stands in the project because of one image or disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// For which key; empty while files are being written.
    pub(crate) key: String,
    /// For which lines of larder.toml.
    pub(crate) spec: String,
    /// Each file, relative to the project, in the state that it was written in. `None` where a bake
    /// was about to write it.
    pub(crate) files: BTreeMap<Utf8PathBuf, Option<String>>,
}

impl Record {
    /// Whether all files of the key are there as they were written.
    pub(crate) fn is_sound(&self, root: &Utf8Path, key: &str, spec: &str) -> bool {
        let named = !key.is_empty() && self.key == key && self.spec == spec && !self.files.is_empty();
        named && self.files.iter().all(|(file, state)| is_still(&root.join(file), state.as_deref()))
    }
}

/// Whether the file is there in the state that was noted.
pub(crate) fn is_still(path: &Utf8Path, state: Option<&str>) -> bool {
    let now = std::fs::symlink_metadata(path).ok();
    let then = state.and_then(FileState::parse);
    then.zip(now).is_some_and(|(then, now)| then.is_still(&FileState::written(&now)))
}

/// The notes of one project.
pub(crate) struct Ledger<'a> {
    store: Option<&'a Utf8Path>,
    root: &'a Utf8Path,
}

impl<'a> Ledger<'a> {
    /// The notes in the store, for the project in `root`. Without a store nothing is noted.
    pub(crate) fn new(store: Option<&'a Utf8Path>, root: &'a Utf8Path) -> Self {
        Self { store: store.filter(|store| Store::open(store).is_ok()), root }
    }

    /// The project's folder.
    pub(crate) fn root(&self) -> &Utf8Path {
        self.root
    }

    /// The note of one image or disk; an empty one where there is none to be read.
    pub(crate) fn read(&self, owner: &str) -> Record {
        let bytes = self.file(owner).and_then(|file| read_capped(&file, LARGEST).ok()?);
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Notes it. In a store that is read-only nothing is: the files are written again next time.
    pub(crate) fn write(&self, owner: &str, record: &Record) {
        if let (Some(file), Ok(bytes)) = (self.file(owner), serde_json::to_vec(record)) {
            let _ = replace(&file, &bytes, Durability::Unsynced);
        }
    }

    fn file(&self, owner: &str) -> Option<Utf8PathBuf> {
        Some(self.store?.join(note::file_name("outputs", &[self.root.as_str(), owner])))
    }
}
