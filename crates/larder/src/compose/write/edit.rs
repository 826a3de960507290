//! Pins the images in the compose files themselves: only the bytes that must change.
//!
//! `image` and `pull_policy` of a service are set in the uppermost file that says something of it.
//! What that makes of the whole project is read again: where anything else would change, as by an
//! anchor that another service uses, nothing is edited.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::pins::{Pins, quoted};
use super::record::WriteError;
use crate::compose::images::{Composed, Wanted, read};
use crate::compose::source::Source;
use crate::compose::yaml::{Kind, Map, Node, Raw, documents};

/// What is put in the place of some bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) text: String,
}

impl Edit {
    pub(super) fn new(at: Range<usize>, text: String) -> Self {
        Self { start: at.start, end: at.end, text }
    }
}

/// The text with its edits; `None` where they are not of this text.
pub(super) fn applied(text: &str, edits: &[Edit]) -> Option<String> {
    let mut out = String::new();
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.start)?);
        out.push_str(&edit.text);
        text.get(edit.start..edit.end)?;
        at = edit.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// The edits of each file, by its path, with the text that they are of.
pub(crate) type Edits = BTreeMap<Utf8PathBuf, (String, Vec<Edit>)>;

/// The edits that pin these images, and no more.
///
/// # Errors
/// `InPlace`, where a service is not written so that this can be done.
pub(crate) fn verified(composed: &Composed, pins: &Pins, wanted: &Wanted<'_>) -> Result<Edits, WriteError> {
    let mut edits = Edits::new();
    for (service, image) in pins {
        let (source, own) = edits_of(composed, service, image)?;
        edits.entry(source.path.clone()).or_insert_with(|| (source.text.clone(), Vec::new())).1.extend(own);
    }
    for (_, own) in edits.values_mut() {
        own.sort_by_key(|edit| edit.start);
    }
    let edited = |path: &camino::Utf8Path, _: &[u8]| {
        let source = composed.sources.iter().find(|source| source.path == path)?;
        let own = edits.get(path).map_or(&[][..], |(_, edits)| edits.as_slice());
        applied(&source.text, own).map(String::into_bytes)
    };
    let path = composed.files.first().cloned().unwrap_or_default();
    let again = read(wanted, &edited).map_err(|error| WriteError::InPlace {
        path: path.clone(),
        why: format!("edited, it would not be understood: {error}"),
    })?;
    match changed_service(&composed.whole, &again.whole, pins) {
        None => Ok(edits),
        Some(service) => {
            let why = format!(
                "the service `{service}` would change, too: it takes its settings from one that is pinned"
            );
            Err(WriteError::InPlace { path, why })
        }
    }
}

/// A service that is not what it was, but for its image where that is pinned.
fn changed_service(before: &Node, after: &Node, pins: &Pins) -> Option<String> {
    let none = Map::default();
    let services = |node: &Node| node.get("services").and_then(Node::as_map).unwrap_or(&none).clone();
    let (before, after) = (services(before), services(after));
    let names: Vec<_> = before.names().chain(after.names()).collect();
    let without = |node: Option<&Node>| {
        let mut own = node.cloned()?;
        if let Some(map) = own.as_map_mut() {
            map.remove("image");
            map.remove("pull_policy");
        }
        Some(own)
    };
    let is_same = |name: &str| {
        let (one, other) = (before.get(name), after.get(name));
        match pins.get(name) {
            None => one.zip(other).is_some_and(|(one, other)| one.says_same(other)),
            Some(image) => {
                let says = |key: &str| other.and_then(|node| node.get(key)).and_then(Node::scalar);
                says("image").as_deref() == Some(image)
                    && says("pull_policy").as_deref() == Some("never")
                    && without(one).zip(without(other)).is_some_and(|(one, other)| one.says_same(&other))
            }
        }
    };
    names.into_iter().find(|name| !is_same(name)).map(str::to_owned)
}

