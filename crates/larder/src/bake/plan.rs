//! Which images are baked, and in which order: what an image is built from comes before it.
//!
//! That is asked of hashctx, which reads Dockerfiles. An image is found by any of its tags, as its
//! engine would find it. Limit: an image of another engine's is not a base: that engine would not
//! find it either.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::engines::Engines;
use super::flow::special_file;
use super::{BakeError, Options};
use crate::config::Project;
use crate::config::chosen::chosen_images;
use crate::config::image::Image;
use crate::config::names;
use crate::engine::Engine;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, succeeded};
use crate::process::tools::Tools;
use crate::schedule::{self, Seat};

/// An image to bake.
pub(super) struct Planned {
    /// With its engine settled.
    pub(super) image: Image,
    /// Whether it was asked for, and not only what stands on it.
    pub(super) asked: bool,
    /// The images that its build starts from or copies from, as its Dockerfile has them. `None`:
    /// that cannot be known.
    pub(super) uses: Option<Vec<String>>,
    /// Those of them that larder.toml has, each with its name there.
    pub(super) bases: BTreeMap<String, String>,
    /// The frontend that the Dockerfile names without a digest.
    pub(super) frontend: Option<String>,
    /// Whether a frontend reads the Dockerfile that is not docker's own.
    pub(super) foreign: bool,
    /// The digests that the build takes images by, by their names in the Dockerfile.
    pub(super) pins: BTreeMap<String, String>,
}

impl Planned {
    /// The images of larder.toml that it is built after: those that it is built from, and those
    /// that it needs.
    pub(super) fn below(&self) -> impl Iterator<Item = &String> {
        self.bases.values().chain(&self.image.needs)
    }
}

/// The images to bake, bases first; and the engines, of which the default is found now if any image
/// needs it.
///
/// # Errors
/// A cycle, an unknown name, an interruption.
pub(super) fn plan<'a>(
    project: &Project,
    options: &'a Options,
    tools: &'a Tools,
    runner: &'a Runner,
) -> Result<(Vec<Planned>, Engines<'a>), BakeError> {
    let asked = chosen_images(project, &options.names)?;
    let engines = Engines::new(options, tools, runner);
    let ahead = BTreeMap::new();
    let mut planner =
        Planner { project, engines, tools, runner, ahead, path: Vec::new(), planned: Vec::new() };
    planner.ask_ahead(&asked, options.jobs)?;
    for image in &asked {
        planner.visit(image)?;
    }
    let Planner { mut planned, engines, .. } = planner;
    for one in &mut planned {
        one.asked = asked.iter().any(|image| image.name == one.image.name);
    }
    Ok((planned, engines))
}

struct Planner<'p, 'a> {
    project: &'p Project,
    engines: Engines<'a>,
    tools: &'a Tools,
    runner: &'a Runner,
    /// What was asked of Dockerfiles before their images' turn.
    ahead: BTreeMap<String, Result<Uses, RunError>>,
    /// The images that stand on the one that is looked at.
    path: Vec<String>,
    planned: Vec<Planned>,
}

impl Planner<'_, '_> {
    fn visit(&mut self, image: &Image) -> Result<(), BakeError> {
        if self.planned.iter().any(|planned| planned.image.name == image.name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|name| *name == image.name) {
            return Err(cycle(self.project, image, self.path.get(start..).unwrap_or_default()));
        }
        self.path.push(image.name.clone());
        let image = Image { engine: Some(self.engines.of(image)?), ..image.clone() };
        // What is wrong is told when it is the image's turn.
        let uses = self.ahead.remove(&image.name);
        let uses = match uses.unwrap_or_else(|| look(&image, self.tools, self.runner)) {
            Err(error) if error.is_interruption() => return Err(error.into()),
            uses => uses.ok(),
        };
        let (uses, frontend, foreign) = match uses {
            Some(Uses { images, frontend, foreign }) => (Some(images), frontend, foreign),
            None => (None, None, false),
        };
        let bases = self.bases(uses.as_deref().unwrap_or_default(), image.builder())?;
        let project = self.project;
        let is_below = |other: &&Image| {
            bases.values().any(|base| *base == other.name) || image.needs.contains(&other.name)
        };
        for base in project.images.iter().filter(is_below) {
            self.visit(base)?;
        }
        self.path.pop();
        let pins = BTreeMap::new();
        self.planned.push(Planned { image, asked: false, uses, bases, frontend, foreign, pins });
        Ok(())
    }

