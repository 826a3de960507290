//! What was hashed is what is built, from the folder and from `hashctx --tar`, by each real engine.
//! See `engine_ignore` for what it needs.

#[expect(dead_code, reason = "each test of engines uses a part")]
mod engines;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use engines::Build;

fn context(root: &Path) {
    fs::create_dir_all(root.join("src/empty")).expect("folders");
    for (name, text) in [
        ("Dockerfile", "FROM scratch\nCOPY . /\n"),
        (".dockerignore", "hidden\nsrc/*.log\n!src/keep.log\n*/left.txt\n"),
        ("hidden", ""),
        ("src/a b", "1"),
        ("src/x.log", ""),
        ("src/keep.log", "2"),
        ("run", "#!/bin/sh\n"),
    ] {
        engines::write(&root.join(name), text);
    }
    fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o755)).expect("mode");
    symlink("src/a b", root.join("link")).expect("a link");
    // Folders that hold nothing but what is hidden, and what not every engine sends.
    for name in ["bare", "sockets"] {
        fs::create_dir(root.join(name)).expect("a folder");
    }
    engines::write(&root.join("bare/left.txt"), "");
    drop(UnixListener::bind(root.join("sockets/s")).expect("a socket"));
}

/// What hashctx prints, into a file.
fn hashctx(root: &Path, flags: &[&str], out: &Path) {
    let mut command = engines::hashctx(root);
    command.args(flags).arg(root);
    let out = fs::File::create(out).expect("a file");
    assert!(command.stdin(Stdio::null()).stdout(out).status().expect("hashctx").success());
}

/// Writes the tar of a context with a FIFO, which stops it where an entry could begin.
fn spoiled(root: &Path, flags: &[&str], out: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("src/m"), kind, mode, 0).expect("a FIFO");
    let mut command = engines::hashctx(root);
    command.args(flags).arg(root);
    let out = fs::File::create(out).expect("a file");
    let status = command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).status().expect("hashctx");
    assert_eq!(status.code(), Some(2));
}

/// The files of the list, and the folders that they lie in.
fn with_folders(list: &str) -> BTreeSet<String> {
    let parts = |path: &str| -> Vec<String> {
        path.match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()])
            .map(|at| path[..at].to_owned())
            .collect()
    };
    list.lines().flat_map(parts).collect()
}

fn builds(build: Option<Build>, engine: &str) {
    let Some(build) = build else { return };
    let temp = tempfile::tempdir().expect("folder");
    let path = |name: &str| temp.path().join(name);
    context(&path("ctx"));
    let rules = ["-q", "--ignore", "docker", "--engine", engine];
    hashctx(&path("ctx"), &[&rules[..], &["--tar"]].concat(), &path("tar"));
    hashctx(&path("ctx"), &[&rules[..], &["--list"]].concat(), &path("list"));
    let listed = with_folders(&fs::read_to_string(path("list")).expect("a list"));
    assert!(listed.contains("src/keep.log") && !listed.contains("src/x.log"), "{listed:?}");
    assert!(listed.contains("bare") && listed.contains("sockets"), "{listed:?}");
    assert_eq!(listed.contains("sockets/s"), engine == "buildkit", "{listed:?}");
    assert_eq!(build.entries(&path("ctx")).expect("an image"), listed);
    assert_eq!(build.entries(&path("tar")).expect("an image"), listed);
    spoiled(&path("ctx"), &[&rules[..], &["--tar"]].concat(), &path("part"));
    build.entries(&path("part")).expect_err("no image of a part of the files");
}

#[test]
fn buildkit_builds_what_was_hashed() {
    builds(Build::buildkit(), "buildkit");
}

#[test]
fn the_older_builder_builds_what_was_hashed() {
    builds(Build::legacy(), "docker");
}

#[test]
fn podman_builds_what_was_hashed() {
    builds(Build::podman(), "podman");
}
