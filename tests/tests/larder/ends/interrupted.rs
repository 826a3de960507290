//! Builds of podman that are ended in the middle of a step: nothing of them is left.

use std::fs;
use std::process::Child;

use larder_tests::{Part, Session, have, parts, signal, until};

/// A project whose image has a stage before it, and a step that takes as long as it is let.
fn project(settings: &str) -> Option<Session> {
    if !have(&[Part::Podman, Part::Base]) {
        return None;
    }
    let session = Session::new().with_podman();
    let import =
        format!("$LARDER_PODMAN import -q -c 'CMD [\"/bin/sh\"]' {} localhost/base:1", parts::base()?);
    session.run(&import).ok();
    session.write("file", "1");
    session.write(
        "Dockerfile",
        format!(
            "FROM localhost/base:1 AS one\nRUN echo 1 >/one\n\
             FROM localhost/base:1\nCOPY --from=one /one /one\nCOPY file /file\nRUN {}\n",
            step(&session)
        ),
    );
    session.write("larder.toml", format!("[image.app]\nlock = false\nengine = \"podman\"\n{settings}"));
    Some(session)
}

/// The step: its words say whose it is.
fn step(session: &Session) -> String {
    format!(": {} && sleep 100000; echo >/done", session.path(""))
}

/// The processes of the step that run.
fn running(session: &Session) -> Vec<String> {
    let is_of = |entry: &fs::DirEntry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.starts_with("/bin/sh -c : ") && words.contains(session.path("").as_str())
    };
    let entries = fs::read_dir("/proc").expect("proc").flatten().filter(is_of);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A bake that has come to the step.
fn bake(session: &Session) -> Child {
    let child = session.start("exec larder bake");
    until("the step runs", || !running(session).is_empty());
    child
}

/// No process, no working container and no file of a build is there.
#[track_caller]
fn nothing_is_left(session: &Session) {
    assert!(running(session).is_empty(), "the step runs on");
    let containers = session.run("$LARDER_PODMAN ps -a --external --format '{{.ID}} {{.Names}}'").ok();
    assert_eq!(containers.stdout(), "", "{containers}");
    assert_eq!(session.run("ls $TMPDIR | grep larder- || true").ok().stdout(), "");
}

#[test]
fn a_signal_ends_a_build_of_podman_with_all_that_belongs_to_it() {
    let Some(session) = project("") else { return };
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let child = bake(&session);
        signal(&child, name);
        let ended = child.wait_with_output().expect("larder");
        assert_eq!(ended.status.code(), Some(code), "{}", String::from_utf8_lossy(&ended.stderr));
        nothing_is_left(&session);
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_leaves_no_step() {
    let Some(session) = project("") else { return };
    let child = bake(&session);
    signal(&child, "INT");
    signal(&child, "INT");
    assert_eq!(child.wait_with_output().expect("larder").status.code(), Some(130));
    assert!(running(&session).is_empty(), "the step runs on");
}

#[test]
fn a_build_that_takes_too_long_leaves_nothing() {
    let Some(session) = project("timeout = \"5s\"\n") else { return };
    let ran = session.run("larder bake").ends(2);
    assert!(format!("{ran}").contains("it took longer than 5 s"), "{ran}");
    nothing_is_left(&session);
}

#[test]
fn what_runs_on_behind_a_killed_bake_ends_with_the_next_one() {
    let Some(session) = project("") else { return };
    let mut child = bake(&session);
    child.kill().expect("larder");
    child.wait().expect("larder");
    assert!(!running(&session).is_empty(), "podman has nobody who tells it");
    // One that is younger may be about to be locked.
    session.run("touch -d '1 minute ago' $TMPDIR/larder-bake-*").ok();
    session.write("larder.toml", "[image.other]\npack = { dir = \"d\" }\n");
    session.write("d/file", "1");
    session.run("LARDER_DOCKER=none larder bake").ok();
    nothing_is_left(&session);
}
