//! `run --record`: what each command was given, also where several run at the same time.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use larder_tests::{Part, Ran, Session, have};
use serde_json::{Value, json};
use storekit::Digest;

use crate::support::{Origin, Request, answer, session};

const FRESH: &str = "cache-control: max-age=600";

/// The line `run --record NAME.ndjson --as NAME -- sh -c SCRIPT`, with the origin at `/a/`.
fn run(session: &Session, origin: &Origin, name: &str, script: &str) -> std::process::Command {
    let mut run = session.command(&format!("run --record {name}.ndjson --as {name}"));
    run.arg("--upstream").arg(format!("a={}", origin.url())).args(["--", "sh", "-c", script]);
    run
}

/// The lines of a record: the first, and the others.
fn record(session: &Session, name: &str) -> (Value, Vec<Value>) {
    let text = std::fs::read_to_string(session.path(&format!("{name}.ndjson"))).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines.remove(0), lines)
}

/// The paths of the objects in a record.
fn paths(session: &Session, name: &str, origin: &Origin) -> Vec<String> {
    let url = |line: &Value| line["url"].as_str().unwrap().replace(&origin.url(), "");
    record(session, name).1.iter().map(url).collect()
}

/// A command that runs until its stdin ends; what it is told meanwhile it does.
struct Shell(Child);

impl Shell {
    fn start(session: &Session, origin: &Origin, name: &str) -> Self {
        let script = "while read -r line; do eval \"$line\"; done";
        let mut command = run(session, origin, name, script);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(piped.spawn().unwrap())
    }

    /// Runs the line, which has to print one.
    fn does(&mut self, line: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while self.0.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            said.push(byte[0]);
        }
        String::from_utf8(said).unwrap()
    }

    fn gets(&mut self, path: &str) {
        let got = self
            .does(&format!("curl -sS --retry 9 --retry-connrefused \"$LARDER_PKGCACHE_URL/a{path}\"; echo"));
        assert_eq!(got, "body");
    }

    fn end(mut self) -> Ran {
        drop(self.0.stdin.take());
        Ran::after("run", self.0).ok()
    }
}

#[test]
fn what_a_command_was_given_is_on_record() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let get = "for path in x y x 'z?token=secret'; do curl -sS \"$LARDER_PKGCACHE_URL/a/$path\"; done; \
               curl -sSI \"$LARDER_PKGCACHE_URL/a/head\"; echo; echo $LARDER_PKGCACHE_URL";
    let first = Ran::of(&mut run(&session, &origin, "one", get)).ok();
    assert_eq!(first.stderr(), "pkgcache: 1 hit, 4 misses, 12B from upstream, 4B saved\n");
    let (head, objects) = record(&session, "one");
    assert_eq!((&head["version"], &head["objects"], &head["bytes"]), (&json!(2), &json!(3), &json!(12)));
    assert_eq!((&head["left_out"], &head["complete"]), (&json!(0), &json!(true)));
    assert_eq!(paths(&session, "one", &origin), ["/x", "/y", "/z"]);
    let mut first_of_all = objects[0].clone();
    let time = first_of_all.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    let entry = first_of_all.as_object_mut().unwrap().remove("entry").unwrap();
    let entry = session.store().join("packages/entries").join(entry.as_str().unwrap());
    assert!(std::fs::read_to_string(&entry).unwrap().contains("/x\""), "{entry}");
    let kept = first_of_all.as_object_mut().unwrap().remove("kept").unwrap();
    let kept = session.store().join("packages/entries").join(kept.as_str().unwrap());
    assert!(std::fs::read_to_string(&kept).unwrap().contains("/x#given="), "{kept}");
    let digest = Digest::of(b"body");
    let expected =
        json!({ "url": format!("{}/x", origin.url()), "ecosystem": "generic", "digest": digest, "bytes": 4 });
    assert_eq!(first_of_all, expected);
    // The same again asks nobody, at the same address, and gives the same.
    let again = Ran::of(&mut run(&session, &origin, "one", get)).ok();
    assert!(again.stderr().contains("0B from upstream"), "{}", again.stderr());
    assert_eq!(again.stdout().lines().last(), first.stdout().lines().last());
    assert_eq!(paths(&session, "one", &origin), ["/x", "/y", "/z"]);
    // One that fetches nothing has a record that says so.
    Ran::of(&mut run(&session, &origin, "two", "exit 3")).ends(3);
    assert_eq!(record(&session, "two").1, [json!(null); 0]);
    let ran = session.run("record -o three.ndjson --upstream a=http://127.0.0.1:9/ -- true");
    assert!(ran.ok().stderr().contains("the record is empty"));
}

