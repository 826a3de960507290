//! Which images and disks are baked, and in which order: what one is made from comes before it.
//!
//! That is asked of hashctx, which reads Dockerfiles. An image is found by any of its tags, as its
//! engine would find it. One of another engine's is refused: that engine has whatever else it was
//! given under the name, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use storekit::Platform;
use toolkit::Engine;

use super::feeds::{feeds, feeds_of_disk};
use super::pieces::{Piece, Planned, PlannedDisk, Remote};
use crate::bake::engines::Engines;
use crate::bake::error::BakeError;
use crate::bake::inputs::special_file;
use crate::bake::options::Options;
use crate::config::Project;
use crate::config::chosen::{chosen_disks, chosen_images};
use crate::config::disk::Disk;
use crate::config::image::{IMAGE, Image};
use crate::config::names;
use crate::process::command::Cmd;
use crate::process::runner::{RunError, Runner, succeeded};
use crate::process::tools::Tools;
use crate::schedule::{self, Seat};

/// The images and disks to bake, each after those that it is made from, each image with its engine;
/// the default is found now if any needs it. To prove something, only those disks are baked that an
/// image comes after.
///
/// # Errors
/// A cycle, an unknown name, an interruption.
pub(in crate::bake) fn plan(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<Piece>, BakeError> {
    let asked = chosen_images(project, &options.names)?;
    let disks = if options.prove { Vec::new() } else { chosen_disks(project, &options.names) };
    let engines = Engines::new(options, tools, runner);
    let ahead = BTreeMap::new();
    let mut planner =
        Planner { project, engines, tools, runner, ahead, path: Vec::new(), pieces: Vec::new() };
    planner.ask_ahead(&asked, options.jobs)?;
    for image in &asked {
        planner.visit(image)?;
    }
    for disk in &disks {
        planner.visit_disk(disk)?;
    }
    let mut pieces = planner.pieces;
    let stood_on: BTreeSet<String> = pieces.iter().flat_map(Piece::below).cloned().collect();
    for piece in &mut pieces {
        match piece {
            Piece::Disk(one) => one.asked = disks.iter().any(|disk| disk.name == one.disk.name),
            Piece::Image(one) => {
                one.asked = asked.iter().any(|image| image.name == one.image.name);
                let is_named = one.asked && !options.names.is_empty();
                one.only_below = stood_on.contains(&one.image.name) && !is_named;
            }
        }
    }
    Ok(pieces)
}

struct Planner<'p, 'a> {
    project: &'p Project,
    engines: Engines<'a>,
    tools: &'a Tools,
    runner: &'a Runner,
    /// What was asked of Dockerfiles before their images' turn.
    ahead: BTreeMap<String, Result<Uses, RunError>>,
    /// The images and disks that stand on the one that is looked at.
    path: Vec<String>,
    pieces: Vec<Piece>,
}

impl Planner<'_, '_> {
    fn visit(&mut self, image: &Image) -> Result<(), BakeError> {
        if !self.enter(&image.name, &image.at)? {
            return Ok(());
        }
        let mut image = Image { engine: Some(self.engines.of(image)?), ..image.clone() };
        // What is wrong is told when it is the image's turn.
        let uses = self.ahead.remove(&image.name);
        let uses = match uses.unwrap_or_else(|| look(&image, self.project, self.tools, self.runner)) {
            Err(error) if error.is_interruption() => return Err(error.into()),
            uses => uses.ok(),
        };
        let known = uses.is_some();
        let Uses { images, contexts, frontend, foreign, remotes, unused_args, feeds } =
            uses.unwrap_or_default();
        let contexts = self.contexts(contexts, &mut image)?;
        let found = self.bases(&images, &image)?;
        let others = images.iter().filter(|used| !found.contains_key(&used.image));
        self.refuse_other_engines(&image, &contexts, others)?;
        let uses = known.then(|| names_of(&images));
        let bases = found.iter().map(|(name, base)| (name.clone(), base.name.clone())).collect();
        let uses_as = found.into_iter().filter_map(|(name, base)| Some((name, base.tag?))).collect();
        let bases: BTreeMap<String, String> = bases;
        self.visit_all(bases.values().chain(&image.needs).chain(&feeds))?;
        let (pins, sources) = (BTreeMap::new(), BTreeMap::new());
        let (locals, local_contexts) = (BTreeMap::new(), BTreeMap::new());
        let one = Planned {
            image,
            own_tags: None,
            asked: false,
            only_below: false,
            uses,
            bases,
            feeds,
            frontend,
            foreign,
            pins,
            locals,
            local_contexts,
            uses_as,
            remotes,
            contexts,
            sources,
            unused_args,
            doubts: Vec::new(),
        };
        self.pieces.push(Piece::Image(Box::new(one)));
        Ok(())
    }

    fn visit_disk(&mut self, disk: &Disk) -> Result<(), BakeError> {
        if !self.enter(&disk.name, &disk.at)? {
            return Ok(());
        }
        let feeds = feeds_of_disk(disk, self.project, self.runner.folder());
        self.visit_all(disk.needs.iter().chain(&feeds))?;
        let one = PlannedDisk { disk: disk.clone(), asked: false, feeds };
        self.pieces.push(Piece::Disk(Box::new(one)));
        Ok(())
    }

    /// Begins with the image or disk that stands there in larder.toml. `false`: it is planned.
    fn enter(&mut self, name: &String, at: &Range<usize>) -> Result<bool, BakeError> {
        if self.pieces.iter().any(|piece| piece.name() == name) {
            return Ok(false);
        }
        if let Some(start) = self.path.iter().position(|above| above == name) {
            return Err(cycle(self.project, at, self.path.get(start..).unwrap_or_default()));
        }
        self.path.push(name.clone());
        Ok(true)
    }

    /// Ends with the one that was begun: plans all that it comes after.
    fn visit_all<'n>(&mut self, before: impl Iterator<Item = &'n String>) -> Result<(), BakeError> {
        let before: BTreeSet<&String> = before.collect();
        let project = self.project;
        for image in project.images.iter().filter(|image| before.contains(&image.name)) {
            self.visit(image)?;
        }
        for disk in project.disks.iter().filter(|disk| before.contains(&disk.name)) {
            self.visit_disk(disk)?;
        }
        self.path.pop();
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
        let (project, tools, runner) = (self.project, self.tools, self.runner);
        let found = Mutex::new(BTreeMap::new());
        let ask = |at: usize, _: &Seat<'_, RunError>| {
            if let Some(image) = settled.get(at) {
                let uses = look(image, project, tools, runner);
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(image.name.clone(), uses);
            }
            Ok(())
        };
        schedule::run(&vec![Vec::new(); settled.len()], jobs, ask, &[], |_| ())?;
        self.ahead = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Has the named contexts that are images of larder.toml as such; gives those that are not.
    fn contexts(
        &mut self,
        given: BTreeMap<String, String>,
        image: &mut Image,
    ) -> Result<BTreeMap<String, String>, BakeError> {
        let mut others = BTreeMap::new();
        for (context, name) in given {
            let used = Use { image: name.clone(), platform: Some(image.platform()) };
            match self.bases(&[used], image)?.remove(&name) {
                Some(Base { name: own, tag }) => image.take_context(&context, own, tag.unwrap_or(name)),
                None => drop(others.insert(context, name)),
            }
        }
        Ok(others)
    }

    /// Of the references, those that name an image of larder.toml.
    fn bases(&mut self, uses: &[Use], of: &Image) -> Result<BTreeMap<String, Base>, BakeError> {
        let (project, engine) = (self.project, of.builder());
        let mut owners: BTreeMap<String, Vec<&Image>> = BTreeMap::new();
        for image in &project.images {
            if self.engines.of(image)? == engine {
                for tag in
                    image.tags.iter().chain(image.plain_tags.iter().filter(|tag| !image.tags.contains(tag)))
                {
                    owners.entry(names::given(tag, engine)).or_default().push(image);
                }
            }
        }
        let mut bases = BTreeMap::new();
        for used in uses.iter().filter(|used| !used.image.contains('@')) {
            let sought = names::sought(&used.image, engine);
            let Some((full, found)) = sought.iter().find_map(|name| Some((name, owners.get(name)?))) else {
                continue;
            };
            let has_tag = |image: &&&Image| image.tags.iter().any(|tag| names::given(tag, engine) == *full);
            // The platform that is built for decides between those of one name.
            let fits = |image: &&&Image| used.platform.as_ref() == Some(&image.platform());
            let several = || found.iter().find(|image| fits(image));
            let Some(owner) = several().or_else(|| found.iter().find(has_tag)) else { continue };
            let tag = if has_tag(&owner) { None } else { owner.tags.first().cloned() };
            let base = Base { name: owner.name.clone(), tag };
            if bases.insert(used.image.clone(), base.clone()).is_some_and(|other| other != base) {
                return Err(two_platforms(project, of, &used.image));
            }
        }
        Ok(bases)
    }

    /// Refuses an image that takes one of larder.toml which another engine has: `contexts` and
    /// `uses` are what its own engine has not got from there.
    fn refuse_other_engines<'u>(
        &mut self,
        image: &Image,
        contexts: &BTreeMap<String, String>,
        uses: impl Iterator<Item = &'u Use>,
    ) -> Result<(), BakeError> {
        // One that has a digest is no other image's, whatever is called so.
        let is_given = |name: &str| {
            let mut given = image.as_build().into_iter().flat_map(|build| build.base.keys());
            name.contains('@') || given.any(|given| names::full(given) == names::full(name))
        };
        let open = uses.map(|used| &used.image).filter(|name| !is_given(name));
        let sought: BTreeSet<_> =
            open.chain(contexts.values()).map(|name| names::any_engines(name)).collect();
        let project = self.project;
        let is_taken = |other: &&Image| {
            let mut tags = other.tags.iter().chain(&other.plain_tags);
            image.context_images().any(|(name, _)| *name == other.name)
                || tags.any(|tag| sought.contains(&names::any_engines(tag)))
        };
        for base in project.images.iter().filter(is_taken) {
            let engine = self.engines.of(base)?;
            if engine != image.builder() {
                return Err(two_engines(project, image, base, engine));
            }
        }
        Ok(())
    }
}

