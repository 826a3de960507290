//! BLAKE3 digests of files, as `b3sum` prints them.
//!
//! Large files are hashed by subtrees, each thread taking its own part: the largest are looked at
//! where the kernel has them, all others are read.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::files::mapped;

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// The digest's own bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NotADigest)?;
        // `from_hex` takes capitals too.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(NotADigest) } else { Ok(hash.into()) }
    }
}

/// What one thread reads and hashes at a time: small enough for its second cache, so that what was
/// read is hashed from there; large enough for the widest SIMD.
const LEAF: u64 = 1 << 18;

/// What one thread maps and hashes at a time: enough to be worth two calls to the kernel, and
/// little enough to keep all threads busy to the end.
const LARGEST: u64 = 1 << 24;

/// What is smaller than this is read.
const SMALLEST: u64 = 1 << 22;

/// The digest of `size` bytes from the file's start.
///
/// # Errors
/// Where the file cannot be read, or is shorter.
pub fn of_file(file: &File, size: u64) -> io::Result<Digest> {
    if size <= LEAF {
        return with_bytes(file, 0, size, Digest::of);
    }
    let left = left_subtree_len(size);
    let (left, right) = rayon::join(|| subtree(file, 0, left), || subtree(file, left, size - left));
    Ok(merge_subtrees_root(&left?, &right?, Mode::Hash).into())
}

fn subtree(file: &File, offset: u64, size: u64) -> io::Result<ChainingValue> {
    let hash =
        |bytes: &[u8]| blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root();
    if size <= LEAF {
        return with_bytes(file, offset, size, hash);
    }
    if (SMALLEST..=LARGEST).contains(&size)
        && let Some(value) = mapped::look(file, offset, usize::try_from(size).unwrap_or(0), hash)
    {
        return Ok(value);
    }
    let left = left_subtree_len(size);
    let (left, right) =
        rayon::join(|| subtree(file, offset, left), || subtree(file, offset + left, size - left));
    Ok(merge_subtrees_non_root(&left?, &right?, Mode::Hash))
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `hash` with the bytes at `offset`; `size` is at most [`LEAF`].
pub(crate) fn with_bytes<T>(
    file: &File,
    offset: u64,
    size: u64,
    hash: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    let size = usize::try_from(size).map_err(io::Error::other)?;
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < size {
            buffer.resize(size.next_power_of_two(), 0);
        }
        let Some(bytes) = buffer.get_mut(..size) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        file.read_exact_at(bytes, offset)?;
        Ok(hash(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[track_caller]
    fn agrees_with_the_plain_hash(size: usize) {
        let bytes: Vec<u8> = (0..size).map(|at| (at / 3 + at % 251).to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().expect("a temp file");
        file.write_all(&bytes).expect("written");
        assert_eq!(of_file(&file, size as u64).expect("hashed"), Digest::of(&bytes), "{size} bytes");
    }

    #[track_caller]
    fn rejected(text: &str) {
        assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text}");
    }

    #[test]
    fn files_of_every_shape_hash_as_b3sum_does() {
        let leaf = usize::try_from(LEAF).expect("small");
        for size in [0, 1, 1024, 1025, leaf - 1, leaf, leaf + 1, 2 * leaf, 3 * leaf + 1025, 5 * leaf - 1] {
            agrees_with_the_plain_hash(size);
        }
        let [smallest, largest] = [SMALLEST, LARGEST].map(|size| usize::try_from(size).expect("small"));
        for size in [2 * smallest, 2 * smallest + 1, 2 * largest, 2 * largest + smallest + leaf + 1] {
            agrees_with_the_plain_hash(size);
        }
    }

    #[test]
    fn a_file_cut_short_is_an_error() {
        let file = tempfile::tempfile().expect("a temp file");
        for size in [1, 3 * LEAF, 3 * LARGEST] {
            assert_eq!(of_file(&file, size).expect_err("short").kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn digests_have_one_spelling() {
        rejected("");
        rejected(&"a".repeat(63));
        rejected(&"A".repeat(64));
        rejected(&"g".repeat(64));
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
