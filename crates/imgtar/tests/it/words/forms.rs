//! How output behaves: closed pipes, JSON, quiet.

use larder_tests::Ran;
use serde_json::json;

use crate::kit::session::Session;
use crate::kit::tars::{Tar, config, docker, layer};

fn saved() -> Session {
    let session = Session::new();
    session.feed("import k", &docker("app:1", &[&layer("base", &"x".repeat(3_000_000))]).end()).ok();
    session
}

#[test]
fn a_closed_pipe_ends_an_export_quietly() {
    let session = saved();
    session.run_unread("export k --compress none").ok().quiet();
}

#[test]
fn quiet_says_nothing() {
    let session = Session::new();
    let run = session.feed("import k -q", &docker("app:1", &[&layer("a", "b")]).end()).ok();
    assert_eq!(run.quiet().stdout(), "");
}

#[test]
fn lists_are_for_people_or_for_programs() {
    let session = saved();
    let table = session.run("ls").ok().stdout();
    assert!(table.starts_with("KEY  IMAGE"), "{table}");
    let line = session.run("ls --json").ok().json();
    assert_eq!(line["key"], "k");
    assert_eq!(line["platforms"][0], "linux/amd64");
    assert!(session.run("info k").ok().stdout().contains("name      app:1"));
}

/// What a stranger wrote into an image moves no cursor and sets no title.
#[test]
fn a_strangers_words_reach_no_terminal() {
    let evil = "\u{1b}]0;evil\u{7}\u{9b}2J";
    let plain = layer("a", "b");
    let mut config = config(&[&plain]);
    for field in ["os", "architecture", "variant", "created"] {
        config[field] = json!(evil);
    }
    let list = json!([{ "Config": "c.json", "RepoTags": [evil], "Layers": ["l"] }]);
    let archive = Tar::default().json("c.json", &config).file("l", &plain).json("manifest.json", &list).end();
    let session = Session::new();
    let quiet = |run: Ran| {
        let said = run.stdout() + &run.stderr();
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{said:?}");
    };
    quiet(session.feed("import k", &archive).ok());
    for words in
        ["ls", "info k", "export k out.tar --platform x/y", "extract k /a -C out --platform x/y", "verify"]
    {
        quiet(session.run(words));
    }
    config["rootfs"]["diff_ids"][0] = json!(evil);
    for entry in [evil, "c.json"] {
        let list = json!([{ "Config": entry, "Layers": ["l"] }]);
        let archive =
            Tar::default().json(entry, &config).file("l", &plain).json("manifest.json", &list).end();
        quiet(session.feed("import other", &archive).ends(2));
    }
    // A key file of a store that somebody else made.
    let path = session.path("../store/images/keys/k");
    let text = std::fs::read_to_string(&path).unwrap();
    session.write("../store/images/keys/k", text.replace("names = []", "names = [\"\\u001b[31m\"]"));
    quiet(session.run("ls").ok());
    session.write("../store/images/keys/k", text.replace("digest = \"", "digest = \"\\u001b[31m"));
    quiet(session.run("info k").ends(3));
}

/// A path or a command in a message is there to be copied.
#[test]
fn no_line_of_a_message_is_broken() {
    let session = Session::new();
    let path = session.path(&format!("{}/nothing", ["a-folder"; 20].join("/")));
    let said = session.run(&format!("import k {path}")).ends(2).stderr();
    assert!(said.lines().any(|line| line.contains(path.as_str())), "{said}");
}
