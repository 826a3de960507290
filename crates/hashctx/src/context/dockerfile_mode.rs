//! Precise mode: of a build's contexts, only what its Dockerfile reads.
//!
//! Ties the pure analysis of `dockerfile` to a configuration, listings and the manifest's lines.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use camino::Utf8Path;
use storekit::Platform;

use crate::config::{Build, Config, Rules, Selection};
use crate::dockerfile::pin::{Names, pinned};
use crate::dockerfile::remote::without_user;
use crate::dockerfile::{
    self, Analysis, Base, Fetcher, NamedContext, Remote, Request, Selector, Unknown, same_image,
};
use crate::dockerignore::Engine;
use crate::error::HashError;
use crate::files::digest::Digest;
use crate::files::stat::Kind;
use crate::listed::Listed;
use crate::listing::select;
use crate::manifest::Declared;
use crate::path::{RelPath, escape, printable};
use crate::warning::Warning;

/// What one build reads.
#[derive(Debug)]
pub(crate) struct Precise {
    analysis: Analysis,
    /// The Dockerfile with the digests and names of the build.
    pub(crate) pinned: Vec<u8>,
    /// Whether the frontend that the file names knows how to check what `ADD` fetches; None where
    /// that is not known.
    pub(crate) checks_sources: Option<bool>,
    /// The build args that no stage declares.
    pub(crate) unused_args: Vec<String>,
}

impl Precise {
    /// Reads the Dockerfile's text, as the engine does.
    pub(crate) fn new(build: &Build, engine: Engine, text: &[u8]) -> Result<Self, HashError> {
        // What podman reads is what the preprocessor of its machine makes of this file and those
        // that it includes.
        if engine == Engine::Podman && build.dockerfile.as_str().as_bytes().ends_with(b".in") {
            return Err(HashError::Preprocessed { path: build.dockerfile.clone() });
        }
        let build_args = build.args.iter().cloned().collect();
        let contexts = build.contexts.iter().map(|(name, place)| (name.clone(), context(place))).collect();
        let request = Request {
            dockerfile: text,
            name: build.dockerfile.as_str(),
            target: build.target.as_deref(),
            build_args: &build_args,
            engine,
            platform: &build.platform,
            build_platform: &Platform::host(),
            contexts: &contexts,
        };
        let analysis = dockerfile::analyse(&request)?;
        let pin = |remote: &Remote| Some((remote.clone(), pin_of(&build.pinned_sources, remote)?.to_owned()));
        let remotes: Vec<_> = analysis.remotes.iter().filter_map(pin).collect();
        let names = Names { pins: &build.pins, uses: &build.uses, remotes: &remotes };
        let pinned = if build.is_renamed() { pinned(&request, names)? } else { text.to_vec() };
        let checks_sources = dockerfile::checks_sources(&request);
        Ok(Self { analysis, pinned, checks_sources, unused_args: dockerfile::unused_args(&request) })
    }

    /// The image of a frontend that the Dockerfile names without a digest, and whether it is
    /// foreign.
    pub(crate) fn frontend(&self) -> Option<(&str, bool)> {
        self.analysis.frontend.as_deref().map(|image| (image, self.is_foreign()))
    }

    /// Whether another language's frontend reads the Dockerfile.
    pub(crate) fn is_foreign(&self) -> bool {
        let is_foreign = |unknown: &Unknown| matches!(unknown, Unknown::ForeignFrontend(_));
        self.analysis.unknowns.iter().any(is_foreign)
    }

    /// The images that it starts from or copies from, each once.
    pub(crate) fn images(&self) -> &[Base] {
        &self.analysis.bases
    }

    /// What it fetches that its address does not pin, and that can be pinned.
    pub(crate) fn remotes(&self) -> &[Remote] {
        &self.analysis.remotes
    }

    /// Whether anything of the named context is read.
    pub(crate) fn reads(&self, context: &str) -> bool {
        !Selector::new(&self.analysis.sources, Some(context)).is_empty()
    }

    /// Whether everything in a context is read.
    pub(crate) fn takes_all(&self, context: Option<&str>) -> bool {
        Selector::new(&self.analysis.sources, context).takes_all()
    }

