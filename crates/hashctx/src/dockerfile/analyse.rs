//! Walks the stages that the target needs and gathers what counts.

use std::collections::{BTreeMap, BTreeSet};

use storekit::Platform;

use super::env::Env;
use super::frontend::{self, Frontend};
use super::lines::{self, Line};
use super::reads::{self, Moving, Read};
use super::stages::{Origin, Stage, Stages, is_instruction};
use super::{Analysis, Base, Fetcher, NamedContext, Remote, Request, Source, Unknown, What, remote};
use crate::config::PROXY_ARGS;
use crate::error::dockerfile::{DockerfileError, Fault};

/// Instructions that change an image's configuration and nothing that another stage could copy.
const CONFIGURATION: [&str; 9] =
    ["CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "STOPSIGNAL", "VOLUME"];

/// Other instructions in which variables are expanded. Of `RUN` only the flags are.
const EXPANDED: [&str; 6] = ["ADD", "ARG", "COPY", "ENV", "USER", "WORKDIR"];

/// The argument that sets the image's times, declared or not.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What `BuildKit` sets where the base image sets none.
const SCRATCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Says what a build reads and depends on.
///
/// # Errors
/// A Dockerfile that is not a Dockerfile, or has no such target.
pub fn analyse(request: &Request<'_>) -> Result<Analysis, Box<DockerfileError>> {
    let frontend = Frontend::of(request);
    if let Some(foreign) = frontend.as_ref().filter(|frontend| !frontend.is_dockers) {
        return Ok(frontend::everything(request, foreign, read_as_dockers(request)));
    }
    let mut analysis = gather(request, &|_| true)
        .map_err(|fault| DockerfileError::new(request.name, request.dockerfile, fault))?;
    analysis.frontend = frontend.as_ref().and_then(Frontend::open);
    analysis.unknowns.extend(frontend.iter().flat_map(Frontend::unknowns));
    analysis.unknowns.sort();
    Ok(analysis)
}

/// The file read as docker's own frontend would, without what it does not know. `None` where that
/// is not a Dockerfile.
fn read_as_dockers(request: &Request<'_>) -> Option<Analysis> {
    let any_target = Request { target: None, ..*request };
    let tries = [request, &any_target].into_iter();
    tries.flat_map(|request| gather(request, &|line| is_instruction(&line.keyword))).next()
}

/// Reads the lines that are `wanted`.
fn gather(request: &Request<'_>, wanted: &dyn Fn(&Line) -> bool) -> Result<Analysis, Fault> {
    let mut file = lines::split(request.dockerfile)?;
    file.list.retain(wanted);
    let syntax = file.syntax.clone();
    let escape = file.escape;
    let stages = Stages::new(file, request)?;
    let target = stages.target(request.target)?;
    let needed = needed(&stages, target, request)?;
    let mut gathered = Gatherer {
        request,
        stages: &stages,
        built_on: built_on(&stages, &needed),
        number: needed.iter().enumerate().map(|(number, index)| (*index, number)).collect(),
        chain: chain(&stages, target),
        envs: BTreeMap::new(),
        out: Analysis::default(),
    };
    gathered.top(escape, syntax);
    for index in &needed {
        gathered.stage(*index)?;
    }
    let mut out = gathered.finish();
    if !request.build_args.is_empty() && out.remotes.iter().any(may_be_secret) {
        // What follows from the file alone is no secret.
        let bare = Request { build_args: &BTreeMap::new(), ..*request };
        let public = gather(&bare, wanted).map_or_else(|_| Vec::new(), |analysis| analysis.remotes);
        out.remotes.retain(|remote| !may_be_secret(remote) || public.contains(remote));
    }
    Ok(out)
}

/// The images whose names are made of variables, with the names as they are written.
pub(super) fn written(request: &Request<'_>) -> Result<BTreeMap<String, String>, Fault> {
    gather(request, &|_| true).map(|analysis| analysis.written)
}

/// Whether variables decide a query in the address: the value of an argument may be a secret, and a
/// pin is written down.
fn may_be_secret(remote: &Remote) -> bool {
    let address = &remote.address;
    matches!(&remote.by, Fetcher::Add { written, .. } if written != address && address.contains('?'))
}

/// The stages that the target is made of, in the order of the file.
fn needed(stages: &Stages, target: usize, request: &Request<'_>) -> Result<BTreeSet<usize>, Fault> {
    let mut needed = BTreeSet::new();
    let mut todo = vec![target];
    while let Some(index) = todo.pop() {
        let Some(stage) = stages.list.get(index).filter(|_| needed.insert(index)) else { continue };
        let mut origins = vec![stage.origin.clone()];
        for line in &stage.lines {
            origins.extend(reads::origins(line, stages, request)?);
        }
        todo.extend(origins.iter().filter_map(|origin| match origin {
            Origin::Stage(index) => Some(*index),
            _ => None,
        }));
    }
    Ok(needed)
}

/// The target and the stages that it is built on.
fn chain(stages: &Stages, target: usize) -> BTreeSet<usize> {
    let below = |index: &usize| match stages.list.get(*index).map(|stage| &stage.origin) {
        Some(Origin::Stage(below)) => Some(*below),
        _ => None,
    };
    std::iter::successors(Some(target), below).collect()
}

/// How many needed stages are built on each stage.
fn built_on(stages: &Stages, needed: &BTreeSet<usize>) -> BTreeMap<usize, usize> {
    let mut count = BTreeMap::new();
    for stage in needed.iter().filter_map(|index| stages.list.get(*index)) {
        if let Origin::Stage(below) = stage.origin {
            *count.entry(below).or_default() += 1;
        }
    }
    count
}

struct Gatherer<'a> {
    request: &'a Request<'a>,
    stages: &'a Stages,
    /// How many stages have yet to take the variables of a stage.
    built_on: BTreeMap<usize, usize>,
    /// From a stage's index in the file to its number among those that are needed.
    number: BTreeMap<usize, usize>,
    chain: BTreeSet<usize>,
    envs: BTreeMap<usize, Env>,
    out: Analysis,
}

