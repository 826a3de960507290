//! Groups instructions into stages and ties each stage to what it is built on.
//!
//! Absent: what the stages read (that is `reads`), and image names' own syntax.

use std::collections::{BTreeMap, BTreeSet};

use storekit::Platform;

use super::env::{Env, Spent};
use super::expand::{self, Word};
use super::lines::{self, Line, Lines};
use super::{NamedContext, Request, context_name, platform, words};
use crate::dockerignore::Engine;
use crate::error::dockerfile::Fault;

/// What a stage starts from, or what `--from` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing.
    Scratch,
    /// Another stage, by its index.
    Stage(usize),
    /// A context that the caller named.
    Context(String),
    /// An image, by its reference.
    Image(String),
}

#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// In lower case.
    pub(super) name: Option<String>,
    pub(super) from: Line,
    /// What it is built on, as it is written.
    pub(super) base: String,
    pub(super) origin: Origin,
    /// The value of `--platform`, expanded.
    pub(super) platform: Option<Platform>,
    /// The build arguments that decide about what `FROM` names.
    pub(super) args: Vec<String>,
    /// Triggers of the stage below, then the stage's own instructions.
    pub(super) lines: Vec<Line>,
    /// How many of the lines are triggers.
    pub(super) triggers: usize,
}

/// The stages of a file and what is set before the first.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) list: Vec<Stage>,
    by_name: BTreeMap<String, usize>,
    pub(super) globals: Env,
    /// For each build argument: its name, and the global scope without it.
    without: Vec<(String, Option<Env>)>,
    /// The engine's own variables that an `ARG` without a value names before the first `FROM`:
    /// `BuildKit` of 2020 empties them, later releases do not.
    pub(super) emptied: BTreeSet<String>,
    pub(super) escape: char,
    pub(super) spent: Spent,
}

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Stages {
    pub(super) fn new(file: Lines, request: &Request<'_>) -> Result<Self, Fault> {
        let Lines { escape, list: lines, .. } = file;
        for line in &lines {
            well_formed(line, escape).map_err(|why| Fault::new(&line.span, why))?;
        }
        let is_from = |line: &Line| line.keyword == "FROM";
        let first = lines.iter().position(is_from).unwrap_or(lines.len());
        let (before, after) = lines.split_at(first);
        let last = after
            .iter()
            .rfind(|line| is_from(line))
            .ok_or_else(|| Fault::new(&(0..0), "it has no `FROM`"))?;
        let target = request.target.map(ToOwned::to_owned).or_else(|| from(last).ok()?.1);
        let target = target.as_deref().unwrap_or("default");
        let spent = Spent::default();
        let globals = globals(before, escape, request, target, &spent)?;
        let without = without(before, escape, request, target);
        let emptied = emptied(before, escape, request);
        let by_name = BTreeMap::new();
        let mut stages = Self { list: Vec::new(), by_name, globals, without, emptied, escape, spent };
        for group in after.chunk_by(|_, next| !is_from(next)) {
            stages.push(group, request)?;
        }
        Ok(stages)
    }

    /// The stage that is asked for: the last where none is.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize, Fault> {
        match name {
            None => Ok(self.list.len().saturating_sub(1)),
            Some(name) => self
                .by_name
                .get(&name.to_lowercase())
                .copied()
                .ok_or_else(|| Fault::asked(self.without_stage(name))),
        }
    }

    fn without_stage(&self, name: &str) -> String {
        let named: Vec<String> = self
            .list
            .iter()
            .filter_map(|stage| Some(format!("`{}`", stage.name.as_ref()?)))
            .take(9)
            .collect();
        let known = if named.is_empty() {
            "none has a name".to_owned()
        } else {
            format!("there are {}", named.join(", "))
        };
        format!("it has no stage `{name}`: {known}")
    }

    /// What `--from=NAME` names. `numbered` where a number is the index of a stage.
    pub(super) fn origin(&self, name: &str, numbered: bool, request: &Request<'_>) -> Option<Origin> {
        if let (true, Ok(index)) = (numbered, name.parse::<usize>()) {
            return self.list.get(index).map(|_| Origin::Stage(index));
        }
        let stage = self.by_name.get(&name.to_lowercase()).map(|index| Origin::Stage(*index));
        Some(stage.unwrap_or_else(|| external(name, request)))
    }

    fn push(&mut self, group: &[Line], request: &Request<'_>) -> Result<(), Fault> {
        let Some((line, body)) = group.split_first() else { return Ok(()) };
        let fault = |why: String| Fault::new(&line.span, why);
        let (written, name, platform) = from(line).map_err(fault)?;
        let args = self.deciding(&[&written, platform.as_deref().unwrap_or_default()]);
        let global = |word: &str| expand::expand(word, self.escape, &self.globals).map(|word| word.text);
        let base = global(&written).map_err(fault)?;
        if base.is_empty() {
            return Err(fault("the base's name is empty after expansion".to_owned()));
        }
        let named = |text: String| named_platform(&text, &global(&text)?, request.engine);
        let platform = platform.map(|text| named(text).map_err(fault)).transpose()?;
        let replaced = name.as_deref().and_then(|name| context_name(name, request.contexts));
        // A context in the place of a stage replaces its instructions, too.
        let (origin, own) = match (replaced, self.by_name.get(&base)) {
            (Some(context), _) => (Origin::Context(context), &[][..]),
            (None, Some(stage)) => (Origin::Stage(*stage), body),
            (None, None) => (external(&base, request), body),
        };
        let triggers = self.triggers(&origin).map_err(fault)?;
        let stage = Stage {
            name: name.clone(),
            from: line.clone(),
            base: written,
            origin,
            platform,
            args,
            triggers: triggers.len(),
            lines: triggers.into_iter().chain(own.iter().cloned()).collect(),
        };
        self.list.push(stage);
        if let Some(name) = name {
            self.by_name.insert(name, self.list.len() - 1);
        }
        Ok(())
    }

    /// The build arguments without which a word of `FROM` would be another one.
    fn deciding(&self, words: &[&str]) -> Vec<String> {
        let text = |word: &str, env: &Env| expand::expand(word, self.escape, env).ok().map(|word| word.text);
        let differs = |env: &Option<Env>| {
            let one = |word: &&str| env.as_ref().and_then(|env| text(word, env)) != text(word, &self.globals);
            words.iter().filter(|word| word.contains('$')).any(one)
        };
        self.without.iter().filter(|(_, env)| differs(env)).map(|(name, _)| name.clone()).collect()
    }

    /// The `ONBUILD` instructions of the stage below, without that word.
    fn triggers(&self, origin: &Origin) -> Result<Vec<Line>, String> {
        let Origin::Stage(index) = origin else { return Ok(Vec::new()) };
        let Some(below) = self.list.get(*index) else { return Ok(Vec::new()) };
        let onbuild = below.lines.iter().skip(below.triggers).filter(|line| line.keyword == "ONBUILD");
        let trigger = |line: &Line| {
            self.spent.add(line.text.len() * 2)?;
            let text = line.text.get(8..).unwrap_or_default();
            Ok(lines::parse(text, self.escape, line.span.clone(), line.number))
        };
        onbuild.map(trigger).collect()
    }
}

