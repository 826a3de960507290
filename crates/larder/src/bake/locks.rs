//! By which digests a bake takes the images that its Dockerfiles name by tags, or that are named
//! contexts, and what it fetches from addresses: those of larder.lock, and new ones for what that
//! lacks.
//!
//! An image that only the engine has is not locked: the key has its ID, as ever. Neither is one of
//! a foreign frontend, whose Dockerfile nobody could pin: where all has to be locked, that is an
//! error. What neither registry nor engine knows
//! stays as it is, and hashctx warns of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toolkit::Outcome;

use super::inspect::inspect;
use super::plan::{Planned, Remote};
use super::{BakeError, Options};
use crate::config::names;
use crate::engine::Engine;
use crate::lock::{self, LockFile, Locked};
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;

/// Gives each image to bake the digests that it is built from, and writes what is new into
/// larder.lock, unless this is a check. Returns what could not be locked, a line each.
///
/// # Errors
/// A larder.lock that cannot be used; one that lacks an image, or cannot have what an image is
/// built from, where it may not be written; a name to update that is not there; an interruption.
pub(super) fn lock(
    planned: &mut [Planned],
    options: &Options,
    tools: &Tools,
    runner: &Runner,
) -> Result<Vec<String>, BakeError> {
    let mut locks = Locks::load(options, tools, runner)?;
    locks.known_names(planned)?;
    if let Some(one) = planned.iter().find(|one| options.locked && one.foreign && one.image.lock) {
        return Err(BakeError::NotLockable { image: one.image.name.clone() });
    }
    for one in planned.iter_mut() {
        one.pins = locks.of(one)?;
        for (context, digest) in locks.of_contexts(one)? {
            one.image.pin_context(&context, &digest);
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
    let unknown = locks.unknown(planned);
    locks.finish(planned).map(|()| unknown)
}

/// Says which images of the bake have another digest in their registry than in larder.lock, or none
/// there, a line each. `No` where there is one, else trouble where something could not be looked
/// up.
///
/// # Errors
/// A larder.lock that cannot be used; an interruption; a report that could not be written.
pub(super) fn behind(
    planned: &[Planned],
    options: &Options,
    tools: &Tools,
    runner: &Runner,
    out: &mut (impl Write + ?Sized),
) -> Result<Outcome, BakeError> {
    let locks = Locks::load(options, tools, runner)?;
    let mut behind = Vec::new();
    let mut unknown = Vec::new();
    let mut seen = BTreeSet::new();
    for one in planned {
        for name in named(one) {
            let full = names::full(&name);
            if !seen.insert(full.clone()) {
                continue;
            }
            let old = locks.file.get(&name);
            let found = locks.look_up(one, &name, old, true)?;
            let locked = old.map(|locked| locked.digest.clone());
            match found {
                Found::Digest(now) | Found::OfEngine(now) if locked.as_ref() != Some(&now) => {
                    behind.push((full, locked, now));
                }
                Found::Nothing => unknown.push(full),
                Found::Digest(_) | Found::OfEngine(_) | Found::Local => {}
            }
        }
        for Remote { address, is_repository, .. } in remotes(one) {
            if !seen.insert(address.clone()) {
                continue;
            }
            let locked = locks.file.source(address).map(|locked| locked.digest.clone());
            match lock::at_address(address, *is_repository, tools, runner)? {
                Some(now) if locked.as_ref() != Some(&now) => behind.push((address.clone(), locked, now)),
                Some(_) => {}
                None => unknown.push(address.clone()),
            }
        }
    }
    for (name, locked, now) in &behind {
        let locked = locked.as_deref().unwrap_or("not locked");
        writeln!(out, "{name}  {locked}  ->  {now}").map_err(BakeError::Report)?;
    }
    out.flush().map_err(BakeError::Report)?;
    for name in &unknown {
        locks.say("warning", &format!("`{name}` cannot be looked up now"));
    }
    Ok(match (behind.is_empty(), unknown.is_empty()) {
        (false, _) => Outcome::No,
        (true, false) => Outcome::Code(2),
        (true, true) => Outcome::Yes,
    })
}

struct Locks<'a> {
    options: &'a Options,
    tools: &'a Tools,
    runner: &'a Runner,
    path: Utf8PathBuf,
    file: LockFile,
    today: Date,
    /// What was found out in this bake, by full names.
    found: BTreeMap<String, Found>,
    /// The same, by addresses.
    fetched: BTreeMap<String, Option<String>>,
    /// Images and addresses that larder.lock lacks, where it may not be written.
    missing: Vec<String>,
    /// What was told of images that the engine replaced.
    replaced: BTreeSet<String>,
    /// The same, of the image that is looked at.
    doubts: Vec<String>,
}

/// What a name stands for.
#[derive(Clone)]
enum Found {
    Digest(String),
    /// The registry does not answer, and the engine has an image of its.
    OfEngine(String),
    /// Only the engine has the image.
    Local,
    /// Neither registry nor engine knows.
    Nothing,
}

impl<'a> Locks<'a> {
    fn load(options: &'a Options, tools: &'a Tools, runner: &'a Runner) -> Result<Self, BakeError> {
        let path = runner.folder().join(lock::FILE);
        let file = LockFile::load(&path)?;
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let (found, fetched, missing) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let (replaced, doubts) = (BTreeSet::new(), Vec::new());
        Ok(Self { options, tools, runner, path, file, today, found, fetched, missing, replaced, doubts })
    }

    /// Refuses to update what is not there.
    fn known_names(&self, planned: &[Planned]) -> Result<(), BakeError> {
        let is_known = |name: &&String| {
            planned.iter().any(|one| {
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

    /// The digests of one image's bases, by the names that its Dockerfile has for them.
    fn of(&mut self, planned: &Planned) -> Result<BTreeMap<String, String>, RunError> {
        let mut pins = BTreeMap::new();
        for name in open(planned) {
            pins.extend(self.digest(planned, &name)?.map(|digest| (name, digest)));
        }
        Ok(pins)
    }

    /// The digests of the images that are named contexts, by the contexts' names.
    fn of_contexts(&mut self, planned: &Planned) -> Result<BTreeMap<String, String>, RunError> {
        let mut pins = BTreeMap::new();
        for (context, name) in contexts(planned) {
            pins.extend(self.digest(planned, name)?.map(|digest| (context.clone(), digest)));
        }
        Ok(pins)
    }

    /// The digest that an image is taken by.
    fn digest(&mut self, planned: &Planned, name: &str) -> Result<Option<String>, RunError> {
        let old = self.file.get(name).cloned();
        match old {
            Some(old) if !self.moves(planned, name, Some(&old)) => {
                self.compare(planned, name, &old)?;
                Ok(Some(old.digest))
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

    /// The digest that the name has now, else the one that it had.
    fn resolved(
        &mut self,
        planned: &Planned,
        name: &str,
        old: Option<Locked>,
    ) -> Result<Option<String>, RunError> {
        let full = names::full(name);
        let found = match self.found.get(&full).cloned() {
            Some(found) => found,
            None => self.ask(planned, name, old.as_ref())?,
        };
        self.found.insert(full.clone(), found.clone());
        match (found, old) {
            (Found::Digest(digest) | Found::OfEngine(digest), _) => Ok(Some(digest)),
            (_, Some(old)) => {
                if self.options.update.is_some() {
                    let warning = format!("its registry does not answer for `{name}`: it stays as locked");
                    self.say("warning", &warning);
                }
                Ok(Some(old.digest))
            }
            (Found::Nothing, None) if self.options.locked => {
                self.missing.push(full);
                Ok(None)
            }
            (_, None) => Ok(None),
        }
    }

    /// Asks the engine whether the image is its own; then the registry; then the engine for the
    /// registry's digest. One that was locked is the registry's; the engine is asked again only
    /// where it was the engine that told: else it may well have what came before.
    fn ask(&self, planned: &Planned, name: &str, old: Option<&Locked>) -> Result<Found, RunError> {
        self.look_up(planned, name, old, !self.options.locked)
    }

    /// The same, in registries only where they may be asked.
    fn look_up(
        &self,
        planned: &Planned,
        name: &str,
        old: Option<&Locked>,
        in_registries: bool,
    ) -> Result<Found, RunError> {
        let engine = planned.image.builder();
        let own = match old {
            Some(old) if !old.of_engine => None,
            _ => inspect(&[name], engine, self.tools, self.runner)?.pop().flatten(),
        };
        let is_local = own.as_ref().is_some_and(|own| own.is_local(name, engine));
        if is_local && old.is_none() {
            return Ok(Found::Local);
        }
        if !in_registries {
            return Ok(Found::Nothing);
        }
        if let Some(digest) = lock::in_registry(name, self.tools, self.runner)? {
            return Ok(Found::Digest(digest));
        }
        let digest = match own {
            Some(_) if !is_local => lock::in_engine(name, engine, self.tools, self.runner)?,
            _ => None,
        };
        Ok(digest.map_or(Found::Nothing, Found::OfEngine))
    }

    /// Whether the engine, which told the digest that is locked, has another image of that name
    /// now: somebody built it anew there. What is locked counts all the same, and that is told.
    fn compare(&mut self, planned: &Planned, name: &str, old: &Locked) -> Result<(), RunError> {
        if !old.of_engine {
            return Ok(());
        }
        let engine = planned.image.builder();
        let now = inspect(&[name], engine, self.tools, self.runner)?.pop().flatten();
        if now.is_some_and(|now| now.is_other(name, &old.digest)) {
            let doubt = replaced(name, engine);
            if self.replaced.insert(doubt.clone()) {
                self.say("warning", &doubt);
            }
            self.doubts.push(doubt);
        }
        Ok(())
    }

    /// What is not locked by now, and should be, a line each.
    fn unknown(&self, planned: &[Planned]) -> Vec<String> {
        let mut lines = Vec::new();
        for one in planned {
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
        let is_new = |name: &&String| self.file.get(name).is_none();
        let nowhere = self.found.iter().filter(|(_, found)| matches!(found, Found::Nothing));
        let names = nowhere.map(|(name, _)| name).filter(is_new);
        lines
            .extend(names.map(|name| format!("`{name}` is not locked: its registry does not answer for it")));
        let unfetched = self.fetched.iter().filter(|(_, now)| now.is_none()).map(|(address, _)| address);
        let new = unfetched.filter(|address| self.file.source(address).is_none());
        lines.extend(new.map(|address| format!("`{address}` is not locked: it cannot be fetched")));
        lines
    }

    /// Tells what is new, and writes it.
    fn finish(mut self, planned: &[Planned]) -> Result<(), BakeError> {
        if !self.missing.is_empty() {
            self.missing.sort();
            self.missing.dedup();
            let names: Vec<_> = self.missing.iter().map(|name| format!("`{name}`")).collect();
            return Err(BakeError::NotLocked { names: names.join(", ") });
        }
        // Another bake may have written meanwhile.
        let mut file = LockFile::load(&self.path)?;
        for (name, found) in &self.found {
            let (digest, of_engine) = match found {
                Found::Digest(digest) => (digest, false),
                Found::OfEngine(digest) => (digest, true),
                Found::Local | Found::Nothing => continue,
            };
            let locked = Locked { digest: digest.clone(), resolved: self.today, of_engine };
            self.tell(name, &locked, self.file.get(name));
            file.set(name, locked);
        }
        for (address, now) in &self.fetched {
            let Some(digest) = now.clone() else { continue };
            let locked = Locked { digest, resolved: self.today, of_engine: false };
            self.tell(address, &locked, self.file.source(address));
            file.set_source(address, locked);
        }
        if self.updates_all() {
            let mut used: Vec<String> =
                planned.iter().flat_map(named).map(|name| names::full(&name)).collect();
            used.extend(planned.iter().flat_map(remotes).map(|remote| remote.address.clone()));
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
        match old {
            Some(old) if old.digest == now.digest => {}
            Some(old) => {
                let what = if self.options.check { "would be updated" } else { "updated" };
                self.say(what, &format!("{name} from {} to {}", old.digest, now.digest));
            }
            None => {
                let what = if self.options.check { "would be locked" } else { "locked" };
                self.say(what, &format!("{name} at {}", now.digest));
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

/// What is told where the engine has another image now than it told.
fn replaced(name: &str, engine: Engine) -> String {
    format!(
        "{} has another image as `{name}` now than larder.lock, which has it from there: `larder bake --update \
         {name}` takes that",
        engine.name()
    )
}

fn days_between(from: Date, to: Date) -> u64 {
    from.until(to).map_or(0, |span| u64::try_from(span.get_days()).unwrap_or_default())
}

/// The images of other people that a build names by tags.
fn open(planned: &Planned) -> Vec<String> {
    let Some(build) = planned.image.as_build() else { return Vec::new() };
    if planned.foreign || !planned.image.lock {
        return Vec::new();
    }
    let given = |name: &String| build.base.keys().any(|given| names::full(given) == names::full(name));
    let is_open = |name: &&String| names::is_name(name) && !given(name) && !planned.bases.contains_key(*name);
    let uses = planned.uses.iter().flatten().chain(&planned.frontend);
    uses.filter(is_open).cloned().collect()
}

/// The images of other people that are named contexts of a build, without a digest.
fn contexts(planned: &Planned) -> impl Iterator<Item = (&String, &String)> {
    planned.contexts.iter().filter(|(_, name)| planned.image.lock && names::is_name(name))
}

/// All images of other people that are locked.
fn named(planned: &Planned) -> Vec<String> {
    open(planned).into_iter().chain(contexts(planned).map(|(_, name)| name.clone())).collect()
}

/// What a build fetches that its address does not pin.
fn remotes(planned: &Planned) -> impl Iterator<Item = &Remote> {
    planned.remotes.iter().filter(|_| planned.image.lock)
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
