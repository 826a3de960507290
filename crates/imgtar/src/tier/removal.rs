//! What a removal did.

use storekit::Key;

/// What a removal did.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// The keys that are gone.
    pub removed: Vec<Key>,
    /// Those that were not there.
    pub absent: Vec<Key>,
    /// Keys that went with them: what referred to nothing else.
    pub followed: Vec<Key>,
    /// The blobs that went, where the place itself leaves them to nobody else.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why no blob went, where one may be needed that cannot be told.
    pub spared: Option<String>,
}
