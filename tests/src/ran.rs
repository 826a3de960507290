//! What a command gave, and what it must have given.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// What a command gave.
#[derive(Debug)]
pub struct Ran {
    line: String,
    output: Output,
}

// Every check gives the result back, to be looked at further or not.
#[expect(
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "checks stand at the end of a line"
)]
impl Ran {
    /// Runs the command, without input.
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        Self { line: line(command), output: output.unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Runs the command with these bytes on a pipe as its stdin.
    #[track_caller]
    pub fn fed(command: &mut Command, input: &[u8]) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // It may refuse before it has read everything.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input));
        Self::after(line(command), child)
    }

    /// What the process gives that has been started so.
    #[track_caller]
    pub fn after(line: impl Into<String>, child: Child) -> Self {
        Self { line: line.into(), output: child.wait_with_output().expect("a process") }
    }

    /// Must have ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    /// Must have ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// Must not have ended with 0.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert_ne!(self.code(), 0, "{self}");
        self
    }

    /// Must have said this on stderr.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "`{text}` is not in: {self}");
        self
    }

    /// Must have said nothing on stderr.
    #[track_caller]
    pub fn quiet(self) -> Self {
        assert!(self.output.stderr.is_empty(), "{self}");
        self
    }

    /// The exit code; 128 and the signal's number for a killed process.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = self.output.status;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
    }

    /// What it wrote, byte for byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// What it wrote.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What it said.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// What it wrote, as one JSON document.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.bytes()).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// What it wrote, as NDJSON.
    #[must_use]
    #[track_caller]
    pub fn rows(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self}"));
        self.stdout().lines().map(parse).collect()
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// For the messages of failed tests.
impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {}", self.line, self.code())?;
        write!(f, "stdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr())
    }
}