fn edits_of<'c>(
    composed: &'c Composed,
    service: &str,
    image: &str,
) -> Result<(&'c Source, Vec<Edit>), WriteError> {
    let mut files = composed.said_in.iter().rev().filter(|(_, name)| name == service);
    let found = files.find_map(|(file, _)| {
        let source = composed.sources.get(*file)?;
        let documents = documents(&source.text, *file).ok()?;
        let own = documents.iter().rev().find_map(|document| {
            let (_, services) = document.get("services")?;
            let (_, own) = services.get(service)?;
            matches!(&own.kind, Kind::Map { entries, .. } if !entries.is_empty()).then(|| own.clone())
        });
        Some((source, own?))
    });
    let path = composed.files.first().cloned().unwrap_or_default();
    let refused = |why: String| WriteError::InPlace { path: path.clone(), why };
    let (source, own) = found
        .ok_or_else(|| refused(format!("no file has settings of its own for the service `{service}`")))?;
    let edits = pinning(&source.text, &own, image);
    let edits =
        edits.ok_or_else(|| refused(format!("the service `{service}` is written in an unusual way")))?;
    Ok((source, edits))
}

/// The edits that set the two keys of a service.
fn pinning(text: &str, service: &Raw, image: &str) -> Option<Vec<Edit>> {
    let Kind::Map { entries, flow } = &service.kind else { return None };
    let mut edits = Vec::new();
    let mut missing = Vec::new();
    for (name, value) in [("image", image), ("pull_policy", "never")] {
        match service.get(name) {
            Some((key, old)) => edits.push(replaced(text, key, old, value, *flow)?),
            None => missing.push((name, value)),
        }
    }
    if missing.is_empty() {
        return Some(edits);
    }
    let first = entries.first().map(|(key, _)| key)?;
    if *flow {
        edits.push(in_braces(text, service.at.start, first, &missing)?);
        return Some(edits);
    }
    // Before `build`, else at the top: on lines of their own.
    let key = service.get("build").map_or(first, |(key, _)| key);
    let start = text.get(..key.at.start)?.rfind('\n').map_or(0, |end| end + 1);
    let indent = text.get(start..key.at.start)?;
    if indent.chars().any(|c| c != ' ') {
        return None;
    }
    let end = line_end(text, key.at.start);
    let lines: Vec<_> = missing.iter().map(|(name, value)| format!("{indent}{name}: {value}{end}")).collect();
    edits.push(Edit::new(start..start, lines.concat()));
    Some(edits)
}

/// The edit that puts keys before the first one between braces: on lines of their own where that
/// one is, and in quotes where that one is. So JSON stays JSON.
fn in_braces(text: &str, brace: usize, first: &Raw, missing: &[(&str, &str)]) -> Option<Edit> {
    let inside = text.get(brace..)?.strip_prefix('{').map(|_| brace + 1)?;
    let gap = text.get(inside..first.at.start)?;
    // A comment or an anchor stays with what it is for.
    let is_space = gap.chars().all(char::is_whitespace);
    let at = if is_space { first.at.start } else { inside };
    let line = gap.rfind('\n').filter(|_| is_space);
    let line = line.map(|line| if gap.get(..line)?.ends_with('\r') { Some(line - 1) } else { Some(line) });
    let after = line.flatten().and_then(|line| gap.get(line..)).unwrap_or(" ");
    let is_json = is_quoted(text, first);
    let word = |(name, value): &(&str, &str)| match (is_json, *name) {
        (true, _) => format!("{}: {},{after}", quoted(name), quoted(value)),
        (false, "image") => format!("{name}: {},{after}", quoted(value)),
        (false, _) => format!("{name}: {value},{after}"),
    };
    Some(Edit::new(at..at, missing.iter().map(word).collect()))
}

/// Whether a word stands between double quotes.
fn is_quoted(text: &str, word: &Raw) -> bool {
    text.get(word.at.clone()).is_some_and(|own| own.starts_with('"'))
}

