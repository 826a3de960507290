//! Leaves larder's own stores out of every key.
//!
//! What a store is, storekit says. Other cache tags mean nothing here: a folder that other tools
//! call a cache may well be copied into an image.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use camino::Utf8Path;
use storekit::store;

use crate::listed::{Listed, Listing, folders};
use crate::path::RelPath;

/// Drops what lies in a store, and returns the stores, sorted. `root` itself is not looked at.
pub fn leave_out(root: &Utf8Path, listing: &mut Listing) -> Vec<RelPath> {
    let is_store = |folder: &&[u8]| is_store(&root.as_std_path().join(Path::new(OsStr::from_bytes(folder))));
    let mut stores: Vec<RelPath> = match &listing.tagged {
        Some(tagged) if !tagged.iter().any(|folder| is_store(&folder.as_bytes())) => Vec::new(),
        _ => folders(&listing.entries).into_iter().filter(is_store).filter_map(RelPath::new).collect(),
    };
    stores.sort_unstable();
    if !stores.is_empty() {
        listing.entries.retain(|entry| !stores.iter().any(|store| is_in(entry, store)));
    }
    stores
}

/// Whether the folder is a store of larder's. One whose tag cannot be read is not: reading it as an
/// input will say why.
#[must_use]
pub fn is_store(folder: &Path) -> bool {
    store::is_store(folder).unwrap_or(false)
}

fn is_in(entry: &Listed, store: &RelPath) -> bool {
    entry.path == *store || entry.path.parents().any(|parent| parent == store.as_bytes())
}
