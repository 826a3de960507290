//! What an image is built from: by what its key knows that, and whether it is still the same after
//! the build.
//!
//! An image of larder.toml is known by its own key, any other that only the engine has by its ID.
//! One of a registry's is known by the digest that larder.toml, larder.lock or the Dockerfile
//! names, and else by nothing: hashctx warns of that.

use std::collections::BTreeMap;
use std::io;

use super::before::key_of;
use super::engines::inspect::{Inspected, inspect};
use super::flow::Bake;
use super::order::pieces::Planned;
use super::order::plan::uses;
use crate::config::image::Ignore;
use crate::config::names;
use crate::process::runner::RunError;
use crate::report::Baked;

impl Bake<'_> {
    /// By what the key knows each image that it is built from.
    pub(super) fn known_bases(&mut self) -> Result<BTreeMap<String, String>, RunError> {
        let Some(uses) = &self.planned.uses else { return Err(self.without_uses()) };
        let mut known = BTreeMap::new();
        let mut open = Vec::new();
        for name in uses.iter().filter(|name| self.is_open(name)) {
            let key = self.base(name).and_then(key_of).map(|key| format!("larder:{key}"));
            match key.or_else(|| self.planned.locals.get(name).cloned()) {
                Some(by) => drop(known.insert(name.clone(), by)),
                None => open.push(name.as_str()),
            }
        }
        let found = self.inspect(&self.in_engine(&open))?;
        let nothing = found.iter().all(Option::is_none) && !open.is_empty();
        for (name, image) in open.into_iter().zip(found) {
            let of_project = self.planned.bases.contains_key(name);
            // Without a lock it is whatever the engine has.
            let counts = |image: &Inspected| {
                of_project || !self.image.lock || image.is_local(name, self.image.builder())
            };
            let own = image.filter(counts);
            known.extend(own.map(|image| (name.to_owned(), image.id())));
        }
        if nothing {
            self.warn_without_engine()?;
        }
        Ok(known)
    }

    /// By what the key knows each image that is a named context and has no digest: by its ID, where
    /// no registry is known to have it.
    pub(super) fn known_contexts(&self) -> Result<BTreeMap<String, String>, RunError> {
        let locked = &self.planned.local_contexts;
        let is_open = |context: &String| self.image.is_open_context(context) && !locked.contains_key(context);
        let open: Vec<_> = self.planned.contexts.iter().filter(|(context, _)| is_open(context)).collect();
        let names: Vec<_> = open.iter().map(|(_, name)| name.as_str()).collect();
        let found = self.inspect(&names)?;
        let own = open.into_iter().zip(found).filter_map(|((context, name), image)| {
            let image = image?;
            let counts = !self.image.lock || image.is_local(name, self.image.builder());
            counts.then(|| (context.clone(), image.id()))
        });
        Ok(own.chain(locked.iter().map(|(context, id)| (context.clone(), id.clone()))).collect())
    }

    /// Before and after a build: an image that the engine alone has, and that it has no more as
    /// larder.lock says.
    pub(super) fn replaced_local(&self) -> Result<Option<RunError>, RunError> {
        let Planned { locals, local_contexts, contexts, .. } = self.planned;
        let in_contexts =
            local_contexts.iter().filter_map(|(context, id)| Some((contexts.get(context)?, id)));
        let wanted: Vec<_> = locals.iter().chain(in_contexts).collect();
        let names: Vec<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let found = self.inspect(&names)?.into_iter().map(|image| image.map(|image| image.id()));
        let other = wanted.into_iter().zip(found).find(|((_, id), now)| now.as_ref() != Some(*id));
        let Some(((name, locked), now)) = other else { return Ok(None) };
        let engine = self.image.builder();
        if let Some(why) =
            now.is_none().then(|| self.baker.stock.engine_trouble(engine)).transpose()?.flatten()
        {
            return Ok(Some(self.baker.without_engine(engine, why)));
        }
        let has = match now {
            Some(now) => format!("{now} as `{name}`"),
            None => format!("no image `{name}`"),
        };
        let (engine, name, locked) = (engine.name(), name.clone(), locked.clone());
        Ok(Some(RunError::OtherLocal { engine, has, name, locked }))
    }

    /// The engine's IDs of the images of larder.toml that it is built from, in the order of
    /// `taken`.
    pub(super) fn below(&self) -> Result<Vec<Option<String>>, RunError> {
        let names: Vec<_> = self.taken().map(|(name, _)| name).collect();
        Ok(self.inspect(&names)?.iter().map(|image| image.as_ref().map(Inspected::id)).collect())
    }

    /// The engine's names by which the build takes images of larder.toml, each with the image's
    /// name there: those of its Dockerfile, then the tags of its named contexts.
    fn taken(&self) -> impl Iterator<Item = (&str, &String)> {
        let bases = self.planned.bases.iter().map(|(name, image)| (self.planned.in_engine(name), image));
        bases.chain(self.image.context_images().map(|(image, tag)| (tag.as_str(), image)))
    }

    /// After a build: why the images that it was built from may be others than those of the key, if
    /// so. `below` is what the engine had before it.
    pub(super) fn doubtful_bases(&mut self, below: &[Option<String>]) -> Result<Option<String>, RunError> {
        let uses = match uses(self.image, self.baker.tools, self.baker.runner) {
            Ok(uses) => Some(uses),
            Err(error) if error.is_interruption() => return Err(error),
            Err(error) if self.planned.uses.is_some() => {
                return Ok(Some(format!("its Dockerfile could not be read again after the build: {error}")));
            }
            Err(_) => None,
        };
        if uses != self.planned.uses
            || self.known_bases()? != self.bases
            || self.known_contexts()? != self.contexts
            || self.below()? != below
            || self.replaced_local()?.is_some()
        {
            return Ok(Some("the images that it is built from changed during the build".to_owned()));
        }
        if let Some(name) = self.replaced_base(below) {
            return Ok(Some(format!("`{name}` became another image after it was baked")));
        }
        if let Some(name) = self.reading_base(uses.as_deref().unwrap_or_default())? {
            return Ok(Some(format!(
                "`{name}` has ONBUILD instructions that may read files, which the key does not cover; write them \
                 into the Dockerfile"
            )));
        }
        let unclear = uses.iter().flatten().filter(|name| self.is_open(name)).find(|name| {
            name.contains('$') || (self.planned.bases.contains_key(*name) && !self.bases.contains_key(*name))
        });
        let unclear = unclear.or_else(|| self.unknown_context());
        Ok(unclear.map(|name| format!("which image `{name}` is, that it is built from, is not known")))
    }

    /// An image of larder.toml whose name stood for another one when the build began than was
    /// baked: some other build took it.
    fn replaced_base(&self, below: &[Option<String>]) -> Option<&str> {
        let baked = |image: &String| self.baker.done(image).and_then(|base| base.id.clone());
        let mut taken = self.taken().zip(below);
        let is_other =
            |image, id: &Option<String>| baked(image).is_some_and(|baked| Some(&baked) != id.as_ref());
        taken.find(|((_, image), id)| is_other(image, id)).map(|((name, _), _)| name)
    }

    /// The tag of a named context that is an image of larder.toml and has neither a key nor an ID.
    fn unknown_context(&self) -> Option<&String> {
        let is_known = |image: &String| {
            self.baker.done(image).is_some_and(|base| key_of(base).is_some() || base.id.is_some())
        };
        self.image.context_images().find(|(image, _)| !is_known(image)).map(|(_, tag)| tag)
    }

    /// An image that brings instructions which may read the context. A tar of the hashed files has
    /// nothing else to read.
    fn reading_base<'u>(&self, uses: &'u [String]) -> Result<Option<&'u str>, RunError> {
        if self.image.ignore == Ignore::All {
            return Ok(None);
        }
        let names: Vec<_> = uses.iter().map(String::as_str).filter(|name| !name.contains('$')).collect();
        let pinned = |name: &&str| match self.planned.pins.get(*name) {
            Some(digest) => format!("{name}@{digest}"),
            None => self.planned.in_engine(name).to_owned(),
        };
        let references: Vec<_> = names.iter().map(pinned).collect();
        let found = self.inspect(&references.iter().map(String::as_str).collect::<Vec<_>>())?;
        let reads = |image: &Option<Inspected>| image.as_ref().is_some_and(Inspected::reads_on_build);
        Ok(names.into_iter().zip(found).find(|(_, image)| reads(image)).map(|(name, _)| name))
    }

    /// Why hashctx does not say what the image is built from. It is asked again, now aloud.
    fn without_uses(&self) -> RunError {
        let moved = || io::Error::other("it says another thing each time");
        let lost = || RunError::Lost { program: "hashctx".to_owned(), source: moved() };
        uses(self.image, self.baker.tools, self.baker.runner).err().unwrap_or_else(lost)
    }

    /// Whether neither the name nor larder.toml has a digest, nor larder.lock.
    fn is_open(&self, name: &str) -> bool {
        let Some(build) = self.image.as_build() else { return false };
        let is_given = build.base.keys().any(|given| names::full(given) == names::full(name));
        let is_locked = self.planned.pins.contains_key(name);
        !name.contains('@') && !is_locked && (!is_given || self.planned.bases.contains_key(name))
    }

    fn base(&self, reference: &str) -> Option<&Baked> {
        self.baker.done(self.planned.bases.get(reference)?)
    }

    /// The engine's names for images that the Dockerfile names so.
    fn in_engine<'n>(&'n self, names: &[&'n str]) -> Vec<&'n str> {
        names.iter().map(|name| self.planned.in_engine(name)).collect()
    }

    fn inspect(&self, names: &[&str]) -> Result<Vec<Option<Inspected>>, RunError> {
        inspect(names, self.image.builder(), self.baker.tools, self.baker.runner)
    }

    /// A check goes on without an engine; then it cannot tell what the engine has.
    fn warn_without_engine(&mut self) -> Result<(), RunError> {
        if self.baker.options.check
            && let Some(why) = self.baker.stock.engine_trouble(self.image.builder())?
        {
            self.warn(format!(
                "{why}: whether it is built from images that only the engine has is not known"
            ));
        }
        Ok(())
    }
}
