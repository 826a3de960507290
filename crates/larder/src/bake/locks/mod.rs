//! By which digests a bake takes the images that its Dockerfiles name by tags, or that are named
//! contexts, and what it fetches from addresses: those of larder.lock, and new ones for what that
//! lacks.
//!
//! An image that only the engine has is locked by its ID there: the key has that, and nothing is
//! built from another one. One of a foreign frontend is not locked, whose Dockerfile nobody could
//! pin: where all has to be locked, that is an error. What neither registry nor engine knows stays
//! as it is, and hashctx warns of it.

mod behind;
mod look_up;
mod subjects;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toolkit::Engine;

pub(super) use behind::behind;
use look_up::Found;
use subjects::{contexts, named, open, remotes};

use super::engines::inspect::Inspected;
use super::order::pieces::{Piece, Planned, Remote, images, images_mut};
use crate::bake::error::BakeError;
use crate::bake::options::Options;
use crate::config::names;
use crate::lock::{self, By, LockFile, Locked};
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;

/// Gives each image to bake the digests that it is built from, and writes what is new into
/// larder.lock, unless this is a check. Returns what could not be locked, a line each.
///
/// # Errors
/// A larder.lock that cannot be used; one that lacks an image, or cannot have what an image is
/// built from, where it may not be written; a name to update that is not there; an interruption.
pub(super) fn lock(
    pieces: &mut [Piece],
    options: &Options,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<String>, BakeError> {
    let mut locks = Locks::load(options, tools, runner)?;
    locks.known_names(pieces)?;
    if let Some(one) = images(pieces).find(|one| options.locked && one.foreign && one.image.lock) {
        return Err(BakeError::NotLockable { image: one.image.name.clone() });
    }
    for one in images_mut(pieces) {
        for (name, pin) in locks.of(one)? {
            match pin {
                Pin::Digest(digest) => drop(one.pins.insert(name, digest)),
                Pin::Id(id) => drop(one.locals.insert(name, id)),
            }
        }
        for (context, pin) in locks.of_contexts(one)? {
            match pin {
                Pin::Digest(digest) => one.image.pin_context(&context, &digest),
                Pin::Id(id) => drop(one.local_contexts.insert(context, id)),
            }
        }
        one.doubts = std::mem::take(&mut locks.doubts);
        for (address, pin) in locks.of_sources(one)? {
            let contexts = one.remotes.iter().filter(|remote| remote.address == address);
            for remote in contexts.cloned().collect::<Vec<_>>() {
                match &remote.context {
                    Some(name) => one.image.pin_context(name, &pin),
                    None => drop(one.sources.insert(address.clone(), pin.clone())),
                }
            }
        }
    }
    let unknown = locks.unknown(pieces);
    locks.finish(pieces).map(|()| unknown)
}

struct Locks<'a> {
    options: &'a Options,
    tools: &'a Tools,
    runner: &'a Runner,
    path: Utf8PathBuf,
    file: LockFile,
    today: Date,
    /// What was found out in this bake, by full names and what builds.
    found: BTreeMap<(String, Engine), Found>,
    /// The same of what engines have.
    in_engines: BTreeMap<(String, Engine), Option<Inspected>>,
    /// The same, by addresses.
    fetched: BTreeMap<String, Option<String>>,
    /// Images and addresses that larder.lock lacks, where it may not be written.
    missing: Vec<String>,
    /// What was told of images that the engine replaced.
    replaced: BTreeSet<String>,
    /// The same, of the image that is looked at.
    doubts: Vec<String>,
}

/// By what a build takes an image.
enum Pin {
    /// Its digest, which is written into the Dockerfile.
    Digest(String),
    /// The ID that its name has to have in the engine.
    Id(String),
}

impl Pin {
    fn of(locked: Locked) -> Self {
        match locked.by {
            By::Local(_) => Self::Id(locked.digest),
            By::Place | By::Engine => Self::Digest(locked.digest),
        }
    }
}

