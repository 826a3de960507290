//! Which of the bodies that are to go some entry names at this very moment, read again in each step
//! of a sweep, under its lock.
//!
//! Every entry is read once. After that a folder of entries is read again where it is not in the
//! state that it was in: a server writes an entry anew and renames it, which its folder shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Digest;
use storekit::error::At;
use storekit::files::lock::Exclusive;
use storekit::files::replace;
use storekit::files::state::FileState;

use crate::error::Result;
use crate::packages::bodies;
use crate::survey::entry_at;

/// Remembers between the steps what it has read.
pub(crate) struct Needed {
    entries: Utf8PathBuf,
    /// The bodies that are to go: no others are remembered.
    doomed: HashSet<Digest>,
    folders: BTreeMap<Utf8PathBuf, (FileState, Vec<Digest>)>,
    /// By how many folders each is named.
    count: HashMap<Digest, usize>,
    of_this_step: bool,
}

impl Needed {
    pub(crate) fn new(entries: Utf8PathBuf, doomed: HashSet<Digest>) -> Self {
        let (folders, count) = (BTreeMap::new(), HashMap::new());
        Self { entries, doomed, folders, count, of_this_step: false }
    }

    /// Reads ahead, without the lock, so that the steps are short. What cannot be read is found out
    /// in a step.
    pub(crate) fn read_ahead(&mut self) {
        let _ = self.refresh();
    }

    /// What was read before the lock was taken is looked at again.
    pub(crate) fn begin_step(&mut self) {
        self.of_this_step = false;
    }

    /// Whether an entry names the body. Looks once in each step: no process writes an entry under
    /// its lock.
    pub(crate) fn is_needed(&mut self, _lock: &Exclusive, digest: &Digest) -> Result<bool> {
        if !self.of_this_step {
            self.refresh()?;
            self.of_this_step = true;
        }
        Ok(self.count.get(digest).is_some_and(|count| *count > 0))
    }

    fn refresh(&mut self) -> Result<()> {
        let mut before = std::mem::take(&mut self.folders);
        for source in replace::names(&self.entries)? {
            let source = self.entries.join(source);
            if !source.is_dir() {
                continue;
            }
            for shard in replace::names(&source)? {
                let folder = source.join(shard);
                let Some(state) = state(&folder)? else { continue };
                match before.remove(&folder) {
                    Some(known) if known.0.is_still(&state) => {
                        self.folders.insert(folder, known);
                    }
                    other => {
                        self.forget(other);
                        let named = self.named_in(&folder)?;
                        for digest in &named {
                            *self.count.entry(*digest).or_default() += 1;
                        }
                        self.folders.insert(folder, (state, named));
                    }
                }
            }
        }
        for gone in before.into_values() {
            self.forget(Some(gone));
        }
        Ok(())
    }

    fn forget(&mut self, folder: Option<(FileState, Vec<Digest>)>) {
        for digest in folder.map(|(_, named)| named).unwrap_or_default() {
            if let Some(count) = self.count.get_mut(&digest) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// The bodies that are to go and that an entry in this folder names.
    fn named_in(&self, folder: &Utf8Path) -> Result<Vec<Digest>> {
        let mut named = HashSet::new();
        for name in replace::names(folder)?.iter().filter(|name| name.strip_suffix(".toml").is_some()) {
            let Some(entry) = entry_at(&folder.join(name))? else { continue };
            named.extend(bodies(&entry).into_iter().filter(|digest| self.doomed.contains(digest)));
        }
        Ok(named.into_iter().collect())
    }
}

/// The state of a folder; `None` for anything else.
fn state(folder: &Utf8Path) -> Result<Option<FileState>> {
    match fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        metadata => {
            let metadata = metadata.at("read", folder)?;
            Ok(metadata.is_dir().then(|| FileState::seen(&metadata)))
        }
    }
}
