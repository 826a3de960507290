//! One service's `build`, in all its forms, as a table of an image.
//!
//! Pure: what has to be in a file for the build (an inline Dockerfile, a secret that only `.env`
//! has) is given back beside it. Where compose takes a text, a number will do, as it does there.

use camino::{Utf8Path, Utf8PathBuf};

use super::load::Variables;
use super::merge::as_hosts;
use super::paths::{is_remote, seen_from};
use super::source::{Fault, Place};
use super::values::{list, pairs_of, registry, repository, scalar};
use super::yaml::{Map, Node, Value};
use crate::config::compose::services::{Line, Said, Service};
use crate::config::names::is_name;

/// What of `build` an image has no use for, or larder does not hand on.
const LEFT_OUT: [&str; 7] =
    ["entitlements", "isolation", "no_cache_filter", "privileged", "provenance", "pull", "sbom"];

/// What a service is read in.
pub(super) struct Around<'a> {
    /// The folder that larder works in.
    pub(super) root: &'a Utf8Path,
    /// The project's folder.
    pub(super) folder: &'a Utf8Path,
    /// The project's name.
    pub(super) project: &'a str,
    /// `secrets` of the files.
    pub(super) secrets: Option<&'a Map>,
    /// All services.
    pub(super) services: &'a Map,
    /// With those of `.env`.
    pub(super) variables: &'a Variables,
    /// The process's own.
    pub(super) environment: &'a Variables,
    /// A folder for what has to be in a file.
    pub(super) temp: &'a Utf8Path,
    /// This machine's platform.
    pub(super) platform: &'a str,
}

/// A service that is built.
pub(super) struct Built {
    pub(super) service: Service,
    /// Files to be written, in full: only their user may read them.
    pub(super) files: Vec<(Utf8PathBuf, String)>,
    /// What people should know.
    pub(super) notes: Vec<(Option<Place>, String)>,
    /// Why larder cannot build it, if so.
    pub(super) foreign: Option<String>,
}

/// The service, where it has `build`.
///
/// # Errors
/// A value of another kind than compose takes.
pub(super) fn built(
    name: &str,
    at: &Place,
    service: &Node,
    around: &Around<'_>,
) -> Result<Option<Built>, Fault> {
    let Some(build) = service.get("build") else { return Ok(None) };
    let Some(map) = build.as_map() else {
        let message = format!("`build` is {}", build.kind());
        return Err(Fault::new(
            message,
            &build.at,
            "write `build: FOLDER`, or `build:` with `context` and more below it",
        ));
    };
    let mut reader = Reader { name, map, around, lines: Vec::new(), files: Vec::new(), notes: Vec::new() };
    let foreign = reader.context(&build.at)?;
    reader.dockerfile()?;
    for key in ["target", "network"] {
        reader.text(key)?;
    }
    reader.pairs("args", "args", false)?;
    reader.pairs("labels", "labels", true)?;
    reader.contexts()?;
    reader.secrets()?;
    reader.ssh()?;
    reader.platform(service)?;
    reader.tags(service, at)?;
    reader.engine_cache()?;
    let no_cache = reader.flag("no_cache")?;
    let flags = reader.flags()?;
    let left_out: Vec<_> =
        LEFT_OUT.iter().filter(|key| is_said(map, key)).map(|key| format!("`{key}`")).collect();
    if !left_out.is_empty() {
        reader.note(&format!("{} of its `build` is left out", left_out.join(", ")));
    }
    let Reader { lines, files, notes, .. } = reader;
    let pin = repository(around.project, name);
    let (name, at, writes) = (name.to_owned(), at.clone(), Vec::new());
    let service = Service { name, at, lines, pin, no_cache, flags, writes };
    Ok(Some(Built { service, files, notes, foreign }))
}

/// Whether a key says anything: a `false` asks for what is done anyway.
fn is_said(map: &Map, key: &str) -> bool {
    map.get(key).is_some_and(|node| !matches!(node.value, Value::Null | Value::Bool(false)))
}

