//! `ls` of what is neither an image nor a package: files, and the folders of the trash.

use jiff::Timestamp;
use serde::Serialize;
use storekit::ByteSize;
use toolkit::words::ago;
use toolkit::{Align, Table};

use super::ls::{Filter, Item};

/// What kind of file is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// What hashctx remembers of folders.
    Contexts,
    /// What was removed and could be brought back, and what was set aside as damaged.
    Trash,
    /// What is being written, or was left unfinished.
    Unfinished,
    /// The manifests of inputs that are kept beside images.
    Inputs,
    /// What happened.
    Events,
    /// When versions of packages were first seen.
    FirstSeen,
    /// What is in folders of other tools.
    Extra,
}

/// A file, or a folder of the trash: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRow {
    /// What kind it is of.
    pub kind: FileKind,
    /// Where it is, below the store; absolute where it is not in the store.
    pub path: String,
    /// Bytes on disk.
    pub size: u64,
    /// When it was last written, or removed; in an extra folder, used or written.
    pub used: Timestamp,
}

impl Item for FileRow {
    fn id(&self) -> &str {
        &self.path
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.path.rsplit('/').next().into_iter()
    }

    fn used(&self) -> Timestamp {
        self.used
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn own(&self) -> u64 {
        self.size
    }
}

/// Those that are meant, in their order.
#[must_use]
pub fn file_rows(rows: Vec<FileRow>, filter: &Filter, now: Timestamp) -> Vec<FileRow> {
    filter.apply(rows, now)
}

/// The table of them.
#[must_use]
pub fn file_list(rows: &[FileRow], now: Timestamp) -> Table {
    let is_used = rows.iter().any(|row| row.kind == FileKind::Extra);
    let time = if is_used { "LAST USE" } else { "WRITTEN" };
    let mut table = Table::new(&[("SIZE", Align::Right), (time, Align::Right), ("PATH", Align::Left)]);
    for row in rows {
        table.row([ByteSize(row.size).to_string(), ago(row.used, now), row.path.clone()]);
    }
    table
}
