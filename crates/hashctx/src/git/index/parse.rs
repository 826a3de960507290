//! Bytes of one index file → its entries.
//!
//! Touches no disk and checks every bound. Order and names are checked by the caller, once split
//! indexes are merged.

use std::path::Path;

use super::{Entry, EntryKind, Index, Keep, Oid, Recorded};
use crate::error::git::GitError;

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Fault {
    Damaged(&'static str),
    Unsupported(String),
}

/// The `link` extension: what this file changes in a shared one.
#[derive(Debug)]
pub(super) struct Link {
    /// The shared index; all zeros for none.
    pub(super) base: Oid,
    /// Two bitmaps, of entries that are deleted and of those that are replaced; empty for none.
    pub(super) bitmaps: Vec<u8>,
}

/// Reads an index file: its entries as they stand, and how they change a shared index.
pub(super) fn parse(bytes: &[u8], hash_len: usize, keep: Keep) -> Result<(Index, Option<Link>), Fault> {
    let body = bytes.len().checked_sub(hash_len).and_then(|end| bytes.get(..end));
    let mut input = Input(body.ok_or(TOO_SHORT)?);
    if input.take(4)? != b"DIRC" {
        return Err(Fault::Damaged("it does not begin like an index"));
    }
    let version = input.u32()?;
    if !(2..=4).contains(&version) {
        return Err(Fault::Unsupported(format!("index version {version}")));
    }
    let count = input.u32()?;
    let mut reader = Reader { hash_len, version, keep, name: Vec::new(), index: Index::default() };
    for _ in 0..count {
        reader.entry(&mut input)?;
    }
    let (tree, link) = extensions(&mut input, hash_len)?;
    reader.index.tree = tree;
    Ok((reader.index, link))
}

const TOO_SHORT: Fault = Fault::Damaged("it ends too early");

impl Fault {
    pub(super) fn at(self, path: &Path) -> GitError {
        match self {
            Self::Damaged(what) => GitError::damaged(path, what),
            Self::Unsupported(what) => GitError::Unsupported { path: path.to_owned(), what },
        }
    }
}

/// Bytes that are left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?.try_into().map_err(|_| TOO_SHORT)?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?.try_into().map_err(|_| TOO_SHORT)?;
        Ok(u16::from_be_bytes(bytes))
    }

    /// What stands before the next NUL, which is eaten too.
    fn string(&mut self) -> Result<&'a [u8], Fault> {
        let len = self.0.iter().position(|&byte| byte == 0).ok_or(TOO_SHORT)?;
        let text = self.take(len)?;
        self.take(1)?;
        Ok(text)
    }

    /// git's offset encoding: seven bits a byte, the highest first, one added at each further byte.
    fn varint(&mut self) -> Result<usize, Fault> {
        let mut value = 0_usize;
        loop {
            let byte = *self.take(1)?.first().ok_or(TOO_SHORT)?;
            value |= usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            let next = value.checked_add(1).filter(|next| next.leading_zeros() > 7);
            value = next.ok_or(Fault::Damaged("a number in it is too large"))? << 7;
        }
    }
}

/// Reads entries one after the other: in version 4 each name builds on the one before.
struct Reader {
    hash_len: usize,
    version: u32,
    keep: Keep,
    name: Vec<u8>,
    index: Index,
}

const EXTENDED: u16 = 0x4000;
const NAME_LEN: u16 = 0x0fff;
/// Intent to add: a promise, but listed like every other entry.
const INTENT_TO_ADD: u16 = 0x2000;
const SKIP_WORKTREE: u16 = 0x4000;

impl Reader {
    fn entry(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        let before = input.0.len();
        let (mode, mut recorded) = fixed(input)?;
        recorded.oid = Oid::new(input.take(self.hash_len)?).ok_or(TOO_SHORT)?;
        let flags = input.u16()?;
        let extended = if flags & EXTENDED == 0 { 0 } else { input.u16()? };
        if extended & !(INTENT_TO_ADD | SKIP_WORKTREE) != 0 || (self.version == 2 && flags & EXTENDED != 0) {
            return Err(Fault::Unsupported(format!("index entry flags {extended:#06x}")));
        }
        match self.version {
            4 => self.stripped_name(input)?,
            _ => self.padded_name(input, before, flags & NAME_LEN)?,
        }
        let stage = u8::try_from(flags >> 12 & 3).unwrap_or_default();
        self.push(kind(mode)?, stage, extended & SKIP_WORKTREE != 0, recorded)
    }

