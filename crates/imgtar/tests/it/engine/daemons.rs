//! Docker's daemon behind its socket: the real one, and ones that a test plays.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use larder_tests::{Part, Ran, have, sh};

use crate::engine::engines::{Image, layers};
use crate::kit::session::Session;
use crate::kit::tars::{docker, id, layer};

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
const PING: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK";

/// Plays a daemon: answers each request, of which the first line is given, with what `answer`
/// writes. Ends with the test's process.
fn play(session: &Session, answer: impl Fn(&str, &mut UnixStream) + Send + Sync + 'static) {
    let listener = UnixListener::bind(session.path("docker.sock")).unwrap();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = std::sync::Arc::clone(&answer);
            thread::spawn(move || serve(stream, &*answer));
        }
    });
}

fn serve(mut stream: UnixStream, answer: &dyn Fn(&str, &mut UnixStream)) {
    // Byte by byte, so that the body stays where the answer may read it.
    let mut head = BufReader::with_capacity(1, stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if head.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        lines.push(line);
    }
    if let Some(request) = lines.first() {
        answer(request.trim(), &mut stream);
    }
}

/// Runs with the daemon that is played. Its command would tell by failing.
#[track_caller]
fn run(session: &Session, words: &str) -> Ran {
    session.script("bin/docker", "echo \"the command was asked: $*\" >&2\nexit 1");
    let path = format!("{}:{}", session.path("bin"), larder_tests::tools::path());
    let host = format!("unix://{}", session.path("docker.sock"));
    let mut command = session.command(&format!("{words} --engine docker"));
    command.env("PATH", path).env("DOCKER_HOST", host);
    Ran::of(&mut command)
}

fn stored(name: &str) -> Session {
    let session = Session::new();
    session.feed("import k", &docker(name, &[&layer("a", &"x".repeat(5_000_000))]).end()).ok();
    session
}

/// Answers as a docker that has no image, but for this request.
fn empty_but(
    start: &'static str,
    answer: impl Fn(&mut UnixStream) + Send + Sync + 'static,
) -> impl Fn(&str, &mut UnixStream) {
    move |request, stream| {
        let said = match request.split(' ').nth(1).unwrap_or_default() {
            "/_ping" => PING.to_owned(),
            path if path.starts_with(start) => return answer(stream),
            "/v1.41/info" => format!("{JSON}{{\"Driver\":\"overlay2\",\"DriverStatus\":null}}"),
            path if path.ends_with("/json") => {
                "HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"No such image: x\"}".to_owned()
            }
            _ => "HTTP/1.1 500 Internal Server Error\r\n\r\n{\"message\":\"unexpected\"}".to_owned(),
        };
        let _ = stream.write_all(said.as_bytes());
    }
}

/// Everything but a push goes without the command.
#[test]
fn the_daemon_of_this_machine_is_asked_itself() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let image = Image::new("docker", "itself");
    let [base, top] = layers("itself");
    std::os::unix::fs::symlink("/var/run/docker.sock", session.path("docker.sock")).unwrap();
    session.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    run(&session, "load k").ok().says("2 layers sent");
    assert_eq!(image.id(), id(&[&base, &top]));
    run(&session, "load k").ok().says("was there");
    run(&session, &format!("load k --tag {}-other", image.0)).ok().says("was there");
    run(&session, &format!("save other {}-other --by archive", image.0)).ok();
    assert_eq!(session.ids("other"), session.ids("k"));
    let known = run(&session, &format!("resolve {}", image.0)).ok().stdout();
    assert_eq!(known.trim(), image.id());
    sh(&format!("docker rmi {}-other", image.0));
    run(&session, "save none no-such-image-anywhere:1").ends(2).says("`docker images` lists what it has");
}

/// Only a push needs the command: where there is none, the image comes as an archive.
#[test]
fn a_daemon_without_its_command_gives_an_archive() {
    if !have(&[Part::Docker]) {
        return;
    }
    let session = Session::new();
    let image = Image::new("docker", "alone");
    let [base, top] = layers("alone");
    session.feed("import base", &docker("base:1", &[&base]).end()).ok();
    let elsewhere = Session::new();
    elsewhere.feed("import k", &docker(&image.0, &[&base, &top]).end()).ok();
    let alone = |session: &Session, words: &str| {
        let mut command = session.command(&format!("{words} --engine docker"));
        let host = "unix:///var/run/docker.sock";
        command.env("PATH", session.path("")).env("DOCKER_HOST", host);
        Ran::of(&mut command)
    };
    alone(&elsewhere, "load k").ok().says("2 layers sent");
    alone(&session, &format!("save k {} --by push -v", image.0))
        .ok()
        .says("by archive, since the push failed");
    assert_eq!(session.ids("k"), [id(&[&base, &top])]);
    let names = sh(&format!("docker image inspect --format '{{{{.RepoTags}}}}' {}", image.0));
    assert_eq!(names, format!("[{}]", image.0));
}

#[test]
fn what_a_daemon_says_reaches_the_terminal_without_control_characters() {
    let session = stored("app:1");
    let said = "HTTP/1.1 500 \u{1b}[31mno\u{7}\r\n\r\n{\"message\":\"\\u001b[31mwhy\"}";
    play(&session, empty_but("/v1.41/images/", move |stream| drop(stream.write_all(said.as_bytes()))));
    let run = run(&session, "load k").ends(2).says("(500 [31mno): [31mwhy");
    assert!(!run.stderr().contains(['\u{1b}', '\u{7}']), "{}", run.stderr());
}

