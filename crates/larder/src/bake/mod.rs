//! Brings images and disks up to date: key, then load, else build and save. Each comes after those
//! that it is made from; others are baked at once.
//!
//! The cache is never needed: whatever goes wrong with the store is a warning, and the image is
//! built all the same.

mod baker;
mod bases;
mod before;
mod disks;
mod earlier;
mod engines;
mod error;
mod flow;
mod indexes;
mod inputs;
mod locks;
mod make;
mod options;
mod order;
mod outputs;
mod prove;
mod stock;
pub(crate) mod tags;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use camino::Utf8Path;
use jiff::Timestamp;
use storekit::Kind;
use storekit::events::Event;
use storekit::store::Store;
use toolkit::{Engine, Outcome, output};

pub use self::error::BakeError;
pub use self::options::{Against, Options};

use self::engines::{LastEngines, inspect};
use self::order::pieces::{Piece, images, images_mut};
use self::order::{pieces, plan};

use crate::config::Project;
use crate::config::chosen::{chosen_disks, chosen_images};
use crate::config::secrets;
use crate::outputs::spec;
use crate::process::live::Live;
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::temp::Temp;
use crate::process::tools::Tools;
use crate::report::summary::{Summary, append};
use crate::report::{self, Baked, State, Sum};
use crate::schedule;
use crate::tier::{Layers, Queue, Supply, Tally, Tiers, Trouble};

