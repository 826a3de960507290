//! The program itself: what it finds, says and ends with. The tools are stand-ins.

#![expect(clippy::disallowed_methods, reason = "tests write what they like")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use camino::Utf8PathBuf;
use larder_tests::{isolate, stand_in};
use tempfile::TempDir;

/// A project, and a copy of larder with stand-ins beside it.
struct Desk {
    _dir: TempDir,
    root: Utf8PathBuf,
}

impl Desk {
    fn new(toml: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        fs::create_dir_all(root.join("project/deep/down")).expect("a folder");
        fs::write(root.join("project/larder.toml"), toml).expect("a file");
        let desk = Self { _dir: dir, root };
        // By other processes: a file that this one has just written may be "busy" where a test
        // beside it forks.
        desk.sh(&format!(
            "cp -l {0} bin/larder 2>/dev/null || cp {0} bin/larder",
            env!("CARGO_BIN_EXE_larder")
        ));
        desk.tool("hashctx", "case $* in *--images*) ;; *) echo manifest;; esac")
            .tool("imgtar", "exit 0")
            .tool("docker", "exit 1")
    }

    fn sh(&self, script: &str) {
        let status = Command::new("sh").args(["-c", script]).current_dir(&self.root).status().expect("sh");
        assert!(status.success(), "{script}");
    }

    fn tool(self, name: &str, script: &str) -> Self {
        stand_in(self.root.join("bin").join(name), script);
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("bin/larder"));
        command.args(args).current_dir(self.root.join("project/deep/down"));
        // The stand-in for docker is found on PATH, the tools beside larder.
        let path = format!("{}:{}", self.root.join("bin"), std::env::var("PATH").expect("PATH"));
        isolate(&mut command, &self.root)
            .env("PATH", path)
            .env("LARDER_DOCKER", "docker")
            .env_remove("LARDER_PODMAN")
            .env("LARDER_DIR", self.root.join("store"));
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().expect("larder");
        (status.code(), String::from_utf8(stdout).expect("UTF-8"), String::from_utf8(stderr).expect("UTF-8"))
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
    let (code, stdout, stderr) = Desk::new("[image.app]\n").run(&["bake"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    contains(&stdout, &["app  hit", "store"]);
}

#[test]
fn without_larder_toml_the_remedy_is_named() {
    let desk = Desk::new("");
    desk.sh("rm project/larder.toml");
    let (code, stdout, stderr) = desk.run(&["bake"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    contains(&stderr, &["larder::no_config", "[image.NAME]"]);
}

#[test]
fn a_mistake_in_larder_toml_is_marked_in_its_line() {
    let (code, _, stderr) = Desk::new("[image.app]\ncontxt = \"x\"\n").run(&["bake"]);
    assert_eq!(code, Some(2));
    contains(&stderr, &["unknown field", "contxt = \"x\"", "here", "help:"]);
}

#[test]
fn verbose_prints_a_script_that_does_the_same() {
    let desk = Desk::new("[image.app]\n");
    let (code, _, stderr) = desk.run(&["bake", "-v"]);
    assert_eq!(code, Some(0));
    let lines: Vec<_> = stderr.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
    assert!(lines[0].starts_with("cd /") && lines[0].ends_with("/project"), "{stderr}");
    let status = Command::new("sh").args(["-ec", &lines.join("\n")]).status().expect("sh");
    assert!(status.success(), "{stderr}");
    contains(&stderr, &["hashctx --manifest -f Dockerfile --platform ", "imgtar load ", " --tag app:latest"]);
    let temp = lines[1].strip_prefix("mkdir -p ").expect("the folder");
    fs::remove_dir_all(temp).expect("what the script made");
}

#[test]
fn quiet_shows_a_builds_output_only_when_it_fails() {
    let docker = "case $1 in build) echo step; echo trouble >&2; exit $CODE;; version) exit 0;; esac; exit 1";
    let desk = Desk::new("[image.app]\n").tool("imgtar", "exit 1").tool("docker", docker);
    let output = |args: &[&str], code: &str| {
        let output = desk.command(args).env("CODE", code).output().expect("larder");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
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
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(kill.success());
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().expect("larder").code(), Some(130));
    assert_eq!(
        rest,
        ["stopped", "larder: stopped by SIGINT"],
        "no other image is begun and nothing is reported as an error"
    );
}

#[test]
fn the_codes_of_steps_are_passed_on() {
    let desk = Desk::new("[ci]\nsteps = [{ name = \"mine\", run = \"exit 9\" }]\n");
    let (code, stdout, _) = desk.run(&["ci"]);
    assert_eq!(code, Some(9));
    contains(&stdout, &["mine", "FAILED", "total"]);
}

#[test]
fn a_closed_pipe_is_quiet() {
    let desk = Desk::new("[image.app]\n");
    let script = format!("{{ {0}/larder bake; echo $? >&2; }} | true", desk.root.join("bin"));
    let mut shell = desk.command(&[]);
    shell = {
        let mut sh = Command::new("sh");
        sh.args(["-c", &script]).current_dir(shell.get_current_dir().expect("a folder"));
        sh.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        sh
    };
    let output = shell.output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0\n");
}

#[test]
fn the_help_is_as_reviewed() {
    let desk = Desk::new("");
    let mut text = String::new();
    for job in ["", "init", "bake", "why", "list", "lock", "ci"] {
        let args: Vec<_> = [job, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        writeln!(text, "$ larder {}\n{}", args.join(" "), desk.run(&args).1).expect("a string");
    }
    let snapshot = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
    if std::env::var_os("LARDER_BLESS").is_some() {
        fs::write(snapshot, &text).expect("the snapshot");
    }
    assert_eq!(fs::read_to_string(snapshot).expect("the snapshot"), text, "LARDER_BLESS=1 writes it anew");
}