struct Reader<'a> {
    name: &'a str,
    map: &'a Map,
    around: &'a Around<'a>,
    lines: Vec<Line>,
    files: Vec<(Utf8PathBuf, String)>,
    notes: Vec<(Option<Place>, String)>,
}

impl<'a> Reader<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).filter(|node| !node.is_null())
    }

    fn note(&mut self, note: &str) {
        self.notes.push((None, format!("{}: {note}", self.name)));
    }

    fn say(&mut self, name: &str, key: &Place, at: &Place, said: Said) {
        self.lines.push(Line { name: name.to_owned(), key: key.clone(), at: at.clone(), said });
    }

    fn say_text(&mut self, name: &str, at: &Place, text: impl Into<String>) {
        self.say(name, at, at, Said::Text(text.into()));
    }

    /// A text of `build`, as the image has it under the same name.
    fn text(&mut self, key: &str) -> Result<(), Fault> {
        if let Some(node) = self.get(key) {
            let text = scalar(node, key)?;
            self.say_text(key, &node.at, text);
        }
        Ok(())
    }

    /// The folder; why it is none, if so.
    fn context(&mut self, at: &Place) -> Result<Option<String>, Fault> {
        let Some(node) = self.get("context") else {
            let path = seen_from(self.around.root, self.around.folder);
            self.say_text("context", at, path.as_str());
            return Ok(None);
        };
        let text = scalar(node, "context")?;
        if is_remote(&text) {
            self.say_text("context", &node.at, ".");
            return Ok(Some(format!("its context `{text}` is not a folder of this machine")));
        }
        let path = seen_from(self.around.root, Utf8Path::new(&text));
        self.say_text("context", &node.at, path.as_str());
        Ok(None)
    }

    fn dockerfile(&mut self) -> Result<(), Fault> {
        let Some(inline) = self.get("dockerfile_inline") else {
            return self.text("dockerfile");
        };
        if let Some(node) = self.get("dockerfile") {
            return Err(Fault::new("there is `dockerfile_inline`, too", &node.at, "keep one of the two"));
        }
        let text = scalar(inline, "dockerfile_inline")?;
        // By its place, since a name may be anything; the key knows no name of it.
        let path = self.around.temp.join(format!("{}-{}.Dockerfile", inline.at.file, inline.at.at.start));
        self.say_text("dockerfile", &inline.at, path.as_str());
        self.files.push((path, text));
        Ok(())
    }

    /// Names with values. `empty`: what has none is empty, and not taken from the environment.
    fn pairs(&mut self, key: &str, name: &str, empty: bool) -> Result<(), Fault> {
        let Some(node) = self.get(key) else { return Ok(()) };
        let mut lines = Vec::new();
        for (key_at, value_at, name, value) in pairs_of(node, key)? {
            let value = match value {
                Some(Value::Number { text, written }) => {
                    if text != written {
                        self.note(&format!(
                            "`{key}.{name}` is the number {text}: between quotes, {written} keeps its digits"
                        ));
                    }
                    Some(text)
                }
                Some(value) => Node::new(value, value_at.clone()).scalar(),
                None if empty => Some(String::new()),
                // What is not set is left out, as compose does.
                None => self.around.variables.get(&name).cloned(),
            };
            if let Some(value) = value {
                lines.push(Line { name, key: key_at, at: value_at, said: Said::Text(value) });
            }
        }
        self.say(name, &node.at, &node.at, Said::Table(lines));
        Ok(())
    }

    /// Named contexts: folders, addresses, and other services, which are built before.
    fn contexts(&mut self) -> Result<(), Fault> {
        let Some(node) = self.get("additional_contexts") else { return Ok(()) };
        let mut lines = Vec::new();
        for (key, at, name, value) in pairs_of(node, "additional_contexts")? {
            let text = value.and_then(|value| Node::new(value, at.clone()).scalar()).unwrap_or_default();
            let text = match text.strip_prefix("service:") {
                Some(service) => self.service_as_context(service, &at)?,
                None if is_remote(&text) => text,
                None => seen_from(self.around.root, Utf8Path::new(&text)).into_string(),
            };
            lines.push(Line { name, key, at, said: Said::Text(text) });
        }
        self.say("contexts", &node.at, &node.at, Said::Table(lines));
        Ok(())
    }

    fn service_as_context(&self, service: &str, at: &Place) -> Result<String, Fault> {
        let meant = |help: String| Fault::new(format!("there is no service `{service}`"), at, help);
        let names = self.around.services.names();
        let node = self.around.services.get(service).ok_or_else(|| {
            meant(format!(
                "{}name a service of the compose files",
                toolkit::nearest::question(service, names)
            ))
        })?;
        if node.get("build").is_some() {
            return Ok(format!("image:{service}"));
        }
        let image = node.get("image").and_then(Node::scalar);
        let image = image.ok_or_else(|| meant("it has neither `build` nor `image`".to_owned()))?;
        Ok(format!("docker-image://{image}"))
    }

    fn secrets(&mut self) -> Result<(), Fault> {
        let Some(node) = self.get("secrets") else { return Ok(()) };
        let mut lines = Vec::new();
        for item in list(node, "secrets")? {
            let (source, target) = match item.as_text() {
                Some(source) => (source.to_owned(), None),
                None => (
                    item.get("source").and_then(Node::scalar).ok_or_else(|| {
                        Fault::new(
                            "a secret has no `source`",
                            &item.at,
                            "write `- NAME`, or `- source: NAME` with `target`",
                        )
                    })?,
                    item.get("target").and_then(Node::scalar),
                ),
            };
            let said = self.secret(&source, &item.at)?;
            let name = target.unwrap_or(source);
            lines.push(Line { name, key: item.at.clone(), at: item.at.clone(), said });
        }
        self.say("secrets", &node.at, &node.at, Said::Table(lines));
        Ok(())
    }

    /// Where a secret comes from, as an image has it.
    fn secret(&mut self, source: &str, at: &Place) -> Result<Said, Fault> {
        let fault = |message: String| {
            Fault::new(
                message,
                at,
                "write it below the file's own `secrets:`, with `environment: VARIABLE` or `file: PATH`",
            )
        };
        let known = self.around.secrets.and_then(|secrets| secrets.get(source));
        let known = known.ok_or_else(|| fault(format!("there is no secret `{source}`")))?;
        let line = |name: &str, text: String| {
            Said::Table(vec![Line {
                name: name.to_owned(),
                key: at.clone(),
                at: at.clone(),
                said: Said::Text(text),
            }])
        };
        if let Some(variable) = known.get("environment").and_then(Node::scalar) {
            let is_own = self.around.environment.contains_key(&variable);
            let Some(value) = self.around.variables.get(&variable).filter(|_| !is_own) else {
                return Ok(line("env", variable));
            };
            // No process that larder starts would see it.
            let path = self.around.temp.join(format!("{}-{}.secret", at.file, at.at.start));
            self.files.push((path.clone(), value.clone()));
            return Ok(line("file", path.into_string()));
        }
        let file = known.get("file").and_then(Node::scalar);
        let file = file
            .ok_or_else(|| fault(format!("the secret `{source}` is neither in a variable nor in a file")))?;
        Ok(line("file", seen_from(self.around.root, Utf8Path::new(&file)).into_string()))
    }

    fn ssh(&mut self) -> Result<(), Fault> {
        let Some(node) = self.get("ssh") else { return Ok(()) };
        let keys = pairs_of(node, "ssh")?.into_iter().map(|(at, _, name, value)| {
            let path = value.and_then(|value| Node::new(value, at.clone()).scalar());
            let text = path
                .filter(|path| !path.is_empty())
                .map_or_else(|| name.clone(), |path| format!("{name}={path}"));
            (at, Said::Text(text))
        });
        let keys = keys.collect();
        self.say("ssh", &node.at, &node.at, Said::List(keys));
        Ok(())
    }

    /// The platform that runs here: a service has one image.
    fn platform(&mut self, service: &Node) -> Result<(), Fault> {
        if let Some(node) = service.get("platform") {
            let text = scalar(node, "platform")?;
            self.say_text("platform", &node.at, text);
            return Ok(());
        }
        let Some(node) = self.get("platforms") else { return Ok(()) };
        let mut platforms = Vec::new();
        for item in list(node, "platforms")? {
            platforms.push((scalar(item, "platforms")?, &item.at));
        }
        let own = self.around.platform;
        let Some((text, at)) = platforms.iter().find(|(text, _)| text == own).or(platforms.first()) else {
            return Ok(());
        };
        if platforms.len() > 1 {
            self.note(&format!("of its platforms, only {text} is baked: the one that runs here"));
        }
        self.say_text("platform", at, text.clone());
        Ok(())
    }

    /// The names that compose would give the image.
    fn tags(&mut self, service: &Node, at: &Place) -> Result<(), Fault> {
        let mut tags = Vec::new();
        if let Some(node) = service.get("image") {
            let name = scalar(node, "image")?;
            if is_name(&name) {
                tags.push((node.at.clone(), Said::Text(name)));
            } else {
                let note = format!("{}: `{name}` is not a name that an image can be given", self.name);
                self.notes.push((Some(node.at.clone()), note));
            }
        } else {
            tags.push((at.clone(), Said::Text(repository(self.around.project, self.name))));
        }
        if let Some(node) = self.get("tags") {
            for item in list(node, "tags")? {
                let own = Said::Text(scalar(item, "tags")?);
                if !tags.iter().any(|(_, said)| *said == own) {
                    tags.push((item.at.clone(), own));
                }
            }
        }
        if tags.is_empty() {
            tags.push((at.clone(), Said::Text(repository(self.around.project, self.name))));
        }
        self.say("tags", at, at, Said::List(tags));
        Ok(())
    }

    fn engine_cache(&mut self) -> Result<(), Fault> {
        let mut lines = Vec::new();
        for (key, name) in [("cache_from", "from"), ("cache_to", "to")] {
            let Some(node) = self.get(key) else { continue };
            let mut images = Vec::new();
            for item in list(node, key)? {
                let text = scalar(item, key)?;
                match registry(&text) {
                    Some(image) => images.push((item.at.clone(), Said::Text(image))),
                    None => {
                        self.note(&format!("`{key}` `{text}` is left out: it is not an image in a registry"));
                    }
                }
            }
            lines.push(Line {
                name: name.to_owned(),
                key: node.at.clone(),
                at: node.at.clone(),
                said: Said::List(images),
            });
        }
        if let Some(first) = lines.first() {
            let at = first.at.clone();
            self.say("engine-cache", &at, &at, Said::Table(lines));
        }
        Ok(())
    }

    fn flag(&self, key: &str) -> Result<bool, Fault> {
        let Some(node) = self.get(key) else { return Ok(false) };
        match (&node.value, scalar(node, key)?.as_str()) {
            (Value::Bool(flag), _) => Ok(*flag),
            (_, "true") => Ok(true),
            (_, "false") => Ok(false),
            _ => Err(Fault::new(format!("`{key}` is {}", node.kind()), &node.at, "write `true` or `false`")),
        }
    }

    /// What the engine is told beside what decides about the image.
    fn flags(&self) -> Result<Vec<(String, String)>, Fault> {
        let mut flags = Vec::new();
        let mut flag = |name: &str, value: String| flags.push((name.to_owned(), value));
        if let Some(node) = self.get("extra_hosts") {
            for item in list(&as_hosts(node.clone()), "extra_hosts")? {
                let text = scalar(item, "extra_hosts")?;
                flag("--add-host", text.replacen('=', ":", 1));
            }
        }
        if let Some(node) = self.get("shm_size") {
            flag("--shm-size", scalar(node, "shm_size")?);
        }
        let limits = self.get("ulimits").and_then(Node::as_map);
        for (key, node) in limits.into_iter().flat_map(Map::iter) {
            let of = |name: &str| node.get(name).and_then(Node::scalar);
            let value = match (of("soft"), of("hard")) {
                (Some(soft), Some(hard)) => format!("{soft}:{hard}"),
                _ => scalar(node, "ulimits")?,
            };
            flag("--ulimit", format!("{}={value}", key.name));
        }
        Ok(flags)
    }
}
