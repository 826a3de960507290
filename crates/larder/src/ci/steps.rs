//! One step of the project's own: what it bakes, whether it has to run at all, and what is kept of
//! it.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use miette::{IntoDiagnostic, WrapErr};
use storekit::files::replace::{Durability, replace};
use storekit::store::Store;
use storekit::{Digest, Platform};
use toolkit::{Outcome, output};

use super::Done;
use crate::bake::{self, Options};
use crate::config::Project;
use crate::config::chosen::chosen_images;
use crate::config::image::Image;
use crate::config::step::Step;
use crate::disk::glob;
use crate::note;
use crate::process::command::Cmd;
use crate::process::masked::Secrets;
use crate::process::runner::{RunError, Runner, Verbosity, code};
use crate::process::tools::Tools;
use crate::times::Times;

/// So much of earlier times is read, in bytes.
const KEPT: u64 = 1 << 20;

/// What all steps of a run have in common.
pub(super) struct Steps<'a> {
    project: &'a Project,
    options: &'a Options,
    tools: &'a Tools,
    runner: &'a Runner,
    /// The folder for what the steps print.
    log: Option<Utf8PathBuf>,
    /// Whether no step has to bake its image.
    pub(super) all_is_baked: bool,
}

impl<'a> Steps<'a> {
    /// Makes the folder of the logs.
    pub(super) fn new(
        project: &'a Project,
        options: &'a Options,
        tools: &'a Tools,
        runner: &'a Runner,
    ) -> miette::Result<Self> {
        let log = project.ci_log.as_ref().map(|log| runner.folder().join(log));
        if let Some(log) = &log {
            let made = std::fs::create_dir_all(log).into_diagnostic();
            made.wrap_err_with(|| format!("cannot make the folder `{log}` of `[ci] log`"))?;
        }
        Ok(Self { project, options, tools, runner, log, all_is_baked: false })
    }

    /// Bakes what the step needs and runs its line, unless nothing that it reads has changed since
    /// its last success.
    pub(super) fn run(&self, step: &Step, out: &mut dyn Write) -> miette::Result<Done> {
        let image = step.image.as_ref().map(|name| self.image(name)).transpose()?;
        let mut names = step.bake.clone();
        names.extend(image.filter(|_| !self.all_is_baked).map(|image| image.name.clone()));
        if !names.is_empty() {
            let options = Options { names, ..self.options.clone() };
            let baked = bake::bake(self.project, &options, self.tools, self.runner, out)?;
            if baked != Outcome::Yes {
                return Ok(Done::Unbaked(baked));
            }
        }
        let Some(run) = &step.run else { return Ok(Done::Made(Outcome::Yes)) };
        if let Some(glob) = self.nothing_of(&step.inputs, "inputs")? {
            let why = format!("`{glob}`, one of its `inputs`, names no file");
            return Ok(Done::Failed(Outcome::Code(2), why));
        }
        let key = self.key(step, run, image)?;
        if key.is_some() && key == self.last(step) && self.lacking(step)?.is_none() {
            if self.runner.verbosity() > Verbosity::Quiet {
                output::say(&format!("skipped: {}: its inputs are those of its last success", step.name));
            }
            return Ok(Done::Skipped);
        }
        self.made(step, run, image, key.as_deref())
    }

