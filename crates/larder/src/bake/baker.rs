//! What all images and disks of a bake have in common, and what became of each so far.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use storekit::Entry;
use storekit::files::turn::Turn;
use storekit::store::Store;
use toolkit::Engine;

use super::before::Before;
use super::engines::builder::Builder;
use super::engines::inspect::inspect;
use super::flow::Bake;
use super::options::Options;
use super::order::pieces::{Piece, Planned, neighbours};
use super::stock::{Stock, of_project, turn};
use crate::process::command::Cmd;
use crate::process::packages::Through;
use crate::process::runner::{RunError, Runner};
use crate::process::temp::Temp;
use crate::process::tools::Tools;
use crate::report::{Baked, State};
use crate::repository::Repository;
use crate::schedule::Seat;
use crate::tier::{Layers, Supply};

/// Bakes images and disks, several at once.
pub(super) struct Baker<'a> {
    pub(super) options: &'a Options,
    pub(super) tools: &'a Tools,
    pub(super) runner: &'a Runner,
    pub(super) stock: Stock<'a>,
    /// The project's.
    pub(super) repository: Repository<'a>,
    /// The tiers behind the store.
    pub(super) supply: Option<Supply<'a>>,
    /// The layers that engines keep of builds in these.
    pub(super) layers: Option<Layers<'a>>,
    pub(super) temp: Utf8PathBuf,
    /// Where builds of podman have their temporary files.
    pub(super) builds: Option<&'a Temp>,
    /// What is wrong with the engine, once that is known: it is not asked again.
    no_engine: Mutex<Vec<(Engine, String)>>,
    /// What was baked so far: whatever comes next may be built from it.
    pub(super) done: Vec<(String, OnceLock<Baked>)>,
    /// What of the project has outputs, with the lines that name them.
    pub(super) owners: Vec<(String, String)>,
    /// For each those before it that may have outputs at the same places.
    neighbours: Vec<Vec<usize>>,
    /// Held while a folder for a disk is made beside its output: one that is not locked yet would
    /// be taken for a killed bake's.
    pub(super) making_room: Mutex<()>,
}

impl<'a> Baker<'a> {
    pub(super) fn new(
        options: &'a Options,
        tools: &'a Tools,
        runner: &'a Runner,
        temp: &Utf8Path,
        pieces: &[Piece],
    ) -> Self {
        Self {
            options,
            tools,
            runner,
            stock: Stock::new(tools, runner, options.store_flag.as_deref()),
            repository: Repository::new(runner),
            supply: None,
            layers: None,
            temp: temp.to_owned(),
            builds: None,
            no_engine: Mutex::default(),
            done: pieces.iter().map(|piece| (piece.name().clone(), OnceLock::new())).collect(),
            owners: Vec::new(),
            neighbours: neighbours(pieces),
            making_room: Mutex::default(),
        }
    }

    fn no_engine(&self) -> MutexGuard<'_, Vec<(Engine, String)>> {
        self.no_engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error where the engine is known not to work.
    pub(super) fn engine(&self, engine: Engine) -> Result<(), RunError> {
        let known = self.no_engine().iter().find(|(known, _)| *known == engine).map(|(_, why)| why.clone());
        known.map_or(Ok(()), |why| Err(RunError::NoEngine(why)))
    }

    /// Remembers what is wrong with the engine: nothing is built by it any more.
    pub(super) fn without_engine(&self, engine: Engine, why: String) -> RunError {
        self.no_engine().push((engine, why.clone()));
        RunError::NoEngine(why)
    }

    /// Brings the image or disk at that place up to date, and puts its report into its place. An
    /// error is an interruption; any other failure is in the report.
    pub(super) fn bake(
        &self,
        pieces: &[Piece],
        at: usize,
        seat: &Seat<'_, RunError>,
    ) -> Result<(), RunError> {
        let (Some(piece), Some((_, place))) = (pieces.get(at), self.done.get(at)) else { return Ok(()) };
        let live = self.runner.live();
        live.begin(piece.name());
        let baked = match piece {
            Piece::Image(planned) => Bake::new(self, planned, seat).and_then(Bake::run),
            Piece::Disk(planned) => self.bake_disk(planned, seat),
        };
        live.end(piece.name());
        let mut baked = baked?;
        if let Some(planned) = piece.as_image()
            && pieces.iter().any(|above| above.below().contains(&piece.name()))
        {
            self.note_id(&mut baked, planned)?;
        }
        // Nothing is baked twice.
        let _ = place.set(baked);
        Ok(())
    }