    /// The inputs that are read, out of a context's listing; and the folders that are read although
    /// nothing in them is.
    pub(crate) fn narrow(&self, context: Option<&str>, root: &Utf8Path, entries: Vec<Listed>) -> Vec<Listed> {
        let selector = Selector::new(&self.analysis.sources, context);
        if selector.takes_all() {
            return entries;
        }
        let selection = selected(&selector, root, &entries);
        let read = |entry: &Listed| selection.entries.contains(entry.path.as_bytes());
        let folder = |path: Vec<u8>| Some(Listed::new(RelPath::new(path)?, Kind::Dir));
        let folders: Vec<Listed> = selection.empty_folders.iter().cloned().filter_map(folder).collect();
        entries.into_iter().filter(read).chain(folders).collect()
    }

    /// For each line whose instruction reads the main context, what it reads of a listing, and the
    /// folders that it reads although nothing in them is.
    pub(crate) fn read_by_line(
        &self,
        root: &Utf8Path,
        entries: &[Listed],
    ) -> Vec<(usize, BTreeSet<Vec<u8>>)> {
        let mut by_line = BTreeMap::<usize, BTreeSet<Vec<u8>>>::new();
        for source in self.analysis.sources.iter().filter(|source| source.context.is_none()) {
            let selector = Selector::new(std::slice::from_ref(source), None);
            let selection = selected(&selector, root, entries);
            let read = by_line.entry(source.line).or_default();
            read.extend(selection.entries.into_iter().chain(selection.empty_folders));
        }
        by_line.into_iter().collect()
    }

    /// The sources that are nowhere among the inputs that are read, which are sorted. Git's rules
    /// may hide them: there, those that are nowhere in the folder.
    pub(crate) fn missing(
        &self,
        rules: Rules,
        context: Option<&str>,
        root: &Utf8Path,
        read: &[Listed],
    ) -> Vec<Warning> {
        let selector = Selector::new(&self.analysis.sources, context);
        if !selector.may_miss(|path| holds(read, path)) {
            return Vec::new();
        }
        let may_hide = matches!(rules, Rules::All | Rules::Git);
        let exists =
            |path: &[u8]| root.as_std_path().join(OsStr::from_bytes(path)).symlink_metadata().is_ok();
        let missing = selected(&selector, root, read).missing;
        let missing = missing.into_iter().filter(|(_, path)| !(may_hide && exists(path)));
        let lines: BTreeSet<usize> = missing.map(|(line, _)| line).collect();
        lines.into_iter().map(|line| Warning::MissingSource { line }).collect()
    }

    /// Where git's rules hide, too: what the build reads all the same, unless it is built from a
    /// tar of the inputs.
    pub(crate) fn hidden_by_git(
        &self,
        config: &Config,
        context: Option<&str>,
        root: &Utf8Path,
        dockerfile: Option<&Utf8Path>,
        kept: &[Listed],
    ) -> Result<Option<Warning>, HashError> {
        let rules =
            if config.selection == Selection::Rules(Rules::Git) { Rules::None } else { Rules::Docker };
        let engines = Config { selection: Selection::Rules(rules), ..config.clone() };
        let all = self.narrow(context, root, select::list(&engines, root, dockerfile, None)?.entries);
        let kept: BTreeSet<&RelPath> = kept.iter().map(|entry| &entry.path).collect();
        // Git knows no empty folders: their absence is its way and not a rule of the project.
        let mut hidden =
            all.into_iter().filter(|entry| entry.kind != Kind::Dir && !kept.contains(&entry.path));
        let first = hidden.next();
        Ok(first.map(|entry| Warning::HiddenSource { path: entry.path, others: hidden.count() }))
    }

    /// The lines of the manifest that stand for no file.
    pub(crate) fn declared(&self, build: &Build) -> Vec<Declared> {
        let Analysis { instructions, args, remote_contexts, .. } = &self.analysis;
        let secret = |(name, value): (&String, &String)| (name.clone(), Digest::of(value.as_bytes()));
        let text = instructions.iter().flat_map(|line| [escape(line), "\n".into()]).collect::<String>();
        let mut declared = vec![
            Declared::Dockerfile(Digest::of(text.as_bytes())),
            Declared::Platform(build.platform.to_string()),
        ];
        declared.extend(build.target.clone().map(Declared::Target));
        declared.extend(args.iter().map(secret).map(|(name, digest)| Declared::Arg(name, digest)));
        let bases = build.bases.iter().filter(|(name, _)| self.uses(name));
        declared.extend(bases.map(|(name, digest)| Declared::Base(name.clone(), digest.clone())));
        let known = self.analysis.remotes.iter().filter_map(|remote| match &remote.by {
            Fetcher::Add { written, .. } => Some((written, pin_of(&build.sources, remote)?)),
            Fetcher::Context(_) => None,
        });
        declared.extend(known.map(|(name, pin)| Declared::Source(name.clone(), Digest::of(pin.as_bytes()))));
        declared
            .extend(remote_contexts.iter().map(secret).map(|(name, digest)| Declared::Source(name, digest)));
        declared
    }