/// The edit that gives a key another value, in the quotes that the old one has.
fn replaced(text: &str, key: &Raw, old: &Raw, value: &str, flow: bool) -> Option<Edit> {
    let plain = || {
        let needs_quotes = is_quoted(text, key) || (flow && value.contains(':'));
        if needs_quotes { quoted(value) } else { value.to_owned() }
    };
    match &old.kind {
        Kind::Scalar { .. } if old.at.is_empty() => {
            let rest = text.get(key.at.end..)?;
            let space = rest.len() - rest.trim_start().len();
            // `{image, build: .}` has no colon.
            let colon = rest.trim_start().starts_with(':').then_some(key.at.end + space + 1);
            let at = colon.unwrap_or(key.at.end);
            Some(Edit::new(at..at, format!("{} {}", if colon.is_some() { "" } else { ":" }, plain())))
        }
        Kind::Scalar { .. } | Kind::Alias(_) => {
            let own = text.get(old.at.clone())?;
            let value = match own.chars().next()? {
                '"' => quoted(value),
                // No name of an image has one.
                '\'' if !value.contains('\'') => format!("'{value}'"),
                _ => plain(),
            };
            (!own.contains('\n')).then(|| Edit::new(old.at.clone(), value))
        }
        Kind::List(_) | Kind::Map { .. } => None,
    }
}

