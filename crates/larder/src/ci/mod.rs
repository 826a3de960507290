//! A project's images and its own steps, in order, up to the first failure.

pub mod emit;
mod folders;
mod junit;
mod steps;
mod writers;

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Instant;

use camino::Utf8PathBuf;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use storekit::files;
use storekit::printable;
use thiserror::Error;
use toolkit::{Outcome, output};

use crate::bake;
use crate::config::Project;
use crate::config::step::Step;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, code};
use crate::process::tools::Tools;
use crate::tier::Route;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Made(Outcome),
    /// It failed, for this reason.
    Failed(Outcome, String),
    /// It was not begun: an image or a disk that it needs could not be baked.
    Unbaked(Outcome),
    /// Nothing that it reads has changed since it went well.
    Skipped,
}

impl Done {
    /// What it ended with, and why, where it failed.
    fn failure(self) -> Option<(Outcome, String)> {
        match self {
            Self::Skipped | Self::Made(Outcome::Yes) => None,
            Self::Made(failed) => Some((failed, "it is not done".to_owned())),
            Self::Failed(failed, why) => Some((failed, why)),
            Self::Unbaked(failed) => Some((failed, "not everything that it needs could be baked".to_owned())),
        }
    }
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
    /// None before this one.
    pub from: Option<String>,
    /// None of these.
    pub skip: Vec<String>,
    /// Where the run goes as `JUnit`'s XML; absolute.
    pub junit: Option<Utf8PathBuf>,
    /// Whether failures are told as GitHub's annotations, too.
    pub annotate: bool,
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

    #[error("step `{step}` needs the environment variable `{variable}`, which {how}")]
    #[diagnostic(
        code(larder::no_variable),
        help("nothing was begun; set `{variable}`, or take it out of `env`")
    )]
    NoVariable { step: String, variable: String, how: &'static str },
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
    unset(&chosen, options).next().map_or(Ok(()), Err)?;
    folders::are_there(project, &chosen, runner.folder())?;
    // A step that says what it bakes says when, too.
    let is_part = !wanted.steps.is_empty() || wanted.from.is_some();
    let tags = !options.route.tags.is_empty() && !is_part && wanted.skip.is_empty();
    if tags {
        let all = bake::Options { names: Vec::new(), ..options.clone() };
        bake::tags::can_be_made(project, &all, (tools, runner))?;
    }
    // No image gets its names before the last step has passed.
    let untagged = options.untagged();
    let mut kitchen = steps::Steps::new(project, &untagged, tools, runner)?;
    let bakes_itself = is_part || project.steps.iter().any(|step| !step.bake.is_empty());
    let mut checks = before;
    let is_empty = project.images.is_empty() && project.disks.is_empty();
    if !(bakes_itself || is_empty) {
        checks.push(Check::new("bake", |out| Ok(bake::bake(project, &untagged, tools, runner, out)?)));
        kitchen.all_is_baked = true;
    }
    let kitchen = &kitchen;
    checks.extend(chosen.into_iter().map(|step| {
        let run: Run<'_> = Box::new(move |out| kitchen.run(step, out));
        Check { name: step.name.clone(), run }
    }));
    if tags {
        let tag = |out: &mut dyn Write| Ok(bake::tags::give(project, options, (tools, runner), out)?);
        checks.push(Check::new("tags", tag));
    }
    let mut times = Times::default();
    let ended = run_all(checks, &mut times, out);
    let times = times.since(&kitchen.kept());
    kitchen.keep(&times);
    let told = report(&times, wanted, out);
    let outcome = ended?;
    told.map(|()| outcome)
}

/// Makes the checks up to the first that does not go well. Each that was begun is in `times`.
fn run_all(checks: Vec<Check<'_>>, times: &mut Times, out: &mut dyn Write) -> miette::Result<Outcome> {
    for check in checks {
        let started = Instant::now();
        let ran = (check.run)(out);
        let done = match ran {
            Ok(done) => done,
            Err(error) => {
                times.add(&check.name, started.elapsed(), Ended::Badly);
                // The error itself is the caller's to tell.
                times.blame(&error.to_string());
                return Err(error);
            }
        };
        let ended = if done == Done::Skipped { Ended::Skipped } else { Ended::Well };
        let Some((failed, why)) = done.failure() else {
            times.add(&check.name, started.elapsed(), ended);
            continue;
        };
        times.add(&check.name, started.elapsed(), Ended::Badly);
        output::say(&format!("failed: {}: {why}", check.name));
        times.blame(&why);
        return Ok(failed);
    }
    Ok(Outcome::Yes)
}

/// Prints the table of times, and tells a CI.
fn report(times: &Times, wanted: &Wanted, out: &mut dyn Write) -> miette::Result<()> {
    let written = write!(out, "{times}").and_then(|()| out.flush());
    let told = tell(times, wanted, out);
    written.into_diagnostic().wrap_err("cannot write the report").and(told)
}

