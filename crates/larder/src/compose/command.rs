//! `bake --compose` and `unbake`: the files are read, their services baked, and the images pinned.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::{Engine, Outcome, output};

use super::images::{Composed, Wanted, read};
use super::load::Loader;
use super::paths::{seen_from, tidy};
use super::pinned::Pinned;
use super::project::{Request, Surroundings, find};
use super::source::ComposeError;
use super::write::{self, Pins, Places, Standing, Step, Write, WriteError, originals};
use crate::bake::{self, Options};
use crate::config::image::PINNED;
use crate::config::{self, Given, Project};
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;
use crate::report::{Baked, State};

/// How long an engine may take to say whether it knows compose.
const STARTER_PATIENCE: Duration = Duration::from_secs(5);

/// What is to be baked and where it is to be written.
pub struct Order<'a> {
    /// What the command line says of the files.
    pub request: &'a Request,
    /// What the process and larder.toml say.
    pub around: Surroundings<'a>,
    /// The services; none means those of larder.toml, else all that are built.
    pub names: &'a [String],
    /// Whether the files are edited, whatever larder.toml says.
    pub in_place: bool,
    /// A devcontainer.json, as the command line names it.
    pub devcontainer: Option<&'a Utf8Path>,
    /// The larder.toml, where there is one.
    pub file: Option<&'a Utf8Path>,
    /// What is set above it.
    pub given: &'a Given<'a>,
}

/// A project that is ready to be baked.
pub struct Prepared<'a> {
    order: &'a Order<'a>,
    composed: Composed,
    project: Project,
    places: Places,
    in_place: bool,
    root: Utf8PathBuf,
}

/// Reads all that is to be baked, and refuses what could not be written then.
///
/// # Errors
/// Files that are not there or say something wrong; files that somebody has edited since the last
/// bake.
pub fn prepare<'a>(order: &'a Order<'a>) -> miette::Result<Prepared<'a>> {
    let places = places(order)?;
    let standing = places.standing()?;
    let in_place = order.in_place || order.around.settings.is_some_and(|(settings, _)| settings.in_place);
    let root = order.file.and_then(Utf8Path::parent);
    let mut composed = read(&wanted(order), &originals(&standing.record, &places.folder))?;
    let mut edited: Vec<_> =
        composed.said_in.iter().filter_map(|(file, _)| composed.sources.get(*file)).collect();
    edited.sort_by(|one, other| one.path.cmp(&other.path));
    edited.dedup_by(|one, other| one.path == other.path);
    let edited: Vec<_> = edited.into_iter().map(|source| source.path.clone()).collect();
    let writes = places.written(in_place, &edited);
    for service in &mut composed.services.services {
        service.writes.clone_from(&writes);
    }
    let project = config::with_services(order.file, &composed.services, order.given)?;
    let root = root.unwrap_or(&composed.folder).to_owned();
    let prepared = Prepared { order, composed, project, places, in_place, root };
    // As it will be, but for the keys: what cannot be edited is not baked in vain.
    let pins = prepared.names().iter().map(|name| (name.clone(), format!("{name}:{PINNED}")));
    prepared.steps(&standing, &pins.collect())?;
    Ok(prepared)
}

fn wanted<'a>(order: &'a Order<'a>) -> Wanted<'a> {
    let root = order.file.and_then(Utf8Path::parent);
    Wanted { request: order.request, around: order.around, root, names: order.names }
}

/// Where is written.
fn places(order: &Order<'_>) -> Result<Places, ComposeError> {
    let folder = folder(order.request, order.around)?;
    let named = order.devcontainer.map(|path| tidy(&order.around.folder.join(path)));
    let in_file = || {
        let (settings, root) = order.around.settings?;
        Some(tidy(&root.join(settings.devcontainer.as_ref()?)))
    };
    Ok(Places { folder, devcontainer: named.or_else(in_file) })
}

/// The project's folder.
fn folder(request: &Request, around: Surroundings<'_>) -> Result<Utf8PathBuf, ComposeError> {
    let home = around.variables.get("HOME").map(String::as_str);
    let mut loader = Loader::new(around.folder, home, &|_, _| None);
    find(request, around, &mut loader).map(|found| found.folder)
}

