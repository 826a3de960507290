//! What hashctx takes for git's view is what the installed git lists, on random trees with fixed
//! seeds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::git;
use crate::patterns::NAMES;
use crate::random::Random;
use crate::tree::{self, Shape};
use hashctx::path::{RelPath, escape};

/// How many trees: `LARDER_GIT_TREES`, or as many as a check on every change can afford.
fn trees() -> u64 {
    std::env::var("LARDER_GIT_TREES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

#[test]
fn git_and_hashctx_list_the_same_files() {
    each_seed(trees(), |git, blank, seed, folder| {
        let mut random = Random::new(seed);
        let repository = !seed.is_multiple_of(10);
        tree::write(folder, &mut random, Shape { repository, nested: seed % 3 == 0, tracked: true });
        let expected = git::files(git, blank, folder);
        assert_eq!(
            show(&listed(folder)),
            show(&expected),
            "seed {seed}, left hashctx, right {}",
            git.display()
        );
    });
}

#[test]
fn git_and_hashctx_name_the_same_line() {
    each_seed(trees() / 5, |git, _, seed, folder| {
        let mut random = Random::new(seed);
        tree::write(folder, &mut random, Shape { repository: true, nested: false, tracked: false });
        let paths = some_paths(folder, &mut random);
        let checker = hashctx::git::Checker::new(folder).expect("a checker");
        for (path, expected) in paths.iter().zip(git::check(git, folder, &paths)) {
            let relative = RelPath::new(&path[..]).expect("a relative path");
            let found = checker.check(&relative, false).expect("a verdict");
            let by = found.verdict.by.map(|rule| (rule.file, rule.line.to_string(), rule.pattern));
            let [file, line, pattern] = expected;
            let expected = (!file.is_empty()).then(|| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (escape(&file).into_owned(), text(&line), text(&pattern))
            });
            assert_eq!(by, expected, "seed {seed}, {relative:?}, left hashctx, right {}", git.display());
        }
    });
}

/// What is on disk, and some paths that are not; nothing beyond a link, which git refuses. None
/// with a `/` at its end: there git asks about an empty name in that folder, and never names the
/// rule that keeps it.
fn some_paths(top: &Path, random: &mut Random) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let on_disk = top.join(OsStr::from_bytes(&folder));
        for entry in fs::read_dir(&on_disk).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = [&folder[..], entry.file_name().as_bytes()].concat();
            if entry.file_name() == ".git" {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() {
                folders.push([&path, &b"/"[..]].concat());
            }
            paths.push(path);
        }
        for _ in 0..3 {
            let path = [&folder[..], random.pick(NAMES)].concat();
            if !top.join(OsStr::from_bytes(&path)).is_symlink() {
                paths.push(path.clone());
                paths.push([&path[..], b"/", random.pick(NAMES)].concat());
            }
        }
    }
    paths.retain(|path| is_real(top, path));
    paths
}

/// Whether a path may be asked for: a file is not a folder, and nothing is beyond a link.
fn is_real(top: &Path, path: &[u8]) -> bool {
    let path = top.join(OsStr::from_bytes(path));
    let mut above = path.ancestors().skip(1).take_while(|part| *part != top);
    above.all(|part| part.symlink_metadata().map_or(true, |meta| meta.is_dir()))
}

/// Runs a check for each seed, with one git after the other, in a folder of its own, on all
/// processors.
fn each_seed(count: u64, check: impl Fn(&Path, &Path, u64, &Path) + Sync) {
    let gits = git::all();
    if gits.is_empty() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let blank = scratch.path().join("blank.git");
    tree::repository(&blank);
    let next = AtomicU64::new(first_seed());
    let end = first_seed() + count;
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let git = &gits[usize::try_from(seed).expect("a small seed") % gits.len()];
        let folder = scratch.path().join(seed.to_string());
        fs::create_dir(&folder).expect("a new folder");
        check(git, &blank, seed, &folder);
        fs::remove_dir_all(&folder).expect("a folder of ours");
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
}

fn first_seed() -> u64 {
    std::env::var("LARDER_GIT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn listed(folder: &Path) -> BTreeSet<Vec<u8>> {
    let listing = hashctx::git::list(folder, 1).expect("a listing");
    listing.entries.iter().map(|entry| entry.path.as_bytes().to_vec()).collect()
}

fn show(paths: &BTreeSet<Vec<u8>>) -> String {
    paths.iter().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>().join("\n")
}
