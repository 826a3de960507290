//! Follows one stage's instructions: its variables, and what it reads from contexts, stages and
//! images.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::env::Env;
use super::expand::{self, Word};
use super::lines::{self, Line};
use super::remote::{self, Address};
use super::stages::{Origin, Stages};
use super::{Fetched, Request, What, words};
use crate::dockerignore::{Engine, Patterns};
use crate::error::dockerfile::Fault;

/// Something that an instruction reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// None: the main context.
    pub(super) from: Option<Origin>,
    pub(super) what: What,
    /// A variable of the base image decides what is read.
    pub(super) uncertain: bool,
}

/// The `--from`s of an instruction: what it depends on, before any variable is known.
pub(super) fn origins(line: &Line, stages: &Stages, request: &Request<'_>) -> Result<Vec<Origin>, Fault> {
    let origin = |(name, numbered): (String, bool)| {
        stages
            .origin(&name, numbered, request)
            .ok_or_else(|| Fault::new(&line.span, format!("the stage `{name}` does not exist")))
    };
    froms(line).into_iter().map(origin).collect()
}

/// The same where the variables are known, each with the name as it is written. Only podman expands
/// them there: to `BuildKit` a name of variables is that name.
pub(super) fn expanded_origins(
    line: &Line,
    env: &Env,
    stages: &Stages,
    request: &Request<'_>,
) -> Result<Vec<(String, Origin)>, Fault> {
    let fault = |why: String| Fault::new(&line.span, why);
    let mut origins = origins(line, stages, request)?;
    let names = froms(line);
    for ((name, numbered), origin) in
        names.iter().zip(&mut origins).filter(|((name, _), _)| name.contains('$'))
    {
        if request.engine != Engine::Podman {
            continue;
        }
        let word = expand::expand(name, stages.escape, env).map_err(fault)?;
        match stages.origin(&word.text, *numbered, request) {
            _ if word.uncertain || word.text.is_empty() => {}
            // Which stages are needed was decided before.
            Some(Origin::Stage(_)) | None => {
                let why = format!("`{name}` is a stage of this file: name it without variables");
                return Err(fault(why));
            }
            Some(found) => *origin = found,
        }
    }
    Ok(names.into_iter().map(|(name, _)| name).zip(origins).collect())
}

/// The names that `--from` and `from=` of mounts have, and whether a number is one of a stage.
pub(super) fn froms(line: &Line) -> Vec<(String, bool)> {
    let named: Vec<_> = match line.keyword.as_str() {
        "COPY" => flag(line, "from").map(|name| (name.to_owned(), true)).into_iter().collect(),
        "RUN" => mounts(line).filter_map(|mount| Some((mount.get("from")?.to_owned(), false))).collect(),
        _ => Vec::new(),
    };
    named.into_iter().filter(|(name, _)| !name.is_empty()).collect()
}

/// The names that `ARG` declares anywhere in the file. None where one of them is made of variables,
/// or the file cannot be split into instructions.
pub(super) fn declared(file: &[u8]) -> Option<BTreeSet<String>> {
    let file = lines::split(file).ok()?;
    let mut declared = BTreeSet::new();
    for line in &file.list {
        let text = match line.keyword.as_str() {
            "ARG" => line.rest.clone(),
            "ONBUILD" => {
                let text = line.text.get("ONBUILD ".len()..).unwrap_or_default();
                let inner = lines::parse(text, file.escape, line.span.clone(), line.number);
                if inner.keyword == "ARG" { inner.rest } else { continue }
            }
            _ => continue,
        };
        for word in words::quoted(&text, file.escape) {
            let name = word.split('=').next().unwrap_or_default();
            if name.contains(['$', '"', '\'', '\\']) {
                return None;
            }
            declared.insert(name.to_owned());
        }
    }
    Some(declared)
}

/// Applies ARG and ENV to the variables. Returns the arguments whose value came from outside of the
/// stage.
pub(super) fn assign(
    line: &Line,
    env: &mut Env,
    stages: &Stages,
    request: &Request<'_>,
) -> Result<Vec<(String, String)>, Fault> {
    let fault = |why: String| Fault::new(&line.span, why);
    match line.keyword.as_str() {
        "ARG" => declare(line, env, stages, request).map_err(fault),
        "ENV" => set(line, env, stages.escape).map(|()| Vec::new()).map_err(fault),
        _ => Ok(Vec::new()),
    }
}

