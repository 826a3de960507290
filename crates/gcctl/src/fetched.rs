//! What the builds of an image fetched, as it is on record beside the image: storekit's FORMAT.md,
//! "What a build fetched".

use serde::{Deserialize, Serialize};
use storekit::{Digest, Images, Key};

use crate::error::Result;

/// Something that a build fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Where it is from.
    pub url: String,
    /// Which kind of client asked for it.
    #[serde(default)]
    pub ecosystem: String,
    /// The package's name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The path of its entry below packages/entries, where one was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The digest of its body, where that was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Who vouches for it; absent where nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Its bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// What is on record of the key's builds; nothing where there is no record. Lines that cannot be
/// understood are passed over.
///
/// # Errors
/// I/O errors.
pub fn of(images: &Images, key: &Key) -> Result<Vec<Fetched>> {
    let bytes = images.fetched(key)?.unwrap_or_default();
    // The first line is about the record.
    Ok(bytes
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}
