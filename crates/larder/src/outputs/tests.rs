#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

use std::fs;
use std::os::unix::fs::symlink;

use camino::{Utf8Path, Utf8PathBuf};
use storekit::store::Store;
use tempfile::TempDir;

use super::OutputError;
use super::place::{Owner, put};
use super::record::{Ledger, Record};
use super::staged::{Staged, below, placed};
use crate::outputs::Output;

/// A project with a store beside it.
struct Desk {
    _dir: TempDir,
    root: Utf8PathBuf,
    store: Utf8PathBuf,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let top = Utf8Path::from_path(dir.path()).expect("UTF-8").to_owned();
        Store::open_or_create(&top.join("store")).expect("a store");
        fs::create_dir(top.join("project")).expect("a folder");
        Self { _dir: dir, root: top.join("project"), store: top.join("store") }
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger::new(Some(&self.store), &self.root)
    }

    /// Lays files ready and puts them into the project, for the key.
    fn put(&self, key: &str, files: &[&str]) -> Result<usize, OutputError> {
        let ready = self.store.with_file_name("ready");
        let _ = fs::remove_dir_all(&ready);
        fs::create_dir(&ready).expect("a folder");
        let staged = files.iter().enumerate().map(|(index, file)| {
            let from = ready.join(index.to_string());
            fs::write(&from, format!("{key} {file}")).expect("a file");
            Staged { from, to: file.into() }
        });
        let staged: Vec<_> = staged.collect();
        put(&staged, &Owner { name: "app", key, spec: "s" }, &self.ledger())
    }

    fn has(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }

    fn is_sound(&self, key: &str) -> bool {
        self.ledger().read("app").is_sound(&self.root, key, "s")
    }
}

#[test]
fn files_of_an_earlier_key_go_and_the_users_stay() {
    let desk = Desk::new();
    assert_eq!(desk.put("one", &["dist/a", "dist/deep/b"]).expect("written"), 2);
    fs::write(desk.root.join("dist/mine"), "mine").expect("a file");
    assert_eq!(desk.put("two", &["dist/c"]).expect("written"), 1);
    assert_eq!((desk.has("dist/a"), desk.root.join("dist/deep").exists()), (None, false));
    assert_eq!(desk.has("dist/mine").as_deref(), Some("mine"));
    assert_eq!(desk.has("dist/c").as_deref(), Some("two dist/c"));
}

#[test]
fn a_file_that_its_user_changed_since_stays() {
    let desk = Desk::new();
    desk.put("one", &["a", "b"]).expect("written");
    fs::write(desk.root.join("a"), "edited by hand").expect("a file");
    desk.put("two", &["b"]).expect("written");
    assert_eq!(desk.has("a").as_deref(), Some("edited by hand"));
}

#[test]
fn a_file_becomes_a_folder_and_a_folder_a_file() {
    let desk = Desk::new();
    desk.put("one", &["dist", "out/a", "out/deep/b"]).expect("written");
    assert_eq!(desk.put("two", &["dist/deep/a", "out"]).expect("written"), 2);
    assert_eq!(desk.has("dist/deep/a").as_deref(), Some("two dist/deep/a"));
    assert_eq!(desk.has("out").as_deref(), Some("two out"));
    assert!(desk.is_sound("two"));
    desk.put("one", &["dist", "out/a", "out/deep/b"]).expect("written");
    assert!(desk.is_sound("one"));
}

#[test]
fn what_a_killed_bake_left_in_the_way_goes() {
    let desk = Desk::new();
    let files = [("dist", None), ("dist/a", None)].map(|(file, state)| (file.into(), state)).into();
    desk.ledger().write("app", &Record { files, ..Record::default() });
    fs::write(desk.root.join("dist"), "half").expect("a file");
    desk.put("two", &["dist/a"]).expect("written");
    assert_eq!(desk.has("dist/a").as_deref(), Some("two dist/a"));
}

#[test]
fn a_users_file_in_the_way_stays_and_nothing_is_written() {
    let desk = Desk::new();
    desk.put("one", &["dist", "out/a"]).expect("written");
    fs::write(desk.root.join("out/mine"), "mine").expect("a file");
    let refused = desk.put("two", &["dist/a", "out"]).expect_err("a user's file");
    assert!(matches!(refused, OutputError::Folder { .. }), "{refused:?}");
    assert_eq!(desk.has("dist").as_deref(), Some("one dist"));
    fs::remove_file(desk.root.join("out/mine")).expect("a file");
    fs::create_dir(desk.root.join("out/empty")).expect("a folder");
    desk.put("two", &["dist/a", "out"]).expect_err("a user's folder");
    assert_eq!(desk.has("out/a").as_deref(), Some("one out/a"));
    fs::write(desk.root.join("dist"), "edited by hand").expect("a file");
    let refused = desk.put("two", &["a", "dist/a"]).expect_err("a user's file");
    assert!(matches!(refused, OutputError::Place { .. }), "{refused:?}");
    assert_eq!((desk.has("a"), desk.has("dist").as_deref()), (None, Some("edited by hand")));
}