/// A daemon may allow some requests only.
#[test]
fn a_daemon_that_does_not_tell_how_it_keeps_images_is_worked_with() {
    let session = stored("app:1");
    let archive = docker("app:1", &[&layer("a", &"x".repeat(5_000_000))]).end();
    play(&session, move |request, stream| {
        let said = match request.split(' ').nth(1).unwrap_or_default() {
            "/_ping" => PING.to_owned(),
            "/v1.41/info" => "HTTP/1.1 403 Forbidden\r\n\r\nnot here".to_owned(),
            path if path.starts_with("/v1.41/images/get") => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", archive.len());
                return drop(stream.write_all(&[head.as_bytes(), &archive].concat()));
            }
            path if path.starts_with("/v1.41/images/load") => {
                let mut body = Vec::new();
                let mut buffer = [0; 8192];
                while !body.ends_with(b"\r\n0\r\n\r\n") {
                    let count = stream.read(&mut buffer).unwrap();
                    assert!(count > 0, "the archive breaks off");
                    body.extend_from_slice(&buffer[..count]);
                }
                format!("{JSON}{{\"stream\":\"Loaded image: app:1\\n\"}}")
            }
            _ => "HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"No such image: x\"}".to_owned(),
        };
        let _ = stream.write_all(said.as_bytes());
    });
    run(&session, "load k").ok().says("1 layer sent");
    run(&session, "save other app:1").ok();
    assert_eq!(session.ids("other"), session.ids("k"));
}

#[test]
fn what_stands_in_for_docker_is_asked_by_its_command() {
    let session = stored("app:1");
    play(&session, |_, stream| {
        let ping = PING.replace("Api-Version", "Libpod-Api-Version: 4.3.1\r\nApi-Version");
        let _ = stream.write_all(ping.as_bytes());
    });
    run(&session, "load k").ends(2).says("the command was asked");
}

#[test]
fn where_nobody_listens_the_command_is_asked() {
    let session = stored("app:1");
    run(&session, "load k").ends(2).says("the command was asked");
}

#[test]
fn an_archive_that_breaks_off_is_not_saved() {
    let archive = docker("app:1", &[&layer("a", &"x".repeat(300_000))]).end();
    for (head, says) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n", "it broke off"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "it broke off"),
        (
            "HTTP/1.1 500 Internal Server Error\r\n\r\n{\"message\":\"no space left on device\"}",
            "no space left",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"reference does not exist\"}", "lists what it has"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "it wrote no archive"),
        ("what is this\r\n\r\n", "no status line"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            "a chunk without a size",
        ),
    ] {
        let session = Session::new();
        let half = archive[..archive.len() / 2].to_vec();
        let answer = move |stream: &mut UnixStream| {
            let _ = stream.write_all(head.as_bytes());
            if head.contains("40000") || head.contains("9999") {
                let _ = stream.write_all(&half);
            }
        };
        play(&session, empty_but("/v1.41/images/get", answer));
        run(&session, "save k app:1").ends(2).says("`docker save app:1` failed").says(says);
        session.run("has k").ends(1);
    }
}

#[test]
fn a_load_that_fails_says_why() {
    const REPORT: &str = "{\"stream\":\"Loading\"}\r\n{\"errorDetail\":{\"message\":\"no space left\"},\"error\":\"no space left\"}\r\n";
    // After the whole archive, or in the middle of it.
    for stops in [false, true] {
        let session = stored("app:1");
        let answer = move |stream: &mut UnixStream| {
            if stops {
                let _ = stream.read_exact(&mut [0; 1000]);
            } else {
                let mut input = BufReader::new(stream.try_clone().unwrap());
                let mut seen = Vec::new();
                while !seen.ends_with(b"\r\n0\r\n\r\n") && input.read_until(b'\n', &mut seen).unwrap() > 0 {}
            }
            let _ = stream.write_all(format!("{JSON}{REPORT}").as_bytes());
        };
        play(&session, empty_but("/v1.41/images/load", answer));
        run(&session, "load k").ends(2).says("`docker load` failed").says("no space left");
    }
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    let endless = "x".repeat(1 << 20);
    for answer in [
        String::new(),
        "\r\n\r\n".to_owned(),
        format!("{JSON}[1,2"),
        format!("{JSON}{{\"Id\":7}}"),
        format!("{JSON}{{\"Id\":\"sha256:00\",\"RootFS\":{{\"Layers\":[\"../../x\"]}}}}"),
        format!("HTTP/1.1 {endless}"),
        "HTTP/1.1 ü00 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n".to_owned(),
    ] {
        let session = stored("app:1");
        let said = answer.clone();
        play(&session, empty_but("/v1.41/images/", move |stream| drop(stream.write_all(said.as_bytes()))));
        let shown: String = answer.chars().take(60).collect();
        let ran = run(&session, "load k");
        assert!(
            ran.code() == 2 && ran.stderr().contains("docker image inspect"),
            "{shown}: {}",
            ran.stderr()
        );
    }
}
