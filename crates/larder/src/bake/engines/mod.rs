//! The engines of a bake: which one builds an image, where nobody named one, and what there is to
//! say of that; with which builder (`builder`); and what it says of images that it has (`inspect`).

pub(super) mod builder;
pub(super) mod inspect;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use storekit::files::replace::{Durability, replace};
use storekit::store::Store;
use toolkit::Engine;

use super::options::Options;
use super::stock;
use crate::config::image::Image;
use crate::note;
use crate::process::runner::{RunError, Runner, Verbosity};
use crate::process::tools::Tools;
use toolkit::output;

/// How many images are named in a line.
const NAMED: usize = 5;

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
        Ok(engine)
    }
}

/// The engine that each image of a project had last, by what its last bakes have noted.
pub(super) struct LastEngines {
    store: Option<Utf8PathBuf>,
    /// The file's name in it.
    name: String,
    noted: Noted,
}

/// What the note says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Noted(BTreeMap<String, Engine>);

impl LastEngines {
    /// Reads the note in the store, of the project in the runner's folder.
    pub(super) fn read(options: &Options, runner: &Runner) -> Self {
        let store = options.store.clone();
        let name = note::file_name("last-engine", &[runner.folder().as_str()]);
        let text = store.as_ref().and_then(|store| std::fs::read_to_string(store.join(&name)).ok());
        Self { store, name, noted: Noted::parse(&text.unwrap_or_default()) }
    }

    /// Tells which of the images have another engine than last time: they are not in this one, or
    /// are another image there.
    pub(super) fn compare<'i>(&self, images: impl Iterator<Item = &'i Image>, runner: &Runner) {
        if runner.verbosity() <= Verbosity::Quiet {
            return;
        }
        let now: Vec<_> = images.map(|image| (image.name.as_str(), image.builder())).collect();
        self.noted.changes(&now).iter().for_each(|change| say("note", change));
    }

    /// Notes which engine has which image now. What is not `known` to larder.toml any more is
    /// forgotten.
    pub(super) fn remember<'n>(
        mut self,
        used: impl Iterator<Item = (&'n str, Engine)>,
        known: impl Fn(&str) -> bool,
    ) {
        let before = self.noted.clone();
        self.noted.0.extend(used.map(|(image, engine)| (image.to_owned(), engine)));
        self.noted.0.retain(|image, _| known(image));
        let store = self.store.filter(|store| self.noted != before && Store::open(store).is_ok());
        if let Some(store) = store {
            // Only the next bake's word is lost where the store is read-only.
            let _ = replace(&store.join(self.name), self.noted.to_text().as_bytes(), Durability::Unsynced);
        }
    }
}

impl Noted {
    /// A line for each image: `ENGINE NAME`. What cannot be understood says nothing.
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (engine, image) = line.split_once(' ')?;
            Some((image.to_owned(), Engine::named(engine)?))
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn to_text(&self) -> String {
        let line = |(image, engine): (&String, &Engine)| format!("{} {image}\n", engine.name());
        self.0.iter().map(line).collect()
    }

    fn changes(&self, now: &[(&str, Engine)]) -> Vec<String> {
        let mut changed: BTreeMap<(Engine, Engine), Vec<&str>> = BTreeMap::new();
        for (image, engine) in now {
            if let Some(last) = self.0.get(*image).filter(|last| *last != engine) {
                changed.entry((*engine, *last)).or_default().push(image);
            }
        }
        let line = |((engine, last), images): (&(Engine, Engine), &Vec<&str>)| {
            let (engine, last) = (engine.name(), last.name());
            if images.len() == now.len() {
                return format!("{engine} is used; the last bake of this project used {last}");
            }
            let names: Vec<_> = images.iter().take(NAMED).map(|image| format!("`{image}`")).collect();
            let more = images.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{engine} is used for {}{more}; the last bake used {last}", names.join(", "))
        };
        changed.iter().map(line).collect()
    }
}

fn say(what: &str, message: &str) {
    output::say(&format!("{what}: {message}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_is_written() {
        let noted = Noted::parse("docker app\npodman web server\nother x\ndocker\n");
        assert_eq!(noted.to_text(), "docker app\npodman web server\n");
        // That of an earlier larder named one engine for all.
        assert_eq!(Noted::parse("podman"), Noted::default());
    }

    #[test]
    fn only_images_with_another_engine_are_told() {
        let noted = Noted::parse("docker a\ndocker b\npodman c\n");
        let changes = |now: &[(&str, Engine)]| noted.changes(now);
        let (docker, podman) = (Engine::Docker, Engine::Podman);
        assert!(changes(&[("a", docker), ("c", podman), ("new", podman)]).is_empty());
        assert_eq!(
            changes(&[("a", podman), ("b", podman)]),
            ["podman is used; the last bake of this project used docker"]
        );
        assert_eq!(
            changes(&[("a", podman), ("b", docker), ("c", docker)]),
            [
                "docker is used for `c`; the last bake used podman",
                "podman is used for `a`; the last bake used docker"
            ]
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let all: Vec<_> = (0..7).map(|number| format!("i{number}")).collect();
        let noted = Noted(all.iter().map(|image| (image.clone(), Engine::Docker)).collect());
        let mut now: Vec<_> = all.iter().map(|image| (image.as_str(), Engine::Podman)).collect();
        now.push(("new", Engine::Podman));
        assert_eq!(
            noted.changes(&now),
            ["podman is used for `i0`, `i1`, `i2`, `i3`, `i4` and 2 more; the last bake used docker"]
        );
    }
}
