//! The key: what it is, what changes it and what does not.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{ffi::OsStr, fs};

use crate::session::Session;

fn some() -> Session {
    Session::new().file("a", "1").file("src/b", "2").link("l", "src/b").folder("empty")
}

const ALL: [&str; 2] = ["--ignore", "none"];

/// The key changes, or not, with what is done.
#[track_caller]
fn key_changes(args: &[&str], change: impl FnOnce(&Session), expected: bool) {
    let session = some();
    let before = session.ok(args);
    change(&session);
    assert_eq!(session.ok(args) != before, expected);
}

#[test]
fn the_worked_example_of_the_format_holds() {
    let format =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).expect("FORMAT.md");
    let blocks: Vec<&str> = format.split("```\n").skip(1).step_by(2).collect();
    let session = Session::new()
        .file("Dockerfile", "FROM scratch\n")
        .executable("bin/run", "#!/bin/sh\n")
        .folder("new\nline")
        .link("latest", "bin/run");
    let args = ["--ignore", "none", "--input", "channel=stable"];
    assert_eq!(session.ok(&[&args[..], &["--manifest"]].concat()), blocks[0]);
    assert_eq!(session.ok(&args), blocks[1]);
}

#[test]
fn anybody_can_compute_the_key() {
    let session = some().file("new\nline", "3");
    let by_hand = session.sh("hashctx --manifest | b3sum --no-names");
    assert_eq!(by_hand, session.ok::<&str>(&[]));
    session.sh("hashctx --manifest | sed -n 's/^file //p' | grep -v new | b3sum --check -");
}

#[test]
fn what_is_in_a_file_counts() {
    key_changes(&ALL, |s| s.write("a", "x"), true);
    key_changes(&ALL, |s| s.write("new", ""), true);
    key_changes(&ALL, |s| fs::remove_file(s.path("a")).expect("removed"), true);
    key_changes(&ALL, |s| fs::rename(s.path("a"), s.path("c")).expect("renamed"), true);
    key_changes(&ALL, |s| s.chmod("a", 0o755), true);
    key_changes(&ALL, |s| fs::remove_dir(s.path("empty")).expect("removed"), true);
    key_changes(&ALL, |s| drop(s.sh("ln -sf a l")), true);
    key_changes(&ALL, |s| drop(s.sh("rm l; cp src/b l")), true);
}

