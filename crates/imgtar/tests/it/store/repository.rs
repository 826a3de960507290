//! A store in a git repository, with real git and git-lfs: what they keep, what a clone has, what
//! merges.

use std::fs;

use larder_tests::{Part, Session, have};

use crate::kit::tars::{docker, layer};

/// A repository with a store in it, and the archives of two versions of an image.
fn repository() -> Session {
    let session = Session::new();
    session.run("git init -q -b main . && git config user.name t && git config user.email t@localhost").ok();
    let base = layer("base", &"base ".repeat(1000));
    session.write("../one.tar", docker("app:1", &[&base, &layer("top", "one")]).end());
    session.write("../two.tar", docker("app:1", &[&base, &layer("top", "two")]).end());
    session.write("Dockerfile", "FROM scratch\nCOPY src /src\n");
    session.write("src/a", "a");
    session.write("larder.toml", "[store]\ndir = \"cache\"\n");
    session.env("LARDER_DIR", "")
}

/// The number of files that LFS keeps in the last commit.
fn kept(session: &Session) -> usize {
    session.run("git lfs ls-files").ok().stdout().lines().count()
}

#[test]
fn a_store_is_set_up_once() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session.write("cache/.gitignore", "/mine");
    session.run("imgtar init --lfs cache").ok().says("set up for Git LFS");
    let files = || {
        let read = |name: &str| fs::read_to_string(session.path("cache").join(name)).unwrap();
        (read(".gitignore"), read(".gitattributes"))
    };
    let first = files();
    assert!(first.0.starts_with("/mine\n"));
    let again = session.run("imgtar init --lfs cache --json").ok().json();
    assert_eq!((files(), again["written"].as_array().unwrap().len()), (first, 0));
    session.run("git config filter.lfs.clean && test -x .git/hooks/pre-push").ok();
    session.run("imgtar init other && imgtar has k --store other").ends(1);
}

#[test]
fn where_git_would_keep_nothing_no_store_is_made() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session.write(".gitignore", "*.log\nhidden/\n");
    session.run("imgtar init --lfs hidden/cache").ends(2).says(".gitignore:2:hidden/");
    assert!(!session.path("hidden").exists());
    session.run("imgtar init --lfs ../outside").ends(2).says("is not in a git repository");
    session.write("full/thesis", "x");
    session.run("imgtar init --lfs full").ends(2).says("not a larder store");
    assert!(!session.path("full/.gitignore").exists());
}

#[test]
fn without_git_lfs_it_says_what_to_install() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session
        .run("mkdir ../bin && ln -s $(command -v git) ../bin/git && ln -s $(command -v imgtar) ../bin/imgtar")
        .ok();
    let init = "PATH=$(cd ../bin && pwd) GIT_EXEC_PATH=/none imgtar init --lfs cache";
    session.run(init).ok().says("git-lfs is not installed").says("git lfs install");
    assert!(session.path("cache/.gitattributes").exists());
    session
        .run("rm ../bin/git && PATH=$(cd ../bin && pwd) imgtar init --lfs cache")
        .ok()
        .says("git is not installed");
}

/// As on a machine where `git lfs install` was never run: Debian's package sets up all users.
const BARE: &str = "GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent";

#[test]
fn a_save_into_a_clone_without_the_filter_says_how_to_get_it() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session.run("imgtar init --lfs cache && git add -A && git commit -qm start").ok();
    session.run(&format!("{BARE} git clone -q . ../clone")).ok();
    let in_clone = |line: &str| session.run(&format!("cd ../clone && export {BARE} && {line}"));
    let warned =
        in_clone("imgtar import one ../one.tar").ok().says("would keep the store's blobs themselves");
    assert!(warned.stderr().contains("`git lfs install --local`"), "{warned}");
    let quiet = |line: &str| {
        let ran = in_clone(line).ok();
        assert!(!ran.stderr().contains("warning"), "{ran}");
    };
    quiet("imgtar has one && imgtar ls");
    quiet("imgtar import one ../one.tar --store ../elsewhere");
    quiet("git lfs install --local && imgtar import two ../two.tar");
    // Setting it up anew is as good.
    quiet(
        "git config --local --remove-section filter.lfs && imgtar init --lfs cache && imgtar import one ../one.tar",
    );
    in_clone("git add -A && git -c user.name=t -c user.email=t@localhost commit -qm all").ok();
    assert_eq!(in_clone("git lfs ls-files").ok().stdout().lines().count(), 7);
}

#[test]
fn a_second_version_adds_what_is_new() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session
        .run("imgtar init --lfs cache && imgtar import one ../one.tar && git add -A && git commit -qm one")
        .ok();
    // Two layers, the config, the manifest.
    assert_eq!(kept(&session), 4);
    session.run("imgtar import two ../two.tar && imgtar ls && imgtar verify && imgtar export one ../x").ok();
    session.run("imgtar import gone ../one.tar && imgtar rm gone").ok();
    session.run("git add -A && git commit -qm two").ok();
    assert_eq!(kept(&session), 7);
    let files = session.run("git ls-files cache").ok().stdout();
    let own = |line: &&str| !line.starts_with("cache/images/blobs/sha256/");
    let others: Vec<_> = files.lines().filter(own).collect();
    let expected = [
        ".gitattributes",
        ".gitignore",
        "CACHEDIR.TAG",
        "images/keys/one",
        "images/keys/two",
        "images/oci-layout",
    ];
    assert_eq!(others, expected.map(|name| format!("cache/{name}")));
    assert_eq!(session.run("git status --porcelain").ok().stdout(), "");
}

