//! git's view in the situations that only a real git can make: sparse checkouts, submodules, linked
//! work trees, every form of the index.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::{git, tree};
use hashctx::git::{Checker, GitError, GitWarning};
use hashctx::path::RelPath;
use tempfile::TempDir;

/// A folder to work in, and the git that is asked.
struct Scene {
    git: PathBuf,
    dir: TempDir,
}

impl Scene {
    fn new(git: &Path) -> Self {
        let scene = Self { git: git.to_owned(), dir: tempfile::tempdir().expect("a temporary folder") };
        tree::repository(&scene.path("blank.git"));
        scene
    }

    /// A repository `repo` with these files in one commit.
    fn repo(git: &Path, init: &[&str], files: &[(&str, &str)]) -> Self {
        let scene = Self::new(git);
        fs::create_dir(scene.path("repo")).expect("a new folder");
        scene.git("repo", &[&["init", "-q"], init].concat());
        scene.files("repo", files);
        scene.git("repo", &["add", "-f", "."]);
        scene.git("repo", &["commit", "-qm", "start"]);
        scene
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn file(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn files(&self, folder: &str, files: &[(&str, &str)]) {
        for (name, content) in files {
            self.file(&format!("{folder}/{name}"), content);
        }
    }

    #[track_caller]
    fn git(&self, folder: &str, args: &[&str]) -> Vec<u8> {
        git::run(&self.git, &self.path(folder), args)
    }

    /// The files of a folder that is a top are these, and git says so too.
    #[track_caller]
    fn lists(&self, folder: &str, expected: &[&str]) {
        let files = git::files(&self.git, &self.path("blank.git"), &self.path(folder));
        assert_eq!(text(&files), expected, "git's own view");
        self.sees(folder, expected);
    }

    /// The files of a folder are these.
    #[track_caller]
    fn sees(&self, folder: &str, expected: &[&str]) {
        let listing = hashctx::git::list(&self.path(folder), 2).expect("a listing");
        let files = listing.entries.iter().map(|entry| entry.path.as_bytes().to_vec()).collect();
        assert_eq!(text(&files), expected);
    }

    #[track_caller]
    fn warnings(&self, folder: &str) -> Vec<GitWarning> {
        hashctx::git::list(&self.path(folder), 2).expect("a listing").warnings
    }

    #[track_caller]
    fn excluded(&self, folder: &str, path: &str) -> (bool, Option<(String, usize)>) {
        let checker = Checker::new(&self.path(folder)).expect("a checker");
        let path = RelPath::new(path.as_bytes()).expect("a relative path");
        let verdict = checker.check(&path, false).expect("a verdict").verdict;
        (verdict.excluded, verdict.by.map(|rule| (rule.file, rule.line)))
    }
}

fn text(files: &BTreeSet<Vec<u8>>) -> Vec<String> {
    files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect()
}

fn with_each_git(check: impl Fn(&Path)) {
    for git in git::all() {
        check(&git);
    }
}

const IGNORED_BUT_TRACKED: &[(&str, &str)] = &[
    (".gitignore", "*.log\nout/\n"),
    ("a.txt", "a"),
    ("kept.log", "k"),
    ("out/deep/kept", "k"),
    ("sub/b", "b"),
];

/// A repository as above, with some files that are not tracked.
fn busy(git: &Path, init: &[&str]) -> Scene {
    let scene = Scene::repo(git, init, IGNORED_BUT_TRACKED);
    scene.files("repo", &[("new.log", ""), ("out/deep/new", ""), ("out/new", ""), ("sub/new", "")]);
    scene
}

const BUSY: &[&str] = &[".gitignore", "a.txt", "kept.log", "out/deep/kept", "sub/b", "sub/new"];

#[test]
fn tracked_files_count_although_ignored() {
    with_each_git(|git| busy(git, &[]).lists("repo", BUSY));
}

#[test]
fn every_form_of_the_index_is_read() {
    with_each_git(|git| {
        for version in ["2", "3", "4"] {
            let scene = busy(git, &[]);
            scene.git("repo", &["update-index", "--index-version", version]);
            scene.file("repo/later.log", "");
            scene.git("repo", &["add", "-f", "-N", "later.log"]);
            scene.lists(
                "repo",
                &[BUSY, &["later.log"]]
                    .concat()
                    .iter()
                    .copied()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect::<Vec<_>>(),
            );
        }
        busy(git, &["--object-format=sha256"]).lists("repo", BUSY);
    });
}

#[test]
fn a_split_index_is_one_index() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.git("repo", &["config", "splitIndex.maxPercentChange", "100"]);
        scene.git("repo", &["update-index", "--split-index"]);
        scene.git("repo", &["rm", "-q", "--cached", "kept.log"]);
        scene.git("repo", &["add", "-f", "new.log"]);
        scene.file("repo/a.txt", "changed");
        scene.git("repo", &["add", "a.txt"]);
        let shared = fs::read_dir(scene.path("repo/.git")).expect("a folder").filter(|entry| {
            entry.as_ref().is_ok_and(|entry| entry.file_name().as_bytes().starts_with(b"sharedindex."))
        });
        assert_ne!(shared.count(), 0);
        let expected = [".gitignore", "a.txt", "new.log", "out/deep/kept", "sub/b", "sub/new"];
        scene.lists("repo", &expected);
    });
}

