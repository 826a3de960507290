//! What was learnt of a registry: which of its repositories holds a blob, and what a layer became
//! when it was compressed anew. Only hints, `remotes/HOST.json` in the store: nothing goes wrong
//! where they are lost or false.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use storekit::Digest;
use storekit::files::replace::{self, Durability};

use crate::format::compression::Form;

/// The version of the format; a newer file is left alone.
const VERSION: u64 = 1;
const CAP: u64 = 4 << 20;
/// So many hints of each kind are kept, the latest.
const KEPT: usize = 4096;

/// The hints for one registry.
#[derive(Debug)]
pub(crate) struct Memory {
    path: Utf8PathBuf,
    hints: Hints,
    changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Hints {
    version: u64,
    #[serde(default)]
    held: Vec<Held>,
    #[serde(default)]
    made: Vec<Made>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    digest: Digest,
    repository: String,
}

/// What a stored layer became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) from: Digest,
    pub(crate) form: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Memory {
    /// The hints for the registry; no hints where they cannot be read.
    pub(crate) fn load(store: &Utf8Path, registry: &str) -> Self {
        let plain = |char: char| if char.is_ascii_alphanumeric() || char == '.' { char } else { '_' };
        let name: String = registry.chars().map(plain).collect();
        let path = store.join("remotes").join(format!("{name}.json"));
        let bytes = replace::read_capped(&path, CAP).ok().flatten();
        let hints = bytes.and_then(|bytes| serde_json::from_slice::<Hints>(&bytes).ok()).unwrap_or_default();
        Self { path, hints, changed: false }
    }

    /// A repository other than `but` that holds the blob.
    pub(crate) fn holder(&self, digest: &Digest, but: &str) -> Option<&str> {
        let held = self.hints.held.iter().rev().find(|held| held.digest == *digest && held.repository != but);
        held.map(|held| held.repository.as_str())
    }

    pub(crate) fn holds(&mut self, digest: Digest, repository: &str) {
        let held = Held { digest, repository: repository.to_owned() };
        if !self.hints.held.contains(&held) {
            self.changed = true;
            self.hints.held.push(held);
        }
    }

    pub(crate) fn made(&self, from: &Digest, form: Form) -> Option<&Made> {
        self.hints.made.iter().rev().find(|made| made.from == *from && made.form == form.suffix())
    }

    pub(crate) fn became(&mut self, made: Made) {
        if !self.hints.made.contains(&made) {
            self.changed = true;
            self.hints.made.push(made);
        }
    }

    /// Writes them down. A store that cannot be written to learns nothing.
    pub(crate) fn save(mut self) {
        if !self.changed || self.hints.version > VERSION {
            return;
        }
        self.hints.version = VERSION;
        keep_latest(&mut self.hints.held);
        keep_latest(&mut self.hints.made);
        if let (Some(folder), Ok(bytes)) = (self.path.parent(), serde_json::to_vec(&self.hints)) {
            // Hints only: the next push learns them again.
            let _ = fs::create_dir_all(folder);
            let _ = replace::replace(&self.path, &bytes, Durability::Unsynced);
        }
    }
}

fn keep_latest<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(KEPT));
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write what they like")]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_there_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Utf8Path::from_path(dir.path()).unwrap();
        let blob = Digest::of(b"x");
        let mut memory = Memory::load(store, "r.example:5000");
        memory.holds(blob, "a/b");
        memory.became(Made { from: blob, form: "+gzip".to_owned(), digest: Digest::of(b"y"), size: 1 });
        memory.save();
        let again = Memory::load(store, "r.example:5000");
        assert_eq!(again.holder(&blob, "c"), Some("a/b"));
        assert_eq!(again.holder(&blob, "a/b"), None);
        assert_eq!(again.made(&blob, Form::Gzip).unwrap().size, 1);
        assert!(again.made(&blob, Form::Zstd).is_none());
        assert!(Memory::load(store, "r.example").holder(&blob, "c").is_none());
    }

    #[test]
    fn what_cannot_be_read_is_forgotten_and_what_is_newer_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Utf8Path::from_path(dir.path()).unwrap();
        fs::create_dir(store.join("remotes")).unwrap();
        for (text, stays) in [("{", false), (r#"{"version":2}"#, true)] {
            fs::write(store.join("remotes/r.json"), text).unwrap();
            let mut memory = Memory::load(store, "r");
            memory.holds(Digest::of(b"x"), "a");
            memory.save();
            assert_eq!(fs::read_to_string(store.join("remotes/r.json")).unwrap() == text, stays);
        }
    }
}
