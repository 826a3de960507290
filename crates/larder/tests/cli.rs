//! The program itself: what it finds, says and ends with. The tools are stand-ins.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use larder_tests::{Ran, Session, reviewed, signal};

/// A project, and a copy of larder with stand-ins beside it.
struct Desk {
    session: Session,
}

impl Desk {
    fn new(toml: &str) -> Self {
        let session = Session::of(env!("CARGO_BIN_EXE_larder")).file("larder.toml", toml);
        session.write("deep/down/file", "");
        // What is in it only the stand-ins say.
        session.write("Dockerfile", "");
        let desk = Self { session }
            .tool("hashctx", "case $* in *--images*) ;; *) echo manifest;; esac")
            .tool("imgtar", "exit 0")
            .tool("docker", "exit 1");
        // By another process: a file that this one has just written may be "busy" where a test
        // beside it forks.
        let copy = "cp -l \"$0\" ../bin/larder 2>/dev/null || cp \"$0\" ../bin/larder";
        Ran::of(desk.session.program("sh").args(["-c", copy, env!("CARGO_BIN_EXE_larder")])).ok();
        desk
    }

    fn tool(self, name: &str, script: &str) -> Self {
        self.session.script(&format!("../bin/{name}"), script);
        self
    }

    /// A program, in a folder of the project.
    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.session.program(program);
        // The stand-in for docker is found on PATH, the tools beside larder.
        let path = format!("{}:{}", self.session.aside("bin"), larder_tests::tools::path());
        command.current_dir(self.session.path("deep/down")).env("PATH", path).env("LARDER_DOCKER", "docker");
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(self.session.aside("bin/larder"));
        command.args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn larder_toml_is_found_upward() {
    let ran = Desk::new("[image.app]\n").run(&["bake"]).ok().quiet();
    contains(&ran.stdout(), &["app  hit", "store"]);
}

#[test]
fn without_larder_toml_the_remedy_is_named() {
    let desk = Desk::new("");
    fs::remove_file(desk.session.path("larder.toml")).expect("a file");
    let ran = desk.run(&["bake"]).ends(2);
    assert_eq!(ran.stdout(), "");
    contains(&ran.stderr(), &["larder::no_config", "[image.NAME]"]);
}

#[test]
fn a_mistake_in_larder_toml_is_marked_in_its_line() {
    let ran = Desk::new("[image.app]\ncontxt = \"x\"\n").run(&["bake"]).ends(2);
    contains(&ran.stderr(), &["unknown field", "contxt = \"x\"", "here", "help:"]);
}

#[test]
fn verbose_prints_a_script_that_does_the_same() {
    let desk = Desk::new("[image.app]\n");
    let stderr = desk.run(&["bake", "-v"]).ok().stderr();
    let lines: Vec<_> = stderr.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
    assert!(lines[0].starts_with("cd /") && lines[0].ends_with("/work"), "{stderr}");
    larder_tests::sh(&format!("set -e\n{}", lines.join("\n")));
    contains(&stderr, &["hashctx --manifest -f Dockerfile --platform ", "imgtar load ", " --tag app:latest"]);
    let temp = lines[1].strip_prefix("mkdir -p ").expect("the folder");
    fs::remove_dir_all(temp).expect("what the script made");
}

#[test]
fn quiet_shows_a_builds_output_only_when_it_fails() {
    let docker = "case $1 in build) echo step; echo trouble >&2; exit $CODE;; version) exit 0;; esac; exit 1";
    let desk = Desk::new("[image.app]\n").tool("imgtar", "exit 1").tool("docker", docker);
    let output = |args: &[&str], code: &str| Ran::of(desk.command(args).env("CODE", code)).stderr();
    contains(&output(&["bake", "-q"], "1"), &["step", "trouble", "`docker build` ended with code 1"]);
    contains(&output(&["bake"], "0"), &["step", "trouble"]);
    assert!(!output(&["bake", "-q"], "0").contains("step"));
}

#[test]
fn a_signal_stops_the_build_and_ends_with_130() {
    let docker = "case $1 in build) trap 'echo stopped >&2; kill $!; exit 1' INT; sleep 600 & echo ready >&2; wait;; esac; exit 1";
    let desk = Desk::new("[image.app]\n[image.next]\n").tool("imgtar", "exit 1").tool("docker", docker);
    let mut child = desk.command(&["bake", "-j1"]).stderr(Stdio::piped()).spawn().expect("larder");
    let mut lines =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(std::io::Result::ok);
    assert!(lines.any(|line| line == "ready"));
    signal(&child, "INT");
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().expect("larder").code(), Some(130));
    assert_eq!(
        rest,
        ["stopped", "larder: stopped by SIGINT"],
        "no other image is begun and nothing is reported as an error"
    );
}

/// A line for the shell whose own process ends before what it has started.
const LINE: &str = "sh -c 'echo ready >&2; sleep 600; :' & wait; exit 7";

