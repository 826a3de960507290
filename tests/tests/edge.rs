//! The edge of every tool: a stdout that nobody reads, signals, settings that cannot be used.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;

use larder_tests::{Session, signal, until_it_listens};

/// A session with an image under `sound` and a damaged one under `damaged`.
fn damaged() -> Session {
    let session = Session::new();
    session.run("mkdir a b && echo a >a/f && head -c 100000 /dev/urandom >b/f").ok();
    session.run("imgtar pack -q sound a && imgtar pack -q damaged b").ok();
    let blob = &session.blobs()[0];
    session.run(&format!("chmod u+w {blob} && truncate -s -1 {blob}")).ok();
    session
}

#[test]
fn a_verdict_that_nobody_reads_is_a_verdict() {
    let session = damaged();
    session.run_unread("imgtar verify").ends(3);
    session.run_unread("imgtar verify --json").ends(3);
    let session = session.file("c/f", "1").file("old", "");
    session.run("hashctx --manifest c >old").ok();
    session.run_unread("hashctx --diff old c").ends(0);
    session.write("c/f", "2");
    session.run_unread("hashctx --diff old c").ends(1);
    session.run_unread("hashctx c --check-ignore f").ends(1);
    session.run_unread("hashctx -f none c").ends(2);
    session.run_unread("pkgcache verify").ends(0);
    session.run_unread("imgtar info sound-not-there").ends(1);
}

#[test]
fn a_change_that_nobody_reads_is_made() {
    let session = damaged();
    session.run_unread("imgtar pack --json more a").ends(0);
    session.run_unread("gcctl clean --json").ends(0);
    assert_eq!(session.run("imgtar ls --json").ok().stdout(), "");
    session.run_unread("gcctl undo").ends(1).says("could not be brought back");
    session.run("imgtar has more").ok();
}

#[test]
fn a_listing_that_nobody_reads_ends_quietly() {
    let session = damaged();
    for line in ["imgtar ls", "imgtar info sound", "gcctl ls", "gcctl df", "gcctl plan", "hashctx --list a"] {
        session.run_unread(line).ends(0);
    }
    session.run_unread("imgtar export sound").quiet().ends(0);
    session.run_unread("hashctx --tar a").quiet().ends(0);
}

#[test]
fn a_tar_whose_reader_goes_leaves_its_key() {
    let session = Session::new().file("a/f", "1");
    session.run_unread("hashctx --tar --key-file ../key a").ends(0);
    session.run("hashctx --check ../key a").ok();
}

/// Sends the signal, and gives what the process ended with and said.
fn signalled(mut child: Child, signal: &str) -> (Option<i32>, String) {
    larder_tests::signal(&child, signal);
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    // Its stdin stays open until it has ended.
    let stdin = child.stdin.take();
    let code = child.wait().expect("a process").code();
    drop(stdin);
    (code, said)
}

const SIGNALS: [(&str, i32, &str); 3] =
    [("INT", 130, "SIGINT"), ("TERM", 143, "SIGTERM"), ("HUP", 129, "SIGHUP")];

#[test]
fn a_signal_leaves_no_unfinished_file_and_says_one_line() {
    let session = Session::new();
    session.run("mkdir d && head -c 8M /dev/urandom >d/data").ok();
    session.run("imgtar pack -q made d --store ../other && imgtar export -q made ../image.tar --compress none --store ../other").ok();
    let archive = std::fs::read(session.aside("image.tar")).expect("an archive");
    for (signal, code, name) in SIGNALS {
        let mut import = session.start("exec imgtar import key");
        // It has taken all but what fits into the pipe, and waits for the rest.
        import.stdin.as_mut().expect("a pipe").write_all(&archive[..archive.len() * 3 / 4]).expect("a pipe");
        assert_ne!(session.run("find ../store -name '.tmp-*'").stdout(), "", "nothing has been begun");
        assert_eq!(signalled(import, signal), (Some(code), format!("imgtar: stopped by {name}\n")));
        assert_eq!(session.run("find ../store -name '.tmp-*'").stdout(), "");
    }
    session.run("imgtar verify && imgtar import -q key ../image.tar").ok();
}

#[test]
fn a_tool_that_waits_for_its_input_heeds_every_signal() {
    let session = Session::new().file("f", "1");
    session.run("imgtar init").ok();
    for (line, tool) in
        [("hashctx --files-from -", "hashctx"), ("gcctl apply", "gcctl"), ("imgtar import k", "imgtar")]
    {
        for (signal, code, name) in SIGNALS {
            let child = session.start(&format!("exec {line}"));
            until_it_listens(&child);
            assert_eq!(
                signalled(child, signal),
                (Some(code), format!("{tool}: stopped by {name}\n")),
                "{line}"
            );
        }
    }
}

#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let session = Session::new().file("f", "1");
    let mut child = session.start("trap '' HUP; exec hashctx --files-from -");
    until_it_listens(&child);
    signal(&child, "HUP");
    child.stdin.take().expect("a pipe").write_all(b"f\n").expect("a pipe");
    let mut key = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut key).expect("UTF-8");
    assert_eq!((child.wait().expect("hashctx").code(), key.trim().len()), (Some(0), 64));
}

#[test]
fn settings_that_cannot_be_read_are_a_warning_where_nothing_asks_for_them() {
    let session = Session::new().file("f", "1");
    let key = session.run("hashctx").quiet().ok().stdout();
    session.run("mkdir -p ../home/.config/larder/config.toml").ok();
    for line in ["hashctx", "env -u LARDER_DIR hashctx", "hashctx --store ../other"] {
        assert_eq!(session.run(line).ok().says("config.toml").says("warning").stdout(), key);
    }
    session.run("hashctx -q").quiet().ok();
    session.run("imgtar ls").ok().says("config.toml");
    // Where the store is, and what the limits are, could stand in it.
    session.run("env -u LARDER_DIR imgtar ls").ends(2).says("config.toml");
    session.run("gcctl run").ends(2).says("config.toml");
}
