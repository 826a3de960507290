//! What keeps a command away from the user's things, and programs that a test plays.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What would change how a tool, an engine or git behaves, and is the user's or the test runner's.
const USERS: [&str; 15] = [
    "CARGO_MANIFEST_DIR",
    "CI",
    "DOCKER_CONFIG",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "LARDER_TOOLS",
    "REGISTRY_AUTH_FILE",
    "RUST_BACKTRACE",
    "SOURCE_DATE_EPOCH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];

/// Keeps the command away from the user's configuration: this home and no other, no configuration
/// of git's or docker's, no colors. What is set on the command afterwards counts.
pub fn isolate(command: &mut Command, home: impl AsRef<Path>) -> &mut Command {
    for name in USERS {
        command.env_remove(name);
    }
    command.env("HOME", home.as_ref()).env("NO_COLOR", "1").env("GIT_CONFIG_NOSYSTEM", "1")
}

/// Writes a program that stands in for another: this script for `sh`.
///
/// Another process writes it: while this one holds the file open, a test beside it may fork, and
/// the script would be "busy".
///
/// # Panics
/// Where it cannot be written.
pub fn stand_in(path: impl AsRef<Path>, script: &str) {
    let mut cat = Command::new("sh");
    cat.args(["-c", "cat >\"$0\" && chmod +x \"$0\""]).arg(path.as_ref()).stdin(Stdio::piped());
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