#[test]
fn what_ended_before_a_signal_is_told() {
    let toml = format!(
        "[ci]\nlog = \"log\"\nsteps = [{{ name = \"one\", run = \"true\" }}, {{ name = \"two\", run = \"{LINE}\" }}]\n"
    );
    let desk = Desk::new(&toml);
    let mut child = desk.command(&["ci", "--junit", "junit.xml"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("larder");
    let mut lines =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(std::io::Result::ok);
    assert!(lines.any(|line| line == "ready"));
    signal(&child, "TERM");
    // To the end of it: what the step has started holds it, too.
    assert_eq!(lines.collect::<Vec<_>>(), ["larder: stopped by SIGTERM"]);
    let ended = child.wait_with_output().expect("larder");
    assert_eq!(ended.status.code(), Some(143));
    contains(&String::from_utf8_lossy(&ended.stdout), &["one", "ok", "two", "FAILED", "total"]);
    let read = |path: &str| fs::read_to_string(desk.session.path(path)).expect("a file");
    contains(&read("log/times.ndjson"), &["\"one\"", "\"ok\"", "\"two\"", "\"failed\""]);
    contains(&read("deep/down/junit.xml"), &["name=\"one\"", "<failure message=\"interrupted\"/>"]);
}

#[test]
fn a_step_that_takes_too_long_ends_with_all_that_it_has_started() {
    let step = format!("[[ci.step]]\nname = \"a\"\ntimeout = \"1s\"\nrun = \"{LINE}\"\n");
    let disk = format!(
        "[disk.a]\ninputs = [\"larder.toml\"]\noutput = \"out\"\ntimeout = \"1s\"\nrun = \"{LINE}\"\n"
    );
    for (toml, job) in [(step, "ci"), (disk, "bake")] {
        // Its stderr is read to the end, which is there when nobody holds it any more.
        let ran = Desk::new(&toml).tool("imgtar", "exit 1").run(&[job]).ends(2);
        contains(&ran.stderr(), &["ready", "it took longer than 1 s"]);
    }
}

#[test]
fn what_a_step_prints_has_no_values_of_its_env() {
    // In two writes, too.
    let run = "echo \"token $TOKEN\" >&2; printf '%s' \"${TOKEN%cret}\"; echo \"cret end $PIN\"; exit 3";
    let step = format!("[[ci.step]]\nname = \"a\"\nenv = [\"TOKEN\", \"PIN\"]\nrun = {run:?}\n");
    for (log, printed) in [("[ci]\nlog = \"log\"\n", "log/a.log"), ("", "")] {
        let desk = Desk::new(&format!("{log}{step}"));
        let mut command = desk.command(&["ci"]);
        let ran = Ran::of(command.env("TOKEN", "my-secret").env("PIN", "123")).ends(3);
        contains(&ran.stderr(), &["token ***\n", "*** end 123\n"]);
        assert!(!format!("{}{}", ran.stdout(), ran.stderr()).contains("my-se"), "{ran}");
        if !printed.is_empty() {
            let log = fs::read_to_string(desk.session.path(printed)).expect("a log");
            assert_eq!(log, "token ***\n*** end 123\n");
        }
    }
}

#[test]
fn a_build_ends_with_a_larder_that_is_killed() {
    let docker = "case $1 in build) echo ready >&2; exec sleep 600;; esac; exit 1";
    let desk = Desk::new("[image.app]\n").tool("imgtar", "exit 1").tool("docker", docker);
    let mut child = desk.command(&["bake"]).stderr(Stdio::piped()).spawn().expect("larder");
    let mut lines =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(std::io::Result::ok);
    assert!(lines.any(|line| line == "ready"));
    child.kill().expect("larder");
    child.wait().expect("larder");
    // The build holds its other end as long as it runs.
    assert_eq!(lines.count(), 0);
}

#[test]
fn a_program_that_is_not_there_is_named_also_by_a_guard() {
    let desk = Desk::new("[image.app]\n").tool("docker", "case $1 in version) exit 0;; esac; exit 1");
    fs::remove_file(desk.session.aside("bin/imgtar")).expect("a file");
    contains(&desk.run(&["bake"]).stderr(), &["cannot run `imgtar`"]);
}

#[test]
fn the_codes_of_steps_are_passed_on() {
    let desk = Desk::new("[ci]\nsteps = [{ name = \"mine\", run = \"exit 9\" }]\n");
    contains(&desk.run(&["ci"]).ends(9).stdout(), &["mine", "FAILED", "total"]);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let desk = Desk::new("[image.app]\n");
    let script = format!("{{ {} bake; echo $? >&2; }} | true", desk.session.aside("bin/larder"));
    assert_eq!(Ran::of(desk.program("sh").args(["-c", &script])).stderr(), "0\n");
}

#[test]
fn the_help_is_as_reviewed() {
    let desk = Desk::new("");
    let mut text = String::new();
    for job in ["", "init", "bake", "why", "list", "lock", "ci", "reference"] {
        let args: Vec<_> = [job, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        writeln!(text, "$ larder {}\n{}", args.join(" "), desk.run(&args).stdout()).expect("a string");
    }
    reviewed(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt"), &text);
}
