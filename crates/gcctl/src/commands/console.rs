//! Where a command's words go, and what it works on.

use std::io::Write;

use camino::Utf8Path;
use serde::Serialize;
use storekit::error::At;
use storekit::{Key, KeyOrName, Store};
use toolkit::{Table, output};

use crate::error::{Error, Result};

/// Where a command's words go.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line, and all combine")]
pub struct Console<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// Messages.
    pub err: &'a mut dyn Write,
    /// Whether data is JSON, one object a line.
    pub json: bool,
    /// Whether messages are left out.
    pub quiet: bool,
    /// Whether details are added.
    pub verbose: bool,
    /// Whether tables have bold headings.
    pub bold: bool,
}

impl Console<'_> {
    pub(crate) fn line(&mut self, line: &impl Serialize) -> Result<()> {
        output::json_line(self.out, line).map_err(Error::output)
    }

    /// The line, where JSON is wanted; else the text.
    pub(crate) fn either(&mut self, line: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            return self.line(line);
        }
        let text = storekit::printable_lines(&text());
        self.out.write_all(text.as_bytes()).map_err(Error::output)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<()> {
        self.out.write_all(table.text(self.bold).as_bytes()).map_err(Error::output)
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(Error::output)
    }

    /// Prints a message, unless messages are not wanted.
    pub fn say(&mut self, message: impl AsRef<str>) {
        if !self.quiet {
            output::say_to(self.err, message.as_ref());
        }
    }

    pub(crate) fn warn(&mut self, message: impl AsRef<str>) {
        if !self.quiet {
            output::warn_to(self.err, message.as_ref());
        }
    }
}

/// Opens the store to work on. A folder that `--store` names must have one; else, where none is
/// yet, it reads as empty, and that is said.
///
/// # Errors
/// [`Error::NoStore`], those of [`Store::open_or_empty`].
pub fn open(folder: &Utf8Path, named: bool, console: &mut Console<'_>) -> Result<Store> {
    match Store::open(folder) {
        Err(storekit::Error::NotAStore { .. }) => {}
        opened => return Ok(opened?),
    }
    let empty = Store::open_or_empty(folder)?;
    if folder.is_symlink() {
        // One that leads nowhere is not a store that is not made yet.
        std::fs::metadata(folder).at("follow the link", folder)?;
    }
    if named {
        return Err(Error::NoStore { path: folder.to_owned() });
    }
    console.say(format!("there is no store at `{folder}` yet"));
    Ok(empty)
}

/// The key that is meant.
pub(super) fn lookup(store: &Store, text: &KeyOrName) -> Result<Option<Key>> {
    Ok(store.images().lookup(text)?.map(|found| found.key))
}
