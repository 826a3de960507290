//! What is believed, what is not, and what is written where.

use std::ops::Range;

use super::*;
use crate::files::entry::{Content, FileMode};
use crate::path::RelPath;

const STAT: Stat = Stat { mode: 0o100_644, size: 3, inode: 7, mtime: 10, ctime: 20 };
const PATH: &str = "a/b";

#[test]
fn a_file_system_that_can_be_written_to_is_served() {
    let folder = Folder::new();
    let folder = Utf8Path::from_path(folder.0.path()).expect("text");
    assert!(serves(folder) && !serves(&folder.join("gone")));
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn open(&self) -> StatCache {
        StatCache::open(Utf8Path::from_path(self.0.path()).expect("text"), Utf8Path::new("/ctx"))
    }

    fn learn(&self, stat: &Stat) {
        self.learn_all(&[PATH], stat);
    }

    fn learn_all(&self, paths: &[&str], stat: &Stat) {
        save(self.open(), paths, 0..paths.len(), stat);
    }

    fn get(&self, path: &str, stat: &Stat) -> Option<Known> {
        let cache = self.open();
        cache.known(cache.look(&mut 0, path.as_bytes(), || Some(*stat))?)
    }
}

fn entry(path: &str) -> Entry {
    let content = Content::File { digest: known().digest, mode: FileMode::Plain };
    Entry { path: RelPath::new(path.as_bytes()).expect("a path"), content }
}

/// Saves a cache that learnt from some of the inputs.
fn save(cache: StatCache, paths: &[&str], from: Range<usize>, stat: &Stat) {
    let entries: Vec<_> = paths.iter().map(|path| entry(path)).collect();
    let lesson = |input| cache.lesson(stat, known()).filter(|_| from.contains(&input));
    let lessons: Vec<_> = (0..paths.len()).map(lesson).collect();
    cache.save(&entries, &lessons).expect("saved");
}

fn known() -> Known {
    Known { digest: Digest::of(b"abc"), lfs_pointer: true }
}

#[track_caller]
fn misses(stat: Stat) {
    let folder = Folder::new();
    folder.learn(&STAT);
    assert_eq!(folder.get(PATH, &stat), None, "{stat:?}");
}

#[test]
fn a_file_is_known_only_while_everything_agrees() {
    let folder = Folder::new();
    folder.learn(&STAT);
    assert_eq!(folder.get(PATH, &STAT), Some(known()));
    assert_eq!(folder.get("a/c", &STAT), None);
    misses(Stat { mode: 0o100_600, ..STAT });
    misses(Stat { size: 4, ..STAT });
    misses(Stat { inode: 8, ..STAT });
    misses(Stat { mtime: 11, ..STAT });
    misses(Stat { ctime: 21, ..STAT });
}

#[test]
fn a_file_touched_just_now_or_in_the_future_is_not_recorded() {
    for time in [now(), now() - QUIET / 2, i64::MAX] {
        let folder = Folder::new();
        let stat = Stat { ctime: time, ..STAT };
        folder.learn(&stat);
        assert_eq!(folder.get(PATH, &stat), None);
    }
}

#[test]
fn a_cache_damaged_anywhere_is_empty_and_mends() {
    let folder = Folder::new();
    folder.learn(&STAT);
    let file = folder.open().files.base;
    let sound = std::fs::read(&file).expect("read");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, &damaged).expect("written");
        assert!(folder.open().is_empty(), "byte {at}");
    }
    std::fs::write(&file, &sound[..sound.len() / 2]).expect("written");
    folder.learn(&STAT);
    assert_eq!(folder.get(PATH, &STAT), Some(known()));
}

#[test]
fn what_is_no_cache_is_neither_waited_for_nor_read_whole() {
    let folder = Folder::new();
    folder.learn(&STAT);
    let file = folder.open().files.base;
    let huge = std::fs::OpenOptions::new().write(true).open(&file).expect("opened");
    huge.set_len(1 << 40).expect("a sparse file");
    assert!(folder.open().is_empty());
    std::fs::remove_file(&file).expect("removed");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, file.as_std_path(), rustix::fs::FileType::Fifo, mode, 0)
        .expect("a FIFO");
    folder.learn(&STAT);
    assert_eq!(folder.get(PATH, &STAT), Some(known()));
}

#[test]
fn every_path_is_found_from_everywhere() {
    let folder = Folder::new();
    let paths = ["A", "a", "a-b", "a/b", "a/b/c", "a/b0", "a0", "\u{fc}"];
    folder.learn_all(&paths, &STAT);
    let cache = folder.open();
    for near in 0..10 {
        for path in paths {
            assert!(cache.look(&mut near.clone(), path.as_bytes(), || Some(STAT)).is_some(), "{path}");
        }
        for path in ["", "a/", "a/b/", "b", "\u{ff}"] {
            assert_eq!(cache.look(&mut near.clone(), path.as_bytes(), || Some(STAT)), None, "{path}");
        }
    }
}

