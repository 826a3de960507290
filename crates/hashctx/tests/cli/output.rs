//! What hashctx prints and writes beside the key.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use larder_tests::{reviewed, signal, until_it_waits};

use crate::session::Session;

fn some() -> Session {
    Session::new()
        .file("a", "1")
        .file("src/b", "2")
        .link("l", "src/b")
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
}

#[test]
fn the_manual_is_reviewed() {
    let session = Session::new();
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/help.txt"), &session.ok(&["--help"]));
}

#[test]
fn bad_usage_is_trouble() {
    let session = some();
    session.fails(&["--nonsense"]);
    session.fails(&["--target", "x"]);
    session.fails(&["--input", "novalue"]);
    session.fails(&["--manifest", "--list"]);
    session.fails(&["-f", "Dockerfile", "--base", "x=latest", "."]);
    session.fails(&["--threads", "0"]);
    assert!(session.fails(&["-f", "-", "."]).contains("write the Dockerfile to a file"));
    session.fails(&["--write", "-"]);
    assert!(!session.path("-").exists());
    session.write("Dockerfile", "FROM scratch\n");
    for platform in ["", "bogus", "linux/", "a/b/c/d", "linux/amd64,linux/arm64"] {
        let error = session.fails(&["-f", "Dockerfile", "--platform", platform, "."]);
        assert!(error.contains("OS/ARCH[/VARIANT]"), "{error}");
    }
    session.ok(&["-f", "Dockerfile", "--platform", "linux/arm/v7", "."]);
}