    /// A name as it stands, filled up with one to eight NULs.
    fn padded_name(&mut self, input: &mut Input<'_>, before: usize, len: u16) -> Result<(), Fault> {
        let name = match len {
            // Too long for its field: the NUL tells where it ends.
            NAME_LEN => {
                let len = input.0.iter().position(|&byte| byte == 0).ok_or(TOO_SHORT)?;
                input.take(len)?
            }
            len => input.take(len.into())?,
        };
        self.name.clear();
        self.name.extend_from_slice(name);
        let used = before - input.0.len();
        input.take(8 - used % 8)?;
        Ok(())
    }

    /// How much of the name before to drop, and what to put there.
    fn stripped_name(&mut self, input: &mut Input<'_>) -> Result<(), Fault> {
        let stripped = input.varint()?;
        let kept = self.name.len().checked_sub(stripped);
        self.name.truncate(kept.ok_or(Fault::Damaged("a name in it builds on too short a one"))?);
        self.name.extend_from_slice(input.string()?);
        Ok(())
    }

    fn push(
        &mut self,
        kind: EntryKind,
        stage: u8,
        skip_worktree: bool,
        recorded: Recorded,
    ) -> Result<(), Fault> {
        let index = &mut self.index;
        let len = u32::try_from(self.name.len()).map_err(|_| Fault::Damaged("a name in it is too long"))?;
        // In a split index, a replaced entry's name is left out.
        let rules = self.name.is_empty() || self.name.ends_with(b".gitignore");
        if matches!(kind, EntryKind::Gitlink | EntryKind::Folder) || (skip_worktree && rules) {
            index.objects.insert(index.entries.len(), recorded.oid);
        }
        if self.keep == Keep::Stats {
            index.stats.push(recorded);
        }
        index.any_skipped |= skip_worktree;
        index.entries.push(Entry { start: index.names.len(), len, kind, stage, skip_worktree });
        index.names.extend_from_slice(&self.name);
        Ok(())
    }
}

/// The fields before the object's name.
fn fixed(input: &mut Input<'_>) -> Result<(u32, Recorded), Fault> {
    let _ctime = input.u64()?;
    let mtime = (input.u32()?, input.u32()?);
    let _device_and_inode = input.u64()?;
    let mode = input.u32()?;
    let _owner = input.u64()?;
    let size = input.u32()?;
    Ok((mode, Recorded { mtime, size, oid: Oid { bytes: [0; 32], len: 0 } }))
}

fn kind(mode: u32) -> Result<EntryKind, Fault> {
    match mode & 0o170_000 {
        0o100_000 => Ok(EntryKind::File),
        0o120_000 => Ok(EntryKind::Symlink),
        0o160_000 => Ok(EntryKind::Gitlink),
        0o040_000 => Ok(EntryKind::Folder),
        _ => Err(Fault::Damaged("an entry in it is not a file, link or folder")),
    }
}

/// Those that change what the entries mean have a name in small letters.
fn extensions(input: &mut Input<'_>, hash_len: usize) -> Result<(Option<Oid>, Option<Link>), Fault> {
    let (mut tree, mut link) = (None, None);
    while !input.0.is_empty() {
        let name = input.take(4)?;
        let len = usize::try_from(input.u32()?).map_err(|_| TOO_SHORT)?;
        let mut content = Input(input.take(len)?);
        match name {
            b"link" => {
                let base = Oid::new(content.take(hash_len)?).ok_or(TOO_SHORT)?;
                link = Some(Link { base, bitmaps: content.0.to_vec() });
            }
            b"TREE" => tree = root_tree(&mut content, hash_len),
            // `sdir` only says that there are folders among the entries.
            b"sdir" | [b'A'..=b'Z', ..] => {}
            other => {
                return Err(Fault::Unsupported(format!("index extension `{}`", other.escape_ascii())));
            }
        }
    }
    Ok((tree, link))
}

/// The tree of all entries: `name NUL entries SP subtrees LF object`, where the name is empty, and
/// the number of entries negative when git has yet to write that tree.
fn root_tree(content: &mut Input<'_>, hash_len: usize) -> Option<Oid> {
    let name = content.string().ok()?;
    let end = content.0.iter().position(|&byte| byte == b'\n')?;
    let counts = content.take(end + 1).ok()?;
    let valid = name.is_empty() && !counts.starts_with(b"-");
    Oid::new(content.take(hash_len).ok().filter(|_| valid)?)
}