    /// Asks of all Dockerfiles at once what they name: one after the other, a hundred take their
    /// time.
    fn ask_ahead(&mut self, images: &[&Image], jobs: usize) -> Result<(), RunError> {
        if images.len() < 2 || jobs < 2 {
            return Ok(());
        }
        let mut settled = Vec::new();
        for image in images {
            settled.push(Image { engine: Some(self.engines.of(image)?), ..(*image).clone() });
        }
        let (tools, runner) = (self.tools, self.runner);
        let found = Mutex::new(BTreeMap::new());
        let ask = |at: usize, _: &Seat<'_, RunError>| {
            if let Some(image) = settled.get(at) {
                let uses = look(image, tools, runner);
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(image.name.clone(), uses);
            }
            Ok(())
        };
        schedule::run(&vec![Vec::new(); settled.len()], jobs, ask, &[], |_| ())?;
        self.ahead = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Of the references, those that name an image of larder.toml, with its name there.
    fn bases(&mut self, references: &[String], engine: Engine) -> Result<BTreeMap<String, String>, RunError> {
        let project = self.project;
        let mut owners = BTreeMap::new();
        for image in &project.images {
            if self.engines.of(image)? == engine {
                owners.extend(image.tags.iter().map(|tag| (names::given(tag, engine), &image.name)));
            }
        }
        let owner = |reference: &String| {
            let full =
                names::sought(reference, engine).into_iter().find_map(|name| owners.get(&name).copied());
            Some((reference.clone(), full?.clone()))
        };
        Ok(references.iter().filter(|reference| !reference.contains('@')).filter_map(owner).collect())
    }
}

fn cycle(project: &Project, image: &Image, path: &[String]) -> BakeError {
    let mut names: Vec<_> = path.iter().map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    let message = format!("images are built from one another: {}", names.join(" from "));
    let help = "each `FROM`, or `--from`, names the next one by one of its `tags`, or it is in `needs`: give one of them another name";
    project.fault(image, message, help).into()
}

/// One line of `hashctx --images --json`.
#[derive(Deserialize)]
struct Used {
    image: Option<String>,
    frontend: Option<String>,
    #[serde(default)]
    foreign: bool,
}

/// What a Dockerfile names.
#[derive(Default)]
struct Uses {
    /// The images that the build starts from or copies from, sorted.
    images: Vec<String>,
    frontend: Option<String>,
    foreign: bool,
}

/// The images that a build starts from or copies from, as its Dockerfile has them. What hashctx
/// says against it is shown.
pub(super) fn uses(image: &Image, tools: &Tools, runner: &Runner) -> Result<Vec<String>, RunError> {
    asked(image, tools, |cmd| runner.capture(cmd)).map(|uses| uses.images)
}

/// As `asked`; a Dockerfile that is not a file would be waited for without end.
fn look(image: &Image, tools: &Tools, runner: &Runner) -> Result<Uses, RunError> {
    match special_file(image, runner.folder()) {
        Some(path) => Err(RunError::SpecialFile { path }),
        None => asked(image, tools, |cmd| runner.ask(cmd)),
    }
}

fn asked(
    image: &Image,
    tools: &Tools,
    ask: impl FnOnce(&Cmd) -> Result<(ExitStatus, Vec<u8>), RunError>,
) -> Result<Uses, RunError> {
    let Some(cmd) = image.images(tools.hashctx().args(["--images", "--json"])) else {
        return Ok(Uses::default());
    };
    let (status, json) = ask(&cmd)?;
    succeeded(&cmd, status)?;
    let mut uses = Uses::default();
    for line in serde_json::Deserializer::from_slice(&json).into_iter::<Used>() {
        let lost = |error: serde_json::Error| RunError::Lost {
            program: cmd.program().to_owned(),
            source: error.into(),
        };
        let line = line.map_err(lost)?;
        uses.images.extend(line.image);
        uses.frontend = uses.frontend.or(line.frontend);
        uses.foreign |= line.foreign;
    }
    uses.images.sort();
    uses.images.dedup();
    Ok(uses)
}