fn declare(
    line: &Line,
    env: &mut Env,
    stages: &Stages,
    request: &Request<'_>,
) -> Result<Vec<(String, String)>, String> {
    let mut outside = Vec::new();
    // Releases before 2022 do not let the names of one line see each other.
    let words = words::quoted(&line.rest, stages.escape);
    let apart = words.len() > 1 && line.rest.contains('$');
    let before = if apart { Some(env.handed_on()?) } else { None };
    for word in words {
        let (name, default) =
            word.split_once('=').map_or((word.as_str(), None), |(name, text)| (name, Some(text)));
        // Those releases expand the name too.
        let expanded = expand::expand(name, stages.escape, env)?;
        if expanded.uncertain || expanded.text != name {
            let given = request.build_args.get(&expanded.text).cloned();
            outside.extend(given.map(|value| (expanded.text.clone(), value)));
            env.set_name(expanded, doubt());
        }
        let global = || stages.globals.value(name).filter(|_| default.is_none());
        let given = request.build_args.get(name).map(String::as_str).or_else(global).map(ToOwned::to_owned);
        outside.extend(given.clone().map(|value| (name.to_owned(), value)));
        let mut value = match (given, default) {
            (Some(text), _) => Word { text, uncertain: false },
            (None, Some(default)) => expand_in_both(default, stages.escape, env, before.as_ref())?,
            (None, None) => continue,
        };
        value.uncertain |= env.contradicts(name, &value.text);
        value.uncertain |= default.is_none() && stages.emptied.contains(name);
        env.set(name.to_owned(), value);
    }
    Ok(outside)
}

fn doubt() -> Word {
    Word { text: String::new(), uncertain: true }
}

/// The expansion, doubtful where the variables as they were before the line make another one.
fn expand_in_both(word: &str, escape: char, env: &Env, before: Option<&Env>) -> Result<Word, String> {
    let mut value = expand::expand(word, escape, env)?;
    if let Some(before) = before {
        value.uncertain |= expand::expand(word, escape, before).ok().as_ref() != Some(&value);
    }
    Ok(value)
}

fn set(line: &Line, env: &mut Env, escape: char) -> Result<(), String> {
    let pairs = words::pairs(&line.rest, escape).ok_or("`ENV` takes `name=value`")?;
    let mut values = Vec::new();
    for (name, value) in pairs {
        let value = expand::expand(&value, escape, env)?;
        values.push((expand::expand(&name, escape, env)?, value));
    }
    for (name, value) in values {
        env.set_in_image(name, value);
    }
    Ok(())
}

/// What an instruction reads with these variables.
pub(super) fn reads(
    line: &Line,
    env: &Env,
    stages: &Stages,
    request: &Request<'_>,
) -> Result<Vec<Read>, Fault> {
    let fault = |why: String| Fault::new(&line.span, why);
    let from = origins(line, stages, request)?;
    match line.keyword.as_str() {
        "COPY" => copies(line, env, stages.escape, from.first()).map_err(fault),
        "ADD" => copies(line, env, stages.escape, None).map_err(fault),
        "RUN" => mounted(line, env, stages, request).map_err(fault),
        _ => Ok(Vec::new()),
    }
}

fn copies(line: &Line, env: &Env, escape: char, from: Option<&Origin>) -> Result<Vec<Read>, String> {
    let json = words::json(&line.rest).is_some();
    let mut sources = words::list(&line.rest);
    if sources.pop().is_none() || sources.is_empty() {
        return Err(format!("`{}` takes at least a source and a destination", line.keyword));
    }
    let parents =
        flag(line, "parents").is_some_and(|value| value.is_empty() || value.eq_ignore_ascii_case("true"));
    // Variables in these patterns stay as they are written.
    let exclude = line.flags.iter().filter_map(|flag| flag.strip_prefix("--exclude=")).map(ToOwned::to_owned);
    let exclude: Arc<[String]> = exclude.collect();
    Patterns::listed(&exclude).map_err(|error| format!("`--exclude={}`: {}", error.pattern, error.why))?;
    let mut reads = Vec::new();
    for source in sources.iter().filter(|source| json || lines::heredoc_word(source).is_none()) {
        let source = expand::expand(source, escape, env)?;
        if line.keyword == "COPY" || is_read(&source.text) {
            let uncertain = source.uncertain;
            reads.push(Read { from: from.cloned(), what: copied(&source, parents, &exclude), uncertain });
        }
    }
    Ok(reads)
}

