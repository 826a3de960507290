//! Which engine builds an image, where nobody named one; and what there is to say of that.

use camino::Utf8PathBuf;
use storekit::files::replace::{Durability, replace};
use storekit::store::Store;

use super::{Options, stock};
use crate::config::image::Image;
use crate::engine::Engine;
use crate::note;
use crate::process::runner::{RunError, Runner};
use crate::process::tools::Tools;
use toolkit::output;

/// The engines of a bake. The default is found once, by asking.
pub(super) struct Engines<'a> {
    options: &'a Options,
    tools: &'a Tools,
    runner: &'a Runner,
    default: Option<Engine>,
}

impl<'a> Engines<'a> {
    pub(super) fn new(options: &'a Options, tools: &'a Tools, runner: &'a Runner) -> Self {
        Self { options, tools, runner, default: None }
    }

    /// What builds the image: the engine that the command line names, or larder.toml, or the first
    /// that answers.
    pub(super) fn of(&mut self, image: &Image) -> Result<Engine, RunError> {
        match self.options.engine.or(image.engine).or(self.default) {
            Some(engine) => Ok(engine),
            None => Ok(*self.default.insert(self.answering()?)),
        }
    }

    /// The first engine that answers. One alone is not asked: whatever it is asked for will show.
    fn answering(&self) -> Result<Engine, RunError> {
        let [first, others @ ..] = self.options.engines.as_slice() else { return Ok(Engine::default()) };
        let mut engine = *first;
        for next in others {
            let Some(why) = stock::trouble(engine, self.tools, self.runner)? else { break };
            say("warning", &format!("{why}: {} is used in its place", next.name()));
            engine = *next;
        }
        self.compare_with_last(engine);
        Ok(engine)
    }

    /// Tells where the project's last bake used another engine: the images of that one are not in
    /// this.
    fn compare_with_last(&self, engine: Engine) {
        let last = self.note().and_then(|note| std::fs::read_to_string(note).ok());
        let others = [Engine::Docker, Engine::Podman].into_iter().filter(|other| *other != engine);
        for other in others.filter(|other| last.as_deref() == Some(other.name())) {
            say(
                "note",
                &format!("{} is used; the last bake of this project used {}", engine.name(), other.name()),
            );
        }
    }

    /// Notes for the next bake which engine was found, after a bake that was not only a check.
    pub(super) fn remember(&self) {
        let Some((engine, note)) = self.default.zip(self.note()).filter(|_| !self.options.check) else {
            return;
        };
        if std::fs::read_to_string(&note).is_ok_and(|last| last == engine.name()) {
            return;
        }
        // Only the next bake's word is lost where the store is read-only.
        let _ = replace(&note, engine.name().as_bytes(), Durability::Unsynced);
    }

    /// The file that has the engine of the project's last bake.
    fn note(&self) -> Option<Utf8PathBuf> {
        let store = self.options.store.as_deref().filter(|store| Store::open(store).is_ok())?;
        Some(store.join(note::file_name("last-engine", &[self.runner.folder().as_str()])))
    }
}

fn say(what: &str, message: &str) {
    output::say(&format!("{what}: {message}"));
}