#[test]
fn paths_that_a_merge_left_undecided_are_listed_once() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.git("repo", &["checkout", "-q", "-b", "other"]);
        scene.file("repo/kept.log", "one");
        scene.git("repo", &["commit", "-qam", "one"]);
        scene.git("repo", &["checkout", "-q", "main"]);
        scene.file("repo/kept.log", "two");
        scene.git("repo", &["commit", "-qam", "two"]);
        let merge = git::command(git, &scene.path("repo")).args(["merge", "-q", "other"]).output();
        assert!(!merge.expect("git runs").status.success());
        scene.lists("repo", BUSY);
    });
}

/// Ignore files that a sparse checkout left out are read from the repository.
#[test]
fn a_sparse_checkout_keeps_its_rules() {
    with_each_git(|git| {
        for sparse_index in ["--no-sparse-index", "--sparse-index"] {
            for packed in [false, true] {
                let files = [
                    ("in/a", "a"),
                    ("out/.gitignore", "*.o\n!keep.o\nlow/\n"),
                    ("out/b.o", "b"),
                    ("out/low/c", "c"),
                    ("out/low/.gitignore", "!c2\n"),
                ];
                let scene = Scene::repo(git, &[], &files);
                if packed {
                    // Several commits, so that there are deltas.
                    let lines = (0..200).map(|line| format!("# line {line}\n")).collect::<Vec<_>>().concat();
                    scene.file("repo/out/.gitignore", &format!("{lines}*.x\n"));
                    scene.git("repo", &["commit", "-qam", "long"]);
                    scene.file("repo/out/.gitignore", &format!("{lines}*.o\n!keep.o\nlow/\n"));
                    scene.git("repo", &["commit", "-qam", "last"]);
                    scene.git("repo", &["repack", "-qadf"]);
                    scene.git("repo", &["prune-packed"]);
                }
                scene.git("repo", &["sparse-checkout", "init", "--cone", sparse_index]);
                scene.git("repo", &["sparse-checkout", "set", "in"]);
                assert!(!scene.path("repo/out").exists());
                scene.lists("repo", &["in/a"]);
                let left = [("out/b.o", ""), ("out/new.o", ""), ("out/keep.o", ""), ("out/low/new", "")];
                scene.files("repo", &left);
                assert_eq!(scene.excluded("repo", "out/new.o").1.expect("a rule").0, "out/.gitignore");
                scene.sees("repo", &["in/a", "out/b.o", "out/keep.o"]);
                scene.lists("repo", &["in/a", "out/b.o", "out/keep.o"]);
            }
        }
    });
}

