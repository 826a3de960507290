//! Whatever stands in a repository, a listing or an error comes back.

use std::fs;
use std::path::Path;

use crate::git;
use crate::patterns::ignore_file;
use crate::random::Random;
use crate::tree::{self, Shape, Tracked};
use hashctx::git::GitError;

/// How many broken inputs each test tries: `LARDER_FUZZ_ROUNDS`, or a few thousand.
fn rounds() -> u64 {
    std::env::var("LARDER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000)
}

/// Changes some bytes: one bit, one byte, a run, a cut, a copy of a part.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next().to_be_bytes()[0],
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..(at + random.below(40)).min(bytes.len()))),
            _ => {
                let part = bytes[at..(at + random.below(40)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
}

#[track_caller]
fn survives(folder: &Path) -> Result<usize, GitError> {
    hashctx::git::list(folder, 1).map(|listing| listing.entries.len())
}

/// A repository with an ignored folder, so that the index is asked for what is below it.
fn repository(folder: &Path) {
    tree::repository(&folder.join(".git"));
    fs::create_dir(folder.join("out")).expect("a new folder");
    for (name, content) in
        [(".gitignore", "out\n*.o\n"), ("out/a", ""), ("out/b", ""), ("c.o", ""), ("d", "")]
    {
        fs::write(folder.join(name), content).expect("a new file");
    }
}

fn file(path: &[u8], extended: u16) -> Tracked {
    Tracked { path: path.to_vec(), mode: 0o100_644, extended }
}

#[test]
fn damaged_indexes() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    repository(scratch.path());
    let mut tracked =
        vec![file(b"out/a", 0), file(b"out/x/y", 0), file(b"c.o", 0x2000), file(b"gone", 0x4000)];
    let good = tree::index(&mut tracked);
    let path = scratch.path().join(".git/index");
    fs::write(&path, &good).expect("a file");
    assert_eq!(survives(scratch.path()).expect("a sound index"), 4);
    for round in 0..rounds() {
        let mut bytes = good.clone();
        damage(&mut bytes, &mut Random::new(round));
        fs::write(&path, bytes).expect("a file");
        drop(survives(scratch.path()));
    }
}

/// The forms of the index that only git itself writes.
#[test]
fn damaged_indexes_of_other_forms() {
    for (at, form) in [&["--index-version", "4"][..], &["--split-index"]].into_iter().enumerate() {
        if let Some(git) = git::all().first() {
            let scratch = tempfile::tempdir().expect("a temporary folder");
            repository(scratch.path());
            git::run(git, scratch.path(), &["add", "-f", "."]);
            git::run(git, scratch.path(), &["commit", "-qm", "start"]);
            git::run(git, scratch.path(), &[&["update-index"], form].concat());
            git::run(git, scratch.path(), &["rm", "-q", "--cached", "out/a"]);
            let path = scratch.path().join(".git/index");
            let good = fs::read(&path).expect("an index");
            assert_eq!(survives(scratch.path()).expect("a sound index"), 4);
            for round in 0..rounds() / 2 {
                let mut bytes = good.clone();
                damage(&mut bytes, &mut Random::new(round << 8 | at as u64));
                fs::write(&path, bytes).expect("a file");
                drop(survives(scratch.path()));
            }
        }
    }
}

/// A sparse checkout reads an ignore file from objects: loose ones, then a pack.
#[test]
fn damaged_objects() {
    for packed in [false, true] {
        if let Some(git) = git::all().first() {
            let scratch = tempfile::tempdir().expect("a temporary folder");
            let run = |args: &[&str]| git::run(git, scratch.path(), args);
            run(&["init", "-q"]);
            for content in ["*.o\n", "*.o\n*.x\n"] {
                let content = format!("{content}{}", "# a line\n".repeat(50));
                fs::create_dir_all(scratch.path().join("sub")).expect("a folder");
                fs::write(scratch.path().join("sub/.gitignore"), content).expect("a file");
                run(&["add", "."]);
                run(&["commit", "-qm", "more"]);
            }
            if packed {
                run(&["repack", "-qadf"]);
            }
            run(&["sparse-checkout", "set", "--sparse-index", "nothing"]);
            fs::create_dir(scratch.path().join("sub")).expect("a folder");
            fs::write(scratch.path().join("sub/a.o"), "").expect("a file");
            assert_eq!(survives(scratch.path()).expect("sound objects"), 0);
            let files = object_files(&scratch.path().join(".git/objects"));
            for round in 0..rounds() / 6 {
                let mut random = Random::new(round);
                let path = &files[random.below(files.len())];
                let good = fs::read(path).expect("a file");
                let mut bytes = good.clone();
                damage(&mut bytes, &mut random);
                fs::remove_file(path).expect("a file");
                fs::write(path, bytes).expect("a file");
                drop(survives(scratch.path()));
                fs::write(path, good).expect("a file");
            }
        }
    }
}

fn object_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = walk(folder).into_iter().filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn damaged_ignore_files() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    tree::write(scratch.path(), &mut Random::new(8), Shape { repository: true, nested: true, tracked: true });
    for round in 0..rounds() {
        let mut random = Random::new(round);
        let mut bytes = ignore_file(&mut random);
        damage(&mut bytes, &mut random);
        drop(fs::remove_file(scratch.path().join(".gitignore")));
        fs::write(scratch.path().join(".gitignore"), bytes).expect("a file");
        survives(scratch.path()).expect("git takes every ignore file");
    }
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    repository(scratch.path());
    for path in [
        &b"out/../../etc/passwd"[..],
        b"/etc/passwd",
        b"out//a",
        b"out/./a",
        b"out/.git/config",
        b"out/",
        b"",
    ] {
        let index = tree::index(&mut vec![file(path, 0)]);
        fs::write(scratch.path().join(".git/index"), index).expect("a file");
        let error = survives(scratch.path()).expect_err("a refusal");
        assert!(matches!(error, GitError::Damaged { .. }), "{}: {error}", path.escape_ascii());
    }
}

#[test]
fn what_is_newer_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    repository(scratch.path());
    let good = tree::index(&mut vec![file(b"out/a", 0)]);
    let end = good.len() - 20;
    let version = [&good[..4], &5_u32.to_be_bytes(), &good[8..]].concat();
    let extension = [&good[..end], b"what\0\0\0\0", &good[end..]].concat();
    for index in [version, extension] {
        fs::write(scratch.path().join(".git/index"), index).expect("a file");
        let error = survives(scratch.path()).expect_err("a refusal");
        assert!(matches!(error, GitError::Unsupported { .. }), "{error}");
    }
    let optional = [&good[..end], b"WHAT\0\0\0\0", &good[end..]].concat();
    fs::write(scratch.path().join(".git/index"), optional).expect("a file");
    assert_eq!(survives(scratch.path()).expect("a listing"), 3);
    fs::write(scratch.path().join(".git/config"), "[extensions]\nobjectFormat = sha512\n").expect("a file");
    assert!(matches!(survives(scratch.path()), Err(GitError::Unsupported { .. })));
}
