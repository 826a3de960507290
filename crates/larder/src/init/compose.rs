//! The services of a compose file that are built. See the Compose Specification, "build".
//!
//! Variables stay as they are: `${NAME:-x}` means the same in larder.toml. Limit: of several files
//! that belong together one is read, and `extends` and `include` are not followed.

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use serde_yaml_ng::{Mapping, Value};

use super::{Found, InitError, image_name};

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
    let unread = |source| InitError::Unread { path: file.to_owned(), source };
    let text = std::fs::read_to_string(&path).map_err(unread)?;
    let bad = |why: String| InitError::BadCompose { path: file.to_owned(), why };
    let mut whole: Value = serde_yaml_ng::from_str(&text).map_err(|error| bad(error.to_string()))?;
    whole.apply_merge().map_err(|error| bad(error.to_string()))?;
    let services = whole.get("services").and_then(Value::as_mapping);
    let services = services.ok_or_else(|| bad("it has no `services`".to_owned()))?;
    // Paths in it are relative to its own folder.
    let base = path.parent().unwrap_or(folder).strip_prefix(folder).unwrap_or(Utf8Path::new("")).to_owned();
    let found = services.iter().filter_map(|(name, service)| {
        let build = service.get("build")?;
        Some(service_of(name.as_str()?, service, build, &base))
    });
    Ok(found.collect())
}

fn service_of(name: &str, service: &Value, build: &Value, base: &Utf8Path) -> Found {
    let text = |key: &str| build.get(key).and_then(scalar);
    let context = build.as_str().map(ToOwned::to_owned).or_else(|| text("context"));
    let context = context.unwrap_or_else(|| ".".to_owned());
    let mut left_out = Vec::new();
    let platforms = list(build.get("platforms"));
    let platform = service.get("platform").and_then(scalar).or_else(|| platforms.first().cloned());
    if platforms.len() > 1 {
        left_out.push(format!("all platforms but {}", platforms.first().map_or("", String::as_str)));
    }
    let others = build.as_mapping().into_iter().flat_map(Mapping::keys).filter_map(Value::as_str);
    left_out.extend(others.filter(|key| !KNOWN.contains(key)).map(|key| format!("`build.{key}`")));
    let dockerfile = text("dockerfile").map_or_else(|| Utf8PathBuf::from("Dockerfile"), Utf8PathBuf::from);
    let image = service.get("image").and_then(scalar);
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
        args: pairs(build.get("args")),
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

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn list(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_sequence).into_iter().flatten().filter_map(scalar).collect()
}

/// A mapping, or a list of `NAME=VALUE`; a name alone is taken from the environment.
fn pairs(value: Option<&Value>) -> Vec<(String, Option<String>)> {
    match value {
        Some(Value::Mapping(pairs)) => {
            pairs.iter().filter_map(|(name, value)| Some((scalar(name)?, scalar(value)))).collect()
        }
        Some(Value::Sequence(words)) => words
            .iter()
            .filter_map(scalar)
            .map(|word| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            })
            .collect(),
        _ => Vec::new(),
    }
}