#[test]
fn info_exclude_counts_in_linked_work_trees_too() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.file("repo/.git/info/exclude", "# note\n*.tmp\n");
        scene.git("repo", &["worktree", "add", "-q", "../linked", "-b", "linked"]);
        scene.files("linked", &[("x.tmp", ""), ("x.txt", "")]);
        scene.lists("linked", &[".gitignore", "a.txt", "kept.log", "out/deep/kept", "sub/b", "x.txt"]);
        assert_eq!(scene.excluded("linked", "x.tmp"), (true, Some(("../repo/.git/info/exclude".into(), 2))));
        assert_eq!(scene.excluded("repo", "x.tmp"), (true, Some((".git/info/exclude".into(), 2))));
    });
}

#[test]
fn rules_from_above_the_context_apply() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.files("repo", &[("sub/x.log", ""), ("sub/.gitignore", "/y\n"), ("sub/y", ""), ("sub/z/y", "")]);
        scene.sees("repo/sub", &[".gitignore", "b", "new", "z/y"]);
        assert_eq!(scene.excluded("repo/sub", "x.log"), (true, Some(("../.gitignore".into(), 1))));
        assert_eq!(scene.excluded("repo/sub", "y"), (true, Some((".gitignore".into(), 1))));
        assert_eq!(scene.excluded("repo/sub", "b"), (false, None));
    });
}

#[test]
fn a_context_that_is_ignored_has_its_tracked_files_and_a_warning() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.sees("repo/out", &["deep/kept"]);
        scene.sees("repo/out/deep", &["kept"]);
        let expected = GitWarning::RootExcluded { file: "../.gitignore".into(), pattern: "out/".into() };
        assert_eq!(scene.warnings("repo/out"), [expected]);
        assert_eq!(scene.excluded("repo/out", "new"), (true, Some(("../.gitignore".into(), 2))));
        assert_eq!(scene.excluded("repo/out", "deep/kept"), (false, None));
    });
}

#[test]
fn what_differs_between_machines_does_not_count() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.file("repo/.ignore", "*\n");
        scene.file("exclude", "*.txt\n");
        scene.git("repo", &["config", "core.excludesFile", "../exclude"]);
        scene.git("repo", &["config", "core.ignoreCase", "true"]);
        scene.file("repo/NEW.LOG", "");
        scene.sees(
            "repo",
            &[".gitignore", ".ignore", "NEW.LOG", "a.txt", "kept.log", "out/deep/kept", "sub/b", "sub/new"],
        );
    });
}

#[test]
fn the_root_may_be_a_link_and_nothing_beyond_others_counts() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        symlink("repo", scene.path("link")).expect("a new link");
        scene.sees("link", BUSY);
        symlink("../sub", scene.path("repo/sub/up")).expect("a new link");
        scene.lists("repo", &[BUSY, &["sub/up"]].concat());
        assert_eq!(scene.excluded("repo", "sub/up/x.log"), (false, None));
        // A tracked folder that became a link is not entered either.
        fs::remove_dir_all(scene.path("repo/out")).expect("a folder");
        symlink("sub", scene.path("repo/out")).expect("a new link");
        scene.sees("repo", &[".gitignore", "a.txt", "kept.log", "out", "sub/b", "sub/new", "sub/up"]);
    });
}

#[test]
fn git_folders_are_left_out_by_no_rule() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.file("repo/sub/.git", "no link");
        assert_eq!(scene.excluded("repo", ".git"), (true, None));
        assert_eq!(scene.excluded("repo", "sub/.git/config"), (true, None));
        scene.sees("repo", BUSY);
    });
}

/// A repository with a submodule `mod`, itself with one tracked file that its rules ignore.
fn with_submodule(git: &Path) -> Scene {
    let scene = Scene::repo(git, &[], &[(".gitignore", "*.o\n"), ("top", "t")]);
    fs::rename(scene.path("repo"), scene.path("library")).expect("a folder");
    fs::create_dir(scene.path("repo")).expect("a new folder");
    scene.git("repo", &["init", "-q"]);
    scene.files("repo", &[(".gitignore", "top\n*.tmp\n"), ("main", "m")]);
    scene.git("repo", &["submodule", "--quiet", "add", "../library", "mod"]);
    scene.git("repo", &["add", "."]);
    scene.git("repo", &["commit", "-qm", "start"]);
    scene
}

