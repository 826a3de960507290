//! The services of a compose file that are built. See the Compose Specification, "build".
//!
//! Variables stay as they are: `${NAME:-x}` means the same in larder.toml. Limit: of several files
//! that belong together one is read, and `extends` and `include` are not followed: `larder bake
//! --compose` does that.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::{Found, InitError, image_name};
use crate::compose::ComposeError;
use crate::compose::yaml::{Map, Node, Value, one_file};

/// The keys of `build` that are taken over.
const KNOWN: [&str; 9] = [
    "additional_contexts",
    "args",
    "context",
    "dockerfile",
    "labels",
    "network",
    "platforms",
    "tags",
    "target",
];

pub(super) fn services(folder: &Utf8Path, file: &Utf8Path) -> Result<Vec<Found>, InitError> {
    let path = folder.join(file);
    let whole = one_file(&path, file).map_err(|error| match error {
        ComposeError::NoFile { path, .. } => InitError::Missing { path },
        error => InitError::BadCompose(error),
    })?;
    let services = whole.get("services").and_then(Node::as_map);
    let services = services.ok_or_else(|| InitError::NoServices { path: file.to_owned() })?;
    // Paths in it are relative to its own folder.
    let base = path.parent().unwrap_or(folder).strip_prefix(folder).unwrap_or(Utf8Path::new("")).to_owned();
    let found = services.iter().filter_map(|(name, service)| {
        let build = service.get("build")?;
        Some(service_of(name.name, service, build, &base))
    });
    Ok(found.collect())
}

fn service_of(name: &str, service: &Node, build: &Node, base: &Utf8Path) -> Found {
    let text = |key: &str| build.get(key).and_then(Node::scalar);
    let context = build.as_text().map(ToOwned::to_owned).or_else(|| text("context"));
    let context = context.unwrap_or_else(|| ".".to_owned());
    let mut left_out = Vec::new();
    let platforms = list(build.get("platforms"));
    let platform = service.get("platform").and_then(Node::scalar).or_else(|| platforms.first().cloned());
    if platforms.len() > 1 {
        left_out.push(format!("all platforms but {}", platforms.first().map_or("", String::as_str)));
    }
    let others = build.as_map().into_iter().flat_map(Map::names);
    left_out.extend(others.filter(|key| !KNOWN.contains(key)).map(|key| format!("`build.{key}`")));
    let dockerfile = text("dockerfile").map_or_else(|| Utf8PathBuf::from("Dockerfile"), Utf8PathBuf::from);
    let (given, named): (Vec<_>, Vec<_>) =
        pairs(build.get("args")).into_iter().partition(|(_, value)| value.is_some());
    // `true` takes a variable that has to be set; compose leaves the argument out where it is not.
    let from_environment = |(name, _)| {
        format!(
            "`args.{name}`, which compose takes from the environment where it is set there: `{name} = true`"
        )
    };
    left_out.extend(named.into_iter().map(from_environment));
    let image = service.get("image").and_then(Node::scalar);
    let plain = |pairs: Vec<(String, Option<String>)>| {
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Vec<_>>()
    };
    Found {
        name: image_name(name),
        context: joined(base, &context),
        dockerfile,
        target: text("target"),
        tags: image.into_iter().chain(list(build.get("tags"))).map(with_tag).collect(),
        platform,
        network: text("network"),
        args: plain(given),
        contexts: plain(pairs(build.get("additional_contexts"))),
        labels: plain(pairs(build.get("labels"))),
        left_out,
    }
}

/// The path below the project's folder; an address as it is.
fn joined(base: &Utf8Path, path: &str) -> Utf8PathBuf {
    if path.contains("://") {
        return path.into();
    }
    let mut parts = Utf8PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir if parts.file_name().is_some() => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.as_str().is_empty() { ".".into() } else { parts }
}

/// An image name always has its tag in larder.toml's own words.
fn with_tag(name: String) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') || name.contains("${") { name } else { format!("{name}:latest") }
}

fn list(value: Option<&Node>) -> Vec<String> {
    value.and_then(Node::as_list).into_iter().flatten().filter_map(Node::scalar).collect()
}

/// A mapping, or a list of `NAME=VALUE`; a name alone is taken from the environment.
fn pairs(value: Option<&Node>) -> Vec<(String, Option<String>)> {
    match value.map(|node| &node.value) {
        Some(Value::Map(pairs)) => {
            pairs.iter().map(|(name, value)| (name.name.to_owned(), value.scalar())).collect()
        }
        Some(Value::List(words)) => words
            .iter()
            .filter_map(Node::scalar)
            .map(|word| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            })
            .collect(),
        _ => Vec::new(),
    }
}