    /// Runs the step's line.
    fn made(&self, step: &Step, run: &str, image: Option<&Image>, key: Option<&str>) -> miette::Result<Done> {
        let failed = |outcome, how: &str| Ok(Done::Failed(outcome, self.why(step, run, how)));
        let cmd = Cmd::new("sh").arg("-c").arg(run).within(step.timeout.map(|limit| limit.0));
        let cmd = match &step.dir {
            Some((dir, _)) if !self.runner.folder().join(dir).is_dir() => {
                let how = format!("was not run: its folder `{dir}` does not exist");
                return Ok(Done::Failed(Outcome::Code(2), format!("{} {how}", named(run))));
            }
            Some((dir, _)) => cmd.inside(self.runner.folder().join(dir)),
            None => cmd,
        };
        let cmd = match image.and_then(|image| image.tags.first()) {
            Some(tag) => cmd.env("LARDER_IMAGE", tag),
            None => cmd,
        };
        let log = self.log.as_ref().map(|log| log.join(file_name(&step.name, "log")));
        let ended = match self.runner.show_and_keep(&cmd.step(), log.as_deref(), self.secrets(step)) {
            Err(RunError::Late { limit, .. }) => {
                return failed(
                    Outcome::Code(2),
                    &format!("was ended: it took longer than {limit} (`timeout`)"),
                );
            }
            ended => code(ended?).unwrap_or(2),
        };
        if ended != 0 {
            return failed(Outcome::Code(ended), &format!("ended with code {ended}"));
        }
        if let Some(glob) = self.lacking(step)? {
            output::say(&format!("error: {}: it made nothing that is like `{glob}`", step.name));
            return failed(Outcome::No, "did not make what it is to make");
        }
        self.remember(step, key);
        Ok(Done::Made(Outcome::Yes))
    }

    /// What is not shown of what the step prints.
    fn secrets(&self, step: &Step) -> Secrets {
        Secrets::of(self.values(step).map(|(_, value)| value))
    }

