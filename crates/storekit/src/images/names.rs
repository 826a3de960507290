//! The names of all stored images in one text, to find an image by its name.
//!
//! Reading thousands of key files takes a tenth of a second. So where there are many, the text is
//! kept in the store, and it counts as long as the folder of the key files is as it was: each
//! change of a key file gives a file in it a name.
//!
//! Limit: a program that changes a key file in place is not seen. A caller that takes a key from
//! here reads its entry again.

use std::fmt::Write;
use std::fs;

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::Key;
use crate::error::Result;
use crate::files::replace::{self, Durability};
use crate::files::state::FileState;
use crate::image_name;
use crate::images::Images;
use crate::images::entry::Entry;
use crate::images::listing::read_each;

/// The file in the store. Derived and local: it may go at any time.
const FILE: &str = ".names";
const CAP: u64 = 256 << 20;
const VERSION: &str = "# names 1\n";
const END: &str = "# end\n";
/// Fewer key files than this are read as quickly as a note is written.
const WORTH: usize = 256;

/// The names of all images: a line for each key, as FORMAT.md gives it.
pub(crate) struct Names {
    lines: String,
    /// Whether they come from the note.
    pub(crate) noted: bool,
}

/// By what an image is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A name, in the form that all engines share.
    Name(String),
    /// The name in larder.toml.
    Image(String),
}

impl Word {
    /// The name as it is compared; `None` for text that no engine takes as one.
    pub(crate) fn name(text: &str) -> Option<Self> {
        image_name::is_name(text).then(|| Self::Name(image_name::any_engines(text)))
    }

    /// Whether the entry has it.
    pub(crate) fn is_of(&self, entry: &Entry) -> bool {
        words(entry).contains(self)
    }

    fn written(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Image(image) => format!("@{image}"),
        }
    }
}

/// All by which the entry can be looked for. Neither kind of word has a blank in it.
fn words(entry: &Entry) -> Vec<Word> {
    let image = entry.origin.image.as_ref().map(|image| image.as_str().to_owned());
    let image = image.filter(|image| !image.contains(char::is_whitespace)).map(Word::Image);
    entry.names.iter().filter_map(|name| Word::name(name)).chain(image).collect()
}

impl Images {
    /// The names as they are noted, else as they stand in the key files.
    pub(crate) fn names(&self) -> Result<Names> {
        self.noted_names().map_or_else(|| self.read_names(), Ok)
    }

    /// The names as they stand in the key files; a key file that cannot be understood has none.
    ///
    /// # Errors
    /// [`crate::Error::Newer`], I/O errors.
    pub(crate) fn read_names(&self) -> Result<Names> {
        // Before the files are read: a change meanwhile makes another state.
        let state = self.keys_state();
        let keys = self.keys()?;
        let lines = read_each(&keys, |key| self.line(key))?.concat();
        if let Some(state) = state.filter(|_| keys.len() >= WORTH).and_then(|state| state.to_text()) {
            let text = format!("{VERSION}{state}\n{lines}{END}");
            // Without the note, the key files are read.
            let _ = replace::replace(&self.names_path(), text.as_bytes(), Durability::Unsynced);
        }
        Ok(Names { lines, noted: false })
    }

    fn noted_names(&self) -> Option<Names> {
        let bytes = replace::read_capped(&self.names_path(), CAP).ok()??;
        let text = std::str::from_utf8(&bytes).ok()?;
        let (state, lines) = text.strip_prefix(VERSION)?.strip_suffix(END)?.split_once('\n')?;
        let is_still = FileState::parse(state)?.is_still(&self.keys_state()?);
        is_still.then(|| Names { lines: lines.to_owned(), noted: true })
    }

    fn names_path(&self) -> Utf8PathBuf {
        self.store().root().join(FILE)
    }

    /// The state of the folder in which the key files are.
    fn keys_state(&self) -> Option<FileState> {
        fs::metadata(self.folder().join("keys")).ok().map(|metadata| FileState::seen(&metadata))
    }

    fn line(&self, key: &Key) -> Result<Option<String>> {
        let entry = match self.read(key) {
            Err(error) if error.is_corrupt() || error.is_unreadable() => return Ok(Some(format!("{key}\n"))),
            entry => entry?,
        };
        Ok(entry.map(|entry| {
            let mut line = format!("{key} {}", entry.saved);
            for word in words(&entry) {
                // A string takes all that is written to it.
                let _ = write!(line, " {}", word.written());
            }
            line + "\n"
        }))
    }
}

impl Names {
    /// The key that was saved last of those with the word.
    pub(crate) fn newest(&self, word: &Word) -> Option<Key> {
        let word = word.written();
        let with_it = self.lines.lines().filter_map(|line| {
            let mut parts = line.split(' ');
            let (key, saved) = (parts.next()?, parts.next()?);
            parts.any(|part| part == word).then(|| Some((saved.parse::<Timestamp>().ok()?, key)))?
        });
        with_it.max().and_then(|(_, key)| key.parse().ok())
    }

    /// All keys, sorted, readable or not.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.lines.lines().filter_map(|line| line.split(' ').next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(lines: &str, word: &Word) -> Option<String> {
        Names { lines: lines.to_owned(), noted: false }.newest(word).map(String::from)
    }

    #[test]
    fn the_newest_of_a_name_is_the_one_that_was_saved_last() {
        let lines = "a 2026-01-02T03:04:05Z docker.io/library/app:latest @x\n\
                     b 2026-01-02T03:04:05.5Z docker.io/library/app:1 docker.io/library/app:latest\n\
                     c 2025-01-02T03:04:05Z docker.io/library/app:latest\n\
                     d\n\
                     e 2027-01-02T03:04:05Z\n";
        let name = |text: &str| Word::name(text).unwrap();
        assert_eq!(newest(lines, &name("localhost/app")), Some("b".into()));
        assert_eq!(newest(lines, &name("app:1")), Some("b".into()));
        assert_eq!(newest(lines, &name("app:2")), None);
        assert_eq!(newest(lines, &Word::Image("x".into())), Some("a".into()));
        assert_eq!(newest(lines, &name("x")), None);
    }
}