#[test]
fn the_store_is_in_no_key() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    let keys = || {
        let modes =
            [".", "-f Dockerfile .", "--ignore all -f Dockerfile .", "--ignore git .", "--ignore docker ."];
        modes.map(|mode| session.run(&format!("hashctx {mode}")).stdout())
    };
    session.write(".dockerignore", ".git\n");
    let add = || session.run("git add -A && git commit -qm x --allow-empty").ok();
    add();
    let before = keys();
    assert!(before.iter().filter(|key| key.len() == 65).count() >= 3, "{before:?}");
    session.run("imgtar init --lfs cache").ok();
    assert_eq!(keys(), before);
    add();
    assert_eq!(keys(), before);
    session.run("imgtar import one ../one.tar").ok();
    assert_eq!(keys(), before);
    add();
    assert_eq!(keys(), before);
}

/// A repository with one image, pushed, and a clone of it in `../clone`.
fn cloned(clone_env: &str) -> Session {
    let session = repository();
    session
        .run("imgtar init --lfs cache && imgtar import one ../one.tar && git add -A && git commit -qm one")
        .ok();
    session.run("git init -q --bare ../remote && git remote add origin file://$(cd ../remote && pwd)").ok();
    session.run("git push -q origin main && git -C ../remote symbolic-ref HEAD refs/heads/main").ok();
    // As on another machine: git-lfs is set up there once.
    session.run("git lfs install --skip-repo").ok();
    session.run(&format!("{clone_env} git clone -q file://$(cd ../remote && pwd) ../clone")).ok();
    // Neither the remote nor the first repository is needed any more, but for fetching.
    session
}

#[test]
fn a_clone_has_the_image() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = cloned("git config --global core.autocrlf true;");
    session.run("mv ../remote ../away").ok();
    let image = session.run("imgtar info one --json").ok().json()["ids"].clone();
    let in_clone = |line: &str| session.run(&format!("cd ../clone && {line}"));
    in_clone("imgtar has one && imgtar verify && imgtar export one ../out.tar").ok();
    assert_eq!(in_clone("imgtar info one --json").ok().json()["ids"], image);
    in_clone("imgtar import again ../out.tar && cmp cache/images/keys/one ../work/cache/images/keys/one")
        .ok();
    in_clone("imgtar rm again && imgtar ls").ok();
    // What a load does to the store is nothing to git.
    assert_eq!(in_clone("git status --porcelain cache/images/keys").ok().stdout(), "");
    in_clone("skopeo inspect oci:cache/images:one > /dev/null || ! command -v skopeo").ok();
}

#[test]
fn a_clone_without_content_gets_the_command_for_it() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = cloned("GIT_LFS_SKIP_SMUDGE=1");
    let in_clone = |line: &str| session.run(&format!("cd ../clone && {line}"));
    for line in
        ["has one", "export one ../out.tar", "load one", "info one", "verify", "extract one / -C ../out"]
    {
        let ran =
            in_clone(&format!("imgtar {line}")).ends(2).says("was not fetched").says("lfs pull --include");
        assert!(ran.stderr().contains("`git lfs pull --include cache/images/blobs/sha256`"), "{ran}");
    }
    assert!(in_clone("imgtar ls").ok().stdout().contains("not fetched"));
    let _ = in_clone("imgtar info one --manifest").ends(2);
    let _ = in_clone("gcctl run --max-size 1GB");
    // Nothing was moved aside.
    assert_eq!(in_clone("git status --porcelain").ok().stdout(), "");
    in_clone("test ! -e cache/trash").ok();
    in_clone("git lfs pull --include cache/images/blobs/sha256").ok();
    in_clone("imgtar verify && imgtar has one && imgtar export one ../out.tar").ok();
}

#[test]
fn without_content_a_save_goes_on() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = cloned("GIT_LFS_SKIP_SMUDGE=1");
    let in_clone = |line: &str| session.run(&format!("cd ../clone && {line}"));
    // Another image with the same base, then the very image.
    in_clone("imgtar import two ../two.tar && imgtar verify two && imgtar export two ../out.tar").ok();
    in_clone("imgtar import one ../one.tar").ok().says("saved one");
    in_clone("imgtar verify").ok();
    in_clone("git status --porcelain | grep -v keys").ends(0);
    let modified = in_clone("git add -A && git diff --cached --name-status | grep -v ^A").stdout();
    assert_eq!(modified.trim(), "M\tcache/images/keys/one");
}

#[test]
fn without_content_a_bake_goes_on() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session.write("larder.toml", "[store]\ndir = \"cache\"\n[image.files]\npack = { dir = \"src\" }\n");
    session.run("imgtar init --lfs cache && xtask bake && git add -A && git commit -qm one").ok();
    session.run("git lfs install --skip-repo && GIT_LFS_SKIP_SMUDGE=1 git clone -q . ../clone").ok();
    session.run("cd ../clone && head -c 7 cache/images/blobs/sha256/* | grep -q version").ok();
    let ran = session.run("cd ../clone && xtask bake").ok();
    assert!(ran.stderr().contains("warning"), "{ran}");
    session.run("cd ../clone && imgtar verify").ok();
    session.run("cd ../clone && xtask bake --check").ok();
}

#[test]
fn two_branches_that_each_save_a_key_merge() {
    if !have(&[Part::GitLfs]) {
        return;
    }
    let session = repository();
    session.run("imgtar init --lfs cache && git add -A && git commit -qm start").ok();
    for (branch, file) in [("left", "one"), ("right", "two")] {
        session.run(&format!("git checkout -q -b {branch} main && imgtar import {file} ../{file}.tar")).ok();
        session.run(&format!("git add -A && git commit -qm {branch}")).ok();
    }
    session.run("git checkout -q main && git merge -q left && git merge -q -m both right").ok();
    session.run("imgtar verify && imgtar has one && imgtar has two").ok();
    assert_eq!(session.run("git status --porcelain").ok().stdout(), "");
}