#[test]
fn what_is_no_input_this_time_is_remembered_for_a_while() {
    let folder = Folder::new();
    folder.learn(&STAT);
    for time in 0..16 {
        assert_eq!(folder.get(PATH, &STAT), Some(known()), "write {time}");
        folder.learn_all(&["a/a", "a/c"], &Stat { size: 100 + time, ..STAT });
    }
    assert_eq!(folder.get(PATH, &STAT), None);
    assert_eq!(folder.open().layers().newest().len(), 2);
}

#[test]
fn what_is_an_input_still_is_not_forgotten() {
    let folder = Folder::new();
    folder.learn_all(&["a", "c"], &STAT);
    for size in 100..120 {
        let cache = folder.open();
        assert!(!cache.is_empty());
        save(cache, &["a", "b", "c"], 1..2, &Stat { size, ..STAT });
    }
    assert_eq!(folder.open().layers().newest().len(), 3);
    assert_eq!(folder.get("c", &STAT), Some(known()));
}

/// More records than there are recent ones for a while.
fn many() -> Vec<String> {
    (0..100).map(|number| format!("f{number:02}")).collect()
}

/// Learns one of them anew, and what the file of all was written as.
fn relearn(folder: &Folder, path: &str, stat: &Stat) -> Vec<u8> {
    let (paths, cache) = (many(), folder.open());
    let input = paths.iter().position(|one| one == path).expect("one of them");
    let base = std::fs::read(&cache.files.base).expect("read");
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    save(cache, &paths, input..input + 1, stat);
    base
}

fn of_many() -> Folder {
    let folder = Folder::new();
    folder.learn_all(&many().iter().map(String::as_str).collect::<Vec<_>>(), &STAT);
    folder
}

#[test]
fn what_few_files_taught_is_written_beside_the_rest() {
    let folder = of_many();
    let base = folder.open().files.base;
    for (size, path) in (100..).zip(["f50", "f00", "f99", "f50", "f49"]) {
        let before = relearn(&folder, path, &Stat { size, ..STAT });
        assert_eq!(std::fs::read(&base).expect("read"), before);
    }
    for (path, size) in [("f49", 104), ("f50", 103), ("f00", 101), ("f99", 102), ("f51", STAT.size)] {
        assert_eq!(folder.get(path, &Stat { size, ..STAT }), Some(known()), "{path}");
    }
    assert_eq!(folder.get("f50", &Stat { size: 100, ..STAT }), None);
    assert_eq!(folder.open().layers().newest().len(), 100);
}

#[test]
fn what_many_files_taught_is_joined_with_the_rest() {
    let folder = of_many();
    for (size, path) in (100..).zip(many().iter().step_by(9)) {
        relearn(&folder, path, &Stat { size, ..STAT });
    }
    for (number, path) in many().iter().enumerate() {
        let size = if number % 9 == 0 { 100 + number as u64 / 9 } else { STAT.size };
        assert_eq!(folder.get(path, &Stat { size, ..STAT }), Some(known()), "{path}");
    }
    assert_eq!(folder.open().layers().newest().len(), 100);
    // The seventh was one too many: since then there are five.
    assert_eq!(folder.open().layers().recent().len(), 5);
}

#[test]
fn a_new_path_is_found_beside_the_rest() {
    let folder = of_many();
    let cache = folder.open();
    assert!(!cache.is_empty());
    save(cache, &["f00", "f000", "f01"], 1..2, &STAT);
    for path in ["f00", "f000", "f01", "f99"] {
        assert_eq!(folder.get(path, &STAT), Some(known()), "{path}");
    }
    assert_eq!(folder.get("f001", &STAT), None);
}

#[test]
fn what_is_written_beside_the_rest_counts_only_while_both_are_whole_and_belong_together() {
    let folder = of_many();
    let changed = Stat { size: 100, ..STAT };
    relearn(&folder, "f50", &changed);
    let recent = folder.open().files.recent;
    let sound = std::fs::read(&recent).expect("read");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&recent, &damaged).expect("written");
        assert_eq!(folder.get("f50", &changed), None, "byte {at}");
        assert_eq!(folder.get("f51", &STAT), Some(known()), "byte {at}");
    }
    std::fs::remove_file(folder.open().files.base).expect("removed");
    let paths = many();
    let mut paths: Vec<_> = paths.iter().map(String::as_str).collect();
    paths.push("g");
    folder.learn_all(&paths, &STAT);
    assert!(!recent.exists());
    std::fs::write(&recent, &sound).expect("written");
    assert_eq!(folder.get("f50", &changed), None);
    assert_eq!(folder.get("f50", &STAT), Some(known()));
}
