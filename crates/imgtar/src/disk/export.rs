//! From the store to a disk's file, byte for byte: into a file with its holes, or through a pipe
//! with all its zeros.
//!
//! Each chunk is verified, packed and plain, before a byte of it is handed on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use storekit::{Blobs, Digest, Key};

use super::reading::is_zero;
use crate::error::{Error, Result};
use crate::image::disk::{Chunk, Disk, PACKED};
use crate::parallel;
use crate::progress::Progress;

/// Zeros of this length and alignment become holes: a block of most file systems.
const BLOCK: usize = 4096;
const WORKERS: usize = 4;

/// Writes the disk into an empty file. Zeros become holes where the file system has them.
///
/// # Errors
/// Damaged or missing chunks (the former are moved aside); I/O errors. `name` is that of the file,
/// for messages.
pub fn to_file(
    blobs: &Blobs,
    key: &Key,
    disk: &Disk,
    (file, name): (&File, &str),
    progress: &dyn Progress,
) -> Result<()> {
    let failed = |source| Error::write(name, source);
    progress.expect(disk.size);
    file.set_len(disk.size).map_err(failed)?;
    parallel::map_by(WORKERS, &disk.chunks, |chunk| {
        let bytes = unpacked(blobs, key, disk, chunk)?;
        write_blocks(file, &bytes, chunk.offset).map_err(failed)?;
        progress.add(bytes.len() as u64);
        Ok::<_, Error>(())
    })?;
    Ok(())
}

/// Writes runs of blocks that are not all zeros.
fn write_blocks(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut at = 0;
    for run in runs(bytes) {
        if !is_zero(&run[..run.len().min(BLOCK)]) {
            file.write_all_at(run, offset + at)?;
        }
        at += run.len() as u64;
    }
    Ok(())
}

/// Cuts bytes where blocks of zeros begin and end.
fn runs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let zero = is_zero(rest.chunks(BLOCK).next()?);
        let blocks = rest.chunks(BLOCK).take_while(|block| is_zero(block) == zero).count();
        let (run, left) = rest.split_at((blocks * BLOCK).min(rest.len()));
        rest = left;
        Some(run)
    })
}

/// Writes all bytes of the disk, zeros included.
///
/// # Errors
/// As [`to_file`]; the stream is cut off then.
pub fn to_stream(
    blobs: &Blobs,
    key: &Key,
    disk: &Disk,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<()> {
    let failed = |source| Error::write("-", source);
    progress.expect(disk.size);
    let mut at = 0;
    for chunk in &disk.chunks {
        zeros(out, chunk.offset - at, progress).map_err(failed)?;
        let bytes = unpacked(blobs, key, disk, chunk)?;
        out.write_all(&bytes).map_err(failed)?;
        at = chunk.offset + bytes.len() as u64;
        progress.add(bytes.len() as u64);
    }
    zeros(out, disk.size - at, progress).and_then(|()| out.flush()).map_err(failed)
}

fn zeros(out: &mut dyn Write, mut count: u64, progress: &dyn Progress) -> io::Result<()> {
    let zeros = vec![0; 256 << 10];
    while count > 0 {
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(zeros.len());
        out.write_all(&zeros[..now])?;
        progress.add(now as u64);
        count -= now as u64;
    }
    Ok(())
}

/// The bytes of a chunk, verified.
fn unpacked(blobs: &Blobs, key: &Key, disk: &Disk, chunk: &Chunk) -> Result<Vec<u8>> {
    let packed = blobs.read(&chunk.packed, PACKED)?;
    let length = usize::try_from(disk.length(chunk)).unwrap_or(0);
    let corrupt = |what: &str| {
        let reason = format!("its chunk `{}` {what}", chunk.packed);
        Error::Corrupt { key: key.clone(), reason }
    };
    let bytes =
        zstd::bulk::decompress(&packed, length).map_err(|_| corrupt("does not unpack to its size"))?;
    if bytes.len() != length {
        return Err(corrupt("does not unpack to its size"));
    }
    if Digest::of(&bytes) != chunk.plain {
        return Err(corrupt("unpacks to other bytes than it should"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_zeros_begin() {
        let mut bytes = vec![0; 5 * BLOCK + 3];
        bytes[BLOCK] = 1;
        bytes[2 * BLOCK] = 1;
        bytes[5 * BLOCK + 1] = 1;
        let lengths: Vec<_> = runs(&bytes).map(<[u8]>::len).collect();
        assert_eq!(lengths, [BLOCK, 2 * BLOCK, 2 * BLOCK, 3]);
        assert_eq!(runs(&[]).count(), 0);
    }
}
