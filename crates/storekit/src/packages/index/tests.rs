use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::error::Error;
use crate::files::look;
use crate::files::packed::put_text;
use crate::files::state::FileState;
use crate::packages::FoundPackage;
use crate::packages::entry::{PackageEntry, PackageKey};
use crate::packages::tests::{body, entry, store};
use crate::store::Store;

/// A store with a few entries more than it takes for an index to be written.
fn many() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    let packages = store.packages();
    let lease = body(&packages, b"body");
    for number in 0..1100 {
        let mut entry = entry(&format!("https://a.example/{number}"), &lease);
        entry.name = (number % 3 == 0).then(|| format!("n{number}"));
        let path = packages.path(&entry.key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, entry.to_text()).unwrap();
    }
    settle(&store);
    (dir, store)
}

/// Waits until the files are no longer so new that their states prove nothing.
fn settle(store: &Store) {
    let newest = files(store).into_iter().max_by_key(|path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.ctime(), metadata.ctime_nsec())
    });
    FileState::settled(&fs::File::open(newest.unwrap()).unwrap()).unwrap();
}

fn folders(store: &Store) -> Vec<String> {
    let mut folders = Vec::new();
    for source in fs::read_dir(store.packages().entries()).unwrap() {
        let source = source.unwrap();
        for shard in fs::read_dir(source.path()).unwrap() {
            let name = |name: std::ffi::OsString| name.into_string().unwrap();
            folders.push(format!("{}/{}", name(source.file_name()), name(shard.unwrap().file_name())));
        }
    }
    folders
}

fn files(store: &Store) -> Vec<Utf8PathBuf> {
    let mut files = Vec::new();
    let mut note = |found: FoundPackage| {
        files.push(found.path);
        Ok(())
    };
    store.packages().each::<Error>(&mut note).unwrap();
    files
}

/// Looks at all entries as a collector does. Every answer of the index is compared with the entry.
/// Returns how many the index knew.
fn survey(store: &Store) -> usize {
    let packages = store.packages();
    let index = packages.index();
    let mut update = Update::new(&packages, &index);
    let mut count = 0;
    for folder in folders(store) {
        let mut looking = Looking::at(&index, &folder);
        look::each::<Error>(&packages.entries().join(&folder), &mut |name, stat| {
            let path = packages.entries().join(&folder).join(name.to_str().unwrap());
            let entry = PackageEntry::parse(&fs::read(&path).unwrap(), &path).unwrap();
            let (truth, state) = (Summary::of(&entry), FileState::of(stat));
            let name = Digest::from_hex(path.file_stem().unwrap()).unwrap();
            if let Some(said) = looking.known(&name, &state) {
                assert_eq!(said, truth);
                count += 1;
            } else {
                looking.read(&name, &state, &truth);
            }
            Ok(())
        })
        .unwrap();
        update.add(looking.done());
    }
    update.finish();
    count
}

#[test]
fn what_was_read_once_is_known() {
    let (_dir, store) = many();
    assert_eq!([survey(&store), survey(&store)], [0, 1100]);
}

#[test]
fn a_few_entries_have_no_index() {
    let (_dir, store) = store();
    let lease = body(&store.packages(), b"body");
    store.packages().put(&entry("https://a.example/1", &lease), &[lease]).unwrap();
    settle(&store);
    assert_eq!([survey(&store), survey(&store)], [0, 0]);
    assert!(!store.packages().index_path().exists());
}

#[test]
fn an_entry_that_was_changed_is_read_again() {
    let (_dir, store) = many();
    survey(&store);
    let packages = store.packages();
    let lease = body(&packages, b"other");
    packages.put(&entry("https://a.example/7", &lease), &[lease]).unwrap();
    // Its length and its time stay as they were.
    let path = packages.path(&PackageKey::new("generic", "up", "https://a.example/9", None));
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let text = fs::read_to_string(&path).unwrap().replace("n9", "m9");
    fs::write(&path, text).unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    packages.remove(&PackageKey::new("generic", "up", "https://a.example/8", None)).unwrap();
    settle(&store);
    assert_eq!(survey(&store), 1097);
    // So little is not worth a new one.
    assert_eq!(survey(&store), 1097);
}

#[test]
fn an_index_that_is_out_of_date_is_written_anew() {
    let (_dir, store) = many();
    survey(&store);
    for path in files(&store).iter().step_by(3) {
        crate::images::stamp_now(path).unwrap();
    }
    settle(&store);
    assert_eq!([survey(&store), survey(&store)], [733, 1100]);
    for path in files(&store).iter().step_by(2) {
        fs::remove_file(path).unwrap();
    }
    let before = fs::metadata(store.packages().index_path()).unwrap().len();
    survey(&store);
    // With fewer entries it would stay as it is; what is gone is never asked for.
    assert_eq!(fs::metadata(store.packages().index_path()).unwrap().len(), before);
    assert_eq!(survey(&store), 550);
}

/// Whatever stands in the file: what it says is so, or it says nothing.
#[test]
fn a_damaged_index_says_nothing_that_is_wrong() {
    let (_dir, store) = many();
    survey(&store);
    let path = store.packages().index_path();
    let sound = fs::read(&path).unwrap();
    let mut tried = 0;
    let mut check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let index = store.packages().index();
        for folder in folders(&store) {
            let known = index.section(&folder).len();
            assert!(known == 0 || index.read(&folder).is_some());
        }
        tried += 1;
    };
    for at in (0..sound.len()).step_by(sound.len() / 60).chain(sound.len() - FOOTER..sound.len()) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x40;
        check(&bytes);
        check(&sound[..at]);
    }
    check(&[&sound[..], b"more"].concat());
    assert!(tried > 200);
    fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    // One survey goes without, and writes it anew.
    assert_eq!([survey(&store), survey(&store)], [0, 1100]);
}

#[test]
fn a_single_flipped_bit_costs_one_section() {
    let (_dir, store) = many();
    survey(&store);
    let path = store.packages().index_path();
    let mut bytes = fs::read(&path).unwrap();
    bytes[BEGIN.len() + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let known = survey(&store);
    assert!((1000..1100).contains(&known), "{known}");
}

#[test]
fn another_version_counts_as_none() {
    let (_dir, store) = many();
    survey(&store);
    let path = store.packages().index_path();
    let mut bytes = fs::read(&path).unwrap();
    bytes[BEGIN.len() - 2] = b'1';
    fs::write(&path, bytes).unwrap();
    assert_eq!([survey(&store), survey(&store)], [0, 1100]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    // It cannot be replaced: every entry is read.
    assert_eq!([survey(&store), survey(&store)], [0, 0]);
}

/// A directory that claims what is not there takes no memory, and no time.
#[test]
fn lengths_that_are_made_up_are_not_believed() {
    let (_dir, store) = store();
    let path = store.packages().index_path();
    for (at, length) in [(0, u64::MAX), (u64::MAX, 1), (BEGIN.len() as u64, CAP + 1), (1 << 40, 1 << 20)] {
        let mut directory = Vec::new();
        put_text(&mut directory, "up/00");
        directory.extend_from_slice(&at.to_le_bytes());
        directory.extend_from_slice(&length.to_le_bytes());
        directory.extend_from_slice(&[0; 32]);
        let mut bytes = BEGIN.to_vec();
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(&(BEGIN.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(directory.len() as u64).to_le_bytes());
        bytes.extend_from_slice(Digest::of(&directory).bytes());
        bytes.extend_from_slice(END);
        fs::write(&path, bytes).unwrap();
        assert!(store.packages().index().sections.is_empty(), "{at} {length}");
    }
}