#[test]
fn where_and_when_a_file_was_made_does_not_count() {
    key_changes(&ALL, |s| drop(s.sh("touch -d 2001-01-01 a src src/b")), false);
    key_changes(&ALL, |s| drop(s.sh("chmod 600 src/b; chmod 700 src empty")), false);
    key_changes(&ALL, |s| drop(s.sh("chown 12345:54321 a src 2>&1 || true")), false);
    key_changes(&ALL, |s| drop(s.sh("cp -a src x; rm -r src; mv x src")), false);
    key_changes(&ALL, |s| drop(s.sh("ln a x; rm a; mv x a")), false);
    let keys: Vec<String> = (0..2).map(|_| some().ok(&ALL)).collect();
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn modes_count_as_asked() {
    key_changes(&["--mode", "none"], |s| s.chmod("a", 0o755), false);
    key_changes(&["--mode", "full"], |s| s.chmod("a", 0o600), true);
    key_changes(&["--mode", "full", "--ignore", "none"], |s| s.chmod("empty", 0o700), true);
}

/// `chmod` of a folder changes the image that is copied from it.
#[test]
fn modes_of_folders_count_as_asked() {
    for rules in ["none", "docker", "git", "all"] {
        let flags = ["--ignore", rules, "--mode", "full"];
        key_changes(&flags, |s| s.chmod("src", 0o711), true);
        key_changes(&flags, |s| s.chmod("", 0o711), false);
        key_changes(&flags[..2], |s| s.chmod("src", 0o711), false);
    }
    let session = some().file("a-b/c", "").file("Dockerfile", "FROM scratch\nCOPY src /src\n");
    session.sh("chmod 710 src; chmod 755 a-b; chmod 644 src/b");
    let manifest =
        |args: &str| session.sh(&format!("hashctx --manifest --mode full {args} | cut -d' ' -f1,3-"));
    let listed = manifest("--ignore none");
    assert!(listed.contains("\nfile:0644  a\ndir:0755\nfile:0644  a-b/c\ndir:"), "{listed}");
    assert!(manifest("-q -f Dockerfile .").ends_with("\ndir:0710\nfile:0644  src/b\n"));
    let key = session.sh("hashctx -q --mode full --ignore none --tar --key-file ../key | tar -C .. --one-top-level=out -xpf -; cat ../key");
    assert_eq!(session.sh("hashctx -q --mode full --ignore none ../out"), key);
    assert_eq!(session.ok(&["-q", "--mode", "full", "--ignore", "none"]), key);
    session.sh("hashctx -q --mode full --ignore none --manifest > ../saved; chmod 700 src");
    let changed = session.output(&["--mode", "full", "--ignore", "none", "--diff", "../saved"], 1);
    assert_eq!(changed, "mode-changed src\n");
}

#[test]
fn the_environment_does_not_count() {
    let session = some().file("\u{e9}", "").file("Z", "");
    let key = session.ok(&ALL);
    for (name, value) in
        [("LC_ALL", "C"), ("LANG", "de_DE.UTF-8"), ("HOME", "/nowhere"), ("TZ", "Asia/Tokyo")]
    {
        let output = session.command(&ALL).env(name, value).output().expect("hashctx");
        assert_eq!(String::from_utf8_lossy(&output.stdout), key, "{name}");
    }
    for threads in ["1", "2", "3", "64"] {
        assert_eq!(session.ok(&["--ignore", "none", "--no-stat-cache", "--threads", threads]), key);
    }
    assert_eq!(session.sh("cd src; hashctx --ignore none .."), key);
    assert_eq!(session.sh("hashctx --ignore none $PWD/"), key);
}

#[test]
fn any_name_is_good() {
    let odd = OsStr::from_bytes(b"\xff\n\t\\ \x01");
    let session = Session::new().file(odd, "x").link("loop", "loop").link("dangling", "nowhere");
    assert_eq!(session.ok(&["--list"]), "dangling\nloop\n\\xff\\n\\t\\\\ \\x01\n");
    let raw = session.command(&["--list", "-0"]).output().expect("hashctx").stdout;
    assert_eq!(raw, b"dangling\0loop\0\xff\n\t\\ \x01\0");
}

#[test]
fn deep_trees_are_good() {
    let deep = vec!["d"; 1500].join("/");
    let session = Session::new().file(format!("{deep}/f"), "x");
    assert_eq!(session.ok(&["--list"]), format!("{deep}/f\n"));
}

#[test]
fn a_path_longer_than_the_system_takes_is_an_error() {
    let session = Session::new();
    session
        .sh("name=$(printf 'x%.0s' {1..200}); for i in {1..25}; do mkdir $name; cd $name; done; echo 1 > f");
    for rules in ["none", "git", "docker", "all"] {
        let error = session.fails(&["--ignore", rules]);
        assert!(error.contains("cannot read") && error.contains("too long"), "{error}");
    }
    session.sh("rm -rf xxx*");
}

#[test]
fn what_cannot_be_hashed_is_an_error() {
    let session = some();
    session.sh("mkfifo src/fifo");
    let error = session.fails(&ALL);
    assert!(error.contains("`src/fifo` is a FIFO"), "{error}");
    session.write(".dockerignore", "src/fifo");
    session.ok(&["--ignore", "docker"]);
}

/// `BuildKit` makes an empty file of a socket, the other engines leave it out.
#[test]
fn a_socket_is_what_the_engine_makes_of_it() {
    let session = some().folder("run");
    let _socket = UnixListener::bind(session.path("run/socket")).expect("a socket");
    session.chmod("run/socket", 0o755);
    let manifest = |args: &str| session.sh(&format!("hashctx -q --manifest {args}"));
    let empty = "exec af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  run/socket\n";
    assert!(manifest("--ignore none").contains(empty));
    assert!(manifest("--ignore none --mode full").contains(&empty.replace("exec", "file:0755")));
    for engine in ["docker", "podman"] {
        let manifest = manifest(&format!("--ignore none --engine {engine}"));
        assert!(!manifest.contains("socket") && manifest.contains("dir run\n"), "{manifest}");
    }
    assert!(!manifest("--ignore git").contains("run"), "git knows no sockets");
    let tar =
        |args: &str| session.sh(&format!("hashctx --ignore none --tar {args} | tar -tvf - | grep run/"));
    let (with, without) = (tar(""), tar("--engine podman"));
    assert!(with.contains("-rwxr-xr-x 0/0               0 "), "{with}");
    assert!(without.contains("run/") && !without.contains("socket"), "{without}");
    let listed = |engine: &str| {
        session.sh(&format!("echo run/socket | hashctx --files-from - --list --engine {engine}"))
    };
    assert_eq!((listed("buildkit").as_str(), listed("docker").as_str()), ("run/socket\n", ""));
}

#[test]
fn pipes_keep_nobody_waiting() {
    let session = some();
    session.write(".dockerignore", "CACHEDIR.TAG\nDockerfile\n");
    session.sh("mkfifo CACHEDIR.TAG src/CACHEDIR.TAG Dockerfile");
    assert!(session.fails(&ALL).contains("CACHEDIR.TAG` is a FIFO"));
    session.sh("rm src/CACHEDIR.TAG");
    session.ok(&["--ignore", "docker"]);
    assert!(session.sh("hashctx --tar --ignore docker 2>&1 >/dev/null || true").contains("`./Dockerfile`"));
    session.sh("rm .dockerignore CACHEDIR.TAG Dockerfile; mkfifo .dockerignore");
    assert!(session.fails(&["--ignore", "docker"]).contains("it is not a regular file"));
}

#[test]
fn a_folder_named_as_an_ignore_file_is_none() {
    let session = some();
    session.sh("mkdir .dockerignore");
    session.ok(&["--ignore", "docker"]);
    session.fails(&["--ignore", "docker", "--engine", "docker"]);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let session = some();
    session.sh("chmod 0 src/b");
    // Root reads everything.
    if fs::File::open(session.path("src/b")).is_err() {
        let error = session.fails(&ALL);
        assert!(error.contains("`src/b`") && error.contains("ermission denied"), "{error}");
        session.sh("chmod 644 src/b; chmod 0 src");
        session.fails(&ALL);
        session.sh("chmod 755 src");
    }
    let error = session.fails(&["nowhere"]);
    assert!(error.contains("`nowhere` does not exist") && !error.contains("--check-ignore"), "{error}");
    assert!(session.fails(&["a"]).contains("`a` is not a folder"));
    assert!(session.fails(&["nowhere", "--check-ignore", "a"]).contains("before `--check-ignore`"));
    session.fails(&["-f", "nowhere", "."]);
}

#[test]
fn a_bad_pattern_is_shown_where_it_stands() {
    let session = some().file(".dockerignore", "ok\n[a-]\n");
    let error = session.fails::<&str>(&[]);
    assert!(error.contains(".dockerignore:2") && error.contains("[a-]") && error.contains("──"), "{error}");
    session.ok(&ALL);
}

#[test]
fn a_store_is_never_an_input() {
    let session = some().folder("cache/images");
    let without = session.ok(&["--list", "--ignore", "none"]);
    session.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# larder store\n");
    session.write("cache/images/blob", "x");
    let output = session.command(&["--list", "--ignore", "none"]).output().expect("hashctx");
    assert_eq!(String::from_utf8_lossy(&output.stdout), without.replace("cache/images\n", ""));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`cache` is a larder store"));
    let error = session.fails(&["--strict", "--ignore", "none"]);
    assert!(error.contains("--strict") && error.contains("`cache`"), "{error}");
    session.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# another's\n");
    assert!(session.ok(&["--list", "--ignore", "none"]).contains("cache/images/blob"));
    session.write("cache/CACHEDIR.TAG", "# larder store\n");
    session.fails(&["cache"]);
}