/// Tells a CI what became of the steps, as far as it was asked for.
fn tell(times: &Times, wanted: &Wanted, out: &mut dyn Write) -> miette::Result<()> {
    if let Some(file) = &wanted.junit {
        let written = files::output::write(file, junit::xml(times).as_bytes());
        written.into_diagnostic().wrap_err_with(|| format!("cannot write `{file}`"))?;
    }
    if wanted.annotate {
        let written = out.write_all(junit::annotations(times).as_bytes()).and_then(|()| out.flush());
        written.into_diagnostic().wrap_err("cannot write the report")?;
    }
    Ok(())
}

/// Lists the steps: a line each, with what each does, and when.
///
/// # Errors
/// [`CiError`]; a list that cannot be written.
pub fn list(project: &Project, wanted: &Wanted, out: &mut dyn Write) -> miette::Result<Outcome> {
    let chosen = chosen(project, wanted)?;
    let width = |of: fn(&Step) -> usize| project.steps.iter().map(of).max().unwrap_or_default();
    let width = width(|step| step.name.chars().count());
    let line = |step: &Step| {
        let when = match (step.is_manual, chosen.iter().any(|other| other.name == step.name)) {
            (true, false) => "manual ",
            (false, false) => "left out",
            (_, true) => "runs",
        };
        let what = step.run.clone().unwrap_or_else(|| format!("bakes {}", step.bake.join(", ")));
        let what = what.lines().next().unwrap_or_default().to_owned();
        format!("{:width$}  {when:8}  {}\n", step.name, printable(&what))
    };
    let text: String = project.steps.iter().map(line).collect();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .into_diagnostic()
        .wrap_err("cannot write the list")?;
    Ok(Outcome::Yes)
}

/// Says what would be done, in order, and does nothing: which images would be built, and which
/// steps run. A variable that a step needs may be missing.
///
/// # Errors
/// Otherwise as [`ci`].
pub fn dry_run(
    project: &Project,
    wanted: &Wanted,
    options: &bake::Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let chosen = chosen(project, wanted)?;
    for lacking in unset(&chosen, options) {
        output::say(&format!("warning: {lacking}"));
    }
    folders::are_there(project, &chosen, runner.folder())?;
    let options = bake::Options { check: true, dry_run: true, ..options.untagged() };
    if !(project.images.is_empty() && project.disks.is_empty()) {
        bake::bake(project, &options, tools, runner, out)?;
    }
    let kitchen = steps::Steps::new(project, &options, tools, runner)?;
    let width = chosen.iter().map(|step| step.name.chars().count()).max().unwrap_or_default();
    for step in chosen {
        let word = if kitchen.would_skip(step)? { "would be skipped" } else { "would run" };
        writeln!(out, "{:width$}  {word}", step.name).into_diagnostic().wrap_err("cannot write the list")?;
    }
    Ok(Outcome::Yes)
}

/// Writes a workflow for the CI that does what `ci` does.
///
/// # Errors
/// Images that cannot be put in order; a text that cannot be written.
pub fn emit(
    project: &Project,
    forge: emit::Forge,
    options: &bake::Options,
    (tools, runner): (&Tools, &Runner),
    out: &mut dyn Write,
) -> miette::Result<Outcome> {
    let mut work = emit::Work::default();
    let names = project.steps.iter().filter(|step| !step.is_manual).flat_map(|step| step.env.iter().cloned());
    work.secrets = names.collect::<BTreeSet<_>>().into_iter().collect();
    // Without a tier each job would build anew what those before it have built.
    work.writes = writers::writes(forge, &project.profiles);
    if work.writes != writers::Writes::Never {
        let check = bake::Options { check: true, route: Route::default(), ..options.clone() };
        bake::each(project, &check, tools, runner, |baked| {
            let at = baked.wave.saturating_sub(1);
            work.waves.resize(work.waves.len().max(at + 1), Vec::new());
            work.waves.iter_mut().skip(at).take(1).for_each(|wave| wave.push(baked.image.clone()));
        })?;
    }
    work.add_keys(forge, project);
    let text = emit::workflow(forge, &work);
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .into_diagnostic()
        .wrap_err("cannot write the workflow")?;
    Ok(Outcome::Yes)
}

/// The steps to run, in the order of the file.
fn chosen<'a>(project: &'a Project, wanted: &Wanted) -> Result<Vec<&'a Step>, CiError> {
    let names: Vec<_> = project.steps.iter().map(|step| step.name.as_str()).collect();
    let told = wanted.steps.iter().chain(&wanted.with).chain(&wanted.from).chain(&wanted.skip);
    if let Some(name) = told.into_iter().find(|name| !names.contains(&name.as_str())) {
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
    let first = wanted.from.as_ref().and_then(|from| names.iter().position(|name| name == from));
    let later = project.steps.iter().skip(first.unwrap_or_default());
    Ok(later.filter(is_chosen).filter(|step| !wanted.skip.contains(&step.name)).collect())
}