impl Gatherer<'_> {
    fn top(&mut self, escape: char, syntax: Option<String>) {
        if escape != '\\' {
            self.out.instructions.push(format!("# escape={escape}").into_bytes());
        }
        if let Some(syntax) = syntax {
            self.out.instructions.push(format!("# syntax={syntax}").into_bytes());
        }
        let acts = |name: &str| name.starts_with("BUILDKIT_") || name == EPOCH;
        // In the global scope its default acts, too.
        let epoch = self.stages.globals.value(EPOCH).filter(|value| !value.is_empty());
        self.out.args.extend(epoch.map(|value| (EPOCH.to_owned(), value.to_owned())));
        let given = self.request.build_args.iter().filter(|(name, _)| acts(name));
        self.out.args.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    }

    fn stage(&mut self, index: usize) -> Result<(), Fault> {
        let Some(stage) = self.stages.list.get(index) else { return Ok(()) };
        let platform = stage.platform.clone().unwrap_or_else(|| self.request.platform.clone());
        self.out.stages.push(stage.name.clone().unwrap_or_else(|| index.to_string()));
        self.start(stage, &platform);
        let fault = |why| Fault::new(&stage.from.span, why);
        let mut env = self.env(&stage.origin).map_err(fault)?;
        let in_chain = self.chain.contains(&index);
        for (at, line) in stage.lines.iter().enumerate() {
            if in_chain || !CONFIGURATION.contains(&line.keyword.as_str()) {
                self.proxies(line, &env);
            }
            let outside = reads::assign(line, &mut env, self.stages, self.request)?;
            self.out.args.extend(outside.into_iter().filter(|(name, _)| !is_proxy(name)));
            self.line(line, &env, at < stage.triggers, in_chain, &platform)?;
        }
        if self.built_on.contains_key(&index) {
            self.envs.insert(index, env);
        }
        Ok(())
    }

    /// Notes the proxy arguments that the line uses. Quotes are not looked at: rather one too many.
    fn proxies(&mut self, line: &Line, env: &Env) {
        let keyword = line.keyword.as_str();
        let text = match keyword {
            "RUN" => line.flags.join(" "),
            "EXPOSE" | "LABEL" | "STOPSIGNAL" | "VOLUME" => line.rest.clone(),
            _ if EXPANDED.contains(&keyword) => String::from_utf8_lossy(&line.text).into_owned(),
            _ => String::new(),
        };
        if !text.contains('$') {
            return;
        }
        let outside = |name: &str| {
            let given = self.request.build_args.get(name).map(String::as_str);
            given.or_else(|| self.stages.globals.value(name))
        };
        let is_given = |name: &str| outside(name).is_some() && outside(name) == env.value(name);
        let used = PROXY_ARGS.iter().filter(|name| is_given(name) && names(&text, name));
        self.out.unknowns.extend(used.map(|name| Unknown::ProxyArg(line.number, (*name).to_owned())));
    }

    /// The variables that a stage begins with.
    fn env(&mut self, origin: &Origin) -> Result<Env, String> {
        let spent = &self.stages.spent;
        match origin {
            Origin::Stage(below) => self.env_of(*below),
            Origin::Scratch => Ok(Env::closed([("PATH".to_owned(), SCRATCH_PATH.to_owned())].into(), spent)),
            Origin::Context(name) => Ok(Env::empty(!self.request.is_folder(name), spent)),
            Origin::Image(_) => Ok(Env::empty(true, spent)),
        }
    }

    /// The last stage that is built on another one takes that one's variables, without a copy of
    /// them.
    fn env_of(&mut self, below: usize) -> Result<Env, String> {
        let left = self.built_on.get_mut(&below).map_or(0, |left| {
            *left = left.saturating_sub(1);
            *left
        });
        let env = if left == 0 {
            self.envs.remove(&below)
        } else {
            self.envs.get(&below).map(Env::handed_on).transpose()?
        };
        Ok(env.map_or_else(|| Env::empty(true, &self.stages.spent), Env::inherited))
    }

    fn start(&mut self, stage: &Stage, platform: &Platform) {
        let line = stage.from.number;
        let given = |name: &&String| !is_proxy(name);
        let value = |name: &String| Some((name.clone(), self.request.build_args.get(name)?.clone()));
        self.out.args.extend(stage.args.iter().filter(given).filter_map(value));
        if let (Origin::Image(reference), false) = (&stage.origin, stage.args.is_empty()) {
            self.out.written.insert(reference.clone(), stage.base.clone());
        }
        let origin = self.named(&stage.origin, platform);
        self.out.instructions.push(format!("FROM {origin}").into_bytes());
        match &stage.origin {
            Origin::Image(reference) => self.out.unknowns.push(Unknown::Onbuild(reference.clone())),
            Origin::Context(name) => {
                self.source(Some(name), line, What::Everything);
                if self.request.contexts.get(name).is_some_and(remote::is_image) {
                    self.out.unknowns.push(Unknown::Onbuild(name.clone()));
                }
            }
            Origin::Scratch | Origin::Stage(_) => {}
        }
    }

    /// An origin in words that do not depend on what else the file has. Notes images and contexts
    /// as used.
    fn named(&mut self, origin: &Origin, platform: &Platform) -> String {
        match origin {
            Origin::Scratch => format!("scratch for {platform}"),
            Origin::Stage(index) => format!("stage {}", self.number.get(index).copied().unwrap_or_default()),
            Origin::Context(name) => {
                if let Some(NamedContext::Other(value)) = self.request.contexts.get(name) {
                    let fetched = remote::pinnable_context(value);
                    let by = Fetcher::Context(name.clone());
                    let remote = fetched.map(|fetched| Remote { address: value.clone(), fetched, by });
                    self.out.remotes.extend(remote.filter(|remote| !self.out.remotes.contains(remote)));
                    self.out.remote_contexts.insert(name.clone(), value.clone());
                }
                if self.request.contexts.get(name).is_some_and(remote::moves) {
                    self.out.unknowns.push(Unknown::MovingContext(name.clone()));
                }
                format!("context {name} for {platform}")
            }
            Origin::Image(reference) => {
                let base = Base { reference: reference.clone(), platform: platform.clone() };
                if base.digest().is_none() {
                    self.out.unknowns.push(Unknown::MovingTag(reference.clone()));
                }
                self.out.bases.push(base);
                format!("image {reference} for {platform}")
            }
        }
    }

    fn line(
        &mut self,
        line: &Line,
        env: &Env,
        trigger: bool,
        in_chain: bool,
        platform: &Platform,
    ) -> Result<(), Fault> {
        if in_chain || !CONFIGURATION.contains(&line.keyword.as_str()) {
            let mut text = if trigger { b"ONBUILD ".to_vec() } else { Vec::new() };
            text.extend(&line.text);
            for (name, origin) in reads::expanded_origins(line, env, self.stages, self.request)? {
                if let (Origin::Image(reference), true) = (&origin, name.contains('$')) {
                    self.out.written.insert(reference.clone(), name);
                }
                // After a line break that no joined line has.
                text.extend(format!("\nfrom {}", self.named(&origin, platform)).into_bytes());
            }
            self.out.instructions.push(text);
        }
        let number = line.number;
        let moving = reads::moving(line, env, self.stages.escape);
        let moving = moving.map_err(|why| Fault::new(&line.span, why))?;
        for Moving { written, remote } in moving {
            let by = Fetcher::Add { line: number, written: written.clone() };
            let remote = remote.map(|(address, fetched)| Remote { address, fetched, by });
            self.out.remotes.extend(remote);
            self.out.unknowns.push(Unknown::MovingSource(number, written));
        }
        for Read { from, what, uncertain } in reads::reads(line, env, self.stages, self.request)? {
            let context = match &from {
                None => None,
                Some(Origin::Context(name)) => Some(name),
                Some(_) => continue,
            };
            if uncertain {
                self.out.unknowns.push(Unknown::BaseVariable(number));
            }
            self.source(context, number, if uncertain { What::Everything } else { what });
        }
        Ok(())
    }

    fn source(&mut self, context: Option<&String>, line: usize, what: What) {
        if context.is_none_or(|name| self.request.is_folder(name)) {
            self.out.sources.push(Source { context: context.cloned(), line, what });
        }
    }

    fn finish(self) -> Analysis {
        let mut out = self.out;
        out.bases.sort();
        out.bases.dedup();
        out.unknowns.sort();
        out.unknowns.dedup();
        out
    }
}

/// Whether `$NAME` or `${NAME` stands in the text.
fn names(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|after| {
        let behind = after.strip_prefix('{').unwrap_or(after).strip_prefix(name);
        behind.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

fn is_proxy(name: &str) -> bool {
    PROXY_ARGS.contains(&name)
}
