//! The records of a cache, as they stand in its file: FORMAT.md gives them byte by byte.
//!
//! They are never taken apart: a look-up reads the few bytes that it compares.

use super::Known;
use crate::files::digest::Digest;
use crate::files::stat::Stat;
use crate::stat_cache::seek::seek;

/// Bytes of a record without its path.
pub(super) const RECORD: usize = END + STAT + 32 + 1;
/// Bytes of the digest of everything before it.
pub(super) const CHECK: usize = 32;
const END: usize = 4;
const COUNT: usize = 8;
/// Bytes of a file's metadata.
pub(super) const STAT: usize = 36;

/// In a record's last byte, beside its age.
pub(super) const LFS_BIT: u8 = 0x80;

/// All records, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    count: usize,
    /// Where the first one stands.
    start: usize,
    /// Where the paths stand.
    paths: usize,
}

impl Records {
    /// `None` for a cache of another version or root, or a damaged one.
    pub(super) fn parse(bytes: Vec<u8>, header: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_last_chunk::<CHECK>()?;
        let count = body.strip_prefix(header)?.first_chunk::<COUNT>()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let start = header.len() + COUNT;
        let paths = count.checked_mul(RECORD)?.checked_add(start)?;
        if paths > body.len() || blake3::hash(body) != *check {
            return None;
        }
        Some(Self { bytes, count, start, paths })
    }

    /// The digest of everything before it, which tells these records from all others.
    pub(super) fn check(&self) -> Digest {
        self.bytes.last_chunk::<CHECK>().copied().unwrap_or_default().into()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The path of a record, empty for none.
    pub(super) fn path(&self, at: usize) -> &[u8] {
        let end =
            |at| self.record(at).and_then(|record| record.first_chunk()).map(|end| u32::from_le_bytes(*end));
        let start = at.checked_sub(1).and_then(end).unwrap_or(0);
        let range = end(at).map(|end| self.paths + start as usize..self.paths + end as usize);
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    /// The first record whose path does not come before `path`, sought from another one on.
    pub(super) fn seek(&self, from: usize, path: &[u8]) -> usize {
        seek(from, self.count, |at| self.path(at) < path)
    }

    /// Whether a record is of that file.
    pub(super) fn is_of(&self, at: usize, stat: &Stat) -> bool {
        self.record(at).and_then(|record| record.get(END..END + STAT)) == Some(&encode(stat))
    }

    pub(super) fn known(&self, at: usize) -> Option<Known> {
        let (digest, tag) = self.record(at)?.get(END + STAT..)?.split_first_chunk::<32>()?;
        Some(Known { digest: (*digest).into(), lfs_pointer: tag.first()? & LFS_BIT != 0 })
    }

    /// The last byte of a record.
    pub(super) fn tag(&self, at: usize) -> Option<u8> {
        self.record(at)?.last().copied()
    }

    /// What stands between a record's place for the path and its last byte.
    pub(super) fn middle(&self, at: usize) -> &[u8] {
        self.record(at).and_then(|record| record.get(END..RECORD - 1)).unwrap_or_default()
    }

    fn record(&self, at: usize) -> Option<&[u8]> {
        let start = self.start + at * RECORD;
        (at < self.count).then(|| self.bytes.get(start..start + RECORD))?
    }
}

/// What a record keeps of a file's metadata.
pub(super) fn encode(stat: &Stat) -> [u8; STAT] {
    let mut bytes = [0; STAT];
    let (mode, rest) = bytes.split_at_mut(4);
    mode.copy_from_slice(&stat.mode.to_le_bytes());
    let fields = [
        stat.size.to_le_bytes(),
        stat.inode.to_le_bytes(),
        stat.mtime.to_le_bytes(),
        stat.ctime.to_le_bytes(),
    ];
    rest.chunks_exact_mut(8).zip(fields).for_each(|(place, field)| place.copy_from_slice(&field));
    bytes
}
