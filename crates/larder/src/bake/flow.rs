//! One image, from its key to its names.

use std::collections::BTreeMap;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use miette::Diagnostic;
use storekit::files::turn::Turn;

use super::baker::Baker;
use super::before::{Against, Before, chain, rebuilt, why};
use super::inputs::{Inputs, digest, doubts, unusable};
use super::order::pieces::Planned;
use super::stock::{Found, from};
use crate::config::image::{Ignore, Image, Named};
use crate::process::command::Cmd;
use crate::process::held::Held;
use crate::process::packages::Packages;
use crate::process::runner::{RunError, Verbosity};
use crate::report::changes::{Changes, Sought, changes_since};
use crate::report::{Baked, State};
use crate::schedule::Seat;
use crate::tags::plan::values;

/// The bake of one image, while it runs.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the image")]
pub(super) struct Bake<'a> {
    pub(super) baker: &'a Baker<'a>,
    pub(super) seat: &'a Seat<'a, RunError>,
    /// The folder for what it needs meanwhile.
    pub(super) temp: Utf8PathBuf,
    pub(super) planned: &'a Planned,
    pub(super) image: &'a Image,
    /// The images and disks that it comes after.
    pub(super) before: Before<'a>,
    /// By what the key knows the images that it is built from, as far as larder.toml names no
    /// digest.
    pub(super) bases: BTreeMap<String, String>,
    /// The IDs of images that only the engine has and that are its named contexts.
    pub(super) contexts: BTreeMap<String, String>,
    /// Whether an engine has a packed image, too.
    loaded: bool,
    /// Whether what the store has under the key is to be replaced.
    pub(super) replace: bool,
    started: Instant,
    warnings: Vec<String>,
    /// What hashctx warns of, where the report is to have it.
    key_warnings: Vec<String>,
    /// Why an image is built that has been saved before, or that no store was asked for.
    pub(super) reason: Option<String>,
    /// The images whose rebuild is the reason, the nearest first.
    chain: Vec<String>,
    pub(super) changes: Option<Changes>,
    error: Option<String>,
    /// The engine's ID of what was built.
    pub(super) built_id: Option<String>,
    /// Its name until it has the right ones.
    pub(super) held: Option<Held<'a>>,
    /// How many of its files were written into the project.
    pub(super) outputs: Option<usize>,
    /// Whether the store has it and no engine answers.
    unloaded: bool,
    /// How many bytes the engine was sent.
    moved: u64,
    /// Whether it was, of a stored image that it lacked.
    was_loaded: bool,
    /// What its package clients took from the package cache.
    pub(super) packages: Option<Packages>,
    /// The tier that it came from, or that has it.
    pub(super) tier: Option<String>,
    /// How long the build took that a hit saves.
    saved_seconds: Option<f64>,
    /// The name that stands for its key, once the engine has it.
    pub(super) pinned: Option<String>,
}

impl<'a> Bake<'a> {
    /// The bake of one image, not yet begun.
    pub(super) fn new(
        baker: &'a Baker<'a>,
        planned: &'a Planned,
        seat: &'a Seat<'a, RunError>,
    ) -> Result<Self, RunError> {
        Ok(Self {
            baker,
            seat,
            temp: baker.temp_of(&planned.image.name)?,
            planned,
            image: &planned.image,
            before: baker.before(planned.below(), &planned.feeds),
            bases: BTreeMap::new(),
            contexts: BTreeMap::new(),
            loaded: false,
            started: Instant::now(),
            warnings: Vec::new(),
            key_warnings: Vec::new(),
            reason: None,
            chain: Vec::new(),
            changes: None,
            error: None,
            built_id: None,
            held: None,
            outputs: None,
            unloaded: false,
            moved: 0,
            was_loaded: false,
            packages: None,
            tier: None,
            saved_seconds: None,
            pinned: None,
            replace: baker.options.rebuild && planned.asked,
        })
    }
}