#[test]
fn commands_that_run_at_once_are_told_apart_and_fetch_once() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let mut first = Shell::start(&session, &origin, "first");
    first.gets("/shared");
    let mut second = Shell::start(&session, &origin, "second");
    second.gets("/shared");
    second.gets("/second");
    first.gets("/first");
    let url = "echo $LARDER_PKGCACHE_URL";
    assert_ne!(first.does(url), second.does(url));
    // What comes in at the store's own address is nobody's.
    let plain = format!("run --upstream a={} -- curl -sS -o got", origin.url());
    Ran::of(session.command(&plain).arg("http://127.0.0.1:1").env("no_proxy", "x")).fails();
    let told = second.end().stderr();
    assert_eq!(told, "pkgcache: 1 hit, 1 miss, 4B from upstream, 4B saved\n");
    assert_eq!(first.end().stderr(), "pkgcache: 0 hits, 2 misses, 8B from upstream, 0B saved\n");
    assert_eq!(paths(&session, "first", &origin), ["/first", "/shared"]);
    assert_eq!(paths(&session, "second", &origin), ["/second", "/shared"]);
    assert_eq!(origin.count("GET", "/shared"), 1);
}

#[test]
fn a_record_goes_on_where_another_command_begins_to_serve() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let mut commands: Vec<_> = ["first", "second", "third"]
        .iter()
        .map(|name| {
            let mut shell = Shell::start(&session, &origin, name);
            shell.gets(&format!("/{name}/1"));
            shell
        })
        .collect();
    // The one that serves ends, and its place is taken; then that one ends.
    commands.remove(0).end();
    for (shell, name) in commands.iter_mut().zip(["second", "third"]) {
        shell.gets(&format!("/{name}/2"));
    }
    commands.remove(0).end();
    commands[0].gets("/third/3");
    commands.remove(0).end();
    assert_eq!(paths(&session, "first", &origin), ["/first/1"]);
    assert_eq!(paths(&session, "second", &origin), ["/second/1", "/second/2"]);
    assert_eq!(paths(&session, "third", &origin), ["/third/1", "/third/2", "/third/3"]);
    for name in ["first", "second", "third"] {
        assert_eq!(record(&session, name).0["complete"], true, "{name}");
    }
}

#[test]
fn a_record_whose_first_part_is_lost_is_not_complete() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    let mut first = Shell::start(&session, &origin, "first");
    first.gets("/first");
    let mut second = Shell::start(&session, &origin, "second");
    second.gets("/before");
    // Killed, so that it can tell nobody.
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert!(!session.path("first.ndjson").exists());
    second.gets("/after");
    second.end();
    assert_eq!(paths(&session, "second", &origin), ["/after"]);
    assert_eq!(record(&session, "second").0["complete"], false);
}

#[test]
fn a_build_that_may_take_steps_from_the_engines_cache_has_no_complete_record() {
    if !have(&[Part::Curl]) {
        return;
    }
    let (origin, session) = (Origin::fixed(FRESH, "body"), session());
    session.write("Dockerfile", "FROM scratch\nRUN make\n");
    let docker = session.script("bin/docker", "exec curl -sS \"$LARDER_PKGCACHE_URL/a/x\"");
    for (words, complete) in [("build .", false), ("build --no-cache .", true), ("run x", true)] {
        let mut build = session.command("run --record build.ndjson");
        build.arg("--upstream").arg(format!("a={}", origin.url())).arg("--").arg(&docker);
        Ran::of(build.args(words.split(' ')).env("DOCKER_BUILDKIT", "1")).ok();
        assert_eq!(record(&session, "build").0["complete"], complete, "{words}");
        assert_eq!(paths(&session, "build", &origin), ["/x"]);
    }
}