/// Whether the keyword, in upper case, is one of an instruction.
pub(super) fn is_instruction(keyword: &str) -> bool {
    KEYWORDS.contains(&keyword)
}

/// Instructions that mean something without an argument.
const BARE: [&str; 3] = ["CMD", "ENTRYPOINT", "RUN"];

/// What is refused in any stage, needed or not.
fn well_formed(line: &Line, escape: char) -> Result<(), String> {
    let keyword = line.keyword.as_str();
    if !is_instruction(keyword) {
        return Err(format!("`{keyword}` is not an instruction"));
    }
    if line.rest.is_empty() && !BARE.contains(&keyword) {
        return Err(format!("`{keyword}` takes at least one argument"));
    }
    if keyword == "ARG" && words::quoted(&line.rest, escape).iter().any(|word| word.starts_with('=')) {
        return Err("`ARG` takes a name before the `=`".to_owned());
    }
    let trigger = line.rest.split_whitespace().next().unwrap_or_default().to_uppercase();
    if keyword == "ONBUILD" && ["FROM", "MAINTAINER", "ONBUILD"].contains(&trigger.as_str()) {
        return Err(format!("`{trigger}` is not a trigger"));
    }
    Ok(())
}

fn external(name: &str, request: &Request<'_>) -> Origin {
    match context_name(name, request.contexts) {
        _ if name == "scratch" => Origin::Scratch,
        Some(context) => Origin::Context(context),
        None => Origin::Image(name.to_owned()),
    }
}

