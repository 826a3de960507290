//! Finds names that differ in case only: a checkout on a file system that folds case keeps one of
//! them.

use rayon::prelude::*;

use crate::listed::Listed;
use crate::path::escape;
use crate::warning::Warning;

/// One warning for each name that differs from another of its folder in case only. `folders` are
/// those that the entries lie in.
#[must_use]
pub fn find(entries: &[Listed], folders: &[&[u8]]) -> Vec<Warning> {
    let mut hashes: Vec<u64> = entries.par_iter().map(|entry| hash(entry.path.as_bytes())).collect();
    hashes.par_extend(folders.par_iter().map(|folder| hash(folder)));
    hashes.par_sort_unstable();
    // Most often there is no clash, and the paths need not be sorted.
    if !hashes.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Vec::new();
    }
    let paths = entries.iter().map(|entry| entry.path.as_bytes()).chain(folders.iter().copied());
    let mut names: Vec<(u64, &[u8])> = paths.map(|path| (hash(path), path)).collect();
    names.par_sort_unstable();
    names.dedup();
    let pairs = names.windows(2).filter_map(|pair| match pair {
        [(a, first), (b, second)] if a == b && folded(first) == folded(second) => Some((first, second)),
        _ => None,
    });
    let text = |path: &&[u8]| escape(path).into_owned();
    pairs.map(|(first, second)| Warning::CaseClash { path: text(second), other: text(first) }).collect()
}

/// A number that is equal for paths that clash.
fn hash(path: &[u8]) -> u64 {
    let (folder, name) = split(path);
    let hash = mix(folder.len() as u64, folder, |byte| byte);
    if name.is_ascii() {
        mix(hash, name, |byte| byte.to_ascii_lowercase())
    } else {
        mix(hash, &lower(name), |byte| byte)
    }
}

/// Eight bytes at a time: what it takes for equal is compared, so speed is all that counts.
fn mix(start: u64, bytes: &[u8], fold: impl Fn(u8) -> u8) -> u64 {
    let word = |chunk: &[u8]| chunk.iter().fold(0_u64, |word, &byte| (word << 8) | u64::from(fold(byte)));
    let step = |hash: u64, chunk| (hash ^ word(chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    bytes.chunks(8).fold(start, step)
}

fn folded(path: &[u8]) -> (&[u8], Vec<u8>) {
    let (folder, name) = split(path);
    (folder, lower(name))
}

fn lower(name: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => name.to_ascii_lowercase(),
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    slash.and_then(|at| path.split_at_checked(at + 1)).unwrap_or((b"", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::stat::Kind;
    use crate::listed::sorted_folders;
    use crate::path::RelPath;

    #[track_caller]
    fn clashes(paths: &[&str], expected: &[&str]) {
        let listed = |path: &&str| Listed::new(RelPath::new(path.as_bytes()).expect("a path"), Kind::File);
        let entries: Vec<_> = paths.iter().map(listed).collect();
        let found = find(&entries, &sorted_folders(&entries));
        let mut found: Vec<String> = found.iter().map(ToString::to_string).collect();
        found.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (warning, path) in found.iter().zip(expected) {
            assert!(warning.contains(path), "{warning} names {path}");
        }
    }

    #[test]
    fn names_clash_within_one_folder() {
        clashes(&["a/README", "a/readme", "b/Readme"], &["`a/readme`"]);
        clashes(&["A/x", "a/x", "a/y"], &["`a`"]);
        clashes(&["\u{c4}", "\u{e4}"], &["`\u{e4}`"]);
        clashes(&["a", "b/a", "ab"], &[]);
    }
}