    /// What became of the images and disks of these names: those that one stands on, and those
    /// whose outputs it reads.
    pub(super) fn before<'n>(
        &self,
        below: impl Iterator<Item = &'n String>,
        feeds: &'n [String],
    ) -> Before<'_> {
        let baked = |name: &String| self.done(name);
        Before::new(below.filter_map(baked).collect(), feeds.iter().filter_map(baked).collect())
    }

    /// The tier that has the image of the key, where the store does not; out of a check, it is in
    /// the store now, `over` what was there.
    pub(super) fn bring(&self, key: &str, over: bool) -> Result<Option<String>, RunError> {
        let Some(supply) = &self.supply else { return Ok(None) };
        Ok(supply.bring(key, over)?.map(str::to_owned))
    }

    /// Sends what was saved under the key to the tiers.
    pub(super) fn send(&self, key: &str) {
        if let Some(supply) = &self.supply {
            supply.send(key);
        }
    }

    /// Sends what was found under the key to the tiers that are not known to have it.
    pub(super) fn offer(&self, key: &str) {
        if let Some(supply) = &self.supply {
            supply.offer(key);
        }
    }

    /// How long the build took whose image is stored under the key.
    pub(super) fn build_seconds(&self, key: &str) -> Option<f64> {
        self.stored(key)?.build_seconds
    }

    /// The right to make what the key stands for: where another bake makes it, that is waited for.
    /// `None` where nothing is `cached`, or there is no store.
    pub(super) fn turn(&self, name: &str, key: &str, cached: bool) -> Result<Option<Turn>, RunError> {
        let store = self.options.store.as_deref().filter(|_| cached);
        turn::take(store, key, self.runner, || {
            self.runner.live().step(name, "waiting for the same, which is being made");
            self.runner.tell(&format!("waiting: {name}: the same is being made"));
        })
    }

    pub(super) fn stored(&self, key: &str) -> Option<Entry> {
        let store = Store::open(self.options.store.as_deref()?).ok()?;
        Some(store.images().peek(&key.parse().ok()?).ok()??.entry)
    }

    /// The project's git commit, with a `+` where files that git knows have changes; none where
    /// there is no git or no commit.
    pub(super) fn commit(&self) -> Option<String> {
        let asked = |args: &[&str]| {
            let (status, said) = self.runner.ask(&Cmd::new("git").args(args.iter().copied())).ok()?;
            status.success().then(|| String::from_utf8_lossy(&said).trim().to_owned())
        };
        let head = asked(&["rev-parse", "--verify", "-q", "HEAD"]).filter(|head| !head.is_empty())?;
        let changes = asked(&["status", "--porcelain", "--untracked-files=no"])?;
        Some(if changes.is_empty() { head } else { format!("{head}+") })
    }

    /// Says of which project an image is.
    pub(super) fn of_project(&self, cmd: Cmd) -> Cmd {
        of_project(cmd, self.repository.project())
    }

    /// A folder of its own for the image or disk where others are baked beside it.
    pub(super) fn temp_of(&self, name: &str) -> Result<Utf8PathBuf, RunError> {
        if self.done.len() <= 1 || self.options.jobs <= 1 {
            return Ok(self.temp.clone());
        }
        // By its place: a name may be anything.
        let place = self.done.iter().position(|(done, _)| done == name);
        let temp = self.temp.join(place.unwrap_or_default().to_string());
        self.runner.say(&format!("mkdir -p {temp}"));
        let made = std::fs::create_dir_all(&temp);
        made.map_err(|source| RunError::Lost { program: format!("the folder {temp}"), source })?;
        Ok(temp)
    }

    /// The start of a build command, with a folder of its own for podman's temporary files.
    pub(super) fn build_command(&self, builder: Builder) -> Result<Cmd, RunError> {
        let cmd = builder.command(self.tools);
        let Some(builds) = self.builds.filter(|_| builder == Builder::Podman) else { return Ok(cmd) };
        let lost = |source| RunError::Lost { program: format!("the folder {}", builds.path()), source };
        let folder = builds.for_build().map_err(lost)?;
        self.runner.say(&format!("mkdir -p {folder}"));
        Ok(cmd.building_in(&folder))
    }

    /// How a build of that name comes through the package cache, if these clients of its are to.
    pub(super) fn through(&self, name: &str, clients: &[String], temp: &Utf8Path) -> Option<Through> {
        let clients = if self.options.no_package_cache { &[] } else { clients };
        Through::of(name, clients, self.tools, self.options.store_flag.as_deref(), temp)
    }

    /// Notes which image the engine has now under the name of one that others are built from.
    pub(super) fn note_id(&self, baked: &mut Baked, planned: &Planned) -> Result<(), RunError> {
        if let Some(tag) = baked.tags.first().filter(|_| !self.options.check) {
            let found = inspect(&[tag], planned.image.builder(), self.tools, self.runner)?;
            baked.id = found.into_iter().flatten().next().map(|image| image.id());
        }
        Ok(())
    }

    /// Waits until those are done that come before this one and may have outputs at the same
    /// places: of two that fight for a file, the second is always the one that fails.
    pub(super) fn after_neighbours(&self, name: &str, seat: &Seat<'_, RunError>) -> Result<(), RunError> {
        let place = self.done.iter().position(|(done, _)| done == name);
        let before = place.and_then(|place| self.neighbours.get(place)).map_or(&[][..], Vec::as_slice);
        if seat.after(before) { Ok(()) } else { Err(self.runner.interruption()) }
    }

    /// The images that are in an engine now, with it.
    pub(super) fn in_engines(&self) -> impl Iterator<Item = (&str, Engine)> {
        let done = self.done.iter().filter_map(|(_, baked)| baked.get());
        let there = done.filter(|baked| matches!(baked.state, State::Hit | State::Built));
        there.filter_map(|baked| Some((baked.image.as_str(), Engine::named(baked.engine?)?)))
    }

    /// What became of an image or a disk of larder.toml in this bake.
    pub(super) fn done(&self, name: &str) -> Option<&Baked> {
        self.done.iter().find(|(image, _)| image == name)?.1.get()
    }
}
