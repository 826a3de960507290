//! Makes one image: by the engine, or by packing a folder; and saves it where that is right.
//!
//! Saved is only what its key describes: the inputs are hashed again when the image is made.

mod caches;
mod plain;

use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use toolkit::Engine;

use self::caches::Caches;
use crate::bake::before::not_saved;
use crate::bake::engines::builder::{Builder, checks_by_itself, moved_base, wrong_base};
use crate::bake::engines::inspect::inspect;
use crate::bake::flow::Bake;
use crate::bake::inputs::Inputs;
use crate::bake::stock::{Extras, Found, Stock};
use crate::config::image::{Handed, Ignore};
use crate::lock;
use crate::process::held::Held;
use crate::process::live::step_of;
use crate::process::packages::{Packages, Through};
use crate::process::runner::{RunError, succeeded};

/// An image that the engine has built.
pub(in crate::bake) struct Built {
    /// Its ID.
    pub(in crate::bake) id: String,
    seconds: f64,
    /// The key of what the engine was handed, where it was handed a tar.
    key: Option<String>,
    /// Why it is not what its key says, if so.
    doubt: Option<String>,
    packages: Option<Packages>,
    /// The file with what its package clients fetched.
    fetched: Option<Utf8PathBuf>,
}

impl Bake<'_> {
    /// Builds with the engine and saves. `false`: built, but not saved.
    pub(in crate::bake) fn build(&mut self, inputs: &Inputs) -> Result<bool, RunError> {
        let below = if self.cached() { self.below()? } else { Vec::new() };
        let built = self.build_only(Some(inputs))?;
        if !self.cached() {
            return Ok(false);
        }
        let doubt = match built.doubt {
            Some(doubt) => Some(doubt),
            None => self.doubtful_bases(&below)?,
        };
        if let Some(doubt) = doubt {
            self.warn(format!("not saved: {doubt}"));
            return Ok(false);
        }
        let after = built.key.map_or_else(|| self.inputs_again().map(|after| after.key), Ok);
        if !(self.unchanged(inputs, after)? && self.knows_needs()) {
            return Ok(false);
        }
        let extras = Extras { fetched: built.fetched, ..self.extras(inputs, built.seconds) };
        self.step("saving");
        let saved = self.baker.stock.save(&inputs.key, &built.id, self.image, &extras);
        self.or_unsaved(saved)
    }

    /// Builds with the engine, from `inputs` where they are known. Whether there is one is asked
    /// only after a failure.
    pub(in crate::bake) fn build_only(&mut self, inputs: Option<&Inputs>) -> Result<Built, RunError> {
        self.baker.engine(self.image.builder())?;
        self.replaced_local()?.map_or(Ok(()), Err)?;
        let caches = self.caches()?;
        match self.build_now(inputs, &caches).map_err(|error| error.of_build_for(&self.image.platform())) {
            Err(error) if !error.is_interruption() => Err(self
                .baker
                .stock
                .engine_trouble(self.image.builder())?
                .map_or(error, |why| self.baker.without_engine(self.image.builder(), why))),
            built => {
                self.built_id = built.as_ref().ok().map(|built| built.id.clone());
                self.packages = built.as_ref().ok().and_then(|built| built.packages);
                if let Some(packages) = self.packages {
                    self.say("packages", &packages.to_string());
                }
                built
            }
        }
    }

    /// Gives what was built its names, once it is saved or known not to be: a bake that ends before
    /// leaves them where they were.
    pub(in crate::bake) fn name_made(&mut self) -> Result<(), RunError> {
        self.image.tags.iter().try_for_each(|tag| self.name(tag))?;
        if let Some(held) = &mut self.held {
            held.is_named = self.built_id.is_some();
        }
        Ok(())
    }

    /// Gives what was built the name that stands for its key, or, where no key describes it, for
    /// its ID.
    pub(in crate::bake) fn pin_made(&mut self, key: Option<&String>) -> Result<(), RunError> {
        let Some(id) = &self.built_id else { return Ok(()) };
        let name = key.map_or_else(|| self.image.pinned_by_id(id), |key| self.image.pinned(key));
        name.iter().try_for_each(|name| self.name(name))?;
        self.pinned = name;
        Ok(())
    }

    /// Gives what was built a name in its engine, if something was.
    fn name(&self, name: &str) -> Result<(), RunError> {
        let Some(id) = &self.built_id else { return Ok(()) };
        let tag = self.baker.tools.engine(self.image.builder(), "tag").arg(id).arg(name);
        self.baker.runner.output(&tag).map(drop)
    }

    fn build_now(&mut self, inputs: Option<&Inputs>, caches: &Caches) -> Result<Built, RunError> {
        let (tools, runner) = (self.baker.tools, self.baker.runner);
        let builder = Builder::probe(self.image.builder(), tools, runner)?;
        if self.image.as_build().is_some_and(|build| !build.contexts.is_empty())
            && !builder.knows_contexts(tools, runner)?
        {
            return Err(RunError::NoContexts);
        }
        let doubt = match self.old_builder_disagrees(builder, inputs)? {
            Some(doubt) => Some(doubt),
            None => wrong_base(self.image, tools, runner)?,
        };
        // By its ID: it has none of its own names before it is saved.
        let id_file = self.temp.join("id");
        let cmd = self.baker.build_command(builder)?.arg("--iidfile").path(&id_file);
        let docker = tools.engine(Engine::Docker, "rmi");
        let held = self.holds(builder).then(|| Held::new(&self.temp, docker.program(), runner));
        self.held = held.flatten();
        let cmd = self.held.iter().fold(cmd, |cmd, held| cmd.arg("-t").arg(held.name()));
        let cmd = if self.is_from_scratch() { cmd.arg("--no-cache") } else { cmd };
        let cmd = caches.told(cmd);
        let piped = self.is_piped(builder);
        let checks = self.checks_sources(builder)?;
        let pinned = if piped || inputs.is_none() { None } else { self.pinned(checks)? };
        let handed = match &pinned {
            _ if piped => Handed::Tar,
            Some(dockerfile) => Handed::Dockerfile(dockerfile),
            None => Handed::Folder,
        };
        let key_file = self.temp.join("key");
        let context = match (piped, self.image.ignore) {
            (false, _) => None,
            (true, Ignore::All) => Some(self.tar(&key_file, checks)),
            (true, Ignore::Docker) => Some(self.tar_for_old_builder(&key_file)),
        };
        let started = Instant::now();
        let limit = self.image.timeout.map(|limit| limit.0);
        let (live, name) = (runner.live().clone(), self.image.name.clone());
        self.step("building");
        let step = move |line: &str| step_of(line).into_iter().for_each(|step| live.step(&name, &step));
        let cmd = self.image.build(cmd, handed);
        let through = self.baker.through(&self.image.name, &self.image.packages, &self.temp);
        let cmd = match &through {
            Some(through) => through.lead(cmd),
            None => cmd,
        };
        runner.build(context.as_ref(), &cmd.within(limit), Box::new(step))?;
        self.step("built");
        let packages = through.as_ref().and_then(Through::summary);
        let fetched = through.as_ref().and_then(Through::record);
        let seconds = started.elapsed().as_secs_f64();
        let key = piped.then(|| word_in(&key_file)).transpose()?;
        let id = word_in(&id_file)?;
        let other = self.other_platform(&id)?;
        // One of several platforms would stand there in the place of another one.
        if let Some(other) = other.as_ref().filter(|_| self.image.name != self.image.plain) {
            // What follows is for people who want only one.
            let other = other.split("; ").next().unwrap_or(other);
            return Err(RunError::OtherPlatform(other.to_owned()));
        }
        if let Some(repository) = &caches.after {
            self.send_layers(builder, handed, context.as_ref(), (caches, repository))?;
        }
        let doubt = doubt.or(other);
        let uses = self.planned.uses.as_deref().unwrap_or_default();
        let doubt = match doubt {
            Some(doubt) => Some(doubt),
            None => moved_base(self.image, uses, tools, runner)?,
        };
        let doubt = match doubt {
            None if self.cached() && !checks => self.moved_source()?,
            doubt => doubt,
        };
        Ok(Built { id, seconds, key, doubt, packages, fetched })
    }

    /// Whether what is built needs a name before it has its own: where docker is to be able to push
    /// it to the store. An image that gets none would go with that one.
    fn holds(&self, builder: Builder) -> bool {
        builder != Builder::Podman && self.cached() && !self.image.tags.is_empty()
    }

    /// Whether the engine gets a tar. Docker's builder before `BuildKit` does where its Dockerfile
    /// is another one than the context's: given that beside a folder, it hides `.dockerignore`.
    fn is_piped(&self, builder: Builder) -> bool {
        let is_pinned = self.planned.is_renamed();
        self.image.ignore == Ignore::All || (builder == Builder::Old && is_pinned)
    }

    /// Writes the Dockerfile that names images by the digests of larder.lock and by the tags of
    /// their platform, where it has any of this build, with its ignore file.
    fn pinned(&self, checks: bool) -> Result<Option<Utf8PathBuf>, RunError> {
        if !self.planned.is_renamed() && !checks {
            return Ok(None);
        }
        let file = self.temp.join("Dockerfile");
        // What an earlier image of the bake had beside its own must not count for this one.
        for suffix in ["dockerignore", "containerignore"] {
            let _ = std::fs::remove_file(self.temp.join(format!("Dockerfile.{suffix}")));
        }
        let cmd = self.describe_as(self.hashctx().arg("--pinned").path(&file), checks);
        let (status, _) = self.baker.runner.capture(&cmd)?;
        succeeded(&cmd, status).map(|()| Some(file))
    }

    /// Whether the build itself checks that what it fetches is what larder.lock says.
    fn checks_sources(&self, builder: Builder) -> Result<bool, RunError> {
        let fetched =
            self.planned.remotes.iter().filter(|remote| self.planned.sources.contains_key(&remote.address));
        let told: Vec<_> = fetched.map(|remote| remote.checked).collect();
        if builder != Builder::BuildKit || told.is_empty() || told.contains(&Some(false)) {
            return Ok(false);
        }
        Ok(!told.contains(&None) || checks_by_itself(self.baker.tools, self.baker.runner)?)
    }

    /// After a build that did not check it: something that it fetched, and that is now another
    /// thing than larder.lock says, or is not to be had any more.
    fn moved_source(&self) -> Result<Option<String>, RunError> {
        for (address, pin) in &self.planned.sources {
            let is_repository =
                self.planned.remotes.iter().any(|it| it.address == *address && it.is_repository);
            let now = lock::at_address(address, is_repository, self.baker.tools, self.baker.runner)?;
            if now.as_ref() != Some(pin) {
                let now = now.map_or("cannot be fetched".to_owned(), |now| format!("is {now}"));
                return Ok(Some(format!(
                    "this builder does not check what `ADD` fetches, and `{address}` {now}, not the {pin} of larder.lock; \
                     `larder bake --update {address}` takes what is there now"
                )));
            }
        }
        Ok(None)
    }

    /// Why the builder before `BuildKit` would not make what the key says, if so: it reads some
    /// things by other rules.
    fn old_builder_disagrees(
        &self,
        builder: Builder,
        inputs: Option<&Inputs>,
    ) -> Result<Option<String>, RunError> {
        let Some(inputs) = inputs.filter(|_| builder == Builder::Old) else { return Ok(None) };
        let differs = self.key_for_old_builder()? != inputs.key;
        let why =
            "this docker client has no BuildKit, and the builder before it reads other inputs than the key's";
        Ok(differs.then(|| why.to_owned()))
    }

    /// Why the image is not for the platform of its key, if so: not every builder obeys
    /// `--platform`.
    fn other_platform(&self, id: &str) -> Result<Option<String>, RunError> {
        let found =
            inspect(&[id], self.image.builder(), self.baker.tools, self.baker.runner)?.pop().flatten();
        Ok(match found {
            Some(image) => image.other_platform(&self.image.platform()),
            None => Some("the engine does not say for which platform it was built".to_owned()),
        })
    }

    /// Packs into the store, and loads into the engine where one answers. `false`: it is in the
    /// engine only.
    pub(in crate::bake) fn pack(&mut self, inputs: &Inputs) -> Result<bool, RunError> {
        let tar = self.temp.join("files.tar");
        let started = Instant::now();
        let key_file = self.temp.join("key");
        self.baker.runner.write(&self.tar(&key_file, false), &tar)?;
        let extras = self.extras(inputs, started.elapsed().as_secs_f64());
        if self.cached() && self.unchanged(inputs, word_in(&key_file))? && self.knows_needs() {
            let saved = self.baker.stock.pack(&inputs.key, &tar, self.image, &extras);
            if self.or_unsaved(saved)? {
                return self.load_packed(&inputs.key).map(|from| from.is_some());
            }
        }
        self.pack_aside(&inputs.key, &tar, &extras).map(|()| false)
    }

    /// Packs into a store of its own, only to bring the image into the engine.
    fn pack_aside(&mut self, key: &str, tar: &Utf8Path, extras: &Extras) -> Result<(), RunError> {
        if !self.engine_answers()? {
            return Err(RunError::Nowhere);
        }
        let aside = self.temp.join("store");
        let stock = Stock::new(self.baker.tools, self.baker.runner, Some(&aside));
        stock.pack(key, tar, self.image, extras)?;
        match stock.load(key, self.image)? {
            Found::Hit { .. } => Ok(()),
            _ => Err(RunError::Nowhere),
        }
    }

    /// Whether the image was made from the inputs of the key: `after` is the key of what it was
    /// made from.
    fn unchanged(&mut self, inputs: &Inputs, after: Result<String, RunError>) -> Result<bool, RunError> {
        match after {
            Ok(after) if after == inputs.key => return Ok(true),
            Ok(_) => self.warn("not saved: its inputs changed during the build".to_owned()),
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) => self.warn(format!("not saved: {error}")),
        }
        Ok(false)
    }

    /// Whether the key knows all that the image needs.
    fn knows_needs(&mut self) -> bool {
        let unknown = self.before.unknown(&self.image.needs);
        unknown.map(|name| self.warn(format!("not saved: {}", not_saved(name)))).is_none()
    }

    /// A save that failed is a warning.
    fn or_unsaved(&mut self, saved: Result<(), RunError>) -> Result<bool, RunError> {
        match saved {
            Ok(()) => Ok(true),
            Err(error) if error.is_interruption() => Err(error),
            Err(error) => {
                self.warn(format!("not saved: {error}"));
                Ok(false)
            }
        }
    }

    pub(in crate::bake) fn extras(&self, inputs: &Inputs, seconds: f64) -> Extras {
        let host = self.baker.options.host.clone();
        let commit = self.baker.commit();
        Extras {
            manifest: inputs.manifest.clone(),
            fetched: None,
            seconds,
            force: self.replace,
            host,
            commit,
            project: self.baker.repository.project().map(str::to_owned),
        }
    }
}

/// The one word in a file that another program has written.
fn word_in(file: &Utf8Path) -> Result<String, RunError> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|source| RunError::Lost { program: file.to_string(), source })?;
    Ok(text.trim().to_owned())
}
