//! Files to measure on: half of each is noise, half repeats, so that they compress about as
//! programs do.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};

use camino::Utf8Path;

/// Files in one folder, and folders in one above it: about what source trees have.
const PER_FOLDER: u32 = 16;
const FOLDERS: u32 = 64;

/// Sizes, in quarters of the mean.
const QUARTERS: [usize; 4] = [1, 2, 4, 9];

/// Writes `files` files of `mean` bytes, some smaller and some larger, below `root`. The same
/// numbers always give the same bytes.
pub(super) fn tree(root: &Utf8Path, files: u32, mean: usize) -> io::Result<()> {
    let mut noise = Noise::default();
    tree_of(root, files, mean, |_, size| {
        let mut content = noise.take(size / 2);
        content.resize(size, b'.');
        content
    })
}

/// The same with other content: `content` is told the number of the file and its size.
pub(super) fn tree_of(
    root: &Utf8Path,
    files: u32,
    mean: usize,
    mut content: impl FnMut(u32, usize) -> Vec<u8>,
) -> io::Result<()> {
    for (number, quarters) in (0..files).zip(QUARTERS.iter().cycle()) {
        let inner = number / PER_FOLDER;
        let folder = root.join(format!("d{:03}/s{:02}", inner / FOLDERS, inner % FOLDERS));
        if number % PER_FOLDER == 0 {
            fs::create_dir_all(&folder)?;
        }
        let content = content(number, mean * quarters / 4);
        File::create(folder.join(format!("f{number:07}")))?.write_all(&content)?;
    }
    Ok(())
}

/// Writes one file of that many mebibytes.
pub(super) fn large(path: &Utf8Path, mebibytes: u64) -> io::Result<()> {
    file(path, mebibytes << 20)
}

/// Writes one file of that many bytes.
pub(super) fn file(file: &Utf8Path, bytes: u64) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    let block = Noise(1).take(1 << 20);
    let mut left = bytes;
    while left > 0 {
        let part =
            block.get(..usize::try_from(left).unwrap_or(usize::MAX).min(block.len())).unwrap_or_default();
        out.write_all(part)?;
        left -= part.len() as u64;
    }
    out.flush()
}

/// xorshift64: fast, and nothing that a compressor finds a pattern in.
pub(super) struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Noise {
    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So many bytes.
    pub(super) fn take(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_size_that_was_asked_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Utf8Path::from_path(dir.path()).expect("UTF-8");
        tree(root, 20, 100).expect("a tree");
        let files = ["d000/s00/f0000000", "d000/s00/f0000001", "d000/s00/f0000002", "d000/s01/f0000019"];
        let sizes = files.map(|file| fs::metadata(root.join(file)).expect("a file").len());
        assert_eq!(sizes, [25, 50, 100, 225]);
        assert!(!root.join("d000/s01/f0000020").exists());
    }

    #[test]
    fn a_large_file_is_whole() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = Utf8Path::from_path(dir.path()).expect("UTF-8").join("f");
        large(&file, 3).expect("a file");
        assert_eq!(fs::metadata(&file).expect("a file").len(), 3 << 20);
    }
}