/// `engine` is the base's.
fn two_engines(project: &Project, image: &Image, base: &Image, engine: Engine) -> BakeError {
    let (own, other) = (image.builder().name(), engine.name());
    let does = if base.is_packed() { "gets" } else { "builds" };
    let message =
        format!("image `{}` is built by {own} from `{}`, which {other} {does}", image.name, base.name);
    project.fault(image, message, "an engine has its own images alone: give both one `engine`").into()
}

fn two_platforms(project: &Project, image: &Image, name: &str) -> BakeError {
    let message = format!("image `{}` takes `{name}` for two platforms", image.name);
    let help =
        "name one of the two by its own tag in the Dockerfile: `larder list` has the tags of each platform";
    project.fault(image, message, help).into()
}

fn cycle(project: &Project, at: &Range<usize>, path: &[String]) -> BakeError {
    let mut names: Vec<_> = path.iter().map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    let is_disk = |name: &String| project.disks.iter().any(|disk| disk.name == *name);
    let (what, help) = if path.iter().any(is_disk) {
        let help = "each has the next one in `needs`, is built from it, or reads its output: take one of them out of `needs`, \
                    or put outputs where no `inputs` names them and .dockerignore hides them";
        ("images and disks are made", help)
    } else {
        let help = "each `FROM`, or `--from`, names the next one by one of its `tags`, it is in `needs`, or its `outputs` are read: give one of them another name, or hide outputs in .dockerignore";
        ("images are built", help)
    };
    let message = format!("{what} from one another: {}", names.join(" from "));
    project.fault_at(at, message, help).into()
}

