//! All tests, and which of them this machine could not run.
//!
//! A test that lacks a part says so in the file that `LARDER_NOT_RUN` names, and passes. Here these
//! are listed and counted apart, and the run closes with one result line in the form of `cargo
//! test`.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use camino::Utf8Path;
use toolkit::Outcome;

use larder::process::runner::{RunError, Runner, code};
use larder::process::tools::Tools;

use crate::stall;

/// The variable that names the file for the tests that were not run: a line `NAME<tab>REASON` each.
pub const NOT_RUN: &str = "LARDER_NOT_RUN";

/// The variable that tells the end-to-end tests where the built tools are.
pub const TOOLS: &str = "LARDER_TOOLS";

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs `cargo test` for the workspace in the runner's folder, with `args` handed on.
///
/// # Errors
/// Where cargo could not be run.
pub fn test(
    args: &[String],
    tools: &Tools,
    runner: &Runner,
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, RunError> {
    let lost = |source| RunError::Lost { program: "cargo test".into(), source };
    let record = tempfile::Builder::new().prefix("not-run-").tempfile().map_err(lost)?;
    let path = Utf8Path::from_path(record.path())
        .ok_or_else(|| lost(io::Error::other("a path that is not UTF-8")))?;
    let cmd = tools.cargo("test").args(["--workspace", "--no-fail-fast"]).args(args);
    let cmd = cmd.env(NOT_RUN, path.as_str());
    let cmd = tools.folder(runner.folder()).iter().fold(cmd, |cmd, folder| cmd.env(TOOLS, folder.as_str()));
    let started = Instant::now();
    let mut counts = Counts::default();
    let status = thread::scope(|scope| {
        let (heard, lines) = mpsc::channel();
        scope.spawn(move || stall::watch(&lines));
        runner.tee(&cmd, &mut |line| {
            // It listens until there is nobody to hear.
            let _ = heard.send(());
            counts.add(line);
            writeln!(out, "{line}")
        })
    })?;
    let not_run = std::fs::read_to_string(path).map_err(lost)?;
    let total = closing(&not_run, counts, started.elapsed().as_secs_f64(), status.success());
    write!(out, "{total}").and_then(|()| out.flush()).map_err(lost)?;
    Ok(match code(status) {
        Some(0) => Outcome::Yes,
        code => Outcome::Code(code.unwrap_or(2)),
    })
}

/// The list of tests not run, and the result line of the whole.
fn closing(not_run: &str, counts: Counts, seconds: f64, good: bool) -> String {
    let mut lines: Vec<_> =
        not_run.lines().map(|line| format!("    {}\n", line.replace('\t', ": "))).collect();
    lines.sort_unstable();
    let missed = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    let list = if missed > 0 { format!("not run: {missed}\n{}\n", lines.concat()) } else { String::new() };
    let word = if good { "ok" } else { "FAILED" };
    let (passed, ignored) = (counts.passed.saturating_sub(missed), counts.ignored.saturating_add(missed));
    format!(
        "\n{list}test result: {word}. {passed} passed; {} failed; {ignored} ignored; 0 measured; 0 filtered out; \
         finished in {seconds:.2}s\n",
        counts.failed
    )
}

impl Counts {
    /// Counts a result line: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in numbers.split("; ") {
            match part.split_once(' ').map(|(number, what)| (number.parse().unwrap_or(0), what)) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.13s";

    #[test]
    fn result_lines_add_up() {
        let mut counts = Counts::default();
        for line in [LINE, "test a ... ok", "test result: FAILED. 1 passed; 2 failed; 0 ignored"] {
            counts.add(line);
        }
        assert_eq!(counts, Counts { passed: 13, failed: 2, ignored: 1 });
    }

    #[test]
    fn tests_not_run_are_listed_and_not_counted_as_passed() {
        let counts = Counts { passed: 5, failed: 0, ignored: 0 };
        assert_eq!(
            closing("b\tno `podman`\na\tno `dockerd`\n", counts, 1.5, true),
            "\nnot run: 2\n    a: no `dockerd`\n    b: no `podman`\n\ntest result: ok. 3 passed; 0 failed; 2 ignored; \
             0 measured; 0 filtered out; finished in 1.50s\n"
        );
    }

    #[test]
    fn a_failure_is_said_last() {
        assert!(closing("", Counts::default(), 0.0, false).contains("test result: FAILED. 0 passed"));
    }
}
