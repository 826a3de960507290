//! Stored images by their names and by the beginnings of their keys.

use std::fs;

use larder_tests::Ran;
use serde_json::json;

use crate::kit::session::Session;
use crate::kit::tars::{docker, layer};

const ONE: &str = "3f2a000000000000000000000000000000000000000000000000000000000001";
const TWO: &str = "3f2a000000000000000000000000000000000000000000000000000000000002";
const OTHER: &str = "cafe000000000000000000000000000000000000000000000000000000000003";

/// Three images: `app:1`, `app:2`, and one that larder.toml calls `tool`.
fn saved() -> Session {
    let session = Session::new();
    let save = |key: &str, name: &str, flags: &str| {
        session.feed(&format!("import {key} {flags}"), &docker(name, &[&layer("file", key)]).end()).ok();
    };
    save(ONE, "app:1", "");
    save(TWO, "app:2", "");
    save(OTHER, "other:latest", "--image tool");
    session
}

/// Runs without any engine.
fn run(session: &Session, words: &str) -> Ran {
    let mut command = session.command(words);
    command.env("DOCKER_HOST", "unix:///nowhere").env("LARDER_DOCKER", "false");
    Ran::of(&mut command)
}

/// Every command that asks for a stored image, with what it is asked for as KEY.
const ASKING: [&str; 10] = [
    "has KEY",
    "info KEY",
    "info KEY --inputs",
    "info KEY --manifest",
    "export KEY out.tar",
    "extract KEY / -C out",
    "load KEY --engine docker",
    "push KEY 127.0.0.1:1/app:1",
    "verify KEY",
    "rm KEY",
];

#[test]
fn every_command_takes_names_and_beginnings_and_says_the_key() {
    for (text, key, how) in [
        ("app:1", ONE, ", the newest of that name"),
        ("tool", OTHER, ", the newest of that name"),
        ("cafe", OTHER, ""),
    ] {
        let session = saved();
        assert_eq!(session.run(&format!("has {key}")).ok().stderr(), "", "a key says itself");
        for command in ASKING {
            run(&session, &command.replace("KEY", text)).says(&format!("`{text}` is `{key}`{how}"));
        }
        session.run(&format!("has {key}")).ends(1);
        assert_eq!(session.run("ls --json").ok().stdout().lines().count(), 2);
    }
}

#[test]
fn of_several_keys_that_begin_so_none_is_taken() {
    let session = saved();
    for command in ASKING.into_iter().chain(["tag KEY new:1"]) {
        let run =
            run(&session, &command.replace("KEY", "3f2a")).ends(2).says("`3f2a` is the beginning of 2 keys");
        for (key, name) in [(ONE, "app:1"), (TWO, "app:2")] {
            let said = run.stderr();
            let line = said.lines().find(|line| line.contains(key)).unwrap();
            assert!(line.ends_with(name), "{line}");
        }
        assert!(run.bytes().is_empty());
    }
    // Nor of those that are named with it.
    session.run("rm cafe 3f2a").ends(2);
    assert_eq!(session.run("ls --json").ok().stdout().lines().count(), 3);
    session.run(&format!("rm {}", &ONE[..63])).ends(2);
    session.run(&format!("rm {ONE}")).ok();
    session.run("rm 3f2a").ok().says(&format!("`3f2a` is `{TWO}`"));
}

#[test]
fn an_image_that_is_named_twice_is_removed_once() {
    let session = saved();
    session.run("rm cafe tool").ok();
    session.run("rm app:1 nothing").ends(1).says("nothing is stored under `nothing`");
    assert_eq!(session.run("ls --json").ok().stdout().lines().count(), 1);
}

#[test]
fn fewer_than_four_digits_are_refused_and_a_miss_stays_a_miss() {
    let session = saved();
    for command in ASKING.into_iter().filter(|command| !command.starts_with("verify")) {
        let said = "nothing is stored under `caf`: the beginning of a key has at least 4 hex digits";
        run(&session, &command.replace("KEY", "caf")).ends(1).says(said);
        run(&session, &command.replace("KEY", "cafe1")).ends(1);
        run(&session, &command.replace("KEY", "team/app:1")).ends(1);
        run(&session, &command.replace("KEY", &"a".repeat(64))).ends(1);
    }
    session.run("verify caf").ends(2).says("nothing is stored under `caf`");
    session.run("info a@b").ends(2).says("neither a key nor an image name");
}

#[test]
fn a_save_is_under_the_key_as_it_is_written() {
    let session = saved();
    let archive = docker("x:1", &[&layer("file", "new")]).end();
    for key in ["cafe", "tool", "app"] {
        session.feed(&format!("import {key}"), &archive).ok().says(&format!("saved {key}"));
        assert_eq!(session.run(&format!("info {key} --json")).ok().json()["key"], json!(key));
    }
    session.feed("import app:1", &archive).ends(2).says("is not a key");
}

#[test]
fn a_damaged_key_file_is_removed_by_its_beginning() {
    let session = saved();
    fs::write(session.store().images().folder().join("keys").join(OTHER), "damaged").unwrap();
    session.run("info cafe").ends(3);
    session.run("rm cafe").ok();
    session.run("info cafe").ends(1);
}
