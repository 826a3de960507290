//! Packs: many objects in one file, most of them as deltas, with an index beside it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Object, ObjectKind, delta, inflate};
use crate::error::git::GitError;
use crate::git::index::Oid;
use crate::git::repo::is_absent;

/// Longer chains of deltas are refused; git makes none beyond 4,095.
const CHAIN_LIMIT: usize = 10_000;
/// Magic and version of a pack's index.
const INDEX_HEADER: [u8; 8] = *b"\xfftOc\0\0\0\x02";

/// Looks for an object in all packs of a folder.
pub(super) fn read(dir: &Path, hash_len: usize, oid: Oid) -> Result<Option<Object>, GitError> {
    for path in indexes(dir)? {
        let find = |path: &Path| find(&File::open(path)?, hash_len, oid);
        match find(&path) {
            Ok(None) => {}
            Ok(Some(offset)) => {
                let path = path.with_extension("pack");
                let object = File::open(&path).and_then(|pack| Pack { pack, hash_len }.object(dir, offset));
                return object.map(Some).map_err(|error| fault(path, error));
            }
            Err(error) => return Err(fault(path, error)),
        }
    }
    Ok(None)
}

/// What the bytes say is damage; the rest is trouble on reading.
fn fault(path: PathBuf, error: io::Error) -> GitError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            GitError::damaged(path, "it is not a pack")
        }
        _ => GitError::read(path)(error),
    }
}

fn indexes(dir: &Path) -> Result<Vec<PathBuf>, GitError> {
    let mut paths = Vec::new();
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                paths.push(entry.map_err(GitError::read(dir))?.path());
            }
        }
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(GitError::read(dir)(error)),
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "idx"));
    Ok(paths)
}

/// Where an object begins in the pack of this index.
fn find(index: &File, hash_len: usize, oid: Oid) -> io::Result<Option<u64>> {
    if read_at::<8>(index, 0)? != INDEX_HEADER {
        return Err(io::Error::other("its version is not known here"));
    }
    let first = oid.as_bytes().first().copied().unwrap_or_default();
    let fan = |byte: u64| Ok::<_, io::Error>(u64::from(u32::from_be_bytes(read_at(index, 8 + 4 * byte)?)));
    let count = fan(255)?;
    let (mut low, mut high) = (if first == 0 { 0 } else { fan(u64::from(first) - 1)? }, fan(first.into())?);
    let width = hash_len as u64;
    let mut name = vec![0; hash_len];
    while low < high {
        let middle = low + (high - low) / 2;
        index.read_exact_at(&mut name, 1032 + middle * width)?;
        match name.as_slice().cmp(oid.as_bytes()) {
            std::cmp::Ordering::Equal => {
                return offset(index, 1032 + count * (width + 4), count, middle).map(Some);
            }
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(None)
}

/// The offset of one object, from a table of short ones, or beyond it of long ones.
fn offset(index: &File, table: u64, count: u64, at: u64) -> io::Result<u64> {
    let short = u32::from_be_bytes(read_at(index, table + 4 * at)?);
    match short >> 31 {
        0 => Ok(short.into()),
        _ => Ok(u64::from_be_bytes(read_at(index, table + 4 * count + 8 * u64::from(short & 0x7fff_ffff))?)),
    }
}

fn read_at<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).map(|()| bytes)
}

struct Pack {
    pack: File,
    hash_len: usize,
}

/// What stands at an offset.
enum Stored {
    Whole(ObjectKind),
    /// A delta to what stands at another offset.
    DeltaAt(u64),
    /// A delta to an object with a name.
    DeltaTo(Oid),
}

impl Pack {
    /// Reads the object at an offset: down its chain of deltas to the base, and up again.
    fn object(&self, dir: &Path, offset: u64) -> io::Result<Object> {
        let mut deltas = Vec::new();
        let mut at = offset;
        let (kind, mut content) = loop {
            let (stored, content) = self.stored(at)?;
            let base = match stored {
                Stored::Whole(kind) => break (kind, content),
                Stored::DeltaAt(offset) => Some(offset),
                Stored::DeltaTo(oid) => self.offset_of(dir, oid)?,
            };
            deltas.push(content);
            at = base.filter(|_| deltas.len() <= CHAIN_LIMIT).ok_or(io::ErrorKind::InvalidData)?;
        };
        while let Some(delta) = deltas.pop() {
            content = delta::apply(&content, &delta).ok_or(io::ErrorKind::InvalidData)?;
        }
        Ok((kind, content))
    }

    /// A base stands in the same pack: git completes thin packs before it keeps them.
    fn offset_of(&self, dir: &Path, oid: Oid) -> io::Result<Option<u64>> {
        let own = self.pack.metadata()?;
        for path in indexes(dir).map_err(io::Error::other)? {
            let same = fs::metadata(path.with_extension("pack")).is_ok_and(|meta| {
                use std::os::unix::fs::MetadataExt;
                (meta.dev(), meta.ino()) == (own.dev(), own.ino())
            });
            if same {
                return find(&File::open(path)?, self.hash_len, oid);
            }
        }
        Ok(None)
    }

    /// Kind and size in one number, then the base of a delta, then the compressed content.
    fn stored(&self, offset: u64) -> io::Result<(Stored, Vec<u8>)> {
        let mut input = BufReader::new(At { file: &self.pack, at: offset });
        let first = byte(&mut input)?;
        let mut size = u64::from(first & 0x0f);
        let mut more = first & 0x80 != 0;
        for shift in (4..60).step_by(7) {
            if !more {
                break;
            }
            let next = byte(&mut input)?;
            size |= u64::from(next & 0x7f) << shift;
            more = next & 0x80 != 0;
        }
        let stored = match first >> 4 & 7 {
            1 => Stored::Whole(ObjectKind::Commit),
            2 => Stored::Whole(ObjectKind::Tree),
            3 => Stored::Whole(ObjectKind::Blob),
            4 => Stored::Whole(ObjectKind::Tag),
            6 => Stored::DeltaAt(distance(&mut input).and_then(|back| {
                offset.checked_sub(back).filter(|_| back > 0).ok_or(io::ErrorKind::InvalidData.into())
            })?),
            7 => {
                let mut name = vec![0; self.hash_len];
                input.read_exact(&mut name)?;
                Stored::DeltaTo(Oid::new(&name).ok_or(io::ErrorKind::InvalidData)?)
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok((stored, inflate(input, size)?))
    }
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(u8::from_be_bytes(byte))
}

/// How far back a base stands: seven bits a byte, the highest first, one added at each further
/// byte.
fn distance(input: &mut impl Read) -> io::Result<u64> {
    let mut next = byte(input)?;
    let mut value = u64::from(next & 0x7f);
    while next & 0x80 != 0 {
        next = byte(input)?;
        let raised = value.checked_add(1).filter(|raised| raised.leading_zeros() > 7);
        value = raised.ok_or(io::ErrorKind::InvalidData)? << 7 | u64::from(next & 0x7f);
    }
    Ok(value)
}

/// Reads a file from an offset on.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buffer, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
