//! A project's images and its own steps, in order, up to the first failure.

mod steps;

use std::io::Write;
use std::time::Instant;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use thiserror::Error;
use toolkit::Outcome;

use crate::bake;
use crate::config::Project;
use crate::config::step::Step;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;
use crate::times::{Ended, Times};
use toolkit::nearest::question;

/// One thing to check, with its name in the table of times.
pub struct Check<'a> {
    name: String,
    run: Run<'a>,
}

/// Takes what the report is written to.
type Run<'a> = Box<dyn FnOnce(&mut dyn Write) -> miette::Result<Done> + 'a>;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Made(Outcome),
    /// Nothing that it reads has changed since it went well.
    Skipped,
}

impl<'a> Check<'a> {
    /// A check that is done by `run`, which may write to the report.
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce(&mut dyn Write) -> miette::Result<Outcome> + 'a,
    ) -> Self {
        Self { name: name.into(), run: Box::new(|out| run(out).map(Done::Made)) }
    }
}

/// Which of the project's steps are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Just these; none means all that are not manual.
    pub steps: Vec<String>,
    /// These manual ones, too.
    pub with: Vec<String>,
}

/// Why nothing was checked.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum CiError {
    #[error("larder.toml has no step `{name}`")]
    #[diagnostic(code(larder::no_step))]
    NoStep {
        name: String,
        #[help]
        help: String,
    },

    #[error("step `{step}` needs the environment variable `{variable}`, which is not set")]
    #[diagnostic(
        code(larder::no_variable),
        help("nothing was begun; set `{variable}`, or take it out of `env`")
    )]
    NoVariable { step: String, variable: String },
}

/// Makes the checks in `before`, bakes the project in the runner's folder, and runs its steps;
/// then prints a table of times.
///
/// # Errors
/// `CiError`, or where a check could not be made at all. One that fails is an outcome: its code is
/// passed on.
pub fn ci<'a>(
    project: &'a Project,
    before: Vec<Check<'a>>,
    wanted: &Wanted,
    options: &'a bake::Options,
    (tools, runner): (&'a Tools, &'a Runner),
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let chosen = chosen(project, wanted)?;
    all_set(&chosen, options)?;
    let mut kitchen = steps::Steps::new(project, options, tools, runner)?;
    // A step that says what it bakes says when, too.
    let bakes_itself = !wanted.steps.is_empty() || project.steps.iter().any(|step| !step.bake.is_empty());
    let mut checks = before;
    let is_empty = project.images.is_empty() && project.disks.is_empty();
    if !(bakes_itself || is_empty) {
        checks.push(Check::new("bake", |out| Ok(bake::bake(project, options, tools, runner, out)?)));
        kitchen.all_is_baked = true;
    }
    let kitchen = &kitchen;
    checks.extend(chosen.into_iter().map(|step| {
        let run: Run<'_> = Box::new(move |out| kitchen.run(step, out));
        Check { name: step.name.clone(), run }
    }));
    let mut times = Times::default();
    let mut outcome = Outcome::Yes;
    for check in checks {
        let started = Instant::now();
        let done = (check.run)(out)?;
        let ended = match done {
            Done::Skipped => Ended::Skipped,
            Done::Made(Outcome::Yes) => Ended::Well,
            Done::Made(failed) => {
                outcome = failed;
                Ended::Badly
            }
        };
        times.add(&check.name, started.elapsed(), ended);
        if outcome != Outcome::Yes {
            break;
        }
    }
    kitchen.keep(&times);
    let written = write!(out, "{times}").and_then(|()| out.flush());
    written.into_diagnostic().wrap_err("cannot write the report")?;
    Ok(outcome)
}