/// One line of `hashctx --images --json`.
#[derive(Deserialize)]
struct Used {
    image: Option<String>,
    platform: Option<String>,
    frontend: Option<String>,
    #[serde(default)]
    foreign: bool,
    source: Option<String>,
    #[serde(default)]
    kind: String,
    context: Option<String>,
    checked: Option<bool>,
    unused_arg: Option<String>,
}

/// An image that a Dockerfile names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    image: String,
    /// The platform that it is taken for.
    platform: Option<Platform>,
}

/// An image of larder.toml that a build takes.
#[derive(Clone, PartialEq, Eq)]
struct Base {
    /// Its name there.
    name: String,
    /// Its first tag, where it has not got the one that the Dockerfile names.
    tag: Option<String>,
}

/// What a Dockerfile names.
#[derive(Default)]
struct Uses {
    /// The images that the build starts from or copies from, sorted.
    images: Vec<Use>,
    /// The images without a digest that are its named contexts, by the contexts' names.
    contexts: BTreeMap<String, String>,
    frontend: Option<String>,
    foreign: bool,
    remotes: Vec<Remote>,
    unused_args: Vec<String>,
    /// The images and disks of larder.toml whose outputs the build reads.
    feeds: Vec<String>,
}

/// The images' names, each once.
fn names_of(uses: &[Use]) -> Vec<String> {
    let mut names: Vec<_> = uses.iter().map(|used| used.image.clone()).collect();
    names.dedup();
    names
}

/// The images that a build starts from or copies from, as its Dockerfile has them. What hashctx
/// says against it is shown.
pub(in crate::bake) fn uses(image: &Image, tools: &Tools, runner: &Runner) -> Result<Vec<String>, RunError> {
    asked(image, tools, |cmd| runner.capture(cmd)).map(|uses| names_of(&uses.images))
}

/// As `asked`; a Dockerfile that is not a file would be waited for without end.
fn look(image: &Image, project: &Project, tools: &Tools, runner: &Runner) -> Result<Uses, RunError> {
    if let Some(path) = special_file(image, runner.folder()) {
        return Err(RunError::SpecialFile { path });
    }
    let uses = asked(image, tools, |cmd| runner.ask(cmd))?;
    Ok(Uses { feeds: feeds(image, project, tools, runner)?, ..uses })
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
        uses.unused_args.extend(line.unused_arg);
        let (is_repository, is_image) = (line.kind == "repository", line.kind == "image");
        let (context, checked) = (line.context, line.checked);
        if is_image {
            let image = line.source.and_then(|source| Some(source.strip_prefix(IMAGE)?.to_owned()));
            uses.contexts.extend(context.zip(image));
        } else {
            uses.remotes.extend(line.source.map(|address| Remote {
                address,
                is_repository,
                context,
                checked,
            }));
        }
        let platform = line.platform.and_then(|platform| Platform::of_engine(&platform).ok());
        uses.images.extend(line.image.map(|image| Use { image, platform }));
        uses.frontend = uses.frontend.or(line.frontend);
        uses.foreign |= line.foreign;
    }
    uses.images.sort();
    uses.images.dedup();
    Ok(uses)
}
