//! Files to measure on: half of each is noise, half repeats, so that they compress about as programs do.

use std::fs::{self, File};
use std::io::{self, Write};

use camino::Utf8Path;

/// Files in one folder.
const PER_FOLDER: u32 = 200;

/// Writes `files` files of `size` bytes below `root`. The same numbers always give the same bytes.
pub(super) fn tree(root: &Utf8Path, files: u32, size: usize) -> io::Result<()> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for number in 0..files {
        let folder = root.join(format!("d{:03}", number / PER_FOLDER));
        fs::create_dir_all(&folder)?;
        let mut content = noise.take(size / 2);
        content.resize(size, b'.');
        File::create(folder.join(format!("f{number:06}")))?.write_all(&content)?;
    }
    Ok(())
}

/// xorshift64: fast, and nothing that a compressor finds a pattern in.
struct Noise(u64);

impl Noise {
    fn take(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
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
        tree(root, 201, 100).expect("a tree");
        let sizes =
            ["d000/f000000", "d001/f000200"].map(|file| fs::metadata(root.join(file)).expect("a file").len());
        assert_eq!(sizes, [100, 100]);
        assert!(!root.join("d001/f000201").exists());
    }
}