#[test]
fn what_is_there_and_sound_is_known() {
    let desk = Desk::new();
    desk.put("one", &["a", "b"]).expect("written");
    assert!(desk.is_sound("one") && !desk.is_sound("two") && !desk.is_sound(""));
    assert!(!desk.ledger().read("app").is_sound(&desk.root, "one", "other lines"));
    fs::remove_file(desk.root.join("b")).expect("a file");
    assert!(!desk.is_sound("one"));
    desk.put("one", &["a", "b"]).expect("written");
    fs::write(desk.root.join("b"), "one b").expect("a file");
    assert!(!desk.is_sound("one"), "a file that was written again is another one");
}

#[test]
fn what_a_killed_bake_was_about_to_write_goes_with_the_next_key() {
    let desk = Desk::new();
    let files = [("a".into(), None), ("b".into(), None)].into();
    desk.ledger().write("app", &Record { files, ..Record::default() });
    fs::write(desk.root.join("a"), "half of it was written").expect("a file");
    assert!(!desk.is_sound("one"));
    desk.put("two", &["b"]).expect("written");
    assert_eq!((desk.has("a"), desk.has("b").as_deref()), (None, Some("two b")));
}

#[test]
fn without_a_store_files_are_written_all_the_same() {
    let desk = Desk::new();
    fs::remove_dir_all(&desk.store).expect("a store");
    assert_eq!(desk.put("one", &["a"]).expect("written"), 1);
    assert!(!desk.is_sound("one"));
}

#[test]
fn a_place_that_no_output_may_have_is_refused_before_anything_is_written() {
    let desk = Desk::new();
    symlink("..", desk.root.join("up")).expect("a link");
    fs::create_dir(desk.root.join("folder")).expect("a folder");
    for place in ["up/x", "up/new/x", ".git/config", "larder.toml"] {
        let refused = desk.put("one", &["a", place]).expect_err("a bad place");
        assert!(matches!(refused, OutputError::Place { .. }), "{refused:?}");
    }
    let refused = desk.put("one", &["a", "folder"]).expect_err("a bad place");
    assert!(matches!(refused, OutputError::Folder { .. }), "{refused:?}");
    assert_eq!(desk.has("a"), None);
}

/// Where the files of one pattern belong that were taken out of an image.
#[track_caller]
fn belong(taken: &[&str], (to, folder): (&str, bool), pattern: &str, wanted: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = Utf8Path::from_path(dir.path()).expect("UTF-8");
    for file in taken {
        fs::create_dir_all(root.join(file).parent().expect("a parent")).expect("a folder");
        fs::write(root.join(file), "").expect("a file");
    }
    let output = Output { to: to.into(), folder, from: vec![pattern.to_owned()] };
    let places: Vec<_> =
        placed(root, &output, pattern).expect("files").into_iter().map(|file| file.to).collect();
    assert_eq!(places, wanted);
}

#[test]
fn files_belong_where_copy_would_put_them() {
    belong(&["a.whl", "b.whl"], ("dist", false), "/build/*.whl", &["dist/a.whl", "dist/b.whl"]);
    belong(&["a.whl"], ("dist", false), "/build/*.whl", &["dist/a.whl"]);
    belong(&["dist/a", "dist/d/b"], ("out", false), "/build/dist", &["out/a", "out/d/b"]);
    belong(&["app"], ("bin/app-1", false), "/usr/bin/app", &["bin/app-1"]);
    belong(&["app"], ("bin", true), "/usr/bin/app", &["bin/app"]);
    belong(&[], ("bin", true), "/usr/bin/app", &[]);
}

#[test]
fn links_are_files_of_a_folder() {
    let desk = Desk::new();
    symlink("nowhere", desk.root.join("link")).expect("a link");
    let found = below(&desk.root, Utf8Path::new("x")).expect("a folder");
    assert_eq!(found, [Staged { from: desk.root.join("link"), to: "x/link".into() }]);
}
