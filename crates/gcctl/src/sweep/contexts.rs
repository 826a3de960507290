//! Takes away what hashctx remembers of folders that it has read.
//!
//! All of it is derived, and a hashctx that is reading meanwhile reads a folder anew.

use std::fs;
use std::io;

use camino::Utf8Path;
use storekit::Store;
use storekit::error::At;
use storekit::files::replace::TEMPORARY;

use crate::disk;
use crate::error::Result;

/// Returns the bytes that this has freed.
pub(super) fn remove(store: &Store) -> Result<u64> {
    let folder = store.root().join("contexts");
    let mut freed = 0;
    for path in files(&folder)? {
        let Some(bytes) = disk::bytes(&path)? else { continue };
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.at("remove", &path).map(|()| freed += bytes)?,
        }
    }
    Ok(freed)
}

/// The files that are finished.
fn files(folder: &Utf8Path) -> Result<Vec<camino::Utf8PathBuf>> {
    let listing = match folder.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.at("list", folder)?,
    };
    let mut files = Vec::new();
    for entry in listing {
        let entry = entry.at("list", folder)?;
        let is_file = entry.file_type().at("read", entry.path())?.is_file();
        if is_file && !entry.file_name().starts_with(TEMPORARY) {
            files.push(entry.path().to_owned());
        }
    }
    Ok(files)
}