/// The steps to run, in the order of the file.
fn chosen<'a>(project: &'a Project, wanted: &Wanted) -> Result<Vec<&'a Step>, CiError> {
    let names: Vec<_> = project.steps.iter().map(|step| step.name.as_str()).collect();
    if let Some(name) = wanted.steps.iter().chain(&wanted.with).find(|name| !names.contains(&name.as_str())) {
        let meant = question(name, names.iter().copied());
        let help = match names.as_slice() {
            [] => "it has no steps: write `[[ci.step]]` with `name` and `run`".to_owned(),
            names => format!("{meant}it has {}", names.join(", ")),
        };
        return Err(CiError::NoStep { name: name.clone(), help });
    }
    let is_chosen = |step: &&Step| match wanted.steps.as_slice() {
        [] => !step.is_manual || wanted.with.contains(&step.name),
        steps => steps.contains(&step.name) || wanted.with.contains(&step.name),
    };
    Ok(project.steps.iter().filter(is_chosen).collect())
}

fn all_set(steps: &[&Step], options: &bake::Options) -> Result<(), CiError> {
    let missing = |step: &&Step| {
        let variable = step.env.iter().find(|name| !options.variables.contains_key(*name))?;
        Some(CiError::NoVariable { step: step.name.clone(), variable: variable.clone() })
    };
    steps.iter().find_map(missing).map_or(Ok(()), Err)
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

    /// Runs the wanted steps of a project; its outcome, and the first words of the table's lines.
    fn ran(text: &str, wanted: &Wanted) -> miette::Result<(Outcome, Vec<String>)> {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let project = crate::config::parse(text).expect("a good file");
        let runner = Runner::new(folder.clone(), Verbosity::Quiet, Children::default());
        let mut out = Vec::new();
        let tools = Tools::all_in(&folder);
        let outcome =
            ci(&project, Vec::new(), wanted, &bake::Options::default(), (&tools, &runner), &mut out)?;
        let table = String::from_utf8(out).expect("UTF-8");
        Ok((outcome, table.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()))
    }

    fn steps(text: &str) -> (Outcome, Vec<String>) {
        ran(&format!("[ci]\nsteps = [{text}]\n"), &Wanted::default()).expect("it ran")
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn steps_run_in_order() {
        let (outcome, table) =
            steps("{ name = \"a\", run = \"touch x\" }, { name = \"b\", run = \"test -f x\" }");
        assert_eq!((outcome, table), (Outcome::Yes, words(&["a", "b", "total"])));
    }

    #[test]
    fn the_first_failure_ends_it_with_its_code() {
        let (outcome, table) =
            steps("{ name = \"a\", run = \"exit 7\" }, { name = \"b\", run = \"exit 8\" }");
        assert_eq!((outcome, table), (Outcome::Code(7), words(&["a", "total"])));
    }

    const MANUAL: &str = "[[ci.step]]\nname = \"tag\"\nwhen = \"manual\"\nrun = \"true\"\n\
                          [[ci.step]]\nname = \"test\"\nrun = \"true\"\n";

    #[test]
    fn a_manual_step_runs_where_it_is_asked_for() {
        let table = |steps: &[&str], with: &[&str]| {
            ran(MANUAL, &Wanted { steps: words(steps), with: words(with) }).expect("it ran").1
        };
        assert_eq!(table(&[], &[]), ["test", "total"]);
        assert_eq!(table(&["tag"], &[]), ["tag", "total"]);
        assert_eq!(table(&[], &["tag"]), ["tag", "test", "total"]);
    }

    #[test]
    fn an_unknown_step_and_a_variable_that_is_not_set_are_told_before_anything_runs() {
        let fails = |text: &str, steps: &[&str]| {
            ran(text, &Wanted { steps: words(steps), with: Vec::new() }).expect_err("trouble").to_string()
        };
        assert_eq!(fails(MANUAL, &["tst"]), "larder.toml has no step `tst`");
        let text = "[[ci.step]]\nname = \"a\"\nrun = \"exit 3\"\n[[ci.step]]\nname = \"b\"\nrun = \"true\"\nenv = [\"NONE\"]\n";
        assert_eq!(fails(text, &[]), "step `b` needs the environment variable `NONE`, which is not set");
    }
}