/// What the steps need and the environment lacks. An empty value is none: a CI gives that for a
/// secret that it does not have.
fn unset<'a>(steps: &'a [&Step], options: &'a bake::Options) -> impl Iterator<Item = CiError> + 'a {
    let needed = steps.iter().flat_map(|step| step.env.iter().map(|variable| (step.name.clone(), variable)));
    needed.filter_map(|(step, variable)| {
        let how = match options.variables.get(variable).map(String::as_str) {
            None => "is not set",
            Some("") => "is empty",
            Some(_) => return None,
        };
        Some(CiError::NoVariable { step, variable: variable.clone(), how })
    })
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
        ran_with(text, wanted, &[])
    }

    /// The same with variables.
    fn ran_with(
        text: &str,
        wanted: &Wanted,
        variables: &[(&str, &str)],
    ) -> miette::Result<(Outcome, Vec<String>)> {
        let dir = tempfile::tempdir().expect("temp dir");
        let folder = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        let project = crate::config::parse(text).expect("a good file");
        let runner = Runner::new(folder.clone(), Verbosity::Quiet, Children::default());
        let mut out = Vec::new();
        let tools = Tools::all_in(&folder);
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = bake::Options { variables: variables.collect(), ..bake::Options::default() };
        let outcome = ci(&project, Vec::new(), wanted, &options, (&tools, &runner), &mut out)?;
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
            let wanted = Wanted { steps: words(steps), with: words(with), ..Wanted::default() };
            ran(MANUAL, &wanted).expect("it ran").1
        };
        assert_eq!(table(&[], &[]), ["test", "total"]);
        assert_eq!(table(&["tag"], &[]), ["tag", "total"]);
        assert_eq!(table(&[], &["tag"]), ["tag", "test", "total"]);
    }

    #[test]
    fn a_run_begins_later_and_leaves_steps_out() {
        let step = |name: &str| format!("[[ci.step]]\nname = \"{name}\"\nrun = \"true\"\n");
        let text = ["a", "b", "c"].map(step).concat();
        let table = |from: Option<&str>, skip: &[&str]| {
            let from = from.map(str::to_owned);
            ran(&text, &Wanted { from, skip: words(skip), ..Wanted::default() }).expect("it ran").1
        };
        assert_eq!(table(Some("b"), &[]), ["b", "c", "total"]);
        assert_eq!(table(None, &["b"]), ["a", "c", "total"]);
        assert_eq!(table(Some("b"), &["c"]), ["b", "total"]);
        assert!(ran(&text, &Wanted { skip: words(&["d"]), ..Wanted::default() }).is_err());
    }

    #[test]
    fn a_step_must_make_what_it_says() {
        let step = |run: &str, more: &str| {
            format!("[[ci.step]]\nname = \"a\"\nrun = \"{run}\"\noutputs = [\"made/*\"]\n{more}")
        };
        let outcome = |text: &str| ran(text, &Wanted::default()).expect("it ran").0;
        assert_eq!(outcome(&step("mkdir made && touch made/x", "")), Outcome::Yes);
        assert_eq!(outcome(&step("true", "")), Outcome::No);
        let late = "[[ci.step]]\nname = \"a\"\nrun = \"exec sleep 60\"\ntimeout = \"1s\"\n";
        assert_eq!(outcome(late), Outcome::Code(2));
        let deep = |outputs: &str, make: &str, dir: &str| {
            format!(
                "[[ci.step]]\nname = \"a\"\n{outputs}\nrun = \"{make}\"\n[[ci.step]]\nname = \"b\"\ndir = \"{dir}\"\nrun = \"test $(basename $PWD) = d\"\n"
            )
        };
        let make = "mkdir d && touch d/x";
        for dir in ["d", "./d/"] {
            assert_eq!(outcome(&deep("outputs = [\"d/*\"]", make, dir)), Outcome::Yes, "{dir}");
        }
        // Made by none, it is an error before anything runs; by one that makes another, then.
        for text in [deep("", make, "d"), deep("outputs = [\"e/*\"]", "exit 9", "d")] {
            let error = ran(&text, &Wanted::default()).expect_err("no folder").to_string();
            assert!(error.contains("the folder `d` of step `b` does not exist"), "{error}");
        }
        assert_eq!(outcome(&deep("outputs = [\"*\"]", "touch x", "d")), Outcome::Code(2));
    }

    #[test]
    fn an_unknown_step_and_a_variable_that_is_not_set_are_told_before_anything_runs() {
        let fails = |text: &str, steps: &[&str]| {
            let wanted = Wanted { steps: words(steps), ..Wanted::default() };
            ran(text, &wanted).expect_err("trouble").to_string()
        };
        assert_eq!(fails(MANUAL, &["tst"]), "larder.toml has no step `tst`");
        let text = "[[ci.step]]\nname = \"a\"\nrun = \"exit 3\"\n[[ci.step]]\nname = \"b\"\nrun = \"true\"\nenv = [\"NONE\"]\n";
        assert_eq!(fails(text, &[]), "step `b` needs the environment variable `NONE`, which is not set");
        let with = |value| ran_with(text, &Wanted::default(), &[("NONE", value)]);
        assert_eq!(
            with("").expect_err("no value").to_string(),
            "step `b` needs the environment variable `NONE`, which is empty"
        );
        assert_eq!(with("x").expect("it ran").0, Outcome::Code(3));
    }
}
