//! The sums of go.sum and of checksum databases, `h1:`: of the files in a module's zip, or of its
//! go.mod.
//!
//! How a zip is packed does not count: two zips of the same files have one sum.
//!
//! Source: `golang.org/x/mod/sumdb/dirhash`.

use std::io::{Read, Seek, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use storekit::Hasher;
use zip::ZipArchive;

use super::tiles::Hash;

/// A module's files have no more bytes in all: clients take 500 MiB.
const LARGEST: u64 = 1 << 30;
/// A zip has no more files.
const FILES: usize = 1 << 18;

/// The sum in its text, `h1:BASE64`.
#[must_use]
pub(crate) fn sum(text: &str) -> Option<Hash> {
    text.strip_prefix("h1:").and_then(hash)
}

/// A hash in base64.
#[must_use]
pub(super) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// A sum as a text.
#[must_use]
pub(crate) fn text(sum: &Hash) -> String {
    format!("h1:{}", STANDARD.encode(sum))
}

/// The sum of a go.mod.
///
/// # Errors
/// Why it cannot be read, in words.
pub(crate) fn of_mod(file: &mut impl Read) -> Result<Hash, String> {
    let mut all = Hasher::default();
    let hash = hashed(&mut file.take(LARGEST)).map_err(|error| error.to_string())?.0;
    all.update(format!("{hash}  go.mod\n").as_bytes());
    Ok(*all.finish().bytes())
}

/// The sum of a zip.
///
/// # Errors
/// Why it cannot be read, in words.
pub(crate) fn of_zip(file: &mut (impl Read + Seek)) -> Result<Hash, String> {
    let said = count(file).map_err(|error| error.to_string())?;
    let mut archive = ZipArchive::new(file).map_err(|error| error.to_string())?;
    // A name that is there twice is one entry here, and two for Go.
    if archive.len() > FILES || said != Some(archive.len()) {
        return Err("it has a file twice, or too many".to_owned());
    }
    let mut lines = Vec::with_capacity(archive.len());
    let mut room = LARGEST;
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|error| error.to_string())?;
        let name = file.name_raw().to_vec();
        if name.contains(&b'\n') {
            return Err("the name of a file has a line end".to_owned());
        }
        let (hash, size) = hashed(&mut (&mut file).take(room + 1)).map_err(|error| error.to_string())?;
        room = room.checked_sub(size).ok_or("it is larger than 1 GiB when it is unpacked")?;
        lines.push((name, hash));
    }
    lines.sort();
    let mut all = Hasher::default();
    for (name, hash) in lines {
        all.update(hash.as_bytes());
        all.update(b"  ");
        all.update(&name);
        all.update(b"\n");
    }
    Ok(*all.finish().bytes())
}

/// What is read hashes to, in hex, and its size.
fn hashed(read: &mut impl Read) -> std::io::Result<(String, u64)> {
    let (mut hasher, mut buffer, mut size) = (Hasher::default(), vec![0; 64 << 10], 0_u64);
    loop {
        let count = read.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finish().hex(), size));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
}

/// How many entries a zip says that it has, at its end. `None` where it does not say so there.
fn count(file: &mut (impl Read + Seek)) -> std::io::Result<Option<usize>> {
    /// The end: 22 bytes, and a comment of at most 64 KiB.
    const MOST: u64 = 22 + (64 << 10);
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(MOST)))?;
    let mut end = Vec::new();
    file.take(MOST).read_to_end(&mut end)?;
    file.rewind()?;
    let at = end.windows(4).rposition(|it| it == b"PK\x05\x06");
    let count = at.and_then(|at| end.get(at + 10..at + 12)).and_then(|it| it.try_into().ok());
    Ok(count.map(|it| usize::from(u16::from_le_bytes(it))))
}