type From = (String, Option<String>, Option<String>);

/// Reads `FROM [--platform=P] BASE [AS NAME]`.
fn from(line: &Line) -> Result<From, String> {
    let words = words::blank_separated(&line.rest);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let platform = line.flags.iter().find_map(|flag| flag.strip_prefix("--platform=")).map(ToOwned::to_owned);
    let known = |flag: &String| flag.starts_with("--platform=");
    if let Some(flag) = line.flags.iter().find(|flag| !known(flag)) {
        return Err(format!("`FROM` has no flag `{flag}`"));
    }
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => (base, Some(name.to_lowercase())),
        _ => return Err("`FROM` takes a base and, with `AS`, a name".to_owned()),
    };
    let plain = |name: &String| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inner)
    };
    match name {
        Some(name) if !plain(&name) => Err(format!("`{name}` is not a name for a stage")),
        name => Ok(((*base).to_owned(), name, platform)),
    }
}

/// The platform that `--platform` names, as it is written and after expansion, which may be secret.
fn named_platform(written: &str, text: &str, engine: Engine) -> Result<Platform, String> {
    match (text, engine) {
        ("", Engine::DockerLegacy) => {
            Err(format!("`{written}` is empty: only BuildKit and Podman set platform args"))
        }
        ("", _) => Err("the platform is empty after expansion".to_owned()),
        _ => Platform::of_engine(text).map_err(|_| format!("`{written}` does not name a platform")),
    }
}

/// The global scope without each of the build arguments in turn. None where there is none without
/// it.
fn without(lines: &[Line], escape: char, request: &Request<'_>, target: &str) -> Vec<(String, Option<Env>)> {
    let spent = Spent::default();
    let one = |name: &String| {
        let mut build_args = request.build_args.clone();
        build_args.remove(name);
        let request = Request { build_args: &build_args, ..*request };
        (name.clone(), globals(lines, escape, &request, target, &spent).ok())
    };
    request.build_args.keys().map(one).collect()
}

/// Those of the engine's own variables that an `ARG` without a value names.
fn emptied(lines: &[Line], escape: char, request: &Request<'_>) -> BTreeSet<String> {
    let own = platform::variables(request, "");
    let words = lines.iter().flat_map(|line| words::quoted(&line.rest, escape));
    let is_open = |name: &String| own.contains_key(name) && !request.build_args.contains_key(name);
    words.filter(|name| request.engine == Engine::BuildKit && is_open(name)).collect()
}

/// The arguments before the first `FROM`, over those that the platform gives.
fn globals(
    lines: &[Line],
    escape: char,
    request: &Request<'_>,
    target: &str,
    spent: &Spent,
) -> Result<Env, Fault> {
    let known = platform::variables(request, target);
    let mut env = Env::closed(known, spent);
    for line in lines {
        if line.keyword != "ARG" {
            return Err(Fault::new(&line.span, format!("`{}` stands before the first `FROM`", line.keyword)));
        }
        for word in words::quoted(&line.rest, escape) {
            let fault = |why: String| Fault::new(&line.span, why);
            let (name, default) =
                word.split_once('=').map_or((word.as_str(), None), |(name, text)| (name, Some(text)));
            let name = expand::expand(name, escape, &env).map_err(fault)?.text;
            let value = match (request.build_args.get(&name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => expand::expand(default, escape, &env).map_err(fault)?.text,
                (None, None) => continue,
            };
            env.set(name, Word { text: value, uncertain: false });
        }
    }
    Ok(env)
}

impl Request<'_> {
    /// True for a named context that is a folder on this machine.
    pub(super) fn is_folder(&self, context: &str) -> bool {
        self.contexts.get(context) == Some(&NamedContext::Folder)
    }
}
