//! A disk's file, chunk by chunk; holes and chunks of zeros are passed over.
//!
//! A file is asked for its holes, a pipe knows of none: there zeros are found by looking.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use storekit::files::state::FileState;

use crate::error::{Error, Result};
use crate::image::disk::CHUNK;
use crate::progress::Progress;
use crate::source::Source;

/// What is done with each chunk that is not all zeros: its offset in the file, its bytes.
pub(crate) type Visit<'v> = dyn FnMut(u64, Vec<u8>) -> Result<()> + 'v;

/// Visits the chunks in order. Returns the size of the file.
///
/// # Errors
/// I/O errors; a file that changes meanwhile; what `visit` returns.
pub(crate) fn walk(source: Source, progress: &dyn Progress, visit: &mut Visit<'_>) -> Result<u64> {
    match source {
        Source::Stream(mut stream) => walk_stream(&mut stream, "-", progress, visit),
        Source::File(path) => {
            let failed = |source| Error::Input { path: path.clone(), source };
            let mut file = File::open(&path).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_file() {
                return walk_file(&file, &path, progress, visit);
            }
            walk_stream(&mut file, path.as_str(), progress, visit)
        }
    }
}

fn walk_stream(
    stream: &mut dyn Read,
    name: &str,
    progress: &dyn Progress,
    visit: &mut Visit<'_>,
) -> Result<u64> {
    let mut offset = 0;
    loop {
        let mut chunk = Vec::new();
        stream.take(CHUNK).read_to_end(&mut chunk).map_err(|source| Error::read(name, source))?;
        let length = chunk.len() as u64;
        progress.add(length);
        if !is_zero(&chunk) {
            visit(offset, chunk)?;
        }
        offset += length;
        if length < CHUNK {
            return Ok(offset);
        }
    }
}

fn walk_file(file: &File, path: &Utf8Path, progress: &dyn Progress, visit: &mut Visit<'_>) -> Result<u64> {
    let failed = |source| Error::Input { path: path.to_owned(), source };
    let before = FileState::settled(file).map_err(failed)?;
    let size = before.size();
    progress.expect(size);
    let mut offset = 0;
    while let Some(data) = next_data(file, offset, size).map_err(failed)? {
        let start = data - data % CHUNK;
        let length = (size - start).min(CHUNK);
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut chunk, start).map_err(failed)?;
        progress.add(start + length - offset);
        if !is_zero(&chunk) {
            visit(start, chunk)?;
        }
        offset = start + length;
    }
    progress.add(size - offset);
    if !before.is_still(&FileState::seen(&file.metadata().map_err(failed)?)) {
        return Err(failed(io::Error::other("it changed while it was read; is a machine running on it?")));
    }
    Ok(size)
}

/// The first byte from `offset` on that is not in a hole.
fn next_data(file: &File, offset: u64, size: u64) -> io::Result<Option<u64>> {
    if offset >= size {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok((data < size).then_some(data.max(offset))),
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether all bytes are 0. Compares blocks, which is as fast as memory.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|block| *block == ZEROS[..block.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_known() {
        assert!(is_zero(&[]));
        assert!(is_zero(&[0; 5000]));
        let mut bytes = [0; 5000];
        bytes[4999] = 1;
        assert!(!is_zero(&bytes));
    }

    fn offsets(source: Source) -> (Vec<(u64, usize)>, u64) {
        let mut found = Vec::new();
        let size = walk(source, &(), &mut |offset, chunk| {
            found.push((offset, chunk.len()));
            Ok(())
        });
        (found, size.unwrap())
    }

    #[test]
    fn holes_and_zeros_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(dir.path().join("disk")).unwrap();
        let file = File::create(&path).unwrap();
        file.set_len(10 * CHUNK + 5).unwrap();
        file.write_all_at(b"x", 3 * CHUNK + 7).unwrap();
        file.write_all_at(&[0; 100], 5 * CHUNK).unwrap();
        file.write_all_at(b"end", 10 * CHUNK + 2).unwrap();
        let expected = (vec![(3 * CHUNK, 4 << 20), (10 * CHUNK, 5)], 10 * CHUNK + 5);
        assert_eq!(offsets(Source::File(path.clone())), expected);
        assert_eq!(offsets(Source::Stream(Box::new(File::open(&path).unwrap()))), expected);
        assert_eq!(offsets(Source::Stream(Box::new(&b""[..]))), (vec![], 0));
    }
}
