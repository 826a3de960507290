//! A project's images and its own steps, in order, up to the first failure.

use std::io::Write;
use std::time::Instant;

use miette::{IntoDiagnostic, WrapErr};
use toolkit::Outcome;

use crate::bake;
use crate::config::Project;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;
use crate::times::Times;

/// One thing to check, with its name in the table of times.
pub struct Check<'a> {
    name: String,
    run: Run<'a>,
}

/// Takes what the report is written to.
type Run<'a> = Box<dyn FnOnce(&mut dyn Write) -> miette::Result<Outcome> + 'a>;

impl<'a> Check<'a> {
    /// A check that is done by `run`, which may write to the report.
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce(&mut dyn Write) -> miette::Result<Outcome> + 'a,
    ) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Makes the checks in `before`, bakes the project in the runner's folder, and runs its steps;
/// then prints a table of times.
///
/// # Errors
/// Where a check could not be made at all. One that fails is an outcome: its code is passed on.
pub fn ci<'a>(
    project: &'a Project,
    before: Vec<Check<'a>>,
    options: &'a bake::Options,
    tools: &'a Tools,
    runner: &'a Runner,
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let mut times = Times::default();
    let mut outcome = Outcome::Yes;
    for check in before.into_iter().chain(own(project, options, tools, runner)) {
        let started = Instant::now();
        outcome = (check.run)(out)?;
        times.add(&check.name, started.elapsed(), outcome == Outcome::Yes);
        if outcome != Outcome::Yes {
            break;
        }
    }
    let written = write!(out, "{times}").and_then(|()| out.flush());
    written.into_diagnostic().wrap_err("cannot write the report")?;
    Ok(outcome)
}

/// What larder.toml has to check.
fn own<'a>(
    project: &'a Project,
    options: &'a bake::Options,
    tools: &'a Tools,
    runner: &'a Runner,
) -> Vec<Check<'a>> {
    let mut checks = Vec::new();
    if !project.images.is_empty() {
        checks.push(Check::new("bake", |out| Ok(bake::bake(project, options, tools, runner, out)?)));
    }
    checks.extend(project.steps.iter().map(|step| {
        let cmd = Cmd::new("sh").arg("-c").arg(&step.run);
        Check::new(&step.name, move |_| Ok(shown(runner, &cmd)?))
    }));
    checks
}

/// Runs a command with its output shown; its code is the outcome.
///
/// # Errors
/// Where it did not run to its end.
pub fn shown(runner: &Runner, cmd: &Cmd) -> Result<Outcome, RunError> {
    Ok(match code(runner.show(cmd)?) {
        Some(0) => Outcome::Yes,
        code => Outcome::Code(code.unwrap_or(2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::children::Children;
    use crate::process::runner::Verbosity;

    /// Runs a project that has nothing but these steps; its outcome, and the first words of the
    /// table's lines.
    fn steps(text: &str) -> (Outcome, Vec<String>) {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let project = crate::config::parse(&format!("[ci]\nsteps = [{text}]\n")).expect("a good file");
        let runner = Runner::new(folder.clone(), Verbosity::Quiet, Children::default());
        let mut out = Vec::new();
        let outcome =
            ci(&project, Vec::new(), &bake::Options::default(), &Tools::all_in(&folder), &runner, &mut out)
                .expect("it ran");
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