#[test]
fn a_download_that_outlives_its_command_is_no_harm() {
    if !have(&[Part::Curl]) {
        return;
    }
    let slow = Origin::new(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncache-control: max-age=600\r\n\r\nbody";
        let _ = stream.write_all(head.as_bytes());
        // The rest never comes.
        let _ = stream.read(&mut [0; 64]);
    });
    let session = session();
    let script = "curl -sSN \"$LARDER_PKGCACHE_URL/a/slow\" >got & until [ -s got ]; do :; done; kill $!";
    let ran = Ran::of(&mut run(&session, &slow, "slow", script)).ok();
    assert_eq!(paths(&session, "slow", &slow), ["/slow"], "{ran}");
    let object = &record(&session, "slow").1[0];
    assert!(object["bytes"] == 4 && object.get("digest").is_none(), "{object}");
}

#[test]
fn a_replay_gives_what_was_given_and_what_was_not_there_is_not_there_again() {
    if !have(&[Part::Curl]) {
        return;
    }
    let script = |request: &Request, stream: &mut std::net::TcpStream| {
        let status = if request.path.starts_with("/none") { 404 } else { 200 };
        drop(stream.write_all(&answer(status, FRESH, request.path.as_bytes())));
    };
    let (origin, session) = (Origin::new(script), session());
    let get = |paths: &str| {
        format!(
            "for path in {paths}; do curl -s -o /dev/null -w '%{{http_code}}\\n' \"$LARDER_PKGCACHE_URL/a/$path\"; done; echo $LARDER_PKGCACHE_URL"
        )
    };
    let replay = |record: &str, paths: &str| {
        let mut replay = session.command(&format!("replay {record} --as one"));
        replay.arg("--upstream").arg(format!("a={}", origin.url()));
        Ran::of(replay.args(["--", "sh", "-c", &get(paths)]))
    };
    let first = Ran::of(&mut run(&session, &origin, "one", &get("x none z?s=1"))).ok();
    let absent = record(&session, "one").1.into_iter().find(|it| it["status"] == 404).unwrap();
    assert!(absent["url"].as_str().unwrap().ends_with("/none") && absent["entry"].is_string(), "{absent}");
    let asked = origin.count("GET", "/");
    let again = replay("one.ndjson", "x none z?s=1").ok();
    let codes = |ran: &Ran| {
        let lines = ran.stdout();
        lines.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // At the same address, too.
    assert_eq!(codes(&again), codes(&first), "{again}");
    let other = replay("one.ndjson", "x y z?s=2").ok();
    assert_eq!(codes(&other)[..3], ["200", "504", "504"], "{other}");
    assert!(other.stderr().contains("2 requests could not be served"), "{other}");
    assert!(other.stderr().contains("/y: it is not in the record that is replayed"), "{other}");
    assert_eq!(origin.count("GET", "/"), asked, "a replay asked");
    // What is not stored any more is named before anything is run.
    let digest = Digest::of(b"/x").hex();
    std::fs::remove_file(session.store().join("packages/blobs/sha256").join(digest)).unwrap();
    let lost = replay("one.ndjson", "x").ends(1);
    assert!(lost.stderr().contains("/x: it is not stored") && lost.stdout().is_empty(), "{lost}");
    // So it is on another machine, which has no store yet.
    let elsewhere = replay("one.ndjson --store elsewhere", "x").ends(1);
    assert!(
        elsewhere.stderr().contains("/x: it is not stored") && elsewhere.stdout().is_empty(),
        "{elsewhere}"
    );
    // Paths in a record lead nowhere else, and what is not one is said.
    let text = std::fs::read_to_string(session.path("one.ndjson")).unwrap();
    session.write("bad.ndjson", text.replace("\"kept\":\"", "\"kept\":\"../../../"));
    replay("bad.ndjson", "x").ends(1);
    session.write("old.ndjson", text.replace("\"version\":2", "\"version\":1"));
    replay("old.ndjson", "x").ends(2).says("record anew");
    session.write("new.ndjson", text.replace("\"version\":2", "\"version\":9"));
    replay("new.ndjson", "x").ends(2).says("it is of version 9");
    replay("larder.toml", "x").ends(2).says("is not a record");
}
