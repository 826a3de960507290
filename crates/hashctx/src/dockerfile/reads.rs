//! Follows one stage's instructions: its variables, and what it reads from contexts, stages and images.

use super::error::Fault;
use super::expand::{self, Env, Word};
use super::lines::{self, Line};
use super::stages::{self, Origin, Stages};
use super::{Request, What, words};
use crate::dockerignore::Patterns;

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
    let named = match line.keyword.as_str() {
        "COPY" => flag(line, "from").map(|name| (name.to_owned(), true)).into_iter().collect(),
        "RUN" => mounts(line).filter_map(|mount| Some((mount.get("from")?.to_owned(), false))).collect(),
        _ => Vec::new(),
    };
    let origin = |(name, numbered): (String, bool)| {
        stages
            .origin(&name, numbered, request)
            .ok_or_else(|| Fault::new(&line.span, format!("there is no stage `{name}`")))
    };
    named.into_iter().filter(|(name, _)| !name.is_empty()).map(origin).collect()
}

/// Applies ARG and ENV to the variables. Returns the arguments whose value came from outside of the stage.
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
    let (mut outside, mut values) = (Vec::new(), Vec::new());
    for word in words::quoted(&line.rest, stages.escape) {
        let (name, default) = stages::argument(&word, stages.escape, env)?;
        let global = || stages.globals.known.get(&name).filter(|_| default.is_none());
        let given = request.build_args.get(&name).or_else(global).cloned();
        outside.extend(given.clone().map(|value| (name.clone(), value)));
        let word = given.map(|text| Word { text, uncertain: false }).or(default);
        values.extend(word.map(|word| (name, word)));
    }
    // The names of one line do not see each other.
    for (name, word) in values {
        put(env, name, word);
    }
    Ok(outside)
}

fn set(line: &Line, env: &mut Env, escape: char) -> Result<(), String> {
    let pairs = words::pairs(&line.rest, escape).ok_or("`ENV` takes `name=value`")?;
    let mut values = Vec::new();
    for (name, value) in pairs {
        let value = expand::expand(&value, escape, env)?;
        values.push((expand::expand(&name, escape, env)?.text, value));
    }
    for (name, value) in values {
        put(env, name, value);
    }
    Ok(())
}

/// A value that only the base image knows makes its name as unknown.
fn put(env: &mut Env, name: String, value: Word) {
    if value.uncertain {
        env.known.remove(&name);
    } else {
        env.known.insert(name, value.text);
    }
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
    let parents = matches!(flag(line, "parents"), Some(value) if value.is_empty() || value == "true");
    let mut exclude = Vec::new();
    let mut uncertain = false;
    for pattern in line.flags.iter().filter_map(|flag| flag.strip_prefix("--exclude=")) {
        let pattern = expand::expand(pattern, escape, env)?;
        uncertain |= pattern.uncertain;
        exclude.push(pattern.text);
    }
    Patterns::listed(&exclude).map_err(|error| format!("`--exclude={}`: {}", error.pattern, error.why))?;
    let mut reads = Vec::new();
    for source in sources.iter().filter(|source| json || lines::heredoc_word(source).is_none()) {
        let source = expand::expand(source, escape, env)?;
        if !(line.keyword == "ADD" && is_remote(&source.text)) {
            let uncertain = uncertain || source.uncertain;
            reads.push(Read { from: from.cloned(), what: copied(&source, parents, &exclude), uncertain });
        }
    }
    Ok(reads)
}

/// A source with a scheme is fetched. Doubtful ones (`git@host:x`) are looked for in the context, too.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://"].iter().any(|scheme| source.starts_with(scheme))
}

fn copied(source: &Word, parents: bool, exclude: &[String]) -> What {
    let (base, below) = match source.text.split_once("/./") {
        Some((base, below)) if parents => (base, Some(below.to_owned())),
        None if parents => ("", Some(source.text.clone())),
        _ => (source.text.as_str(), None),
    };
    What::Copy { path: base.to_owned(), below, exclude: exclude.to_vec() }
}

fn mounted(line: &Line, env: &Env, stages: &Stages, request: &Request<'_>) -> Result<Vec<Read>, String> {
    let mut reads = Vec::new();
    for mount in mounts(line) {
        let value = |name: &str| expand::expand(mount.get(name).unwrap_or_default(), stages.escape, env);
        let (kind, source) = (value("type")?, value("source")?);
        let from = mount.get("from").filter(|from| !from.is_empty());
        let from = from.and_then(|from| stages.origin(from, false, request));
        let binds = kind.text.is_empty() || kind.text == "bind" || (kind.text == "cache" && from.is_some());
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