impl Prepared<'_> {
    /// The folder that larder works in: that of larder.toml, else the project's own.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The images, as those of a larder.toml.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The names of those to be baked.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.composed.chosen
    }

    /// Bakes the services and pins their images. Nothing is written where one could not be baked,
    /// or in a check. Names that earlier bakes gave and nothing names any more are taken away, as
    /// `state`, the user's folder for such notes, has them.
    ///
    /// # Errors
    /// As those of a bake; what cannot be written.
    pub fn bake(
        &self,
        options: &Options,
        state: Option<&Utf8Path>,
        (tools, runner): (&Tools, &Runner),
        out: &mut (impl std::io::Write + ?Sized),
    ) -> miette::Result<Outcome> {
        self.composed.notes.iter().for_each(|note| output::say(&format!("warning: {note}")));
        let is_check = options.check || options.prove;
        let given = Pinned::new(state, &self.places.folder);
        let using = given.using();
        let mut pins = Pins::new();
        let mut engines = BTreeMap::new();
        let mut note = |baked: &Baked| {
            let is_done = matches!(baked.state, State::Hit | State::Built);
            let Some(pinned) = baked.pinned.as_ref().filter(|_| is_done) else { return };
            let engine = baked.engine.and_then(Engine::named);
            // Also where another service fails, or only needs this one: the name is there.
            if let Some(engine) = engine.filter(|_| !is_check)
                && let Ok(_lock) = self.places.lock()
            {
                given.add(engine, pinned);
            }
            if self.names().contains(&baked.image) {
                pins.insert(baked.image.clone(), pinned.clone());
                engines.extend(engine.map(|engine| (baked.image.clone(), engine)));
            }
        };
        let outcome = bake::bake_and(&self.project, options, tools, runner, &mut note, out)?;
        if outcome != Outcome::Yes || is_check {
            return Ok(outcome);
        }
        let lock = self.places.lock()?;
        // Somebody may have edited a file meanwhile.
        let standing = self.places.standing()?;
        let (all, steps) = self.steps(&standing, &pins)?;
        for step in &steps {
            runner.say(&step.to_string());
        }
        write::carry_out(&steps)?;
        // A larder without notes has pinned these.
        for (service, old) in write::all_pins(&standing, &Pins::new(), |_| true) {
            if let Some(engine) = engines.get(&service).filter(|_| self.is_own(&service, &old)) {
                given.add(*engine, &old);
            }
        }
        drop(using);
        given.take_away(&all.values().map(String::as_str).collect(), (tools, runner))?;
        drop(lock);
        if runner.verbosity() > Verbosity::Quiet {
            let is_podmans = !engines.is_empty() && engines.values().all(|engine| *engine == Engine::Podman);
            let engine = if is_podmans { Engine::Podman } else { Engine::Docker };
            self.say(&all, steps.is_empty(), &self.starter(engine, tools, runner)?);
        }
        Ok(outcome)
    }

    /// What pins these images, and those of an earlier bake that stay.
    fn steps(&self, standing: &Standing, pins: &Pins) -> Result<(Pins, Vec<Step>), WriteError> {
        let services = &self.composed.services.services;
        let is_built = |name: &str| services.iter().any(|service| service.name == name);
        let all = write::all_pins(standing, pins, is_built);
        let write = if self.in_place {
            Write::InPlace(write::verified(&self.composed, &all, &wanted(self.order))?)
        } else {
            Write::Override
        };
        let steps = write::written(&self.places, standing, &all, &write)?;
        Ok((all, steps))
    }

    /// Whether a bake gave this name to the service's image.
    fn is_own(&self, service: &str, image: &str) -> bool {
        let services = &self.composed.services.services;
        let own = services.iter().find(|own| own.name == service);
        own.is_some_and(|own| image.starts_with(&format!("{}:{PINNED}", own.pin)))
    }

    /// What starts services on the engine here: the engine's own command, or the program on PATH.
    /// Where there is none, the usual one.
    fn starter(&self, engine: Engine, tools: &Tools, runner: &Runner) -> Result<String, RunError> {
        let path = self.order.around.variables.get("PATH").map_or("", String::as_str);
        let is_there =
            |program: &str| std::env::split_paths(path).any(|folder| folder.join(program).is_file());
        let own = tools.engine(engine, "compose");
        let has_own = || match runner.ask(&own.clone().arg("version").within(Some(STARTER_PATIENCE))) {
            Err(error) if error.is_interruption() => Err(error),
            ended => Ok(ended.is_ok_and(|(status, _)| status.success())),
        };
        let program = format!("{}-compose", engine.name());
        // podman's own needs one of the programs, and says so each time.
        let program_first = engine == Engine::Podman && is_there(&program);
        Ok(if !program_first && has_own()? {
            own.to_string()
        } else if is_there(&program) || engine == Engine::Podman {
            program
        } else {
            own.to_string()
        })
    }

    fn say(&self, pins: &Pins, as_before: bool, program: &str) {
        let count = toolkit::words::count(pins.len(), "image");
        let verb = if as_before { "already pinned" } else { "pinned" };
        let from = &self.order.around.folder;
        let shown = |path: &Utf8PathBuf| crate::process::command::quoted(seen_from(from, path).as_str());
        let above = self.places.override_file();
        let mut line = program.to_owned();
        if !(self.in_place && self.composed.by_default) {
            let files = self.composed.files.iter().chain((!self.in_place).then_some(&above));
            line.extend(files.map(|file| format!(" -f {}", shown(file))));
        }
        let place = if self.in_place { "in place".to_owned() } else { format!("in {}", shown(&above)) };
        output::say(&format!("{count} {verb} {place}; next: `{line} up --no-build`"));
    }
}

/// Takes back what bakes have written into a project, and the names that they gave to images.
///
/// # Errors
/// Files that are not there; files that somebody has edited since.
pub fn unbake(
    request: &Request,
    around: Surroundings<'_>,
    state: Option<&Utf8Path>,
    (tools, runner): (&Tools, &Runner),
    out: &mut (impl std::io::Write + ?Sized),
) -> miette::Result<Outcome> {
    use miette::{IntoDiagnostic, WrapErr};
    let places = Places { folder: folder(request, around)?, devcontainer: None };
    let said = write::unbake(&places)?;
    if said.is_empty() {
        output::say(&format!("nothing is baked into the files in {}", places.folder));
    }
    let written = said.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
    written.into_diagnostic().wrap_err("cannot write to stdout")?;
    let _lock = places.lock()?;
    // Somebody may bake again already.
    let named = write::all_pins(&places.standing()?, &Pins::new(), |_| true);
    let named = named.values().map(String::as_str).collect();
    let gone = Pinned::new(state, &places.folder).take_away(&named, (tools, runner))?;
    if gone.left > 0 {
        let left = toolkit::words::count(gone.left, "name");
        output::say(&format!(
            "{left} of baked images stayed: a container uses the image, the engine does not answer, or something is being baked; unbake again"
        ));
    }
    Ok(Outcome::Yes)
}
