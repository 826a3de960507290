//! Stored objects as one file, over an air gap: `export` and `import`.
//!
//! A tar that is packed with zstd. First comes a manifest, which names all bodies: those that are
//! in the file, and those that an earlier one carried. Then the entries in the order of their
//! paths, each after those of its bodies that did not come before it, so that whatever has come
//! whole can be stored. See storekit's FORMAT.md, "Exports".
//!
//! Deliberately absent: who may vouch for an archive. Its bodies are compared with their digests,
//! and these with what indexes say when they are served; that an index is the upstream's own, the
//! archive says alone (a mount's `keyring` checks the signature again).

mod export;
mod import;
#[cfg(test)]
mod tests;

use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};
use storekit::Digest;

pub use export::{Carried, Export};
pub use import::{Imported, import, named_in};

/// The version of the format; a newer one is refused.
const VERSION: u64 = 1;
/// The name of the manifest in the archive.
const MANIFEST: &str = "manifest.ndjson";
/// The folder of the bodies.
const BODIES: &str = "blobs/sha256/";
/// The folder of the entries.
const ENTRIES: &str = "entries/";
/// No line of a manifest is longer: 64 KiB.
const LINE: u64 = 64 << 10;
/// No manifest is larger: 1 GiB, some four million bodies.
const MANIFEST_CAP: u64 = 1 << 30;

/// The first line of the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    version: u64,
    /// How many entries are in the archive.
    objects: u64,
    /// How many bodies.
    bodies: u64,
    /// Their bytes.
    bytes: u64,
    /// How many bodies an earlier archive carried.
    expected: u64,
}

/// Each other line: a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    digest: Digest,
    size: u64,
    /// Whether it is not in this archive, but in an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expected: bool,
    /// The URL of the first entry that has it.
    url: String,
}

/// Reads a manifest line by line, and hands each to `each`. Returns the head.
///
/// # Errors
/// Why it is not one, in words; I/O errors likewise.
fn read_manifest(
    manifest: impl Read,
    each: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<Head, Unread> {
    let mut lines = std::io::BufReader::new(manifest.take(MANIFEST_CAP));
    let first = line(&mut lines)?.unwrap_or_default();
    let head: Head = serde_json::from_slice(&first).map_err(|error| bad(&error))?;
    if head.version > VERSION {
        return Err(Unread::Newer(head.version));
    }
    let (mut bodies, mut bytes, mut expected) = (0, 0_u64, 0);
    while let Some(text) = line(&mut lines)? {
        let line: Line = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
        if line.expected {
            expected += 1;
        } else {
            bodies += 1;
            bytes = bytes.saturating_add(line.size);
        }
        each(line).map_err(Unread::Bad)?;
    }
    if (bodies, bytes, expected) != (head.bodies, head.bytes, head.expected) {
        return Err(Unread::Bad("its manifest names other bodies than it says".to_owned()));
    }
    Ok(head)
}

/// Why a manifest cannot be read.
#[derive(Debug)]
enum Unread {
    /// It is of a later version.
    Newer(u64),
    /// It is damaged, or something else: why.
    Bad(String),
    /// The file could not be read.
    Io(std::io::Error),
}

fn bad(error: &serde_json::Error) -> Unread {
    Unread::Bad(format!("its manifest cannot be understood: {error}"))
}

fn line(lines: &mut impl BufRead) -> Result<Option<Vec<u8>>, Unread> {
    let mut text = Vec::new();
    let count = lines.take(LINE).read_until(b'\n', &mut text).map_err(Unread::Io)?;
    match text.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(text)),
        Some(_) if count as u64 == LINE => Err(Unread::Bad("a line of its manifest is too long".to_owned())),
        Some(_) => Err(Unread::Bad("its manifest is cut off".to_owned())),
    }
}