impl<'a> Locks<'a> {
    fn load(options: &'a Options, tools: &'a Tools, runner: &'a Runner) -> Result<Self, BakeError> {
        let path = runner.folder().join(lock::FILE);
        let file = LockFile::load(&path)?;
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let (found, fetched, missing) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (replaced, doubts, in_engines) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        Ok(Self {
            options,
            tools,
            runner,
            path,
            file,
            today,
            found,
            in_engines,
            fetched,
            missing,
            replaced,
            doubts,
        })
    }

    /// Refuses to update what is not there.
    fn known_names(&self, pieces: &[Piece]) -> Result<(), BakeError> {
        let is_known = |name: &&String| {
            images(pieces).any(|one| {
                one.image.is_called(name)
                    || named(one).iter().any(|named| names::full(named) == names::full(name))
                    || remotes(one).any(|remote| remote.address == **name)
            })
        };
        match self.options.update.iter().flatten().find(|name| !is_known(name)) {
            Some(name) => Err(BakeError::NothingToUpdate { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// By what one image's bases are taken, by the names that its Dockerfile has for them.
    fn of(&mut self, planned: &Planned) -> Result<BTreeMap<String, Pin>, RunError> {
        let mut pins = BTreeMap::new();
        for name in open(planned) {
            pins.extend(self.pin(planned, &name)?.map(|pin| (name, pin)));
        }
        Ok(pins)
    }

    /// By what the images are taken that are named contexts, by the contexts' names.
    fn of_contexts(&mut self, planned: &Planned) -> Result<BTreeMap<String, Pin>, RunError> {
        let mut pins = BTreeMap::new();
        for (context, name) in contexts(planned) {
            pins.extend(self.pin(planned, name)?.map(|pin| (context.clone(), pin)));
        }
        Ok(pins)
    }

    /// By what an image is taken.
    fn pin(&mut self, planned: &Planned, name: &str) -> Result<Option<Pin>, RunError> {
        let old = self.file.get(name, planned.image.builder()).cloned();
        match old {
            Some(old) if !self.moves(planned, name, Some(&old)) => {
                self.compare(planned, name, &old)?;
                Ok(Some(Pin::of(old)))
            }
            old => self.resolved(planned, name, old),
        }
    }

    /// What stands at the addresses that one image's build fetches.
    fn of_sources(&mut self, planned: &Planned) -> Result<BTreeMap<String, String>, RunError> {
        let mut pins = BTreeMap::new();
        for Remote { address, is_repository, .. } in remotes(planned) {
            let old = self.file.source(address).cloned();
            let pin = match old {
                Some(old) if !self.moves(planned, address, Some(&old)) => Some(old.digest),
                old => self.fetched(address, *is_repository, old)?,
            };
            pins.extend(pin.map(|pin| (address.clone(), pin)));
        }
        Ok(pins)
    }

    /// What stands at the address now, else what stood there.
    fn fetched(
        &mut self,
        address: &str,
        is_repository: bool,
        old: Option<Locked>,
    ) -> Result<Option<String>, RunError> {
        let now = match self.fetched.get(address) {
            Some(now) => now.clone(),
            None if self.options.locked => None,
            None => lock::at_address(address, is_repository, self.tools, self.runner)?,
        };
        self.fetched.insert(address.to_owned(), now.clone());
        if now.is_none() && old.is_none() && self.options.locked {
            self.missing.push(address.to_owned());
        }
        if now.is_none() && old.is_some() && self.options.update.is_some() {
            self.say("warning", &format!("`{address}` cannot be fetched: it stays as locked"));
        }
        Ok(now.or(old.map(|old| old.digest)))
    }

    /// Whether what is locked is to be resolved anew.
    fn moves(&self, planned: &Planned, name: &str, old: Option<&Locked>) -> bool {
        let is_old = |locked: &Locked| {
            let age = planned.image.refresh.filter(|_| !self.options.locked);
            age.is_some_and(|age| is_older(locked.resolved, self.today, age.0))
        };
        let is_named = |updates: &Vec<String>| {
            let is_this =
                |update: &String| planned.image.is_called(update) || names::full(update) == names::full(name);
            updates.is_empty() || updates.iter().any(is_this)
        };
        old.is_some_and(is_old) || self.options.update.as_ref().is_some_and(is_named)
    }

    /// By what the name is taken now, else by what it was.
    fn resolved(
        &mut self,
        planned: &Planned,
        name: &str,
        old: Option<Locked>,
    ) -> Result<Option<Pin>, RunError> {
        let full = names::full(name);
        let place = (full.clone(), planned.image.builder());
        let found = match self.found.get(&place).cloned() {
            Some(found) => found,
            None => self.ask(planned, name, old.as_ref())?,
        };
        self.found.insert(place, found.clone());
        match (found, old) {
            (Found::Local(_) | Found::Nothing, None) if self.options.locked => {
                self.missing.push(full);
                Ok(None)
            }
            (Found::Digest(digest) | Found::OfEngine(digest), _) => Ok(Some(Pin::Digest(digest))),
            (Found::Local(id), _) => Ok(Some(Pin::Id(id))),
            (_, Some(old)) => {
                if self.options.update.is_some() {
                    let who = match old.by {
                        By::Local(engine) => engine.name(),
                        By::Place | By::Engine => "its registry",
                    };
                    let warning = format!("{who} does not answer for `{name}`: it stays as locked");
                    self.say("warning", &warning);
                }
                Ok(Some(Pin::of(old)))
            }
            (_, None) => Ok(None),
        }
    }

    /// Whether the engine, which told what is locked, has another image of that name now: somebody
    /// built it anew there. What is locked counts all the same, and that is told.
    fn compare(&mut self, planned: &Planned, name: &str, old: &Locked) -> Result<(), RunError> {
        let engine = planned.image.builder();
        let now = match old.by {
            By::Place => return Ok(()),
            By::Engine | By::Local(_) => self.in_engine(name, engine)?,
        };
        let is_local = matches!(old.by, By::Local(_));
        let is_other = |now: &Inspected| {
            if is_local { now.id() != old.digest } else { now.is_other(name, &old.digest) }
        };
        if let Some(now) = now.filter(is_other) {
            let doubt = replaced(name, engine, is_local.then(|| (old.digest.clone(), now.id())));
            if self.replaced.insert(doubt.clone()) {
                self.say("warning", &doubt);
            }
            self.doubts.push(doubt);
        }
        Ok(())
    }

    /// What is not locked by now, and should be, a line each.
    fn unknown(&self, pieces: &[Piece]) -> Vec<String> {
        let mut lines = Vec::new();
        for one in images(pieces) {
            let image = &one.image;
            if one.foreign && image.lock {
                lines.push(format!(
                    "`{}`: its Dockerfile is for another frontend, and what that names is not locked",
                    image.name
                ));
            } else if image.as_build().is_some() && one.uses.is_none() {
                lines.push(format!("`{}`: what it is built from could not be read", image.name));
            }
        }
        let nowhere = self.found.iter().filter(|(_, found)| matches!(found, Found::Nothing));
        let new = nowhere.filter(|((name, engine), _)| self.file.get(name, *engine).is_none());
        let names: BTreeSet<_> = new.map(|((name, _), _)| name).collect();
        lines.extend(
            names
                .into_iter()
                .map(|name| format!("`{name}` is not locked: its registry does not answer for it")),
        );
        let unfetched = self.fetched.iter().filter(|(_, now)| now.is_none()).map(|(address, _)| address);
        let new = unfetched.filter(|address| self.file.source(address).is_none());
        lines.extend(new.map(|address| format!("`{address}` is not locked: it cannot be fetched")));
        lines
    }

    /// Tells what is new, and writes it.
    fn finish(mut self, pieces: &[Piece]) -> Result<(), BakeError> {
        if !self.missing.is_empty() {
            self.missing.sort();
            self.missing.dedup();
            let names: Vec<_> = self.missing.iter().map(|name| format!("`{name}`")).collect();
            return Err(BakeError::NotLocked { names: names.join(", ") });
        }
        // Another bake may have written meanwhile.
        let mut file = LockFile::load(&self.path)?;
        for ((name, engine), found) in &self.found {
            let (digest, by) = match found {
                Found::Digest(digest) => (digest, By::Place),
                Found::OfEngine(digest) => (digest, By::Engine),
                Found::Local(id) => (id, By::Local(*engine)),
                Found::Unlocked | Found::Nothing => continue,
            };
            let locked = Locked { digest: digest.clone(), resolved: self.today, by };
            self.tell(name, &locked, self.file.get(name, *engine));
            file.set(name, *engine, locked);
        }
        for (address, now) in &self.fetched {
            let Some(digest) = now.clone() else { continue };
            let locked = Locked { digest, resolved: self.today, by: By::Place };
            self.tell(address, &locked, self.file.source(address));
            file.set_source(address, locked);
        }
        if self.updates_all() {
            let mut used: Vec<String> =
                images(pieces).flat_map(named).map(|name| names::full(&name)).collect();
            used.extend(images(pieces).flat_map(remotes).map(|remote| remote.address.clone()));
            file.retain(|name| used.iter().any(|used| used == name));
        }
        if !self.options.check && file != LockFile::load(&self.path)? {
            file.save(&self.path).unwrap_or_else(|error| {
                self.say("warning", &format!("{} is not written: {error}", self.path));
            });
        }
        Ok(())
    }

    /// Whether every image of larder.toml is updated, so that what none of them uses may go.
    fn updates_all(&self) -> bool {
        self.options.names.is_empty() && self.options.update.as_ref().is_some_and(Vec::is_empty)
    }

    fn tell(&self, name: &str, now: &Locked, old: Option<&Locked>) {
        let of = match now.by {
            By::Local(engine) => format!(", which {} alone has", engine.name()),
            By::Place | By::Engine => String::new(),
        };
        match old {
            Some(old) if old.digest == now.digest => {}
            Some(old) => {
                let what = if self.options.check { "would be updated" } else { "updated" };
                self.say(what, &format!("{name} from {} to {}{of}", old.digest, now.digest));
            }
            None => {
                let what = if self.options.check { "would be locked" } else { "locked" };
                self.say(what, &format!("{name} at {}{of}", now.digest));
            }
        }
    }

    fn say(&self, what: &str, message: &str) {
        if what == "warning" || self.runner.verbosity() > Verbosity::Quiet {
            // Nobody is left to tell where stderr is closed.
            let _ = writeln!(io::stderr(), "{what}: {message}");
        }
    }
}

/// Whether what was resolved on that day is as old as that. The hour is not known: what is of today
/// has no age.
fn is_older(resolved: Date, today: Date, age: Duration) -> bool {
    Duration::from_secs(days_between(resolved, today) * 86_400) >= age
}

/// What is told where the engine has another image now than it told; of one that it alone has with
/// the ID that is locked and the one that it has now.
fn replaced(name: &str, engine: Engine, ids: Option<(String, String)>) -> String {
    let engine = engine.name();
    let (now, locked) =
        ids.map(|(locked, now)| (format!(" ({now})"), format!(" ({locked})"))).unwrap_or_default();
    format!(
        "{engine} has another image as `{name}` now{now} than larder.lock{locked}, which has it from there: \
         `larder bake --update {name}` takes that"
    )
}

fn days_between(from: Date, to: Date) -> u64 {
    from.until(to).map_or(0, |span| u64::try_from(span.get_days()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn an_age_of_hours_is_no_age_of_nothing() {
        let (day, hour) = (date(2026, 3, 1), Duration::from_secs(3_600));
        assert!(!is_older(day, day, 12 * hour) && is_older(day, date(2026, 3, 2), 12 * hour));
        assert!(!is_older(day, date(2026, 3, 2), 36 * hour) && is_older(day, date(2026, 3, 3), 36 * hour));
    }

    #[test]
    fn days_are_counted_over_months() {
        assert_eq!(days_between(date(2026, 1, 30), date(2026, 3, 1)), 30);
        assert_eq!(days_between(date(2026, 3, 1), date(2026, 1, 30)), 0);
    }
}
