//! The checks of a project: its code's, its images', its own steps; in order, up to the first
//! failure.

use std::io::{self, Write};
use std::time::Instant;

use camino::Utf8Path;
use miette::Diagnostic;
use thiserror::Error;
use toolkit::Outcome;

use crate::bake::{self, BakeError};
use crate::command::Cmd;
use crate::config::Project;
use crate::rules::{self, RulesError};
use crate::runner::{RunError, Runner, code};
use crate::test;
use crate::times::Times;
use crate::tools::Tools;

/// Why the checks could not be made. A check that fails is no error: its code is passed on.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum CiError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Run(#[from] RunError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Bake(#[from] BakeError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Rules(#[from] RulesError),

    #[error("cannot write the report")]
    #[diagnostic(code(xtask::report))]
    Report(#[source] io::Error),
}

enum Check<'a> {
    Cargo(Cmd),
    Test,
    Rules,
    Bake,
    Step(&'a str),
}

/// Checks the project in the runner's folder, and prints a table of times.
///
/// # Errors
/// Where a check could not be made at all.
pub fn ci(
    project: &Project,
    store: Option<&Utf8Path>,
    tools: &Tools,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<Outcome, CiError> {
    let mut times = Times::default();
    let mut outcome = Outcome::Yes;
    for (name, check) in checks(project, tools, runner.folder().join("Cargo.toml").is_file()) {
        let started = Instant::now();
        outcome = run(&check, project, store, tools, runner, out)?;
        times.add(name, started.elapsed(), outcome == Outcome::Yes);
        if outcome != Outcome::Yes {
            break;
        }
    }
    write!(out, "{times}").and_then(|()| out.flush()).map_err(CiError::Report)?;
    Ok(outcome)
}

/// What is checked. A project that is no cargo workspace has only its images and its own steps.
fn checks<'a>(project: &'a Project, tools: &Tools, cargo: bool) -> Vec<(&'a str, Check<'a>)> {
    let mut checks = Vec::new();
    if cargo {
        let clippy = ["--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        let doc = tools.cargo("doc").args(["--workspace", "--no-deps", "--quiet"]);
        checks.push(("fmt", Check::Cargo(tools.cargo("fmt").args(["--all", "--check"]))));
        checks.push(("clippy", Check::Cargo(tools.cargo("clippy").args(clippy))));
        checks.push(("test", Check::Test));
        checks.push(("doc", Check::Cargo(doc.env("RUSTDOCFLAGS", "-D warnings"))));
        checks.push(("rules", Check::Rules));
    }
    if !project.images.is_empty() {
        checks.push(("bake", Check::Bake));
    }
    checks.extend(project.steps.iter().map(|step| (step.name.as_str(), Check::Step(&step.run))));
    checks
}

fn run(
    check: &Check,
    project: &Project,
    store: Option<&Utf8Path>,
    tools: &Tools,
    runner: &Runner,
    out: &mut impl Write,
) -> Result<Outcome, CiError> {
    match check {
        Check::Cargo(cmd) => shown(runner, cmd),
        Check::Step(line) => shown(runner, &Cmd::new("sh").arg("-c").arg(*line)),
        Check::Test => Ok(test::test(&[], tools, runner, out)?),
        Check::Rules => Ok(rules::check(runner.folder()).map(|()| Outcome::Yes)?),
        Check::Bake => {
            let options = bake::Options { store: store.map(Utf8Path::to_owned), ..bake::Options::default() };
            Ok(bake::bake(project, &options, tools, runner, out)?)
        }
    }
}

fn shown(runner: &Runner, cmd: &Cmd) -> Result<Outcome, CiError> {
    Ok(match code(runner.show(cmd)?) {
        Some(0) => Outcome::Yes,
        code => Outcome::Code(code.unwrap_or(2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::children::Children;
    use crate::runner::Verbosity;

    /// Runs a project that has nothing but these steps; its outcome, and the first words of the
    /// table's lines.
    fn steps(text: &str) -> (Outcome, Vec<String>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let project = crate::config::parse(&format!("[ci]\nsteps = [{text}]\n")).expect("a good file");
        let runner = Runner::new(folder.clone(), Verbosity::Quiet, Children::default());
        let mut out = Vec::new();
        let outcome = ci(&project, None, &Tools::all_in(&folder), &runner, &mut out).expect("it ran");
        let table = String::from_utf8(out).expect("UTF-8");
        (outcome, table.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    #[test]
    fn steps_run_in_order() {
        let (outcome, table) =
            steps("{ name = \"a\", run = \"touch x\" }, { name = \"b\", run = \"test -f x\" }");
        assert_eq!((outcome, table), (Outcome::Yes, ["a", "b", "total"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn the_first_failure_ends_it_with_its_code() {
        let (outcome, table) =
            steps("{ name = \"a\", run = \"exit 7\" }, { name = \"b\", run = \"exit 8\" }");
        assert_eq!((outcome, table), (Outcome::Code(7), ["a", "total"].map(str::to_owned).to_vec()));
    }
}
