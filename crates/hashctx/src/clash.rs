//! Finds names that differ in case only: a checkout on a file system that folds case keeps one of them.

use std::collections::HashSet;
use std::hash::BuildHasher;

use rayon::prelude::*;

use crate::listing::Listed;
use crate::path::escape;
use crate::warning::Warning;

/// One warning for each name that differs from another of its folder in case only. `folders` are those that the entries
/// lie in.
#[must_use]
pub fn find(entries: &[Listed], folders: &HashSet<&[u8], impl BuildHasher>) -> Vec<Warning> {
    let mut names: Vec<(u64, &[u8])> = entries.par_iter().map(|entry| name(entry.path.as_bytes())).collect();
    names.par_extend(folders.par_iter().map(|folder| name(folder)));
    names.par_sort_unstable();
    names.dedup();
    let pairs = names.windows(2).filter_map(|pair| match pair {
        [(a, first), (b, second)] if a == b && folded(first) == folded(second) => Some((first, second)),
        _ => None,
    });
    let text = |path: &&[u8]| escape(path).into_owned();
    pairs.map(|(first, second)| Warning::CaseClash { path: text(second), other: text(first) }).collect()
}

/// The path, and a number that is equal for paths that clash.
fn name(path: &[u8]) -> (u64, &[u8]) {
    let (folder, name) = split(path);
    let hash = mix(0xcbf2_9ce4_8422_2325, folder.iter().copied());
    let hash = if name.is_ascii() {
        mix(hash, name.iter().map(u8::to_ascii_lowercase))
    } else {
        mix(hash, lower(name).into_iter())
    };
    (hash, path)
}

/// FNV-1a: what it takes for equal is compared, so speed is all that counts.
fn mix(start: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
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
    use crate::listing::{Kind, folders};
    use crate::path::RelPath;

    #[track_caller]
    fn clashes(paths: &[&str], expected: &[&str]) {
        let listed =
            |path: &&str| Listed { path: RelPath::new(path.as_bytes()).expect("a path"), kind: Kind::File };
        let entries: Vec<_> = paths.iter().map(listed).collect();
        let found = find(&entries, &folders(&entries));
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
