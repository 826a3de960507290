//! What a collector of package entries may do, in its steps.
//!
//! It holds the store exclusively, so that no entry is written meanwhile ([`Packages::put`] holds
//! it shared). Readers take no lock: one that has a body open reads on, one that finds an entry or
//! a body gone counts it as never stored.

use camino::Utf8Path;

use super::Packages;
use crate::blobs::Discarded;
use crate::digest::Digest;
use crate::error::Result;
use crate::files::lock::Exclusive;
use crate::trash::Batch;

impl Packages {
    /// Takes an entry's file away. Returns whether it was there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn discard(&self, _lock: &Exclusive, path: &Utf8Path, batch: &Batch) -> Result<bool> {
        batch.take(path)
    }

    /// Takes a body away unless it is leased. The caller has read the entries under this very lock
    /// and found none that names it.
    ///
    /// # Errors
    /// I/O errors.
    pub fn discard_body(&self, _lock: &Exclusive, digest: &Digest, batch: &Batch) -> Result<Discarded> {
        self.blobs().discard(digest, batch)
    }
}
