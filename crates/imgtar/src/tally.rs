//! What a copy of an image moved, and what was there already.

use serde::Serialize;

/// What moved, and what had not to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Bytes that went over the network, without documents.
    pub moved_bytes: u64,
    /// The blobs that they belong to.
    pub moved_blobs: u64,
    /// Bytes of blobs that were there already, or of which the registry had them elsewhere.
    pub skipped_bytes: u64,
    /// These blobs.
    pub skipped_blobs: u64,
    /// Those among them that the registry took from another repository of its own.
    pub mounted_blobs: u64,
}

impl Tally {
    pub(crate) fn moved(bytes: u64) -> Self {
        Self { moved_bytes: bytes, moved_blobs: 1, ..Self::default() }
    }

    pub(crate) fn skipped(bytes: u64) -> Self {
        Self { skipped_bytes: bytes, skipped_blobs: 1, ..Self::default() }
    }

    pub(crate) fn mounted(bytes: u64) -> Self {
        Self { mounted_blobs: 1, ..Self::skipped(bytes) }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.moved_bytes += other.moved_bytes;
        self.moved_blobs += other.moved_blobs;
        self.skipped_bytes += other.skipped_bytes;
        self.skipped_blobs += other.skipped_blobs;
        self.mounted_blobs += other.mounted_blobs;
    }
}