/// Bakes the images and those that they are built from, one line of the report each as soon as it
/// is done.
///
/// `Yes` when all are up to date, `No` when a check found one that is not, or when no name was
/// given since files differ from the git commit, code 2 when one could not be built. A reader that
/// leaves while images are baked changes nothing about that.
///
/// # Errors
/// No image at all, an unknown name, images that are built from one another, no place for temporary
/// files, an interruption; after all work, a report that could not be written. An image that cannot
/// be built is none: the others are baked, and the report says so.
pub fn bake(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, BakeError> {
    bake_and(project, options, tools, runner, &mut |_| (), out)
}

/// As `bake`, and hands on what became of each image.
///
/// # Errors
/// As `bake`.
pub(crate) fn bake_and(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    take: &mut dyn FnMut(&Baked),
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, BakeError> {
    let mut written = Ok(());
    let (mut states, mut sum) = (Vec::new(), Sum::default());
    let mut in_engines: BTreeMap<Engine, Vec<String>> = BTreeMap::new();
    let width = width(project, options)?;
    if !options.check {
        tags::can_be_made(project, options, (tools, runner))?;
    }
    let (mut keys, mut has_saved) = (Vec::new(), false);
    let (mut summary, mut tagged) = (Summary::default(), Vec::new());
    let tallies = each(project, options, tools, runner, |baked| {
        summary.add(baked);
        keys.push((baked.image.clone(), baked.key.clone().filter(|_| baked.saved)));
        states.push(baked.state);
        has_saved |= baked.saved && baked.state == State::Built;
        sum.add(baked);
        take(baked);
        let engine = baked.engine.and_then(Engine::named).filter(|_| baked.from.is_some());
        if let (Some(engine), Some(tag)) = (engine, baked.tags.first()) {
            in_engines.entry(engine).or_default().push(tag.clone());
        }
        let before = std::mem::replace(&mut written, Ok(()));
        written = before.and_then(|()| report::write(baked, options.json, width, out));
    });
    let tallies = match tallies {
        Ok(tallies) => tallies,
        Err(error) => {
            // What was done before the signal is told.
            if let Some(file) = options.summary.as_ref().filter(|_| !states.is_empty()) {
                let _ = append(&summary.text(&sum, &tagged), file);
            }
            return Err(error);
        }
    };
    sum.tiers = tallies;
    if sum.moved > 0 {
        sum.of = size(&in_engines, tools, runner)?;
    }
    if !options.check {
        note(&sum, options.store.as_deref());
    }
    let is_told = !options.json && runner.verbosity() > Verbosity::Quiet;
    let mut written = written.and_then(|()| if is_told { writeln!(out, "{sum}") } else { Ok(()) });
    let given = if outcome(&states) == Outcome::Yes && !options.check {
        let mut say = |line: &str| {
            tagged.push(line.to_owned());
            let before = std::mem::replace(&mut written, Ok(()));
            written = before.and_then(|()| if is_told { writeln!(out, "{line}") } else { Ok(()) });
        };
        tags::push(project, &keys, options, (tools, runner), &mut say)
    } else {
        Ok(Outcome::Yes)
    };
    if let Some(file) = &options.summary {
        let appended = append(&summary.text(&sum, &tagged), file);
        appended.map_err(|source| BakeError::Summary { path: file.clone(), source })?;
    }
    let given = given?;
    if options.after_bake && has_saved {
        collect(options, tools, runner)?;
    } else if let Some(store) = options.store.as_deref().filter(|_| options.in_background && has_saved) {
        // The images are baked all the same.
        let _ = toolkit::background::collect(tools.gcctl_program(), Some(runner.folder()), store);
    }
    written.map_err(BakeError::Report)?;
    Ok(match outcome(&states) {
        Outcome::No if options.dry_run => Outcome::Yes,
        Outcome::Yes => given,
        outcome => outcome,
    })
}

/// Bakes as `bake` does, and tells of each image and disk in the order of the file, as soon as it
/// and all before it are done; of the index of several platforms after the last of them. What
/// tiers gave and took, by name.
///
/// # Errors
/// As `bake`, but for the report.
pub(crate) fn each(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    mut tell: impl FnMut(&Baked),
) -> Result<Vec<(String, Tally)>, BakeError> {
    let own = Temp::new(tools).map_err(BakeError::Temp)?;
    let temp = own.path();
    runner.say(&format!("mkdir -p {temp}"));
    if options.prove
        && !options.names.is_empty()
        && let Some(disk) = chosen_disks(project, &options.names).first()
    {
        return Err(BakeError::NotProved { name: disk.name.clone() });
    }
    let mut pieces = plan::plan(project, options, tools, runner)?;
    let last = LastEngines::read(options, runner);
    last.compare(images(&pieces).map(|planned| &planned.image), runner);
    if !options.check {
        let images = images(&pieces).map(|planned| &planned.image);
        secrets::are_there(images, &options.variables, runner.folder())?;
    }
    locks::lock(&mut pieces, options, tools, runner)?;
    if options.prove {
        under_own_names(&mut pieces);
    }
    let with_podman = images(&pieces).any(|one| one.image.builder() == Engine::Podman);
    // Where podman has them itself: in /tmp the layers of a build may not have room.
    let aside = (with_podman && !options.check && !options.variables.contains_key("TMPDIR"))
        .then(|| Temp::of_podman(tools));
    let aside = aside.transpose().map_err(BakeError::Temp)?;
    let held;
    let runner = if pieces.len() > 1 && options.jobs > 1 {
        held = runner.holding_builds();
        &held
    } else {
        runner
    };
    let drawn = (pieces.len() > 1 && options.jobs > 1 && options.live && !options.check).then(|| {
        Live::draw(pieces.iter().map(|piece| piece.name().chars().count()).max().unwrap_or_default())
    });
    let live = drawn.as_ref().map(|drawn| drawn.live.clone()).unwrap_or_default();
    let watched = runner.below(&live);
    let route = options.route_of_bake();
    let store = options.store.as_deref();
    let tiers = Tiers::new(&route, tools, &watched, options.store_flag.as_deref()).remembering(store);
    let warn = |trouble: &Trouble| trouble.tell(&watched);
    let ended = std::thread::scope(|scope| {
        let queue = Queue::start(scope, &tiers, &warn);
        let mut oven = baker::Baker::new(options, tools, &watched, temp, &pieces);
        oven.owners = owners(project);
        oven.builds = Some(aside.as_ref().unwrap_or(&own));
        oven.supply = Some(Supply {
            tiers: &tiers,
            queue: &queue,
            runner: &watched,
            is_check: options.check,
            silent: Mutex::default(),
        });
        oven.layers = Some(Layers { tiers: &tiers, tools, runner: &watched, temp, served: Mutex::default() });
        let groups = oven.groups(project, &pieces);
        let mut indexed = Ok(());
        schedule::run(
            &pieces::needs(&pieces),
            options.jobs,
            |at, seat| oven.bake(&pieces, at, seat),
            &pieces::order_of_file(project, &pieces),
            |at| {
                let baked = oven.done.get(at).and_then(|(_, baked)| baked.get());
                live.aside(|| baked.into_iter().for_each(&mut tell));
                for group in groups.iter().filter(|group| group.ends_with(at)) {
                    match oven.bake_index(group) {
                        Ok(index) => live.aside(|| index.iter().for_each(&mut tell)),
                        Err(error) => indexed = Err(error),
                    }
                }
            },
        )?;
        drop(drawn);
        // What is built for a proof alone leaves no engine's images otherwise.
        if !options.check && !options.prove {
            last.remember(oven.in_engines(), |name| project.images.iter().any(|image| image.name == name));
        }
        indexed
    });
    tiers.tell_damage();
    ended?;
    runner.uninterrupted()?;
    if !options.check {
        tiers.remember(store);
    }
    let used = |(_, tally): &(&str, Tally)| *tally != Tally::default();
    Ok(tiers.tallies().filter(used).map(|(name, tally)| (name.to_owned(), tally)).collect())
}

/// What is built for a proof alone must not take the names of what people use.
fn under_own_names(pieces: &mut [Piece]) {
    for (at, planned) in images_mut(pieces).enumerate().filter(|(_, planned)| planned.asked) {
        let name = format!("larder-prove-{}-{at}:latest", std::process::id());
        planned.own_tags = Some(std::mem::replace(&mut planned.image.tags, vec![name]));
    }
}

/// How wide the names of the report are: an image may bring all that it is built from.
fn width(project: &Project, options: &Options) -> Result<usize, BakeError> {
    let _ = chosen_images(project, &options.names)?;
    let images = project.images.iter().map(|image| &image.name);
    let disks = project.disks.iter().map(|disk| &disk.name);
    Ok(images.chain(disks).map(|name| name.chars().count()).max().unwrap_or_default())
}

/// How many bytes the images have together, plain, as their engines tell.
fn size(images: &BTreeMap<Engine, Vec<String>>, tools: &Tools, runner: &Runner) -> Result<u64, RunError> {
    let mut sum = 0_u64;
    for (engine, tags) in images {
        let tags: Vec<_> = tags.iter().map(String::as_str).collect();
        let found = inspect::inspect(&tags, *engine, tools, runner)?;
        sum = found.iter().flatten().map(inspect::Inspected::size).fold(sum, u64::saturating_add);
    }
    Ok(sum)
}

/// Lets gcctl remove what is over the limits. It tells on stderr what it does not do; the images
/// are baked all the same.
fn collect(options: &Options, tools: &Tools, runner: &Runner) -> Result<(), RunError> {
    let store = options.store_flag.iter().flat_map(|store| ["--store", store.as_str()]);
    let quiet = if runner.verbosity() > Verbosity::Normal { "--verbose" } else { "--quiet" };
    let cmd = tools.gcctl("run").args(store).arg(quiet);
    match runner.capture(&cmd) {
        Err(error) if !error.is_interruption() => runner.tell(&format!("larder: warning: {error}")),
        ran => drop(ran?),
    }
    Ok(())
}

/// Keeps the sum as an event of the store; one that cannot be kept is not missed.
fn note(sum: &Sum, store: Option<&Utf8Path>) {
    let Some(store) = store.and_then(|store| Store::open(store).ok()) else { return };
    let mut event = Event::counted("larder", Kind::Bake, sum.images as u64, sum.moved, Timestamp::now());
    event.seconds = Some(sum.saved);
    let _ = store.events().record(&event);
    for (kind, count, bytes, tier) in sum.parts() {
        let event = Event::counted("larder", kind, count as u64, bytes, Timestamp::now());
        let _ = store.events().record(&Event { tier: tier.map(str::to_owned), ..event });
    }
}

/// Resolves what larder.lock lacks, or is to be updated, and writes it; builds nothing. With
/// `check` it changes nothing and says which images are behind: `No` where one is.
///
/// # Errors
/// As those of `bake` before anything is built.
pub fn lock(
    project: &Project,
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, BakeError> {
    let mut pieces = plan::plan(project, options, tools, runner)?;
    if options.check {
        return locks::behind(&pieces, options, tools, runner, out);
    }
    let unknown = locks::lock(&mut pieces, options, tools, runner)?;
    for line in &unknown {
        output::say(&format!("warning: {line}"));
    }
    Ok(if unknown.is_empty() { Outcome::Yes } else { Outcome::Code(2) })
}

fn outcome(states: &[State]) -> Outcome {
    if states.contains(&State::Failed) {
        return Outcome::Code(2);
    }
    Outcome::from_bool(!states.contains(&State::Stale))
}

/// What of the project has outputs, with the lines that name them.
fn owners(project: &Project) -> Vec<(String, String)> {
    let images = project.images.iter().filter(|image| !image.outputs.is_empty());
    let images = images.map(|image| (image.name.clone(), spec(&image.outputs)));
    images.chain(project.disks.iter().map(|disk| (disk.name.clone(), disk.spec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(states: &[State], outcome: Outcome) {
        assert_eq!(super::outcome(states), outcome);
    }

    #[test]
    fn a_failure_outweighs_the_rest() {
        ends(&[State::Hit, State::Failed, State::Stale], Outcome::Code(2));
        ends(&[State::Hit, State::Stale], Outcome::No);
        ends(&[State::Hit, State::Built], Outcome::Yes);
        ends(&[], Outcome::Yes);
    }
}
