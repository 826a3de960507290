//! Leaves larder's own stores out of every key.
//!
//! A store is a folder with a file CACHEDIR.TAG that has the line `# larder store`. Other cache tags mean nothing here: a
//! folder that other tools call a cache may well be copied into an image.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use camino::Utf8Path;

use crate::listing::{Listed, Listing, folders};
use crate::path::RelPath;
use crate::regular;

/// The file that marks a folder.
pub const TAG: &str = "CACHEDIR.TAG";
/// The line that marks it as a store of larder's.
pub const LINE: &[u8] = b"# larder store";

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

/// Whether the folder is a store of larder's.
#[must_use]
pub fn is_store(folder: &Path) -> bool {
    line(folder).is_some()
}

/// The number of the line, from 1, that makes the folder a store of larder's.
#[must_use]
pub fn line(folder: &Path) -> Option<usize> {
    let file = regular::open(&folder.join(TAG)).ok()?;
    let mut text = Vec::new();
    // The line stands near the top; the rest of whatever this is need not be read.
    file.take(4096).read_to_end(&mut text).ok()?;
    text.split(|&byte| byte == b'\n').position(|line| line == LINE).map(|at| at + 1)
}

fn is_in(entry: &Listed, store: &RelPath) -> bool {
    entry.path == *store || entry.path.parents().any(|parent| parent == store.as_bytes())
}