/// A source of `ADD` with a scheme is fetched. Doubtful ones (`git@host:x`) are looked for in the
/// context, too.
fn is_read(source: &str) -> bool {
    remote::address(source) == Address::Path || !source.contains("://")
}

/// A source that can be another thing tomorrow.
pub(super) struct Moving {
    /// As it is written.
    pub(super) written: String,
    /// What there is to pin, if that can be done.
    pub(super) remote: Option<(String, Fetched)>,
}

/// What an `ADD` fetches and can be another thing tomorrow.
pub(super) fn moving(line: &Line, env: &Env, escape: char) -> Result<Vec<Moving>, String> {
    if line.keyword != "ADD" {
        return Ok(Vec::new());
    }
    let checksum = expand::expand(flag(line, "checksum").unwrap_or_default(), escape, env)?.text;
    let mut moving = Vec::new();
    let mut sources = words::list(&line.rest);
    sources.pop();
    // A checksum is of one source.
    let alone = sources.len() == 1 && flag(line, "checksum").is_none();
    for source in sources {
        let word = expand::expand(&source, escape, env)?;
        // A variable of the base image may be a whole address.
        let may_be_address = word.uncertain && source.trim_start_matches('"').starts_with('$');
        let fixed = match remote::address(&word.text) {
            Address::Path => !may_be_address,
            Address::File => !checksum.is_empty(),
            Address::Repository { pinned } => pinned || remote::is_commit(&checksum),
        };
        if !fixed {
            let fetched = remote::pinnable(&word.text).filter(|_| alone && !word.uncertain);
            let remote = fetched.map(|fetched| (word.text, fetched));
            moving.push(Moving { written: source, remote });
        }
    }
    Ok(moving)
}

fn copied(source: &Word, parents: bool, exclude: &Arc<[String]>) -> What {
    let (base, below) = match source.text.split_once("/./") {
        Some((base, below)) if parents => (base, Some(below.to_owned())),
        None if parents => ("", Some(source.text.clone())),
        _ => (source.text.as_str(), None),
    };
    What::Copy { path: base.to_owned(), below, exclude: Arc::clone(exclude) }
}

fn mounted(line: &Line, env: &Env, stages: &Stages, request: &Request<'_>) -> Result<Vec<Read>, String> {
    let mut reads = Vec::new();
    for mount in mounts(line) {
        let value = |name: &str| expand::expand(mount.get(name).unwrap_or_default(), stages.escape, env);
        let (kind, source) = (value("type")?, value("source")?);
        let from = mount.get("from").filter(|from| !from.is_empty());
        let from = from.and_then(|from| stages.origin(from, false, request));
        let kind_is = |name: &str| kind.text.eq_ignore_ascii_case(name);
        let binds = kind_is("") || kind_is("bind") || (kind_is("cache") && from.is_some());
        if binds || kind.uncertain {
            let uncertain = kind.uncertain || source.uncertain;
            reads.push(Read { from, what: What::Bind { path: source.text }, uncertain });
        }
    }
    Ok(reads)
}

/// One `--mount`, its fields by their full names.
struct Mount(Vec<(String, String)>);

impl Mount {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

fn mounts(line: &Line) -> impl Iterator<Item = Mount> {
    let field = |field: String| {
        let (name, value) = field.split_once('=').unwrap_or((field.as_str(), ""));
        let name = name.to_lowercase();
        (if name == "src" { "source".to_owned() } else { name }, value.to_owned())
    };
    let flags = line.flags.iter().filter_map(|flag| flag.strip_prefix("--mount="));
    flags.map(move |flag| Mount(words::fields(flag).into_iter().map(field).collect()))
}

/// The value of a flag, empty where it has none.
fn flag<'a>(line: &'a Line, name: &str) -> Option<&'a str> {
    line.flags.iter().find_map(|flag| {
        let rest = flag.strip_prefix("--")?.strip_prefix(name)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('=') }
    })
}
