//! How output behaves: closed pipes, JSON, quiet.

use std::process::Stdio;

use crate::session::Session;
use crate::tars::{docker, layer};

fn saved() -> Session {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("base", &"x".repeat(3_000_000))]).end()).ok();
    session
}

#[test]
fn a_closed_pipe_ends_an_export_quietly() {
    let session = saved();
    let mut child = session.command("export k --compress none");
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn quiet_says_nothing() {
    let session = Session::new();
    let run = session.feed("import k -q", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    assert_eq!((run.stdout.len(), run.stderr.as_str()), (0, ""));
}

#[test]
fn lists_are_for_people_or_for_programs() {
    let session = saved();
    let table = session.run("ls").ok().text();
    assert!(table.starts_with("KEY  IMAGE"), "{table}");
    let line = session.run("ls --json").ok().json();
    assert_eq!(line["key"], "k");
    assert_eq!(line["platforms"][0], "linux/amd64");
    assert!(session.run("info k").ok().text().contains("name      app:1"));
}