/// The index says that there is a file, and git believes it.
#[test]
fn a_repository_in_the_place_of_a_tracked_file_is_not_entered() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        fs::remove_file(scene.path("repo/a.txt")).expect("a file");
        scene.file("repo/a.txt/new", "");
        scene.lists("repo", &[".gitignore", "a.txt/new", "kept.log", "out/deep/kept", "sub/b", "sub/new"]);
        scene.git("repo/a.txt", &["init", "-q"]);
        scene.lists("repo", &[".gitignore", "kept.log", "out/deep/kept", "sub/b", "sub/new"]);
        assert_eq!(scene.excluded("repo", "a.txt/new"), (true, None));
    });
}

#[test]
fn submodules_are_entered_under_their_own_rules() {
    with_each_git(|git| {
        let scene = with_submodule(git);
        scene.files("repo/mod", &[("x.o", ""), ("x.tmp", "")]);
        let expected = [".gitignore", ".gitmodules", "main", "mod/.gitignore", "mod/top", "mod/x.tmp"];
        scene.lists("repo", &expected);
        assert_eq!(scene.warnings("repo"), []);
        assert_eq!(scene.excluded("repo", "mod/x.o"), (true, Some(("mod/.gitignore".into(), 1))));
        scene.sees("repo/mod", &[".gitignore", "top", "x.tmp"]);
    });
}

#[test]
fn a_submodule_below_an_ignored_folder_is_entered() {
    with_each_git(|git| {
        let scene = with_submodule(git);
        scene.git("repo", &["mv", "mod", "deep"]);
        scene.file("repo/.gitignore", "/deep\n");
        scene.lists("repo", &[".gitignore", ".gitmodules", "deep/.gitignore", "deep/top", "main"]);
        fs::create_dir(scene.path("repo/ign")).expect("a new folder");
        scene.git("repo", &["mv", "deep", "ign/deep"]);
        scene.files("repo", &[(".gitignore", "/ign\n"), ("ign/new", "")]);
        scene.lists("repo", &[".gitignore", ".gitmodules", "ign/deep/.gitignore", "ign/deep/top", "main"]);
        assert_eq!(scene.warnings("repo"), []);
    });
}

#[test]
fn a_submodule_that_is_not_checked_out_is_named() {
    with_each_git(|git| {
        let scene = with_submodule(git);
        scene.git("repo", &["submodule", "--quiet", "deinit", "-f", "mod"]);
        scene.lists("repo", &[".gitignore", ".gitmodules", "main"]);
        let path = RelPath::new(&b"mod"[..]).expect("a path");
        assert_eq!(scene.warnings("repo"), [GitWarning::MissingSubmodule { path }]);
    });
}

#[track_caller]
fn drifts(scene: &Scene, expected: &str) {
    let warnings: Vec<String> = scene.warnings("repo").iter().map(ToString::to_string).collect();
    let matches =
        if expected.is_empty() { warnings.is_empty() } else { warnings.iter().any(|w| w.contains(expected)) };
    assert!(matches, "{warnings:?} say nothing of {expected:?}");
}

#[test]
fn a_submodule_that_changed_is_named() {
    with_each_git(|git| {
        let scene = with_submodule(git);
        scene.file("repo/mod/new", "not tracked");
        drifts(&scene, "");
        scene.file("repo/mod/top", "T");
        drifts(&scene, "changes that are not committed, as in `top`");
        scene.git("repo/mod", &["add", "top"]);
        drifts(&scene, "changes that are not committed, as in `top`");
        scene.git("repo/mod", &["commit", "-qm", "more"]);
        drifts(&scene, "is recorded");
        scene.git("repo", &["add", "mod"]);
        drifts(&scene, "");
        scene.git("repo/mod", &["rm", "-q", "--cached", ".gitignore"]);
        drifts(&scene, "as in `.gitignore`");
        scene.git("repo/mod", &["reset", "-q"]);
        drifts(&scene, "");
        fs::remove_file(scene.path("repo/mod/top")).expect("a file");
        drifts(&scene, "as in `top`");
    });
}