    /// The variables that the step names, with their values.
    fn values<'s>(&'s self, step: &'s Step) -> impl Iterator<Item = (&'s str, &'s str)> {
        let value = |name: &'s String| Some((name.as_str(), self.options.variables.get(name)?.as_str()));
        step.env.iter().filter_map(value)
    }

    /// Whether the step would be skipped now. A step that bakes is not.
    pub(super) fn would_skip(&self, step: &Step) -> miette::Result<bool> {
        let Some(run) = &step.run else { return Ok(false) };
        let image = step.image.as_ref().map(|name| self.image(name)).transpose()?;
        // What is not there yet may be made by a bake or a step before.
        if self.nothing_of(&step.inputs, "inputs")?.is_some() {
            return Ok(false);
        }
        let key = self.key(step, run, image)?;
        Ok(key.is_some() && key == self.last(step) && self.lacking(step)?.is_none())
    }

    /// The pattern of what the step makes, where there is nothing of it.
    fn lacking<'s>(&self, step: &'s Step) -> miette::Result<Option<&'s str>> {
        self.nothing_of(&step.outputs, "outputs")
    }

    /// The first pattern that names no file.
    fn nothing_of<'p>(&self, patterns: &'p [String], what: &str) -> miette::Result<Option<&'p str>> {
        for pattern in patterns {
            if self.files(pattern, what)?.is_empty() {
                return Ok(Some(pattern));
            }
        }
        Ok(None)
    }

    fn files(&self, pattern: &str, what: &str) -> miette::Result<Vec<Utf8PathBuf>> {
        let found = glob::files(self.runner.folder(), pattern).into_diagnostic();
        found.wrap_err_with(|| format!("cannot read the {what} `{pattern}`"))
    }

    /// Why the step failed: its command and how that ended, and where what it printed is.
    fn why(&self, step: &Step, run: &str, how: &str) -> String {
        let printed = self.log.as_ref().map(|log| {
            let log = log.join(file_name(&step.name, "log"));
            let log = log.strip_prefix(self.runner.folder()).unwrap_or(&log);
            format!("; what it printed is in {log}")
        });
        format!("{} {how}{}", named(run), printed.unwrap_or_default())
    }

    /// What earlier runs have kept of their times; the last mebibyte of it.
    pub(super) fn kept(&self) -> String {
        let Some(log) = &self.log else { return String::new() };
        let read = || {
            let mut file = std::fs::File::open(log.join("times.ndjson"))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(KEPT)))?;
            let mut bytes = Vec::new();
            file.take(KEPT).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    fn image(&self, name: &str) -> miette::Result<&'a Image> {
        let found = chosen_images(self.project, &[name.to_owned()])?;
        // Of several platforms that which can run here.
        let own = found.iter().find(|image| image.platform() == Platform::host());
        own.or(found.first()).copied().ok_or_else(|| miette::miette!("larder.toml has no image `{name}`"))
    }

    /// The key of all that the step reads, where it says so.
    fn key(&self, step: &Step, run: &str, image: Option<&Image>) -> miette::Result<Option<String>> {
        if step.inputs.is_empty() {
            return Ok(None);
        }
        let mut files = Vec::new();
        for pattern in &step.inputs {
            files.extend(self.files(pattern, "inputs")?);
        }
        files.sort();
        files.dedup();
        let mut temp = tempfile::NamedTempFile::new().into_diagnostic()?;
        files.iter().try_for_each(|file| write!(temp, "{file}\0")).into_diagnostic()?;
        let Some(path) = Utf8Path::from_path(temp.path()) else { return Ok(None) };
        let cmd = self.tools.hashctx().args(["-q", "--allow-empty", "--files-from"]).path(path).arg("-0");
        let cmd = cmd.flag("--input", &format!("run={run}"));
        let cmd = match &step.dir {
            Some((dir, _)) => cmd.flag("--input", &format!("dir={dir}")),
            None => cmd,
        };
        let cmd = match image.map(|image| self.key_of(image)).transpose()? {
            Some(Some(key)) => cmd.flag("--input", &format!("image={key}")),
            // What is not saved may be anything.
            Some(None) => return Ok(None),
            None => cmd,
        };
        let key = self.runner.output(&cmd.arg("."))?;
        Ok(Some(self.with_values(step, String::from_utf8_lossy(&key).trim())))
    }

    /// The key with the values of the step's variables. They are in no command line, and nobody
    /// learns them from what is noted.
    fn with_values(&self, step: &Step, key: &str) -> String {
        let values: BTreeMap<_, _> = self.values(step).collect();
        if values.is_empty() {
            return key.to_owned();
        }
        let digest = |value: &str| Digest::of(value.as_bytes());
        let lines = values.iter().map(|(name, value)| format!("{name}={}\n", digest(value)));
        Digest::of(format!("{key}\n{}", lines.collect::<String>()).as_bytes()).to_string()
    }

    /// The key of the image as it is now, where it is stored.
    fn key_of(&self, image: &Image) -> miette::Result<Option<String>> {
        let options = Options { names: vec![image.name.clone()], check: true, ..self.options.clone() };
        let mut key = None;
        bake::each(self.project, &options, self.tools, self.runner, |baked| {
            if baked.image == image.name && baked.saved {
                key.clone_from(&baked.key);
            }
        })?;
        Ok(key)
    }

    /// The key of the step's last success.
    fn last(&self, step: &Step) -> Option<String> {
        std::fs::read_to_string(self.note(step)?).ok().filter(|key| !key.is_empty())
    }

    /// Notes the success; one that cannot be noted is made again.
    fn remember(&self, step: &Step, key: Option<&str>) {
        if let (Some(note), Some(key)) = (self.note(step), key) {
            let _ = replace(&note, key.as_bytes(), Durability::Unsynced);
        }
    }

    /// The file that has the key.
    fn note(&self, step: &Step) -> Option<Utf8PathBuf> {
        let store = self.options.store.as_deref()?;
        Store::open_or_create(store).ok()?;
        Some(store.join(note::file_name("ci-step", &[self.runner.folder().as_str(), &step.name])))
    }

    /// Adds the times to those of earlier runs; what cannot be written is only a warning.
    pub(super) fn keep(&self, times: &Times) {
        let Some(log) = &self.log else { return };
        let file = log.join("times.ndjson");
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        let written = opened.and_then(|mut to| to.write_all(times.json(jiff::Timestamp::now()).as_bytes()));
        if let Err(error) = written {
            output::say(&format!("warning: cannot write `{file}`: {error}"));
        }
    }
}

/// The line as messages have it: its first one.
fn named(run: &str) -> String {
    format!("`{}`", storekit::printable(run.lines().next().unwrap_or_default()))
}

/// The step's name as a file's.
fn file_name(step: &str, end: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = step.chars().map(plain).collect();
    format!("{}.{end}", name.trim_start_matches('.'))
}
