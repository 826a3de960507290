//! The files of the origin that hits and misses are measured on.

use std::fs::{File, create_dir_all};
use std::io::{self, Write};

use camino::Utf8Path;

use super::super::inputs;

/// Their names, and their sizes in KiB.
pub(super) const FILES: [(&str, u64); 3] =
    [("bench-1.0-py3-none-any.whl", 10), ("medium", 1 << 10), ("large", 64 << 10)];
pub(super) const SMALL: &str = FILES[0].0;
pub(super) const LARGE: &str = FILES[2].0;

/// Writes them, and an index of the small one.
pub(super) fn write(root: &Utf8Path) -> io::Result<()> {
    let index = root.join("simple/bench");
    create_dir_all(&index)?;
    let link = format!("<!DOCTYPE html><html><body><a href=\"/{SMALL}\">{SMALL}</a></body></html>\n");
    File::create(index.join("index.html"))?.write_all(link.as_bytes())?;
    FILES.iter().try_for_each(|(file, kibibytes)| inputs::file(&root.join(file), kibibytes << 10))
}
