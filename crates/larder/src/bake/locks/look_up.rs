//! What a name stands for now: what the engine and the registry say.

use toolkit::Engine;

use super::Locks;
use crate::bake::engines::inspect::{Inspected, inspect};
use crate::bake::order::pieces::Planned;
use crate::config::names;
use crate::lock::{self, By, Locked};
use crate::process::runner::RunError;

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Found {
    Digest(String),
    /// The registry does not answer, and the engine has an image of its.
    OfEngine(String),
    /// Only the engine has the image; its ID there.
    Local(String),
    /// The same where that is not written down: a frontend, which no key knows by its ID, or an ID
    /// that is none.
    Unlocked,
    /// Neither registry nor engine knows.
    Nothing,
}

impl Locks<'_> {
    /// Asks the engine whether the image is its own; then the registry; then the engine for the
    /// registry's digest. One that was locked is the registry's; the engine is asked again only
    /// where it was the engine that told: else it may well have what came before.
    pub(super) fn ask(
        &mut self,
        planned: &Planned,
        name: &str,
        old: Option<&Locked>,
    ) -> Result<Found, RunError> {
        self.look_up(planned, name, old, !self.options.locked)
    }

    /// The same, in registries only where they may be asked.
    pub(super) fn look_up(
        &mut self,
        planned: &Planned,
        name: &str,
        old: Option<&Locked>,
        in_registries: bool,
    ) -> Result<Found, RunError> {
        let engine = planned.image.builder();
        let own = match old {
            Some(Locked { by: By::Place, .. }) => None,
            _ => self.in_engine(name, engine)?,
        };
        let local = own.as_ref().filter(|own| own.is_local(name, engine)).map(Inspected::id);
        let by = old.map(|old| old.by);
        match (&local, by) {
            (Some(id), None) if is_frontend(planned, name) || !names::is_digest(id) => {
                return Ok(Found::Unlocked);
            }
            (Some(id), None | Some(By::Local(_))) => return Ok(Found::Local(id.clone())),
            // In a registry it may be any other image: only who asks for that gets it.
            (None, Some(By::Local(_))) if self.options.update.is_none() => return Ok(Found::Nothing),
            _ => {}
        }
        if !in_registries {
            return Ok(Found::Nothing);
        }
        if let Some(digest) = lock::in_registry(name, self.tools, self.runner)? {
            return Ok(Found::Digest(digest));
        }
        if let Some(id) = local {
            let is_lockable = !is_frontend(planned, name) && names::is_digest(&id);
            return Ok(if is_lockable { Found::Local(id) } else { Found::Nothing });
        }
        let digest = match own {
            Some(_) => lock::in_engine(name, engine, self.tools, self.runner)?,
            None => None,
        };
        Ok(digest.map_or(Found::Nothing, Found::OfEngine))
    }

    /// What the engine has under the name; it is asked once.
    pub(super) fn in_engine(&mut self, name: &str, engine: Engine) -> Result<Option<Inspected>, RunError> {
        let place = (names::full(name), engine);
        if let Some(known) = self.in_engines.get(&place) {
            return Ok(known.clone());
        }
        let found = inspect(&[name], engine, self.tools, self.runner)?.pop().flatten();
        self.in_engines.insert(place, found.clone());
        Ok(found)
    }
}

/// Whether the image is the frontend that reads the Dockerfile, and nothing else of it.
fn is_frontend(planned: &Planned, name: &str) -> bool {
    planned.frontend.as_deref() == Some(name) && !planned.uses.iter().flatten().any(|used| used == name)
}
