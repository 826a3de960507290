//! Which images are baked, and in which order: what an image is built from comes before it.
//!
//! That is asked of hashctx, which reads Dockerfiles. An image is found by any of its tags, as its
//! engine would find it. One of another engine's is refused: that engine has whatever else it was
//! given under the name, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use storekit::Platform;

use super::engines::Engines;
use super::feeds::feeds;
use super::inputs::special_file;
use super::{BakeError, Options};
use crate::config::Project;
use crate::config::chosen::chosen_images;
use crate::config::image::{IMAGE, Image};
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
    /// Its names as larder.toml has them, where it is built under others.
    pub(super) own_tags: Option<Vec<String>>,
    /// Whether it was asked for, and not only what stands on it.
    pub(super) asked: bool,
    /// Whether it is there for what stands on it: others do, and nobody named it.
    pub(super) only_below: bool,
    /// The images that its build starts from or copies from, as its Dockerfile has them. `None`:
    /// that cannot be known.
    pub(super) uses: Option<Vec<String>>,
    /// Those of them that larder.toml has, each with its name there.
    pub(super) bases: BTreeMap<String, String>,
    /// The images of larder.toml whose outputs its build reads.
    pub(super) feeds: Vec<String>,
    /// The frontend that the Dockerfile names without a digest.
    pub(super) frontend: Option<String>,
    /// Whether a frontend reads the Dockerfile that is not docker's own.
    pub(super) foreign: bool,
    /// The digests that the build takes images by, by their names in the Dockerfile.
    pub(super) pins: BTreeMap<String, String>,
    /// The IDs that images have to have in the engine which it alone has, by their names in the
    /// Dockerfile.
    pub(super) locals: BTreeMap<String, String>,
    /// The same of those that are named contexts, by the contexts' names.
    pub(super) local_contexts: BTreeMap<String, String>,
    /// The names by which the build takes images of larder.toml, where they are others than those
    /// in the Dockerfile: there it names an image for all its platforms.
    pub(super) uses_as: BTreeMap<String, String>,
    /// What the build fetches from addresses that say nothing of the content.
    pub(super) remotes: Vec<Remote>,
    /// The images of other people that are its named contexts, by the contexts' names.
    pub(super) contexts: BTreeMap<String, String>,
    /// What is to stand there, by the addresses that its Dockerfile fetches.
    pub(super) sources: BTreeMap<String, String>,
    /// The build args that no stage declares.
    pub(super) unused_args: Vec<String>,
    /// What larder.lock leaves in doubt; that was told.
    pub(super) doubts: Vec<String>,
}

/// Something that a build fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) address: String,
    pub(super) is_repository: bool,
    /// The named context that it is; none of one that the Dockerfile fetches.
    pub(super) context: Option<String>,
    /// Whether the frontend that the Dockerfile names checks what it fetches; none where that is
    /// the engine's own.
    pub(super) checked: Option<bool>,
}

impl Planned {
    /// The images of larder.toml that it is built after: those that it is built from, and those
    /// that it needs.
    pub(super) fn below(&self) -> impl Iterator<Item = &String> {
        once(self.bases.values().chain(&self.image.needs))
    }

    /// The same, and those whose outputs it reads.
    pub(super) fn before(&self) -> impl Iterator<Item = &String> {
        once(self.below().chain(&self.feeds))
    }

    /// The image's names as larder.toml has them.
    pub(super) fn tags(&self) -> &[String] {
        self.own_tags.as_deref().unwrap_or(&self.image.tags)
    }

    /// The engine's name for an image that the Dockerfile names so.
    pub(super) fn in_engine<'n>(&'n self, name: &'n str) -> &'n str {
        self.uses_as.get(name).map_or(name, String::as_str)
    }

    /// Whether it is built from another Dockerfile than that on disk.
    pub(super) fn is_renamed(&self) -> bool {
        !(self.pins.is_empty() && self.uses_as.is_empty())
    }
}

/// Each of the names once, where it comes first.
fn once<'n>(names: impl Iterator<Item = &'n String>) -> impl Iterator<Item = &'n String> {
    let mut seen = BTreeSet::new();
    names.filter(move |name| seen.insert(*name))
}

/// The images to bake, bases first, each with its engine; the default is found now if any image
/// needs it.
///
/// # Errors
/// A cycle, an unknown name, an interruption.
pub(super) fn plan(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<Planned>, BakeError> {
    let asked = chosen_images(project, &options.names)?;
    let engines = Engines::new(options, tools, runner);
    let ahead = BTreeMap::new();
    let mut maker = Planner { project, engines, tools, runner, ahead, path: Vec::new(), planned: Vec::new() };
    maker.ask_ahead(&asked, options.jobs)?;
    for image in &asked {
        maker.visit(image)?;
    }
    let mut planned = maker.planned;
    let stood_on: BTreeSet<String> = planned.iter().flat_map(Planned::below).cloned().collect();
    for one in &mut planned {
        one.asked = asked.iter().any(|image| image.name == one.image.name);
        let is_named = one.asked && !options.names.is_empty();
        one.only_below = stood_on.contains(&one.image.name) && !is_named;
    }
    Ok(planned)
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
        let project = self.project;
        let is_below = |other: &&Image| {
            bases.values().any(|base| *base == other.name)
                || image.needs.contains(&other.name)
                || feeds.contains(&other.name)
        };
        for base in project.images.iter().filter(is_below) {
            self.visit(base)?;
        }
        self.path.pop();
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
        self.planned.push(one);
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

fn cycle(project: &Project, image: &Image, path: &[String]) -> BakeError {
    let mut names: Vec<_> = path.iter().map(|name| format!("`{name}`")).collect();
    names.extend(names.first().cloned());
    let message = format!("images are built from one another: {}", names.join(" from "));
    let help = "each `FROM`, or `--from`, names the next one by one of its `tags`, it is in `needs`, or its `outputs` are read: give one of them another name, or hide outputs in .dockerignore";
    project.fault(image, message, help).into()
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
    /// The images of larder.toml whose outputs the build reads.
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
pub(super) fn uses(image: &Image, tools: &Tools, runner: &Runner) -> Result<Vec<String>, RunError> {
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