/// How the line ends that this place is in; as the one before it, where it is the last.
fn line_end(text: &str, at: usize) -> &'static str {
    let after = text.get(at..).and_then(|rest| rest.find('\n')).map(|end| at + end);
    let end = after.or_else(|| text.get(..at).and_then(|before| before.rfind('\n')));
    let is_windows = end.is_some_and(|end| text.get(..end).is_some_and(|before| before.ends_with('\r')));
    if is_windows { "\r\n" } else { "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::read;

    /// The file with its service `web` pinned.
    fn pinned(text: &str) -> Option<String> {
        let documents = documents(text, 0).expect("YAML");
        let (_, services) = documents[0].get("services").expect("services");
        let (_, web) = services.get("web").expect("a service");
        let mut edits = pinning(text, web, "p-web:larder-0")?;
        edits.sort_by_key(|edit| edit.start);
        applied(text, &edits)
    }

    #[track_caller]
    fn becomes(text: &str, expected: &str) {
        assert_eq!(pinned(text).as_deref(), Some(expected), "{text}");
        let [before, after] = [text, expected].map(|text| read(text, 0).expect(text).remove(0));
        let pins = Pins::from([("web".to_owned(), "p-web:larder-0".to_owned())]);
        assert_eq!(changed_service(&before, &after, &pins), None, "{expected}");
    }

    #[test]
    fn lines_are_added_before_build() {
        becomes(
            "services:\n  web:  # ours\n    # of this\n    build: .  # here\n    ports: [1]\n",
            "services:\n  web:  # ours\n    # of this\n    image: p-web:larder-0\n    pull_policy: never\n    build: .  # here\n    ports: [1]\n",
        );
        becomes(
            "services:\r\n  web:\r\n    build: .\r\n",
            "services:\r\n  web:\r\n    image: p-web:larder-0\r\n    pull_policy: never\r\n    build: .\r\n",
        );
        becomes(
            "services:\n web: &w\n  ports: [1]\n  build: .",
            "services:\n web: &w\n  ports: [1]\n  image: p-web:larder-0\n  pull_policy: never\n  build: .",
        );
        becomes(
            "services:\n  web:\n    <<: *x\n    ports: []\n".replace("*x", "{build: .}").as_str(),
            "services:\n  web:\n    image: p-web:larder-0\n    pull_policy: never\n    <<: {build: .}\n    ports: []\n",
        );
    }

    #[test]
    fn what_is_there_is_replaced_where_it_stands() {
        becomes(
            "services:\n  web:\n    build: .\n    image: \"old:1\" # name\n    pull_policy:\n    tty: true\n",
            "services:\n  web:\n    build: .\n    image: \"p-web:larder-0\" # name\n    pull_policy: never\n    tty: true\n",
        );
        becomes(
            "x: &i old\nservices:\n  web:\n    image: *i\n    build: .\n",
            "x: &i old\nservices:\n  web:\n    image: p-web:larder-0\n    pull_policy: never\n    build: .\n",
        );
        becomes(
            "services: {web: {build: ., tty: true}, db: {image: x}}",
            "services: {web: {image: \"p-web:larder-0\", pull_policy: never, build: ., tty: true}, db: {image: x}}",
        );
        becomes(
            "services: {web: {image: old, build: .}}",
            "services: {web: {pull_policy: never, image: \"p-web:larder-0\", build: .}}",
        );
    }

    #[test]
    fn an_unusual_form_is_left_alone() {
        assert_eq!(pinned("services:\n  web:\n    image: |\n      old\n    build: .\n"), None);
        assert_eq!(pinned("services:\n  web:\n    ? build\n    : .\n"), None);
        assert_eq!(pinned("services:\n  web:\n    image: [x]\n    build: .\n"), None);
    }

    #[test]
    fn edits_of_another_text_are_none_of_this() {
        let edit = |start, end| Edit { start, end, text: "x".to_owned() };
        assert_eq!(applied("abc", &[edit(1, 2)]).as_deref(), Some("axc"));
        for edits in [vec![edit(2, 9)], vec![edit(2, 1)], vec![edit(1, 2), edit(0, 1)], vec![edit(9, 9)]] {
            assert_eq!(applied("abc", &edits), None, "{edits:?}");
        }
        assert_eq!(applied("ä", &[edit(1, 2)]), None);
    }

    #[track_caller]
    fn stays_json(text: &str, expected: &str) {
        becomes(text, expected);
        serde_json::from_str::<serde_json::Value>(expected).expect("JSON");
    }

    #[test]
    fn json_stays_json() {
        stays_json(
            r#"{"services":{"web":{"build":"."}}}"#,
            r#"{"services":{"web":{"image": "p-web:larder-0", "pull_policy": "never", "build":"."}}}"#,
        );
        stays_json(
            "{\r\n\t\"services\": {\r\n\t\t\"web\": {\r\n\t\t\t\"build\": \".\"\r\n\t\t}\r\n\t}\r\n}\r\n",
            "{\r\n\t\"services\": {\r\n\t\t\"web\": {\r\n\t\t\t\"image\": \"p-web:larder-0\",\r\n\t\t\t\"pull_policy\": \"never\",\
             \r\n\t\t\t\"build\": \".\"\r\n\t\t}\r\n\t}\r\n}\r\n",
        );
        stays_json(
            r#"{"services": {"web": {"image": "old:1", "build": ".", "pull_policy": null}}}"#,
            r#"{"services": {"web": {"image": "p-web:larder-0", "build": ".", "pull_policy": "never"}}}"#,
        );
        stays_json(
            "{\"services\": {\"web\": {\n  \"build\": \".\",\n  \"image\": \"old\"}}}",
            "{\"services\": {\"web\": {\n  \"pull_policy\": \"never\",\n  \"build\": \".\",\n  \"image\": \"p-web:larder-0\"}}}",
        );
    }

    #[test]
    fn braces_and_quotes_of_yaml_are_kept() {
        for (own, expected) in [
            ("{build: .}", "{image: \"p-web:larder-0\", pull_policy: never, build: .}"),
            ("{ 'build': . }", "{ image: \"p-web:larder-0\", pull_policy: never, 'build': . }"),
            ("{image, build: .}", "{pull_policy: never, image: \"p-web:larder-0\", build: .}"),
            ("{image: , build: .}", "{pull_policy: never, image: \"p-web:larder-0\" , build: .}"),
            ("{image: 'x', pull_policy: \"always\"}", "{image: 'p-web:larder-0', pull_policy: \"never\"}"),
            (
                "{\n    build: . # here\n  }",
                "{\n    image: \"p-web:larder-0\",\n    pull_policy: never,\n    build: . # here\n  }",
            ),
            (
                "{ # ours\n    build: .\n  }",
                "{image: \"p-web:larder-0\", pull_policy: never,  # ours\n    build: .\n  }",
            ),
            (
                "\n    \"image\": old\n    build: .",
                "\n    \"image\": \"p-web:larder-0\"\n    pull_policy: never\n    build: .",
            ),
            (
                "\n    image: 'old'\n    pull_policy: missing\n    build: .",
                "\n    image: 'p-web:larder-0'\n    pull_policy: never\n    build: .",
            ),
        ] {
            becomes(&format!("services:\n  web: {own}\n"), &format!("services:\n  web: {expected}\n"));
        }
    }
}