#[test]
fn a_file_written_again_as_it_was_is_no_change() {
    with_each_git(|git| {
        let scene = with_submodule(git);
        let file = fs::File::options().append(true).open(scene.path("repo/mod/top")).expect("a file");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a new time");
        drifts(&scene, "");
        scene.git("repo/mod", &["gc", "-q"]);
        scene.git("repo/mod", &["pack-refs", "--all"]);
        drifts(&scene, "");
    });
}

#[test]
fn embedded_repositories_are_entered_under_their_own_rules() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        fs::create_dir(scene.path("repo/emb")).expect("a new folder");
        scene.git("repo/emb", &["init", "-q"]);
        scene.files(
            "repo/emb",
            &[(".gitignore", "*.txt\n"), ("x.log", ""), ("x.txt", ""), ("deep/y.log", "")],
        );
        let own = ["emb/.gitignore", "emb/deep/y.log", "emb/x.log"];
        let expected: BTreeSet<&str> = BUSY.iter().copied().chain(own).collect();
        scene.lists("repo", &expected.into_iter().collect::<Vec<_>>());
        assert_eq!(scene.excluded("repo", "emb/x.txt"), (true, Some(("emb/.gitignore".into(), 1))));
        assert_eq!(scene.excluded("repo", "emb/x.log"), (false, None));
    });
}

#[test]
fn ignore_files_count_outside_a_repository() {
    let scene = Scene { git: PathBuf::new(), dir: tempfile::tempdir().expect("a temporary folder") };
    scene.files(
        "plain",
        &[(".gitignore", "*.log\n"), ("a.log", ""), ("sub/.gitignore", "!a.log\n"), ("sub/a.log", "")],
    );
    scene.sees("plain", &[".gitignore", "sub/.gitignore", "sub/a.log"]);
    // Only a repository says how far up rules go.
    scene.sees("plain/sub", &[".gitignore", "a.log"]);
    scene.file(".gitignore", "*\n");
    scene.sees("plain", &[".gitignore", "sub/.gitignore", "sub/a.log"]);
}

#[test]
fn a_link_to_no_repository_is_refused_at_the_top_only() {
    let scene = Scene { git: PathBuf::new(), dir: tempfile::tempdir().expect("a temporary folder") };
    scene.files("plain", &[("a", ""), ("moved/.git", "gitdir: /nonexistent\n"), ("moved/b", "")]);
    scene.sees("plain", &["a", "moved/b"]);
    let error = hashctx::git::list(&scene.path("plain/moved"), 1).expect_err("a refusal");
    assert!(matches!(&error, GitError::BrokenLink { path } if path.ends_with("moved/.git")), "{error}");
}

#[test]
fn line_ends_that_git_changes_are_named() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        scene.git("repo", &["config", "core.autocrlf", "true"]);
        assert_eq!(scene.warnings("repo"), [GitWarning::LineEnds { path: ".".into() }]);
        scene.git("repo", &["config", "core.autocrlf", "input"]);
        assert_eq!(scene.warnings("repo"), []);
    });
}

#[test]
fn names_are_bytes() {
    with_each_git(|git| {
        let scene = busy(git, &[]);
        fs::write(scene.path("repo/.gitignore"), b"\xff*\n*.log\nout/\n").expect("a file");
        for name in [&b"\xff1"[..], b"\xfe1", b"a\nb"] {
            fs::write(scene.path("repo").join(OsStr::from_bytes(name)), "").expect("a file");
        }
        let files = git::files(git, &scene.path("blank.git"), &scene.path("repo"));
        let listing = hashctx::git::list(&scene.path("repo"), 2).expect("a listing");
        let found: BTreeSet<Vec<u8>> =
            listing.entries.iter().map(|entry| entry.path.as_bytes().to_vec()).collect();
        assert_eq!(found, files);
        assert!(found.contains(&b"\xfe1"[..]) && !found.contains(&b"\xff1"[..]));
    });
}
