//! Indexes as they were written anew for clients: files without a name, which are made again when
//! they are not known any more. Nothing of them is in the store.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use storekit::Digest;

/// So many are kept.
const MOST: usize = 256;
/// Their bytes on disk, at most.
const BYTES: u64 = 512 << 20;

/// An index as a client gets it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Its bytes.
    pub(crate) file: Arc<File>,
    /// How many.
    pub(crate) size: u64,
}

/// Pages by the digest of all that they were made from.
#[derive(Debug, Default)]
pub(crate) struct Rendered(Mutex<VecDeque<(Digest, Page)>>);

impl Rendered {
    /// The page, if it is known.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Page> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pages.iter().position(|(it, _)| it == digest)?;
        let found = pages.remove(at)?;
        let page = found.1.clone();
        pages.push_front(found);
        Some(page)
    }

    /// Keeps it.
    pub(crate) fn keep(&self, digest: Digest, page: Page) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.retain(|(it, _)| *it != digest);
        pages.push_front((digest, page));
        let mut bytes = 0;
        let fitting = pages.iter().take_while(|(_, page)| {
            bytes += page.size;
            bytes <= BYTES
        });
        let most = fitting.count().clamp(1, MOST);
        pages.truncate(most);
    }
}