    /// What could make the key lie.
    pub(crate) fn warnings(&self, build: &Build) -> Vec<Warning> {
        let shown = |text: String| printable(text.as_bytes());
        let moving = self.unknowns(build).into_iter().filter_map(|unknown| match unknown {
            Unknown::MovingTag(image) => Some(Warning::MovingTag { image: shown(image) }),
            Unknown::MovingSource(line, from) => Some(Warning::MovingSource { line, from: shown(from) }),
            Unknown::MovingContext(name) => Some(Warning::MovingContext { name }),
            Unknown::ProxyArg(line, name) => Some(Warning::ProxyArg { line, name }),
            _ => None,
        });
        let unused = build.bases.iter().filter(|(name, _)| !self.uses(name));
        moving.chain(unused.map(|(image, _)| Warning::BaseUnused { image: image.clone() })).collect()
    }

    /// What cannot be known, less what the caller knew.
    pub(crate) fn unknowns(&self, build: &Build) -> Vec<Unknown> {
        let given = |image: &str| build.bases.iter().any(|(name, _)| same_image(name, image));
        let fetched = |line: usize, source: &str| {
            let is_it = |remote: &&Remote| matches!(&remote.by, Fetcher::Add { line: at, written } if *at == line && written == source);
            self.analysis
                .remotes
                .iter()
                .find(is_it)
                .is_some_and(|remote| pin_of(&build.sources, remote).is_some())
        };
        let is_known = |unknown: &Unknown| match unknown {
            Unknown::MovingTag(image) | Unknown::MovingSyntax(image) => given(image),
            Unknown::MovingSource(line, source) => fetched(*line, source),
            _ => false,
        };
        let open = |unknown: &&Unknown| !is_known(unknown);
        self.analysis.unknowns.iter().filter(open).cloned().map(|unknown| self.shown(unknown)).collect()
    }

    /// The same without the values of build args, and without passwords.
    fn shown(&self, unknown: Unknown) -> Unknown {
        let written = |image: String| self.analysis.written.get(&image).cloned().unwrap_or(image);
        match unknown {
            Unknown::Onbuild(image) => Unknown::Onbuild(written(image)),
            Unknown::MovingTag(image) => Unknown::MovingTag(written(image)),
            Unknown::MovingSource(line, source) => Unknown::MovingSource(line, without_user(&source)),
            other => other,
        }
    }

    /// Whether the image is one of the build's. Those of a foreign frontend are not known: any may
    /// be.
    fn uses(&self, image: &str) -> bool {
        let frontend = self.analysis.frontend.iter();
        let mut used = self.analysis.bases.iter().map(|base| &base.reference).chain(frontend);
        self.is_foreign() || used.any(|used| same_image(used, image))
    }
}

/// What is known of something that is fetched.
fn pin_of<'a>(known: &'a [(String, String)], remote: &Remote) -> Option<&'a str> {
    known.iter().find(|(address, _)| *address == remote.address).map(|(_, pin)| pin.as_str())
}

fn selected(selector: &Selector<'_>, root: &Utf8Path, entries: &[Listed]) -> dockerfile::Selection {
    let listing = entries.iter().map(|entry| (entry.path.as_bytes(), entry.kind));
    let target = |path: &[u8]| {
        let link = root.as_std_path().join(OsStr::from_bytes(path));
        Some(std::fs::read_link(link).ok()?.into_os_string().into_vec())
    };
    selector.select(listing, target)
}

/// Whether something other than a link stands at the path, or below it. The list is sorted.
fn holds(listed: &[Listed], path: &[u8]) -> bool {
    let from = |path: &[u8]| listed.get(listed.partition_point(|one| one.path.as_bytes() < path));
    let below = [path, b"/"].concat();
    path.is_empty()
        || from(path).is_some_and(|one| one.path.as_bytes() == path && one.kind != Kind::Symlink)
        || from(&below).is_some_and(|one| one.path.as_bytes().starts_with(&below))
}

fn context(place: &str) -> NamedContext {
    if has_scheme(place) { NamedContext::Other(place.to_owned()) } else { NamedContext::Folder }
}

/// Whether a named context is an address and no folder.
pub(crate) fn has_scheme(place: &str) -> bool {
    place.contains("://") || place.starts_with("git@")
}