impl Bake<'_> {
    /// Brings the image up to date. An error is an interruption; any other failure is in the
    /// report.
    pub(super) fn run(mut self) -> Result<Baked, RunError> {
        if let Some(base) = self.before.failed() {
            return self.failed(None, RunError::Below { base: base.image.clone() });
        }
        if let Some(error) = unusable(self.image, self.baker.runner.folder()) {
            return self.failed(None, error);
        }
        for literal in self.image.literals() {
            self.warn(format!("{literal}, which is not replaced"));
        }
        for name in self.planned.unused_args.iter().filter(|name| self.image.own_args.contains(*name)) {
            let doubt = format!(
                "no stage of its Dockerfile declares the build argument `{name}`: its value changes nothing"
            );
            self.key_warnings.extend(self.baker.options.doubts.then(|| doubt.clone()));
            self.warn(doubt);
        }
        if let Err(error) = self.check_writes() {
            return self.failed(None, error);
        }
        self.step("hashing");
        let inputs = match self.inputs() {
            Ok(inputs) => inputs,
            Err(error) => return self.without_key(error),
        };
        self.note_doubts()?;
        if self.baker.options.prove && self.planned.asked {
            return self.prove(inputs);
        }
        let turn = match self.found_or_turn(&inputs.key) {
            Ok(Ok(from)) => {
                self.baker.offer(&inputs.key);
                self.saved_seconds = self.baker.build_seconds(&inputs.key);
                self.pinned = self.image.pinned(&inputs.key);
                // A check leaves it where it is.
                let saved = self.tier.is_none() || !self.baker.options.check;
                return Ok(self.report(State::Hit, Some(inputs.key), Some(from), saved));
            }
            Ok(Err(turn)) => turn,
            Err(error) => return self.failed(Some(inputs.key), error),
        };
        let baked = self.renew(inputs);
        drop(turn);
        baked
    }

    /// Makes the image, unless this is a check.
    fn renew(mut self, inputs: Inputs) -> Result<Baked, RunError> {
        self.explain(&inputs)?;
        if self.baker.options.check {
            return Ok(self.report(State::Stale, Some(inputs.key), None, false));
        }
        if let Err(error) = self.check_places() {
            return self.failed(Some(inputs.key), error);
        }
        self.tell_start();
        let made = if self.image.is_packed() { self.pack(&inputs) } else { self.build(&inputs) };
        match made {
            Ok(saved) => {
                if let Err(error) = self.name_made() {
                    return self.failed(Some(inputs.key), error);
                }
                if saved {
                    self.baker.send(&inputs.key);
                }
                let brought = self.bring_made(Some(&inputs.key), saved);
                if let Err(error) = brought.and_then(|()| self.pin_made(saved.then_some(&inputs.key))) {
                    return self.failed(Some(inputs.key), error);
                }
                let from = Some(self.maker());
                Ok(self.report(State::Built, Some(inputs.key), from, saved))
            }
            Err(error) => self.failed(Some(inputs.key), error),
        }
    }

    /// Where the image was found, else the right to build it, for which another bake of the key may
    /// have to be waited for.
    fn found_or_turn(&mut self, key: &str) -> Result<Result<&'static str, Option<Turn>>, RunError> {
        if let Some(from) = self.found(key)? {
            return Ok(Ok(from));
        }
        if self.baker.options.check || !self.cached() {
            return Ok(Err(None));
        }
        let missed = self.reason.is_none();
        let turn = self.baker.turn(&self.image.name, key, true)?;
        // It may have been saved between the question and the turn, too.
        if (turn.as_ref().is_some_and(|turn| turn.waited) || (missed && self.stands(key)))
            && let Some(from) = self.found(key)?
        {
            return Ok(Ok(from));
        }
        Ok(Err(turn))
    }

    fn stands(&self, key: &str) -> bool {
        self.baker.stored(key).is_some()
    }

    /// Where the image was found, unless it is to be built in any case.
    fn found(&mut self, key: &str) -> Result<Option<&'static str>, RunError> {
        let store = self.baker.options.store.as_deref();
        let is_rebuilt = self.baker.options.rebuild && self.planned.asked;
        let against = Against::of_options(is_rebuilt, self.cached())
            .or_else(|| self.before.against(store, key, &self.image.needs));
        let Some(against) = against else { return self.look_up(key) };
        (self.reason, self.chain) = (Some(against.reason), against.chain);
        self.replace |= against.replace;
        Ok(None)
    }

    pub(super) fn cached(&self) -> bool {
        self.image.use_image_cache && !self.baker.options.no_image_cache
    }

    /// The key of the inputs as they are now, with the manifest that it is the digest of.
    fn inputs(&mut self) -> Result<Inputs, RunError> {
        self.bases = self.known_bases()?;
        self.contexts = self.known_contexts()?;
        // It would warn of what git hides; but then the build is from `--tar`, which has the word.
        let hashctx =
            if self.image.ignore == Ignore::All { self.hashctx().arg("-q") } else { self.hashctx() };
        self.hash(hashctx.arg("--manifest"), "manifest")
    }

    /// Puts into a report in JSON what hashctx has warned of on stderr.
    fn note_doubts(&mut self) -> Result<(), RunError> {
        if self.baker.options.json || self.baker.options.doubts {
            self.key_warnings.extend(self.planned.doubts.iter().cloned());
            let hashctx = self.describe(self.hashctx().args(["-q", "--json"]));
            let (_, json) = self.baker.runner.ask(&hashctx)?;
            self.key_warnings.extend(doubts(&json, self.image.ignore == Ignore::All));
        }
        Ok(())
    }

    /// The key again, after a build. What hashctx warns of it has said before.
    pub(super) fn inputs_again(&self) -> Result<Inputs, RunError> {
        self.hash(self.hashctx().args(["-q", "--manifest"]), "manifest.after")
    }

    fn hash(&self, hashctx: Cmd, file: &str) -> Result<Inputs, RunError> {
        let manifest = self.temp.join(file);
        self.baker.runner.write(&self.describe(hashctx), &manifest)?;
        let key = digest(&manifest)?;
        self.baker.runner.say(&format!("# its b3sum, the key: {key}"));
        Ok(Inputs { key, manifest })
    }

    /// A command that writes the tar of the inputs, and their key into `key_file`. `checks`: its
    /// Dockerfile checks what it fetches.
    pub(super) fn tar(&self, key_file: &Utf8Path, checks: bool) -> Cmd {
        self.tar_by(self.hashctx(), key_file, checks)
    }

    /// The same, of what docker's builder before `BuildKit` reads.
    pub(super) fn tar_for_old_builder(&self, key_file: &Utf8Path) -> Cmd {
        self.tar_by(self.hashctx().args(["--engine", "docker"]), key_file, false)
    }

    fn tar_by(&self, hashctx: Cmd, key_file: &Utf8Path, checks: bool) -> Cmd {
        let hashctx = if self.image.ignore == Ignore::All { hashctx } else { hashctx.arg("-q") };
        self.describe_as(hashctx.args(["--tar", "--key-file"]).path(key_file), checks)
    }

    /// The key that the inputs would have for docker's builder before `BuildKit`.
    pub(super) fn key_for_old_builder(&self) -> Result<String, RunError> {
        let cmd = self.hashctx().args(["-q", "--manifest", "--engine", "docker"]);
        self.hash(cmd, "manifest.old").map(|inputs| inputs.key)
    }

    pub(super) fn describe(&self, hashctx: Cmd) -> Cmd {
        self.describe_as(hashctx, false)
    }

    /// The same where a Dockerfile is written: `checks` whether it is to check what it fetches.
    pub(super) fn describe_as(&self, hashctx: Cmd, checks: bool) -> Cmd {
        let Planned { pins, uses_as: uses, sources, .. } = self.planned;
        let named = Named { pins, uses, sources, checks, contexts: &self.contexts };
        self.image.describe(hashctx, &self.bases, &self.before.known(&self.image.needs), &named)
    }

    pub(super) fn hashctx(&self) -> Cmd {
        self.baker.stock.at_store(self.baker.tools.hashctx())
    }

    /// Where the image was found, if the store gives it.
    fn look_up(&mut self, key: &str) -> Result<Option<&'static str>, RunError> {
        let stock = &self.baker.stock;
        // A check changes nothing, in the engine neither; and a packed image needs no engine.
        let quick = self.baker.options.check || self.image.is_packed();
        self.step("asking for it");
        let ask = || if quick { stock.has(key) } else { stock.load(key, self.image) };
        let mut found = ask()?;
        if matches!(found, Found::Miss | Found::Damaged) {
            let over = found == Found::Damaged;
            self.tier = self.baker.bring(key, over)?;
            if self.tier.is_none() {
                self.tier = self.taken_by_name(key, over)?;
            }
            found = match &self.tier {
                Some(_) if self.baker.options.check => Found::Hit { present: false, moved: 0 },
                Some(_) => ask()?,
                None => found,
            };
        }
        self.was_loaded = !quick && matches!(found, Found::Hit { present: false, .. });
        let hit = self.judged_with_outputs(key, found)?;
        let hit = match hit {
            Some(_) if self.image.is_packed() && !self.baker.options.check => self.load_packed(key)?,
            hit => hit,
        };
        if hit.is_some() && !self.bring(key)? {
            return self.judge(Found::Damaged);
        }
        Ok(hit)
    }

    /// The name in a registry that has the image of the key, of those that the profile also reads.
    fn taken_by_name(&self, key: &str, over: bool) -> Result<Option<String>, RunError> {
        let Baker { options, tools, supply, .. } = self.baker;
        let Some(supply) = supply else { return Ok(None) };
        let values = values(&self.image.name, &options.occasion, Timestamp::now());
        let names = options.route.also_read.iter().filter_map(|name| name.fill(&values).ok()).collect();
        let manifest = self.temp.join("manifest");
        supply.take(names, key, tools, |pull| {
            let pull = self.baker.stock.at_store(pull).arg("--manifest").path(&manifest);
            let pull = self.image.tags.iter().fold(pull, |pull, tag| pull.flag("--name", tag));
            let pull = from(pull, &self.image.name, None, None);
            if over { pull.arg("--force") } else { pull }
        })
    }

    /// As `judge`; but the files of a stored image are to be had without an engine, and what others
    /// stand on is only loaded for a build of these.
    fn judged_with_outputs(&mut self, key: &str, found: Found) -> Result<Option<&'static str>, RunError> {
        match found {
            Found::NoEngine(why)
                if (!self.image.outputs.is_empty() || self.planned.only_below)
                    && matches!(self.baker.stock.has(key)?, Found::Hit { .. }) =>
            {
                self.leave_in_store(why);
                Ok(Some("store"))
            }
            found => self.judge(found),
        }
    }

    /// Takes a stored image for found that no engine takes: what is built on it would be built on
    /// whatever the engine had, so that nothing is.
    fn leave_in_store(&mut self, why: String) {
        self.unloaded = true;
        self.warn(format!("it is stored, but could not be loaded into the engine: {why}"));
        self.baker.without_engine(self.image.builder(), why);
    }

    fn judge(&mut self, found: Found) -> Result<Option<&'static str>, RunError> {
        let (reason, warning) = match found {
            Found::Hit { present, moved } => {
                self.moved += moved;
                return Ok(Some(if present { "engine" } else { "store" }));
            }
            Found::Miss => return Ok(None),
            Found::NoEngine(why) => return Err(self.baker.without_engine(self.image.builder(), why)),
            Found::Damaged => {
                self.replace = true;
                let then = if self.baker.options.check {
                    "would be built anew"
                } else {
                    "is built anew and saved over"
                };
                ("the stored image is damaged", format!("the stored image is damaged; it {then}"))
            }
            Found::Unloadable(why) => {
                ("the image cannot be loaded", format!("the stored image cannot be loaded: {why}"))
            }
            Found::Unusable(why) => {
                ("the store cannot be used", format!("the image cache cannot be used: {why}"))
            }
        };
        self.reason = Some(reason.to_owned());
        self.warn(warning);
        Ok(None)
    }

    /// Loads a packed image into the engine, where one answers. `None`: what is stored is damaged.
    pub(super) fn load_packed(&mut self, key: &str) -> Result<Option<&'static str>, RunError> {
        if let Some(why) = self.baker.stock.engine_trouble(self.image.builder())? {
            self.unloaded = true;
            self.baker.without_engine(self.image.builder(), why);
            return Ok(Some("store"));
        }
        match self.baker.stock.load(key, self.image)? {
            Found::NoEngine(why) => {
                self.leave_in_store(why);
                Ok(Some("store"))
            }
            Found::Unusable(why) | Found::Unloadable(why) => {
                self.warn(format!("it is stored, but could not be loaded into the engine: {why}"));
                Ok(Some("store"))
            }
            found => {
                self.loaded = matches!(found, Found::Hit { .. });
                self.was_loaded = matches!(found, Found::Hit { present: false, .. });
                self.judge(found)
            }
        }
    }

    pub(super) fn engine_answers(&self) -> Result<bool, RunError> {
        self.baker.stock.engine_trouble(self.image.builder()).map(|trouble| trouble.is_none())
    }

    /// Finds out what changed since the last save.
    fn explain(&mut self, inputs: &Inputs) -> Result<(), RunError> {
        let wanted = Sought { image: &self.image.name, tags: &self.image.tags };
        let inputs = (inputs.key.as_str(), inputs.manifest.as_path());
        let earlier = self.baker.earlier(&wanted, inputs)?;
        let was_saved = earlier.as_ref().is_some_and(|earlier| earlier.key != inputs.0);
        self.changes = changes_since(earlier, inputs, &self.temp, (self.baker.tools, self.baker.runner))?;
        if self.changes.is_some() {
            if let Some(base) = self.before.changed().filter(|_| self.reason.is_none()) {
                (self.reason, self.chain) = (Some(rebuilt(base)), chain(base));
            }
        } else if was_saved {
            self.reason = self.reason.take().or(Some("its inputs changed".to_owned()));
        }
        Ok(())
    }

    /// Why the image is not taken from the store.
    fn why(&self) -> String {
        why(self.reason.as_deref(), &self.chain, self.changes.as_ref())
    }

    fn without_key(mut self, error: RunError) -> Result<Baked, RunError> {
        // A cache that fails never fails a build; but these two need hashctx for the build itself.
        let needed = self.image.is_packed() || self.image.ignore == Ignore::All || self.baker.options.check;
        if error.is_interruption() || needed {
            return self.failed(None, error);
        }
        self.reason = Some("the inputs cannot be hashed".to_owned());
        self.warn(format!("built without the image cache: {error}"));
        match self.build_only(None) {
            Ok(_) => {
                let named = self.name_made().and_then(|()| self.bring_made(None, false));
                match named.and_then(|()| self.pin_made(None)) {
                    Ok(()) => {
                        let from = Some(self.maker());
                        Ok(self.report(State::Built, None, from, false))
                    }
                    Err(error) => self.failed(None, error),
                }
            }
            Err(error) => self.failed(None, error),
        }
    }

    pub(super) fn failed(mut self, key: Option<String>, error: RunError) -> Result<Baked, RunError> {
        if error.is_interruption() {
            return Err(error);
        }
        let why = with_causes(&error);
        self.say("error", &why);
        if let Some(help) = error.help() {
            self.baker.runner.tell(&format!("  help: {help}"));
        }
        self.error = Some(why);
        Ok(self.report(State::Failed, key, None, false))
    }

    pub(super) fn report(
        self,
        state: State,
        key: Option<String>,
        from: Option<&'static str>,
        saved: bool,
    ) -> Baked {
        let options = self.baker.options;
        // A packed image may be stored and not loaded: the engine has some other under its name.
        // Without an engine nothing is built on it.
        let in_engine = self.loaded || !self.image.is_packed() || options.check || self.unloaded;
        let to_save = state == State::Stale && self.image.use_image_cache;
        // A check brings nothing from a tier that alone has it.
        let is_there = saved || (state == State::Hit && options.check);
        Baked {
            wave: self.before.wave(),
            needs: self.before.names(),
            from,
            tier: self.tier.clone().filter(|_| state == State::Hit),
            engine: ((self.loaded || !self.image.is_packed()) && !self.unloaded)
                .then(|| self.image.builder().name()),
            saved,
            by_key: (is_there && in_engine) || to_save || options.no_image_cache,
            platform: Some(self.image.platform().to_string()),
            tags: self.planned.tags().to_vec(),
            outputs: self.outputs,
            reason: match state {
                State::Built | State::Stale => Some(self.why()),
                State::Hit if options.prove => self.reason,
                State::Hit | State::Failed => None,
            },
            chain: self.chain,
            loaded: self.was_loaded,
            moved: self.moved,
            packages: self.packages,
            saved_seconds: if state == State::Hit { self.saved_seconds } else { None },
            pinned: self.pinned.filter(|_| !self.unloaded),
            changes: self.changes,
            warnings: self.warnings,
            key_warnings: self.key_warnings,
            error: self.error,
            seconds: self.started.elapsed().as_secs_f64(),
            ..Baked::new(&self.image.name, state, key)
        }
    }

    fn maker(&self) -> &'static str {
        if self.image.is_packed() { "pack" } else { self.image.builder().name() }
    }

    fn tell_start(&self) {
        if self.baker.runner.verbosity() > Verbosity::Quiet {
            self.say("building", &self.why());
        }
    }

    pub(super) fn warn(&mut self, warning: String) {
        self.say("warning", &warning);
        self.warnings.push(warning);
    }

    pub(super) fn say(&self, what: &str, message: &str) {
        self.baker.runner.tell(&format!("{what}: {}: {message}", self.image.name));
    }

    /// What is done now, for a live view.
    pub(super) fn step(&self, step: &str) {
        self.baker.runner.live().step(&self.image.name, step);
    }
}

/// The error with what caused it, on one line.
pub(super) fn with_causes(error: &RunError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