#[test]
fn a_difference_is_explained() {
    let session = some().file("old", "moved").file("gone", "x");
    let saved = session.root().with_file_name("saved");
    let saved = saved.to_str().expect("text");
    session.sh(&format!("hashctx --manifest --input v=1 > {saved}"));
    assert_eq!(session.ok(&["--input", "v=1", "--diff", saved]), "");
    session.sh("echo 3 > a; mv old new; chmod +x src/b; rm gone; echo 4 > more");
    let lines =
        "input-changed v\nchanged a\nremoved gone\nadded more\nrenamed old -> new\nmode-changed src/b\n";
    assert_eq!(session.output(&["--input", "v=2", "--diff", saved], 1), lines);
    assert_eq!(session.output(&["--input", "v=2", "--diff", saved, "."], 1), lines);
    let other = format!("{saved}2");
    session.sh(&format!("hashctx --manifest --input v=2 > {other}"));
    assert_eq!(session.output(&["--diff", saved, &other], 1), lines);
    let json = session.output(&["--json", "--diff", saved, &other], 1);
    assert!(json.contains(r#"{"change":"input-changed","name":"v"}"#), "{json}");
    assert!(json.lines().any(|line| line.contains("renamed") && line.contains(r#""from":"old""#)), "{json}");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let session = some();
    session.write("m", "nonsense\n");
    assert!(session.fails(&["--diff", "m"]).contains("not a manifest"));
    session.write("m", "hashctx manifest 2\n");
    assert!(session.fails(&["--diff", "m"]).contains("version 2"));
    session.write("m", "hashctx manifest 1\nfile 12  a\n");
    assert!(session.fails(&["--diff", "m"]).contains("this line"));
}

/// Whatever a file says, it says it to the reader and not to the terminal.
#[test]
fn no_file_steers_the_terminal() {
    let session = some();
    let steers = |said: &str| said.contains(|c: char| c.is_control() && c != '\n' && c != '\t');
    let said = |args: &[&str]| {
        let output = session.command(args).output().expect("hashctx");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert!(!steers(&said), "{said:?}");
        said
    };
    session.write(".dockerignore", "a\r\n[\x1b[31m\r\n");
    assert!(said(&[]).contains("`[\u{fffd}[31m` is not a pattern"));
    session.write(".dockerignore", "*\x1b*\n");
    said(&["--check-ignore", "x\x1b"]);
    session.write("Dockerfile", "FROM a\r\n\x1b[31mRUN\x07 x\r\n");
    assert!(said(&["-f", "Dockerfile", "."]).contains("Dockerfile:2: "));
    session.write("Dockerfile", "FROM a\x1b[31m\nADD https://x\x1b /\n");
    said(&["-f", "Dockerfile", "."]);
    said(&["--strict", "-f", "Dockerfile", "."]);
    session.write("m", "hashctx manifest 1\nnonsense\x1b[31m\n");
    assert!(said(&["--diff", "m"]).contains("nonsense\u{fffd}[31m"));
    session.write("m", "hashctx manifest 2\x1b[31m\n");
    said(&["--diff", "m"]);
    session.write(".dockerignore", "");
    session.sh("hashctx --manifest --input $'x\\x1b=1' > ../with");
    assert!(said(&["--diff", "../with"]).contains("input-changed x\\x1b\n"));
}

#[test]
fn values_of_args_appear_nowhere() {
    let session = some();
    session.write("Dockerfile", "FROM scratch\nARG A FROM_ENV\n");
    let args =
        ["-f", "Dockerfile", "--build-arg", "A=hunter2", "--build-arg", "FROM_ENV", "--input", "x=hunter4"];
    let manifest = session.ok(&[&args[..], &["--manifest", "."]].concat());
    assert!(!manifest.contains("hunter") && manifest.contains("arg FROM_ENV "), "{manifest}");
    let json = session.ok(&[&args[..], &["--manifest", "--json", "."]].concat());
    assert!(!json.contains("hunter"), "{json}");
}

/// Whatever an arg decides, it is named and its value is not shown.
#[test]
fn values_of_args_that_name_an_image_appear_nowhere() {
    let session = Session::new();
    let saved = session.root().with_file_name("saved");
    let saved = saved.to_str().expect("text");
    let file = "ARG A=x\nARG B=$A\nARG P=$BUILDPLATFORM\nFROM --platform=$P reg/$B:1 AS b\nFROM scratch\nCOPY --from=b / /\n";
    session.write("Dockerfile", file);
    let flags = |value| ["-f", "Dockerfile", "--build-arg", value, "--build-arg", "U=1", "."];
    for what in ["--json", "--manifest", "-v", "--strict"] {
        let output = session.command(&[&[what][..], &flags("A=hunter2")].concat()).output().expect("hashctx");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert!(!said.contains("hunter") && (what == "--manifest" || said.contains("reg/$B:1")), "{said}");
    }
    session.sh(&format!("hashctx -q {} --manifest > {saved}", flags("A=hunter2").join(" ")));
    let differs = |value, lines| {
        assert_eq!(session.output(&[&["-q", "--diff", saved][..], &flags(value)].concat(), 1), lines);
    };
    differs("A=hunter3", "dockerfile-changed\narg-changed A\n");
    differs("A=x", "dockerfile-changed\narg-changed A\n");
    assert_eq!(
        session.ok(&flags("A=x")),
        session.ok(&["-f", "Dockerfile", "."]),
        "what is the default does not count"
    );
    let base = format!("reg/hunter2:1=sha256:{}", "a".repeat(64));
    session.ok(&[&["--strict", "--base", &base][..], &flags("A=hunter2")].concat());
}

#[test]
fn proxy_args_never_count() {
    let session = some();
    let key = session.ok(&["-f", "Dockerfile", "."]);
    let proxied =
        ["-f", "Dockerfile", "--build-arg", "HTTP_PROXY=http://x", "--build-arg", "no_proxy=y", "."];
    assert_eq!(session.ok(&proxied), key);
}

#[test]
fn a_key_is_kept_beside_the_sources() {
    let session = some();
    session.ok(&["--write", ".key"]);
    session.ok(&["--check", ".key"]);
    session.write("a", "other");
    session.output(&["--check", ".key"], 1);
    assert!(session.fails(&["--check", "missing"]).contains("write it first"));
    assert!(session.fails(&["--diff", "missing"]).contains("save one first"));
    assert!(session.fails(&["-f", "missing", "."]).contains("name the Dockerfile"));
}

#[test]
fn given_files_are_hashed_and_no_others() {
    let session = some().file("new\nline", "x").file(".gitignore", "a\n");
    assert_eq!(session.sh("printf 'a\\n./src/b\\n' | hashctx --files-from - --list"), "a\nsrc/b\n");
    assert_eq!(
        session.sh("find . -print0 | hashctx --files-from - -0 --manifest"),
        session.ok(&["--ignore", "none", "--manifest"])
    );
    session.write("list", "../ctx/a\n");
    assert!(session.fails(&["--files-from", "list"]).contains("is not a path below"));
    session.write("list", "missing\n");
    let error = session.fails(&["--files-from", "list"]);
    assert!(error.contains("`missing` is in the list") && !error.contains("ignore file"), "{error}");
}

/// It would be one key for every project whose list could not be had.
#[test]
fn an_empty_list_is_refused() {
    let session = some();
    for list in ["", "\n\n", ".\n", "./\n"] {
        session.write("list", list);
        assert!(session.fails(&["--files-from", "list"]).contains("the list in `list` names no path"));
        assert!(session.fails(&["--files-from", "list", "--tar"]).contains("--allow-"));
    }
    assert_eq!(session.ok(&["--files-from", "list", "--allow-empty", "--manifest"]), "hashctx manifest 1\n");
    session.fails(&["--allow-empty"]);
}

#[test]
fn a_listed_folder_stands_for_nothing_that_is_in_it() {
    let session = some().folder("empty").file("deep/er/f", "");
    for folder in ["src", "deep", "deep/er/"] {
        session.write("list", format!("a\n{folder}\n"));
        assert!(
            session.fails(&["--files-from", "list"]).contains("names nothing of what is in it"),
            "{folder}"
        );
    }
    session.write("list", "src\nsrc/b\nempty\ndeep\ndeep/er/f\n");
    assert_eq!(session.ok(&["--files-from", "list", "--list"]), "deep/er/f\nempty\nsrc/b\n");
    session.write("store/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# larder store\n");
    session.write("list", "a\nstore\n");
    assert_eq!(session.ok(&["-q", "--files-from", "list", "--list"]), "a\n");
}

/// `git ls-files` names a submodule and nothing in it: it counts as git's own view has it.
#[test]
fn a_listed_repository_counts_with_gits_files_of_it() {
    let session =
        some().file("sub/f", "1").file("sub/f.log", "1").file("sub/.gitignore", "*.log\n").file("x/y", "");
    let identity = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a";
    session.sh(&format!(
        "{identity}; git init -q sub; git -C sub add .; git -C sub commit -q -m first
        git init -q .; git add . 2>/dev/null; git init -q x"
    ));
    let listed =
        |list: &str, what: &str| session.sh(&format!("{list} | hashctx -q -0 --files-from - {what}"));
    assert_eq!(listed("git ls-files -z", "--manifest"), session.ok(&["-q", "--manifest", "--ignore", "git"]));
    let key = listed("git ls-files -z", "");
    session.write("sub/f.log", "2");
    assert_eq!(listed("git ls-files -z", ""), key);
    session.write("sub/f", "2");
    assert_ne!(listed("git ls-files -z", ""), key);
    let dirty = session.sh("git ls-files -z | hashctx --strict -0 --files-from - 2>&1 || true");
    assert!(dirty.contains("the submodule `sub` has changes"), "{dirty}");
    assert_eq!(listed("printf 'a\\0x/'", "--list"), "a\nx/y\n".replace("a\n", "a\0").replace('\n', "\0"));
    session.write(".gitignore", "/ignored/\n");
    session.sh("git init -q ignored; touch ignored/f");
    let error = session.sh("echo ignored | hashctx --files-from - 2>&1 || true");
    assert!(error.contains("names nothing of what is in it"), "{error}");
}

/// Whatever the list names of a submodule: the warnings of git's view are not lost.
#[test]
fn a_listed_submodule_has_the_warnings_of_gits_view() {
    let session = some().file("sub/f", "1").file("sub/deep/f", "1").file("sub-too/f", "1");
    let identity = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a";
    session.sh(&format!(
        "{identity}; git init -q sub; git -C sub add .; git -C sub commit -q -m first
        git init -q .; git add . 2>/dev/null"
    ));
    let said = |list: &str| session.sh(&format!("printf '{list}' | hashctx --files-from - 2>&1 >../key"));
    for list in ["sub/f\\n", "sub/deep/f\\n", "a\\nsub-too/f\\n"] {
        assert_eq!(said(list), "", "{list}");
    }
    session.write("sub/f", "2");
    assert!(said("sub/deep/f\\n").contains("the submodule `sub` has changes"));
    session.sh("rm -rf sub/.git");
    for list in ["sub/f\\n", "a\\nsub/deep/f\\nsub/f\\n"] {
        assert_eq!(said(list).matches("the submodule `sub` is not checked out").count(), 1, "{list}");
    }
    session.sh("rm -r sub/*");
    assert!(said("a\\nsub\\n").contains("the submodule `sub` is not checked out"));
    assert_eq!(said("a\\nsub-too/f\\n"), "");
}

#[test]
fn a_listed_path_beyond_a_link_is_refused() {
    let session = some().file("../outside/secret", "x").link("out", "../outside").link("in", "src");
    session.sh("ln -s out far");
    for path in ["out/secret", "far/secret", "in/b"] {
        session.write("list", format!("a\n{path}\n"));
        let said = session.fails(&["--files-from", "list"]);
        assert!(said.contains(&format!("`{path}` lies beyond the symbolic link")), "{said}");
    }
    assert_eq!(session.sh("printf 'out\nsrc/b\nin\n' | hashctx --files-from - --list"), "in\nout\nsrc/b\n");
}

#[test]
fn a_tar_holds_what_was_hashed() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    let session = some().file(&long, "x").executable("run", "#!/bin/sh\n").folder("empty");
    session.write(std::ffi::OsStr::from_bytes(b"\xffodd"), "y");
    session.write(".dockerignore", "a\n");
    let script =
        "hashctx --ignore docker --tar --key-file ../key > ../tar; mkdir ../out; tar -C ../out -xf ../tar;
        cat ../key; hashctx --ignore docker; hashctx --ignore none ../out";
    let keys = session.sh(script);
    let keys: Vec<&str> = keys.lines().collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_tar_is_the_same_every_time() {
    let tars = (0..2).map(|_| {
        let session = some();
        session.sh("umask 077; touch src; chmod 640 a");
        session.sh("hashctx --tar --ignore none -q | b3sum; SOURCE_DATE_EPOCH=1 hashctx --tar --ignore none -q | tar --utc -tvf - a")
    });
    let tars: Vec<String> = tars.collect();
    assert_eq!(tars[0], tars[1]);
    assert!(tars[0].contains("-rw-r--r-- 0/0") && tars[0].contains("1970-01-01 00:00"), "{}", tars[0]);
    let times = some().sh("hashctx --tar | tar --utc -tvf -");
    assert!(times.lines().all(|line| line.contains(" 1980-01-02 00:00 ")), "{times}");
}

#[test]
fn a_closed_pipe_is_no_trouble() {
    let session = Session::new();
    (0..5000).for_each(|n| session.write(format!("file-{n:050}"), ""));
    for what in ["--manifest", "--list", "--tar"] {
        let mut child =
            session.command(&[what]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hashctx");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ended");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn ctrl_c_ends_with_130() {
    let session = Session::new();
    (0..2000).for_each(|n| session.write(format!("file-{n}"), "x".repeat(1000)));
    let mut child = session.command(&["--tar"]).stdout(Stdio::piped()).spawn().expect("hashctx");
    let mut out = child.stdout.take().expect("stdout");
    out.read_exact(&mut [0; 512]).expect("begun");
    signal(&child, "INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
}

#[test]
fn a_file_that_changes_under_the_tar_spoils_it() {
    let session = Session::new().file("a", "x".repeat(1 << 20)).file("z", "before");
    let mut child =
        session.command(&["--tar", "--key-file", "../key"]).stdout(Stdio::piped()).spawn().expect("hashctx");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    assert!(!out.fill_buf().expect("begun").is_empty());
    until_it_waits(&child);
    // `a` is open and partly written: the pipe is full.
    let mut file = fs::OpenOptions::new().append(true).open(session.path("a")).expect("opened");
    file.write_all(b"more").expect("written");
    let mut tar = Vec::new();
    out.read_to_end(&mut tar).expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(2));
    assert!(!session.root().with_file_name("key").exists());
    assert!(tar.ends_with(&[0xff; 512]), "no header, and no end");
}

/// What is in the tar is what was hashed, whatever the file has become.
#[test]
fn a_file_that_may_change_under_the_tar_is_hashed_as_it_was_written() {
    let session = Session::new().file("a", "x".repeat(1 << 20));
    let args = ["--tar", "--allow-changing", "--key-file", "../key"];
    let mut child =
        session.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hashctx");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    assert!(!out.fill_buf().expect("begun").is_empty());
    let mut file = fs::OpenOptions::new().append(true).open(session.path("a")).expect("opened");
    file.write_all(b"more").expect("written");
    out.read_to_end(&mut Vec::new()).expect("read");
    assert_eq!(child.wait_with_output().expect("ended").status.code(), Some(0));
    session.write("a", "x".repeat(1 << 20));
    assert_eq!(session.sh("hashctx; cat ../key").lines().collect::<std::collections::BTreeSet<_>>().len(), 1);
}

#[test]
fn a_file_that_shrinks_under_the_tar_spoils_it() {
    for (length, left) in [(1 << 20, 1 << 19), ((1 << 20) + 9, 1 << 20)] {
        let session = Session::new().file("a", "x".repeat(length)).file("z", "before");
        let mut child = session.command(&["--tar"]).stdout(Stdio::piped()).spawn().expect("hashctx");
        let mut out = BufReader::new(child.stdout.take().expect("stdout"));
        assert!(!out.fill_buf().expect("begun").is_empty());
        until_it_waits(&child);
        let file = fs::OpenOptions::new().write(true).open(session.path("a")).expect("opened");
        file.set_len(left).expect("cut");
        let mut tar = Vec::new();
        out.read_to_end(&mut tar).expect("read");
        assert_eq!(child.wait().expect("ended").code(), Some(2));
        // The header of `a`, and less than it says.
        assert_eq!(tar.len() as u64, 512 + left);
    }
}
