//! What keeps a command away from the user's things, and programs that a test plays.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Ran, tools};

/// What a command still sees of the environment: where the engines are, and where temporary files
/// go.
const KEPT: [&str; 6] = [
    "DOCKER_CERT_PATH",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "LLVM_PROFILE_FILE",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
];

/// Keeps the command away from the user's configuration: this home and no other, a PATH that is the
/// same for all tests, no colors, no variable that says anything else. What is set on the command
/// afterwards counts.
pub fn isolate(command: &mut Command, home: impl AsRef<Path>) -> &mut Command {
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command.env("PATH", tools::path()).env("HOME", home.as_ref());
    command.env("NO_COLOR", "1").env("GIT_CONFIG_NOSYSTEM", "1")
}

/// Runs the line with `sh`, away from the user's configuration. It must succeed; its output,
/// without the spaces around it.
#[track_caller]
#[expect(clippy::must_use_candidate, reason = "most lines are run for what they do")]
pub fn sh(line: &str) -> String {
    let mut command = Command::new("sh");
    Ran::of(isolate(command.args(["-c", line]), "/nonexistent")).ok().stdout().trim().to_owned()
}

/// Writes a file, with the folders above it.
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    path.parent().map_or(Ok(()), fs::create_dir_all).expect("a folder");
    let written = File::create(path).and_then(|mut file| file.write_all(content.as_ref()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Writes a program that stands in for another: this script for `sh`.
///
/// Another process writes it: while this one holds the file open, a test beside it may fork, and
/// the script would be "busy".
///
/// # Panics
/// Where a link is there: what it leads to may be the machine's own program.
pub fn stand_in(path: impl AsRef<Path>, script: &str) {
    let path = path.as_ref();
    assert!(!path.is_symlink(), "{} is a link: what it leads to would be overwritten", path.display());
    let mut cat = Command::new("sh");
    cat.args(["-c", "cat >\"$0\" && chmod +x \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut cat = cat.spawn().expect("sh");
    let text = format!("#!/bin/sh\n{script}\n");
    cat.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a pipe");
    assert!(cat.wait().expect("sh").success(), "a stand-in that cannot be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_users_is_seen_and_what_is_set_afterwards_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let printed = |command: &mut Command| {
            let output = command.output().expect("it runs");
            String::from_utf8(output.stdout).expect("text")
        };
        let program = folder.path().join("program");
        stand_in(&program, "echo \"$HOME ${DOCKER_CONFIG-none} ${GIT_DIR-none} ${NO_COLOR-none}\"");
        let mut command = Command::new(&program);
        command.env("DOCKER_CONFIG", "/user").env("GIT_DIR", "/user").env("HOME", "/user");
        isolate(&mut command, "/home").env("GIT_DIR", "own");
        assert_eq!(printed(&mut command), "/home none own 1\n");
    }
}
